//! HDDM_W: McDiarmid's bound on exponentially weighted means before and after a cut.
//!
//! Source: Frías-Blanco and others (2015), as for [`super::HddmA`]. The variant of river: the weights' sum of squares starts
//! with `λ² + (1 − λ)²` where MOA's starts with 1.
//!
//! # Formula
//! A mean is `m ← λ·x + (1 − λ)·m`, its sum of squared weights `b ← λ² + (1 − λ)²·b`. The cut is where `m + √(b·ln(1/α)/2)`
//! of all outcomes was least (for a rising mean; `m − …` greatest for a falling one). With `(m₁, b₁)` up to the cut and
//! `(m₂, b₂)` of what came after it, the mean has risen when `m₂ − m₁ > √((b₁ + b₂)·ln(1/α)/2)`. The change is put at the
//! cut.

use super::{Alert, OutcomeDetector, RowOutcome, require_share};
use crate::sequential::{SequentialError, Sides};
use serde::{Deserialize, Serialize};

/// How it is set; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmWPolicy {
    /// α of a drift.
    pub drift: f64,
    /// α of a warning, which a rising mean gives.
    pub warning: f64,
    /// λ: the weight of the newest outcome.
    pub weight: f64,
    /// Which way the share may move to be a drift.
    pub sides: Sides,
}

impl Default for HddmWPolicy {
    fn default() -> Self {
        Self { drift: 0.001, warning: 0.005, weight: 0.05, sides: Sides::Up }
    }
}

/// The detector with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HddmW {
    policy: HddmWPolicy,
    seen: u64,
    all: Option<Weighted>,
    rising: Cut,
    falling: Cut,
}

/// A weighted mean and the sum of its squared weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Weighted {
    mean: f64,
    squares: f64,
}

/// A cut and the means on its sides. A falling share of errors is a rising share of right outcomes, mirrored at zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Cut {
    /// Outcomes up to the cut.
    at: u64,
    before: Option<Weighted>,
    after: Option<Weighted>,
}

impl Weighted {
    fn updated(earlier: Option<Self>, value: f64, weight: f64) -> Self {
        let rest = 1.0 - weight;
        let squares = |squares: f64| weight * weight + rest * rest * squares;
        match earlier {
            Some(earlier) => Self { mean: weight * value + rest * earlier.mean, squares: squares(earlier.squares) },
            None => Self { mean: value, squares: squares(1.0) },
        }
    }

    fn bound(squares: f64, alpha: f64) -> f64 {
        (squares * (1.0 / alpha).ln() / 2.0).sqrt()
    }

    fn highest(&self, alpha: f64) -> f64 {
        self.mean + Self::bound(self.squares, alpha)
    }
}

impl Cut {
    fn observe(&mut self, (all, seen): (Weighted, u64), value: f64, policy: &HddmWPolicy) {
        let lower = self.before.is_none_or(|before| all.highest(policy.drift) < before.highest(policy.drift));
        if lower {
            *self = Self { at: seen, before: Some(all), after: None };
        } else {
            self.after = Some(Weighted::updated(self.after, value, policy.weight));
        }
    }

    fn has_risen(&self, alpha: f64) -> bool {
        let (Some(before), Some(after)) = (self.before, self.after) else { return false };
        after.mean - before.mean > Weighted::bound(before.squares + after.squares, alpha)
    }
}

impl HddmW {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When an α or the weight is not between 0 and 1.
    pub fn new(policy: HddmWPolicy) -> Result<Self, SequentialError> {
        require_share("hddm_w", "drift", policy.drift)?;
        require_share("hddm_w", "warning", policy.warning)?;
        require_share("hddm_w", "weight", policy.weight)?;
        Ok(Self { policy, seen: 0, all: None, rising: Cut::default(), falling: Cut::default() })
    }
}

impl OutcomeDetector for HddmW {
    fn observe(&mut self, outcome: RowOutcome) -> Alert {
        self.seen += 1;
        let (policy, error) = (self.policy, outcome.error());
        let all = Weighted::updated(self.all, error, policy.weight);
        self.all = Some(all);
        self.rising.observe((all, self.seen), error, &policy);
        let mirrored = Weighted { mean: -all.mean, squares: all.squares };
        self.falling.observe((mirrored, self.seen), -error, &policy);
        let cut = match policy.sides {
            Sides::Up | Sides::Both if self.rising.has_risen(policy.drift) => Some(self.rising),
            Sides::Down | Sides::Both if self.falling.has_risen(policy.drift) => Some(self.falling),
            _ => None,
        };
        if let Some(Cut { at: change_point, .. }) = cut {
            self.reset();
            return Alert::Drift { change_point };
        }
        if self.rising.has_risen(policy.warning) { Alert::Warning } else { Alert::Quiet }
    }

    fn reset(&mut self) {
        *self = Self { policy: self.policy, seen: 0, all: None, rising: Cut::default(), falling: Cut::default() };
    }
}
