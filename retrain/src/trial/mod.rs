//! From labelled rows to pairs of losses: the champion's logged predictions beside the challenger's answers in shadow.
//!
//! A row counts for both sides if it is the champion's and its label can be used; what either left unanswered counts as wrong
//! ([`crate::losses`]). Rows that another version answered are left out, for they say nothing of the champion. Rows are taken
//! in order of event time and then of the log, so that sums have one order.

use crate::encoding::EncodingError;
use crate::gate::Pair;
use crate::lifecycle::is_version;
use crate::losses::{LOSS_OF_NO_ANSWER, Loss};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{SortColumn, filter_record_batch, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::error::ArrowError;
use codec::columns::{EVENT_TIME, INDEX, LABEL, OFFSET, PARTITION, SEGMENT_PREFIX, VERSION};
use detectors::schema::{ModelSchema, PREDICTION, Role};
use detectors::verdict::Segment;
use std::sync::Arc;
use thiserror::Error;

/// Rows that cannot be paired.
#[derive(Debug, Error)]
pub enum TrialError {
    /// A column is not there.
    #[error("the rows have no column {column}")]
    NoColumn {
        /// Its name.
        column: String,
    },
    /// A column is of another type than its role asks for.
    #[error("column {column} is {found}, where {expected} was expected")]
    ColumnType {
        /// Its name.
        column: String,
        /// Its type.
        found: DataType,
        /// The type expected.
        expected: DataType,
    },
    /// One answer for each row, or else none can be told whose it is.
    #[error("the challenger gave {answers} answers to {rows} rows")]
    AnswerCount {
        /// Answers.
        answers: usize,
        /// Rows.
        rows: usize,
    },
    /// Labels or answers that are not there, or of another type.
    #[error("the rows cannot be held against their labels")]
    Outcomes(#[from] EncodingError),
    /// Anything arrow reported.
    #[error("the rows cannot be arranged")]
    Arrow(#[from] ArrowError),
}

/// The rows that `version` answered, in order of event time and then of the log. Every row where `version` is `None`.
///
/// # Errors
/// When a column of the log's is missing.
pub fn rows_of_version(rows: &RecordBatch, version: Option<&str>) -> Result<RecordBatch, TrialError> {
    let answered = match version {
        None => rows.clone(),
        Some(version) => {
            let versions = classes(VERSION, column(rows, VERSION)?)?;
            let is_theirs = |found: Option<&str>| Some(found.is_some_and(|found| is_version(found, version)));
            let theirs: BooleanArray = versions.iter().map(is_theirs).collect();
            filter_record_batch(rows, &theirs)?
        }
    };
    let keys = [EVENT_TIME, PARTITION, OFFSET, INDEX].map(|name| column(&answered, name));
    let keys = keys.into_iter().map(|key| key.map(|values| SortColumn { values: values.clone(), options: None }));
    let order = lexsort_to_indices(&keys.collect::<Result<Vec<_>, _>>()?, None)?;
    Ok(take_record_batch(&answered, &order)?)
}

/// Pairs the logged predictions of `rows` with the challenger's `answers` to them.
///
/// # Errors
/// When a column is missing or of the wrong type, or the answers are not as many as the rows.
pub fn pair(rows: &RecordBatch, answers: &RecordBatch, loss: &Loss) -> Result<Vec<Pair>, TrialError> {
    if answers.num_rows() != rows.num_rows() {
        return Err(TrialError::AnswerCount { answers: answers.num_rows(), rows: rows.num_rows() });
    }
    let sides = loss.answers(rows)?.into_iter().zip(loss.answers(answers)?);
    let mut pairs = Vec::with_capacity(rows.num_rows());
    for ((label, (champion, challenger)), segments) in loss.labels(rows)?.into_iter().zip(sides).zip(segments_of(rows)?)
    {
        let Some(label) = label else { continue };
        let (champion_loss, challenger_loss) = (loss.between(champion, label), loss.between(challenger, label));
        pairs.push(Pair { champion_loss, challenger_loss, segments });
    }
    Ok(pairs)
}

/// The champion's losses on its rows with a label that can be used, in their order. A row without an answer is wrong.
///
/// # Errors
/// When a column is missing or of the wrong type.
pub fn champion_losses(rows: &RecordBatch, loss: &Loss) -> Result<Vec<f64>, TrialError> {
    let answers = loss.labels(rows)?.into_iter().zip(loss.answers(rows)?);
    let of_row = |(label, answer)| Some(loss.between(answer, label?).unwrap_or(LOSS_OF_NO_ANSWER));
    Ok(answers.filter_map(of_row).collect())
}

/// The 95 % quantile of the absolute errors of the logged predictions; 1 where there are none or all are zero.
///
/// # Errors
/// When a column is missing or of the wrong type.
pub fn usual_largest_error(rows: &RecordBatch) -> Result<f64, TrialError> {
    let errors = absolute_errors(column(rows, PREDICTION)?, column(rows, LABEL)?)?;
    let mut errors: Vec<f64> = errors.into_iter().flatten().collect();
    errors.sort_by(f64::total_cmp);
    let place = errors.len() * 95 / 100;
    Ok(errors.get(place).copied().filter(|error| *error > 0.0).unwrap_or(1.0))
}

/// The feature columns and the label, of the rows that have one: what a trainer is given.
///
/// # Errors
/// When a column is missing.
pub fn training_set(rows: &RecordBatch, schema: &ModelSchema) -> Result<RecordBatch, TrialError> {
    let labelled = arrow::compute::is_not_null(column(rows, LABEL)?)?;
    let rows = filter_record_batch(rows, &labelled)?;
    let names = schema.features().map(|feature| feature.name.as_str()).chain([LABEL]);
    project(&rows, names)
}

/// The feature columns: what a scorer is asked.
///
/// # Errors
/// When a column is missing.
pub fn features(rows: &RecordBatch, schema: &ModelSchema) -> Result<RecordBatch, TrialError> {
    project(rows, schema.features().map(|feature| feature.name.as_str()))
}

/// The rows with a version's answers in the place of the logged ones.
///
/// # Errors
/// When the version did not answer every row with every output.
pub fn with_answers(
    rows: &RecordBatch,
    answers: &RecordBatch,
    schema: &ModelSchema,
) -> Result<RecordBatch, TrialError> {
    let is_output = |name: &str| schema.columns.iter().any(|known| known.role != Role::Feature && known.name == name);
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        let values = if is_output(field.name()) { column(answers, field.name())? } else { values };
        fields.push(Field::new(field.name(), values.data_type().clone(), field.is_nullable()));
        columns.push(values.clone());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn project<'a>(rows: &RecordBatch, names: impl Iterator<Item = &'a str>) -> Result<RecordBatch, TrialError> {
    let places = names
        .map(|name| rows.schema_ref().index_of(name).map_err(|_| TrialError::NoColumn { column: name.to_owned() }));
    Ok(rows.project(&places.collect::<Result<Vec<_>, _>>()?)?)
}

/// The segments of each row, from the columns that carry them.
fn segments_of(rows: &RecordBatch) -> Result<Vec<Vec<Segment>>, TrialError> {
    let mut segments = vec![Vec::new(); rows.num_rows()];
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        let Some(dimension) = field.name().strip_prefix(SEGMENT_PREFIX) else { continue };
        for (of_row, value) in segments.iter_mut().zip(classes(field.name(), values)?.iter()) {
            if let Some(value) = value {
                of_row.push(Segment { dimension: dimension.to_owned(), value: value.to_owned() });
            }
        }
    }
    Ok(segments)
}

fn absolute_errors(answers: &ArrayRef, labels: &ArrayRef) -> Result<Vec<Option<f64>>, TrialError> {
    let pairs = numbers(PREDICTION, answers)?.iter().zip(numbers(LABEL, labels)?.iter());
    let error = |(answer, label): (Option<f64>, Option<f64>)| Some((answer? - label?).abs()).filter(|e| e.is_finite());
    Ok(pairs.map(error).collect())
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, TrialError> {
    rows.column_by_name(name).ok_or_else(|| TrialError::NoColumn { column: name.to_owned() })
}

fn classes<'a>(name: &str, values: &'a ArrayRef) -> Result<&'a arrow::array::StringArray, TrialError> {
    values.as_string_opt::<i32>().ok_or_else(|| wrong_type(name, values, DataType::Utf8))
}

fn numbers<'a>(name: &str, values: &'a ArrayRef) -> Result<&'a arrow::array::Float64Array, TrialError> {
    values.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(name, values, DataType::Float64))
}

fn wrong_type(name: &str, values: &ArrayRef, expected: DataType) -> TrialError {
    TrialError::ColumnType { column: name.to_owned(), found: values.data_type().clone(), expected }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, StringArray};
    use detectors::schema::Task;

    fn rows() -> RecordBatch {
        let strings = |values: [&str; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([
            (PARTITION, Arc::new(Int32Array::from(vec![0, 0, 0, 0])) as ArrayRef),
            (OFFSET, Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            (INDEX, Arc::new(Int32Array::from(vec![0; 4]))),
            (EVENT_TIME, Arc::new(Int64Array::from(vec![30, 10, 20, 40]))),
            (VERSION, strings(["v1", "v1", "v1", "v2"])),
            ("segment.ward", Arc::new(StringArray::from(vec![Some("north"), None, None, None]))),
            (PREDICTION, strings(["1", "0", "1", "1"])),
            (LABEL, strings(["1", "1", "0", "1"])),
        ])
        .unwrap()
    }

    #[test]
    fn pairs_come_in_order_of_event_time_from_the_champions_rows_alone_and_leave_none_of_them_out() {
        let rows = rows_of_version(&rows(), Some("v1")).unwrap();
        let answers = vec![Some("1"), Some("1"), None];
        let answers =
            RecordBatch::try_from_iter([(PREDICTION, Arc::new(StringArray::from(answers)) as ArrayRef)]).unwrap();
        let task = Task::Binary { positive: "1".into(), negative: "0".into() };
        let pairs = pair(&rows, &answers, &Loss::of(&task, 1.0)).unwrap();
        let losses: Vec<_> = pairs.iter().map(|pair| (pair.champion_loss, pair.challenger_loss)).collect();
        assert_eq!(losses, [(Some(1.0), Some(0.0)), (Some(1.0), Some(1.0)), (Some(0.0), None)]);
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = features(
            &rows(),
            &ModelSchema::new([("age".to_owned(), detectors::schema::ColumnKind::Numeric)], Task::Regression),
        );
        assert!(error.unwrap_err().to_string().contains("age"));
    }
}
