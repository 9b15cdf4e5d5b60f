//! When a model is retrained, how long anything may take, and what a challenger must show: the rules, as configured.
//!
//! Every field has a default that suits a model with some thousand predictions a day. Lengths of time are written as
//! people write them (`6h`, `14d`) and count event time. A policy that [`RetrainPolicy::validate`] passes can be acted on
//! without further checks.

use crate::request::Fallback;
use crate::schedule::{InvalidSchedule, Schedule};
use crate::trainer::SamplePolicy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// When a model is retrained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrainPolicy {
    /// Whether drift of features, prediction or score causes a request. Off by default: inputs may move without harm.
    pub on_feature_drift: bool,
    /// A cron pattern (UTC) that causes a request whenever it is due.
    pub schedule: Option<String>,
    /// Causes a request whenever so many labelled rows have come since the champion was trained.
    pub every_labelled_rows: Option<u64>,
    /// Labelled rows that a training needs where no alarm asks for it: one of a schedule, of a volume or of a person.
    pub min_labelled_rows: u64,
    /// How the candidates of an episode follow one another.
    pub candidates: CandidatePolicy,
    /// Labelled rows that pay for one training of an episode: no more are made on average, however often alarms come. Up to six
    /// that were not needed are saved up.
    pub labelled_rows_per_training: u64,
    /// How long a data fault holds trainings back. What lasts longer is the world as it is now.
    #[serde(with = "text_duration")]
    pub fault_patience: Duration,
    /// How far back the training rows reach where no change point is known.
    #[serde(with = "text_duration")]
    pub window: Duration,
    /// No new episode for so long after the end of the last.
    #[serde(with = "text_duration")]
    pub cooldown: Duration,
    /// Most episodes that begin within 24 hours of event time.
    pub budget_per_day: u32,
    /// An episode in which nothing happens is given up after so long.
    #[serde(with = "text_duration")]
    pub wait_at_most: Duration,
    /// A trial must have ended so long after its first row.
    #[serde(with = "text_duration")]
    pub deadline: Duration,
    /// What happens at the deadline.
    pub fallback: Fallback,
    /// How often a training is tried before it has failed.
    pub max_attempts: u32,
    /// Parameters handed to the trainer.
    pub parameters: BTreeMap<String, String>,
    /// How closely an artifact has to reproduce its trainer's own answers to a sample.
    pub sample: SamplePolicy,
    /// What a challenger must show.
    pub gate: GatePolicy,
}

/// How the candidates of an episode follow one another: each is trained on more rows than the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidatePolicy {
    /// Labelled rows after the change on which the first is trained; by default three for each parameter of a linear model,
    /// and at least 50.
    pub first: Option<u64>,
    /// By how much the rows grow from one training to the next.
    pub factor: f64,
    /// Most trainings after one change.
    pub most: u32,
    /// Former champions that are tried again, the last ones first. They cost no training.
    pub earlier: usize,
    /// Whether the champion's own score is recalibrated before anything is trained. It costs no training either.
    pub recalibrate: bool,
}

/// What a challenger must show before it becomes champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatePolicy {
    /// The false-promotion budget of a model: of its promotions, at most this share is expected to be no improvement;
    /// if no challenger ever improves, the probability that any is promoted.
    pub alpha: f64,
    /// The mean loss by which a challenger must be better, as a share of the largest loss.
    pub margin: f64,
    /// Rows that a trial judges at least, however clear its evidence is. Where the losses of neighbouring rows move together, as
    /// many times more.
    pub min_rows: u64,
    /// The mean loss above its target at which a model counts as recovered, as a share of the largest loss.
    pub tolerance: f64,
    /// By how much a challenger may be worse in a segment.
    pub segment_margin: f64,
    /// Rows that a segment needs before it is judged.
    pub segment_min_rows: u64,
    /// Event time of rows of an earlier context that the challenger must still answer well.
    pub anchor: Option<AnchorPolicy>,
    /// The absolute error at which a regression's loss reaches its bound; by default the 95 % quantile of the absolute
    /// errors that the champion made on the training rows.
    pub largest_error: Option<f64>,
}

/// An anchor: rows of an earlier context, and by how much the challenger may be worse on them than what answered then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorPolicy {
    /// Event time of the first row, milliseconds since the epoch.
    pub from_ms: i64,
    /// Event time after the last row, milliseconds since the epoch.
    pub until_ms: i64,
    /// The mean loss by which the challenger may be worse there.
    pub margin: f64,
}

impl Default for RetrainPolicy {
    fn default() -> Self {
        Self {
            on_feature_drift: false,
            schedule: None,
            every_labelled_rows: None,
            min_labelled_rows: 500,
            candidates: CandidatePolicy::default(),
            labelled_rows_per_training: 3_000,
            fault_patience: 7 * DAY,
            window: 30 * DAY,
            cooldown: HOUR,
            budget_per_day: 4,
            wait_at_most: 30 * DAY,
            deadline: 14 * DAY,
            fallback: Fallback::KeepChampion,
            max_attempts: 3,
            parameters: BTreeMap::new(),
            sample: SamplePolicy::default(),
            gate: GatePolicy::default(),
        }
    }
}

impl Default for CandidatePolicy {
    fn default() -> Self {
        Self { first: None, factor: 2.0, most: 6, earlier: 2, recalibrate: true }
    }
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            alpha: 0.1,
            margin: 0.0,
            min_rows: 20,
            tolerance: 0.01,
            segment_margin: 0.05,
            segment_min_rows: 50,
            anchor: None,
            largest_error: None,
        }
    }
}

/// A policy that cannot be acted on.
#[derive(Debug, Error, PartialEq)]
pub enum PolicyError {
    /// A number outside what it may be.
    #[error("{field} is {value}: it must be {allowed}")]
    OutOfRange {
        /// Path of the field within the policy.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A schedule that is no cron pattern.
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
}

impl RetrainPolicy {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// For the first field that cannot be acted on, with what it may be.
    pub fn validate(&self) -> Result<(), PolicyError> {
        at_least_one("min_labelled_rows", self.min_labelled_rows)?;
        at_least_one("labelled_rows_per_training", self.labelled_rows_per_training)?;
        at_least_one("max_attempts", u64::from(self.max_attempts))?;
        at_least_one("budget_per_day", u64::from(self.budget_per_day))?;
        if let Some(rows) = self.every_labelled_rows {
            at_least_one("every_labelled_rows", rows)?;
        }
        for (field, length) in
            [("window", self.window), ("wait_at_most", self.wait_at_most), ("deadline", self.deadline)]
        {
            if length.is_zero() {
                return Err(out_of_range(field, "0s", "longer than nothing"));
            }
        }
        if let Some(pattern) = &self.schedule {
            Schedule::parse(pattern)?;
        }
        let SamplePolicy { tolerance, share_beyond } = self.sample;
        if !(tolerance.is_finite() && tolerance > 0.0) {
            return Err(out_of_range("sample.tolerance", tolerance, "a number above 0"));
        }
        if !(0.0..1.0).contains(&share_beyond) {
            return Err(out_of_range("sample.share_beyond", share_beyond, "at least 0 and below 1"));
        }
        self.candidates.validate()?;
        self.gate.validate()
    }
}

impl CandidatePolicy {
    fn validate(&self) -> Result<(), PolicyError> {
        at_least_one("candidates.most", u64::from(self.most))?;
        if let Some(rows) = self.first {
            at_least_one("candidates.first", rows)?;
        }
        if !(self.factor.is_finite() && self.factor >= 1.5) {
            return Err(out_of_range("candidates.factor", self.factor, "at least 1.5"));
        }
        Ok(())
    }
}

impl GatePolicy {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// For the first field that cannot be acted on, with what it may be.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(out_of_range("gate.alpha", self.alpha, "between 0 and 1"));
        }
        let margins = [
            ("gate.margin", self.margin),
            ("gate.segment_margin", self.segment_margin),
            ("gate.tolerance", self.tolerance),
        ];
        let anchor = self.anchor.as_ref().map(|anchor| ("gate.anchor.margin", anchor.margin));
        for (field, value) in margins.into_iter().chain(anchor) {
            if !(0.0..1.0).contains(&value) {
                return Err(out_of_range(field, value, "at least 0 and below 1"));
            }
        }
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| anchor.from_ms >= anchor.until_ms) {
            return Err(out_of_range("gate.anchor.until_ms", anchor.until_ms, "later than gate.anchor.from_ms"));
        }
        if let Some(error) = self.largest_error.filter(|error| !(error.is_finite() && *error > 0.0)) {
            return Err(out_of_range("gate.largest_error", error, "a number above 0"));
        }
        at_least_one("gate.min_rows", self.min_rows)
    }
}

fn at_least_one(field: &'static str, value: u64) -> Result<(), PolicyError> {
    if value == 0 { Err(out_of_range(field, value, "at least 1")) } else { Ok(()) }
}

fn out_of_range(field: &'static str, value: impl ToString, allowed: &'static str) -> PolicyError {
    PolicyError::OutOfRange { field, value: value.to_string(), allowed }
}

/// Milliseconds of a configured length; longer than the calendar is as good as for ever.
pub(crate) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Lengths of time as people write them.
mod text_duration {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*length))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format!("{text:?} is not a length of time such as \"6h\": {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_valid_and_survives_being_written() {
        let policy = RetrainPolicy::default();
        assert_eq!(policy.validate(), Ok(()));
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<RetrainPolicy>(&text).unwrap(), policy);
        assert_eq!(serde_json::from_str::<RetrainPolicy>("{}").unwrap(), policy);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<RetrainPolicy>(r#"{"cool_down":"1h"}"#).unwrap_err();
        assert!(error.to_string().contains("cool_down"), "{error}");
    }

    #[test]
    fn what_cannot_be_acted_on_is_refused_by_name() {
        let message =
            |text: &str| serde_json::from_str::<RetrainPolicy>(text).unwrap().validate().unwrap_err().to_string();
        let told = [
            message(r#"{"min_labelled_rows":0}"#),
            message(r#"{"deadline":"0s"}"#),
            message(r#"{"schedule":"every day"}"#),
            message(r#"{"sample":{"tolerance":0}}"#),
            message(r#"{"sample":{"share_beyond":1}}"#),
            message(r#"{"candidates":{"factor":1}}"#),
            message(r#"{"gate":{"alpha":1}}"#),
            message(r#"{"gate":{"margin":-0.1}}"#),
            message(r#"{"gate":{"anchor":{"from_ms":5,"until_ms":5,"margin":0.1}}}"#),
        ];
        for (text, name) in told.iter().zip([
            "min_labelled",
            "deadline",
            "schedule",
            "tolerance",
            "beyond",
            "factor",
            "alpha",
            "margin",
            "anchor",
        ]) {
            assert!(text.contains(name), "{text}");
        }
    }
}
