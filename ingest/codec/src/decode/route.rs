//! Routing: a body with events, as a client posts it, becomes records by partition without being encoded again.
//!
//! The partition of an event is that of its id. Each event's own bytes are copied once: JSON events are joined by newlines,
//! MessagePack events stand behind the head of an array; rows of Arrow are taken column by column (see `columnar`). What can be judged without the model's columns is judged here, so
//! that the client hears of it at once; the decoder judges the rest.

use super::Limits;
use super::columnar::{Outgoing, Sorted};
use super::cursor::{Cursor, RejectedRow, each_row};
use super::envelope::{Envelope, Field, HeadReader, Taken};
use super::fault::{Fault, Read, Reason};
use super::format::Format;
use super::json::Json;
use super::mapping::{Mapping, Walk};
use super::msgpack::MessagePack;
use super::source::Source;
use bytes::Bytes;
use std::collections::HashSet;
use std::ops::Range;
use streams::log::PartitionId;
use streams::partition::partition_of_bytes;

/// What a body's events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Predictions.
    Inference,
    /// Labels.
    Label,
    /// Observations about a prediction, such as a click.
    Feedback,
}

/// Splits bodies into records.
#[derive(Debug, Clone)]
pub struct Router {
    sources: Vec<Source>,
    models: HashSet<String>,
    mapped: Vec<Mapping>,
    limits: Limits,
    partitions: u32,
    max_record_bytes: usize,
}

/// What became of a body.
#[derive(Debug, Default)]
pub struct Routed {
    /// Records to be; the events of a model and partition are in the body's order.
    pub records: Vec<RoutedRecord>,
    /// How many events the records hold.
    pub accepted: u64,
    /// The events that were left out, in the body's order.
    pub rejected: Vec<Rejected>,
}

/// The value of a record, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedRecord {
    /// The partition of all its events.
    pub partition: PartitionId,
    /// How it is written: as the body was, but for rows of Arrow that only a mapping can read.
    pub format: Format,
    /// Its bytes.
    pub value: Bytes,
}

/// An event that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place within the body, from 0.
    pub index: u32,
    /// How many events it stands for: of very many that follow one another only the first is told of.
    pub rows: u32,
    /// Why.
    pub reason: Reason,
    /// What is wrong, where in the body, and how to mend it.
    pub message: String,
}

/// An event that was accepted: where it goes, and its bytes in the body.
pub(super) struct Accepted {
    pub(super) partition: PartitionId,
    pub(super) bytes: Range<usize>,
}

/// How the events of a body are put into records.
pub(super) struct Packing {
    pub(super) format: Format,
    pub(super) partitions: u32,
    /// Bytes at which a partition gets another record.
    pub(super) max_record_bytes: usize,
}

/// Bytes that the head of a MessagePack array takes in the form used here.
const ARRAY_HEAD_BYTES: usize = 5;

impl Router {
    /// A router for these models. `max_record_bytes` bounds a record's value, and so an event.
    pub fn new(sources: &[Source], limits: Limits, partitions: u32, max_record_bytes: usize) -> Self {
        Self {
            sources: sources.to_vec(),
            models: sources.iter().map(|source| source.model.to_string()).collect(),
            mapped: sources.iter().filter_map(|source| source.mapping.clone()).collect(),
            limits,
            partitions,
            max_record_bytes,
        }
    }

    /// Splits a body. A bad event costs that event; it is for the caller to decide whether to take the others.
    pub fn route(&self, kind: EventKind, format: Format, body: &[u8]) -> Routed {
        let mut routed = match format {
            Format::Json | Format::MessagePack => self.route_rows(kind, format, body),
            Format::Arrow => self.route_columns(kind, body),
        };
        if routed.accepted == 0 && routed.rejected.is_empty() {
            routed.rejected.push(rejected(0, &Fault::new(Reason::Empty, 0, "the body has no event")));
        }
        routed
    }

    fn route_rows(&self, kind: EventKind, format: Format, body: &[u8]) -> Routed {
        let mut accepted = Vec::new();
        let rejected_rows = match format {
            Format::MessagePack => self.split(&mut MessagePack::new(body), kind, &mut accepted),
            Format::Json | Format::Arrow => self.split(&mut Json::new(body), kind, &mut accepted),
        };
        let rejected = rejected_rows.iter().map(Rejected::of);
        let rejected = rejected.collect();
        let packing = Packing { format, partitions: self.partitions, max_record_bytes: self.max_record_bytes };
        Routed { accepted: accepted.len() as u64, records: packing.pack(body, &accepted), rejected }
    }

    /// Rows that are good as they stand go their way as columns, the others as JSON.
    fn route_columns(&self, kind: EventKind, body: &[u8]) -> Routed {
        let Self { sources, limits, partitions, max_record_bytes, .. } = self;
        let outgoing =
            Outgoing { sources, limits: *limits, partitions: *partitions, max_record_bytes: *max_record_bytes };
        let sorted = match outgoing.sort(kind, &Bytes::copy_from_slice(body)) {
            Ok(sorted) => sorted,
            Err(fault) => return Routed { rejected: vec![rejected(0, &fault)], ..Routed::default() },
        };
        let Sorted { streams, accepted, lines, line_rows, too_large, .. } = sorted;
        let mut routed = self.route_rows(kind, Format::Json, &lines);
        for row in &mut routed.rejected {
            let place = usize::try_from(row.index).ok().and_then(|line| line_rows.get(line));
            row.index = place.copied().unwrap_or(row.index);
        }
        routed.rejected.extend(too_large.iter().map(|(row, fault)| rejected(*row, fault)));
        routed.rejected.sort_by_key(|row| row.index);
        routed.accepted += accepted;
        let streams = streams.into_iter();
        let records = streams.map(|(partition, value)| RoutedRecord { partition, format: Format::Arrow, value });
        routed.records.extend(records);
        routed
    }

    fn split<'a, C: Cursor<'a>>(
        &'a self,
        cursor: &mut C,
        kind: EventKind,
        accepted: &mut Vec<Accepted>,
    ) -> Vec<RejectedRow> {
        let mut envelopes = HeadReader::new(self.limits.max_depth);
        let mut scratch = Vec::new();
        each_row(cursor, self.limits.max_events_per_record, |cursor, _| {
            let start = cursor.position();
            let envelope = self.read(cursor, &mut envelopes, kind)?;
            let bytes = start..cursor.position();
            if bytes.len() + ARRAY_HEAD_BYTES > self.max_record_bytes {
                let what = format!("an event of {} bytes, where {} are allowed", bytes.len(), self.max_record_bytes);
                return Err(Fault::new(Reason::TooLarge, start, what));
            }
            let id = envelope.require_id(start)?.resolve(&mut scratch);
            accepted.push(Accepted { partition: partition_of_bytes(id, self.partitions), bytes });
            Ok(())
        })
    }

    /// Reads what every event of the kind must have: as an event v1, or else by the first mapping that fits.
    fn read<'a, C: Cursor<'a>>(
        &'a self,
        cursor: &mut C,
        envelopes: &mut HeadReader,
        kind: EventKind,
    ) -> Read<Envelope<'a>> {
        let start = cursor.position();
        let mut outcome = self.read_plain(cursor, envelopes, kind);
        for mapping in &self.mapped {
            let Err(_) = outcome else { break };
            cursor.seek(start);
            outcome = self.read_mapped(cursor, mapping, kind);
        }
        outcome
    }

    fn read_plain<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        envelopes: &mut HeadReader,
        kind: EventKind,
    ) -> Read<Envelope<'a>> {
        let start = cursor.position();
        let depth = self.limits.max_depth;
        let mut envelope = Envelope::empty();
        envelopes.read(cursor, &mut envelope, |cursor, _| cursor.skip(depth).map(|()| Taken::Later))?;
        let model = envelope.require_model(start)?;
        if !self.models.contains(&model.to_text()) {
            return Err(Fault::new(Reason::UnknownModel, start, "the model is not configured"));
        }
        require(&envelope, kind, start)?;
        if kind == EventKind::Inference {
            envelope.require(Field::Features, Reason::MissingFeatures, start)?;
        }
        Ok(envelope)
    }

    fn read_mapped<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        mapping: &'a Mapping,
        kind: EventKind,
    ) -> Read<Envelope<'a>> {
        let (start, depth) = (cursor.position(), self.limits.max_depth);
        cursor.skip(depth)?;
        let end = cursor.position();
        let envelope = mapping.read_head(&mut Walk { cursor: &mut *cursor, start, depth })?;
        require(&envelope, kind, start)?;
        cursor.seek(end);
        Ok(envelope)
    }
}

impl Packing {
    /// Records with the events' bytes; those of a partition are in the body's order.
    pub(super) fn pack(&self, body: &[u8], accepted: &[Accepted]) -> Vec<RoutedRecord> {
        let format = self.format;
        let mut open: Vec<Assembly> = (0..self.partitions.max(1)).map(|_| Assembly::default()).collect();
        let mut records = Vec::new();
        for event in accepted {
            let Some(assembly) = usize::try_from(event.partition).ok().and_then(|at| open.get_mut(at)) else {
                continue;
            };
            let own = body.get(event.bytes.clone()).unwrap_or_default();
            if assembly.events > 0 && assembly.bytes.len() + own.len() + ARRAY_HEAD_BYTES > self.max_record_bytes {
                let value = std::mem::take(assembly).finish(format);
                records.push(RoutedRecord { partition: event.partition, format, value });
            }
            assembly.add(format, own);
        }
        for (partition, assembly) in (0..).zip(open) {
            if assembly.events > 0 {
                records.push(RoutedRecord { partition, format, value: assembly.finish(format) });
            }
        }
        records
    }
}

/// A record's value under construction.
#[derive(Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    events: u32,
}

impl Assembly {
    /// How many rows it has.
    pub(super) fn events(&self) -> u32 {
        self.events
    }

    /// Adds a row.
    pub(super) fn add(&mut self, format: Format, event: &[u8]) {
        match format {
            Format::Json if self.events > 0 => self.bytes.push(b'\n'),
            Format::MessagePack if self.events == 0 => self.bytes.extend_from_slice(&[0; ARRAY_HEAD_BYTES]),
            _ => {}
        }
        self.bytes.extend_from_slice(event);
        self.events += 1;
    }

    /// The value: rows of JSON on lines, those of MessagePack in an array.
    pub(super) fn finish(mut self, format: Format) -> Bytes {
        if let (Format::MessagePack, Some(envelope)) = (format, self.bytes.first_chunk_mut::<ARRAY_HEAD_BYTES>()) {
            let [a, b, c, d] = self.events.to_be_bytes();
            *envelope = [rmp::Marker::Array32.to_u8(), a, b, c, d];
        }
        Bytes::from(self.bytes)
    }
}

fn require(envelope: &Envelope<'_>, kind: EventKind, at: usize) -> Read<()> {
    envelope.require_id(at)?;
    envelope.require_time(at)?;
    match kind {
        EventKind::Inference => envelope.require_version(at).map(|_| ()),
        EventKind::Label => envelope.require(Field::Label, Reason::MissingLabel, at),
        EventKind::Feedback => {
            envelope.require(Field::Name, Reason::MissingName, at)?;
            envelope.require(Field::Value, Reason::MissingValue, at)
        }
    }
}

impl Rejected {
    fn of(row: &RejectedRow) -> Self {
        Self { index: row.index, rows: row.rows, reason: row.fault.reason, message: row.message() }
    }
}

fn rejected(index: u32, fault: &Fault) -> Rejected {
    Rejected { index, rows: 1, reason: fault.reason, message: fault.message() }
}
