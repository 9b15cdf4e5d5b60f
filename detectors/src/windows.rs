//! Event-time windows, their panes, and the watermark that closes them.
//!
//! Windows are half-open `[start, end)` and aligned to the epoch (UTC). A pane is the widest slice that every window of a
//! specification is made of; profiles are kept for panes and merged into windows. A watermark belongs to one input
//! partition and is a function of that partition's records alone, so that a replay finds the same records late.
//!
//! Nothing here reads a clock: time enters as an argument, in milliseconds since the epoch.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// A half-open span of event time, `[start_ms, end_ms)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First millisecond that belongs to the window.
    pub start_ms: i64,
    /// First millisecond after the window.
    pub end_ms: i64,
}

/// Why a window specification was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WindowSpecError {
    /// A size or hop of zero, or one that is not a whole number of milliseconds.
    #[error("window {name} must be at least one millisecond, and a whole number of them: got {value:?}")]
    NotPositive {
        /// Which of the two lengths.
        name: &'static str,
        /// What was given.
        value: Duration,
    },
    /// Windows that leave gaps between each other.
    #[error("window hop {hop:?} is longer than the size {size:?}: events between two windows would be in none")]
    HopBeyondSize {
        /// The size given.
        size: Duration,
        /// The hop given.
        hop: Duration,
    },
    /// So many panes a window that memory would not be bounded.
    #[error("a window of {size:?} every {hop:?} has {panes} panes; at most {most} are allowed: choose lengths with a larger common divisor", most = WindowSpec::MOST_PANES)]
    TooManyPanes {
        /// The size given.
        size: Duration,
        /// The hop given.
        hop: Duration,
        /// Panes in one window.
        panes: i64,
    },
}

/// Tumbling (`hop == size`) or hopping windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    size_ms: i64,
    hop_ms: i64,
}

impl WindowSpec {
    /// The most panes that one window may be made of.
    pub const MOST_PANES: i64 = 10_000;

    /// Windows of `size`, one starting every `hop`.
    ///
    /// # Errors
    /// When a length is not positive, the hop exceeds the size, or a window would have too many panes.
    pub fn new(size: Duration, hop: Duration) -> Result<Self, WindowSpecError> {
        let size_ms = positive_millis("size", size)?;
        let hop_ms = positive_millis("hop", hop)?;
        if hop_ms > size_ms {
            return Err(WindowSpecError::HopBeyondSize { size, hop });
        }
        let spec = Self { size_ms, hop_ms };
        let panes = size_ms / spec.pane_ms();
        if panes > Self::MOST_PANES {
            return Err(WindowSpecError::TooManyPanes { size, hop, panes });
        }
        Ok(spec)
    }

    /// Windows that do not overlap.
    ///
    /// # Errors
    /// When the size is not positive.
    pub fn tumbling(size: Duration) -> Result<Self, WindowSpecError> {
        Self::new(size, size)
    }

    /// Length of a window in milliseconds.
    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    /// Distance between the starts of two neighbouring windows in milliseconds.
    pub fn hop_ms(&self) -> i64 {
        self.hop_ms
    }

    /// Length of a pane in milliseconds: the greatest common divisor of size and hop.
    pub fn pane_ms(&self) -> i64 {
        common_divisor(self.size_ms, self.hop_ms)
    }

    /// Start of the pane that holds `time_ms`.
    pub fn pane_of(&self, time_ms: i64) -> i64 {
        floor_to(time_ms, self.pane_ms())
    }

    /// The windows that hold the pane starting at `pane_start_ms`, oldest first.
    pub fn windows_of(&self, pane_start_ms: i64) -> impl Iterator<Item = Window> + use<> {
        let newest = floor_to(pane_start_ms, self.hop_ms);
        let Self { size_ms, hop_ms } = *self;
        let oldest = floor_to(pane_start_ms - size_ms, hop_ms) + hop_ms;
        (0..)
            .map(move |k| oldest + k * hop_ms)
            .take_while(move |start| *start <= newest)
            .map(move |start_ms| Window { start_ms, end_ms: start_ms + size_ms })
    }

    /// End of the last window that holds `time_ms`.
    pub fn last_end_of(&self, time_ms: i64) -> i64 {
        floor_to(time_ms, self.hop_ms) + self.size_ms
    }

    /// Windows that do not overlap `window` and came before it start at or before this time.
    pub fn is_disjoint(earlier: Window, later: Window) -> bool {
        earlier.end_ms <= later.start_ms
    }
}

/// What an event's time says of it when it is read from its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeliness {
    /// Not behind the watermark.
    OnTime,
    /// Behind its own partition's watermark just before its offset.
    Late,
    /// Ahead of the moment at which the log took it, by more than the allowed disorder: a clock runs fast.
    Future,
}

/// The watermark of one input partition: the maximum so far of min(event time, append time), less the allowed disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    disorder_ms: i64,
    /// `None` until the first event.
    at_ms: Option<i64>,
}

impl Watermark {
    /// A watermark before any event.
    pub fn new(disorder: Duration) -> Self {
        Self { disorder_ms: i64::try_from(disorder.as_millis()).unwrap_or(i64::MAX), at_ms: None }
    }

    /// Takes one event into account and says how it stands to the watermark just before it.
    pub fn observe(&mut self, event_ms: i64, append_ms: i64) -> Timeliness {
        let timeliness = match self.at_ms {
            Some(at) if event_ms < at => Timeliness::Late,
            _ if event_ms > append_ms.saturating_add(self.disorder_ms) => Timeliness::Future,
            _ => Timeliness::OnTime,
        };
        self.advance_to(event_ms.min(append_ms).saturating_sub(self.disorder_ms));
        timeliness
    }

    /// Moves the watermark to `time_ms` unless it is there already, as an end-of-input mark does.
    pub fn advance_to(&mut self, time_ms: i64) {
        self.at_ms = Some(self.at_ms.map_or(time_ms, |at| at.max(time_ms)));
    }

    /// Events before this time are late; `None` before the first event.
    pub fn at_ms(&self) -> Option<i64> {
        self.at_ms
    }
}

/// The largest multiple of `step` that is not above `value`.
pub fn floor_to(value: i64, step: i64) -> i64 {
    value - value.rem_euclid(step)
}

fn positive_millis(name: &'static str, value: Duration) -> Result<i64, WindowSpecError> {
    let millis = i64::try_from(value.as_millis()).unwrap_or(0);
    if millis < 1 || !value.subsec_nanos().is_multiple_of(1_000_000) {
        return Err(WindowSpecError::NotPositive { name, value });
    }
    Ok(millis)
}

/// The greatest width of which both are multiples.
pub fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    #[test]
    fn a_pane_is_in_every_window_that_covers_it() {
        let spec = WindowSpec::new(hours(6), hours(2)).unwrap();
        let hour = 3_600_000;
        let windows: Vec<_> = spec.windows_of(spec.pane_of(7 * hour + 5)).map(|w| w.start_ms / hour).collect();
        assert_eq!(windows, [2, 4, 6]);
        assert_eq!(spec.last_end_of(7 * hour + 5), 12 * hour);
    }

    #[test]
    fn windows_before_the_epoch_are_aligned_too() {
        let spec = WindowSpec::tumbling(hours(1)).unwrap();
        assert_eq!(spec.pane_of(-1), -3_600_000);
        assert_eq!(spec.windows_of(-3_600_000).count(), 1);
    }

    #[test]
    fn a_fast_clock_cannot_push_the_watermark_past_now() {
        let mut watermark = Watermark::new(Duration::from_millis(10));
        assert_eq!(watermark.observe(100, 105), Timeliness::OnTime);
        assert_eq!(watermark.observe(9_999, 110), Timeliness::Future);
        assert_eq!(watermark.at_ms(), Some(100));
        assert_eq!(watermark.observe(99, 111), Timeliness::Late);
    }

    #[test]
    fn windows_with_gaps_are_refused() {
        assert!(matches!(WindowSpec::new(hours(1), hours(2)), Err(WindowSpecError::HopBeyondSize { .. })));
        assert!(matches!(WindowSpec::tumbling(Duration::ZERO), Err(WindowSpecError::NotPositive { .. })));
    }
}
