//! A bare consumer, to measure readers and stages against: it polls with their settings, and drops what comes.

use super::link::{Telling, native, storage};
use super::options::KafkaOptions;
use crate::log::{LogError, PartitionId};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::time::{Duration, Instant};

/// What a bare consumer has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// From the first record to the partition's end.
    pub took: Duration,
}

/// Reads a partition from its start to its end with a consumer of its own.
///
/// # Errors
/// When the partition cannot be read.
pub fn drain(options: &KafkaOptions, topic: &str, partition: PartitionId) -> Result<Drained, LogError> {
    let names = options.names();
    let name = names.topic(topic);
    let doing = || format!("draining {name}/{partition}");
    let consumer = options.reader(Telling)?;
    let mut assigned = TopicPartitionList::new();
    let added = assigned.add_partition_offset(&name, native(partition), KafkaOffset::Beginning);
    added.and_then(|()| consumer.assign(&assigned)).map_err(|error| storage(doing(), error))?;
    let mut drained = Drained::default();
    let mut started = None;
    loop {
        match consumer.poll(options.patience) {
            Some(Ok(message)) => {
                started.get_or_insert_with(Instant::now);
                drained.records += 1;
                drained.bytes += message.payload_len() as u64;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(storage(doing(), error)),
            None => return Err(storage(doing(), KafkaError::NoMessageReceived)),
        }
    }
    drained.took = started.map_or(Duration::ZERO, |started| started.elapsed());
    Ok(drained)
}
