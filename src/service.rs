//! The service: wires the stages to the log, and people to the service. Read this file first.
//!
//! ```text
//! inferences, labels ─► capture ─► partials ─► monitor ─► verdicts ─► controller ─► retrain ─► trainer ─► models
//!                  └──► archive ─► Parquet                    └─────────┴───────────────┴──► follower ─► metrics, board
//! ```
//!
//! Where the configuration lists an input below `log.kafka.repartition`, a repartition makes it from the users' topic first.
//! [`ServiceContext`] are what everything stands on: the log, the object store and the models. A [`Service`] is the stages running
//! on them. Each stage has a thread of its own; the API has a small runtime.

mod fit;
mod horizons;
mod stages;

pub use fit::{check_references, check_references_of};
pub use stages::{UnknownStage, check_stages};

use crate::config::{AWAITED_EPOCH, ArtifactLocation, Config, LogPlace};
use crate::intake::LogIntake;
use crate::maintenance::{Maintenance, MaintenanceThread};
use crate::orders::LogOrders;
use crate::projector::{CaptureFollowed, Projector, Shown};
use crate::publisher::{Publisher, Publishing};
use crate::setup::{self, ModelSetup};
use crate::telemetry::StageMetrics;
use crate::transactional_id::TransactionalId;
use crate::work_folder::WorkFolder;
use anyhow::{Context, Result, bail};
use capture::join::LabelSpace;
use capture::references::{ReferenceCache, ReferenceRegistry};
use capture::repartition::Repartition;
use capture::stage::Capture;
use capture::watermark_alignment::{Behind, WatermarkAlignment};
use codec::schemas::Schemas;
use dashboards::api::{self, ApiOptions, NotReady, RateLimit, Services};
use dashboards::dashboard::Dashboard;
use dashboards::exporter::{Exporter, ExporterOptions};
use dashboards::read_model::{BoardLimits, SharedReadModel};
use dashboards::telemetry::{CaptureTelemetry, PublisherTelemetry};
use retrain::controller_stage::ControllerStage;
use retrain::trainer_stage::TrainerStage;
use stages::stages;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::crash::Crash;
use streams::log::embedded::{Durability, EmbeddedLog, Options};
use streams::log::kafka::KafkaLog;
use streams::log::{Log, LogError, Retention, TopicSpec};
use streams::runner::{
    EpochPolicy, RunnerContext, SealWhen, Sharing, StageHandle, StageState, StageWorkers, wait_until_quiet,
};
use streams::stage::StageError;
use streams::store::Store;
use streams::topics;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The most bytes of input that one epoch absorbs, but for those of capture.
const MOST_EPOCH_BYTES: usize = 64 << 20;

/// The bytes of input that the open epochs of capture share: about a second's at the most that two processors take. What an
/// epoch costs for each model that is in it counts the less the longer it is.
const CAPTURED_BYTES: usize = 512 << 20;

/// The least and the most of them that one epoch has.
const CAPTURED_BYTES_OF_ONE: (usize, usize) = (16 << 20, 256 << 20);

/// The most series of one metric; more are capped, and the cap is counted.
const MOST_SERIES: usize = 5_000;

/// Windows of the longest that partitions may be apart, and the least event time.
const WINDOWS_APART: u32 = 4;
const LEAST_APART: Duration = Duration::from_secs(600);

/// How often the partitions of a repartition tell each other how far they are.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// The variable by which a test has this process kill itself at a step of a stage's transaction, as [`streams::crash`] says.
const CRASH_VARIABLE: &str = "DRIFTLINE_TEST_CRASH";

/// Whether something that one process of several does is this one's to do now.
pub type IsOwn = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the service stands on.
pub struct ServiceContext {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Artifacts and archived files.
    pub store: Arc<Store>,
    /// The models.
    pub models: Vec<Arc<ModelSetup>>,
    /// What records are written with; what a registry has said is shared by all stages.
    pub schemas: Arc<Schemas>,
    /// Partitions of the input topics.
    pub partitions: u32,
    /// Partitions of `partials`: one where one process has the log to itself, as many as there are inputs otherwise.
    pub monitors: u32,
    /// Where trainings work.
    pub work_folder: WorkFolder,
    /// Where ids that wait for labels are held.
    label_space: Arc<LabelSpace>,
    /// References that stages have read.
    shelf: Arc<ReferenceCache>,
    config: Config,
    crash: Crash,
    /// The name that this process bears on a log that is shared.
    _instance: Option<TransactionalId>,
}

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

impl ServiceContext {
    /// Opens the log and the store, and creates the topics.
    ///
    /// # Errors
    /// When the log is in use or unusable, the store cannot be used, or a model cannot be set up.
    pub fn open(config: &Config) -> Result<Self> {
        let models = ModelSetup::of(config)?;
        let schemas = Arc::new(config.schemas.open()?);
        let crash = planned_crash()?;
        let (log, _instance) = open_log(config, &crash)?;
        let partitions = config.partitions.get();
        let monitors = if log.is_shared() { partitions } else { 1 };
        let open_for = longest_open(&models, config.max_disorder);
        for topic in topic_specs((partitions, monitors), config.log.retention, open_for) {
            log.ensure_topic(&topic)?;
        }
        for topic in config.log.repartitioned() {
            ensure_source(log.as_ref(), topic, config)?;
        }
        let store = open_store(config);
        let work_folder = WorkFolder::take(&config.log.directory.join("trainings"))?;
        let label_space = Arc::new(LabelSpace::new(config.log.directory.join("labels"), config.label_memory));
        let (store, config) = (Arc::new(store?), config.clone());
        let shelf = ReferenceCache::new(Arc::clone(&store) as _);
        let context = Self {
            log,
            store,
            models,
            schemas,
            partitions,
            monitors,
            work_folder,
            label_space,
            shelf,
            config,
            crash,
            _instance,
        };
        Ok(context)
    }

    /// The setup of a model.
    ///
    /// # Errors
    /// When there is no such model; the message names those that there are.
    pub fn model(&self, name: &str) -> Result<&Arc<ModelSetup>> {
        Ok(setup::find(&self.models, name, &self.config)?)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How much event time partitions may be apart: what a few of the longest windows span.
    pub(crate) fn most_apart(&self) -> Duration {
        let longest = self.models.iter().map(|model| model.watched.windows.size_ms()).max().unwrap_or(0);
        let longest = Duration::from_millis(longest.unsigned_abs());
        longest.saturating_mul(WINDOWS_APART).max(LEAST_APART)
    }

    fn references(&self) -> ReferenceRegistry {
        ReferenceRegistry::new(Arc::clone(&self.shelf))
    }
}

/// The crash that a test has planned for this process; none for everyone else.
fn planned_crash() -> Result<Crash> {
    let Some(plan) = std::env::var_os(CRASH_VARIABLE) else { return Ok(Crash::default()) };
    let crash = plan.to_string_lossy().parse().context(CRASH_VARIABLE)?;
    tracing::warn!(plan = %plan.to_string_lossy(), "{CRASH_VARIABLE} is set, which is for tests: this process will kill itself");
    Ok(crash)
}

fn open_log(config: &Config, crash: &Crash) -> Result<(Arc<dyn Log>, Option<TransactionalId>)> {
    Ok(match &config.log.place {
        LogPlace::Embedded(durability) => {
            let synchronous = match durability {
                crate::config::Durability::Full => Durability::Full,
                crate::config::Durability::Normal => Durability::Normal,
            };
            let options = Options { synchronous, ..Options::default() };
            (EmbeddedLog::open(&config.log.directory, options)?, None)
        }
        LogPlace::Kafka(kafka) => {
            let options = kafka.options(&config.file)?.with_crash(crash.clone());
            let transactional_id = TransactionalId::take(&config.log.directory)?;
            (KafkaLog::connect(options, transactional_id.name())?, Some(transactional_id))
        }
    })
}

fn open_store(config: &Config) -> Result<Store> {
    Ok(match &config.artifacts {
        ArtifactLocation::Directory(directory) => Store::in_directory(directory),
        ArtifactLocation::Url(url) => Store::by_url(url),
    }?)
}

/// How long panes may be open: until the last of their windows is judged, its labels included.
fn longest_open(models: &[Arc<ModelSetup>], disorder: Duration) -> Duration {
    let open_ms = models.iter().map(|model| {
        let watched = &model.watched;
        watched.windows.size_ms() + watched.judged_at_ms().last().copied().unwrap_or(0)
    });
    Duration::from_millis(open_ms.max().unwrap_or(0).unsigned_abs()).saturating_add(disorder)
}

/// Topics with their partitions; what the registry and the retraining are is kept for good, and partials for twice as long
/// as panes are open at the least, because open panes are rebuilt from them.
fn topic_specs((partitions, monitors): (u32, u32), retention: Retention, open_for: Duration) -> Vec<TopicSpec> {
    let spec = |name: &str, partitions, retention| TopicSpec { name: name.to_owned(), partitions, retention };
    let forever = Retention::default();
    let inputs = topics::INPUTS;
    let mut specs: Vec<_> = inputs.iter().map(|name| spec(name, partitions, retention)).collect();
    specs.extend(inputs.iter().map(|name| spec(&topics::dead_letters_of(name), partitions, retention)));
    let age = retention.age.map(|age| age.max(open_for.saturating_mul(2)));
    specs.push(spec(topics::PARTIALS, monitors, Retention { age, bytes_per_partition: None }));
    let kept = [topics::VERDICTS, topics::CAUSES, topics::COMMANDS, topics::RETRAIN, topics::MODELS, topics::ARCHIVED];
    specs.extend(kept.iter().map(|name| spec(name, 1, forever)));
    specs
}

/// The users' topic, of as many partitions as they like, and what its repartition is told by.
fn ensure_source(log: &dyn Log, topic: &str, config: &Config) -> Result<()> {
    let name = topics::source_of(topic);
    let partitions = match log.partitions(&name) {
        Err(LogError::NoSuchPartition { .. }) => config.partitions.get(),
        found => found?,
    };
    log.ensure_topic(&TopicSpec { name, partitions, retention: config.log.retention })?;
    let (name, retention) = (topics::standings_of(topic), Retention::default());
    log.ensure_topic(&TopicSpec { name, partitions: 1, retention })?;
    Ok(())
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
    api: Option<RunningApi>,
    read_model: SharedReadModel,
    stop: CancellationToken,
}

struct RunningApi {
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    server: JoinHandle<Result<(), api::ApiError>>,
}

impl Service {
    /// Starts the stages, and the API where it is asked for.
    ///
    /// # Errors
    /// When a stage or the API cannot be started.
    pub fn start(context: Arc<ServiceContext>, options: &ServiceOptions) -> Result<Self> {
        horizons::check_horizons(&context, &options.stages)?;
        let exporter = Arc::new(Exporter::new(&ExporterOptions {
            most_series_per_metric: MOST_SERIES,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("DRIFTLINE_REVISION").map(str::to_owned),
        })?);
        let read_model = SharedReadModel::new(BoardLimits::default());
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
            dashboard: Dashboard::new(read_model.clone(), Arc::clone(&exporter)),
            capture: CaptureFollowed::new(CaptureTelemetry::new(Arc::clone(&exporter)), watermark_alignment.clone()),
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
        let services = |readiness| Services {
            intake: intake(&context),
            commands: orders(&context),
            read_model: read_model.clone(),
            exporter,
            readiness,
            closing: stop.clone(),
        };
        let api = match options.listen {
            Some(listen) => Some(serve(listen, services(readiness(&workers, watermark_alignment)), &context.config)?),
            None => None,
        };
        Ok(Self { context, workers, projector, maintenance, api, read_model, stop })
    }

    /// What it stands on.
    pub fn context(&self) -> &Arc<ServiceContext> {
        &self.context
    }

    /// Where the API listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|api| api.address)
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
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        workers.iter().for_each(StageWorkers::stop);
        let ended: Vec<_> = workers.into_iter().map(StageWorkers::join).collect();
        self.projector.stop();
        if let Some(api) = self.api {
            api.runtime.block_on(api.server).context("ending the API")??;
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

/// What keeps the service from being ready: stages that are replaying, have failed or have ended, and partitions for which
/// windows stay open.
fn readiness(
    workers: &Arc<Mutex<Vec<StageWorkers>>>,
    watermark_alignment: Option<Arc<WatermarkAlignment>>,
) -> api::Readiness {
    let workers = Arc::clone(workers);
    Arc::new(move || {
        let statuses = running(&workers).into_iter().map(|handle| handle.status());
        let standing = statuses.filter(|status| !matches!(status.state, StageState::Running));
        let stages = standing.map(|status| NotReady { part: status.name, reason: format!("{:?}", status.state) });
        let behind = watermark_alignment.iter().flat_map(|watermark_alignment| watermark_alignment.behind());
        stages.chain(behind.filter(Behind::holds_windows).map(windows_wait)).collect()
    })
}

/// That windows wait for a partition.
fn windows_wait(behind: Behind) -> NotReady {
    let Behind { topic, partition, by, .. } = behind;
    let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
    let reason = format!("windows stay open for it: it is {by} behind another partition in event time");
    NotReady { part: format!("{topic}/{partition}"), reason }
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

fn serve(listen: SocketAddr, services: Services, config: &Config) -> Result<RunningApi> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(listen))
        .with_context(|| format!("api.listen: cannot listen on {listen}; choose another address or port"))?;
    let address = listener.local_addr()?;
    let options = ApiOptions {
        most_body_bytes: usize::try_from(config.api.max_body_bytes).unwrap_or(usize::MAX),
        most_in_flight: config.api.in_flight.get() as usize,
        rate: config.api.requests_per_second.map(|per_second| RateLimit { per_second, burst: per_second }),
        ..ApiOptions::default()
    };
    let server = runtime.spawn(api::serve(listener, services, options));
    Ok(RunningApi { address, runtime, server })
}
