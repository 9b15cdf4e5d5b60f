//! The section `log.kafka`, as it is written and as it is meant: how a Kafka is reached, and where the secrets for it are.
//!
//! Options are checked when the file is read; secrets are read when the log is opened, so that a file can be checked where
//! there are none.

use super::error::{ConfigError, Problem, Validated, out_of_range, refuse};
use super::secret::{SecretSource, secret};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use streams::log::LogError;
use streams::log::kafka::{KafkaOptions, Sasl, SaslMechanism, Security, Tls};
use streams::topics;

/// The most that a name on the broker may begin with; the longest name that follows has to fit too.
const MOST_PREFIX_LETTERS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKafka {
    /// Brokers as `host:port`, comma-separated.
    pub(super) bootstrap: String,
    /// What the names of Driftline's own topics, groups and transactions begin with.
    #[serde(default = "RawKafka::default_prefix")]
    pub(super) prefix: String,
    /// What the names of input topics begin with.
    #[serde(default)]
    pub(super) input_prefix: String,
    /// Input topics whose keys are not the events' ids, or that have another number of partitions.
    #[serde(default)]
    pub(super) repartition: Vec<RawRepartitioned>,
    /// Copies of each partition of a topic that Driftline makes; the broker's default without it.
    pub(super) replication: Option<u16>,
    #[serde(default)]
    pub(super) security: RawSecurity,
    /// Options of librdkafka, by their own names.
    #[serde(default)]
    pub(super) options: BTreeMap<String, RawOption>,
}

impl RawKafka {
    fn default_prefix() -> String {
        "driftline-".to_owned()
    }
}

/// Neither for plain connections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecurity {
    pub(super) sasl: Option<RawSasl>,
    pub(super) tls: Option<RawTls>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSasl {
    pub(super) mechanism: RawMechanism,
    pub(super) username: String,
    /// File with the password …
    pub(super) password_file: Option<PathBuf>,
    /// … or the variable that holds it.
    pub(super) password_env: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawMechanism {
    Plain,
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// Written `tls: {}` where brokers' certificates are those of the system.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    /// File with the certificates that brokers' ones are signed with.
    pub(super) ca: Option<PathBuf>,
    /// Driftline's own certificate, where brokers ask for one; with `key`.
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    /// File with the password of the key …
    pub(super) key_password_file: Option<PathBuf>,
    /// … or the variable that holds it.
    pub(super) key_password_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, a number, or true or false")]
pub(super) enum RawOption {
    Flag(bool),
    Whole(i64),
    Fraction(f64),
    Text(String),
}

/// An input topic that a stage reads, as it is written.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawRepartitioned {
    Inferences,
    Labels,
}

/// A Kafka that holds the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// All that is no secret.
    options: KafkaOptions,
    /// Input topics that are made by a repartition of the users' own.
    pub repartitioned: Vec<&'static str>,
    sasl: Option<(SaslMechanism, String, SecretSource)>,
    tls: Option<(Tls, Option<SecretSource>)>,
}

impl KafkaConfig {
    /// How the Kafka is reached, with the secrets; `config` is what messages call the configuration file.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub fn options(&self, config: &Path) -> Result<KafkaOptions, ConfigError> {
        let path = "log.kafka.security";
        let mut security = Security::default();
        if let Some((mechanism, username, source)) = &self.sasl {
            let password = source.read(config, &format!("{path}.sasl"))?;
            security.sasl = Some(Sasl { mechanism: *mechanism, username: username.clone(), password });
        }
        if let Some((tls, source)) = &self.tls {
            let source = source.as_ref();
            let key_password = source.map(|source| source.read(config, &format!("{path}.tls"))).transpose()?;
            security.tls = Some(Tls { key_password, ..tls.clone() });
        }
        Ok(self.options.clone().with_security(security))
    }
}

/// Checks the section.
pub(super) fn kafka(raw: RawKafka, folder: &Path) -> Validated<KafkaConfig> {
    let path = "log.kafka";
    let addresses: Vec<_> = raw.bootstrap.split(',').map(str::trim).collect();
    if let Some(wrong) = addresses.iter().find(|address| !is_address(address)) {
        let reason = format!("`{wrong}` is not an address and port: write them as `kafka-1:9092,kafka-2:9092`");
        return refuse(format!("{path}.bootstrap"), Problem::Refused { reason });
    }
    let repartitioned = repartitioned(&raw.repartition);
    let mut options = KafkaOptions::new(addresses.join(","))
        .with_prefix(prefix(&format!("{path}.prefix"), raw.prefix)?)
        .with_input_prefix(prefix(&format!("{path}.input_prefix"), raw.input_prefix)?)
        .with_repartitioned(&repartitioned);
    match raw.replication {
        Some(0) => return refuse(format!("{path}.replication"), out_of_range("at least 1", 0)),
        Some(replication) => options = options.with_replication(replication),
        None => {}
    }
    for (name, value) in raw.options {
        options = options.with_option(&name, &value.text()).or_else(|error| {
            let reason = match error {
                LogError::Option { reason, .. } => reason,
                other => other.to_string(),
            };
            refuse(format!("{path}.options.{name}"), Problem::Refused { reason })
        })?;
    }
    let path = format!("{path}.security");
    Ok(KafkaConfig {
        options,
        repartitioned,
        sasl: raw.security.sasl.map(|raw| sasl(&format!("{path}.sasl"), raw, folder)).transpose()?,
        tls: raw.security.tls.map(|raw| tls(&format!("{path}.tls"), raw, folder)).transpose()?,
    })
}

/// Each topic once, in the order of the data.
fn repartitioned(raw: &[RawRepartitioned]) -> Vec<&'static str> {
    let is_listed = |topic: &&str| {
        raw.iter().any(|listed| match listed {
            RawRepartitioned::Inferences => *topic == topics::INFERENCES,
            RawRepartitioned::Labels => *topic == topics::LABELS,
        })
    };
    topics::REPARTITIONABLE.into_iter().filter(is_listed).collect()
}

fn is_address(address: &str) -> bool {
    let port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    address.rsplit_once(':').is_some_and(port)
}

fn prefix(path: &str, prefix: String) -> Validated<String> {
    let is_of_names = |letter: char| letter.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&letter);
    if prefix.chars().all(is_of_names) && prefix.len() <= MOST_PREFIX_LETTERS {
        return Ok(prefix);
    }
    let reason = format!(
        "`{prefix}` cannot begin a topic's name: use at most {MOST_PREFIX_LETTERS} letters, digits, `.`, `_` and `-`"
    );
    refuse(path, Problem::Refused { reason })
}

fn sasl(path: &str, raw: RawSasl, folder: &Path) -> Validated<(SaslMechanism, String, SecretSource)> {
    let mechanism = match raw.mechanism {
        RawMechanism::Plain => SaslMechanism::Plain,
        RawMechanism::ScramSha256 => SaslMechanism::ScramSha256,
        RawMechanism::ScramSha512 => SaslMechanism::ScramSha512,
    };
    let secret = secret(path, ("password_file", raw.password_file), ("password_env", raw.password_env), folder)?;
    match secret {
        Some(secret) => Ok((mechanism, raw.username, secret)),
        None => refuse(
            path,
            Problem::Needs { key: "password_file", why: "the password is read from a file, or from `password_env`" },
        ),
    }
}

fn tls(path: &str, raw: RawTls, folder: &Path) -> Validated<(Tls, Option<SecretSource>)> {
    let file = |file: PathBuf| folder.join(file).display().to_string();
    let certificate = match (raw.certificate, raw.key) {
        (Some(certificate), Some(key)) => Some((file(certificate), file(key))),
        (None, None) => None,
        (Some(_), None) => return refuse(path, Problem::Needs { key: "key", why: "it proves the certificate" }),
        (None, Some(_)) => return refuse(path, Problem::Needs { key: "certificate", why: "`key` proves it" }),
    };
    let secret =
        secret(path, ("key_password_file", raw.key_password_file), ("key_password_env", raw.key_password_env), folder)?;
    Ok((Tls { ca: raw.ca.map(file), certificate, key_password: None }, secret))
}

impl RawOption {
    /// As librdkafka reads it.
    fn text(&self) -> String {
        match self {
            Self::Flag(value) => value.to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Fraction(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}
