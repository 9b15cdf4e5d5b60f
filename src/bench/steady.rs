//! `driftline bench steady`: a service under a load that does not change: how soon it judges, and what memory it takes.
//!
//! One process produces, captures, judges and shows, so what it takes is that of all of these: records that are sent over
//! and over, some for each model, are a part of its memory. The events of a record happen when it is handed to the log. A
//! window's delay is from handing over the records that moved the last partition's watermark past its end, until
//! `/metrics`, which is asked over and over while a window is waited for, shows the window of any model. What an event costs
//! is told of the second half: in the first, thresholds are learned, once for each model.

use super::events::Density;
use super::memory::{MemoryWatch, Sample, growth_mib_per_minute, most_mib};
use super::report::Rate;
use super::throughput::{Meter, bytes_of};
use super::{BenchSetup, Settings, events, folder_with_reference, record, with_service};
use crate::cli::{BenchSteadyArgs, Exit};
use crate::output::say;
use crate::service::{Pace, Service, ServiceContext, ServiceOptions};
use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use codec::decode::Format;
use serde::Serialize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use streams::log::NewRecord;
use streams::partition::partition_of;
use streams::topics;

/// How far events may be behind others.
const DISORDER_MS: i64 = 1_000;
/// How often events are handed over.
const BATCH_EVERY: Duration = Duration::from_millis(50);
/// How often is asked what is shown.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Records of a partition that are sent over and over, with new times, where there are not more models.
const TEMPLATES: u64 = 64;
/// How long windows that have ended may be waited for at the end.
const LAST_WINDOWS: Duration = Duration::from_secs(60);
/// Windows that have ended and may wait to be looked for.
const MOST_ENDED: usize = 10_000;

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    events_per_second: f64,
    minutes: f64,
    windows: usize,
    models: u32,
    /// Of this process, for everything that it does, over the second half.
    processor_us_per_event: f64,
    /// Of the values of records, and of the partial profiles that capture made of them.
    bytes_per_event: f64,
    internal_bytes_per_event: f64,
    /// From a window's last record to its verdict.
    delay_p50_s: f64,
    delay_p99_s: f64,
    delay_most_s: f64,
    most_resident_mib: f64,
    /// Over the second half.
    growth_mib_per_minute: f64,
    #[serde(skip)]
    samples: Vec<Sample>,
}

/// A window that has ended: its end in event time, and when that was so.
type Ended = (i64, Instant);

/// Runs so long, and tells.
///
/// # Errors
/// When the brokers cannot be reached, a stage fails, or the load cannot be kept up.
pub fn steady(args: &BenchSteadyArgs, json: bool) -> Result<Exit> {
    let half_s = args.minutes * 30.0;
    ensure!(
        half_s > 2.0 * args.window.as_secs_f64(),
        "half the time holds no two windows: measure for longer (--minutes), or with shorter ones (--window)"
    );
    let folder = folder_with_reference()?;
    let place = BenchSetup::new(&args.bootstrap, folder.path(), (args.partitions, args.models), Density::DENSE);
    let log = format!("retention: {{bytes: {}}}", args.retention_bytes);
    let file = "max_disorder: 1s\nidle_after: 2s";
    let window = humantime::format_duration(args.window).to_string();
    let context = place.context("steady", &Settings { file, log: &log, window: &window, ..Settings::default() })?;
    let load = Load::new(args)?;
    let (internal, log) = ((topics::PARTIALS, context.monitors), Arc::clone(&context.log));
    let stages = ["capture", "monitor"].map(str::to_owned).to_vec();
    let listen = Some(([127, 0, 0, 1], 0).into());
    let service = Service::start(Arc::clone(&context), &ServiceOptions { pace: Pace::Live, listen, stages })?;
    let (delays, samples, sent) = with_service(service, |service| measure(service, context, load))?;
    ensure!(!delays.is_empty(), "no window was judged: measure for longer (--minutes)");
    let delay =
        |share: f64| delays.get(((delays.len() - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN);
    let figures = Figures {
        events_per_second: sent.second_half.per_second(),
        minutes: args.minutes,
        windows: delays.len(),
        models: args.models,
        processor_us_per_event: sent.second_half.processor_us_per_event(),
        bytes_per_event: sent.bytes as f64 / sent.events as f64,
        internal_bytes_per_event: bytes_of(log.as_ref(), internal)? as f64 / sent.events as f64,
        delay_p50_s: delay(0.5),
        delay_p99_s: delay(0.99),
        delay_most_s: delay(1.0),
        most_resident_mib: most_mib(&samples),
        growth_mib_per_minute: growth_mib_per_minute(&samples),
        samples,
    };
    figures.tell(json)?;
    Ok(Exit::Done)
}

/// Sends the load: the delays of windows in ascending order, the memory over time, and what was sent.
fn measure(service: &Service, context: Arc<ServiceContext>, load: Load) -> Result<(Vec<f64>, Vec<Sample>, Sent)> {
    let address = service.address().context("the service has no address")?;
    let memory = MemoryWatch::start()?;
    let (say, ended) = sync_channel(MOST_ENDED);
    let producer = std::thread::Builder::new().name("produce".to_owned()).spawn(move || load.run(&context, &say))?;
    let delays = delays(&format!("http://{address}/metrics"), &ended);
    // Nobody looks for windows any more: one that still produces ends.
    drop(ended);
    let sent = producer.join().map_err(|_| anyhow!("the thread that produces panicked"))?;
    Ok((delays?, memory.stop()?, sent?))
}

/// What was sent.
struct Sent {
    events: u64,
    /// Bytes of their records' values.
    bytes: u64,
    second_half: Rate,
}

/// What is sent, and how much of it.
struct Load {
    templates: Vec<Vec<Template>>,
    events_per_record: u64,
    records_per_batch: f64,
    lasts: Duration,
    window_ms: i64,
}

/// A record whose events' times are written anew each time.
struct Template {
    bytes: Vec<u8>,
    /// Where the times stand.
    times: Vec<usize>,
}

impl Template {
    fn new(model: &str, numbers: &[u64]) -> Result<Self> {
        // A time of now is a whole number of 64 bits in MessagePack, marked with 0xcf.
        const TIME: &[u8] = b"\xa4time\xcf";
        let bytes = events::record(Format::MessagePack, model, numbers, Density::DENSE)?.to_vec();
        let found = bytes.windows(TIME.len()).enumerate().filter(|(_, window)| *window == TIME);
        let times: Vec<_> = found.map(|(at, _)| at + TIME.len()).collect();
        ensure!(times.len() == numbers.len(), "a record has {} times for {} events", times.len(), numbers.len());
        Ok(Self { bytes, times })
    }

    fn at(&mut self, time_ms: u64) -> Bytes {
        for at in &self.times {
            if let Some(time) = self.bytes.get_mut(*at..at + 8) {
                time.copy_from_slice(&time_ms.to_be_bytes());
            }
        }
        Bytes::copy_from_slice(&self.bytes)
    }
}

impl Load {
    fn new(args: &BenchSteadyArgs) -> Result<Self> {
        let mut waiting = vec![Vec::new(); args.partitions as usize];
        let mut templates: Vec<Vec<Template>> = waiting.iter().map(|_| Vec::new()).collect();
        let (mut event, models) = (0, u64::from(args.models));
        while templates.iter().any(|own| (own.len() as u64) < models.max(TEMPLATES)) {
            let partition = partition_of(&events::id(event), args.partitions) as usize;
            event += 1;
            let (Some(numbers), Some(own)) = (waiting.get_mut(partition), templates.get_mut(partition)) else {
                continue;
            };
            numbers.push(event - 1);
            if numbers.len() as u64 == args.per_record {
                let model = events::model_name(own.len() as u64 % models);
                own.push(Template::new(&model, &std::mem::take(numbers))?);
            }
        }
        let batches_per_second = 1.0 / BATCH_EVERY.as_secs_f64();
        let records_per_batch = args.rate as f64 / args.per_record as f64 / batches_per_second;
        let lasts = Duration::from_secs_f64(args.minutes * 60.0);
        let window_ms = i64::try_from(args.window.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { templates, events_per_record: args.per_record, records_per_batch, lasts, window_ms })
    }

    /// Sends batches at their times.
    fn run(mut self, context: &ServiceContext, ended: &SyncSender<Ended>) -> Result<Sent> {
        let started = Instant::now();
        let (mut sent, mut bytes, mut batches, mut next_end_ms) = (0, 0, 0_u32, None);
        let mut half = None;
        while started.elapsed() < self.lasts {
            if half.is_none() && started.elapsed() >= self.lasts / 2 {
                half = Some((sent, Meter::start()?, Instant::now()));
            }
            let due = started + BATCH_EVERY * batches;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            batches += 1;
            let wanted = (f64::from(batches) * self.records_per_batch) as u64;
            let (now_ms, handed_over) = (now_ms()?, Instant::now());
            let records: Vec<_> = (sent..wanted).filter_map(|number| self.record(number, now_ms)).collect();
            sent = wanted;
            bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len) as u64).sum::<u64>();
            context.log.append(&records)?;
            let watermark_ms = now_ms as i64 - DISORDER_MS;
            let end_ms = next_end_ms.get_or_insert((watermark_ms / self.window_ms + 1) * self.window_ms);
            while *end_ms <= watermark_ms {
                ended.send((*end_ms, handed_over)).context("whoever looked for the windows has failed")?;
                *end_ms += self.window_ms;
            }
        }
        let (before, meter, since) = half.context("the load lasted for no two batches")?;
        let second_half = meter.stop((sent - before) * self.events_per_record, since.elapsed())?;
        Ok(Sent { events: sent * self.events_per_record, bytes, second_half })
    }

    /// Records of all partitions in turn.
    fn record(&mut self, number: u64, time_ms: u64) -> Option<NewRecord> {
        let partitions = self.templates.len() as u64;
        let partition = (number % partitions) as u32;
        let own = self.templates.get_mut(partition as usize)?;
        let next = (number / partitions) as usize % own.len().max(1);
        let template = own.get_mut(next)?;
        Some(record(partition, template.at(time_ms)))
    }
}

/// Seconds from the end of each window until it was shown, ascending.
fn delays(url: &str, ended: &Receiver<Ended>) -> Result<Vec<f64>> {
    let agent = ureq::Agent::new_with_defaults();
    let mut waiting: Vec<Ended> = Vec::new();
    let (mut delays, mut until): (Vec<f64>, Option<Instant>) = (Vec::new(), None);
    loop {
        if waiting.is_empty() {
            // To ask of many models costs more than to judge them: it is done while there is something to look for.
            let Ok(window) = ended.recv() else {
                delays.sort_by(f64::total_cmp);
                return Ok(delays);
            };
            waiting.push(window);
        }
        loop {
            match ended.try_recv() {
                Ok(window) => waiting.push(window),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    until.get_or_insert_with(|| Instant::now() + LAST_WINDOWS);
                    break;
                }
            }
        }
        let shown_ms = newest_window_ms(&agent.get(url).call()?.into_body().read_to_string()?);
        let now = Instant::now();
        waiting.retain(|(end_ms, since)| {
            let is_shown = shown_ms.is_some_and(|shown_ms| *end_ms <= shown_ms);
            delays.extend(is_shown.then(|| (now - *since).as_secs_f64()));
            !is_shown
        });
        ensure!(until.is_none_or(|until| now < until), "{} windows were not judged", waiting.len());
        std::thread::sleep(ASK_EVERY);
    }
}

/// The end of the newest window whose drift was judged.
fn newest_window_ms(metrics: &str) -> Option<i64> {
    let shown = metrics.lines().filter(|line| line.starts_with("driftline_window_end_timestamp_seconds{"));
    let ends = shown.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    ends.reduce(f64::max).map(|seconds| (seconds * 1_000.0) as i64)
}

impl Figures {
    fn tell(&self, json: bool) -> Result<()> {
        if json {
            say(format_args!("{}", serde_json::to_string(self)?))?;
            return Ok(());
        }
        let Self { events_per_second, minutes, windows, models, processor_us_per_event, .. } = self;
        say(format_args!(
            "{events_per_second:.0} events/s of {models} models for {minutes:.1} minutes, {windows} windows"
        ))?;
        say(format_args!(
            "processor time of this process, which also produces: {processor_us_per_event:.2} us an event of the second half"
        ))?;
        let Self { bytes_per_event, internal_bytes_per_event, .. } = self;
        say(format_args!(
            "bytes an event: {bytes_per_event:.1} of input, {internal_bytes_per_event:.1} of partial profiles"
        ))?;
        let Self { delay_p50_s, delay_p99_s, delay_most_s, most_resident_mib, growth_mib_per_minute, .. } = self;
        say(format_args!(
            "delay from a window's last record to /metrics: p50 {delay_p50_s:.2} s, p99 {delay_p99_s:.2} s, most {delay_most_s:.2} s"
        ))?;
        say(format_args!(
            "resident memory: most {most_resident_mib:.0} MiB, {growth_mib_per_minute:+.2} MiB a minute over the second half"
        ))?;
        for Sample { at_s, resident_mib } in self.samples.iter().step_by((self.samples.len() / 10).max(1)) {
            say(format_args!("  {:>6.0} s {resident_mib:>6.0} MiB", at_s))?;
        }
        Ok(())
    }
}

fn now_ms() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(u64::try_from(now.as_millis())?)
}
