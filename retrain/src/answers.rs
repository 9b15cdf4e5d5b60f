//! What a model answers for a batch of rows, and whether two ways of answering agree.
//!
//! Answers are a record batch with the schema's output columns: the prediction (Utf8 for a class, Float64 for a number),
//! then a Float64 column for each of [`Task::score_columns`]. A row whose scores are not finite has nulls there instead of
//! an answer: one odd row costs that row. Of equally probable classes the first in canonical order is predicted.

use crate::encoding::{EncodingError, column_as};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use detectors::schema::{ModelSchema, PREDICTION, Role, Task};
use ingest::columns::arrow_type;
use ndarray::{Array2, ArrayView1};
use std::sync::Arc;

/// How far float32 arithmetic may carry an answer from the trainer's own: absolute for probabilities, relative for
/// numbers beyond 1. A graph of a few additions over standardised inputs stays two orders of magnitude below.
pub const TOLERANCE: f64 = 1e-5;

/// The Arrow schema of a model's answers.
pub fn answer_schema(task: &Task) -> SchemaRef {
    let outputs = ModelSchema::new([], task.clone()).columns;
    let fields = outputs
        .iter()
        .filter(|column| column.role != Role::Feature)
        .map(|column| Field::new(&column.name, arrow_type(column.kind), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Answers from the probabilities of the classes, shape `[rows, classes]`, classes in canonical order.
///
/// # Errors
/// The matrix has another number of columns than the task has classes.
pub fn from_probabilities(task: &Task, probabilities: &Array2<f64>) -> Result<RecordBatch, AnswerError> {
    let classes = task.classes();
    if probabilities.ncols() != classes.len() || classes.is_empty() {
        return Err(AnswerError::Width { found: probabilities.ncols(), expected: classes.len() });
    }
    let predictions: StringArray =
        probabilities.rows().into_iter().map(|row| most_probable(row).and_then(|class| classes.get(class))).collect();
    let scored = match task {
        Task::Binary { .. } => 1..2,
        _ => 0..classes.len(),
    };
    let scores = scored.map(|class| {
        let column = probabilities.column(class).into_iter().copied().map(finite);
        Arc::new(column.collect::<Float64Array>()) as ArrayRef
    });
    let columns = std::iter::once(Arc::new(predictions) as ArrayRef).chain(scores).collect();
    Ok(RecordBatch::try_new(answer_schema(task), columns)?)
}

/// Answers of a regression.
///
/// # Errors
/// None in practice: the one column always fits its schema.
pub fn from_numbers(numbers: impl IntoIterator<Item = f64>) -> Result<RecordBatch, AnswerError> {
    let column: Float64Array = numbers.into_iter().map(finite).collect();
    Ok(RecordBatch::try_new(answer_schema(&Task::Regression), vec![Arc::new(column)])?)
}

/// The answers in a file or batch from elsewhere, brought to the schema's columns and types.
///
/// # Errors
/// An output column is missing or of another type, or the number of rows is not the one expected.
pub fn from_columns(task: &Task, batch: &RecordBatch, rows: usize) -> Result<RecordBatch, AnswerError> {
    if batch.num_rows() != rows {
        return Err(AnswerError::Rows { found: batch.num_rows(), expected: rows });
    }
    let schema = answer_schema(task);
    let columns = schema.fields().iter().map(|field| column_as(batch, field.name(), field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Holds a model's answers against those it is to reproduce, both with the columns of [`answer_schema`].
///
/// Scores and numbers agree within [`TOLERANCE`]; classes agree unless the scores themselves stand at a tie.
///
/// # Errors
/// [`AnswerError::Mismatch`] with the row and column that differ most, or a difference in shape.
pub fn verify(task: &Task, expected: &RecordBatch, found: &RecordBatch) -> Result<(), AnswerError> {
    let found = from_columns(task, found, expected.num_rows())?;
    let expected = from_columns(task, expected, expected.num_rows())?;
    let mut worst: Option<Difference> = None;
    for (place, field) in expected.schema().fields().iter().enumerate() {
        let differences = match field.data_type() {
            DataType::Utf8 => class_differences(&expected, &found),
            _ => number_differences(expected.column(place), found.column(place)),
        };
        for (row, size) in differences.into_iter().enumerate() {
            if size > worst.as_ref().map_or(TOLERANCE, |worst| worst.size) {
                worst = Some(Difference { row, size, column: field.name().clone() });
            }
        }
    }
    match worst {
        None => Ok(()),
        Some(Difference { row, size, column }) => Err(AnswerError::Mismatch { row, column, max_difference: size }),
    }
}

/// Why answers are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Another number of classes.
    #[error("the model gives {found} probabilities a row, and its schema has {expected} classes")]
    Width {
        /// Columns that were given.
        found: usize,
        /// Classes of the task.
        expected: usize,
    },
    /// Another number of rows.
    #[error("{found} answers for {expected} rows; each row needs exactly one, in the order of the rows")]
    Rows {
        /// Answers that were given.
        found: usize,
        /// Rows that were asked.
        expected: usize,
    },
    /// An output column is missing or of the wrong type.
    #[error("the answers do not fit the model's schema")]
    Column(#[from] EncodingError),
    /// The columns do not make a batch.
    #[error("the answers do not make a batch")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The answers differ from those that were to be reproduced.
    #[error(
        "the artifact does not reproduce its trainer's own answers: {column} differs by {max_difference:e} in row {row} of \
         the sample, more than {TOLERANCE:e}"
    )]
    Mismatch {
        /// Row of the sample, from 0.
        row: usize,
        /// The output column.
        column: String,
        /// The largest difference; infinite where only one side has an answer, 1 for another class.
        max_difference: f64,
    },
}

struct Difference {
    row: usize,
    size: f64,
    column: String,
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn most_probable(row: ArrayView1<'_, f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (class, probability) in row.iter().copied().enumerate() {
        finite(probability)?;
        if best.is_none_or(|(_, highest)| probability > highest) {
            best = Some((class, probability));
        }
    }
    best.map(|(class, _)| class)
}

fn number_differences(expected: &ArrayRef, found: &ArrayRef) -> Vec<f64> {
    let pairs = expected.as_primitive::<Float64Type>().iter().zip(found.as_primitive::<Float64Type>().iter());
    let difference = |pair| match pair {
        (None, None) => 0.0,
        (Some(expected), Some(found)) => {
            let (expected, found): (f64, f64) = (expected, found);
            (expected - found).abs() / expected.abs().max(1.0)
        }
        _ => f64::INFINITY,
    };
    pairs.map(difference).collect()
}

/// 1 where the classes differ and no tie explains it.
fn class_differences(expected: &RecordBatch, found: &RecordBatch) -> Vec<f64> {
    let (Some(ours), Some(theirs)) = (expected.column_by_name(PREDICTION), found.column_by_name(PREDICTION)) else {
        return Vec::new();
    };
    let pairs = ours.as_string::<i32>().iter().zip(theirs.as_string::<i32>().iter());
    let differs = |(row, (expected_class, found_class)): (usize, (Option<&str>, Option<&str>))| {
        if expected_class == found_class || stands_at_a_tie(expected, row) { 0.0 } else { 1.0 }
    };
    pairs.enumerate().map(differs).collect()
}

fn stands_at_a_tie(answers: &RecordBatch, row: usize) -> bool {
    let scores = answers.columns().iter().filter(|column| column.data_type() == &DataType::Float64);
    let mut scores: Vec<f64> = scores
        .filter(|column| column.is_valid(row))
        .map(|column| column.as_primitive::<Float64Type>().value(row))
        .collect();
    if let [positive] = scores.as_slice() {
        scores = vec![*positive, 1.0 - positive];
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    matches!(scores.as_slice(), [first, second, ..] if first - second <= 2.0 * TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn binary() -> Task {
        Task::Binary { positive: "yes".to_owned(), negative: "no".to_owned() }
    }

    #[test]
    fn the_score_of_a_binary_answer_is_that_of_the_positive_class() {
        let answers = from_probabilities(&binary(), &array![[0.8, 0.2], [0.1, 0.9], [f64::NAN, 0.5]]).unwrap();
        let predictions = answers.column(0).as_string::<i32>();
        assert_eq!(predictions.iter().collect::<Vec<_>>(), [Some("no"), Some("yes"), None]);
        assert_eq!(answers.column(1).as_primitive::<Float64Type>().value(1), 0.9);
    }

    #[test]
    fn answers_within_the_tolerance_agree_and_others_name_the_worst_row() {
        let expected = from_probabilities(&binary(), &array![[0.8, 0.2], [0.1, 0.9]]).unwrap();
        let close = from_probabilities(&binary(), &array![[0.8, 0.200_001], [0.1, 0.9]]).unwrap();
        verify(&binary(), &expected, &close).unwrap();
        let far = from_probabilities(&binary(), &array![[0.8, 0.21], [0.2, 0.8]]).unwrap();
        let error = verify(&binary(), &expected, &far).unwrap_err();
        let AnswerError::Mismatch { row, column, max_difference } = error else { panic!("{error}") };
        assert_eq!((row, column.as_str()), (1, "score"));
        assert!((max_difference - 0.1).abs() < 1e-9);
    }

    #[test]
    fn classes_may_differ_only_where_the_scores_stand_at_a_tie() {
        let expected = from_probabilities(&binary(), &array![[0.500_001, 0.499_999]]).unwrap();
        let tie = from_probabilities(&binary(), &array![[0.499_999, 0.500_001]]).unwrap();
        verify(&binary(), &expected, &tie).unwrap();
    }

    #[test]
    fn numbers_are_compared_relative_to_their_size() {
        let expected = from_numbers([20_000.0]).unwrap();
        verify(&Task::Regression, &expected, &from_numbers([20_000.1]).unwrap()).unwrap();
        verify(&Task::Regression, &expected, &from_numbers([20_001.0]).unwrap()).unwrap_err();
        verify(&Task::Regression, &expected, &from_numbers([f64::NAN]).unwrap()).unwrap_err();
    }

    #[test]
    fn each_row_needs_an_answer() {
        let expected = from_numbers([1.0, 2.0]).unwrap();
        let error = verify(&Task::Regression, &expected, &from_numbers([1.0]).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("1 answers for 2 rows"), "{error}");
    }
}
