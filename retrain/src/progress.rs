//! The records of the `retrain` topic: requests, how their episodes stand, and what was refused.
//!
//! A trainer acts on requests alone; the other kinds are for people, metrics and tests. All of them are CloudEvents whose
//! type is `driftline.retrain.<kind>`.

use crate::lifecycle::CandidateKind;
use crate::lifecycle::TrialReport;
use crate::request::{Cause, RetrainRequest};
use serde::{Deserialize, Serialize};
use streams::cloud_event::{Attributes, CloudEventError, encode, rfc3339};
use streams::log::NewRecord;
use streams::topics;
use thiserror::Error;

/// A record of the `retrain` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum RetrainEvent {
    /// An order to open an episode.
    Request(Box<RetrainRequest>),
    /// A cause that leads to no request.
    Refused(Box<RefusedCause>),
    /// How an episode stands.
    Episode(Box<EpisodeProgress>),
    /// A person's command that was not carried out.
    CommandRefused(RefusedCommand),
    /// A record of an earlier release that nobody reads any more.
    #[serde(other)]
    Unknown,
}

/// How an episode stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeProgress {
    /// The request.
    pub request: String,
    /// The model.
    pub model: String,
    /// End of the span of rows that was judged last, in event time.
    pub time_ms: i64,
    /// Event time from which rows count as of the world as it is now.
    pub change_ms: i64,
    /// Labelled rows since then.
    pub rows: i64,
    /// Labelled rows that the next training needs.
    pub rows_needed: i64,
    /// Mean loss of the champion on its rows in the episode.
    pub loss: Option<f64>,
    /// The mean loss that is aimed at.
    pub target: Option<f64>,
    /// The trials that run.
    pub trials: Vec<TrialProgress>,
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
    /// The last episode has heard of it.
    #[error("the episode that lasted until {} has taken it into account", moment(*ended_ms))]
    HeardByEpisode {
        /// Event time at which the episode ended.
        ended_ms: i64,
    },
    /// A person took a version back, and nobody has said that promotions may go on.
    #[error("a roll-back holds promotions ({reason}): `driftline models release` lifts it")]
    HeldByRollBack {
        /// Who rolled back, and why.
        reason: String,
    },
    /// One episode at a time.
    #[error("the episode of request {request} is under way")]
    InFlight {
        /// The request in flight.
        request: String,
    },
    /// Too soon after the last episode.
    #[error("the model rests until {} after the last episode", moment(*until_ms))]
    Cooldown {
        /// Event time at which it ends.
        until_ms: i64,
    },
    /// Too many episodes within 24 hours.
    #[error("the budget of {budget} episodes within 24 hours is spent")]
    Budget {
        /// Requests allowed.
        budget: u32,
    },
    /// A reason that an earlier release had.
    #[error("a reason that an earlier release had")]
    #[serde(other)]
    Unknown,
}

impl Refusal {
    /// The name used in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotTheChampion { .. } => "not_the_champion",
            Self::OlderThanTraining { .. } => "older_than_training",
            Self::HeardByEpisode { .. } => "heard_by_episode",
            Self::HeldByRollBack { .. } => "held_by_roll_back",
            Self::InFlight { .. } => "in_flight",
            Self::Cooldown { .. } => "cooldown",
            Self::Budget { .. } => "budget",
            Self::Unknown => "unknown",
        }
    }
}

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialProgress {
    /// Number of the candidate in the episode.
    pub candidate: u32,
    /// What it is made of.
    pub kind: CandidateKind,
    /// The challenger.
    pub version: String,
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
    /// The model it is about; empty for a record of an earlier release.
    pub fn model(&self) -> &str {
        match self {
            Self::Request(request) => &request.model,
            Self::Refused(refused) => &refused.cause.model,
            Self::Episode(episode) => &episode.model,
            Self::Unknown => "",
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
            Self::Refused(refused) => {
                let id = format!("{}:{}", refused.cause.id, refused.why.name());
                (id, "driftline.retrain.refused", refused.cause.time_ms)
            }
            Self::Episode(episode) => {
                let id = format!("{}:{}", episode.request, episode.time_ms);
                (id, "driftline.retrain.episode", episode.time_ms)
            }
            Self::CommandRefused(refused) => {
                (refused.command.clone(), "driftline.retrain.command_refused", refused.time_ms)
            }
            Self::Unknown => (String::new(), "driftline.retrain.unknown", 0),
        };
        let source = match self {
            Self::Request(_) | Self::Refused(_) => "/driftline/controller",
            Self::Episode(_) | Self::CommandRefused(_) | Self::Unknown => "/driftline/trainer",
        };
        encode(topics::RETRAIN, Attributes { id: &id, source, kind, subject: self.model(), time_ms }, self)
    }
}
/// A moment of event time as people read it.
fn moment(time_ms: i64) -> String {
    rfc3339(time_ms).unwrap_or_else(|| format!("{time_ms} ms"))
}
