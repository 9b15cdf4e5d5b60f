//! Any program as a scorer, for models that ONNX cannot carry: Parquet in, Parquet out.
//!
//! The program is run once for each batch, as [`crate::process`] describes, with the path of a job file as its last
//! argument:
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
//! or `score.<class>`), a row for each row and in their order. Starting a program costs more than most models' answers, so
//! batches should be large.

use super::{Scorer, ScoringError};
use crate::answers;
use crate::encoding::column_as;
use crate::process::{self, CommandSpec};
use crate::rows_file;
use crate::trainer::command::FORMAT;
use arrow::array::RecordBatch;
use detectors::schema::ModelSchema;
use ingest::columns::arrow_type;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Which version a program is to answer for.
#[derive(Debug, Clone)]
pub struct ScoredVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// What it takes and gives.
    pub schema: ModelSchema,
}

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

#[derive(Serialize)]
struct JobFile<'a> {
    format: u32,
    kind: &'static str,
    model: &'a str,
    version: &'a str,
    schema: &'a ModelSchema,
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
        let temporary = std::env::temp_dir();
        let directory = tempfile::Builder::new()
            .prefix("driftline-score-")
            .tempdir_in(&temporary)
            .map_err(|source| ScoringError::Io { path: temporary, source })?;
        let path = directory.path().join("artifact");
        std::fs::write(&path, artifact).map_err(|source| ScoringError::Io { path: path.clone(), source })?;
        Ok(Self { command, of, stop, directory, artifact: path })
    }

    fn write_job(&self, rows: &RecordBatch) -> Result<Job, ScoringError> {
        let place = |name: &str| self.directory.path().join(name);
        let job = Job { path: place("job.json"), rows: place("rows.parquet"), answers: place("answers.parquet") };
        rows_file::write(&job.rows, rows)?;
        // An answer of an earlier batch must not be taken for this one's.
        match std::fs::remove_file(&job.answers) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ScoringError::Io { path: job.answers, source });
            }
            _ => {}
        }
        let file = JobFile {
            format: FORMAT,
            kind: "score",
            model: &self.of.model,
            version: &self.of.version,
            schema: &self.of.schema,
            artifact: &self.artifact,
            rows: &job.rows,
            row_count: rows.num_rows(),
            answers: &job.answers,
        };
        let json = serde_json::to_vec_pretty(&file).map_err(std::io::Error::from);
        json.and_then(|json| std::fs::write(&job.path, json))
            .map_err(|source| ScoringError::Io { path: job.path.clone(), source })?;
        Ok(job)
    }
}

struct Job {
    path: PathBuf,
    rows: PathBuf,
    answers: PathBuf,
}

impl Scorer for CommandScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let task = &self.of.schema.task;
        if rows.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(answers::answer_schema(task)));
        }
        let columns = self.of.schema.features().map(|feature| {
            Ok::<_, ScoringError>((&feature.name, column_as(rows, &feature.name, &arrow_type(feature.kind))?, true))
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let features = RecordBatch::try_from_iter_with_nullable(columns).map_err(answers::AnswerError::from)?;
        let job = self.write_job(&features)?;
        process::run(&self.command, &job.path, &self.stop)?;
        let found = rows_file::read(&job.answers)?;
        Ok(answers::from_columns(task, &found, rows.num_rows())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array};
    use detectors::schema::{ColumnKind, Task};
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
