//! `driftline bench kafka`: what capture does with a preloaded topic, beside what a bare consumer does.
//!
//! For each format and size of record one topic of one partition is loaded, and read in one run by a bare consumer with the
//! same settings, by capture, and by capture with the label join and the archive beside it; from start to everything
//! committed, the start included. The broker runs on whatever machine it runs on: on the same one it has its share of the
//! processors. Ratios within a run say more than absolute figures.

mod events;

use crate::cli::{BenchKafkaArgs, Exit};
use crate::command::reference::first_references;
use crate::config::Config;
use crate::service::{Grounds, Pace, Service, ServiceOptions};
use crate::workshop::random_name;
use anyhow::{Context, Result};
use bytes::Bytes;
use ingest::decode::Format;
use ingest::log::NewRecord;
use ingest::log::kafka::{Drained, KafkaOptions, drain};
use ingest::topics;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FORMATS: [(&str, Format); 3] =
    [("messagepack", Format::MessagePack), ("json", Format::Json), ("arrow", Format::Arrow)];
const EVENTS_PER_RECORD: [u64; 3] = [256, 16, 1];
/// Rows that the reference is learned from.
const REFERENCE_EVENTS: u64 = 20_000;
/// Bytes of one append while a topic is loaded.
const APPEND_BYTES: usize = 8 << 20;
/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What one topic showed.
#[derive(Debug, Serialize)]
struct Figures {
    format: &'static str,
    events_per_record: u64,
    events: u64,
    bytes: u64,
    /// Seconds of a bare consumer.
    bare_s: f64,
    /// Seconds of capture alone.
    capture_s: f64,
    /// Seconds of capture with labels awaited, and the archive.
    join_and_archive_s: f64,
}

/// Measures, and tells.
///
/// # Errors
/// When the brokers cannot be reached, or a stage fails.
pub fn kafka(args: &BenchKafkaArgs, json: bool) -> Result<Exit> {
    let folder = tempfile::Builder::new().prefix("driftline-bench-").tempdir().context("making a temporary folder")?;
    let file = folder.path().join("reference.csv");
    std::fs::write(&file, events::reference(REFERENCE_EVENTS)).context("writing the reference's rows")?;
    if !json {
        println!(
            "{:<12} {:>10} {:>10} {:>14} {:>9} {:>18}",
            "format", "per record", "bare ev/s", "capture ev/s", "ratio", "join+archive ev/s"
        );
    }
    let mut all = Vec::new();
    for (name, format) in FORMATS {
        for per_record in EVENTS_PER_RECORD {
            let events = if per_record == 1 { args.events / 4 } else { args.events };
            let topic = Topic { args, folder: folder.path(), prefix: format!("driftline-bench-{}-", random_name()) };
            let figures = topic.measure((name, format), per_record, events)?;
            tell(&figures, json)?;
            all.push(figures);
        }
    }
    if let Some(output) = &args.output {
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(output, text).with_context(|| format!("writing {}", output.display()))?;
    }
    Ok(Exit::Done)
}

fn tell(figures: &Figures, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    let rate = |seconds: f64| figures.events as f64 / seconds;
    println!(
        "{:<12} {:>10} {:>10.0} {:>14.0} {:>9.2} {:>18.0}",
        figures.format,
        figures.events_per_record,
        rate(figures.bare_s),
        rate(figures.capture_s),
        figures.bare_s / figures.capture_s,
        rate(figures.join_and_archive_s)
    );
    Ok(())
}

/// A loaded topic, and the folder in which its stages work.
struct Topic<'a> {
    args: &'a BenchKafkaArgs,
    folder: &'a Path,
    prefix: String,
}

impl Topic<'_> {
    fn measure(&self, (name, format): (&'static str, Format), per_record: u64, events: u64) -> Result<Figures> {
        let alone = self.grounds("alone", "")?;
        let events = self.load(&alone, format, (per_record, events))?;
        let options = KafkaOptions::new(&self.args.bootstrap).with_prefix(&self.prefix).with_input_prefix(&self.prefix);
        let Drained { bytes, took, .. } = drain(&options, topics::INFERENCES, 0)?;
        let capture_s = run(alone, &["capture"])?;
        let joined = self.grounds("joined", "labels: {mature: {after: 1d}, horizon: 2d, max_pending: 200000000}")?;
        let join_and_archive_s = run(joined, &["capture", "archive"])?;
        Ok(Figures {
            format: name,
            events_per_record: per_record,
            events,
            bytes,
            bare_s: took.as_secs_f64(),
            capture_s,
            join_and_archive_s,
        })
    }

    /// What stages of one kind stand on: the same inputs, and topics of their own.
    fn grounds(&self, kind: &str, labels: &str) -> Result<Arc<Grounds>> {
        let text = configuration(&self.args.bootstrap, (&self.prefix, kind), labels)?;
        let grounds = Arc::new(Grounds::open(&Config::parse(&text, &self.folder.join("bench.yaml"))?)?);
        first_references(&grounds)?;
        Ok(grounds)
    }

    /// Loads the topic; says how many events that were.
    fn load(&self, grounds: &Grounds, format: Format, (per_record, events): (u64, u64)) -> Result<u64> {
        let (mut batch, mut bytes, mut next) = (Vec::new(), 0, 0);
        while next < events {
            let value = events::record(format, next..next + per_record)?;
            next += per_record;
            bytes += value.len();
            batch.push(record(format, value));
            if bytes > APPEND_BYTES || next >= events {
                grounds.log.append(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        Ok(next)
    }
}

/// Runs the stages until all is committed; the seconds that took.
fn run(grounds: Arc<Grounds>, stages: &[&str]) -> Result<f64> {
    let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
    let started = Instant::now();
    let service = Service::start(grounds, &ServiceOptions { pace: Pace::LockStep, listen: None, stages })?;
    service.wait_until_quiet(PATIENCE)?;
    let took = started.elapsed().as_secs_f64();
    service.shutdown()?;
    Ok(took)
}

fn record(format: Format, value: Bytes) -> NewRecord {
    let headers = vec![("content-type".to_owned(), format.content_type().into())];
    NewRecord { topic: topics::INFERENCES.to_owned(), partition: 0, key: None, value: Some(value), headers }
}

fn configuration(bootstrap: &str, (prefix, kind): (&str, &str), labels: &str) -> Result<String> {
    let features = (0..events::NUMBERS).map(|place| format!("{}: numeric", events::number_name(place)));
    let features = features.chain(events::CATEGORIES.map(|(name, _)| format!("{name}: categorical")));
    let features = features.collect::<Vec<_>>().join(", ");
    let bootstrap = serde_json::to_string(bootstrap)?;
    Ok(format!(
        "
version: 1
log:
  directory: {kind}
  kafka: {{bootstrap: {bootstrap}, prefix: {prefix}{kind}-, input_prefix: {prefix}}}
partitions: 1
models:
  {model}:
    task: {{type: binary, positive: \"1\", negative: \"0\"}}
    features: {{{features}}}
    windows: {{size: 1m}}
    {labels}
    reference: {{file: reference.csv, columns: {{prediction: prediction, score: score}}}}
",
        model = events::MODEL
    ))
}
