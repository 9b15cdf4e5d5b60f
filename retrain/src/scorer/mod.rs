//! Scorers: how a version answers rows, in shadow and in replays.

use arrow::array::RecordBatch;

/// Something that answers rows with one version of a model.
pub trait Scorer: Send {
    /// Answers each row: feature columns by name in, prediction and scores out.
    ///
    /// # Errors
    /// The rows lack a feature, or the model failed.
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError>;
}

/// Why a model could not be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// The graph could not be prepared or run.
    #[error("the graph cannot be {action}: {reason}")]
    Graph {
        /// `loaded` or `run`.
        action: &'static str,
        /// What the engine said.
        reason: String,
    },
}
