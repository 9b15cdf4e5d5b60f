//! The rows of a decoded batch, with what capture finds out of each.

use super::input::Place;
use super::model::LATE;
use crate::columns::{self, APPEND_TIME, EVENT_ID, EVENT_TIME, INDEX, OFFSET};
use crate::partial::EventCounts;
use crate::stage::StageError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use arrow::row::Rows;
use std::sync::Arc;

/// A batch of events with what is being found out of its rows.
pub(super) struct PreparedRows {
    extended: RecordBatch,
    /// The columns that outcomes need, where the model has labels.
    pub(super) joined: Option<Rows>,
    pub(super) log: LogRows,
    /// The labels that the events carry.
    pub(super) labels: ArrayRef,
    pub(super) late: Vec<i64>,
    /// Whether each row is the first of its id; empty where ids are not watched.
    pub(super) kept: Vec<bool>,
    pub(super) counts: EventCounts,
    /// What became of labels that these rows met.
    pub(super) label_counts: EventCounts,
}

impl PreparedRows {
    /// The extended batch, and the columns that outcomes need.
    ///
    /// # Errors
    /// When a column is missing.
    pub(super) fn new(extended: RecordBatch, joined: Option<Rows>) -> Result<Self, StageError> {
        let lacking = || StageError::failed("capturing", "an event batch lacks a column");
        let log = LogRows::of(&extended).ok_or_else(lacking)?;
        let labels = extended.column_by_name(columns::LABEL).cloned().ok_or_else(lacking)?;
        let rows = extended.num_rows();
        let (late, kept) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (counts, label_counts) = (EventCounts::default(), EventCounts::default());
        Ok(Self { extended, joined, log, labels, late, kept, counts, label_counts })
    }

    /// The rows that count, with the late column.
    pub(super) fn finish(self) -> Result<RecordBatch, StageError> {
        let failed = |error| StageError::failed("capturing", error);
        let late = Arc::new(Field::new(LATE, DataType::Int64, false));
        let fields: Vec<_> = self.extended.schema_ref().fields().iter().cloned().chain([late]).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut columns = self.extended.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(self.late)));
        let rows = RecordBatch::try_new(schema, columns).map_err(failed)?;
        if self.kept.iter().all(|kept| *kept) {
            return Ok(rows);
        }
        filter_record_batch(&rows, &BooleanArray::from(self.kept)).map_err(failed)
    }
}

/// The rows of a batch of labels.
pub(super) struct LabelRows {
    pub(super) log: LogRows,
    pub(super) labels: ArrayRef,
    pub(super) counts: EventCounts,
}

impl LabelRows {
    /// The rows of a batch.
    ///
    /// # Errors
    /// When a column is missing.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, StageError> {
        let columns = LogRows::of(batch).zip(batch.column_by_name(columns::LABEL).cloned());
        let (log, labels) =
            columns.ok_or_else(|| StageError::failed("joining labels", "a label batch lacks a column"))?;
        Ok(Self { log, labels, counts: EventCounts::default() })
    }
}

/// The columns that every decoded row has.
pub(super) struct LogRows {
    pub(super) ids: StringArray,
    pub(super) times: Int64Array,
    pub(super) appended: Int64Array,
    offsets: Int64Array,
    indices: Int32Array,
}

impl LogRows {
    fn of(batch: &RecordBatch) -> Option<Self> {
        Some(Self {
            ids: batch.column_by_name(EVENT_ID)?.as_string_opt()?.clone(),
            times: int64(batch, EVENT_TIME)?,
            appended: int64(batch, APPEND_TIME)?,
            offsets: int64(batch, OFFSET)?,
            indices: batch.column_by_name(INDEX)?.as_primitive_opt::<Int32Type>()?.clone(),
        })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A row's offset and its index within the record.
    pub(super) fn place(&self, row: usize) -> Place {
        (self.offsets.value(row), self.indices.value(row))
    }
}

/// The rows of all batches in log order: the batch, and the row in it.
pub(super) fn in_log_order(batches: &[&LogRows]) -> Vec<(usize, usize)> {
    let rows = batches.iter().enumerate().flat_map(|(index, rows)| (0..rows.len()).map(move |row| (index, row)));
    let mut rows: Vec<_> = rows.collect();
    if batches.len() > 1 {
        rows.sort_by_key(|(index, row)| batches.get(*index).map(|rows| rows.place(*row)));
    }
    rows
}

fn int64(batch: &RecordBatch, name: &str) -> Option<Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned()
}
