//! The first word with a Kafka: whether a broker answers, and lets Driftline in.
//!
//! librdkafka tries again whatever is wrong, and a call says no more than that no broker has answered. So the first client
//! listens to what is said of its connections, and gives up at once where trying again is of no use.

use super::link::{locked, tell, tell_error};
use super::names::{Names, SNAPSHOTS};
use super::options::{KafkaOptions, client_error};
use crate::log::LogError;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long is waited for an answer before what was said is looked at.
const LISTEN: Duration = Duration::from_millis(500);
/// What librdkafka calls it when a connection fails.
const FAILED: &str = "FAIL";
/// What a reason has in it that TLS gives: that of a broker who does not take Driftline's certificate comes as any other.
const OF_TLS: &str = ":SSL routines:";

/// Keeps what is said of connections.
#[derive(Default)]
struct Listening {
    /// Why the last one failed.
    failed: Mutex<Option<String>>,
    /// Why one will never succeed.
    refused: Mutex<Option<String>>,
}

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == FAILED {
            // In front of it stands the name of a thread.
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            *locked(&self.failed) = Some(reason.to_owned());
            if reason.contains(OF_TLS) {
                *locked(&self.refused) = Some(reason.to_owned());
            }
        }
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                *locked(&self.refused) = Some(reason.to_owned());
            }
            // Each attempt says so again.
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {}
            _ => tell_error(&error, reason),
        }
    }
}

impl ConsumerContext for Listening {}

/// Waits until a broker answers.
///
/// # Errors
/// When none lets Driftline in, or none answers in time; with the reason.
pub(super) fn enter(options: &KafkaOptions) -> Result<(), LogError> {
    let names = Names::of(options);
    let config = options.consumer(&names.group("reader"));
    let client = BaseConsumer::from_config_and_context(&config, Listening::default());
    let client = client.map_err(|error| client_error(&error))?;
    let deadline = Instant::now() + options.patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Err(error) = client.fetch_metadata(Some(&names.topic(SNAPSHOTS)), LISTEN.min(left)) else { return Ok(()) };
        // Has the client say what it has to say; it consumes nothing.
        while client.poll(Duration::ZERO).is_some() {}
        let bootstrap = || options.bootstrap().to_owned();
        if let Some(reason) = locked(&client.context().refused).take() {
            return Err(LogError::Refused { bootstrap: bootstrap(), reason });
        }
        if Instant::now() >= deadline {
            let reason = locked(&client.context().failed).take().unwrap_or_else(|| error.to_string());
            return Err(LogError::Unreachable { bootstrap: bootstrap(), reason });
        }
    }
}
