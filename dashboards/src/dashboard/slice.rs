//! What a sequence of windows is about: a version's traffic or a segment of it, looked at by one monitor.

use crate::read_model::segment_name;
use detectors::verdict::{Finality, Verdict};

/// The segment of all traffic.
pub(super) const WHOLE: &str = "all";

/// The label of what is final.
pub(super) const FINAL: &str = "final";

/// What a sequence of windows is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Slice {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) segment: String,
    pub(super) monitor: String,
    pub(super) finality: &'static str,
}

/// How much of a slice is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// Everything: it is all traffic, or not as it was.
    Full,
    /// The figures that a person would compare it with others by.
    Brief,
}

impl Slice {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self {
            model: verdict.model.clone(),
            version: verdict.version.clone(),
            segment: segment_name(verdict.segment.as_ref()),
            monitor: verdict.monitor.name().to_owned(),
            finality: match verdict.finality {
                Finality::Provisional => "provisional",
                Finality::Final => FINAL,
            },
        }
    }

    /// Whether it is all of a version's traffic.
    pub(super) fn is_whole(&self) -> bool {
        self.segment == WHOLE
    }

    /// Values of model, version, segment and monitor.
    pub(super) fn labels(&self) -> [&str; 4] {
        [&self.model, &self.version, &self.segment, &self.monitor]
    }
}
