//! What the stage remembers of `verdicts`: spans of matured rows, alarms and data faults, in their order.

use crate::controller::Fact;
use crate::policy::RetrainPolicy;
use detectors::verdict::{MonitorEvent, RowsMatured};
use detectors::windows::Window;
use std::collections::VecDeque;
use streams::log::Offset;

/// What is remembered of a model without an episode, for one that begins with it but is read of later.
const KEPT_WHILE_IDLE: usize = 4_096;
/// What is remembered of a model with one.
const KEPT_WHILE_BUSY: usize = 32_768;

/// Something that an episode has to know, and where it lies in `verdicts`.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) offset: Offset,
    pub(super) event: HeardEvent,
    /// Whether word of how the episode stood after it was written by an earlier run.
    pub(super) is_told: bool,
}

/// What an episode has to know of a verdict.
#[derive(Debug, Clone)]
pub(super) enum HeardEvent {
    /// Rows have matured.
    Matured(RowsMatured),
    /// The quality of a version has fallen, since then as far as that is known.
    Alarm { version: String, change_ms: Option<i64> },
    /// The data of a window were at fault.
    Fault { version: String, window: Window },
}

impl HeardEvent {
    /// `None` where an episode does not have to know.
    pub(super) fn of(event: MonitorEvent, policy: &RetrainPolicy) -> Option<Self> {
        match event {
            MonitorEvent::RowsMatured(matured) => Some(Self::Matured(matured)),
            MonitorEvent::Verdict(verdict) => match Fact::of_verdict(&verdict, policy)? {
                Fact::Cause { cause, version } => {
                    Some(Self::Alarm { version: version?, change_ms: cause.change_point_ms })
                }
                Fact::Fault { window, version } => Some(Self::Fault { version, window }),
                Fact::Matured { .. } => None,
            },
        }
    }
}

/// Lets go of the oldest beyond what is remembered.
pub(super) fn forget(heard: &mut VecDeque<Heard>, is_busy: bool) {
    let most = if is_busy { KEPT_WHILE_BUSY } else { KEPT_WHILE_IDLE };
    while heard.len() > most {
        heard.pop_front();
    }
}
