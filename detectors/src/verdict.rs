//! What the monitor says of one window, span or step: the record that metrics, people and the controller read.
//!
//! An id is a hash of what the verdict is about and not of what it says, so a provisional verdict and the final one that
//! replaces it share an id and compaction keeps the last.

use crate::threshold::ThresholdSource;
use crate::windows::Window;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A slice of a model's traffic, as `region = north`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// The configured name of the expression.
    pub dimension: String,
    /// Its value for the rows of the segment.
    pub value: String,
}

/// Which judgement a verdict holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Distributions of features, prediction and score against the reference.
    Drift,
    /// Shares of null, wrong-typed, unseen and out-of-range values, and volume.
    DataQuality,
    /// Labelled quality against the reference.
    Quality,
    /// A sequential detector on steps, named after its algorithm and its input, as `adwin(error)`.
    Sequential(String),
}

impl Monitor {
    /// The name used in ids, metrics and messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Drift => "drift",
            Self::DataQuality => "data_quality",
            Self::Quality => "quality",
            Self::Sequential(name) => name,
        }
    }
}

/// Whether a later verdict may still replace this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Labels are not mature; shown with its coverage, and causes nothing.
    Provisional,
    /// Judged once; never changes a decision again.
    Final,
}

/// Why a window cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Fewer rows than the judgement needs.
    TooFewRows {
        /// Rows in the window.
        rows: i64,
        /// Rows needed.
        needed: i64,
    },
    /// Fewer labels than the judgement needs.
    TooFewLabels {
        /// Labelled rows in the window.
        labelled: i64,
        /// Labelled rows needed.
        needed: i64,
    },
    /// So many labels or predictions that could not be used that the rest may be better or worse than all.
    Unusable {
        /// Labels of no class, or not finite.
        labels: i64,
        /// Predictions of no class, or not finite.
        predictions: i64,
        /// Labelled rows without a prediction.
        missing: i64,
        /// All rows with a label.
        of: i64,
    },
    /// Fewer windows in the reference than the budget of false alarms needs.
    ReferenceTooShort {
        /// Windows with enough rows in the reference.
        windows: usize,
        /// Windows that support the budget.
        needed: usize,
    },
    /// A threshold that windows of the reference itself have put where the test cannot come, in every column.
    OutOfReach {
        /// The column, or the metric of quality.
        subject: String,
        /// The test.
        test: String,
    },
    /// The reference holds nothing to compare with.
    NotInReference,
}

/// What a window's judgement amounts to, mildest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// There is no reference yet.
    Learning,
    /// Nothing beyond what the reference shows of itself.
    Stable,
    /// A threshold was passed, in too few windows yet to be drift.
    Warning,
    /// Thresholds were passed in as many windows as the hysteresis asks.
    Drift,
    /// The window cannot be judged.
    Inconclusive(Why),
}

impl Severity {
    /// The name used in metrics and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Stable => "stable",
            Self::Warning => "warning",
            Self::Drift => "drift",
            Self::Inconclusive(_) => "inconclusive",
        }
    }
}

/// One test of one column, or one metric of quality, against its threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The column, or the name of the quality metric.
    pub subject: String,
    /// The statistic, as `psi`, `ks`, `null_share` or `accuracy_drop`.
    pub test: String,
    /// The statistic's value in this window.
    pub score: f64,
    /// The value beyond which the test counts as exceeded.
    pub threshold: f64,
    /// What the threshold was taken from.
    pub threshold_from: ThresholdSource,
    /// The probability of so large a score without drift, where the test has one.
    pub p_value: Option<f64>,
    /// Whether the score passed the threshold and the minimum effect.
    pub exceeded: bool,
}

/// How a column takes part in a drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The column.
    pub column: String,
    /// Its part of all that is unusual, in `(0, 1]`; those of one verdict add up to 1.
    pub contribution: f64,
    /// The share of rows that would have to change cells to make the column what it was, in `[0, 1]`.
    pub moved_share: f64,
    /// Which way it moved: `higher values`, `lower values`, or the category that gained most.
    pub towards: Option<String>,
    /// The segment that holds most of the movement, where one does.
    pub segment: Option<Segment>,
    /// The column's counts, for people to see what moved; of the first columns of a verdict only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
}

/// The coarse counts of a column: shares of the reference's rows and the window's rows, in the same bins.
///
/// Every row of the window is in one bin or outside, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// What is counted in each place of `reference` and `rows`.
    pub bins: Bins,
    /// The share of the reference's rows in each bin, in `[0, 1]`, to five decimal digits.
    pub reference: Vec<f64>,
    /// The window's rows in each bin.
    pub rows: Vec<i64>,
    /// Rows that are in no bin; a kind that neither side has is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideCount>,
    /// Of the reference's numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_quantiles: Option<Quantiles>,
    /// Of the window's numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Quantiles>,
}

/// What the places of a distribution are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Bins {
    /// Ranges of numbers: the edges between neighbours, so one fewer than bins. The first and the last reach to the ends of
    /// the reference.
    Numeric {
        /// Rising, to four digits.
        edges: Vec<f64>,
    },
    /// Categories, the most frequent first.
    Categories {
        /// Their names.
        names: Vec<String>,
    },
    /// Categories of a column whose values may not be named, the most frequent first.
    Unnamed,
}

/// Rows that are in no bin, of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutsideCount {
    /// Which kind.
    pub kind: OutsideKind,
    /// The share of the reference's rows, in `[0, 1]`.
    pub reference: f64,
    /// The window's rows.
    pub rows: i64,
}

/// Why a row is in no bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideKind {
    /// A number below all of the reference's.
    Below,
    /// A number above all of the reference's.
    Above,
    /// A category that the reference has, and that is not shown by its own name.
    Other,
    /// A category that the reference does not have.
    Unseen,
    /// No value.
    Null,
    /// Not a number.
    Nan,
    /// Plus or minus infinity.
    Infinite,
    /// A value whose type does not fit the column.
    WrongType,
}

/// Where a column's numbers lie: so much of them is below, estimated from fine bins, to four digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// One in twenty.
    pub p5: f64,
    /// One half.
    pub p50: f64,
    /// Nineteen in twenty.
    pub p95: f64,
}

/// A metric with what is known of its error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error, where the metric has one.
    pub standard_error: Option<f64>,
}

/// How far one input partition had been read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Topic of the log.
    pub topic: String,
    /// Partition of the topic.
    pub partition: u32,
    /// The offset after the last record that counts.
    pub offset: i64,
}

/// The log as it stood when event time passed a moment: for each input partition the offset at which its watermark did.
///
/// A cut is a function of the log's records alone, so everyone who reads up to it reads the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The moment of event time.
    pub at_ms: i64,
    /// Where each input partition stood.
    pub positions: Vec<Position>,
}

/// Records of one input partition: from an offset up to, and without, another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// Topic of the log.
    pub topic: String,
    /// Partition of the topic.
    pub partition: u32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
}

/// One judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`verdict_id`] of what it is about.
    pub id: String,
    /// The model judged.
    pub model: String,
    /// The version whose rows were judged.
    pub version: String,
    /// The reference it was held against; `None` while learning.
    pub reference: Option<String>,
    /// Whether the reference is that of the model's default version, because this version has none of its own.
    pub borrowed_reference: bool,
    /// The slice judged; `None` for all of the traffic.
    pub segment: Option<Segment>,
    /// Which judgement this is.
    pub monitor: Monitor,
    /// The event time it covers.
    pub window: Window,
    /// The inferences that hold the window's rows, as far as the allowed disorder lets that be told: they hold others too.
    /// A partition that was idle when the verdict was due is covered as far as it had been read. The range of a step is as wide
    /// as that of its pane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputRange>,
    /// Whether a later verdict may replace it.
    pub finality: Finality,
    /// What it amounts to.
    pub severity: Severity,
    /// Rows in the window.
    pub rows: i64,
    /// Rows with a label, where labels matter.
    pub labelled: Option<i64>,
    /// Every test, in the order of the schema.
    pub tests: Vec<TestResult>,
    /// The columns that take part in a drift, the largest contribution first.
    pub attribution: Vec<Attribution>,
    /// Every metric of quality by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// Where a sequential detector puts the change, in event time.
    pub change_point_ms: Option<i64>,
    /// A sentence for people.
    pub summary: String,
}

/// Says that every label that counts of a span of event time has been read, and how many rows have one.
///
/// Spans are whole steps, follow one another and divide a pane: retraining counts rows, cuts training sets and judges
/// trials at their ends. A span without a label is not mentioned, unless it is the last of its pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsMatured {
    /// The model.
    pub model: String,
    /// The span of event time.
    #[serde(alias = "pane")]
    pub span: Window,
    /// Predictions in it with a label in time, all versions.
    pub labelled: i64,
    /// The log when the span matured.
    pub cut: Cut,
}

/// What the monitor writes to `verdicts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum MonitorEvent {
    /// A judgement.
    Verdict(Box<Verdict>),
    /// The labels of a span are complete.
    #[serde(alias = "pane_matured")]
    RowsMatured(RowsMatured),
}

/// What a verdict is about; hashed into its id.
#[derive(Debug, Clone, Copy)]
pub struct VerdictKey<'a> {
    /// The model judged.
    pub model: &'a str,
    /// The version judged.
    pub version: &'a str,
    /// The reference held against.
    pub reference: Option<&'a str>,
    /// The slice judged.
    pub segment: Option<&'a Segment>,
    /// Which judgement.
    pub monitor: &'a Monitor,
    /// The event time covered.
    pub window: Window,
}

/// `hash(model, version, reference, segment, monitor, window start, window end)` as 32 hexadecimal digits.
pub fn verdict_id(key: VerdictKey<'_>) -> String {
    let mut hasher = Sha256::new();
    let segment = key.segment.map(|s| (s.dimension.as_str(), s.value.as_str())).unwrap_or_default();
    for part in [key.model, key.version, key.reference.unwrap_or_default(), segment.0, segment.1, key.monitor.name()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(key.window.start_ms.to_le_bytes());
    hasher.update(key.window.end_ms.to_le_bytes());
    hex::encode(&hasher.finalize()[..16])
}
