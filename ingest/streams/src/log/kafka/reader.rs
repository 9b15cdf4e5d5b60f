//! Following partitions of a Kafka: a consumer for each topic, with a queue for each partition.
//!
//! - **Topics do not wait for each other.** A consumer has one request at a time under way with a broker. While a partition
//!   has as much fetched as is allowed, a request for the others alone rests at the broker until one of them has news, and
//!   the partition that is being drained would run dry meanwhile.
//! - **No seeking in a sequential read.** The consumer fetches ahead; a record that is over a read's budget is held back
//!   for the next one. Only a read from another place seeks.
//! - **The end is told, not guessed.** librdkafka says once for each end of what is committed that it was reached. Offsets
//!   have holes (transactions' markers), so that a position before the end may be at the end: [`LogReader::is_at_end`] and
//!   [`LogReader::ends`] ask for the end, and where the position lies before it have fetched from there once more.
//! - What librdkafka holds fetched is bounded for each partition, whichever of them are read.
//!
//! Partitions are assigned by hand. Deliberately absent: membership in a group.

use super::copies::{Copies, Origin};
use super::link::{Link, PartitionName, Telling, locked, native, storage};
use crate::log::{LogError, LogReader, Offset, PartitionId, Read, ReadBudget, Record, Waker};
use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset as KafkaOffset, TopicPartitionList};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long is waited for an answer that can be had later as well.
const MOMENT: Duration = Duration::from_secs(1);

/// A reader with consumers of its own.
pub(super) struct KafkaReader {
    link: Arc<Link>,
    followed: Vec<Followed>,
    bell: Arc<Bell>,
}

/// A partition that is read.
struct Followed {
    topic: String,
    partition: PartitionId,
    origin: Origin,
    /// The topic's; its partitions share it.
    consumer: Arc<BaseConsumer<Telling>>,
    queue: PartitionQueue<Telling>,
    /// The offset after the last record that was returned, or after the marks behind it: a read from there needs no seek.
    position: Offset,
    copies: Copies,
    /// Records of the last read, which are about as many as those of the next.
    taken: usize,
    /// A record that was over the last read's budget.
    held: Option<Record>,
    /// An error that came after records; the next read returns it.
    failed: Option<KafkaError>,
    end: End,
}

/// What is known of a partition's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There may be more.
    Unknown,
    /// There was nothing more when it was last fetched.
    Reached,
    /// It is fetched once more, to see whether there is anything before this offset.
    Probed(Offset),
    /// There was nothing before this offset.
    Confirmed(Offset),
}

/// Rings when something has arrived.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ringing: Condvar,
}

impl KafkaReader {
    pub(super) fn open(link: Arc<Link>) -> Self {
        Self { link, followed: Vec::new(), bell: Arc::default() }
    }

    /// Reads on until there is something, or it is certain that there is nothing; for a look from outside.
    pub(super) fn look(
        &mut self,
        (topic, partition): (&str, PartitionId),
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + self.link.options.patience;
        loop {
            match self.read(topic, partition, from, budget)? {
                Read::Records(records) => return Ok(records),
                Read::End => {
                    let end = self.link.bounds(topic, partition)?.end;
                    let index = self.index_of(topic, partition);
                    let Some(followed) = index.and_then(|index| self.followed.get_mut(index)) else {
                        return Ok(Vec::new());
                    };
                    if followed.is_at(end, &self.link)? {
                        return Ok(Vec::new());
                    }
                }
                Read::Pending => self.wait(self.link.options.patience),
            }
            if Instant::now() > deadline {
                let doing = format!("reading {topic}/{partition} from offset {from}");
                return Err(storage(doing, KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
            }
        }
    }

    fn index_of(&self, topic: &str, partition: PartitionId) -> Option<usize> {
        self.followed.iter().position(|followed| followed.partition == partition && followed.topic == topic)
    }

    /// The topic's consumer.
    fn consumer(&self, topic: &str) -> Result<Arc<BaseConsumer<Telling>>, LogError> {
        if let Some(followed) = self.followed.iter().find(|followed| followed.topic == topic) {
            return Ok(Arc::clone(&followed.consumer));
        }
        Ok(Arc::new(self.link.options.reader(Telling)?))
    }

    /// Takes a partition up at an offset.
    fn follow(&mut self, topic: &str, partition: PartitionId, from: Offset) -> Result<usize, LogError> {
        self.link.check(topic, partition)?;
        let consumer = self.consumer(topic)?;
        let name = self.link.names.topic(topic);
        let doing = || format!("taking up {name}/{partition}");
        let gone = || LogError::NoSuchPartition { topic: topic.to_owned(), partition };
        // Before it is assigned: what arrives goes into its own queue from the first record on.
        let mut queue = consumer.split_partition_queue(&name, native(partition)).ok_or_else(gone)?;
        let bell = Arc::clone(&self.bell);
        queue.set_nonempty_callback(move || bell.ring());
        let mut assigned = TopicPartitionList::new();
        let added = assigned.add_partition_offset(&name, native(partition), KafkaOffset::Offset(from));
        added.map_err(|error| storage(doing(), error))?;
        consumer.incremental_assign(&assigned).map_err(|error| storage(doing(), error))?;
        let origin = if self.link.names.is_repartitioned(topic) { Origin::Repartition } else { Origin::Producers };
        self.followed.push(Followed {
            topic: topic.to_owned(),
            partition,
            origin,
            consumer,
            queue,
            position: from,
            copies: Copies::default(),
            taken: 0,
            held: None,
            failed: None,
            end: End::Unknown,
        });
        Ok(self.followed.len() - 1)
    }

    /// Lets go of a partition, which the next read takes up anew: of one that was asked for an offset that is not there,
    /// librdkafka fetches no more, and refuses to seek.
    fn let_go(&mut self, topic: &str, partition: PartitionId) -> Result<(), LogError> {
        let is_it = |followed: &Followed| followed.partition == partition && followed.topic == topic;
        let Some(consumer) = self.followed.iter().find(|it| is_it(it)).map(|it| Arc::clone(&it.consumer)) else {
            return Ok(());
        };
        self.followed.retain(|followed| !is_it(followed));
        let name = self.link.names.topic(topic);
        let mut unassigned = TopicPartitionList::new();
        unassigned.add_partition(&name, native(partition));
        let doing = || format!("letting go of {name}/{partition}");
        consumer.incremental_unassign(&unassigned).map_err(|error| storage(doing(), error))
    }

    /// What is wrong with an offset that the broker does not have.
    fn out_of_range(&self, (topic, partition): (&str, PartitionId), wanted: Offset) -> LogError {
        match self.link.bounds(topic, partition) {
            Ok(bounds) if wanted < bounds.first => {
                LogError::Expired { topic: topic.to_owned(), partition, wanted, first: bounds.first }
            }
            Ok(bounds) if wanted > bounds.end => {
                self.link.forget(topic);
                LogError::Beyond { topic: topic.to_owned(), partition, wanted, end: bounds.end }
            }
            Ok(_) => {
                let doing = format!("reading {topic}/{partition} from offset {wanted}");
                storage(doing, KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetOutOfRange))
            }
            Err(error) => error,
        }
    }
}

impl LogReader for KafkaReader {
    fn read(
        &mut self,
        topic: &str,
        partition: PartitionId,
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Read, LogError> {
        let index = match self.index_of(topic, partition) {
            Some(index) => index,
            None => self.follow(topic, partition, from)?,
        };
        let gone = || LogError::NoSuchPartition { topic: topic.to_owned(), partition };
        let followed = self.followed.get_mut(index).ok_or_else(gone)?;
        followed.pass_to(from);
        if followed.position != from {
            followed.seek(&self.link, from)?;
        }
        let records = match followed.take(budget) {
            Ok(records) => records,
            Err(error) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    self.let_go(topic, partition)?;
                    return Err(self.out_of_range((topic, partition), from));
                }
                _ => return Err(storage(format!("reading {topic}/{partition} from offset {from}"), error)),
            },
        };
        let is_at_end = followed.held.is_none() && !matches!(followed.end, End::Unknown | End::Probed(_));
        Ok(match (records.is_empty(), is_at_end) {
            (false, _) => Read::Records(records),
            (true, true) => Read::End,
            (true, false) => Read::Pending,
        })
    }

    fn is_at_end(&mut self) -> Result<bool, LogError> {
        if self.followed.is_empty() {
            return Ok(true);
        }
        let name = |followed: &Followed| -> PartitionName { (followed.topic.clone(), followed.partition) };
        let names: Vec<_> = self.followed.iter().map(name).collect();
        let ends = self.link.ends(&names, self.link.options.patience)?;
        let mut all = true;
        for (followed, end) in self.followed.iter_mut().zip(ends) {
            all &= followed.is_at(end, &self.link)?;
        }
        Ok(all)
    }

    fn ends(&mut self, partitions: &[PartitionName]) -> Result<Vec<Option<Offset>>, LogError> {
        let ends = self.link.ends(partitions, MOMENT)?;
        let mut known = Vec::with_capacity(ends.len());
        for ((topic, partition), end) in partitions.iter().zip(ends) {
            let index = self.index_of(topic, *partition);
            let Some(followed) = index.and_then(|index| self.followed.get_mut(index)) else {
                known.push(None);
                continue;
            };
            let confirmed = followed.confirmed();
            known.push(if followed.is_at(end, &self.link)? { Some(end) } else { confirmed });
        }
        Ok(known)
    }

    fn wait(&mut self, timeout: Duration) {
        // Errors of the client as a whole come here; they are told where they arise, and pass.
        for followed in &self.followed {
            while let Some(Err(error)) = followed.consumer.poll(Duration::ZERO) {
                tracing::debug!(%error, "kafka: a consumer");
            }
        }
        let waited = self.bell.ringing.wait_timeout_while(locked(&self.bell.rung), timeout, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    fn waker(&self) -> Waker {
        let bell = Arc::clone(&self.bell);
        Arc::new(move || bell.ring())
    }
}

impl Followed {
    /// Takes what has arrived, up to the budget.
    fn take(&mut self, budget: ReadBudget) -> KafkaResult<Vec<Record>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut records = Vec::with_capacity(self.taken.min(budget.records));
        let mut bytes = 0;
        loop {
            let record = match self.held.take().map_or_else(|| self.poll(), |held| Ok(Some(held))) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) if records.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            };
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            if !records.is_empty() && (records.len() >= budget.records || bytes > budget.bytes) {
                self.held = Some(record);
                break;
            }
            self.position = record.offset + 1;
            records.push(record);
        }
        self.taken = records.len();
        Ok(records)
    }

    /// The next record that has arrived.
    fn poll(&mut self) -> KafkaResult<Option<Record>> {
        loop {
            match self.queue.poll(Duration::ZERO) {
                None => return Ok(None),
                // Fetched before a seek.
                Some(Ok(message)) if message.offset() < self.position => {}
                Some(Ok(message)) => {
                    self.end = End::Unknown;
                    return Ok(Some(self.copies.record(&message, self.origin)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.end = match self.end {
                        End::Probed(end) => End::Confirmed(end),
                        _ => End::Reached,
                    };
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    fn seek(&mut self, link: &Link, to: Offset) -> Result<(), LogError> {
        let name = link.names.topic(&self.topic);
        let sought = self.consumer.seek(&name, native(self.partition), KafkaOffset::Offset(to), link.options.patience);
        sought.map_err(|error| storage(format!("going to offset {to} of {name}/{}", self.partition), error))?;
        self.position = to;
        self.held = None;
        self.end = End::Unknown;
        Ok(())
    }

    /// The offset before which there is certainly nothing more than was read.
    fn confirmed(&self) -> Option<Offset> {
        match self.end {
            End::Confirmed(end) if self.held.is_none() => Some(end),
            _ => None,
        }
    }

    /// Goes on to this offset where there is nothing before it: what is fetched next lies behind that.
    fn pass_to(&mut self, offset: Offset) {
        if self.confirmed().is_some_and(|end| self.position < offset && offset <= end) {
            self.position = offset;
        }
    }

    /// Whether everything before `end`, which is the partition's now, has been read; where that is not known, sees to it.
    fn is_at(&mut self, end: Offset, link: &Link) -> Result<bool, LogError> {
        let is_shown = end > link.written(&self.topic, self.partition);
        if self.held.is_some() || !is_shown {
            return Ok(false);
        }
        match self.end {
            _ if self.position >= end => Ok(true),
            End::Confirmed(confirmed) if confirmed >= end => Ok(true),
            End::Probed(probed) if probed >= end => Ok(false),
            End::Unknown => Ok(false),
            End::Reached | End::Confirmed(_) | End::Probed(_) => {
                let position = self.position;
                self.seek(link, position)?;
                self.end = End::Probed(end);
                Ok(false)
            }
        }
    }
}

impl Bell {
    fn ring(&self) {
        *locked(&self.rung) = true;
        self.ringing.notify_all();
    }
}
