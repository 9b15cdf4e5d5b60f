//! Decoding: records of the log become Arrow batches, one for each model and version.
//!
//! Invariants:
//! - A record's rows fail one by one. A bad row becomes a [`BadRow`] and leaves no trace in the batches; its neighbours arrive.
//! - Rows keep their order within a batch, and carry their place in the log.
//! - JSON and MessagePack of the same event give equal rows; everything above the two cursors is compiled for both. Arrow
//!   and Avro give the same rows again; `columnar` says how.
//! - A record whose schema cannot be had for the moment is no bad record: decoding it fails, and is tried again.
//! - A column's privacy policy holds before a value is built; whoever keeps rows takes them by [`Decoder::take_storable`].
//!
//! What a value may be: a number column takes numbers, NaN and infinities among them; a category takes text, booleans and
//! numbers in their one spelling ([`detectors::spelling`]), and NaN is null there. Anything else is null and listed in
//! `wrong_type`. A feature that is missing is null; one that the schema does not have is counted.
//!
//! It deliberately does not judge lateness, duplicates or whether a label fits its prediction: that takes state.

mod builders;
mod columnar;
mod cursor;
mod dead_letter;
mod directory;
mod envelope;
mod expected;
mod fault;
mod feature_order;
mod format;
mod framing;
mod implied;
mod json;
mod known_fields;
mod mapping;
mod msgpack;
mod number;
mod privacy;
mod redactor;
mod route;
mod shared_builders;
mod source;
mod split;
mod time;
mod unclosed;

pub use dead_letter::{BadRow, REASON_HEADER};
pub use fault::Reason;
pub use format::Format;
pub use framing::SCHEMA_ID_HEADER;
pub use implied::with_predictions;
pub use mapping::{
    Constant, FeatureOrigins, Mapping, MappingError, MappingSettings, Origin, Scalar, TimeOrigin, TimePath, TimeUnit,
};
pub use privacy::{HashKey, Policy, Privacy, PrivacyError};
pub use redactor::{REDACTED_HEADER, Redactor};
pub use route::{EventKind, Rejected, Routed, RoutedRecord, Router};
pub use source::{OTHER_VERSIONS, Source};
pub use split::{Part, Split, Splitter};

use crate::schemas::{Outage, Schemas};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use builders::{GoodRow, LabelBuilder, RecordPosition};
use bytes::Bytes;
use columnar::{Layout, PendingRecords};
use cursor::{Cursor, RejectedRow, each_row};
use directory::{Directory, unknown_model};
use envelope::{Cell, Envelope, Field, HeadReader, Taken};
use fault::Read;
use framing::{FormatByHeaders, Payload, Readers, Stop};
use json::Json;
use msgpack::MessagePack;
use shared_builders::{SharedBuilders, built_together};
use source::ActiveSource;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use streams::log::{PartitionId, Record};
use time::check_future;

/// What a row may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Levels that values may be nested.
    pub max_depth: usize,
    /// Rows in one record.
    pub max_events_per_record: u32,
    /// Bytes of one text that is kept.
    pub max_text_bytes: usize,
    /// How far an event's time may lie ahead of the time at which the log took it. It bounds how far a wrong unit or a broken
    /// clock reaches; small deviations are counted by the watermark instead.
    pub max_future: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 32,
            max_events_per_record: 1_000_000,
            max_text_bytes: 64 << 10,
            max_future: Duration::from_secs(24 * 3600),
        }
    }
}

/// Events of one model and version, in log order within each partition.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The model.
    pub model: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The columns of [`crate::columns::event_schema`].
    pub batch: RecordBatch,
}

/// Labels of one model, in log order within each partition.
#[derive(Debug, Clone)]
pub struct LabelBatch {
    /// The model.
    pub model: Arc<str>,
    /// The columns of [`crate::columns::label_schema`].
    pub batch: RecordBatch,
}

/// Values of a feature that the model's schema does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFeature {
    /// The model.
    pub model: Arc<str>,
    /// The feature's name; `None` for all that were too many to tell apart.
    pub name: Option<String>,
    /// How many values were ignored.
    pub values: u64,
}

/// Everything that has been decoded since the last time.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Events; usually one batch for each model and version.
    pub events: Vec<EventBatch>,
    /// Labels; usually one batch for each model.
    pub labels: Vec<LabelBatch>,
    /// Rows that could not be taken, in the order they were met, and that [`Decoder::take_bad`] has not handed over.
    pub bad: Vec<BadRow>,
    /// Features that were ignored.
    pub unknown_features: Vec<UnknownFeature>,
}

/// What has been decoded and not been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Values of all rows.
    pub values: usize,
    /// Rows that each of the batches would have, on average, that were taken now.
    pub rows_of_a_batch: usize,
    /// Versions of all models that there are rows of.
    pub versions: usize,
}

/// Turns records into batches.
pub struct Decoder {
    limits: Limits,
    sources: Vec<ActiveSource>,
    directory: Directory,
    /// Sources with a mapping, and the mapping; `None` where none has one.
    mapped: Option<Arc<[(usize, Mapping)]>>,
    /// [`Limits::max_future`] in milliseconds.
    most_ahead_ms: i64,
    schemas: Arc<Schemas>,
    readers: Readers,
    named: FormatByHeaders,
    envelopes: HeadReader,
    /// The row in hand; kept for its allocation.
    cells: Vec<Cell<'static>>,
    /// Records of columns that are decoded together.
    pending_records: PendingRecords,
    /// Of the last stream.
    layout: Option<Arc<Layout>>,
    events: Vec<SharedBuilders>,
    full_labels: Vec<(Arc<str>, LabelBuilder)>,
    bad: Vec<BadRow>,
    /// What [`Self::take_latest_ms`] will say.
    latest_ms: Option<i64>,
}

/// Values of a row beside those of its model's columns.
const LOG_WIDTH: usize = 8;

/// What the rows of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Events,
    Labels,
}

impl Decoder {
    /// A decoder for these models.
    pub fn new(sources: Vec<Source>, limits: Limits) -> Self {
        let directory = Directory::new(&sources);
        let mapped = sources.iter().enumerate().filter_map(|(index, source)| Some((index, source.mapping.clone()?)));
        let mapped = Some(mapped.collect()).filter(|mapped: &Arc<[_]>| !mapped.is_empty());
        let mut sources: Vec<_> = sources.into_iter().map(|source| ActiveSource::new(source, &limits)).collect();
        let events = built_together(&mut sources);
        Self {
            limits,
            mapped,
            most_ahead_ms: i64::try_from(limits.max_future.as_millis()).unwrap_or(i64::MAX),
            sources,
            directory,
            schemas: Arc::default(),
            readers: Readers::default(),
            named: FormatByHeaders::default(),
            envelopes: HeadReader::new(limits.max_depth),
            cells: Vec::new(),
            pending_records: PendingRecords::default(),
            layout: None,
            events,
            full_labels: Vec::new(),
            bad: Vec::new(),
            latest_ms: None,
        }
    }

    /// The same decoder, with the schemas that records may be written with.
    pub fn with_schemas(self, schemas: Arc<Schemas>) -> Self {
        Self { schemas, ..self }
    }

    /// Decodes a record of inference events.
    ///
    /// # Errors
    /// When its schema cannot be had for the moment. The record is not decoded then, and has to be decoded again.
    pub fn decode_events(&mut self, partition: PartitionId, record: &Record) -> Result<(), Outage> {
        self.decode(partition, record, Rows::Events)
    }

    /// Decodes a record of label events.
    ///
    /// # Errors
    /// As for [`Decoder::decode_events`].
    pub fn decode_labels(&mut self, partition: PartitionId, record: &Record) -> Result<(), Outage> {
        self.decode(partition, record, Rows::Labels)
    }

    /// Hands over the rows that could not be taken since the last time, in the order they were met.
    pub fn take_bad(&mut self) -> Vec<BadRow> {
        self.decode_gathered();
        std::mem::take(&mut self.bad)
    }

    /// The latest time of the good rows since the last call: the event's, or that at which the log took it, if that is earlier.
    pub fn take_latest_ms(&mut self) -> Option<i64> {
        self.latest_ms.take()
    }

    /// What it holds.
    pub fn held(&self) -> Held {
        Held { versions: self.events.iter().map(SharedBuilders::owners).sum(), ..self.directory.held() }
    }

    /// Hands over all that has been decoded since the last time.
    ///
    /// # Errors
    /// When arrow refuses a batch, which a schema with two columns of one name, for example, would cause.
    pub fn take(&mut self) -> Result<Decoded, ArrowError> {
        let mut decoded = Decoded { bad: self.take_bad(), ..Decoded::default() };
        let (mut met, mut labels) = (BTreeSet::new(), std::mem::take(&mut self.full_labels));
        for index in self.directory.take_met() {
            let Some(source) = self.sources.get_mut(index) else { continue };
            let model = source.source.model.clone();
            let drained = source.drain();
            met.insert(source.built_by);
            labels.extend(drained.labels.map(|builder| (model.clone(), builder)));
            let unknown = drained.unknown.into_iter();
            let unknown = unknown.map(|(name, values)| UnknownFeature { model: model.clone(), name, values });
            decoded.unknown_features.extend(unknown);
        }
        for shared_builders in met {
            self.events
                .get_mut(shared_builders)
                .map_or(Ok(()), |shared_builders| shared_builders.take(&mut decoded.events))?;
        }
        self.imply_predictions(&mut decoded.events)?;
        for (model, builder) in labels {
            decoded.labels.push(LabelBatch { model, batch: builder.finish()? });
        }
        Ok(decoded)
    }

    /// As [`Decoder::take`], without the values that may be profiled only: for whoever keeps rows.
    ///
    /// # Errors
    /// As there.
    pub fn take_storable(&mut self) -> Result<Decoded, ArrowError> {
        let mut decoded = self.take()?;
        for EventBatch { model, batch, .. } in &mut decoded.events {
            if let Some(source) = self.sources.iter().find(|source| source.source.model == *model) {
                *batch = source.source.privacy.redact(batch)?;
            }
        }
        Ok(decoded)
    }

    /// What may be stored of a model's columns; `None` where the model is not decoded.
    pub fn privacy(&self, model: &str) -> Option<&Privacy> {
        let source = self.sources.iter().find(|source| *source.source.model == *model);
        source.map(|source| &source.source.privacy)
    }

    fn decode(&mut self, partition: PartitionId, record: &Record, rows: Rows) -> Result<(), Outage> {
        let no_bytes = Bytes::new();
        let value = record.value.as_ref().unwrap_or(&no_bytes);
        let payload = match self.payload(record, value) {
            Ok(payload) => payload,
            Err(Stop::Outage(outage)) => return Err(outage),
            Err(Stop::Fault(fault)) => {
                self.decode_gathered();
                self.refuse(record, fault);
                return Ok(());
            }
        };
        // Partitions of a log number far fewer than i32 holds; Kafka's own are that type.
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let place =
            RecordPosition { partition, offset: record.offset, index: 0, append_time_ms: record.append_time_ms };
        // A handle of its own, because cells may borrow constants of a mapping while the decoder changes.
        let mapped = self.mapped.clone();
        let redacted = record.header(REDACTED_HEADER).is_some();
        let task = Task { place, rows, mapped: mapped.as_deref().unwrap_or_default(), redacted };
        match payload {
            Payload::Plain(format) => self.decode_plain(record, value, format, &task),
            Payload::FramedJson { start } => self.decode_plain(record, &value.slice(start..), Format::Json, &task),
            Payload::Avro { schema, start } => self.take_avro(record, schema, &value.slice(start..), &task),
        }
        Ok(())
    }

    fn decode_plain(&mut self, record: &Record, value: &Bytes, format: Format, task: &Task<'_>) {
        if format == Format::Arrow {
            return self.take_stream(record, value, task);
        }
        self.decode_gathered();
        let rejected_rows = match format {
            Format::Json => self.decode_rows(&mut Json::new(value), task),
            _ => self.decode_rows(&mut MessagePack::new(value), task),
        };
        for row in rejected_rows {
            self.quarantine(record, value, row, format);
        }
    }

    fn decode_rows<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, task: &Task<'a>) -> Vec<RejectedRow> {
        let mut row = RowInHand { envelope: Envelope::empty(), cells: recycle(std::mem::take(&mut self.cells)) };
        let rejected_rows = each_row(cursor, self.limits.max_events_per_record, |cursor, index| {
            let place = RecordPosition { index: task.place.index + index as i32, ..task.place };
            self.decode_row(cursor, &mut row, &Task { place, ..*task })
        });
        self.cells = recycle(row.cells);
        rejected_rows
    }

    /// Decodes one row: as an event v1, or, where it is none, by the first mapping that fits.
    fn decode_row<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, row: &mut RowInHand<'a>, task: &Task<'a>) -> Read<()> {
        let start = cursor.position();
        let index = match self.read_row(cursor, row, task.rows) {
            Ok(index) if task.mapped.is_empty() || is_complete(&row.envelope, task.rows) => index,
            outcome if task.mapped.is_empty() => outcome?,
            _ => {
                cursor.seek(start);
                self.read_mapped(cursor, row, task.mapped)?
            }
        };
        let end = cursor.position();
        let source = self.sources.get_mut(index).ok_or_else(|| unknown_model(start))?;
        let RowInHand { envelope, cells } = row;
        envelope.require_id(start)?;
        source.check_names(envelope, start)?;
        let time_ms = envelope.require_time(start)?;
        check_future(time_ms, &task.place, self.most_ahead_ms).map_err(|fault| fault.within("time"))?;
        self.latest_ms = self.latest_ms.max(Some(time_ms.min(task.place.append_time_ms)));
        let label = source.label(envelope.label)?;
        if task.rows == Rows::Labels {
            envelope.require(Field::Label, Reason::MissingLabel, start)?;
            self.directory.count(index, 1, LOG_WIDTH);
            let row = GoodRow { place: task.place, time_ms, envelope, cells: &[], label };
            source.label_builder(&mut self.full_labels).push(&row);
            return Ok(());
        }
        source.read_outputs(cursor, envelope, cells)?;
        if task.redacted {
            source.take_hashes(cells);
        }
        let version = envelope.require_version(start)?;
        self.directory.count(index, 1, LOG_WIDTH + source.width());
        if let Some(shared_builders) = self.events.get_mut(source.built_by) {
            let owner = source.owner(version, &task.place, shared_builders);
            shared_builders.push(owner, &GoodRow { place: task.place, time_ms, envelope, cells, label });
        }
        cursor.seek(end);
        Ok(())
    }

    /// Reads a row of the wire format, features included; returns the index of its source.
    fn read_row<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, row: &mut RowInHand<'a>, rows: Rows) -> Read<usize> {
        let Self { sources, directory, envelopes, limits, .. } = self;
        let RowInHand { envelope, cells } = row;
        *envelope = Envelope::empty();
        let start = cursor.position();
        let mut chosen = None;
        envelopes.read(cursor, envelope, |cursor, model| {
            let (Some(model), Rows::Events) = (model, rows) else {
                cursor.skip(limits.max_depth)?;
                return Ok(Taken::Later);
            };
            let (index, source) = directory.choose(model, sources, start)?;
            chosen = Some(index);
            clear(cells, source.width());
            source.read_features(cursor, cells)?;
            Ok(Taken::Now)
        })?;
        if let Some(index) = chosen {
            return Ok(index);
        }
        let (index, source) = directory.choose(envelope.require_model(start)?, sources, start)?;
        clear(cells, source.width());
        if rows == Rows::Events {
            let end = cursor.position();
            cursor.seek(envelope.require_features(start)?);
            source.read_features(cursor, cells)?;
            cursor.seek(end);
        }
        Ok(index)
    }

    /// Reads a row by the first mapping that fits. The fault is that of the last one.
    fn read_mapped<'a, C: Cursor<'a>>(
        &mut self,
        cursor: &mut C,
        row: &mut RowInHand<'a>,
        mapped: &'a [(usize, Mapping)],
    ) -> Read<usize> {
        let start = cursor.position();
        let mut outcome = Err(unknown_model(start));
        for (index, mapping) in mapped {
            let Some(source) = self.sources.get_mut(*index) else { continue };
            self.directory.meet(*index);
            cursor.seek(start);
            clear(&mut row.cells, source.width());
            outcome = mapping.read(cursor, source, &mut row.cells).map(|envelope| {
                row.envelope = envelope;
                *index
            });
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

/// The row that is being read.
struct RowInHand<'a> {
    envelope: Envelope<'a>,
    /// The columns of its model's schema, then the segments.
    cells: Vec<Cell<'a>>,
}

/// What is to be done with the rows of a record.
#[derive(Clone, Copy)]
struct Task<'a> {
    place: RecordPosition,
    rows: Rows,
    mapped: &'a [(usize, Mapping)],
    /// Whether hashed features come as their hashes already.
    redacted: bool,
}

/// Whether a row is an event v1 beyond doubt, although records of another shape are expected too.
fn is_complete(envelope: &Envelope<'_>, rows: Rows) -> bool {
    let substance = match rows {
        Rows::Events => Field::Features,
        Rows::Labels => Field::Label,
    };
    [Field::Id, Field::Time, substance].into_iter().all(|field| envelope.has(field))
}

fn clear(cells: &mut Vec<Cell<'_>>, width: usize) {
    cells.clear();
    cells.resize(width, Cell::Missing);
}

/// The same allocation for cells of another record: an empty vector collects in place.
fn recycle<'b>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'b>> {
    cells.clear();
    cells.into_iter().map(|_| Cell::Missing).collect()
}

#[cfg(test)]
mod tests;
