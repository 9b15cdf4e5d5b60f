//! Rows that could not be taken, and the records they become.
//!
//! A dead letter carries the row's own bytes where it could be cut out of its record, and the headers that Kafka Connect
//! writes, so that tools which read those can read these. Of bytes beyond what a record may hold it carries the first.

use super::Decoder;
use super::cursor::{Cursor, RejectedRow, Value};
use super::fault::{Fault, Reason};
use super::format::Format;
use super::framing::SCHEMA_ID_HEADER;
use super::json::Json;
use super::msgpack::MessagePack;
use super::source::ActiveSource;
use bytes::Bytes;
use streams::log::{NewRecord, Offset, PartitionId, Record};
use streams::topics::dead_letters_of;

/// Header that holds the stable name of the reason.
pub const REASON_HEADER: &str = "driftline.reason";
/// Header that holds how many bytes there were, where the letter holds only the first of them.
const BYTES_HEADER: &str = "driftline.bytes";
/// The most bytes of a row that a letter holds. A record that came compressed may be larger than any that can be written,
/// and what cannot be written would stop its partition for ever; the record itself is where the headers say.
const MOST_BYTES: usize = 15 << 20;

/// A row, or what is left of a record, that could not be taken.
#[derive(Debug, Clone)]
pub struct BadRow {
    /// Offset of its record.
    pub offset: Offset,
    /// Its place within the record, from 0; `None` where the record has no rows.
    pub index: Option<u32>,
    /// How many rows it stands for: of very many that follow one another only the first is told of.
    pub rows: u32,
    /// The model it names, if it could be read.
    pub model: Option<String>,
    /// Why it could not be taken.
    pub reason: Reason,
    /// What is wrong, where, and how to mend it; without values of the row.
    pub message: String,
    /// Its own bytes (as JSON where it was one of many rows of columns), or the record's where it could not be cut out; for a model with restricted columns, or where there are
    /// such models and its own is not known, JSON with id, time and model only.
    pub bytes: Bytes,
}

impl BadRow {
    /// The record for the dead-letter topic.
    pub fn to_dead_letter(&self, topic: &str, partition: PartitionId, record: &Record) -> NewRecord {
        let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
        let mut headers = vec![
            header("__connect.errors.topic", topic.to_owned()),
            header("__connect.errors.partition", partition.to_string()),
            header("__connect.errors.offset", self.offset.to_string()),
            header("__connect.errors.stage", "VALUE_CONVERTER".to_owned()),
            header("__connect.errors.exception.message", self.message.clone()),
            header(REASON_HEADER, self.reason.name().to_owned()),
        ];
        // Without it nobody could read the record's own bytes.
        let schema = record.header(SCHEMA_ID_HEADER).filter(|_| record.value.as_ref() == Some(&self.bytes));
        headers.extend(schema.map(|id| (SCHEMA_ID_HEADER.to_owned(), id.clone())));
        headers.extend(self.index.map(|index| header("driftline.index", index.to_string())));
        if self.rows > 1 {
            headers.push(header("driftline.rows", self.rows.to_string()));
        }
        let held = self.bytes.slice(..self.bytes.len().min(MOST_BYTES));
        if held.len() < self.bytes.len() {
            headers.push(header(BYTES_HEADER, self.bytes.len().to_string()));
        }
        let topic = dead_letters_of(topic);
        NewRecord { topic, partition, key: record.key.clone(), value: Some(held), headers, appended_ms: None }
    }
}

impl Decoder {
    /// Sets a record aside that cannot be read at all.
    #[expect(clippy::boxed_local, reason = "faults are boxed wherever they are made")]
    pub(super) fn refuse(&mut self, record: &Record, fault: Box<Fault>) {
        let bytes = record.value.clone().unwrap_or_default();
        let private = self.sources.iter().any(|source| source.source.privacy.is_restrictive());
        self.bad.push(BadRow {
            offset: record.offset,
            index: None,
            rows: 1,
            model: None,
            reason: fault.reason,
            message: fault.message(),
            bytes: if private { Identity::default().to_bytes() } else { bytes },
        });
    }

    /// Sets a row aside, with its own bytes where it has some.
    pub(super) fn quarantine(&mut self, record: &Record, value: &Bytes, row: RejectedRow, format: Format) {
        let end = row.bytes.end.min(value.len());
        let own = row.bytes.start.min(end)..end;
        let bytes = if own.is_empty() { value.clone() } else { value.slice(own) };
        let identity = Identity::read(&bytes, format);
        self.dead_letter(record, row, identity, bytes);
    }

    /// Sets a row aside with these bytes, unless they may not be stored.
    pub(super) fn dead_letter(&mut self, record: &Record, row: RejectedRow, identity: Identity, bytes: Bytes) {
        let is_model = |source: &&ActiveSource| identity.model.as_deref() == Some(&*source.source.model);
        let private = match self.sources.iter().find(is_model) {
            Some(source) => source.source.privacy.is_restrictive(),
            None => self.sources.iter().any(|source| source.source.privacy.is_restrictive()),
        };
        self.bad.push(BadRow {
            offset: record.offset,
            index: Some(row.index),
            rows: row.rows,
            reason: row.fault.reason,
            message: row.fault.message(),
            bytes: if private { identity.to_bytes() } else { bytes },
            model: identity.model,
        });
    }
}

/// What can be read of a row that is bad.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Identity {
    pub(crate) id: Option<String>,
    pub(crate) time: Option<i64>,
    pub(crate) model: Option<String>,
}

impl Identity {
    /// Reads as far as the row goes.
    pub(crate) fn read(bytes: &[u8], format: Format) -> Self {
        match format {
            Format::Json => Self::from_cursor(&mut Json::new(bytes)),
            Format::MessagePack => Self::from_cursor(&mut MessagePack::new(bytes)),
            // Its rows are read as JSON; a stream as a whole has no one identity.
            Format::Arrow => Self::default(),
        }
    }

    /// Id, time and model as JSON.
    pub(crate) fn to_bytes(&self) -> Bytes {
        // Three plain fields always serialise; an empty letter would still have its headers.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    fn from_cursor<'a, C: Cursor<'a>>(cursor: &mut C) -> Self {
        const DEPTH: usize = 32;
        let mut identity = Self::default();
        let Ok(Value::Map(mut open)) = cursor.value() else { return identity };
        while let Ok(Some(key)) = cursor.next_key(&mut open) {
            let Ok(value) = cursor.value() else { break };
            match (key.resolve(&mut Vec::new()), value) {
                (b"id", Value::Text(id)) => identity.id = Some(id.to_text()),
                (b"id", Value::Int(id)) => identity.id = Some(id.to_string()),
                (b"time", Value::Int(time)) => identity.time = Some(time),
                (b"model", Value::Text(model)) => identity.model = Some(model.to_text()),
                _ => {}
            }
            if cursor.skip_rest(value, DEPTH).is_err() {
                break;
            }
        }
        identity
    }
}
