//! The edge between HTTP and the log: bodies become records, and are durable before they are acknowledged.

use bytes::Bytes;
use codec::decode::{self, EventKind, Limits, REDACTED_HEADER, Redactor, RoutedRecord, Router, Source};
use dashboards::api::{EventIntake, Format, IntakeError, Kind, Receipt, Rejected, Submission};
use std::sync::Arc;
use streams::log::{Log, NewRecord};
use streams::topics;

/// The largest record that is made of a body's events.
const MOST_RECORD_BYTES: usize = 1 << 20;

type Header = (String, Bytes);

/// Appends submissions to the input topics.
pub(crate) struct LogIntake {
    log: Arc<dyn Log>,
    router: Router,
    redactor: Option<Redactor>,
}

impl LogIntake {
    /// An intake for these models.
    pub(crate) fn new(log: Arc<dyn Log>, sources: &[Source], partitions: u32) -> Self {
        let limits = Limits::default();
        let router = Router::new(sources, limits, partitions, MOST_RECORD_BYTES);
        Self { log, router, redactor: Redactor::new(sources, limits) }
    }

    /// A record's value and headers as its privacy allows.
    fn stored(&self, kind: EventKind, format: decode::Format, value: Bytes) -> (Bytes, Vec<Header>) {
        let mut headers = vec![("content-type".to_owned(), format.content_type().into())];
        match &self.redactor {
            Some(redactor) => {
                headers.push((REDACTED_HEADER.to_owned(), Bytes::new()));
                (redactor.redact(kind, format, &value), headers)
            }
            None => (value, headers),
        }
    }
}

impl EventIntake for LogIntake {
    fn take(&self, submission: Submission) -> Result<Receipt, IntakeError> {
        let (kind, topic) = match submission.kind {
            Kind::Events => (EventKind::Inference, topics::INFERENCES),
            Kind::Labels => (EventKind::Label, topics::LABELS),
            Kind::Feedback => (EventKind::Feedback, topics::FEEDBACK),
        };
        let format = match submission.format {
            Format::Json | Format::JsonLines => decode::Format::Json,
            Format::MessagePack => decode::Format::MessagePack,
            Format::Arrow => decode::Format::Arrow,
        };
        let routed = self.router.route(kind, format, &submission.body);
        let records = routed.records.into_iter().map(|RoutedRecord { partition, format, value }| {
            let (value, headers) = self.stored(kind, format, value);
            NewRecord { topic: topic.to_owned(), partition, key: None, value: Some(value), headers, appended_ms: None }
        });
        let records: Vec<_> = records.collect();
        if !records.is_empty() {
            self.log.append(&records).map_err(|error| IntakeError::Storage { source: Box::new(error) })?;
        }
        let rejected = routed.rejected.into_iter().map(|rejected| Rejected {
            index: u64::from(rejected.index),
            rows: u64::from(rejected.rows),
            reason: rejected.reason.name().to_owned(),
            message: rejected.message,
        });
        Ok(Receipt { accepted: routed.accepted, rejected: rejected.collect() })
    }
}
