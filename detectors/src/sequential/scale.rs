//! A linear scale that brings values into the range a detector assumes.

use super::{SequentialError, require};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// Maps a range of values onto [0, 1]; values beyond it map beyond.
///
/// ADWIN's bound assumes values in [0, 1]. Errors of a classifier are there already; absolute errors and losses are
/// brought there by the range that the reference shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    low: f64,
    span: f64,
}

impl Scale {
    /// The scale that changes nothing.
    pub const UNIT: Self = Self { low: 0.0, span: 1.0 };

    /// Maps `low` to 0 and `high` to 1.
    ///
    /// # Errors
    /// When the range is empty or not finite.
    pub fn between(low: f64, high: f64) -> Result<Self, SequentialError> {
        let span = high - low;
        let allowed = "finite and above zero: give the reference's smallest and largest value";
        let wrong = SequentialError::Setting { detector: "scale", setting: "range", value: span, allowed };
        require(low.is_finite() && span.is_finite() && span > 0.0, wrong)?;
        Ok(Self { low, span })
    }

    /// The moments of the scaled values.
    ///
    /// # Formula
    /// `x' = (x − low) / span`; the spread about the mean is scaled apart from the mean, so that an offset does not
    /// cost it its digits.
    pub fn apply(&self, step: Moments) -> Moments {
        let n = step.n as f64;
        let sum = (step.sum - n * self.low) / self.span;
        if step.n == 0 {
            // Only corrections: what they add up to is scaled by the definition.
            let sum_sq = (step.sum_sq - 2.0 * self.low * step.sum) / (self.span * self.span);
            return Moments { n: 0, sum, sum_sq };
        }
        let spread = if step.n == 1 { 0.0 } else { step.sum_sq - step.sum * step.sum / n };
        Moments { n: step.n, sum, sum_sq: spread / (self.span * self.span) + sum * sum / n }
    }

    /// The value that [`Scale::apply`] maps to `scaled`.
    pub fn restore(&self, scaled: f64) -> f64 {
        self.low + scaled * self.span
    }
}
