//! HDDM_A: Hoeffding's bound on the means before and after a cut.
//!
//! Source: Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota (2015), *Online and
//! non-parametric drift detection methods based on Hoeffding's bounds*, IEEE TKDE 27(3).
//!
//! # Formula
//! The cut is where mean plus bound `√(ln(1/α) / 2n)` was least (for a rising mean; mean minus bound greatest for a falling
//! one). With `n₀` outcomes up to the cut and `n` in all, the mean has changed when it has moved by at least
//! `√((n − n₀) / (2·n₀·n) · ln(2/α))`. The change is put at the cut.

use super::{Alert, OutcomeDetector, RowOutcome, require_share};
use crate::sequential::{SequentialError, Sides};
use serde::{Deserialize, Serialize};

/// How it is set; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmAPolicy {
    /// α of a drift.
    pub drift: f64,
    /// α of a warning, which a rising mean gives.
    pub warning: f64,
    /// Which way the share may move to be a drift.
    pub sides: Sides,
}

impl Default for HddmAPolicy {
    fn default() -> Self {
        Self { drift: 0.001, warning: 0.005, sides: Sides::Up }
    }
}

/// The detector with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HddmA {
    policy: HddmAPolicy,
    all: Tally,
    /// Up to where the mean plus its bound was least.
    low: Tally,
    /// Up to where the mean minus its bound was greatest.
    high: Tally,
}

/// Outcomes and errors among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    outcomes: u64,
    errors: u64,
}

impl Tally {
    fn mean(self) -> f64 {
        self.errors as f64 / self.outcomes as f64
    }

    /// Hoeffding's bound on the mean.
    fn bound(self, alpha: f64) -> f64 {
        ((1.0 / alpha).ln() / (2.0 * self.outcomes as f64)).sqrt()
    }

    /// How far the mean must move from this part to the whole to be a change.
    fn least_move(self, all: Self, alpha: f64) -> f64 {
        let later = (all.outcomes - self.outcomes) as f64;
        let weight = later / self.outcomes as f64 / all.outcomes as f64;
        (weight / 2.0 * (2.0 / alpha).ln()).sqrt()
    }
}

impl HddmA {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When an α is not between 0 and 1.
    pub fn new(policy: HddmAPolicy) -> Result<Self, SequentialError> {
        require_share("hddm_a", "drift", policy.drift)?;
        require_share("hddm_a", "warning", policy.warning)?;
        Ok(Self { policy, all: Tally::default(), low: Tally::default(), high: Tally::default() })
    }

    fn move_cuts(&mut self) {
        let (all, alpha) = (self.all, self.policy.drift);
        if self.low.outcomes == 0 || self.low.mean() + self.low.bound(alpha) >= all.mean() + all.bound(alpha) {
            self.low = all;
        }
        if self.high.outcomes == 0 || self.high.mean() - self.high.bound(alpha) <= all.mean() - all.bound(alpha) {
            self.high = all;
        }
    }

    fn has_risen(&self, alpha: f64) -> bool {
        let (low, all) = (self.low, self.all);
        low != all && all.mean() - low.mean() >= low.least_move(all, alpha)
    }

    fn has_fallen(&self, alpha: f64) -> bool {
        let (high, all) = (self.high, self.all);
        high != all && high.mean() - all.mean() >= high.least_move(all, alpha)
    }
}

impl OutcomeDetector for HddmA {
    fn observe(&mut self, outcome: RowOutcome) -> Alert {
        self.all.outcomes += 1;
        self.all.errors += u64::from(outcome == RowOutcome::Wrong);
        self.move_cuts();
        let HddmAPolicy { drift, warning, sides } = self.policy;
        let cut = match sides {
            Sides::Up | Sides::Both if self.has_risen(drift) => Some(self.low),
            Sides::Down | Sides::Both if self.has_fallen(drift) => Some(self.high),
            _ => None,
        };
        if let Some(Tally { outcomes: change_point, .. }) = cut {
            self.reset();
            return Alert::Drift { change_point };
        }
        if self.has_risen(warning) { Alert::Warning } else { Alert::Quiet }
    }

    fn reset(&mut self) {
        (self.all, self.low, self.high) = Default::default();
    }
}
