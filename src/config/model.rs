//! The settings of one model, checked.
//!
//! What is here can be acted on without looking twice: names are fit for paths and labels, windows close, segments parse,
//! a class that is named exists.

use crate::files::FileColumns;
use capture::watched::WatchedModel;
use codec::decode::{FeatureOrigins, HashKey, Mapping, MappingSettings, Origin, Policy, Privacy, PrivacyError, Source};
use detectors::schema::{ModelSchema, Task};
use retrain::policy::RetrainPolicy;
use retrain::process::CommandSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{MAIN_SEPARATOR, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name of a model: fit for a metric's label, a folder and a part of a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    /// The longest name.
    pub const MOST_LETTERS: usize = 63;

    /// The name, if it is one; `None` otherwise.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let begins = name.chars().next().is_some_and(plain);
        let rest = name.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'));
        (begins && rest && name.len() <= Self::MOST_LETTERS).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One model that is watched.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Its name.
    pub name: ModelName,
    /// What the stages know of it.
    pub(super) watched: Arc<WatchedModel>,
    /// What may be stored of each feature; those that are not named here may be stored as they are.
    pub privacy: BTreeMap<String, Policy>,
    /// When the model is retrained, and what a challenger must show.
    pub retrain: RetrainPolicy,
    /// What trains challengers; `None` watches the model and never retrains it.
    pub trainer: Option<TrainerConfig>,
    /// What answers for challengers, and for the champion where it serves.
    pub scorer: ScorerConfig,
    /// Whether Driftline answers for the champion.
    pub serving: Serving,
    /// How records of another shape are read, as it is written.
    pub map: Option<MappingSettings>,
    /// The same, checked against the schema.
    pub(super) mapping: Option<Mapping>,
    /// Where the first reference comes from.
    pub reference: Option<ReferenceConfig>,
    /// Triton model repository that follows the champion.
    pub triton_repository: Option<PathBuf>,
}

impl ModelConfig {
    /// What the stages must know of the model.
    pub fn watched(&self) -> Arc<WatchedModel> {
        Arc::clone(&self.watched)
    }

    /// Its features in order, its outputs and its task.
    pub fn schema(&self) -> &ModelSchema {
        &self.watched.schema
    }

    /// What the model predicts.
    pub fn task(&self) -> &Task {
        &self.watched.schema.task
    }

    /// The segment dimensions that events carry themselves.
    pub fn event_segments(&self) -> Vec<String> {
        self.watched.segments_from_events()
    }

    /// Whether one of its columns needs a key to be hashed with.
    pub fn needs_hash_key(&self) -> bool {
        let kind =
            |name: &String| self.schema().columns.iter().find(|column| column.name == *name).map(|column| column.kind);
        self.privacy.iter().any(|(name, policy)| kind(name).is_some_and(|kind| Privacy::needs_key(kind, *policy)))
    }

    /// How its events are decoded.
    ///
    /// # Errors
    /// When a feature is hashed and there is no key.
    pub fn source(&self, key: Option<HashKey>) -> Result<Source, PrivacyError> {
        let segments = self.event_segments();
        let privacy = Privacy::new(self.privacy.clone(), key, self.schema(), &segments)?;
        Ok(Source {
            model: Arc::clone(&self.watched.name),
            schema: self.schema().clone(),
            segments,
            privacy,
            mapping: self.mapping.clone(),
        })
    }

    /// The column of each feature that does not stand under its own name in files: its path in `map.features`.
    pub fn renamed_features(&self) -> BTreeMap<String, String> {
        let Some(FeatureOrigins::Each(origins)) = self.map.as_ref().and_then(|map| map.features.as_ref()) else {
            return BTreeMap::new();
        };
        let paths = origins.iter().filter_map(|(feature, origin)| match origin {
            Origin::Path(path) => Some((feature.clone(), path.clone())),
            Origin::Constant(_) => None,
        });
        paths.collect()
    }
}

/// A file from which the first reference is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceConfig {
    /// The file.
    pub file: PathBuf,
    /// Whether the first version is trained on it as well; the model then has a trainer.
    pub train: bool,
    /// What its columns are.
    pub columns: FileColumns,
}

/// What trains a challenger; its parameters are the retrain policy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainerConfig {
    /// Driftline's own regressions.
    Builtin,
    /// A program.
    Command(CommandConfig),
}

/// What answers for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScorerConfig {
    /// A builtin model's own numbers, or ONNX Runtime.
    Onnx,
    /// A program that is started for each batch.
    Command(CommandConfig),
    /// A program that stays up.
    StandingCommand(CommandConfig),
}

/// A program to be run.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// A path, relative to the directory, or a name that is looked up in `PATH`.
    pub program: String,
    /// Where it runs: the folder of the configuration file.
    pub directory: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables it is given; they may hold secrets, so that their values are never printed.
    pub environment: BTreeMap<String, String>,
    /// After so long it is ended.
    pub time_limit: Duration,
    /// How many bytes a file that it leaves may have.
    pub result_limit: u64,
}

impl CommandConfig {
    /// Last lines of its output that a failure quotes.
    const OUTPUT_LINES: usize = 20;

    /// The program as it is run, its paths made absolute.
    ///
    /// # Errors
    /// When the working directory of this process cannot be read.
    pub fn spec(&self) -> io::Result<CommandSpec> {
        // The directory of a file without a folder is empty, and that of `.` is not.
        let directory = std::path::absolute(self.directory.join("."))?;
        let program = if self.program.contains(MAIN_SEPARATOR) {
            directory.join(&self.program)
        } else {
            PathBuf::from(&self.program)
        };
        Ok(CommandSpec {
            program,
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            working_directory: Some(directory),
            time_limit: self.time_limit,
            output_lines_kept: Self::OUTPUT_LINES,
            most_result_bytes: self.result_limit,
        })
    }
}

impl fmt::Debug for CommandConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandConfig")
            .field("program", &self.program)
            .field("directory", &self.directory)
            .field("arguments", &self.arguments)
            .field("environment", &self.environment.keys())
            .field("time_limit", &self.time_limit)
            .field("result_limit", &self.result_limit)
            .finish()
    }
}

/// Whether Driftline answers for the champion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Serving {
    /// No: events carry the predictions of a model that is served elsewhere.
    #[default]
    None,
    /// Yes: the champion of the registry answers replayed rows that carry no prediction.
    Champion,
}
