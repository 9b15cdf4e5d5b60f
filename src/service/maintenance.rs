//! What the clock brings about: retention, compaction of the archive, schedules that are due, and the end of windows after
//! which nothing comes.
//!
//! The only place in the service that acts because time has passed. A schedule becomes a record on `causes`; the controller
//! takes that record's time for now.

use crate::service::commands::{cause_record, now_ms};
use crate::service::silence::Silence;
use crate::service::{IsOwn, ServiceContext};
use anyhow::Result;
use capture::archive::compaction::{CompactionPolicy, compact};
use capture::stage::Capture;
use capture::watermark_alignment::{Quiet, WatermarkAlignment};
use retrain::schedule::Schedule;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streams::control::Control;
use streams::log::{Log, LogError, NewRecord};
use streams::runner::absorbed_again_from;
use streams::store::Store;
use streams::topics;

/// How often schedules and retention are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How often is looked whether nothing comes any more.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// What there is to be done.
pub(crate) struct Maintenance {
    log: Arc<dyn Log>,
    store: Arc<Store>,
    schedules: Vec<(String, Schedule)>,
    compaction: CompactionPolicy,
    compact_every: Duration,
    listening: Option<Listening>,
    is_own: IsOwn,
}

/// Where it is looked whether nothing comes any more.
struct Listening {
    log: Arc<dyn Log>,
    watermark_alignment: Arc<WatermarkAlignment>,
    silence: Silence,
    /// Partitions of the two inputs together.
    partitions: usize,
    /// Inputs that a repartition makes of the users' own topics.
    repartitioned: Vec<&'static str>,
    /// The time of the last heartbeat.
    said_ms: i64,
}

/// The thread of the maintenance.
pub(crate) struct MaintenanceThread {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Maintenance {
    /// The maintenance of a service in this context, as long as it `is_own`: of several processes one does it.
    pub(crate) fn of(
        context: &ServiceContext,
        watermark_alignment: Option<Arc<WatermarkAlignment>>,
        is_own: IsOwn,
    ) -> Self {
        let scheduled = context.models.iter().filter(|model| model.trainer.is_some());
        let schedules = scheduled.filter_map(|model| {
            // The policy has been validated: a pattern that does not parse does not come here.
            let schedule = Schedule::parse(model.retrain.schedule.as_ref()?).ok()?;
            Some((model.name().to_owned(), schedule))
        });
        let archive = &context.config().archive;
        Self {
            log: Arc::clone(&context.log),
            store: Arc::clone(&context.store),
            schedules: schedules.collect(),
            compaction: archive.compaction,
            compact_every: archive.compact_every,
            listening: watermark_alignment.map(|watermark_alignment| Listening::of(context, watermark_alignment)),
            is_own,
        }
    }

    fn run(mut self, stop: &Receiver<()>) {
        let mut looked_ms = now_ms();
        let (mut compacted, mut looked) = (Instant::now(), Instant::now());
        while stop.recv_timeout(LISTEN_EVERY) == Err(RecvTimeoutError::Timeout) {
            let now_ms = now_ms();
            if let Some(listening) = self.listening.as_mut().filter(|_| (self.is_own)()) {
                listening.listen(now_ms);
            }
            if looked.elapsed() < LOOK_EVERY {
                continue;
            }
            looked = Instant::now();
            let since_ms = std::mem::replace(&mut looked_ms, now_ms);
            if !(self.is_own)() {
                continue;
            }
            self.tell_schedules(since_ms, now_ms);
            if let Err(error) = self.log.enforce_retention(now_ms) {
                tracing::error!(%error, "retention could not be enforced");
            }
            if compacted.elapsed() >= self.compact_every {
                compacted = Instant::now();
                self.compact();
            }
        }
    }

    fn tell_schedules(&self, after_ms: i64, now_ms: i64) {
        for (model, schedule) in &self.schedules {
            let Some(cause) = schedule.due(model, after_ms, now_ms) else { continue };
            let told =
                cause_record(&cause).map_err(anyhow::Error::from).and_then(|record| Ok(self.log.append(&[record])?));
            if let Err(error) = told {
                tracing::error!(model, %error, "a schedule is due but could not be told");
            }
        }
    }

    fn compact(&self) {
        let log = self.log.as_ref();
        let needed = |topic: &str, partition| absorbed_again_from(log, Capture::spec(), (topic, partition));
        match compact(log, &self.store, &self.compaction, &needed) {
            Ok(done) if done.removed > 0 => {
                tracing::info!(written = done.written, removed = done.removed, "archive compacted");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the archive could not be compacted; it is as it was"),
        }
    }
}

impl Listening {
    fn of(context: &ServiceContext, watermark_alignment: Arc<WatermarkAlignment>) -> Self {
        let models = context.models.iter().map(|model| Arc::clone(&model.watched)).collect();
        Self {
            log: Arc::clone(&context.log),
            watermark_alignment,
            silence: Silence::new(models, context.config().max_disorder, context.most_apart()),
            partitions: 2 * context.partitions as usize,
            repartitioned: context.config().log.repartitioned().to_vec(),
            said_ms: i64::MIN,
        }
    }

    /// Has event time go on if nothing comes any more.
    fn listen(&mut self, now_ms: i64) {
        let Some(quiet) = self.watermark_alignment.quiet(self.partitions) else { return };
        let Some(time_ms) = self.silence.heartbeat_ms(&quiet, now_ms).filter(|time_ms| *time_ms > self.said_ms) else {
            return;
        };
        // A failure is told once, and the next moment that is due is another occasion.
        self.said_ms = time_ms;
        let told = self.records(&quiet, Control::Heartbeat(time_ms)).and_then(|records| self.log.append(&records));
        match told {
            Ok(()) => tracing::info!(time_ms, "nothing comes any more: event time goes on with the clock"),
            Err(error) => {
                tracing::error!(%error, "windows after which nothing comes stay open: a heartbeat could not be written")
            }
        }
    }

    /// The record for each partition that has brought something.
    fn records(&self, quiet: &Quiet, heartbeat: Control) -> Result<Vec<NewRecord>, LogError> {
        let own = quiet.watermarks.iter().filter(|((topic, _), _)| !self.repartitioned.contains(&topic.as_str()));
        let mut records: Vec<_> = own.map(|((topic, partition), _)| heartbeat.to_record(topic, *partition)).collect();
        for topic in &self.repartitioned {
            let source = topics::source_of(topic);
            let partitions = self.log.partitions(&source)?;
            records.extend((0..partitions).map(|partition| heartbeat.to_record(&source, partition)));
        }
        Ok(records)
    }
}

impl MaintenanceThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn start(housekeeping: Maintenance) -> Result<Self> {
        let (stop, stopped) = channel();
        let thread =
            std::thread::Builder::new().name("housekeeper".to_owned()).spawn(move || housekeeping.run(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after what it is doing.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the housekeeper's thread panicked");
        }
    }
}
