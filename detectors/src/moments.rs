//! Counts and power sums of a stream of values: what a step holds, and what sequential detectors read.
//!
//! Merging adds; a value that is taken back (a corrected label) is added with a negative count.

use serde::{Deserialize, Serialize};

/// `(n, Σx, Σx²)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many values; a correction may have lowered it again.
    pub n: i64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_sq: f64,
}

impl Moments {
    /// The moments of one value.
    pub fn of(value: f64) -> Self {
        Self { n: 1, sum: value, sum_sq: value * value }
    }

    /// Adds `value`, `count` times; a negative count takes it back.
    pub fn observe(&mut self, value: f64, count: i64) {
        let weight = count as f64;
        self.n += count;
        self.sum += weight * value;
        self.sum_sq += weight * value * value;
    }

    /// Adds the other's values to these.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.sum_sq += other.sum_sq;
    }

    /// `Σx / n`; `None` where there is nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// The population variance `Σx²/n − mean²`, never below zero; `None` where there is nothing.
    pub fn variance(&self) -> Option<f64> {
        self.mean().map(|mean| (self.sum_sq / self.n as f64 - mean * mean).max(0.0))
    }
}

/// What one step of event time saw of a model: the input of the sequential detectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepMoments {
    /// 0/1 errors of a classifier, absolute errors of a regression.
    pub error: Moments,
    /// Log loss of a classifier with scores, squared error of a regression.
    pub loss: Moments,
    /// The score of the positive class, or the predicted number.
    pub prediction: Moments,
}

impl StepMoments {
    /// Adds the other's values to these.
    pub fn merge(&mut self, other: &Self) {
        self.error.merge(&other.error);
        self.loss.merge(&other.loss);
        self.prediction.merge(&other.prediction);
    }
}
