//! A house: a folder with the configuration, a producer of its own, and what is waited for and checked at the end.

use super::Line;
use super::ledger::Ledger;
use super::stream::{CONFIGURATION, MODEL, Row, Stream};
use driftline_tests::{On, Running, Workplace};
use ingest::capture::Capture;
use ingest::log::Log;
use ingest::partition::partition_of;
use ingest::stage::{Share, StageSpec};
use ingest::topics;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// How long a producer tries, and how long it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest record that a producer hands over, before it is compressed.
const MOST_BYTES: u32 = 256 << 20;
/// Pauses of a producer whose queue is full.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A place where driftlines run on one stream.
pub(super) struct House {
    pub(super) place: Workplace,
    pub(super) stream: Stream,
    bootstrap: String,
    prefix: String,
    partitions: u32,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl House {
    pub(super) fn new(on: &On, partitions: u32) -> Self {
        let On::Kafka { bootstrap, prefix } = on else { panic!("faults are a Kafka's") };
        let configuration = CONFIGURATION.replace("PARTITIONS", &partitions.to_string());
        let place = Workplace::new(crate::BINARY, &configuration, on.clone()).unwrap();
        place.write("reference.csv", &Stream::reference()).unwrap();
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5");
        producer.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        producer.set("message.max.bytes", MOST_BYTES.to_string()).set("compression.type", "zstd");
        let (bootstrap, prefix) = (bootstrap.clone(), prefix.clone());
        Self { place, stream: Stream::new(7), bootstrap, prefix, partitions, producer: producer.create().unwrap() }
    }

    /// Starts a driftline.
    pub(super) fn start(&self) -> Running {
        self.place.start().unwrap()
    }

    /// The name that a topic has with the broker.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap()
    }

    /// Hands the stream's next rows and their labels to the producer, which goes on sending them.
    pub(super) fn send(&mut self, rows: usize) {
        for row in self.stream.by_ref().take(rows).collect::<Vec<_>>() {
            self.send_row(&row);
        }
    }

    pub(super) fn send_row(&self, row: &Row) {
        let partition = partition_of(&row.id, self.partitions);
        self.produce((topics::INFERENCES, partition), Some(&row.event()));
        if let Some(label) = row.label_event() {
            self.produce((topics::LABELS, partition), Some(&label));
        }
    }

    /// Hands a record over; without a value it is a tombstone.
    pub(super) fn produce(&self, (topic, partition): (&str, u32), value: Option<&[u8]>) {
        let topic = self.topic(topic);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).partition(partition as i32).key(b"key");
        record.payload = value;
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::park_timeout(LOOK_EVERY);
                }
                Err((error, _)) => panic!("handing over a record: {error}"),
            }
        }
    }

    /// Waits until what was handed over is with the broker.
    pub(super) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Ends the stream: what comes is so much later that everything of before is over in every partition.
    pub(super) fn close(&mut self) {
        let mut closed = vec![0; self.partitions as usize];
        for number in 0.. {
            let row = self.stream.closing(number);
            let slot = &mut closed[partition_of(&row.id, self.partitions) as usize];
            // Of each partition one gets a label and one does not.
            let kind = if row.label.is_some() { 1 } else { 2 };
            if *slot & kind == 0 {
                *slot |= kind;
                self.send_row(&row);
            }
            if closed.iter().all(|kinds| *kinds == 3) {
                return;
            }
        }
    }

    /// Waits until everything that was sent is captured; how long it is since `fault`.
    pub(super) fn until_captured(&self, running: &mut Running, fault: Instant) -> Duration {
        self.flush();
        let log = self.place.log().unwrap();
        let places = [topics::INFERENCES, topics::LABELS].map(|topic| (0..self.partitions).map(move |p| (topic, p)));
        let ends = places.into_iter().flatten().map(|(topic, p)| (topic, p, log.bounds(topic, p).unwrap().end));
        let ends: Vec<_> = ends.collect();
        let captured = |_: &Running| {
            let is_captured = |(topic, partition, end): &(&str, u32, i64)| {
                committed(log.as_ref(), topic, *partition).is_some_and(|committed| committed >= *end)
            };
            Ok(ends.iter().all(is_captured).then_some(()))
        };
        running.until("everything that was sent is captured", captured).unwrap();
        fault.elapsed()
    }

    /// Ends the stream, waits until all of it is judged, ends the processes in order, and checks what is left.
    pub(super) fn finish(mut self, mut running: Vec<Running>, (fault, times): (&'static str, u32), recovery: Duration) {
        let end_ms = self.stream.end_ms();
        self.close();
        let last = running.last_mut().unwrap();
        self.until_captured(last, Instant::now());
        let is_judged = |service: &Running| {
            let of = [("model", MODEL), ("monitor", "quality")];
            let judged = service.metric("driftline_window_end_timestamp_seconds", &of)?;
            Ok((judged >= end_ms as f64 / 1e3).then_some(()))
        };
        last.until("the last window is judged", is_judged).unwrap();
        self.conclude(running, (fault, times), recovery);
    }

    /// Ends the processes in order, and checks what is left.
    pub(super) fn conclude(&self, running: Vec<Running>, (fault, times): (&'static str, u32), recovery: Duration) {
        running.into_iter().for_each(|service| service.stop().unwrap());
        let ledger = Ledger::read(&self.place, self.partitions);
        let (lost, doubled) = ledger.lost_and_doubled();
        Line { fault, times, lost, doubled, recovery }.tell();
        ledger.check();
    }
}

/// Up to where capture has committed.
fn committed(log: &dyn Log, topic: &str, partition: u32) -> Option<i64> {
    let share = StageSpec { share: Share::One(partition), ..Capture::spec() };
    // A coordinator that is moving has no answer yet.
    let committed = log.committed(&share.group(), topic, partition).ok().flatten();
    committed.map(|committed| committed.offset)
}
