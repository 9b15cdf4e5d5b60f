//! The χ² test of two samples on one contingency table.

use super::{Cells, Detector, Evidence, NotComparable, Pair};
use statrs::distribution::{ChiSquared as ChiSquaredDistribution, ContinuousCDF};

/// The least expected count of a cell; sparser ones are pooled, because the χ² approximation fails there (Cochran, 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// Pearson's χ² of the two samples as the rows of one table, as an effect: Cramér's V, balanced.
///
/// # Formula
/// `χ² = Σ (observed − expected)² / expected` over the 2 × k table, expected from its margins, without continuity
/// correction; `p` from χ² with `k − 1` degrees of freedom. The score is `√(χ²·(n + m) / (4·n·m))`: for samples of equal
/// size Cramér's `V = √(χ² / (n + m))`, and unlike `V` not smaller for a small window against a large reference. Cells
/// whose expected count is below 5 on either side are pooled into one; if that is still sparse it joins the sparsest of
/// the others.
///
/// Unit: none. Range: `[0, (n + m) / (2·√(n·m))]`, which is 1 for equal sizes. Cohen (1988) calls .1 small and .3 medium.
///
/// This is the contingency convention (scipy's `chi2_contingency`, NannyML), not goodness of fit: the reference's own
/// sampling error counts, and a new category does not make the statistic infinite.
///
/// Source: Pearson, 1900; Cramér, *Mathematical Methods of Statistics*, 1946.
#[derive(Debug, Clone, Copy)]
pub struct ChiSquared;

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
        let found = contingency(pair.cells()?)?;
        Ok(Evidence { score: found.balanced_v, statistic: found.statistic, p_value: Some(found.p_value) })
    }
}

/// [`ChiSquared`] of given cells.
///
/// # Errors
/// When fewer than two cells are left after pooling. A table that had one cell to begin with shows no difference: its
/// statistic is zero.
pub fn contingency(cells: &Cells) -> Result<Contingency, NotComparable> {
    if cells.counts().len() == 1 {
        return Ok(Contingency {
            statistic: 0.0,
            degrees_of_freedom: 0,
            p_value: 1.0,
            cramers_v: 0.0,
            balanced_v: 0.0,
        });
    }
    let pooled = pool(cells);
    if pooled.len() < 2 {
        return Err(NotComparable::TooSparse);
    }
    let (reference, current) = (cells.reference_total(), cells.current_total());
    let all = reference + current;
    let terms = pooled.iter().map(|(a, b)| {
        let expected = ((a + b) * reference / all, (a + b) * current / all);
        (a - expected.0).powi(2) / expected.0 + (b - expected.1).powi(2) / expected.1
    });
    let statistic: f64 = terms.sum();
    let degrees_of_freedom = pooled.len() - 1;
    // The constructor refuses only degrees of freedom that are not positive.
    let distribution = ChiSquaredDistribution::new(degrees_of_freedom as f64).map_err(|_| NotComparable::TooSparse)?;
    let p_value = distribution.sf(statistic);
    let cramers_v = (statistic / all).sqrt();
    let balanced_v = cramers_v * all / (2.0 * (reference * current).sqrt());
    Ok(Contingency { statistic, degrees_of_freedom, p_value, cramers_v, balanced_v })
}

/// The cells with the sparse ones pooled.
fn pool(cells: &Cells) -> Vec<(f64, f64)> {
    let fewer = cells.reference_total().min(cells.current_total());
    let all = cells.reference_total() + cells.current_total();
    let is_sparse = |(a, b): &(f64, f64)| (a + b) * fewer / all < LEAST_EXPECTED;
    let (sparse, mut kept): (Vec<_>, Vec<_>) = cells.counts().iter().copied().partition(is_sparse);
    let pool = sparse.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    if pool.0 + pool.1 <= 0.0 {
        return kept;
    }
    if !is_sparse(&pool) {
        kept.push(pool);
        return kept;
    }
    match kept.iter_mut().min_by(|x, y| (x.0 + x.1).total_cmp(&(y.0 + y.1))) {
        Some(sparsest) => *sparsest = (sparsest.0 + pool.0, sparsest.1 + pool.1),
        None => kept.push(pool),
    }
    kept
}
