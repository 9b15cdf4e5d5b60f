//! Answers to training rows from models that were not trained on them.
//!
//! A model answers its own training rows better than any others, a flexible one without an error. A reference learned from
//! such answers promises what the model cannot keep, and the first windows after a promotion would raise an alarm. So the
//! rows are halved in their order, the same trainer makes a model of each half, and each answers the other half. It costs
//! about as much as the training itself. The models are thrown away; the version is the one that was trained on all rows.
//!
//! But a model of half the rows is another model, and its scores lie elsewhere, most of all where there is little to learn. So
//! the version's own answers are taken where they are hardly better than the others: it has then learned nothing by heart.

use crate::encoding::EncodingError;
use crate::evidence::dependence;
use crate::job::JobError;
use crate::losses::{errors, mean_squared_loss};
use crate::trainer::{ScorerOf, Trainer, TrainingError, TrainingJob, train};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use detectors::schema::Task;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// A version has learned by heart where the loss of its own answers is less than this share of that of the held-out ones. A
/// regression on ten columns and 500 rows comes to .94.
const LEAST_SHARE_OF_LOSS: f64 = 0.9;

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
        let trained = train(trainer, scorer_of, &half, stop)?;
        answers.push(scorer_of(&trained)?.score(asked)?);
    }
    let schema = answers.first().map(RecordBatch::schema).unwrap_or_else(|| job.rows.schema());
    concat_batches(&schema, &answers).map_err(|error| TrainingError::Answers(error.into()))
}

/// Of a version's own answers to its training rows and the held-out ones, those that a reference may promise. Both are held
/// against every row with a label, and what is left unanswered counts as wrong.
pub fn promised(task: &Task, rows: &RecordBatch, own: RecordBatch, held_out: RecordBatch) -> RecordBatch {
    // Rows without labels say nothing of either.
    let loss = |answers: &RecordBatch| mean_squared_loss(task, rows, answers).ok().flatten();
    match (loss(&own), loss(&held_out)) {
        (Some(of_own), Some(of_held_out)) if of_own >= LEAST_SHARE_OF_LOSS * of_held_out => own,
        _ => held_out,
    }
}

/// The mean loss of held-out answers, with which a version's own losses are compared later: the share of wrong classes, or the
/// mean absolute error.
pub const HELD_OUT_ERROR: &str = "held_out_error";
/// How many neighbouring rows say as much as one (see [`crate::evidence::dependence`]), from held-out answers.
pub const LOSS_DEPENDENCE: &str = "loss_dependence";
/// Held-out answers without which the version's parent knows better how losses move together.
const LEAST_ROWS_OF_DEPENDENCE: usize = 500;

/// What held-out answers promise of a version, as metrics of its lineage. `inherited` is the dependence of the version's parent.
pub fn promises(
    task: &Task,
    rows: &RecordBatch,
    held_out: &RecordBatch,
    inherited: Option<f64>,
) -> Result<BTreeMap<String, f64>, EncodingError> {
    let errors = errors(task, rows, held_out)?;
    let dependence = match inherited {
        Some(inherited) if errors.len() < LEAST_ROWS_OF_DEPENDENCE => inherited,
        _ => dependence(&errors),
    };
    let mut promises = BTreeMap::from([(LOSS_DEPENDENCE.to_owned(), dependence)]);
    if !errors.is_empty() {
        promises.insert(HELD_OUT_ERROR.to_owned(), errors.iter().sum::<f64>() / errors.len() as f64);
    }
    Ok(promises)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use codec::columns::LABEL;
    use std::sync::Arc;

    /// Answers to so many of a hundred rows, of which so many are right, with scores to match.
    fn answers(task: &Task, answered: usize, right: usize) -> RecordBatch {
        let is_one = (0..100).map(|row| (row < answered).then_some((row % 2 == 0) == (row < right)));
        let scores: Float64Array = is_one.clone().map(|one| Some(if one? { 0.9 } else { 0.1 })).collect();
        let predictions: StringArray = is_one.map(|one| Some(if one? { "1" } else { "0" })).collect();
        let columns = vec![Arc::new(predictions) as ArrayRef, Arc::new(scores)];
        RecordBatch::try_new(crate::answers::answer_schema(task), columns).unwrap()
    }

    fn labelled(label: impl Fn(usize) -> Option<&'static str>) -> RecordBatch {
        let labels: StringArray = (0..100).map(label).collect();
        RecordBatch::try_from_iter_with_nullable([(LABEL, Arc::new(labels) as ArrayRef, true)]).unwrap()
    }

    #[test]
    fn a_version_speaks_for_itself_unless_it_has_learned_its_rows_by_heart() {
        let task = Task::Binary { positive: "1".into(), negative: "0".into() };
        let rows = labelled(|row| Some(if row % 2 == 0 { "1" } else { "0" }));
        let promised = |own, held_out| promised(&task, &rows, answers(&task, 100, own), answers(&task, 100, held_out));
        assert_eq!(promised(81, 80), answers(&task, 100, 81));
        assert_eq!(promised(78, 80), answers(&task, 100, 78), "it is the version that will answer");
        assert_eq!(promised(100, 80), answers(&task, 100, 80));
        let (own, held_out) = (answers(&task, 100, 81), answers(&task, 100, 80));
        assert_eq!(super::promised(&task, &labelled(|_| None), own, held_out.clone()), held_out);
    }

    #[test]
    fn a_version_that_answers_the_easy_rows_alone_has_not_learned_them_by_heart() {
        let task = Task::Binary { positive: "1".into(), negative: "0".into() };
        let rows = labelled(|row| Some(if row % 2 == 0 { "1" } else { "0" }));
        let own = answers(&task, 25, 25);
        assert_eq!(
            promised(&task, &rows, own.clone(), answers(&task, 100, 80)),
            own,
            "it is the version that will answer"
        );
    }
}
