//! Which log a flow runs on: each flow of the loop runs on the embedded one and on a real Kafka.

use crate::kafka;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use streams::log::Log;
use streams::log::embedded::{EmbeddedLog, Options};
use streams::log::kafka::{KafkaLog, KafkaOptions};

/// What stands in a flow's configuration where its log goes.
const PLACE: &str = "LOG";
/// How long a fetch waits at the end of a partition: the shorter, the sooner a stage knows that it has caught up.
const FETCH_WAIT_MS: &str = "10";
/// After so long without a heartbeat a process is taken for dead: the shortest that brokers allow.
const SESSION_MS: &str = "6000";
/// How often a process says that it lives.
const HEARTBEAT_MS: &str = "1000";

/// A log to run on.
#[derive(Debug, Clone)]
pub enum On {
    /// The embedded log in the flow's folder.
    Embedded,
    /// A Kafka, under a prefix that no one else uses.
    Kafka {
        /// Where it is.
        bootstrap: String,
        /// The prefix.
        prefix: String,
    },
}

impl On {
    /// A Kafka that all flows share; `None` (told) where there is none.
    ///
    /// # Errors
    /// When it could be had but does not start.
    pub fn kafka() -> Result<Option<Self>> {
        let shared = kafka::shared()?;
        Ok(shared.map(|bootstrap| Self::Kafka { bootstrap, prefix: kafka::fresh_prefix() }))
    }

    /// The same kind of log, with nothing in it.
    #[must_use]
    pub fn anew(&self) -> Self {
        match self {
            Self::Embedded => Self::Embedded,
            Self::Kafka { bootstrap, .. } => {
                Self::Kafka { bootstrap: bootstrap.clone(), prefix: kafka::fresh_prefix() }
            }
        }
    }

    /// The configuration with this log in its place.
    pub fn put_into(&self, configuration: &str) -> String {
        let log = match self {
            Self::Embedded => "{directory: driftline-data, durability: normal}".to_owned(),
            Self::Kafka { bootstrap, prefix } => format!(
                "{{directory: driftline-data, kafka: {{bootstrap: \"{bootstrap}\", prefix: \"{prefix}\", \
                 input_prefix: \"{prefix}\", options: {{fetch.wait.max.ms: {FETCH_WAIT_MS}, \
                 session.timeout.ms: {SESSION_MS}, heartbeat.interval.ms: {HEARTBEAT_MS}}}}}}}"
            ),
        };
        configuration.replace(PLACE, &log)
    }

    /// The log, of which the embedded one admits no other process.
    pub(crate) fn open(&self, directory: &Path) -> Result<Arc<dyn Log>> {
        Ok(match self {
            Self::Embedded => EmbeddedLog::open(directory, Options::default())?,
            Self::Kafka { bootstrap, prefix } => {
                let options = KafkaOptions::new(bootstrap).with_prefix(prefix).with_input_prefix(prefix);
                let options = options.with_option("fetch.wait.max.ms", FETCH_WAIT_MS)?;
                KafkaLog::connect(options, &format!("{:016x}", rand::random::<u64>()))?
            }
        })
    }
}
