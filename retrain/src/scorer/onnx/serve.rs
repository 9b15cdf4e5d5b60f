//! The child's side: loads ONNX Runtime and an artifact within limits, and answers until its input ends.

use super::OnnxScorer;
use crate::process::limits;
use crate::scorer::protocol::{Request, ServeError, serve_with};
use crate::scorer::{Scorer, ScoringError};
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::path::PathBuf;
use streams::error_chain::sentence;

/// What the child is told on its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineArguments {
    /// Files of the library, the most wanted first.
    pub libraries: Vec<PathBuf>,
    /// Bytes of memory that it may take.
    pub memory: u64,
    /// The job file.
    pub job: PathBuf,
}

/// Answers on standard input and output until the input ends.
///
/// # Errors
/// The artifact cannot be loaded, which is also said in the protocol, or does not answer a batch.
pub fn serve(arguments: &EngineArguments) -> Result<(), ServeError> {
    let limited = limits::hold_at_most(arguments.memory);
    limited.map_err(|source| ServeError::Streams { doing: "taking on its limits", source })?;
    let load = |request: &Request| -> Result<Box<dyn Scorer>, ScoringError> {
        let engine = open(&arguments.libraries)?;
        // The library may write while it is loaded; an artifact has no business with files.
        limits::write_no_file().map_err(|source| ScoringError::Engine {
            reason: format!("the engine's process cannot take on its limits: {source}"),
        })?;
        let artifact = std::fs::read(&request.artifact).map_err(|source| ScoringError::Engine {
            reason: format!("{} cannot be read: {source}", request.artifact.display()),
        })?;
        Ok(Box::new(OnnxScorer::load(&engine, &artifact, &request.schema)?))
    };
    serve_with(&arguments.job, load, (std::io::stdin().lock(), std::io::stdout().lock()))
}

/// The first library that can be loaded, ready to work.
pub(crate) fn open(libraries: &[PathBuf]) -> Result<Environment, ScoringError> {
    let mut reasons = Vec::new();
    for library in libraries {
        match ort::init_from(library) {
            Ok(found) => {
                let engine = found.with_name("driftline").with_telemetry(false).build();
                let engine = engine.map_err(|error| ScoringError::Engine { reason: sentence(&error) })?;
                // What it would say comes back as an error too, without colours.
                engine.set_log_level(LogLevel::Fatal);
                return Ok(engine);
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(ScoringError::NoUsableRuntime { reason: reasons.join("; ") })
}
