//! What a control chart holds steps against: mean and standard deviation of the reference's values.
//!
//! A step of `n` independent values has a mean whose standard error is `σ/√n`, so one reference serves steps of any
//! size. The reference's own mean is an estimate with the error `σ/√m`, which does not average out from step to step:
//! against a small reference a chart that takes it for exact will alarm for ever. Told `m`, each chart allows for it as
//! its own page says. The error of `σ` itself is not allowed for; it is `σ/√(2m)` for normal values.

use super::{SequentialError, require};
use serde::{Deserialize, Serialize};

/// Deviations beyond this many standard deviations are taken for this many, so that no square overflows.
pub(super) const MOST_DEVIATIONS: f64 = 1e100;

/// The state of control: what values are as long as nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InControl {
    mean: f64,
    standard_deviation: f64,
    /// How many values the mean was learned from; `None` if it is known.
    values: Option<u64>,
}

impl InControl {
    /// A mean that is known, with the standard deviation of single values.
    ///
    /// # Errors
    /// When the mean is not finite or the deviation not above zero: values that were all equal have no scale.
    pub fn known(mean: f64, standard_deviation: f64) -> Result<Self, SequentialError> {
        let wrong =
            |setting, value, allowed| SequentialError::Setting { detector: "control chart", setting, value, allowed };
        require(mean.is_finite(), wrong("reference mean", mean, "finite"))?;
        let scaled = standard_deviation.is_normal() && standard_deviation > 0.0;
        require(scaled, wrong("reference standard deviation", standard_deviation, "finite and above zero"))?;
        Ok(Self { mean, standard_deviation, values: None })
    }

    /// A mean that was learned from so many values.
    ///
    /// # Errors
    /// As for [`InControl::known`], and when there were no values.
    pub fn learned(mean: f64, standard_deviation: f64, values: u64) -> Result<Self, SequentialError> {
        let (detector, setting) = ("control chart", "reference values");
        let none = SequentialError::Setting { detector, setting, value: 0.0, allowed: "at least 1" };
        require(values > 0, none)?;
        Ok(Self { values: Some(values), ..Self::known(mean, standard_deviation)? })
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// How many standard deviations of single values a mean lies above the reference's.
    pub(super) fn deviation(&self, mean: f64) -> f64 {
        ((mean - self.mean) / self.standard_deviation).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
    }

    /// The squared standard error of the reference's mean, in squared standard deviations; zero if it is known.
    pub(super) fn mean_error_squared(&self) -> f64 {
        self.values.map_or(0.0, |values| 1.0 / values as f64)
    }
}
