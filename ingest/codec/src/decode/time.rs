//! Times of events: what a value says, and whether it can be one.
//!
//! One rule for whatever brings events: a number counts milliseconds since the epoch and lies between March 1973 and the year
//! 9999. Smaller ones are seconds, years or row numbers, larger ones microseconds or nanoseconds; they are refused by what
//! they look like, and converted where a mapping names their unit. Text is RFC 3339 and names any year from 1 on.

use super::builders::RecordPosition;
use super::cursor::{Text, Value};
use super::envelope::{Part, wrong};
use super::fault::{Fault, Read, Reason};
use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{string_to_datetime, string_to_timestamp_nanos};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Milliseconds since the epoch, from an integer or RFC 3339 text (UTC where it names no offset).
pub(super) fn time_ms(part: Part<'_>) -> Read<i64> {
    match part.value {
        Value::Int(time) => check_time(time, part.at),
        Value::Uint(_) | Value::Long(_) => check_time(i64::MAX, part.at),
        Value::Text(text) => match rfc3339_ms(text) {
            Some(time_ms) => Ok(time_ms),
            None => distant_time(text, part.at),
        },
        other => Err(wrong(Reason::WrongTypeTime, part.at, &other)),
    }
}

/// Smaller numbers are no milliseconds of the time in which models answer: they begin on 1973-03-03. What is counted in
/// seconds lies below until the year 5138, and years, days and row numbers do in any case.
const FIRST_NUMBER_MS: i64 = 100_000_000_000;
/// The years 1 to 9999.
const CALENDAR_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// A number as the time that it stands for. All arithmetic on such times is far from overflow.
pub(crate) fn check_time(time_ms: i64, at: usize) -> Read<i64> {
    if (FIRST_NUMBER_MS..=*CALENDAR_MS.end()).contains(&time_ms) {
        return Ok(time_ms);
    }
    let what = match time_ms {
        1..10_000 => "the time looks like a year",
        1_000_000_000..FIRST_NUMBER_MS => "the time looks like seconds",
        ..FIRST_NUMBER_MS => "in milliseconds the time lies before March 1973",
        _ => "the time looks like microseconds or nanoseconds",
    };
    Err(Fault::new(Reason::TimeOutOfRange, at, what))
}

/// The time that RFC 3339 text names, if 64 bits can count its nanoseconds, as they do for three centuries to either side of
/// 1970.
pub(crate) fn rfc3339_ms(text: Text<'_>) -> Option<i64> {
    let nanos = string_to_timestamp_nanos(&text.to_text()).ok()?;
    Some(nanos.div_euclid(1_000_000))
}

/// The time of text in which such nanoseconds were looked for in vain.
#[cold]
fn distant_time(text: Text<'_>, at: usize) -> Read<i64> {
    let utc = "+00:00".parse::<Tz>();
    let time = utc.and_then(|utc| string_to_datetime(&utc, &text.to_text())).map(|time| time.timestamp_millis());
    match time {
        Ok(time_ms) if CALENDAR_MS.contains(&time_ms) => Ok(time_ms),
        Ok(_) => Err(Fault::new(Reason::TimeOutOfRange, at, "the year is not within 1 to 9999")),
        Err(_) => Err(Fault::new(Reason::WrongTypeTime, at, "text is not RFC 3339")),
    }
}

/// Checks that a time lies no further ahead of the log's than is believed.
#[inline]
pub(super) fn check_future(time_ms: i64, place: &RecordPosition, most_ahead_ms: i64) -> Read<()> {
    if time_ms <= place.append_time_ms.saturating_add(most_ahead_ms) {
        return Ok(());
    }
    let ahead = Duration::from_millis(time_ms.abs_diff(place.append_time_ms));
    let what = format!("the time is {} hours ahead of the log's clock", ahead.as_secs() / 3600);
    Err(Fault::new(Reason::TimeTooFarAhead, 0, what))
}
