//! The two-sample Cramér–von Mises test.

use super::distribution::cramer_von_mises::{greatest_common_divisor, limit_survival, path_survival};
use super::{Detector, Evidence, NotComparable, Ordered, Pair};

/// Up to so many values on either side the exact distribution is made.
const MOST_VALUES: f64 = 25.0;

/// How equal values are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CramerVonMisesTies {
    /// Both distribution functions are looked at behind each group of equal values. Two equal samples are at no distance,
    /// whatever their ties.
    #[default]
    Grouped,
    /// Equal values get the mean of their ranks, and the ranks enter the formula for untied ones: scipy's form. With many
    /// ties it is unsound: two constant samples of one value come out as different (`T = .37`, `p = .08` for 50 and 40).
    Midranks,
}

/// Which null distribution the p-value is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CramerVonMisesNull {
    /// Exact where there are at most 20 values on either side and no ties, as in scipy; else the limit.
    #[default]
    Auto,
    /// Exact; refused where there are ties, a sample is binned, or has more than 25 values.
    Exact,
    /// The limit distribution, of `T` brought to the limit's mean and variance.
    Limit,
}

/// The mean squared distance between the two distribution functions, over the pooled sample.
///
/// # Formula
/// `T = n·m / (n + m)² · Σ (F(z) − G(z))²` over the `n + m` pooled values; −∞ and +∞ are values too, NaN, null and wrong types
/// are left out. The p-value is the probability of at least this `T`: exact for tiny samples, else from the limit, after `T`
/// is brought to the limit's mean 1/6 and variance 1/45. The score is the root of the mean of `(F − G)²` over the pooled values.
///
/// Unit: none. Range: `[0, 1]` (at most `1/√3` for continuous values and equal sizes); 0 for identical samples. Symmetric. The
/// statistic is `T`. Of profiles the functions are looked at where fine bins meet: the score is off by at most the largest
/// share of one bin on either side. With ties the p-value is conservative.
///
/// Source: Anderson, *On the Distribution of the Two-Sample Cramér–von Mises Criterion*, 1962.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CramerVonMises {
    /// How equal values are treated.
    pub ties: CramerVonMisesTies,
    /// Where the p-value comes from.
    pub null: CramerVonMisesNull,
}

impl Detector for CramerVonMises {
    fn name(&self) -> &'static str {
        "cramer_von_mises"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let ordered = pair.ordered()?;
        let (n, m) = ordered.totals();
        let grouped = mean_square(ordered);
        let statistic = match self.ties {
            CramerVonMisesTies::Grouped => grouped * n / (n + m) * m,
            CramerVonMisesTies::Midranks => by_midranks(ordered),
        };
        let most = n.max(m);
        let untied = pair.is_exact() && ordered.points().iter().all(|point| point.reference + point.current <= 1.0);
        let p_value = match self.null {
            CramerVonMisesNull::Auto if untied && most <= 20.0 => exact_survival(ordered),
            CramerVonMisesNull::Exact if untied && most <= MOST_VALUES => exact_survival(ordered),
            CramerVonMisesNull::Exact => return Err(NotComparable::TooManyValues),
            CramerVonMisesNull::Auto | CramerVonMisesNull::Limit => limit_survival(as_limit(statistic, (n, m))),
        };
        Ok(Evidence { score: grouped.sqrt().min(1.0), statistic, p_value: Some(p_value) })
    }
}

/// The mean of `(F − G)²` over the pooled values.
fn mean_square(ordered: &Ordered) -> f64 {
    let (n, m) = ordered.totals();
    let (mut below_first, mut below_second, mut sum) = (0.0, 0.0, 0.0);
    for point in ordered.points() {
        below_first += point.reference;
        below_second += point.current;
        sum += (point.reference + point.current) / (n + m) * (below_first / n - below_second / m).powi(2);
    }
    sum
}

/// `T` from the midranks of the values and their ranks within their own samples.
fn by_midranks(ordered: &Ordered) -> f64 {
    let (n, m) = ordered.totals();
    let (mut below_first, mut below_second) = (0.0, 0.0);
    let (mut first, mut second) = (0.0, 0.0);
    // Σ (rank − own rank)² over `count` values of one midrank whose own ranks follow each other.
    let squares = |gap: f64, count: f64| {
        gap * gap * count - gap * count * (count + 1.0) + count * (count + 1.0) * (2.0 * count + 1.0) / 6.0
    };
    for point in ordered.points() {
        let midrank = below_first + below_second + (point.reference + point.current + 1.0) / 2.0;
        first += squares(midrank - below_first, point.reference);
        second += squares(midrank - below_second, point.current);
        below_first += point.reference;
        below_second += point.current;
    }
    let all = n + m;
    (n * first + m * second) / (n * m * all) - (4.0 * n * m - 1.0) / (6.0 * all)
}

/// `T` brought to the mean and variance of its limit.
fn as_limit(statistic: f64, (n, m): (f64, f64)) -> f64 {
    let all = n + m;
    let mean = (1.0 + 1.0 / all) / 6.0;
    let spread = 4.0 * n * m * all - 3.0 * (n * n + m * m) - 2.0 * n * m;
    let variance = (all + 1.0) / 45.0 / (all * all) * spread / (4.0 * n * m);
    // Of one value on either side there is but one `T`, and nothing exceeds what is certain.
    if variance > 0.0 { 1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt() } else { 0.0 }
}

/// The exact probability of at least this distance, for samples without ties.
fn exact_survival(ordered: &Ordered) -> f64 {
    let (n, m) = ordered.totals();
    let sizes = (n as u32, m as u32);
    let divisor = f64::from(greatest_common_divisor(sizes.0, sizes.1));
    let (mut below_first, mut below_second, mut sum) = (0.0, 0.0, 0);
    for point in ordered.points() {
        below_first += point.reference;
        below_second += point.current;
        sum += (((below_first * m - below_second * n) / divisor).abs() as u64).pow(2);
    }
    path_survival(sizes, sum)
}
