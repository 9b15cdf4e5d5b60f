//! The configuration as it is written: every key, its meaning and its default.
//!
//! Only shapes and units are checked here; what settings mean together is checked when they become the domain types of
//! [`super`]. A key that is not listed here is an error, so that a misspelt one is never silently without effect.
//! Relative paths are relative to the folder of the configuration file.

use super::kafka::RawKafka;
use super::quantity::{ByteSize, Moment, Span};
use crate::config::ordered::Ordered;
use codec::decode::{MappingSettings, Policy};
use detectors::panel::PanelPolicy;
use retrain::policy::RetrainPolicy;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    /// Version of the file's format; stands first, so that a newer file is told from a wrong one.
    #[serde(rename = "version")]
    pub(super) _version: FormatVersion,
    pub(super) log: RawLog,
    /// Partitions of the input topics. It cannot change once the log exists.
    #[serde(default = "RawConfig::default_partitions")]
    pub(super) partitions: u32,
    #[serde(default)]
    pub(super) api: super::api::RawApi,
    #[serde(default)]
    pub(super) metrics: RawMetrics,
    /// Where models and references are kept; by default `artifacts` in the log's directory.
    pub(super) artifacts: Option<RawArtifacts>,
    #[serde(default)]
    pub(super) archive: RawArchive,
    #[serde(default)]
    pub(super) epoch: RawEpoch,
    /// A partition that has been read to its end for so long no longer holds windows open.
    #[serde(default = "RawConfig::default_idle")]
    pub(super) idle_after: Span,
    /// How far behind the newest event of its partition an event may be without being late.
    #[serde(default = "RawConfig::default_disorder")]
    pub(super) max_disorder: Span,
    /// What ids that wait for labels may take in memory, of all models together; the others are on disk.
    #[serde(default = "RawConfig::default_label_memory")]
    pub(super) label_memory: ByteSize,
    /// What becomes of the process when a stage has failed for good.
    #[serde(default)]
    pub(super) stage_failure: super::StageFailure,
    #[serde(default)]
    pub(super) privacy: RawPrivacy,
    /// What answers for models that are not builtin.
    #[serde(default)]
    pub(super) onnxruntime: super::onnxruntime::RawOnnxRuntime,
    /// What records of Avro are written with.
    #[serde(default)]
    pub(super) schemas: super::schemas::RawSchemas,
    pub(super) models: Ordered<RawModel>,
}

impl RawConfig {
    fn default_partitions() -> u32 {
        4
    }

    fn default_idle() -> Span {
        Span::seconds(30)
    }

    fn default_disorder() -> Span {
        Span::seconds(600)
    }

    fn default_label_memory() -> ByteSize {
        ByteSize(256 << 20)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    /// Folder of the embedded log; created when it is not there. With `kafka` it holds what trainings work on, and the
    /// artifacts that have no place of their own.
    pub(super) directory: PathBuf,
    /// What a commit survives; of the embedded log.
    pub(super) durability: Option<super::Durability>,
    #[serde(default)]
    pub(super) retention: RawRetention,
    /// The log is on this Kafka.
    pub(super) kafka: Option<RawKafka>,
}

/// What may be deleted from the inputs; without either, nothing is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    /// Records appended longer ago.
    pub(super) age: Option<Span>,
    /// The oldest records of a partition that holds more.
    pub(super) bytes: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    /// The most tests of a model whose scores have series: the worst. The API has all.
    pub(super) tests_per_model: u32,
}

impl Default for RawMetrics {
    fn default() -> Self {
        Self { tests_per_model: 30 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArtifacts {
    /// A folder, or `s3://bucket/prefix` with its credentials in the usual `AWS_…` variables.
    pub(super) url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawArchive {
    /// Rows at which the open files are closed.
    pub(super) roll_rows: usize,
    /// Time after which the open files are closed, however few rows they have.
    pub(super) roll_after: Span,
    /// Rows whose event time lies further back are deleted; without it, none are.
    pub(super) keep: Option<Span>,
    /// How often small files are merged and old ones deleted.
    pub(super) compact_every: Span,
}

impl Default for RawArchive {
    fn default() -> Self {
        Self { roll_rows: 100_000, roll_after: Span::seconds(300), keep: None, compact_every: Span::seconds(600) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEpoch {
    /// How long capture gathers before it commits; without it that follows from the windows.
    pub(super) interval: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrivacy {
    /// File with the key of hashed columns; the variable `DRIFTLINE_HASH_KEY` goes before it.
    pub(super) hash_key_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel {
    pub(super) task: RawTask,
    /// The inputs, in the order of the model's schema.
    pub(super) features: Ordered<RawFeature>,
    /// Slices that are judged on their own: an SQL expression over the features, or `from_event`.
    #[serde(default)]
    pub(super) segments: Ordered<String>,
    pub(super) windows: RawWindows,
    /// Length of the steps that the sequential detectors see, a whole part of the pane (the common divisor of the windows'
    /// size and hop); by default a fiftieth of it, or all of it where that is no whole number of milliseconds.
    pub(super) step: Option<Span>,
    /// When labels count; without it the model has none.
    pub(super) labels: Option<RawLabels>,
    /// How windows are judged.
    #[serde(default)]
    pub(super) panel: PanelPolicy,
    #[serde(default)]
    pub(super) sequential: RawSequential,
    /// When the model is retrained, and in `gate` what a challenger must show.
    #[serde(default)]
    pub(super) retrain: RetrainPolicy,
    /// What trains challengers; without it the model is watched and never retrained.
    pub(super) trainer: Option<RawTrainer>,
    /// What answers for challengers, and for the champion where it serves.
    #[serde(default)]
    pub(super) scorer: RawScorer,
    #[serde(default)]
    pub(super) serving: super::model::Serving,
    /// How records of another shape are brought to Driftline's.
    pub(super) map: Option<MappingSettings>,
    /// Where the first reference comes from.
    pub(super) reference: Option<RawReference>,
    #[serde(default)]
    pub(super) publish: RawPublish,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTask {
    #[serde(rename = "type")]
    pub(super) kind: TaskKind,
    /// The class that precision, recall and the score speak of; of a binary task.
    pub(super) positive: Option<String>,
    /// The other class of a binary task.
    pub(super) negative: Option<String>,
    /// Every class of a multiclass task, in the order of its scores.
    pub(super) classes: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TaskKind {
    Binary,
    Multiclass,
    Regression,
}

/// A feature: `numeric`, `categorical`, or a mapping with `kind` and `privacy`.
#[derive(Debug)]
pub(super) struct RawFeature {
    pub(super) kind: detectors::schema::ColumnKind,
    pub(super) privacy: Policy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureMapping {
    kind: detectors::schema::ColumnKind,
    #[serde(default)]
    privacy: Policy,
}

impl<'de> Deserialize<'de> for RawFeature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FeatureVisitor;
        impl<'de> Visitor<'de> for FeatureVisitor {
            type Value = RawFeature;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`numeric`, `categorical`, or a mapping with `kind` and `privacy`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawFeature, E> {
                let kind = detectors::schema::ColumnKind::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(RawFeature { kind, privacy: Policy::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawFeature, A::Error> {
                let FeatureMapping { kind, privacy } = FeatureMapping::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawFeature { kind, privacy })
            }
        }
        deserializer.deserialize_any(FeatureVisitor)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWindows {
    /// Length of a window.
    pub(super) size: Span,
    /// Distance between the starts of two windows; the size by default, so that they do not overlap.
    pub(super) hop: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLabels {
    pub(super) mature: RawMaturity,
    /// How long a prediction waits for its label.
    pub(super) horizon: Span,
    /// What it means that no label came.
    pub(super) absent_means: Option<RawAbsent>,
    /// Most ids that a partition holds at once; when there are more, it waits.
    pub(super) max_pending: usize,
}

impl Default for RawLabels {
    fn default() -> Self {
        Self {
            mature: RawMaturity::default(),
            horizon: Span::hours(30 * 24),
            absent_means: None,
            max_pending: 5_000_000,
        }
    }
}

/// When a window's labels are judged: `after` so long, or at a `coverage` but `at_most` so late.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMaturity {
    pub(super) after: Option<Span>,
    pub(super) coverage: Option<f64>,
    pub(super) at_most: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAbsent {
    /// The label that a prediction has when none came.
    pub(super) label: String,
    /// How long after the prediction.
    pub(super) after: Span,
}

/// The detectors that read errors or losses step by step.
///
/// Without a budget of false alarms ADWIN is on by default; with one the detector that can keep it is, the e-detector for
/// classes and CUSUM for numbers.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSequential {
    /// On the errors; no budget covers its false alarms.
    pub(super) adwin: Option<bool>,
    /// On the errors; no budget covers its false alarms.
    pub(super) page_hinkley: bool,
    /// On the errors of a classifier.
    pub(super) e_detector: Option<bool>,
    /// On the log losses of a classifier with scores, or a regression's squared errors.
    pub(super) cusum: Option<bool>,
}

/// What trains; the parameters of either kind stand in `retrain.parameters`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RawTrainer {
    /// Logistic, softmax or linear regression in the process itself; written `builtin: {}`.
    Builtin {},
    /// A program that reads a job file and writes an artifact.
    Command(RawCommand),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RawScorer {
    /// ONNX: a builtin model by its own numbers, any other by ONNX Runtime in a process of its own.
    #[default]
    Onnx,
    /// A program that reads and writes Parquet, started for each batch of rows.
    Command(RawCommand),
    /// One that is started once for a version: rows and answers are Arrow streams on its standard input and output.
    StandingCommand(RawCommand),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommand {
    /// A path, or a name that is looked up in `PATH`. It runs in the folder of the configuration file.
    pub(super) program: String,
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    /// Variables beside those that Driftline sets; nothing else is inherited but `PATH` and `HOME`.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// After so long the program and everything it started are ended.
    #[serde(default = "RawCommand::default_limit")]
    pub(super) time_limit: Span,
    /// How large a file that it leaves may be, rows also when they are unpacked.
    #[serde(default = "RawCommand::default_result_limit")]
    pub(super) result_limit: ByteSize,
}

impl RawCommand {
    fn default_limit() -> Span {
        Span::hours(1)
    }

    fn default_result_limit() -> ByteSize {
        ByteSize(1 << 30)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReference {
    /// A CSV, Parquet or JSON-lines file.
    pub(super) file: PathBuf,
    /// Whether the first version is trained on it; by default where there is a `trainer` and the champion serves.
    pub(super) train: Option<bool>,
    #[serde(default)]
    pub(super) columns: RawColumns,
}

/// What the columns of a file are; features stand under their own names, or those of `map.features`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawColumns {
    /// Column of the event's id; the row's number without it.
    pub(super) id: Option<String>,
    /// Column of the event's time.
    pub(super) time: Option<String>,
    /// Time of the first row, where the file has no time column.
    pub(super) start: Option<Moment>,
    /// Time between two rows, where the file has no time column.
    pub(super) interval: Option<Span>,
    pub(super) label: Option<String>,
    pub(super) prediction: Option<String>,
    /// Column of the positive class's score, or a mapping with a column for each class.
    pub(super) score: Option<RawScore>,
    /// Column of each segment that events carry.
    pub(super) segments: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a column, or a column for each class")]
pub(super) enum RawScore {
    /// Of the positive class.
    One(String),
    /// Of each class.
    EachClass(BTreeMap<String, String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPublish {
    /// A Triton model repository that follows the champion.
    pub(super) triton: Option<PathBuf>,
}

/// The version of the format that this program reads.
#[derive(Debug)]
pub(super) struct FormatVersion;

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            found => Err(D::Error::custom(format!(
                "this driftline reads version 1 of the format, the file has version {found}: install the driftline that wrote it"
            ))),
        }
    }
}
