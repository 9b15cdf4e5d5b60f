//! What an archiving epoch says on the `archived` topic: which offsets it covers and which files hold their rows.
//!
//! Only files that a committed record names are part of the archive. A compaction names the files that it replaces.
//!
//! Capture rebuilds its state from the archive where the topics have forgotten what it waits for, so a record tells besides
//! the rows whatever else of the offsets changes that state: control records. Bad rows are told nowhere, because they move
//! no watermark and join nothing; what they cost was counted when they were read for the first time.

use serde::{Deserialize, Serialize};
use streams::control::Control;
use streams::log::{Offset, PartitionId};

/// One committed change of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The offsets whose rows the files hold; empty for a compaction or a deletion.
    pub ranges: Vec<ArchivedRange>,
    /// Files that are new.
    pub files: Vec<ArchivedFile>,
    /// Paths of files that are no longer part of the archive.
    pub replaced: Vec<String>,
    /// What sources said of their event time within the ranges; `None` in a record that was written before this was
    /// archived, whose ranges tell no whole story.
    #[serde(default)]
    pub controls: Option<Vec<ArchivedControl>>,
    /// Offsets some of whose rows are gone for good with the files that were replaced.
    #[serde(default)]
    pub expired: Vec<ArchivedRange>,
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

/// What a source said of its partition's event time.
///
/// Of several that follow each other with nothing between, that with the latest time stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedControl {
    /// Input topic.
    pub topic: String,
    /// Input partition.
    pub partition: PartitionId,
    /// Offset of the control record.
    pub offset: Offset,
    /// What it says.
    pub control: Control,
}

/// Offsets of one partition between which rows of a file lie, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetSpan {
    /// The partition.
    pub partition: PartitionId,
    /// The offset of its first row.
    pub from: Offset,
    /// One past the offset of its last row.
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
    /// Where its rows lie in each partition.
    #[serde(default)]
    pub offsets: Vec<OffsetSpan>,
}

impl ArchivedFile {
    /// Where its rows lie in a partition; `None` where it has none of it.
    pub fn span(&self, partition: PartitionId) -> Option<OffsetSpan> {
        self.offsets.iter().copied().find(|span| span.partition == partition)
    }

    /// The ranges of offsets between which its rows lie.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = ArchivedRange> {
        let range = |span: &OffsetSpan| ArchivedRange {
            topic: self.topic.clone(),
            partition: span.partition,
            from: span.from,
            to: span.to,
        };
        self.offsets.iter().map(range)
    }
}
