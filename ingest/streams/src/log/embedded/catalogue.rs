//! What the log holds: its topics, and for each partition where it begins and ends.
//!
//! The writer changes its own copy while it works and publishes it when the transaction is durable, so a reader never sees
//! an offset that a crash could take back.

use super::failure::Site;
use super::schema;
use crate::log::{LogError, Offset, PartitionId, Retention, TopicSpec};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// One partition, as of some transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its number in the file; see [`schema::place`].
    pub(super) id: i64,
    /// The first record that is still there.
    pub(super) first: Offset,
    /// The offset of the next record.
    pub(super) end: Offset,
    /// Bytes that the partition has ever taken.
    pub(super) end_position: i64,
    /// When the last record was appended; the next is not earlier.
    pub(super) last_append_ms: i64,
}

impl Partition {
    /// An empty one.
    pub(super) fn new(id: i64) -> Self {
        Self { id, first: 0, end: 0, end_position: 0, last_append_ms: 0 }
    }

    /// Whether its numbers can have been written by this program.
    fn is_possible(&self) -> bool {
        (0..=schema::LAST_PARTITION_ID).contains(&self.id)
            && (0..=self.end).contains(&self.first)
            && self.end <= 1 << schema::OFFSET_BITS
    }
}

/// One topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) retention: Retention,
    pub(super) partitions: Vec<Partition>,
}

impl Topic {
    pub(super) fn count(&self) -> u32 {
        // A topic is created from a `u32` number of partitions.
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is nothing to change for this specification.
    pub(super) fn agrees_with(&self, wanted: &TopicSpec) -> bool {
        self.count() == wanted.partitions && self.retention == wanted.retention
    }
}

/// Every topic of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    topics: BTreeMap<Arc<str>, Topic>,
}

impl Catalogue {
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(super) fn topic_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(name)
    }

    pub(super) fn insert(&mut self, topic: Topic) {
        self.topics.insert(Arc::clone(&topic.name), topic);
    }

    pub(super) fn partition(&self, topic: &str, partition: PartitionId) -> Result<Partition, LogError> {
        let found = self.topic(topic).and_then(|topic| topic.partitions.get(partition as usize));
        found.copied().ok_or_else(|| no_such_partition(topic, partition))
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: PartitionId) -> Result<&mut Partition, LogError> {
        let found = self.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(partition as usize));
        found.ok_or_else(|| no_such_partition(topic, partition))
    }

    /// Records that all partitions have ever taken: it never falls, whatever retention deletes.
    pub(super) fn records(&self) -> i64 {
        self.topics.values().flat_map(|topic| &topic.partitions).map(|partition| partition.end).sum()
    }

    /// Every partition with its topic and its number.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Topic, PartitionId, Partition)> {
        self.topics
            .values()
            .flat_map(|topic| (0..).zip(&topic.partitions).map(move |(number, held)| (topic, number, *held)))
    }
}

/// What readers may see, and a bell that rings when it grows.
pub(super) struct Published {
    catalogue: RwLock<Arc<Catalogue>>,
    /// Counts the transactions since the log was opened.
    pub(super) version: Mutex<u64>,
    /// Rings when `version` has grown.
    pub(super) grown: Condvar,
    /// Held for reading during a read of the file, and for writing while an overgrown write-ahead file is folded in.
    pub(super) folding: RwLock<()>,
}

impl Published {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue: RwLock::new(Arc::new(catalogue)),
            version: Mutex::new(0),
            grown: Condvar::new(),
            folding: RwLock::new(()),
        }
    }

    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows what a durable transaction left, and wakes those who wait.
    pub(super) fn publish(&self, catalogue: Catalogue) {
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.grown.notify_all();
    }
}

/// Reads the catalogue of a log that is being opened.
pub(super) fn load(connection: &Connection, site: &Site) -> Result<Catalogue, LogError> {
    let doing = "reading the topics";
    let mut catalogue = Catalogue::default();
    let mut rows = connection
        .prepare("SELECT name, partitions, retention_age_ms, retention_bytes FROM topics")
        .map_err(|error| site.sqlite(doing, error))?;
    let topics = rows
        .query_map([], topic_of_row)
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(|error| site.sqlite(doing, error))?;
    for (mut topic, partitions) in topics {
        topic.partitions = load_partitions(connection, &topic.name).map_err(|error| site.sqlite(doing, error))?;
        if topic.count() != partitions {
            return Err(site.unusable(format!(
                "topic {} has {} partitions where it should have {partitions}",
                topic.name,
                topic.count()
            )));
        }
        if let Some(odd) = topic.partitions.iter().find(|partition| !partition.is_possible()) {
            return Err(site.unusable(format!("topic {} has an impossible partition {odd:?}", topic.name)));
        }
        catalogue.insert(topic);
    }
    Ok(catalogue)
}

fn topic_of_row(row: &Row<'_>) -> rusqlite::Result<(Topic, u32)> {
    let name: String = row.get(0)?;
    let age = row.get::<_, Option<i64>>(2)?.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    let bytes_per_partition = row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs);
    let retention = Retention { age, bytes_per_partition };
    Ok((Topic { name: name.into(), retention, partitions: Vec::new() }, row.get(1)?))
}

fn load_partitions(connection: &Connection, topic: &str) -> rusqlite::Result<Vec<Partition>> {
    let mut rows = connection.prepare_cached(
        "SELECT id, first_offset, first_position, last_append_ms FROM partitions WHERE topic = ?1 ORDER BY number",
    )?;
    let kept = rows.query_map([topic], |row| {
        let first = row.get(1)?;
        Ok(Partition { id: row.get(0)?, first, end: first, end_position: row.get(2)?, last_append_ms: row.get(3)? })
    })?;
    kept.map(|partition| with_last_record(connection, partition?)).collect()
}

/// Moves the end of a partition behind its last record.
fn with_last_record(connection: &Connection, partition: Partition) -> rusqlite::Result<Partition> {
    let mut last = connection.prepare_cached(
        "SELECT place, append_ms, position
              + coalesce(length(key), 0) + coalesce(length(headers), 0) + coalesce(length(value), 0)
         FROM records WHERE place >= ?1 AND place < ?2 ORDER BY place DESC LIMIT 1",
    )?;
    let range = [schema::place(partition.id, 0), schema::place(partition.id + 1, 0)];
    let found = last
        .query_row(range, |row| {
            Ok(Partition {
                end: schema::offset_of(row.get(0)?) + 1,
                last_append_ms: row.get(1)?,
                end_position: row.get(2)?,
                ..partition
            })
        })
        .optional()?;
    Ok(found.unwrap_or(partition))
}

fn no_such_partition(topic: &str, partition: PartitionId) -> LogError {
    LogError::NoSuchPartition { topic: topic.to_owned(), partition }
}
