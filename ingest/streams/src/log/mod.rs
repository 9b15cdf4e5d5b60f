//! The log: topics of ordered, partitioned records, read by offset and written in transactions.
//!
//! Everything Driftline knows is here. Two implementations run every stage: the embedded one in a directory, for one process;
//! and Kafka. A reader sees committed records only. Offsets grow within a partition but need not be dense.
//!
//! This module deliberately knows nothing of what records mean.

#[doc(hidden)]
pub mod conformance;
pub mod embedded;
pub mod kafka;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Number of a partition within its topic.
pub type PartitionId = u32;
/// Place of a record within its partition.
pub type Offset = i64;

/// A topic and how long it keeps its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// What may be deleted.
    pub retention: Retention,
}

/// What may be deleted from a topic. Both bounds may hold; `None` keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Records appended longer ago than this.
    pub age: Option<Duration>,
    /// The oldest records of a partition that holds more than this many bytes.
    pub bytes_per_partition: Option<u64>,
}

/// A record as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Place within its partition.
    pub offset: Offset,
    /// When the log took it, milliseconds since the epoch.
    pub append_time_ms: i64,
    /// What it is partitioned and compacted by.
    pub key: Option<Bytes>,
    /// What it says; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values beside it.
    pub headers: Headers,
}

/// Names and values beside a record. Records that follow one another mostly have the same, and share them.
pub type Headers = Arc<[(String, Bytes)]>;

impl Record {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic to append to.
    pub topic: String,
    /// Partition to append to.
    pub partition: PartitionId,
    /// What it is partitioned and compacted by.
    pub key: Option<Bytes>,
    /// What it says.
    pub value: Option<Bytes>,
    /// Names and values beside it.
    pub headers: Vec<(String, Bytes)>,
    /// When a log took it that it was forwarded from; `None` for what is new. Only the topics of a repartition keep it, so
    /// that [`Record::append_time_ms`] is that time: of all others the log's own clock is believed.
    pub appended_ms: Option<i64>,
}

/// The offsets a partition holds, `[first, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first record that is still there.
    pub first: Offset,
    /// The offset that the next record will have.
    pub end: Offset,
}

/// How much one read may return. At least one record is returned where there is one.
#[derive(Debug, Clone, Copy)]
pub struct ReadBudget {
    /// Most records.
    pub records: usize,
    /// Most bytes of values.
    pub bytes: usize,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one record, in order.
    Records(Vec<Record>),
    /// Everything from the asked offset on has been read: there was nothing when the log was last asked.
    End,
    /// Nothing is here yet, and it is not known whether there is more.
    Pending,
}

/// A change of which partitions of a stage are this process' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// These are now.
    Assigned(&'a [PartitionId]),
    /// These are until the call returns: what is open is to be committed.
    Revoked(&'a [PartitionId]),
    /// These have not been for some time, and may be someone else's.
    Lost(&'a [PartitionId]),
}

/// Who is told of changes.
pub type RebalanceListener = Box<dyn Fn(Change<'_>) + Send + Sync>;

/// A process' membership among those that run a stage. To drop it is to leave: what it has is handed over.
pub struct Membership {
    attend: Box<dyn FnMut(Duration) + Send>,
}

impl Membership {
    /// A membership that is attended to by this.
    pub(crate) fn new(attend: impl FnMut(Duration) + Send + 'static) -> Self {
        Self { attend: Box::new(attend) }
    }

    /// Passes on what has changed; waits so long for it. Whoever does not call this for minutes loses the membership.
    pub fn attend(&mut self, timeout: Duration) {
        (self.attend)(timeout);
    }
}

/// Wakes a reader that waits.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The offset and the metadata that a group committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// What the group wrote beside it: the offset from which to absorb again.
    pub metadata: String,
}

/// One group's progress on one partition, to be stored with a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Input topic.
    pub topic: String,
    /// Input partition.
    pub partition: PartitionId,
    /// What to store.
    pub committed: Committed,
}

/// Everything one epoch changes, all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Records to append, in order.
    pub records: Vec<NewRecord>,
    /// Offsets of the group that is committing.
    pub progress: Vec<Progress>,
    /// A small state of the group that replaces the last; `None` keeps it.
    pub snapshot: Option<Bytes>,
}

/// What can go wrong with a log.
#[derive(Debug, Error)]
pub enum LogError {
    /// Another process has the directory open.
    #[error("the log in {directory} is open in process {holder}: stop it, or send commands to its API")]
    InUse {
        /// The log's directory.
        directory: PathBuf,
        /// Process id of the one that holds it.
        holder: u32,
    },
    /// The file is not a Driftline log, or is damaged.
    #[error("{file} is not a usable log ({reason}): restore it from a backup, or move it away to start anew")]
    Unusable {
        /// The file in question.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A topic or partition that does not exist.
    #[error("no partition {partition} of topic {topic} in this log")]
    NoSuchPartition {
        /// Topic asked for.
        topic: String,
        /// Partition asked for.
        partition: PartitionId,
    },
    /// A topic that exists with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, the configuration asks for {wanted}: a topic's partitions cannot change, choose the old number or a new directory"
    )]
    PartitionsDiffer {
        /// The topic.
        topic: String,
        /// Partitions it has.
        found: u32,
        /// Partitions asked for.
        wanted: u32,
    },
    /// The wanted offset has been deleted by retention.
    #[error("{topic}/{partition} offset {wanted} has passed its retention; the oldest record is {first}")]
    Expired {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The offset asked for.
        wanted: Offset,
        /// The oldest there is.
        first: Offset,
    },
    /// The wanted offset lies behind the end.
    #[error(
        "{topic}/{partition} ends at offset {end}, and {wanted} was to be read: the topic was deleted and made anew, or its end was lost; restore it, or start with another prefix"
    )]
    Beyond {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The offset asked for.
        wanted: Offset,
        /// The offset that the next record will have.
        end: Offset,
    },
    /// A partition that was read before, and of which the broker does not know that.
    #[error(
        "{topic}/{partition} was read up to offset {read}, and its offset is gone from the broker: the topic was deleted and made anew; restore it, or start with another prefix"
    )]
    MadeAnew {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// Up to where it had been read.
        read: Offset,
    },
    /// A topic that exists with another setting than is needed.
    #[error("topic {topic} has {setting} {found}, and {wanted} is needed: {mend}")]
    TopicDiffers {
        /// The topic.
        topic: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        wanted: String,
        /// What to do.
        mend: String,
    },
    /// A record larger than the log takes; nothing was written.
    #[error(
        "a record of {bytes} bytes for {topic} is larger than Kafka takes: send less at a time, or raise the topic's max.message.bytes and the option message.max.bytes"
    )]
    TooLarge {
        /// Topic it was for.
        topic: String,
        /// Bytes of its value.
        bytes: usize,
    },
    /// Another process commits for the group; nothing was written.
    #[error("another process has taken over {group}: nothing was committed; stop one of the two")]
    Displaced {
        /// The group.
        group: String,
    },
    /// Brokers do not believe Driftline who it is, or it does not believe them.
    #[error("no broker at {bootstrap} lets Driftline in ({reason}): check log.kafka.security")]
    Refused {
        /// Brokers that were asked.
        bootstrap: String,
        /// What was said.
        reason: String,
    },
    /// No broker has answered.
    #[error(
        "no broker answers at {bootstrap} ({reason}): check log.kafka.bootstrap, and log.kafka.security where they ask for TLS"
    )]
    Unreachable {
        /// Brokers that were asked.
        bootstrap: String,
        /// Why the last connection failed.
        reason: String,
    },
    /// An option that the log cannot be opened with.
    #[error("the log's option {option} cannot be used: {reason}")]
    Option {
        /// Its name; never its value, which may be a secret.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk is full; nothing was written.
    #[error("no space left for the log in {directory}: nothing was written; free some space")]
    DiskFull {
        /// The log's directory.
        directory: PathBuf,
    },
    /// Anything else the storage reported.
    #[error("log: {doing}: {source}")]
    Storage {
        /// What was being done.
        doing: String,
        /// What the storage said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Topics that are appended to, read by offset, and consumed by groups.
pub trait Log: Send + Sync {
    /// Creates the topic unless it is there already.
    ///
    /// # Errors
    /// When it exists with another number of partitions, or the storage fails.
    fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), LogError>;

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// When the topic does not exist.
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// What may be deleted from a topic, as it is set now.
    ///
    /// # Errors
    /// When the topic does not exist, or the storage fails.
    fn retention(&self, topic: &str) -> Result<Retention, LogError>;

    /// Appends records; durable when it returns, all or none.
    ///
    /// # Errors
    /// When a partition does not exist or the storage fails.
    fn append(&self, records: &[NewRecord]) -> Result<(), LogError>;

    /// Reads committed records from `from` on, in order; empty at the end that the partition has now. For a look now and
    /// then; what follows a partition has a [`Log::reader`].
    ///
    /// # Errors
    /// When the partition does not exist, `from` has passed its retention, or the storage fails.
    fn read(
        &self,
        topic: &str,
        partition: PartitionId,
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Vec<Record>, LogError>;

    /// The offsets that a partition holds.
    ///
    /// # Errors
    /// When the partition does not exist.
    fn bounds(&self, topic: &str, partition: PartitionId) -> Result<OffsetRange, LogError>;

    /// The first offset whose record was appended at or after `time_ms`; the end where there is none.
    ///
    /// # Errors
    /// When the partition does not exist.
    fn offset_at(&self, topic: &str, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError>;

    /// What a group committed for a partition.
    ///
    /// # Errors
    /// When the storage fails.
    fn committed(&self, group: &str, topic: &str, partition: PartitionId) -> Result<Option<Committed>, LogError>;

    /// The last snapshot that a group committed.
    ///
    /// # Errors
    /// When the storage fails.
    fn snapshot(&self, group: &str) -> Result<Option<Bytes>, LogError>;

    /// Appends records and stores the group's progress and snapshot, all or nothing; durable when it returns.
    ///
    /// # Errors
    /// When a partition does not exist or the storage fails.
    fn commit(&self, group: &str, transaction: &Transaction) -> Result<(), LogError>;

    /// Deletes what every topic's retention allows.
    ///
    /// # Errors
    /// When the storage fails.
    fn enforce_retention(&self, now_ms: i64) -> Result<(), LogError>;

    /// A reader of its own for a thread that follows partitions.
    ///
    /// # Errors
    /// When the log cannot be reached.
    fn reader(&self) -> Result<Box<dyn LogReader + '_>, LogError>;

    /// Makes this process the only one that commits for the group: what another has under way comes to nothing. Called
    /// before the group's progress and snapshot are read.
    ///
    /// # Errors
    /// When the storage fails.
    fn fence(&self, group: &str) -> Result<(), LogError>;

    /// Whether several processes may use it at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// What a group and a topic are called where other tools look at them; `None` where none can.
    fn known_as(&self, group: &str, topic: &str) -> Option<(String, String)> {
        let _ = (group, topic);
        None
    }

    /// Joins the processes that run a stage on a shared log, to have some partitions of `topic`. Which ones is told by
    /// whoever attends to the membership.
    ///
    /// # Errors
    /// When the log is not shared or cannot be reached.
    fn join(&self, (stage, topic): (&str, &str), told: RebalanceListener) -> Result<Membership, LogError> {
        drop(told);
        let source = "one process has this log to itself".into();
        Err(LogError::Storage {
            doing: format!("sharing the partitions of {topic} among those that run {stage}"),
            source,
        })
    }

    /// A number that grows with every record that is appended. It may cost a request: for those who wait until nothing
    /// happens, not for every round of reading.
    ///
    /// # Errors
    /// When the storage fails.
    fn version(&self) -> Result<u64, LogError>;
}

/// Follows partitions: reads on without looking for its place again, and waits for more.
pub trait LogReader {
    /// Reads committed records from `from` on, in order, without waiting.
    ///
    /// # Errors
    /// When the partition does not exist, `from` is not in it any more, or the storage fails.
    fn read(&mut self, topic: &str, partition: PartitionId, from: Offset, budget: ReadBudget)
    -> Result<Read, LogError>;

    /// Whether the last read of every partition was at the end that the partition has now. `false` may mean that this is
    /// not known yet: reading on and asking again tells.
    ///
    /// # Errors
    /// When the storage fails.
    fn is_at_end(&mut self) -> Result<bool, LogError>;

    /// Where each of these partitions ends, up to where everything has been read; `None` while that is not known: reading on
    /// and asking again tells. Behind the last record there may be marks of transactions, and to read on from the end is to
    /// read on from that record. It waits for the storage no longer than a moment.
    ///
    /// # Errors
    /// When the storage fails, or takes longer.
    fn ends(&mut self, partitions: &[(String, PartitionId)]) -> Result<Vec<Option<Offset>>, LogError>;

    /// Blocks until there may be something new, the waker is called, or `timeout` has passed.
    fn wait(&mut self, timeout: Duration);

    /// What ends a wait from elsewhere.
    fn waker(&self) -> Waker;
}
