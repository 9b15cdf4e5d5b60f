//! Arrow columns under construction.
//!
//! A row is appended whole or not at all: everything that can be wrong with it has been found before the first column grows,
//! so there is nothing to roll back. Text is copied once, straight from the record. Values and nulls are told apart in runs:
//! a value after a value is only appended, a null after a null only counted, so that columns which events hardly ever
//! have, such as a weight, cost next to nothing.

pub(super) mod append;

use super::EventBatch;
use super::envelope::{Cell, Envelope};
use super::privacy::HashKey;
use super::shared_builders::Owner;
use crate::columns;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch, StringArray,
    UInt16Array, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use detectors::schema::ColumnKind;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Where a row stands in the log, and when the log took it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPosition {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) index: i32,
    pub(crate) append_time_ms: i64,
}

/// One column of values.
#[derive(Debug)]
pub(crate) enum Column {
    Number(NumberColumn),
    Text(TextColumn),
    /// Text of which only the hash is kept. The key's state is large, and hardly any column has one.
    Hash(TextColumn, Box<Hashing>),
}

/// How a column is hashed.
#[derive(Debug, Clone)]
pub(crate) struct Hashing {
    pub(crate) key: HashKey,
    pub(crate) stored: Stored,
}

/// What stands in records that were stored as privacy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The hash.
    Hashed,
    /// The value, which is still to be profiled.
    AsItCame,
}

impl Column {
    /// A column with room for so many rows.
    pub(crate) fn new(kind: ColumnKind, hashing: Option<Hashing>, rows: usize) -> Self {
        match (kind, hashing) {
            (ColumnKind::Numeric, _) => Self::Number(NumberColumn::with_rows(rows)),
            (ColumnKind::Categorical, None) => Self::Text(TextColumn::with_rows(rows)),
            (ColumnKind::Categorical, Some(hashing)) => Self::Hash(TextColumn::with_rows(rows), Box::new(hashing)),
        }
    }

    /// Appends a value; returns how many bytes of text the column then holds.
    #[inline(always)]
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        match self {
            Self::Number(column) => {
                match cell {
                    Cell::Number(value) => column.push(Some(*value)),
                    _ => column.push(None),
                }
                0
            }
            Self::Text(column) => column.push(cell),
            Self::Hash(column, hashing) => match cell {
                Cell::Text(_) | Cell::Int(_) | Cell::Uint(_) | Cell::Number(_) => {
                    column.push_bytes(&hashing.key.hash(cell.resolve(&mut Vec::new())))
                }
                Cell::Hash(hash) => column.push_bytes(hash.resolve(&mut Vec::new())),
                _ => column.push(&Cell::Null),
            },
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Number(column) => column.finish(),
            Self::Text(column) | Self::Hash(column, _) => column.finish(),
        }
    }
}

/// Doubles and nulls.
#[derive(Debug)]
pub(crate) struct NumberColumn {
    values: Vec<f64>,
    /// Up to the last null that was settled; what stands behind it is valid.
    nulls: NullBufferBuilder,
    /// Nulls at the end that stand in neither yet.
    absent: usize,
}

impl NumberColumn {
    fn with_rows(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows), absent: 0 }
    }

    #[inline(always)]
    fn push(&mut self, value: Option<f64>) {
        let Some(value) = value else {
            self.absent += 1;
            return;
        };
        if self.absent > 0 {
            self.settle();
        }
        self.values.push(value);
    }

    #[inline(never)]
    fn settle(&mut self) {
        self.nulls.append_n_non_nulls(self.values.len() - self.nulls.len());
        self.values.resize(self.values.len() + self.absent, 0.0);
        self.nulls.append_n_nulls(std::mem::take(&mut self.absent));
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        self.settle();
        Ok(Arc::new(Float64Array::try_new(snug(self.values).into(), self.nulls.finish())?))
    }
}

/// Text and nulls.
#[derive(Debug)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    /// Where each row's text ends; the first is where that of the first row starts.
    ends: Vec<i32>,
    /// Up to the last null that was settled; what stands behind it is valid.
    nulls: NullBufferBuilder,
    /// Nulls at the end that stand in neither yet.
    absent: usize,
}

impl TextColumn {
    fn with_rows(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: Vec::new(), ends, nulls: NullBufferBuilder::new(rows), absent: 0 }
    }

    #[inline(always)]
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        if let Cell::Text(text) = cell
            && let Some(plain) = text.plain_bytes()
        {
            return self.push_bytes(plain);
        }
        if cell.write_category(&mut self.bytes) {
            return self.end();
        }
        self.absent += 1;
        self.bytes.len()
    }

    #[inline(always)]
    fn push_bytes(&mut self, value: &[u8]) -> usize {
        self.bytes.extend_from_slice(value);
        self.end()
    }

    #[inline(always)]
    fn end(&mut self) -> usize {
        if self.absent > 0 {
            self.settle();
        }
        let end = self.bytes.len();
        debug_assert!(end <= i32::MAX as usize, "a builder is put aside long before: see `is_full`");
        self.ends.push(end as i32);
        end
    }

    /// The nulls end where the last value does.
    #[inline(never)]
    fn settle(&mut self) {
        let end = self.ends.last().copied().unwrap_or_default();
        self.nulls.append_n_non_nulls(self.ends.len() - 1 - self.nulls.len());
        self.ends.resize(self.ends.len() + self.absent, end);
        self.nulls.append_n_nulls(std::mem::take(&mut self.absent));
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        self.settle();
        // The ends begin at 0 and never fall, because bytes are only ever appended.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(snug(self.ends)));
        Ok(Arc::new(StringArray::try_new(offsets, snug(self.bytes).into(), self.nulls.finish())?))
    }
}

/// The columns that events and labels have in common.
#[derive(Debug)]
struct LogColumns {
    partition: Vec<i32>,
    offset: Vec<i64>,
    index: Vec<i32>,
    id: TextColumn,
    time_ms: Vec<i64>,
    append_time_ms: Vec<i64>,
}

impl LogColumns {
    fn with_rows(rows: usize) -> Self {
        Self {
            partition: Vec::with_capacity(rows),
            offset: Vec::with_capacity(rows),
            index: Vec::with_capacity(rows),
            id: TextColumn::with_rows(rows),
            time_ms: Vec::with_capacity(rows),
            append_time_ms: Vec::with_capacity(rows),
        }
    }

    /// Appends a row; returns how many bytes of text the ids then hold.
    #[inline(always)]
    fn push(&mut self, place: RecordPosition, id: Cell<'_>, time_ms: i64) -> usize {
        self.partition.push(place.partition);
        self.offset.push(place.offset);
        self.index.push(place.index);
        self.time_ms.push(time_ms);
        self.append_time_ms.push(place.append_time_ms);
        self.id.push(&id)
    }

    fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            Arc::new(Int32Array::from(snug(self.partition))),
            Arc::new(Int64Array::from(snug(self.offset))),
            Arc::new(Int32Array::from(snug(self.index))),
            self.id.finish()?,
            Arc::new(Int64Array::from(snug(self.time_ms))),
            Arc::new(Int64Array::from(snug(self.append_time_ms))),
        ])
    }
}

/// The places of values whose type did not fit: the column, and the row, which never falls.
#[derive(Debug, Default)]
struct WrongTypes {
    columns: Vec<u16>,
    rows: Vec<usize>,
}

impl WrongTypes {
    fn finish(self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let item = Arc::new(Field::new_list_field(DataType::UInt16, false));
        if self.columns.is_empty() {
            return Ok(new_null_array(&DataType::List(item), rows));
        }
        let mut lengths = vec![0; rows];
        for row in self.rows {
            if let Some(length) = lengths.get_mut(row) {
                *length += 1;
            }
        }
        let nulls: NullBuffer = lengths.iter().map(|length| *length > 0).collect();
        let columns = Arc::new(UInt16Array::from(self.columns));
        Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), columns, Some(nulls))?))
    }
}

/// A row of one model and version that is known to be good.
pub(crate) struct GoodRow<'r, 'a> {
    pub(crate) place: RecordPosition,
    pub(crate) time_ms: i64,
    pub(crate) envelope: &'r Envelope<'a>,
    /// The schema's columns, then the segments.
    pub(crate) cells: &'r [Cell<'a>],
    pub(crate) label: Cell<'a>,
}

/// The columns of a model's events.
#[derive(Debug, Clone)]
pub(crate) struct BatchShape {
    pub(crate) schema: SchemaRef,
    pub(crate) label: ColumnKind,
    /// The schema's columns, then the segments: their kinds, and how those are hashed that are.
    pub(crate) columns: Vec<(ColumnKind, Option<Hashing>)>,
}

impl BatchShape {
    /// Whether the other one's rows fit into the same columns.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // Keys cannot be compared.
        let is_plain = |shape: &Self| shape.columns.iter().all(|(_, hashing)| hashing.is_none());
        is_plain(self) && is_plain(other) && self.label == other.label && self.schema == other.schema
    }
}

/// Rows that came one after the other and are of one owner.
#[derive(Debug, Clone, Copy)]
struct Turn {
    owner: u32,
    rows: usize,
}

/// Events of models that have the same columns.
#[derive(Debug)]
pub(crate) struct EventBuilder {
    schema: SchemaRef,
    turns: Vec<Turn>,
    log: LogColumns,
    columns: Vec<Column>,
    label: Column,
    sampling_rate: NumberColumn,
    weight: NumberColumn,
    wrong_types: WrongTypes,
    /// Bytes of text in the column that has most.
    fullest: usize,
}

/// Bytes of text in one column, beyond which a batch is put aside; Arrow's offsets end at twice as much.
const FULL_BYTES: usize = 1 << 30;

impl EventBuilder {
    /// A builder without rows, with room for so many.
    pub(crate) fn new(shape: &BatchShape, rows: usize) -> Self {
        let columns = shape.columns.iter().map(|(kind, hashing)| Column::new(*kind, hashing.clone(), rows));
        Self {
            schema: Arc::clone(&shape.schema),
            turns: Vec::new(),
            log: LogColumns::with_rows(rows),
            columns: columns.collect(),
            label: Column::new(shape.label, None, 0),
            sampling_rate: NumberColumn::with_rows(0),
            weight: NumberColumn::with_rows(0),
            wrong_types: WrongTypes::default(),
            fullest: 0,
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.log.offset.len()
    }

    /// Whether the batch should be put aside and another begun; each of its rows repeats a version of so many bytes.
    #[inline]
    pub(crate) fn is_full(&self, version_bytes: usize) -> bool {
        self.fullest.max(version_bytes * self.rows()) > FULL_BYTES
    }

    #[inline]
    pub(crate) fn push(&mut self, owner: u32, row: &GoodRow<'_, '_>) {
        debug_assert_eq!(self.columns.len(), row.cells.len(), "both follow the schema and the segments");
        let place = self.rows();
        let mut fullest = self.log.push(row.place, row.envelope.id, row.time_ms);
        for (index, (column, cell)) in self.columns.iter_mut().zip(row.cells).enumerate() {
            if let Cell::Wrong = cell {
                self.wrong_types.columns.push(index as u16);
                self.wrong_types.rows.push(place);
            }
            fullest = fullest.max(column.push(cell));
        }
        self.fullest = fullest.max(self.label.push(&row.label));
        self.sampling_rate.push(row.envelope.sampling_rate);
        self.weight.push(row.envelope.weight);
        self.count(owner, 1);
    }

    #[inline]
    fn count(&mut self, owner: u32, rows: usize) {
        match self.turns.last_mut() {
            Some(turn) if turn.owner == owner => turn.rows += rows,
            _ => self.turns.push(Turn { owner, rows }),
        }
    }

    /// A batch for each of the owners that have rows here.
    pub(crate) fn finish(self, owners: &[Owner], batches: &mut Vec<EventBatch>) -> Result<(), ArrowError> {
        let (schema, turns) = (self.schema, self.turns);
        let mut columns = self.log.finish()?;
        let (version_at, rows) = (columns.len(), columns.first().map_or(0, |column| column.len()));
        for column in self.columns {
            columns.push(column.finish()?);
        }
        columns.push(self.label.finish()?);
        columns.push(self.sampling_rate.finish()?);
        columns.push(self.weight.finish()?);
        columns.push(self.wrong_types.finish(rows)?);
        for (owner, own) in rows_of_owners(turns) {
            let Some(Owner { model, version }) = owners.get(owner as usize).cloned() else { continue };
            let count = own.iter().map(ExactSizeIterator::len).sum();
            let mut columns = if count == rows { columns.clone() } else { taken(&columns, own)? };
            columns.insert(version_at, repeated(&version, count)?);
            batches.push(EventBatch { model, version, batch: RecordBatch::try_new(Arc::clone(&schema), columns)? });
        }
        Ok(())
    }
}

/// The rows of each owner, in their order.
fn rows_of_owners(turns: Vec<Turn>) -> BTreeMap<u32, Vec<Range<u32>>> {
    let (mut start, mut of_owners) = (0, BTreeMap::<u32, Vec<Range<u32>>>::new());
    for Turn { owner, rows } in turns {
        let end = start + rows as u32;
        of_owners.entry(owner).or_default().push(start..end);
        start = end;
    }
    of_owners
}

/// Copies of these rows, which leave the memory of the others free to go.
fn taken(columns: &[ArrayRef], rows: Vec<Range<u32>>) -> Result<Vec<ArrayRef>, ArrowError> {
    let rows = UInt32Array::from_iter_values(rows.into_iter().flatten());
    let of_column = |column: &ArrayRef| match column.null_count() == column.len() {
        true => Ok(new_null_array(column.data_type(), rows.len())),
        false => take(column, &rows, None),
    };
    columns.iter().map(of_column).collect()
}

/// Values without the room that was made for many more: a batch may be kept for long.
fn snug<T>(mut values: Vec<T>) -> Vec<T> {
    if values.capacity() > 2 * values.len() {
        values.shrink_to_fit();
    }
    values
}

/// A column that holds the same text in every row.
fn repeated(text: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
    let offsets = OffsetBuffer::from_repeated_length(text.len(), rows);
    Ok(Arc::new(StringArray::try_new(offsets, text.repeat(rows).into_bytes().into(), None)?))
}

/// The labels of one model.
#[derive(Debug)]
pub(crate) struct LabelBuilder {
    schema: SchemaRef,
    log: LogColumns,
    label: Column,
    /// Bytes of text in the column that has most.
    fullest: usize,
}

impl LabelBuilder {
    pub(crate) fn new(schema: &detectors::schema::ModelSchema) -> Self {
        let label = Column::new(schema.task.outcome_kind(), None, 0);
        Self { schema: columns::label_schema(schema), log: LogColumns::with_rows(0), label, fullest: 0 }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.fullest > FULL_BYTES
    }

    pub(crate) fn push(&mut self, row: &GoodRow<'_, '_>) {
        let ids = self.log.push(row.place, row.envelope.id, row.time_ms);
        self.fullest = ids.max(self.label.push(&row.label));
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.log.finish()?;
        columns.push(self.label.finish()?);
        RecordBatch::try_new(self.schema, columns)
    }
}
