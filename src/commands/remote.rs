//! A running Driftline, reached through its API.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
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

/// A client of the API.
pub(crate) struct Remote {
    url: String,
    agent: ureq::Agent,
}

impl Remote {
    /// A client of the API at this URL.
    pub(crate) fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { url: url.trim_end_matches('/').to_owned(), agent: agent.into() }
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// When no one answers, or the answer is an error; its detail is the message.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
        self.read(answer)
    }

    /// The text that stands at a path.
    ///
    /// # Errors
    /// When no one answers, or the answer is an error.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
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
        let answer = self.agent.post(format!("{}{path}", self.url)).send_json(body);
        self.read(answer)
    }

    /// Sends a MessagePack body.
    ///
    /// # Errors
    /// As for [`Remote::get`].
    pub(crate) fn post_messagepack(&self, path: &str, body: &[u8]) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.url)).content_type("application/msgpack");
        self.read(request.send(body))
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
