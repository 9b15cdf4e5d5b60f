//! The L∞ distance.

use super::{Detector, Evidence, NotComparable, Pair};

/// The largest change of one cell's share.
///
/// # Formula
/// `L∞ = max |p − q|` over cells. Zeros need no remedy.
///
/// Unit: none, a share of rows. Range: `[0, 1]`; 0 for identical samples. Symmetric, and a metric. It sees one cell only:
/// where many change a little it stays small. The statistic is the score. No p-value.
///
/// Source: Breck and others, *Data Validation for Machine Learning*, 2019, who chose it for categorical columns in TFDV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LInfinity;

impl Detector for LInfinity {
    fn name(&self) -> &'static str {
        "l_infinity"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let largest = pair.cells()?.shares().map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
        Ok(Evidence::of_distance(largest))
    }
}
