//! Lists in pages: `limit` entries behind the one that `after` names, and a `link` to the next page where there is one.
//!
//! A page is continued from an entry and not from a number, so what has come in meanwhile moves nothing.

use crate::api::error::{Problem, ProblemKind};
use crate::api::extract::Limit;
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Which page is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    #[serde(default)]
    pub(super) limit: Limit,
    pub(super) after: Option<String>,
}

impl Paging {
    /// The page of these entries, each known by its key. `path` is where the list stands, with what else was asked for.
    pub(super) fn page<T: Serialize>(
        &self,
        entries: Vec<T>,
        key: impl Fn(&T) -> &str,
        path: &str,
    ) -> Result<Response, Problem> {
        let begin = match &self.after {
            None => 0,
            Some(after) => {
                entries.iter().position(|entry| key(entry) == after).map(|place| place + 1).ok_or_else(gone)?
            }
        };
        let is_last = entries.len() - begin <= self.limit.get();
        let page: Vec<_> = entries.into_iter().skip(begin).take(self.limit.get()).collect();
        let next = page.last().filter(|_| !is_last).map(|last| next(path, self.limit, key(last)));
        let mut response = Json(page).into_response();
        if let Some(link) = next.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }
}

fn next(path: &str, limit: Limit, last: &str) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("<{path}{sign}limit={}&after={}>; rel=\"next\"", limit.get(), escaped(last))
}

/// Text as it may stand in a query.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn gone() -> Problem {
    let detail = "the entry that `after` names is not at hand any more: begin anew without it";
    Problem::new(ProblemKind::BadRequest, detail)
}
