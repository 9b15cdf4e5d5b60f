//! Detectors that read single outcomes: was the model right about a row, or wrong?
//!
//! They are here for comparison and for backtests, because other libraries have them; a service watches steps, which these
//! cannot read. Each follows river 0.26, where river and MOA differ. An error is 1 everywhere. A detector that has found a
//! drift forgets everything at once, and the next outcome is its first.

mod ddm;
mod eddm;
mod hddm_a;
mod hddm_w;

pub use ddm::{Ddm, DdmPolicy};
pub use eddm::{Eddm, EddmPolicy};
pub use hddm_a::{HddmA, HddmAPolicy};
pub use hddm_w::{HddmW, HddmWPolicy};

use super::{SequentialError, require};

/// Whether the model was right about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOutcome {
    /// It was.
    Right,
    /// It was not.
    Wrong,
}

impl RowOutcome {
    /// 0 for right, 1 for wrong.
    pub fn error(self) -> f64 {
        match self {
            Self::Right => 0.0,
            Self::Wrong => 1.0,
        }
    }
}

/// What a detector says after an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// Nothing has changed.
    Quiet,
    /// Errors may have become more frequent.
    Warning,
    /// The share of errors has changed.
    Drift {
        /// Outcomes before the first one of the new share, as far as the detector can tell, counted since it was new or
        /// last found a drift.
        change_point: u64,
    },
}

/// Watches the share of errors, outcome by outcome.
pub trait OutcomeDetector: Send {
    /// Takes the next outcome.
    fn observe(&mut self, outcome: RowOutcome) -> Alert;

    /// Forgets every outcome and keeps the settings.
    fn reset(&mut self);
}

/// Refuses a confidence that is none.
fn require_share(detector: &'static str, setting: &'static str, value: f64) -> Result<(), SequentialError> {
    let allowed = "above 0 and below 1";
    require(value > 0.0 && value < 1.0, SequentialError::Setting { detector, setting, value, allowed })
}

#[cfg(test)]
mod tests;
