//! The population stability index.

use super::{Cells, Detector, EmptyCells, Evidence, NotComparable, Pair};

/// The population stability index: the symmetrised Kullback–Leibler divergence of the cells' shares.
///
/// # Formula
/// `PSI = Σ (q − p)·ln(q / p)` over cells, natural logarithm, `p` the reference's share and `q` the window's. A cell that is
/// empty on one side counts as half a row there, unless set otherwise; shares are not renormalised.
///
/// Unit: nats. Range: `[0, ∞)`; 0 for identical samples. Symmetric. By custom .1 is a moderate change and .25 a large one.
/// Two samples of one distribution have on average about `(cells − 1)·(1/n + 1/m)`, which is why small windows need a
/// learned threshold. The statistic is the score. No p-value.
///
/// Source: Siddiqi, *Credit Risk Scorecards*, 2006; the bias: Yurdakul, *Statistical Properties of Population Stability
/// Index*, 2018.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Psi {
    /// What an empty cell counts as.
    pub empty: EmptyCells,
}

impl Detector for Psi {
    fn name(&self) -> &'static str {
        "psi"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        Ok(Evidence::of_distance(stability_of_shares(self.empty.fill(pair.cells()?))))
    }
}

/// [`Psi`] of given cells, empty ones counted as half a row.
pub fn population_stability_index(cells: &Cells) -> f64 {
    stability_of_shares(EmptyCells::HalfRow.fill(cells))
}

/// `Σ (q − p)·ln(q / p)` over shares none of which is zero.
pub(crate) fn stability_of_shares(shares: impl Iterator<Item = (f64, f64)>) -> f64 {
    shares.map(|(p, q)| (q - p) * (q / p).ln()).sum()
}
