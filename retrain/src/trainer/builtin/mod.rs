//! The builtin trainer: logistic, softmax or linear regression by the task, in this process, exported as ONNX.
//!
//! `design` turns rows into columns, `logistic` and `linear` fit them, `export` writes the file. The same rows
//! and parameters give the same bytes. It searches no parameters and holds nothing back for itself: whether the model is
//! any good is for the gate to say, on rows that are younger.
//!
//! Parameters: `alpha` (weight of the L2 penalty, 1), `max_iterations` (500), `max_categories` (100) and
//! `min_category_rows` (5).

mod design;
mod export;
mod linear;
mod logistic;
mod options;

use super::{Sample, TrainedModel, Trainer, TrainingError, TrainingJob};
use crate::answers;
use crate::encoding::{column_as, features_as};
use crate::lifecycle::ArtifactFormat;
use crate::linear::{LinearMap, softmax};
use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Float64Type};
use codec::columns::LABEL;
use design::Design;
use detectors::schema::{ModelSchema, Task};
use logistic::Classified;
use ndarray::{Array1, Array2};
use options::Options;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Fewest rows that are trained on.
pub const MIN_ROWS: usize = 20;

/// Most rows in the sample of the trainer's own answers.
const SAMPLE_ROWS: usize = 256;

/// Trains a linear model that fits the schema's task.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltinTrainer;

impl BuiltinTrainer {
    /// Whether it would train with these parameters.
    ///
    /// # Errors
    /// [`TrainingError::Parameter`] for the first that is unknown or out of range.
    pub fn check_parameters(parameters: &BTreeMap<String, String>) -> Result<(), TrainingError> {
        Options::read(parameters).map(|_| ())
    }
}

impl Trainer for BuiltinTrainer {
    fn train(&self, job: &TrainingJob<'_>, stop: &CancellationToken) -> Result<TrainedModel, TrainingError> {
        let options = Options::read(job.parameters)?;
        if job.rows.num_rows() < MIN_ROWS {
            return Err(TrainingError::TooFewRows { rows: job.rows.num_rows(), needed: MIN_ROWS });
        }
        let target = Target::read(job.rows, &job.schema.task)?;
        let (design, inputs) = Design::learn(job.schema, job.rows, &options)?;
        let matrix = design.matrix(&inputs);
        // The solver cannot be interrupted; it takes seconds at most, so the token is heeded on either side of it.
        heed(stop)?;
        let map = target.fit(&matrix, &options)?.rounded();
        heed(stop)?;

        let mut metrics = target.metrics(&map.apply(&matrix));
        metrics.insert("rows".to_owned(), job.rows.num_rows() as f64);
        metrics.insert("constant_features".to_owned(), design.constant_numbers() as f64);
        Ok(TrainedModel {
            artifact: export::export(job, &design, &map)?,
            format: ArtifactFormat::Onnx,
            metrics,
            parameters: options.written(),
            code_revision: Some(format!("driftline {}", env!("CARGO_PKG_VERSION"))),
            sample: Some(sample(job, &matrix, &map)?),
            record: None,
        })
    }
}

fn heed(stop: &CancellationToken) -> Result<(), TrainingError> {
    if stop.is_cancelled() { Err(TrainingError::Stopped) } else { Ok(()) }
}

/// What is to be predicted.
enum Target {
    /// Each row's class, as its place in canonical order, of so many.
    Classes { labels: Array1<usize>, classes: usize },
    /// Each row's number.
    Numbers(Array1<f64>),
}

impl Target {
    fn read(rows: &RecordBatch, task: &Task) -> Result<Self, TrainingError> {
        match task {
            Task::Regression => read_numbers(rows),
            _ => read_classes(rows, &task.classes()),
        }
    }

    fn fit(&self, matrix: &Array2<f64>, options: &Options) -> Result<LinearMap, TrainingError> {
        match self {
            Self::Classes { labels, classes } => {
                Classified { design: matrix.clone(), labels: labels.clone(), classes: *classes }.fit(options)
            }
            Self::Numbers(numbers) => linear::fit(matrix, numbers, options),
        }
    }

    /// Figures on the training rows themselves.
    fn metrics(&self, outputs: &Array2<f64>) -> BTreeMap<String, f64> {
        match self {
            Self::Classes { labels, .. } => class_metrics(labels, &softmax(outputs.clone())),
            Self::Numbers(numbers) => number_metrics(numbers, &outputs.column(0).to_owned()),
        }
    }
}

fn read_classes(rows: &RecordBatch, classes: &[&str]) -> Result<Target, TrainingError> {
    let column = column_as(rows, LABEL, &DataType::Utf8)?;
    let mut labels = Vec::with_capacity(rows.num_rows());
    for (row, label) in column.as_string::<i32>().iter().enumerate() {
        let label = label.ok_or(TrainingError::NoLabel { row })?;
        let place = classes.iter().position(|class| *class == label).ok_or_else(|| TrainingError::UnknownClass {
            row,
            class: label.to_owned(),
            classes: classes.join(", "),
        })?;
        labels.push(place);
    }
    let first = labels.first().copied();
    match first.and_then(|first| classes.get(first)) {
        Some(class) if labels.iter().all(|label| Some(*label) == first) => {
            Err(TrainingError::OneClass { rows: labels.len(), class: (*class).to_owned() })
        }
        _ => Ok(Target::Classes { labels: labels.into(), classes: classes.len() }),
    }
}

fn read_numbers(rows: &RecordBatch) -> Result<Target, TrainingError> {
    let column = column_as(rows, LABEL, &DataType::Float64)?;
    let numbers = column
        .as_primitive::<Float64Type>()
        .iter()
        .enumerate()
        .map(|(row, number)| number.filter(|number| number.is_finite()).ok_or(TrainingError::NoLabel { row }));
    Ok(Target::Numbers(numbers.collect::<Result<Vec<_>, _>>()?.into()))
}

fn class_metrics(labels: &Array1<usize>, probabilities: &Array2<f64>) -> BTreeMap<String, f64> {
    let (mut right, mut log_loss) = (0.0, 0.0);
    for (label, row) in labels.iter().zip(probabilities.rows()) {
        let own = row[*label];
        right += f64::from(u8::from(row.iter().all(|other| *other <= own)));
        log_loss -= own.max(f64::MIN_POSITIVE).ln();
    }
    let rows = labels.len() as f64;
    BTreeMap::from([("training_accuracy".to_owned(), right / rows), ("training_log_loss".to_owned(), log_loss / rows)])
}

fn number_metrics(numbers: &Array1<f64>, predictions: &Array1<f64>) -> BTreeMap<String, f64> {
    let rows = numbers.len() as f64;
    let errors = numbers - predictions;
    let squared = errors.dot(&errors);
    let spread = numbers.var(0.0) * rows;
    let mut metrics = BTreeMap::from([
        ("training_rmse".to_owned(), (squared / rows).sqrt()),
        ("training_mae".to_owned(), errors.mapv(f64::abs).sum() / rows),
    ]);
    if spread > 0.0 {
        metrics.insert("training_r2".to_owned(), 1.0 - squared / spread);
    }
    metrics
}

/// Rows spread evenly over the training set, with this trainer's own answers in double precision.
fn sample(job: &TrainingJob<'_>, matrix: &Array2<f64>, map: &LinearMap) -> Result<Sample, TrainingError> {
    let step = job.rows.num_rows().div_ceil(SAMPLE_ROWS).max(1);
    let places: Vec<usize> = (0..job.rows.num_rows()).step_by(step).collect();
    let outputs = map.apply(&matrix.select(ndarray::Axis(0), &places));
    let answers = match job.schema.task {
        Task::Regression => answers::from_numbers(outputs.column(0).iter().copied())?,
        _ => answers::from_probabilities(&job.schema.task, &softmax(outputs))?,
    };
    Ok(Sample { rows: features_at(job.schema, job.rows, &places)?, answers })
}

fn features_at(schema: &ModelSchema, rows: &RecordBatch, places: &[usize]) -> Result<RecordBatch, TrainingError> {
    let indices = UInt64Array::from_iter_values(places.iter().map(|place| *place as u64));
    let taken = take_record_batch(&features_as(schema, rows)?, &indices);
    Ok(taken.map_err(answers::AnswerError::from)?)
}

#[cfg(test)]
mod tests;
