//! The Page–Hinkley test, two-sided and in units of a standard deviation, so that the scale of the data does not
//! matter.
//!
//! Source: Page (1954), *Continuous inspection schemes*, Biometrika 41; Hinkley (1971), Biometrika 58. The variant is
//! the one with a minimum at zero and without forgetting, also known as the two-sided CUSUM.
//!
//! # Formula
//! With `z = (x̄ − μ) / σ` for a step of `n` values, `S⁺ ← max(0, S⁺ + n·(z − δ))` and `S⁻ ← max(0, S⁻ − n·(z + δ))`.
//! The mean has risen when `S⁺ > λ` and fallen when `S⁻ > λ`; it changed at the step after the sum last was zero, which
//! is the maximum-likelihood estimate. For steps of one value this is the test value by value; a larger step is read as
//! one, so it can be found changed only at its end, and a change within it is put at its start.
//!
//! # Choosing λ
//! Of independent normal values at the reference's mean, a side gives one false alarm in about `(exp(2δb) − 2δb − 1) /
//! (2δ²)` values, with `b = λ + 1.166` (Siegmund, 1985). The defaults `δ = 0.1`, `λ = 100` come to some 10¹⁰; a lasting
//! shift of `d` standard deviations is found after about `λ / (d − δ)` values, and one below δ never.

use super::excursion::{Excursion, Side};
use super::in_control::MOST_DEVIATIONS;
use super::segment::Segment;
use super::{Change, Direction, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// How the test is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageHinkleyPolicy {
    /// δ: shifts smaller than this many standard deviations are let pass.
    pub tolerance: f64,
    /// λ: how much the sum must reach, in standard deviations times values.
    pub threshold: f64,
    /// No change is reported before so many values; a running baseline needs them to settle.
    pub min_values: u32,
}

impl Default for PageHinkleyPolicy {
    fn default() -> Self {
        Self { tolerance: 0.1, threshold: 100.0, min_values: 30 }
    }
}

/// What values are held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Mean and standard deviation of the reference's values, taken for exact: of `m` values the mean is off by about `σ/√m`,
    /// so that the tolerance should be some times `1/√m` at least. [`super::Cusum`] takes that error into account by itself.
    Reference {
        /// The mean.
        mean: f64,
        /// The standard deviation of single values, above zero.
        standard_deviation: f64,
    },
    /// Mean and standard deviation of the values so far, the present step among them, since the start or the last
    /// change.
    Running,
}

/// The test with its sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    policy: PageHinkleyPolicy,
    baseline: Baseline,
    seen: Segment,
    up: Side,
    down: Side,
    ignored: u64,
}

impl PageHinkley {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When the threshold is not above zero, the tolerance below zero, or the reference's mean or deviation unusable. A
    /// reference whose values are all equal has no scale: use [`Baseline::Running`].
    pub fn new(policy: PageHinkleyPolicy, baseline: Baseline) -> Result<Self, SequentialError> {
        let wrong =
            |setting, value, allowed| SequentialError::Setting { detector: "page_hinkley", setting, value, allowed };
        let PageHinkleyPolicy { tolerance, threshold, .. } = policy;
        require(tolerance.is_finite() && tolerance >= 0.0, wrong("tolerance", tolerance, "finite and not negative"))?;
        require(threshold.is_finite() && threshold > 0.0, wrong("threshold", threshold, "finite and above zero"))?;
        if let Baseline::Reference { mean, standard_deviation: sd } = baseline {
            require(mean.is_finite(), wrong("reference mean", mean, "finite"))?;
            require(sd.is_normal() && sd > 0.0, wrong("reference standard deviation", sd, "finite and above zero"))?;
        }
        let (up, down) = (Side::default(), Side::default());
        Ok(Self { policy, baseline, seen: Segment::default(), up, down, ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// How many standard deviations the step lies from the baseline, and the baseline's mean. While all values so far are
    /// equal there is no scale and no deviation either; a reference has a scale, however far from it a step lies.
    fn standardise(&self, step: &Segment) -> (f64, f64) {
        match self.baseline {
            Baseline::Reference { mean, standard_deviation } => {
                let z = (step.mean() - mean) / standard_deviation;
                (z.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS), mean)
            }
            Baseline::Running => {
                let mean = self.seen.mean();
                let z = (step.mean() - mean) / self.seen.variance().sqrt();
                (if z.is_finite() { z } else { 0.0 }, mean)
            }
        }
    }

    /// The side that passed the threshold, if enough values were seen.
    fn change(&self, baseline_mean: f64) -> Option<Change> {
        if self.seen.n < i64::from(self.policy.min_values) {
            return None;
        }
        let sides = [(&self.up, Direction::Rising), (&self.down, Direction::Falling)];
        let (side, direction) = sides.into_iter().find(|(side, _)| side.sum > self.policy.threshold)?;
        let Excursion { since_ms, values } = side.excursion?;
        // A running baseline has the excursion in it; the mean before is that of the values before.
        let before = match self.baseline {
            Baseline::Running if self.seen.n > values.n => self.seen.without(&values).mean(),
            _ => baseline_mean,
        };
        Some(Change { change_point_ms: since_ms, direction, before, after: values.mean() })
    }
}

impl SequentialDetector for PageHinkley {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        self.seen = self.seen.with(&step);
        let (z, mean) = self.standardise(&step);
        let (n, tolerance) = (step.n as f64, self.policy.tolerance);
        self.up.add(n * (z - tolerance), step_start_ms, &step);
        self.down.add(n * (-z - tolerance), step_start_ms, &step);
        match self.change(mean) {
            Some(change) => {
                self.reset();
                Signal::Change(change)
            }
            None => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        self.seen = Segment::default();
        self.up = Side::default();
        self.down = Side::default();
    }
}
