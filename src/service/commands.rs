//! The edge between people's orders and the log: a training becomes a cause, the rest commands to the registry's writer.

use crate::service::trainer_deps::random_name;
use dashboards::api::{Command, CommandError, Commands, Order};
use retrain::command::{self, Action};
use retrain::request::{Cause, CauseKind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use streams::cloud_event::{Attributes, CloudEventError, encode};
use streams::log::{Log, NewRecord};
use streams::topics;

/// Appends orders to `causes` and `commands`.
pub(crate) struct LogOrders {
    log: Arc<dyn Log>,
    models: Vec<String>,
}

impl LogOrders {
    /// Takes orders about these models.
    pub(crate) fn new(log: Arc<dyn Log>, models: Vec<String>) -> Self {
        Self { log, models }
    }
}

impl Commands for LogOrders {
    fn submit(&self, order: Command) -> Result<String, CommandError> {
        if !self.models.contains(&order.model) {
            return Err(CommandError::UnknownModel { model: order.model, known: self.models.join(", ") });
        }
        let id = random_name();
        let record = record_of(&id, order).map_err(|error| CommandError::Storage { source: Box::new(error) })?;
        self.log.append(&[record]).map_err(|error| CommandError::Storage { source: Box::new(error) })?;
        Ok(id)
    }
}

fn record_of(id: &str, order: Command) -> Result<NewRecord, CloudEventError> {
    let time_ms = now_ms();
    let Command { model, order, reason } = order;
    let (expected_champion, action) = match order {
        Order::Retrain => return cause_record(&person(id, model, reason)),
        Order::Promote { version, expected_champion } => {
            (expected_champion, Action::Promote { version, past_the_gate: Some(reason) })
        }
        Order::RollBack { version, expected_champion } => {
            (Some(expected_champion), Action::RollBack { version, reason })
        }
        Order::Release { expected_champion } => (Some(expected_champion), Action::Release { reason }),
    };
    command::Command { id: id.to_owned(), model, time_ms, expected_champion, action }.to_record()
}

fn person(id: &str, model: String, reason: String) -> Cause {
    let summary = format!("asked for: {reason}");
    let kind = CauseKind::Person { reason };
    Cause { id: id.to_owned(), model, kind, time_ms: now_ms(), change_point_ms: None, summary }
}

/// The record of a cause that a clock or a person brought about.
///
/// # Errors
/// When the cause cannot be written as JSON.
pub(crate) fn cause_record(cause: &Cause) -> Result<NewRecord, CloudEventError> {
    let attributes = Attributes {
        id: &cause.id,
        source: "/driftline/edge",
        kind: "driftline.cause",
        subject: &cause.model,
        time_ms: cause.time_ms,
    };
    encode(topics::CAUSES, attributes, cause)
}

/// The clock, read at the edge: milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
