//! Popmon's population stability index, on proportions and as popmon calls it.

use crate::statistics::{Cells, Detector, EmptyCells, Evidence, NotComparable, Pair, Psi, SmallShare};

/// What popmon adds to whatever it is given.
const ADDED: f64 = 1e-5;

/// The index as popmon's function computes it from proportions: 1e-5 is added to each.
///
/// # Errors
/// When a side is empty.
pub fn stability_of_proportions(cells: Cells) -> Result<Evidence, NotComparable> {
    let empty = SmallShare::new(ADDED).map_or(EmptyCells::HalfRow, EmptyCells::Added);
    Psi { empty }.compare(&Pair::of_cells(cells))
}

/// The index as popmon calls its function: with raw counts in the place of proportions, so that it grows with the sample and
/// says nothing of distributions. For comparison only; it can be anything from −∞.
pub fn stability_of_raw_counts(cells: &Cells) -> f64 {
    let terms = cells.counts().iter().map(|(a, b)| (b - a) * ((b + ADDED) / (a + ADDED)).ln());
    terms.sum()
}
