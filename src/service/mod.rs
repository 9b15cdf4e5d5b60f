//! The service: wires the stages to the log, and people to the service. Read this file first.
//!
//! ```text
//! inferences, labels ─► capture ─► partials ─► monitor ─► verdicts ─► controller ─► retrain ─► trainer ─► models
//!                  └──► archive ─► Parquet                    └─────────┴───────────────┴──► projector ─► metrics, read model
//! ```
//!
//! Where the configuration lists an input below `log.kafka.repartition`, a repartition makes it from the users' topic first.
//! [`ServiceContext`] is what every part uses: the log, the object store and the models. A [`Service`] is the stages that run
//! in it. Each stage has a thread of its own; the API has a small runtime.

pub mod model;
pub mod work_folder;

mod context;
mod transactional_id;

pub mod bootstrap;
pub mod champion;
pub(crate) mod commands;
mod intake;

mod fit;
mod horizons;
mod listening;
mod metrics;
mod readiness;
mod stages;
pub(crate) mod trainer_deps;

mod disk;
mod maintenance;
mod silence;

mod projector;
mod publisher;
mod telemetry;
pub mod topic_reader;

pub use context::ServiceContext;
pub use fit::{check_references, check_references_of};
pub use listening::check_api;
pub use stages::{UnknownStage, check_stages};

use crate::config::AWAITED_EPOCH;
use crate::service::commands::LogOrders;
use crate::service::disk::DiskWatch;
use crate::service::intake::LogIntake;
use crate::service::maintenance::{Maintenance, MaintenanceThread};
use crate::service::projector::{CaptureFollowed, Projector, Shown};
use crate::service::publisher::{Publisher, Publishing};
use crate::service::telemetry::StageMetrics;
use anyhow::{Result, bail};
use capture::repartition::Repartition;
use capture::stage::Capture;
use capture::watermark_alignment::WatermarkAlignment;
use dashboards::api::Services;
use dashboards::audit::SharedTrail;
use dashboards::exporter::Exporter;
use dashboards::read_model::{BoardLimits, SharedReadModel};
use dashboards::telemetry::PublisherTelemetry;
use listening::RunningApi;
use readiness::readiness;
use retrain::controller_stage::ControllerStage;
use retrain::trainer_stage::TrainerStage;
use stages::stages;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::runner::{EpochPolicy, RunnerContext, SealWhen, Sharing, StageHandle, StageWorkers, wait_until_quiet};
use streams::stage::StageError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The most bytes of input that one epoch absorbs, but for those of capture.
const MOST_EPOCH_BYTES: usize = 64 << 20;

/// The bytes of input that the open epochs of capture share: about a second's at the most that two processors take. What an
/// epoch costs for each model that is in it counts the less the longer it is.
const CAPTURED_BYTES: usize = 512 << 20;

/// The least and the most of them that one epoch has.
const CAPTURED_BYTES_OF_ONE: (usize, usize) = (16 << 20, 256 << 20);

/// How often the partitions of a repartition tell each other how far they are.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// Whether something that one process of several does is this one's to do now.
pub type IsOwn = Arc<dyn Fn() -> bool + Send + Sync>;

/// How the service keeps time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Epochs end by the clock, and quiet partitions become idle.
    Live,
    /// Epochs end as soon as everything is read, and only the input moves time: for a replay in lock-step.
    LockStep,
}

/// Which parts run, and how.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// How the service keeps time.
    pub pace: Pace,
    /// Where the API listens; `None` for no API.
    pub listen: Option<SocketAddr>,
    /// Names of the stages that run; empty for all.
    pub stages: Vec<String>,
}

/// A stage failed for good, and the service has ended for it; kept apart because it decides the exit code.
#[derive(Debug, Error)]
#[error("a stage failed for good (stage_failure: exit)")]
pub struct StageFailedForGood;

/// The stages, running.
pub struct Service {
    context: Arc<ServiceContext>,
    workers: Arc<Mutex<Vec<StageWorkers>>>,
    projector: Projector,
    maintenance: Option<MaintenanceThread>,
    disk: Option<DiskWatch>,
    api: Option<RunningApi>,
    read_model: SharedReadModel,
    stop: CancellationToken,
}

impl Service {
    /// Starts the stages, and the API where it is asked for.
    ///
    /// # Errors
    /// When a stage or the API cannot be started.
    pub fn start(context: Arc<ServiceContext>, options: &ServiceOptions) -> Result<Self> {
        horizons::check_horizons(&context, &options.stages)?;
        let exporter = metrics::exporter()?;
        let (read_model, trail) = (SharedReadModel::new(BoardLimits::default()), SharedTrail::default());
        read_model.write().configure(context.models.iter().map(|model| model.name().to_owned()));
        let stop = CancellationToken::new();
        let watermark_alignment = match options.pace {
            Pace::Live => Some(Arc::new(WatermarkAlignment::new(context.most_apart(), context.config.epoch_interval))),
            // A partition that is read to its end would hold up the others, because it never becomes idle.
            Pace::LockStep => None,
        };
        let workers = start_crews(&context, options, (&stop, watermark_alignment.as_ref()), &exporter)?;
        let workers = Arc::new(Mutex::new(workers));
        let shown = Shown {
            dashboard: metrics::dashboard(&context, &read_model, &exporter),
            trail: trail.clone(),
            capture: CaptureFollowed::new(metrics::capture(&exporter), watermark_alignment.clone()),
            publisher: Publisher::start(Publishing {
                models: &context.models,
                store: &context.store,
                telemetry: PublisherTelemetry::new(Arc::clone(&exporter)),
                is_own: runs(&context, &workers, TrainerStage::spec().name),
            })?,
        };
        let projector = Projector::start(Arc::clone(&context.log), shown)?;
        let maintenance = match options.pace {
            Pace::Live => {
                let is_own = runs(&context, &workers, ControllerStage::spec().name);
                Some(MaintenanceThread::start(Maintenance::of(&context, watermark_alignment.clone(), is_own))?)
            }
            Pace::LockStep => None,
        };
        let disk = match options.listen {
            Some(_) => Some(DiskWatch::start(&context.config, Arc::clone(&exporter))?),
            // Nobody could ask.
            None => None,
        };
        let services = |readiness| Services {
            intake: intake(&context),
            commands: orders(&context),
            read_model: read_model.clone(),
            trail,
            exporter,
            readiness,
            closing: stop.clone(),
        };
        let api = match options.listen {
            Some(listen) => {
                Some(RunningApi::start(listen, services(readiness(&workers, watermark_alignment)), &context.config)?)
            }
            None => None,
        };
        Ok(Self { context, workers, projector, maintenance, disk, api, read_model, stop })
    }

    /// What it stands on.
    pub fn context(&self) -> &Arc<ServiceContext> {
        &self.context
    }

    /// Where the API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(RunningApi::address)
    }

    /// What the API shows.
    pub fn read_model(&self) -> &SharedReadModel {
        &self.read_model
    }

    /// Waits until every stage has read, sealed and committed everything there is.
    ///
    /// # Errors
    /// When a stage has ended or failed meanwhile, or does not come to rest within `patience`.
    pub fn wait_until_quiet(&self, patience: Duration) -> Result<()> {
        let handles = running(&self.workers);
        let handles: Vec<_> = handles.iter().map(Arc::as_ref).collect();
        if wait_until_quiet(&handles, self.context.log.as_ref(), patience)? {
            return Ok(());
        }
        let states: Vec<_> = handles.iter().map(|handle| handle.status()).collect();
        let told: Vec<_> = states.iter().map(|status| format!("{}: {:?}", status.name, status.state)).collect();
        bail!("the stages did not come to rest within {patience:?} ({})", told.join("; "))
    }

    /// Whether a stage has failed for good; one that was told to end has not.
    pub fn has_failed_for_good(&self) -> bool {
        running(&self.workers).iter().any(|handle| handle.ends_within(Duration::ZERO))
    }

    /// Seals, commits and ends every stage.
    ///
    /// # Errors
    /// When a stage could not be ended in order; what it had not committed is read again at the next start.
    pub fn shutdown(self) -> Result<()> {
        self.stop.cancel();
        if let Some(maintenance) = self.maintenance {
            maintenance.stop();
        }
        if let Some(disk) = self.disk {
            disk.stop();
        }
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        workers.iter().for_each(StageWorkers::stop);
        let ended: Vec<_> = workers.into_iter().map(StageWorkers::join).collect();
        self.projector.stop();
        if let Some(api) = self.api {
            api.join()?;
        }
        ended.into_iter().collect::<Result<Vec<()>, StageError>>()?;
        Ok(())
    }
}

/// Capture gathers for the configured time, unless windows wait for it; the others commit as soon as there is nothing more to
/// read. A repartition that has more to read commits often, because its partitions go on by what they tell each other.
fn epoch_policy(context: &ServiceContext, pace: Pace, stage: &str) -> EpochPolicy {
    let config = &context.config;
    let captures = stage == Capture::spec().name;
    let tells = config.log.repartitioned().iter().any(|topic| stage == Repartition::spec(topic).name);
    let never = Duration::from_secs(u64::from(u32::MAX));
    let awaited = config.epoch_interval.min(if tells { TELL_EVERY } else { AWAITED_EPOCH });
    EpochPolicy {
        interval: if captures { config.epoch_interval } else { awaited },
        awaited,
        bytes: if captures { captured_bytes(context) } else { MOST_EPOCH_BYTES },
        seal_when: if captures && pace == Pace::Live { SealWhen::Interval } else { SealWhen::CaughtUp },
        idle_after: if pace == Pace::Live { config.idle_after } else { never },
    }
}

/// One runner captures all of a log of this process' own, and one each partition of a log that is shared.
fn captured_bytes(context: &ServiceContext) -> usize {
    let runners = if context.log.is_shared() { context.partitions } else { 1 };
    let (least, most) = CAPTURED_BYTES_OF_ONE;
    (CAPTURED_BYTES / runners.max(1) as usize).clamp(least, most)
}

fn intake(context: &ServiceContext) -> Arc<LogIntake> {
    let sources: Vec<_> = context.models.iter().map(|model| model.source.clone()).collect();
    Arc::new(LogIntake::new(Arc::clone(&context.log), &sources, context.partitions))
}

fn orders(context: &ServiceContext) -> Arc<LogOrders> {
    let models = context.models.iter().map(|model| model.name().to_owned()).collect();
    Arc::new(LogOrders::new(Arc::clone(&context.log), models))
}

/// Starts the stages that this process runs.
fn start_crews(
    context: &Arc<ServiceContext>,
    options: &ServiceOptions,
    (stop, watermark_alignment): (&CancellationToken, Option<&Arc<WatermarkAlignment>>),
    exporter: &Arc<Exporter>,
) -> Result<Vec<StageWorkers>> {
    let sharing = match options.pace {
        Pace::Live => Sharing::Among,
        Pace::LockStep => Sharing::Alone,
    };
    let mut workers = Vec::new();
    for (spec, factory) in stages(context, (stop, watermark_alignment), &options.stages)? {
        let context = RunnerContext {
            log: Arc::clone(&context.log),
            files: Arc::clone(&context.store) as _,
            policy: epoch_policy(context, options.pace, &spec.name),
            telemetry: StageMetrics::started(Arc::clone(exporter), &spec.name, Arc::clone(&context.log)),
            crash: context.crash.clone(),
        };
        workers.push(StageWorkers::start(spec, factory, context, sharing)?);
    }
    Ok(workers)
}

/// Whether this process runs the stage: of several, what goes with the stage is that one's to do.
fn runs(context: &ServiceContext, workers: &Arc<Mutex<Vec<StageWorkers>>>, stage: String) -> IsOwn {
    if !context.log.is_shared() {
        return Arc::new(|| true);
    }
    let workers = Arc::clone(workers);
    Arc::new(move || {
        let workers = workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().any(|workers| workers.stage() == stage && !workers.handles().is_empty())
    })
}

/// The runners at work now.
fn running(workers: &Mutex<Vec<StageWorkers>>) -> Vec<Arc<StageHandle>> {
    workers.lock().unwrap_or_else(PoisonError::into_inner).iter().flat_map(StageWorkers::handles).collect()
}
