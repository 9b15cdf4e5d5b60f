//! The verdicts that are at hand.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::extract::{InPath, InQuery, Limit};
use crate::api::paging::{Paging, escaped};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use detectors::verdict::Verdict;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerdictParameters {
    #[serde(default)]
    limit: Limit,
    model: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InQuery(wanted): InQuery<VerdictParameters>,
) -> Result<Response, Problem> {
    let VerdictParameters { limit, model, after } = wanted;
    let most = if after.is_some() { usize::MAX } else { limit.get() + 1 };
    let verdicts = api.services.read_model.read().verdicts(model.as_deref(), most);
    let path =
        model.map_or_else(|| "/v1/verdicts".to_owned(), |model| format!("/v1/verdicts?model={}", escaped(&model)));
    Paging { limit, after }.page(verdicts, |verdict| &verdict.id, &path)
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
