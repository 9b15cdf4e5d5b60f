//! The two-sample Anderson–Darling test.

use super::{Detector, Evidence, NotComparable, Ordered, Pair};
use std::f64::consts::PI;

/// The significance levels for which critical values are tabulated.
const LEVELS: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];

/// Scholz's and Stephens's critical values for two samples: `b₀ + b₁ + b₂` of their table 2.
const CRITICAL: [f64; 7] = [
    0.675 - 0.245 - 0.105,
    1.281 + 0.25 - 0.305,
    1.645 + 0.678 - 0.362,
    1.96 + 1.149 - 0.391,
    2.326 + 1.822 - 0.396,
    2.573 + 2.364 - 0.345,
    3.085 + 3.615 - 0.154,
];

/// Up to so many values harmonic sums are added term by term.
const SUMMED_UP_TO: f64 = 64.0;

/// The squared distance between the two distribution functions, in units of its own variance at each place: of the tests of
/// order it is the one that sees the tails.
///
/// # Formula
/// `A² = n·m / (n + m)² · Σ (F(z) − G(z))² / (H(z)·(1 − H(z)))` over the pooled values, `H` the pooled distribution function; with
/// ties in Scholz's and Stephens's midrank form (their equation 7). The statistic is `(A² − 1) / σ`, with the exact variance
/// `σ²` for the sizes: scipy's `anderson_ksamp`. The p-value is interpolated between the tabulated critical values, and so
/// never below .001 nor above .25. The score is `√(A²·(n + m) / (n·m))`: the root mean square of `F − G` in units of
/// `√(H·(1 − H))`.
///
/// Unit: none. Range: `[0, ∞)`, at most about 1.25 for equal sizes; 0 for identical samples. Symmetric. −∞ and +∞ are values,
/// NaN, null and wrong types are left out. Undefined where both sides are constant at one value, as there the variance of ranks
/// is zero. Of profiles all values of a bin are tied.
///
/// Source: Scholz and Stephens, *K-Sample Anderson–Darling Tests*, 1987.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AndersonDarling;

impl Detector for AndersonDarling {
    fn name(&self) -> &'static str {
        "anderson_darling"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let ordered = pair.ordered()?;
        let (n, m) = ordered.totals();
        if n + m < 4.0 {
            return Err(NotComparable::TooFewValues { needed: 2 });
        }
        let squared = midrank_form(ordered).ok_or(NotComparable::BothConstant)?;
        let statistic = (squared - 1.0) / variance((n, m)).sqrt();
        let score = (squared * (n + m) / n / m).sqrt();
        if !statistic.is_finite() || !score.is_finite() {
            return Err(NotComparable::TooFewValues { needed: 2 });
        }
        Ok(Evidence { score, statistic, p_value: Some(interpolated(statistic)) })
    }
}

/// `A²` with ties; `None` where all values are equal.
fn midrank_form(ordered: &Ordered) -> Option<f64> {
    let (n, m) = ordered.totals();
    let all = n + m;
    let (mut below_first, mut below, mut sum, mut groups) = (0.0, 0.0, 0.0, 0);
    for point in ordered.points() {
        let here = point.reference + point.current;
        if here <= 0.0 {
            continue;
        }
        groups += 1;
        // In shares of the samples, so that counts near 2⁵³ neither overflow nor lose their digits.
        let up_to = (below + here / 2.0) / all;
        let first = (below_first + point.reference / 2.0) / n;
        let apart = first - up_to;
        let room = up_to * (1.0 - up_to) - here / all / 4.0;
        if room > 0.0 {
            // F − H of either sample: G − H is −(F − H)·n / m.
            sum += here / all * apart * apart / room * (n + n * n / m);
        }
        below_first += point.reference;
        below += here;
    }
    (groups > 1).then_some(sum * (all - 1.0) / all)
}

/// The variance of `A²` for two samples without ties.
fn variance((n, m): (f64, f64)) -> f64 {
    let all = n + m;
    let inverse = 1.0 / n + 1.0 / m;
    let (harmonic, squares) = harmonic_sums(all - 1.0);
    // Σ_{i<j} 1 / ((N − i)·j), summed by the convolution of harmonic numbers.
    let double = squares - 2.0 * harmonic / all;
    let (g, h) = (double, harmonic);
    let a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * 4.0 + (4.0 * h - 4.0 * g + 6.0) * 2.0 + (2.0 * h - 6.0) * inverse + 4.0 * h;
    let d = (2.0 * h + 6.0) * 4.0 - 8.0 * h;
    let cubic = a + b / all + c / (all * all) + d / (all * all * all);
    cubic / ((1.0 - 1.0 / all) * (1.0 - 2.0 / all) * (1.0 - 3.0 / all))
}

/// `Σ 1/i` and `Σ 1/i²` for `i` from 1 to `n`.
fn harmonic_sums(n: f64) -> (f64, f64) {
    if n <= SUMMED_UP_TO {
        let terms = (1..=n as u32).map(f64::from);
        return terms.fold((0.0, 0.0), |(sum, squares), i| (sum + 1.0 / i, squares + 1.0 / (i * i)));
    }
    // Euler's and Maclaurin's expansions; the terms left out are below 1e-16.
    const EULER: f64 = 0.577_215_664_901_532_9;
    let square = n * n;
    let sum = n.ln() + EULER + 1.0 / (2.0 * n) - 1.0 / (12.0 * square) + 1.0 / (120.0 * square * square)
        - 1.0 / (252.0 * square * square * square);
    let rest = 1.0 / n - 1.0 / (2.0 * square) + 1.0 / (6.0 * square * n) - 1.0 / (30.0 * square * square * n)
        + 1.0 / (42.0 * square * square * square * n);
    (sum, PI * PI / 6.0 - rest)
}

/// The level at which the statistic would be critical, on a parabola through the logarithms of the tabulated levels (by least
/// squares), within the table.
fn interpolated(statistic: f64) -> f64 {
    if statistic < CRITICAL[0] {
        return LEVELS[0];
    }
    if statistic > CRITICAL[6] {
        return LEVELS[6];
    }
    let [constant, slope, bend] = parabola();
    (constant + slope * statistic + bend * statistic * statistic).exp().clamp(0.0, 1.0)
}

/// The parabola of least squares through the logarithms of the levels over the critical values.
fn parabola() -> [f64; 3] {
    // About the middle of the table, so that the sums of powers are well conditioned; fitted by Gram and Schmidt.
    let points = || CRITICAL.iter().zip(LEVELS).map(|(at, level)| (*at, level.ln()));
    let count = CRITICAL.len() as f64;
    let middle = CRITICAL.iter().sum::<f64>() / count;
    let square: f64 = CRITICAL.iter().map(|at| (at - middle).powi(2)).sum();
    let skew = CRITICAL.iter().map(|at| (at - middle).powi(3)).sum::<f64>() / square;
    let second = |at: f64| (at - middle).powi(2) - skew * (at - middle) - square / count;
    let weight: f64 = CRITICAL.iter().map(|at| second(*at).powi(2)).sum();
    let mean = points().map(|(_, level)| level).sum::<f64>() / count;
    let slope = points().map(|(at, level)| (at - middle) * level).sum::<f64>() / square;
    let bend = points().map(|(at, level)| second(at) * level).sum::<f64>() / weight;
    let constant = mean - slope * middle + bend * (middle * middle + skew * middle - square / count);
    [constant, slope - bend * (2.0 * middle + skew), bend]
}
