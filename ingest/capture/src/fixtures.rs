//! What the tests of the stages share: one watched model, its events as JSON, a reference of it, and a driver that takes
//! capture through any interleaving, any epochs and any crash.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "only tests use it"
)]

mod past;
mod totals;

pub use past::Past;
pub use totals::{Totals, assert_alike, tree};

use crate::archive::reader::ArchiveReader;
use crate::join::{LabelPolicy, LabelSpace};
use crate::learn::learn_reference;
use crate::references::{ReferenceCache, ReferenceRegistry};
use crate::segments::{SegmentSource, SegmentSpec};
use crate::stage::{Capture, CaptureSpec};
use crate::watched::{SequentialPolicy, WatchedModel};
use arrow::array::RecordBatch;
use bytes::Bytes;
use codec::decode::{Decoder, Limits, Privacy, Source};
use detectors::panel::{PanelPolicy, Thresholds};
use detectors::reference::{Origin, Reference};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use detectors::statistics::Statistic;
use detectors::windows::WindowSpec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use streams::control::Control;
use streams::log::{NewRecord, PartitionId, Record};
use streams::partition::partition_of;
use streams::stage::{Delivery, Epoch, Gone, Input, Seal, Stage};
use streams::store::{Artifacts, Store};
use streams::topics;
use tempfile::TempDir;

pub const MODEL: &str = "bed";
/// A multiple of every width used here.
pub const START_MS: i64 = 1_700_000_000_000;
pub const DISORDER_MS: i64 = 300;
pub const HORIZON_MS: i64 = 3_000;
/// Rows of the reference, fifty a step.
pub const REFERENCE_ROWS: i64 = 2_500;
pub const PARTITIONS: u32 = 2;

/// Windows of two seconds every second; labels are mature after two and a bit.
pub fn watched() -> WatchedModel {
    let features = [
        ("age".to_owned(), ColumnKind::Numeric),
        ("load".to_owned(), ColumnKind::Numeric),
        ("town".to_owned(), ColumnKind::Categorical),
    ];
    let fixed = [Statistic::Wasserstein, Statistic::JensenShannon, Statistic::ChiSquared];
    let panel = PanelPolicy {
        min_rows: 2,
        thresholds: Thresholds::Fixed(fixed.into_iter().map(|statistic| (statistic, 0.4)).collect()),
        ..PanelPolicy::default()
    };
    WatchedModel {
        name: MODEL.into(),
        schema: ModelSchema::new(features, Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() }),
        windows: WindowSpec::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap(),
        step_ms: 400,
        segments: vec![SegmentSpec {
            name: "years".to_owned(),
            source: SegmentSource::Expression("CASE WHEN age >= 50 THEN 'old' ELSE 'young' END".to_owned()),
        }],
        labels: Some(LabelPolicy {
            ages_ms: vec![500, 2_100],
            coverage: Some(0.9),
            horizon_ms: HORIZON_MS,
            absent: None,
            max_pending: 10_000,
        }),
        panel,
        sequential: SequentialPolicy {
            adwin: true,
            page_hinkley: true,
            e_detector: Some(1_000.0),
            cusum: Some(1_000.0),
        },
    }
}

pub fn source(watched: &WatchedModel) -> Source {
    Source {
        model: Arc::clone(&watched.name),
        schema: watched.schema.clone(),
        segments: watched.segments_from_events(),
        privacy: Privacy::default(),
        mapping: None,
    }
}

pub fn decoder(watched: &WatchedModel) -> Decoder {
    Decoder::new(vec![source(watched)], Limits::default())
}

/// An event whose columns follow from `value`; numbers are dyadic, so that their sums are exact.
pub fn event(id: &str, time_ms: i64, value: i64) -> Value {
    json!({
        "id": id, "time": time_ms, "model": MODEL, "version": "1",
        "features": {"age": value % 90, "load": (value % 16) as f64 / 4.0, "town": format!("t{}", value % 3)},
        "prediction": (value % 2).to_string(), "score": (value % 8) as f64 / 8.0,
    })
}

pub fn label(id: &str, time_ms: i64, label: i64) -> Value {
    json!({"id": id, "time": time_ms, "model": MODEL, "label": label.to_string()})
}

pub fn new_record(topic: &str, partition: PartitionId, value: &Value) -> NewRecord {
    let value = Some(Bytes::from(value.to_string()));
    NewRecord { topic: topic.to_owned(), partition, key: None, value, headers: Vec::new(), appended_ms: None }
}

pub fn as_stored(record: NewRecord, offset: i64, append_time_ms: i64) -> Record {
    Record { offset, append_time_ms, key: record.key, value: record.value, headers: record.headers.into() }
}

/// A reference learned from `rows` ordinary rows, and the record of `models` that announces it.
pub struct Announced {
    pub reference: Reference,
    pub record: Record,
    pub artifacts: Arc<Store>,
    _directory: TempDir,
}

pub fn decoded(watched: &WatchedModel, events: &[Value]) -> RecordBatch {
    let mut decoder = decoder(watched);
    for (offset, event) in (0..).zip(events) {
        decoder
            .decode_events(0, &as_stored(new_record(topics::INFERENCES, 0, event), offset, START_MS + 1_000_000))
            .unwrap();
    }
    decoder.take().unwrap().events.remove(0).batch
}

pub fn announced(watched: &Arc<WatchedModel>) -> Announced {
    announced_with(watched, REFERENCE_ROWS)
}

/// The same of which only so many rows have a label.
pub fn announced_with(watched: &Arc<WatchedModel>, labelled: i64) -> Announced {
    let events: Vec<_> = (0..REFERENCE_ROWS)
        .map(|row| {
            let mut event = event(&format!("r{row}"), START_MS + row * 8, row * 7);
            if row < labelled {
                event["label"] = json!((row % 2).to_string());
            }
            event
        })
        .collect();
    let origin = Origin::File { name: "reference.jsonl".to_owned(), digest: String::new() };
    let reference = learn_reference(watched, "1", &decoded(watched, &events), origin).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let artifacts = Arc::new(Store::in_directory(directory.path()).unwrap());
    let artifact = Artifacts::put(artifacts.as_ref(), reference.to_bytes().unwrap().into()).unwrap();
    let news = json!({"data": {"model": MODEL, "kind": "reference_learned", "version": "1", "artifact": artifact}});
    let record = as_stored(new_record(topics::MODELS, 0, &news), 0, START_MS);
    Announced { reference, record, artifacts, _directory: directory }
}

/// Records of every input partition, in log order.
pub type Inputs = BTreeMap<(&'static str, PartitionId), Vec<Record>>;

/// One thing that a source does.
#[derive(Debug, Clone)]
pub struct Act {
    pub kind: u8,
    pub id: u8,
    pub advance_ms: i64,
    pub back_ms: i64,
    pub value: i64,
}

/// Predictions, labels, both, bad rows and heartbeats: ids come again, early, late and in conflict.
pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (0u8..14, 0u8..12, 0i64..400, 0i64..500, 0i64..1_000)
        .prop_map(|(kind, id, advance_ms, back_ms, value)| Act { kind, id, advance_ms, back_ms, value });
    prop::collection::vec(act, 1..70)
}

/// The records of these acts, with an end-of-input mark in every partition.
pub fn inputs(acts: &[Act]) -> Inputs {
    let mut inputs = Inputs::new();
    let mut now_ms = START_MS;
    let mut append = |record: NewRecord, now_ms: i64| {
        let topic = if record.topic == topics::LABELS { topics::LABELS } else { topics::INFERENCES };
        let records = inputs.entry((topic, record.partition)).or_default();
        // Offsets of a transactional log have holes.
        let offset = records.last().map_or(0, |last: &Record| last.offset + 1 + now_ms % 2);
        records.push(as_stored(record, offset, now_ms));
    };
    for act in acts {
        now_ms += act.advance_ms;
        let id = format!("p{}", act.id);
        let partition = partition_of(&id, PARTITIONS);
        let time_ms = now_ms - act.back_ms;
        let record = match act.kind {
            0..=6 => new_record(topics::INFERENCES, partition, &event(&id, time_ms, act.value)),
            7..=10 => new_record(topics::LABELS, partition, &label(&id, time_ms, act.value % 2)),
            11 => {
                let mut event = event(&id, time_ms, act.value);
                event["label"] = json!((act.value % 2).to_string());
                new_record(topics::INFERENCES, partition, &event)
            }
            12 => new_record(topics::LABELS, partition, &json!({"id": id})),
            _ => Control::Heartbeat(time_ms).to_record(topics::INFERENCES, partition),
        };
        append(record, now_ms);
    }
    for topic in [topics::INFERENCES, topics::LABELS] {
        for partition in 0..PARTITIONS {
            append(Control::EndOfInput(now_ms).to_record(topic, partition), now_ms);
        }
    }
    inputs
}

/// What the runner does next.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Which input partition is read.
    pub input: usize,
    /// How many records are read at once.
    pub records: usize,
    /// What follows: 0 a crash, 1 to 3 the end of the epoch, anything else nothing.
    pub then: u8,
}

pub fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0usize..4, 1usize..6, 0u8..12).prop_map(|(input, records, then)| Turn { input, records, then });
    prop::collection::vec(turn, 0..80)
}

/// A capture stage with a log of its own: what is committed survives a crash, and nothing else does.
pub struct Run<'a> {
    watched: &'a Arc<WatchedModel>,
    announced: &'a Announced,
    inputs: &'a Inputs,
    space: Arc<LabelSpace>,
    /// The archive, and how many quarters of what a restart absorbs again the topics have forgotten.
    past: Option<(&'a Past, usize)>,
    pub capture: Capture,
    /// Places read to, as indices into the inputs' records.
    read: BTreeMap<(&'static str, PartitionId), usize>,
    committed: BTreeMap<(&'static str, PartitionId), usize>,
    resume: BTreeMap<(String, PartitionId), i64>,
    snapshot: Option<Bytes>,
    /// What was written to `partials`, and how many dead letters.
    pub epochs: Vec<Bytes>,
    pub dead_letters: usize,
}

impl<'a> Run<'a> {
    pub fn new(watched: &'a Arc<WatchedModel>, announced: &'a Announced, inputs: &'a Inputs) -> Self {
        let space = roomy();
        Self {
            watched,
            announced,
            inputs,
            capture: capture_in(watched, announced, &space),
            space,
            past: None,
            read: BTreeMap::new(),
            committed: BTreeMap::new(),
            resume: BTreeMap::new(),
            snapshot: None,
            epochs: Vec::new(),
            dead_letters: 0,
        }
    }

    /// Holds ids that wait for labels in this space.
    pub fn within(mut self, space: &Arc<LabelSpace>) -> Self {
        self.capture = capture_in(self.watched, self.announced, space);
        self.space = Arc::clone(space);
        self
    }

    /// Has this archive, where topics forget so many quarters of what a restart absorbs again.
    pub fn forgetting(self, quarters: usize, past: &'a Past) -> Self {
        Self { past: Some((past, quarters)), ..self }
    }

    /// Takes these turns, then reads what is left and ends the last epoch.
    pub fn all(mut self, turns: &[Turn]) -> Self {
        let places: Vec<_> = self.inputs.keys().copied().collect();
        for turn in turns {
            self.read(places[turn.input % places.len()], turn.records);
            match turn.then {
                0 => self.crash(),
                1..=3 => self.seal(),
                _ => {}
            }
        }
        places.into_iter().for_each(|place| self.read(place, usize::MAX));
        self.seal();
        self
    }

    pub fn read(&mut self, place: (&'static str, PartitionId), records: usize) {
        let from = self.read.get(&place).copied().unwrap_or(0);
        let until = from.saturating_add(records).min(self.inputs[&place].len());
        self.absorb(place, (from, until), Delivery::Live);
        self.read.insert(place, until);
    }

    fn absorb(&mut self, place: (&'static str, PartitionId), (from, until): (usize, usize), delivery: Delivery) {
        let (topic, partition) = place;
        let records = &self.inputs[&place][from..until];
        if !records.is_empty() {
            self.capture.absorb(Input::Records { topic, partition, records, delivery }).unwrap();
        }
    }

    pub fn seal(&mut self) {
        let Epoch { records, snapshot, resume_from, .. } = self.capture.seal(Seal::Due).unwrap().unwrap();
        for record in records {
            match record.topic.as_str() {
                topics::PARTIALS => self.epochs.push(record.value.unwrap()),
                _ => self.dead_letters += 1,
            }
        }
        self.snapshot = snapshot.or(self.snapshot.take());
        self.committed = self.read.clone();
        self.resume.extend(resume_from.into_iter().map(|point| ((point.topic, point.partition), point.offset)));
    }

    /// Starts anew from what is committed, as the runner does: replayed records first.
    pub fn crash(&mut self) {
        let archive = self.past.map(|(past, _)| past.reader());
        self.capture = capture_with(self.watched, self.announced, (&self.space, archive));
        if let Some(snapshot) = &self.snapshot {
            self.capture.restore(snapshot).unwrap();
        }
        self.read = self.committed.clone();
        for (place, committed) in self.committed.clone() {
            let resume = self.resume.get(&(place.0.to_owned(), place.1)).copied().unwrap_or(0);
            let from = self.inputs[&place].partition_point(|record| record.offset < resume);
            assert!(from <= committed, "a restart begins no later than where it had committed");
            let from = self.recall(place, resume, (from, committed));
            let half = from + (committed - from) / 2;
            self.absorb(place, (from, half), Delivery::Replayed);
            self.absorb(place, (half, committed), Delivery::Replayed);
        }
    }

    /// Has what the topic has forgotten of these records recalled; says how many are left to be absorbed.
    fn recall(&mut self, place: (&'static str, PartitionId), resume: i64, (from, committed): (usize, usize)) -> usize {
        let Some((_, quarters)) = self.past else { return from };
        let until = from + (committed - from) * quarters / 4;
        let Some(last) = until.checked_sub(1).filter(|_| until > from) else { return from };
        let records = &self.inputs[&place];
        let (topic, partition) = place;
        let mut offsets = resume..records.get(until).map_or(records[last].offset + 1, |first| first.offset);
        while !offsets.is_empty() {
            let gone = Gone { topic, partition, offsets: offsets.clone() };
            offsets.start = self.capture.recall(&gone).unwrap().unwrap();
        }
        until
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for epoch in &self.epochs {
            totals.add(rmp_serde::from_slice(epoch).unwrap());
        }
        totals
    }
}

pub fn book(announced: &Announced) -> ReferenceRegistry {
    ReferenceRegistry::new(ReferenceCache::new(Arc::clone(&announced.artifacts) as _))
}

pub fn announce(stage: &mut dyn Stage, announced: &Announced) {
    let records = std::slice::from_ref(&announced.record);
    stage.absorb(Input::Records { topic: topics::MODELS, partition: 0, records, delivery: Delivery::Live }).unwrap();
}

/// More memory for ids that wait than any test takes, and no directory.
pub fn roomy() -> Arc<LabelSpace> {
    Arc::new(LabelSpace::new("/dev/null/labels", u64::MAX))
}

pub fn capture(watched: &Arc<WatchedModel>, announced: &Announced) -> Capture {
    capture_in(watched, announced, &roomy())
}

/// Capture that holds ids which wait for labels in this space.
pub fn capture_in(watched: &Arc<WatchedModel>, announced: &Announced, space: &Arc<LabelSpace>) -> Capture {
    capture_with(watched, announced, (space, None))
}

/// The same with an archive.
pub fn capture_with(
    watched: &Arc<WatchedModel>,
    announced: &Announced,
    (space, archive): (&Arc<LabelSpace>, Option<ArchiveReader>),
) -> Capture {
    let mut capture = Capture::new(CaptureSpec {
        models: vec![Arc::clone(watched)],
        partitions: PARTITIONS,
        monitors: 1,
        // So few that most epochs are told in several records.
        record_bytes: 2_000,
        disorder: Duration::from_millis(DISORDER_MS as u64),
        watermark_alignment: None,
        decoder: decoder(watched),
        references: book(announced),
        label_space: Arc::clone(space),
        archive,
    })
    .unwrap();
    announce(&mut capture, announced);
    capture
}
