//! Schedules: when a cron pattern is due, as a cause.
//!
//! Pure. The adapter that owns the clock asks [`Schedule::due`] and appends what it gets to `causes`. The cause's id comes
//! from the due moment, so that two adapters, or one that was started again, bring about one request.

use crate::request::{Cause, CauseKind};
use arrow::temporal_conversions::timestamp_ms_to_datetime;
use croner::Cron;
use std::str::FromStr;
use thiserror::Error;

/// A cron pattern, read in UTC: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
}

/// A cron pattern that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("schedule {pattern:?}: {reason}; write five fields, as \"0 3 * * 1\" for Mondays at three")]
pub struct InvalidSchedule {
    /// The pattern as it was written.
    pub pattern: String,
    /// Why the pattern is invalid.
    pub reason: String,
}

impl Schedule {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is not a cron pattern.
    pub fn parse(pattern: &str) -> Result<Self, InvalidSchedule> {
        let cron = Cron::from_str(pattern)
            .map_err(|error| InvalidSchedule { pattern: pattern.to_owned(), reason: error.to_string() })?;
        Ok(Self { cron })
    }

    /// The first due moment after `after_ms`; `None` where there is none within the calendar.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let after = timestamp_ms_to_datetime(after_ms)?;
        let due = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(due.and_utc().timestamp_millis())
    }

    /// The cause for the last moment due in `(after_ms, now_ms]`; `None` where none was. Moments that were missed while
    /// nothing ran come as one cause, for retraining twice at once mends nothing.
    pub fn due(&self, model: &str, after_ms: i64, now_ms: i64) -> Option<Cause> {
        let now = timestamp_ms_to_datetime(now_ms)?;
        let due = self.cron.find_previous_occurrence(&now, true).ok()?.and_utc().timestamp_millis();
        if due <= after_ms {
            return None;
        }
        Some(Cause {
            id: format!("schedule:{model}:{due}"),
            model: model.to_owned(),
            kind: CauseKind::Schedule,
            time_ms: due,
            change_point_ms: None,
            summary: format!("the schedule {} was due", self.cron.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3_600_000;

    #[test]
    fn missed_moments_come_as_one_cause_with_the_same_id_for_everyone() {
        let daily = Schedule::parse("0 3 * * *").unwrap();
        let three = 3 * 3_600_000;
        let first = daily.due("beds", 0, 5 * DAY_MS).unwrap();
        assert_eq!(first.time_ms, 4 * DAY_MS + three);
        assert_eq!(daily.due("beds", DAY_MS, 5 * DAY_MS), Some(first));
        assert_eq!(daily.due("beds", 4 * DAY_MS + three, 5 * DAY_MS), None);
        assert_eq!(
            daily.due("beds", 4 * DAY_MS, 4 * DAY_MS + three).map(|cause| cause.time_ms),
            Some(4 * DAY_MS + three)
        );
    }

    #[test]
    fn the_next_moment_is_after_the_one_given() {
        let mondays = Schedule::parse("0 3 * * 1").unwrap();
        // The epoch was a Thursday.
        assert_eq!(mondays.next_after(0), Some(4 * DAY_MS + 3 * 3_600_000));
        assert_eq!(mondays.next_after(4 * DAY_MS + 3 * 3_600_000), Some(11 * DAY_MS + 3 * 3_600_000));
    }
}
