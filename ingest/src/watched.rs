//! A watched model: everything the stages must know of it, in one validated piece.

use crate::join::LabelPolicy;
use crate::segments::{SegmentSource, SegmentSpec};
use detectors::panel::PanelPolicy;
use detectors::schema::ModelSchema;
use detectors::windows::WindowSpec;
use std::sync::Arc;

/// Which sequential detectors read the steps of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequentialPolicy {
    /// ADWIN on the errors.
    pub adwin: bool,
    /// Page–Hinkley on the errors.
    pub page_hinkley: bool,
}

/// A model, what its events look like, and how it is judged.
#[derive(Debug, Clone)]
pub struct WatchedModel {
    /// Its name.
    pub name: Arc<str>,
    /// Its columns and task.
    pub schema: ModelSchema,
    /// The windows it is judged by.
    pub windows: WindowSpec,
    /// Width of a step in milliseconds.
    pub step_ms: i64,
    /// How its traffic is sliced.
    pub segments: Vec<SegmentSpec>,
    /// When labels count; `None` where there are none.
    pub labels: Option<LabelPolicy>,
    /// Tests, thresholds and hysteresis.
    pub panel: PanelPolicy,
    /// Detectors on its steps.
    pub sequential: SequentialPolicy,
}

impl WatchedModel {
    /// The dimensions whose values the events carry themselves.
    pub fn segments_from_events(&self) -> Vec<String> {
        let from_events = self.segments.iter().filter(|segment| segment.source == SegmentSource::FromEvent);
        from_events.map(|segment| segment.name.clone()).collect()
    }
}
