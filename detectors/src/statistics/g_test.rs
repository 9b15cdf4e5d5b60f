//! The G test (likelihood ratio) of two samples on one contingency table.

use super::chi_squared::Table;
use super::{Detector, Evidence, NotComparable, Pair, SparseCells};

/// The likelihood-ratio test of the two samples as the rows of one table, as an effect.
///
/// # Formula
/// `G = 2 Σ observed·ln(observed / expected)` over the 2 × k table, expected from its margins; empty cells add nothing. `p`
/// from χ² with `k − 1` degrees of freedom. The score is `√(G·(n + m) / (4·n·m))`, on the scale of [`super::ChiSquared`]'s.
/// By default sparse cells are pooled as there.
///
/// Unit: none. Range: `[0, √(2·ln 2)]` for equal sizes; 0 for identical samples. Symmetric. The statistic is G. `G / (n + m)`
/// is twice the mutual information of row and column, in nats.
///
/// Source: Wilks, 1938; Sokal and Rohlf, *Biometry*, 1981.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GTest {
    /// What becomes of sparse cells.
    pub sparse: SparseCells,
}

impl Detector for GTest {
    fn name(&self) -> &'static str {
        "g_test"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let table = Table::of(pair.cells()?, self.sparse)?;
        let term = |observed: f64, expected: f64| {
            if observed > 0.0 { 2.0 * observed * (observed / expected).ln() } else { 0.0 }
        };
        // Rounding can leave the sum of two equal rows a hair below zero.
        let found = table.judged(table.sum(term).max(0.0))?;
        Ok(Evidence { score: found.balanced_v, statistic: found.statistic, p_value: Some(found.p_value) })
    }
}
