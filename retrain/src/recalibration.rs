//! The champion's score, corrected by a few numbers that some ten labelled rows can tell: the first candidate of an episode.
//!
//! # Formula
//! Of classes: `p'ₖ ∝ exp(t · ln pₖ + bₖ)`, with one `t` and a `bₖ` for each class but the first. For two classes this is Platt's
//! logistic correction of the score's log odds (Platt 1999, "Probabilistic outputs for support vector machines"), for more of
//! them temperature and bias (Guo et al., "On calibration of modern neural networks", ICML 2017). A negative `t` turns the
//! answers round, as after a reversal of the concept. Of numbers: `y' = a + b · y`, by least squares.
//!
//! The correction is written into the ONNX graph behind its answer, so that every server runs it. Only operators that pass a
//! missing answer on are used.

use crate::answers::AnswerError;
use crate::scorer::ScoringError;
use crate::scorer::onnx::append_correction;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use codec::columns::LABEL;
use detectors::schema::{ModelSchema, PREDICTION, Task};
use thiserror::Error;

/// What is added to a probability before its logarithm is taken.
pub(crate) const LEAST_PROBABILITY: f64 = 1e-7;
/// Weight of the pull towards no correction at all, as so many rows.
const PRIOR_ROWS: f64 = 1.0;
const MOST_STEPS: usize = 50;
const CONVERGED: f64 = 1e-8;

/// A correction of answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Correction {
    /// Of the probabilities of classes in canonical order.
    Classes {
        /// What logarithms are multiplied by.
        temperature: f64,
        /// What is added for each class.
        biases: Vec<f64>,
    },
    /// Of a number.
    Number {
        /// What it is multiplied by.
        slope: f64,
        /// What is added.
        offset: f64,
    },
}

/// Why there is no correction.
#[derive(Debug, Error)]
pub enum RecalibrationError {
    /// The rows have no usable scores and labels.
    #[error("the rows hold no labelled answer with a score")]
    NoScores,
    /// A column is missing or of the wrong type.
    #[error("the rows cannot be read: column {column} is missing or of another type")]
    Column {
        /// The column.
        column: String,
    },
    /// The graph cannot be corrected.
    #[error(transparent)]
    Graph(#[from] ScoringError),
    /// What was asked cannot be read.
    #[error(transparent)]
    Answers(#[from] AnswerError),
}

/// The artifact with its answers corrected to fit the labels of `rows`, which hold its logged answers.
///
/// # Errors
/// When the rows hold no scores, or the artifact is no graph whose answer can be corrected.
pub fn recalibrate(artifact: &[u8], schema: &ModelSchema, rows: &RecordBatch) -> Result<Bytes, RecalibrationError> {
    Ok(append_correction(artifact, schema, &fit(&schema.task, rows)?)?)
}

/// The correction that fits the labels of `rows` to their logged answers.
///
/// # Errors
/// When they hold none.
pub fn fit(task: &Task, rows: &RecordBatch) -> Result<Correction, RecalibrationError> {
    match task {
        Task::Regression => fit_number(rows),
        Task::Binary { .. } | Task::Multiclass { .. } => fit_classes(task, rows),
    }
}

fn fit_number(rows: &RecordBatch) -> Result<Correction, RecalibrationError> {
    let (predictions, labels) = (numbers(rows, PREDICTION)?, numbers(rows, LABEL)?);
    let pairs: Vec<_> = predictions.iter().zip(labels).filter_map(|(x, y)| Some(((*x)?, y?))).collect();
    if pairs.is_empty() {
        return Err(RecalibrationError::NoScores);
    }
    let count = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = pairs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let shared: f64 = pairs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = if spread > 0.0 { shared / spread } else { 1.0 };
    Ok(Correction::Number { slope, offset: mean_y - slope * mean_x })
}

/// Newton's method on the log loss with a pull towards `t = 1`, `b = 0`; it is convex.
fn fit_classes(task: &Task, rows: &RecordBatch) -> Result<Correction, RecalibrationError> {
    let samples = samples(task, rows)?;
    let classes = task.classes().len();
    if samples.is_empty() {
        return Err(RecalibrationError::NoScores);
    }
    // The first number is the temperature, the others are the biases of all classes but the first.
    let start: Vec<f64> = std::iter::once(1.0).chain(std::iter::repeat_n(0.0, classes - 1)).collect();
    let (mut found, mut least) = (start.clone(), loss(&samples, &start, &start));
    for _ in 0..MOST_STEPS {
        let (gradient, curvature) = derivatives(&samples, &found, &start);
        let Some(step) = solve(curvature, gradient) else { break };
        let mut reach = 1.0;
        let next = loop {
            let tried: Vec<f64> = found.iter().zip(&step).map(|(number, step)| number - reach * step).collect();
            let reached = loss(&samples, &tried, &start);
            if reached < least {
                break Some((tried, reached));
            }
            reach /= 2.0;
            if reach < 1e-6 {
                break None;
            }
        };
        let Some((tried, reached)) = next else { break };
        let gained = least - reached;
        (found, least) = (tried, reached);
        if gained < CONVERGED * samples.len() as f64 {
            break;
        }
    }
    let mut numbers = found.into_iter();
    let temperature = numbers.next().unwrap_or(1.0);
    Ok(Correction::Classes { temperature, biases: std::iter::once(0.0).chain(numbers).collect() })
}

/// Logarithms of a row's probabilities, and the place of its label.
struct Sample {
    logs: Vec<f64>,
    label: usize,
}

fn samples(task: &Task, rows: &RecordBatch) -> Result<Vec<Sample>, RecalibrationError> {
    let classes = task.classes();
    let scores = task.score_columns();
    let scores = scores.iter().map(|name| numbers(rows, name)).collect::<Result<Vec<_>, _>>()?;
    let missing = || RecalibrationError::Column { column: LABEL.to_owned() };
    let labels = rows.column_by_name(LABEL).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(missing)?;
    let row = |(row, label): (usize, Option<&str>)| {
        let label = classes.iter().position(|class| Some(*class) == label)?;
        let mut given = scores.iter().map(|column| column.get(row).copied().flatten()).collect::<Option<Vec<_>>>()?;
        if let [positive] = given.as_slice() {
            given = vec![1.0 - positive, *positive];
        }
        let logs = given.iter().map(|probability| (probability.max(0.0) + LEAST_PROBABILITY).ln()).collect();
        Some(Sample { logs, label })
    };
    Ok(labels.iter().enumerate().filter_map(row).collect())
}

fn probabilities(sample: &Sample, numbers: &[f64]) -> Vec<f64> {
    let bias = |class: usize| if class == 0 { 0.0 } else { numbers[class] };
    let logits: Vec<f64> = sample.logs.iter().enumerate().map(|(class, log)| numbers[0] * log + bias(class)).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn loss(samples: &[Sample], numbers: &[f64], prior: &[f64]) -> f64 {
    let pull: f64 = numbers.iter().zip(prior).map(|(number, prior)| (number - prior).powi(2)).sum();
    let of_row = |sample: &Sample| -probabilities(sample, numbers)[sample.label].max(f64::MIN_POSITIVE).ln();
    samples.iter().map(of_row).sum::<f64>() + PRIOR_ROWS / 2.0 * pull
}

/// Gradient and Hessian of the loss.
fn derivatives(samples: &[Sample], numbers: &[f64], prior: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = numbers.len();
    let mut gradient: Vec<f64> = numbers.iter().zip(prior).map(|(n, p)| PRIOR_ROWS * (n - p)).collect();
    let mut curvature = vec![vec![0.0; size]; size];
    (0..size).for_each(|place| curvature[place][place] = PRIOR_ROWS);
    for sample in samples {
        let found = probabilities(sample, numbers);
        // The derivative of a class's logit by number `place`.
        let slope = |class: usize, place: usize| match place {
            0 => sample.logs[class],
            place => f64::from(u8::from(place == class)),
        };
        let mean = |place: usize| found.iter().enumerate().map(|(class, p)| p * slope(class, place)).sum::<f64>();
        let means: Vec<f64> = (0..size).map(mean).collect();
        for place in 0..size {
            gradient[place] += means[place] - slope(sample.label, place);
            for other in 0..size {
                let both = |(class, p): (usize, &f64)| p * slope(class, place) * slope(class, other);
                curvature[place][other] +=
                    found.iter().enumerate().map(both).sum::<f64>() - means[place] * means[other];
            }
        }
    }
    (gradient, curvature)
}

/// Solves a small linear system by elimination; `None` where it has no one solution.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        if matrix[pivot][column].abs() < f64::MIN_POSITIVE {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..size {
            let factor = matrix[row][column] / matrix[column][column];
            let (above, below) = matrix.split_at_mut(row);
            below[0].iter_mut().zip(&above[column]).for_each(|(value, pivot)| *value -= factor * pivot);
            right[row] -= factor * right[column];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| matrix[row][column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    Some(right)
}

fn numbers(rows: &RecordBatch, name: &str) -> Result<Vec<Option<f64>>, RecalibrationError> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Float64Type>());
    let column = column.ok_or_else(|| RecalibrationError::Column { column: name.to_owned() })?;
    Ok(column.iter().map(|value| value.filter(|value| value.is_finite())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use std::sync::Arc;

    fn binary() -> Task {
        Task::Binary { positive: "yes".into(), negative: "no".into() }
    }

    #[test]
    fn a_reversed_concept_turns_the_score_round() {
        let scores: Vec<f64> = (0..200).map(|row| if row % 2 == 0 { 0.9 } else { 0.1 }).collect();
        let labels = (0..200).map(|row| if (row % 2 == 0) == (row % 10 == 0) { "yes" } else { "no" });
        let rows = RecordBatch::try_from_iter([
            ("score", Arc::new(Float64Array::from(scores)) as ArrayRef),
            (LABEL, Arc::new(labels.map(Some).collect::<StringArray>())),
        ])
        .unwrap();
        let Correction::Classes { temperature, .. } = fit(&binary(), &rows).unwrap() else { panic!() };
        assert!(temperature < -0.5, "{temperature}");
    }

    #[test]
    fn a_calibrated_score_is_left_alone() {
        let scores: Vec<f64> = (0..1_000).map(|row| if row % 2 == 0 { 0.8 } else { 0.3 }).collect();
        let is_yes = |row: usize| if row.is_multiple_of(2) { row / 2 % 10 < 8 } else { row / 2 % 10 < 3 };
        let labels = (0..1_000).map(|row| Some(if is_yes(row) { "yes" } else { "no" }));
        let rows = RecordBatch::try_from_iter([
            ("score", Arc::new(Float64Array::from(scores)) as ArrayRef),
            (LABEL, Arc::new(labels.collect::<StringArray>())),
        ])
        .unwrap();
        let Correction::Classes { temperature, biases } = fit(&binary(), &rows).unwrap() else { panic!() };
        assert!((temperature - 1.0).abs() < 0.01 && biases[1].abs() < 0.01, "{temperature} {biases:?}");
    }

    #[test]
    fn a_number_gets_slope_and_offset() {
        let numbers = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let rows = RecordBatch::try_from_iter([
            (PREDICTION, numbers(vec![1.0, 2.0, 3.0])),
            (LABEL, numbers(vec![12.0, 14.0, 16.0])),
        ])
        .unwrap();
        assert_eq!(fit(&Task::Regression, &rows).unwrap(), Correction::Number { slope: 2.0, offset: 10.0 });
    }
}
