//! A watched model: everything the stages must know of it, in one validated piece.

use crate::join::{Dues, LabelPolicy};
use crate::segments::{SegmentSource, SegmentSpec};
use detectors::panel::PanelPolicy;
use detectors::schema::ModelSchema;
use detectors::windows::{WindowSpec, floor_to};
use std::sync::Arc;

/// Which sequential detectors read the steps of a model.
///
/// Run lengths are in steps: so many pass without change before a false alarm, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SequentialPolicy {
    /// ADWIN on the errors.
    pub adwin: bool,
    /// Page–Hinkley on the errors.
    pub page_hinkley: bool,
    /// The run length of the e-detector on the errors, which are 0 or 1; `None` where it is off.
    pub e_detector: Option<f64>,
    /// The run length of CUSUM on the losses; `None` where it is off.
    pub cusum: Option<f64>,
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
    /// How long after its end a window's quality may be judged: as the policy has it, rounded up to whole steps, ascending;
    /// none where the model has no labels.
    pub fn judged_at_ms(&self) -> Vec<i64> {
        let ages_ms = self.labels.iter().flat_map(|labels| &labels.ages_ms);
        ages_ms.map(|age_ms| floor_to(age_ms.saturating_add(self.step_ms - 1), self.step_ms)).collect()
    }

    /// When the labels of its panes and steps are asked for.
    pub fn dues(&self) -> Dues {
        Dues { windows: self.windows, step_ms: self.step_ms, judged_at_ms: self.judged_at_ms() }
    }

    /// The dimensions whose values the events carry themselves.
    pub fn segments_from_events(&self) -> Vec<String> {
        let from_events = self.segments.iter().filter(|segment| segment.source == SegmentSource::FromEvent);
        from_events.map(|segment| segment.name.clone()).collect()
    }
}
