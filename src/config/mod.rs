//! The configuration file: one YAML file, parsed, then validated into types that can be acted on.
//!
//! `raw` holds every key with its default; [`Config`] and [`ModelConfig`] are what the rest of the program sees. Every
//! error names the file, the line and the path of the setting, and says how to mend it. Settings that work, but hardly as
//! meant, are the business of [`check()`]. `driftline.example.yaml` beside the workspace's manifest shows every section.
//!
//! Secrets never stand in the file: the key of hashed columns comes from a file of its own or the environment
//! ([`HASH_KEY_VARIABLE`]), passwords for a Kafka or a schema registry from files or variables that the file names,
//! credentials of object stores from the environment.

mod api;
mod check;
mod error;
mod horizon;
mod kafka;
mod lines;
mod model;
mod onnxruntime;
pub mod ordered;
mod quantity;
mod raw;
mod schemas;
mod secret;
mod sequential;
mod validate;

pub use api::ApiConfig;
pub use check::{Finding, check};
pub use error::{ConfigError, Problem};
pub use horizon::{ArchiveKept, Kept, WaitsTooLong, check_horizon};
pub use kafka::KafkaConfig;
pub use model::{CommandConfig, ModelConfig, ModelName, ReferenceConfig, ScorerConfig, Serving, TrainerConfig};
pub use onnxruntime::OnnxRuntimeConfig;
pub use schemas::SchemasConfig;

use capture::archive::RollPolicy;
use capture::archive::compaction::CompactionPolicy;
use codec::decode::HashKey;
use error::{Misfit, Validated, refuse};
use error::{out_of_range, positive};
use raw::{RawArchive, RawArtifacts, RawConfig, RawLog};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that may hold the key of hashed columns. It takes precedence over the file.
pub const HASH_KEY_VARIABLE: &str = "DRIFTLINE_HASH_KEY";
/// A shorter key could be guessed by trying all of them.
pub const LEAST_KEY_BYTES: usize = 16;

/// Everything the file says, checked. Paths are absolute or relative to the working directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where the log is and what it keeps.
    pub log: LogConfig,
    /// Partitions of the input topics.
    pub partitions: NonZeroU32,
    /// How the API listens.
    pub api: ApiConfig,
    /// How much the metrics tell.
    pub metrics: MetricsConfig,
    /// Where models and references are kept.
    pub artifacts: ArtifactLocation,
    /// How the archive is written and kept.
    pub archive: ArchiveConfig,
    /// How long capture gathers before it commits, unless a window waits for it.
    pub epoch_interval: Duration,
    /// A partition read to its end for so long no longer holds windows open.
    pub idle_after: Duration,
    /// How far behind the newest event of its partition an event may be without being late.
    pub max_disorder: Duration,
    /// How many bytes the ids that wait for labels may take in memory.
    pub label_memory: u64,
    /// What becomes of the process when a stage has failed for good.
    pub stage_failure: StageFailure,
    /// File with the key of hashed columns.
    pub hash_key_file: Option<PathBuf>,
    /// What answers for models that are not builtin.
    pub onnxruntime: OnnxRuntimeConfig,
    /// What records are written with that cannot be read without it.
    pub schemas: SchemasConfig,
    /// The models, by name.
    pub models: BTreeMap<ModelName, ModelConfig>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Folder of the embedded log; beside a Kafka, of what trainings work on.
    pub directory: PathBuf,
    /// Where it is.
    pub place: LogPlace,
    /// What may be deleted from the input topics.
    pub retention: streams::log::Retention,
}

/// Where the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// In the folder, with what a commit survives.
    Embedded(Durability),
    /// On a Kafka.
    Kafka(Box<KafkaConfig>),
}

/// What becomes of the process when a stage has failed for good, as one does whose records were deleted before it read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageFailure {
    /// The other stages go on, and the API tells of it.
    #[default]
    Stay,
    /// The other stages seal and commit, and the process ends with an exit code of its own.
    Exit,
}

/// What a committed record survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The loss of power.
    #[default]
    Full,
    /// The end of the process, but perhaps not the loss of power; a good deal faster.
    Normal,
}

/// The metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The most tests of a model whose scores have series.
    pub tests_per_model: NonZeroU32,
}

/// Where models and references are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactLocation {
    /// A folder.
    Directory(PathBuf),
    /// An object store's URL, as `s3://bucket/prefix`.
    Url(String),
}

/// The archive of events and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// When files are closed.
    pub roll: RollPolicy,
    /// What is merged and what is deleted.
    pub compaction: CompactionPolicy,
    /// How often that is done.
    pub compact_every: Duration,
}

impl LogConfig {
    /// Input topics that are made by a repartition of the users' own.
    pub fn repartitioned(&self) -> &[&'static str] {
        match &self.place {
            LogPlace::Kafka(kafka) => &kafka.repartitioned,
            LogPlace::Embedded(_) => &[],
        }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read, or a setting cannot be; the message names file, line and path.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Self::parse(&text, file)
    }

    /// Checks the text of a configuration; `file` is what messages call it and relative paths are relative to.
    ///
    /// # Errors
    /// When a setting cannot be; the message names file, line and path.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let invalid = |line, path: String, problem| ConfigError::Invalid { file: file.to_owned(), line, path, problem };
        let raw = read(text).map_err(|(line, path, message)| invalid(line, path, Problem::Text(message)))?;
        validated(raw, file).map_err(|Misfit { path, problem }| invalid(lines::line_of(text, &path), path, problem))
    }

    /// The key of hashed columns; `None` where no column is hashed. `variable` is the value of [`HASH_KEY_VARIABLE`].
    ///
    /// # Errors
    /// When a column is hashed and there is no key, or it is too short.
    pub fn hash_key(&self, variable: Option<OsString>) -> Result<Option<HashKey>, ConfigError> {
        if !self.models.values().any(ModelConfig::needs_hash_key) {
            return Ok(None);
        }
        secret::read(&self.file, self.hash_key_file.as_deref(), variable).map(Some)
    }
}

/// The text's shape, or the line, path and message of what is wrong with it.
fn read(text: &str) -> Result<RawConfig, (u64, String, String)> {
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        // serde_path_to_error writes `.` for the root and `?` for what it cannot name.
        let path = path.trim_end_matches(['.', '?']).to_owned();
        let line = error.location().map_or(0, |location| location.line());
        let line = if line == 0 { lines::line_of(text, &path) } else { line };
        (line, path, plain_message(&error))
    })
}

/// The parser's message on one line, without its own position and excerpt.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    // The parser's advice on a duplicate key is for programmers.
    let message = message.replace(", set DuplicateKeyPolicy in Options if acceptable", ": keep one");
    // What was expected is said in words that people use.
    let message = message
        .replace("invalid socket address syntax", "not an address and port: write it as `127.0.0.1:9464`")
        .replace("invalid u32", "not a whole number")
        .replace("invalid u64", "not a whole number")
        .replace("invalid usize", "not a whole number")
        .replace("invalid f64", "not a number");
    // Nor does it say that a section without keys has none.
    let message = match message.strip_suffix(", expected one of ") {
        Some(unknown) => format!("{unknown}: nothing can be set here, write `{{}}`"),
        None => message,
    };
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn validated(raw: RawConfig, file: &Path) -> Validated<Config> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let log = log(raw.log, folder)?;
    if raw.models.0.is_empty() {
        return refuse("models", Problem::NoModels);
    }
    let mut models = BTreeMap::new();
    for (name, model) in raw.models {
        let model = validate::model(&name, model, folder)?;
        models.insert(model.name.clone(), model);
    }
    let config = Config {
        file: file.to_owned(),
        partitions: partitions(raw.partitions)?,
        api: api::api(raw.api, folder)?,
        metrics: metrics(raw.metrics.tests_per_model)?,
        artifacts: artifacts(raw.artifacts, folder, &log.directory)?,
        archive: archive(&raw.archive)?,
        log,
        epoch_interval: match raw.epoch.interval {
            Some(interval) => positive("epoch.interval", interval.0)?,
            None => epoch_of(&models),
        },
        idle_after: positive("idle_after", raw.idle_after.0)?,
        max_disorder: raw.max_disorder.0,
        label_memory: label_memory(raw.label_memory.0)?,
        stage_failure: raw.stage_failure,
        hash_key_file: raw.privacy.hash_key_file.map(|key| folder.join(key)),
        onnxruntime: onnxruntime::onnxruntime(raw.onnxruntime, folder)?,
        schemas: schemas::schemas(raw.schemas, file, folder)?,
        models,
    };
    horizons(&config)?;
    Ok(config)
}

/// How long an epoch gathers at most that others wait for.
pub(crate) const AWAITED_EPOCH: Duration = Duration::from_secs(1);

/// How long capture gathers at most where the file does not say: less than Prometheus usually waits before it asks again, so
/// that whoever looks at counts of events sees no pauses.
const LONGEST_EPOCH: Duration = Duration::from_secs(10);

/// A twentieth of the shortest time between two windows: each epoch has what it costs by itself, for each model.
fn epoch_of(models: &BTreeMap<ModelName, ModelConfig>) -> Duration {
    let hops_ms = models.values().map(|model| model.watched.windows.hop_ms());
    let shortest_ms = hops_ms.min().and_then(|hop_ms| u64::try_from(hop_ms).ok()).unwrap_or(0);
    Duration::from_millis(shortest_ms / 20).clamp(AWAITED_EPOCH, LONGEST_EPOCH)
}

/// Refuses label horizons that are longer than the file says that anything is kept.
fn horizons(config: &Config) -> Validated<()> {
    let kept = Kept { topics: config.log.retention.age, archive: ArchiveKept::For(config.archive.compaction.keep) };
    for model in config.models.values() {
        check_horizon(&model.watched, config.max_disorder, &kept).map_err(|error| Misfit {
            path: format!("models.{}.labels.horizon", model.name),
            problem: Problem::Refused { reason: error.to_string() },
        })?;
    }
    Ok(())
}

fn log(raw: RawLog, folder: &Path) -> Validated<LogConfig> {
    let retention = streams::log::Retention {
        age: raw.retention.age.map(|age| positive("log.retention.age", age.0)).transpose()?,
        bytes_per_partition: raw.retention.bytes.map(|bytes| bytes.0),
    };
    let place = match (raw.kafka, raw.durability) {
        (None, durability) => LogPlace::Embedded(durability.unwrap_or_default()),
        (Some(kafka), None) => LogPlace::Kafka(Box::new(kafka::kafka(kafka, folder)?)),
        (Some(_), Some(_)) => return refuse("log", Problem::Exclusive { one: "durability", other: "kafka" }),
    };
    Ok(LogConfig { directory: folder.join(raw.directory), place, retention })
}

/// The most partitions; each costs a reader and a watermark.
const MOST_PARTITIONS: u32 = 1024;

fn partitions(count: u32) -> Validated<NonZeroU32> {
    match NonZeroU32::new(count) {
        Some(partitions) if count <= MOST_PARTITIONS => Ok(partitions),
        _ => refuse("partitions", out_of_range("from 1 to 1024", count)),
    }
}

fn metrics(tests_per_model: u32) -> Validated<MetricsConfig> {
    match NonZeroU32::new(tests_per_model) {
        Some(tests_per_model) => Ok(MetricsConfig { tests_per_model }),
        None => refuse("metrics.tests_per_model", out_of_range("at least 1", 0)),
    }
}

/// Small files of a day that are worth merging.
const LEAST_SMALL_FILES: usize = 8;
/// A file below this size is small: readers then spend their time on opening files.
const SMALL_FILE_BYTES: u64 = 16 << 20;

fn archive(raw: &RawArchive) -> Validated<ArchiveConfig> {
    if raw.roll_rows == 0 {
        return refuse("archive.roll_rows", out_of_range("at least 1", 0));
    }
    let keep = raw.keep.map(|keep| positive("archive.keep", keep.0)).transpose()?;
    Ok(ArchiveConfig {
        roll: RollPolicy { rows: raw.roll_rows, after: positive("archive.roll_after", raw.roll_after.0)? },
        compaction: CompactionPolicy { least_files: LEAST_SMALL_FILES, small_bytes: SMALL_FILE_BYTES, keep },
        compact_every: positive("archive.compact_every", raw.compact_every.0)?,
    })
}

/// Less would make files of some thousand ids each.
const LEAST_LABEL_MEMORY: u64 = 1 << 20;

fn label_memory(bytes: u64) -> Validated<u64> {
    if bytes < LEAST_LABEL_MEMORY {
        return refuse("label_memory", out_of_range("at least 1MiB", bytes));
    }
    Ok(bytes)
}

fn artifacts(raw: Option<RawArtifacts>, folder: &Path, log: &Path) -> Validated<ArtifactLocation> {
    let Some(RawArtifacts { url }) = raw else { return Ok(ArtifactLocation::Directory(log.join("artifacts"))) };
    match url.split_once("://") {
        None if !url.trim().is_empty() => Ok(ArtifactLocation::Directory(folder.join(url))),
        Some(("file", path)) if path.starts_with('/') => Ok(ArtifactLocation::Directory(path.into())),
        Some(("s3", bucket)) if !bucket.is_empty() => Ok(ArtifactLocation::Url(url)),
        _ => refuse("artifacts.url", Problem::ArtifactUrl { url }),
    }
}

#[cfg(test)]
mod tests;
