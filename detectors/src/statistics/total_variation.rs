//! The total variation distance.

use super::{Detector, Evidence, NotComparable, Pair};

/// The total variation distance of the cells' shares: the share of rows that would have to change cells.
///
/// # Formula
/// `TV = ½ Σ |p − q|` over cells. Zeros need no remedy.
///
/// Unit: none, a share of rows. Range: `[0, 1]`; 0 for identical samples, 1 where no cell is common. Symmetric, and a
/// metric. The statistic is the score. No p-value.
///
/// Source: Levin, Peres and Wilmer, *Markov Chains and Mixing Times*, 2009, section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TotalVariation;

impl Detector for TotalVariation {
    fn name(&self) -> &'static str {
        "total_variation"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        Ok(Evidence::of_distance(pair.cells()?.moved_share().min(1.0)))
    }
}
