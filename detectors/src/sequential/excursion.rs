//! One side of a cumulative sum: how far it is above zero, and the steps since it last was zero.
//!
//! The step after the sum last was zero is the maximum-likelihood estimate of the change point of a cumulative sum.

use super::segment::Segment;
use serde::{Deserialize, Serialize};

/// One direction's sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    pub sum: f64,
    /// The steps since the sum was last zero.
    pub excursion: Option<Excursion>,
}

/// Steps on one side of zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Excursion {
    /// Start of the first of them.
    pub since_ms: i64,
    pub values: Segment,
}

impl Side {
    /// Adds a step's deviation; at or below zero the sum starts anew.
    pub(super) fn add(&mut self, deviation: f64, step_start_ms: i64, step: &Segment) {
        self.sum += deviation;
        if self.sum <= 0.0 {
            *self = Self::default();
            return;
        }
        self.excursion = Some(Excursion::continued(self.excursion, step_start_ms, step));
    }
}

impl Excursion {
    /// The excursion so far, or a new one, with one more step.
    pub(super) fn continued(earlier: Option<Self>, step_start_ms: i64, step: &Segment) -> Self {
        match earlier {
            Some(Self { since_ms, values }) => Self { since_ms, values: values.with(step) },
            None => Self { since_ms: step_start_ms, values: *step },
        }
    }
}
