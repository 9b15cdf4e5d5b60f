//! ONNX Runtime in a child process for each version: what it may take, and what is said where it fails.
//!
//! Builtin models, recalibrated or not, need none of it: [`crate::scorer::linear`] answers for them.

use super::library::{LOADER_VARIABLE, Library};
use crate::job::JobError;
use crate::process::{CommandSpec, ProcessError};
use crate::scorer::linear::LinearScorer;
use crate::scorer::standing::{StandingError, StandingScorer};
use crate::scorer::{ScoredVersion, Scorer, ScoringError};
use arrow::array::RecordBatch;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The hidden command of the binary that is the child.
pub const ENGINE_COMMAND: &str = "onnx-engine";

/// Has the library send nothing to its makers, and keep nothing for them in the home folder.
const SILENCE_VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
/// What the last line of a command that fails begins with.
const TOLD: &str = "driftline: ";
/// Last lines of what a child says that a failure quotes.
const LINES_KEPT: usize = 5;

/// What the child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxLimits {
    /// Bytes of memory, in addresses.
    pub memory: u64,
    /// Time to load a graph, and for each batch of rows.
    pub time: Duration,
}

impl Default for OnnxLimits {
    fn default() -> Self {
        Self { memory: 4 << 30, time: Duration::from_secs(60) }
    }
}

/// What answers for ONNX graphs.
#[derive(Debug)]
pub struct OnnxRuntime {
    /// The binary with the hidden command.
    program: PathBuf,
    library: Library,
    limits: OnnxLimits,
    /// What was found; looked for again until something is.
    found: Mutex<Vec<PathBuf>>,
}

impl OnnxRuntime {
    /// An engine in children of this program, which understands `onnx-engine`.
    pub fn new(program: PathBuf, library: Library, limits: OnnxLimits) -> Self {
        Self { program, library, limits, found: Mutex::default() }
    }

    /// What answers for a version: its own numbers if it is a linear model of the builtin trainer, else a child.
    ///
    /// # Errors
    /// No library was found, or the child refuses the artifact.
    pub fn scorer(
        &self,
        version: ScoredVersion,
        artifact: &[u8],
        stop: &CancellationToken,
    ) -> Result<Box<dyn Scorer>, ScoringError> {
        if let Some(linear) = LinearScorer::read(artifact, &version.schema)? {
            return Ok(Box::new(linear));
        }
        let command = self.command()?;
        let scorer = StandingScorer::new(command, version, artifact, stop.clone())?;
        let mut child = OnnxChild { scorer, limits: self.limits };
        child.scorer.start().map_err(|error| child.told(error))?;
        Ok(Box::new(child))
    }

    fn command(&self) -> Result<CommandSpec, ScoringError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            *found = self.library.candidates();
        }
        if found.is_empty() {
            return Err(ScoringError::NoRuntime);
        }
        let libraries = found.iter().flat_map(|library| ["--library".to_owned(), library.display().to_string()]);
        let arguments = [ENGINE_COMMAND.to_owned(), "--memory".to_owned(), self.limits.memory.to_string()];
        let loader = std::env::var(LOADER_VARIABLE).ok().map(|loader| (LOADER_VARIABLE.to_owned(), loader));
        let silence = (SILENCE_VARIABLE.to_owned(), "1".to_owned());
        Ok(CommandSpec {
            program: self.program.clone(),
            arguments: arguments.into_iter().chain(libraries).collect(),
            environment: loader.into_iter().chain([silence]).collect(),
            time_limit: self.limits.time,
            output_lines_kept: LINES_KEPT,
            most_result_bytes: self.limits.memory,
            ..CommandSpec::default()
        })
    }
}

/// A child that answers for one version.
struct OnnxChild {
    scorer: StandingScorer,
    limits: OnnxLimits,
}

impl OnnxChild {
    /// What went wrong, in terms of the engine.
    fn told(&self, error: StandingError) -> ScoringError {
        match error {
            StandingError::Refused { reason, .. } => ScoringError::Engine { reason },
            // A child that tells why it ends is well.
            StandingError::Job(JobError::Process(ProcessError::Failed { code: Some(1), output, .. })) => {
                let from = output.lines.iter().rposition(|line| line.starts_with(TOLD)).unwrap_or(0);
                let told = output.lines.iter().skip(from).cloned().collect::<Vec<_>>().join(" ");
                ScoringError::Engine { reason: told.trim_start_matches(TOLD).to_owned() }
            }
            StandingError::Rows(error) => error.into(),
            StandingError::Answers(error) => error.into(),
            error => ScoringError::EngineEnded {
                source: Box::new(error.of("ONNX Runtime's process")),
                memory: self.limits.memory >> 20,
            },
        }
    }
}

impl Scorer for OnnxChild {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        self.scorer.ask(rows).map_err(|error| self.told(error))
    }
}
