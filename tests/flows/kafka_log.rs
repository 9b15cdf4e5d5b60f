//! What the log on Kafka promises, on a real broker: all that every log promises, and what Kafka brings about.

use bytes::Bytes;
use driftline_tests::kafka::{fresh_prefix, shared};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::log::kafka::{KafkaLog, KafkaOptions};
use streams::log::{
    Committed, Log, LogError, NewRecord, Progress, Read, ReadBudget, Retention, TopicSpec, Transaction, conformance,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };

/// A log with a prefix of its own.
struct Fixture {
    log: Arc<dyn Log>,
    bootstrap: String,
    prefix: String,
}

impl AsRef<dyn Log> for Fixture {
    fn as_ref(&self) -> &(dyn Log + 'static) {
        self.log.as_ref()
    }
}

impl Fixture {
    fn new(bootstrap: &str) -> Self {
        let (bootstrap, prefix) = (bootstrap.to_owned(), fresh_prefix());
        Self { log: connect(&bootstrap, &prefix), bootstrap, prefix }
    }

    /// As another process sees it.
    fn again(&self) -> Arc<dyn Log> {
        connect(&self.bootstrap, &self.prefix)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap()
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(operation)
    }
}

fn connect(bootstrap: &str, prefix: &str) -> Arc<dyn Log> {
    let options = KafkaOptions::new(bootstrap).with_prefix(prefix).with_input_prefix(prefix);
    let options = options.with_option("fetch.wait.max.ms", "10").unwrap();
    KafkaLog::connect(options, &fresh_prefix()).unwrap()
}

fn topic(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 1, retention: Retention::default() }
}

fn record(topic: &str, value: &str) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { topic: topic.to_owned(), partition: 0, key: None, value, headers: Vec::new(), appended_ms: None }
}

fn values(log: &dyn Log, topic: &str) -> Vec<String> {
    let mut next = log.bounds(topic, 0).unwrap().first;
    let mut all = Vec::new();
    loop {
        let read = log.read(topic, 0, next, ALL).unwrap();
        let Some(last) = read.last() else { return all };
        next = last.offset + 1;
        all.extend(read.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()));
    }
}

fn epoch(value: &str, offset: i64) -> Transaction {
    let committed = Committed { offset, metadata: "0".to_owned() };
    Transaction {
        records: vec![record("out", value)],
        progress: vec![Progress { topic: "in".to_owned(), partition: 0, committed }],
        snapshot: Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}

#[test]
fn it_keeps_what_every_log_promises() {
    let Some(bootstrap) = shared().unwrap() else { return };
    conformance::keeps_every_promise(|| Fixture::new(&bootstrap));
}

#[test]
fn a_process_that_was_taken_over_commits_nothing_any_more() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let first = Fixture::new(&bootstrap);
    for name in ["in", "out"] {
        first.log.ensure_topic(&topic(name)).unwrap();
    }
    first.log.fence("g").unwrap();
    first.log.commit("g", &epoch("first", 1)).unwrap();
    let second = first.again();
    second.fence("g").unwrap();
    let error = first.log.commit("g", &epoch("zombie", 2)).unwrap_err();
    assert!(matches!(&error, LogError::Displaced { group } if group == "g"), "{error}");
    second.commit("g", &epoch("second", 2)).unwrap();
    assert_eq!(values(second.as_ref(), "out"), ["first", "second"]);
    assert_eq!(second.snapshot("g").unwrap().as_deref(), Some(b"second".as_slice()));
    let committed = first.log.committed("g", "in", 0).unwrap().map(|committed| committed.offset);
    assert_eq!(committed, Some(2));
}

#[test]
fn what_retention_deleted_is_an_error_that_names_the_first_record() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let house = Fixture::new(&bootstrap);
    house.log.ensure_topic(&topic("t")).unwrap();
    for value in ["a", "b", "c"] {
        house.log.append(&[record("t", value)]).unwrap();
    }
    let mut deleted = TopicPartitionList::new();
    deleted.add_partition_offset(&house.topic("t"), 0, Offset::Offset(2)).unwrap();
    house.run(house.admin().delete_records(&deleted, &AdminOptions::new())).unwrap();
    let first = house.log.bounds("t", 0).unwrap().first;
    assert_eq!(first, 2);
    let error = house.log.read("t", 0, 0, ALL).unwrap_err();
    assert!(matches!(error, LogError::Expired { wanted: 0, first: 2, .. }), "{error}");
    assert_eq!(house.log.read("t", 0, first, ALL).unwrap().len(), 2, "it reads on elsewhere");
}

/// What capture does where the archive makes up for what is gone.
#[test]
fn a_reader_that_asked_for_what_retention_deleted_reads_on_from_what_is_there() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let house = Fixture::new(&bootstrap);
    house.log.ensure_topic(&TopicSpec { partitions: 2, ..topic("t") }).unwrap();
    for value in ["a", "b", "c"] {
        house.log.append(&[record("t", value)]).unwrap();
    }
    let mut deleted = TopicPartitionList::new();
    deleted.add_partition_offset(&house.topic("t"), 0, Offset::Offset(2)).unwrap();
    house.run(house.admin().delete_records(&deleted, &AdminOptions::new())).unwrap();
    let mut reader = house.log.reader().unwrap();
    let mut answer = |partition, from| loop {
        match reader.read("t", partition, from, ALL) {
            Ok(Read::Pending) => reader.wait(Duration::from_millis(100)),
            answer => return answer,
        }
    };
    // The other partition shares the consumer.
    assert_eq!(answer(1, 0).unwrap(), Read::End);
    let error = answer(0, 0).unwrap_err();
    assert!(matches!(error, LogError::Expired { wanted: 0, first: 2, .. }), "{error}");
    let Read::Records(records) = answer(0, 2).unwrap() else { panic!("there are two") };
    assert_eq!(records.first().map(|record| record.offset), Some(2));
}

#[test]
fn a_topic_that_was_made_anew_is_an_error_that_says_so() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let house = Fixture::new(&bootstrap);
    house.log.ensure_topic(&topic("t")).unwrap();
    for value in ["a", "b", "c"] {
        house.log.append(&[record("t", value)]).unwrap();
    }
    let end = house.log.bounds("t", 0).unwrap().end;
    let names = [house.topic("t")];
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    house.run(house.admin().delete_topics(&names, &AdminOptions::new())).unwrap();
    let other = house.again();
    let deadline = Instant::now() + PATIENCE;
    while other.partitions("t").is_ok() {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    other.ensure_topic(&topic("t")).unwrap();
    let error = other.read("t", 0, end, ALL).unwrap_err();
    assert!(matches!(error, LogError::Beyond { end: 0, .. }), "{error}");
}

#[test]
fn a_topic_that_does_not_fit_is_refused_with_what_differs_and_how_to_mend_it() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let house = Fixture::new(&bootstrap);
    let wanted = Retention { age: Some(Duration::from_secs(3_600)), bytes_per_partition: None };
    for (setting, value, mend) in [
        ("message.timestamp.type", "CreateTime", "message.timestamp.type=LogAppendTime"),
        ("cleanup.policy", "compact", "cleanup.policy=delete"),
        ("retention.ms", "60000", "retention.ms=3600000"),
    ] {
        let name = format!("t-{setting}");
        let made = house.topic(&name);
        let good = [("message.timestamp.type", "LogAppendTime"), ("retention.bytes", "-1"), ("retention.ms", "-1")];
        let mut new = NewTopic::new(&made, 1, TopicReplication::Fixed(1));
        new.config = good.into_iter().filter(|(other, _)| *other != setting).collect();
        let admin = house.admin();
        house.run(admin.create_topics([&new.set(setting, value)], &AdminOptions::new())).unwrap();
        let error = house.log.ensure_topic(&TopicSpec { retention: wanted, ..topic(&name) }).unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, LogError::TopicDiffers { .. }) && said.contains(mend) && said.contains(value),
            "{said}"
        );
    }
}

#[test]
fn a_broker_that_does_not_answer_is_an_error_in_time() {
    let started = Instant::now();
    let options = KafkaOptions::new("127.0.0.1:1").with_patience(Duration::from_secs(2));
    assert!(KafkaLog::connect(options, "x").is_err());
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

/// How fast the reader is against a consumer that drops what it polls; printed, as the machine decides.
#[test]
fn the_reader_returns_every_record_of_a_full_topic() {
    let Some(bootstrap) = shared().unwrap() else { return };
    let house = Fixture::new(&bootstrap);
    house.log.ensure_topic(&topic("t")).unwrap();
    let records = usize::try_from(if std::env::var_os("DRIFTLINE_LONG").is_some() { 400_000 } else { 20_000 }).unwrap();
    let batch: Vec<_> = (0..1_000).map(|n| record("t", &format!("{n:01000}"))).collect();
    (0..records / batch.len()).for_each(|_| house.log.append(&batch).unwrap());
    for _ in 0..2 {
        let bare = bare(&house, records);
        let reader = followed(&house, records);
        println!(
            "records of 1 kB a second: {bare:.0} polled and dropped, {reader:.0} by the reader ({:.2})",
            reader / bare
        );
    }
}

fn followed(house: &Fixture, records: usize) -> f64 {
    let mut reader = house.log.reader().unwrap();
    let started = Instant::now();
    let (mut next, mut found) = (0, 0);
    while found < records {
        match reader.read("t", 0, next, ReadBudget { records: 4_096, bytes: 4 << 20 }).unwrap() {
            Read::Records(read) => {
                next = read.last().unwrap().offset + 1;
                found += read.len();
            }
            Read::End | Read::Pending => reader.wait(PATIENCE),
        }
    }
    records as f64 / started.elapsed().as_secs_f64()
}

fn bare(house: &Fixture, records: usize) -> f64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &house.bootstrap).set("group.id", "bare").set("enable.auto.commit", "false");
    config.set("isolation.level", "read_committed").set("fetch.queue.backoff.ms", "5");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(&house.topic("t"), 0, Offset::Offset(0)).unwrap();
    consumer.assign(&assigned).unwrap();
    let started = Instant::now();
    let mut found = 0;
    while found < records {
        found += usize::from(matches!(consumer.poll(PATIENCE), Some(Ok(_))));
    }
    records as f64 / started.elapsed().as_secs_f64()
}
