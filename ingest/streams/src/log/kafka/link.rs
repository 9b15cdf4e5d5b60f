//! The connection that readers and writers share: what topics there are, where they end, and what this process has written.

use super::names::Names;
use super::options::{KafkaOptions, client_error};
use crate::log::{LogError, NewRecord, Offset, OffsetRange, PartitionId};
use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Passes on what librdkafka says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling;

impl ClientContext for Telling {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell_error(&error, reason);
    }
}

impl ConsumerContext for Telling {}

/// Passes on what went wrong with a client as a whole. That a partition was read to its end is no error.
pub(super) fn tell_error(error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PartitionEOF) => {}
        _ => tracing::warn!(%error, "kafka: {reason}"),
    }
}

/// Passes on what librdkafka says. An option that concerns producers alone is no warning to a consumer.
pub(super) fn tell(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        _ if facility == "CONFWARN" => tracing::debug!(facility, "kafka: {message}"),
        RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
            tracing::debug!(facility, "kafka: {message}");
        }
        RDKafkaLogLevel::Warning => tracing::info!(facility, "kafka: {message}"),
        _ => tracing::warn!(facility, "kafka: {message}"),
    }
}

/// How long is waited for what this process has committed to be shown. It takes milliseconds, unless another's
/// transaction that has not ended stands before it.
const UNTIL_SHOWN: Duration = Duration::from_secs(1);

/// How long a topic may be unknown to a broker that is known to others: they hear of it one after the other.
pub(super) const UNTIL_HEARD: Duration = Duration::from_secs(5);

/// How long a partition is given to find its leader, before it is asked for again.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A partition as Driftline calls it.
pub(super) type PartitionName = (String, PartitionId);

/// What readers and writers share.
pub(super) struct Link {
    pub(super) options: KafkaOptions,
    pub(super) names: Names,
    pub(super) admin: AdminClient<Telling>,
    looker: BaseConsumer<Telling>,
    /// Topics that were seen, with their partitions.
    known: Mutex<BTreeMap<String, u32>>,
    /// The last offset that this process wrote to each partition. A transaction is decided before it can be read; a reader
    /// here that wants to see its own writes waits for them.
    written: Mutex<BTreeMap<PartitionName, Offset>>,
}

impl Link {
    pub(super) fn connect(options: KafkaOptions) -> Result<Self, LogError> {
        let names = options.names();
        let looker = options.reader(Telling)?;
        let admin = AdminClient::from_config_and_context(&options.admin(), Telling);
        let admin = admin.map_err(|error| client_error(&error))?;
        Ok(Self { options, names, admin, looker, known: Mutex::default(), written: Mutex::default() })
    }

    /// How many partitions a topic has; asks a broker, and where that one has not heard of a topic that was there before,
    /// others.
    pub(super) fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let deadline = Instant::now() + UNTIL_HEARD;
        loop {
            match self.partitions_now(topic)? {
                0 if locked(&self.known).contains_key(topic) && Instant::now() < deadline => {
                    std::thread::sleep(ASK_AGAIN);
                }
                0 => {
                    locked(&self.known).remove(topic);
                    return Err(LogError::NoSuchPartition { topic: topic.to_owned(), partition: 0 });
                }
                count => return Ok(count),
            }
        }
    }

    /// How many partitions a topic has to the broker that is asked; 0 where it does not know it.
    fn partitions_now(&self, topic: &str) -> Result<u32, LogError> {
        let name = self.names.topic(topic);
        let metadata = self.looker.fetch_metadata(Some(&name), self.options.patience);
        let metadata = metadata.map_err(|error| storage(format!("looking for topic {name}"), error))?;
        let found = metadata.topics().iter().find(|found| found.name() == name && found.error().is_none());
        let led = found.is_some_and(|found| found.partitions().iter().all(|partition| partition.leader() >= 0));
        let count = found.map_or(0, |found| u32::try_from(found.partitions().len()).unwrap_or(u32::MAX));
        if led && count > 0 {
            locked(&self.known).insert(topic.to_owned(), count);
        }
        Ok(count)
    }

    /// The names of all topics that there are.
    pub(super) fn topics(&self) -> KafkaResult<Vec<String>> {
        let metadata = self.looker.fetch_metadata(None, self.options.patience)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Whether every partition of a topic has a leader.
    pub(super) fn is_led(&self, topic: &str) -> bool {
        self.partitions(topic).is_ok() && locked(&self.known).contains_key(topic)
    }

    /// Refuses a partition that does not exist.
    pub(super) fn check(&self, topic: &str, partition: PartitionId) -> Result<(), LogError> {
        let known = locked(&self.known).get(topic).copied();
        let count = match known.filter(|known| partition < *known) {
            Some(count) => count,
            None => match self.partitions(topic) {
                Err(LogError::NoSuchPartition { .. }) => 0,
                found => found?,
            },
        };
        if partition >= count {
            return Err(LogError::NoSuchPartition { topic: topic.to_owned(), partition });
        }
        Ok(())
    }

    /// Refuses records for partitions that do not exist.
    pub(super) fn check_all(&self, records: &[NewRecord]) -> Result<(), LogError> {
        records.iter().try_for_each(|record| self.check(&record.topic, record.partition))
    }

    /// The first offset and the end of what can be read.
    pub(super) fn bounds(&self, topic: &str, partition: PartitionId) -> Result<OffsetRange, LogError> {
        self.check(topic, partition)?;
        let deadline = Instant::now() + UNTIL_SHOWN;
        loop {
            let name = self.names.topic(topic);
            let patience = self.options.patience;
            let asked =
                self.asking((&[&name], patience), || self.looker.fetch_watermarks(&name, native(partition), patience));
            let (first, end) =
                asked.map_err(|error| storage(format!("looking for the end of {name}/{partition}"), error))?;
            // This process' own transaction is decided, and about to be shown.
            if end > self.written(topic, partition) || Instant::now() > deadline {
                return Ok(OffsetRange { first, end });
            }
        }
    }

    /// The end of what can be read of each partition, in the order asked.
    pub(super) fn ends(&self, partitions: &[PartitionName], patience: Duration) -> Result<Vec<Offset>, LogError> {
        let topics: BTreeSet<_> = partitions.iter().map(|(topic, _)| self.names.topic(topic)).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let asked = || {
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for (topic, partition) in partitions {
                asked.add_partition_offset(&self.names.topic(topic), native(*partition), KafkaOffset::End)?;
            }
            self.looker.offsets_for_times(asked, patience)
        };
        let ends =
            self.asking((&topics, patience), asked).map_err(|error| storage("asking for ends", error))?.to_topic_map();
        let end = |(topic, partition): &PartitionName| match ends.get(&(self.names.topic(topic), native(*partition))) {
            Some(KafkaOffset::Offset(end)) => Ok(*end),
            _ => Err(storage(format!("asking for the end of {topic}/{partition}"), KafkaError::NoMessageReceived)),
        };
        partitions.iter().map(end).collect()
    }

    /// The first offset whose record was appended at or after `time_ms`; the end where there is none.
    pub(super) fn offset_at(&self, topic: &str, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError> {
        let bounds = self.bounds(topic, partition)?;
        if time_ms <= 0 {
            return Ok(bounds.first);
        }
        let name = self.names.topic(topic);
        let doing = || format!("looking for the time {time_ms} in {name}/{partition}");
        let asked = || {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(&name, native(partition), KafkaOffset::Offset(time_ms))?;
            self.looker.offsets_for_times(asked, self.options.patience)
        };
        let answer = self.asking((&[&name], self.options.patience), asked).map_err(|error| storage(doing(), error))?;
        Ok(match answer.find_partition(&name, native(partition)).map(|found| found.offset()) {
            Some(KafkaOffset::Offset(offset)) => offset.min(bounds.end),
            _ => bounds.end,
        })
    }

    /// Asks again while partitions have no leader that knows of it: a topic was just made, or a broker has gone.
    ///
    /// Who leads them is asked for in between. librdkafka does not ask by itself while it remembers that a topic had
    /// something wrong with it, which it does for minutes.
    fn asking<T>(&self, (topics, patience): (&[&str], Duration), ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
        let deadline = Instant::now() + patience;
        loop {
            match ask() {
                Err(error) if is_leaderless(&error) && Instant::now() < deadline => {
                    std::thread::sleep(ASK_AGAIN);
                    for topic in topics {
                        // What it says is for librdkafka to remember; where it fails, the question fails again.
                        let left = deadline.saturating_duration_since(Instant::now());
                        let _ = self.looker.fetch_metadata(Some(topic), left.max(ASK_AGAIN));
                    }
                }
                answer => return answer,
            }
        }
    }

    /// A number that grows with every record of a known topic.
    pub(super) fn version(&self) -> Result<u64, LogError> {
        let known = locked(&self.known).clone();
        let partitions: Vec<_> =
            known.iter().flat_map(|(topic, count)| (0..*count).map(|partition| (topic.clone(), partition))).collect();
        let ends = self.ends(&partitions, self.options.patience)?;
        let ends =
            partitions.iter().zip(ends).map(|((topic, partition), end)| end.max(self.written(topic, *partition) + 1));
        Ok(ends.map(i64::unsigned_abs).sum())
    }

    /// Remembers what this process has committed.
    pub(super) fn wrote(&self, partitions: impl IntoIterator<Item = (PartitionName, Offset)>) {
        locked(&self.written).extend(partitions);
    }

    /// The last offset that this process has committed to a partition; -1 for none.
    pub(super) fn written(&self, topic: &str, partition: PartitionId) -> Offset {
        locked(&self.written).get(&(topic.to_owned(), partition)).copied().unwrap_or(-1)
    }

    /// The partition as it is now is made anew or gone: what is known of it does not hold any more.
    pub(super) fn forget(&self, topic: &str) {
        locked(&self.known).remove(topic);
        locked(&self.written).retain(|(written, _), _| written != topic);
    }
}

/// A partition's number as librdkafka wants it; what is larger does not exist there.
pub(super) fn native(partition: PartitionId) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Wraps what librdkafka reported.
pub(super) fn storage(doing: impl Into<String>, error: KafkaError) -> LogError {
    LogError::Storage { doing: doing.into(), source: Box::new(error) }
}

fn is_leaderless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Whether the broker, or librdkafka for it, says that a newer producer has the transactional id.
pub(super) fn is_displaced(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
    )
}

/// A lock, also where a thread panicked with it: what these hold is whole after every statement.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
