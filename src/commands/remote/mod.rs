//! A running Driftline, reached through its API.

mod tls;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// No running Driftline answers; kept apart because it decides the exit code.
#[derive(Debug, Error)]
#[error("no driftline answers at {url} ({source}): start it with `driftline run`, or name another with --url")]
pub(crate) struct Unreachable {
    url: String,
    #[source]
    source: Box<ureq::Error>,
}

/// The variable that holds a token, where no file is named.
pub(crate) const TOKEN_VARIABLE: &str = "DRIFTLINE_TOKEN";

/// The variable that names a file of authorities.
pub(crate) const AUTHORITIES_VARIABLE: &str = "DRIFTLINE_CA";

/// What a client shows, and whom it trusts.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// The token; `None` shows none.
    token: Option<String>,
    /// A file of authorities in PEM; `None` trusts the system's.
    authorities: Option<PathBuf>,
}

impl Credentials {
    /// The token of the file, or else of the variable; and the authorities that a variable names.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn of(token_file: Option<&Path>) -> Result<Self> {
        let text = match token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                Some(text.with_context(|| format!("reading the token in {}", file.display()))?)
            }
            None => std::env::var(TOKEN_VARIABLE).ok(),
        };
        let token = text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self { token, authorities: std::env::var_os(AUTHORITIES_VARIABLE).map(PathBuf::from) })
    }
}

/// A client of the API.
pub(crate) struct Remote {
    url: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl Remote {
    /// A client of the API at this URL, with what it shows and whom it trusts.
    ///
    /// # Errors
    /// When the authorities that it trusts cannot be read.
    pub(crate) fn new(url: &str, credentials: Credentials) -> Result<Self> {
        let Credentials { token, authorities } = credentials;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let agent = tls::agent(config, authorities.as_deref())?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, agent })
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// When no one answers, or the answer is an error; its detail is the message.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let answer = self.shown(self.agent.get(format!("{}{path}", self.url))).call();
        self.read(answer)
    }

    /// The text that stands at a path.
    ///
    /// # Errors
    /// When no one answers, or the answer is an error.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        let answer = self.shown(self.agent.get(format!("{}{path}", self.url))).call();
        let mut answer = answer.map_err(|source| Unreachable { url: self.url.clone(), source: Box::new(source) })?;
        match answer.status() {
            status if status.is_success() => Ok(answer.body_mut().read_to_string()?),
            status => Err(anyhow!("{}{path} answered {status}", self.url)),
        }
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    /// As for [`Remote::get`].
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.shown(self.agent.post(format!("{}{path}", self.url))).send_json(body);
        self.read(answer)
    }

    /// Sends a MessagePack body.
    ///
    /// # Errors
    /// As for [`Remote::get`].
    pub(crate) fn post_messagepack(&self, path: &str, body: &[u8]) -> Result<Value> {
        let request = self.shown(self.agent.post(format!("{}{path}", self.url))).content_type("application/msgpack");
        self.read(request.send(body))
    }

    fn shown<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let mut answer = answer.map_err(|source| Unreachable { url: self.url.clone(), source: Box::new(source) })?;
        let status = answer.status();
        let body: Value = answer.body_mut().read_json().with_context(|| format!("{} answered no JSON", self.url))?;
        if status.is_success() {
            return Ok(body);
        }
        let detail = body.get("detail").and_then(Value::as_str).unwrap_or("no detail was given");
        Err(anyhow!("{} answered {status}: {detail}", self.url))
    }
}
