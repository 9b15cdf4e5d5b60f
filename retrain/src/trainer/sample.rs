//! The check that every artifact must pass: whatever will answer for it reproduces its trainer's own answers to a sample.
//!
//! Scores and numbers agree within a tolerance; classes agree unless the scores themselves stand at a tie. Rows without an
//! answer agree with each other, and where there are no others nothing has been shown. Where answers differ, the message says
//! how many do and what these rows have in common: exporters drop what they cannot carry, as the way of nulls through a tree.

use super::TrainingError;
use crate::answers::{AnswerError, TOLERANCE, from_columns, unanswered};
use crate::encoding::column_as;
use crate::scorer::Scorer;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use detectors::schema::{PREDICTION, Task};
use serde::{Deserialize, Serialize};

/// Rows and the trainer's own answers to them, which the artifact has to reproduce.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The features of some training rows, by name.
    pub rows: RecordBatch,
    /// The trainer's answers, with the columns of [`crate::answers::answer_schema`].
    pub answers: RecordBatch,
}

/// How closely an artifact has to reproduce the sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplePolicy {
    /// The largest difference: absolute for probabilities, relative for numbers beyond 1.
    pub tolerance: f64,
    /// The share of the rows that may differ by more. A calibration by steps may turn a difference of float32 into a step.
    pub share_beyond: f64,
}

impl Default for SamplePolicy {
    fn default() -> Self {
        Self { tolerance: TOLERANCE, share_beyond: 0.0 }
    }
}

/// Most traits that differing rows are said to have in common.
const MOST_TRAITS: usize = 3;

/// Whether what will answer for an artifact reproduces a sample of its trainer's answers.
///
/// # Errors
/// [`crate::scorer::ScoringError`] from asking it, [`AnswerError::Mismatch`] where it answers otherwise.
pub fn verify(
    scorer: &mut dyn Scorer,
    task: &Task,
    sample: &Sample,
    policy: SamplePolicy,
) -> Result<(), TrainingError> {
    let found = scorer.score(&sample.rows)?;
    let rows = sample.answers.num_rows();
    let found = from_columns(task, &found, rows)?;
    let expected = from_columns(task, &sample.answers, rows)?;
    if unanswered(task, &expected).map_err(AnswerError::from)? == rows as u64 {
        return Err(AnswerError::None { rows }.into());
    }
    let differences = differences(&expected, &found, policy.tolerance);
    if differences.len() as f64 <= policy.share_beyond * rows as f64 {
        if !differences.is_empty() {
            tracing::info!(rows = differences.len(), of = rows, "an artifact differs from its trainer, as is allowed");
        }
        return Ok(());
    }
    let worst = differences.iter().max_by(|a, b| a.size.total_cmp(&b.size));
    let (row, column, size) = worst.map(|worst| (worst.row, worst.column.clone(), worst.size)).unwrap_or_default();
    let differing: Vec<usize> = differences.iter().map(|difference| difference.row).collect();
    Err(AnswerError::Mismatch {
        differing: differing.len(),
        rows,
        row,
        column,
        max_difference: size,
        tolerance: policy.tolerance,
        traits: in_common(&sample.rows, &differing),
    }
    .into())
}

/// A row whose answer differs, and where it does most.
struct Difference {
    row: usize,
    size: f64,
    column: String,
}

/// The rows that differ by more than is tolerated.
fn differences(expected: &RecordBatch, found: &RecordBatch, tolerance: f64) -> Vec<Difference> {
    let mut worst: Vec<Option<Difference>> = (0..expected.num_rows()).map(|_| None).collect();
    let fields = expected.schema();
    for (place, field) in fields.fields().iter().enumerate() {
        let sizes = match field.data_type() {
            DataType::Utf8 => class_differences(expected, found, tolerance),
            _ => number_differences(expected.column(place), found.column(place)),
        };
        for ((row, size), worst) in sizes.into_iter().enumerate().zip(&mut worst) {
            if size > worst.as_ref().map_or(tolerance, |worst| worst.size) {
                *worst = Some(Difference { row, size, column: field.name().clone() });
            }
        }
    }
    worst.into_iter().flatten().collect()
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
fn class_differences(expected: &RecordBatch, found: &RecordBatch, tolerance: f64) -> Vec<f64> {
    let (Some(ours), Some(theirs)) = (expected.column_by_name(PREDICTION), found.column_by_name(PREDICTION)) else {
        return Vec::new();
    };
    let pairs = ours.as_string::<i32>().iter().zip(theirs.as_string::<i32>().iter());
    let differs = |(row, (expected_class, found_class)): (usize, (Option<&str>, Option<&str>))| {
        if expected_class == found_class || stands_at_a_tie(expected, row, tolerance) { 0.0 } else { 1.0 }
    };
    pairs.enumerate().map(differs).collect()
}

fn stands_at_a_tie(answers: &RecordBatch, row: usize, tolerance: f64) -> bool {
    let scores = answers.columns().iter().filter(|column| column.data_type() == &DataType::Float64);
    let mut scores: Vec<f64> = scores
        .filter(|column| column.is_valid(row))
        .map(|column| column.as_primitive::<Float64Type>().value(row))
        .collect();
    if let [positive] = scores.as_slice() {
        scores = vec![*positive, 1.0 - positive];
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    matches!(scores.as_slice(), [first, second, ..] if first - second <= 2.0 * tolerance)
}

/// What all of these rows have and hardly any other: a null, or a category. Empty where nothing of the kind is to be seen.
fn in_common(rows: &RecordBatch, differing: &[usize]) -> String {
    let others: Vec<usize> = (0..rows.num_rows()).filter(|row| differing.binary_search(row).is_err()).collect();
    let mut traits: Vec<(usize, String)> = Vec::new();
    let mut consider = |has: &dyn Fn(usize) -> bool, told: String| {
        let of_others = others.iter().filter(|row| has(**row)).count();
        // What most rows have tells nothing.
        if differing.iter().all(|row| has(*row)) && of_others * 2 < others.len() {
            traits.push((of_others, told));
        }
    };
    consider(&|row| rows.columns().iter().any(|column| column.is_null(row)), "a null".to_owned());
    let schema = rows.schema();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        consider(&|row| column.is_null(row), format!("no {}", field.name()));
        let texts = column_as(rows, field.name(), &DataType::Utf8).ok().filter(|_| !column.data_type().is_numeric());
        let Some(texts) = texts.as_ref().and_then(|texts| texts.as_string_opt::<i32>()) else { continue };
        let first = differing.first().filter(|row| texts.is_valid(**row)).map(|row| texts.value(*row));
        if let Some(category) = first {
            consider(
                &|row| texts.is_valid(row) && texts.value(row) == category,
                format!("{} = {category}", field.name()),
            );
        }
    }
    traits.sort_by_key(|(of_others, _)| *of_others);
    let told = traits.into_iter().take(MOST_TRAITS).map(|(of_others, told)| match of_others {
        0 => format!("{told}, as no other row has"),
        some => format!("{told}, as {some} of the others have"),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    if told.is_empty() || differing.is_empty() { String::new() } else { format!("; each of them has {told}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{from_numbers, from_probabilities};
    use crate::scorer::ScoringError;
    use arrow::array::{Float64Array, StringArray};
    use ndarray::array;
    use std::sync::Arc;

    /// Gives what it was given.
    struct Answers(RecordBatch);

    impl Scorer for Answers {
        fn score(&mut self, _rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
            Ok(self.0.clone())
        }
    }

    fn binary() -> Task {
        Task::Binary { positive: "yes".to_owned(), negative: "no".to_owned() }
    }

    fn compare(
        task: &Task,
        answers: &RecordBatch,
        found: RecordBatch,
        policy: SamplePolicy,
    ) -> Result<(), AnswerError> {
        let count = answers.num_rows();
        let amounts = (0..count).map(|row| (row % 2 == 1).then_some(1.0)).collect::<Float64Array>();
        let plans = (0..count).map(|row| Some(["pro", "plus"][row % 2])).collect::<StringArray>();
        let columns = [("amount", Arc::new(amounts) as ArrayRef, true), ("plan", Arc::new(plans) as ArrayRef, true)];
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let sample = Sample { rows, answers: answers.clone() };
        match verify(&mut Answers(found), task, &sample, policy) {
            Err(TrainingError::Answers(error)) => Err(error),
            other => {
                other.unwrap();
                Ok(())
            }
        }
    }

    fn verified(task: &Task, answers: &RecordBatch, found: RecordBatch) -> Result<(), AnswerError> {
        compare(task, answers, found, SamplePolicy::default())
    }

    #[test]
    fn a_sample_without_an_answer_shows_nothing() {
        for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let raw =
                RecordBatch::try_from_iter([(PREDICTION, Arc::new(Float64Array::from(vec![none; 3])) as ArrayRef)]);
            let found = from_numbers([1.0, 2.0, 3.0]).unwrap();
            let error = verified(&Task::Regression, &raw.unwrap(), found).unwrap_err();
            assert!(matches!(error, AnswerError::None { rows: 3 }), "{error}");
        }
    }

    #[test]
    fn answers_within_the_tolerance_agree_and_others_are_counted_with_the_worst_row() {
        let expected = from_probabilities(&binary(), &array![[0.8, 0.2], [0.1, 0.9]]).unwrap();
        let close = from_probabilities(&binary(), &array![[0.8, 0.200_001], [0.1, 0.9]]).unwrap();
        verified(&binary(), &expected, close).unwrap();
        let far = from_probabilities(&binary(), &array![[0.8, 0.21], [0.2, 0.8]]).unwrap();
        let error = verified(&binary(), &expected, far).unwrap_err();
        let AnswerError::Mismatch { differing, row, column, max_difference, .. } = error else { panic!("{error}") };
        assert_eq!((differing, row, column.as_str()), (2, 1, "score"));
        assert!((max_difference - 0.1).abs() < 1e-9);
    }

    #[test]
    fn rows_that_differ_are_said_to_have_in_common_what_others_do_not_have() {
        let expected = from_numbers([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let found = from_numbers([1.5, 2.0, 3.5, 4.0, 5.5, 6.0]).unwrap();
        let message = verified(&Task::Regression, &expected, found).unwrap_err().to_string();
        assert!(message.contains("3 of 6 rows of the sample differ by more than 1e-5"), "{message}");
        assert!(message.contains("each of them has a null, as no other row has; no amount"), "{message}");
        assert!(message.contains("plan = pro"), "{message}");
    }

    #[test]
    fn the_tolerance_and_the_share_of_rows_beyond_it_are_a_models_own() {
        let expected = from_numbers([1.0, 2.0, 3.0, 4.0]).unwrap();
        let found = || from_numbers([1.0, 2.0, 3.0, 4.2]).unwrap();
        let with = |tolerance, share_beyond| {
            compare(&Task::Regression, &expected, found(), SamplePolicy { tolerance, share_beyond })
        };
        with(1e-5, 0.0).unwrap_err();
        with(0.1, 0.0).unwrap();
        with(1e-5, 0.25).unwrap();
        with(1e-5, 0.2).unwrap_err();
    }

    #[test]
    fn classes_may_differ_only_where_the_scores_stand_at_a_tie() {
        let expected = from_probabilities(&binary(), &array![[0.500_001, 0.499_999]]).unwrap();
        let tie = from_probabilities(&binary(), &array![[0.499_999, 0.500_001]]).unwrap();
        verified(&binary(), &expected, tie).unwrap();
    }

    #[test]
    fn numbers_are_compared_relative_to_their_size() {
        let expected = from_numbers([20_000.0]).unwrap();
        let of = |number| verified(&Task::Regression, &expected, from_numbers([number]).unwrap());
        of(20_000.1).unwrap();
        of(20_001.0).unwrap_err();
        of(f64::NAN).unwrap_err();
    }

    #[test]
    fn each_row_needs_an_answer() {
        let expected = from_numbers([1.0, 2.0]).unwrap();
        let error = verified(&Task::Regression, &expected, from_numbers([1.0]).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("1 answers for 2 rows"), "{error}");
    }
}
