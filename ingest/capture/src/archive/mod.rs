//! The archive: every good row of `inferences` and `labels` as Parquet, addressed by the log's offsets.
//!
//! A file holds the rows of one topic, model and day, in log order. Files are made durable before the transaction that
//! commits their `archived` record, and their names carry the writer's nonce: what a killed writer left behind is named by
//! no record and is no one's. An epoch stays open until it holds enough rows or has lasted long enough by the log's own
//! append times, so its files are of a useful size; a crash reads its records again.
//!
//! The ranges of one epoch begin where those of the last one ended, though offsets have holes there: what the archive does
//! not have is told from what never was. The snapshot is where they ended.

pub mod compaction;
mod controls;
pub mod index;
pub mod parquet_file;
pub mod reader;
pub mod record;
mod spans;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use codec::columns::{self, EVENT_TIME};
use codec::decode::Decoder;
use controls::Controls;
use parquet_file::to_parquet;
use record::{Archived, ArchivedFile, ArchivedRange, OffsetSpan};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::control::Control;
use streams::log::{NewRecord, Offset, PartitionId, Record};
use streams::stage::{Epoch, EpochFile, Input, Seal, Share, Stage, StageError, StageSpec};
use streams::store::digest;
use streams::topics;

const DAY_MS: i64 = 86_400_000;

/// When an archiving epoch is long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollPolicy {
    /// Rows at which files are closed.
    pub rows: usize,
    /// Append time after which files are closed, or time by the process's own clock: append times stand still while a log's clock
    /// that was ahead is waited for.
    pub after: Duration,
}

/// The archive stage.
pub struct Archive {
    decoder: Decoder,
    roll: RollPolicy,
    /// Tells this writer's files from those of any other.
    nonce: String,
    rows: BTreeMap<FileKey, Vec<RecordBatch>>,
    held: usize,
    ranges: BTreeMap<(String, PartitionId), (Offset, Offset)>,
    /// Where the ranges of earlier epochs ended.
    ends: BTreeMap<(String, PartitionId), Offset>,
    controls: Controls,
    opened: Option<Opened>,
    latest_ms: i64,
}

/// When an epoch began: by the log, and by the process.
#[derive(Debug, Clone, Copy)]
struct Opened {
    append_ms: i64,
    at: Instant,
}

/// Topic, model and day of a file.
type FileKey = (String, Arc<str>, i64);

impl Archive {
    /// The stage's name and inputs.
    pub fn spec() -> StageSpec {
        StageSpec {
            name: "archive".to_owned(),
            inputs: vec![topics::INFERENCES.to_owned(), topics::LABELS.to_owned()],
            broadcasts: Vec::new(),
            share: Share::All,
        }
    }

    /// A stage that has read nothing; `nonce` must differ from that of any other writer.
    pub fn new(decoder: Decoder, roll: RollPolicy, nonce: String) -> Self {
        Self {
            decoder,
            roll,
            nonce,
            rows: BTreeMap::new(),
            held: 0,
            ranges: BTreeMap::new(),
            ends: BTreeMap::new(),
            controls: Controls::default(),
            opened: None,
            latest_ms: i64::MIN,
        }
    }

    fn absorb_records(&mut self, topic: &str, partition: PartitionId, records: &[Record]) -> Result<(), StageError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let place = (topic.to_owned(), partition);
        let from = self.ends.get(&place).copied().unwrap_or(first.offset);
        self.ranges.entry(place).or_insert((from, last.offset + 1)).1 = last.offset + 1;
        self.controls.take_in((topic, partition), records);
        self.opened.get_or_insert_with(|| Opened { append_ms: first.append_time_ms, at: Instant::now() });
        self.latest_ms = self.latest_ms.max(last.append_time_ms);
        for record in records.iter().filter(|record| Control::read(record).is_none()) {
            match topic {
                topics::LABELS => self.decoder.decode_labels(partition, record),
                _ => self.decoder.decode_events(partition, record),
            }
            .map_err(|outage| StageError::failed("decoding", outage))?;
        }
        // Bad rows are capture's to tell of; the archive holds good ones.
        let decoded = self.decoder.take_storable().map_err(|error| StageError::failed("decoding", error))?;
        for batch in decoded.events {
            self.keep(topic, &batch.model, &batch.batch)?;
        }
        for batch in decoded.labels {
            self.keep(topic, &batch.model, &batch.batch)?;
        }
        Ok(())
    }

    /// Adds rows to the files of their days.
    fn keep(&mut self, topic: &str, model: &Arc<str>, rows: &RecordBatch) -> Result<(), StageError> {
        self.held += rows.num_rows();
        for (day, rows) in by_day(rows)? {
            self.rows.entry((topic.to_owned(), Arc::clone(model), day)).or_default().push(rows);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let has_lasted = self.opened.is_some_and(|Opened { append_ms, at }| {
            let by_the_log = u64::try_from(self.latest_ms.saturating_sub(append_ms)).unwrap_or(0);
            Duration::from_millis(by_the_log).max(at.elapsed()) >= self.roll.after
        });
        self.held >= self.roll.rows || has_lasted
    }

    /// The ranges of the epoch that ends; the next ones begin there.
    fn take_ranges(&mut self) -> Vec<ArchivedRange> {
        let mut ranges = Vec::new();
        for ((topic, partition), (from, to)) in std::mem::take(&mut self.ranges) {
            self.ends.insert((topic.clone(), partition), to);
            ranges.push(ArchivedRange { topic, partition, from, to });
        }
        ranges
    }

    fn snapshot(&self) -> Result<Bytes, StageError> {
        let ends: Vec<_> = self.ends.iter().collect();
        let bytes = rmp_serde::to_vec(&ends).map_err(|error| StageError::failed("writing a snapshot", error))?;
        Ok(bytes.into())
    }

    fn file(&self, key: &FileKey, rows: &[RecordBatch]) -> Result<(EpochFile, ArchivedFile), StageError> {
        let (topic, model, day) = key;
        let rows = in_log_order(rows)?;
        let bytes = to_parquet(&rows.schema(), std::slice::from_ref(&rows))
            .map_err(|error| StageError::failed("writing an archive file", error))?;
        let digest = digest(&bytes);
        let name = digest.get(..16).unwrap_or(&digest);
        let path = format!("archive/{topic}/model={}/day={day}/{name}-{}.parquet", path_safe(model), self.nonce);
        let (min_time_ms, max_time_ms) = time_span(&rows);
        let archived = ArchivedFile {
            path: path.clone(),
            topic: topic.clone(),
            model: model.to_string(),
            day: *day,
            rows: rows.num_rows() as u64,
            bytes: bytes.len() as u64,
            digest,
            min_time_ms,
            max_time_ms,
            offsets: offset_spans(&rows)?,
        };
        Ok((EpochFile { path, bytes }, archived))
    }
}

impl Stage for Archive {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        let ends: Vec<((String, PartitionId), Offset)> = rmp_serde::from_slice(snapshot)
            .map_err(|error| StageError::failed("reading the archive's snapshot", error))?;
        self.ends = ends.into_iter().collect();
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic, partition, records, .. } => self.absorb_records(topic, partition, records),
            Input::Idle { .. } | Input::CaughtUp => Ok(()),
        }
    }

    fn seal(&mut self, reason: Seal) -> Result<Option<Epoch>, StageError> {
        if self.ranges.is_empty() {
            return Ok(Some(Epoch::default()));
        }
        if reason == Seal::Due && !self.is_full() {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.rows);
        let (mut files, mut archived) = (Vec::new(), Vec::new());
        for (key, rows) in &rows {
            let (file, of_file) = self.file(key, rows)?;
            files.push(file);
            archived.push(of_file);
        }
        let archived = Archived {
            ranges: self.take_ranges(),
            files: archived,
            replaced: Vec::new(),
            controls: Some(self.controls.take()),
            expired: Vec::new(),
        };
        self.held = 0;
        self.opened = None;
        let (records, snapshot) = (vec![record_of(&archived)?], Some(self.snapshot()?));
        Ok(Some(Epoch { files, records, snapshot, ..Epoch::default() }))
    }
}

/// The record that makes files part of the archive.
pub(crate) fn record_of(archived: &Archived) -> Result<NewRecord, StageError> {
    let value =
        serde_json::to_vec(archived).map_err(|error| StageError::failed("writing an archived record", error))?;
    let topic = topics::ARCHIVED.to_owned();
    Ok(NewRecord { topic, partition: 0, key: None, value: Some(value.into()), headers: Vec::new(), appended_ms: None })
}

/// The rows of each day of event time.
fn by_day(rows: &RecordBatch) -> Result<Vec<(i64, RecordBatch)>, StageError> {
    let mut days: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    let times = rows.column_by_name(EVENT_TIME).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let Some(times) = times else { return Err(StageError::failed("archiving", "a batch lacks its event time")) };
    for (row, time_ms) in (0u32..).zip(times.values()) {
        days.entry(time_ms.div_euclid(DAY_MS)).or_default().push(row);
    }
    if let (1, Some(day)) = (days.len(), days.keys().next()) {
        return Ok(vec![(*day, rows.clone())]);
    }
    let of_day = |(day, places): (i64, Vec<u32>)| Ok((day, take_record_batch(rows, &UInt32Array::from(places))?));
    let split: Result<Vec<_>, arrow::error::ArrowError> = days.into_iter().map(of_day).collect();
    split.map_err(|error| StageError::failed("archiving", error))
}

/// Where rows in log order lie in each partition.
fn offset_spans(rows: &RecordBatch) -> Result<Vec<OffsetSpan>, StageError> {
    let partitions = rows.column_by_name(columns::PARTITION).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = rows.column_by_name(columns::OFFSET).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let Some((partitions, offsets)) = partitions.zip(offsets) else {
        return Err(StageError::failed("archiving", "a batch lacks its place in the log"));
    };
    let mut spans: Vec<OffsetSpan> = Vec::new();
    for (partition, offset) in partitions.values().iter().zip(offsets.values()) {
        let partition = PartitionId::try_from(*partition).unwrap_or_default();
        match spans.last_mut().filter(|span| span.partition == partition) {
            Some(span) => span.to = offset + 1,
            None => spans.push(OffsetSpan { partition, from: *offset, to: offset + 1 }),
        }
    }
    Ok(spans)
}

/// One batch, sorted by partition, offset and place within the record.
pub(crate) fn in_log_order(rows: &[RecordBatch]) -> Result<RecordBatch, StageError> {
    let failed = |error| StageError::failed("sorting rows", error);
    let Some(first) = rows.first() else { return Err(StageError::failed("sorting rows", "there are none")) };
    let rows = concat_batches(&first.schema(), rows).map_err(failed)?;
    let int32 = |name| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = rows.column_by_name(columns::OFFSET).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(partitions), Some(offsets), Some(indices)) = (int32(columns::PARTITION), offsets, int32(columns::INDEX))
    else {
        return Err(StageError::failed("sorting rows", "a batch lacks its place in the log"));
    };
    let mut order: Vec<u32> = (0u32..).take(rows.num_rows()).collect();
    order.sort_unstable_by_key(|row| {
        let row = *row as usize;
        (partitions.value(row), offsets.value(row), indices.value(row))
    });
    take_record_batch(&rows, &UInt32Array::from(order)).map_err(failed)
}

fn time_span(rows: &RecordBatch) -> (i64, i64) {
    let times = rows.column_by_name(EVENT_TIME).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let Some(times) = times else { return (i64::MIN, i64::MAX) };
    (arrow::compute::min(times).unwrap_or(i64::MIN), arrow::compute::max(times).unwrap_or(i64::MAX))
}

/// The name with everything but letters, digits, `.`, `-` and `_` written as `%XX`.
fn path_safe(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => safe.push(byte as char),
            other => safe.push_str(&format!("%{other:02X}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
