//! The CloudEvents 1.0 JSON envelope of the records that other programs read: verdicts, retrain records, lifecycle events.
//!
//! Structured mode: the whole event is the record's value, with `datacontenttype` `application/json`. The envelope repeats
//! what a router wants to know without opening `data`; `data` alone decides what the record means, so a reader here takes
//! it and checks only that the envelope is one it understands. Attributes it does not know are ignored, as the
//! specification asks.

use crate::log::{NewRecord, PartitionId, Record};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The partition of control topics (`verdicts`, `causes`, `commands`, `retrain`, `models`): they have one each, because
/// what happens to a model must be in one order and they carry a few records a minute.
pub const CONTROL_PARTITION: PartitionId = 0;

/// The version of the specification that is written and read.
const SPEC_VERSION: &str = "1.0";
/// What `data` holds.
const JSON: &str = "application/json";

/// What an event says of itself outside `data`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Unique within its source; consumers drop one they have seen.
    pub id: &'a str,
    /// Who wrote it, as `/driftline/monitor`.
    pub source: &'a str,
    /// What kind of event, as `driftline.verdict`.
    pub kind: &'a str,
    /// The model it is about; also the record's key.
    pub subject: &'a str,
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
}

/// Why an envelope could not be written or read.
#[derive(Debug, Error)]
pub enum CloudEventError {
    /// The record has no value.
    #[error("a tombstone, where a CloudEvents envelope was expected")]
    Tombstone,
    /// Not JSON, not an envelope, or `data` of another shape.
    #[error("not a CloudEvents 1.0 event with the expected data: {source}")]
    Malformed {
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Another version of the specification.
    #[error("specversion {found:?} is not supported: write {SPEC_VERSION:?}")]
    SpecVersion {
        /// The version found.
        found: String,
    },
    /// A value that JSON cannot hold.
    #[error("event {id} cannot be written as JSON: {source}")]
    Unwritable {
        /// The event's id.
        id: String,
        /// What the writer said.
        #[source]
        source: serde_json::Error,
    },
}

/// The record for `topic` that holds `data` in an envelope, keyed by its subject.
///
/// # Errors
/// When `data` cannot be written as JSON.
pub fn encode<T: Serialize>(topic: &str, attributes: Attributes<'_>, data: &T) -> Result<NewRecord, CloudEventError> {
    let Attributes { id, source, kind, subject, time_ms } = attributes;
    let time = rfc3339(time_ms);
    let envelope = Envelope {
        specversion: SPEC_VERSION,
        id,
        source,
        kind,
        subject,
        time: time.as_deref(),
        datacontenttype: JSON,
        data,
    };
    let value = serde_json::to_vec(&envelope)
        .map_err(|source| CloudEventError::Unwritable { id: attributes.id.to_owned(), source })?;
    Ok(NewRecord {
        topic: topic.to_owned(),
        partition: CONTROL_PARTITION,
        key: Some(Bytes::copy_from_slice(subject.as_bytes())),
        value: Some(Bytes::from(value)),
        headers: vec![("content-type".to_owned(), Bytes::from_static(b"application/cloudevents+json"))],
        appended_ms: None,
    })
}

/// The `data` of a record's envelope.
///
/// # Errors
/// When the record is a tombstone, is no CloudEvents 1.0 event, or holds other data.
pub fn decode<T: DeserializeOwned>(record: &Record) -> Result<T, CloudEventError> {
    let value = record.value.as_ref().ok_or(CloudEventError::Tombstone)?;
    let event: Received<T> = serde_json::from_slice(value).map_err(|source| CloudEventError::Malformed { source })?;
    if event.specversion != SPEC_VERSION {
        return Err(CloudEventError::SpecVersion { found: event.specversion });
    }
    Ok(event.data)
}

/// `time_ms` as RFC 3339 in UTC; `None` beyond the years that the calendar holds (the attribute is optional).
pub fn rfc3339(time_ms: i64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(time_ms)?;
    Some(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    datacontenttype: &'a str,
    data: &'a T,
}

#[derive(Deserialize)]
struct Received<T> {
    specversion: String,
    data: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: Attributes<'_> = Attributes {
        id: "7",
        source: "/driftline/monitor",
        kind: "driftline.verdict",
        subject: "beds",
        time_ms: 1_700_000_000_123,
    };

    fn as_read(record: NewRecord) -> Record {
        Record { offset: 0, append_time_ms: 0, key: record.key, value: record.value, headers: record.headers.into() }
    }

    #[test]
    fn an_event_comes_back_as_it_was_written() {
        let record = encode("verdicts", ATTRIBUTES, &vec![1, 2, 3]).unwrap();
        assert_eq!(record.key.as_deref(), Some(b"beds".as_slice()));
        let text = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
        expect_test::expect![[
            r#"{"specversion":"1.0","id":"7","source":"/driftline/monitor","type":"driftline.verdict","subject":"beds","time":"2023-11-14T22:13:20.123Z","datacontenttype":"application/json","data":[1,2,3]}"#
        ]]
        .assert_eq(&text);
        assert_eq!(decode::<Vec<i32>>(&as_read(record)).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_reason() {
        let record = |value: Option<&'static str>| Record {
            offset: 0,
            append_time_ms: 0,
            key: None,
            value: value.map(|text| Bytes::from_static(text.as_bytes())),
            headers: crate::log::Headers::default(),
        };
        assert!(matches!(decode::<i32>(&record(None)), Err(CloudEventError::Tombstone)));
        assert!(matches!(decode::<i32>(&record(Some("{"))), Err(CloudEventError::Malformed { .. })));
        let old = record(Some(r#"{"specversion":"0.3","data":1}"#));
        assert!(matches!(decode::<i32>(&old), Err(CloudEventError::SpecVersion { .. })));
    }

    /// Envelopes as this program and others write them.
    const ENVELOPES: [&str; 3] = [
        r#"{"specversion":"1.0","id":"7","source":"/driftline/monitor","type":"driftline.verdict","subject":"beds","time":"2023-11-14T22:13:20.123Z","datacontenttype":"application/json","data":{"rows":[1,2,3],"model":"beds"}}"#,
        r#"{"data":{"a":{"b":[null,true,-1.5e3,"\u00e4"]}},"specversion":"1.0","traceparent":"00-1-2-03"}"#,
        r#"{"specversion":"0.3","data":[[[[[[[[]]]]]]]]}"#,
    ];

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(5_000))]

        #[test]
        fn an_envelope_whatever_has_become_of_its_bytes_is_read_or_refused(
            envelope in 0..ENVELOPES.len(),
            changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..6),
            cut in proptest::option::weighted(0.3, proptest::prelude::any::<proptest::sample::Index>()),
        ) {
            let mut bytes = ENVELOPES[envelope].as_bytes().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let record = Record { offset: 0, append_time_ms: 0, key: None, value: Some(bytes.into()), headers: crate::log::Headers::default() };
            // Whatever comes of it is an answer.
            let _ = decode::<serde_json::Value>(&record).map_err(|refused| refused.to_string());
        }

        #[test]
        fn every_moment_is_written_or_left_out(time_ms: i64) {
            let written = rfc3339(time_ms);
            proptest::prop_assert!(written.is_none_or(|written| written.ends_with('Z')));
        }
    }
}
