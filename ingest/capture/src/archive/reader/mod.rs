//! Rows of an input partition by offset range, in log order, each once, a part at a time.
//!
//! For stages that rebuild their state where the topic has forgotten what they absorbed. Which files hold the rows is told by
//! committed `archived` records alone. Files overlap in their offsets (a record holds rows of several models and days, and
//! compaction joins files), so they are merged by offset; a row that two of them hold, because a range was archived twice,
//! is given once.
//!
//! Invariants: a part ends between two offsets, never within a record; it ends with a control record where there is one, so
//! that what a source said is told between the same rows as on the log. Offsets that the archive does not have in full are an
//! error before the first row is given.
//!
//! Memory holds a batch of each file whose rows lie around the place that is read, one file a model and day of event time as
//! a rule; of a store that is no local directory also the bytes of these files. A compaction that deletes a file in the
//! meantime makes the next read fail, and the stage's next run looks the files up anew.

use super::index::ArchiveIndex;
use super::parquet_file::rows_between;
use super::record::ArchivedFile;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use codec::columns;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::error::Error;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use streams::control::Control;
use streams::log::{Log, Offset, PartitionId};
use streams::stage::{Gone, StageError};
use streams::store::Store;

/// Rows of a batch.
const BATCH_ROWS: usize = 4_096;

/// Reads what the archive has of input partitions.
pub struct ArchiveReader {
    log: Arc<dyn Log>,
    store: Arc<Store>,
    index: ArchiveIndex,
    batch_rows: usize,
    /// What is being read.
    merges: BTreeMap<(String, PartitionId), Merge>,
}

/// Consecutive offsets of a partition, and all that the archive has of them.
#[derive(Debug, Default)]
pub struct Part {
    /// Rows by model; those of one model may come in several batches, each in log order.
    pub rows: Vec<(Arc<str>, RecordBatch)>,
    /// The control record at the last offset, if it is one.
    pub control: Option<(Offset, Control)>,
    /// Where the next part begins.
    pub until: Offset,
}

/// The files of a range of offsets, read side by side.
struct Merge {
    partition: PartitionId,
    /// What is still to be read.
    offsets: Range<Offset>,
    batch_rows: usize,
    /// Files whose rows are still to come, by their first offset.
    waiting: VecDeque<ArchivedFile>,
    open: Vec<OpenFile>,
    controls: VecDeque<(Offset, Control)>,
}

/// A file that is being read.
struct OpenFile {
    path: String,
    model: Arc<str>,
    batches: ParquetRecordBatchReader,
    /// Rows that were read and not given yet.
    held: VecDeque<RecordBatch>,
    is_over: bool,
}

impl ArchiveReader {
    /// A reader of the archive that this log tells of.
    pub fn new(log: Arc<dyn Log>, store: Arc<Store>) -> Self {
        Self { log, store, index: ArchiveIndex::default(), batch_rows: BATCH_ROWS, merges: BTreeMap::new() }
    }

    #[cfg(test)]
    fn with_batches_of(self, batch_rows: usize) -> Self {
        Self { batch_rows, ..self }
    }

    /// The first part of these offsets. Asked for the rest, it reads on where it was.
    ///
    /// # Errors
    /// When the archive does not have all of them, or cannot be read.
    pub fn read(&mut self, gone: &Gone<'_>) -> Result<Part, StageError> {
        let place = (gone.topic.to_owned(), gone.partition);
        let mut merge = match self.merges.remove(&place).filter(|merge| merge.offsets == gone.offsets) {
            Some(merge) => merge,
            None => self.begin(gone)?,
        };
        let part = merge.next_part(&self.store)?;
        if !merge.offsets.is_empty() {
            self.merges.insert(place, merge);
        }
        Ok(part)
    }

    fn begin(&mut self, gone: &Gone<'_>) -> Result<Merge, StageError> {
        let Gone { topic, partition, offsets } = gone;
        let refreshed = self.index.refresh(self.log.as_ref());
        refreshed.map_err(|error| StageError::failed("reading the archive's index", error))?;
        let place = (*topic, *partition);
        if let Some(missing) = self.index.missing(place, offsets) {
            return Err(StageError::NotArchived {
                topic: (*topic).to_owned(),
                partition: *partition,
                from: missing.start,
                to: missing.end,
                first: offsets.end,
            });
        }
        tracing::info!(
            topic,
            partition,
            from = offsets.start,
            to = offsets.end,
            "what the topic has forgotten is read from the archive"
        );
        Ok(Merge {
            partition: *partition,
            offsets: offsets.clone(),
            batch_rows: self.batch_rows,
            waiting: self.index.files_between(place, offsets).into_iter().cloned().collect(),
            open: Vec::new(),
            controls: self.index.controls_between(place, offsets).into(),
        })
    }
}

impl Merge {
    fn next_part(&mut self, store: &Store) -> Result<Part, StageError> {
        let from = self.offsets.start;
        self.open_files(store)?;
        let mut until = self.offsets.end;
        if let Some((offset, _)) = self.controls.front() {
            until = until.min(offset + 1);
        }
        for file in &mut self.open {
            // What is held of its last record may go on in the next batch.
            until = file.read_beyond(from)?.map_or(until, |last| until.min(last));
        }
        if let Some(next) = self.waiting.front().and_then(|file| file.span(self.partition)) {
            until = until.min(next.from);
        }
        let mut part = Part { until, ..Part::default() };
        for file in &mut self.open {
            file.give_before(until, &mut part.rows)?;
        }
        without_repetitions(&mut part.rows)?;
        part.control = self.controls.pop_front_if(|(offset, _)| *offset < until);
        self.open.retain(|file| !file.is_over || !file.held.is_empty());
        self.offsets.start = until;
        Ok(part)
    }

    /// Opens the files that may hold rows of the next offset.
    fn open_files(&mut self, store: &Store) -> Result<(), StageError> {
        let (partition, from) = (self.partition, self.offsets.start);
        let is_next = |file: &mut ArchivedFile| file.span(partition).is_none_or(|span| span.from <= from);
        while let Some(file) = self.waiting.pop_front_if(is_next) {
            let batches = rows_of(store, &file.path, ((partition, self.offsets.clone()), self.batch_rows))
                .map_err(|error| unreadable(&file.path, error))?;
            let (path, model) = (file.path, file.model.into());
            self.open.push(OpenFile { path, model, batches, held: VecDeque::new(), is_over: false });
        }
        Ok(())
    }
}

impl OpenFile {
    /// Reads until rows beyond this offset are held; the last one's offset, or `None` when there are no more to come.
    fn read_beyond(&mut self, offset: Offset) -> Result<Option<Offset>, StageError> {
        while !self.is_over {
            let last = self.held.back().map(offsets_of).transpose()?;
            let last = last.and_then(|offsets| offsets.last().copied());
            if last.is_some_and(|last| last > offset) {
                return Ok(last);
            }
            match self.batches.next() {
                Some(batch) => self.held.push_back(batch.map_err(|error| unreadable(&self.path, error))?),
                None => self.is_over = true,
            }
        }
        Ok(None)
    }

    /// Gives the rows before this offset.
    fn give_before(&mut self, until: Offset, rows: &mut Vec<(Arc<str>, RecordBatch)>) -> Result<(), StageError> {
        while let Some(batch) = self.held.pop_front() {
            let given = offsets_of(&batch)?.partition_point(|offset| *offset < until);
            if given > 0 {
                rows.push((Arc::clone(&self.model), batch.slice(0, given)));
            }
            if given < batch.num_rows() {
                self.held.push_front(batch.slice(given, batch.num_rows() - given));
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The rows of these offsets of a partition in a file.
fn rows_of(
    store: &Store,
    path: &str,
    (place, batch_rows): ((PartitionId, Range<Offset>), usize),
) -> Result<ParquetRecordBatchReader, Box<dyn Error + Send + Sync>> {
    Ok(match store.local_root() {
        Some(root) => rows_between(File::open(root.join(path))?, place, batch_rows)?,
        None => rows_between(store.read(path)?, place, batch_rows)?,
    })
}

/// Keeps each row where it comes first.
fn without_repetitions(rows: &mut [(Arc<str>, RecordBatch)]) -> Result<(), StageError> {
    let mut seen = HashSet::new();
    for (_, batch) in rows {
        let indices = batch.column_by_name(columns::INDEX).and_then(|column| column.as_primitive_opt::<Int32Type>());
        let indices = indices.ok_or_else(no_place)?;
        let places = offsets_of(batch)?.iter().zip(indices.values());
        let is_new: Vec<bool> = places.map(|(offset, index)| seen.insert((*offset, *index))).collect();
        if !is_new.iter().all(|is_new| *is_new) {
            let filtered = filter_record_batch(batch, &BooleanArray::from(is_new));
            *batch = filtered.map_err(|error| StageError::failed("reading the archive", error))?;
        }
    }
    Ok(())
}

fn offsets_of(batch: &RecordBatch) -> Result<&[Offset], StageError> {
    let offsets = batch.column_by_name(columns::OFFSET).and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(offsets.ok_or_else(no_place)?.values())
}

fn no_place() -> StageError {
    StageError::failed("reading the archive", "rows of a file have no place in the log")
}

fn unreadable(path: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> StageError {
    StageError::failed(format!("reading {path} of the archive"), error)
}

#[cfg(test)]
pub(crate) mod tests;
