//! The log on Apache Kafka: transactions make it exactly-once, and any number of processes share it.
//!
//! ```text
//! append ─► appender (a thread; callers share transactions) ─┐
//! commit ─► group (records, offsets, snapshot) ──► writer ───┼─► broker ─► reader (consumers of a thread) ─► stage
//! ```
//!
//! - **All or nothing.** An epoch's records, the offsets of its inputs with the resume offsets and the ends of the records
//!   as metadata, and its snapshot are one transaction of Kafka. Readers see what is committed only.
//! - **One owner a group.** The transactional id is the group's name: taking a group over makes the broker refuse whatever
//!   an earlier owner still tries. Any error drops the producer, and the next commit takes over anew.
//! - **A transaction is decided before it is shown.** The broker acknowledges a commit, and then marks it in every
//!   partition. Looks from this process ([`Log::read`], [`Log::bounds`]) wait for what it has itself committed.
//! - Offsets have holes, where the marks are. No call outlasts [`KafkaOptions::with_patience`] by much.
//! - What the log does not delete itself, retention of the broker does: [`Log::enforce_retention`] has nothing to do.
//!
//! Processes share a stage by its partitions, as Kafka spreads them. Deliberately absent: topics that change their partitions.

mod appender;
mod bare;
mod connect_probe;
mod copies;
mod group;
mod link;
mod membership;
mod names;
mod options;
mod reader;
mod topic;
mod writer;

pub use bare::{Drained, drain};
pub use options::{KafkaOptions, Sasl, SaslMechanism, Security, Tls};
pub use topic::delete_topics;

use super::{
    Committed, Log, LogError, LogReader, Membership, NewRecord, Offset, OffsetRange, PartitionId, ReadBudget,
    RebalanceListener, Record, Retention, TopicSpec, Transaction,
};
use appender::Appender;
use bytes::Bytes;
use group::Group;
use link::{Link, locked};
use reader::KafkaReader;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use topic::Cleanup;

/// A log on a Kafka.
pub struct KafkaLog {
    link: Arc<Link>,
    appender: Appender,
    groups: Mutex<BTreeMap<String, Arc<Group>>>,
    /// For looks from outside; `None` before the first, and after an error.
    looking: Mutex<Option<KafkaReader>>,
}

impl KafkaLog {
    /// Connects. `instance` tells this process from others that append to the same log at the same time.
    ///
    /// # Errors
    /// When an option cannot be used, no broker answers, or none lets Driftline in.
    pub fn connect(options: KafkaOptions, instance: &str) -> Result<Arc<Self>, LogError> {
        connect_probe::probe(&options)?;
        let link = Arc::new(Link::connect(options)?);
        let partitions = names::SNAPSHOT_PARTITIONS;
        let snapshots = TopicSpec { name: names::SNAPSHOTS.to_owned(), partitions, retention: Retention::default() };
        topic::ensure(&link, &snapshots, Cleanup::Compact)?;
        let appender = Appender::start(Arc::clone(&link), format!("append-{instance}"))?;
        Ok(Arc::new(Self { link, appender, groups: Mutex::default(), looking: Mutex::default() }))
    }

    fn group(&self, name: &str) -> Result<Arc<Group>, LogError> {
        let mut groups = locked(&self.groups);
        if let Some(group) = groups.get(name) {
            return Ok(Arc::clone(group));
        }
        let group = Arc::new(Group::of(Arc::clone(&self.link), name)?);
        groups.insert(name.to_owned(), Arc::clone(&group));
        Ok(group)
    }
}

impl Log for KafkaLog {
    fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), LogError> {
        topic::ensure(&self.link, topic, Cleanup::Delete)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.link.partitions(topic)
    }

    fn retention(&self, topic: &str) -> Result<Retention, LogError> {
        topic::retention(&self.link, topic)
    }

    fn append(&self, records: &[NewRecord]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        // Before they are taken into a transaction with others'.
        self.link.check_all(records)?;
        self.appender.append(records.to_vec())
    }

    fn read(
        &self,
        topic: &str,
        partition: PartitionId,
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Vec<Record>, LogError> {
        let mut looking = locked(&self.looking);
        let mut reader = looking.take().unwrap_or_else(|| KafkaReader::open(Arc::clone(&self.link)));
        let records = reader.look((topic, partition), from, budget)?;
        *looking = Some(reader);
        Ok(records)
    }

    fn bounds(&self, topic: &str, partition: PartitionId) -> Result<OffsetRange, LogError> {
        self.link.bounds(topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError> {
        self.link.offset_at(topic, partition, time_ms)
    }

    fn committed(&self, group: &str, topic: &str, partition: PartitionId) -> Result<Option<Committed>, LogError> {
        self.group(group)?.committed(topic, partition)
    }

    fn snapshot(&self, group: &str) -> Result<Option<Bytes>, LogError> {
        self.group(group)?.snapshot()
    }

    fn commit(&self, group: &str, transaction: &Transaction) -> Result<(), LogError> {
        if *transaction == Transaction::default() {
            return Ok(());
        }
        self.group(group)?.commit(transaction)
    }

    /// The brokers see to it.
    fn enforce_retention(&self, _: i64) -> Result<(), LogError> {
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn LogReader + '_>, LogError> {
        Ok(Box::new(KafkaReader::open(Arc::clone(&self.link))))
    }

    fn fence(&self, group: &str) -> Result<(), LogError> {
        self.group(group)?.fence()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn known_as(&self, group: &str, topic: &str) -> Option<(String, String)> {
        Some((self.link.names.group(group), self.link.names.topic(topic)))
    }

    fn join(&self, stage: (&str, &str), told: RebalanceListener) -> Result<Membership, LogError> {
        membership::join(&self.link, stage, told)
    }

    fn version(&self) -> Result<u64, LogError> {
        self.link.version()
    }
}
