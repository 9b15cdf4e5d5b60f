//! Cramér's V.

use super::{ChiSquared, Detector, Evidence, NotComparable, Pair, SparseCells};

/// Cramér's V of the two samples as the rows of one table.
///
/// # Formula
/// `V = √(χ² / (n + m))`: the smaller side of a 2 × k table is 2. χ² and its p-value as in [`ChiSquared`], sparse cells pooled
/// unless set otherwise.
///
/// Unit: none. Range: `[0, 1]`; 0 for identical samples. Symmetric. For a small window against a large reference it is small
/// however far apart they are: it cannot exceed `√(min(n, m) / max(n, m))` by much; [`ChiSquared`]'s score has that balanced.
/// Undefined where there is one category. The statistic is V.
///
/// Source: Cramér, *Mathematical Methods of Statistics*, 1946.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CramersV {
    /// What becomes of sparse cells.
    pub sparse: SparseCells,
}

impl Detector for CramersV {
    fn name(&self) -> &'static str {
        "cramers_v"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let cells = pair.cells()?;
        if cells.counts().len() < 2 {
            return Err(NotComparable::OneCategory);
        }
        let found = ChiSquared { sparse: self.sparse, ..ChiSquared::default() }.of_cells(cells)?;
        let v = found.cramers_v.min(1.0);
        Ok(Evidence { score: v, statistic: v, p_value: Some(found.p_value) })
    }
}
