//! axum's extractors with their rejections as problem details.

use crate::api::Api;
use crate::api::error::{Problem, ProblemKind};
use crate::api::receive::LONGEST_PAUSE;
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The parameters in a path.
pub(super) struct InPath<T>(pub(super) T);

/// The parameters behind the `?`.
pub(super) struct InQuery<T>(pub(super) T);

/// A JSON body. It has to be declared as `application/json`, which a page of another site cannot do unasked.
pub(super) struct InBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let patience = api.options.request_timeout.min(LONGEST_PAUSE);
        let reading = tokio::time::timeout(patience, Json::from_request(request, api)).await;
        let Ok(read) = reading else {
            let detail = format!("the body was not there within {patience:?}: nothing was done; send it in one go");
            return Err(Problem::new(ProblemKind::TooSlow, detail));
        };
        let Json(value) = read?;
        Ok(Self(value))
    }
}

/// How many entries an answer may have: 1 to 1,000, and 100 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Limit(usize);

impl Limit {
    const MOST: usize = 1_000;

    pub(super) fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(value: usize) -> Result<Self, String> {
        if (1..=Self::MOST).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("limit must be between 1 and {}, got {value}", Self::MOST))
        }
    }
}
