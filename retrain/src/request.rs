//! A cause and the retrain request that the controller makes of it.
//!
//! A cause is a fact with a time of its own; the request is what a trainer can act on: since when the world is another, and
//! how many trainings that may cost.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why a model may need retraining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum CauseKind {
    /// Matured quality fell, by a window's verdict or a sequential detector.
    Quality,
    /// Features, prediction or score drifted.
    FeatureDrift,
    /// A configured schedule is due.
    Schedule,
    /// So many labelled rows have come since the champion was trained.
    DataVolume,
    /// A person or a program asked.
    Person {
        /// Who, and why.
        reason: String,
    },
}

impl CauseKind {
    /// The name used in metrics and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::FeatureDrift => "feature_drift",
            Self::Schedule => "schedule",
            Self::DataVolume => "data_volume",
            Self::Person { .. } => "person",
        }
    }
}

/// A fact that may lead to a request. Those from a clock or a person stand on the `causes` topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Id of the record it comes from: a verdict's id, or the one its adapter gave it.
    pub id: String,
    /// The model.
    pub model: String,
    /// What kind of cause.
    pub kind: CauseKind,
    /// When, in event time (of the window's end, or the clock's or the person's moment).
    pub time_ms: i64,
    /// Where the change began, if that is known; `None` means gradual or unknown.
    pub change_point_ms: Option<i64>,
    /// A sentence for people.
    pub summary: String,
}

/// What happens when the deadline passes without a ruling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The challenger is rejected.
    #[default]
    KeepChampion,
    /// The challenger is promoted if its mean loss is lower on at least the minimum of rows.
    PromoteIfBetter,
}

/// An order to bring a model back to what it was, on the `retrain` topic. It opens an episode (see [`crate::episode`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrainRequest {
    /// [`request_id`] of the model and the cause.
    pub id: String,
    /// The model.
    pub model: String,
    /// Why.
    pub cause: Cause,
    /// When it was made, in event time.
    pub time_ms: i64,
    /// Ids of the verdicts behind it.
    pub evidence: Vec<String>,
    /// Event time of the first row to train on: the change point, as far as it is known.
    pub train_from_ms: i64,
    /// End of the last span of matured rows that was known when the request was made. Trials are on those after it.
    #[serde(default)]
    pub matured_ms: i64,
    /// Trainings that the labelled rows of the past pay for.
    #[serde(default)]
    pub credit: f64,
    /// The champion that a challenger has to beat; the request is void if it is another when it is taken up.
    pub champion: Option<String>,
    /// Parameters for the trainer.
    pub parameters: BTreeMap<String, String>,
}

impl RetrainRequest {
    /// Whether the model is to be brought back to what it was, by as many trainings as that takes. Else one is asked for.
    pub fn is_recovery(&self) -> bool {
        matches!(self.cause.kind, CauseKind::Quality | CauseKind::FeatureDrift)
    }
}

/// `hash(model, cause record id)` as 32 hexadecimal digits.
pub fn request_id(model: &str, cause_id: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update((model.len() as u64).to_le_bytes());
    hasher.update(model.as_bytes());
    hasher.update(cause_id.as_bytes());
    hex::encode(&hasher.finalize()[..16])
}
