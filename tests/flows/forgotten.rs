//! Predictions wait for their labels while their topics forget them: a restart has them from the archive, or says that it
//! cannot. And a label horizon for which nothing keeps them is refused at the start.

use capture::archive::Archive;
use capture::partial::{CaptureEpoch, EventCounts};
use capture::stage::Capture;
use driftline_tests::{Answer, On, Running, Sent, Workplace, all};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::SystemTime;
use streams::log::{Log, Retention, TopicSpec};
use streams::stage::{Share, StageSpec};
use streams::topics;

const PARTITIONS: u32 = 2;
const ROWS: i64 = 200;
/// The first of them get their labels before the restart.
const LABELLED_FIRST: i64 = 50;
const MINUTE_MS: i64 = 60_000;

const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: 2
epoch: {interval: 100ms}
idle_after: 1h
max_disorder: 1m
archive: {roll_rows: 1}
models:
  fare:
    task: {type: regression}
    features: {km: numeric, zone: categorical}
    segments: {far: \"CASE WHEN km > 5 THEN 'far' ELSE 'near' END\"}
    windows: {size: 5m}
    labels: {mature: {after: 2m}, horizon: 20m}
";

#[test]
fn labels_meet_predictions_that_their_topic_has_forgotten() {
    labels_meet_forgotten_predictions(On::Embedded);
}

#[test]
fn labels_meet_predictions_that_their_topic_has_forgotten_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    labels_meet_forgotten_predictions(kafka);
}

fn labels_meet_forgotten_predictions(on: On) {
    let (place, stream) = (Workplace::new(crate::BINARY, CONFIGURATION, on.clone()).unwrap(), Stream::begun());
    let mut service = place.start().unwrap();
    stream.predict_and_label_some(&mut service);
    let progress = place.progress().unwrap();
    let (capture, archive) = (Capture::spec(), Archive::spec());
    until_everywhere(&mut service, "what is captured is archived", |topic, partition| {
        Ok(progress.reached(&archive, topic, partition)? == progress.reached(&capture, topic, partition)?)
    });
    drop(progress);
    service.stop().unwrap();
    forget(&place, &on);
    let mut service = place.start().unwrap();
    stream.label(&service, LABELLED_FIRST..ROWS);
    // One of them comes a second time: it is known though no topic has its first any more.
    stream.predict(&service, 7..8);
    until(&mut service, ("driftline_labels_matched_total", ROWS));
    until(&mut service, ("driftline_events_total", ROWS + 1));
    service.stop().unwrap();
    let counts = counts(&place);
    assert_eq!((counts.produced, counts.labelled), (2 * ROWS + 1, ROWS), "rows and labels; labelled");
    assert_eq!((counts.duplicates, counts.expired, counts.orphaned, counts.relabelled), (1, 0, 0, 0));
}

/// Behind the last record of a partition that is written in transactions is the mark of the last one, which nobody reads.
#[test]
fn quiet_partitions_may_forget_all_that_they_have_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    let configuration = CONFIGURATION.replace("idle_after: 1h", "idle_after: 1s");
    let (place, stream) = (Workplace::new(crate::BINARY, &configuration, kafka.clone()).unwrap(), Stream::begun());
    let mut service = place.start().unwrap();
    stream.predict_and_label_some(&mut service);
    let (progress, log) = (place.progress().unwrap(), place.log().unwrap());
    for stage in [Capture::spec(), Archive::spec()] {
        until_everywhere(&mut service, "it is behind the last marks", |topic, partition| {
            Ok(progress.reached(&stage, topic, partition)? == log.bounds(topic, partition)?.end)
        });
    }
    drop(progress);
    service.stop().unwrap();
    forget(&place, &kafka);
    assert!(inputs().all(|(topic, partition)| {
        let bounds = log.bounds(topic, partition).unwrap();
        bounds.first == bounds.end
    }));
    let mut service = place.start().unwrap();
    // Those that are waited for come from the archive.
    stream.label(&service, LABELLED_FIRST..ROWS);
    until(&mut service, ("driftline_labels_matched_total", ROWS));
    service.stop().unwrap();
    assert_eq!(counts(&place).labelled, ROWS);
}

#[test]
fn predictions_that_are_in_no_archive_either_are_an_error_that_names_their_offsets() {
    forgotten_and_not_archived(On::Embedded);
}

#[test]
fn predictions_that_are_in_no_archive_either_are_an_error_that_names_their_offsets_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    forgotten_and_not_archived(kafka);
}

fn forgotten_and_not_archived(on: On) {
    let (place, stream) = (Workplace::new(crate::BINARY, CONFIGURATION, on.clone()).unwrap(), Stream::begun());
    let mut service = place.start_stages("capture,monitor").unwrap();
    stream.predict_and_label_some(&mut service);
    service.stop().unwrap();
    forget(&place, &on);
    let mut service = place.start().unwrap();
    let said = service.until("capture says what it lacks", |service: &Running| {
        let Answer { status, body } = service.get("/readyz")?;
        let said = body.to_string();
        Ok((status == 503 && said.contains("not in the archive")).then_some(said))
    });
    let said = said.unwrap();
    assert!(said.contains("inferences/") || said.contains("labels/"), "{said}");
    assert!(said.contains("has passed its retention up to offset") && said.contains("offsets 0 to"), "{said}");
    assert!(said.contains("let the stage `archive` run"), "{said}");
    assert_eq!(counts(&stopped(place, service)).labelled, LABELLED_FIRST, "nothing was skipped and gone on from");
}

#[test]
fn a_label_horizon_that_nothing_keeps_predictions_for_is_refused_at_the_start() {
    let log = "log: {directory: driftline-data, retention: {age: 15m}}";
    let refused = |configuration: &str, arguments: &[&str]| {
        let place = Workplace::new(crate::BINARY, configuration, On::Embedded).unwrap();
        let output = place.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let configuration = CONFIGURATION.replace("log: LOG", log);
    let (code, said) = refused(&configuration, &["run", "--stages", "capture,monitor"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("predictions of fare wait 26m for their labels"), "{said}");
    assert!(said.contains("their topics keep them 15m") && said.contains("run the stage `archive`"), "{said}");
    let short = configuration.replace("roll_rows: 1", "roll_rows: 1, keep: 25m");
    let (code, said) = refused(&short, &["run"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("driftline.yaml:16: models.fare.labels.horizon: predictions of fare wait 26m"), "{said}");
    assert!(said.contains("the archive 25m (archive.keep)"), "{said}");
    let private = configuration.replace("km: numeric", "km: {kind: numeric, privacy: profile_only}");
    let (code, said) = refused(&private, &["run"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has no values of `km`, which a segment follows from"), "{said}");
}

/// On Kafka how long a topic keeps its records is its owner's to say, and the broker's to tell.
#[test]
fn a_label_horizon_beyond_what_kafka_keeps_is_refused_at_the_start() {
    let Some(on) = On::kafka().unwrap() else { return };
    let place = Workplace::new(crate::BINARY, CONFIGURATION, on).unwrap();
    let log = place.log().unwrap();
    let age = Some(std::time::Duration::from_secs(15 * 60));
    for topic in [topics::INFERENCES, topics::LABELS] {
        let retention = Retention { age, bytes_per_partition: None };
        log.ensure_topic(&TopicSpec { name: topic.into(), partitions: PARTITIONS, retention }).unwrap();
    }
    let output = place.command(&["run", "--stages", "capture,monitor"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("their topics keep them 15m"), "{said}");
    // With the archive they are kept long enough.
    place.start().unwrap().stop().unwrap();
}

/// Predictions a second apart, which began an hour ago.
struct Stream {
    start_ms: i64,
}

impl Stream {
    fn begun() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self { start_ms: i64::try_from(now.as_millis()).unwrap() - 60 * MINUTE_MS }
    }

    fn predict(&self, service: &Running, rows: Range<i64>) {
        let event = |row: i64| {
            json!({"id": format!("ride-{row}"), "time": self.start_ms + row * 1_000, "model": "fare", "version": "1",
                "features": {"km": row % 10, "zone": "inner"}, "prediction": row})
        };
        send(service, "/v1/events", rows.map(event).collect());
    }

    fn label(&self, service: &Running, rows: Range<i64>) {
        let label = |row: i64| {
            let time_ms = self.start_ms + row * 1_000 + MINUTE_MS;
            json!({"id": format!("ride-{row}"), "time": time_ms, "model": "fare", "label": row + 1})
        };
        send(service, "/v1/labels", rows.map(label).collect());
    }

    fn predict_and_label_some(&self, service: &mut Running) {
        self.predict(service, 0..ROWS);
        self.label(service, 0..LABELLED_FIRST);
        until(service, ("driftline_events_total", ROWS));
        until(service, ("driftline_labels_matched_total", LABELLED_FIRST));
    }
}

fn send(service: &Running, path: &str, rows: Vec<Value>) {
    for row in rows {
        let answer = service.post(path, Sent::json_lines(row.to_string().as_bytes())).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn until(service: &mut Running, (metric, wanted): (&str, i64)) {
    let reached =
        |service: &Running| Ok((service.metric(metric, &[("model", "fare")])? >= wanted as f64).then_some(()));
    service.until(metric, reached).unwrap();
}

/// Waits until something holds for each partition of both inputs.
fn until_everywhere(service: &mut Running, what: &str, holds: impl Fn(&str, u32) -> anyhow::Result<bool>) {
    let everywhere = |_: &Running| {
        for (topic, partition) in inputs() {
            if !holds(topic, partition)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    service.until(what, everywhere).unwrap();
}

fn stopped(place: Workplace, service: Running) -> Workplace {
    // Its capture has failed, so that it does not end with 0.
    drop(service);
    place
}

/// Deletes from the input topics all that capture has read and committed.
fn forget(place: &Workplace, on: &On) {
    let log = place.log().unwrap();
    match on {
        On::Embedded => {
            let nothing = Retention { age: None, bytes_per_partition: Some(0) };
            for topic in [topics::INFERENCES, topics::LABELS] {
                let spec = TopicSpec { name: topic.to_owned(), partitions: PARTITIONS, retention: nothing };
                log.ensure_topic(&spec).unwrap();
            }
            log.enforce_retention(0).unwrap();
        }
        On::Kafka { bootstrap, prefix } => {
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
            let mut deleted = TopicPartitionList::new();
            for (topic, partition) in inputs() {
                let committed = Offset::Offset(committed(log.as_ref(), topic, partition));
                deleted.add_partition_offset(&format!("{prefix}{topic}"), partition as i32, committed).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(admin.delete_records(&deleted, &AdminOptions::new())).unwrap();
        }
    }
    for (topic, partition) in inputs() {
        assert!(log.bounds(topic, partition).unwrap().first > 10, "{topic}/{partition} has forgotten its head");
    }
}

fn inputs() -> impl Iterator<Item = (&'static str, u32)> {
    [topics::INFERENCES, topics::LABELS].into_iter().flat_map(|topic| (0..PARTITIONS).map(move |at| (topic, at)))
}

fn committed(log: &dyn Log, topic: &str, partition: u32) -> i64 {
    let share = StageSpec { share: Share::One(partition), ..Capture::spec() };
    log.committed(&share.group(), topic, partition).unwrap().unwrap().offset
}

/// What capture counted in all.
fn counts(place: &Workplace) -> EventCounts {
    let mut counts = EventCounts::default();
    for record in all(place.log().unwrap().as_ref(), topics::PARTIALS).unwrap() {
        let epoch: CaptureEpoch = rmp_serde::from_slice(record.value.as_deref().unwrap()).unwrap();
        epoch.ledger.iter().flat_map(|entry| entry.counts.values()).for_each(|of| counts.add(of));
    }
    counts
}
