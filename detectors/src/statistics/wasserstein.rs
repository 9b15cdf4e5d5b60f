//! The Wasserstein distance, in standard deviations of the reference.

use super::{Detector, Evidence, NotComparable, Ordered, Pair, Tail};
use crate::profile::NumericProfile;

/// What a distance is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WassersteinUnit {
    /// The reference's standard deviation.
    #[default]
    ReferenceDeviation,
    /// The column's own unit, as in scipy and NannyML.
    Own,
}

/// The first Wasserstein distance (earth mover's), by default divided by the reference's standard deviation.
///
/// # Formula
/// `W = ∫ |F(x) − G(x)| dx`, the statistic, and `W / s`, the score, `s` with `n − 1` in the denominator. NaN, infinities, nulls
/// and wrongly typed values are left out. Of profiles the mass of a bin lies at the mean of the reference's values in it;
/// values outside the edges count with their own distance, each at most the reference's range.
///
/// Unit: standard deviations of the reference, or the column's. Range: `[0, ∞)`; 0 for identical samples. A pure shift by `d`
/// scores about `d / s`. `W` is symmetric, the score is not. Of exact samples exact, of profiles exact where each distinct value
/// has its own bin; else off by at most the mean width of the bins that the values of either side lie in, both added, over `s`. No p-value.
///
/// A constant reference has no unit to measure with: the distance to an equally constant window is zero, to any other
/// one undefined (the cells' statistics see it).
///
/// Source: Vallender, *Calculation of the Wasserstein Distance Between Probability Distributions on the Line*, 1974.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wasserstein {
    /// What the score is measured in.
    pub unit: WassersteinUnit,
}

impl Detector for Wasserstein {
    fn name(&self) -> &'static str {
        "wasserstein"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let distance = wasserstein_distance(pair.ordered()?)?;
        if distance == 0.0 {
            return Ok(Evidence::of_distance(0.0));
        }
        if !distance.is_finite() {
            return Err(NotComparable::TooLarge);
        }
        let score = match self.unit {
            WassersteinUnit::ReferenceDeviation => distance / pair.reference_deviation()?.unwrap_or_default(),
            WassersteinUnit::Own => distance,
        };
        // No spread makes it infinite.
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
        // Where the two functions agree the width does not matter, and may be too large to be a number.
        sum += if apart == 0.0 { 0.0 } else { apart.abs() * at.map_or(0.0, |before| point.at - before) };
        apart += point.reference / n - point.current / m;
        at = Some(point.at);
    }
    Ok(sum + beyond(ordered.above()))
}

/// Which way the values moved: the difference of the means, window less reference, where both have one.
pub(crate) fn mean_shift(reference: &NumericProfile, current: &NumericProfile) -> Option<f64> {
    Some(current.mean()? - reference.mean()?)
}
