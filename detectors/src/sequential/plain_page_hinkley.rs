//! The Page–Hinkley test in the units of the data, against a running mean and with forgetting: the variant of river
//! 0.26.
//!
//! It is here for those who come with its settings. Its δ and λ are in the data's units, so they must be chosen for
//! each input; [`super::PageHinkley`] needs no such choice.
//!
//! # Formula
//! With the running mean `x̄`, the present value in it, `S⁺ ← α·S⁺ + x − x̄ − δ` and `S⁻ ← α·S⁻ + x − x̄ + δ`. The mean
//! has risen when `S⁺ − min S⁺ > λ`, fallen when `max S⁻ − S⁻ > λ`. The minimum starts at infinity; the maximum at −1,
//! as river has it. A step of `n` values is read as `n` values equal to its mean, all held against the running mean
//! after the step: `S ← αⁿ·S + n·(x̄ₛ − x̄ ∓ δ)`, exact for `n = 1`.

use super::segment::Segment;
use super::{Change, Direction, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// Which way a mean may move to be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Rising only.
    Up,
    /// Falling only.
    Down,
    /// Either way.
    Both,
}

/// How the test is set; the defaults are river's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlainPageHinkleyPolicy {
    /// No change is reported before so many values.
    pub min_values: u32,
    /// δ, in units of the data.
    pub delta: f64,
    /// λ, in units of the data times values.
    pub threshold: f64,
    /// α: what remains of a sum after each value.
    pub alpha: f64,
    /// Which way a mean may move to be reported.
    pub sides: Sides,
}

impl Default for PlainPageHinkleyPolicy {
    fn default() -> Self {
        Self { min_values: 30, delta: 0.005, threshold: 50.0, alpha: 0.9999, sides: Sides::Both }
    }
}

/// The test with its sums.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlainPageHinkley {
    policy: PlainPageHinkleyPolicy,
    seen: i64,
    mean: f64,
    up: Sum,
    down: Sum,
    ignored: u64,
}

/// A decaying sum and the extreme it is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sum {
    value: f64,
    /// The least of the rising sum, the greatest of the falling one; `None` before the first step.
    extreme: Option<f64>,
    /// The steps after the extreme.
    since: Option<(i64, Segment)>,
}

/// Where river's maximum of the falling sum starts.
const FIRST_MAXIMUM: f64 = -1.0;

impl PlainPageHinkley {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When `alpha` is not above 0 and at most 1, or another setting not finite.
    pub fn new(policy: PlainPageHinkleyPolicy) -> Result<Self, SequentialError> {
        let wrong = |setting, value, allowed| SequentialError::Setting {
            detector: "plain_page_hinkley",
            setting,
            value,
            allowed,
        };
        let PlainPageHinkleyPolicy { delta, threshold, alpha, .. } = policy;
        require(alpha > 0.0 && alpha <= 1.0, wrong("alpha", alpha, "above 0 and at most 1"))?;
        require(delta.is_finite(), wrong("delta", delta, "finite"))?;
        require(threshold.is_finite() && threshold > 0.0, wrong("threshold", threshold, "finite and above zero"))?;
        Ok(Self { policy, seen: 0, mean: 0.0, up: Sum::rising(), down: Sum::falling(), ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn change(&self) -> Option<Change> {
        let PlainPageHinkleyPolicy { threshold, sides, min_values, .. } = self.policy;
        if self.seen < i64::from(min_values) {
            return None;
        }
        let risen = sides != Sides::Down && self.up.distance() > threshold;
        let fallen = sides != Sides::Up && self.down.distance() > threshold;
        let (sum, direction) = match (risen, fallen) {
            (true, _) => (&self.up, Direction::Rising),
            (false, true) => (&self.down, Direction::Falling),
            (false, false) => return None,
        };
        let (change_point_ms, values) = sum.since?;
        let earlier = self.seen - values.n;
        let all = self.mean * self.seen as f64;
        let before = if earlier > 0 { (all - values.sum) / earlier as f64 } else { self.mean };
        Some(Change { change_point_ms, direction, before, after: values.mean() })
    }
}

impl Sum {
    fn rising() -> Self {
        Self { value: 0.0, extreme: None, since: None }
    }

    fn falling() -> Self {
        Self { value: 0.0, extreme: Some(FIRST_MAXIMUM), since: None }
    }

    fn distance(&self) -> f64 {
        self.extreme.map_or(0.0, |extreme| (self.value - extreme).abs())
    }

    /// Takes the sum's next value, which the step at `step_start_ms` led to; `passes` says that it is a new extreme.
    fn advance(&mut self, value: f64, (step_start_ms, step): (i64, &Segment), passes: fn(f64, f64) -> bool) {
        self.value = value;
        if self.extreme.is_none_or(|extreme| passes(value, extreme)) {
            self.extreme = Some(value);
            self.since = None;
            return;
        }
        let (_, values) = self.since.get_or_insert((step_start_ms, Segment::default()));
        *values = values.with(step);
    }
}

impl SequentialDetector for PlainPageHinkley {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let n = step.n as f64;
        self.seen = self.seen.saturating_add(step.n);
        self.mean += n * (step.mean() - self.mean) / self.seen as f64;
        let deviation = step.mean() - self.mean;
        let kept = self.policy.alpha.powf(n);
        let up = kept * self.up.value + n * (deviation - self.policy.delta);
        let down = kept * self.down.value + n * (deviation + self.policy.delta);
        self.up.advance(up, (step_start_ms, &step), |value, least| value < least);
        self.down.advance(down, (step_start_ms, &step), |value, greatest| value > greatest);
        match self.change() {
            Some(change) => {
                self.reset();
                Signal::Change(change)
            }
            None => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        self.seen = 0;
        self.mean = 0.0;
        self.up = Sum::rising();
        self.down = Sum::falling();
    }
}
