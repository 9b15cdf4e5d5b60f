//! How answers are held against labels: the same for whoever is compared with whom, the same rows, and an answer that is none
//! counts as wrong.
//!
//! Losses lie in [0, 1]. A row counts if its label can be used (a class of the task, a finite number): then it counts for
//! every side, whatever each of them answered, if anything. Otherwise a model that answers the easy rows alone would be held
//! against another that answers them all.

use crate::answers::{Outcome, answered, distribution, outcomes, scores_of};
use crate::encoding::EncodingError;
use arrow::array::{Array, RecordBatch};
use codec::columns::LABEL;
use detectors::schema::Task;

/// The loss of a row without an answer, the largest there is.
pub const LOSS_OF_NO_ANSWER: f64 = 1.0;

/// How one answer is held against its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    task: Task,
    largest_error: f64,
}

impl Loss {
    /// The loss of a task: 1 where a class is wrong; for a number the absolute error over `largest_error`, cut at 1.
    pub fn of(task: &Task, largest_error: f64) -> Self {
        Self { task: task.clone(), largest_error }
    }

    /// The labels of rows; `None` where one cannot be used, and the row says nothing of anyone.
    ///
    /// # Errors
    /// There is no such column, or it cannot be read.
    pub fn labels(&self, rows: &RecordBatch) -> Result<Vec<Option<Outcome>>, EncodingError> {
        outcomes(&self.task, rows, LABEL)
    }

    /// What one side answered to the rows; `None` where that is no answer.
    ///
    /// # Errors
    /// A column is not there, or cannot be read.
    pub fn answers(&self, side: &RecordBatch) -> Result<Vec<Option<Outcome>>, EncodingError> {
        answered(&self.task, side)
    }

    /// The mean loss of answers with this mean error (see [`errors`]).
    pub fn of_mean_error(&self, error: f64) -> f64 {
        match self.task {
            Task::Regression => (error / self.largest_error).min(LOSS_OF_NO_ANSWER),
            Task::Binary { .. } | Task::Multiclass { .. } => error,
        }
    }

    /// The loss of one answer; `None` where there is none, which counts as [`LOSS_OF_NO_ANSWER`].
    pub fn between(&self, answer: Option<Outcome>, label: Outcome) -> Option<f64> {
        match (answer?, label) {
            (Outcome::Number(answer), Outcome::Number(label)) => {
                Some(((answer - label).abs() / self.largest_error).min(LOSS_OF_NO_ANSWER))
            }
            (answer, label) => Some(f64::from(u8::from(answer != label))),
        }
    }
}

/// The errors of answers over the rows with a label that can be used: 0 or 1 of a class, the absolute error of a number. A class
/// that was not answered is wrong; of a number that was not, there is no error.
///
/// # Errors
/// A column is not there, or cannot be read.
pub fn errors(task: &Task, labelled: &RecordBatch, answers: &RecordBatch) -> Result<Vec<f64>, EncodingError> {
    let pairs = outcomes(task, labelled, LABEL)?.into_iter().zip(answered(task, answers)?);
    let error = |(label, answer): (Option<Outcome>, Option<Outcome>)| match (label?, answer) {
        (Outcome::Number(label), Some(Outcome::Number(answer))) => Some((answer - label).abs()),
        (Outcome::Number(_), _) => None,
        (label, answer) => Some(f64::from(u8::from(answer != Some(label)))),
    };
    Ok(pairs.filter_map(error).collect())
}

/// The mean squared loss of answers over the rows with a label that can be used; `None` where there are no such rows.
///
/// # Formula
/// Of a class `½ Σ_k (p_k − y_k)²`, which for two classes is the Brier score; without scores the class that was answered has
/// the probability 1. Of a number `((ŷ − y) / r)²`, cut at 1, with the labels' range `r`.
///
/// # Errors
/// A column is not there, or cannot be read.
pub fn mean_squared_loss(
    task: &Task,
    labelled: &RecordBatch,
    answers: &RecordBatch,
) -> Result<Option<f64>, EncodingError> {
    let labels = outcomes(task, labelled, LABEL)?;
    let (given, scores) = (answered(task, answers)?, scores_of(task, answers)?);
    let range = range(&labels);
    let (mut sum, mut rows) = (0.0, 0_u32);
    for (row, (label, answer)) in labels.into_iter().zip(given).enumerate() {
        let Some(label) = label else { continue };
        rows += 1;
        sum += match (answer, label) {
            (None, _) => LOSS_OF_NO_ANSWER,
            (Some(Outcome::Number(answer)), Outcome::Number(label)) => {
                ((answer - label) / range).powi(2).min(LOSS_OF_NO_ANSWER)
            }
            (Some(answer), label) => {
                let scores: Vec<_> = scores.iter().map(|of| of.is_valid(row).then(|| of.value(row))).collect();
                match distribution(task, &scores) {
                    Some(probabilities) => half_squares(&probabilities, label),
                    None => f64::from(u8::from(answer != label)),
                }
            }
        };
    }
    Ok((rows > 0).then(|| sum / f64::from(rows)))
}

fn half_squares(probabilities: &[f64], label: Outcome) -> f64 {
    let of_class = |(place, probability): (usize, &f64)| {
        let is_label = label == Outcome::Class(place);
        (probability - f64::from(u8::from(is_label))).powi(2)
    };
    probabilities.iter().enumerate().map(of_class).sum::<f64>() / 2.0
}

/// How far numbers lie apart; 1 where they do not.
fn range(labels: &[Option<Outcome>]) -> f64 {
    let numbers = labels.iter().filter_map(|label| match label {
        Some(Outcome::Number(number)) => Some(*number),
        _ => None,
    });
    let (least, most) =
        numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), number| (least.min(number), most.max(number)));
    if most > least { most - least } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use detectors::schema::PREDICTION;
    use std::sync::Arc;

    fn numbers(name: &str, values: &[Option<f64>]) -> RecordBatch {
        RecordBatch::try_from_iter([(name, Arc::new(Float64Array::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    #[test]
    fn errors_of_numbers_are_cut_at_the_largest() {
        let loss = Loss::of(&Task::Regression, 2.0);
        let answers = loss.answers(&numbers(PREDICTION, &[Some(1.0), Some(9.0), Some(f64::NAN), None])).unwrap();
        let losses: Vec<_> = answers.into_iter().map(|answer| loss.between(answer, Outcome::Number(2.0))).collect();
        assert_eq!(losses, [Some(0.5), Some(1.0), None, None]);
    }

    #[test]
    fn a_row_without_an_answer_counts_whole_in_the_mean() {
        let labels = numbers(LABEL, &[Some(0.0), Some(10.0), Some(f64::NAN), None]);
        let answers = numbers(PREDICTION, &[Some(5.0), None, Some(1.0), Some(1.0)]);
        assert_eq!(mean_squared_loss(&Task::Regression, &labels, &answers).unwrap(), Some((0.25 + 1.0) / 2.0));
        let task = Task::Binary { positive: "1".into(), negative: "0".into() };
        let labels =
            RecordBatch::try_from_iter([(LABEL, Arc::new(StringArray::from(vec!["1", "1", "0"])) as ArrayRef)]);
        let columns = [
            (PREDICTION, Arc::new(StringArray::from(vec![Some("1"), None, Some("1")])) as ArrayRef),
            ("score", Arc::new(Float64Array::from(vec![Some(0.5), None, None])) as ArrayRef),
        ];
        let answers = RecordBatch::try_from_iter(columns).unwrap();
        let loss = mean_squared_loss(&task, &labels.unwrap(), &answers).unwrap();
        assert_eq!(loss, Some((0.25 + 1.0 + 1.0) / 3.0), "a score, no answer, and a class without a score");
    }
}
