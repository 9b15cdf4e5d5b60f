//! A house: a folder with the configuration, a producer of its own, and what is waited for and checked at the end.

use super::Line;
use super::ledger::Ledger;
use super::stream::{CONFIGURATION, MODEL, RETRAINED, Row, Stream};
use capture::archive::Archive;
use capture::stage::Capture;
use driftline_tests::{On, Running, Workplace};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::log::{Log, ReadBudget};
use streams::partition::partition_of;
use streams::stage::{Share, StageSpec};
use streams::topics;

/// How long a producer tries, and how long it is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// The largest record that a producer hands over, before it is compressed.
const MOST_BYTES: u32 = 256 << 20;
const ONE: ReadBudget = ReadBudget { records: 1, bytes: 1 };
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
    looker: BaseConsumer,
    log: OnceCell<Arc<dyn Log>>,
}

impl House {
    pub(super) fn new(on: &On, partitions: u32) -> Self {
        Self::with(on, partitions, CONFIGURATION)
    }

    /// One whose model is retrained again and again.
    pub(super) fn retraining(on: &On, partitions: u32) -> Self {
        Self::with(on, partitions, &format!("{}{RETRAINED}", CONFIGURATION.trim_end()))
    }

    fn with(on: &On, partitions: u32, configuration: &str) -> Self {
        let On::Kafka { bootstrap, prefix } = on else { panic!("faults are a Kafka's") };
        let configuration = configuration.replace("PARTITIONS", &partitions.to_string());
        let place = Workplace::new(crate::BINARY, &configuration, on.clone()).unwrap();
        place.write("reference.csv", &Stream::reference()).unwrap();
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5");
        producer.set("message.timeout.ms", PATIENCE.as_millis().to_string());
        producer.set("message.max.bytes", MOST_BYTES.to_string()).set("compression.type", "zstd");
        let producer = producer.create().unwrap();
        let mut looker = ClientConfig::new();
        looker.set("bootstrap.servers", bootstrap).set("isolation.level", "read_uncommitted");
        let looker = looker.create().unwrap();
        let (bootstrap, prefix) = (bootstrap.clone(), prefix.clone());
        Self { place, stream: Stream::new(7), bootstrap, prefix, partitions, producer, looker, log: OnceCell::new() }
    }

    /// Starts a driftline.
    pub(super) fn start(&self) -> Running {
        self.place.start().unwrap()
    }

    /// The log, by a connection that lasts: one that is made while brokers are coming back may not come about.
    fn log(&self) -> &dyn Log {
        self.log.get_or_init(|| self.place.log().unwrap()).as_ref()
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
        let log = self.log();
        let places = [topics::INFERENCES, topics::LABELS].map(|topic| (0..self.partitions).map(move |p| (topic, p)));
        let ends: Vec<_> = places.into_iter().flatten().map(|place| (place, self.end(place))).collect();
        let captured = |_: &Running| Ok(ends.iter().all(|(place, end)| is_captured(log, *place, *end)).then_some(()));
        running.until("everything that was sent is captured", captured).unwrap();
        fault.elapsed()
    }

    /// The end of a partition, of transactions that have not ended too.
    fn end(&self, (topic, partition): (&str, u32)) -> i64 {
        let (name, started) = (self.topic(topic), Instant::now());
        loop {
            match self.looker.fetch_watermarks(&name, partition as i32, PATIENCE) {
                Ok((_, end)) => return end,
                // A partition whose leader has gone has no end until it has another; librdkafka hears of it when asked to.
                Err(error) => assert!(started.elapsed() < PATIENCE, "looking for the end of {name}: {error}"),
            }
            std::thread::park_timeout(LOOK_EVERY);
            let _ = self.looker.fetch_metadata(Some(&name), PATIENCE);
        }
    }

    /// Up to where the archive has come in each partition of the inferences.
    pub(super) fn archived(&self) -> Vec<i64> {
        let archived = |partition| committed(self.log(), Archive::spec(), (topics::INFERENCES, partition));
        (0..self.partitions).map(|partition| archived(partition).unwrap_or(0)).collect()
    }

    /// Ends the stream, waits until all of it is judged, ends the processes in order, and checks what is left.
    pub(super) fn finish(
        mut self,
        mut running: Vec<Running>,
        (fault, times): (&'static str, u32),
        recovery: Duration,
    ) -> Self {
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
        self
    }

    /// Ends the processes in order, and checks what is left.
    pub(super) fn conclude(&self, mut running: Vec<Running>, (fault, times): (&'static str, u32), recovery: Duration) {
        let has_begun = |_: &Running| Ok(self.archived().iter().all(|offset| *offset > 0).then_some(()));
        running.last_mut().unwrap().until("the archive has come somewhere everywhere", has_begun).unwrap();
        running.into_iter().for_each(|service| service.stop().unwrap());
        let ledger = Ledger::read(&self.place, self.partitions);
        let (lost, doubled) = ledger.lost_and_doubled();
        Line { fault, times, lost, doubled, recovery }.tell();
        ledger.check();
    }
}

/// Whether everything before the end of a partition is captured. What stands last may be a mark, or called off: no one
/// reads it.
fn is_captured(log: &dyn Log, (topic, partition): (&str, u32), end: i64) -> bool {
    let Some(committed) = committed(log, Capture::spec(), (topic, partition)) else { return false };
    let is_last = || {
        let readable = log.bounds(topic, partition).is_ok_and(|bounds| bounds.end >= end);
        readable && log.read(topic, partition, committed, ONE).is_ok_and(|records| records.is_empty())
    };
    committed >= end || is_last()
}

/// Up to where a stage has committed.
fn committed(log: &dyn Log, stage: StageSpec, (topic, partition): (&str, u32)) -> Option<i64> {
    let share = StageSpec { share: Share::One(partition), ..stage };
    // A coordinator that is moving has no answer yet.
    let committed = log.committed(&share.group(), topic, partition).ok().flatten();
    committed.map(|committed| committed.offset)
}
