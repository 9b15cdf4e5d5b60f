//! The population stability index.

use super::{Cells, Detector, Evidence, NotComparable, Pair};

/// Rows that a cell is taken to have where one side has none: half a row, as in a continuity correction.
const EMPTY_CELL_ROWS: f64 = 0.5;

/// The population stability index: the symmetrised Kullback–Leibler divergence of the cells' shares.
///
/// # Formula
/// `PSI = Σ (q − p)·ln(q / p)` over cells, natural logarithm, `p` the reference's share and `q` the window's. A cell that is
/// empty on one side counts as half a row there; shares are not renormalised.
///
/// Unit: nats. Range: `[0, ∞)`. By custom .1 is a moderate change and .25 a large one. Two samples of one distribution have
/// on average about `(cells − 1)·(1/n + 1/m)`, which is why small windows need a learned threshold. No p-value.
///
/// Source: Siddiqi, *Credit Risk Scorecards*, 2006; the bias: Yurdakul, *Statistical Properties of Population Stability
/// Index*, 2018.
#[derive(Debug, Clone, Copy)]
pub struct Psi;

impl Detector for Psi {
    fn name(&self) -> &'static str {
        "psi"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        Ok(Evidence::of_distance(population_stability_index(pair.cells()?)))
    }
}

/// [`Psi`] of given cells.
pub fn population_stability_index(cells: &Cells) -> f64 {
    let share = |count: f64, total: f64| (if count > 0.0 { count } else { EMPTY_CELL_ROWS }) / total;
    let terms = cells.counts().iter().map(|(reference, current)| {
        let p = share(*reference, cells.reference_total());
        let q = share(*current, cells.current_total());
        (q - p) * (q / p).ln()
    });
    terms.sum()
}
