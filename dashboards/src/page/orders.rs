//! Orders that are sent by the forms of a model's page: the commands of the API, with a page for an answer.

use super::document::model_path;
use super::model::{Order, parse_order};
use super::{Console, problem};
use crate::api::guard::Caller;
use crate::api::{Command, CommandError};
use axum::Extension;
use axum::extract::rejection::StringRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a form: a version and a reason.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// How long the log may take to store an order.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes an order and leads back to the model's page.
pub(super) async fn take(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Path((model, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<String, StringRejection>,
) -> Response {
    if !is_from_here(&headers) {
        let detail = "orders are taken from this service's own pages; programs give theirs to the API below /v1/models";
        return problem(StatusCode::FORBIDDEN, "The order comes from elsewhere", detail);
    }
    let sent = match read(body) {
        Ok(sent) => sent,
        Err((status, detail)) => return problem(status, "The order cannot be read", &detail),
    };
    let reason = sent.reason.trim().to_owned();
    if reason.is_empty() {
        return problem(
            StatusCode::BAD_REQUEST,
            "The order has no reason",
            "say who asks, and why: it is kept for good",
        );
    }
    if let Err(refused) = caller.may_order(&reason) {
        return refused.into_response();
    }
    match parse_order(&verb, sent) {
        Some(order) => submit(console, Command { model, order, reason, asker: caller.asker() }).await,
        None => problem(
            StatusCode::NOT_FOUND,
            "There is no such order",
            &format!("`{verb}` is none of retrain, promote, rollback and release"),
        ),
    }
}

/// What a form sent.
fn read(body: Result<String, StringRejection>) -> Result<Order, (StatusCode, String)> {
    let body = body.map_err(|rejection| (rejection.status(), rejection.body_text()))?;
    serde_urlencoded::from_str(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn submit(console: Arc<Console>, command: Command) -> Response {
    if console.closing.is_cancelled() {
        return refused(&CommandError::ShuttingDown);
    }
    let (back, commands) = (model_path(&command.model), Arc::clone(&console.commands));
    let work = tokio::task::spawn_blocking(move || commands.submit(command));
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(Ok(id))) => Redirect::to(&format!("{back}?taken={id}")).into_response(),
        Ok(Ok(Err(error))) => refused(&error),
        // What a thread that broke off, or is still at work, has done is not known.
        Ok(Err(_)) | Err(_) => {
            let detail =
                "the log gave no answer: whether the order was stored is not known; the model's history will tell";
            problem(StatusCode::SERVICE_UNAVAILABLE, "The order took too long", detail)
        }
    }
}

fn refused(error: &CommandError) -> Response {
    let status = match error {
        CommandError::UnknownModel { .. } => StatusCode::NOT_FOUND,
        CommandError::Refused { .. } => StatusCode::CONFLICT,
        CommandError::ShuttingDown | CommandError::Storage { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, "The order was not taken", &error.to_string())
}

/// Whether a browser sent this from a page of this service. Browsers tell either of the two headers with every form.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST.as_str());
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some(site), _) if site != "same-origin" => false,
        (_, Some(origin)) => origin.split_once("://").map(|(_, authority)| authority) == host,
        (site, None) => site.is_some(),
    }
}
