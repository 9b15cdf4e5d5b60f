//! What an e-detector holds steps against: where values lie, and where their mean lies, as long as nothing has changed.
//!
//! It claims no more than that: neither a distribution nor a variance. A mean that was learned from a reference is a range,
//! so that what the detector promises does not hang on the reference's own error.

use super::segment::Segment;
use super::{SequentialError, require};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// Bounds of values and of their mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BoundedMean {
    low: Option<f64>,
    high: Option<f64>,
    mean: f64,
    least_mean: f64,
    greatest_mean: f64,
}

impl BoundedMean {
    /// A mean that is known, of values between `low` and `high`; `None` is without bound. Without a lower bound no rise
    /// can be found, and without an upper one no fall.
    ///
    /// # Errors
    /// When there is no bound at all, or the mean does not lie strictly between them.
    pub fn known(low: Option<f64>, high: Option<f64>, mean: f64) -> Result<Self, SequentialError> {
        let wrong =
            |setting, value, allowed| SequentialError::Setting { detector: "e_detector", setting, value, allowed };
        let bounds = || low.into_iter().chain(high);
        let first = bounds().next().unwrap_or(f64::NAN);
        require(bounds().all(f64::is_finite) && first.is_finite(), wrong("bound of values", first, "finite"))?;
        let above = low.is_none_or(|low| (mean - low).is_normal() && mean > low);
        let below = high.is_none_or(|high| (high - mean).is_normal() && mean < high);
        let between = mean.is_finite() && above && below;
        require(between, wrong("reference mean", mean, "strictly between the bounds of values"))?;
        Ok(Self { low, high, mean, least_mean: mean, greatest_mean: mean })
    }

    /// The range in which the mean lies with confidence, learned from a reference's independent values between `low` and
    /// `high`. What the detector promises holds with probability `confidence` over the reference.
    ///
    /// # Formula
    /// `x̄ ± (√(2·V·ln(4/δ)/m) + 7·(high − low)·ln(4/δ)/(3·(m − 1)))` with the sample variance `V` of `m` values and
    /// `δ = 1 − confidence`. Source: Maurer and Pontil (2009), *Empirical Bernstein bounds*, COLT, theorem 4, once for
    /// either side. It holds for any values in the range, however skewed.
    ///
    /// # Errors
    /// As for [`BoundedMean::known`]; when the confidence is not between 0 and 1; when the values are so few that the
    /// range reaches both bounds, so that nothing could ever be found.
    pub fn learned((low, high): (f64, f64), reference: Moments, confidence: f64) -> Result<Self, SequentialError> {
        let wrong =
            |setting, value, allowed| SequentialError::Setting { detector: "e_detector", setting, value, allowed };
        require(confidence > 0.0 && confidence < 1.0, wrong("confidence", confidence, "between 0 and 1"))?;
        let count = reference.n as f64;
        let few = wrong("reference values", count, "enough to bound the mean away from a bound of values");
        let values = Segment::of(reference).filter(|values| values.n > 1).ok_or(few)?;
        let mean = values.mean();
        // A reference without a single error has its mean on the bound; the range about it has not.
        let within = low.is_finite() && high.is_finite() && low <= mean && mean <= high;
        require(within, wrong("reference mean", mean, "between the bounds of values, which must be finite"))?;
        let log = (4.0 / (1.0 - confidence)).ln();
        let variance = values.spread / (count - 1.0);
        let margin = (2.0 * variance * log / count).sqrt() + 7.0 * (high - low) * log / (3.0 * (count - 1.0));
        let (least_mean, greatest_mean) = ((mean - margin).max(low), (mean + margin).min(high));
        let sees = |room: f64| room.is_normal() && room > 0.0;
        require(sees(high - greatest_mean) || sees(least_mean - low), few)?;
        require(sees(greatest_mean - low) && sees(high - least_mean), few)?;
        Ok(Self { low: Some(low), high: Some(high), mean, least_mean, greatest_mean })
    }

    /// The mean as far as it is known.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Whether a rise can be found: values have a lower bound.
    pub(super) fn can_rise(&self) -> bool {
        self.low.is_some()
    }

    /// Whether a fall can be found: values have an upper bound.
    pub(super) fn can_fall(&self) -> bool {
        self.high.is_some()
    }

    /// The values' distance from their lower bound, in units of the greatest mean's: at most 1 on average, without
    /// change. `None` where there is no lower bound.
    pub(super) fn heights(&self, values: &Segment) -> Option<Heights> {
        let low = self.low?;
        Some(Heights::of(values, values.mean() - low, self.greatest_mean - low))
    }

    /// The values' distance from their upper bound, in units of the least mean's: at most 1 on average, without change.
    /// `None` where there is no upper bound.
    pub(super) fn depths(&self, values: &Segment) -> Option<Heights> {
        let high = self.high?;
        Some(Heights::of(values, high - values.mean(), high - self.least_mean))
    }
}

/// Values at or above 0 whose mean is at most 1 without change: how many, and the two points that have their moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Heights {
    pub n: f64,
    /// `Σw²/Σw`: where those values lie that do not lie at 0, if all the others do.
    pub point: f64,
    /// `(Σw)²/(n·Σw²)`: their share.
    pub share: f64,
}

/// Heights beyond this are taken for this, whose square is a number: no value that is bounded has them.
const HIGHEST: f64 = 1e150;

impl Heights {
    /// A mean below zero is out of the bounds that were given, and taken for zero: it cannot be had without change.
    fn of(values: &Segment, mean: f64, unit: f64) -> Self {
        let n = values.n as f64;
        let height = (mean / unit).clamp(0.0, HIGHEST);
        let ratio = values.variance().sqrt() / unit / height;
        let share = 1.0 / (1.0 + ratio * ratio);
        // All at zero, or a ratio beyond all numbers, which comes to the same.
        if !(height > 0.0 && share > 0.0) {
            return Self { n, point: 0.0, share: 0.0 };
        }
        Self { n, point: (height * (1.0 + ratio * ratio)).min(HIGHEST * HIGHEST), share }
    }
}
