//! What is due when: the moments of event time at which the monitor acts on a model.
//!
//! Everything the monitor does for a model happens at a moment that follows from windows, panes and the label policy, and
//! in the order of these moments. So the same log gives the same verdicts in the same order, wherever epochs end.

use crate::join::Dues;
use crate::watched::WatchedModel;
use detectors::windows::Window;

/// One thing to be done, in the order in which things due at the same moment are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Hand a matured step to the sequential detectors.
    Step { start_ms: i64 },
    /// Judge the drift of a window that has ended.
    Close(Window),
    /// Judge the quality of a window if its labels suffice; the last time whatever they are.
    Mature { window: Window, is_last: bool },
    /// Say that a pane's labels are complete.
    PaneMatured { start_ms: i64 },
}

/// When things are due for one model.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// In whole steps after a window's end, so that every moment is one that the ledger's ticks mark.
    pub(super) dues: Dues,
}

impl Clock {
    pub(super) fn new(watched: &WatchedModel) -> Self {
        Self { dues: watched.dues() }
    }

    fn mature_ms(&self) -> i64 {
        self.dues.judged_at_ms.last().copied().unwrap_or(0)
    }

    /// When a pane has nothing more to give.
    pub(super) fn pane_over_ms(&self, pane_start_ms: i64) -> i64 {
        self.dues.windows.last_end_of(pane_start_ms) + self.mature_ms()
    }

    /// How long after a window's start its last verdict is due.
    pub(super) fn last_verdict_after_ms(&self) -> i64 {
        self.dues.windows.size_ms() + self.mature_ms()
    }

    /// When a step is handed over.
    pub(super) fn step_due_ms(&self, step_start_ms: i64) -> i64 {
        step_start_ms + self.dues.step_ms + self.mature_ms()
    }

    /// What is ever due for a pane that holds rows.
    pub(super) fn due_for_pane(&self, pane_start_ms: i64) -> Vec<(i64, Action)> {
        let mut due = Vec::new();
        let ages_ms = &self.dues.judged_at_ms;
        for window in self.dues.windows.windows_of(pane_start_ms) {
            due.push((window.end_ms, Action::Close(window)));
            for (place, age_ms) in ages_ms.iter().enumerate() {
                let is_last = place + 1 == ages_ms.len();
                due.push((window.end_ms + age_ms, Action::Mature { window, is_last }));
            }
        }
        if !ages_ms.is_empty() {
            let matured_ms = pane_start_ms + self.dues.windows.pane_ms() + self.mature_ms();
            due.push((matured_ms, Action::PaneMatured { start_ms: pane_start_ms }));
        }
        due
    }
}
