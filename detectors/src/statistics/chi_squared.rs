//! The χ² test of two samples on one contingency table.

use super::{Cells, Detector, Evidence, NotComparable, Pair, SparseCells};
use statrs::distribution::{ChiSquared as ChiSquaredDistribution, ContinuousCDF};

/// Whether a table of four cells is corrected for continuity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Continuity {
    /// No.
    #[default]
    Uncorrected,
    /// Yates's correction: each difference from the expected count is lowered by a half, but not below zero. Scipy's
    /// default, and so NannyML's.
    Yates,
}

/// Pearson's χ² of the two samples as the rows of one table, as an effect: Cramér's V, balanced.
///
/// # Formula
/// `χ² = Σ (observed − expected)² / expected` over the 2 × k table, expected from its margins, by default without continuity
/// correction; `p` from χ² with `k − 1` degrees of freedom. The score is `√(χ²·(n + m) / (4·n·m))`: for samples of equal
/// size Cramér's `V = √(χ² / (n + m))`, and unlike `V` not smaller for a small window against a large reference. By default
/// cells whose expected count is below 5 on either side are pooled into one; if that is still sparse it joins the sparsest of
/// the others.
///
/// Unit: none. Range: `[0, (n + m) / (2·√(n·m))]`, which is 1 for equal sizes; 0 for identical samples. Symmetric. Cohen
/// (1988) calls .1 small and .3 medium. The statistic is χ².
///
/// This is the contingency convention (scipy's `chi2_contingency`, NannyML), not goodness of fit: the reference's own
/// sampling error counts, and a new category does not make the statistic infinite.
///
/// Source: Pearson, 1900; Cramér, *Mathematical Methods of Statistics*, 1946.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChiSquared {
    /// What becomes of sparse cells.
    pub sparse: SparseCells,
    /// Whether a table of four cells is corrected.
    pub continuity: Continuity,
}

/// What the test says of one table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contingency {
    /// `χ²`.
    pub statistic: f64,
    /// Cells left after pooling, less one.
    pub degrees_of_freedom: usize,
    /// The probability of at least this statistic between two samples of one distribution.
    pub p_value: f64,
    /// Cramér's V, `√(χ² / (n + m))`.
    pub cramers_v: f64,
    /// The score of [`ChiSquared`].
    pub balanced_v: f64,
}

impl Detector for ChiSquared {
    fn name(&self) -> &'static str {
        "chi_squared"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let found = self.of_cells(pair.cells()?)?;
        Ok(Evidence { score: found.balanced_v, statistic: found.statistic, p_value: Some(found.p_value) })
    }
}

impl ChiSquared {
    /// The test of given cells.
    ///
    /// # Errors
    /// When fewer than two cells are left after pooling. A table that had one cell to begin with shows no difference: its
    /// statistic is zero.
    pub fn of_cells(self, cells: &Cells) -> Result<Contingency, NotComparable> {
        let table = Table::of(cells, self.sparse)?;
        let four = table.columns.len() == 2;
        let term = |observed: f64, expected: f64| {
            let off = (observed - expected).abs();
            let off = if self.continuity == Continuity::Yates && four { off - off.min(0.5) } else { off };
            off * off / expected
        };
        table.judged(table.sum(term))
    }
}

/// [`ChiSquared`] of given cells, as it is by default.
///
/// # Errors
/// As [`ChiSquared::of_cells`].
pub fn contingency(cells: &Cells) -> Result<Contingency, NotComparable> {
    ChiSquared::default().of_cells(cells)
}

/// The columns of a 2 × k table that are tested.
pub(super) struct Table {
    columns: Vec<(f64, f64)>,
    totals: (f64, f64),
}

impl Table {
    /// The table of the cells that are left.
    pub(super) fn of(cells: &Cells, sparse: SparseCells) -> Result<Self, NotComparable> {
        // What had one cell to begin with is no case of sparseness.
        let columns = if cells.counts().len() == 1 { cells.counts().to_vec() } else { sparse.apply(cells) };
        if columns.len() < 2 && cells.counts().len() > 1 {
            return Err(NotComparable::TooSparse);
        }
        Ok(Self { columns, totals: (cells.reference_total(), cells.current_total()) })
    }

    /// The sum of a term of (observed, expected) over every cell of both rows.
    pub(super) fn sum(&self, term: impl Fn(f64, f64) -> f64) -> f64 {
        let (n, m) = self.totals;
        let of_column = |(a, b): &(f64, f64)| term(*a, (a + b) * n / (n + m)) + term(*b, (a + b) * m / (n + m));
        self.columns.iter().map(of_column).sum()
    }

    /// What a statistic that is χ²-distributed says.
    pub(super) fn judged(&self, statistic: f64) -> Result<Contingency, NotComparable> {
        let (n, m) = self.totals;
        let degrees_of_freedom = self.columns.len() - 1;
        let p_value = if degrees_of_freedom == 0 { 1.0 } else { chi_squared_survival(statistic, degrees_of_freedom)? };
        let statistic = if degrees_of_freedom == 0 { 0.0 } else { statistic };
        let cramers_v = (statistic / (n + m)).sqrt();
        let balanced_v = cramers_v * (n + m) / (2.0 * (n * m).sqrt());
        Ok(Contingency { statistic, degrees_of_freedom, p_value, cramers_v, balanced_v })
    }
}

/// The probability that χ² with so many degrees of freedom exceeds `statistic`.
pub(super) fn chi_squared_survival(statistic: f64, degrees_of_freedom: usize) -> Result<f64, NotComparable> {
    // The constructor refuses only degrees of freedom that are not positive.
    let distribution = ChiSquaredDistribution::new(degrees_of_freedom as f64).map_err(|_| NotComparable::TooSparse)?;
    Ok(distribution.sf(statistic).clamp(0.0, 1.0))
}
