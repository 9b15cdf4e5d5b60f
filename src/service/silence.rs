//! Silence: where nothing comes any more, the clock takes event time on, so that the last windows are judged.
//!
//! Event time goes on with events only. After the last one of a nightly batch, or of a service that has died, its windows
//! would stay open until the next. So once every partition is idle, and the clock is past a moment at which something is due
//! by more than the allowed disorder, a heartbeat says so in the log: a replay closes the same windows at the same place.
//!
//! This decides when, from facts alone; maintenance writes it. Deliberately absent: doing so for events that were old
//! when they came. Whoever brings history in may pause, and what he brings next must not be late: there the next event or an
//! end-of-input mark closes the windows.

use capture::watched::WatchedModel;
use capture::watermark_alignment::Quiet;
use detectors::windows::floor_to;
use std::sync::Arc;
use std::time::Duration;

/// What decides how far event time goes on in silence.
pub(crate) struct Silence {
    models: Vec<Arc<WatchedModel>>,
    disorder_ms: i64,
    /// Events that are older than this when the log takes them are history.
    history_ms: i64,
}

impl Silence {
    /// For these models.
    pub(crate) fn new(models: Vec<Arc<WatchedModel>>, disorder: Duration, history: Duration) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self { models, disorder_ms: millis(disorder), history_ms: millis(history) }
    }

    /// The time of the heartbeat that is due; `None` while none is.
    pub(crate) fn heartbeat_ms(&self, quiet: &Quiet, now_ms: i64) -> Option<i64> {
        let least_ms = quiet.watermarks.iter().map(|(_, watermark_ms)| *watermark_ms).min()?;
        // Of the watermark, as the newest event has left it.
        let newest_ms = quiet.newest_ms.saturating_add(self.disorder_ms);
        if quiet.taken_ms.saturating_sub(newest_ms) > self.history_ms {
            return None;
        }
        let over = self.models.iter().map(|model| {
            let mature_ms = model.judged_at_ms().last().copied().unwrap_or(0);
            model.windows.last_end_of(newest_ms).saturating_add(mature_ms)
        });
        let grain_ms = self.models.iter().map(|model| model.windows.pane_ms()).min()?;
        let clock_ms = floor_to(now_ms.saturating_sub(self.disorder_ms), grain_ms);
        let until_ms = over.max()?.min(clock_ms);
        (until_ms > least_ms).then_some(until_ms.saturating_add(self.disorder_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    const MINUTE_MS: i64 = 60_000;
    /// A multiple of every width used here.
    const START_MS: i64 = 1_767_571_200_000;

    fn silence() -> Silence {
        let text = "
version: 1
log: {directory: d}
models:
  loan:
    task: {type: regression}
    features: {x: numeric}
    windows: {size: 1m}
    labels: {mature: {after: 2m}, horizon: 1d}
";
        let config = Config::parse(text, Path::new("driftline.yaml")).unwrap();
        let models = config.models.values().map(|model| model.watched()).collect();
        Silence::new(models, Duration::from_secs(10), Duration::from_secs(600))
    }

    /// The newest event lies half a minute after the start, and the log took it at once.
    fn quiet(least_ms: i64) -> Quiet {
        let newest_ms = START_MS + 20_000;
        let at = |partition, watermark_ms| (("inferences".to_owned(), partition), watermark_ms);
        Quiet { watermarks: vec![at(0, newest_ms), at(1, least_ms)], newest_ms, taken_ms: START_MS + 30_500 }
    }

    #[test]
    fn event_time_goes_on_with_the_clock_until_everything_of_the_last_event_is_judged_and_no_further() {
        let (silence, open) = (silence(), quiet(START_MS));
        let due = |after_ms: i64| silence.heartbeat_ms(&open, START_MS + after_ms).map(|ms| ms - START_MS);
        assert_eq!(due(69_999), None, "the clock is not past the window by the disorder");
        assert_eq!(due(70_000), Some(MINUTE_MS + 10_000));
        assert_eq!(due(150_000), Some(2 * MINUTE_MS + 10_000));
        assert_eq!(due(9_000_000), Some(3 * MINUTE_MS + 10_000), "its labels are mature");
        let over = Quiet { watermarks: quiet(START_MS + 3 * MINUTE_MS).watermarks.split_off(1), ..quiet(0) };
        assert_eq!(silence.heartbeat_ms(&over, START_MS + 9_000_000), None, "there is nothing more to judge");
    }

    #[test]
    fn history_waits_for_more_of_it() {
        let old = Quiet { taken_ms: START_MS + 86_400_000, ..quiet(START_MS) };
        assert_eq!(silence().heartbeat_ms(&old, START_MS + 86_500_000), None);
    }
}
