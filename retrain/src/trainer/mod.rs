//! Trainers: frozen rows in, an artifact out.
//!
//! Two kinds train: [`builtin`] fits a linear model in this process, [`command`] runs any program. Both are functions of the
//! job: the same rows and parameters give the same model, so that a training that was interrupted may simply be run again.
//! Neither decides anything about the model it made. [`train`] adds the one check that every artifact must pass before it may
//! be registered: whatever will answer for it loads it, and reproduces its trainer's own answers.

pub mod builtin;
pub mod command;
mod sample;

pub use sample::{Sample, SamplePolicy, verify};

use crate::answers::{self, AnswerError};
use crate::encoding::EncodingError;
use crate::job::JobError;
use crate::lifecycle::{ArtifactFormat, ModelVersion, TrainingRecord};
use crate::scorer::{Scorer, ScoringError};
use arrow::array::RecordBatch;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// Feature columns by name and `label` (Utf8 for a class, Float64 for a number), frozen, in log order.
    pub rows: &'a RecordBatch,
    /// Parameters from the configuration and the request.
    pub parameters: &'a BTreeMap<String, String>,
    /// How closely what is made has to answer as its trainer did.
    pub sample: SamplePolicy,
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
    /// What the trainer measured, on its training rows unless its name says otherwise.
    pub metrics: BTreeMap<String, f64>,
    /// The parameters it used, defaults included.
    pub parameters: BTreeMap<String, String>,
    /// Source revision of the trainer's code.
    pub code_revision: Option<String>,
    /// Some rows with the trainer's own answers; an ONNX artifact must have one.
    pub sample: Option<Sample>,
    /// What the training took and told of itself, where a program trained.
    pub record: Option<TrainingRecord>,
}

/// Something that trains.
pub trait Trainer: Send + Sync {
    /// Trains one version. Blocks; belongs on a thread of its own.
    ///
    /// # Errors
    /// The rows cannot be learned from, the trainer failed, or `stop` was cancelled.
    fn train(&self, job: &TrainingJob<'_>, stop: &CancellationToken) -> Result<TrainedModel, TrainingError>;
}

/// Makes what will answer for a model that was trained.
pub type ScorerOf<'a> = &'a dyn Fn(&TrainedModel) -> Result<Box<dyn Scorer>, ScoringError>;

/// Trains, then checks what was made: its answers to the sample are those of its trainer. Only an opaque artifact may come
/// without a sample.
///
/// # Errors
/// As [`Trainer::train`]; [`ScoringError`] from loading and asking the artifact, [`AnswerError::Mismatch`] where it answers
/// otherwise.
pub fn train(
    trainer: &dyn Trainer,
    scorer_of: ScorerOf<'_>,
    job: &TrainingJob<'_>,
    stop: &CancellationToken,
) -> Result<TrainedModel, TrainingError> {
    let trained = trainer.train(job, stop)?;
    match &trained.sample {
        Some(sample) => verify(scorer_of(&trained)?.as_mut(), &job.schema.task, sample, job.sample)?,
        None if trained.format == ArtifactFormat::Onnx => return Err(TrainingError::NoSample),
        None => {}
    }
    Ok(trained)
}

/// The metric of a version that left training rows unanswered: how many.
pub const UNANSWERED_ROWS: &str = "unanswered_rows";

/// A new version's own answers to its training rows. How many it left unanswered is told and kept among its metrics.
///
/// # Errors
/// It does not answer, or none of the rows.
pub fn own_answers(
    version: &mut ModelVersion,
    scorer: &mut dyn Scorer,
    rows: &RecordBatch,
) -> Result<RecordBatch, TrainingError> {
    let answers = scorer.score(rows)?;
    let unanswered = answers::unanswered(&version.schema.task, &answers)?;
    if unanswered > 0 && unanswered == rows.num_rows() as u64 {
        return Err(AnswerError::None { rows: rows.num_rows() }.into());
    }
    if unanswered > 0 {
        tracing::warn!(version = version.version, unanswered, rows = rows.num_rows(), "training rows left unanswered");
        version.lineage.metrics.insert(UNANSWERED_ROWS.to_owned(), unanswered as f64);
    }
    Ok(answers)
}

impl TrainingError {
    /// Whether what the trainer made is at fault: it is a function of the job, and would be the same in another attempt.
    pub fn is_of_the_result(&self) -> bool {
        matches!(self, Self::Result { .. } | Self::NoSample | Self::Answers(_))
    }
}

/// Why a training failed. The champion stays.
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
    /// Every row has the same label.
    #[error("all {rows} training rows have the label {class}; there is nothing to tell apart")]
    OneClass {
        /// Training rows.
        rows: usize,
        /// The only label.
        class: String,
    },
    /// A label that the schema does not know.
    #[error("training row {row} has the label {class}, which is none of the model's classes: {classes}")]
    UnknownClass {
        /// The row, from 0.
        row: usize,
        /// Its label.
        class: String,
        /// The classes of the schema.
        classes: String,
    },
    /// A row without a usable label.
    #[error("training row {row} has no finite label; only labelled rows belong in a training set")]
    NoLabel {
        /// The row, from 0.
        row: usize,
    },
    /// Infinite values.
    #[error(
        "feature {column} is infinite, or beyond what float32 holds, in {rows} training rows; mend the source, or have it \
         send null"
    )]
    Infinite {
        /// The feature.
        column: String,
        /// How many rows.
        rows: usize,
    },
    /// No feature varies.
    #[error("every feature is constant over the {rows} training rows; there is nothing to learn from")]
    AllConstant {
        /// Training rows.
        rows: usize,
    },
    /// The solver stopped too early.
    #[error(
        "the fit did not converge within {iterations} iterations (gradient {gradient:e} a row); raise `max_iterations`, or \
         `alpha` where the classes separate perfectly"
    )]
    NotConverged {
        /// The limit.
        iterations: u64,
        /// Norm of the gradient divided by the rows.
        gradient: f64,
    },
    /// The solver gave up.
    #[error("the solver failed: {reason}; a larger `alpha` helps where features depend on each other")]
    Solver {
        /// What it said.
        reason: String,
    },
    /// A parameter that is unknown or out of range.
    #[error("training parameter {name}: {value} cannot be used; {expected}")]
    Parameter {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A column is missing or of the wrong type.
    #[error("the training rows do not fit the model's schema")]
    Rows(#[from] EncodingError),
    /// The program could not do its job.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The program succeeded but what it left cannot be used.
    #[error("the trainer's {file} cannot be used: {reason}", file = path.file_name().unwrap_or_default().display())]
    Result {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An ONNX artifact without a sample of its trainer's answers.
    #[error(
        "the trainer gave an ONNX artifact and no sample of its own answers; name one as `sample` in its result file"
    )]
    NoSample,
    /// The artifact cannot be loaded or asked.
    #[error("the artifact was rejected")]
    Artifact(#[from] ScoringError),
    /// The artifact answers otherwise than its trainer.
    #[error("the artifact was rejected")]
    Answers(#[from] AnswerError),
    /// Training was told to stop.
    #[error("the training was stopped before it was done")]
    Stopped,
}
