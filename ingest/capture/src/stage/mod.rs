//! Capture: from the wire to partial profiles, one epoch at a time.
//!
//! Reads the same partitions of `inferences` and `labels`, and `models` as a broadcast. Decodes rows, decides what is late
//! or a duplicate, joins labels, and sends the monitor the ledger of what an epoch read and the partial profiles of what was
//! in it. It keeps no windows: rows are decoded as they come, judged once there are enough of them (see `pending_rows`), and
//! counted once there are enough of their version (see `model`), at the latest with the end of the epoch.
//!
//! Lateness, duplicates and the age of labels follow from each partition's own records, so the sums over all epochs are the
//! same wherever epochs end and in whatever order partitions are read. State is rebuilt by replaying it from the
//! oldest checkpoint whose events a label may still reach or whose ids are known still, or from the archive what the topics
//! have forgotten of that.

mod input;
mod input_query;
mod labels;
mod misplaced;
mod model;
mod pending_rows;
mod recall;
mod rows;
mod seen;
mod unknown_classes;
mod versions;

pub use input_query::InputQuery;
pub(crate) use model::{OutcomeQueries, Qualities};
pub use recall::unarchived_column;

use crate::archive::reader::ArchiveReader;
use crate::join::{LabelSpace, Prediction, Taken, label_at};
use crate::partial::{CaptureEpoch, EventCounts};
use crate::references::ReferenceRegistry;
use crate::segments::SegmentError;
use crate::watched::WatchedModel;
use crate::watermark_alignment::WatermarkAlignment;
use crate::window_query::QueryEngine;
use codec::decode::{Decoder, EventBatch, OTHER_VERSIONS};
use detectors::windows::{Timeliness, common_divisor};
use input::{InputSettings, InputSnapshot, InputState, Source};
use misplaced::Misplaced;
use model::CaptureModel;
use pending_rows::PendingRows;
use rows::{CountedRows, Fate, PreparedRows, in_log_order};
use seen::{Event, SeenIds};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use streams::control::Control;
use streams::log::{NewRecord, Offset, PartitionId, Record};
use streams::stage::{Delivery, Epoch, Gone, Input, Seal, Share, Stage, StageError, StageSpec};
use streams::topics;
use thiserror::Error;
use versions::{Asking, MOST_VERSIONS};

/// The most values, of the rows of a partition of all models, that wait until there are enough of a version's for a query.
const MOST_WAITING_VALUES: usize = 1 << 23;
/// So many outcomes, which wait for the end of the epoch, are worth one.
const MOST_WAITING_OUTCOMES: i64 = 1 << 18;

/// What capture needs to know.
pub struct CaptureSpec {
    /// The models whose events are profiled.
    pub models: Vec<Arc<WatchedModel>>,
    /// Partitions of `inferences` and of `labels`.
    pub partitions: u32,
    /// Partitions of `partials`, over which models are spread by name.
    pub monitors: u32,
    /// The most bytes of partials in one record: an epoch with more of them is told in several.
    pub record_bytes: usize,
    /// How far behind the latest event another may be without being late.
    pub disorder: Duration,
    /// Has partitions wait that are far ahead of others; `None` where all are to be read as they come.
    pub watermark_alignment: Option<Arc<WatermarkAlignment>>,
    /// Decodes the models' records.
    pub decoder: Decoder,
    /// The references known so far; capture reads on from the start of `models`.
    pub references: ReferenceRegistry,
    /// Where ids that wait for labels are held.
    pub label_space: Arc<LabelSpace>,
    /// Has what the topics' retention deleted while it waits for labels; without it that is an error.
    pub archive: Option<ArchiveReader>,
}

/// Why capture cannot be set up.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// A segment expression cannot be used.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Predictions of a model cannot be kept.
    #[error("keeping predictions: {0}")]
    Kept(#[from] arrow::error::ArrowError),
    /// The runtime for queries could not be made.
    #[error("starting capture's query runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

/// The capture stage.
pub struct Capture {
    models: BTreeMap<Arc<str>, CaptureModel>,
    inputs: BTreeMap<(Source, PartitionId), InputState>,
    /// The ids of events of models without labels.
    seen: BTreeMap<PartitionId, SeenIds>,
    misplaced: Misplaced,
    monitors: u32,
    record_bytes: usize,
    settings: InputSettings,
    watermark_alignment: Option<Arc<WatermarkAlignment>>,
    decoder: Decoder,
    pending_rows: Option<PendingRows>,
    /// Values of rows that have waited for others of their version since those that wait were last counted.
    waiting_values: usize,
    /// Labels that met their predictions in this epoch.
    waiting_outcomes: i64,
    references: ReferenceRegistry,
    archive: Option<ArchiveReader>,
    engine: QueryEngine,
    dead_letters: Vec<NewRecord>,
    /// Models and their unknown features that have been told of; the decoder bounds their number.
    told_unknown: BTreeSet<(Arc<str>, Option<String>)>,
    /// Models of which rows of versions were counted under one name, and that have been told of.
    told_versions: BTreeSet<Arc<str>>,
    /// That name.
    other_versions: Arc<str>,
    /// How many bad rows there were, by topic and reason, since the process started.
    told_bad: BTreeMap<(&'static str, &'static str), u64>,
    /// Models and their columns with a value that is no class and has been told of.
    told_classes: BTreeSet<(Arc<str>, &'static str)>,
    /// Whether anything but inputs was read since the last epoch.
    has_read: bool,
}

impl Capture {
    /// The stage's name, inputs and broadcasts.
    pub fn spec() -> StageSpec {
        StageSpec {
            name: "capture".to_owned(),
            inputs: vec![topics::INFERENCES.to_owned(), topics::LABELS.to_owned()],
            broadcasts: vec![topics::MODELS.to_owned()],
            share: Share::All,
        }
    }

    /// A stage that has read nothing.
    ///
    /// # Errors
    /// When a segment expression cannot be used.
    pub fn new(spec: CaptureSpec) -> Result<Self, CaptureError> {
        // The common divisor, because panes mature at a pane's end and some steps.
        let pane_ms = spec.models.iter().map(|model| common_divisor(model.windows.pane_ms(), model.step_ms));
        let pane_ms = pane_ms.collect::<BTreeSet<_>>().into_iter().collect();
        let window_pane_ms = spec.models.iter().map(|model| model.windows.pane_ms()).collect::<BTreeSet<_>>();
        let window_pane_ms = window_pane_ms.into_iter().collect();
        let mut models = BTreeMap::new();
        for watched in spec.models {
            models.insert(Arc::clone(&watched.name), CaptureModel::new(watched, &spec.label_space)?);
        }
        Ok(Self {
            inputs: BTreeMap::new(),
            seen: BTreeMap::new(),
            misplaced: Misplaced::new(spec.partitions),
            monitors: spec.monitors,
            record_bytes: spec.record_bytes,
            settings: InputSettings { disorder: spec.disorder, pane_ms, window_pane_ms },
            watermark_alignment: spec.watermark_alignment,
            decoder: spec.decoder,
            pending_rows: None,
            waiting_values: 0,
            waiting_outcomes: 0,
            references: spec.references.watching(models.values().map(|model| &model.watched)),
            models,
            archive: spec.archive,
            engine: QueryEngine::new()?,
            dead_letters: Vec::new(),
            told_unknown: BTreeSet::new(),
            told_versions: BTreeSet::new(),
            other_versions: OTHER_VERSIONS.into(),
            told_bad: BTreeMap::new(),
            told_classes: BTreeSet::new(),
            has_read: false,
        })
    }

    fn input(&mut self, source: Source, partition: PartitionId) -> &mut InputState {
        input_of(&mut self.inputs, &self.settings, source, partition)
    }

    fn watermark(&self, source: Source, partition: PartitionId) -> Option<i64> {
        self.inputs.get(&(source, partition))?.watermark.at_ms()
    }

    /// Takes runs of events together, and the control records between them at their places.
    fn absorb_records(
        &mut self,
        (source, partition): (Source, PartitionId),
        records: &[Record],
        delivery: Delivery,
    ) -> Result<(), StageError> {
        let mut rest = records;
        while let Some((first, after)) = rest.split_first() {
            if let Some(control) = Control::read(first) {
                self.judge()?;
                self.control(source, partition, first.offset, control);
                self.input(source, partition).taken_at(first.append_time_ms);
                self.pass(partition)?;
                rest = after;
                continue;
            }
            let run = rest.iter().position(|record| Control::read(record).is_some()).unwrap_or(rest.len());
            let (mut events, after) = rest.split_at(run);
            while !events.is_empty() {
                let taken = self.absorb_events((source, partition), events, delivery)?;
                events = events.get(taken..).unwrap_or_default();
            }
            rest = after;
        }
        Ok(())
    }

    /// Moves the partition's watermark as its source says.
    fn control(&mut self, source: Source, partition: PartitionId, offset: Offset, control: Result<Control, String>) {
        let disorder_ms = i64::try_from(self.settings.disorder.as_millis()).unwrap_or(i64::MAX);
        let watermark_ms = match control {
            Ok(Control::Heartbeat(time_ms)) => Some(time_ms.saturating_sub(disorder_ms)),
            Ok(Control::EndOfInput(time_ms)) => Some(self.end_of_last_windows(time_ms)),
            Err(reason) => {
                tracing::warn!(topic = source.topic(), partition, offset, "{reason}");
                None
            }
        };
        let input = self.input(source, partition);
        match watermark_ms {
            Some(watermark_ms) => input.advance_to(offset, watermark_ms),
            None => input.dead_letters("control_record", 1),
        }
        input.read_through(offset, offset);
    }

    /// When every window that holds this time has ended and its labels are mature.
    fn end_of_last_windows(&self, time_ms: i64) -> i64 {
        let ends = self.models.values().map(|model| {
            let mature_ms = model.watched.judged_at_ms().last().copied().unwrap_or(0);
            model.watched.windows.last_end_of(time_ms).saturating_add(mature_ms)
        });
        ends.max().unwrap_or(time_ms)
    }

    /// Takes the rows in log order, whichever models and versions they belong to. Replayed rows have been profiled.
    fn predictions(
        &mut self,
        partition: PartitionId,
        batches: &[EventBatch],
        delivery: Delivery,
    ) -> Result<(), StageError> {
        let prepared = batches.iter().map(|batch| self.prepare(batch, delivery));
        let mut prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let logs: Vec<_> = prepared.iter().map(|rows| &rows.log).collect();
        for (index, run) in in_log_order(&logs) {
            let (Some(batch), Some(rows)) = (batches.get(index), prepared.get_mut(index)) else { continue };
            run.into_iter().try_for_each(|row| self.prediction(partition, batch, rows, row))?;
        }
        for (batch, rows) in batches.iter().zip(prepared) {
            if rows.label_counts != EventCounts::default() {
                self.waiting_outcomes += rows.label_counts.labelled + rows.label_counts.relabelled;
                self.input(Source::Labels, partition).counts(&batch.model).add(&rows.label_counts);
            }
            let Some(model) = self.models.get_mut(&batch.model) else { continue };
            input_of(&mut self.inputs, &self.settings, Source::Inferences, partition)
                .counts(&batch.model)
                .add(&rows.counts);
            if rows.counts.other_versions > 0 && self.told_versions.insert(Arc::clone(&batch.model)) {
                let (model, version) = (&batch.model, &batch.version);
                tracing::warn!(%model, %version, "more than {MOST_VERSIONS} versions at a time: rows of the rest count under version `{OTHER_VERSIONS}`");
            }
            if delivery == Delivery::Replayed {
                continue;
            }
            let CountedRows { own, others } = model.finish(rows)?;
            for (version, rows) in [(&batch.version, Some(own)), (&self.other_versions, others)] {
                let Some(rows) = rows.filter(|rows| rows.num_rows() > 0) else { continue };
                let chosen = self.references.choose(&batch.model, version);
                self.waiting_values += model.count(version, rows, (chosen, &self.engine))?;
            }
        }
        self.misplaced.tell(Source::Inferences);
        if self.waiting_values < MOST_WAITING_VALUES { Ok(()) } else { self.count_waiting() }
    }

    /// Counts the rows of all models that wait for others.
    fn count_waiting(&mut self) -> Result<(), StageError> {
        self.waiting_values = 0;
        self.models.values_mut().try_for_each(|model| model.count_waiting(&self.engine))
    }

    fn prepare(&mut self, batch: &EventBatch, delivery: Delivery) -> Result<PreparedRows, StageError> {
        let model = self.models.get(&batch.model).ok_or_else(|| {
            StageError::failed("capturing", format!("the decoder gave rows of `{}`, which is not watched", batch.model))
        })?;
        let extended = model
            .segmenter
            .extend(&batch.batch)
            .map_err(|error| StageError::failed(format!("segmenting {}", batch.model), error))?;
        let joined = match model.watched.labels {
            Some(_) => Some(model.kept_rows(&extended)?),
            None => None,
        };
        PreparedRows::new(extended, joined, delivery)
    }

    fn prediction(
        &mut self,
        partition: PartitionId,
        batch: &EventBatch,
        rows: &mut PreparedRows,
        row: usize,
    ) -> Result<(), StageError> {
        let input = input_of(&mut self.inputs, &self.settings, Source::Inferences, partition);
        let watermark_ms = input.watermark.at_ms();
        let (time_ms, place) = (rows.log.times.value(row), rows.log.place(row));
        let timeliness = input.observe(place.0, time_ms, rows.log.appended.value(row));
        let late = timeliness == Timeliness::Late;
        rows.counts.produced += 1;
        rows.counts.late += i64::from(late);
        rows.counts.future += i64::from(timeliness == Timeliness::Future);
        rows.late.push(i64::from(late));
        let id = rows.log.ids.value(row);
        rows.counts.misplaced += self.misplaced.count(Source::Inferences, id, partition);
        let Some(model) = self.models.get_mut(&batch.model) else { return Ok(()) };
        let version = &batch.version;
        let asking = Asking { model: &model.watched, version, time_ms, watermark_ms, offset: place.0 };
        let fate = if input.has_place(asking, rows.delivery) { Fate::Own } else { Fate::Other };
        let (Some(joined), Some(join)) = (&rows.joined, model.join(partition)) else {
            let event = Event { model: &batch.model, version: &batch.version, id, time_ms, offset: place.0 };
            let taken = match input.is_known_duplicate(place) {
                true => Taken::Duplicate,
                // Late ones count in no window, however often they come.
                false if late => Taken::First,
                false => self.seen.entry(partition).or_default().take(event, watermark_ms),
            };
            rows.take(taken, fate, (input, place));
            return Ok(());
        };
        let prediction = Prediction {
            version: if fate == Fate::Own { version } else { &self.other_versions },
            row: joined.row(row).data(),
            time_ms,
            watermark_ms,
            offset: place.0,
            late,
        };
        let failed =
            |error| StageError::failed(format!("joining labels of {} in partition {partition}", batch.model), error);
        let (taken, matched) = match input.is_known_duplicate(place) {
            true => (Taken::Duplicate, Vec::new()),
            false => join.predict(id, prediction, label_at(&rows.labels, row)).map_err(failed)?,
        };
        rows.take(taken, fate, (input, place));
        // Whichever came first, what became of a label is told with the label's partition.
        matched.into_iter().for_each(|matched| rows.label_counts.match_label(matched));
        Ok(())
    }
}

impl Stage for Capture {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        let inputs: Vec<InputSnapshot> =
            rmp_serde::from_slice(snapshot).map_err(|error| StageError::failed("reading capture's snapshot", error))?;
        for input in inputs {
            self.inputs.insert((input.source, input.partition), InputState::restored(&input, &self.settings));
        }
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic, records, .. } if topic == topics::MODELS => {
                // Whatever is committed names the low marks anew; an epoch that did not would lose them.
                self.has_read = true;
                for record in records {
                    self.references.absorb(record)?;
                }
            }
            Input::Records { topic, partition, records, delivery } => {
                let source = Source::of(topic);
                self.absorb_records((source, partition), records, delivery)?;
                if delivery == Delivery::Replayed {
                    self.mute(source, partition);
                }
            }
            Input::Idle { topic, .. } if topic == topics::MODELS => {}
            Input::Idle { topic, partition } => {
                self.judge()?;
                self.input(Source::of(topic), partition).set_idle();
            }
            Input::CaughtUp => {}
        }
        Ok(())
    }

    fn recall(&mut self, gone: &Gone<'_>) -> Result<Option<Offset>, StageError> {
        self.recall_part(gone)
    }

    fn awaits_alignment(&self, topic: &str, partition: PartitionId) -> bool {
        let watermark_ms = self.watermark(Source::of(topic), partition);
        let watermark_alignment = self.watermark_alignment.as_ref().zip(watermark_ms);
        let place = (topic, partition);
        // The clock decides when a record is read, and nothing of what comes of it.
        watermark_alignment.is_some_and(|(watermark_alignment, watermark_ms)| {
            watermark_alignment.awaits_alignment(place, watermark_ms, Instant::now())
        })
    }

    fn is_awaited(&self) -> bool {
        let is_awaited = |((source, partition), input): (&(Source, PartitionId), &InputState)| {
            input.is_awaited(self.unjudged_ms(*source, *partition), &self.settings)
        };
        self.waiting_outcomes >= MOST_WAITING_OUTCOMES || self.inputs.iter().any(is_awaited)
    }

    fn seal(&mut self, _reason: Seal) -> Result<Option<Epoch>, StageError> {
        self.judge()?;
        (self.waiting_values, self.waiting_outcomes) = (0, 0);
        self.models.values_mut().try_for_each(CaptureModel::collect_outcomes)?;
        let mut partials = Vec::new();
        for (name, model) in &mut self.models {
            for version in model.touched_versions() {
                let chosen = self.references.choose(name, &version);
                partials.extend(model.partials(&version, (chosen, &self.engine))?);
            }
            let inputs = &self.inputs;
            model.forget_versions(|version| {
                version == OTHER_VERSIONS || inputs.values().any(|input| input.versions.has_place(name, version))
            });
        }
        let ledger: Vec<_> = self.inputs.values_mut().filter_map(InputState::seal).collect();
        if ledger.is_empty() {
            if !std::mem::take(&mut self.has_read) {
                return Ok(Some(Epoch::default()));
            }
            let (snapshot, resume_from) = self.snapshot()?;
            return Ok(Some(Epoch { snapshot: Some(snapshot), resume_from, ..Epoch::default() }));
        }
        self.has_read = false;
        let mut records = std::mem::take(&mut self.dead_letters);
        let epoch = CaptureEpoch { ledger, partials, continues: false };
        for (partition, epoch) in (0..).zip(epoch.spread(self.monitors)) {
            records.extend(epoch.into_records(partition, self.record_bytes)?);
        }
        let (snapshot, resume_from) = self.snapshot()?;
        Ok(Some(Epoch { files: Vec::new(), records, snapshot: Some(snapshot), resume_from }))
    }
}

fn input_of<'a>(
    inputs: &'a mut BTreeMap<(Source, PartitionId), InputState>,
    settings: &InputSettings,
    source: Source,
    partition: PartitionId,
) -> &'a mut InputState {
    inputs.entry((source, partition)).or_insert_with(|| InputState::new(source, partition, settings))
}

#[cfg(test)]
mod tests;
