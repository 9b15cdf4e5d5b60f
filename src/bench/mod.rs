//! `driftline bench`: what the service does with a topic of Kafka.
//!
//! `throughput` reads a preloaded topic as fast as it goes, `steady` holds a service under a load that does not change,
//! `replay` reads a topic twice and compares the verdicts. All of them make topics with a prefix of their own, which go with the
//! measurement.

mod events;
mod memory;
mod replay;
mod report;
mod retraining;
mod steady;
mod throughput;

pub use replay::replay;
pub use retraining::bench_loop;
pub use steady::steady;
pub use throughput::kafka;

use crate::cli::BenchFormat;
use crate::commands::reference::first_references;
use crate::config::Config;
use crate::service::trainer_deps::random_name;
use crate::service::{Service, ServiceContext};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use codec::decode::Format;
use events::Density;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::log::kafka::{KafkaOptions, delete_topics};
use streams::log::{Log, NewRecord, Offset, PartitionId};
use streams::partition::partition_of;
use streams::stage::{Share, StageSpec};
use streams::topics;
use tempfile::TempDir;

/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// How often is looked how far a stage is.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Rows that the reference is learned from.
const REFERENCE_EVENTS: u64 = 2_000;
/// Bytes of one append while a topic is loaded.
const APPEND_BYTES: usize = 8 << 20;

impl BenchFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Messagepack => "messagepack",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    fn of_events(self) -> Format {
        match self {
            Self::Messagepack => Format::MessagePack,
            Self::Json => Format::Json,
            Self::Arrow => Format::Arrow,
        }
    }
}

/// The topics of a measurement, and the folder in which its stages work.
struct BenchSetup<'a> {
    bootstrap: &'a str,
    folder: &'a Path,
    prefix: String,
    partitions: u32,
    models: u32,
    density: Density,
    /// Whether topics may have been made.
    is_used: Cell<bool>,
}

/// What one run is configured with beside the defaults.
struct Settings<'a> {
    /// Keys of the whole file, a line each.
    file: &'a str,
    /// Keys of the log.
    log: &'a str,
    /// Options of librdkafka.
    options: &'a str,
    /// Size of the windows.
    window: &'a str,
    /// Keys of each model, a line each.
    model: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { file: "", log: "", options: "", window: "1m", model: "" }
    }
}

/// A folder that goes with the measurement, and the rows of the reference in it.
fn folder_with_reference() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("driftline-bench-").tempdir().context("making a temporary folder")?;
    let file = folder.path().join("reference.csv");
    std::fs::write(&file, events::reference(REFERENCE_EVENTS)).context("writing the reference's rows")?;
    Ok(folder)
}

impl<'a> BenchSetup<'a> {
    /// New topics for so many models, whose events lie so dense.
    fn new(bootstrap: &'a str, folder: &'a Path, (partitions, models): (u32, u32), density: Density) -> Self {
        let prefix = format!("driftline-bench-{}-", random_name());
        Self { bootstrap, folder, prefix, partitions, models, density, is_used: Cell::new(false) }
    }

    /// What stages of one kind stand on: the same inputs, and topics of their own.
    fn context(&self, kind: &str, settings: &Settings<'_>) -> Result<Arc<ServiceContext>> {
        let text = self.configuration(kind, settings)?;
        let context = Arc::new(ServiceContext::open(&Config::parse(&text, &self.folder.join("bench.yaml"))?)?);
        self.is_used.set(true);
        first_references(&context)?;
        Ok(context)
    }

    fn configuration(&self, kind: &str, settings: &Settings<'_>) -> Result<String> {
        let Self { prefix, partitions, .. } = self;
        let Settings { file, log, options, .. } = settings;
        let bootstrap = serde_json::to_string(self.bootstrap)?;
        let models = (0..u64::from(self.models)).map(|number| model(number, settings)).collect::<String>();
        Ok(format!(
            "
version: 1
log:
  directory: {kind}
  {log}
  kafka:
    bootstrap: {bootstrap}
    prefix: {prefix}{kind}-
    input_prefix: {prefix}
    options: {{{options}}}
partitions: {partitions}
{file}
models:{models}
"
        ))
    }

    /// Loads the topic, each event in the partition of its id; says how many events and bytes that were.
    fn load(&self, context: &ServiceContext, format: Format, (per_record, events): (u64, u64)) -> Result<(u64, u64)> {
        let mut waiting = vec![Vec::new(); self.partitions as usize];
        let (mut batch, mut held, mut records, mut bytes) = (Vec::new(), 0, 0, 0);
        for event in 0..events {
            let partition = partition_of(&events::id(event), self.partitions);
            let Some(numbers) = waiting.get_mut(partition as usize) else { continue };
            numbers.push(event);
            if (numbers.len() as u64) < per_record {
                continue;
            }
            let model = events::model_name(records % u64::from(self.models));
            let value = events::record(format, &model, &std::mem::take(numbers), self.density)?;
            records += 1;
            held += value.len();
            batch.push(record(partition, value));
            if held > APPEND_BYTES {
                context.log.append(&std::mem::take(&mut batch))?;
                bytes += std::mem::take(&mut held) as u64;
            }
        }
        context.log.append(&batch)?;
        ensure!(
            records >= u64::from(self.partitions) * 4,
            "{records} records are too few: measure with more events (--events)"
        );
        Ok((records * per_record, bytes + held as u64))
    }
}

impl Drop for BenchSetup<'_> {
    fn drop(&mut self) {
        if !self.is_used.get() {
            return;
        }
        if let Err(error) = delete_topics(&KafkaOptions::new(self.bootstrap), &self.prefix) {
            tracing::warn!(prefix = self.prefix, %error, "the topics of a measurement stay");
        }
    }
}

/// Works with a service, and ends it whatever came of that: nothing writes to topics that are deleted.
fn with_service<T>(service: Service, work: impl FnOnce(&Service) -> Result<T>) -> Result<T> {
    let outcome = work(&service);
    let ended = service.shutdown();
    let outcome = outcome?;
    ended.map(|()| outcome)
}

/// A model as the configuration has it.
fn model(number: u64, settings: &Settings<'_>) -> String {
    let Settings { window, model, .. } = settings;
    let features = (0..events::NUMBERS).map(|place| format!("{}: numeric", events::number_name(place)));
    let features = features.chain(events::CATEGORIES.map(|(name, _)| format!("{name}: categorical")));
    let features = features.collect::<Vec<_>>().join(", ");
    let name = events::model_name(number);
    format!(
        "
  {name}:
    task: {{type: binary, positive: \"1\", negative: \"0\"}}
    features: {{{features}}}
    windows: {{size: {window}}}
    {model}
    reference: {{file: reference.csv, columns: {{prediction: prediction, score: score}}}}"
    )
}

/// A record as most producers write it, without headers: its first bytes tell its format.
fn record(partition: PartitionId, value: Bytes) -> NewRecord {
    let (topic, headers) = (topics::INFERENCES.to_owned(), Vec::new());
    NewRecord { topic, partition, key: None, value: Some(value), headers, appended_ms: None }
}

/// Waits until a stage has committed so far in every partition of a topic; how far that is.
fn until_committed(log: &dyn Log, (stage, topic): (&StageSpec, &str), wanted: &[Offset]) -> Result<Vec<Offset>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = (0..).zip(wanted).map(|(partition, _)| committed(log, (stage, topic), partition));
        let committed = committed.collect::<Result<Vec<_>>>()?;
        if committed.iter().zip(wanted).all(|(committed, wanted)| committed >= wanted) {
            return Ok(committed);
        }
        let name = &stage.name;
        ensure!(Instant::now() < deadline, "{name} stands at offsets {committed:?} of {wanted:?} after {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn committed(log: &dyn Log, (stage, topic): (&StageSpec, &str), partition: PartitionId) -> Result<Offset> {
    let group = StageSpec { share: Share::One(partition), ..stage.clone() }.group();
    Ok(log.committed(&group, topic, partition)?.map_or(0, |committed| committed.offset))
}

/// The offset of the last record of each partition, or of the mark of the transaction that wrote it.
fn lasts(log: &dyn Log, topic: &str, partitions: u32) -> Result<Vec<Offset>> {
    (0..partitions).map(|partition| Ok(log.bounds(topic, partition)?.end - 1)).collect()
}
