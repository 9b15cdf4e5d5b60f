//! The edge between people's orders and the log: a training becomes a cause, the rest commands to the registry's writer. Each
//! is appended with its entry in the audit trail, and so is what is refused.

use crate::service::trainer_deps::random_name;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use dashboards::api::{Asker, Command, CommandError, Commands, Order};
use dashboards::audit::AuditEntry;
use retrain::command::{self, Action};
use retrain::request::{Cause, CauseKind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use streams::cloud_event::{Attributes, CloudEventError, encode};
use streams::log::{Log, NewRecord};
use streams::topics;

/// Appends orders to `causes` and `commands`, and both and refusals to `audit`.
pub(crate) struct LogOrders {
    log: Arc<dyn Log>,
    models: Vec<String>,
}

impl LogOrders {
    /// Takes orders about these models.
    pub(crate) fn new(log: Arc<dyn Log>, models: Vec<String>) -> Self {
        Self { log, models }
    }

    fn refuse_unknown(&self, order: &Command) -> Result<(), CommandError> {
        if self.models.contains(&order.model) {
            return Ok(());
        }
        Err(CommandError::UnknownModel { model: order.model.clone(), known: self.models.join(", ") })
    }
}

impl Commands for LogOrders {
    fn submit(&self, order: Command) -> Result<String, CommandError> {
        let (id, time_ms) = (id_of(&order), now_ms());
        let entry = order.entry(&id, time_ms);
        let record = self.refuse_unknown(&order).and_then(|()| record_of(&id, time_ms, order));
        let record =
            record.inspect_err(|error| self.audit(AuditEntry { refused: Some(error.to_string()), ..entry.clone() }))?;
        let audit = audit_record(&entry).map_err(unwritable)?;
        self.log.append(&[record, audit]).map_err(|error| CommandError::Storage { source: Box::new(error) })?;
        Ok(id)
    }

    fn audit(&self, mut entry: AuditEntry) {
        if entry.id.is_empty() {
            (entry.id, entry.time_ms) = (random_name(), now_ms());
        }
        let written = audit_record(&entry).map_err(anyhow::Error::from);
        if let Err(error) = written.and_then(|record| Ok(self.log.append(&[record])?)) {
            tracing::error!(%error, by = entry.by, what = entry.what, "a refusal could not be written to the audit trail");
        }
    }
}

/// An alert has an id of its own, so that it is one cause however often it is told.
fn id_of(order: &Command) -> String {
    match &order.order {
        Order::Alert { id, .. } => id.clone(),
        _ => random_name(),
    }
}

fn unwritable(error: CloudEventError) -> CommandError {
    CommandError::Storage { source: Box::new(error) }
}

fn record_of(id: &str, time_ms: i64, order: Command) -> Result<NewRecord, CommandError> {
    let Command { model, order, reason, asker } = order;
    let reason = signed(reason, &asker);
    let (expected_champion, action) = match order {
        Order::Retrain => return cause_record(&person(id, model, reason)).map_err(unwritable),
        Order::Alert { starts_at, .. } => {
            let began_ms = began_ms(&starts_at)?;
            return cause_record(&alert(id, model, (began_ms, reason))).map_err(unwritable);
        }
        Order::Promote { version, expected_champion } => {
            (expected_champion, Action::Promote { version, past_the_gate: Some(reason) })
        }
        Order::RollBack { version, expected_champion } => {
            (Some(expected_champion), Action::RollBack { version, reason })
        }
        Order::Release { expected_champion } => (Some(expected_champion), Action::Release { reason }),
    };
    let command = command::Command { id: id.to_owned(), model, time_ms, expected_champion, action };
    command.to_record().map_err(unwritable)
}

/// The reason with the name of who gave it, where that is known.
fn signed(reason: String, asker: &Asker) -> String {
    match &asker.name {
        Some(name) => format!("{name}: {reason}"),
        None => reason,
    }
}

fn person(id: &str, model: String, reason: String) -> Cause {
    let summary = format!("asked for: {reason}");
    let kind = CauseKind::Person { reason };
    Cause { id: id.to_owned(), model, kind, time_ms: now_ms(), change_point_ms: None, summary }
}

/// An alert is about quality; when the change began, it does not know: it began to fire later.
fn alert(id: &str, model: String, (time_ms, summary): (i64, String)) -> Cause {
    Cause { id: id.to_owned(), model, kind: CauseKind::Quality, time_ms, change_point_ms: None, summary }
}

fn began_ms(starts_at: &str) -> Result<i64, CommandError> {
    let nanos = string_to_timestamp_nanos(starts_at).map_err(|_| CommandError::Refused {
        reason: format!("`startsAt` is `{starts_at}`, which is not RFC 3339: write it as 2026-01-31T08:00:00Z"),
    })?;
    Ok(nanos.div_euclid(1_000_000))
}

/// The record of something that was asked for.
fn audit_record(entry: &AuditEntry) -> Result<NewRecord, CloudEventError> {
    let attributes = Attributes {
        id: &entry.id,
        source: "/driftline/api",
        kind: "driftline.audit",
        subject: entry.model.as_deref().unwrap_or_default(),
        time_ms: entry.time_ms,
    };
    encode(topics::AUDIT, attributes, entry)
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
