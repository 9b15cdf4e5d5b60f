//! The handle of a running stage: how it is doing, how it is stopped, and when there is nothing left for it to do.

use crate::log::{Log, LogError, Offset, PartitionId, Waker};
use crate::stage::StageError;
use serde::Serialize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// What a stage is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// It is being built.
    Starting,
    /// It re-absorbs what it had absorbed before its last commit.
    Replaying,
    /// It reads what is new.
    Running,
    /// It failed and is rebuilt after a pause, unless the failure cannot pass.
    Failed {
        /// What failed.
        error: String,
        /// When it failed.
        since: SystemTime,
    },
    /// It sealed, committed and ended.
    Stopped,
}

/// How far an input is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputLag {
    /// Topic of the input or broadcast.
    pub topic: String,
    /// Its partition.
    pub partition: PartitionId,
    /// The next offset the stage reads.
    pub position: Offset,
    /// Offsets from there to the end; `None` if the log does not say.
    pub behind: Option<u64>,
}

/// How a stage is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: StageState,
    /// How often it has failed since it was spawned.
    pub failures: u64,
    /// How far each input is behind.
    pub inputs: Vec<InputLag>,
    /// When it last committed.
    pub last_commit: Option<SystemTime>,
}

/// Where one cursor stands.
pub(super) type Position = (String, PartitionId, Offset);

/// What a stage's thread and its handle share.
pub(super) struct Shared {
    name: String,
    log: Arc<dyn Log>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    state: StageState,
    stopping: bool,
    /// It is to stop as it is: what it has not committed is someone else's to absorb.
    abandoned: bool,
    /// Its thread has nothing left to do.
    ended: bool,
    failures: u64,
    commits: u64,
    last_commit: Option<SystemTime>,
    positions: Vec<Position>,
    /// How often it was asked whether it is quiet.
    asked: u64,
    /// The last such question that it has answered with yes.
    quiet_at: u64,
    /// Wakes its thread; `None` before its first run.
    waker: Option<Waker>,
}

impl Shared {
    pub(super) fn new(name: &str, log: Arc<dyn Log>) -> Self {
        let inner = Inner {
            state: StageState::Starting,
            stopping: false,
            abandoned: false,
            ended: false,
            failures: 0,
            commits: 0,
            last_commit: None,
            positions: Vec::new(),
            asked: 0,
            quiet_at: 0,
            waker: None,
        };
        Self { name: name.to_owned(), log, inner: Mutex::new(inner), changed: Condvar::new() }
    }

    pub(super) fn starting(&self) {
        self.set(StageState::Starting);
    }

    pub(super) fn replaying(&self) {
        self.set(StageState::Replaying);
    }

    pub(super) fn running(&self) {
        self.set(StageState::Running);
    }

    pub(super) fn stopped(&self) {
        self.set(StageState::Stopped);
    }

    pub(super) fn failed(&self, error: String) {
        let mut inner = self.inner();
        inner.failures += 1;
        inner.state = StageState::Failed { error, since: SystemTime::now() };
        self.changed.notify_all();
    }

    pub(super) fn ended(&self) {
        self.inner().ended = true;
        self.changed.notify_all();
    }

    pub(super) fn committed(&self) {
        let mut inner = self.inner();
        inner.commits += 1;
        inner.last_commit = Some(SystemTime::now());
    }

    pub(super) fn commits(&self) -> u64 {
        self.inner().commits
    }

    pub(super) fn moved(&self, positions: Vec<Position>) {
        self.inner().positions = positions;
    }

    pub(super) fn positions(&self) -> Vec<Position> {
        self.inner().positions.clone()
    }

    pub(super) fn wake_by(&self, waker: Waker) {
        self.inner().waker = Some(waker);
    }

    /// The question whether it is quiet, if it is not answered yet.
    pub(super) fn question(&self) -> Option<u64> {
        let inner = self.inner();
        (inner.asked > inner.quiet_at).then_some(inner.asked)
    }

    /// Everything that the log held after the question was asked is absorbed, and nothing is held back.
    pub(super) fn quiet(&self, question: u64) {
        self.inner().quiet_at = question;
        self.changed.notify_all();
    }

    fn wake(&self) {
        let waker = self.inner().waker.clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.inner().stopping
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.inner().abandoned
    }

    /// Waits, unless or until the stage is to stop; says whether it is.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.inner(), duration, |inner| !inner.stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    fn set(&self, state: StageState) {
        let mut inner = self.inner();
        inner.state = state;
        self.changed.notify_all();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running stage.
pub struct StageHandle {
    shared: Arc<Shared>,
    /// `None` once it has been joined.
    thread: Mutex<Option<JoinHandle<Result<(), StageError>>>>,
}

impl StageHandle {
    pub(super) fn new(shared: Arc<Shared>, thread: JoinHandle<Result<(), StageError>>) -> Self {
        Self { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Asks the stage to seal, commit and end. Returns at once.
    pub fn shutdown(&self) {
        self.shared.inner().stopping = true;
        self.shared.changed.notify_all();
        self.shared.wake();
    }

    /// Asks the stage to end without committing what is open. Returns at once.
    pub fn abandon(&self) {
        self.shared.inner().abandoned = true;
        self.shutdown();
    }

    /// Waits for the stage to end, however long that takes. A second call has nothing to wait for.
    ///
    /// # Errors
    /// What it ended with: a failure that cannot pass, or that of its last epoch. Nothing is lost by the latter, a restart
    /// absorbs it again.
    pub fn join(&self) -> Result<(), StageError> {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(StageError::failed("joining the stage", "its thread panicked")))
    }

    /// Waits for the stage to end within its grace; `true` says that [`StageHandle::join`] will not wait.
    pub fn ends_within(&self, grace: Duration) -> bool {
        let waited = self.shared.changed.wait_timeout_while(self.shared.inner(), grace, |inner| !inner.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// How it is doing now.
    pub fn status(&self) -> StageStatus {
        let inner = self.shared.inner();
        let positions = inner.positions.clone();
        let mut status = StageStatus {
            name: self.shared.name.clone(),
            state: inner.state.clone(),
            failures: inner.failures,
            inputs: Vec::new(),
            last_commit: inner.last_commit,
        };
        drop(inner);
        status.inputs = positions.into_iter().map(|position| self.lag(position)).collect();
        status
    }

    fn lag(&self, (topic, partition, position): Position) -> InputLag {
        let bounds = self.shared.log.bounds(&topic, partition).ok();
        let behind = bounds.map(|bounds| u64::try_from(bounds.end - position).unwrap_or(0));
        InputLag { topic, partition, position, behind }
    }

    /// Asks whether the stage is quiet; it answers once it is.
    fn ask(&self) -> u64 {
        let mut inner = self.shared.inner();
        inner.asked += 1;
        let question = inner.asked;
        drop(inner);
        self.shared.wake();
        question
    }

    /// Waits until the stage has answered; says whether it has.
    fn waits_for_quiet(&self, question: u64, deadline: Instant) -> bool {
        let quiet = |inner: &Inner| inner.quiet_at >= question;
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.shared.changed.wait_timeout_while(self.shared.inner(), left, |inner| !quiet(inner));
        quiet(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Waits until nothing is left to do: every stage has read all that the log holds, has sealed and committed it, and no one
/// has written to the log since the first of them said so. `false` when that has not happened within `timeout`.
///
/// A stage that holds its epoch open by choice (a file that is not full) counts as quiet. What idleness will bring about
/// later is not waited for.
///
/// # Errors
/// When the log does not say how far it has grown.
pub fn wait_until_quiet(handles: &[&StageHandle], log: &dyn Log, timeout: Duration) -> Result<bool, LogError> {
    let deadline = Instant::now() + timeout;
    loop {
        let version = log.version()?;
        let questions: Vec<_> = handles.iter().map(|handle| handle.ask()).collect();
        if !handles.iter().zip(questions).all(|(handle, question)| handle.waits_for_quiet(question, deadline)) {
            return Ok(false);
        }
        // The version counts every write, so all of them were quiet at the same time.
        if log.version()? == version {
            return Ok(true);
        }
    }
}
