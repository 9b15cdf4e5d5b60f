//! The Wasserstein distance, in standard deviations of the reference.

use super::{Detector, Evidence, NotComparable};
use crate::layout::{BinEdges, ColumnLayout};
use crate::profile::{ColumnProfile, NumericProfile};

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

    fn compare(
        &self,
        layout: &ColumnLayout,
        reference: &ColumnProfile,
        current: &ColumnProfile,
    ) -> Result<Evidence, NotComparable> {
        let (ColumnLayout::Numeric(bins), ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current)) =
            (layout, reference, current)
        else {
            return Err(NotComparable::Kind { kind: layout.kind_name() });
        };
        if reference.fine().len() != bins.bins() || current.fine().len() != bins.bins() {
            return Err(NotComparable::Layout);
        }
        if reference.finite() == 0 {
            return Err(NotComparable::EmptyReference);
        }
        if current.finite() == 0 {
            return Err(NotComparable::EmptyWindow);
        }
        let spread = reference.standard_deviation().unwrap_or_default();
        let apart = distance(bins, reference, current);
        if apart == 0.0 {
            return Ok(Evidence { score: 0.0, p_value: None });
        }
        let score = apart / spread;
        // No spread makes it infinite, and so do values too large to be subtracted from each other.
        if score.is_finite() { Ok(Evidence { score, p_value: None }) } else { Err(NotComparable::NoSpread) }
    }
}

/// `∫ |F − G|` in the column's own unit.
fn distance(bins: &BinEdges, reference: &NumericProfile, current: &NumericProfile) -> f64 {
    let (n, m) = (reference.finite() as f64, current.finite() as f64);
    let mut apart = reference.below() as f64 / n - current.below() as f64 / m;
    let mut at = bins.lowest();
    let mut sum = (reference.distance_below() / n - current.distance_below() / m).abs();
    for ((a, b), centre) in reference.fine().iter().zip(current.fine()).zip(bins.centres()) {
        sum += apart.abs() * (centre - at);
        apart += *a as f64 / n - *b as f64 / m;
        at = *centre;
    }
    sum += apart.abs() * (bins.highest() - at);
    sum + (reference.distance_above() / n - current.distance_above() / m).abs()
}

/// Which way the values moved: the difference of the means, window less reference, where both have one.
pub(crate) fn mean_shift(reference: &NumericProfile, current: &NumericProfile) -> Option<f64> {
    Some(current.mean()? - reference.mean()?)
}
