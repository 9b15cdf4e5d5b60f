//! A stretch of values as count, sum and spread: the arithmetic that the detectors share.
//!
//! The spread is kept about the mean, because `Σx² − (Σx)²/n` of a long stretch far from zero is all rounding.

use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// Steps whose mean or deviation is beyond this are not used: the squares of larger ones would overflow, and one
/// infinite sum would blind a detector for good.
const LARGEST: f64 = 1e100;

/// Count, sum and sum of squared deviations from the mean; the count is never zero but in the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub n: i64,
    pub sum: f64,
    /// `Σ(x − x̄)²`.
    pub spread: f64,
}

impl Segment {
    /// The values of a step; `None` where there are none, or fewer than none, or where they are too large or
    /// not finite.
    pub(super) fn of(step: Moments) -> Option<Self> {
        let mean = step.mean()?;
        // Of one value the difference is zero but for rounding, and rounding is not spread.
        let spread = if step.n == 1 { 0.0 } else { (step.sum_sq - step.sum * mean).max(0.0) };
        // The squares' own sum is looked at: taking the larger of NaN and zero has hidden a NaN in the spread.
        let holds = mean.abs() <= LARGEST && step.sum_sq <= LARGEST * LARGEST;
        holds.then_some(Self { n: step.n, sum: step.sum, spread })
    }

    pub(super) fn mean(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum / self.n as f64 }
    }

    /// The population variance.
    pub(super) fn variance(&self) -> f64 {
        if self.n == 0 { 0.0 } else { (self.spread / self.n as f64).max(0.0) }
    }

    /// Both stretches as one.
    ///
    /// # Formula
    /// The spreads add, and `n₁n₂/(n₁+n₂)·(x̄₁−x̄₂)²` for the distance of the means. Source: Babcock, Datar, Motwani
    /// and O'Callaghan (2003), *PODS*.
    pub(super) fn with(&self, other: &Self) -> Self {
        Self {
            // Counts beyond 2⁶³ stay there: nobody has so many values, but nothing forbids to say so.
            n: self.n.saturating_add(other.n),
            sum: self.sum + other.sum,
            spread: self.spread + other.spread + between(self, other),
        }
    }

    /// These values without `part`, which must be among them; [`Segment::with`] the other way round.
    pub(super) fn without(&self, part: &Self) -> Self {
        let mut rest = Self { n: self.n - part.n, sum: self.sum - part.sum, spread: 0.0 };
        if rest.n > 0 {
            rest.spread = self.spread - part.spread - between(&rest, part);
            rest
        } else {
            Self::default()
        }
    }
}

fn between(left: &Segment, right: &Segment) -> f64 {
    if left.n == 0 || right.n == 0 {
        return 0.0;
    }
    let (n1, n2) = (left.n as f64, right.n as f64);
    n1 * n2 / (n1 + n2) * (left.mean() - right.mean()).powi(2)
}
