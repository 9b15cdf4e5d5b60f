//! How a Kafka is reached: addresses, prefixes, security, and librdkafka's own options.
//!
//! Options that exactly-once rests on, and those that hold secrets, are refused among the free ones. A secret is never
//! shown: not by `Debug`, and not by the error of an option that cannot be used, which names the option alone.

use super::names::Names;
use crate::crash::Crash;
use crate::log::LogError;
use crate::secret::Secret;
use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Options that are Driftline's to set, with what to do instead.
const RESERVED: [(&str, &str); 12] = [
    ("bootstrap.servers", "set `bootstrap`"),
    ("metadata.broker.list", "set `bootstrap`"),
    ("security.protocol", "it follows from `security`"),
    ("group.id", "groups are named after stages"),
    ("transactional.id", "transactions are named after stages"),
    ("enable.idempotence", "exactly-once rests on it"),
    ("enable.auto.commit", "offsets are committed in transactions"),
    ("enable.auto.offset.store", "offsets are committed in transactions"),
    ("isolation.level", "only what is committed is read"),
    ("auto.offset.reset", "a lost offset is an error, never a silent skip"),
    ("enable.partition.eof", "stages must know that they have caught up"),
    ("acks", "a commit must be durable"),
];
/// What names of options have in them that hold secrets.
const SECRETS: [&str; 5] = ["password", "ssl.key.pem", "client.secret", "private.key", "jaas"];
/// What makes a membership static.
const STATIC_MEMBER: &str = "group.instance.id";
/// The largest record in bytes that is written, and that topics made by Driftline take.
pub(super) const MOST_RECORD_BYTES: u32 = 16 << 20;
/// After so long the broker ends a transaction that its owner does not.
const TRANSACTION: Duration = Duration::from_secs(20);
/// What a consumer holds fetched of one partition.
const FETCHED_KILOBYTES: u32 = 8 << 10;

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// By sending it; TLS should be used.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Who Driftline is to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// TLS; with a certificate of one's own it is mutual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// File with the certificates that brokers' ones are signed with; the system's without it.
    pub ca: Option<String>,
    /// Files with Driftline's own certificate and its key.
    pub certificate: Option<(String, String)>,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
}

/// How connections are secured: not at all, by either, or by both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Authentication by name and password.
    pub sasl: Option<Sasl>,
    /// Encryption, and authentication by certificate.
    pub tls: Option<Tls>,
}

/// How a Kafka is reached and what Driftline's topics are called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    bootstrap: String,
    pub(super) prefix: String,
    pub(super) input_prefix: String,
    pub(super) repartitioned: BTreeSet<String>,
    pub(super) replication: Option<u16>,
    security: Security,
    free: BTreeMap<String, String>,
    pub(super) patience: Duration,
    pub(super) crash: Crash,
}

impl KafkaOptions {
    /// What topics, groups and transactions are called on the broker.
    pub(super) fn names(&self) -> Names {
        Names::new(&self.prefix, &self.input_prefix, &self.repartitioned)
    }

    /// Brokers by `host:port`, comma-separated.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            prefix: "driftline-".to_owned(),
            input_prefix: String::new(),
            repartitioned: BTreeSet::new(),
            replication: None,
            security: Security::default(),
            free: BTreeMap::new(),
            patience: Duration::from_secs(30),
            crash: Crash::default(),
        }
    }

    /// What the names of Driftline's own topics, groups and transactions begin with.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// What the names of input topics begin with; nothing by default.
    #[must_use]
    pub fn with_input_prefix(self, input_prefix: impl Into<String>) -> Self {
        Self { input_prefix: input_prefix.into(), ..self }
    }

    /// Input topics that are made from the users' topics by a repartition; none by default.
    #[must_use]
    pub fn with_repartitioned(self, topics: &[&str]) -> Self {
        Self { repartitioned: topics.iter().map(|topic| (*topic).to_owned()).collect(), ..self }
    }

    /// Copies of each partition of a topic that Driftline makes; the broker's default without it.
    #[must_use]
    pub fn with_replication(self, replication: u16) -> Self {
        Self { replication: Some(replication), ..self }
    }

    /// How connections are secured.
    #[must_use]
    pub fn with_security(self, security: Security) -> Self {
        Self { security, ..self }
    }

    /// The longest that one call to the broker may take.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where within a transaction the process is to die; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_crash(self, crash: Crash) -> Self {
        Self { crash, ..self }
    }

    /// An option of librdkafka.
    ///
    /// # Errors
    /// When it is Driftline's to set, holds a secret, or is none of librdkafka's.
    pub fn with_option(mut self, name: &str, value: &str) -> Result<Self, LogError> {
        let refuse = |reason: &str| LogError::Option { option: name.to_owned(), reason: reason.to_owned() };
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            return Err(refuse(&format!("it is Driftline's to set ({why})")));
        }
        if SECRETS.iter().any(|secret| name.contains(secret)) {
            return Err(refuse("it holds a secret: set it under `security`, from a file or the environment"));
        }
        self.free.insert(name.to_owned(), value.to_owned());
        // Whatever else is wrong is found when a client is made; a wrong name or value is found now.
        self.client().create_native_config().map_err(|error| client_error(&error))?;
        Ok(self)
    }

    /// Brokers as they were given.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set_log_level(RDKafkaLogLevel::Info);
        client.set("bootstrap.servers", &self.bootstrap).set("client.id", "driftline");
        let protocol = match (&self.security.sasl, &self.security.tls) {
            (None, None) => "plaintext",
            (Some(_), None) => "sasl_plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(Sasl { mechanism, username, password }) = &self.security.sasl {
            client.set("sasl.mechanism", mechanism.name());
            client.set("sasl.username", username).set("sasl.password", password.expose());
        }
        let tls = self.security.tls.clone().unwrap_or_default();
        let files = tls
            .certificate
            .map(|(certificate, key)| [("ssl.certificate.location", certificate), ("ssl.key.location", key)]);
        let ca = tls.ca.map(|ca| ("ssl.ca.location", ca));
        let password = tls.key_password.map(|password| ("ssl.key.password", password.expose().to_owned()));
        for (name, value) in files.into_iter().flatten().chain(ca).chain(password) {
            client.set(name, value);
        }
        for (name, value) in &self.free {
            client.set(name, value);
        }
        client
    }

    /// A consumer that reads what is committed and commits nothing by itself.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        let defaults = [
            // The default of a second stalls a consumer that is as fast as the broker.
            ("fetch.queue.backoff.ms", "5".to_owned()),
            // The end of a partition is known when a fetch found nothing for so long.
            ("fetch.wait.max.ms", "100".to_owned()),
            ("queued.max.messages.kbytes", FETCHED_KILOBYTES.to_string()),
        ];
        for (name, value) in defaults {
            if !self.free.contains_key(name) {
                client.set(name, value);
            }
        }
        // Only members have an instance: to the coordinator the others are no members at all.
        client.remove(STATIC_MEMBER);
        client.set("group.id", group).set("isolation.level", "read_committed");
        client.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        client.set("enable.partition.eof", "true").set("auto.offset.reset", "error");
        client
    }

    /// A client for what it is assigned by hand. It belongs to no group in truth: librdkafka wants a name for one.
    pub(super) fn reader<C: ConsumerContext>(&self, context: C) -> Result<BaseConsumer<C>, LogError> {
        let config = self.consumer(&self.names().group("reader"));
        BaseConsumer::from_config_and_context(&config, context).map_err(|error| client_error(&error))
    }

    /// A member of the processes that share a stage.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut client = self.consumer(group);
        client.set("partition.assignment.strategy", "cooperative-sticky");
        // It consumes nothing: wherever it would begin is as good.
        client.set("enable.partition.eof", "false").set("auto.offset.reset", "latest");
        if let Some(instance) = self.free.get(STATIC_MEMBER) {
            client.set(STATIC_MEMBER, instance);
        }
        client
    }

    /// A transactional producer.
    pub(super) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut client = self.client();
        let defaults = [
            // A transaction is flushed at once; its records are batched while they are handed over.
            ("linger.ms", "0".to_owned()),
            ("message.max.bytes", MOST_RECORD_BYTES.to_string()),
            ("transaction.timeout.ms", TRANSACTION.as_millis().to_string()),
            ("partitioner", "murmur2_random".to_owned()),
        ];
        for (name, value) in defaults {
            if !self.free.contains_key(name) {
                client.set(name, value);
            }
        }
        client.set("transactional.id", transactional_id).set("enable.idempotence", "true");
        client
    }

    /// A client that makes and describes topics.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client()
    }
}

/// What is wrong with a client's options, without their values.
pub(super) fn client_error(error: &KafkaError) -> LogError {
    match error {
        KafkaError::ClientConfig(_, reason, option, _) => {
            LogError::Option { option: option.clone(), reason: reason.clone() }
        }
        other => LogError::Option { option: "(several)".to_owned(), reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_ever_shown() {
        let sasl =
            Sasl { mechanism: SaslMechanism::Plain, username: "drift".to_owned(), password: Secret::new("hunter2\0") };
        let tls = Tls { key_password: Some(Secret::new("hunter3")), ..Tls::default() };
        let options = KafkaOptions::new("localhost:9092").with_security(Security { sasl: Some(sasl), tls: Some(tls) });
        assert!(!format!("{options:?}").contains("hunter"), "{options:?}");
        let error = options.with_option("no.such.option", "hunter4").unwrap_err();
        assert!(matches!(&error, LogError::Option { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_set() {
        let options = KafkaOptions::new("localhost:9092");
        for option in ["isolation.level", "transactional.id", "enable.auto.commit", "sasl.password"] {
            let error = options.clone().with_option(option, "x").unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
        assert!(options.with_option("fetch.message.max.bytes", "123").is_ok());
    }
}
