//! `onnxruntime`: the library that answers for models that are not builtin, and what its processes may take.

use super::error::{Validated, out_of_range, positive, refuse};
use super::quantity::{ByteSize, Span};
use retrain::scorer::onnx::OnnxLimits;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The library itself takes some two hundred megabytes of addresses.
const LEAST_MEMORY: u64 = 512 << 20;

/// ONNX Runtime, as the configuration describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnnxRuntimeConfig {
    /// The library's file; without it, it is looked for.
    pub library: Option<PathBuf>,
    /// What a version's process may take.
    pub limits: OnnxLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOnnxRuntime {
    /// The library's file.
    library: Option<PathBuf>,
    /// Memory that the process of a version may take.
    memory: Option<ByteSize>,
    /// How long loading a graph may take, and answering a batch.
    time_limit: Option<Span>,
}

pub(super) fn onnxruntime(raw: RawOnnxRuntime, folder: &Path) -> Validated<OnnxRuntimeConfig> {
    let mut limits = OnnxLimits::default();
    if let Some(ByteSize(memory)) = raw.memory {
        if memory < LEAST_MEMORY {
            return refuse("onnxruntime.memory", out_of_range("at least 512MiB", memory));
        }
        limits.memory = memory;
    }
    if let Some(limit) = raw.time_limit {
        limits.time = positive("onnxruntime.time_limit", limit.0)?;
    }
    Ok(OnnxRuntimeConfig { library: raw.library.map(|library| folder.join(library)), limits })
}
