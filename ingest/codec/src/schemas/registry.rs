//! A schema registry that Confluent's clients can talk to, asked over HTTP.
//!
//! Invariants:
//! - An answer is kept for good, because an id always stands for the same schema; "not found" is kept for a moment only,
//!   because a follower may not have heard of a schema yet.
//! - Everything is bounded: the time of a question, the bytes of an answer, how many are kept.
//! - Only a registry's own words count: what a proxy or a wrong path answers is an outage, after which nothing is set aside.
//! - Credentials are in no message: they cannot be part of the URL, and the secret is never shown.
//!
//! A question runs on a thread of its own, for whoever asks may stand within a runtime that must not be blocked on another.

use super::{AvroSchema, Outage, Schema, SchemaId, hyphenated};
use reqwest::{Certificate, Client, Identity, StatusCode, Url, header};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use streams::error_chain::sentence;
use streams::secret::Secret;
use thiserror::Error;

/// How long a question may take, and how much of it the connection.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTING: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const MOST_ANSWER_BYTES: usize = 1 << 20;
/// The most schemas that are kept. When there are more, all are asked for again as they are needed.
const MOST_KEPT: usize = 1_000;
/// How long a schema that was not found is not asked for again.
const MISSING_FOR: Duration = Duration::from_secs(60);
/// What a registry answers for an id that it does not have, and for a path that it does not have.
const NO_SCHEMA: std::ops::RangeInclusive<u32> = 40_400..=40_499;
const NO_PATH: u32 = 404;

/// Where a registry is, and who asks.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    url: String,
    basic: Option<(String, Secret)>,
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct RegistryError {
    reason: String,
}

/// A registry, and what it has said.
#[derive(Debug)]
pub(super) struct Registry {
    settings: RegistrySettings,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    schemas: HashMap<SchemaId, Schema>,
    missing: HashMap<SchemaId, Instant>,
}

/// What came over the wire; no body where it is too large.
struct Answer {
    status: StatusCode,
    body: Option<Vec<u8>>,
}

/// What a registry says of a schema.
#[derive(Deserialize)]
struct Described {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<serde::de::IgnoredAny>>,
}

/// What a registry says of a question that it cannot answer.
#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
}

impl RegistrySettings {
    /// A registry at this URL, asked by nobody in particular.
    ///
    /// # Errors
    /// When it is no URL of HTTP or HTTPS, or has a query or credentials in it.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        let refuse = |why: &str| Err(RegistryError { reason: format!("the registry's URL {why}") });
        let Ok(parsed) = Url::parse(url) else {
            return refuse("cannot be read: write it as `https://registry:8081`");
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return refuse("has credentials in it: give `username`, and the password in a file or a variable");
        }
        if !["http", "https"].contains(&parsed.scheme()) || parsed.query().is_some() || parsed.fragment().is_some() {
            return refuse("is none of HTTP or HTTPS without a query: write it as `https://registry:8081`");
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), basic: None, ca: None, identity: None })
    }

    /// The same, asked with a name and a password.
    pub fn with_basic(self, username: impl Into<String>, password: Secret) -> Self {
        Self { basic: Some((username.into(), password)), ..self }
    }

    /// The same, with these certificates (PEM) beside those of the system.
    pub fn with_ca(self, pem: Vec<u8>) -> Self {
        Self { ca: Some(pem), ..self }
    }

    /// The same, with a certificate of our own and its key (both PEM, one after the other).
    pub fn with_identity(self, pem: Vec<u8>) -> Self {
        Self { identity: Some(pem), ..self }
    }

    fn client(&self) -> Result<Client, String> {
        let unusable = |what: &str, error: reqwest::Error| format!("{what}: {}", sentence(&error.without_url()));
        let mut builder = Client::builder().timeout(PATIENCE).connect_timeout(CONNECTING);
        if let Some(pem) = &self.ca {
            let certificates =
                Certificate::from_pem_bundle(pem).map_err(|error| unusable("the certificates", error))?;
            if certificates.is_empty() {
                return Err("the certificates: there are none in the file".to_owned());
            }
            builder = certificates.into_iter().fold(builder, |builder, one| builder.add_root_certificate(one));
        }
        if let Some(pem) = &self.identity {
            builder =
                builder.identity(Identity::from_pem(pem).map_err(|error| unusable("certificate and key", error))?);
        }
        builder.build().map_err(|error| unusable("setting up TLS", error))
    }
}

impl Registry {
    pub(super) fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        settings.client().map_err(|reason| RegistryError { reason })?;
        Ok(Self { settings, heard: Mutex::default() })
    }

    /// What an id stands for; `None` where the registry has said that it has no such schema.
    pub(super) fn find(&self, id: SchemaId) -> Result<Option<Schema>, Outage> {
        {
            let mut heard = self.heard();
            if let Some(schema) = heard.schemas.get(&id) {
                return Ok(Some(schema.clone()));
            }
            heard.missing.retain(|_, since| since.elapsed() < MISSING_FOR);
            if heard.missing.contains_key(&id) {
                return Ok(None);
            }
        }
        let outage = |reason| Outage { schema: id, url: self.settings.url.clone(), reason };
        let answer = self.ask(id).map_err(outage)?;
        let said = answer.read(id).map_err(outage)?;
        self.heard().keep(id, said.as_ref());
        Ok(said)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, id: SchemaId) -> Result<Answer, String> {
        let path = match id {
            SchemaId::Number(number) => format!("ids/{number}"),
            SchemaId::Guid(guid) => format!("guids/{}", hyphenated(guid)),
            SchemaId::Fingerprint(_) | SchemaId::Unframed => {
                return Err("a registry knows numbers and GUIDs".to_owned());
            }
        };
        let url = format!("{}/schemas/{path}", self.settings.url);
        std::thread::scope(|scope| {
            let asking = std::thread::Builder::new().name("schema-registry".to_owned());
            let asking = asking.spawn_scoped(scope, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(in_words)?;
                let answer = runtime.block_on(self.settings.get(&url));
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
                answer
            });
            asking.map_err(in_words)?.join().unwrap_or_else(|_| Err("the question ended early".to_owned()))
        })
    }
}

impl RegistrySettings {
    async fn get(&self, url: &str) -> Result<Answer, String> {
        let mut question = self.client()?.get(url).header(header::ACCEPT, "application/vnd.schemaregistry.v1+json");
        if let Some((username, password)) = &self.basic {
            question = question.basic_auth(username, Some(password.expose()));
        }
        let failed = |error: reqwest::Error| sentence(&error.without_url());
        let mut answer = question.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MOST_ANSWER_BYTES {
                return Ok(Answer { status: answer.status(), body: None });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: answer.status(), body: Some(body) })
    }
}

impl Answer {
    fn read(&self, id: SchemaId) -> Result<Option<Schema>, String> {
        let body = self.body.as_deref();
        match self.status {
            StatusCode::OK => match body.map(serde_json::from_slice::<Described>) {
                Some(Ok(described)) => Ok(Some(described.schema())),
                Some(Err(_)) => Err("it answered what no registry does: is the URL that of its API?".to_owned()),
                None => Ok(Some(Schema::Unread(format!("is larger than {MOST_ANSWER_BYTES} bytes")))),
            },
            StatusCode::NOT_FOUND => {
                let refusal = body.and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
                let code = refusal.map_or(0, |refusal| refusal.error_code);
                // Registries that know no GUIDs have no such path.
                if NO_SCHEMA.contains(&code) || (code == NO_PATH && matches!(id, SchemaId::Guid(_))) {
                    return Ok(None);
                }
                Err("it answered 404, but not as a registry does: is the URL that of its API?".to_owned())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(format!("it answered {}: check the username and the password", self.status))
            }
            other => Err(format!("it answered {other}")),
        }
    }
}

impl Described {
    fn schema(self) -> Schema {
        if self.references.is_some_and(|references| !references.is_empty()) {
            return Schema::Unread("refers to other schemas: register it with their types written out".to_owned());
        }
        match self.kind.as_deref() {
            None | Some("AVRO") => match AvroSchema::new(&self.schema) {
                Ok(schema) => Schema::Avro(Arc::new(schema)),
                Err(reason) => Schema::Unread(reason),
            },
            Some("JSON") => Schema::Json,
            Some("PROTOBUF") => Schema::Unread("is one of Protobuf".to_owned()),
            Some(_) => Schema::Unread("is none of Avro or JSON".to_owned()),
        }
    }
}

impl Heard {
    fn keep(&mut self, id: SchemaId, said: Option<&Schema>) {
        if self.schemas.len() >= MOST_KEPT {
            self.schemas.clear();
        }
        if self.missing.len() >= MOST_KEPT {
            self.missing.clear();
        }
        match said {
            Some(schema) => drop(self.schemas.insert(id, schema.clone())),
            None => drop(self.missing.insert(id, Instant::now())),
        }
    }
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}
