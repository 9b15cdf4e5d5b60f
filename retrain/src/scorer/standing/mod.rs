//! A program that stays up and answers for one version, in the terms of [`super::protocol`].
//!
//! It is started with the first rows, asked batch after batch, and ended with the scorer. One that has ended since it answered
//! last is started anew and asked again, once. One that fails over a batch, or takes longer than its limit, has failed that
//! batch; after [`MOST_FAILURES`] in a row nothing more is asked of this version.

use super::artifact_folder::ArtifactFolder;
use super::protocol::{Heard, PROTOCOL, listen};
use super::{ScoredVersion, Scorer, ScoringError};
use crate::answers::{self, AnswerError};
use crate::encoding::{EncodingError, features_as};
use crate::job::{Job, JobError};
use crate::process::{CommandSpec, ProcessError, StandingProgram};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use codec::columns::arrow_type;
use detectors::schema::{ColumnSchema, ModelSchema};
use serde::Serialize;
use std::io::{BufWriter, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Rows that are asked at once: few enough for a time limit to mean something, and many enough to cost little each.
const ROWS_AT_ONCE: usize = 8_192;

/// Failures in a row after which a version is given up.
pub const MOST_FAILURES: u32 = 3;

/// Why a program does not answer.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// It says that it will never answer for this artifact.
    #[error("{program} refuses the artifact: {reason}", program = program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// Why, in its words.
        reason: String,
    },
    /// What it writes is not the protocol.
    #[error(
        "what {program} writes to standard output is not the protocol of a scorer that stays up: {reason}; print to standard \
         error instead",
        program = program.display()
    )]
    Garbled {
        /// The program.
        program: PathBuf,
        /// What came instead.
        reason: String,
    },
    /// It was given up.
    #[error("{program} has failed {failures} times in a row and is not asked again for this version", program = program.display())]
    GivenUp {
        /// The program.
        program: PathBuf,
        /// How often.
        failures: u32,
    },
    /// It ended, took too long, or could not be started.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The rows lack a feature.
    #[error(transparent)]
    Rows(#[from] EncodingError),
    /// Its answers cannot be used.
    #[error(transparent)]
    Answers(#[from] AnswerError),
}

impl StandingError {
    /// The same of a program by another name.
    pub(super) fn of(mut self, name: &str) -> Self {
        match &mut self {
            Self::Refused { program, .. } | Self::Garbled { program, .. } | Self::GivenUp { program, .. } => {
                *program = name.into();
            }
            Self::Job(JobError::Process(error)) => error.rename(name),
            Self::Job(_) | Self::Rows(_) | Self::Answers(_) => {}
        }
        self
    }
}

impl From<ProcessError> for StandingError {
    fn from(error: ProcessError) -> Self {
        Self::Job(error.into())
    }
}

/// Asks a program that stays up.
#[derive(Debug)]
pub struct StandingScorer {
    command: CommandSpec,
    of: ScoredVersion,
    stop: CancellationToken,
    /// The program, where it is up.
    up: Option<Conversation>,
    failures: u32,
    /// The job file.
    job: PathBuf,
    /// Holds the artifact and the job file; removed with the scorer.
    _directory: TempDir,
}

/// A program and both ways to it.
#[derive(Debug)]
struct Conversation {
    program: StandingProgram,
    rows: SyncSender<RecordBatch>,
    heard: Receiver<Heard>,
    has_answered: bool,
}

#[derive(Serialize)]
struct Terms<'a> {
    protocol: u32,
    artifact: &'a Path,
}

impl StandingScorer {
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
        let ArtifactFolder { directory, artifact: path } = ArtifactFolder::new(artifact)?;
        let particulars = Terms { protocol: PROTOCOL, artifact: &path };
        let job = Job { kind: "score", model: &of.model, version: &of.version, schema: &of.schema, particulars };
        let job = job.write(directory.path())?;
        Ok(Self { command, of, stop, up: None, failures: 0, job, _directory: directory })
    }

    /// Starts the program, if it is not up, and waits until it can answer.
    ///
    /// # Errors
    /// It refuses the artifact, or fails before it is ready.
    pub fn start(&mut self) -> Result<(), StandingError> {
        if self.failures >= MOST_FAILURES {
            return Err(StandingError::GivenUp { program: self.command.program.clone(), failures: self.failures });
        }
        if self.up.is_some() {
            return Ok(());
        }
        let begun = self.begin();
        self.counted(begun).map(|conversation| self.up = Some(conversation))
    }

    fn begin(&self) -> Result<Conversation, StandingError> {
        let (program, ends) = StandingProgram::start(&self.command, &self.job)?;
        let (rows, to_write) = sync_channel::<RecordBatch>(1);
        let (say, heard) = sync_channel(1);
        let schema = rows_schema(&self.of.schema);
        let most = self.command.most_result_bytes;
        let io = |source| StandingError::Job(JobError::io(&self.job, source));
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        named("rows").spawn(move || write_rows(ends.orders, &schema, &to_write)).map_err(io)?;
        named("answers").spawn(move || listen(ends.said, most, |heard| say.send(heard).is_ok())).map_err(io)?;
        let mut conversation = Conversation { program, rows, heard, has_answered: false };
        match conversation.program.hear(&conversation.heard, &self.stop)? {
            Heard::Ready => Ok(conversation),
            other => Err(self.unexpected(other)),
        }
    }

    fn unexpected(&self, heard: Heard) -> StandingError {
        let program = self.command.program.clone();
        match heard {
            Heard::Refused(reason) => StandingError::Refused { program, reason },
            Heard::Garbled(reason) => StandingError::Garbled { program, reason },
            Heard::Ready | Heard::Answers(_) => {
                StandingError::Garbled { program, reason: "answers came that nothing had asked for".to_owned() }
            }
        }
    }

    /// The program's answers to these rows.
    ///
    /// # Errors
    /// It refuses the artifact, fails, takes too long, or gives answers that cannot be used.
    pub fn ask(&mut self, rows: &RecordBatch) -> Result<RecordBatch, StandingError> {
        let features = features_as(&self.of.schema, rows)?;
        let schema = answers::answer_schema(&self.of.schema.task);
        let mut answers = vec![RecordBatch::new_empty(schema.clone())];
        for from in (0..features.num_rows()).step_by(ROWS_AT_ONCE) {
            let some = features.slice(from, ROWS_AT_ONCE.min(features.num_rows() - from));
            let found = self.ask_once_more(&some)?;
            answers.push(answers::from_columns(&self.of.schema.task, &found, some.num_rows())?);
        }
        Ok(concat_batches(&schema, &answers).map_err(AnswerError::from)?)
    }

    /// Asks, and again where the program turns out to have ended since it answered last.
    fn ask_once_more(&mut self, rows: &RecordBatch) -> Result<RecordBatch, StandingError> {
        let has_answered = self.up.as_ref().is_some_and(|conversation| conversation.has_answered);
        match self.ask_one(rows) {
            Err(StandingError::Job(JobError::Process(ProcessError::Failed { .. }))) if has_answered => {
                self.ask_one(rows)
            }
            result => result,
        }
    }

    fn ask_one(&mut self, rows: &RecordBatch) -> Result<RecordBatch, StandingError> {
        self.start()?;
        // One that fails is not asked again.
        let Some(mut conversation) = self.up.take() else {
            return Err(self.unexpected(Heard::Ready));
        };
        // Where nobody takes the rows the program has ended; how is told next.
        let _ = conversation.rows.send(rows.clone());
        let heard = conversation.program.hear(&conversation.heard, &self.stop).map_err(StandingError::from);
        match self.counted(heard)? {
            Heard::Answers(answers) => {
                self.failures = 0;
                conversation.has_answered = true;
                self.up = Some(conversation);
                Ok(answers)
            }
            other => {
                self.failures += 1;
                Err(self.unexpected(other))
            }
        }
    }

    fn counted<T>(&mut self, result: Result<T, StandingError>) -> Result<T, StandingError> {
        if result.is_err() && !self.stop.is_cancelled() {
            self.failures += 1;
        }
        result
    }
}

impl Scorer for StandingScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        Ok(self.ask(rows)?)
    }
}

fn rows_schema(schema: &ModelSchema) -> Schema {
    let field = |feature: &ColumnSchema| Field::new(&feature.name, arrow_type(feature.kind), true);
    Schema::new(schema.features().map(field).collect::<Vec<_>>())
}

/// Writes batches as they come; ends with the scorer, or with a program that no longer reads.
fn write_rows(orders: PipeWriter, schema: &Schema, rows: &Receiver<RecordBatch>) {
    let Ok(mut writer) = StreamWriter::try_new(BufWriter::with_capacity(256 << 10, orders), schema) else { return };
    if writer.flush().is_err() {
        return;
    }
    for batch in rows {
        if writer.write(&batch).and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
    // A program that ends before its input does is told by how it ends.
    let _ = writer.finish();
}

#[cfg(test)]
mod tests;
