//! Topics as their users have them: other numbers of partitions, keys that are no ids, records of several events. Through
//! a repartition every prediction meets its label, none is late for the order in which partitions are read, and each is
//! counted once, whoever dies.

use arrow::array::AsArray;
use capture::partial::{CaptureEpoch, EventCounts, LedgerEntry};
use codec::columns::EVENT_ID;
use driftline_tests::{On, Running, Workplace, all, archived_files};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streams::control::Control;
use streams::log::kafka::{KafkaLog, KafkaOptions};
use streams::log::{Log, ReadBudget};
use streams::topics;

const PATIENCE: Duration = Duration::from_secs(60);
const ALL: ReadBudget = ReadBudget { records: 4_096, bytes: 64 << 20 };
/// Partitions of the users' topics, and of Driftline's.
const INFERENCES: i32 = 3;
const LABELS: i32 = 5;
const PARTITIONS: u32 = 4;
const ROWS: i64 = 2_400;
/// From one row to the next: sixteen times the allowed disorder lies between the first and the last.
const STEP_MS: i64 = 400;
/// Rows in one record, of one topic and the other.
const TOGETHER: (usize, usize) = (7, 4);
/// Records that cannot be read, of each topic.
const BAD: [Option<&[u8]>; 3] = [None, Some(b"{\"id\": \"cut"), Some(b"no event at all")];

const MODEL: &str = "
api: {listen: \"127.0.0.1:0\"}
partitions: 4
epoch: {interval: 200ms}
idle_after: 1h
max_disorder: 1m
archive: {roll_rows: 200}
models:
  bed:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features: {load: numeric}
    windows: {size: 5m}
    labels: {mature: {after: 2m}, horizon: 20m}
";

/// A place, and the users' own producer and topics.
struct House {
    place: Workplace,
    log: Arc<dyn Log>,
    prefix: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    start_ms: i64,
}

impl House {
    fn new(on: &On, repartition: &[&str]) -> Self {
        let On::Kafka { bootstrap, prefix } = on else { panic!("only a Kafka has topics of others") };
        let log = format!(
            "version: 1\nlog: {{directory: driftline-data, kafka: {{bootstrap: \"{bootstrap}\", prefix: \"{prefix}\", \
             input_prefix: \"{prefix}\", repartition: [{}], options: {{fetch.wait.max.ms: 10, \
             session.timeout.ms: 6000, heartbeat.interval.ms: 1000}}}}}}",
            repartition.join(", ")
        );
        let place = Workplace::new(crate::BINARY, &format!("{log}{MODEL}"), on.clone()).unwrap();
        make_topics(bootstrap, prefix);
        let options = KafkaOptions::new(bootstrap).with_prefix(prefix).with_input_prefix(prefix);
        let options = options.with_repartitioned(repartition).with_option("fetch.wait.max.ms", "10").unwrap();
        let log = KafkaLog::connect(options, &format!("{:016x}", rand::random::<u64>())).unwrap();
        let mut producer = ClientConfig::new();
        producer.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true");
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let start_ms = i64::try_from(now_ms).unwrap() - 24 * 3_600_000;
        Self { place, log, prefix: prefix.clone(), producer: producer.create().unwrap(), start_ms }
    }

    /// Sends these rows and their labels: each record goes to the next partition, under a key that says nothing.
    fn send(&self, rows: std::ops::Range<i64>) {
        let rows: Vec<_> = rows.collect();
        for (number, rows) in rows.chunks(TOGETHER.0).enumerate() {
            let events = Value::from(rows.iter().map(|row| self.event(*row)).collect::<Vec<_>>());
            let value = if number % 2 == 0 { rmp_serde::to_vec(&events).unwrap() } else { events.to_string().into() };
            self.produce((topics::INFERENCES, number as i32 % INFERENCES), Some(&value));
        }
        for (number, rows) in rows.chunks(TOGETHER.1).enumerate() {
            let lines: Vec<_> = rows.iter().map(|row| self.label(*row).to_string()).collect();
            self.produce((topics::LABELS, number as i32 % LABELS), Some(lines.join("\n").as_bytes()));
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn event(&self, row: i64) -> Value {
        json!({"id": format!("row-{row}"), "time": self.start_ms + row * STEP_MS, "model": "bed", "version": "1",
            "features": {"load": row % 7}, "prediction": "1"})
    }

    fn label(&self, row: i64) -> Value {
        json!({"id": format!("row-{row}"), "time": self.start_ms + row * STEP_MS + 60_000, "model": "bed", "label": "1"})
    }

    fn produce(&self, (topic, partition): (&str, i32), value: Option<&[u8]>) {
        let topic = format!("{}{topic}", self.prefix);
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).partition(partition).key(b"customer-7");
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Says that every partition has come to its end.
    fn close(&self) {
        for (topic, partitions) in [(topics::INFERENCES, INFERENCES), (topics::LABELS, LABELS)] {
            for partition in 0..partitions {
                let end = Control::EndOfInput(self.start_ms + ROWS * STEP_MS + 60_000).to_record(topic, 0);
                let name = format!("{}{topic}", self.prefix);
                let (key, value) = &end.headers[0];
                let headers = OwnedHeaders::new().insert(Header { key, value: Some(value.as_ref()) });
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&name).partition(partition).headers(headers);
                let record = record.payload(end.value.as_deref().unwrap());
                self.producer.send(record).map_err(|(error, _)| error).unwrap();
            }
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// What capture has counted, and the watermark of each partition. The ledger's ranges meet, to whomever they are told.
    fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for monitor in 0..PARTITIONS {
            let mut read_to: BTreeMap<(String, u32), i64> = BTreeMap::new();
            let mut next = 0;
            loop {
                let records = self.log.read(topics::PARTIALS, monitor, next, ALL).unwrap();
                let Some(last) = records.last() else { break };
                next = last.offset + 1;
                for record in &records {
                    let epoch: CaptureEpoch = rmp_serde::from_slice(record.value.as_deref().unwrap()).unwrap();
                    let entries = epoch.ledger.into_iter().filter(|_| !epoch.continues);
                    entries.for_each(|entry| counted.take(entry, &mut read_to));
                }
            }
        }
        counted
    }
}

impl House {
    /// Rows in the archive, each once.
    fn archived(&self) -> usize {
        let mut ids = BTreeSet::new();
        for (topic, rows) in archived_files(self.log.as_ref(), &self.place.store().unwrap()).unwrap() {
            for id in rows.column_by_name(EVENT_ID).unwrap().as_string::<i32>().iter().flatten() {
                assert!(ids.insert((topic.clone(), id.to_owned())), "{id} of {topic} is archived twice");
            }
        }
        ids.len()
    }
}

#[derive(Debug, Default)]
struct Counted {
    by_topic: BTreeMap<String, EventCounts>,
    dead_letters: i64,
    watermarks_ms: BTreeMap<(String, u32), i64>,
}

impl Counted {
    fn take(&mut self, entry: LedgerEntry, read_to: &mut BTreeMap<(String, u32), i64>) {
        let place = (entry.to.topic, entry.to.partition);
        let last = read_to.insert(place.clone(), entry.to.offset).unwrap_or(0);
        assert_eq!(entry.from, last, "the ledger's ranges of {place:?} meet");
        let counts = self.by_topic.entry(place.0.clone()).or_default();
        entry.counts.values().for_each(|more| counts.add(more));
        self.dead_letters += entry.dead_letters.values().sum::<i64>();
        self.watermarks_ms.insert(place, entry.watermark_ms.unwrap_or(i64::MIN));
    }

    fn of(&self, topic: &str) -> EventCounts {
        self.by_topic.get(topic).cloned().unwrap_or_default()
    }

    /// Everything that was sent is captured and joined.
    fn is_whole(&self) -> bool {
        let bad = BAD.len() as i64 * 2;
        [topics::INFERENCES, topics::LABELS].iter().all(|topic| self.of(topic).produced >= ROWS)
            && self.of(topics::LABELS).labelled >= ROWS
            && self.dead_letters >= bad
    }

    /// The end was said to every partition.
    fn is_closed(&self, end_ms: i64) -> bool {
        self.watermarks_ms.len() == 2 * PARTITIONS as usize && self.watermarks_ms.values().all(|ms| *ms >= end_ms)
    }
}

fn make_topics(bootstrap: &str, prefix: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (topic, partitions) in [(topics::INFERENCES, INFERENCES), (topics::LABELS, LABELS)] {
        let name = format!("{prefix}{topic}");
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(-1));
        let topic = topic.set("message.timestamp.type", "LogAppendTime");
        for made in runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap() {
            made.unwrap();
        }
    }
}

#[test]
fn every_prediction_meets_its_label_whatever_the_partitions_and_keys_and_whoever_dies() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    let house = House::new(&kafka, &topics::REPARTITIONABLE);
    house.send(0..ROWS / 2);
    for (topic, step) in [("inferences", "settled:1"), ("labels", "handed-over:2"), ("inferences", "committed:3")] {
        let plan = format!("repartition-{topic}:{step}");
        house.place.run_to_its_death(&[("DRIFTLINE_TEST_CRASH", &plan)]).unwrap();
    }
    for (value, topic) in BAD.into_iter().flat_map(|value| topics::REPARTITIONABLE.map(|topic| (value, topic))) {
        house.produce((topic, 2), value);
    }
    house.send(ROWS / 2..ROWS);
    let mut first = house.place.start().unwrap();
    let some = |of: &House| (of.counted().of(topics::INFERENCES).produced > 0).then_some(());
    first.until("something is captured", |_| Ok(some(&house))).unwrap();
    let mut second = house.place.start().unwrap();
    first.kill().unwrap();
    second.until("everything is captured", |_| Ok(house.counted().is_whole().then_some(()))).unwrap();
    house.close();
    let end_ms = house.start_ms + ROWS * STEP_MS;
    second.until("the end is said", |_| Ok(house.counted().is_closed(end_ms).then_some(()))).unwrap();
    let archived = |service: &Running| {
        let behind = service.metric("driftline_stage_lag_records", &[("stage", "archive")])?;
        Ok((behind == 0.0).then_some(()))
    };
    second.until("the archive has read everything", archived).unwrap();
    second.stop().unwrap();
    check(&house);
}

fn check(house: &House) {
    let counted = house.counted();
    for topic in topics::REPARTITIONABLE {
        let counts = counted.of(topic);
        let wrong = [counts.late, counts.duplicates, counts.misplaced, counts.orphaned, counts.expired];
        assert_eq!((counts.produced, wrong), (ROWS, [0; 5]), "{topic}");
        let letters = all(house.log.as_ref(), &topics::dead_letters_of(topic)).unwrap();
        assert_eq!(letters.len(), BAD.len(), "dead letters of {topic}");
    }
    assert_eq!(counted.of(topics::LABELS).labelled, ROWS);
    assert_eq!(counted.dead_letters, 2 * BAD.len() as i64);
    assert_eq!(house.archived() as i64, 2 * ROWS, "rows in the archive");
    println!(
        "repartition: {ROWS} predictions in {INFERENCES} partitions met their labels in {LABELS}, and none was late"
    );
}

#[test]
fn a_topic_of_other_partitions_is_refused_with_the_setting_that_takes_it_in() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    let house = House::new(&kafka, &[topics::LABELS]);
    let output = house.place.command(&["run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    let expected = "inferences has partitions 3, and 4 is needed: add `inferences` to log.kafka.repartition";
    assert!(said.contains(expected), "{said}");
}
