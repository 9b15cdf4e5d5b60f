//! The Hellinger distance.

use super::{Detector, Evidence, NotComparable, Pair};

/// The Hellinger distance of the cells' shares.
///
/// # Formula
/// `H = √(½ Σ (√p − √q)²)`, which is `√(1 − Σ √(p·q))`, over cells. Zeros need no remedy.
///
/// Unit: none. Range: `[0, 1]`; 0 for identical samples, 1 where no cell is common. Symmetric, and a metric. The statistic
/// is the score. No p-value.
///
/// Source: Hellinger, 1909; the form: Matusita, *Decision Rules, Based on the Distance*, 1955.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hellinger;

impl Detector for Hellinger {
    fn name(&self) -> &'static str {
        "hellinger"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let squares = pair.cells()?.shares().map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2));
        Ok(Evidence::of_distance((squares.sum::<f64>() / 2.0).sqrt().min(1.0)))
    }
}
