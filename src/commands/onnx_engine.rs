//! `driftline onnx-engine`, which no person calls: the child in which ONNX Runtime answers for one version.

use crate::cli::{Exit, OnnxEngineArgs};
use anyhow::Result;
use retrain::scorer::onnx::{EngineArguments, serve};

/// Answers until standard input ends.
///
/// # Errors
/// The artifact cannot be loaded, or does not answer.
pub(super) fn onnx_engine(args: OnnxEngineArgs) -> Result<Exit> {
    let OnnxEngineArgs { libraries, memory, job } = args;
    serve(&EngineArguments { libraries, memory, job })?;
    Ok(Exit::Done)
}
