//! How far a driftline's stages have come, seen from outside its process: the log's file is read beside it.

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// A look at what is committed.
pub struct Progress {
    log: Connection,
}

impl Progress {
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let file = directory.join("driftline.db");
        let log = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("opening {}", file.display()))?;
        log.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self { log })
    }

    /// The records that the stages have read and committed, each counted once for every stage that reads it. Never falls.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn committed(&self) -> Result<i64> {
        Ok(self.log.query_row("SELECT COALESCE(SUM(next_offset), 0) FROM progress", [], |row| row.get(0))?)
    }
}
