//! What a model answers for a batch of rows, and whether two ways of answering agree.
//!
//! Answers are a record batch with the schema's output columns: the prediction (Utf8 for a class, Float64 for a number),
//! then a Float64 column for each of [`Task::score_columns`]. Of equally probable classes the first in canonical order is
//! predicted.
//!
//! # What is no answer
//! A row without a prediction; a class that the task does not have; a number that is not finite; and whatever comes with a
//! score that is no probability (NaN, infinite, outside [0, 1] by more than [`TOLERANCE`]). Such a row has nulls in every
//! column: one odd row costs that row. Whoever compares two sides takes this file's word for it, so that both are asked alike.

use crate::encoding::{EncodingError, column_as};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use codec::columns::arrow_type;
use detectors::schema::{ModelSchema, PREDICTION, Role, Task};
use ndarray::Array2;
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
    let best: Vec<Option<usize>> = probabilities.rows().into_iter().map(most_probable).collect();
    let predictions: StringArray = best.iter().map(|best| best.and_then(|class| classes.get(class))).collect();
    let scored = match task {
        Task::Binary { .. } => 1..2,
        _ => 0..classes.len(),
    };
    let scores = scored.map(|class| {
        // One odd probability of a row leaves it without any, also where only another is kept.
        let kept = best.iter().zip(probabilities.column(class)).map(|(best, score)| best.map(|_| *score));
        Arc::new(kept.collect::<Float64Array>()) as ArrayRef
    });
    let columns = std::iter::once(Arc::new(predictions) as ArrayRef).chain(scores).collect();
    sound(task, &RecordBatch::try_new(answer_schema(task), columns)?)
}

/// Answers of a regression.
///
/// # Errors
/// None in practice: the one column always fits its schema.
pub fn from_numbers(numbers: impl IntoIterator<Item = f64>) -> Result<RecordBatch, AnswerError> {
    let column: Float64Array = numbers.into_iter().map(finite).collect();
    Ok(RecordBatch::try_new(answer_schema(&Task::Regression), vec![Arc::new(column)])?)
}

/// The answers in a file or batch from elsewhere, brought to the schema's columns and types, and to null where they are none.
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
    sound(task, &RecordBatch::try_new(schema, columns)?)
}

/// A label, or what a model answered to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A class, by its place in [`Task::classes`].
    Class(usize),
    /// A number, finite.
    Number(f64),
}

/// The outcomes in a column of predictions or labels; `None` where there is none, or it is none of the task's.
///
/// # Errors
/// The column cannot be read as the task's outcomes.
pub fn outcomes(task: &Task, rows: &RecordBatch, column: &str) -> Result<Vec<Option<Outcome>>, EncodingError> {
    let values = column_as(rows, column, &arrow_type(task.outcome_kind()))?;
    if let Task::Regression = task {
        let numbers = values.as_primitive::<Float64Type>().iter();
        return Ok(numbers.map(|number| number.and_then(finite).map(Outcome::Number)).collect());
    }
    let classes = task.classes();
    let place = |name: &str| {
        let exact = classes.iter().position(|class| *class == name);
        exact.or_else(|| classes.iter().position(|class| task.class_named(name) == Some(*class)))
    };
    Ok(values.as_string::<i32>().iter().map(|name| name.and_then(place).map(Outcome::Class)).collect())
}

/// What was answered to each row: the prediction or, without one, the most probable class by the scores. `None` where that
/// is no answer. A score may be missing, as it is in events that hold a prediction alone, but it may not be wrong.
///
/// # Errors
/// A column cannot be read as the task's outcomes or scores.
pub fn answered(task: &Task, rows: &RecordBatch) -> Result<Vec<Option<Outcome>>, EncodingError> {
    let mut answers = outcomes(task, rows, PREDICTION)?;
    let scores = scores_of(task, rows)?;
    for (row, answer) in answers.iter_mut().enumerate() {
        let given: Vec<Option<f64>> =
            scores.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect();
        if given.iter().flatten().any(|score| !is_probability(*score)) {
            *answer = None;
        } else if rows.column_by_name(PREDICTION).is_some_and(|predictions| predictions.is_null(row)) {
            *answer = distribution(task, &given).and_then(|scores| most_probable(&scores)).map(Outcome::Class);
        }
    }
    Ok(answers)
}

/// The score columns that the rows have.
pub(crate) fn scores_of(task: &Task, rows: &RecordBatch) -> Result<Vec<Float64Array>, EncodingError> {
    let names = task.score_columns();
    let there = names.iter().filter(|name| rows.column_by_name(name).is_some());
    let column = |name: &String| Ok(column_as(rows, name, &DataType::Float64)?.as_primitive::<Float64Type>().clone());
    there.map(column).collect()
}

/// The probability of each class by a row's scores; `None` where one is missing.
pub(crate) fn distribution(task: &Task, scores: &[Option<f64>]) -> Option<Vec<f64>> {
    let scores: Vec<f64> = scores.iter().copied().collect::<Option<_>>()?;
    match (task, scores.as_slice()) {
        (Task::Binary { .. }, [positive]) => Some(vec![1.0 - positive, *positive]),
        (Task::Multiclass { classes }, _) if scores.len() == classes.len() => Some(scores),
        _ => None,
    }
}

/// How many rows hold no answer.
///
/// # Errors
/// As [`answered`].
pub fn unanswered(task: &Task, answers: &RecordBatch) -> Result<u64, EncodingError> {
    Ok(answered(task, answers)?.iter().filter(|answer| answer.is_none()).count() as u64)
}

/// Answers with nulls in every column of a row that holds none, classes by the task's own names, and scores in [0, 1].
fn sound(task: &Task, answers: &RecordBatch) -> Result<RecordBatch, AnswerError> {
    let answered = answered(task, answers)?;
    let is_none: BooleanArray = answered.iter().map(|answer| Some(answer.is_none())).collect();
    let classes = task.classes();
    let schema = answers.schema();
    let columns = schema.fields().iter().zip(answers.columns()).map(|(field, values)| {
        let values = match (values.as_primitive_opt::<Float64Type>(), field.name() == PREDICTION) {
            (Some(scores), false) => {
                Arc::new(scores.unary::<_, Float64Type>(|score| score.clamp(0.0, 1.0))) as ArrayRef
            }
            (Some(_), true) => Arc::clone(values),
            (None, _) => {
                let name = |answer: &Option<Outcome>| match answer {
                    Some(Outcome::Class(place)) => classes.get(*place).copied(),
                    _ => None,
                };
                Arc::new(answered.iter().map(name).collect::<StringArray>()) as ArrayRef
            }
        };
        Ok::<_, AnswerError>(nullif(&values, &is_none)?)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
}

fn is_probability(score: f64) -> bool {
    (-TOLERANCE..=1.0 + TOLERANCE).contains(&score)
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
    /// No row has an answer.
    #[error(
        "none of {rows} rows has an answer: a class of the model's, with scores in [0, 1] (logits are said to be such by the metadata entry `driftline.scores`), or a finite number"
    )]
    None {
        /// Rows that were asked.
        rows: usize,
    },
    /// The answers differ from those that were to be reproduced.
    #[error(
        "the artifact does not reproduce its trainer's own answers: {differing} of {rows} rows of the sample differ by more than \
         {tolerance:e}, most of all row {row}, where {column} differs by {max_difference:e}{traits}; what is known to be \
         harmless is allowed by `retrain.sample`"
    )]
    Mismatch {
        /// Rows that differ by more than is tolerated.
        differing: usize,
        /// Rows of the sample.
        rows: usize,
        /// The row that differs most, from 0.
        row: usize,
        /// The output column in which it does.
        column: String,
        /// The largest difference; infinite where only one side has an answer, 1 for another class.
        max_difference: f64,
        /// What is tolerated.
        tolerance: f64,
        /// What the rows have in common, as the end of the message; empty where nothing was found.
        traits: String,
    },
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn most_probable<'a>(probabilities: impl IntoIterator<Item = &'a f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (class, probability) in probabilities.into_iter().copied().enumerate() {
        if !is_probability(probability) {
            return None;
        }
        if best.is_none_or(|(_, highest)| probability > highest) {
            best = Some((class, probability));
        }
    }
    best.map(|(class, _)| class)
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
    fn a_row_that_holds_no_answer_has_none_in_any_column() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, -0.1];
        let logits = Array2::from_shape_fn((odd.len(), 2), |(row, class)| if class == 1 { odd[row] } else { 0.5 });
        let answers = from_probabilities(&binary(), &logits).unwrap();
        assert!(answers.columns().iter().all(|column| column.null_count() == odd.len()), "{answers:?}");
        assert_eq!(unanswered(&binary(), &answers).unwrap(), 5);
        // float32 may carry a probability a little beyond its ends.
        let rounded = from_probabilities(&binary(), &array![[-1.2e-7, 1.000_000_12]]).unwrap();
        assert_eq!(rounded.column(1).as_primitive::<Float64Type>().value(0), 1.0);
    }

    #[test]
    fn answers_from_elsewhere_are_classes_of_the_task_or_none() {
        let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
        let predictions = StringArray::from(vec![Some("1.0"), Some("maybe"), Some("0"), None]);
        let scores = Float64Array::from(vec![Some(0.9), Some(0.9), Some(f64::NAN), Some(0.2)]);
        let columns = [(PREDICTION, Arc::new(predictions) as ArrayRef), ("score", Arc::new(scores) as ArrayRef)];
        let answers = from_columns(&task, &RecordBatch::try_from_iter(columns).unwrap(), 4).unwrap();
        let predictions = answers.column(0).as_string::<i32>();
        assert_eq!(predictions.iter().collect::<Vec<_>>(), [Some("1"), None, None, Some("0")]);
        let scores = answers.column(1).as_primitive::<Float64Type>();
        assert_eq!(scores.iter().collect::<Vec<_>>(), [Some(0.9), None, None, Some(0.2)]);
    }
}
