//! What becomes of cells with too few rows for the χ² approximation.

use super::Cells;

/// The least expected count of a cell; in sparser ones the χ² approximation fails (Cochran, 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// How a table's sparse cells are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SparseCells {
    /// Cells whose expected count is below 5 on either side are pooled into one; if that is still sparse it joins the
    /// sparsest of the others.
    #[default]
    Pool,
    /// They stand as they are, as in the textbook; the p-value is then only as good as the sparsest cell.
    Keep,
}

impl SparseCells {
    /// `(reference, window)` counts of the cells that are left.
    pub fn apply(self, cells: &Cells) -> Vec<(f64, f64)> {
        match self {
            Self::Pool => pool(cells),
            Self::Keep => cells.counts().to_vec(),
        }
    }
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
