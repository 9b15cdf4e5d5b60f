//! The rows of a decoded batch, with what capture finds out of each.

use super::model::LATE;
use crate::columns::{self, APPEND_TIME, EVENT_ID, EVENT_TIME, INDEX, OFFSET};
use crate::partial::EventCounts;
use crate::stage::StageError;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use std::sync::Arc;

/// A batch of events with what is being found out of its rows.
pub(super) struct PreparedRows {
    extended: RecordBatch,
    /// The columns that outcomes need, where the model has labels.
    pub(super) joined: Option<Arc<RecordBatch>>,
    pub(super) ids: StringArray,
    pub(super) offsets: Int64Array,
    pub(super) times: Int64Array,
    pub(super) appended: Int64Array,
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
    pub(super) fn new(extended: RecordBatch, joined: Option<Arc<RecordBatch>>) -> Result<Self, StageError> {
        let (Some(ids), Some(offsets), Some(times), Some(appended)) = (
            strings(&extended, EVENT_ID).cloned(),
            int64(&extended, OFFSET).cloned(),
            int64(&extended, EVENT_TIME).cloned(),
            int64(&extended, APPEND_TIME).cloned(),
        ) else {
            return Err(StageError::failed("capturing", "an event batch lacks a column"));
        };
        let rows = extended.num_rows();
        let (late, kept) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (counts, label_counts) = (EventCounts::default(), EventCounts::default());
        Ok(Self { extended, joined, ids, offsets, times, appended, late, kept, counts, label_counts })
    }

    /// The labels that the events carry.
    pub(super) fn labels(&self) -> &ArrayRef {
        self.extended.column_by_name(columns::LABEL).unwrap_or_else(|| self.extended.column(0))
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

pub(super) fn strings<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name)?.as_string_opt::<i32>()
}

pub(super) fn int64<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()
}

/// A row's offset and its index within the record.
pub(super) fn log_place(batch: &RecordBatch, row: usize) -> (i64, i32) {
    let offset = int64(batch, OFFSET).map_or(0, |offsets| offsets.value(row));
    let index: Option<&Int32Array> =
        batch.column_by_name(INDEX).and_then(|column| column.as_primitive_opt::<Int32Type>());
    (offset, index.map_or(0, |indices| indices.value(row)))
}
