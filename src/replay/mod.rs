//! Replay: the rows of a file as events and labels, in lock-step with the service.
//!
//! A chunk of rows is answered by the champion (where Driftline serves it), appended in one transaction with the place in
//! the file, and followed by heartbeats that bring every partition's event time along. Then the replay waits until every
//! stage has done all it has to do, trainings included, before the next chunk: what comes out does not depend on how fast
//! anything is. Killed and started again it goes on after the last chunk that was appended.

pub mod balance;
pub mod event_feed;
pub mod reporter;

use crate::cli::Speed;
use crate::files::privacy::redacted;
use crate::files::typed::{self, Wanted};
use crate::files::{Encoded, EncodedRecord, EncoderSpec, EventEncoder, LabelRows, RowBatch, SourceError};
use crate::replay::balance::{Balance, Captured};
use crate::service::Service;
use crate::service::champion::Champion;
use crate::service::model::ModelSetup;
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use bytes::Bytes;
use codec::decode::{Format, REDACTED_HEADER, Source};
use detectors::schema::ColumnSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::control::Control;
use streams::log::{Log, NewRecord, Offset, Transaction};
use streams::topics;

/// Rows that one version answers before the champion may change.
pub const SERVED_CHUNK_ROWS: usize = 50;
/// Rows that are appended at once where the file holds the predictions.
pub const PLAIN_CHUNK_ROWS: usize = 4_096;
/// How long the stages may take over one chunk, a training included.
pub const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Where a replay stands; kept in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Rows appended.
    pub rows: u64,
    /// Labels appended that came without their rows.
    #[serde(default)]
    pub labels: u64,
    /// Whether the end of the input has been appended too.
    pub finished: bool,
    /// Where capture's ledger stood before the first row; what is said from there on tells what became of the rows.
    #[serde(default)]
    pub ledger_from: Offset,
}

impl ReplayProgress {
    /// Where the replay of this name stands; `None` where there was none.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn of(log: &dyn Log, name: &str) -> Result<Option<Self>> {
        let kept = log.snapshot(&group(name))?;
        let place = kept.map(|bytes| serde_json::from_slice(&bytes).context("reading how far the replay had come"));
        place.transpose()
    }
}

/// The group in which a replay of this name keeps its place.
fn group(name: &str) -> String {
    format!("replay-{name}")
}

/// How a replay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With an end-of-input mark: the last windows close.
    Mark,
    /// Open: more may follow.
    Open,
}

/// What is replayed, and how.
#[derive(Debug, Clone)]
pub struct ReplaySpec {
    /// Tells this input from others; a replay of the same name goes on where it was.
    pub name: String,
    /// What the columns of the rows are.
    pub encoder: EncoderSpec,
    /// How fast event time passes.
    pub speed: Speed,
    /// How it ends.
    pub ending: Ending,
}

/// A replay under way.
pub struct Replay<'a> {
    service: &'a Service,
    spec: ReplaySpec,
    group: String,
    encoder: EventEncoder,
    champion: Option<Champion>,
    features: Vec<Wanted>,
    source: Source,
    file: PathBuf,
    /// Whether the model's windows are judged by labels too.
    waits_for_labels: bool,
    place: ReplayProgress,
    started: Option<(Instant, i64)>,
}

impl<'a> Replay<'a> {
    /// A replay of rows of this model; the champion answers where the rows have no prediction of their own.
    ///
    /// # Errors
    /// When the log or the registry cannot be read.
    pub fn new(service: &'a Service, setup: &Arc<ModelSetup>, spec: ReplaySpec) -> Result<Self> {
        let context = service.context();
        let group = group(&spec.name);
        context.log.fence(&group)?;
        let place = match ReplayProgress::of(context.log.as_ref(), &spec.name)? {
            Some(place) => place,
            None => {
                // What is still to be said of earlier events is not said of these.
                service.wait_until_quiet(PATIENCE)?;
                ReplayProgress { ledger_from: balance::end_of_ledger(&context.log)?, ..ReplayProgress::default() }
            }
        };
        let champion = match spec.encoder.prediction {
            Some(_) => None,
            None => Some(Champion::new(Arc::clone(setup), Arc::clone(&context.store), Arc::clone(&context.log))?),
        };
        let renamed = &spec.encoder.renamed;
        let wanted = |feature: &ColumnSchema| Wanted {
            from: renamed.get(&feature.name).unwrap_or(&feature.name).clone(),
            name: feature.name.clone(),
            kind: feature.kind,
        };
        let features = setup.watched.schema.features().map(wanted).collect();
        let file = spec.encoder.file.clone();
        let encoder = EventEncoder::new(spec.encoder.clone());
        Ok(Self {
            service,
            spec,
            group,
            encoder,
            champion,
            features,
            source: setup.source.clone(),
            file,
            waits_for_labels: setup.watched.labels.is_some(),
            place,
            started: None,
        })
    }

    /// How far an earlier replay of the same name had come.
    pub fn place(&self) -> ReplayProgress {
        self.place
    }

    /// What became of the rows so far, once the stages have come to rest.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn balance(&self) -> Result<Balance> {
        let model = &self.spec.encoder.model;
        let captured = Captured::since(&self.service.context().log, self.place.ledger_from, model)?;
        Ok(Balance::of(self.place.rows, self.encoder.rows(), captured))
    }

    /// Rows that go together.
    fn chunk_rows(&self) -> usize {
        if self.champion.is_some() { SERVED_CHUNK_ROWS } else { PLAIN_CHUNK_ROWS }
    }

    /// Replays the rows to their end, or until `go_on` says no; it is asked after each chunk, with the champion's answers to it.
    ///
    /// # Errors
    /// When a row cannot be read or answered, or the service fails.
    pub fn run(
        &mut self,
        rows: impl Iterator<Item = Result<RowBatch, SourceError>>,
        mut go_on: impl FnMut(ReplayProgress, Option<&RecordBatch>) -> Result<bool>,
    ) -> Result<ReplayProgress> {
        self.service.wait_until_quiet(PATIENCE)?;
        for batch in rows {
            for chunk in chunks(&batch?, self.chunk_rows()) {
                let answers = self.chunk(&chunk)?;
                if !go_on(self.place, answers.as_ref())? {
                    return Ok(self.place);
                }
            }
        }
        self.finish()?;
        go_on(self.place, None)?;
        Ok(self.place)
    }

    fn chunk(&mut self, rows: &RowBatch) -> Result<Option<RecordBatch>> {
        let rows = &redacted(&self.file, rows, &self.source, &self.spec.encoder.renamed)?;
        let after = rows.first_row + rows.batch.num_rows() as u64;
        if after <= self.place.rows {
            // Appended before: encoded again only for the labels that were still to come.
            self.encoder.encode(rows, None)?;
            return Ok(None);
        }
        let answers = self.answer(rows)?;
        let encoded = self.encoder.encode(rows, answers.as_ref())?;
        self.keep_pace(encoded.latest_ms);
        let place = ReplayProgress { rows: after, ..self.place };
        let heartbeat = encoded.latest_ms.map(Control::Heartbeat);
        self.append(encoded, heartbeat.map(|control| (control, self.topics_moved())), place)?;
        Ok(answers)
    }

    /// Sends labels whose predictions are in the log, to their end.
    ///
    /// # Errors
    /// When the service fails.
    pub fn run_labels(
        &mut self,
        labels: &LabelRows,
        mut go_on: impl FnMut(ReplayProgress) -> Result<bool>,
    ) -> Result<ReplayProgress> {
        self.service.wait_until_quiet(PATIENCE)?;
        *self.encoder.rows_mut() = labels.rows().clone();
        while let Some(encoded) = labels.encode(self.place.labels, PLAIN_CHUNK_ROWS) {
            let heartbeat = encoded.latest_ms.map(Control::Heartbeat);
            let sent: u64 = encoded.labels.iter().map(|record| u64::from(record.events)).sum();
            let place = ReplayProgress { labels: self.place.labels + sent, ..self.place };
            self.append(encoded, heartbeat.map(|control| (control, &[topics::LABELS][..])), place)?;
            if !go_on(self.place)? {
                return Ok(self.place);
            }
        }
        // The last prediction may be later than the last label.
        let watermark_ms = balance::watermark_ms(&self.service.context().log)?;
        let disorder = self.service.context().config().max_disorder;
        let event_ms =
            watermark_ms.map(|at| at.saturating_add(i64::try_from(disorder.as_millis()).unwrap_or(i64::MAX)));
        self.end(Encoded { latest_ms: labels.latest_ms().max(event_ms), ..Encoded::default() })?;
        go_on(self.place)?;
        Ok(self.place)
    }

    /// The champion's answers, where the rows have none of their own.
    fn answer(&mut self, rows: &RowBatch) -> Result<Option<RecordBatch>> {
        let Some(champion) = &mut self.champion else { return Ok(None) };
        champion.follow()?;
        if let Some(version) = champion.version() {
            self.encoder.answered_by(version);
        }
        let features = typed::columns(&self.file, rows, &self.features)?;
        champion.score(&features)
    }

    fn finish(&mut self) -> Result<()> {
        if self.place.finished {
            return Ok(());
        }
        let encoded = self.encoder.finish();
        self.end(encoded)
    }

    /// Appends the last records, and the mark of the end where there is to be one.
    fn end(&mut self, last: Encoded) -> Result<()> {
        let mark = match self.spec.ending {
            Ending::Mark => last.latest_ms.map(|time_ms| (Control::EndOfInput(time_ms), self.topics_moved())),
            Ending::Open => None,
        };
        self.append(last, mark, ReplayProgress { finished: true, ..self.place })
    }

    /// Appends the records, what moves the time of some topics, and the place in the file as one, and waits until the service
    /// has done with them.
    fn append(&mut self, encoded: Encoded, control: Option<(Control, &[&str])>, place: ReplayProgress) -> Result<()> {
        let mut records: Vec<_> =
            encoded.events.into_iter().map(|record| new_record(topics::INFERENCES, record)).collect();
        records.extend(encoded.labels.into_iter().map(|record| new_record(topics::LABELS, record)));
        if let Some((control, moved)) = control {
            for partition in 0..self.service.context().partitions {
                records.extend(moved.iter().map(|topic| control.to_record(topic, partition)));
            }
        }
        let snapshot = Some(Bytes::from(serde_json::to_vec(&place)?));
        let transaction = Transaction { records, progress: Vec::new(), snapshot };
        self.service.context().log.commit(&self.group, &transaction)?;
        self.place = place;
        self.service.wait_until_quiet(PATIENCE)
    }

    /// The topics whose time goes on with the rows. Where labels are still to follow in a file of their own, theirs waits for
    /// them: windows stay open until then.
    fn topics_moved(&self) -> &'static [&'static str] {
        let has_labels = self.spec.encoder.label.is_some();
        match self.spec.ending {
            Ending::Open if !has_labels && self.waits_for_labels => &[topics::INFERENCES],
            _ => &[topics::INFERENCES, topics::LABELS],
        }
    }

    /// Waits until the clock has come as far as the rows, at the speed asked for.
    fn keep_pace(&mut self, latest_ms: Option<i64>) {
        let (Speed::Times(times), Some(latest_ms)) = (self.spec.speed, latest_ms) else { return };
        let (started, from_ms) = *self.started.get_or_insert((Instant::now(), latest_ms));
        let due_seconds = latest_ms.saturating_sub(from_ms) as f64 / 1e3 / times;
        if let Some(wait) =
            Duration::try_from_secs_f64(due_seconds).ok().and_then(|due| due.checked_sub(started.elapsed()))
        {
            std::thread::sleep(wait);
        }
    }
}

fn new_record(topic: &str, record: EncodedRecord) -> NewRecord {
    let content_type = Bytes::from_static(Format::MessagePack.content_type().as_bytes());
    // Its rows were redacted before they were encoded.
    let redacted = (REDACTED_HEADER.to_owned(), Bytes::new());
    NewRecord {
        topic: topic.to_owned(),
        partition: record.partition,
        key: None,
        value: Some(record.value),
        headers: vec![("content-type".to_owned(), content_type), redacted],
        appended_ms: None,
    }
}

/// The rows in pieces of at most `most`, cut at the same row numbers wherever batches end.
fn chunks(rows: &RowBatch, most: usize) -> Vec<RowBatch> {
    let mut pieces = Vec::new();
    let mut done = 0;
    while done < rows.batch.num_rows() {
        let first_row = rows.first_row + done as u64;
        let within = usize::try_from(first_row % most as u64).unwrap_or(0);
        let length = (most - within).min(rows.batch.num_rows() - done);
        pieces.push(RowBatch { first_row, batch: rows.batch.slice(done, length) });
        done += length;
    }
    pieces
}
