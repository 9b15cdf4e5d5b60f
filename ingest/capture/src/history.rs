//! Rows of the past with their labels: from the archive as far as it reaches, and from the log beyond.
//!
//! What is read is bounded by a cut, so the same request reads the same rows whenever it is made and wherever the archive
//! ends by then: a training need not wait for a file to be closed. The first inference of an id and the last label on the
//! log count, as in the label join; a label that came after its horizon does not.
//!
//! Decoded rows are kept between calls as long as they may be asked for again, so following a trial pane by pane reads
//! each record once.

use crate::archive::in_log_order;
use crate::archive::index::{ArchiveIndex, IndexError};
use crate::archive::parquet_file::from_parquet;
use crate::watched::WatchedModel;
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use codec::columns::{self, EVENT_ID, EVENT_TIME, LABEL, OFFSET, PARTITION};
use codec::decode::Decoder;
use detectors::verdict::Cut;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use streams::control::Control;
use streams::log::{Log, Offset, PartitionId, ReadBudget};
use streams::stage::StageError;
use streams::store::Store;
use streams::topics;

/// Reads labelled rows of the past.
pub struct History {
    log: Arc<dyn Log>,
    store: Arc<Store>,
    models: BTreeMap<Arc<str>, Arc<WatchedModel>>,
    decoder: Decoder,
    archive: ArchiveIndex,
    kept: HashMap<String, Kept>,
}

/// Decoded rows of one model that may be asked for again.
#[derive(Default)]
struct Kept {
    /// Batches whose rows are all older than this are not kept.
    from_ms: i64,
    read_to: HashMap<(&'static str, PartitionId), Offset>,
    events: Vec<RecordBatch>,
    labels: Vec<RecordBatch>,
}

impl History {
    /// A reader of the rows of these models.
    pub fn new(log: Arc<dyn Log>, store: Arc<Store>, models: Vec<Arc<WatchedModel>>, decoder: Decoder) -> Self {
        let models = models.into_iter().map(|model| (Arc::clone(&model.name), model)).collect();
        Self { log, store, models, decoder, archive: ArchiveIndex::default(), kept: HashMap::new() }
    }

    /// The labelled rows of a model with event time in `span_ms`, as far as `until`, in log order: the columns of
    /// [`columns::event_schema`] with `label` from the join.
    ///
    /// # Errors
    /// When the log or the archive fails, or a record between them has passed its retention.
    pub fn labelled_rows(&mut self, model: &str, until: &Cut, span_ms: Range<i64>) -> Result<RecordBatch, StageError> {
        let rows = self.rows(model, until, span_ms)?;
        let labels =
            rows.column_by_name(LABEL).ok_or_else(|| StageError::failed("reading history", "no label column"))?;
        let labelled = arrow::compute::is_not_null(labels).map_err(failed)?;
        filter_record_batch(&rows, &labelled).map_err(failed)
    }

    /// As [`History::labelled_rows`], with the rows that have no label too.
    ///
    /// # Errors
    /// As there.
    pub fn rows(&mut self, model: &str, until: &Cut, span_ms: Range<i64>) -> Result<RecordBatch, StageError> {
        let watched = self.models.get(model).cloned();
        let watched =
            watched.ok_or_else(|| StageError::failed("reading history", format!("`{model}` is not watched")))?;
        let horizon_ms = watched.labels.as_ref().map(|labels| labels.horizon_ms);
        // An id within the span may be a duplicate of one before it.
        let from_ms = span_ms.start.saturating_sub(horizon_ms.unwrap_or(0));
        let kept = self.kept.get(model).is_some_and(|kept| kept.from_ms <= from_ms);
        if !kept {
            self.start_anew(&watched, from_ms)?;
        }
        self.read_log(&watched)?;
        let Some(kept) = self.kept.get_mut(model) else {
            return Err(StageError::failed("reading history", "nothing kept"));
        };
        kept.forget_before(from_ms)?;
        let segments = watched.segments_from_events();
        let events =
            before(&kept.events, until, topics::INFERENCES, &columns::event_schema(&watched.schema, &segments))?;
        let labels = before(&kept.labels, until, topics::LABELS, &columns::label_schema(&watched.schema))?;
        join(&events, &labels, &Reach { span_ms, from_ms, horizon_ms: horizon_ms.unwrap_or(i64::MAX) })
    }

    /// Reads the archive's rows from `from_ms` on; the log follows where the archive ends.
    fn start_anew(&mut self, watched: &WatchedModel, from_ms: i64) -> Result<(), StageError> {
        self.archive.refresh(self.log.as_ref()).map_err(index_failed)?;
        let mut kept = Kept { from_ms, ..Kept::default() };
        for topic in [topics::INFERENCES, topics::LABELS] {
            for file in self.archive.files(topic, &watched.name, from_ms, i64::MAX) {
                let bytes =
                    self.store.read(&file.path).map_err(|error| StageError::failed("reading the archive", error))?;
                let rows = from_parquet(bytes);
                let rows = rows.map_err(|error| StageError::failed(format!("reading {}", file.path), error))?;
                if topic == topics::LABELS { kept.labels.push(rows) } else { kept.events.push(rows) }
            }
            for partition in 0..self.partitions(topic)? {
                kept.read_to.insert((topic, partition), self.archive.end(topic, partition));
            }
        }
        self.kept.insert(watched.name.to_string(), kept);
        Ok(())
    }

    /// Decodes what the log has gained.
    fn read_log(&mut self, watched: &WatchedModel) -> Result<(), StageError> {
        for topic in [topics::INFERENCES, topics::LABELS] {
            for partition in 0..self.partitions(topic)? {
                self.read_partition(watched, topic, partition)?;
            }
        }
        Ok(())
    }

    fn read_partition(
        &mut self,
        watched: &WatchedModel,
        topic: &'static str,
        partition: PartitionId,
    ) -> Result<(), StageError> {
        let budget = ReadBudget { records: 4_096, bytes: 32 << 20 };
        loop {
            let Some(kept) = self.kept.get_mut(watched.name.as_ref()) else { return Ok(()) };
            let from = kept.read_to.entry((topic, partition)).or_default();
            let records = self
                .log
                .read(topic, partition, *from, budget)
                .map_err(|error| StageError::failed("reading history", error))?;
            let Some(last) = records.last() else { return Ok(()) };
            *from = last.offset + 1;
            for record in records.iter().filter(|record| Control::read(record).is_none()) {
                match topic {
                    topics::LABELS => self.decoder.decode_labels(partition, record),
                    _ => self.decoder.decode_events(partition, record),
                }
                .map_err(|outage| StageError::failed("decoding", outage))?;
            }
            let decoded = self.decoder.take_storable().map_err(|error| StageError::failed("decoding", error))?;
            let events = decoded.events.into_iter().filter(|batch| batch.model == watched.name);
            kept.events.extend(events.map(|batch| batch.batch));
            let labels = decoded.labels.into_iter().filter(|batch| batch.model == watched.name);
            kept.labels.extend(labels.map(|batch| batch.batch));
        }
    }

    fn partitions(&self, topic: &str) -> Result<u32, StageError> {
        self.log.partitions(topic).map_err(|error| StageError::failed("reading history", error))
    }
}

impl Kept {
    /// Lets go of batches whose rows are all older than `from_ms`.
    fn forget_before(&mut self, from_ms: i64) -> Result<(), StageError> {
        self.from_ms = from_ms;
        for batches in [&mut self.events, &mut self.labels] {
            batches.retain(|batch| {
                let times = batch.column_by_name(EVENT_TIME).and_then(|column| column.as_primitive_opt::<Int64Type>());
                times.and_then(arrow::compute::max).is_none_or(|latest| latest >= from_ms)
            });
        }
        Ok(())
    }
}

/// The rows of the batches that lie before the cut, in log order.
fn before(batches: &[RecordBatch], until: &Cut, topic: &str, schema: &SchemaRef) -> Result<RecordBatch, StageError> {
    let ends: HashMap<i32, i64> = until
        .positions
        .iter()
        .filter(|position| position.topic == topic)
        .map(|position| (i32::try_from(position.partition).unwrap_or(i32::MAX), position.offset))
        .collect();
    if batches.is_empty() {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let rows = concat_batches(schema, batches).map_err(failed)?;
    let partitions = column(&rows, PARTITION)?.as_primitive::<Int32Type>().clone();
    let offsets = column(&rows, OFFSET)?.as_primitive::<Int64Type>().clone();
    let inside = partitions
        .values()
        .iter()
        .zip(offsets.values())
        .map(|(partition, offset)| Some(ends.get(partition).is_some_and(|end| offset < end)));
    let rows = filter_record_batch(&rows, &inside.collect::<BooleanArray>()).map_err(failed)?;
    in_log_order(&[rows])
}

/// Which rows a join looks at.
struct Reach {
    /// Event times of the rows asked for.
    span_ms: Range<i64>,
    /// Rows before this are passed over.
    from_ms: i64,
    /// How long after its prediction a label counts.
    horizon_ms: i64,
}

/// The first event of each id within the span, with the last label that came within the horizon.
///
/// Rows more than a horizon before the span are passed over even where they are at hand: which ones are depends on the
/// files that hold them.
fn join(events: &RecordBatch, labels: &RecordBatch, reach: &Reach) -> Result<RecordBatch, StageError> {
    let Reach { span_ms, from_ms, horizon_ms } = reach;
    let label_ids = column(labels, EVENT_ID)?.as_string::<i32>();
    let label_times = column(labels, EVENT_TIME)?.as_primitive::<Int64Type>();
    let mut by_id: HashMap<&str, Vec<(u32, i64)>> = HashMap::new();
    for (row, (id, time_ms)) in (0u32..).zip(label_ids.iter().flatten().zip(label_times.values())) {
        if time_ms >= from_ms {
            by_id.entry(id).or_default().push((row, *time_ms));
        }
    }
    let ids = column(events, EVENT_ID)?.as_string::<i32>();
    let times = column(events, EVENT_TIME)?.as_primitive::<Int64Type>();
    let mut seen = HashSet::new();
    let (mut rows, mut matched) = (Vec::new(), Vec::new());
    for (row, (id, time_ms)) in (0u32..).zip(ids.iter().flatten().zip(times.values())) {
        if time_ms < from_ms || !seen.insert(id) || !span_ms.contains(time_ms) {
            continue;
        }
        let in_time = |(_, label_ms): &&(u32, i64)| *label_ms <= time_ms.saturating_add(*horizon_ms);
        rows.push(row);
        matched.push(by_id.get(id).and_then(|places| places.iter().rev().find(in_time)).map(|(row, _)| *row));
    }
    let joined = take(column(labels, LABEL)?, &UInt32Array::from(matched), None).map_err(failed)?;
    let events = take_record_batch(events, &UInt32Array::from(rows)).map_err(failed)?;
    with_label(&events, &joined)
}

/// The events with the joined label, or their own where there is none.
fn with_label(events: &RecordBatch, joined: &ArrayRef) -> Result<RecordBatch, StageError> {
    let own = column(events, LABEL)?;
    let has_joined = arrow::compute::is_not_null(joined).map_err(failed)?;
    let label = arrow::compute::kernels::zip::zip(&has_joined, joined, own).map_err(failed)?;
    let columns = events
        .schema_ref()
        .fields()
        .iter()
        .zip(events.columns())
        .map(|(field, column)| if field.name() == LABEL { Arc::clone(&label) } else { Arc::clone(column) });
    RecordBatch::try_new(events.schema(), columns.collect()).map_err(failed)
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, StageError> {
    rows.column_by_name(name).ok_or_else(|| StageError::failed("reading history", format!("no column {name}")))
}

fn failed(error: arrow::error::ArrowError) -> StageError {
    StageError::failed("reading history", error)
}

fn index_failed(error: IndexError) -> StageError {
    StageError::failed("reading the archive's index", error)
}
