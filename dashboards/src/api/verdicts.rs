//! The verdicts that are at hand.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::extract::{InPath, InQuery, Limit};
use axum::Json;
use axum::extract::State;
use detectors::verdict::Verdict;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerdictParameters {
    #[serde(default)]
    limit: Limit,
    model: Option<String>,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InQuery(wanted): InQuery<VerdictParameters>,
) -> Json<Vec<Arc<Verdict>>> {
    Json(api.services.read_model.read().verdicts(wanted.model.as_deref(), wanted.limit.get()))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    InPath(id): InPath<String>,
) -> Result<Json<Arc<Verdict>>, Problem> {
    api.services.read_model.read().verdict(&id).map(Json).ok_or_else(|| {
        let detail = format!("no verdict `{id}` is at hand: older ones are in the topic `verdicts` and its archive");
        Problem::new(ProblemKind::NotFound, detail)
    })
}
