//! `driftline run`: the service until SIGTERM or SIGINT.

use crate::cli::{Exit, RunArgs};
use crate::config::{Config, StageFailure, check};
use crate::output::note;
use crate::service::{
    Pace, Service, ServiceContext, ServiceOptions, StageFailedForGood, check_api, check_references, check_stages,
};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often it is looked at whether a stage has failed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs the service; a signal seals, commits and ends it.
pub(super) fn run(args: &RunArgs) -> Result<Exit> {
    let config = Config::load(&args.config.config)?;
    check_stages(&args.stages, &config)?;
    check_api(&config)?;
    super::reference::check_files(&config)?;
    check(&config).iter().for_each(|finding| tracing::warn!("{finding}"));
    let context = Arc::new(ServiceContext::open(&config)?);
    super::reference::first_references(&context)?;
    check_references(&context)?.iter().for_each(|finding| tracing::warn!("{finding}"));
    let listen = Some(config.api.listen);
    let options = ServiceOptions { pace: Pace::Live, listen, stages: args.stages.clone() };
    let service = Service::start(Arc::clone(&context), &options)?;
    let signals = Signals::listen()?;
    if let Some(address) = service.address() {
        let scheme = config.api.scheme();
        note(format_args!("driftline: metrics and API at {scheme}://{address}"));
    }
    let exits = config.stage_failure == StageFailure::Exit;
    let word = signals.wait(|| exits && service.has_failed_for_good());
    note(format_args!("driftline: sealing and committing"));
    match (service.shutdown(), word) {
        (Err(error), Word::StageFailed) => Err(error.context(StageFailedForGood)),
        (ended, _) => ended.map(|()| Exit::Done),
    }
}

/// Why the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// It was told to.
    Signal,
    /// A stage has failed for good.
    StageFailed,
}

/// What ends the service. Who is told that it runs may send one at once.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        drop(entered);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits for the first or for a stage to fail. Nothing else is done here: what blocks has threads of its own.
    fn wait(self, has_failed: impl Fn() -> bool) -> Word {
        let Self { runtime, mut terminate, mut interrupt } = self;
        runtime.block_on(async {
            let mut tick = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return Word::Signal,
                    _ = interrupt.recv() => return Word::Signal,
                    _ = tick.tick() => {}
                }
                if has_failed() {
                    return Word::StageFailed;
                }
            }
        })
    }
}
