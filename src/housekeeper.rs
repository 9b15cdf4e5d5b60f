//! What the clock brings about: retention, compaction of the archive, and schedules that are due.
//!
//! The only place in the service that acts because time has passed. A schedule becomes a record on `causes`; the controller
//! takes that record's time for now.

use crate::orders::{cause_record, now_ms};
use crate::service::Grounds;
use anyhow::Result;
use ingest::archive::compaction::{CompactionPolicy, compact};
use ingest::capture::Capture;
use ingest::log::Log;
use ingest::runner::absorbed_again_from;
use ingest::store::Store;
use retrain::schedule::Schedule;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often schedules and retention are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// What there is to be done.
pub struct Housekeeping {
    log: Arc<dyn Log>,
    store: Arc<Store>,
    schedules: Vec<(String, Schedule)>,
    compaction: CompactionPolicy,
    compact_every: Duration,
    is_own: Box<dyn Fn() -> bool + Send>,
}

/// The housekeeper's thread.
pub struct Housekeeper {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Housekeeping {
    /// The housekeeping of a service on these grounds, as long as it `is_own`: of several processes one does it.
    pub fn of(grounds: &Grounds, is_own: Box<dyn Fn() -> bool + Send>) -> Self {
        let scheduled = grounds.models.iter().filter(|model| model.trainer.is_some());
        let schedules = scheduled.filter_map(|model| {
            // The policy has been validated: a pattern that does not parse does not come here.
            let schedule = Schedule::parse(model.retrain.schedule.as_ref()?).ok()?;
            Some((model.name().to_owned(), schedule))
        });
        let archive = &grounds.config().archive;
        Self {
            log: Arc::clone(&grounds.log),
            store: Arc::clone(&grounds.store),
            schedules: schedules.collect(),
            compaction: archive.compaction,
            compact_every: archive.compact_every,
            is_own,
        }
    }

    fn run(self, stop: &Receiver<()>) {
        let mut looked_ms = now_ms();
        let mut compacted = Instant::now();
        while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let now_ms = now_ms();
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

impl Housekeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(housekeeping: Housekeeping) -> Result<Self> {
        let (stop, stopped) = channel();
        let thread =
            std::thread::Builder::new().name("housekeeper".to_owned()).spawn(move || housekeeping.run(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread after what it is doing.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the housekeeper's thread panicked");
        }
    }
}
