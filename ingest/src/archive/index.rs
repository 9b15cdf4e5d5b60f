//! The archive's table of contents: the fold of the `archived` topic.

use super::record::{Archived, ArchivedFile};
use crate::log::{Log, LogError, Offset, PartitionId, ReadBudget};
use crate::topics;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why the archive's contents cannot be told.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record that is not one of an archive.
    #[error("archived offset {offset}: {source}")]
    Unreadable {
        /// Its offset.
        offset: Offset,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Which files are in the archive, and up to which offsets.
#[derive(Debug, Clone, Default)]
pub struct ArchiveIndex {
    files: BTreeMap<String, ArchivedFile>,
    ends: BTreeMap<(String, PartitionId), Offset>,
    next: Offset,
}

impl ArchiveIndex {
    /// Reads what has been committed since the last call.
    ///
    /// # Errors
    /// When the log fails or holds a record that cannot be read.
    pub fn refresh(&mut self, log: &dyn Log) -> Result<(), IndexError> {
        loop {
            let records = log.read(topics::ARCHIVED, 0, self.next, ReadBudget { records: 1_000, bytes: 8 << 20 })?;
            let Some(last) = records.last() else { return Ok(()) };
            self.next = last.offset + 1;
            for record in &records {
                let Some(value) = &record.value else { continue };
                let archived = serde_json::from_slice(value)
                    .map_err(|source| IndexError::Unreadable { offset: record.offset, source })?;
                self.apply(archived);
            }
        }
    }

    fn apply(&mut self, archived: Archived) {
        for path in &archived.replaced {
            self.files.remove(path);
        }
        for range in archived.ranges {
            self.ends.insert((range.topic, range.partition), range.to);
        }
        self.files.extend(archived.files.into_iter().map(|file| (file.path.clone(), file)));
    }

    /// The files of a topic and model that may hold rows of `[from_ms, until_ms)`, by path.
    pub fn files(&self, topic: &str, model: &str, from_ms: i64, until_ms: i64) -> impl Iterator<Item = &ArchivedFile> {
        self.files.values().filter(move |file| {
            file.topic == topic && file.model == model && file.max_time_ms >= from_ms && file.min_time_ms < until_ms
        })
    }

    /// Every file, by path.
    pub fn all(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.files.values()
    }

    /// The offset up to which a partition is archived.
    pub fn end(&self, topic: &str, partition: PartitionId) -> Offset {
        self.ends.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }
}
