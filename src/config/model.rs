//! The settings of one model, checked.
//!
//! What is here can be acted on without looking twice: names are fit for paths and labels, windows close, segments parse,
//! a class that is named exists.

use super::mapping::Mapping;
use super::panel::PanelSettings;
use super::policy::{GateSettings, RetrainSettings};
use detectors::schema::{ModelSchema, Task};
use detectors::windows::WindowSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
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
    /// Its features in order, its outputs and its task.
    pub schema: ModelSchema,
    /// What may be kept of each feature; those that are not named here may be kept as they are.
    pub privacy: BTreeMap<String, ColumnPrivacy>,
    /// Slices that are judged on their own, beside the whole traffic.
    pub segments: Vec<SegmentConfig>,
    /// Windows that are judged.
    pub windows: WindowSpec,
    /// Length of the steps that sequential detectors see.
    pub step: Duration,
    /// When labels are judged, and what their absence means.
    pub labels: LabelConfig,
    /// How windows are judged.
    pub panel: PanelSettings,
    /// When the model is retrained.
    pub retrain: RetrainSettings,
    /// What a challenger must show.
    pub gate: GateSettings,
    /// What trains challengers; `None` watches the model and never retrains it.
    pub trainer: Option<TrainerConfig>,
    /// What answers for challengers, and for the champion where it serves.
    pub scorer: ScorerConfig,
    /// Whether Driftline answers for the champion.
    pub serving: Serving,
    /// How records of another shape are read.
    pub map: Option<Mapping>,
    /// File from which the first reference is learned.
    pub reference_file: Option<PathBuf>,
    /// Triton model repository that follows the champion.
    pub triton_repository: Option<PathBuf>,
}

impl ModelConfig {
    /// The segment dimensions that events carry themselves.
    pub fn event_segments(&self) -> Vec<String> {
        let carried = self.segments.iter().filter(|segment| segment.source == SegmentSource::Event);
        carried.map(|segment| segment.dimension.clone()).collect()
    }

    /// What the model predicts.
    pub fn task(&self) -> &Task {
        &self.schema.task
    }
}

/// What may be stored of a column's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnPrivacy {
    /// They are stored as they are.
    #[default]
    Keep,
    /// A keyed hash is stored in their place; of categories only.
    Hash,
    /// They are counted in profiles and stored nowhere.
    ProfileOnly,
    /// They are ignored.
    Drop,
}

/// A dimension whose values are judged on their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentConfig {
    /// Its name.
    pub dimension: String,
    /// Where its values come from.
    pub source: SegmentSource,
}

/// Where the values of a segment come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentSource {
    /// The event's own `segment` map.
    Event,
    /// An SQL expression over the features.
    Sql(String),
}

/// What is known of a model's labels.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelConfig {
    /// When a window's labels are judged.
    pub maturity: Maturity,
    /// How long a prediction waits for its label.
    pub horizon: Duration,
    /// What it means that none came.
    pub absent: Option<AbsentLabel>,
}

/// When a window's labels are enough to be judged, once and finally.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Maturity {
    /// So long after the window's end.
    After(Duration),
    /// When this share of its predictions has a label, but at most so long after its end.
    Coverage {
        /// In (0, 1].
        share: f64,
        /// The longest wait.
        at_most: Duration,
    },
}

/// The label that a prediction has when none came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentLabel {
    /// One of the task's classes.
    pub label: String,
    /// How long after the prediction.
    pub after: Duration,
}

/// What trains a challenger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainerConfig {
    /// Driftline's own regressions.
    Builtin {
        /// Parameters of the learner, as `alpha`.
        parameters: BTreeMap<String, String>,
    },
    /// A program.
    Command(CommandConfig),
}

/// What answers for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScorerConfig {
    /// ONNX in the process.
    Onnx,
    /// A program.
    Command(CommandConfig),
}

/// A program to be run.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// A path, or a name that is looked up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables it is given; they may hold secrets, so that their values are never printed.
    pub environment: BTreeMap<String, String>,
    /// After so long it is ended.
    pub time_limit: Duration,
}

impl fmt::Debug for CommandConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CommandConfig")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &self.environment.keys())
            .field("time_limit", &self.time_limit)
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
