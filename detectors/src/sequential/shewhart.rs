//! The Shewhart chart of means: each step is judged by itself.
//!
//! Source: Shewhart (1931), *Economic Control of Quality of Manufactured Product*; Montgomery, *Introduction to
//! Statistical Quality Control*, for the x̄ chart.
//!
//! # Formula
//! A step of `n` values has moved when `|x̄ − μ| > k·σ·√(1/n + 1/m)`, with `m` the number of values that the reference's
//! mean was learned from, infinite where it is known: then the limit is the textbook's `k·σ/√n`. The change is put at the
//! first of the steps up to this one that lie on the same side of the mean, which for a shift well beyond a step's standard
//! error is the first shifted one.
//!
//! # The run length is at least 1/(2Φ(−k))
//! Of normal steps with a known mean it is just that; the error that a learned mean brings into all steps alike only
//! lengthens it (Šidák, as for [`super::Ewma`]; this is the chart with a weight of 1). Means of few skewed values are not
//! normal.
//!
//! # What it deliberately does not do
//! There are no run rules: each costs a share of the false alarms, and what they are for, small lasting shifts, the other
//! charts find sooner for the same price. It finds large shifts at once and small ones late.
//!
//! # Edge cases
//! A step without usable values changes nothing. Deviations beyond 1e100 standard deviations count as that many.

use super::excursion::Excursion;
use super::{Change, Direction, InControl, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use crate::normal::normal_quantile;
use serde::{Deserialize, Serialize};

/// How the chart is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShewhartPolicy {
    /// k: how many of its standard errors a step's mean may be off. The textbook's 3 is one false alarm in 370 steps.
    pub limit: f64,
}

impl Default for ShewhartPolicy {
    /// One false alarm in 58,000 steps: forty days of minutes.
    fn default() -> Self {
        Self { limit: 4.3 }
    }
}

impl ShewhartPolicy {
    /// The limit at which normal steps give one false alarm in so many steps, on average.
    ///
    /// # Errors
    /// When the run length is not above one step and finite.
    pub fn with_run_length(steps: f64) -> Result<Self, SequentialError> {
        Ok(Self { limit: limit_for("shewhart", steps)? })
    }
}

/// How far a normal value may be off if one in `steps` is to be farther.
///
/// # Formula
/// `−Φ⁻¹(1 / (2·steps))`, of the lower tail because the upper one's has no digits left near 1.
pub(super) fn limit_for(detector: &'static str, steps: f64) -> Result<f64, SequentialError> {
    let wrong = SequentialError::Setting {
        detector,
        setting: "run length",
        value: steps,
        allowed: "above 1 step and at most 1e300",
    };
    require(steps > 1.0 && steps <= 1e300, wrong)?;
    let limit = normal_quantile(0.5 / steps);
    require(limit.is_finite() && limit > 0.0, wrong)?;
    Ok(limit)
}

/// The chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shewhart {
    policy: ShewhartPolicy,
    reference: InControl,
    /// The latest steps on one side of the mean, and which side.
    run: Option<(Direction, Excursion)>,
    ignored: u64,
}

impl Shewhart {
    /// A chart that has seen nothing.
    ///
    /// # Errors
    /// When the limit is not above zero.
    pub fn new(policy: ShewhartPolicy, reference: InControl) -> Result<Self, SequentialError> {
        let ShewhartPolicy { limit } = policy;
        let (detector, setting, allowed) = ("shewhart", "limit", "finite and above zero");
        let wrong = SequentialError::Setting { detector, setting, value: limit, allowed };
        require(limit.is_finite() && limit > 0.0, wrong)?;
        Ok(Self { policy, reference, run: None, ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}

impl SequentialDetector for Shewhart {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let deviation = self.reference.deviation(step.mean());
        let direction = if deviation > 0.0 { Direction::Rising } else { Direction::Falling };
        // A step right at the mean is on neither side.
        let same_side = self.run.filter(|(side, _)| *side == direction && deviation != 0.0).map(|(_, steps)| steps);
        let steps = Excursion::continued(same_side, step_start_ms, &step);
        self.run = (deviation != 0.0).then_some((direction, steps));
        let error = (1.0 / step.n as f64 + self.reference.mean_error_squared()).sqrt();
        if deviation.abs() <= self.policy.limit * error {
            return Signal::Quiet;
        }
        self.reset();
        let (before, after) = (self.reference.mean(), steps.values.mean());
        Signal::Change(Change { change_point_ms: steps.since_ms, direction, before, after })
    }

    fn reset(&mut self) {
        self.run = None;
    }
}
