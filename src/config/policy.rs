//! When a model is retrained and what a challenger must show, as it is configured.

use super::quantity::Span;
use serde::Deserialize;
use std::time::Duration;

/// Settings of the controller for one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrainSettings {
    /// Whether drift of the features alone causes retraining; matured quality always does.
    pub on_feature_drift: bool,
    /// Labelled rows after the change point that a training needs.
    pub min_labelled_rows: u64,
    /// Least event time between an outcome and the next request.
    #[serde(deserialize_with = "duration")]
    pub cooldown: Duration,
    /// Most requests in a day of event time.
    pub budget_per_day: u32,
    /// Event time after a request by which a challenger must have been judged.
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
    /// A cron expression (UTC) of regular trainings.
    pub schedule: Option<String>,
    /// Labelled rows since the champion was trained that cause a training.
    pub data_volume: Option<u64>,
    /// Trainings of one request before it counts as failed.
    pub max_attempts: u32,
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self {
            on_feature_drift: false,
            min_labelled_rows: 500,
            cooldown: Duration::from_secs(3600),
            budget_per_day: 4,
            deadline: Duration::from_secs(14 * 24 * 3600),
            schedule: None,
            data_volume: None,
            max_attempts: 3,
        }
    }
}

/// Settings of the gate for one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSettings {
    /// Most probability that a challenger which is no better is ever promoted, over all requests of the model.
    pub alpha: f64,
    /// Rows that a challenger must have answered before it is promoted.
    pub min_rows: u64,
    /// How much worse a challenger may be in a segment.
    pub segment_margin: f64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self { alpha: 0.1, min_rows: 200, segment_margin: 0.05 }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}
