//! Records of the same columns that follow one another, decoded as one table.
//!
//! What a look at a column costs hardly depends on how many values it has, so records of few rows cost by their number. What
//! records hold is decided together only where the answer is the plainest: every row of all of them is good.
//!
//! Invariants:
//! - Wherever anything else is the case, each record is decoded by itself, so that rows stand in the order of the log and
//!   faults are told of the record they are in.
//! - What is gathered is decoded before any other record is, and before what was decoded is taken.
//! - It holds [`MOST_ROWS`] rows and [`MOST_BYTES`] of values at the most, or one record.

use super::model_rows::ModelRows;
use super::table::{Budget, Table, written_bytes};
use super::{Batch, RowByRow, Span};
use crate::decode::builders::RecordPosition;
use crate::decode::builders::append::Hashes;
use crate::decode::cursor::most_told;
use crate::decode::source::MOST_VERSIONS_OF_RECORD;
use crate::decode::{Decoder, Rows, Task};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use std::sync::Arc;
use streams::log::Record;

/// Rows that are decoded at a time; behind a few thousand nothing more is won.
const MOST_ROWS: usize = 8_192;
/// Bytes of values written out that are decoded at a time.
const MOST_BYTES: usize = 32 << 20;

/// Records that wait to be decoded together.
#[derive(Default)]
pub(in crate::decode) struct PendingRecords {
    arrivals: Vec<Arrival>,
    rows: usize,
    bytes: usize,
}

/// A record whose columns have been read.
pub(super) struct Arrival {
    /// Its offset and value, as dead letters need them.
    pub(super) record: Record,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) place: RecordPosition,
    pub(super) kind: Kind,
    /// What a dead letter holds, where it is not the row as JSON.
    pub(super) letter: Option<Bytes>,
}

/// What records decoded together have in common, beside their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) rows: Rows,
    pub(super) redacted: bool,
    pub(super) hashes: Hashes,
}

impl PendingRecords {
    /// Whether the record can be decoded together with those that wait.
    fn suits(&self, arrival: &Arrival) -> bool {
        let Some(first) = self.arrivals.first() else { return true };
        let schemas = first.batches.first().zip(arrival.batches.first());
        first.kind == arrival.kind && schemas.is_some_and(|(a, b)| Arc::ptr_eq(a.schema_ref(), b.schema_ref()))
    }

    fn is_full(&self) -> bool {
        self.rows >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    fn push(&mut self, arrival: Arrival, bytes: usize) {
        self.rows += arrival.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        self.bytes = self.bytes.saturating_add(bytes);
        self.arrivals.push(arrival);
    }

    /// All rows as one table, and where each of them stands; `None` where they do not fit together.
    fn table(&self) -> Option<(Table, Vec<Span>)> {
        let batches: Vec<_> = self.arrivals.iter().flat_map(|arrival| &arrival.batches).collect();
        let schema = batches.first()?.schema();
        let whole = concat_batches(&schema, batches.iter().copied()).ok()?;
        let table = Table::new(&whole, &mut Budget::new(self.bytes)).ok()?;
        Some((table, self.arrivals.iter().flat_map(Arrival::spans).collect()))
    }
}

impl Arrival {
    /// The rows of each of its batches.
    fn spans(&self) -> Vec<Span> {
        let mut first_row = 0;
        let span = |batch: &RecordBatch| {
            let place = RecordPosition { index: first_row, ..self.place };
            // Rows of a record number fewer than i32 holds; the limit of a record is far below.
            first_row += batch.num_rows() as i32;
            Span { place, rows: batch.num_rows() }
        };
        self.batches.iter().map(span).collect()
    }

    /// Bytes of its values once written out; `None` where that cannot be told.
    fn written_bytes(&self) -> Option<usize> {
        let columns = self.batches.iter().flat_map(RecordBatch::columns);
        columns.map(|column| written_bytes(column).ok()).sum()
    }
}

impl Decoder {
    /// Puts a record to those of its kind, and decodes those that wait where it does not fit to them, or enough are there.
    pub(super) fn gather(&mut self, arrival: Arrival) {
        if !self.pending_records.suits(&arrival) {
            self.decode_gathered();
        }
        match arrival.written_bytes().filter(|bytes| *bytes <= MOST_BYTES) {
            Some(bytes) => self.pending_records.push(arrival, bytes),
            None => {
                self.decode_gathered();
                self.decode_arrival(&arrival);
            }
        }
        if self.pending_records.is_full() {
            self.decode_gathered();
        }
    }

    /// Decodes the records that wait.
    pub(in crate::decode) fn decode_gathered(&mut self) {
        let pending_records = std::mem::take(&mut self.pending_records);
        match self.shares_of_all(&pending_records) {
            Some((model_rows, rows)) => model_rows.iter().for_each(|model_rows| self.append(model_rows, rows)),
            None => pending_records.arrivals.iter().for_each(|arrival| self.decode_arrival(arrival)),
        }
    }

    /// Shares of all the rows, if every one of them is good.
    fn shares_of_all(&self, pending_records: &PendingRecords) -> Option<(Vec<ModelRows>, Rows)> {
        let (first, kind) = (pending_records.arrivals.first()?, pending_records.arrivals.first()?.kind);
        if pending_records.arrivals.len() < 2 {
            return None;
        }
        let (table, spans) = pending_records.table()?;
        let batch = Batch { table: &table, spans: &spans, hashes: kind.hashes, letter: None };
        let mapped = self.mapped.clone();
        let mapped = mapped.as_deref().unwrap_or_default();
        let task = Task { place: first.place, rows: kind.rows, mapped, redacted: kind.redacted };
        let (model_rows, rest) = self.share_out(&batch, &task).ok()?;
        // Where versions are too many to tell apart, it is for each record to say which of them are.
        let is_plain = rest.is_empty() && model_rows.len() < MOST_VERSIONS_OF_RECORD;
        is_plain.then_some((model_rows, kind.rows))
    }

    fn decode_arrival(&mut self, arrival: &Arrival) {
        let mapped = self.mapped.clone();
        let Arrival { record, batches, place, kind, letter } = arrival;
        let mapped = mapped.as_deref().unwrap_or_default();
        let task = Task { place: *place, rows: kind.rows, mapped, redacted: kind.redacted };
        let bytes = record.value.as_ref().map_or(0, Bytes::len);
        let tables = match super::table::tables(batches, bytes) {
            Ok(tables) => tables,
            Err(fault) => return self.refuse(record, fault),
        };
        let most_bad = self.bad.len() + most_told(bytes);
        let mut row_by_row = RowByRow { record, budget: Budget::of_rows(bytes), most_bad };
        for (table, span) in tables.iter().zip(arrival.spans()) {
            let batch = Batch { table, spans: &[span], hashes: kind.hashes, letter: letter.as_ref() };
            self.decode_batch(&mut row_by_row, &batch, &task);
        }
    }
}
