//! Trainers: frozen rows in, an artifact out.

use crate::lifecycle::ArtifactFormat;
use arrow::array::RecordBatch;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use std::collections::BTreeMap;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What is to be trained, from which rows.
#[derive(Debug, Clone, Copy)]
pub struct TrainingJob<'a> {
    /// The model.
    pub model: &'a str,
    /// The version that is being made.
    pub version: &'a str,
    /// What the version takes and gives.
    pub schema: &'a ModelSchema,
    /// Feature columns by name and `label`, frozen, in log order.
    pub rows: &'a RecordBatch,
    /// Parameters from the configuration and the request.
    pub parameters: &'a BTreeMap<String, String>,
    /// An empty directory for this training alone; its owner removes it.
    pub work_directory: &'a Path,
}

/// What a trainer made.
#[derive(Debug, Clone)]
pub struct TrainedModel {
    /// The artifact's bytes.
    pub artifact: Bytes,
    /// How it answers.
    pub format: ArtifactFormat,
    /// What the trainer measured.
    pub metrics: BTreeMap<String, f64>,
    /// The parameters it used, defaults included.
    pub parameters: BTreeMap<String, String>,
    /// Source revision of the trainer's code.
    pub code_revision: Option<String>,
    /// Some rows with the trainer's own answers.
    pub sample: Option<Sample>,
}

/// Rows and the trainer's own answers to them.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The features of some training rows, by name.
    pub rows: RecordBatch,
    /// The trainer's answers.
    pub answers: RecordBatch,
}

/// Something that trains.
pub trait Trainer: Send + Sync {
    /// Trains one version.
    ///
    /// # Errors
    /// The rows cannot be learned from, the trainer failed, or `stop` was cancelled.
    fn train(&self, job: &TrainingJob<'_>, stop: &CancellationToken) -> Result<TrainedModel, TrainingError>;
}

/// Trains, then checks what was made.
///
/// # Errors
/// As [`Trainer::train`].
pub fn train(
    trainer: &dyn Trainer,
    job: &TrainingJob<'_>,
    stop: &CancellationToken,
) -> Result<TrainedModel, TrainingError> {
    trainer.train(job, stop)
}

/// Why a training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// Too few rows.
    #[error("{rows} training rows are too few; at least {needed} are needed")]
    TooFewRows {
        /// Rows there are.
        rows: usize,
        /// Rows needed.
        needed: usize,
    },
    /// Training was told to stop.
    #[error("the training was stopped before it was done")]
    Stopped,
}
