//! A transactional producer: records and offsets, all or nothing.
//!
//! A writer that has failed is not used again: whoever owns it makes another with the same transactional id, and the
//! broker ends what the first may have left open. Every call is bounded in time, whatever librdkafka makes of the time-out
//! it is given. A call that hangs keeps its thread and its producer, and another writer goes on.

use super::copies::APPENDED;
use super::link::{Link, PartitionName, is_displaced, locked, native, storage, tell, tell_error};
use super::options::client_error;
use crate::log::{LogError, NewRecord, Offset, PartitionId};
use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long deliveries are waited for before it is looked whether all are there.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How much longer than its time-out a call may take before it is left behind.
const GRACE: Duration = Duration::from_secs(2);
/// The longest that a group's coordinator is given to take offsets: milliseconds as a rule, some seconds while it loads what
/// groups have committed. For one that has moved librdkafka may wait for ever (its issues 5456 and 5511), where a new
/// producer finds it at once.
const OFFSETS: Duration = Duration::from_secs(14);
/// How long a transaction that failed may take to be called off; the broker does it otherwise.
const CALL_OFF: Duration = Duration::from_secs(2);

/// Writes transactions, one after the other.
pub(super) struct Writer {
    link: Arc<Link>,
    /// Whose transactions they are, for messages.
    owner: String,
    producer: Arc<BaseProducer<Deliveries>>,
}

/// Where the records of the open transaction went.
#[derive(Default)]
struct Deliveries {
    delivered: Mutex<Delivered>,
}

#[derive(Default)]
struct Delivered {
    /// First and last offset by partition, as the broker calls it.
    offsets: BTreeMap<(String, i32), (Offset, Offset)>,
    failed: Option<KafkaError>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut delivered = locked(&self.delivered);
        match result {
            Ok(message) => {
                let offset = message.offset();
                let place = (message.topic().to_owned(), message.partition());
                let range = delivered.offsets.entry(place).or_insert((offset, offset));
                *range = (range.0.min(offset), range.1.max(offset));
            }
            Err((error, _)) => {
                delivered.failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Writer {
    /// Takes the transactional id over: what an earlier writer with it has open is called off, and it can write no more.
    pub(super) fn fence(link: Arc<Link>, owner: &str) -> Result<Self, LogError> {
        let config = link.options.producer(&link.names.group(owner));
        let producer = BaseProducer::from_config_and_context(&config, Deliveries::default());
        let producer = producer.map_err(|error| client_error(&error))?;
        let writer = Self { owner: owner.to_owned(), producer: Arc::new(producer), link };
        let patience = writer.link.options.patience;
        let begun = writer.watched(patience, move |producer| producer.init_transactions(patience));
        begun.map_err(|error| writer.failure("taking over the transactions", error))?;
        Ok(writer)
    }

    /// Begins a transaction.
    pub(super) fn begin(&self) -> Result<(), LogError> {
        *locked(&self.producer.context().delivered) = Delivered::default();
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.failure("beginning a transaction", error))
    }

    /// Hands records over.
    pub(super) fn hand_over(&self, records: &[NewRecord]) -> Result<(), LogError> {
        records.iter().try_for_each(|record| self.send(record))
    }

    fn send(&self, record: &NewRecord) -> Result<(), LogError> {
        let topic = self.link.names.topic(&record.topic);
        let deadline = self.deadline();
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).partition(native(record.partition));
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.headers = headers_of(record);
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    message = back;
                    self.producer.poll(LOOK_EVERY);
                }
                Err((error, _)) => return Err(self.send_failure(record, error)),
            }
        }
    }

    /// Waits until every record of the transaction is with the broker.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        let deadline = self.deadline();
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > deadline {
                let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
                return Err(self.failure("writing records", error));
            }
            // To poll with a time-out is to spin through the last millisecond of it.
            let before = self.producer.in_flight_count();
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() == before {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        match locked(&self.producer.context().delivered).failed.take() {
            Some(error) => Err(self.failure("writing records", error)),
            None => Ok(()),
        }
    }

    /// The offset of the transaction's first record in a partition, once it is settled.
    pub(super) fn first_offset(&self, topic: &str, partition: PartitionId) -> Option<Offset> {
        let place = (self.link.names.topic(topic), native(partition));
        locked(&self.producer.context().delivered).offsets.get(&place).map(|(first, _)| *first)
    }

    /// Adds a group's offsets to the transaction.
    pub(super) fn offsets(&self, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), LogError> {
        let patience = self.link.options.patience.min(OFFSETS);
        let send = move |producer: &BaseProducer<_>| producer.send_offsets_to_transaction(&offsets, &group, patience);
        let sent = self.watched(patience, send);
        sent.map_err(|error| self.failure("writing offsets", error))
    }

    /// Commits the transaction. What it wrote is remembered, so that readers here wait until it is shown.
    pub(super) fn commit<'r>(&self, topics: impl Iterator<Item = &'r NewRecord>) -> Result<(), LogError> {
        let patience = self.link.options.patience;
        let committed = self.watched(patience, move |producer| producer.commit_transaction(patience));
        committed.map_err(|error| self.failure("committing a transaction", error))?;
        let delivered = locked(&self.producer.context().delivered);
        let mut wrote: BTreeMap<PartitionName, Offset> = BTreeMap::new();
        for record in topics {
            if wrote.contains_key(&(record.topic.clone(), record.partition)) {
                continue;
            }
            let place = (self.link.names.topic(&record.topic), native(record.partition));
            if let Some((_, last)) = delivered.offsets.get(&place) {
                wrote.insert((record.topic.clone(), record.partition), *last);
            }
        }
        self.link.wrote(wrote);
        Ok(())
    }

    /// Calls the transaction off, as far as that can be done, and lets the writer go.
    pub(super) fn call_off(self) {
        if let Err(error) = self.watched(CALL_OFF, |producer| producer.abort_transaction(CALL_OFF)) {
            tracing::debug!(%error, owner = self.owner, "kafka: a transaction is left to the broker");
        }
    }

    /// Makes a call that ends within its time-out, or is left behind.
    fn watched(
        &self,
        timeout: Duration,
        call: impl FnOnce(&BaseProducer<Deliveries>) -> KafkaResult<()> + Send + 'static,
    ) -> KafkaResult<()> {
        let producer = Arc::clone(&self.producer);
        let (say, said) = sync_channel(1);
        let calling = move || {
            let outcome = call(&producer);
            // Before anyone hears of it: whoever made the call is the one that lets the producer go.
            drop(producer);
            // No one listens where the call was given up.
            let _ = say.send(outcome);
        };
        let thread = std::thread::Builder::new().name("kafka-call".to_owned()).spawn(calling);
        let thread = thread.map_err(|error| KafkaError::ClientCreation(format!("no thread for a call: {error}")))?;
        let Ok(outcome) = said.recv_timeout(timeout + GRACE) else {
            tracing::warn!(owner = self.owner, "kafka: a call has outlasted its time-out and is left behind");
            return Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut));
        };
        // It has said all it had to say.
        let _ = thread.join();
        outcome
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.link.options.patience
    }

    fn send_failure(&self, record: &NewRecord, error: KafkaError) -> LogError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => LogError::TooLarge {
                topic: record.topic.clone(),
                bytes: record.value.as_ref().map_or(0, bytes::Bytes::len),
            },
            _ => self.failure("handing over a record", error),
        }
    }

    fn failure(&self, doing: &str, error: KafkaError) -> LogError {
        if is_displaced(&error)
            || self.producer.client().fatal_error().is_some_and(|(code, _)| is_displaced(&KafkaError::Global(code)))
        {
            return LogError::Displaced { group: self.owner.clone() };
        }
        storage(format!("{doing} of {}", self.owner), error)
    }
}

/// The headers of a record, with the time at which a log took it first as the last of them.
fn headers_of(record: &NewRecord) -> Option<OwnedHeaders> {
    if record.headers.is_empty() && record.appended_ms.is_none() {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + 1);
    for (key, value) in &record.headers {
        headers = headers.insert(Header { key, value: Some(value.as_ref()) });
    }
    Some(match record.appended_ms {
        Some(appended_ms) => headers.insert(Header { key: APPENDED, value: Some(&appended_ms.to_string()) }),
        None => headers,
    })
}
