//! The two-sample Kolmogorov–Smirnov test on fine bins.

use super::{Detector, Evidence, NotComparable, Pair};

/// Terms of the series after which nothing is left to add in double precision.
const TERMS: i32 = 100;

/// The largest distance between the two distribution functions, looked at where the fine bins meet.
///
/// # Formula
/// `D = max |F(x) − G(x)|` over the bins' edges; values below and above the edges, −∞ and +∞ keep their order. NaN, null and
/// wrongly typed values are left out. `p = 2 Σ (−1)^{k−1} exp(−2 k² λ²)` with `λ = D·√(n·m / (n + m))`, both sample sizes.
///
/// Unit: none. Range: `[0, 1]`. Within a bin nothing is seen, so the score is at most the exact `D`, and short of it by no
/// more than the largest share of one bin on either side: about 1/256 for a continuous reference, and nothing where each
/// distinct value has its own bin. The p-value is the asymptotic one; with ties, as in whole numbers, it is too large.
///
/// Source: Kolmogorov, 1933; Smirnov, 1939. The second series for small `λ`: Marsaglia, Tsang and Wang, 2003.
#[derive(Debug, Clone, Copy)]
pub struct KolmogorovSmirnov;

impl Detector for KolmogorovSmirnov {
    fn name(&self) -> &'static str {
        "ks"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let ordered = pair.ordered()?;
        let (n, m) = ordered.totals();
        let (mut below_first, mut below_second, mut score) = (0.0, 0.0, 0.0_f64);
        for point in ordered.points() {
            below_first += point.reference;
            below_second += point.current;
            score = score.max((below_first / n - below_second / m).abs());
        }
        let p_value = kolmogorov_survival(score * (n * m / (n + m)).sqrt());
        Ok(Evidence { score, statistic: score, p_value: Some(p_value) })
    }
}

/// The probability that the limit of `√n·D` exceeds `lambda`.
pub fn kolmogorov_survival(lambda: f64) -> f64 {
    use std::f64::consts::PI;
    if lambda <= 0.0 {
        return 1.0;
    }
    if lambda < 1.0 {
        // The theta function's other series, which converges fast where the first one does not.
        let terms = (1..=TERMS).map(|k| (-(f64::from(2 * k - 1) * PI / lambda).powi(2) / 8.0).exp());
        return (1.0 - (2.0 * PI).sqrt() / lambda * terms.sum::<f64>()).clamp(0.0, 1.0);
    }
    let terms = (1..=TERMS).map(|k| {
        let term = (-2.0 * (f64::from(k) * lambda).powi(2)).exp();
        if k % 2 == 1 { term } else { -term }
    });
    (2.0 * terms.sum::<f64>()).clamp(0.0, 1.0)
}
