//! Answers to training rows from models that were not trained on them.
//!
//! A model answers its own training rows better than any others, a flexible one without an error. A reference learned from
//! such answers promises what the model cannot keep, and the first windows after a promotion would raise an alarm. So the
//! rows are halved in their order, the same trainer makes a model of each half, and each answers the other half. It costs
//! about as much as the training itself. The models are thrown away; the version is the one that was trained on all rows.

use crate::job::JobError;
use crate::scorer::{Scorer, ScoringError};
use crate::trainer::{TrainedModel, Trainer, TrainingError, TrainingJob, train};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio_util::sync::CancellationToken;

/// Makes the scorer of what was trained.
pub type ScorerOf<'a> = &'a dyn Fn(&TrainedModel) -> Result<Box<dyn Scorer>, ScoringError>;

/// The answers to every row of the job, in their order, with the columns of [`crate::answers::answer_schema`].
///
/// # Errors
/// When a half cannot be trained on, or its model does not answer the other.
pub fn cross_fit(
    trainer: &dyn Trainer,
    scorer_of: ScorerOf<'_>,
    job: &TrainingJob<'_>,
    stop: &CancellationToken,
) -> Result<RecordBatch, TrainingError> {
    let rows = job.rows.num_rows();
    let older = job.rows.slice(0, rows / 2);
    let younger = job.rows.slice(rows / 2, rows - rows / 2);
    let mut answers = Vec::new();
    for (asked, learned_from) in [(&older, &younger), (&younger, &older)] {
        let io = |source| TrainingError::Job(JobError::io(job.work_directory, source));
        let directory = tempfile::tempdir_in(job.work_directory).map_err(io)?;
        let half = TrainingJob { rows: learned_from, work_directory: directory.path(), ..*job };
        let trained = train(trainer, &half, stop)?;
        answers.push(scorer_of(&trained)?.score(asked)?);
    }
    let schema = answers.first().map(RecordBatch::schema).unwrap_or_else(|| job.rows.schema());
    concat_batches(&schema, &answers).map_err(|error| TrainingError::Answers(error.into()))
}
