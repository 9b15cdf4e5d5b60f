//! What is due when: the moments of event time at which the monitor acts on a model.
//!
//! Everything the monitor does for a model happens at a moment that follows from windows, panes and the label policy, and
//! in the order of these moments. So the same log gives the same verdicts in the same order, wherever epochs end.

use capture::join::Dues;
use capture::watched::WatchedModel;
use detectors::windows::{Window, floor_to};

/// One thing to be done, in the order in which things due at the same moment are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Hand a matured step to the sequential detectors.
    Step { start_ms: i64 },
    /// Judge the drift of a window that has ended.
    Close(Window),
    /// Judge the quality of a window if its labels suffice; the last time whatever they are.
    Mature { window: Window, is_last: bool },
    /// Say that a span's labels are complete.
    RowsMatured { start_ms: i64 },
}

/// Spans of matured rows into which a pane is divided at the most. Retraining reads the rows of each span by itself while an
/// episode lasts; fifty let it act within a fiftieth of a pane of the evidence.
const SPANS_A_PANE: i64 = 50;

/// When things are due for one model.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// In whole steps after a window's end, so that every moment is one that the ledger's ticks mark.
    pub(super) dues: Dues,
    /// Length of the spans whose matured rows are reported: whole steps that divide a pane.
    span_ms: i64,
}

impl Clock {
    pub(super) fn new(watched: &WatchedModel) -> Self {
        let dues = watched.dues();
        let span_ms = span_ms(dues.step_ms, dues.windows.pane_ms());
        Self { dues, span_ms }
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

    /// When the matured rows of the span that holds a step are reported, after which nothing asks for the step.
    pub(super) fn step_over_ms(&self, step_start_ms: i64) -> i64 {
        let reported_ms = floor_to(step_start_ms, self.span_ms) + self.span_ms + self.mature_ms();
        // A step that does not divide the pane may reach beyond the span in which it begins.
        reported_ms.max(self.step_due_ms(step_start_ms))
    }

    /// The span that begins at `start_ms`.
    pub(super) fn span(&self, start_ms: i64) -> Window {
        Window { start_ms, end_ms: start_ms + self.span_ms }
    }

    /// Whether the span that begins at `start_ms` is the last of its pane.
    pub(super) fn ends_pane(&self, start_ms: i64) -> bool {
        (start_ms + self.span_ms).rem_euclid(self.dues.windows.pane_ms()) == 0
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
            let pane_end_ms = pane_start_ms + self.dues.windows.pane_ms();
            for start_ms in (pane_start_ms..pane_end_ms).step_by(self.span_ms as usize) {
                due.push((start_ms + self.span_ms + self.mature_ms(), Action::RowsMatured { start_ms }));
            }
        }
        due
    }
}

/// The shortest run of whole steps that divides a pane into at most [`SPANS_A_PANE`]; the pane where steps do not divide it.
fn span_ms(step_ms: i64, pane_ms: i64) -> i64 {
    if step_ms <= 0 || pane_ms % step_ms != 0 {
        return pane_ms;
    }
    let steps = pane_ms / step_ms;
    let fewest = (steps + SPANS_A_PANE - 1) / SPANS_A_PANE;
    let divides = |count: &i64| steps % count == 0;
    step_ms * (fewest..=steps).find(divides).unwrap_or(steps)
}
