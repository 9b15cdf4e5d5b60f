//! What the stage is tried on: a log, artifacts, trainers and scorers that are no more than the tests need.

use super::super::*;
use crate::command::Action;
use crate::fixtures::lineage;
use crate::job::JobError;
use crate::lifecycle::{ArtifactFormat, ArtifactId, ModelVersion};
use crate::policy::RetrainPolicy;
use crate::process::ProcessError;
use crate::request::{Cause, CauseKind, request_id};
use crate::scorer::{ScoredVersion, Scorer, ScoringError};
use crate::trainer::{TrainedModel, Trainer, TrainingError, TrainingJob};
use crate::trainer_deps::{ArtifactError, ArtifactStore, ChallengerOrigin, LabelledRows, ReferenceLearner, RowSpan};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use codec::columns::{EVENT_TIME, INDEX, LABEL, OFFSET, PARTITION, VERSION};
use detectors::schema::{ColumnKind, ModelSchema, PREDICTION, Task};
use detectors::verdict::{Cut, RowsMatured};
use detectors::windows::Window;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use streams::cloud_event::{Attributes, encode};
use tokio_util::sync::CancellationToken;

pub(super) const SPAN_MS: i64 = 1000;
/// What has matured when the request is made.
pub(super) const MATURED_MS: i64 = 4 * SPAN_MS;

fn schema() -> ModelSchema {
    let task = Task::Binary { positive: "1".into(), negative: "0".into() };
    ModelSchema::new([("x".to_owned(), ColumnKind::Numeric)], task)
}

/// A row every 10 ms; the label is whether `x` is positive, and the champion has every third of them wrong.
struct Rows;

impl LabelledRows for Rows {
    fn between(&mut self, span: RowSpan<'_>) -> Result<RecordBatch, StageError> {
        let numbers: Vec<i64> = (span.event_time.start_ms / 10..span.event_time.end_ms / 10).collect();
        let class = |is_one: bool| if is_one { "1" } else { "0" };
        let is_one = |number: &i64| number % 2 == 0;
        let strings = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            (PARTITION, Arc::new(Int32Array::from(vec![0; numbers.len()])) as ArrayRef),
            (OFFSET, Arc::new(Int64Array::from(numbers.clone()))),
            (INDEX, Arc::new(Int32Array::from(vec![0; numbers.len()]))),
            (EVENT_TIME, Arc::new(numbers.iter().map(|number| number * 10).collect::<Int64Array>())),
            (VERSION, strings(vec!["v1"; numbers.len()])),
            ("x", Arc::new(numbers.iter().map(|n| if is_one(n) { 1.0 } else { -1.0 }).collect::<Float64Array>())),
            (PREDICTION, strings(numbers.iter().map(|n| class(is_one(n) != (n % 3 == 0))).collect())),
            ("score", Arc::new(Float64Array::from(vec![0.5; numbers.len()]))),
            (LABEL, strings(numbers.iter().map(|n| class(is_one(n))).collect())),
        ]);
        batch.map_err(|error| StageError::failed("making rows", error))
    }
}

/// Answers by the sign of `x`, or by its opposite.
struct Sign(f64);

impl Scorer for Sign {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let x = rows.column(0).as_primitive::<Float64Type>();
        let answers: StringArray = x.values().iter().map(|x| Some(if x * self.0 > 0.0 { "1" } else { "0" })).collect();
        let scores = Float64Array::from(vec![0.5; rows.num_rows()]);
        let columns = [(PREDICTION, Arc::new(answers) as ArrayRef), ("score", Arc::new(scores) as ArrayRef)];
        Ok(RecordBatch::try_from_iter(columns).unwrap())
    }
}

/// A trainer that makes the artifact it is told to, or fails.
struct Learns(Option<&'static str>);

/// What the trainer is told where the end of the process is to cut it short.
pub(super) const CUT_SHORT: &str = "cut short";

impl Trainer for Learns {
    fn train(&self, job: &TrainingJob<'_>, stop: &CancellationToken) -> Result<TrainedModel, TrainingError> {
        let rows = job.rows.num_rows();
        if self.0 == Some(CUT_SHORT) {
            stop.cancel();
            return Err(JobError::from(ProcessError::Stopped { program: "train".into() }).into());
        }
        let artifact = self.0.ok_or(TrainingError::TooFewRows { rows, needed: rows + 1 })?;
        Ok(TrainedModel {
            artifact: Bytes::from_static(artifact.as_bytes()),
            format: ArtifactFormat::Opaque,
            metrics: BTreeMap::new(),
            parameters: job.parameters.clone(),
            code_revision: None,
            sample: None,
            record: None,
        })
    }
}

#[derive(Clone, Default)]
struct Artifacts(Arc<Mutex<BTreeMap<ArtifactId, Bytes>>>);

impl ArtifactStore for Artifacts {
    fn put(&mut self, bytes: Bytes) -> Result<ArtifactId, ArtifactError> {
        let id = ArtifactId::of(&bytes);
        self.0.lock().unwrap().insert(id.clone(), bytes);
        Ok(id)
    }

    fn get(&mut self, id: &ArtifactId) -> Result<Bytes, ArtifactError> {
        let found = self.0.lock().unwrap().get(id).cloned();
        found.ok_or_else(|| ArtifactError::Missing { id: id.clone() })
    }
}

struct Learner;

impl ReferenceLearner for Learner {
    fn learn(&self, version: ChallengerOrigin<'_>, rows: &RecordBatch) -> Result<(String, Bytes), StageError> {
        Ok((format!("reference-{}", version.version), Bytes::from(rows.num_rows().to_string())))
    }
}

/// A log in memory and the stage's committed place in it.
pub(super) struct Bench {
    pub(super) topics: BTreeMap<String, Vec<Record>>,
    committed: BTreeMap<String, usize>,
    resume: BTreeMap<String, usize>,
    artifacts: Artifacts,
    pub(super) learns: Option<&'static str>,
    pub(super) policy: RetrainPolicy,
    /// Whether the process ends while a challenger is asked.
    pub(super) ends: bool,
    instances: u32,
}

/// An instance of the stage and how far it has read.
pub(super) struct Instance {
    stage: TrainerStage,
    read: BTreeMap<String, usize>,
}

impl Bench {
    pub(super) fn new(learns: Option<&'static str>) -> Self {
        let (artifacts, instances) = (Artifacts::default(), 0);
        let mut bench = Self {
            topics: BTreeMap::new(),
            committed: BTreeMap::new(),
            resume: BTreeMap::new(),
            artifacts,
            learns,
            policy: RetrainPolicy::default(),
            ends: false,
            instances,
        };
        bench.command("setup", None, register("v1"));
        bench
    }

    fn append(&mut self, record: NewRecord) {
        let NewRecord { topic, key, value, headers, .. } = record;
        let records = self.topics.entry(topic).or_default();
        let offset = i64::try_from(records.len()).unwrap();
        records.push(Record { offset, append_time_ms: 0, key, value, headers: headers.into() });
    }

    pub(super) fn command(&mut self, id: &str, expected: Option<&str>, action: Action) {
        let (id, expected_champion) = (id.to_owned(), expected.map(str::to_owned));
        self.append(Command { id, model: "m".into(), time_ms: 1, expected_champion, action }.to_record().unwrap());
    }

    /// A hundred labelled rows mature.
    pub(super) fn span(&mut self, number: i64) {
        let span = Window { start_ms: number * SPAN_MS, end_ms: (number + 1) * SPAN_MS };
        let cut = Cut { at_ms: span.end_ms, positions: Vec::new() };
        let event = MonitorEvent::RowsMatured(RowsMatured { model: "m".into(), span, labelled: 100, cut });
        let attributes = Attributes { id: "p", source: "/test", kind: "test", subject: "m", time_ms: span.end_ms };
        self.append(encode(topics::VERDICTS, attributes, &event).unwrap());
    }

    pub(super) fn request(&mut self) {
        let cause = Cause {
            id: "c".into(),
            model: "m".into(),
            kind: CauseKind::Quality,
            time_ms: MATURED_MS,
            change_point_ms: Some(0),
            summary: "accuracy fell".into(),
        };
        let request = RetrainRequest {
            id: request_id("m", "c"),
            model: "m".into(),
            cause,
            time_ms: MATURED_MS,
            evidence: Vec::new(),
            train_from_ms: 0,
            matured_ms: MATURED_MS,
            credit: 3.0,
            champion: Some("v1".into()),
            parameters: BTreeMap::new(),
        };
        self.append(RetrainEvent::Request(Box::new(request)).to_record().unwrap());
    }

    pub(super) fn start(&mut self) -> Instance {
        self.instances += 1;
        let (stop, ends) = (CancellationToken::new(), self.ends);
        let ending = stop.clone();
        let scorer = Box::new(move |_: ScoredVersion, bytes: &[u8]| {
            if ends {
                ending.cancel();
                return Err(JobError::from(ProcessError::Stopped { program: "score".into() }).into());
            }
            let side = if bytes == b"good" { 1.0 } else { -1.0 };
            Ok(Box::new(Sign(side)) as Box<dyn Scorer>)
        });
        let trainer = Box::new(Learns(self.learns));
        let trainable = TrainableModel { schema: schema(), policy: self.policy.clone(), trainer, scorer };
        let trainer_deps = TrainerDeps {
            rows: Box::new(Rows),
            artifacts: Box::new(self.artifacts.clone()),
            references: Box::new(Learner),
            work_directory: std::env::temp_dir(),
            claimant: format!("instance-{}", self.instances),
            stop,
        };
        let stage = TrainerStage::new(BTreeMap::from([("m".to_owned(), trainable)]), trainer_deps);
        let mut instance = Instance { stage, read: BTreeMap::new() };
        for topic in TrainerStage::spec().inputs {
            let committed = self.committed.get(&topic).copied().unwrap_or(0);
            let from = self.resume.get(&topic).copied().unwrap_or(committed);
            instance.absorb(self, &topic, (from..committed, Delivery::Replayed));
        }
        instance
    }

    pub(super) fn commit(&mut self, instance: &mut Instance) -> usize {
        let epoch = instance.stage.seal(Seal::Due).unwrap().unwrap();
        self.committed = instance.read.clone();
        let resume = epoch.resume_from.into_iter().map(|point| (point.topic, usize::try_from(point.offset).unwrap()));
        self.resume = resume.collect();
        let written = epoch.records.len();
        epoch.records.into_iter().for_each(|record| self.append(record));
        written
    }

    /// Runs epochs until nothing more is written.
    pub(super) fn settle(&mut self, instance: &mut Instance) {
        while instance.epoch(self) > 0 {}
    }

    pub(super) fn events(&self) -> Vec<ModelEvent> {
        self.topics.get(topics::MODELS).into_iter().flatten().map(|record| decode(record).unwrap()).collect()
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        let kind = |event: &ModelEvent| serde_json::to_value(event).unwrap()["kind"].as_str().unwrap().to_owned();
        self.events().iter().map(kind).collect()
    }

    pub(super) fn registry(&self) -> ModelRegistry {
        let mut registry = ModelRegistry::default();
        self.events().iter().for_each(|event| registry.apply(event).unwrap());
        registry
    }
}

impl Instance {
    pub(super) fn absorb(&mut self, bench: &Bench, topic: &str, (range, delivery): (Range<usize>, Delivery)) {
        self.read.insert(topic.to_owned(), range.end);
        let Some(records) = bench.topics.get(topic) else { return };
        let input = Input::Records { topic, partition: 0, records: &records[range], delivery };
        self.stage.absorb(input).unwrap();
    }

    pub(super) fn read_all(&mut self, bench: &Bench) {
        for topic in TrainerStage::spec().inputs {
            let from = self.read.get(&topic).copied().unwrap_or(0);
            let end = bench.topics.get(&topic).map_or(0, Vec::len);
            self.absorb(bench, &topic, (from..end, Delivery::Live));
        }
    }

    /// Reads to the end, acts, seals; returns how much was written.
    pub(super) fn epoch(&mut self, bench: &mut Bench) -> usize {
        self.read_all(bench);
        self.stage.absorb(Input::CaughtUp).unwrap();
        bench.commit(self)
    }
}

pub(super) fn register(name: &str) -> Action {
    let version = ModelVersion { version: name.into(), artifact: None, schema: schema(), lineage: lineage() };
    Action::Register { version: Box::new(version), reference: None }
}
