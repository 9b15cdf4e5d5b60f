//! The workers of a stage: the runners that a stage has in this process.
//!
//! On a log that one process has to itself, a single runner reads every partition. On a shared one each partition of the
//! stage's inputs has a runner of its own, with a group, a snapshot and transactions of its own; so its state moves from one
//! process to another by itself, and whoever takes it over makes the broker refuse what the last one still tries. Which
//! process has which partitions is the log's affair, which tells every [`Change`].
//!
//! A partition that is handed over ends in order: it seals and commits, and only then may another take it up. One that is
//! lost is dropped, because another has it already.

use super::{Runner, RunnerContext, StageHandle};
use crate::log::{Change, LogError, Membership, PartitionId};
use crate::stage::{Share, Stage, StageError, StageSpec};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a partition that is handed over may take to end. One that takes longer finds that it has been displaced.
const GRACE: Duration = Duration::from_secs(30);

/// How long a word to stop may go unnoticed by the thread that attends to the membership.
const NOTICE: Duration = Duration::from_millis(100);

/// Builds a stage without state; called at the start of every run of every runner.
pub type StageFactory = Arc<dyn Fn() -> Result<Box<dyn Stage>, StageError> + Send + Sync>;

/// Whom the workers share their stage's partitions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// No one: this process is the only one that runs the stage.
    Alone,
    /// Every process that runs the stage on the same log.
    Among,
}

/// The runners that a stage has in this process.
pub struct StageWorkers {
    runners: Arc<Runners>,
    attendant: Option<MembershipPoller>,
}

/// The thread that hears which partitions are this process' own.
struct MembershipPoller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Runners {
    spec: StageSpec,
    factory: StageFactory,
    context: RunnerContext,
    running: Mutex<BTreeMap<Share, Arc<StageHandle>>>,
    /// Those that were told to end and had not when their time was up.
    leaving: Mutex<Vec<Arc<StageHandle>>>,
}

impl StageWorkers {
    /// Starts the stage. Its topics must exist, and its inputs have as many partitions each.
    ///
    /// # Errors
    /// When a topic does not exist, the log cannot be reached, or the system has no thread for it.
    pub fn start(
        spec: StageSpec,
        factory: StageFactory,
        context: RunnerContext,
        sharing: Sharing,
    ) -> Result<Self, StageError> {
        let (log, name, inputs) = (Arc::clone(&context.log), spec.name.clone(), spec.inputs.clone());
        let (running, leaving) = (Mutex::default(), Mutex::default());
        let runners = Arc::new(Runners { spec, factory, context, running, leaving });
        let failed = |error: LogError| StageError::failed(format!("starting {name}"), error);
        let Some(topic) = inputs.first().filter(|_| log.is_shared()) else {
            runners.spawn(Share::All)?;
            return Ok(Self { runners, attendant: None });
        };
        if sharing == Sharing::Alone {
            for partition in 0..log.partitions(topic).map_err(failed)? {
                runners.spawn(Share::One(partition))?;
            }
            return Ok(Self { runners, attendant: None });
        }
        let told = Arc::clone(&runners);
        let membership = log.join((&name, topic), Box::new(move |change| told.hear(change))).map_err(failed)?;
        let attendant = MembershipPoller::start(&name, membership)?;
        Ok(Self { runners, attendant: Some(attendant) })
    }

    /// The runners that are at work now.
    pub fn handles(&self) -> Vec<Arc<StageHandle>> {
        locked(&self.runners.running).values().map(Arc::clone).collect()
    }

    /// The stage's name.
    pub fn stage(&self) -> &str {
        &self.runners.spec.name
    }

    /// Asks every runner to seal, commit and end, and the process to leave those that share the stage. Returns at once.
    pub fn stop(&self) {
        if let Some(attendant) = &self.attendant {
            attendant.stop.store(true, Ordering::Release);
        }
        self.handles().iter().for_each(|handle| handle.shutdown());
    }

    /// Waits until all of that is done.
    ///
    /// # Errors
    /// What a runner ended with; nothing is lost by it, a restart absorbs it again.
    pub fn join(self) -> Result<(), StageError> {
        if let Some(Err(_)) = self.attendant.map(|attendant| attendant.thread.join()) {
            return Err(StageError::failed("leaving the membership", "its thread panicked"));
        }
        let running = std::mem::take(&mut *locked(&self.runners.running));
        let leaving = std::mem::take(&mut *locked(&self.runners.leaving));
        let ended: Vec<_> = running.into_values().chain(leaving).map(|handle| handle.join()).collect();
        ended.into_iter().collect()
    }
}

impl MembershipPoller {
    fn start(stage: &str, mut membership: Membership) -> Result<Self, StageError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let attend = move || {
            while !stopping.load(Ordering::Acquire) {
                membership.attend(NOTICE);
            }
            // To leave is to hand over every partition.
            drop(membership);
        };
        let thread = std::thread::Builder::new().name(format!("{stage}-member")).spawn(attend);
        let thread = thread.map_err(|error| StageError::failed("starting the membership's thread", error))?;
        Ok(Self { stop, thread })
    }
}

impl Runners {
    fn spawn(&self, share: Share) -> Result<(), StageError> {
        let mut running = locked(&self.running);
        if running.contains_key(&share) {
            return Ok(());
        }
        let spec = StageSpec { share, ..self.spec.clone() };
        let factory = Arc::clone(&self.factory);
        let handle = Runner::spawn(spec, factory, self.context.clone())?;
        running.insert(share, Arc::new(handle));
        Ok(())
    }

    fn take_out(&self, partitions: &[PartitionId]) -> Vec<Arc<StageHandle>> {
        let mut running = locked(&self.running);
        partitions.iter().filter_map(|partition| running.remove(&Share::One(*partition))).collect()
    }

    /// Joins those that have ended within the grace, and keeps the others until they have.
    fn see_off(&self, handles: Vec<Arc<StageHandle>>, grace: Duration) {
        let deadline = Instant::now() + grace;
        for handle in handles {
            if !handle.ends_within(deadline.saturating_duration_since(Instant::now())) {
                // Its partition is about to be someone else's.
                handle.abandon();
                locked(&self.leaving).push(handle);
            } else if let Err(error) = handle.join() {
                tracing::warn!(stage = self.spec.name, %error, "a partition was not handed over in order");
            }
        }
        locked(&self.leaving).retain(|handle| !handle.ends_within(Duration::ZERO));
    }

    fn hear(&self, change: Change<'_>) {
        match change {
            Change::Assigned(partitions) => self.take_up(partitions),
            Change::Revoked(partitions) => self.hand_over(partitions),
            Change::Lost(partitions) => self.lose(partitions),
        }
    }

    fn take_up(&self, partitions: &[PartitionId]) {
        tracing::info!(stage = self.spec.name, ?partitions, "partitions taken up");
        self.context.telemetry.rebalanced(&self.spec.name);
        for partition in partitions {
            if let Err(error) = self.spawn(Share::One(*partition)) {
                tracing::error!(stage = self.spec.name, partition, %error, "a partition could not be taken up");
            }
        }
    }

    fn hand_over(&self, partitions: &[PartitionId]) {
        tracing::info!(stage = self.spec.name, ?partitions, "partitions handed over");
        let handles = self.take_out(partitions);
        handles.iter().for_each(|handle| handle.shutdown());
        self.see_off(handles, GRACE);
    }

    fn lose(&self, partitions: &[PartitionId]) {
        tracing::warn!(stage = self.spec.name, ?partitions, "partitions lost: another process may have them");
        let handles = self.take_out(partitions);
        handles.iter().for_each(|handle| handle.abandon());
        self.see_off(handles, Duration::ZERO);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
