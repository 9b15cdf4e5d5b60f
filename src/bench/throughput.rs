//! `driftline bench kafka`: what capture does with a preloaded topic, beside what a bare consumer does.
//!
//! For each format and size of record one topic is loaded, and read in one run by bare consumers with the same settings, by
//! capture, and by capture with the label join and the archive beside it; each partition has a consumer of its own in all
//! three. The events are those of a stream of 200,000 a second, however fast they are read, in records without headers. A
//! rate is that of running stages: the bare consumers' from their first record to their last, capture's from the first
//! commit of every partition to the last. The broker runs on whatever machine it runs on: on the same one it has its share
//! of the processors. Ratios within a run say more than absolute figures; the processors that this process used say what
//! bounds it.

use super::events::Density;
use super::report::{Figures, Rate, Report};
use super::{BenchSetup, PATIENCE, Settings, folder_with_reference, until_committed, with_service};
use crate::cli::{BenchFormat, BenchKafkaArgs, Exit};
use crate::output::{say, say_all};
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use capture::stage::Capture;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::log::kafka::{KafkaOptions, drain};
use streams::log::{Log, Offset, ReadBudget};
use streams::topics;

const FORMATS: [BenchFormat; 3] = [BenchFormat::Messagepack, BenchFormat::Json, BenchFormat::Arrow];
const EVENTS_PER_RECORD: [u64; 3] = [256, 16, 1];
/// What one look at a topic takes.
const READ: ReadBudget = ReadBudget { records: 1_000, bytes: 8 << 20 };

/// Measures, and tells.
///
/// # Errors
/// When the brokers cannot be reached, or a stage fails.
pub fn kafka(args: &BenchKafkaArgs, json: bool) -> Result<Exit> {
    let folder = folder_with_reference()?;
    let mut report = Report::of_this_machine();
    if !json {
        say_all(format_args!("{}", report.head()))?;
    }
    let formats = if args.format.is_empty() { &FORMATS[..] } else { &args.format };
    let sizes = if args.per_record.is_empty() { &EVENTS_PER_RECORD[..] } else { &args.per_record };
    for (format, per_record) in formats.iter().flat_map(|format| sizes.iter().map(move |size| (*format, *size))) {
        // As a stream of its own, an event takes ten times the bytes.
        let is_wide = per_record == 1 && format == BenchFormat::Arrow;
        let events = if is_wide { args.events / 4 } else { args.events };
        let place = BenchSetup::new(&args.bootstrap, folder.path(), (args.partitions, args.models), Density::DENSE);
        let figures = place.measure(format, (per_record, events))?;
        match json {
            true => say(format_args!("{}", serde_json::to_string(&figures)?))?,
            false => say_all(format_args!("{}", figures.line()))?,
        }
        report.add(figures);
    }
    if let Some(folder) = &args.output {
        report.write(folder)?;
    }
    Ok(Exit::Done)
}

impl BenchSetup<'_> {
    fn measure(&self, format: BenchFormat, (per_record, events): (u64, u64)) -> Result<Figures> {
        let alone = self.context("alone", &Settings::default())?;
        let (events, bytes) = self.load(&alone, format.of_events(), (per_record, events))?;
        let options = KafkaOptions::new(self.bootstrap).with_prefix(&self.prefix).with_input_prefix(&self.prefix);
        let meter = Meter::start()?;
        let bare = meter.stop(events, self.drain(&options)?)?;
        let capture = run(Arc::clone(&alone), (events, &["capture"]))?;
        let internal_bytes = bytes_of(alone.log.as_ref(), (topics::PARTIALS, alone.monitors))?;
        let labels = "labels: {mature: {after: 1d}, horizon: 2d, max_pending: 200000000}";
        let joined = self.context("joined", &Settings { model: labels, ..Settings::default() })?;
        let join_and_archive = run(joined, (events, &["capture", "archive"]))?;
        let format = format.name();
        let (models, partitions) = (self.models, self.partitions);
        Ok(Figures {
            format,
            per_record,
            models,
            partitions,
            events,
            bytes,
            internal_bytes,
            bare,
            capture,
            join_and_archive,
        })
    }

    /// Reads every partition with a consumer of its own; how long the slowest took.
    fn drain(&self, options: &KafkaOptions) -> Result<Duration> {
        std::thread::scope(|scope| {
            let drain = |partition| scope.spawn(move || drain(options, topics::INFERENCES, partition));
            let drains: Vec<_> = (0..self.partitions).map(drain).collect();
            let mut slowest = Duration::ZERO;
            for drained in drains {
                let drained = drained.join().map_err(|_| anyhow!("a bare consumer's thread panicked"))??;
                slowest = slowest.max(drained.took);
            }
            Ok(slowest)
        })
    }
}

/// Runs the stages until all of the topic is committed.
fn run(context: Arc<ServiceContext>, (events, stages): (u64, &[&str])) -> Result<Rate> {
    let log = Arc::clone(&context.log);
    let partitions = 0..context.partitions;
    let bounds =
        partitions.map(|partition| Ok(log.bounds(topics::INFERENCES, partition)?)).collect::<Result<Vec<_>>>()?;
    // The last offset is the mark of the transaction that loaded the last records.
    let starts: Vec<_> = bounds.iter().map(|bounds| bounds.first + 1).collect();
    let ends: Vec<_> = bounds.iter().map(|bounds| bounds.end - 1).collect();
    let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
    let service = Service::start(context, &ServiceOptions { pace: Pace::LockStep, listen: None, stages })?;
    with_service(service, |service| {
        let first = until_committed(log.as_ref(), (&Capture::spec(), topics::INFERENCES), &starts)?;
        let (meter, started) = (Meter::start()?, Instant::now());
        until_committed(log.as_ref(), (&Capture::spec(), topics::INFERENCES), &ends)?;
        let took = started.elapsed();
        let sum = |offsets: &[Offset]| offsets.iter().sum::<Offset>();
        let share = (sum(&ends) - sum(&first)) as f64 / (sum(&ends) - sum(&starts) + ends.len() as i64) as f64;
        ensure!(share > 0.0, "one epoch took all events: measure with more of them (--events)");
        let rate = meter.stop((events as f64 * share) as u64, took);
        service.wait_until_quiet(PATIENCE)?;
        rate
    })
}

/// Processor time of this process since a moment.
pub(super) struct Meter {
    processor: Duration,
}

impl Meter {
    pub(super) fn start() -> Result<Self> {
        Ok(Self { processor: processor_time()? })
    }

    pub(super) fn stop(self, events: u64, took: Duration) -> Result<Rate> {
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
pub(super) fn bytes_of(log: &dyn Log, (topic, partitions): (&str, u32)) -> Result<u64> {
    let mut bytes = 0;
    for partition in 0..partitions {
        let mut from = log.bounds(topic, partition)?.first;
        loop {
            let records = log.read(topic, partition, from, READ)?;
            let Some(last) = records.last() else { break };
            from = last.offset + 1;
            bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len) as u64).sum::<u64>();
        }
    }
    Ok(bytes)
}
