//! EDDM, the early drift detection method: the distances between errors instead of their share.
//!
//! With its defaults it raises 8 to 14 false alarms in 5,000 outcomes without any change; it is offered for comparison.
//!
//! Source: Baena-García, del Campo-Ávila, Fidalgo, Bifet, Gavaldà and Morales-Bueno (2006), *Early drift detection
//! method*, ECML PKDD workshop. The variant of river: variance of a sample, first distance counted from the start.
//!
//! # Formula
//! With mean `m` and standard deviation `s` of the distances between errors, and the largest `m + 2s` so far, the ratio of
//! the present `m + 2s` to it below `warning` is a warning and below `drift` a drift. It is looked at when an error
//! comes, and not before both outcomes and errors have passed the warm start; a warning lasts until the next error.

use super::{Alert, OutcomeDetector, RowOutcome, require_share};
use crate::sequential::SequentialError;
use serde::{Deserialize, Serialize};

/// How it is set; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EddmPolicy {
    /// Outcomes, and errors, before the first judgement.
    pub warm_start: u32,
    /// The ratio below which there is a warning; α in the paper.
    pub warning: f64,
    /// The ratio below which there is a drift; β in the paper.
    pub drift: f64,
}

impl Default for EddmPolicy {
    fn default() -> Self {
        Self { warm_start: 30, warning: 0.95, drift: 0.9 }
    }
}

/// The detector with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Eddm {
    policy: EddmPolicy,
    seen: u64,
    errors: u64,
    last_error: u64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
    largest: f64,
    warned_since: Option<u64>,
}

impl Eddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a ratio is not between 0 and 1.
    pub fn new(policy: EddmPolicy) -> Result<Self, SequentialError> {
        require_share("eddm", "warning", policy.warning)?;
        require_share("eddm", "drift", policy.drift)?;
        Ok(Self::fresh(policy))
    }

    fn fresh(policy: EddmPolicy) -> Self {
        let (mean, squares, largest) = (0.0, 0.0, 0.0);
        Self { policy, seen: 0, errors: 0, last_error: 0, mean, squares, largest, warned_since: None }
    }

    fn as_before(&self) -> Alert {
        if self.warned_since.is_some() { Alert::Warning } else { Alert::Quiet }
    }

    /// Takes the distance to the last error into account; `m + 2s` of all.
    fn spread(&mut self) -> f64 {
        let distance = (self.seen - self.last_error) as f64;
        self.last_error = self.seen;
        self.errors += 1;
        let before = self.mean;
        self.mean += (distance - before) / self.errors as f64;
        self.squares += (distance - self.mean) * (distance - before);
        let variance = if self.errors > 1 { self.squares / (self.errors - 1) as f64 } else { 0.0 };
        self.mean + 2.0 * variance.max(0.0).sqrt()
    }
}

impl OutcomeDetector for Eddm {
    fn observe(&mut self, outcome: RowOutcome) -> Alert {
        self.seen += 1;
        if outcome == RowOutcome::Right {
            return self.as_before();
        }
        let spread = self.spread();
        let warm_start = u64::from(self.policy.warm_start);
        if self.seen <= warm_start {
            return Alert::Quiet;
        }
        let ratio = if spread > self.largest { 1.0 } else { spread / self.largest };
        self.largest = self.largest.max(spread);
        let judged = self.errors > warm_start;
        if judged && ratio < self.policy.drift {
            let change_point = self.warned_since.unwrap_or(self.seen - 1);
            self.reset();
            return Alert::Drift { change_point };
        }
        match judged && ratio < self.policy.warning {
            true => self.warned_since = self.warned_since.or(Some(self.seen - 1)),
            false => self.warned_since = None,
        }
        self.as_before()
    }

    fn reset(&mut self) {
        *self = Self::fresh(self.policy);
    }
}
