//! Control records: what a source says of its partition's event time, between its events.
//!
//! A heartbeat says that the source has come as far as a moment, so that a partition in which it had nothing to write does
//! not hold the windows up. An end-of-input mark says that nothing more comes: the last windows close. Both are records of
//! the log like any other, so that a replay reads them at the same place.

use crate::log::{NewRecord, PartitionId, Record};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

const HEADER: &str = "driftline-control";

/// What a source says of its event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "control", content = "time_ms")]
pub enum Control {
    /// Every event up to this time has been written; the allowed disorder still applies.
    Heartbeat(i64),
    /// This was the last event's time, and no more will come.
    EndOfInput(i64),
}

impl Control {
    /// The record that says so.
    pub fn to_record(self, topic: &str, partition: PartitionId) -> NewRecord {
        let (kind, time_ms) = match self {
            Self::Heartbeat(time_ms) => ("heartbeat", time_ms),
            Self::EndOfInput(time_ms) => ("end_of_input", time_ms),
        };
        NewRecord {
            topic: topic.to_owned(),
            partition,
            key: None,
            value: Some(Bytes::from(time_ms.to_string())),
            headers: vec![(HEADER.to_owned(), Bytes::from_static(kind.as_bytes()))],
            appended_ms: None,
        }
    }

    /// What the record says, if it is a control record at all; one that cannot be read says nothing.
    pub fn read(record: &Record) -> Option<Result<Self, String>> {
        let kind = record.header(HEADER)?;
        let value = record.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        let Some(time_ms) = value.and_then(|value| value.parse().ok()) else {
            return Some(Err("a control record must hold a time in milliseconds since the epoch".to_owned()));
        };
        match kind.as_ref() {
            b"heartbeat" => Some(Ok(Self::Heartbeat(time_ms))),
            b"end_of_input" => Some(Ok(Self::EndOfInput(time_ms))),
            other => Some(Err(format!("unknown control record `{}`", String::from_utf8_lossy(other)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(record: NewRecord) -> Record {
        Record { offset: 0, append_time_ms: 0, key: record.key, value: record.value, headers: record.headers.into() }
    }

    #[test]
    fn a_control_record_says_what_was_written() {
        for control in [Control::Heartbeat(-5), Control::EndOfInput(1_700_000_000_000)] {
            assert_eq!(Control::read(&stored(control.to_record("inferences", 1))), Some(Ok(control)));
        }
    }

    #[test]
    fn other_records_are_none_of_its_business() {
        let mut record = stored(Control::Heartbeat(1).to_record("inferences", 0));
        record.headers = [("content-type".to_owned(), Bytes::new())].into();
        assert_eq!(Control::read(&record), None);
    }

    #[test]
    fn an_unreadable_one_says_what_is_wrong() {
        let mut record = stored(Control::Heartbeat(1).to_record("inferences", 0));
        record.value = None;
        let refused = Control::read(&record).unwrap().unwrap_err();
        assert_eq!(refused, "a control record must hold a time in milliseconds since the epoch");
        let mut record = stored(Control::Heartbeat(1).to_record("inferences", 0));
        record.headers = [(HEADER.to_owned(), Bytes::from_static(b"pause"))].into();
        assert_eq!(Control::read(&record).unwrap().unwrap_err(), "unknown control record `pause`");
    }
}
