//! Scorers: how a version answers rows, in shadow and in replays.
//!
//! [`linear`] evaluates builtin models in this process; [`onnx`] has ONNX Runtime run any other graph in a child process; a
//! user's own program answers for whatever it likes, started for each batch ([`command`]) or staying up ([`standing`], by the
//! same [`protocol`] as the child). Rows are independent of each other: the answer to a row does not depend on the batch it
//! came in.

mod artifact_folder;

pub mod command;
pub mod linear;
pub mod onnx;
pub mod protocol;
pub mod standing;

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
    /// A graph that is spread over several files.
    #[error(
        "the values of tensor {tensor} lie in another file, and an artifact is one file; save the model without external data"
    )]
    OtherFile {
        /// The tensor.
        tensor: String,
    },
    /// No engine.
    #[error(
        "a model like this one is answered by ONNX Runtime, and none was found: `pip install onnxruntime` for the Python that \
         trains, or name the library (1.17 or later) in `onnxruntime.library` or the variable ORT_DYLIB_PATH"
    )]
    NoRuntime,
    /// An engine that does not load.
    #[error("no ONNX Runtime that was found can be used (1.17 or later is needed): {reason}")]
    NoUsableRuntime {
        /// What the loader said of each.
        reason: String,
    },
    /// The engine's words.
    #[error("{reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
    /// The engine's process did not answer.
    #[error(
        "the graph has no answer: its process may take {memory} MiB of memory and the time that `onnxruntime` in the \
         configuration sets"
    )]
    EngineEnded {
        /// What became of the process.
        #[source]
        source: Box<standing::StandingError>,
        /// The most memory that it may take.
        memory: u64,
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
        /// `loaded`, `filled` or `run`.
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
    /// A program that stays up.
    #[error(transparent)]
    Standing(#[from] standing::StandingError),
}
