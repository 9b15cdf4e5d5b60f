//! The commands that people and their programs give.
//!
//! A command is appended to the log and answered with its id before anyone has acted on it: 202, not 200. Whether it still
//! fits is decided by the one who writes the model's events, from the champion that the command expects; what came of it
//! stands at `/v1/commands/{id}`, with the model, and in the audit trail.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::extract::{InBody, InPath, InQuery};
use crate::api::guard::Caller;
use crate::api::paging::{Paging, escaped};
use crate::audit::{AuditEntry, CommandView, Trail};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
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
    /// Why, and who asks where that is not known otherwise.
    pub reason: String,
    /// Who asks.
    pub asker: Asker,
}

/// Who asks, as far as the API knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The name of the token that was shown; `None` where there are no tokens.
    pub name: Option<String>,
    /// The address.
    pub from: Option<String>,
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
    /// Take an alert of a monitoring system into account, as a fall of quality.
    Alert {
        /// The same each time the alert is told.
        id: String,
        /// When it began to fire, as the sender wrote it: RFC 3339.
        starts_at: String,
    },
}

impl Command {
    /// What the audit trail keeps of it.
    pub fn entry(&self, id: &str, time_ms: i64) -> AuditEntry {
        let (what, version, expected_champion) = match &self.order {
            Order::Retrain => ("retrain", None, None),
            Order::Promote { version, expected_champion } => ("promote", Some(version), expected_champion.as_ref()),
            Order::RollBack { version, expected_champion } => ("rollback", version.as_ref(), Some(expected_champion)),
            Order::Release { expected_champion } => ("release", None, Some(expected_champion)),
            Order::Alert { .. } => ("alert", None, None),
        };
        AuditEntry {
            id: id.to_owned(),
            time_ms,
            by: self.asker.name.clone(),
            from: self.asker.from.clone(),
            what: what.to_owned(),
            model: Some(self.model.clone()),
            version: version.cloned(),
            expected_champion: expected_champion.cloned(),
            reason: Some(self.reason.clone()),
            refused: None,
        }
    }
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

    /// Appends to the audit trail what was refused before it became a command; gives it an id and the time. May block.
    fn audit(&self, entry: AuditEntry);
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

/// The answer to a command; the `location` header says where its outcome will be.
#[derive(Serialize)]
pub(super) struct Taken {
    id: String,
}

type Answer = Result<Response, Problem>;

pub(super) async fn retrain(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    InPath(model): InPath<String>,
    InBody(body): InBody<RetrainBody>,
) -> Answer {
    submit(&api, &caller, Asked { model, order: Order::Retrain, reason: body.reason }).await
}

pub(super) async fn promote(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    InPath(model): InPath<String>,
    InBody(body): InBody<PromoteBody>,
) -> Answer {
    let order = Order::Promote { version: body.version, expected_champion: body.expected_champion };
    submit(&api, &caller, Asked { model, order, reason: body.reason }).await
}

pub(super) async fn roll_back(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    InPath(model): InPath<String>,
    InBody(body): InBody<RollBackBody>,
) -> Answer {
    let order = Order::RollBack { version: body.version, expected_champion: body.expected_champion };
    submit(&api, &caller, Asked { model, order, reason: body.reason }).await
}

pub(super) async fn release(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    InPath(model): InPath<String>,
    InBody(body): InBody<ReleaseBody>,
) -> Answer {
    let order = Order::Release { expected_champion: body.expected_champion };
    submit(&api, &caller, Asked { model, order, reason: body.reason }).await
}

/// A command as it was sent.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) order: Order,
    pub(super) reason: String,
}

/// The longest reason, in bytes: it is kept for good, and shown.
const LONGEST_REASON: usize = 2_000;

async fn submit(api: &Api, caller: &Caller, asked: Asked) -> Answer {
    let id = order(api, caller, asked).await?;
    let place = format!("/v1/commands/{}", escaped(&id));
    let location = HeaderValue::try_from(place).map(|place| [(header::LOCATION, place)]);
    Ok((StatusCode::ACCEPTED, location.ok().into_iter().flatten().collect::<HeaderMap>(), Json(Taken { id }))
        .into_response())
}

/// Gives a command to the log, and returns its id.
pub(super) async fn order(api: &Api, caller: &Caller, asked: Asked) -> Result<String, Problem> {
    api.refuse_if_closing()?;
    let Asked { model, order, reason } = asked;
    caller.may_order(&reason)?;
    let commands = Arc::clone(&api.services.commands);
    let command = Command { model, order, reason, asker: caller.asker() };
    Ok(api.on_blocking_thread(move || commands.submit(command)).await??)
}

impl Caller {
    /// Checks that a command has a reason, and that the caller gives no more commands than its rate allows.
    pub(crate) fn may_order(&self, reason: &str) -> Result<(), Problem> {
        if reason.trim().is_empty() {
            return Err(Problem::new(ProblemKind::BadRequest, "`reason` is empty: say who asks, and why"));
        }
        if reason.len() > LONGEST_REASON {
            let detail = format!("`reason` has more than {LONGEST_REASON} bytes: say it in fewer words");
            return Err(Problem::new(ProblemKind::BadRequest, detail));
        }
        self.rates.admit_command()
    }

    /// Who gives the command.
    pub(crate) fn asker(&self) -> Asker {
        Asker { name: self.name.as_deref().map(str::to_owned), from: self.from.map(|from| from.to_string()) }
    }
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    InPath(id): InPath<String>,
) -> Result<Json<CommandView>, Problem> {
    api.services.trail.read(|trail| trail.command(&id)).map(Json).ok_or_else(|| {
        let detail = format!("no command `{id}` is at hand: it was never taken, is not read yet, or is so old that only the topic `audit` has it");
        Problem::new(ProblemKind::NotFound, detail)
    })
}

pub(super) async fn audit(State(api): State<Arc<Api>>, InQuery(paging): InQuery<Paging>) -> Result<Response, Problem> {
    let entries = api.services.trail.read(Trail::all);
    paging.page(entries, |view| &view.entry.id, "/v1/audit")
}
