//! Durations, sizes and times as people write them: `1h`, `7d`, `250ms`; `8MiB`, `20GB`, `4096`;
//! `2026-01-31T08:00:00Z`.
//!
//! A duration without a unit is refused, because a bare `5` has been read as seconds, minutes and milliseconds.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A length of time, read from text such as `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// Longer ones would leave the calendar when they are added to a time.
const LONGEST: Duration = Duration::from_secs(1000 * 366 * 24 * 3600);

impl Span {
    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn hours(hours: u64) -> Self {
        Self::seconds(hours * 3600)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text).map_err(|reason| {
            D::Error::custom(format!(
                "`{text}` is not a duration ({reason}): write a number and a unit, as `90s`, `1h` or `7d`"
            ))
        })?;
        if duration > LONGEST {
            return Err(D::Error::custom(format!(
                "`{text}` is longer than a thousand years: write a shorter duration"
            )));
        }
        Ok(Self(duration))
    }
}

/// A moment, read from RFC 3339 text; UTC where no zone is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) SystemTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = humantime::parse_rfc3339_weak(&text).map_err(|reason| {
            D::Error::custom(format!("`{text}` is not a time ({reason}): write it as `2026-01-31T08:00:00Z`"))
        })?;
        Ok(Self(moment))
    }
}

/// A number of bytes, read from a whole number or from text such as `8MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

/// Suffixes and what they stand for, longest first so that `MiB` is not taken for `B`.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
        .unwrap_or((text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size in bytes, as `8MiB` or `20GB`")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                parse_bytes(text).map(ByteSize).ok_or_else(|| {
                    E::custom(format!(
                        "`{text}` is not a size in bytes: write a whole number and a unit, as `8MiB` or `20GB`"
                    ))
                })
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [("4096", 4096), ("8MiB", 8 << 20), ("20 GB", 20_000_000_000), ("1KiB", 1024), ("7B", 7)] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GB", "99999999999TiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
