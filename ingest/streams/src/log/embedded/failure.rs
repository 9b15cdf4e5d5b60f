//! What SQLite and the file system report, in the log's own words.

use crate::log::LogError;
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Where a log lies, for messages that name it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// The log's directory.
    pub(super) directory: PathBuf,
    /// The log's file within it.
    pub(super) file: PathBuf,
}

impl Site {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), file: directory.join("driftline.db") }
    }

    /// The write-ahead file that SQLite keeps beside the log's.
    pub(super) fn wal(&self) -> PathBuf {
        self.directory.join("driftline.db-wal")
    }

    /// The log must not be used, for this reason.
    pub(super) fn unusable(&self, reason: impl Into<String>) -> LogError {
        LogError::Unusable { file: self.file.clone(), reason: reason.into() }
    }

    /// What SQLite reported while `doing`.
    pub(super) fn sqlite(&self, doing: &str, error: rusqlite::Error) -> LogError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LogError::DiskFull { directory: self.directory.clone() },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                self.unusable(format!("damaged, found while {doing}: {error}"))
            }
            _ => self.storage(doing, error),
        }
    }

    /// What the file system reported while `doing`.
    pub(super) fn io(&self, doing: &str, error: std::io::Error) -> LogError {
        match error.kind() {
            std::io::ErrorKind::StorageFull => LogError::DiskFull { directory: self.directory.clone() },
            _ => self.storage(doing, error),
        }
    }

    /// Anything else that went wrong while `doing`.
    pub(super) fn storage(&self, doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LogError {
        LogError::Storage { doing: format!("{doing} in {}", self.directory.display()), source: source.into() }
    }
}
