//! What goes wrong, as RFC 9457 problem details: one shape for every error, made for people and for programs.

use crate::api::commands::CommandError;
use crate::api::intake::IntakeError;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::time::Duration;
use thiserror::Error;

/// Why the API stopped serving.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The listener failed.
    #[error("the http api on {address} stopped: {source}")]
    Serve {
        /// Where it listened.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Which kind of thing went wrong; each has a status, a name for programs and a title for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadRequest,
    NothingAccepted,
    Unauthorized,
    Forbidden,
    Misdirected,
    TooSlow,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    TooManyRequests,
    Internal,
    Unavailable,
    TimedOut,
}

impl ProblemKind {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read"),
            Self::NothingAccepted => (StatusCode::BAD_REQUEST, "nothing-accepted", "No row was accepted"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "misdirected", "The request is meant for another host")
            }
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The body came too slowly"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not answer this method")
            }
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The command does not fit what is there"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body's format is not known")
            }
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "An error of Driftline itself"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this now"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "The request took too long"),
        }
    }
}

impl ProblemKind {
    /// What happened, for people.
    pub(crate) fn title(self) -> &'static str {
        self.parts().2
    }

    /// Whether the request may have been refused before its body had been read to the end. The server then closes the
    /// connection; a client that is not told sends its next request into it and never hears of that.
    fn may_leave_body_unread(self) -> bool {
        !matches!(self, Self::NothingAccepted | Self::Conflict | Self::Internal)
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    more: Map<String, Value>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with what went wrong here and how to mend it.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), more: Map::new(), retry_after: None }
    }

    /// Adds a member for programs.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// Says when it is worth trying again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whether the same request would be refused again, however often it comes.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self.kind, ProblemKind::NotFound | ProblemKind::Conflict | ProblemKind::BadRequest)
    }

    /// What went wrong, in a sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status that it is answered with.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.kind.parts().0
    }

    /// There is nothing known of a model.
    pub(crate) fn unknown_model(model: &str) -> Self {
        Self::new(
            ProblemKind::NotFound,
            format!("nothing is known of a model `{model}`; /v1/models lists those that are known"),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind.parts();
        let mut body = self.more;
        body.insert("type".to_owned(), json!(format!("urn:driftline:problem:{name}")));
        body.insert("title".to_owned(), json!(title));
        body.insert("status".to_owned(), json!(status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, Value::Object(body).to_string()).into_response();
        if self.kind.may_leave_body_unread() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.kind == ProblemKind::Unauthorized {
            let challenge = HeaderValue::from_static(r#"Bearer, Basic realm="driftline", charset="UTF-8""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response
    }
}

/// Rounded up, because a client that comes a moment early is turned away again.
fn whole_seconds(wait: Duration) -> u64 {
    let rest = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + rest).max(1)
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        let detail = error.to_string();
        match error {
            IntakeError::Unreadable { .. } => Self::new(ProblemKind::BadRequest, detail),
            IntakeError::Busy { retry_after } => {
                Self::new(ProblemKind::TooManyRequests, detail).retry_after(retry_after)
            }
            IntakeError::ShuttingDown | IntakeError::Storage { .. } => {
                Self::new(ProblemKind::Unavailable, detail).retry_after(Duration::from_secs(5))
            }
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::UnknownModel { .. } => Self::new(ProblemKind::NotFound, detail),
            CommandError::Refused { .. } => Self::new(ProblemKind::Conflict, detail),
            CommandError::ShuttingDown | CommandError::Storage { .. } => {
                Self::new(ProblemKind::Unavailable, detail).retry_after(Duration::from_secs(5))
            }
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemKind::UnsupportedMediaType,
            StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
            _ => ProblemKind::BadRequest,
        };
        Self::new(kind, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ProblemKind::BadRequest, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ProblemKind::BadRequest, rejection.body_text())
    }
}
