//! When labels count: what a person configures of a model's labels.

use super::entry::Held;
use super::{Label, LabelValue};
use serde::{Deserialize, Serialize};

/// When labels count, and how long they are waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelPolicy {
    /// How long after its end a window may be judged, ascending, in milliseconds; at the last one it is.
    pub ages_ms: Vec<i64>,
    /// Share of labelled rows that lets a window be judged at an earlier age than the last.
    pub coverage: Option<f64>,
    /// How long after its prediction a label still counts at all.
    pub horizon_ms: i64,
    /// What a label that never comes means.
    pub absent: Option<AbsentMeans>,
    /// Most ids held at once in one partition.
    pub max_pending: usize,
}

/// The meaning of a label that does not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentMeans {
    /// The label then taken to be true.
    pub label: String,
    /// How long after the prediction, in milliseconds.
    pub after_ms: i64,
}

impl LabelPolicy {
    /// How long after the end of a window its labels are mature for good, in milliseconds.
    pub fn mature_ms(&self) -> i64 {
        self.ages_ms.last().copied().unwrap_or(0)
    }

    /// Whether the label belongs to the prediction, given that their ids are the same.
    pub(super) fn fits(&self, label: &Label, prediction: &Held) -> bool {
        prediction.watermark_ms.is_none_or(|at| at <= label.time_ms)
            && label.time_ms <= prediction.time_ms.saturating_add(self.horizon_ms)
    }

    /// Whether the absence of its label has been declared of a prediction of this time, when the watermark of its
    /// partition's labels stands there.
    pub(super) fn is_declared(&self, time_ms: i64, label_watermark_ms: Option<i64>) -> bool {
        let due = self.absent.as_ref().map(|absent| time_ms.saturating_add(absent.after_ms));
        due.zip(label_watermark_ms).is_some_and(|(due, at)| due < at)
    }

    /// The label that counts where its absence has been declared of a prediction of this time, and when that came.
    pub(super) fn absent_label(&self, time_ms: i64) -> Option<(LabelValue, i64)> {
        let absent = self.absent.as_ref()?;
        Some((LabelValue::Class(absent.label.as_str().into()), time_ms.saturating_add(absent.after_ms)))
    }
}
