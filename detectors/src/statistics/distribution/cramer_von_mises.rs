//! The distribution of Cramér's and von Mises' statistic: the limit, and that of two tiny samples.

use statrs::function::gamma::ln_gamma;
use std::f64::consts::PI;

/// Above this the limit's tail is below every positive number that `1 − cdf` could tell from zero.
const NOTHING_ABOVE: f64 = 12.0;

/// Terms of the series for the limit; below [`NOTHING_ABOVE`] the last ones are zero in double precision.
const TERMS: i32 = 30;

/// The probability that the limit of `T` exceeds `t`; small ones are known to about 1e-15, not relative to themselves.
///
/// # Formula
/// `P(T ≤ t) = 1 / (π√t) Σ Γ(k + ½) / (Γ(½)·k!)·√(4k + 1)·e^{−q}·K_{1/4}(q)` with `q = (4k + 1)² / (16t)`.
///
/// Source: Anderson and Darling, 1952, equation 1.13; Csörgő and Faraway, 1996, equation 1.2.
pub(in crate::statistics) fn limit_survival(t: f64) -> f64 {
    if t <= 0.0 {
        return 1.0;
    }
    if t >= NOTHING_ABOVE {
        return 0.0;
    }
    let terms = (0..TERMS).map(|k| {
        let (k, odd) = (f64::from(k), f64::from(4 * k + 1));
        let weight = (ln_gamma(k + 0.5) - ln_gamma(k + 1.0)).exp() / PI.sqrt();
        weight * odd.sqrt() * damped_bessel(odd * odd / (16.0 * t))
    });
    (1.0 - terms.sum::<f64>() / (PI * t.sqrt())).clamp(0.0, 1.0)
}

/// `e^{−q}·K_{1/4}(q)` for positive `q`: the integral of `exp(−q(1 + cosh u))·cosh(u/4)` over `u ≥ 0`.
///
/// The trapezoidal rule on it converges faster than any power of its step; at a quarter nothing is left to gain.
fn damped_bessel(q: f64) -> f64 {
    const STEP: f64 = 0.25;
    let at = |u: f64| (-q * (1.0 + u.cosh())).exp() * (u / 4.0).cosh();
    let inner: f64 = (1..=100).map(|place| at(f64::from(place) * STEP)).sum();
    STEP * (at(0.0) / 2.0 + inner)
}

/// `P(ζ ≥ observed)` for two samples of `n` and `m` values without ties, where `ζ` is the sum of `((i·m − j·n) / g)²` over
/// the points of the lattice path that the pooled sample walks, and `g` the greatest common divisor.
///
/// Costs a number for each value that `ζ` may have at each lattice point: meant for `n` and `m` up to about 25.
///
/// Source: Anderson, *On the Distribution of the Two-Sample Cramér–von Mises Criterion*, 1962, by Xiao's, Gordon's and
/// Yakovlev's recursion, 2007.
pub(in crate::statistics) fn path_survival((n, m): (u32, u32), observed: u64) -> f64 {
    let divisor = i64::from(greatest_common_divisor(n, m));
    let mut row: Vec<Vec<(u64, f64)>> = vec![Vec::new(); m as usize + 1];
    for i in 0..=n {
        let mut left: Vec<(u64, f64)> = Vec::new();
        for (j, slot) in (0..=m).zip(&mut row) {
            let step = (i64::from(i) * i64::from(m) - i64::from(j) * i64::from(n)) / divisor;
            let steps = f64::from(i + j);
            let mut here = match i + j {
                0 => vec![(0, 1.0)],
                _ => mixed((slot, f64::from(i) / steps), (&left, f64::from(j) / steps)),
            };
            for (value, _) in &mut here {
                *value += step.unsigned_abs().pow(2);
            }
            left.clone_from(&here);
            *slot = here;
        }
    }
    let law = row.last().map(Vec::as_slice).unwrap_or_default();
    let tail: f64 = law.iter().filter(|(value, _)| *value >= observed).map(|(_, share)| share).sum();
    tail.clamp(0.0, 1.0)
}

/// The mixture of two laws, each a rising list of values with their probabilities.
fn mixed(first: (&[(u64, f64)], f64), second: (&[(u64, f64)], f64)) -> Vec<(u64, f64)> {
    let weighted = |(law, weight): (&[(u64, f64)], f64)| -> Vec<(u64, f64)> {
        law.iter().filter(|_| weight > 0.0).map(|(value, share)| (*value, share * weight)).collect()
    };
    let (first, second) = (weighted(first), weighted(second));
    let (mut left, mut right) = (first.iter().peekable(), second.iter().peekable());
    let mut law: Vec<(u64, f64)> = Vec::with_capacity(first.len() + second.len());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.0 <= b.0 => left.next(),
            (Some(_), None) => left.next(),
            _ => right.next(),
        };
        let Some((value, share)) = next else { return law };
        match law.last_mut() {
            Some(last) if last.0 == *value => last.1 += share,
            _ => law.push((*value, *share)),
        }
    }
}

/// The greatest common divisor; of zero and a number the number.
pub(in crate::statistics) fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
