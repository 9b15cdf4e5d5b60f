//! Two samples as counts along the line: what statistics of order read.

use super::{NotComparable, NumberSample};
use crate::layout::BinEdges;
use crate::profile::NumericProfile;

/// A place on the line and how many values of each sample lie there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Where it is; −∞ and +∞ are places too.
    pub at: f64,
    /// Values of the reference; a whole number.
    pub reference: f64,
    /// Values of the window; a whole number.
    pub current: f64,
}

/// How far the values outside a profile's edges lie from the nearest edge, all together, on one side of the line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tail {
    /// Sum of the distances of the reference's values.
    pub reference: f64,
    /// Sum of the distances of the window's values.
    pub current: f64,
}

/// A stretch of the line on which both distribution functions are constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// How long it is.
    pub width: f64,
    /// The reference's distribution function.
    pub reference: f64,
    /// The window's.
    pub current: f64,
}

/// Two samples as points, least first.
///
/// Of exact samples each distinct value is a point. Of profiles there is a point for each fine bin, at the mean of the
/// reference's values in it, and one for what lies below the edges and above them: these lie at the edge, and what they
/// are beyond it is told by the tails. −∞ and +∞ are the outermost points, where there are such values. Neighbouring
/// points may share a place (a bin and the values below its edge) and still have an order. NaN, null and wrongly typed
/// values are left out. A bin that is empty on both sides is a point without counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    points: Vec<Point>,
    below: Tail,
    above: Tail,
    totals: (f64, f64),
    finite: (f64, f64),
}

impl Ordered {
    pub(super) fn of_samples(reference: &NumberSample, current: &NumberSample) -> Result<Self, NotComparable> {
        let mut points = vec![infinite(f64::NEG_INFINITY, reference.neg_inf(), current.neg_inf())];
        let (mut left, mut right) = (reference.sorted(), current.sorted());
        while let Some(at) = least(left.first(), right.first()) {
            let (a, b) = (run_of(left, at), run_of(right, at));
            points.push(Point { at, reference: a as f64, current: b as f64 });
            left = left.get(a..).unwrap_or_default();
            right = right.get(b..).unwrap_or_default();
        }
        points.push(infinite(f64::INFINITY, reference.pos_inf(), current.pos_inf()));
        points.retain(|point| point.reference + point.current > 0.0);
        Self::assemble(points, Tail::default(), Tail::default())
    }

    pub(super) fn of_profiles(
        bins: &BinEdges,
        reference: &NumericProfile,
        current: &NumericProfile,
    ) -> Result<Self, NotComparable> {
        let outside = |at, a: i64, b: i64| Point { at, reference: a as f64, current: b as f64 };
        let mut points = Vec::with_capacity(bins.bins() + 4);
        points.push(infinite(f64::NEG_INFINITY, reference.neg_inf(), current.neg_inf()));
        points.push(outside(bins.lowest(), reference.below(), current.below()));
        let fine = reference.fine().iter().zip(current.fine()).zip(bins.centres());
        points.extend(fine.map(|((a, b), centre)| outside(*centre, *a, *b)));
        points.push(outside(bins.highest(), reference.above(), current.above()));
        points.push(infinite(f64::INFINITY, reference.pos_inf(), current.pos_inf()));
        let below = Tail { reference: reference.distance_below(), current: current.distance_below() };
        let above = Tail { reference: reference.distance_above(), current: current.distance_above() };
        Self::assemble(points, below, above)
    }

    fn assemble(points: Vec<Point>, below: Tail, above: Tail) -> Result<Self, NotComparable> {
        let sum = |points: &mut dyn Iterator<Item = &Point>| {
            points.fold((0.0, 0.0), |(a, b), point| (a + point.reference, b + point.current))
        };
        let totals = sum(&mut points.iter());
        let finite = sum(&mut points.iter().filter(|point| point.at.is_finite()));
        check_not_empty(totals)?;
        Ok(Self { points, below, above, totals, finite })
    }

    /// Every point, least first, the infinities among them. What looks at ranks alone reads these.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The points that are not infinite. What measures distances reads these.
    pub fn finite_points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|point| point.at.is_finite())
    }

    /// What the first finite point lies beyond its place.
    pub fn below(&self) -> Tail {
        self.below
    }

    /// What the last finite point lies beyond its place.
    pub fn above(&self) -> Tail {
        self.above
    }

    /// The stretches between finite values, from the least to the greatest. What lies outside a profile's edges lies at its
    /// mean distance from them.
    ///
    /// # Errors
    /// When a side has no finite value.
    pub fn segments(&self) -> Result<Vec<Segment>, NotComparable> {
        let (n, m) = self.finite_totals()?;
        let mut segments = Vec::with_capacity(self.points.len() + 4);
        let (mut f, mut g, mut before) = (0.0, 0.0, None);
        let mut finite = self.finite_points().peekable();
        if let Some(first) = finite.peek() {
            let shares = (first.reference / n, first.current / m);
            segments.extend(tail_segments(self.below, first, shares));
        }
        while let Some(point) = finite.next() {
            if let Some(before) = before {
                segments.push(Segment { width: point.at - before, reference: f, current: g });
            }
            f = (f + point.reference / n).min(1.0);
            g = (g + point.current / m).min(1.0);
            before = Some(point.at);
            if finite.peek().is_none() {
                let shares = (point.reference / n, point.current / m);
                // Seen from above, what is left beyond a place is one less the distribution function.
                let mirrored = tail_segments(self.above, point, shares).into_iter();
                segments.extend(mirrored.map(|tail| Segment {
                    reference: 1.0 - tail.reference,
                    current: 1.0 - tail.current,
                    ..tail
                }));
            }
        }
        Ok(segments)
    }

    /// Values of the reference and of the window, infinities included; neither is zero.
    pub fn totals(&self) -> (f64, f64) {
        self.totals
    }

    /// Finite values of the reference and of the window.
    ///
    /// # Errors
    /// When one of them has none.
    pub fn finite_totals(&self) -> Result<(f64, f64), NotComparable> {
        check_not_empty(self.finite)?;
        Ok(self.finite)
    }
}

/// The stretches from the farther of the two tails' mean places to the nearer one, and from there to the edge.
fn tail_segments(tail: Tail, edge: &Point, shares: (f64, f64)) -> [Segment; 2] {
    let mean = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
    let (first, second) = (mean(tail.reference, edge.reference), mean(tail.current, edge.current));
    let farther = if first > second { (shares.0, 0.0) } else { (0.0, shares.1) };
    let outer = Segment { width: (first - second).abs(), reference: farther.0, current: farther.1 };
    [outer, Segment { width: first.min(second), reference: shares.0, current: shares.1 }]
}

fn check_not_empty((reference, current): (f64, f64)) -> Result<(), NotComparable> {
    if reference <= 0.0 {
        return Err(NotComparable::EmptyReference);
    }
    if current <= 0.0 { Err(NotComparable::EmptyWindow) } else { Ok(()) }
}

fn infinite(at: f64, reference: i64, current: i64) -> Point {
    Point { at, reference: reference as f64, current: current as f64 }
}

fn least(first: Option<&f64>, second: Option<&f64>) -> Option<f64> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(*second)),
        (first, second) => first.or(second).copied(),
    }
}

/// How many values at the start of a sorted slice are `value`.
fn run_of(sorted: &[f64], value: f64) -> usize {
    sorted.iter().take_while(|next| **next == value).count()
}
