//! The way in: events, labels and feedback over HTTP, acknowledged only when they are durable.
//!
//! The order in which a request is checked keeps a refusal cheap: its headers, its right to come now, and only then its
//! body. A place among the requests in flight is taken when the body is there and given back when the log is done with it,
//! also where the client has gone away meanwhile; so memory is bounded by places times the largest body, and by the room
//! of those that come in.
//!
//! A batch is not all or nothing: good rows are accepted, and bad ones are listed. It is an error only where no row was good.

use crate::api::Api;
use crate::api::encoding::Encoding;
use crate::api::error::{Problem, ProblemKind};
use crate::api::guard::Caller;
use crate::api::receive::{Arrived, receive};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Inference events.
    Events,
    /// Label events.
    Labels,
    /// Feedback events.
    Feedback,
}

impl Kind {
    /// The name used in paths and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Labels => "labels",
            Self::Feedback => "feedback",
        }
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON object, or an array of them.
    Json,
    /// JSON objects, each on a line.
    JsonLines,
    /// A MessagePack map, or an array of them.
    MessagePack,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The content types that are taken, with what they mean.
    const BY_CONTENT_TYPE: [(&'static str, Self); 7] = [
        ("application/json", Self::Json),
        ("application/x-ndjson", Self::JsonLines),
        ("application/jsonl", Self::JsonLines),
        ("application/msgpack", Self::MessagePack),
        ("application/vnd.msgpack", Self::MessagePack),
        ("application/x-msgpack", Self::MessagePack),
        ("application/vnd.apache.arrow.stream", Self::Arrow),
    ];

    /// The format of a content type, whatever its parameters.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        Self::BY_CONTENT_TYPE
            .into_iter()
            .find(|(known, _)| essence.eq_ignore_ascii_case(known))
            .map(|(_, format)| format)
    }

    /// The content types that are taken.
    pub(super) fn content_types() -> impl Iterator<Item = &'static str> {
        Self::BY_CONTENT_TYPE.into_iter().map(|(known, _)| known)
    }

    fn of_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        if let Some(format) = given.as_deref().and_then(Self::of_content_type) {
            return Ok(format);
        }
        let found = given.map_or_else(
            || "the request names no content-type".to_owned(),
            |given| format!("content-type `{given}` is not taken"),
        );
        let known: Vec<_> = Self::content_types().collect();
        let detail = format!("{found}: send one of {}", known.join(", "));
        Err(Problem::new(ProblemKind::UnsupportedMediaType, detail).with("accepted", known))
    }
}

/// One body that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// What it holds.
    pub kind: Kind,
    /// How it is written.
    pub format: Format,
    /// Its bytes, no longer compressed; never empty.
    pub body: Bytes,
}

/// What became of a submission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows that are durable now.
    pub accepted: u64,
    /// Rows that are not, in the order of the body.
    pub rejected: Vec<Rejected>,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its place in the body, from 0.
    pub index: u64,
    /// How many rows it stands for: of very many that follow one another only the first is told of.
    #[serde(skip)]
    pub rows: u64,
    /// The kind of fault: one of a few stable names, because it becomes a label.
    pub reason: String,
    /// What is wrong, where, and how to mend it.
    pub message: String,
}

/// Why a submission as a whole was not taken.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// The body cannot be taken apart into rows.
    #[error("the body cannot be read: {reason}")]
    Unreadable {
        /// What is wrong, and where.
        reason: String,
    },
    /// The log cannot keep up.
    #[error("the log takes no more at the moment: nothing was written; send the same body again in {retry_after:?}")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The service is about to end.
    #[error("the service is shutting down: nothing was written; send the same body again")]
    ShuttingDown,
    /// The log failed.
    #[error("the log could not store the body ({source}): nothing was written; send the same body again")]
    Storage {
        /// What the log said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The edge between HTTP and the log.
pub trait EventIntake: Send + Sync {
    /// Appends the good rows to the log and names the bad ones. Returns when the good ones are durable; may block, and is
    /// called on a thread where that is allowed.
    ///
    /// # Errors
    /// When nothing of the submission was written.
    fn take(&self, submission: Submission) -> Result<Receipt, IntakeError>;
}

/// The most bad rows that an answer lists. The rest are counted.
const MOST_LISTED: usize = 1_000;

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    take(&api, &caller, (Kind::Events, request)).await
}

pub(super) async fn labels(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    take(&api, &caller, (Kind::Labels, request)).await
}

pub(super) async fn feedback(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    take(&api, &caller, (Kind::Feedback, request)).await
}

async fn take(api: &Arc<Api>, caller: &Caller, (kind, request): (Kind, Request)) -> Result<Response, Problem> {
    api.refuse_if_closing()?;
    let format = Format::of_headers(request.headers())?;
    let encoding = Encoding::of_headers(request.headers())?;
    caller.rates.admit_submission()?;
    let most = api.options.most_body_bytes;
    let Arrived { body, room } = receive(api, request, most).await?;
    let place = api.admission.place()?;
    let body = match encoding {
        Encoding::Identity => body,
        Encoding::Gzip => api.on_blocking_thread(move || encoding.unpack(body, most)).await??,
    };
    // What comes now is bounded by the places.
    drop(room);
    if body.is_empty() {
        return Err(Problem::new(
            ProblemKind::BadRequest,
            format!("the body is empty: send one row of {} or more", kind.name()),
        ));
    }
    let receipt = append(api, Submission { kind, format, body }, place).await?;
    answer(api, kind, receipt)
}

async fn append(api: &Api, submission: Submission, place: OwnedSemaphorePermit) -> Result<Receipt, Problem> {
    let intake = Arc::clone(&api.services.intake);
    let outcome = api.on_blocking_thread(move || {
        let receipt = intake.take(submission);
        drop(place);
        receipt
    });
    Ok(outcome.await??)
}

#[derive(Serialize)]
struct Answer<'a> {
    accepted: u64,
    rejected_count: u64,
    rejected: &'a [Rejected],
}

fn answer(api: &Api, kind: Kind, receipt: Receipt) -> Result<Response, Problem> {
    let Receipt { accepted, rejected } = receipt;
    let rejected_count: u64 = rejected.iter().map(|row| row.rows).sum();
    api.http.accepted(kind.name(), accepted);
    for (reason, rows) in counts_by_reason(&rejected) {
        api.http.rejected(kind.name(), reason, rows);
    }
    let listed = rejected.get(..MOST_LISTED).unwrap_or(&rejected);
    if accepted > 0 {
        return Ok(Json(Answer { accepted, rejected_count, rejected: listed }).into_response());
    }
    let detail = match listed.first() {
        Some(first) => format!("none of the {rejected_count} rows is good; row {}: {}", first.index, first.message),
        None => format!("the body holds no rows: send one row of {} or more", kind.name()),
    };
    let listed = serde_json::to_value(listed).unwrap_or_default();
    let problem = Problem::new(ProblemKind::NothingAccepted, detail).with("accepted", 0);
    Err(problem.with("rejected_count", rejected_count).with("rejected", listed))
}

/// One update of the metrics a reason rather than a row: a body may hold a million bad ones.
fn counts_by_reason(rejected: &[Rejected]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for row in rejected {
        *counts.entry(row.reason.as_str()).or_default() += row.rows;
    }
    counts
}
