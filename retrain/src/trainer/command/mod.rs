//! Any program as a trainer: a JSON job file in, an artifact and a JSON result out.
//!
//! The program is called with the path of the job file as its last argument (and in the variable `DRIFTLINE_JOB`); how it is
//! run and ended is [`crate::process`]'s. The job, with format version [`crate::job::FORMAT`]:
//!
//! ```json
//! {
//!   "format": 1, "kind": "train", "model": "admission", "version": "v2",
//!   "schema": {"columns": [{"name": "age", "role": "feature", "kind": "numeric"}], "task": {"type": "regression"}},
//!   "training_rows": "/…/training_rows.parquet", "row_count": 5000,
//!   "parameters": {"depth": "4"}, "time_limit_seconds": 600,
//!   "artifact": "/…/artifact", "result": "/…/result.json"
//! }
//! ```
//!
//! `training_rows` has the features by name (Float64, or Utf8 for categories) and `label`, in log order. The program writes
//! its artifact to `artifact` and then, as its last act, to `result`:
//!
//! ```json
//! {
//!   "artifact_format": "onnx", "metrics": {"auc": 0.81}, "parameters": {"depth": "4"},
//!   "code_revision": "4f2a91c", "sample": "/…/sample.parquet", "environment": ["lightgbm==4.7.0"]
//! }
//! ```
//!
//! Only `artifact_format` (`onnx` or `opaque`) is required, and for ONNX the `sample`: a Parquet file with the features of
//! some training rows and the program's own answers to them, in the schema's output columns (`prediction`, and `score` or
//! `score.<class>`). Relative paths are relative to the job file. An `opaque` artifact is read by nobody but the model's
//! scorer command.
//!
//! While it works it may append its learning curve to `progress.jsonl` beside the job file (see `progress`). The curve, the
//! `environment` (packages and their versions), and what the program took of time and memory are kept with the version.
//!
//! All three are plain files in the job's folder, which is empty at the start and removed in the end, and within the
//! command's `result_limit`. What the result says beside that is taken as far as it can be (see `result`).

mod progress;
mod result;

use super::{Sample, TrainedModel, Trainer, TrainingError, TrainingJob};
use crate::answers;
use crate::encoding::features_as;
use crate::job::{Job, JobError};
use crate::lifecycle::TrainingRecord;
use crate::plain_file;
use crate::process::{CommandSpec, Usage};
use crate::rows_file;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use result::TrainingResult;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use streams::error_chain::sentence;
use tokio_util::sync::CancellationToken;

/// Trains by running a program.
#[derive(Debug, Clone)]
pub struct CommandTrainer {
    /// The program.
    pub command: CommandSpec,
}

/// What a training is made of, and where its outcome goes.
#[derive(Serialize)]
struct Terms<'a> {
    training_rows: &'a Path,
    row_count: usize,
    parameters: &'a BTreeMap<String, String>,
    time_limit_seconds: u64,
    artifact: &'a Path,
    result: &'a Path,
}

/// Where a program leaves what it made.
struct Left<'a> {
    folder: &'a Path,
    artifact: &'a Path,
    result: &'a Path,
    /// The most bytes of one of its files.
    most: u64,
}

impl Trainer for CommandTrainer {
    fn train(&self, job: &TrainingJob<'_>, stop: &CancellationToken) -> Result<TrainedModel, TrainingError> {
        let directory = std::path::absolute(job.work_directory);
        let directory = directory.map_err(|source| JobError::io(job.work_directory, source))?;
        let rows = directory.join("training_rows.parquet");
        let artifact = directory.join("artifact");
        let result = directory.join("result.json");
        rows_file::write(&rows, job.rows).map_err(JobError::from)?;
        let particulars = Terms {
            training_rows: &rows,
            row_count: job.rows.num_rows(),
            parameters: job.parameters,
            time_limit_seconds: self.command.time_limit.as_secs(),
            artifact: &artifact,
            result: &result,
        };
        let TrainingJob { model, version, schema, .. } = *job;
        let usage = Job { kind: "train", model, version, schema, particulars }.run(&self.command, &directory, stop)?;
        let most = self.command.most_result_bytes;
        Left { folder: &directory, artifact: &artifact, result: &result, most }.collect(job, usage)
    }
}

impl Left<'_> {
    fn collect(&self, job: &TrainingJob<'_>, usage: Usage) -> Result<TrainedModel, TrainingError> {
        let result = result::parse(&self.read(self.result, self.most.min(result::MOST_BYTES))?);
        let TrainingResult { artifact_format: format, metrics, parameters, code_revision, sample, environment } =
            result.map_err(|reason| unusable(self.result, reason))?;
        let bytes = self.read(self.artifact, self.most)?;
        if bytes.is_empty() {
            return Err(unusable(self.artifact, "it is empty".to_owned()));
        }
        let sample = sample.map(|sample| self.sample(job.schema, &self.folder.join(sample))).transpose()?;
        let mut used = job.parameters.clone();
        used.extend(parameters);
        let record = Some(self.record(usage, environment));
        let artifact = Bytes::from(bytes);
        Ok(TrainedModel { artifact, format, metrics, parameters: used, code_revision, sample, record })
    }

    fn record(&self, usage: Usage, environment: Vec<String>) -> TrainingRecord {
        let told = plain_file::read(self.folder, &self.folder.join(progress::FILE), progress::MOST_BYTES);
        TrainingRecord {
            seconds: usage.wall.as_secs_f64(),
            processor_seconds: usage.processor.map(|processor| processor.as_secs_f64()),
            peak_memory_bytes: usage.peak_memory,
            // Most programs tell nothing.
            curve: told.map(|told| progress::parse(&told)).unwrap_or_default(),
            environment,
        }
    }

    fn sample(&self, schema: &ModelSchema, path: &Path) -> Result<Sample, TrainingError> {
        let batch = rows_file::read(self.folder, path, self.most);
        let batch = batch.map_err(|error| unusable(path, sentence(&error)))?;
        if batch.num_rows() == 0 {
            return Err(unusable(path, "the sample has no rows".to_owned()));
        }
        let rows = features_as(schema, &batch)?;
        let answers = answers::from_columns(&schema.task, &batch, batch.num_rows())?;
        Ok(Sample { rows, answers })
    }

    fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, TrainingError> {
        plain_file::read(self.folder, path, most).map_err(|error| unusable(path, error.to_string()))
    }
}

fn unusable(path: &Path, reason: String) -> TrainingError {
    TrainingError::Result { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
