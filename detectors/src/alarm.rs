//! Hysteresis: from windows that exceed to a state of alarm.
//!
//! One window in a hundred exceeds by chance, two of three hardly ever. So `M` of the last `N` windows must exceed before it
//! is drift, and `M` of the last `N` be within before it is over. Windows that overlap share their rows and are no
//! independent witnesses: a hopping window is judged along the chain of those before it that do not overlap.
//!
//! A window that cannot be judged is no witness either way: it is passed over, and its own severity says so.

use crate::panel::{Hysteresis, Outcome};
use crate::verdict::Severity;
use crate::windows::{Window, WindowSpec};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The state of one alarm; consumes each window once, in order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    hysteresis: Hysteresis,
    /// Oldest first; no more than a chain from the next window can reach.
    seen: VecDeque<Seen>,
}

/// A window that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    window: Window,
    exceeded: bool,
    /// Whether it was drift after this window.
    drifting: bool,
}

impl Alarm {
    /// An alarm that has seen nothing.
    pub fn new(hysteresis: Hysteresis) -> Self {
        Self { hysteresis, seen: VecDeque::new() }
    }

    /// Takes a window into account and says what it amounts to.
    pub fn observe(&mut self, window: Window, outcome: &Outcome) -> Severity {
        let exceeded = match outcome {
            Outcome::Inconclusive(why) => return Severity::Inconclusive(why.clone()),
            Outcome::Exceeded => true,
            Outcome::Within => false,
        };
        let earlier = self.chain_before(window);
        let agreeing = 1 + earlier.iter().filter(|seen| seen.exceeded == exceeded).count();
        let was_drifting = earlier.first().is_some_and(|seen| seen.drifting);
        let drifting = if agreeing >= self.hysteresis.windows() { exceeded } else { was_drifting };
        self.forget_before(&earlier);
        self.seen.push_back(Seen { window, exceeded, drifting });
        match (drifting, exceeded) {
            (true, _) => Severity::Drift,
            (false, true) => Severity::Warning,
            (false, false) => Severity::Stable,
        }
    }

    /// The latest windows before this one of which none overlaps another, newest first; one fewer than are looked at.
    fn chain_before(&self, window: Window) -> Vec<Seen> {
        let mut chain = Vec::new();
        let mut later = window;
        for seen in self.seen.iter().rev() {
            if chain.len() + 1 >= self.hysteresis.of() {
                break;
            }
            if WindowSpec::is_disjoint(seen.window, later) {
                chain.push(*seen);
                later = seen.window;
            }
        }
        chain
    }

    /// Forgets what lies before the end of a full chain: a later window's chain ends no earlier.
    fn forget_before(&mut self, chain: &[Seen]) {
        let full = chain.len() + 1 >= self.hysteresis.of();
        if let (true, Some(oldest)) = (full, chain.last()) {
            self.seen.retain(|seen| seen.window.start_ms >= oldest.window.start_ms);
        } else if full {
            // Each window is judged alone.
            self.seen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Why;

    const EXCEEDED: Outcome = Outcome::Exceeded;
    const WITHIN: Outcome = Outcome::Within;

    fn severities(alarm: &mut Alarm, hop_ms: i64, outcomes: &[Outcome]) -> Vec<&'static str> {
        let window = |place: usize| Window { start_ms: place as i64 * hop_ms, end_ms: place as i64 * hop_ms + 10 };
        outcomes.iter().enumerate().map(|(place, outcome)| alarm.observe(window(place), outcome).name()).collect()
    }

    fn two_of_three() -> Alarm {
        Alarm::new(Hysteresis::new(2, 3).unwrap())
    }

    #[test]
    fn two_of_three_windows_make_a_drift_and_two_of_three_end_it() {
        let found =
            severities(&mut two_of_three(), 10, &[WITHIN, EXCEEDED, WITHIN, EXCEEDED, EXCEEDED, WITHIN, WITHIN]);
        assert_eq!(found, ["stable", "warning", "stable", "drift", "drift", "drift", "stable"]);
    }

    #[test]
    fn a_window_that_cannot_be_judged_is_no_witness() {
        let blind = Outcome::Inconclusive(Why::TooFewRows { rows: 1, needed: 100 });
        let found = severities(&mut two_of_three(), 10, &[EXCEEDED, blind.clone(), blind, EXCEEDED]);
        assert_eq!(found, ["warning", "inconclusive", "inconclusive", "drift"]);
    }

    #[test]
    fn overlapping_windows_are_one_witness_not_many() {
        // Windows of 10 ms every 2 ms: the first that does not overlap the first one is the sixth.
        let found = severities(&mut two_of_three(), 2, &vec![EXCEEDED; 7]);
        assert_eq!(found, ["warning", "warning", "warning", "warning", "warning", "drift", "drift"]);
    }

    #[test]
    fn one_of_one_follows_each_window() {
        let mut alarm = Alarm::new(Hysteresis::new(1, 1).unwrap());
        assert_eq!(severities(&mut alarm, 10, &[EXCEEDED, WITHIN, EXCEEDED]), ["drift", "stable", "drift"]);
    }

    #[test]
    fn the_state_stays_small_and_a_stored_one_goes_on_where_it_was() {
        let mut alarm = two_of_three();
        let outcomes: Vec<Outcome> = (0..500).map(|i| if i % 7 < 3 { EXCEEDED } else { WITHIN }).collect();
        let window = |i: usize| Window { start_ms: 2 * i as i64, end_ms: 2 * i as i64 + 10 };
        let mut stored = alarm.clone();
        for (place, outcome) in outcomes.iter().enumerate() {
            let bytes = rmp_serde::to_vec(&stored).unwrap();
            stored = rmp_serde::from_slice(&bytes).unwrap();
            assert_eq!(alarm.observe(window(place), outcome), stored.observe(window(place), outcome));
            assert!(alarm.seen.len() <= 16);
        }
    }
}
