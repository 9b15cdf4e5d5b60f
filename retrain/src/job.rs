//! What programs that train and programs that answer have in common: the job file they are given, and how it can go wrong.
//!
//! The file's format version is [`FORMAT`]; what stands in it beside the members of a job is the affair of who asks.

use crate::process::{self, CommandSpec, ProcessError, Usage};
use crate::rows_file::RowsFileError;
use detectors::schema::ModelSchema;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Version of the job file.
pub const FORMAT: u32 = 1;

/// What a program is asked.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Job<'a, Particulars> {
    /// `train` or `score`.
    pub(crate) kind: &'static str,
    pub(crate) model: &'a str,
    pub(crate) version: &'a str,
    pub(crate) schema: &'a ModelSchema,
    #[serde(flatten)]
    pub(crate) particulars: Particulars,
}

#[derive(Serialize)]
struct JobFile<'a, Particulars> {
    format: u32,
    #[serde(flatten)]
    job: &'a Job<'a, Particulars>,
}

/// Why a program could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of rows.
    #[error(transparent)]
    RowsFile(#[from] RowsFileError),
    /// A file of the work directory.
    #[error("{path} cannot be written", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl JobError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl<Particulars: Serialize> Job<'_, Particulars> {
    /// Writes the job file into a directory and runs the program on it; gives what it took.
    ///
    /// # Errors
    /// The file cannot be written, or the program failed, took too long or was stopped.
    pub(crate) fn run(
        &self,
        command: &CommandSpec,
        directory: &Path,
        stop: &CancellationToken,
    ) -> Result<Usage, JobError> {
        Ok(process::run(command, &self.write(directory)?, stop)?)
    }

    /// Writes the job file into a directory; gives its path, which is the same for each job.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> Result<PathBuf, JobError> {
        let path = directory.join("job.json");
        let json = serde_json::to_vec_pretty(&JobFile { format: FORMAT, job: self }).map_err(io::Error::from);
        json.and_then(|json| std::fs::write(&path, json)).map_err(|source| JobError::io(&path, source))?;
        Ok(path)
    }
}
