//! Sequential detectors: they read one number per step of event time and say when its mean has changed.
//!
//! A step brings moments `(n, Σx, Σx²)`; of one value it is that value. Steps come in order, each once. A step without
//! values, one in which corrections outweigh values, and one whose values are not finite (or beyond 1e100) change
//! nothing; the last two are counted by [`Sequential::ignored`]. The state is small, is all there is, and may be stored
//! between any two steps.
//!
//! What is deliberately absent: thresholds on windows (the panel's) and hysteresis (the alarm's).

mod adwin;
mod bounded_mean;
mod buckets;
mod cusum;
mod e_detector;
mod ewma;
mod excursion;
mod in_control;
pub mod outcomes;
mod page_hinkley;
mod plain_page_hinkley;
mod scale;
mod segment;
mod shewhart;

pub use adwin::{Adwin, AdwinPolicy, AfterChange};
pub use bounded_mean::BoundedMean;
pub use cusum::{Cusum, CusumPolicy};
pub use e_detector::{EDetector, EDetectorPolicy, Reads};
pub use ewma::{Ewma, EwmaPolicy};
pub use in_control::InControl;
pub use page_hinkley::{Baseline, PageHinkley, PageHinkleyPolicy};
pub use plain_page_hinkley::{PlainPageHinkley, PlainPageHinkleyPolicy, Sides};
pub use scale::Scale;
pub use shewhart::{Shewhart, ShewhartPolicy};

use crate::moments::Moments;
use segment::Segment;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Watches the mean of a stream of steps.
pub trait SequentialDetector: Send {
    /// Takes the next step, which starts at `step_start_ms`, and says whether the mean has changed.
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal;

    /// Forgets every step and keeps the settings.
    fn reset(&mut self);
}

/// What a detector says after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signal {
    /// No change, or none that is certain enough.
    Quiet,
    /// The mean has changed.
    Change(Change),
}

/// A change of the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Start of the first step that belongs to the new mean, as far as the detector can tell.
    pub change_point_ms: i64,
    /// Which way the mean moved.
    pub direction: Direction,
    /// The mean before.
    pub before: f64,
    /// The mean since.
    pub after: f64,
}

/// Which way a mean moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Upwards.
    Rising,
    /// Downwards.
    Falling,
}

/// Why a detector cannot be set up so.
#[derive(Debug, Error, Clone, Copy, PartialEq)]
pub enum SequentialError {
    /// A setting lies outside the range in which the detector means anything.
    #[error("{detector} setting {setting} is {value}: it must be {allowed}")]
    Setting {
        /// The detector.
        detector: &'static str,
        /// The setting.
        setting: &'static str,
        /// What was given.
        value: f64,
        /// What would do.
        allowed: &'static str,
    },
}

/// Any of the detectors, with its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequential {
    /// An adaptive window.
    Adwin(Adwin),
    /// Cumulative sums in units of the reference's standard deviation.
    PageHinkley(PageHinkley),
    /// Cumulative sums in the units of the data, as other libraries have them.
    PlainPageHinkley(PlainPageHinkley),
    /// Cumulative sums of step means in units of their standard error.
    Cusum(Cusum),
    /// An exponentially weighted mean of steps.
    Ewma(Ewma),
    /// Step means, each by itself.
    Shewhart(Shewhart),
    /// Bets with a guaranteed run length.
    EDetector(EDetector),
}

impl Sequential {
    /// The name used in verdicts and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adwin(_) => "adwin",
            Self::PageHinkley(_) => "page_hinkley",
            Self::PlainPageHinkley(_) => "plain_page_hinkley",
            Self::Cusum(_) => "cusum",
            Self::Ewma(_) => "ewma",
            Self::Shewhart(_) => "shewhart",
            Self::EDetector(_) => "e_detector",
        }
    }

    /// Steps with content that could not be used, since the detector was made.
    pub fn ignored(&self) -> u64 {
        match self {
            Self::Adwin(detector) => detector.ignored(),
            Self::PageHinkley(detector) => detector.ignored(),
            Self::PlainPageHinkley(detector) => detector.ignored(),
            Self::Cusum(detector) => detector.ignored(),
            Self::Ewma(detector) => detector.ignored(),
            Self::Shewhart(detector) => detector.ignored(),
            Self::EDetector(detector) => detector.ignored(),
        }
    }
}

impl SequentialDetector for Sequential {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        match self {
            Self::Adwin(detector) => detector.observe(step_start_ms, step),
            Self::PageHinkley(detector) => detector.observe(step_start_ms, step),
            Self::PlainPageHinkley(detector) => detector.observe(step_start_ms, step),
            Self::Cusum(detector) => detector.observe(step_start_ms, step),
            Self::Ewma(detector) => detector.observe(step_start_ms, step),
            Self::Shewhart(detector) => detector.observe(step_start_ms, step),
            Self::EDetector(detector) => detector.observe(step_start_ms, step),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::Adwin(detector) => detector.reset(),
            Self::PageHinkley(detector) => detector.reset(),
            Self::PlainPageHinkley(detector) => detector.reset(),
            Self::Cusum(detector) => detector.reset(),
            Self::Ewma(detector) => detector.reset(),
            Self::Shewhart(detector) => detector.reset(),
            Self::EDetector(detector) => detector.reset(),
        }
    }
}

/// The values of a step if it can be used; content that cannot is counted in `ignored`.
fn usable(step: Moments, ignored: &mut u64) -> Option<Segment> {
    if step == Moments::default() {
        return None;
    }
    let segment = Segment::of(step);
    *ignored += u64::from(segment.is_none());
    segment
}

/// Refuses a setting for which `holds` is not true.
fn require(holds: bool, otherwise: SequentialError) -> Result<(), SequentialError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests;
