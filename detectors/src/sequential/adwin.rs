//! ADWIN: a window that grows while its mean stands still and drops its past when the mean has moved.
//!
//! Source: Bifet and Gavaldà (2007), *Learning from time-changing data with adaptive windowing*, SIAM SDM, in the
//! version of its authors' implementation (MOA): the second bound of the paper's section 4 (by the variance), an
//! exponential histogram, and a look at the cuts once every `clock` values.
//!
//! # Formula
//! A window of `n` values with variance `σ²` is cut into an older part of `n₀` and a newer of `n₁`, at each edge
//! between buckets. It has changed if `|x̄₀ − x̄₁| > √(2·m·σ²·δ') + ⅔·m·δ'`, with `δ' = ln(2·ln(n)/δ)` and
//! `m = 1/(n₀ − 4) + 1/(n₁ − 4)`. Then the oldest bucket goes, and the rest is looked at again.
//!
//! # Choices
//! - Weights: a step is one bucket whatever it holds, so a cut falls between steps; `n`, means and variance are those
//!   of the values. Steps of one value give the algorithm of the paper. The bound treats values as independent: of
//!   steps whose means differ more than their values explain, ADWIN will say that they changed.
//! - Both directions are reported. MOA reports a change only where the mean rose.
//! - After a change only the old buckets go, as in the paper. River starts afresh: [`AfterChange::StartAfresh`].
//! - The bound assumes values in [0, 1]: of values scaled by 1e-6 it never fires. See [`super::Scale`].

use super::buckets::{Bucket, Buckets};
use super::segment::Segment;
use super::{Change, Direction, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// A window with no more values than this is not cut; as in MOA and river.
const GRACE_VALUES: i64 = 10;
/// Taken off the size of each part, less one, so that short parts need a larger difference; as in MOA and river.
const HANDICAP: i64 = 5;

/// How ADWIN is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdwinPolicy {
    /// The confidence: the smaller, the fewer false alarms. MOA's and river's default is .002.
    pub delta: f64,
    /// The cuts are looked at once every so many values; 32 in MOA and river.
    pub clock: u32,
    /// The fewest values on either side of a cut: 7 in MOA, 5 in river. At least 5.
    pub min_part: u32,
    /// What becomes of the window after a change.
    pub after_change: AfterChange,
}

/// What becomes of the window after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterChange {
    /// The older part goes, as in the paper and in MOA. A large change is reported for as long as the cut can still be
    /// sharpened.
    DropOld,
    /// Everything goes, as in river: one report for a change, and a while without sight.
    StartAfresh,
}

impl Default for AdwinPolicy {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, min_part: 7, after_change: AfterChange::DropOld }
    }
}

/// An adaptive window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    policy: AdwinPolicy,
    window: Buckets,
    /// Values since the start or the last reset, for the clock.
    seen: i64,
    ignored: u64,
}

impl Adwin {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When `delta` is not between 0 and 1, `clock` is 0 or `min_part` below 5.
    pub fn new(policy: AdwinPolicy) -> Result<Self, SequentialError> {
        let wrong = |setting, value, allowed| SequentialError::Setting { detector: "adwin", setting, value, allowed };
        let AdwinPolicy { delta, clock, min_part, .. } = policy;
        require(delta > 0.0 && delta < 1.0, wrong("delta", delta, "between 0 and 1"))?;
        require(clock > 0, wrong("clock", f64::from(clock), "at least 1"))?;
        require(i64::from(min_part) >= HANDICAP, wrong("min_part", f64::from(min_part), "at least 5"))?;
        Ok(Self { policy, window: Buckets::default(), seen: 0, ignored: 0 })
    }

    /// The mean of the window; `None` before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.window.total().n > 0).then(|| self.window.total().mean())
    }

    /// Values in the window.
    pub fn width(&self) -> i64 {
        self.window.total().n
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Drops old buckets until no cut shows a change; `None` if there was none at all.
    fn shrink(&mut self) -> Option<Change> {
        let sharpest_ms = self.sharpest_cut_ms();
        let mut dropped = Segment::default();
        while self.has_change() {
            let oldest = self.window.pop_oldest()?;
            dropped = dropped.with(&oldest.values);
        }
        let kept_ms = self.window.start_ms().filter(|_| dropped.n > 0)?;
        let change_point_ms = sharpest_ms.map_or(kept_ms, |sharpest_ms| sharpest_ms.max(kept_ms));
        let (before, after) = (dropped.mean(), self.window.total().mean());
        let direction = if after > before { Direction::Rising } else { Direction::Falling };
        Some(Change { change_point_ms, direction, before, after })
    }

    /// Start of the values after the cut at which the two means differ most, in units of the difference's own error.
    ///
    /// What is dropped is only as much as must be, so the window that is kept still begins before the change when the
    /// change is small against the window; this cut is the likelier one (for a normal mean it is the most likely).
    fn sharpest_cut_ms(&self) -> Option<i64> {
        let total = *self.window.total();
        let min_part = i64::from(self.policy.min_part);
        let (mut old_n, mut old_sum) = (0_i64, 0.0);
        let mut sharpest: Option<(f64, i64)> = None;
        for bucket in self.window.oldest_first() {
            let new_n = total.n - old_n;
            if old_n >= min_part && new_n >= min_part {
                let difference = old_sum / old_n as f64 - (total.sum - old_sum) / new_n as f64;
                let sharpness = difference * difference * (old_n as f64 * new_n as f64 / total.n as f64);
                if sharpest.is_none_or(|(most, _)| sharpness > most) {
                    sharpest = Some((sharpness, bucket.start_ms));
                }
            }
            old_n = bucket.values.n.saturating_add(old_n);
            old_sum += bucket.values.sum;
        }
        sharpest.map(|(_, start_ms)| start_ms)
    }

    /// Whether the two sides of some cut differ by more than chance allows.
    fn has_change(&self) -> bool {
        let total = *self.window.total();
        let confidence = (2.0 * (total.n as f64).ln() / self.policy.delta).ln();
        let min_part = i64::from(self.policy.min_part);
        let (mut old_n, mut old_sum) = (0_i64, 0.0);
        for bucket in self.window.oldest_first() {
            old_n = bucket.values.n.saturating_add(old_n);
            old_sum += bucket.values.sum;
            let new_n = total.n - old_n;
            if new_n < min_part {
                return false;
            }
            if old_n < min_part {
                continue;
            }
            let difference = old_sum / old_n as f64 - (total.sum - old_sum) / new_n as f64;
            let handicapped = |n: i64| 1.0 / (n - HANDICAP + 1) as f64;
            let m = handicapped(old_n) + handicapped(new_n);
            let bound = (2.0 * m * total.variance() * confidence).sqrt() + 2.0 / 3.0 * confidence * m;
            if difference.abs() > bound {
                return true;
            }
        }
        false
    }
}

impl SequentialDetector for Adwin {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(values) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let clock = i64::from(self.policy.clock);
        let rounds_before = self.seen / clock;
        self.seen = self.seen.saturating_add(values.n);
        self.window.push(Bucket { start_ms: step_start_ms, values });
        if self.seen / clock == rounds_before || self.window.total().n <= GRACE_VALUES {
            return Signal::Quiet;
        }
        let Some(change) = self.shrink() else { return Signal::Quiet };
        if self.policy.after_change == AfterChange::StartAfresh {
            self.reset();
        }
        Signal::Change(change)
    }

    fn reset(&mut self) {
        self.window = Buckets::default();
        self.seen = 0;
    }
}
