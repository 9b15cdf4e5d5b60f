//! The distributions of Kolmogorov's and Smirnov's statistics: the limit, one sample's, and two samples' by counting paths.

use crate::statistics::Alternative;
use statrs::function::gamma::ln_gamma;
use std::f64::consts::PI;

/// Terms of the series after which nothing is left to add in double precision.
const TERMS: i32 = 100;

/// Sample size up to which one sample's distribution is exact also in its middle.
const EXACT_UP_TO: f64 = 140.0;

/// Sample size up to which the one-sided tail is summed term by term.
const SUMMED_UP_TO: f64 = 5_000.0;

/// The probability that the limit of `√n·D` exceeds `lambda`.
///
/// Source: Kolmogorov, 1933; the second series for small `λ`: Marsaglia, Tsang and Wang, 2003.
pub fn kolmogorov_survival(lambda: f64) -> f64 {
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

/// The probability that one sample of `n` values lies at least `d` from its own distribution.
///
/// `n` is a whole number, at least 1. Exact for `n ≤ 140`; beyond it the tail is twice the one-sided one (off by less than
/// 1e-7) and the middle an expansion in `1/√n` (off by about `n⁻²`).
///
/// Source: the choice of methods is that of Simard and L'Ecuyer, *Computing the Two-Sided Kolmogorov–Smirnov
/// Distribution*, 2011; the matrix method is Marsaglia's, Tsang's and Wang's, 2003; the expansion Pelz's and Good's, 1976.
pub(in crate::statistics) fn one_sample_survival(d: f64, n: f64) -> f64 {
    let square = n * d * d;
    if d <= 0.5 / n {
        return 1.0;
    }
    if d >= 1.0 || square >= 370.0 {
        return 0.0;
    }
    let survival = match n <= EXACT_UP_TO {
        true if square < 4.0 => 1.0 - by_matrix(d, n),
        false if square < 2.2 => 1.0 - by_expansion(d * n.sqrt(), n),
        _ => 2.0 * one_sided_survival(d, n),
    };
    survival.clamp(0.0, 1.0)
}

/// `P(D⁺ ≥ d)` for one sample of `n`, with `0 < d < 1`: Smirnov's sum, whose terms are all positive.
fn one_sided_survival(d: f64, n: f64) -> f64 {
    if n > SUMMED_UP_TO {
        return (-(6.0 * n * d + 1.0).powi(2) / (18.0 * n)).exp();
    }
    let last = (n * (1.0 - d)).floor() as i32;
    let terms = (0..=last).map(|j| {
        let j = f64::from(j);
        let rest = 1.0 - d - j / n;
        if rest <= 0.0 {
            return if n - j < 0.5 { (d + j / n).powf(j - 1.0) } else { 0.0 };
        }
        let ways = ln_gamma(n + 1.0) - ln_gamma(j + 1.0) - ln_gamma(n - j + 1.0);
        (ways + (j - 1.0) * (d + j / n).ln() + (n - j) * rest.ln()).exp()
    });
    (d * terms.sum::<f64>()).clamp(0.0, 1.0)
}

/// `P(D < d)` for one sample of `n`, as an entry of the `n`-th power of a small matrix.
fn by_matrix(d: f64, n: f64) -> f64 {
    let k = (n * d).ceil();
    let h = k - n * d;
    let size = 2 * k as usize - 1;
    let entry = |row: usize, column: usize| {
        let mut value = if row + 1 >= column { 1.0 } else { 0.0 };
        if column == 0 {
            value -= h.powi(row as i32 + 1);
        }
        if row + 1 == size {
            value -= h.powi((size - column) as i32);
        }
        if column == 0 && row + 1 == size && 2.0 * h > 1.0 {
            value += (2.0 * h - 1.0).powi(size as i32);
        }
        (1..=(row + 1).saturating_sub(column)).fold(value, |value, factor| value / factor as f64)
    };
    let base: Vec<f64> = (0..size * size).map(|place| entry(place / size, place % size)).collect();
    let power = matrix_power(&base, size, n as u32);
    let middle = power.get((k as usize - 1) * (size + 1)).copied().unwrap_or_default();
    (1..=n as u32).fold(middle, |value, factor| value * f64::from(factor) / n)
}

fn matrix_power(base: &[f64], size: usize, exponent: u32) -> Vec<f64> {
    let mut result: Vec<f64> = (0..size * size).map(|place| f64::from(place % (size + 1) == 0)).collect();
    let mut square = base.to_vec();
    let mut left = exponent;
    while left > 0 {
        if left % 2 == 1 {
            result = matrix_product(&result, &square, size);
        }
        square = matrix_product(&square, &square, size);
        left /= 2;
    }
    result
}

fn matrix_product(first: &[f64], second: &[f64], size: usize) -> Vec<f64> {
    let mut product = vec![0.0; size * size];
    for (target, row) in product.chunks_exact_mut(size).zip(first.chunks_exact(size)) {
        for (factor, other) in row.iter().zip(second.chunks_exact(size)) {
            for (slot, value) in target.iter_mut().zip(other) {
                *slot += factor * value;
            }
        }
    }
    product
}

/// `P(√n·D < z)` by the expansion in powers of `1/√n`.
fn by_expansion(z: f64, n: f64) -> f64 {
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, z6) = (z2 * z2, z2 * z2 * z2);
    let mut sums = [0.0_f64; 4];
    for k in 0..TERMS {
        let half = pi2 * (f64::from(k) + 0.5).powi(2);
        let whole = pi2 * f64::from(k * k);
        let (near, far) = ((-half / (2.0 * z2)).exp(), (-whole / (2.0 * z2)).exp());
        // Each stands for k and its mirror image, −k − 1 or −k.
        sums[0] += 2.0 * near;
        sums[1] += 2.0 * (half - z2) * near;
        let second = 6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * half + (1.0 - 2.0 * z2) * half * half;
        sums[2] += 2.0 * (second * near / (72.0 * z4) - whole * far / 36.0) / z4;
        let third = half.powi(3) * (5.0 - 30.0 * z2)
            + half * half * (-60.0 * z2 + 212.0 * z4)
            + half * (135.0 * z4 - 96.0 * z6)
            - (30.0 * z6 + 90.0 * z4 * z4);
        sums[3] += 2.0 * (third * near / (6480.0 * z4) + (3.0 * whole * z2 - whole * whole) * far / 216.0) / z6;
    }
    let [zeroth, first, second, third] = sums;
    let steps = n.sqrt();
    (PI / 2.0).sqrt() * (zeroth / z + first / (6.0 * z4 * steps) + second * z / n + third / (n * steps))
}

/// The probability that two samples of `n` and `m` values, with no ties, differ by at least `apart / (n·m)`, where `apart`
/// is a whole number: the share of lattice paths from `(0, 0)` to `(n, m)` that leave the band `|i·m − j·n| < apart`.
///
/// Costs at most `n·m` steps and `m` numbers. The share of paths outside is what is carried, so small probabilities keep
/// their digits.
///
/// Source: Hodges, *The Significance Probability of the Smirnov Two-Sample Test*, 1958.
pub(in crate::statistics) fn path_survival((n, m): (u32, u32), apart: f64, alternative: Alternative) -> f64 {
    if apart <= 0.0 {
        return 1.0;
    }
    let (n, m) = (f64::from(n), f64::from(m));
    let outside = |i: f64, j: f64| {
        let lead = i * m - j * n;
        match alternative {
            Alternative::TwoSided => lead.abs() >= apart,
            Alternative::Greater => lead >= apart,
            Alternative::Less => -lead >= apart,
        }
    };
    let mut row = vec![0.0_f64; m as usize + 1];
    let mut i = 0.0;
    while i <= n {
        let mut left = 0.0;
        let mut j = 0.0;
        for slot in &mut row {
            // The last step to (i, j) came from above in i of i + j orders, from the left in the other j.
            let here = if i + j > 0.0 { (*slot * i + left * j) / (i + j) } else { 0.0 };
            *slot = if outside(i, j) { 1.0 } else { here };
            left = *slot;
            j += 1.0;
        }
        i += 1.0;
    }
    row.last().copied().unwrap_or(1.0).clamp(0.0, 1.0)
}
