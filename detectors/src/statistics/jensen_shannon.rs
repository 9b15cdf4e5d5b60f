//! The Jensen–Shannon distance and divergence.

use super::{Cells, Detector, Evidence, NotComparable, Pair};
use std::f64::consts::LN_2;

/// The base of a logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogBase {
    /// 2: the unit is the bit.
    #[default]
    Two,
    /// e: the unit is the nat.
    Natural,
}

/// Whether the square root is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JensenShannonForm {
    /// The root of the divergence, which is a metric (Endres and Schindelin, 2003).
    #[default]
    Distance,
    /// The divergence itself.
    Divergence,
}

/// The Jensen–Shannon distance, by default base 2: the square root of the divergence.
///
/// # Formula
/// `JSD = ½ Σ p·log(p / m) + ½ Σ q·log(q / m)` with `m = (p + q) / 2`; the score is `√JSD`. An empty cell contributes
/// nothing on its own side, so zeros need no remedy.
///
/// Unit: none. Range: `[0, 1]` with base 2, to `√ln 2` (the divergence to `ln 2`) with the natural one; 0 for identical
/// samples, the upper end where no cell is common. Symmetric. Base 2 with the root is what NannyML reports; Evidently and scipy
/// take the natural logarithm with it, TFDV base 2 without it. The statistic is the score. No p-value.
///
/// Source: Lin, *Divergence Measures Based on the Shannon Entropy*, 1991.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JensenShannon {
    /// The base of the logarithm.
    pub base: LogBase,
    /// Distance or divergence.
    pub form: JensenShannonForm,
}

impl JensenShannon {
    fn of_shares(self, shares: impl Iterator<Item = (f64, f64)>) -> f64 {
        let against_middle = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).log2() } else { 0.0 };
        let terms = shares.map(|(p, q)| {
            let middle = (p + q) / 2.0;
            against_middle(p, middle) + against_middle(q, middle)
        });
        // Rounding can leave the sum of two equal sides a hair below zero, or that of two disjoint ones above one.
        let bits = (terms.sum::<f64>() / 2.0).clamp(0.0, 1.0);
        let divergence = match self.base {
            LogBase::Two => bits,
            LogBase::Natural => bits * LN_2,
        };
        match self.form {
            JensenShannonForm::Distance => divergence.sqrt(),
            JensenShannonForm::Divergence => divergence,
        }
    }
}

impl Detector for JensenShannon {
    fn name(&self) -> &'static str {
        "jensen_shannon"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        Ok(Evidence::of_distance(self.of_shares(pair.cells()?.shares())))
    }
}

/// [`JensenShannon`] of given cells, base 2 and with the root.
pub fn jensen_shannon_distance(cells: &Cells) -> f64 {
    JensenShannon::default().of_shares(cells.shares())
}
