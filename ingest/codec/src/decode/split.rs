//! Splitting: a record of any partition becomes records whose rows all belong to the partition that they go to.
//!
//! For inputs whose users partition them as they like. The partition of a row is that of its id, and the id is the one that
//! the decoder would read, mappings included.
//!
//! Invariants:
//! - **Nothing is lost and no value changes.** The parts hold the rows of the record, each once and in their order within a
//!   partition. A record whose rows all belong to one partition stays as it is, unless it is larger than any that can be
//!   written.
//! - **What the decoder will refuse is refused once.** A row without an id goes where all the others go, or to the record's
//!   home. Bytes that are no row are a record of their own there; where they would not be found fault with alone (the frame
//!   itself is broken) the record stays whole.
//! - Rows of JSON and MessagePack are sliced, those of a stream taken column by column, as an HTTP body's are; a record of
//!   Avro is one row.
//! - What privacy does not allow to be stored is taken out, because a part is stored anew: what cannot be read is replaced
//!   by `null` there, and Avro becomes columns.

use super::columnar::{Outgoing, Sorted};
use super::cursor::{Cursor, RejectedRow, Value, each_row};
use super::envelope::Envelope;
use super::fault::{Fault, Read, Reason};
use super::framing::{Payload, SCHEMA_ID_HEADER, Stop};
use super::json::Json;
use super::mapping::Mapping;
use super::msgpack::MessagePack;
use super::redactor::{REDACTED_HEADER, Redactor};
use super::route::{Accepted, EventKind, Packing};
use super::{Decoder, Format, Limits, RowInHand, Rows, Source, is_complete};
use crate::schemas::{Outage, Schemas};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use streams::log::{PartitionId, Record};
use streams::partition::partition_of_bytes;

/// The most bytes of a part. A record that came compressed may be larger than any that can be written; where its rows
/// cannot be told apart its first bytes become the dead letter.
const MOST_BYTES: usize = 15 << 20;
/// The most bytes of headers that are kept whole; of more, which need not fit beside a value, those that are read, and so
/// where values may not be stored.
const MOST_HEADER_BYTES: usize = 512 << 10;
/// Levels at which a value of the deepest kind may begin within a row.
const LEVELS_ABOVE: usize = 2;
/// What stands where private bytes cannot be told from others.
const NOTHING: &[u8] = b"null";
/// The header that names a value's format.
const CONTENT_TYPE: &str = "content-type";

type Header = (String, Bytes);

/// Splits the records of one input.
pub struct Splitter {
    decoder: Decoder,
    sources: Vec<Source>,
    limits: Limits,
    kind: EventKind,
    partitions: u32,
    redactor: Option<Redactor>,
}

/// What a record becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// At least one; one of them for each partition, or more where they would be too large.
    pub parts: Vec<Part>,
    /// The latest time of a row; none where there is no row that has one.
    pub latest_ms: Option<i64>,
}

/// A record to be, but for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it goes.
    pub partition: PartitionId,
    /// Its value; none for a tombstone.
    pub value: Option<Bytes>,
    /// The headers of the record that it is a part of, and what has to be said of a value that was changed.
    pub headers: Vec<Header>,
}

/// The rows of a record.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    /// What is no row, each as a record of its own; `None` where the frame is broken.
    faults: Option<Vec<Bytes>>,
    latest_ms: Option<i64>,
}

/// A row that can stand among others.
#[derive(Debug)]
struct Row {
    partition: Option<PartitionId>,
    bytes: Range<usize>,
}

/// A record's value: where it starts behind a frame, and in which format.
struct Framed<'a> {
    value: &'a Bytes,
    start: usize,
    format: Format,
}

impl Splitter {
    /// A splitter for records of these models' events or labels.
    pub fn new(sources: Vec<Source>, limits: Limits, kind: EventKind, partitions: u32) -> Self {
        let redactor = Redactor::new(&sources, limits);
        Self { decoder: Decoder::new(sources.clone(), limits), sources, limits, kind, partitions, redactor }
    }

    /// The same splitter, with the schemas that records may be written with.
    pub fn with_schemas(self, schemas: Arc<Schemas>) -> Self {
        Self { decoder: self.decoder.with_schemas(schemas), ..self }
    }

    /// Splits a record; what no id says the partition of goes to `home`.
    ///
    /// # Errors
    /// When its schema cannot be had for the moment. The record has to be split again then.
    pub fn split(&mut self, record: &Record, home: PartitionId) -> Result<Split, Outage> {
        let Some(value) = record.value.as_ref().filter(|value| !value.is_empty()) else {
            let (value, headers) = (record.value.clone(), record.headers.to_vec());
            return Ok(Split { parts: vec![Part { partition: home, value, headers }], latest_ms: None });
        };
        let outgoing = Outgoing {
            sources: &self.sources,
            limits: self.limits,
            partitions: self.partitions,
            max_record_bytes: MOST_BYTES,
        };
        let framed = |start, format| Framed { value, start, format };
        match self.decoder.payload(record, value) {
            Err(Stop::Outage(outage)) => Err(outage),
            Err(Stop::Fault(_)) => Ok(self.unreadable(record, home)),
            Ok(Payload::FramedJson { start }) => Ok(self.split_rows(record, &framed(start, Format::Json), home)),
            Ok(Payload::Plain(Format::Arrow)) => {
                let sorted = outgoing.sort(self.kind, value);
                Ok(self.split_columns(record, sorted, home))
            }
            Ok(Payload::Plain(format)) => Ok(self.split_rows(record, &framed(0, format), home)),
            Ok(Payload::Avro { schema, start }) => {
                let sorted = self.decoder.sort_avro(&outgoing, self.kind, (schema, &value.slice(start..)));
                Ok(self.split_columns(record, sorted, home))
            }
        }
    }

    fn split_rows(&mut self, record: &Record, framed: &Framed<'_>, home: PartitionId) -> Split {
        let body = framed.value.slice(framed.start..);
        let found = self.find(framed.format, &body);
        let destination = one_of(found.partitions(), home);
        let stays = destination.is_some() && framed.value.len() <= MOST_BYTES;
        let home = destination.unwrap_or(home);
        let pieces = if stays { None } else { self.assemble((framed.format, &body), &found, home) };
        let part = |(partition, body)| {
            let body = self.stored(record, framed.format, body);
            let frame = framed.value.get(..framed.start).unwrap_or_default();
            let value = if frame.is_empty() { body } else { Bytes::from([frame, &body].concat()) };
            self.part(record, partition, value)
        };
        let pieces = pieces.unwrap_or_else(|| vec![(home, body.clone())]);
        Split { parts: pieces.into_iter().map(part).collect(), latest_ms: found.latest_ms }
    }

    fn split_columns(&mut self, record: &Record, sorted: Read<Sorted>, home: PartitionId) -> Split {
        let Ok(Sorted { streams, lines, latest_ms, too_large, .. }) = sorted else {
            return self.unreadable(record, home);
        };
        let value = record.value.clone().unwrap_or_default();
        let lines = Bytes::from(lines);
        let found = self.find(Format::Json, &lines);
        let latest_ms = latest_ms.max(found.latest_ms);
        let destination = one_of(streams.iter().map(|(partition, _)| *partition).chain(found.partitions()), home);
        let home = destination.unwrap_or(home);
        if destination.is_some() && self.redactor.is_none() && value.len() <= MOST_BYTES {
            return Split { parts: vec![self.part(record, home, value)], latest_ms };
        }
        let rows = self.assemble((Format::Json, &lines), &found, home);
        let (Some(rows), true) = (rows, too_large.is_empty()) else { return self.unreadable(record, home) };
        let columns = streams.into_iter().map(|(partition, stream)| (partition, Format::Arrow, stream));
        let rows = rows
            .into_iter()
            .map(|(partition, rows)| (partition, Format::Json, self.stored(record, Format::Json, rows)));
        let part = |(partition, format, value)| Self::in_format(self.part(record, partition, value), format);
        Split { parts: columns.chain(rows).map(part).collect(), latest_ms }
    }

    /// A record of which nothing is known; its value is not stored where some of it may not be.
    fn unreadable(&self, record: &Record, home: PartitionId) -> Split {
        let part = match &self.redactor {
            None => self.part(record, home, record.value.clone().unwrap_or_default()),
            Some(_) => Self::in_format(self.part(record, home, Bytes::from_static(NOTHING)), Format::Json),
        };
        Split { parts: vec![part], latest_ms: None }
    }

    /// A value as privacy allows it to be stored.
    fn stored(&self, record: &Record, format: Format, value: Bytes) -> Bytes {
        match &self.redactor {
            Some(redactor) if record.header(REDACTED_HEADER).is_none() => redactor.redact(self.kind, format, &value),
            _ => value,
        }
    }

    fn part(&self, record: &Record, partition: PartitionId, value: Bytes) -> Part {
        let mut headers = record.headers.to_vec();
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        // A producer may have put anything into a header.
        if bytes > MOST_HEADER_BYTES || self.redactor.is_some() {
            headers.retain(|(name, _)| [CONTENT_TYPE, SCHEMA_ID_HEADER, REDACTED_HEADER].contains(&name.as_str()));
        }
        if self.redactor.is_some() && record.header(REDACTED_HEADER).is_none() {
            headers.push((REDACTED_HEADER.to_owned(), Bytes::new()));
        }
        Part { partition, value: Some(value.slice(..value.len().min(MOST_BYTES))), headers }
    }

    /// The same part, with the name of the format that it is now in.
    fn in_format(mut part: Part, format: Format) -> Part {
        part.headers.retain(|(name, _)| name != CONTENT_TYPE && name != SCHEMA_ID_HEADER);
        part.headers.push((CONTENT_TYPE.to_owned(), format.content_type().into()));
        part
    }

    /// Finds the rows of a value in a format of rows.
    fn find(&mut self, format: Format, body: &[u8]) -> Found {
        // A handle of its own, because heads may borrow constants of a mapping while the decoder changes.
        let mapped = self.decoder.mapped.clone();
        let mapped = mapped.as_deref().unwrap_or_default();
        let mut found = Found::default();
        let rejected_rows = match format {
            Format::MessagePack => self.look(&mut MessagePack::new(body), mapped, &mut found),
            Format::Json | Format::Arrow => self.look(&mut Json::new(body), mapped, &mut found),
        };
        let depth = self.limits.max_depth + LEVELS_ABOVE;
        let faults = rejected_rows.into_iter().map(|row| alone(format, body.get(row.bytes)?, depth));
        Found { faults: faults.collect(), ..found }
    }

    fn look<'a, C: Cursor<'a>>(
        &mut self,
        cursor: &mut C,
        mapped: &'a [(usize, Mapping)],
        found: &mut Found,
    ) -> Vec<RejectedRow> {
        let Self { decoder, limits, kind, partitions, .. } = self;
        let rows = if *kind == EventKind::Label { Rows::Labels } else { Rows::Events };
        let mut row = RowInHand { envelope: Envelope::empty(), cells: Vec::new() };
        let mut scratch = Vec::new();
        each_row(cursor, limits.max_events_per_record, |cursor, _| {
            let start = cursor.position();
            pass_row(cursor, limits.max_depth + LEVELS_ABOVE)?;
            let end = cursor.position();
            cursor.seek(start);
            let read = decoder.read_identity(cursor, &mut row, (rows, mapped));
            let id = read.and_then(|()| row.envelope.require_id(start));
            let partition = id.ok().map(|id| partition_of_bytes(id.resolve(&mut scratch), *partitions));
            found.latest_ms = found.latest_ms.max(row.envelope.time_ms.filter(|_| partition.is_some()));
            found.rows.push(Row { partition, bytes: start..end });
            cursor.seek(end);
            Ok(())
        })
    }

    /// The rows by partition, and what is no row at home; `None` where the frame is broken.
    fn assemble(
        &self,
        (format, body): (Format, &Bytes),
        found: &Found,
        home: PartitionId,
    ) -> Option<Vec<(PartitionId, Bytes)>> {
        let faults = found.faults.as_ref()?;
        let row = |row: &Row| Accepted { partition: row.partition.unwrap_or(home), bytes: row.bytes.clone() };
        let rows: Vec<_> = found.rows.iter().map(row).collect();
        let packing = Packing { format, partitions: self.partitions, max_record_bytes: MOST_BYTES };
        let records = packing.pack(body, &rows).into_iter().map(|record| (record.partition, record.value));
        Some(records.chain(faults.iter().map(|fault| (home, fault.clone()))).collect())
    }
}

impl Decoder {
    /// Reads a row as far as it is needed to know whose it is: as the decoder will, and no further.
    fn read_identity<'a, C: Cursor<'a>>(
        &mut self,
        cursor: &mut C,
        row: &mut RowInHand<'a>,
        (rows, mapped): (Rows, &'a [(usize, Mapping)]),
    ) -> Read<()> {
        let start = cursor.position();
        match self.read_row(cursor, row, rows) {
            Ok(_) if mapped.is_empty() || is_complete(&row.envelope, rows) => Ok(()),
            outcome if mapped.is_empty() => outcome.map(|_| ()),
            _ => {
                cursor.seek(start);
                self.read_mapped(cursor, row, mapped).map(|_| ())
            }
        }
    }
}

impl Found {
    fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.rows.iter().filter_map(|row| row.partition)
    }
}

/// The one partition that there is, `home` where there is none, and `None` where there are several.
fn one_of(mut partitions: impl Iterator<Item = PartitionId>, home: PartitionId) -> Option<PartitionId> {
    let Some(first) = partitions.next() else { return Some(home) };
    partitions.all(|partition| partition == first).then_some(first)
}

/// Goes past a row that can stand among others in another frame: a map that is well-formed.
fn pass_row<'a, C: Cursor<'a>>(cursor: &mut C, depth: usize) -> Read<()> {
    let start = cursor.position();
    match cursor.value()? {
        map @ Value::Map(_) => cursor.skip_rest(map, depth),
        other => Err(Fault::new(Reason::NotAMap, start, format!("the row is {}", other.noun()))),
    }
}

/// The value of a record in which these bytes, which are no row, are alone, and found fault with once.
fn alone(format: Format, bytes: &[u8], depth: usize) -> Option<Bytes> {
    let mut framed = match format {
        Format::MessagePack => vec![[&[rmp::Marker::FixArray(1).to_u8()], bytes].concat()],
        // As it is, so that what ends early does so still; the one item of an array; or a line of its own.
        Format::Json | Format::Arrow if bytes.starts_with(b"{") => vec![bytes.to_vec(), [b"[", bytes, b"]"].concat()],
        Format::Json | Format::Arrow => vec![[b"[", bytes, b"]"].concat(), [b"\n", bytes].concat()],
    };
    framed.retain(|framed| match format {
        Format::MessagePack => is_one_fault(&mut MessagePack::new(framed), depth),
        Format::Json | Format::Arrow => is_one_fault(&mut Json::new(framed), depth),
    });
    framed.into_iter().next().map(Bytes::from)
}

fn is_one_fault<'a, C: Cursor<'a>>(cursor: &mut C, depth: usize) -> bool {
    let mut good = 0;
    let rejected_rows = each_row(cursor, u32::MAX, |cursor, _| pass_row(cursor, depth).map(|()| good += 1));
    rejected_rows.len() == 1 && good == 0
}
