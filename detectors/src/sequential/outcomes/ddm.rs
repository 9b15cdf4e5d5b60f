//! DDM, the drift detection method.
//!
//! Source: Gama, Medas, Castillo and Rodrigues (2004), *Learning with drift detection*, SBIA. The variant of river.
//!
//! # Formula
//! With the share of errors `p` of `n` outcomes and `s = √(p·(1 − p) / n)`, the least `p + s` so far is kept as
//! `(p_min, s_min)`. A warning is `p + s > p_min + 2·s_min`, a drift `p + s > p_min + 3·s_min`; neither before `n` has
//! passed the warm start. Only a rising share is found. The change is put where the warning before it began.

use super::{Alert, OutcomeDetector, RowOutcome};
use crate::sequential::{SequentialError, require};
use serde::{Deserialize, Serialize};

/// How it is set; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdmPolicy {
    /// Outcomes before the first judgement.
    pub warm_start: u32,
    /// Standard deviations above the minimum that are a warning.
    pub warning: f64,
    /// Standard deviations above the minimum that are a drift.
    pub drift: f64,
}

impl Default for DdmPolicy {
    fn default() -> Self {
        Self { warm_start: 30, warning: 2.0, drift: 3.0 }
    }
}

/// The detector with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ddm {
    policy: DdmPolicy,
    seen: u64,
    share: f64,
    least: Option<Least>,
    warned_since: Option<u64>,
}

/// The share and its deviation where their sum was least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Least {
    share: f64,
    deviation: f64,
}

impl Ddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a threshold is not above zero.
    pub fn new(policy: DdmPolicy) -> Result<Self, SequentialError> {
        for (setting, value) in [("warning", policy.warning), ("drift", policy.drift)] {
            let wrong = SequentialError::Setting { detector: "ddm", setting, value, allowed: "finite and above zero" };
            require(value.is_finite() && value > 0.0, wrong)?;
        }
        Ok(Self { policy, seen: 0, share: 0.0, least: None, warned_since: None })
    }
}

impl OutcomeDetector for Ddm {
    fn observe(&mut self, outcome: RowOutcome) -> Alert {
        self.seen += 1;
        let n = self.seen as f64;
        self.share += (outcome.error() - self.share) / n;
        if self.seen <= u64::from(self.policy.warm_start) {
            return Alert::Quiet;
        }
        // Rounding may take a share a hair beyond 0 or 1.
        let now = Least { share: self.share, deviation: (self.share * (1.0 - self.share)).max(0.0).sqrt() / n.sqrt() };
        let sum = now.share + now.deviation;
        let least = match self.least {
            Some(least) if sum > least.share + least.deviation => least,
            _ => *self.least.insert(now),
        };
        if sum > least.share + self.policy.drift * least.deviation {
            let change_point = self.warned_since.unwrap_or(self.seen - 1);
            self.reset();
            return Alert::Drift { change_point };
        }
        if sum > least.share + self.policy.warning * least.deviation {
            self.warned_since.get_or_insert(self.seen - 1);
            return Alert::Warning;
        }
        self.warned_since = None;
        Alert::Quiet
    }

    fn reset(&mut self) {
        *self = Self { policy: self.policy, seen: 0, share: 0.0, least: None, warned_since: None };
    }
}
