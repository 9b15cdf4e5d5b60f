//! What a user may choose of a panel: statistics, minimum samples and effects, thresholds, hysteresis.
//!
//! The defaults are meant to be kept. They ask for a change that matters (a minimum effect) and that is more than the
//! reference does on its own (a learned threshold), in two of three windows.

use super::FalseAlarmBudget;
use crate::profile::Fault;
use crate::schema::ColumnKind;
use crate::statistics::Statistic;
use crate::threshold::AlarmRule;
use crate::windows::WindowSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why a policy was refused. Each message names the setting by its path below the panel's.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum PolicyError {
    /// A statistic for a kind of column that it is not defined for.
    #[error("{setting}: `{statistic}` is not defined for such columns; choose another, such as jensen_shannon")]
    NotApplicable {
        /// The setting.
        setting: &'static str,
        /// The statistic.
        statistic: &'static str,
    },
    /// Fixed thresholds that leave a statistic without one.
    #[error("thresholds.fixed: `{statistic}` is used but has no threshold; give it one, or remove it from the panel")]
    MissingThreshold {
        /// The statistic.
        statistic: &'static str,
    },
    /// A number outside its range.
    #[error("{setting}: {value} must be {range}")]
    OutOfRange {
        /// The setting.
        setting: String,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A budget that no thresholds can promise.
    #[error(
        "false_alarms: `{budget}` leaves the tests of drift one alarm in {windows:.0} windows, and one in {most:.0} is the rarest that can be promised; state a larger budget, or use longer windows"
    )]
    BudgetTooTight {
        /// What was stated.
        budget: FalseAlarmBudget,
        /// Windows for each alarm of drift.
        windows: f64,
        /// The most there can be.
        most: f64,
    },
    /// A hysteresis that could never be fulfilled.
    #[error("hysteresis: {windows} of {of} windows; the first must be at least 1 and at most the second, and that at most {most}", most = Hysteresis::MOST)]
    Hysteresis {
        /// Windows that must agree.
        windows: usize,
        /// Windows that are looked at.
        of: usize,
    },
}

/// What is tested, and when it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PanelPolicy {
    /// Statistics of numeric columns. By default `wasserstein`, which sees small shifts and tails, and `jensen_shannon`,
    /// which sees any other change of shape, nulls among them.
    pub numeric: Vec<Statistic>,
    /// Statistics of categorical columns. By default `jensen_shannon`, which sees how far, and `chi_squared`, which brings
    /// a p-value.
    pub categorical: Vec<Statistic>,
    /// Rows below which a window is inconclusive.
    pub min_rows: i64,
    /// For each statistic the score below which a change does not matter, however significant; by default
    /// [`Statistic::default_min_effect`]. Fixed thresholds stand without it.
    pub min_effect: BTreeMap<Statistic, f64>,
    /// Where thresholds come from.
    pub thresholds: Thresholds,
    /// The false alarms that the model may raise, all its tests of drift and of quality and its sequential detectors
    /// together. A reference too short for it makes windows inconclusive. Where it is not stated, tests of drift raise one
    /// in [`Self::UNSTATED_BUDGET`] windows, as far as the reference knows.
    pub false_alarms: Option<FalseAlarmBudget>,
    /// How many windows must agree.
    pub hysteresis: Hysteresis,
    /// When the data themselves are at fault.
    pub data_quality: DataQualityLimits,
    /// When labelled quality has dropped.
    pub quality: QualityLimits,
    /// Columns of which no verdict may name a value, because their privacy forbids it. It follows from the columns' settings and
    /// is none of its own.
    #[serde(skip)]
    pub unnamed: BTreeSet<String>,
}

impl Default for PanelPolicy {
    fn default() -> Self {
        Self {
            numeric: vec![Statistic::Wasserstein, Statistic::JensenShannon],
            categorical: vec![Statistic::JensenShannon, Statistic::ChiSquared],
            min_rows: 100,
            min_effect: BTreeMap::new(),
            thresholds: Thresholds::Learned,
            false_alarms: None,
            hysteresis: Hysteresis::default(),
            data_quality: DataQualityLimits::default(),
            quality: QualityLimits::default(),
            unnamed: BTreeSet::new(),
        }
    }
}

impl PanelPolicy {
    /// Windows in which one false alarm of drift is put up with, where no budget is stated.
    pub const UNSTATED_BUDGET: f64 = 1_000.0;
    /// The least share of windows that can be promised: what is drawn to know it is continued by a thirtieth at most.
    pub const LEAST_RATE: f64 = 0.000_01;
    /// The least share that one of many segments keeps to.
    const RAREST: f64 = 0.000_000_1;

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the first setting that cannot be.
    pub fn validate(&self) -> Result<(), PolicyError> {
        for (setting, kind) in [("numeric", ColumnKind::Numeric), ("categorical", ColumnKind::Categorical)] {
            if let Some(statistic) = self.statistics(kind).iter().find(|statistic| !statistic.applies_to(kind)) {
                return Err(PolicyError::NotApplicable { setting, statistic: statistic.name() });
            }
        }
        if let Thresholds::Fixed(fixed) = &self.thresholds {
            check_all("thresholds.fixed", fixed)?;
            let used = self.numeric.iter().chain(&self.categorical);
            if let Some(statistic) = used.into_iter().find(|statistic| !fixed.contains_key(statistic)) {
                return Err(PolicyError::MissingThreshold { statistic: statistic.name() });
            }
        }
        check_all("min_effect", &self.min_effect)?;
        check_positive("min_rows", self.min_rows as f64)?;
        self.data_quality.validate()?;
        self.quality.validate()
    }

    /// The statistics of columns of this kind.
    pub fn statistics(&self, kind: ColumnKind) -> &[Statistic] {
        match kind {
            ColumnKind::Numeric => &self.numeric,
            ColumnKind::Categorical => &self.categorical,
        }
    }

    /// How alarms of drift are raised, for a model with these windows and so many slices.
    pub fn alarm_rule(&self, windows: WindowSpec, slices: usize) -> AlarmRule {
        let rate = match &self.false_alarms {
            Some(budget) => budget.rate_per_window(windows, slices).clamp(Self::RAREST, 0.5),
            None => 1.0 / Self::UNSTATED_BUDGET,
        };
        AlarmRule { rate, agreeing: self.hysteresis.windows(), of: self.hysteresis.of() }
    }

    /// Checks that the stated budget can be promised for a model with these windows.
    ///
    /// # Errors
    /// When it is tighter than any thresholds can keep.
    pub fn validate_budget(&self, windows: WindowSpec) -> Result<(), PolicyError> {
        let Some(budget) = self.false_alarms else { return Ok(()) };
        let rate = budget.rate_per_window(windows, 1);
        if rate < Self::LEAST_RATE {
            let (windows, most) = (1.0 / rate, 1.0 / Self::LEAST_RATE);
            return Err(PolicyError::BudgetTooTight { budget, windows, most });
        }
        Ok(())
    }

    /// The least effect of a statistic that matters.
    pub fn min_effect(&self, statistic: Statistic) -> f64 {
        self.min_effect.get(&statistic).copied().unwrap_or_else(|| statistic.default_min_effect())
    }
}

/// Where thresholds come from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thresholds {
    /// From how windows of the reference vary among themselves, and from how samples of it vary.
    #[default]
    Learned,
    /// From how samples vary alone: for rows that are independent of each other and of the time of day.
    Sampled,
    /// From the user: one for each statistic that is used, the same for every column.
    Fixed(BTreeMap<Statistic, f64>),
}

/// `windows` of the last `of` windows that do not overlap must agree before the state of alarm changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredHysteresis", into = "StoredHysteresis")]
pub struct Hysteresis {
    windows: usize,
    of: usize,
}

impl Hysteresis {
    /// The most windows that may be looked at.
    pub const MOST: usize = 100;

    /// `windows` of the last `of`.
    ///
    /// # Errors
    /// Unless `1 ≤ windows ≤ of ≤ 100`.
    pub fn new(windows: usize, of: usize) -> Result<Self, PolicyError> {
        if windows < 1 || windows > of || of > Self::MOST {
            return Err(PolicyError::Hysteresis { windows, of });
        }
        Ok(Self { windows, of })
    }

    /// Windows that must agree.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Windows that are looked at.
    pub fn of(&self) -> usize {
        self.of
    }
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self { windows: 2, of: 3 }
    }
}

/// A hysteresis as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHysteresis {
    windows: usize,
    of: usize,
}

impl From<Hysteresis> for StoredHysteresis {
    fn from(hysteresis: Hysteresis) -> Self {
        Self { windows: hysteresis.windows, of: hysteresis.of }
    }
}

impl TryFrom<StoredHysteresis> for Hysteresis {
    type Error = PolicyError;

    fn try_from(stored: StoredHysteresis) -> Result<Self, PolicyError> {
        Self::new(stored.windows, stored.of)
    }
}

/// How far the share of odd values may rise above the worst that the reference has shown.
///
/// A fault blocks retraining, so a limit must not take drift for one: values out of range and unseen categories come with
/// every real change of the world, and are a fault only in masses, as when a unit or an encoding changes.
///
/// Shares are written under the names of their tests; a bare `null` would be no text where policies are YAML.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataQualityLimits {
    /// Rise of the share of nulls.
    #[serde(rename = "null_share")]
    pub null: f64,
    /// Rise of the share of NaN.
    #[serde(rename = "nan_share")]
    pub nan: f64,
    /// Rise of the share of infinities.
    #[serde(rename = "infinite_share")]
    pub infinite: f64,
    /// Rise of the share of values whose type does not fit.
    #[serde(rename = "wrong_type_share")]
    pub wrong_type: f64,
    /// Rise of the share of values below or above the reference's range.
    #[serde(rename = "out_of_range_share")]
    pub out_of_range: f64,
    /// Rise of the share of unseen categories.
    #[serde(rename = "unseen_share")]
    pub unseen: f64,
    /// How many times more different values than any window of the reference a categorical column may have.
    pub cardinality_factor: f64,
    /// How many times more or fewer rows than the reference's median window a window may have; by default any number.
    pub volume_factor: Option<f64>,
}

impl Default for DataQualityLimits {
    fn default() -> Self {
        Self {
            null: 0.05,
            nan: 0.05,
            infinite: 0.01,
            wrong_type: 0.01,
            out_of_range: 0.25,
            unseen: 0.25,
            cardinality_factor: 2.0,
            volume_factor: None,
        }
    }
}

impl DataQualityLimits {
    /// How far the share of this fault may rise.
    pub fn rise(&self, fault: Fault) -> f64 {
        match fault {
            Fault::Null => self.null,
            Fault::Nan => self.nan,
            Fault::Infinite => self.infinite,
            Fault::WrongType => self.wrong_type,
            Fault::OutOfRange => self.out_of_range,
            Fault::Unseen => self.unseen,
        }
    }

    fn validate(&self) -> Result<(), PolicyError> {
        for fault in Fault::ALL {
            let value = self.rise(fault);
            if !(0.0..=1.0).contains(&value) {
                let setting = format!("data_quality.{}", fault.test_name());
                return Err(PolicyError::OutOfRange { setting, value, range: "a share between 0 and 1" });
            }
        }
        let factors = [("cardinality_factor", Some(self.cardinality_factor)), ("volume_factor", self.volume_factor)];
        for (name, factor) in factors {
            if let Some(value) = factor.filter(|factor| !(*factor > 1.0 && factor.is_finite())) {
                let setting = format!("data_quality.{name}");
                return Err(PolicyError::OutOfRange { setting, value, range: "more than 1" });
            }
        }
        Ok(())
    }
}

/// When the headline metric (accuracy, or mean absolute error) has become worse. Each must be passed, and what chance and
/// the reference's own windows do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualityLimits {
    /// Labels below which a window is inconclusive.
    pub min_labelled: i64,
    /// The drop of a metric of which more is better that matters, in its own unit: .02 are two points of accuracy.
    pub min_drop: f64,
    /// The rise of an error that matters, as a share of the reference's.
    pub min_rise: f64,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self { min_labelled: 100, min_drop: 0.02, min_rise: 0.05 }
    }
}

impl QualityLimits {
    fn validate(&self) -> Result<(), PolicyError> {
        check_positive("quality.min_labelled", self.min_labelled as f64)?;
        for (setting, value) in [("quality.min_drop", self.min_drop), ("quality.min_rise", self.min_rise)] {
            check_not_negative(setting, value)?;
        }
        Ok(())
    }
}

fn check_all(setting: &str, values: &BTreeMap<Statistic, f64>) -> Result<(), PolicyError> {
    values
        .iter()
        .try_for_each(|(statistic, value)| check_not_negative(&format!("{setting}.{}", statistic.name()), *value))
}

fn check_not_negative(setting: &str, value: f64) -> Result<(), PolicyError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(PolicyError::OutOfRange { setting: setting.to_owned(), value, range: "zero or more" })
}

fn check_positive(setting: &str, value: f64) -> Result<(), PolicyError> {
    if value >= 1.0 {
        return Ok(());
    }
    Err(PolicyError::OutOfRange { setting: setting.to_owned(), value, range: "at least 1" })
}
