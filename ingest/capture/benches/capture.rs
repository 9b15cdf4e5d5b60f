//! From the embedded log to partial profiles: the capture stage on its runner, as the service runs it.
//!
//! Measured is the time from the start of the stage until everything on the log is read, decoded, profiled and committed:
//! records of 256 MessagePack events in one partition, against a reference with 256 fine bins a column, epochs of 128
//! MiB, every commit durable (`synchronous = full`). The start itself, with reading the reference and planning
//! the queries, is included. Appending the same records, durable too, stands apart.
//!
//! The promise is a million events a second on 2 cores for `plain`, a model without labels. `segment` slices the traffic by
//! a SQL expression too, so that every row is profiled twice. `labels awaited` remembers the id of every event, of which half
//! a million wait at the end: the worst case, since no label ever comes.
//!
//! What bounds it: the stage's one thread. Half of its time goes into decoding, a quarter into profiles and grouping, a tenth
//! into reading; the second core commits, and is idle otherwise. The file lies in the system's cache. Where ids are
//! remembered, memory is the bound: each id is looked up, and allocated, far apart from the last. Appending is bound by the
//! disk: each call waits for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first surprise; criterion's macro writes main"
)]

#[path = "../../codec/benches/event/mod.rs"]
mod event;

use bytes::Bytes;
use capture::join::{LabelPolicy, LabelSpace};
use capture::learn::learn_reference;
use capture::references::{ReferenceCache, ReferenceRegistry};
use capture::segments::{SegmentSource, SegmentSpec};
use capture::stage::{Capture, CaptureSpec};
use capture::watched::{SequentialPolicy, WatchedModel};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use detectors::panel::PanelPolicy;
use detectors::reference::Origin;
use detectors::windows::WindowSpec;
use event::{MODEL, VERSION, decoder, event, schema};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::crash::Crash;
use streams::log::embedded::{EmbeddedLog, Options};
use streams::log::{Log, NewRecord, Record, Retention, TopicSpec};
use streams::runner::{
    EpochFigures, EpochPolicy, Lag, RestartCause, Runner, RunnerContext, SealWhen, StageFactory, StageTelemetry,
    wait_until_quiet,
};
use streams::stage::{StageError, StageSpec};
use streams::store::{Artifacts, Store};
use streams::topics;
use tempfile::TempDir;

const EVENTS_PER_RECORD: u64 = 256;
const RECORDS: u64 = 2_048;
const EVENTS: u64 = RECORDS * EVENTS_PER_RECORD;
/// Records of one append.
const BATCH: usize = 32;
/// As the service has it where there are four partitions.
const EPOCH_BYTES: usize = 128 << 20;
/// As in the service, by default.
const LABEL_MEMORY: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A log with a reference and events on it, and where the reference is kept.
struct House {
    log: Arc<EmbeddedLog>,
    store: Arc<Store>,
    space: Arc<LabelSpace>,
    _directory: TempDir,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(directory.path().join("log"), Options::default()).unwrap();
        for name in [topics::INFERENCES, topics::LABELS, topics::MODELS, topics::PARTIALS] {
            let topic = TopicSpec { name: name.to_owned(), partitions: 1, retention: Retention::default() };
            log.ensure_topic(&topic).unwrap();
        }
        let store = Arc::new(Store::in_directory(&directory.path().join("store")).unwrap());
        let space = Arc::new(LabelSpace::new(directory.path().join("labels"), LABEL_MEMORY));
        Self { log, store, space, _directory: directory }
    }

    /// Announces a reference learned from ordinary events.
    fn learn(&self, watched: &Arc<WatchedModel>) {
        let mut decoder = decoder();
        for (offset, record) in (0..).zip(records(0..64)) {
            let NewRecord { key, value, headers, .. } = record;
            let headers = headers.into();
            decoder.decode_events(0, &Record { offset, append_time_ms: i64::MAX / 2, key, value, headers }).unwrap();
        }
        let rows = decoder.take().unwrap().events.remove(0).batch;
        let origin = Origin::File { name: "benchmark".to_owned(), digest: String::new() };
        let reference = learn_reference(watched, VERSION, &rows, origin).unwrap();
        let artifact = Artifacts::put(self.store.as_ref(), reference.to_bytes().unwrap().into()).unwrap();
        let news =
            json!({"data": {"model": MODEL, "kind": "reference_learned", "version": VERSION, "artifact": artifact}});
        self.log.append(&[new_record(topics::MODELS, news.to_string().into())]).unwrap();
    }

    /// Captures everything on the log under a name that has captured nothing; returns how long that took.
    fn capture(&self, watched: &Arc<WatchedModel>, name: String) -> Duration {
        let (store, space, watched) = (Arc::clone(&self.store), Arc::clone(&self.space), Arc::clone(watched));
        let factory: StageFactory = Arc::new(move || {
            let spec = CaptureSpec {
                models: vec![Arc::clone(&watched)],
                partitions: 1,
                monitors: 1,
                record_bytes: usize::MAX,
                disorder: Duration::from_secs(1),
                watermark_alignment: None,
                decoder: decoder(),
                references: ReferenceRegistry::new(ReferenceCache::new(Arc::clone(&store) as _)),
                label_space: Arc::clone(&space),
                archive: None,
            };
            let capture = Capture::new(spec).map_err(|error| StageError::failed("setting up capture", error))?;
            Ok(Box::new(capture))
        });
        let policy = EpochPolicy {
            interval: PATIENCE,
            awaited: PATIENCE,
            bytes: EPOCH_BYTES,
            seal_when: SealWhen::CaughtUp,
            idle_after: PATIENCE,
        };
        let log: Arc<dyn Log> = Arc::clone(&self.log) as _;
        let context = RunnerContext {
            log: Arc::clone(&log),
            files: Arc::clone(&self.store) as _,
            policy,
            telemetry: Arc::new(Loud),
            crash: Crash::default(),
        };
        let start = Instant::now();
        let stage = Runner::spawn(StageSpec { name, ..Capture::spec() }, factory, context).unwrap();
        assert!(wait_until_quiet(&[&stage], log.as_ref(), PATIENCE).unwrap(), "{:?}", stage.status());
        let took = start.elapsed();
        stage.shutdown();
        stage.join().unwrap();
        took
    }
}

/// Says only what must not happen here.
struct Loud;

impl StageTelemetry for Loud {
    fn epoch_committed(&self, _stage: &str, _epoch: EpochFigures) {}

    fn aborted(&self, _stage: &str) {}

    fn restarted(&self, stage: &str, _cause: RestartCause, error: &StageError) {
        panic!("{stage}: {error}");
    }

    fn failed_for_good(&self, stage: &str, _cause: RestartCause, error: &StageError) {
        panic!("{stage}: {error}");
    }

    fn rebalanced(&self, _stage: &str) {}

    fn lag(&self, _stage: &StageSpec, _input: (&str, u32), _lag: Lag) {}

    fn let_go(&self, _stage: &StageSpec, _input: (&str, u32)) {}
}

fn watched() -> WatchedModel {
    WatchedModel {
        name: MODEL.into(),
        schema: schema(),
        windows: WindowSpec::tumbling(Duration::from_secs(60)).unwrap(),
        step_ms: 1_000,
        segments: Vec::new(),
        labels: None,
        panel: PanelPolicy::default(),
        sequential: SequentialPolicy { adwin: true, page_hinkley: true, ..SequentialPolicy::default() },
    }
}

fn with_labels() -> WatchedModel {
    let day_ms = 86_400_000;
    let labels = LabelPolicy {
        ages_ms: vec![day_ms],
        coverage: None,
        horizon_ms: 2 * day_ms,
        absent: None,
        max_pending: 10_000_000,
    };
    WatchedModel { labels: Some(labels), ..watched() }
}

fn with_segment() -> WatchedModel {
    let expression = "CASE WHEN measure_00 >= 500 THEN 'high' ELSE 'low' END".to_owned();
    let segment = SegmentSpec { name: "level".to_owned(), source: SegmentSource::Expression(expression) };
    WatchedModel { segments: vec![segment], ..watched() }
}

fn new_record(topic: &str, value: Bytes) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        partition: 0,
        key: None,
        value: Some(value),
        headers: Vec::new(),
        appended_ms: None,
    }
}

fn records(numbers: std::ops::Range<u64>) -> Vec<NewRecord> {
    let values = numbers.map(|number| {
        let events: Vec<_> = (0..EVENTS_PER_RECORD).map(|n| event(number * EVENTS_PER_RECORD + n)).collect();
        rmp_serde::to_vec_named(&events).unwrap()
    });
    values.map(|value| new_record(topics::INFERENCES, value.into())).collect()
}

fn capture(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log to partials");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    let records = records(0..RECORDS);
    for (name, watched) in [("plain", watched()), ("labels awaited", with_labels()), ("segment", with_segment())] {
        let (house, watched) = (House::new(), Arc::new(watched));
        house.learn(&watched);
        records.chunks(BATCH).for_each(|batch| house.log.append(batch).unwrap());
        let mut runs = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let run = |_| {
                    runs += 1;
                    house.capture(&watched, format!("capture-{runs}"))
                };
                (0..times).map(run).sum()
            });
        });
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    let batch = records(0..BATCH as u64);
    group.throughput(Throughput::Elements(BATCH as u64 * EVENTS_PER_RECORD)).sample_size(20);
    let house = House::new();
    group.bench_function("32 records of 256 events", |bencher| {
        bencher.iter_batched(|| (), |()| house.log.append(&batch).unwrap(), BatchSize::PerIteration);
    });
}

criterion_group!(benches, capture, append);
criterion_main!(benches);
