//! The runner: it feeds a stage from the log and makes its work exactly-once.
//!
//! One thread a stage. What a run does, after a start and after every error:
//!
//! ```text
//! snapshot ─► broadcasts, replayed ─► inputs, replayed ─► broadcasts to their end ─► live: read, absorb, seal, commit, …
//!             └── from the resume offset to the committed one ──┘
//! ```
//!
//! - **Exactly once.** What an epoch wrote, where its inputs stood, and the snapshot are one transaction of the log; its
//!   files are durable before. Any error drops the stage and rebuilds it from that transaction, so it does not matter
//!   whether the error came before or after it was stored.
//! - **Back-pressure.** One read is in memory at a time, and an epoch ends with the record that reaches
//!   [`EpochPolicy::bytes`]: a stage that is slow reads late, and the log holds what waits.
//! - **No silent skip.** A record that retention deleted before it was read is an error that ends the stage. One that was
//!   read, and that state is rebuilt from, the stage may recall from elsewhere; else it is that error too.
//! - **A stop leaves nothing open.** An epoch that the log does not take when the stage is to stop is absorbed once more and
//!   offered to it again; if it does not take it then either, the next start reads it.
//! - **One at a time.** A run begins by taking the stage over: another process that still runs it cannot commit any more.
//! - A stage sees a broadcast up to its end before the first live record of an input, and while it re-absorbs no further
//!   than the transaction it restarts from.
//!
//! It is written for any [`Log`]. Where processes share a log, a stage has [`StageWorkers`]: a runner for each of its partitions
//! that is this process' own.

mod cursor;
mod failure;
mod handle;
mod stage_run;
#[cfg(test)]
mod tests;
mod workers;

pub use cursor::absorbed_again_from;
pub use handle::{InputLag, StageHandle, StageState, StageStatus, wait_until_quiet};
pub use workers::{Sharing, StageFactory, StageWorkers};

use crate::crash::Crash;
use crate::error_chain::sentence;
use crate::log::{Log, PartitionId};
use crate::stage::{StageError, StageSpec};
use bytes::Bytes;
use failure::Failure;
use handle::Shared;
use stage_run::{Owed, StageRun};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause before a stage is rebuilt; each further failure without a commit between doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long a run may take to absorb what the last epoch of the one before had absorbed, once it is to stop.
const OWED_WITHIN: Duration = Duration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether reaching the end of the inputs ends an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealWhen {
    /// No: its time or its bytes do.
    Interval,
    /// Yes. For stages whose outcome others wait for, and for replays in lock-step.
    CaughtUp,
}

/// When an epoch ends.
#[derive(Debug, Clone, Copy)]
pub struct EpochPolicy {
    /// At the latest so long after its first record.
    pub interval: Duration,
    /// At the latest so long after it where others wait for what the stage has to tell.
    pub awaited: Duration,
    /// When its records' values have so many bytes; the record that reaches them is the last.
    pub bytes: usize,
    /// Whether it ends when all inputs are read.
    pub seal_when: SealWhen,
    /// How long a partition must have been read to its end before the stage is told that it is idle.
    pub idle_after: Duration,
}

/// A file could not be made durable.
#[derive(Debug, thiserror::Error)]
#[error("storing {path}: {source}")]
pub struct FileError {
    /// Path in the store.
    pub path: String,
    /// What the store said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Where an epoch's files go.
pub trait FileStore: Send + Sync {
    /// Writes a file; durable when it returns.
    ///
    /// # Errors
    /// When the file may not be there whole.
    fn put(&self, path: &str, bytes: Bytes) -> Result<(), FileError>;
}

/// What is told to whoever counts and logs.
pub trait StageTelemetry: Send + Sync {
    /// An epoch was committed: input records and bytes absorbed, and the time from its first record to its commit.
    fn epoch_committed(&self, stage: &str, epoch: EpochFigures);

    /// What an epoch had written was called off: its transaction was not committed.
    fn aborted(&self, stage: &str);

    /// A stage failed, and is rebuilt after a pause.
    fn restarted(&self, stage: &str, cause: RestartCause, error: &StageError);

    /// A stage failed for good: it has ended, and is not rebuilt.
    fn failed_for_good(&self, stage: &str, cause: RestartCause, error: &StageError);

    /// Partitions of a stage have come to this process, or gone from it.
    fn rebalanced(&self, stage: &str);

    /// How far an input is behind its end.
    fn lag(&self, stage: &StageSpec, input: (&str, PartitionId), lag: Lag);

    /// An input is not read by this process any more: how far it is behind is another's to tell.
    fn let_go(&self, stage: &StageSpec, input: (&str, PartitionId));
}

/// Why a stage is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartCause {
    /// The stage itself failed, or a file could not be stored.
    Stage,
    /// The log could not be read or written.
    Log,
    /// Another process has taken the stage over.
    Displaced,
}

impl RestartCause {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Log => "log",
            Self::Displaced => "displaced",
        }
    }
}

/// How far an input is behind its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Offsets that have not been read.
    pub offsets: u64,
    /// How long ago the log took the record that was read last; none where there is nothing to read.
    pub age: Duration,
}

/// The size of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochFigures {
    /// Input records absorbed.
    pub records: usize,
    /// Bytes of their values.
    pub bytes: usize,
    /// From its first record to its commit.
    pub took: Duration,
    /// Of that, the transaction: from handing it to the log until it was durable.
    pub transaction: Duration,
}

/// What a stage runs on.
#[derive(Clone)]
pub struct RunnerContext {
    /// Where it reads and writes.
    pub log: Arc<dyn Log>,
    /// Where its files go.
    pub files: Arc<dyn FileStore>,
    /// When its epochs end.
    pub policy: EpochPolicy,
    /// Who is told.
    pub telemetry: Arc<dyn StageTelemetry>,
    /// Where the process is to die; tests plan that, and no one else does.
    pub crash: Crash,
}

/// Runs stages.
#[derive(Debug)]
pub struct Runner;

impl Runner {
    /// Starts a stage on a thread of its own. Its topics must exist.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn spawn(spec: StageSpec, factory: StageFactory, context: RunnerContext) -> Result<StageHandle, StageError> {
        let shared = Arc::new(Shared::new(&spec.group(), Arc::clone(&context.log)));
        let supervisor = Supervisor { spec, factory, context, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name(supervisor.spec.group())
            .spawn(move || {
                let outcome = supervisor.run();
                supervisor.shared.ended();
                outcome
            })
            .map_err(|error| StageError::failed("starting the stage's thread", error))?;
        Ok(StageHandle::new(shared, thread))
    }
}

/// Gives a stage one run after another.
struct Supervisor {
    spec: StageSpec,
    factory: StageFactory,
    context: RunnerContext,
    shared: Arc<Shared>,
}

impl Supervisor {
    fn run(&self) -> Result<(), StageError> {
        let (mut failures_in_a_row, mut owed) = (0, None);
        loop {
            let Err((failure, committed)) = self.live(owed.as_ref()) else { return self.stopped() };
            let is_stopping = self.shared.is_stopping();
            let is_offered_again =
                owed.is_none() && is_stopping && !self.shared.is_abandoned() && failure.cause() == RestartCause::Log;
            let is_permanent = matches!(failure, Failure::Permanent(_));
            let is_last = is_permanent || (is_stopping && !is_offered_again);
            // Two that take a stage from each other would do so for ever if each commit between ended the pauses.
            let starts_anew = committed && !matches!(failure, Failure::Displaced(_));
            let cause = failure.cause();
            let error = failure.into_error();
            self.shared.failed(sentence(&error));
            if is_permanent {
                self.context.telemetry.failed_for_good(&self.spec.name, cause, &error);
            }
            if is_last {
                return Err(error);
            }
            self.context.telemetry.restarted(&self.spec.name, cause, &error);
            if is_offered_again {
                owed = Some(Owed { positions: self.shared.positions(), until: Instant::now() + OWED_WITHIN });
                continue;
            }
            failures_in_a_row = if starts_anew { 1 } else { failures_in_a_row + 1 };
            if self.shared.pause(pause_after(failures_in_a_row)) {
                // Nothing is in flight: the stage was dropped, and what it had committed is in the log.
                return self.stopped();
            }
        }
    }

    fn stopped(&self) -> Result<(), StageError> {
        self.shared.stopped();
        Ok(())
    }

    /// One run, which absorbs what is owed even if it is to stop. The flag beside a failure says whether anything was
    /// committed before it.
    fn live(&self, owed: Option<&Owed>) -> Result<(), (Failure, bool)> {
        self.shared.starting();
        let before = self.shared.commits();
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let stage = (self.factory)()?;
            StageRun::begin(&self.spec, stage, (&self.context, &self.shared))?.owing(owed).run()
        }));
        let outcome = lived.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            let said = said.unwrap_or_else(|| "no message".to_owned());
            Err(Failure::from(StageError::failed("the stage panicked", said)))
        });
        outcome.map_err(|failure| (failure, self.shared.commits() > before))
    }
}

fn pause_after(failures_in_a_row: u32) -> Duration {
    let doublings = failures_in_a_row.saturating_sub(1).min(16);
    LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(doublings))
}
