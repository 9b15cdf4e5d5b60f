//! What is known of models.

use crate::api::Api;
use crate::api::error::Problem;
use crate::api::extract::{InPath, InQuery, Limit};
use crate::api::paging::{Paging, escaped};
use crate::audit::CommandView;
use crate::read_model::{ModelDetail, WindowQuery};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Commands that are shown with their model.
const COMMANDS_SHOWN: usize = 20;

/// What is known of a model, and what was asked of it.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    detail: ModelDetail,
    /// The last commands, newest first, each with what became of it.
    commands: Vec<CommandView>,
}

pub(super) async fn list(State(api): State<Arc<Api>>, InQuery(paging): InQuery<Paging>) -> Result<Response, Problem> {
    let models = api.services.read_model.read().models();
    paging.page(models, |model| &model.model, "/v1/models")
}

pub(super) async fn show(State(api): State<Arc<Api>>, InPath(model): InPath<String>) -> Result<Json<Shown>, Problem> {
    let detail = api.services.read_model.read().model(&model);
    let detail = detail.ok_or_else(|| Problem::unknown_model(&model))?;
    let commands = api.services.trail.read(|trail| trail.of_model(&model, COMMANDS_SHOWN));
    Ok(Json(Shown { detail, commands }))
}

pub(super) async fn versions(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InQuery(paging): InQuery<Paging>,
) -> Result<Response, Problem> {
    let versions = api.services.read_model.read().versions(&model);
    let versions = versions.ok_or_else(|| Problem::unknown_model(&model))?;
    paging.page(versions, |view| &view.version.version, &format!("/v1/models/{}/versions", escaped(&model)))
}

pub(super) async fn requests(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InQuery(paging): InQuery<Paging>,
) -> Result<Response, Problem> {
    let requests = api.services.read_model.read().requests(&model);
    let requests = requests.ok_or_else(|| Problem::unknown_model(&model))?;
    paging.page(requests, |view| &view.request.id, &format!("/v1/models/{}/requests", escaped(&model)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowParameters {
    #[serde(default)]
    limit: Limit,
    after: Option<String>,
    segment: Option<String>,
    monitor: Option<String>,
}

pub(super) async fn windows(
    State(api): State<Arc<Api>>,
    InPath(model): InPath<String>,
    InQuery(wanted): InQuery<WindowParameters>,
) -> Result<Response, Problem> {
    let WindowParameters { limit, after, segment, monitor } = wanted;
    let asked = [("segment", &segment), ("monitor", &monitor)];
    let asked = asked
        .map(|(name, value)| value.as_ref().map(|value| format!("&{name}={}", escaped(value))).unwrap_or_default());
    let path = format!("/v1/models/{}/windows{}", escaped(&model), asked.concat().replacen('&', "?", 1));
    let query = WindowQuery { limit: usize::MAX, segment, monitor };
    let windows = api.services.read_model.read().windows(&model, &query);
    let windows = windows.ok_or_else(|| Problem::unknown_model(&model))?;
    Paging { limit, after }.page(windows, |view| &view.verdict, &path)
}
