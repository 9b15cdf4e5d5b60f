//! The Wasserstein distance, in standard deviations of the reference.

use super::{Detector, Evidence, NotComparable, Ordered, Pair, Tail};
use crate::profile::NumericProfile;

/// The first Wasserstein distance (earth mover's), divided by the reference's standard deviation.
///
/// # Formula
/// `W = ∫ |F(x) − G(x)| dx / s`, `s` with `n − 1` in the denominator. The mass of a bin lies at the mean of the reference's
/// values in it; values outside the edges count with their own distance, each at most the reference's range. NaN,
/// infinities, nulls and wrongly typed values are left out.
///
/// Unit: standard deviations of the reference. Range: `[0, ∞)`; a pure shift by `d` scores about `d / s`. Exact where each
/// distinct value has its own bin; else off by at most the mean width of the bins that the values lie in, over `s`. No
/// p-value.
///
/// A constant reference has no unit to measure with: the distance to an equally constant window is zero, to any other
/// one undefined (the cells' statistics see it).
///
/// Source: Vallender, *Calculation of the Wasserstein Distance Between Probability Distributions on the Line*, 1974.
#[derive(Debug, Clone, Copy)]
pub struct Wasserstein;

impl Detector for Wasserstein {
    fn name(&self) -> &'static str {
        "wasserstein"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let distance = wasserstein_distance(pair.ordered()?)?;
        if distance == 0.0 {
            return Ok(Evidence::of_distance(0.0));
        }
        let score = distance / pair.reference_deviation()?.unwrap_or_default();
        // No spread makes it infinite, and so do values too large to be subtracted from each other.
        let evidence = Evidence { score, statistic: distance, p_value: None };
        if score.is_finite() { Ok(evidence) } else { Err(NotComparable::NoSpread) }
    }
}

/// `∫ |F − G|` in the column's own unit.
///
/// # Errors
/// When a side has no finite value.
pub fn wasserstein_distance(ordered: &Ordered) -> Result<f64, NotComparable> {
    let (n, m) = ordered.finite_totals()?;
    let beyond = |tail: Tail| (tail.reference / n - tail.current / m).abs();
    let mut sum = beyond(ordered.below());
    let (mut apart, mut at) = (0.0_f64, None);
    for point in ordered.finite_points() {
        sum += apart.abs() * at.map_or(0.0, |before| point.at - before);
        apart += point.reference / n - point.current / m;
        at = Some(point.at);
    }
    Ok(sum + beyond(ordered.above()))
}

/// Which way the values moved: the difference of the means, window less reference, where both have one.
pub(crate) fn mean_shift(reference: &NumericProfile, current: &NumericProfile) -> Option<f64> {
    Some(current.mean()? - reference.mean()?)
}
