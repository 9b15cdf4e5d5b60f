//! The Mann–Whitney test (Wilcoxon's rank sum).

use super::distribution::rank_sum;
use super::{Alternative, Detector, Evidence, NotComparable, Ordered, Pair};
use crate::normal::normal_survival;

/// Up to so many values on the smaller side, and this many in all, orders are counted.
const FEWEST: f64 = 8.0;
const MOST_TOGETHER: f64 = 200.0;

/// Which null distribution the p-value is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MannWhitneyNull {
    /// Exact where there are no ties, at most 8 values on one side and at most 200 on both; else
    /// [`Self::NormalCorrected`].
    #[default]
    Auto,
    /// The normal approximation, with half a pair taken off for continuity.
    NormalCorrected,
    /// The normal approximation as it is.
    Normal,
}

/// How often a value of the reference exceeds one of the window, as an effect: the rank-biserial correlation.
///
/// # Formula
/// `U = Σ #{y < x} + ½·#{y = x}` over the reference's values `x` and the window's `y`. The score is `|2U / (n·m) − 1|`. The p-value is
/// two-sided: exact for tiny samples without ties, else normal with mean `n·m / 2` and, corrected for ties of `t` values,
/// variance `n·m / 12·((N + 1) − Σ (t³ − t) / (N·(N − 1)))`.
///
/// Unit: none. Range: `[0, 1]`; 0 for identical samples, 1 where no value of one side lies among the other's. The score is
/// symmetric; the statistic `U` becomes `n·m − U`. −∞ and +∞ are values, NaN, null and wrong types are left out. It sees
/// shifts, and is blind to changes of spread. Of profiles all values of a bin are tied: the score is off by at most the
/// largest share of one bin on either side.
///
/// Source: Mann and Whitney, 1947; Kerby, *The Simple Difference Formula*, 2014.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MannWhitney {
    /// Which difference counts: greater is that the reference's values are.
    pub alternative: Alternative,
    /// Where the p-value comes from.
    pub null: MannWhitneyNull,
}

/// What ranks say.
struct Ranks {
    n: f64,
    m: f64,
    u: f64,
    /// `Σ (t³ − t)` over groups of equal values, over `N³`.
    ties: f64,
}

impl Detector for MannWhitney {
    fn name(&self) -> &'static str {
        "mann_whitney"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let ranks = Ranks::of(pair.ordered()?);
        let pairs = ranks.n * ranks.m;
        let score = (2.0 * ranks.u / pairs - 1.0).abs().min(1.0);
        let tiny = ranks.n.min(ranks.m) <= FEWEST && ranks.n + ranks.m <= MOST_TOGETHER;
        // The larger U is the less likely one, on the side that the alternative looks at.
        let (tail, sides) = match self.alternative {
            Alternative::TwoSided => (ranks.u.max(pairs - ranks.u), 2.0),
            Alternative::Greater => (ranks.u, 1.0),
            Alternative::Less => (pairs - ranks.u, 1.0),
        };
        let one_sided = match self.null {
            MannWhitneyNull::Auto if tiny && pair.is_exact() && ranks.ties <= 0.0 => {
                rank_sum::survival((ranks.n as u32, ranks.m as u32), tail)
            }
            MannWhitneyNull::Auto | MannWhitneyNull::NormalCorrected => ranks.normal_survival(tail, 0.5)?,
            MannWhitneyNull::Normal => ranks.normal_survival(tail, 0.0)?,
        };
        Ok(Evidence { score, statistic: ranks.u, p_value: Some((sides * one_sided).clamp(0.0, 1.0)) })
    }
}

impl Ranks {
    fn of(ordered: &Ordered) -> Self {
        let (n, m) = ordered.totals();
        let (mut below_second, mut u, mut ties) = (0.0, 0.0, 0.0);
        for point in ordered.points() {
            u += point.reference * (below_second + point.current / 2.0);
            below_second += point.current;
            let (here, all) = (point.reference + point.current, n + m);
            // Of one value it is nothing, and must be so exactly.
            ties += if here > 1.0 { (here / all).powi(3) - here / (all * all * all) } else { 0.0 };
        }
        Self { n, m, u, ties }
    }

    /// The probability of at least this `U` by the normal approximation.
    fn normal_survival(&self, u: f64, continuity: f64) -> Result<f64, NotComparable> {
        let (pairs, all) = (self.n * self.m, self.n + self.m);
        let tied = self.ties * all * all / (all - 1.0);
        // Where all values are equal rounding may leave a little.
        let spread = (pairs / 12.0 * ((all + 1.0) - tied).max(0.0)).sqrt();
        let above = u - pairs / 2.0 - continuity;
        if spread <= pairs.sqrt() * 1e-6 {
            // All values are equal: nothing speaks against equality, but without a correction that is 0 / 0.
            return if above < 0.0 { Ok(1.0) } else { Err(NotComparable::BothConstant) };
        }
        Ok(normal_survival(above / spread))
    }
}
