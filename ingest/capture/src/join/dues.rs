//! When a pane's labels are asked for, so that each judgement counts those that are there by then.
//!
//! A label is there when its partition's watermark had not reached the moment of the judgement before it was read; so the
//! judgement and the place in the log up to which it has read (`Cut`) speak of the same labels. How old a label is by its own
//! time does not matter: rows may be out of order within the disorder that is allowed, and a window that is judged long after
//! its end has its labels by then.
//!
//! A pane is in several windows, each of which may be judged at several ages. A labelled row is marked with how many of all
//! these moments had passed when its label came: it counts in those that come later in that order.

use detectors::windows::{WindowSpec, floor_to};

/// The moments at which the labels of a model's panes and steps are asked for.
#[derive(Debug, Clone)]
pub struct Dues {
    /// The windows that panes are in.
    pub windows: WindowSpec,
    /// Width of a step.
    pub step_ms: i64,
    /// How long after its end a window may be judged, ascending; none where the model has no labels.
    pub judged_at_ms: Vec<i64>,
}

/// Which moments a label came after: those of the pane, and those of the step that its prediction is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    pub(super) pane: u32,
    pub(super) step: u32,
}

impl Dues {
    /// How many of the moments at which a pane's labels are asked for are no later than this.
    pub fn of_pane(&self, pane_start_ms: i64, until_ms: i64) -> u32 {
        let (size_ms, hop_ms) = (self.windows.size_ms(), self.windows.hop_ms());
        let first_end_ms = floor_to(pane_start_ms - size_ms, hop_ms) + hop_ms + size_ms;
        let windows = (self.windows.last_end_of(pane_start_ms) - first_end_ms) / hop_ms + 1;
        let ended = |age_ms: &i64| {
            let past_ms = until_ms.saturating_sub(*age_ms).saturating_sub(first_end_ms);
            if past_ms < 0 { 0 } else { (past_ms / hop_ms + 1).min(windows) }
        };
        let of_windows: i64 = self.judged_at_ms.iter().map(ended).sum();
        // The pane by itself is over when its labels are mature.
        let is_over = until_ms >= pane_start_ms + self.windows.pane_ms() + self.mature_ms();
        u32::try_from(of_windows + i64::from(is_over)).unwrap_or(u32::MAX)
    }

    /// How many of the moments at which a step's labels are asked for, of which there is one, are no later than this.
    pub fn of_step(&self, step_start_ms: i64, until_ms: i64) -> u32 {
        u32::from(until_ms >= step_start_ms + self.step_ms + self.mature_ms())
    }

    /// What a label of a prediction of this time came after, if it came when its partition's watermark stood there.
    pub(super) fn after(&self, time_ms: i64, came_ms: i64) -> After {
        let pane = self.of_pane(self.windows.pane_of(time_ms), came_ms);
        After { pane, step: self.of_step(floor_to(time_ms, self.step_ms), came_ms) }
    }

    fn mature_ms(&self) -> i64 {
        self.judged_at_ms.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Whatever the windows: a label counts in each judgement of its row that is due after the label came, and in no other.
        #[test]
        fn a_label_counts_in_the_judgements_that_come_after_it(
            hop in 1u64..8, more in 0u64..9, ages in prop::collection::btree_set(0i64..30, 1..4),
            time_ms in -50i64..50, came_ms in -60i64..120,
        ) {
            let windows = WindowSpec::new(Duration::from_millis(hop + more), Duration::from_millis(hop)).unwrap();
            let dues = Dues { windows, step_ms: 3, judged_at_ms: ages.into_iter().collect() };
            let after = dues.after(time_ms, came_ms);
            let pane = windows.pane_of(time_ms);
            for window in windows.windows_of(pane) {
                for age_ms in &dues.judged_at_ms {
                    let due_ms = window.end_ms + age_ms;
                    prop_assert_eq!(after.pane < dues.of_pane(pane, due_ms), came_ms < due_ms, "{:?}", window);
                }
            }
            let over_ms = pane + windows.pane_ms() + dues.mature_ms();
            prop_assert_eq!(after.pane < dues.of_pane(pane, over_ms), came_ms < over_ms);
            let step = floor_to(time_ms, 3);
            prop_assert_eq!(after.step == 0, came_ms < step + 3 + dues.mature_ms());
        }
    }
}
