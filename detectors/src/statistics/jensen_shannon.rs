//! The Jensen–Shannon distance.

use super::{Cells, Detector, Evidence, NotComparable, Pair};

/// The Jensen–Shannon distance, base 2: the square root of the divergence.
///
/// # Formula
/// `JSD = ½ Σ p·log₂(p / m) + ½ Σ q·log₂(q / m)` with `m = (p + q) / 2`; the score is `√JSD`. An empty cell contributes
/// nothing on its own side, so zeros need no remedy.
///
/// Unit: none. Range: `[0, 1]`; 1 where no cell is common. The root makes it a metric (Endres and Schindelin, 2003) and is
/// what NannyML and, with the natural logarithm, Evidently and scipy report. No p-value.
///
/// Source: Lin, *Divergence Measures Based on the Shannon Entropy*, 1991.
#[derive(Debug, Clone, Copy)]
pub struct JensenShannon;

impl Detector for JensenShannon {
    fn name(&self) -> &'static str {
        "jensen_shannon"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        Ok(Evidence::of_distance(jensen_shannon_distance(pair.cells()?)))
    }
}

/// [`JensenShannon`] of given cells.
pub fn jensen_shannon_distance(cells: &Cells) -> f64 {
    let against_middle = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
    let terms = cells.shares().map(|(p, q)| {
        let middle = (p + q) / 2.0;
        against_middle(p, middle) + against_middle(q, middle)
    });
    // Rounding can leave the sum of two equal sides a hair below zero, or that of two disjoint ones above one.
    (terms.sum::<f64>() / 2.0).clamp(0.0, 1.0).sqrt()
}
