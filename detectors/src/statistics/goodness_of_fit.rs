//! The χ² test of goodness of fit: the window against the reference taken as the truth.

use super::chi_squared::chi_squared_survival;
use super::{Detector, Evidence, NotComparable, Pair, SparseCells};

/// Pearson's χ² of the window's counts against those that the reference's shares foretell.
///
/// # Formula
/// `χ² = Σ (b − m·p)² / (m·p)` over cells, `b` the window's count, `m` its rows and `p` the reference's share; the p-value
/// from χ² with `k − 1` degrees of freedom. The score is Cohen's `w = √(χ² / m)`.
///
/// Unit: none. Range: `[0, ∞)`; 0 for identical samples. Not symmetric. Cells that are sparse stand as they are, unless set
/// otherwise: scipy's `chisquare`, and so Evidently's test. The statistic is χ².
///
/// It takes the reference's shares for known, which they are not: with a reference as large as the window the p-value is far
/// too small. And one category that the reference does not have makes it infinite: then [`NotComparable::NewCategory`]
/// is what it says. [`super::ChiSquared`] has neither fault.
///
/// Source: Pearson, 1900; Cohen, *Statistical Power Analysis*, 1988.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoodnessOfFit {
    /// What becomes of sparse cells.
    pub sparse: SparseCells,
}

impl Default for GoodnessOfFit {
    fn default() -> Self {
        Self { sparse: SparseCells::Keep }
    }
}

impl Detector for GoodnessOfFit {
    fn name(&self) -> &'static str {
        "goodness_of_fit"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let cells = pair.cells()?;
        let columns = self.sparse.apply(cells);
        if columns.iter().any(|(reference, _)| *reference <= 0.0) {
            return Err(NotComparable::NewCategory);
        }
        if columns.len() < 2 {
            return Ok(Evidence { score: 0.0, statistic: 0.0, p_value: Some(1.0) });
        }
        let (n, m) = (cells.reference_total(), cells.current_total());
        let term = |(a, b): &(f64, f64)| (b - a * m / n).powi(2) / (a * m / n);
        let statistic: f64 = columns.iter().map(term).sum();
        let p_value = chi_squared_survival(statistic, columns.len() - 1)?;
        Ok(Evidence { score: (statistic / m).sqrt(), statistic, p_value: Some(p_value) })
    }
}
