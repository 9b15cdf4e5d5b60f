//! The two-sided CUSUM chart on step means, in units of their standard error.
//!
//! Source: Page (1954), *Continuous inspection schemes*, Biometrika 41; Siegmund (1985), *Sequential Analysis*, for the
//! run length; Montgomery, *Introduction to Statistical Quality Control*, for the chart of means of `n`.
//!
//! # Formula
//! With `z = √n·(x̄ − μ)/σ` for a step of `n` values, `S⁺ ← max(0, S⁺ + z − k')` and `S⁻ ← max(0, S⁻ − z − k')`. The mean
//! has risen when `S⁺ > h`, fallen when `S⁻ > h`; it changed at the first step after the sum last was zero, which is the
//! maximum-likelihood estimate. The slack `k' = k + 3·√(n/m)` has three standard errors in it of a reference's mean that
//! was learned from `m` values; it is `k` where the mean is known.
//!
//! # Units
//! `k` and `h` are in standard errors of a step's mean, whatever its size, and run lengths are in steps. A lasting shift
//! of `d` standard deviations is `d·√n` a step and is found after about `h / (d·√n − k')` steps; of at most `k'`, hardly
//! ever. [`super::PageHinkley`] counts in values instead: there a step of 100 weighs as much as 100 of one.
//!
//! # Choosing h
//! Of independent normal steps, both sides together give one false alarm in about `(exp(2kb) − 2kb − 1) / (4k²)` steps,
//! with `b = h + 1.166`: [`CusumPolicy::with_run_length`] turns that round. It is an approximation, and one for normal
//! means: of steps with few and skewed values the rising side alarms more often (simulated: .9 of the run length with ten
//! errors a step, .6 with one; set to 100,000, single errors of a share of .05 alarmed after some 1,600). An
//! [`super::EDetector`] promises its run length for any bounded values.
//!
//! # Edge cases
//! A step without usable values changes nothing. Deviations beyond 1e100 standard deviations count as that many.

use super::excursion::{Excursion, Side};
use super::{Change, Direction, InControl, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// Twice .583, by which a walk of normal steps overshoots a limit on average: once above, once below.
const OVERSHOOT: f64 = 1.166;
/// How many standard errors of the reference's mean are let pass.
const REFERENCE_ERRORS: f64 = 3.0;
/// The fixed point for `h` is reached to the last digit long before.
const ROUNDS: u32 = 100;

/// How the chart is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CusumPolicy {
    /// k: half the shift, in standard errors of a step, that is to be found soonest.
    pub slack: f64,
    /// h: how much a sum must pass, in standard errors of a step.
    pub threshold: f64,
}

impl Default for CusumPolicy {
    /// One false alarm in some 70,000 steps: a month and a half of minutes.
    fn default() -> Self {
        Self { slack: 0.5, threshold: 10.0 }
    }
}

impl CusumPolicy {
    /// The threshold at which normal steps give one false alarm in about so many steps, either way.
    ///
    /// # Errors
    /// When the slack is not above zero, or the run length so short that no threshold has it.
    pub fn with_run_length(slack: f64, steps: f64) -> Result<Self, SequentialError> {
        let wrong = |setting, value, allowed| SequentialError::Setting { detector: "cusum", setting, value, allowed };
        require(slack.is_finite() && slack > 0.0, wrong("slack", slack, "finite and above zero"))?;
        let scaled = 4.0 * slack * slack * steps;
        // With y = 2kb the run length is (exp(y) − y − 1) / 4k², so y = ln(1 + y + 4k²·steps), which contracts.
        let mut y: f64 = 1.0;
        for _ in 0..ROUNDS {
            y = (1.0 + y + scaled).ln();
        }
        let threshold = y / (2.0 * slack) - OVERSHOOT;
        let holds = threshold.is_finite() && threshold > 0.0;
        require(holds, wrong("run length", steps, "finite and longer than the chart's at a threshold of zero"))?;
        Ok(Self { slack, threshold })
    }
}

/// The chart with its sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    policy: CusumPolicy,
    reference: InControl,
    up: Side,
    down: Side,
    ignored: u64,
}

impl Cusum {
    /// A chart that has seen nothing.
    ///
    /// # Errors
    /// When the threshold is not above zero or the slack below zero.
    pub fn new(policy: CusumPolicy, reference: InControl) -> Result<Self, SequentialError> {
        let wrong = |setting, value, allowed| SequentialError::Setting { detector: "cusum", setting, value, allowed };
        let CusumPolicy { slack, threshold } = policy;
        require(slack.is_finite() && slack >= 0.0, wrong("slack", slack, "finite and not negative"))?;
        require(threshold.is_finite() && threshold > 0.0, wrong("threshold", threshold, "finite and above zero"))?;
        Ok(Self { policy, reference, up: Side::default(), down: Side::default(), ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The side that passed the threshold.
    fn change(&self) -> Option<Change> {
        let sides = [(&self.up, Direction::Rising), (&self.down, Direction::Falling)];
        let (side, direction) = sides.into_iter().find(|(side, _)| side.sum > self.policy.threshold)?;
        let Excursion { since_ms, values } = side.excursion?;
        Some(Change { change_point_ms: since_ms, direction, before: self.reference.mean(), after: values.mean() })
    }
}

impl SequentialDetector for Cusum {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let n = step.n as f64;
        let z = n.sqrt() * self.reference.deviation(step.mean());
        let slack = self.policy.slack + REFERENCE_ERRORS * (n * self.reference.mean_error_squared()).sqrt();
        self.up.add(z - slack, step_start_ms, &step);
        self.down.add(-z - slack, step_start_ms, &step);
        match self.change() {
            Some(change) => {
                self.reset();
                Signal::Change(change)
            }
            None => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        self.up = Side::default();
        self.down = Side::default();
    }
}
