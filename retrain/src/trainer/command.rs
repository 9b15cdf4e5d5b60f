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
//!   "code_revision": "4f2a91c", "sample": "/…/sample.parquet"
//! }
//! ```
//!
//! Only `artifact_format` (`onnx` or `opaque`) is required, and for ONNX the `sample`: a Parquet file with the features of
//! some training rows and the program's own answers to them, in the schema's output columns (`prediction`, and `score` or
//! `score.<class>`). Relative paths are relative to the job file. An `opaque` artifact is read by nobody but the model's
//! scorer command.

use super::{Sample, TrainedModel, Trainer, TrainingError, TrainingJob};
use crate::answers;
use crate::encoding::features_as;
use crate::job::{Job, JobError};
use crate::lifecycle::ArtifactFormat;
use crate::process::CommandSpec;
use crate::rows_file;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultFile {
    artifact_format: ArtifactFormat,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    code_revision: Option<String>,
    sample: Option<PathBuf>,
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
        Job { kind: "train", model, version, schema, particulars }.run(&self.command, &directory, stop)?;
        collect(job, &artifact, &result)
    }
}

/// What the program left behind.
fn collect(job: &TrainingJob<'_>, artifact: &Path, result: &Path) -> Result<TrainedModel, TrainingError> {
    let ResultFile { artifact_format, metrics, parameters, code_revision, sample } =
        serde_json::from_slice(&read(result)?).map_err(|error| unusable(result, error.to_string()))?;
    let bytes = read(artifact)?;
    if bytes.is_empty() {
        return Err(unusable(artifact, "it is empty".to_owned()));
    }
    let sample = sample.map(|sample| read_sample(job.schema, &result.with_file_name(sample))).transpose()?;
    let mut used = job.parameters.clone();
    used.extend(parameters);
    let format = artifact_format;
    Ok(TrainedModel { artifact: Bytes::from(bytes), format, metrics, parameters: used, code_revision, sample })
}

fn read_sample(schema: &ModelSchema, path: &Path) -> Result<Sample, TrainingError> {
    let batch = rows_file::read(path).map_err(JobError::from)?;
    if batch.num_rows() == 0 {
        return Err(unusable(path, "the sample has no rows".to_owned()));
    }
    let rows = features_as(schema, &batch)?;
    let answers = answers::from_columns(&schema.task, &batch, batch.num_rows())?;
    Ok(Sample { rows, answers })
}

fn read(path: &Path) -> Result<Vec<u8>, TrainingError> {
    std::fs::read(path).map_err(|error| unusable(path, format!("it cannot be read: {error}")))
}

fn unusable(path: &Path, reason: String) -> TrainingError {
    TrainingError::Result { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
