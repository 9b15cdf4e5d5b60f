//! The follower: shows on the board and in the metrics what the log says, on a thread of its own, and tells the publisher
//! of champions.
//!
//! It reads the control topics and capture's ledger from their start each time the process starts, writes nothing to the log,
//! and is the only one that writes to board and metrics. What it cannot read it tells, and goes on.

use crate::service::publisher::Publisher;
use anyhow::Result;
use capture::partial::{CaptureEpoch, LedgerEntry};
use capture::watermark_alignment::{Behind, WatermarkAlignment};
use dashboards::audit::{AuditEntry, Outcome, SharedTrail};
use dashboards::dashboard::{Dashboard, Standing};
use dashboards::read_model::CapturedRows;
use dashboards::telemetry::{CaptureCounts, CaptureTelemetry, PartitionName};
use detectors::verdict::MonitorEvent;
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use retrain::progress::RetrainEvent;
use retrain::trainer_stage::COMMAND_HEADER;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streams::cloud_event;
use streams::log::{Log, LogError, LogReader, Offset, PartitionId, Read, ReadBudget, Record};
use streams::topics;

/// How long a quiet log is waited for before the order to stop is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much of a topic is shown at a time.
const BUDGET: ReadBudget = ReadBudget { records: 4_096, bytes: 16 << 20 };

/// The follower's thread.
pub(crate) struct Projector {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Projector {
    /// Starts to follow.
    ///
    /// # Errors
    /// When a topic does not exist, or no thread can be had.
    pub(crate) fn start(log: Arc<dyn Log>, shown: Shown) -> Result<Self> {
        let mut places = Vec::new();
        for topic in [topics::MODELS, topics::RETRAIN, topics::VERDICTS, topics::PARTIALS, topics::AUDIT] {
            places.push((topic, log.bounds(topic, 0)?.first));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let told_before = log.bounds(topics::PARTIALS, 0)?.end;
        let shown = Shown { capture: CaptureFollowed { told_before, ..shown.capture }, ..shown };
        let following = Following { places, shown, stop: Arc::clone(&stop) };
        let thread =
            std::thread::Builder::new().name("follower".to_owned()).spawn(move || following.run(log.as_ref()))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread once it has shown what there is.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!("the follower's thread panicked: metrics and board stood still");
        }
    }
}

/// Where what the log says is shown.
pub(crate) struct Shown {
    /// ReadModel and metrics.
    pub dashboard: Dashboard,
    /// What is told of capture's ledger.
    pub capture: CaptureFollowed,
    /// Who asked for what, and what became of it.
    pub trail: SharedTrail,
    /// Who keeps champions where other servers read them.
    pub publisher: Publisher,
}

/// What is told of capture's ledger.
pub(crate) struct CaptureFollowed {
    /// Who counts.
    telemetry: CaptureTelemetry,
    /// Who has partitions wait for each other.
    watermark_alignment: Option<Arc<WatermarkAlignment>>,
    /// The partitions that are told to be far behind others.
    far: BTreeSet<(String, PartitionId)>,
    /// Where the ledger ended when the process started: bad rows before that were told of by another.
    told_before: Offset,
}

impl CaptureFollowed {
    /// Tells these, of which nothing is known yet.
    pub(crate) fn new(telemetry: CaptureTelemetry, watermark_alignment: Option<Arc<WatermarkAlignment>>) -> Self {
        Self { telemetry, watermark_alignment, far: BTreeSet::new(), told_before: 0 }
    }

    /// Takes in where partitions stood at the end of an epoch, and tells how far they are apart.
    fn stand(&mut self, ledger: &[LedgerEntry], told_ms: i64) {
        let Some(watermark_alignment) = &self.watermark_alignment else { return };
        let now = Instant::now();
        ledger.iter().for_each(|entry| watermark_alignment.stands(entry, told_ms, now));
        let behind = watermark_alignment.behind();
        self.telemetry.behind(&behind);
        let far = behind.iter().filter(|one| one.is_far);
        let place = |one: &Behind| (one.topic.clone(), one.partition);
        far.clone().filter(|one| !self.far.contains(&place(one))).for_each(|one| self.telemetry.fell_behind(one));
        self.far = far.map(place).collect();
    }
}

struct Following {
    /// Topics of one partition, and the offsets that come next.
    places: Vec<(&'static str, Offset)>,
    shown: Shown,
    stop: Arc<AtomicBool>,
}

impl Following {
    fn run(mut self, log: &dyn Log) {
        while !self.stop.load(Ordering::Acquire) {
            match log.reader() {
                Ok(mut reader) => self.follow(reader.as_mut()),
                Err(error) => {
                    tracing::error!(%error, "the follower cannot read");
                    std::thread::park_timeout(LOOK_EVERY);
                }
            }
        }
        self.shown.publisher.stop();
    }

    /// Shows what is new until it is to stop and there is nothing more, or the reader fails.
    fn follow(&mut self, reader: &mut dyn LogReader) {
        loop {
            // Before the reading: what was committed before the order to stop is read after it.
            let is_last = self.stop.load(Ordering::Acquire);
            match self.read_all(reader) {
                Ok(true) => {}
                Ok(false) if is_last => return,
                Ok(false) => reader.wait(LOOK_EVERY),
                Err(error) => {
                    tracing::error!(%error, "the follower cannot read");
                    std::thread::park_timeout(LOOK_EVERY);
                    return;
                }
            }
        }
    }

    /// Shows what is new; says whether anything was.
    fn read_all(&mut self, reader: &mut dyn LogReader) -> Result<bool, LogError> {
        let mut any = false;
        for (topic, next) in &mut self.places {
            match reader.read(topic, 0, *next, BUDGET)? {
                Read::Records(records) => {
                    any = true;
                    records.iter().for_each(|record| self.shown.show(topic, record));
                    *next = records.last().map_or(*next, |last| last.offset + 1);
                }
                Read::End if *topic == topics::MODELS => self.shown.publisher.caught_up(),
                Read::End | Read::Pending => {}
            }
        }
        if any {
            self.shown.dashboard.settle();
        }
        Ok(any)
    }
}

impl Shown {
    fn show(&mut self, topic: &str, record: &Record) {
        let dashboard = &mut self.dashboard;
        let shown = match topic {
            topics::VERDICTS => {
                decoded::<MonitorEvent>(record).map(|event| dashboard.monitor_event(&event, record.append_time_ms))
            }
            topics::MODELS => decoded::<ModelEvent>(record).map(|event| self.show_model(record, &event)),
            topics::RETRAIN => decoded::<RetrainEvent>(record).map(|event| {
                show_retrain(&event, dashboard);
                self.trail.write(|trail| tell_outcome(&event, |command, outcome| trail.ended(command, outcome)));
            }),
            topics::AUDIT => decoded::<AuditEntry>(record).map(|entry| self.trail.write(|trail| trail.record(entry))),
            _ => CaptureEpoch::read(record).map(|epoch| {
                show_ledger((record, &epoch), (dashboard, &self.capture));
                self.capture.stand(&epoch.ledger, record.append_time_ms);
            }),
        };
        if let Err(error) = shown {
            tracing::error!(topic, offset = record.offset, error, "the follower cannot read a record");
        }
    }

    fn show_model(&mut self, record: &Record, event: &ModelEvent) {
        self.dashboard.model_event(event);
        let command = record.header(COMMAND_HEADER).and_then(|id| std::str::from_utf8(id).ok());
        if let (Some(command), Some(outcome)) = (command, carried_out(&event.event)) {
            self.trail.write(|trail| trail.ended(command, outcome));
        }
        if let Err(error) = self.publisher.model_event(event) {
            tracing::error!(model = event.model, %error, "the publisher leaves out what happened to a model");
        }
    }
}

fn decoded<T: DeserializeOwned>(record: &Record) -> Result<T, String> {
    cloud_event::decode(record).map_err(|error| error.to_string())
}

fn show_retrain(event: &RetrainEvent, dashboard: &mut Dashboard) {
    match event {
        RetrainEvent::Request(request) => dashboard.retrain_request(request),
        RetrainEvent::Episode(progress) => dashboard.episode(progress),
        RetrainEvent::Refused(refused) => dashboard.refused(refused),
        RetrainEvent::CommandRefused(refused) => {
            tracing::warn!(model = refused.model, command = refused.command, "refused: {}", refused.reason);
        }
        RetrainEvent::Unknown => {}
    }
}

/// What a command came to, by an event that it brought about.
fn carried_out(event: &LifecycleEvent) -> Option<Outcome> {
    Some(Outcome::CarriedOut(match event {
        LifecycleEvent::Promoted { version, .. } => format!("{version} is the champion"),
        LifecycleEvent::RolledBack { version, .. } => {
            format!("{version} is the champion again, and promotions are held until `driftline models release`")
        }
        LifecycleEvent::Released { .. } => "challengers are promoted again".to_owned(),
        _ => return None,
    }))
}

/// What the controller or the trainer says of a cause or a command.
fn tell_outcome(event: &RetrainEvent, tell: impl FnOnce(&str, Outcome)) {
    match event {
        RetrainEvent::Request(request) => {
            tell(&request.cause.id, Outcome::CarriedOut(format!("an episode is opened by request {}", request.id)));
        }
        RetrainEvent::Refused(refused) => tell(&refused.cause.id, Outcome::Refused(refused.why.to_string())),
        RetrainEvent::CommandRefused(refused) => tell(&refused.command, Outcome::Refused(refused.reason.clone())),
        RetrainEvent::Episode(_) | RetrainEvent::Unknown => {}
    }
}

fn show_ledger((record, epoch): (&Record, &CaptureEpoch), (dashboard, followed): (&mut Dashboard, &CaptureFollowed)) {
    let (capture, told_ms) = (&followed.telemetry, record.append_time_ms);
    for entry in &epoch.ledger {
        let input = PartitionName { topic: &entry.to.topic, partition: entry.to.partition };
        capture.watermark(input, entry.watermark_ms);
        for (reason, count) in &entry.dead_letters {
            let (topic, count) = (&entry.to.topic, count.unsigned_abs());
            if record.offset < followed.told_before {
                capture.earlier_dead_letters(topic, reason, count);
            } else {
                capture.dead_letters(topic, reason, count);
            }
        }
        let of_labels = entry.to.topic == topics::LABELS;
        if let Some(watermark_ms) = entry.watermark_ms.filter(|_| !of_labels) {
            dashboard.stands(Standing { partition: entry.to.partition, watermark_ms, is_idle: entry.idle });
        }
        for (model, counts) in &entry.counts {
            let count = |count: i64| count.unsigned_abs();
            let events = |count: i64| if of_labels { 0 } else { count.unsigned_abs() };
            dashboard.captured(
                model,
                CapturedRows {
                    rows: events(counts.produced),
                    late: events(counts.late),
                    duplicates: events(counts.duplicates),
                    labelled: count(counts.labelled),
                },
                told_ms,
            );
            if !dashboard.is_watched(model) {
                continue;
            }
            capture.captured(
                model,
                CaptureCounts {
                    events: events(counts.produced),
                    late: events(counts.late),
                    future: events(counts.future),
                    duplicates: events(counts.duplicates),
                    misplaced: events(counts.misplaced),
                    unknown_features: events(counts.unknown_features),
                    other_versions: events(counts.other_versions),
                    unknown_predictions: events(counts.unknown_predictions),
                    unknown_labels: count(counts.unknown_labels),
                    matched: count(counts.labelled),
                    replaced: count(counts.relabelled),
                    expired: count(counts.expired),
                    orphaned: count(counts.orphaned),
                },
            );
        }
    }
}
