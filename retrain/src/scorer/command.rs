//! Any program as a scorer, whatever the format of the artifact, started for each batch: Parquet in, Parquet out.
//!
//! The program is run as [`crate::process`] describes, with the path of a job file as its last argument:
//!
//! ```json
//! {
//!   "format": 1, "kind": "score", "model": "admission", "version": "v2",
//!   "schema": {"columns": [], "task": {"type": "regression"}},
//!   "artifact": "/…/artifact", "rows": "/…/rows.parquet", "row_count": 500, "answers": "/…/answers.parquet"
//! }
//! ```
//!
//! `rows` has the features by name. The program writes to `answers` the schema's output columns (`prediction`, and `score`
//! or `score.<class>`), a row for each row and in their order. Starting a program costs more than most models' answers: one
//! that stays up is [`super::standing`]'s.

use super::artifact_folder::ArtifactFolder;
use super::{ScoredVersion, Scorer, ScoringError};
use crate::answers;
use crate::encoding::features_as;
use crate::job::{Job, JobError};
use crate::process::CommandSpec;
use crate::rows_file;
use arrow::array::RecordBatch;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Asks a program.
#[derive(Debug)]
pub struct CommandScorer {
    command: CommandSpec,
    of: ScoredVersion,
    stop: CancellationToken,
    /// Holds the artifact and the job's files; removed with the scorer.
    directory: TempDir,
    artifact: PathBuf,
}

/// The files of one batch.
#[derive(Serialize)]
struct Files<'a> {
    artifact: &'a Path,
    rows: &'a Path,
    row_count: usize,
    answers: &'a Path,
}

impl CommandScorer {
    /// A scorer of this version by this program, which is ended when `stop` is cancelled.
    ///
    /// # Errors
    /// The artifact cannot be written to a temporary directory.
    pub fn new(
        command: CommandSpec,
        of: ScoredVersion,
        artifact: &[u8],
        stop: CancellationToken,
    ) -> Result<Self, ScoringError> {
        let ArtifactFolder { directory, artifact } = ArtifactFolder::new(artifact)?;
        Ok(Self { command, of, stop, directory, artifact })
    }

    /// What the program answers to these features.
    fn ask(&mut self, features: &RecordBatch) -> Result<RecordBatch, JobError> {
        let place = |name: &str| self.directory.path().join(name);
        let (rows, answers) = (place("rows.parquet"), place("answers.parquet"));
        rows_file::write(&rows, features)?;
        // An answer of an earlier batch must not be taken for this one's.
        match std::fs::remove_file(&answers) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(JobError::io(&answers, source)),
            _ => {}
        }
        let row_count = features.num_rows();
        let particulars = Files { artifact: &self.artifact, rows: &rows, row_count, answers: &answers };
        let ScoredVersion { model, version, schema } = &self.of;
        let job = Job { kind: "score", model, version, schema, particulars };
        job.run(&self.command, self.directory.path(), &self.stop)?;
        Ok(rows_file::read(self.directory.path(), &answers, self.command.most_result_bytes)?)
    }
}

impl Scorer for CommandScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let task = self.of.schema.task.clone();
        if rows.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(answers::answer_schema(&task)));
        }
        let found = self.ask(&features_as(&self.of.schema, rows)?)?;
        Ok(answers::from_columns(&task, &found, rows.num_rows())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array};
    use detectors::schema::{ColumnKind, ModelSchema, Task};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn scorer(script: &str) -> CommandScorer {
        let command = CommandSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::new(),
            working_directory: None,
            time_limit: Duration::from_secs(60),
            output_lines_kept: 5,
            most_result_bytes: 1 << 20,
        };
        let schema = ModelSchema::new([("prediction_input".to_owned(), ColumnKind::Numeric)], Task::Regression);
        let of = ScoredVersion { model: "m".to_owned(), version: "v1".to_owned(), schema };
        CommandScorer::new(command, of, b"the artifact", CancellationToken::new()).unwrap()
    }

    fn rows(numbers: Vec<f64>) -> RecordBatch {
        let column = Arc::new(Float64Array::from(numbers)) as ArrayRef;
        RecordBatch::try_from_iter([("prediction_input", column)]).unwrap()
    }

    #[test]
    fn the_answers_are_the_programs() {
        let directory = tempfile::tempdir().unwrap();
        let prepared = directory.path().join("prepared.parquet");
        rows_file::write(&prepared, &answers::from_numbers([3.0, 4.0]).unwrap()).unwrap();
        let script = format!("grep -q 'the artifact' artifact && cp {} answers.parquet", prepared.display());
        let found = scorer(&script).score(&rows(vec![1.0, 2.0])).unwrap();
        assert_eq!(found, answers::from_numbers([3.0, 4.0]).unwrap());
    }

    #[test]
    fn a_program_that_writes_nothing_is_not_answered_for_by_an_earlier_batch() {
        let directory = tempfile::tempdir().unwrap();
        let prepared = directory.path().join("prepared.parquet");
        rows_file::write(&prepared, &answers::from_numbers([3.0]).unwrap()).unwrap();
        let mut scorer = scorer(&format!("mv {} answers.parquet || true", prepared.display()));
        scorer.score(&rows(vec![1.0])).unwrap();
        let error = scorer.score(&rows(vec![1.0])).unwrap_err();
        assert!(error.to_string().contains("answers.parquet cannot be opened"), "{error}");
    }

    #[test]
    fn each_row_needs_its_answer() {
        let directory = tempfile::tempdir().unwrap();
        let prepared = directory.path().join("prepared.parquet");
        rows_file::write(&prepared, &answers::from_numbers([3.0]).unwrap()).unwrap();
        let error = scorer(&format!("cp {} answers.parquet", prepared.display())).score(&rows(vec![1.0, 2.0]));
        assert_eq!(error.unwrap_err().to_string(), "the model's answers cannot be used");
    }
}
