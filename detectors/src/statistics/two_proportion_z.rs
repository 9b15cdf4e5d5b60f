//! The z test of two proportions.

use super::{Detector, Evidence, NotComparable, Pair};
use crate::normal::normal_survival;

/// The test of whether a column of two categories has them in the same proportion, pooled, two-sided.
///
/// # Formula
/// `z = (p − q) / √(r·(1 − r)·(1/n + 1/m))`, with `p` and `q` the shares of the second category in the reference and in the
/// window and `r` its share in both together; `p-value = 2·P(Z > |z|)`. The score is `|p − q|`. Nulls and wrong types are
/// left out.
///
/// Unit: none, a difference of shares. Range: `[0, 1]`; 0 for identical samples. The score is symmetric; the statistic `z`
/// changes its sign with the samples. `z²` is the χ² of the same table.
///
/// Undefined unless there are exactly two categories; of a profile they come in the table's order, of exact samples in that of
/// names, so the second one is the rarer or the later.
///
/// Source: Fleiss, *Statistical Methods for Rates and Proportions*, 1973.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TwoProportionZ;

impl Detector for TwoProportionZ {
    fn name(&self) -> &'static str {
        "two_proportion_z"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let cells = pair.cells()?.without_odd()?;
        let [_, (a, b)] = cells.counts() else {
            return Err(NotComparable::NotTwoCategories { found: cells.counts().len() });
        };
        let (n, m) = (cells.reference_total(), cells.current_total());
        let (p, q, both) = (a / n, b / m, (a + b) / (n + m));
        // Neither category is empty on both sides, so the shared proportion is neither 0 nor 1.
        let z = (p - q) / (both * (1.0 - both) * (1.0 / n + 1.0 / m)).sqrt();
        let p_value = (2.0 * normal_survival(z.abs())).min(1.0);
        let evidence = Evidence { score: (p - q).abs(), statistic: z, p_value: Some(p_value) };
        // Of counts near 2⁵³ the rarer category's share can vanish beside 1.
        if z.is_finite() { Ok(evidence) } else { Err(NotComparable::TooLarge) }
    }
}
