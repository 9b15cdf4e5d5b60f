//! `driftline bench kafka`: what capture does with a preloaded topic, beside what a bare consumer does.
//!
//! For each format and size of record one topic of one partition is loaded, and read in one run by a bare consumer with the
//! same settings, by capture, and by capture with the label join and the archive beside it. A rate is that of a running
//! stage: the bare consumer's from its first record to its last, capture's from its first commit to its last. The broker runs
//! on whatever machine it runs on: on the same one it has its share of the processors. Ratios within a run say more than
//! absolute figures; the processors that this process used say what bounds it.

mod events;
mod report;

use crate::cli::{BenchFormat, BenchKafkaArgs, Exit};
use crate::command::reference::first_references;
use crate::config::Config;
use crate::service::{Grounds, Pace, Service, ServiceOptions};
use crate::workshop::random_name;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ingest::capture::Capture;
use ingest::decode::Format;
use ingest::log::kafka::{KafkaOptions, drain};
use ingest::log::{Log, NewRecord, Offset, ReadBudget};
use ingest::stage::{Share, StageSpec};
use ingest::topics;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use report::{Figures, Rate, Report};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FORMATS: [BenchFormat; 3] = [BenchFormat::Messagepack, BenchFormat::Json, BenchFormat::Arrow];
const EVENTS_PER_RECORD: [u64; 3] = [256, 16, 1];
/// Rows that the reference is learned from.
const REFERENCE_EVENTS: u64 = 20_000;
/// Bytes of one append while a topic is loaded.
const APPEND_BYTES: usize = 8 << 20;
/// What one look at a topic takes.
const READ: ReadBudget = ReadBudget { records: 1_000, bytes: 8 << 20 };
/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// How often is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Measures, and tells.
///
/// # Errors
/// When the brokers cannot be reached, or a stage fails.
pub fn kafka(args: &BenchKafkaArgs, json: bool) -> Result<Exit> {
    let folder = tempfile::Builder::new().prefix("driftline-bench-").tempdir().context("making a temporary folder")?;
    let file = folder.path().join("reference.csv");
    std::fs::write(&file, events::reference(REFERENCE_EVENTS)).context("writing the reference's rows")?;
    let mut report = Report::of_this_machine();
    if !json {
        print!("{}", report.head());
    }
    let formats = if args.format.is_empty() { &FORMATS[..] } else { &args.format };
    let sizes = if args.per_record.is_empty() { &EVENTS_PER_RECORD[..] } else { &args.per_record };
    for (format, per_record) in formats.iter().flat_map(|format| sizes.iter().map(move |size| (*format, *size))) {
        let events = if per_record == 1 { args.events / 4 } else { args.events };
        let topic = Topic { args, folder: folder.path(), prefix: format!("driftline-bench-{}-", random_name()) };
        let figures = topic.measure(format, (per_record, events))?;
        match json {
            true => println!("{}", serde_json::to_string(&figures)?),
            false => print!("{}", figures.line()),
        }
        report.add(figures);
    }
    if let Some(folder) = &args.output {
        report.write(folder)?;
    }
    Ok(Exit::Done)
}

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

/// A loaded topic, and the folder in which its stages work.
struct Topic<'a> {
    args: &'a BenchKafkaArgs,
    folder: &'a Path,
    prefix: String,
}

impl Topic<'_> {
    fn measure(&self, format: BenchFormat, (per_record, events): (u64, u64)) -> Result<Figures> {
        let alone = self.grounds("alone", "")?;
        let (events, bytes) = self.load(&alone, format.of_events(), (per_record, events))?;
        let options = KafkaOptions::new(&self.args.bootstrap).with_prefix(&self.prefix).with_input_prefix(&self.prefix);
        let meter = Meter::start()?;
        let drained = drain(&options, topics::INFERENCES, 0)?;
        let bare = meter.stop(events, drained.took)?;
        let capture = run(Arc::clone(&alone), (events, &["capture"]))?;
        let internal_bytes = bytes_of(alone.log.as_ref(), topics::PARTIALS)?;
        let joined = self.grounds("joined", "labels: {mature: {after: 1d}, horizon: 2d, max_pending: 200000000}")?;
        let join_and_archive = run(joined, (events, &["capture", "archive"]))?;
        let format = format.name();
        let models = self.args.models;
        Ok(Figures { format, per_record, models, events, bytes, internal_bytes, bare, capture, join_and_archive })
    }

    /// What stages of one kind stand on: the same inputs, and topics of their own.
    fn grounds(&self, kind: &str, labels: &str) -> Result<Arc<Grounds>> {
        let place = (self.args.bootstrap.as_str(), self.prefix.as_str(), kind);
        let text = configuration(place, u64::from(self.args.models), labels)?;
        let grounds = Arc::new(Grounds::open(&Config::parse(&text, &self.folder.join("bench.yaml"))?)?);
        first_references(&grounds)?;
        Ok(grounds)
    }

    /// Loads the topic; says how many events and bytes that were.
    fn load(&self, grounds: &Grounds, format: Format, (per_record, events): (u64, u64)) -> Result<(u64, u64)> {
        let (mut batch, mut held, mut next, mut bytes) = (Vec::new(), 0, 0, 0);
        while next < events {
            let model = events::model_name((next / per_record) % u64::from(self.args.models));
            let value = events::record(format, &model, next..next + per_record)?;
            next += per_record;
            held += value.len();
            batch.push(record(format, value));
            if held > APPEND_BYTES || next >= events {
                grounds.log.append(&std::mem::take(&mut batch))?;
                bytes += std::mem::take(&mut held) as u64;
            }
        }
        Ok((next, bytes))
    }
}

/// Runs the stages until all of the topic is committed.
fn run(grounds: Arc<Grounds>, (events, stages): (u64, &[&str])) -> Result<Rate> {
    let log = Arc::clone(&grounds.log);
    let bounds = log.bounds(topics::INFERENCES, 0)?;
    // The last offset is the mark of the transaction that loaded the last records.
    let last = bounds.end - 1;
    let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
    let service = Service::start(grounds, &ServiceOptions { pace: Pace::LockStep, listen: None, stages })?;
    let first = until_committed(log.as_ref(), bounds.first + 1)?;
    let (meter, started) = (Meter::start()?, Instant::now());
    until_committed(log.as_ref(), last)?;
    let took = started.elapsed();
    let share = (last - first) as f64 / (last - bounds.first) as f64;
    ensure!(share > 0.0, "one epoch took all events: measure with more of them (--events)");
    let rate = meter.stop((events as f64 * share) as u64, took);
    service.wait_until_quiet(PATIENCE)?;
    service.shutdown()?;
    rate
}

/// Waits until capture has committed so far; how far that is.
fn until_committed(log: &dyn Log, wanted: Offset) -> Result<Offset> {
    let group = StageSpec { share: Share::One(0), ..Capture::spec() }.group();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = log.committed(&group, topics::INFERENCES, 0)?.map_or(0, |committed| committed.offset);
        if committed >= wanted {
            return Ok(committed);
        }
        ensure!(Instant::now() < deadline, "capture stands at offset {committed} of {wanted} after {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Processor time of this process since a moment.
struct Meter {
    processor: Duration,
}

impl Meter {
    fn start() -> Result<Self> {
        Ok(Self { processor: processor_time()? })
    }

    fn stop(self, events: u64, took: Duration) -> Result<Rate> {
        let processor_s = processor_time()?.saturating_sub(self.processor).as_secs_f64();
        Ok(Rate { events, seconds: took.as_secs_f64(), processor_s })
    }
}

fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("asking for the processor time")?;
    let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(spent).unwrap_or(0)))
}

/// Bytes of a topic's records.
fn bytes_of(log: &dyn Log, topic: &str) -> Result<u64> {
    let (mut from, mut bytes) = (log.bounds(topic, 0)?.first, 0);
    loop {
        let records = log.read(topic, 0, from, READ)?;
        let Some(last) = records.last() else { return Ok(bytes) };
        from = last.offset + 1;
        bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len) as u64).sum::<u64>();
    }
}

fn record(format: Format, value: Bytes) -> NewRecord {
    let headers = vec![("content-type".to_owned(), format.content_type().into())];
    NewRecord {
        topic: topics::INFERENCES.to_owned(),
        partition: 0,
        key: None,
        value: Some(value),
        headers,
        appended_ms: None,
    }
}

fn configuration((bootstrap, prefix, kind): (&str, &str, &str), models: u64, labels: &str) -> Result<String> {
    let features = (0..events::NUMBERS).map(|place| format!("{}: numeric", events::number_name(place)));
    let features = features.chain(events::CATEGORIES.map(|(name, _)| format!("{name}: categorical")));
    let features = features.collect::<Vec<_>>().join(", ");
    let bootstrap = serde_json::to_string(bootstrap)?;
    let model = |number| {
        format!(
            "
  {model}:
    task: {{type: binary, positive: \"1\", negative: \"0\"}}
    features: {{{features}}}
    windows: {{size: 1m}}
    {labels}
    reference: {{file: reference.csv, columns: {{prediction: prediction, score: score}}}}",
            model = events::model_name(number)
        )
    };
    let models = (0..models).map(model).collect::<String>();
    Ok(format!(
        "
version: 1
log:
  directory: {kind}
  kafka: {{bootstrap: {bootstrap}, prefix: {prefix}{kind}-, input_prefix: {prefix}}}
partitions: 1
models:{models}
"
    ))
}
