//! What an archiving epoch says on the `archived` topic: which offsets it covers and which files hold their rows.
//!
//! Only files that a committed record names are part of the archive. A compaction names the files that it replaces.

use crate::log::{Offset, PartitionId};
use serde::{Deserialize, Serialize};

/// One committed change of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The offsets whose rows the files hold; empty for a compaction or a deletion.
    pub ranges: Vec<ArchivedRange>,
    /// Files that are new.
    pub files: Vec<ArchivedFile>,
    /// Paths of files that are no longer part of the archive.
    pub replaced: Vec<String>,
}

/// Offsets of one input partition, `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedRange {
    /// Input topic.
    pub topic: String,
    /// Input partition.
    pub partition: PartitionId,
    /// The first offset.
    pub from: Offset,
    /// One past the last offset.
    pub to: Offset,
}

/// A Parquet file of the archive: rows of one topic, model and day, in log order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Path in the object store.
    pub path: String,
    /// Input topic of its rows.
    pub topic: String,
    /// Model of its rows.
    pub model: String,
    /// Day (UTC) of its rows' event time, as days since the epoch.
    pub day: i64,
    /// How many rows.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Earliest event time.
    pub min_time_ms: i64,
    /// Latest event time.
    pub max_time_ms: i64,
}
