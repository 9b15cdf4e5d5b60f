//! What every part of the service uses: the log, the object store, the models and what is shared between stages.
//!
//! Opening it opens the log and creates its topics; nothing runs yet.

use crate::config::{ArtifactLocation, Config, LogPlace};
use crate::service::model::{self, ModelSetup};
use crate::service::transactional_id::TransactionalId;
use crate::service::work_folder::WorkFolder;
use anyhow::{Context, Result};
use capture::join::LabelSpace;
use capture::references::{ReferenceCache, ReferenceRegistry};
use codec::schemas::Schemas;
use std::sync::Arc;
use std::time::Duration;
use streams::crash::Crash;
use streams::log::embedded::{Durability, EmbeddedLog, Options};
use streams::log::kafka::KafkaLog;
use streams::log::{Log, LogError, Retention, TopicSpec};
use streams::store::Store;
use streams::topics;

/// How long commands, causes and the audit trail are kept. By then each command has been carried out or refused.
const ASKED_KEPT: Duration = Duration::from_secs(400 * 24 * 3_600);
/// The most bytes of the audit trail.
const MOST_AUDIT_BYTES: u64 = 256 << 20;

/// Windows of the longest that partitions may be apart, and the least event time.
const WINDOWS_APART: u32 = 4;
const LEAST_APART: Duration = Duration::from_secs(600);

/// The variable by which a test has this process kill itself at a step of a stage's transaction, as [`streams::crash`] says.
const CRASH_VARIABLE: &str = "DRIFTLINE_TEST_CRASH";

/// What every part of the service uses.
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
    pub(super) label_space: Arc<LabelSpace>,
    /// References that stages have read.
    pub(super) reference_cache: Arc<ReferenceCache>,
    pub(super) config: Config,
    pub(super) crash: Crash,
    /// The name that this process bears on a log that is shared.
    _transactional_id: Option<TransactionalId>,
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
        let (log, _transactional_id) = open_log(config, &crash)?;
        let partitions = config.partitions.get();
        let monitors = if log.is_shared() { partitions } else { 1 };
        let open_for = longest_open(&models, config.max_disorder);
        ensure_topics(log.as_ref(), topic_specs((partitions, monitors), config.log.retention, open_for))?;
        for topic in config.log.repartitioned() {
            ensure_source(log.as_ref(), topic, config)?;
        }
        let store = open_store(config);
        let work_folder = WorkFolder::take(&config.log.directory.join("trainings"))?;
        let label_space = Arc::new(LabelSpace::new(config.log.directory.join("labels"), config.label_memory));
        let (store, config) = (Arc::new(store?), config.clone());
        let reference_cache = ReferenceCache::new(Arc::clone(&store) as _);
        let context = Self {
            log,
            store,
            models,
            schemas,
            partitions,
            monitors,
            work_folder,
            label_space,
            reference_cache,
            config,
            crash,
            _transactional_id,
        };
        Ok(context)
    }

    /// The setup of a model.
    ///
    /// # Errors
    /// When there is no such model; the message names those that there are.
    pub fn model(&self, name: &str) -> Result<&Arc<ModelSetup>> {
        Ok(model::find(&self.models, name, &self.config)?)
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

    /// References of every version, read through the cache that all stages share.
    pub(super) fn references(&self) -> ReferenceRegistry {
        ReferenceRegistry::new(Arc::clone(&self.reference_cache))
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

pub(super) fn open_store(config: &Config) -> Result<Store> {
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
    let asked = Retention { age: Some(ASKED_KEPT), bytes_per_partition: Some(MOST_AUDIT_BYTES) };
    specs.push(spec(topics::AUDIT, 1, asked));
    let kept = [topics::VERDICTS, topics::CAUSES, topics::COMMANDS, topics::RETRAIN, topics::MODELS, topics::ARCHIVED];
    specs.extend(kept.iter().map(|name| spec(name, 1, forever)));
    specs
}

fn ensure_topics(log: &dyn Log, specs: Vec<TopicSpec>) -> Result<()> {
    for mut topic in specs {
        // The owner of a Kafka decides how long topics that exist there already are kept.
        if !log.is_shared() && [topics::CAUSES, topics::COMMANDS].contains(&topic.name.as_str()) {
            topic.retention.age = Some(ASKED_KEPT);
        }
        log.ensure_topic(&topic)?;
    }
    Ok(())
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
