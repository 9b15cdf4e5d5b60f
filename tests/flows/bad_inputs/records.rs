//! Bad records of a topic, as a producer writes them that does not come through the API: each becomes a dead letter.

use super::table::To;

/// A bad record.
pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) to: To,
    pub(super) content_type: Option<&'static str>,
    /// What it holds; `None` is a tombstone.
    pub(super) value: Option<&'static [u8]>,
    pub(super) reason: &'static str,
    pub(super) says: &'static str,
}

/// A table of records: `name: topic, content type, value => reason, message;`.
macro_rules! records {
    ($($name:literal : $to:ident, $content_type:expr, $value:expr => $reason:literal, $says:literal;)*) => {
        &[$(Record {
            name: $name,
            to: To::$to,
            content_type: $content_type,
            value: $value,
            reason: $reason,
            says: $says,
        }),*]
    };
}

const JSON: Option<&str> = Some("application/json");

pub(super) const RECORDS: &[Record] = records! {
    "a tombstone":
        Events, None, None
        => "empty", "the record is empty at byte 0: send at least one event";
    "an empty record":
        Labels, JSON, Some(b"")
        => "empty", "the record is empty at byte 0: send at least one event";
    "a record of plain text":
        Events, None, Some(b"hello")
        => "unknown_format", "neither the content type nor the first bytes tell the format at byte 0: send application/json, application/msgpack or application/vnd.apache.arrow.stream";
    "a record of an unknown content type":
        Events, Some("text/csv"), Some(b"id,time\na,1\n")
        => "unknown_format", "neither the content type nor the first bytes tell the format at byte 0: send application/json, application/msgpack or application/vnd.apache.arrow.stream";
    "JSON that was cut off":
        Events, JSON, Some(br#"{"id":"cut","time":1700000000000"#)
        => "truncated", "the bytes end within a value at byte 32: send the whole event";
    "MessagePack that was cut off":
        Labels, None, Some(b"\x84\xa2id\xa3cut\xa4time")
        => "truncated", "the bytes end within a value in `time` at byte 13: send the whole event";
    "bytes after the last event":
        Events, None, Some(b"\x90\x01")
        => "trailing_bytes", "1 bytes follow the last event at byte 1: put several events into one array";
    "an unknown model on the topic":
        Events, JSON, Some(br#"{"id":"x","time":1700000000000,"model":"laon","version":"v1","features":[]}"#)
        => "unknown_model", "the model is not configured at byte 0: add the model to the configuration, or correct its name";
    "an event among the labels":
        Labels, JSON, Some(br#"{"id":"x","time":1700000000000,"model":"loan","version":"v1","features":[1,30,"DE"]}"#)
        => "missing_label", "the row has no `label` at byte 0: send the label, or send nothing until it is known";
    "an array of events without ids":
        Events, JSON, Some(br#"[{"time":1700000000000,"model":"loan","version":"v1","features":[1,30,"DE"]}]"#)
        => "missing_id", "the row has no `id` at byte 1: give every event an id, which its label repeats";
};
