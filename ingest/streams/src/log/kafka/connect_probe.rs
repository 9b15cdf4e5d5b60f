//! The first word with a Kafka: whether a broker answers, and lets Driftline in.
//!
//! librdkafka tries again whatever is wrong, and a call says no more than that no broker has answered. So the first client
//! listens to what is said of its connections, and gives up at once where trying again is of no use.

use super::link::{locked, tell, tell_error};
use super::names::SNAPSHOTS;
use super::options::KafkaOptions;
use crate::log::LogError;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long is waited for the first answer before what was said is looked at; for each further one twice as long.
const LISTEN: Duration = Duration::from_millis(500);
/// How long the client is given to say what it has to say.
const SAY: Duration = Duration::from_millis(10);
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
    /// Whether there was a time when no broker was left to try.
    all_failed: AtomicBool,
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
            Some(RDKafkaErrorCode::AllBrokersDown) => self.all_failed.store(true, Ordering::Relaxed),
            // Each attempt says so again.
            Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            _ => tell_error(&error, reason),
        }
    }
}

impl ConsumerContext for Listening {}

/// Waits until a broker answers.
///
/// # Errors
/// When none lets Driftline in, or none answers in time; with the reason.
pub(super) fn probe(options: &KafkaOptions) -> Result<(), LogError> {
    let names = options.names();
    let client = options.reader(Listening::default())?;
    let (deadline, mut listen) = (Instant::now() + options.patience, LISTEN);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Err(error) = client.fetch_metadata(Some(&names.topic(SNAPSHOTS)), listen.min(left)) else { return Ok(()) };
        listen *= 2;
        // It consumes nothing: what comes are errors.
        while client.poll(SAY).is_some() {}
        let bootstrap = || options.bootstrap().to_owned();
        // One that refuses is no reason to give up while others may be tried.
        let refused =
            client.context().all_failed.load(Ordering::Relaxed).then(|| locked(&client.context().refused).take());
        if let Some(reason) = refused.flatten() {
            return Err(LogError::Refused { bootstrap: bootstrap(), reason });
        }
        if Instant::now() >= deadline {
            let reason = locked(&client.context().failed).take().unwrap_or_else(|| error.to_string());
            return Err(LogError::Unreachable { bootstrap: bootstrap(), reason });
        }
    }
}
