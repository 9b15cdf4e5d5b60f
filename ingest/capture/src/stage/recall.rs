//! What a restart absorbs again, and that what the topics have forgotten of it comes back from the archive.
//!
//! A restart replays what a label may still reach. Where retention has deleted that part of a topic, its rows
//! come from the archive, in log order and with the control records between them, and go the way of decoded ones; so they
//! leave the same state. What the archive does not hold changes none:
//! - bad rows and records that are empty move no watermark and join nothing, and were counted when they were read first;
//! - columns that the joins do not keep are profiled with the epoch that read them, and a replayed row is profiled nowhere;
//! - rows of a model that was not configured when they were archived were dead letters then.
//!
//! Two things would change it. A segment may follow from a column that is `profile_only`, of which the archive holds no
//! values: that is refused. And a column that the joins keep may have another type by now, because the model's task was
//! changed: rows of before are left out then, of that model alone, and it is told that their labels find no prediction.
//!
//! Deliberately absent: what was not read before it was deleted. That is lost, and the runner says so.

use super::input::{InputSnapshot, Source};
use super::model::CaptureModel;
use super::seen::SeenIds;
use super::{Capture, CaptureError};
use crate::archive::reader::Part;
use crate::segments::Segmenter;
use crate::watched::WatchedModel;
use arrow::array::{AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use codec::columns::{VERSION, event_schema, label_schema};
use codec::decode::{EventBatch, LabelBatch, Policy, Privacy};
use std::collections::BTreeMap;
use std::sync::Arc;
use streams::error_chain::sentence;
use streams::log::{Offset, PartitionId};
use streams::stage::{Delivery, Gone, ResumePoint, StageError};

impl Capture {
    /// The event time before which no event can get a label any more.
    fn needed_ms(&self, partition: PartitionId) -> i64 {
        let horizons = self.models.values().filter_map(|model| model.watched.labels.as_ref().map(|l| l.horizon_ms));
        let Some(horizon_ms) = horizons.max() else { return i64::MAX };
        let (inference_ms, label_ms) =
            (self.watermark(Source::Inferences, partition), self.watermark(Source::Labels, partition));
        // Where only one of the two has begun, all that it brought may still meet the other.
        inference_ms.zip(label_ms).map_or(i64::MIN, |(a, b)| a.min(b).saturating_sub(horizon_ms))
    }

    /// What a restart needs, and from where on it absorbs again.
    pub(super) fn snapshot(&mut self) -> Result<(Bytes, Vec<ResumePoint>), StageError> {
        let needed: BTreeMap<_, _> =
            self.inputs.keys().map(|(_, partition)| (*partition, self.needed_ms(*partition))).collect();
        let mut snapshots: Vec<InputSnapshot> = Vec::new();
        for ((source, partition), input) in &mut self.inputs {
            let needed_ms = needed.get(partition).copied().unwrap_or(i64::MIN);
            let seen = self.seen.get(partition).filter(|_| *source == Source::Inferences);
            snapshots.push(input.snapshot((needed_ms, seen.and_then(SeenIds::needed_from))));
        }
        // Where nothing was read yet there is nothing to read again, wherever the topic begins by then.
        let read = snapshots.iter().filter(|input| input.sealed > 0);
        let resume = read.map(|input| ResumePoint {
            topic: input.source.topic().to_owned(),
            partition: input.partition,
            offset: input.resume.offset,
        });
        let resume = resume.chain([crate::references::resume_point()]).collect();
        let bytes = rmp_serde::to_vec(&snapshots).map_err(|error| StageError::failed("writing a snapshot", error))?;
        Ok((bytes.into(), resume))
    }

    /// Absorbs the next part of what is gone; says up to where. `None` where there is no archive.
    pub(super) fn recall_part(&mut self, gone: &Gone<'_>) -> Result<Option<Offset>, StageError> {
        if self.models.values().all(|model| model.watched.labels.is_none()) {
            // Only ids are known from there, and retention is longer than anyone waits to send them again.
            let (source, partition) = (Source::of(gone.topic), gone.partition);
            self.input(source, partition).read_through(gone.offsets.start, gone.offsets.end - 1);
            self.mute(source, partition);
            return Ok(Some(gone.offsets.end));
        }
        if self.archive.is_none() {
            return Ok(None);
        }
        self.models.values().try_for_each(|model| check_segments(model, self.decoder.privacy(&model.watched.name)))?;
        let Some(archive) = &mut self.archive else { return Ok(None) };
        let Part { rows, control, until } = archive.read(gone)?;
        let (source, partition) = (Source::of(gone.topic), gone.partition);
        match source {
            Source::Inferences => {
                let events = self.archived_events(rows)?;
                self.predictions(partition, &events, Delivery::Replayed)?;
            }
            Source::Labels => {
                let labels = self.archived_labels(rows)?;
                self.labels(partition, &labels)?;
            }
        }
        // Before the control record, which may be the first that is there, but not the first that is read.
        self.input(source, partition).read_through(gone.offsets.start, until - 1);
        if let Some((offset, control)) = control {
            self.control(source, partition, offset, Ok(control));
        }
        self.pass(partition)?;
        self.mute(source, partition);
        Ok(Some(until))
    }

    /// Forgets what an input has counted, and what became of labels: it was written before a restart.
    pub(super) fn mute(&mut self, source: Source, partition: PartitionId) {
        self.input(source, partition).forget_epoch();
        self.input(Source::Labels, partition).forget_epoch();
        self.models.values_mut().for_each(CaptureModel::discard);
        self.dead_letters.clear();
    }

    /// The archived rows of the models that are watched, as the decoder would give them.
    fn archived_events(&self, rows: Vec<(Arc<str>, RecordBatch)>) -> Result<Vec<EventBatch>, StageError> {
        let mut events = Vec::new();
        for (name, batch) in rows {
            let Some(model) = self.models.get(&name) else { continue };
            let watched = &model.watched;
            let schema = event_schema(&watched.schema, &watched.segments_from_events());
            let fit = known(model, &batch, &schema).and_then(|batch| fitted(&name, &batch, &schema));
            let Some(batch) = unless_changed(&name, fit) else { continue };
            for (version, batch) in by_version(&batch)? {
                events.push(EventBatch { model: Arc::clone(&name), version, batch });
            }
        }
        Ok(events)
    }

    fn archived_labels(&self, rows: Vec<(Arc<str>, RecordBatch)>) -> Result<Vec<LabelBatch>, StageError> {
        let mut labels = Vec::new();
        for (name, batch) in rows {
            let Some(model) = self.models.get(&name) else { continue };
            let fit = fitted(&name, &batch, &label_schema(&model.watched.schema));
            labels.extend(unless_changed(&name, fit).map(|batch| LabelBatch { model: name, batch }));
        }
        Ok(labels)
    }
}

/// The rows without columns that are of another type now and that no join needs: they are null then.
fn known(model: &CaptureModel, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StageError> {
    let is_same =
        |name: &str, kind: &DataType| schema.field_with_name(name).is_ok_and(|field| field.data_type() == kind);
    let fields = rows.schema_ref().fields().iter().enumerate();
    let stays = fields.filter(|(_, field)| model.needs(field.name()) || is_same(field.name(), field.data_type()));
    let stays: Vec<_> = stays.map(|(place, _)| place).collect();
    rows.project(&stays).map_err(|error| StageError::failed("reading the archive", error))
}

/// The rows, unless they do not fit what the model is now: that is told, and costs the model these rows.
fn unless_changed(model: &str, rows: Result<RecordBatch, StageError>) -> Option<RecordBatch> {
    rows.inspect_err(|error| {
        let error = sentence(error);
        tracing::error!(
            model,
            error,
            "archived rows that wait for labels are left out: their labels find no prediction"
        );
    })
    .ok()
}

/// The column of which the archive holds no values and that a segment of the model follows from, where its predictions wait
/// for labels: these cannot be had from the archive.
///
/// # Errors
/// When a segment expression cannot be used.
pub fn unarchived_column(watched: &WatchedModel, privacy: &Privacy) -> Result<Option<String>, CaptureError> {
    let events = event_schema(&watched.schema, &watched.segments_from_events());
    let segmenter = Segmenter::new(&events, &watched.segments)?;
    Ok(unarchived(watched, &segmenter, privacy).map(str::to_owned))
}

fn unarchived<'a>(watched: &'a WatchedModel, segmenter: &Segmenter, privacy: &Privacy) -> Option<&'a str> {
    watched.labels.as_ref()?;
    let mut columns = watched.schema.columns.iter().map(|column| column.name.as_str());
    columns.find(|name| privacy.of(name) == Policy::ProfileOnly && segmenter.reads(name))
}

fn check_segments(model: &CaptureModel, privacy: Option<&Privacy>) -> Result<(), StageError> {
    let unarchived = privacy.and_then(|privacy| unarchived(&model.watched, &model.segmenter, privacy));
    match unarchived {
        None => Ok(()),
        Some(column) => Err(StageError::failed(
            format!("rebuilding what waits for labels of {} from the archive", model.watched.name),
            format!(
                "a segment follows from `{column}`, which is profile_only and in no archive: keep the topics' records longer than labels are waited for"
            ),
        )),
    }
}

/// The rows with these columns: one that they lack is null, as a feature that an event lacks.
pub(super) fn fitted(model: &str, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StageError> {
    let failed = |reason: String| StageError::failed(format!("reading rows of {model} from the archive"), reason);
    let mut columns = Vec::new();
    for field in schema.fields() {
        columns.push(match rows.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            Some(column) => {
                let (name, then, now) = (field.name(), column.data_type(), field.data_type());
                return Err(failed(format!(
                    "`{name}` is {now} in the configuration and was {then} when they were archived: give the new kind another name"
                )));
            }
            None => new_null_array(field.data_type(), rows.num_rows()),
        });
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| failed(error.to_string()))
}

/// The rows of each version.
fn by_version(rows: &RecordBatch) -> Result<Vec<(Arc<str>, RecordBatch)>, StageError> {
    let versions = rows.column_by_name(VERSION).and_then(|column| column.as_string_opt::<i32>());
    let versions = versions.ok_or_else(|| StageError::failed("reading the archive", "rows have no version"))?;
    let mut places: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (row, version) in (0u32..).zip(versions.iter().map(Option::unwrap_or_default)) {
        places.entry(version).or_default().push(row);
    }
    let of_version = |(version, places): (&str, Vec<u32>)| {
        let rows = if places.len() == rows.num_rows() {
            rows.clone()
        } else {
            take_record_batch(rows, &UInt32Array::from(places))?
        };
        Ok((Arc::from(version), rows))
    };
    let split: Result<Vec<_>, arrow::error::ArrowError> = places.into_iter().map(of_version).collect();
    split.map_err(|error| StageError::failed("reading the archive", error))
}
