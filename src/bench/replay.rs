//! `driftline bench replay`: a topic read twice, and whether both readings say the same.
//!
//! The first pass follows the topic while it is loaded; the second begins when it is whole, with topics, groups and a
//! folder of its own, from the earliest offset. Verdicts are compared as they were written, all of each.

use super::events::Density;
use super::memory::{MemoryWatch, most_mib};
use super::{BenchSetup, PATIENCE, Settings, folder_with_reference, lasts, until_committed, with_service};
use crate::cli::{BenchReplayArgs, Exit};
use crate::output::say;
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Context, Result, ensure};
use capture::stage::Capture;
use detectors::verdict::{MonitorEvent, Verdict};
use monitor::MonitorStage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use streams::cloud_event;
use streams::control::Control;
use streams::log::{Log, ReadBudget};
use streams::topics;

const READ: ReadBudget = ReadBudget { records: 1_000, bytes: 8 << 20 };

/// What one pass showed.
#[derive(Debug, Serialize)]
struct Pass {
    seconds: f64,
    /// Of this process: in the first pass what loads the topic is part of it.
    most_resident_mib: f64,
    #[serde(skip)]
    verdicts: BTreeMap<String, Verdict>,
}

#[derive(Debug, Serialize)]
struct Replayed {
    events: u64,
    bytes: u64,
    partitions: u32,
    compression: &'static str,
    first: Pass,
    second: Pass,
    verdicts: usize,
    differing: usize,
}

/// Reads twice, and tells.
///
/// # Errors
/// When the brokers cannot be reached, a stage fails, or the passes differ.
pub fn replay(args: &BenchReplayArgs, json: bool) -> Result<Exit> {
    let folder = folder_with_reference()?;
    let place = BenchSetup::new(&args.bootstrap, folder.path(), (args.partitions, args.models), Density::SPARSE);
    let settings = Settings { options: "compression.type: zstd", ..Settings::default() };
    let context = place.context("first", &settings)?;
    let mut loaded = (0, 0);
    let first = pass(context, |context| {
        loaded = place.load(context, args.format.of_events(), (args.per_record, args.events))?;
        end_of_input(context, place.density.time_ms(loaded.0))
    })?;
    let second = pass(place.context("second", &settings)?, |_| Ok(()))?;
    let differing = differing(&first.verdicts, &second.verdicts);
    let ((events, bytes), partitions, verdicts) = (loaded, args.partitions, first.verdicts.len());
    let replayed = Replayed { events, bytes, partitions, compression: "zstd", first, second, verdicts, differing };
    tell(&replayed, json)?;
    ensure!(verdicts > 0, "no window was closed: replay more events (--events)");
    ensure!(differing == 0, "{differing} of {verdicts} verdicts are not those of the first pass");
    Ok(Exit::Done)
}

/// One run of capture and the monitor, until everything is judged.
fn pass(context: Arc<ServiceContext>, meanwhile: impl FnOnce(&ServiceContext) -> Result<()>) -> Result<Pass> {
    let (memory, started) = (MemoryWatch::start()?, Instant::now());
    let stages = ["capture", "monitor"].map(str::to_owned).to_vec();
    let options = ServiceOptions { pace: Pace::Live, listen: None, stages };
    let service = Service::start(Arc::clone(&context), &options)?;
    with_service(service, |service| {
        meanwhile(&context)?;
        let (log, partitions) = (context.log.as_ref(), context.partitions);
        let read = [(Capture::spec(), topics::INFERENCES), (MonitorStage::spec(), topics::PARTIALS)];
        for (stage, topic) in &read {
            until_committed(log, (stage, topic), &lasts(log, topic, partitions)?)?;
        }
        service.wait_until_quiet(PATIENCE)?;
        let seconds = started.elapsed().as_secs_f64();
        let most_resident_mib = most_mib(&memory.stop()?);
        Ok(Pass { seconds, most_resident_mib, verdicts: verdicts(log)? })
    })
}

/// Has every window close, however its events were spread.
fn end_of_input(context: &ServiceContext, time_ms: i64) -> Result<()> {
    let end = Control::EndOfInput(time_ms);
    let ends: Vec<_> = (0..context.partitions).map(|partition| end.to_record(topics::INFERENCES, partition)).collect();
    Ok(context.log.append(&ends)?)
}

/// All that was judged, by id.
fn verdicts(log: &dyn Log) -> Result<BTreeMap<String, Verdict>> {
    let (mut from, mut verdicts) = (log.bounds(topics::VERDICTS, 0)?.first, BTreeMap::new());
    loop {
        let records = log.read(topics::VERDICTS, 0, from, READ)?;
        let Some(last) = records.last() else { return Ok(verdicts) };
        from = last.offset + 1;
        for record in &records {
            let event: MonitorEvent = cloud_event::decode(record).context("reading a verdict")?;
            let MonitorEvent::Verdict(verdict) = event else { continue };
            let told = verdicts.insert(verdict.id.clone(), *verdict);
            ensure!(told.is_none(), "a window was judged twice: {told:?}");
        }
    }
}

fn differing(first: &BTreeMap<String, Verdict>, second: &BTreeMap<String, Verdict>) -> usize {
    let changed = first.iter().filter(|(id, verdict)| second.get(*id) != Some(verdict)).count();
    changed + second.keys().filter(|id| !first.contains_key(*id)).count()
}

fn tell(replayed: &Replayed, json: bool) -> Result<()> {
    if json {
        say(format_args!("{}", serde_json::to_string(replayed)?))?;
        return Ok(());
    }
    let Replayed { events, bytes, partitions, compression, first, second, verdicts, differing } = replayed;
    say(format_args!("{events} events of {bytes} bytes in {partitions} partitions, {compression}\n"))?;
    say(format_args!("| pass                 | seconds | most resident MiB |"))?;
    say(format_args!("|----------------------|---------|-------------------|"))?;
    for (name, pass) in [("while it was loaded", first), ("from the start again", second)] {
        say(format_args!("| {name:<20} | {:>7.1} | {:>17.0} |", pass.seconds, pass.most_resident_mib))?;
    }
    say(format_args!("\n{verdicts} verdicts, {differing} of which differ"))?;
    Ok(())
}
