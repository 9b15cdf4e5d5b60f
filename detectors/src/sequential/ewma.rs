//! The EWMA chart: an exponentially weighted mean of steps, within limits that are exact at every step.
//!
//! Source: Roberts (1959), *Control chart tests based on geometric moving averages*, Technometrics 1; Lucas and Saccucci
//! (1990), Technometrics 32, for the exact limits; Nishina (1992), *A comparison of control charts from the viewpoint of
//! change-point estimation*, Quality and Reliability Engineering International 8.
//!
//! # Formula
//! With `z = (x̄ − μ)/σ` for a step of `n` values, the mean is `e ← λ·z + (1 − λ)·e`, its variance
//! `v ← λ²/n + (1 − λ)²·v` and the weight given to steps so far `w ← λ + (1 − λ)·w`, all from zero. The mean has moved when
//! `|e| > L·√(v + w²/m)`; it changed at the first step after `e` last was zero or on the other side. `m` is how many values
//! the reference's mean was learned from, infinite where it is known. For steps of one size and a known mean this is the
//! textbook's `L·σ·√(λ/(2 − λ)·(1 − (1 − λ)²ᵗ)/n)`.
//!
//! # The run length is at least 1/(2Φ(−L))
//! Of independent normal steps, every `e` is normal, and so are all of them together, the reference's mean among their
//! causes. At each step `|e|` passes its limit with probability `p = 2Φ(−L)` exactly. By Šidák's inequality (1967) the
//! probability that none of `t` did is at least `(1 − p)ᵗ`, so the mean run length is at least `1/p` whatever the weight,
//! the sizes of the steps and that of the reference. [`EwmaPolicy::with_run_length`] turns that round. Means of few skewed
//! values are not normal; an [`super::EDetector`] promises its run length for any bounded values.
//!
//! # Edge cases
//! A step without usable values changes nothing. Deviations beyond 1e100 standard deviations count as that many.

use super::excursion::Excursion;
use super::shewhart::limit_for;
use super::{Change, Direction, InControl, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// How the chart is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EwmaPolicy {
    /// λ: the weight of the newest step. The smaller, the smaller the shifts that are found, and the later.
    pub weight: f64,
    /// L: how many of its standard errors the mean may be off.
    pub limit: f64,
}

impl Default for EwmaPolicy {
    /// One false alarm in 58,000 steps or more: at least forty days of minutes.
    fn default() -> Self {
        Self { weight: 0.1, limit: 4.3 }
    }
}

impl EwmaPolicy {
    /// The limit at which normal steps give at most one false alarm in so many steps, on average.
    ///
    /// # Errors
    /// When the run length is not above one step and finite.
    pub fn with_run_length(weight: f64, steps: f64) -> Result<Self, SequentialError> {
        Ok(Self { weight, limit: limit_for("ewma", steps)? })
    }
}

/// The chart with its mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    policy: EwmaPolicy,
    reference: InControl,
    average: Average,
    /// The steps since the mean was last on the other side.
    excursion: Option<Excursion>,
    ignored: u64,
}

/// The weighted mean, in standard deviations from the reference's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Average {
    deviation: f64,
    variance: f64,
    weight: f64,
}

impl Ewma {
    /// A chart that has seen nothing.
    ///
    /// # Errors
    /// When the weight is not above 0 and at most 1, or the limit not above zero.
    pub fn new(policy: EwmaPolicy, reference: InControl) -> Result<Self, SequentialError> {
        let wrong = |setting, value, allowed| SequentialError::Setting { detector: "ewma", setting, value, allowed };
        let EwmaPolicy { weight, limit } = policy;
        require(weight > 0.0 && weight <= 1.0, wrong("weight", weight, "above 0 and at most 1"))?;
        require(limit.is_finite() && limit > 0.0, wrong("limit", limit, "finite and above zero"))?;
        Ok(Self { policy, reference, average: Average::default(), excursion: None, ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The change, if the mean is beyond its limit.
    fn change(&self) -> Option<Change> {
        let Average { deviation, variance, weight } = self.average;
        let error = (variance + weight * weight * self.reference.mean_error_squared()).sqrt();
        let Excursion { since_ms, values } = self.excursion.filter(|_| deviation.abs() > self.policy.limit * error)?;
        let direction = if deviation > 0.0 { Direction::Rising } else { Direction::Falling };
        Some(Change { change_point_ms: since_ms, direction, before: self.reference.mean(), after: values.mean() })
    }
}

impl Average {
    /// The mean with one more step of `n` values.
    fn with(self, deviation: f64, n: f64, newest: f64) -> Self {
        let kept = 1.0 - newest;
        Self {
            deviation: newest * deviation + kept * self.deviation,
            variance: newest * newest / n + kept * kept * self.variance,
            weight: newest + kept * self.weight,
        }
    }
}

impl SequentialDetector for Ewma {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let before = self.average.deviation;
        self.average = self.average.with(self.reference.deviation(step.mean()), step.n as f64, self.policy.weight);
        let now = self.average.deviation;
        let earlier = self.excursion.filter(|_| (before > 0.0 && now > 0.0) || (before < 0.0 && now < 0.0));
        self.excursion = Some(Excursion::continued(earlier, step_start_ms, &step));
        match self.change() {
            Some(change) => {
                self.reset();
                Signal::Change(change)
            }
            None => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        self.average = Average::default();
        self.excursion = None;
    }
}
