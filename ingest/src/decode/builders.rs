//! Arrow columns under construction.
//!
//! A row is appended whole or not at all: everything that can be wrong with it has been found before the first column grows,
//! so there is nothing to roll back. Text is copied once, straight from the record.

pub(super) mod append;

use super::head::{Cell, Head};
use super::privacy::HashKey;
use crate::columns;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch, StringArray,
    UInt16Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use detectors::schema::ColumnKind;
use std::sync::Arc;

/// Where a row stands in the log, and when the log took it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) index: i32,
    pub(crate) append_time_ms: i64,
}

/// One column of values.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are a few dozen of these, and a value is pushed to one for every row"
)]
pub(crate) enum Column {
    Number(NumberColumn),
    Text(TextColumn),
    /// Text of which only the hash is kept.
    Hash(TextColumn, HashKey),
}

impl Column {
    /// A column with room for so many rows.
    pub(crate) fn new(kind: ColumnKind, key: Option<HashKey>, rows: usize) -> Self {
        match (kind, key) {
            (ColumnKind::Numeric, _) => Self::Number(NumberColumn::with_rows(rows)),
            (ColumnKind::Categorical, None) => Self::Text(TextColumn::with_rows(rows)),
            (ColumnKind::Categorical, Some(key)) => Self::Hash(TextColumn::with_rows(rows), key),
        }
    }

    #[inline(always)]
    fn push(&mut self, cell: Cell<'_>) {
        match self {
            Self::Number(column) => column.push(match cell {
                Cell::Number(value) => Some(value),
                _ => None,
            }),
            Self::Text(column) => column.push(cell),
            Self::Hash(column, key) => match cell {
                Cell::Text(_) | Cell::Int(_) | Cell::Uint(_) => {
                    column.push_bytes(&key.hash(cell.resolve(&mut Vec::new())));
                }
                _ => column.push(Cell::Null),
            },
        }
    }

    fn text_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Text(column) | Self::Hash(column, _) => column.bytes.len(),
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
    nulls: NullBufferBuilder,
}

impl Default for NumberColumn {
    fn default() -> Self {
        Self::with_rows(0)
    }
}

impl NumberColumn {
    fn with_rows(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline(always)]
    fn push(&mut self, value: Option<f64>) {
        self.values.push(value.unwrap_or_default());
        match value {
            Some(_) => self.nulls.append_non_null(),
            None => self.nulls.append_null(),
        }
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Float64Array::try_new(self.values.into(), self.nulls.finish())?))
    }
}

/// Text and nulls.
#[derive(Debug)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self::with_rows(0)
    }
}

impl TextColumn {
    fn with_rows(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: Vec::new(), ends, nulls: NullBufferBuilder::new(rows) }
    }

    #[inline(always)]
    fn push(&mut self, cell: Cell<'_>) {
        let written = cell.write_category(&mut self.bytes);
        self.end(written);
    }

    fn push_bytes(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.end(true);
    }

    #[inline(always)]
    fn end(&mut self, is_valid: bool) {
        debug_assert!(self.bytes.len() <= i32::MAX as usize, "a builder is put aside long before: see `is_full`");
        self.ends.push(self.bytes.len() as i32);
        self.nulls.append(is_valid);
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        // The ends begin at 0 and never fall, because bytes are only ever appended.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Ok(Arc::new(StringArray::try_new(offsets, self.bytes.into(), self.nulls.finish())?))
    }
}

/// The columns that events and labels have in common.
#[derive(Debug, Default)]
struct LogColumns {
    partition: Vec<i32>,
    offset: Vec<i64>,
    index: Vec<i32>,
    id: TextColumn,
    time_ms: Vec<i64>,
    append_time_ms: Vec<i64>,
}

impl LogColumns {
    #[inline(always)]
    fn push(&mut self, place: Place, id: Cell<'_>, time_ms: i64) {
        self.partition.push(place.partition);
        self.offset.push(place.offset);
        self.index.push(place.index);
        self.id.push(id);
        self.time_ms.push(time_ms);
        self.append_time_ms.push(place.append_time_ms);
    }

    fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            Arc::new(Int32Array::from(self.partition)),
            Arc::new(Int64Array::from(self.offset)),
            Arc::new(Int32Array::from(self.index)),
            self.id.finish()?,
            Arc::new(Int64Array::from(self.time_ms)),
            Arc::new(Int64Array::from(self.append_time_ms)),
        ])
    }
}

/// The places of values whose type did not fit.
#[derive(Debug)]
struct WrongTypes {
    columns: Vec<u16>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl WrongTypes {
    fn new() -> Self {
        Self { columns: Vec::new(), ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }

    #[inline(always)]
    fn end_row(&mut self) {
        let end = self.columns.len() as i32;
        self.nulls.append(self.ends.last() != Some(&end));
        self.ends.push(end);
    }

    fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let item = Arc::new(Field::new_list_field(DataType::UInt16, false));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        let columns = Arc::new(UInt16Array::from(self.columns));
        Ok(Arc::new(ListArray::try_new(item, offsets, columns, self.nulls.finish())?))
    }
}

/// A row of one model and version that is known to be good.
pub(crate) struct GoodRow<'r, 'a> {
    pub(crate) place: Place,
    pub(crate) time_ms: i64,
    pub(crate) head: &'r Head<'a>,
    /// The schema's columns, then the segments.
    pub(crate) cells: &'r [Cell<'a>],
    pub(crate) label: Cell<'a>,
}

/// The events of one model and version.
#[derive(Debug)]
pub(crate) struct EventBuilder {
    schema: SchemaRef,
    version: String,
    log: LogColumns,
    columns: Vec<Column>,
    label: Column,
    sampling_rate: NumberColumn,
    weight: NumberColumn,
    wrong_types: WrongTypes,
}

/// Bytes of text in one column, beyond which a batch is put aside; Arrow's offsets end at twice as much.
const FULL_BYTES: usize = 1 << 30;

impl EventBuilder {
    /// `columns` are the schema's, then the segments.
    pub(crate) fn new(schema: SchemaRef, version: String, columns: Vec<Column>, label: ColumnKind) -> Self {
        Self {
            schema,
            version,
            log: LogColumns::default(),
            columns,
            label: Column::new(label, None, 0),
            sampling_rate: NumberColumn::default(),
            weight: NumberColumn::default(),
            wrong_types: WrongTypes::new(),
        }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn rows(&self) -> usize {
        self.log.offset.len()
    }

    /// Whether the batch should be put aside and another begun.
    pub(crate) fn is_full(&self) -> bool {
        self.log.id.bytes.len() > FULL_BYTES
            || self.label.text_bytes() > FULL_BYTES
            || self.columns.iter().any(|column| column.text_bytes() > FULL_BYTES)
    }

    pub(crate) fn push(&mut self, row: &GoodRow<'_, '_>) {
        self.log.push(row.place, row.head.id, row.time_ms);
        debug_assert_eq!(self.columns.len(), row.cells.len(), "both follow the schema and the segments");
        for (place, (column, cell)) in self.columns.iter_mut().zip(row.cells).enumerate() {
            if let Cell::Wrong = cell {
                self.wrong_types.columns.push(place as u16);
            }
            column.push(*cell);
        }
        self.wrong_types.end_row();
        self.label.push(row.label);
        self.sampling_rate.push(row.head.sampling_rate);
        self.weight.push(row.head.weight);
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.log.finish()?;
        let rows = columns.first().map_or(0, |column| column.len());
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.version, rows))));
        for column in self.columns {
            columns.push(column.finish()?);
        }
        columns.push(self.label.finish()?);
        columns.push(self.sampling_rate.finish()?);
        columns.push(self.weight.finish()?);
        columns.push(self.wrong_types.finish()?);
        RecordBatch::try_new(self.schema, columns)
    }
}

/// The labels of one model.
#[derive(Debug)]
pub(crate) struct LabelBuilder {
    schema: SchemaRef,
    log: LogColumns,
    label: Column,
}

impl LabelBuilder {
    pub(crate) fn new(schema: &detectors::schema::ModelSchema) -> Self {
        let label = Column::new(schema.task.outcome_kind(), None, 0);
        Self { schema: columns::label_schema(schema), log: LogColumns::default(), label }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.log.id.bytes.len() > FULL_BYTES || self.label.text_bytes() > FULL_BYTES
    }

    pub(crate) fn push(&mut self, row: &GoodRow<'_, '_>) {
        self.log.push(row.place, row.head.id, row.time_ms);
        self.label.push(row.label);
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.log.finish()?;
        columns.push(self.label.finish()?);
        RecordBatch::try_new(self.schema, columns)
    }
}
