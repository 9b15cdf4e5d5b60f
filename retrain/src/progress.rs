//! What stands on the `retrain` topic: requests, and word of everything that is on its way to one or was refused.
//!
//! A trainer acts on requests alone; the other kinds are for people, metrics and tests. All of them are CloudEvents whose
//! type is `driftline.retrain.<kind>`.

use crate::lifecycle::TrialReport;
use crate::request::{Cause, RetrainRequest};
use detectors::windows::Window;
use ingest::cloud_event::{Attributes, CloudEventError, encode, rfc3339};
use ingest::log::NewRecord;
use ingest::topics;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A record of the `retrain` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum RetrainEvent {
    /// An order to train.
    Request(Box<RetrainRequest>),
    /// A cause waits for what its training needs.
    Waiting(Box<Waiting>),
    /// A cause that leads to no request.
    Refused(Box<RefusedCause>),
    /// A challenger on trial has met more rows.
    Trial(TrialProgress),
    /// A person's command that was not carried out.
    CommandRefused(RefusedCommand),
}

/// What a waiting cause lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lacking {
    /// Labelled rows after the change point.
    LabelledRows,
    /// Labels of the rows that raised the alarm: the challenger's judges must be younger than these.
    AlarmRows,
}

/// A cause that has been accepted and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The cause; a later change point supersedes it.
    pub cause: Cause,
    /// What it lacks.
    pub lacking: Lacking,
    /// Labelled rows so far.
    pub rows: i64,
    /// Labelled rows needed.
    pub rows_needed: i64,
    /// Event time of the first row that counts.
    pub from_ms: i64,
    /// Event time at which it is given up. A cause that supersedes another keeps that one's, so that waiting ends.
    pub give_up_ms: i64,
}

/// A cause and why it leads to no request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCause {
    /// The cause.
    pub cause: Cause,
    /// Why.
    pub why: Refusal,
}

/// Why a cause leads to no request.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Refusal {
    /// It is about a version that is not the champion.
    #[error("it is about {version}, which is not the champion ({champion})")]
    NotTheChampion {
        /// The version it is about.
        version: String,
        /// The champion.
        champion: String,
    },
    /// The champion was trained on rows that young.
    #[error("it is older than the champion's training, which reached {trained_until_ms}")]
    OlderThanTraining {
        /// Event time up to which the champion was trained.
        trained_until_ms: i64,
    },
    /// The data themselves were at fault then: training on them would teach the fault.
    #[error("its span also shows a data-quality fault, in the window from {} to {}: mend the data first", moment(window.start_ms), moment(window.end_ms))]
    DataQualityFault {
        /// The window with the fault.
        window: Window,
    },
    /// One request at a time.
    #[error("request {request} is in flight")]
    InFlight {
        /// The request in flight.
        request: String,
    },
    /// A cause is waiting already, and this one knows no later change point.
    #[error("the model waits already: {rows} of {rows_needed} labelled rows")]
    AlreadyWaiting {
        /// Labelled rows so far.
        rows: i64,
        /// Labelled rows needed.
        rows_needed: i64,
    },
    /// Too soon after the last outcome.
    #[error("the model rests until {} after the last outcome", moment(*until_ms))]
    Cooldown {
        /// Event time at which it ends.
        until_ms: i64,
    },
    /// Too many requests within 24 hours.
    #[error("the budget of {budget} requests within 24 hours is spent")]
    Budget {
        /// Requests allowed.
        budget: u32,
    },
    /// Another cause with a later change point took its place.
    #[error("superseded by {by}, whose change point is later")]
    Superseded {
        /// Id of the cause that did.
        by: String,
    },
    /// What it needed did not come in time.
    #[error("given up: only {rows} of {rows_needed} labelled rows came in time")]
    GivenUp {
        /// Labelled rows that came.
        rows: i64,
        /// Labelled rows needed.
        rows_needed: i64,
    },
}

impl Refusal {
    /// The name used in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotTheChampion { .. } => "not_the_champion",
            Self::OlderThanTraining { .. } => "older_than_training",
            Self::DataQualityFault { .. } => "data_quality_fault",
            Self::InFlight { .. } => "in_flight",
            Self::AlreadyWaiting { .. } => "already_waiting",
            Self::Cooldown { .. } => "cooldown",
            Self::Budget { .. } => "budget",
            Self::Superseded { .. } => "superseded",
            Self::GivenUp { .. } => "given_up",
        }
    }
}

/// How a trial stands after a pane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialProgress {
    /// The request.
    pub request: String,
    /// The model.
    pub model: String,
    /// The challenger.
    pub version: String,
    /// End of the pane whose rows were judged last, in event time.
    pub time_ms: i64,
    /// The figures so far.
    pub report: TrialReport,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCommand {
    /// Id of the command.
    pub command: String,
    /// The model.
    pub model: String,
    /// The command's time.
    pub time_ms: i64,
    /// Why.
    pub reason: String,
}

impl RetrainEvent {
    /// The model it is about.
    pub fn model(&self) -> &str {
        match self {
            Self::Request(request) => &request.model,
            Self::Waiting(waiting) => &waiting.cause.model,
            Self::Refused(refused) => &refused.cause.model,
            Self::Trial(trial) => &trial.model,
            Self::CommandRefused(refused) => &refused.model,
        }
    }

    /// The record that holds it.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_record(&self) -> Result<NewRecord, CloudEventError> {
        let (id, kind, time_ms) = match self {
            Self::Request(request) => (request.id.clone(), "driftline.retrain.request", request.time_ms),
            Self::Waiting(waiting) => {
                (format!("{}:{}", waiting.cause.id, waiting.rows), "driftline.retrain.waiting", waiting.cause.time_ms)
            }
            Self::Refused(refused) => {
                let id = format!("{}:{}", refused.cause.id, refused.why.name());
                (id, "driftline.retrain.refused", refused.cause.time_ms)
            }
            Self::Trial(trial) => {
                (format!("{}:{}", trial.request, trial.time_ms), "driftline.retrain.trial", trial.time_ms)
            }
            Self::CommandRefused(refused) => {
                (refused.command.clone(), "driftline.retrain.command_refused", refused.time_ms)
            }
        };
        let source = match self {
            Self::Request(_) | Self::Waiting(_) | Self::Refused(_) => "/driftline/controller",
            Self::Trial(_) | Self::CommandRefused(_) => "/driftline/trainer",
        };
        encode(topics::RETRAIN, Attributes { id: &id, source, kind, subject: self.model(), time_ms }, self)
    }
}
/// A moment of event time as people read it.
fn moment(time_ms: i64) -> String {
    rfc3339(time_ms).unwrap_or_else(|| format!("{time_ms} ms"))
}
