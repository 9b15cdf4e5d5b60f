//! Times as files write them.
//!
//! Text is RFC 3339, also with a space for the `T` and without a zone, which then is UTC. Numbers are seconds, milliseconds,
//! microseconds or nanoseconds since the epoch, told apart by their size: 1e11 seconds lie in the year 5138, 1e11 milliseconds
//! in 1973, and so on with each unit. What lies before March 1973 as a number is none: as text it is.

use super::Cell;
use std::time::{Duration, SystemTime};

/// Smaller numbers are seconds.
const LEAST_MILLISECONDS: f64 = 1e11;
/// Smaller numbers are no times: 1973-03-03 in seconds. They are years, days, hours or rows.
const LEAST_SECONDS: f64 = 1e8;
/// Numbers from here to [`LEAST_MILLISECONDS`] are taken for a time by [`TimeFormat::recognise`]: 2001-09-09 in seconds.
const LEAST_LIKELY_SECONDS: f64 = 1e9;
/// Larger numbers are microseconds, and so on: the year 5138 in milliseconds.
const MOST_MILLISECONDS: f64 = 1e14;
/// Larger numbers are no time: the year 5138 in nanoseconds.
const MOST_NANOSECONDS: f64 = 1e20;

/// How a column writes its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 or `YYYY-MM-DD HH:MM:SS`.
    Text,
    /// Seconds since the epoch.
    Seconds,
    /// Milliseconds since the epoch.
    Milliseconds,
    /// A type of the file's own.
    Native,
}

impl TimeFormat {
    /// The format of a value that looks like a time; `None` where it does not.
    pub fn recognise(cell: &Cell<'_>) -> Option<Self> {
        match cell {
            Cell::Moment(_) => Some(Self::Native),
            Cell::Text(text) if text_time(text).is_some() => Some(Self::Text),
            _ => match cell.number()? {
                seconds if (LEAST_LIKELY_SECONDS..1e10).contains(&seconds) => Some(Self::Seconds),
                millis if (LEAST_LIKELY_SECONDS * 1e3..1e13).contains(&millis) => Some(Self::Milliseconds),
                _ => None,
            },
        }
    }
}

/// Milliseconds since the epoch of a cell that holds a time; `None` where it holds none.
pub(super) fn millis(cell: &Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Moment(millis) => Some(*millis),
        Cell::Text(text) => text_time(text).or_else(|| number_time(cell.number()?)),
        _ => number_time(cell.number()?),
    }
}

/// A moment as RFC 3339 text.
pub fn rfc3339(millis: i64) -> String {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let moment = if millis < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.map_or_else(|| millis.to_string(), |moment| humantime::format_rfc3339_millis(moment).to_string())
}

/// What a cell that holds no time should hold, and how to mend it.
pub(super) fn wanted(cell: &Cell<'_>) -> &'static str {
    match cell.number() {
        Some(number) if number.abs() < LEAST_SECONDS => {
            "a time: so small a number is a year, a day or a row's number, and no moment since March 1973; name another column, write years as dates (2025-01-01), or give the rows a --start and an --interval instead"
        }
        _ => "a time: name another column, or write RFC 3339, or seconds or milliseconds since the epoch",
    }
}

fn number_time(number: f64) -> Option<i64> {
    let millis = match number.abs() {
        size if size < LEAST_SECONDS => return None,
        size if size < LEAST_MILLISECONDS => number * 1e3,
        size if size <= MOST_MILLISECONDS => number,
        size if size <= MOST_MILLISECONDS * 1e3 => number / 1e3,
        size if size <= MOST_NANOSECONDS => number / 1e6,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the largest of each unit is the year 5138")]
    Some(millis.round() as i64)
}

fn text_time(text: &str) -> Option<i64> {
    let parsed = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text.trim()).ok()?;
    // A bare year or number is no time, however lenient the parser.
    text.contains('-').then_some(parsed.div_euclid(1_000_000))
}
