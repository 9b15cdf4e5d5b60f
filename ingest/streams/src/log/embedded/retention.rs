//! Retention: which records of a partition may go, and in which steps.

use super::catalogue::{Partition, Topic};
use super::reader::{self, Readers};
use crate::log::{LogError, Offset};

/// Records deleted in one transaction, so that appends do not wait long for one.
const STEP: Offset = 1_024;

/// The first record of a partition that its topic's retention keeps.
pub(super) fn first_to_keep(
    readers: &Readers,
    (topic, held): (&Topic, &Partition),
    now_ms: i64,
) -> Result<Offset, LogError> {
    let mut keep = held.first;
    if held.first == held.end {
        return Ok(keep);
    }
    if let Some(age) = topic.retention.age {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let young = readers.with(|reader| reader::first_appended_at(reader, held, now_ms.saturating_sub(age_ms)))?;
        keep = keep.max(young);
    }
    if let Some(bytes) = topic.retention.bytes_per_partition {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // What follows a record that begins at or after this position fits into the bytes.
        let position = held.end_position.saturating_sub(bytes);
        let within = readers.with(|reader| reader::first_positioned_at(reader, held, position))?;
        keep = keep.max(within);
    }
    Ok(keep)
}

/// The offsets before which to delete, one transaction each, until `keep` is the first.
pub(super) fn steps(first: Offset, keep: Offset) -> impl Iterator<Item = Offset> {
    let mut reached = first;
    std::iter::from_fn(move || {
        (reached < keep).then(|| {
            reached = keep.min(reached + STEP);
            reached
        })
    })
}
