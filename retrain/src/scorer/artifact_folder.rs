//! The artifact as a file, for a program that answers with it.

use crate::job::JobError;
use std::path::PathBuf;
use tempfile::TempDir;

/// A temporary folder with an artifact in it, removed when this is dropped.
#[derive(Debug)]
pub(super) struct ArtifactFolder {
    pub(super) directory: TempDir,
    /// The artifact's file.
    pub(super) artifact: PathBuf,
}

impl ArtifactFolder {
    /// Writes the artifact into a new folder.
    pub(super) fn new(artifact: &[u8]) -> Result<Self, JobError> {
        let temporary = std::env::temp_dir();
        let directory = tempfile::Builder::new()
            .prefix("driftline-score-")
            .tempdir_in(&temporary)
            .map_err(|source| JobError::io(&temporary, source))?;
        let path = directory.path().join("artifact");
        std::fs::write(&path, artifact).map_err(|source| JobError::io(&path, source))?;
        Ok(Self { directory, artifact: path })
    }
}
