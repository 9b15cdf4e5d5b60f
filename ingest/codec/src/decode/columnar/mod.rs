//! Records that are columns: Arrow IPC streams, and Avro once arrow has made columns of it (see `avro`).
//!
//! What a stream looks like (`application/vnd.apache.arrow.stream`, one schema, any number of batches, not compressed):
//! - Columns are named as the wire format's fields: `id`, `time`, `model`, `version`, `prediction`, `label`, `sampling_rate`,
//!   `weight`. Order does not matter; other columns are ignored.
//! - Features are a struct column `features`, as a table of dicts gives it in pyarrow and polars, or flat columns
//!   `features.<name>`, as a data frame with prefixed names gives them. So are `score.<class>` beside the plain `score`, and
//!   `segment.<dimension>`.
//! - `time` is an integer in milliseconds, a timestamp of any unit (in UTC, whatever zone it is shown in), or RFC 3339 text.
//! - Numbers are integers and floats of any width, or decimals; text is plain, large, a view or dictionary-encoded.
//!   Timestamps and dates elsewhere than in `time` count as integers, in milliseconds.
//! - A null is a value that is not there: of an unknown feature, only values are counted.
//!
//! Invariants:
//! - A row is judged as the same row in JSON would be. Good rows are told by looking at columns; every other row is written
//!   as JSON and put before the judge of rows, whose word is final and whose dead letter it becomes. So is every row of a
//!   batch whose columns are of another shape: features as a list in schema order, or a record that a mapping reads.
//! - Rows keep their order.
//! - A stream that cannot be read is one bad record, of which nothing arrives.

mod arrays;
mod avro;
mod coerce;
mod envelopes;
mod model_rows;
mod pending_records;
mod route;
mod row;
mod stream;
mod table;

pub(super) use pending_records::PendingRecords;
pub(super) use route::{Outgoing, Sorted};
pub(super) use stream::Layout;

use super::builders::RecordPosition;
use super::builders::append::Hashes;
use super::cursor::{RejectedRow, Text};
use super::dead_letter::Identity;
use super::envelope::Cell;
use super::fault::Read;
use super::json::Json;
use super::{Decoder, Format, LOG_WIDTH, Rows, Task};
use bytes::Bytes;
use envelopes::Envelopes;
use model_rows::{ModelRows, Sharing};
use pending_records::{Arrival, Kind};
use std::sync::Arc;
use stream::Stream;
use streams::log::{Headers, Record};
use table::{Budget, FEATURES, Table, unconvertible};

/// The key of a stream's metadata that says that its columns are stored as privacy allows.
const REDACTED: &str = "driftline.redacted";

/// Rows, and where they stand in the log.
struct Batch<'a> {
    table: &'a Table,
    /// In the order of the rows, all of which they cover.
    spans: &'a [Span],
    hashes: Hashes,
    /// What a dead letter holds, where it is not the row as JSON.
    letter: Option<&'a Bytes>,
}

/// The rows of a record that are looked at one by one, and what that may cost.
struct RowByRow<'a> {
    record: &'a Record,
    budget: Budget,
    /// With more bad rows than this, neighbours are told of together.
    most_bad: usize,
}

impl Batch<'_> {
    /// Where these rows, which ascend, stand in the log.
    fn places_of(&self, rows: &[usize]) -> Vec<RecordPosition> {
        let mut wanted = rows.iter().peekable();
        let all = self.spans.iter().flat_map(|span| span.places()).enumerate();
        all.filter(|(row, _)| wanted.next_if_eq(&row).is_some()).map(|(_, place)| place).collect()
    }
}

/// Rows that follow one another in a record.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Of the first.
    place: RecordPosition,
    rows: usize,
}

impl Span {
    /// The places of its rows.
    fn places(self) -> impl Iterator<Item = RecordPosition> {
        // Rows of a record number fewer than i32 holds; the limit of a record is far below.
        (0..self.rows).map(move |row| RecordPosition { index: self.place.index + row as i32, ..self.place })
    }
}

impl Decoder {
    /// Takes in a record that is a stream. It is decoded with those that follow it.
    pub(super) fn take_stream(&mut self, record: &Record, value: &Bytes, task: &Task<'_>) {
        let stream = match Stream::read(value, &self.limits, self.layout.as_ref()) {
            Ok(stream) => stream,
            Err(fault) => {
                self.decode_gathered();
                return self.refuse(record, fault);
            }
        };
        let redacted = stream.layout.schema().metadata().contains_key(REDACTED);
        let hashes = if redacted { Hashes::Made } else { Hashes::Due };
        self.layout = Some(Arc::clone(&stream.layout));
        let record = Record { key: None, value: record.value.clone(), headers: Headers::default(), ..*record };
        let kind = Kind { rows: task.rows, redacted: task.redacted, hashes };
        self.gather(Arrival { record, batches: stream.batches, place: task.place, kind, letter: None });
    }

    fn decode_batch(&mut self, row_by_row: &mut RowByRow<'_>, batch: &Batch<'_>, task: &Task<'_>) {
        match self.share_out(batch, task) {
            Ok((model_rows, rest)) => {
                model_rows.iter().for_each(|model_rows| self.append(model_rows, task.rows));
                self.decode_as_rows(row_by_row, batch, &rest, task);
            }
            Err(fault) => self.refuse(row_by_row.record, fault),
        }
    }

    /// Shares of the rows that are good, and the rows that are to be looked at one by one.
    fn share_out(&self, batch: &Batch<'_>, task: &Task<'_>) -> Read<(Vec<ModelRows>, Vec<usize>)> {
        let everything = || (0..batch.table.rows).collect();
        let Some(envelopes) = Envelopes::of(batch.table)? else { return Ok((Vec::new(), everything())) };
        let sharing = Sharing { batch, envelopes, decoder: self, rows: task.rows };
        let (model_rows, is_taken) = sharing.model_rows().map_err(unconvertible)?;
        let rest: Vec<_> = (0..).zip(&is_taken).filter(|(_, taken)| !**taken).map(|(row, _)| row).collect();
        // A mapping may read what is no event v1, and rows that it takes would no longer be in their order.
        let is_complete = batch.table.within(FEATURES).next().is_some() || task.rows == Rows::Labels;
        // The router has taken those out of the streams that it wrote, and what is hashed must not be hashed again.
        let is_routed = batch.hashes == Hashes::Made;
        if task.mapped.is_empty() || is_routed || (rest.is_empty() && is_complete) {
            return Ok((model_rows, rest));
        }
        Ok((Vec::new(), everything()))
    }

    fn append(&mut self, model_rows: &ModelRows, rows: Rows) {
        let Some(source) = self.sources.get_mut(model_rows.source) else { return };
        self.directory.meet(model_rows.source);
        self.directory.count(
            model_rows.source,
            model_rows.rows.places.len(),
            LOG_WIDTH + model_rows.rows.columns.len(),
        );
        self.latest_ms = self.latest_ms.max(model_rows.rows.latest_ms());
        for (name, values) in &model_rows.unknown {
            source.count_unknown(name, *values);
        }
        match rows {
            Rows::Labels => source.label_builder(&mut self.full_labels).append(&model_rows.rows),
            Rows::Events => {
                let version = Cell::Text(Text::plain(model_rows.version.as_bytes()));
                let Some(place) = model_rows.rows.places.first() else { return };
                if let Some(shared_builders) = self.events.get_mut(source.built_by) {
                    let owner = source.owner(version, place, shared_builders);
                    shared_builders.append(owner, &model_rows.rows);
                }
            }
        }
    }

    /// Judges rows as the JSON events they would have been, as far as the record's bytes are worth it: the names of columns
    /// are written anew for each.
    fn decode_as_rows(&mut self, rest: &mut RowByRow<'_>, batch: &Batch<'_>, rows: &[usize], task: &Task<'_>) {
        for (done, (row, place)) in rows.iter().zip(batch.places_of(rows)).enumerate() {
            let mut json = Vec::new();
            row::write_row(&mut json, batch.table, *row);
            let before = self.bad.len();
            // What is read and let go of costs time alone.
            if let Err(fault) = rest.budget.spend(json.len() / 8) {
                let rows = u32::try_from(rows.len() - done).unwrap_or(u32::MAX);
                let left = RejectedRow { index: place.index as u32, rows, bytes: 0..0, fault };
                return self.dead_letter(rest.record, left, Identity::default(), Bytes::new());
            }
            let bytes = json.len();
            self.decode_as_row(rest.record, batch, json.into(), &Task { place, ..*task });
            if self.bad.len() == before {
                continue;
            }
            if rest.budget.spend(bytes).is_err() {
                self.bad.last_mut().into_iter().for_each(|last| last.bytes = Bytes::new());
            }
            if self.bad.len() > rest.most_bad {
                self.join_last_bad();
            }
        }
    }

    /// Has the bad row before the last stand for both, if they are neighbours.
    fn join_last_bad(&mut self) {
        let Some(last) = self.bad.pop() else { return };
        match self.bad.last_mut() {
            Some(before)
                if before.offset == last.offset && before.index.map(|index| index + before.rows) == last.index =>
            {
                before.rows += last.rows;
            }
            _ => self.bad.push(last),
        }
    }

    fn decode_as_row(&mut self, record: &Record, batch: &Batch<'_>, json: Bytes, task: &Task<'_>) {
        let place = task.place;
        let rejected_rows = self.decode_rows(&mut Json::new(&json), task);
        for row in rejected_rows {
            let row = RejectedRow { index: place.index as u32, ..row };
            match batch.letter {
                Some(letter) => self.dead_letter(record, row, Identity::read(&json, Format::Json), letter.clone()),
                None => self.quarantine(record, &json, row, Format::Json),
            }
        }
    }
}
