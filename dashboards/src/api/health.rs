//! Whether the service lives and is ready, and its metrics.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::guard::Caller;
use crate::api::tokens::Role;
use crate::exporter::TEXT_FORMAT;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use std::sync::Arc;

/// Why the service is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// The stage, or the part of the service.
    pub part: String,
    /// What it is doing, or why it stands still.
    pub reason: String,
}

/// Tells what stands between the service and being ready; nothing when it is. Asked at every request, so it has to be quick.
pub type Readiness = Arc<dyn Fn() -> Vec<NotReady> + Send + Sync>;

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let page = api.services.exporter.render();
    let page = page.map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], page).into_response())
}

#[derive(Serialize)]
pub(super) struct Alive {
    alive: bool,
}

pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { alive: true })
}

#[derive(Serialize)]
pub(super) struct Ready {
    ready: bool,
    reasons: Vec<NotReady>,
}

/// Whether the service is ready is told to everyone, because those who ask have no tokens; why it is not, to those who may read.
pub(super) async fn ready(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> (StatusCode, Json<Ready>) {
    let mut reasons = (api.services.readiness)();
    if api.services.closing.is_cancelled() {
        reasons.push(NotReady { part: "service".to_owned(), reason: "shutting down".to_owned() });
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !caller.roles.contains(Role::Read) {
        reasons.clear();
    }
    (status, Json(Ready { ready, reasons }))
}
