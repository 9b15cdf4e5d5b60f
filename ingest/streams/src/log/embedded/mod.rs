//! The embedded log: topics in one SQLite file, for one process.
//!
//! ```text
//!  append, commit ──► bounded queue ──► writer thread ──► one transaction for all that waits ──► driftline.db (WAL)
//!  read ──► a read-only connection of its own ─────────────────────────────────────────────────┘
//! ```
//!
//! - **Durable.** A call returns when its transaction is on the disk ([`Durability::Full`], the default). Calls that wait at
//!   the same time share one fsync; each has a savepoint of its own, so that one that fails does not fail its neighbours.
//! - **Dense.** A record's row id is its partition and its offset, so a range read is a walk along the tree. Offsets have no
//!   holes, grow by one, and are never used again, also when retention has deleted every record of a partition.
//! - **Committed only.** What a partition holds is published after its transaction; a reader never looks beyond that, nor
//!   does it wait for a transaction.
//! - **One process.** `driftline.lock` is locked while the log is open and names its process. It also remembers whether the
//!   last use ended in order: if it did not, the file is checked before it is used.
//! - **No silent new start.** A file that is damaged, foreign, newer than this program, or gone is an error, and so is one that
//!   lacks records which were acknowledged.
//!
//! Deliberately absent: compaction by key (topics here are small or have retention), giving space back to the file system
//! (deleted pages are used again), and checksums over values (the file system's business; damage to structure is found).

mod acknowledged;
mod catalogue;
mod directory;
mod failure;
mod follower;
mod reader;
mod retention;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use super::{
    Committed, Log, LogError, LogReader, NewRecord, Offset, OffsetRange, PartitionId, ReadBudget, Record, Retention,
    TopicSpec, Transaction,
};
use acknowledged::Note;
use bytes::Bytes;
use catalogue::{Partition, Published};
use directory::Directory;
use failure::Site;
use follower::Follower;
use reader::Readers;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use writer::{Pen, Work, Writer};

/// Where the time of an append comes from, in milliseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What survives what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A call that returned survives a power cut.
    #[default]
    Full,
    /// Survives a killed process; a power cut may cost the last seconds, never the order.
    Normal,
    /// Survives a killed process; a power cut may damage the file. For tests and for replays that can be repeated.
    Off,
}

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// What survives what.
    pub synchronous: Durability,
    /// Largest size in bytes of the write-ahead file; beyond it the writer waits for readers and folds it in.
    pub wal_bytes: u64,
    /// Largest size in bytes of the log; beyond it appends fail with [`LogError::DiskFull`]. `None`: what the disk holds.
    pub max_bytes: Option<u64>,
    /// Where the time of an append comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Durability::default(),
            wal_bytes: 256 << 20,
            max_bytes: None,
            clock: Arc::new(system_time_ms),
        }
    }
}

/// A log in a directory, open in this process alone.
pub struct EmbeddedLog {
    // Fields are dropped in this order: readers close first, so that the writer's connection is the last one and folds the
    // write-ahead file in; only then is the directory let go.
    readers: Readers,
    writer: Writer,
    published: Arc<Published>,
    directory: Directory,
}

impl EmbeddedLog {
    /// Whether there is a log in `directory`.
    pub fn is_in(directory: &Path) -> bool {
        directory.join("driftline.db").exists()
    }

    /// Opens the log in `directory`, or creates it where there has never been one.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process, or this one, has it open; [`LogError::Unusable`] when what is there is
    /// damaged, foreign, or newer than this program; [`LogError::Storage`] when the file system refuses.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<Arc<Self>, LogError> {
        let mut directory = Directory::lock(directory.as_ref())?;
        let connection = directory.open_log(&options)?;
        let site = directory.site().clone();
        let catalogue = catalogue::load(&connection, &site)?;
        let connection = directory.with_all_acknowledged(connection, catalogue.records(), options.synchronous)?;
        directory.mark_open()?;
        let published = Arc::new(Published::new(catalogue.clone()));
        let mut note = Note::open(&site)?;
        note.note(catalogue.records());
        let pen = Pen { connection, catalogue, published: Arc::clone(&published), note, site: site.clone(), options };
        let writer = Writer::start(pen)?;
        Ok(Arc::new(Self { readers: Readers::new(site, Arc::clone(&published)), writer, published, directory }))
    }

    /// The directory it lies in.
    pub fn directory(&self) -> &Path {
        &self.directory.site().directory
    }

    fn site(&self) -> &Site {
        self.directory.site()
    }

    fn partition(&self, topic: &str, partition: PartitionId) -> Result<Partition, LogError> {
        self.published.catalogue().partition(topic, partition)
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // A crash from here on leaves a file that is complete without its write-ahead file, so the next open must not miss it.
        self.directory.mark_closing();
        self.readers.close();
        if self.writer.stop() {
            self.directory.mark_closed();
        }
    }
}

impl Log for EmbeddedLog {
    fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), LogError> {
        if self.published.catalogue().topic(&topic.name).is_some_and(|found| found.agrees_with(topic)) {
            return Ok(());
        }
        self.writer.perform(Work::EnsureTopic(topic.clone()))
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let catalogue = self.published.catalogue();
        let found = catalogue.topic(topic);
        found
            .map(|topic| topic.count())
            .ok_or_else(|| LogError::NoSuchPartition { topic: topic.to_owned(), partition: 0 })
    }

    fn retention(&self, topic: &str) -> Result<Retention, LogError> {
        let catalogue = self.published.catalogue();
        let found = catalogue.topic(topic);
        found
            .map(|topic| topic.retention)
            .ok_or_else(|| LogError::NoSuchPartition { topic: topic.to_owned(), partition: 0 })
    }

    fn append(&self, records: &[NewRecord]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        self.writer.perform(Work::Append(records.to_vec()))
    }

    fn read(
        &self,
        topic: &str,
        partition: PartitionId,
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Vec<Record>, LogError> {
        let held = self.partition(topic, partition)?;
        let expired = |first| LogError::Expired { topic: topic.to_owned(), partition, wanted: from, first };
        if from < held.first {
            return Err(expired(held.first));
        }
        if from >= held.end {
            return Ok(Vec::new());
        }
        let records = self.readers.with(|connection| reader::records(connection, &held, from, budget))?;
        if records.first().is_some_and(|record| record.offset == from) {
            return Ok(records);
        }
        // Retention ran between the two looks; nothing else takes records away.
        let now = self.partition(topic, partition)?;
        if from < now.first {
            return Err(expired(now.first));
        }
        Err(self.site().unusable(format!("offset {from} of {topic}/{partition} is missing")))
    }

    fn bounds(&self, topic: &str, partition: PartitionId) -> Result<OffsetRange, LogError> {
        let held = self.partition(topic, partition)?;
        Ok(OffsetRange { first: held.first, end: held.end })
    }

    fn offset_at(&self, topic: &str, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError> {
        let held = self.partition(topic, partition)?;
        self.readers.with(|connection| reader::first_appended_at(connection, &held, time_ms))
    }

    fn committed(&self, group: &str, topic: &str, partition: PartitionId) -> Result<Option<Committed>, LogError> {
        self.readers.with(|connection| reader::committed(connection, group, (topic, partition)))
    }

    fn snapshot(&self, group: &str) -> Result<Option<Bytes>, LogError> {
        self.readers.with(|connection| reader::snapshot(connection, group))
    }

    fn commit(&self, group: &str, transaction: &Transaction) -> Result<(), LogError> {
        self.writer.perform(Work::Commit { group: group.to_owned(), transaction: transaction.clone() })
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<(), LogError> {
        let catalogue = self.published.catalogue();
        for (topic, partition, held) in catalogue.all() {
            let keep = retention::first_to_keep(&self.readers, (topic, &held), now_ms)?;
            for before in retention::steps(held.first, keep) {
                self.writer.perform(Work::DeleteBefore { topic: topic.name.to_string(), partition, before })?;
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn LogReader + '_>, LogError> {
        Ok(Box::new(Follower::of(self, Arc::clone(&self.published))))
    }

    /// The directory's lock has seen to it: no other process commits.
    fn fence(&self, _: &str) -> Result<(), LogError> {
        Ok(())
    }

    fn version(&self) -> Result<u64, LogError> {
        Ok(*self.published.version.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn system_time_ms() -> i64 {
    // A clock before 1970 counts as 1970: append times never go backwards anyway.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
