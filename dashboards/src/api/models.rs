//! What is known of models, and the commands that people give them.
//!
//! A command is appended to the log and answered with its id before anyone has acted on it: 202, not 200. Whether it still
//! fits is decided by the one who writes the model's events, from the champion that the command expects.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::extract::{InBody, InPath, InQuery, Limit};
use crate::read_model::{ModelDetail, ModelSummary, RequestView, VersionView, WindowQuery, WindowView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// What a person asks of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The model.
    pub model: String,
    /// What is to happen.
    pub order: Order,
    /// Who asks, and why.
    pub reason: String,
}

/// What is to happen to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Train a challenger.
    Retrain,
    /// Make a version champion.
    Promote {
        /// The version.
        version: String,
        /// The champion now; the command is void if it is another. `None` where there is none yet.
        expected_champion: Option<String>,
    },
    /// Go back to an earlier version.
    RollBack {
        /// The version; `None` for the champion before this one.
        version: Option<String>,
        /// The champion now; the command is void if it is another.
        expected_champion: String,
    },
    /// Promote challengers again after a roll-back.
    Release {
        /// The champion now; the command is void if it is another.
        expected_champion: String,
    },
}

/// Why a command was not taken.
#[derive(Debug, Error)]
pub enum CommandError {
    /// No such model is configured.
    #[error("no model `{model}` is configured: it is one of {known}")]
    UnknownModel {
        /// The model named.
        model: String,
        /// Those that are configured.
        known: String,
    },
    /// The command cannot be carried out as things stand.
    #[error("the command is refused: {reason}")]
    Refused {
        /// Why, and what would be accepted.
        reason: String,
    },
    /// The service is about to end.
    #[error("the service is shutting down: the command was not taken; give it again")]
    ShuttingDown,
    /// The log failed.
    #[error("the log could not store the command ({source}): it was not taken; give it again")]
    Storage {
        /// What the log said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The edge between people's commands and the log.
pub trait Commands: Send + Sync {
    /// Appends a command to the log and returns its id when it is durable. May block, and is called on a thread where that
    /// is allowed.
    ///
    /// # Errors
    /// When the command was not taken.
    fn submit(&self, command: Command) -> Result<String, CommandError>;
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Vec<ModelSummary>> {
    Json(api.services.read_model.read().models())
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
) -> Result<Json<ModelDetail>, Problem> {
    api.services.read_model.read().model(&model).map(Json).ok_or_else(|| Problem::unknown_model(&model))
}

pub(super) async fn versions(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
) -> Result<Json<Vec<VersionView>>, Problem> {
    api.services.read_model.read().versions(&model).map(Json).ok_or_else(|| Problem::unknown_model(&model))
}

pub(super) async fn requests(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    api.services.read_model.read().requests(&model).map(Json).ok_or_else(|| Problem::unknown_model(&model))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowParameters {
    #[serde(default)]
    limit: Limit,
    segment: Option<String>,
    monitor: Option<String>,
}

pub(super) async fn windows(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InQuery(wanted): InQuery<WindowParameters>,
) -> Result<Json<Vec<WindowView>>, Problem> {
    let query = WindowQuery { limit: wanted.limit.get(), segment: wanted.segment, monitor: wanted.monitor };
    api.services.read_model.read().windows(&model, &query).map(Json).ok_or_else(|| Problem::unknown_model(&model))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetrainBody {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PromoteBody {
    version: String,
    // Named, so that it has to be there: who means that there is no champion writes null.
    #[serde(deserialize_with = "Option::deserialize")]
    expected_champion: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBackBody {
    version: Option<String>,
    expected_champion: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseBody {
    expected_champion: String,
    reason: String,
}

/// The answer to a command.
#[derive(Serialize)]
pub(super) struct Taken {
    id: String,
}

type Answer = Result<(StatusCode, Json<Taken>), Problem>;

pub(super) async fn retrain(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InBody(body): InBody<RetrainBody>,
) -> Answer {
    submit(&api, Command { model, order: Order::Retrain, reason: body.reason }).await
}

pub(super) async fn promote(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InBody(body): InBody<PromoteBody>,
) -> Answer {
    let order = Order::Promote { version: body.version, expected_champion: body.expected_champion };
    submit(&api, Command { model, order, reason: body.reason }).await
}

pub(super) async fn roll_back(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InBody(body): InBody<RollBackBody>,
) -> Answer {
    let order = Order::RollBack { version: body.version, expected_champion: body.expected_champion };
    submit(&api, Command { model, order, reason: body.reason }).await
}

pub(super) async fn release(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InBody(body): InBody<ReleaseBody>,
) -> Answer {
    let order = Order::Release { expected_champion: body.expected_champion };
    submit(&api, Command { model, order, reason: body.reason }).await
}

async fn submit(api: &Api, command: Command) -> Answer {
    api.refuse_if_closing()?;
    if command.reason.trim().is_empty() {
        return Err(Problem::new(ProblemKind::BadRequest, "`reason` is empty: say who asks, and why"));
    }
    let commands = Arc::clone(&api.services.commands);
    let id = api.on_blocking_thread(move || commands.submit(command)).await??;
    Ok((StatusCode::ACCEPTED, Json(Taken { id })))
}
