//! Estimates with their standard errors, and the list in which metrics are collected.

use crate::moments::Moments;
use crate::verdict::Estimate;
use std::collections::BTreeMap;

/// A probability of zero would cost infinitely much, so probabilities are kept this far from 0 and 1.
const LEAST_PROBABILITY: f64 = 1e-15;

/// `-ln p` of the probability given to the class that was right.
///
/// A lone score is that of a binary task's second class. It is clipped before it is taken from one, as scikit-learn did
/// while it had `eps`, so that a certain miss costs 34.54. `None` where the class has no score.
pub(super) fn log_loss(label: u16, scores: &[f64]) -> Option<f64> {
    let clipped = |score: &f64| score.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
    let given = match scores {
        [second] if label == 0 => 1.0 - clipped(second),
        [second] => clipped(second),
        several => clipped(several.get(usize::from(label))?),
    };
    Some(-given.ln())
}

/// A share with its standard error; `None` of nothing.
///
/// # Formula
/// The value is `k / n`. The error is that of Agresti and Coull (1998), `√(p̃(1 − p̃) / (n + 4))` with `p̃ = (k + 2) /
/// (n + 4)`: the plain binomial one is zero when all or none of a few rows succeeded, which would make any difference
/// significant.
pub(super) fn share(k: i64, n: i64) -> Option<Estimate> {
    let value = ratio(k as f64, n as f64)?;
    let smoothed = (k as f64 + 2.0) / (n as f64 + 4.0);
    let variance = (smoothed * (1.0 - smoothed) / (n as f64 + 4.0)).max(0.0);
    Some(Estimate { value, standard_error: Some(variance.sqrt()) })
}

/// A mean with its standard error `s / √n`; of one value the error is unknown, of none there is no mean.
///
/// A spread that the sums cannot tell from none is none, so that of equal values the error is exactly 0.
///
/// # Formula
/// `s² = Σx²/n − mean²`. A sum of `n` terms that are all positive is off by at most `(n − 1) ε/2` of itself (Higham, Accuracy
/// and Stability of Numerical Algorithms, 2002, section 4.2), so for equal values the difference stays below `4 ε Σx²`. Among
/// a million rows that hides deviations below a 30,000th of the values' size, which no loss or error has.
pub(crate) fn mean(moments: &Moments) -> Option<Estimate> {
    let value = moments.mean()?;
    let noise = 4.0 * f64::EPSILON * moments.sum_sq;
    let spread = |variance: f64| if variance > noise { variance } else { 0.0 };
    let standard_error = if moments.n > 1 {
        moments.variance().map(|variance| (spread(variance) / (moments.n - 1) as f64).sqrt())
    } else {
        None
    };
    Some(Estimate { value, standard_error })
}

/// The jackknife's standard error, from what a metric is without one row of each kind and how many rows of each kind there
/// are; `None` of fewer than two rows.
///
/// # Formula
/// `√((n − 1)/n · Σ c·(f₋ − f̄)²)` with `f̄ = Σ c·f₋ / n`. Source: Efron and Stein (1981), *Annals of Statistics* 9.
pub(super) fn jackknife(left_out: &[f64], counts: &[i64]) -> Option<f64> {
    let n: i64 = counts.iter().sum();
    if n < 2 {
        return None;
    }
    let weighted = |of: &dyn Fn(f64) -> f64| -> f64 {
        left_out.iter().zip(counts).map(|(value, count)| *count as f64 * of(*value)).sum()
    };
    let mean = weighted(&|value| value) / n as f64;
    let spread = weighted(&|value| (value - mean).powi(2));
    Some((spread * (n - 1) as f64 / n as f64).sqrt())
}

/// A value whose error is not known.
pub(crate) fn plain(value: f64) -> Estimate {
    Estimate { value, standard_error: None }
}

/// A quotient of counts or sums; `None` where the divisor is not positive.
pub(crate) fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator > 0.0).then(|| numerator / denominator)
}

/// How the errors of several classes go together in their mean.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Together {
    /// Their variances add.
    Independent,
    /// They are taken to err the same way at once, which no dependence exceeds.
    Same,
}

impl Together {
    /// The mean of estimates with these weights; its error is unknown where one of theirs is.
    pub(crate) fn mean(self, weighted: impl Iterator<Item = (f64, Estimate)>) -> Option<Estimate> {
        let (mut any, mut value, mut error) = (false, 0.0, Some(0.0_f64));
        for (weight, estimate) in weighted {
            any = true;
            value += weight * estimate.value;
            error = error.zip(estimate.standard_error).map(|(sum, own)| match self {
                Self::Independent => sum.hypot(weight * own),
                Self::Same => sum + weight * own,
            });
        }
        any.then_some(Estimate { value, standard_error: error })
    }
}

/// Collects the metrics that are defined.
#[derive(Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, Estimate>);

impl Metrics {
    /// Keeps the metric if it is defined and finite.
    pub(crate) fn put(&mut self, name: &str, estimate: Option<Estimate>) {
        let finite = estimate.filter(|estimate| estimate.value.is_finite());
        if let Some(Estimate { value, standard_error }) = finite {
            let standard_error = standard_error.filter(|error| error.is_finite());
            self.0.insert(name.to_owned(), Estimate { value, standard_error });
        }
    }

    pub(crate) fn put_value(&mut self, name: &str, value: Option<f64>) {
        self.put(name, value.map(plain));
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, Estimate> {
        self.0
    }
}

/// Adds `other` to `sums`, or takes it out.
pub(super) fn combine_moments(sums: &mut Moments, other: &Moments, sign: super::Sign) {
    let factor = sign.factor();
    let weight = factor as f64;
    let signed = Moments { n: factor * other.n, sum: weight * other.sum, sum_sq: weight * other.sum_sq };
    sums.merge(&signed);
}
