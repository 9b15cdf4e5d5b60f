//! The prediction that follows from scores.
//!
//! Many servers answer with probabilities alone. Their prediction is the class that is the most probable: the positive one of
//! two from one half on, the first of several that are equally probable. What is no probability implies nothing, and a
//! prediction that was sent, or was of the wrong type, is left as it is.

use super::{Decoder, EventBatch, Policy};
use crate::columns::WRONG_TYPE;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt16Type};
use arrow::error::ArrowError;
use detectors::schema::{ModelSchema, PREDICTION, Task};
use std::sync::Arc;

/// From this score on a binary task's prediction is the positive class.
const POSITIVE_FROM: f64 = 0.5;

impl Decoder {
    /// Gives rows the predictions that their scores imply, where predictions may be kept as they are.
    pub(super) fn imply_predictions(&self, events: &mut [EventBatch]) -> Result<(), ArrowError> {
        for EventBatch { model, batch, .. } in events {
            let lacks = batch.column_by_name(PREDICTION).is_some_and(|predictions| predictions.null_count() > 0);
            let source =
                self.sources.iter().map(|source| &source.source).find(|source| lacks && source.model == *model);
            if let Some(source) = source.filter(|source| source.privacy.of(PREDICTION) == Policy::Keep) {
                *batch = with_predictions(&source.schema, batch)?;
            }
        }
        Ok(())
    }
}

/// The rows, which have the columns of [`crate::columns::event_schema`], with the predictions that their scores imply.
///
/// # Errors
/// When they do not have those columns.
pub fn with_predictions(schema: &ModelSchema, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let Some(implied) = predictions(schema, rows) else { return Ok(rows.clone()) };
    let place = rows.schema_ref().index_of(PREDICTION)?;
    let mut columns = rows.columns().to_vec();
    if let Some(column) = columns.get_mut(place) {
        *column = implied;
    }
    RecordBatch::try_new(rows.schema(), columns)
}

/// The predictions with those that are implied; `None` where none is.
fn predictions(schema: &ModelSchema, rows: &RecordBatch) -> Option<ArrayRef> {
    let given = rows.column_by_name(PREDICTION)?.as_string_opt::<i32>().filter(|given| given.null_count() > 0)?;
    let score = |name: &String| rows.column_by_name(name)?.as_primitive_opt::<Float64Type>();
    let scores: Vec<&Float64Array> = schema.task.score_columns().iter().map(score).collect::<Option<_>>()?;
    if scores.is_empty() || scores.iter().all(|scores| scores.null_count() == scores.len()) {
        return None;
    }
    let place = schema.columns.iter().position(|column| column.name == PREDICTION)?;
    let of_row = |row: usize| match given.is_valid(row) || was_wrong(rows, row, place) {
        true => given.is_valid(row).then(|| given.value(row)),
        false => most_probable(&schema.task, &scores, row),
    };
    Some(Arc::new((0..given.len()).map(of_row).collect::<StringArray>()))
}

/// Whether the value of a column was of the wrong type.
fn was_wrong(rows: &RecordBatch, row: usize, place: usize) -> bool {
    let wrong = rows.column_by_name(WRONG_TYPE).and_then(|wrong| wrong.as_list_opt::<i32>());
    let Some(wrong) = wrong.filter(|wrong| wrong.is_valid(row)).map(|wrong| wrong.value(row)) else { return false };
    let places = wrong.as_primitive_opt::<UInt16Type>();
    places.is_some_and(|places| places.values().iter().any(|wrong| usize::from(*wrong) == place))
}

/// The most probable class; `None` where a probability is missing, or is none.
fn most_probable<'a>(task: &'a Task, scores: &[&Float64Array], row: usize) -> Option<&'a str> {
    let probability = |scores: &&Float64Array| {
        let score = scores.is_valid(row).then(|| scores.value(row))?;
        (0.0..=1.0).contains(&score).then_some(score)
    };
    let probabilities: Vec<f64> = scores.iter().map(probability).collect::<Option<_>>()?;
    match task {
        Task::Binary { positive, negative } => {
            Some(if *probabilities.first()? >= POSITIVE_FROM { positive } else { negative })
        }
        Task::Multiclass { classes } => {
            let most = probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let place = probabilities.iter().position(|probability| *probability == most)?;
            classes.get(place).map(String::as_str)
        }
        Task::Regression => None,
    }
}
