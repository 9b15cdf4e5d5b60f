//! The rows of a file as a reference or a training set: the columns that decoded events have, with labels.

use crate::files::privacy::profiled;
use crate::files::typed::{self, Wanted};
use crate::files::{self, Column, EventTime, FileColumns, RowBatch, SourceError};
use crate::service::model::ModelSetup;
use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat_batches;
use codec::columns::{
    APPEND_TIME, EVENT_ID, EVENT_TIME, INDEX, LABEL, OFFSET, PARTITION, SEGMENT_PREFIX, VERSION, event_schema,
};
use codec::decode::{Policy, with_predictions};
use detectors::schema::{ColumnKind, PREDICTION, Task};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, and what its columns are.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// The file.
    pub file: PathBuf,
    /// What its columns are, beside features under their own names.
    pub columns: FileColumns,
}

impl TableSpec {
    /// Reads the whole file.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks a column of the model.
    pub fn read(&self, setup: &ModelSetup) -> Result<RecordBatch> {
        self.rows(setup, files::open(&self.file)?)
    }

    /// The rows as decoded events.
    ///
    /// # Errors
    /// When a row cannot be read, or a column of the model is missing.
    pub fn rows(
        &self,
        setup: &ModelSetup,
        rows: impl Iterator<Item = Result<RowBatch, SourceError>>,
    ) -> Result<RecordBatch> {
        let schema = event_schema(&setup.watched.schema, &setup.watched.segments_from_events());
        let batches = rows.map(|batch| self.batch(setup, &batch?)).collect::<Result<Vec<_>>>()?;
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            bail!("{} has no rows", self.file.display());
        }
        Ok(concat_batches(&schema, &batches)?)
    }

    fn batch(&self, setup: &ModelSetup, rows: &RowBatch) -> Result<RecordBatch> {
        let schema = event_schema(&setup.watched.schema, &setup.watched.segments_from_events());
        let rows = &profiled(&self.file, rows, &setup.source, &setup.renamed)?;
        let given = typed::columns(&self.file, rows, &self.wanted(setup)?)?;
        let count = rows.batch.num_rows();
        let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
            Ok(match field.name().as_str() {
                PARTITION | INDEX => Arc::new(Int32Array::from(vec![0; count])),
                OFFSET => Arc::new(Int64Array::from_iter_values(numbers(rows))),
                EVENT_TIME | APPEND_TIME => self.times(rows)?,
                EVENT_ID => self.ids(rows)?,
                VERSION => Arc::new(StringArray::from(vec![""; count])),
                name => match given.column_by_name(name) {
                    Some(column) if matches!(name, LABEL | PREDICTION) => outcomes(&setup.watched.schema.task, column),
                    Some(column) => Arc::clone(column),
                    None => new_null_array(field.data_type(), count),
                },
            })
        });
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_>>()?)?;
        Ok(match setup.source.privacy.of(PREDICTION) {
            Policy::Keep => with_predictions(&setup.watched.schema, &rows)?,
            _ => rows,
        })
    }

    /// Every column that the file is to give, under the name that events have for it.
    fn wanted(&self, setup: &ModelSetup) -> Result<Vec<Wanted>> {
        let schema = &setup.watched.schema;
        let mut wanted: Vec<_> = schema.features().map(|feature| setup.wanted(feature)).collect();
        let mut want = |from: &str, name: &str, kind| {
            wanted.push(Wanted { from: from.to_owned(), name: name.to_owned(), kind });
        };
        let outcome = schema.task.outcome_kind();
        self.columns.label.iter().for_each(|column| want(column, LABEL, outcome));
        self.columns.prediction.iter().for_each(|column| want(column, PREDICTION, outcome));
        for (column, name) in self.columns.scores.in_order(&schema.task)?.iter().zip(schema.task.score_columns()) {
            want(column, &name, ColumnKind::Numeric);
        }
        for (dimension, column) in &self.columns.segments {
            want(column, &format!("{SEGMENT_PREFIX}{dimension}"), ColumnKind::Categorical);
        }
        Ok(wanted)
    }

    fn times(&self, rows: &RowBatch) -> Result<ArrayRef> {
        let times = match &self.columns.time {
            EventTime::Column(column) => typed::times(&self.file, rows, column)?,
            EventTime::Synthetic { start_ms, interval } => {
                let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
                numbers(rows).map(|row| start_ms.saturating_add(row.saturating_mul(interval_ms))).collect()
            }
        };
        Ok(Arc::new(Int64Array::from(times)))
    }

    fn ids(&self, rows: &RowBatch) -> Result<ArrayRef> {
        let Some(column) = &self.columns.id else {
            return Ok(Arc::new(StringArray::from_iter_values(numbers(rows).map(|row| row.to_string()))));
        };
        let found = Column::find(&self.file, &rows.batch, column)?;
        let ids: StringArray = (0..rows.batch.num_rows()).map(|row| found.cell(row).category()).collect();
        if ids.null_count() > 0 {
            bail!("{}: column `{column}` has rows without an id", self.file.display());
        }
        Ok(Arc::new(ids))
    }
}

/// Labels or predictions; those that name a class in another way, as `1.0` does `1`, get the class's name.
fn outcomes(task: &Task, column: &ArrayRef) -> ArrayRef {
    match column.as_string_opt::<i32>() {
        Some(texts) => {
            let named = texts.iter().map(|text| text.map(|text| task.class_named(text).unwrap_or(text)));
            Arc::new(named.collect::<StringArray>())
        }
        None => Arc::clone(column),
    }
}

fn numbers(rows: &RowBatch) -> impl Iterator<Item = i64> + use<> {
    let first = i64::try_from(rows.first_row).unwrap_or(i64::MAX);
    (first..).take(rows.batch.num_rows())
}

/// The name of a file without its folder.
pub fn file_name(file: &Path) -> String {
    file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned())
}
