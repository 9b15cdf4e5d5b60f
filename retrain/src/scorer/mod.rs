//! Scorers: how a version answers rows, in shadow and in replays.
//!
//! [`onnx`] runs a graph in this process; [`command`] asks a program, for models that ONNX cannot carry or the engine cannot
//! run. Rows are independent of each other: the answer to a row does not depend on the batch it came in.

pub mod command;
pub mod onnx;

use crate::answers::AnswerError;
use crate::encoding::EncodingError;
use crate::job::JobError;
use crate::lifecycle::ModelVersion;
use arrow::array::RecordBatch;
use detectors::schema::ModelSchema;

/// Something that answers rows with one version of a model.
pub trait Scorer: Send {
    /// Answers each row: feature columns by name in, the columns of [`crate::answers::answer_schema`] out.
    ///
    /// # Errors
    /// The rows lack a feature, or the model failed; no answer of the batch is given then.
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError>;
}

/// Which version is to answer.
#[derive(Debug, Clone)]
pub struct ScoredVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// What it takes and gives.
    pub schema: ModelSchema,
}

impl ScoredVersion {
    /// A version of a model's.
    pub fn of(model: &str, version: &ModelVersion) -> Self {
        Self { model: model.to_owned(), version: version.version.clone(), schema: version.schema.clone() }
    }
}

/// Why a model could not be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// The bytes are not ONNX.
    #[error("the artifact is not an ONNX model; it has {bytes} bytes that do not decode as one")]
    NotOnnx {
        /// Size of the artifact.
        bytes: usize,
    },
    /// An operator that cannot be run.
    #[error(
        "operator {operator} (node {node}) is not supported; {hint}, or let a scorer command answer for this model"
    )]
    UnsupportedOperator {
        /// Its ONNX type.
        operator: String,
        /// The node's name, or that of its first output.
        node: String,
        /// What may help.
        hint: &'static str,
    },
    /// The graph's inputs are not the schema's features.
    #[error("the graph's inputs do not fit the model's schema: {reason}")]
    Inputs {
        /// What differs.
        reason: String,
    },
    /// The graph's outputs are not the schema's answers.
    #[error("the graph's outputs do not fit the model's schema: {reason}")]
    Outputs {
        /// What differs.
        reason: String,
    },
    /// A metadata entry of the graph cannot be read.
    #[error("the metadata entry {key} of the graph is not what it should be: {reason}")]
    Metadata {
        /// The entry's key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The graph could not be prepared or run.
    #[error("the graph cannot be {action}: {reason}")]
    Graph {
        /// `loaded` or `run`.
        action: &'static str,
        /// What the engine said, with the node it was at.
        reason: String,
    },
    /// The rows do not fit.
    #[error("the rows cannot be given to the model")]
    Rows(#[from] EncodingError),
    /// The answers do not fit.
    #[error("the model's answers cannot be used")]
    Answers(#[from] AnswerError),
    /// The program could not do its job.
    #[error(transparent)]
    Job(#[from] JobError),
}
