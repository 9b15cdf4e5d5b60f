//! The counts of a numeric column, with moments of its finite values.
//!
//! Moments are kept as sums about the layout's origin, a value in the midst of the reference: such sums add up like
//! counts, and stay exact where plain power sums would not (values around 1e9 that differ by 1). A column that has moved
//! `k` reference spreads away loses about `2·log10(k)` of its sixteen digits of variance.
//!
//! Values outside the edges add their distance from the nearest edge, at most the reference's whole range each. These
//! two sums make the tails of the Wasserstein distance exact, and the limit keeps one absurd value from deciding it.

use super::{Fault, sparse};
use crate::layout::{BinEdges, LANES, Search};
use arrow::array::{Array, Float64Array};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// So many rows are worth a copy of what they are looked up in.
const ROWS_WORTH_A_COPY: usize = 64;

/// Counts of a numeric column's rows, and moments of the finite ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumericProfile {
    #[serde(with = "sparse")]
    fine: Vec<i64>,
    odd: OddCounts,
    sums: Sums,
    tails: Tails,
    least: f64,
    greatest: f64,
}

/// Rows that no bin holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OddCounts {
    below: i64,
    above: i64,
    null: i64,
    nan: i64,
    pos_inf: i64,
    neg_inf: i64,
    wrong_type: i64,
}

impl OddCounts {
    fn as_array(&self) -> [i64; 7] {
        [self.below, self.above, self.null, self.nan, self.pos_inf, self.neg_inf, self.wrong_type]
    }

    fn from_array([below, above, null, nan, pos_inf, neg_inf, wrong_type]: [i64; 7]) -> Self {
        Self { below, above, null, nan, pos_inf, neg_inf, wrong_type }
    }
}

/// `Σ(x − origin)` and `Σ(x − origin)²` over finite values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sums {
    origin: f64,
    first: f64,
    second: f64,
}

/// Sums of the distances of values outside the edges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Tails {
    below: f64,
    above: f64,
}

impl NumericProfile {
    /// A profile without rows.
    pub fn empty(bins: &BinEdges) -> Self {
        Self {
            fine: vec![0; bins.bins()],
            odd: OddCounts::default(),
            sums: Sums { origin: bins.origin(), first: 0.0, second: 0.0 },
            tails: Tails::default(),
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }

    /// Rows in each fine bin.
    pub fn fine(&self) -> &[i64] {
        &self.fine
    }

    /// Finite values below the lowest edge.
    pub fn below(&self) -> i64 {
        self.odd.below
    }

    /// Finite values above the highest edge.
    pub fn above(&self) -> i64 {
        self.odd.above
    }

    /// Rows without a value.
    pub fn null(&self) -> i64 {
        self.odd.null
    }

    /// Rows whose value is not a number.
    pub fn nan(&self) -> i64 {
        self.odd.nan
    }

    /// Rows whose value is +∞.
    pub fn pos_inf(&self) -> i64 {
        self.odd.pos_inf
    }

    /// Rows whose value is −∞.
    pub fn neg_inf(&self) -> i64 {
        self.odd.neg_inf
    }

    /// Rows whose value had a type that does not fit.
    pub fn wrong_type(&self) -> i64 {
        self.odd.wrong_type
    }

    /// Finite values, in a bin or not.
    pub fn finite(&self) -> i64 {
        self.fine.iter().sum::<i64>() + self.odd.below + self.odd.above
    }

    /// Every row.
    pub fn rows(&self) -> i64 {
        self.fine.iter().sum::<i64>() + self.odd.as_array().iter().sum::<i64>()
    }

    /// Mean of the finite values; `None` where there are none, or they are too large to be summed.
    pub fn mean(&self) -> Option<f64> {
        let n = self.finite();
        let mean = self.sums.origin + self.sums.first / n as f64;
        (n > 0 && mean.is_finite()).then_some(mean)
    }

    /// Standard deviation of the finite values with `n − 1` in the denominator; `None` below two values, or where they
    /// are too large to be squared.
    pub fn standard_deviation(&self) -> Option<f64> {
        let n = self.finite();
        if n < 2 {
            return None;
        }
        let about_mean = self.sums.second - self.sums.first * (self.sums.first / n as f64);
        let deviation = (about_mean.max(0.0) / (n - 1) as f64).sqrt();
        // `max` turns NaN into 0, so the sums themselves are asked.
        (deviation.is_finite() && self.sums.second.is_finite() && self.sums.first.is_finite()).then_some(deviation)
    }

    /// The least finite value.
    pub fn least(&self) -> Option<f64> {
        self.least.is_finite().then_some(self.least)
    }

    /// The greatest finite value.
    pub fn greatest(&self) -> Option<f64> {
        self.greatest.is_finite().then_some(self.greatest)
    }

    /// `Σ (lowest edge − x)` over values below the edges, each at most the reference's range.
    pub fn distance_below(&self) -> f64 {
        self.tails.below
    }

    /// `Σ (x − highest edge)` over values above the edges, each at most the reference's range.
    pub fn distance_above(&self) -> f64 {
        self.tails.above
    }

    pub(super) fn count_of(&self, fault: Fault) -> Option<i64> {
        match fault {
            Fault::Null => Some(self.odd.null),
            Fault::Nan => Some(self.odd.nan),
            Fault::Infinite => Some(self.odd.pos_inf + self.odd.neg_inf),
            Fault::WrongType => Some(self.odd.wrong_type),
            Fault::OutOfRange => Some(self.odd.below + self.odd.above),
            Fault::Unseen => None,
        }
    }

    pub(super) fn fits(&self, bins: &BinEdges) -> bool {
        self.fine.len() == bins.bins() && self.sums.origin == bins.origin()
    }

    /// Counts the rows of a range, which lies within the array.
    pub(super) fn observe(&mut self, bins: &BinEdges, array: &Float64Array, rows: Range<usize>) {
        let values = array.values().get(rows.clone()).unwrap_or_default();
        let copied = (values.len() >= ROWS_WORTH_A_COPY).then(|| bins.search().clone());
        let bins = Lookup { bins, search: copied.as_ref().unwrap_or(bins.search()) };
        let mut lanes = Lanes::default();
        match array.nulls().map(|nulls| nulls.slice(rows.start, rows.len())).filter(|nulls| nulls.null_count() > 0) {
            None => self.observe_valid(&bins, values, &mut lanes),
            Some(nulls) => {
                self.odd.null += nulls.null_count() as i64;
                for (start, end) in nulls.valid_slices() {
                    self.observe_valid(&bins, values.get(start..end).unwrap_or_default(), &mut lanes);
                }
            }
        }
        self.flush(&bins, &lanes);
    }

    pub(super) fn null_was_wrong_type(&mut self) {
        self.odd.null -= 1;
        self.odd.wrong_type += 1;
    }

    /// Counts values in whole blocks where all of a block lie in bins; gathers the others in `lanes`.
    fn observe_valid(&mut self, bins: &Lookup<'_>, values: &[f64], lanes: &mut Lanes) {
        let (low, high) = (bins.bins.least_inside(), bins.bins.most_inside());
        let (blocks, rest) = values.as_chunks::<LANES>();
        for block in blocks {
            // False for NaN and the infinities too. Not a short-circuit, so that the comparison runs in lanes.
            if block.iter().fold(true, |inside, value| inside & (*value >= low) & (*value <= high)) {
                self.count_block(bins, block);
            } else {
                self.observe_one_by_one(bins, block, lanes);
            }
        }
        self.observe_one_by_one(bins, rest, lanes);
    }

    fn observe_one_by_one(&mut self, bins: &Lookup<'_>, values: &[f64], lanes: &mut Lanes) {
        let (low, high) = (bins.bins.least_inside(), bins.bins.most_inside());
        for value in values.iter().copied() {
            if value >= low && value <= high {
                if let Some(block) = lanes.push(value) {
                    self.count_block(bins, &block);
                }
            } else {
                self.count_outside(bins.bins, value);
            }
        }
    }

    /// Counts a block of values that all lie in bins.
    #[inline]
    fn count_block(&mut self, bins: &Lookup<'_>, block: &[f64; LANES]) {
        for place in bins.search.places(block) {
            if let Some(count) = self.fine.get_mut(place) {
                *count += 1;
            }
        }
        self.add_moments(block);
    }

    /// Counts what has gathered in the lanes, which need not be full.
    fn flush(&mut self, bins: &Lookup<'_>, lanes: &Lanes) {
        let places = bins.search.places(&lanes.values);
        for place in places.iter().take(lanes.filled) {
            if let Some(count) = self.fine.get_mut(*place) {
                *count += 1;
            }
        }
        self.add_moments(lanes.values.get(..lanes.filled).unwrap_or_default());
    }

    #[inline]
    fn add_moments(&mut self, values: &[f64]) {
        let (mut first, mut second) = (0.0, 0.0);
        for value in values {
            let about_origin = value - self.sums.origin;
            first += about_origin;
            second += about_origin * about_origin;
            self.least = if *value < self.least { *value } else { self.least };
            self.greatest = if *value > self.greatest { *value } else { self.greatest };
        }
        self.sums.first += first;
        self.sums.second += second;
    }

    fn count_outside(&mut self, bins: &BinEdges, value: f64) {
        if value.is_nan() {
            self.odd.nan += 1;
            return;
        }
        if value.is_infinite() {
            *(if value > 0.0 { &mut self.odd.pos_inf } else { &mut self.odd.neg_inf }) += 1;
            return;
        }
        let (low, high) = (bins.lowest(), bins.highest());
        let farthest = reach(bins);
        if value < low {
            self.odd.below += 1;
            self.tails.below += (low - value).min(farthest);
        } else {
            self.odd.above += 1;
            self.tails.above += (value - high).min(farthest);
        }
        self.add_moments(&[value]);
    }

    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        self.combine(other, |a, b| a + b, |a, b| a + b)?;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        Some(())
    }

    pub(super) fn subtract(&mut self, part: &Self) -> Option<()> {
        self.combine(part, |a, b| a - b, |a, b| a - b)?;
        // Rounding must not leave a distance below zero.
        self.tails = Tails { below: self.tails.below.max(0.0), above: self.tails.above.max(0.0) };
        self.counts().iter().all(|count| *count >= 0).then_some(())
    }

    fn combine(&mut self, other: &Self, count: fn(i64, i64) -> i64, sum: fn(f64, f64) -> f64) -> Option<()> {
        if self.fine.len() != other.fine.len() || self.sums.origin != other.sums.origin {
            return None;
        }
        for (mine, theirs) in self.fine.iter_mut().zip(&other.fine) {
            *mine = count(*mine, *theirs);
        }
        let mut odd = self.odd.as_array();
        for (mine, theirs) in odd.iter_mut().zip(other.odd.as_array()) {
            *mine = count(*mine, theirs);
        }
        self.odd = OddCounts::from_array(odd);
        self.sums.first = sum(self.sums.first, other.sums.first);
        self.sums.second = sum(self.sums.second, other.sums.second);
        self.tails.below = sum(self.tails.below, other.tails.below);
        self.tails.above = sum(self.tails.above, other.tails.above);
        Some(())
    }

    pub(super) fn counts(&self) -> Vec<i64> {
        self.fine.iter().copied().chain(self.odd.as_array()).collect()
    }

    /// The values of a bin lie, on average, where the reference's do; those beyond the edges where this profile's do, or a
    /// bin's width away where it has none.
    pub(super) fn recounted(&self, bins: &BinEdges, counts: &[i64]) -> Self {
        let mut again = Self::empty(bins);
        let mut counts = counts.iter().copied();
        again.fine.iter_mut().zip(counts.by_ref()).for_each(|(slot, count)| *slot = count);
        let mut odd = [0; 7];
        odd.iter_mut().zip(counts).for_each(|(slot, count)| *slot = count);
        again.odd = OddCounts::from_array(odd);
        let [below, above] = self.mean_tails(bins);
        again.tails = Tails { below: below * again.odd.below as f64, above: above * again.odd.above as f64 };
        let (first, second) = again.binned_sums(bins);
        // What the values of a bin spread among themselves is known of all bins together.
        let within = (self.sums.second - self.binned_sums(bins).1) * ratio(again.finite(), self.finite());
        again.sums = Sums { first, second: second + within.max(0.0), ..again.sums };
        (again.least, again.greatest) = (self.least, self.greatest);
        again
    }

    /// The same values in fewer bins, and those bins; see [`BinEdges::thinned`].
    pub(super) fn thinned(&self, bins: &BinEdges, parts: usize) -> (BinEdges, Self) {
        let (bins, fine) = bins.thinned(&self.fine, parts);
        let moved = bins.origin() - self.sums.origin;
        let count = self.finite() as f64;
        let first = self.sums.first - count * moved;
        let second = self.sums.second - 2.0 * moved * self.sums.first + count * moved * moved;
        let thinned = Self { fine, sums: Sums { origin: bins.origin(), first, second }, ..self.clone() };
        (bins, thinned)
    }

    /// The mean distances of values below and above the edges.
    fn mean_tails(&self, bins: &BinEdges) -> [f64; 2] {
        let width = |pair: Option<&[f64]>| match pair {
            Some([lower, upper]) => upper - lower,
            _ => 0.0,
        };
        let mean = |distance: f64, count: i64, width: f64| if count > 0 { distance / count as f64 } else { width };
        let edges = bins.edges();
        [
            mean(self.tails.below, self.odd.below, width(edges.get(..2))),
            mean(self.tails.above, self.odd.above, width(edges.get(edges.len().saturating_sub(2)..))),
        ]
    }

    /// `Σ(x − origin)` and `Σ(x − origin)²` as far as bins and tails tell.
    fn binned_sums(&self, bins: &BinEdges) -> (f64, f64) {
        let [below, above] = self.mean_tails(bins);
        let tails = [(bins.lowest() - below, self.odd.below), (bins.highest() + above, self.odd.above)];
        let fine = bins.centres().iter().copied().zip(self.fine.iter().copied());
        fine.chain(tails).fold((0.0, 0.0), |(first, second), (value, count)| {
            let apart = (value - self.sums.origin) * count as f64;
            (first + apart, second + apart * (value - self.sums.origin))
        })
    }
}

/// Bins, and what values are looked up in.
struct Lookup<'a> {
    bins: &'a BinEdges,
    search: &'a Search,
}

/// In-range values that wait until there are enough of them to be looked up side by side.
#[derive(Default)]
struct Lanes {
    values: [f64; LANES],
    filled: usize,
}

impl Lanes {
    fn push(&mut self, value: f64) -> Option<[f64; LANES]> {
        if let Some(slot) = self.values.get_mut(self.filled) {
            *slot = value;
        }
        self.filled += 1;
        if self.filled < LANES {
            return None;
        }
        self.filled = 0;
        Some(self.values)
    }
}

/// The most that one value outside the edges counts for: the reference's range, or 1 for a constant.
fn reach(bins: &BinEdges) -> f64 {
    let range = bins.highest() - bins.lowest();
    if range > 0.0 { range.min(f64::MAX) } else { 1.0 }
}

fn ratio(part: i64, whole: i64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}
