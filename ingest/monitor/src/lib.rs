//! The monitor: from partial profiles to verdicts.
//!
//! Reads `partials` and, as a broadcast, `models`. Merges partials into panes and panes into windows, closes a window when
//! event time has passed its end, judges its drift then and its quality when its labels are mature, hands matured steps to
//! the sequential detectors, and says when a span's labels are complete. Everything happens once, in event-time order; what
//! needs no labels does not wait for theirs, so that of drift and of quality each has an order of its own.
//!
//! One monitor reads one partition of `partials`, that of its models; the ledger in each tells it of all that was read.
//!
//! Kept across a restart: the ledger, alarms, detectors and how far event time has been acted upon. Open panes, and marks of
//! where the records of open windows lie, are read again from `partials`.

mod clock;
mod ledger;
mod panes;
mod sequential;
mod version;

use capture::partial::{CaptureEpoch, Partial, PartialBody};
use capture::references::{ChosenReference, ReferenceRegistry};
use capture::watched::WatchedModel;
use clock::{Action, Clock};
use detectors::verdict::{MonitorEvent, RowsMatured, Verdict};
use detectors::windows::Window;
use ledger::{Entered, Ledger, Marks, Reached};
use rmp_serde::decode::Error;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use streams::cloud_event::{self, Attributes};
use streams::log::{NewRecord, Offset, PartitionId, Record};
use streams::stage::{Delivery, Epoch, Input, ResumePoint, Seal, Share, Stage, StageError, StageSpec};
use streams::topics;
use version::{Against, Judged, Maturity, WatchedVersion};

const SOURCE: &str = "/driftline/monitor";

/// A version and the reference its rows were counted against.
type VersionKey = (String, Option<String>);

/// What the monitor needs to know.
pub struct MonitorSpec {
    /// The models to judge.
    pub models: Vec<Arc<WatchedModel>>,
    /// Partitions of the input topics.
    pub partitions: u32,
    /// How far behind the latest event another may be without being late.
    pub disorder: Duration,
    /// The references known so far.
    pub references: ReferenceRegistry,
}

/// The monitor stage.
pub struct MonitorStage {
    models: BTreeMap<String, MonitoredModel>,
    ledger: Ledger,
    references: ReferenceRegistry,
    /// Offsets of `partials` with the time until which their panes are open or their marks asked for, oldest first.
    open: VecDeque<(Offset, i64)>,
    /// Offsets of `partials` that overlap the ledger, and that a restart may read again.
    discarded: BTreeSet<Offset>,
    /// Which partition of `partials` is read, and up to where; `None` while nothing was read.
    read_to: Option<(PartitionId, Offset)>,
    out: Vec<NewRecord>,
    changed: bool,
}

/// What partials tell of their labels.
#[derive(Debug, Clone, Copy)]
enum LabelTime {
    Ages,
    Moments,
}

struct MonitoredModel {
    watched: Arc<WatchedModel>,
    clock: Clock,
    versions: BTreeMap<VersionKey, WatchedVersion>,
    /// State of versions that have no open pane yet after a restart.
    restored: BTreeMap<VersionKey, Judged>,
    /// Every window that ended up to this time has been closed.
    closed_ms: i64,
    /// Everything else that is due up to this time has been done; no later than the windows' closing.
    done_ms: i64,
}

/// What the monitor keeps across a restart. What it kept in the first format is read as well: its windows closed when all
/// the rest was done.
#[derive(Serialize, Deserialize)]
struct Snapshot<L, D, M> {
    format: u8,
    ledger: L,
    discarded: D,
    models: Vec<M>,
}

/// The format of the snapshots that are written.
const SNAPSHOT_FORMAT: u8 = 2;

/// What is kept of a model.
#[derive(Serialize, Deserialize)]
struct ModelSnapshot<N, K, J> {
    name: N,
    closed_ms: i64,
    done_ms: i64,
    judged: Vec<(K, J)>,
}

type OwnedSnapshot = Snapshot<Ledger, BTreeSet<Offset>, ModelSnapshot<String, VersionKey, Judged>>;

/// The first format: of each model its name, up to when everything had been done, and what its versions keep.
type FirstSnapshot = (Ledger, BTreeSet<Offset>, Vec<(String, i64, Vec<(VersionKey, Judged)>)>);

impl MonitorStage {
    /// The stage's name, inputs and broadcasts.
    pub fn spec() -> StageSpec {
        StageSpec {
            name: "monitor".to_owned(),
            inputs: vec![topics::PARTIALS.to_owned()],
            broadcasts: vec![topics::MODELS.to_owned()],
            share: Share::All,
        }
    }

    /// A stage that has read nothing.
    pub fn new(spec: MonitorSpec) -> Self {
        let mut expected = BTreeMap::from([(topics::INFERENCES.to_owned(), spec.partitions)]);
        if spec.models.iter().any(|model| model.labels.is_some()) {
            expected.insert(topics::LABELS.to_owned(), spec.partitions);
        }
        let models =
            spec.models.iter().map(|watched| (watched.name.to_string(), MonitoredModel::new(Arc::clone(watched))));
        let models: BTreeMap<_, _> = models.collect();
        let marks = Marks::new(
            spec.models.iter().map(|model| model.windows.pane_ms()).min().unwrap_or(1),
            i64::try_from(spec.disorder.as_millis()).unwrap_or(i64::MAX),
            models.values().map(|model| model.clock.last_verdict_after_ms()).max().unwrap_or(0),
        );
        Self {
            models,
            ledger: Ledger::new(expected, marks),
            references: spec.references.watching(&spec.models),
            open: VecDeque::new(),
            discarded: BTreeSet::new(),
            read_to: None,
            out: Vec::new(),
            changed: false,
        }
    }

    fn absorb_partials(&mut self, partition: u32, record: &Record, delivery: Delivery) -> Result<(), StageError> {
        let unreadable = |reason: String| StageError::Unreadable {
            topic: topics::PARTIALS.to_owned(),
            partition,
            offset: record.offset,
            reason,
        };
        let epoch = CaptureEpoch::read(record).map_err(unreadable)?;
        if self.read_to.is_some_and(|(other, _)| other != partition) {
            return Err(unreadable("a monitor reads one partition".to_owned()));
        }
        self.read_to = Some((partition, record.offset + 1));
        if delivery == Delivery::Live && self.enter(&epoch)? == Entered::Overlap {
            self.discarded.insert(record.offset);
        }
        if self.discarded.contains(&record.offset) {
            return Ok(());
        }
        if delivery == Delivery::Replayed {
            self.ledger.recall(&epoch.ledger);
        }
        let told = if CaptureEpoch::tells_ages(record) { LabelTime::Ages } else { LabelTime::Moments };
        self.add(record.offset, (epoch, told))
    }

    /// Enters what an epoch read, with the last of its records: until then its time has not come.
    fn enter(&mut self, epoch: &CaptureEpoch) -> Result<Entered, StageError> {
        self.changed = true;
        if epoch.continues { self.ledger.joins(&epoch.ledger) } else { self.ledger.enter(&epoch.ledger) }
    }

    fn add(&mut self, offset: Offset, (epoch, told): (CaptureEpoch, LabelTime)) -> Result<(), StageError> {
        let mut open_until_ms = self.ledger.needed_until_ms(&epoch.ledger);
        for partial in epoch.partials {
            let Some(model) = self.models.get_mut(&partial.model) else { continue };
            let over_ms = model.over_ms(&partial);
            if over_ms > model.done_ms {
                open_until_ms = open_until_ms.max(over_ms);
                let body = match told {
                    LabelTime::Ages => partial.body.without_age(&model.clock.dues),
                    LabelTime::Moments => partial.body,
                };
                model.add(Partial { body, ..partial }, &self.references)?;
            }
        }
        self.open.push_back((offset, open_until_ms));
        Ok(())
    }

    /// Does everything that has become due.
    fn advance(&mut self) -> Result<(), StageError> {
        let reached = self.ledger.reached();
        let mut needed_ms = i64::MAX;
        for model in self.models.values_mut() {
            self.out.extend(model.advance(reached, &self.ledger)?);
            needed_ms = needed_ms.min(model.done_ms);
        }
        self.ledger.forget_before(needed_ms);
        while self.open.front().is_some_and(|(_, until_ms)| *until_ms <= needed_ms) {
            self.open.pop_front();
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<u8>, StageError> {
        let models = self.models.iter().map(|(name, model)| ModelSnapshot {
            name,
            closed_ms: model.closed_ms,
            done_ms: model.done_ms,
            judged: model.judged(),
        });
        let models = models.collect();
        let snapshot = Snapshot { format: SNAPSHOT_FORMAT, ledger: &self.ledger, discarded: &self.discarded, models };
        rmp_serde::to_vec(&snapshot).map_err(|error| StageError::failed("writing the monitor's snapshot", error))
    }
}

impl MonitoredModel {
    fn new(watched: Arc<WatchedModel>) -> Self {
        let clock = Clock::new(&watched);
        let (versions, restored) = (BTreeMap::new(), BTreeMap::new());
        Self { watched, clock, versions, restored, closed_ms: i64::MIN, done_ms: i64::MIN }
    }

    /// When a partial has nothing more to give.
    fn over_ms(&self, partial: &Partial) -> i64 {
        match &partial.body {
            PartialBody::Inputs { pane_start_ms, .. }
            | PartialBody::Rows { pane_start_ms, .. }
            | PartialBody::Outcomes { pane_start_ms, .. } => self.clock.pane_over_ms(*pane_start_ms),
            PartialBody::Step { step_start_ms, .. } => self.clock.step_over_ms(*step_start_ms),
        }
    }

    fn add(&mut self, partial: Partial, references: &ReferenceRegistry) -> Result<(), StageError> {
        let key = (partial.version.clone(), partial.reference.clone());
        if !self.versions.contains_key(&key) {
            let against = match chosen(references, &partial)? {
                Some(chosen) => Against::Reference(chosen),
                None => Against::Nothing(references.misfit(&partial.model, &partial.version)),
            };
            let mut version = WatchedVersion::new(Arc::clone(&self.watched), key.0.clone(), against)?;
            if let Some(judged) = self.restored.remove(&key) {
                version.resume(judged);
            }
            self.versions.insert(key.clone(), version);
        }
        if let Some(version) = self.versions.get_mut(&key) {
            version.panes.add(partial);
        }
        Ok(())
    }

    fn advance(&mut self, reached: Reached, ledger: &Ledger) -> Result<Vec<NewRecord>, StageError> {
        let closing_ms = reached.inferences_ms.unwrap_or(i64::MIN).max(self.closed_ms);
        // A model without labels has nothing to wait for in theirs.
        let all_ms = if self.watched.labels.is_some() { reached.all_ms } else { reached.inferences_ms };
        let time_ms = all_ms.unwrap_or(i64::MIN).max(self.done_ms);
        if (closing_ms, time_ms) == (self.closed_ms, self.done_ms) {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        for (due_ms, action) in self.due(closing_ms, time_ms) {
            for event in self.act(action, due_ms, ledger)? {
                records.push(record_of(&event)?);
            }
        }
        (self.closed_ms, self.done_ms) = (closing_ms, time_ms);
        self.forget();
        Ok(records)
    }

    /// Everything that is due and has not been done, in order: windows that end by `closing_ms`, the rest by `time_ms`.
    fn due(&self, closing_ms: i64, time_ms: i64) -> BTreeSet<(i64, Action)> {
        let (closes, rest) = (self.closed_ms..closing_ms, self.done_ms..time_ms);
        let is_due = |(due_ms, action): &(i64, Action)| {
            let span = if matches!(action, Action::Close(_)) { &closes } else { &rest };
            *due_ms > span.start && *due_ms <= span.end
        };
        let mut due = BTreeSet::new();
        for version in self.versions.values() {
            let of_panes = version.panes.starts().flat_map(|start_ms| self.clock.due_for_pane(start_ms));
            due.extend(of_panes.filter(is_due));
            let steps = version.panes.step_starts().map(|start_ms| (self.clock.step_due_ms(start_ms), start_ms));
            let ripe = steps.take_while(|(due_ms, _)| *due_ms <= time_ms).filter(|(due_ms, _)| *due_ms > self.done_ms);
            due.extend(ripe.map(|(due_ms, start_ms)| (due_ms, Action::Step { start_ms })));
        }
        due
    }

    fn act(&mut self, action: Action, due_ms: i64, ledger: &Ledger) -> Result<Vec<MonitorEvent>, StageError> {
        let mut verdicts: Vec<Verdict> = Vec::new();
        let covered = match action {
            Action::Close(window) => {
                for version in self.versions.values_mut() {
                    verdicts.extend(version.close(window)?);
                }
                self.restored.values_mut().for_each(|judged| judged.closes(false));
                window
            }
            Action::Mature { window, is_last } => {
                let due = Maturity { dues: &self.clock.dues, at_ms: due_ms, is_last };
                for version in self.versions.values_mut() {
                    verdicts.extend(version.mature(window, due)?);
                }
                if is_last {
                    self.restored.values_mut().for_each(|judged| judged.matures(false));
                }
                window
            }
            Action::Step { start_ms } => {
                let span = Window { start_ms, end_ms: start_ms + self.watched.step_ms };
                verdicts.extend(self.versions.values_mut().flat_map(|version| version.step(span)));
                span
            }
            Action::RowsMatured { start_ms } => {
                let span = self.clock.span(start_ms);
                let labelled = self.labelled(span);
                if labelled == 0 && !self.clock.ends_pane(start_ms) {
                    return Ok(Vec::new());
                }
                let (model, cut) = (self.watched.name.to_string(), ledger.cut(span.end_ms, due_ms));
                return Ok(vec![MonitorEvent::RowsMatured(RowsMatured { model, span, labelled, cut })]);
            }
        };
        let inputs = if verdicts.is_empty() { Vec::new() } else { ledger.ranges(covered, due_ms) };
        verdicts.iter_mut().for_each(|verdict| verdict.inputs.clone_from(&inputs));
        Ok(verdicts.into_iter().map(|verdict| MonitorEvent::Verdict(Box::new(verdict))).collect())
    }

    /// Predictions of any version in a span whose label came before its step was handed on.
    fn labelled(&self, span: Window) -> i64 {
        self.versions.values().map(|version| version.panes.labelled(span)).sum()
    }

    fn forget(&mut self) {
        let over = |start_ms: &i64| self.clock.pane_over_ms(*start_ms) <= self.done_ms;
        let starts = self.versions.values().flat_map(|version| version.panes.starts());
        let Some(first_open_ms) = starts.filter(|start| !over(start)).min().or_else(|| self.last_start_ms()) else {
            return;
        };
        let first_window_ms = first_open_ms - self.watched.windows.size_ms();
        let step_is_over = |start_ms: i64| self.clock.step_over_ms(start_ms) <= self.done_ms;
        for version in self.versions.values_mut() {
            version.panes.forget_steps(step_is_over);
            version.forget_before(first_open_ms, first_window_ms);
        }
        let has_labels = self.watched.labels.is_some();
        self.versions.retain(|_, version| !version.is_forgotten());
        self.restored.retain(|_, judged| !judged.is_forgotten(has_labels));
    }

    /// One past the last pane, where every pane is over.
    fn last_start_ms(&self) -> Option<i64> {
        self.versions.values().flat_map(|version| version.panes.starts()).max().map(|start_ms| start_ms + 1)
    }

    fn judged(&self) -> Vec<(&VersionKey, &Judged)> {
        let open = self.versions.iter().map(|(key, version)| (key, &version.judged));
        open.chain(&self.restored).collect()
    }
}

impl OwnedSnapshot {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let Ok((ledger, discarded, models)) = rmp_serde::from_slice::<FirstSnapshot>(bytes) else {
            let read: Self = rmp_serde::from_slice(bytes)?;
            let unknown = || format!("format {} is not known: a later version of driftline wrote it", read.format);
            return if read.format == SNAPSHOT_FORMAT { Ok(read) } else { Err(Error::Uncategorized(unknown())) };
        };
        let model = |(name, done_ms, judged)| ModelSnapshot { name, closed_ms: done_ms, done_ms, judged };
        Ok(Self { format: 1, ledger, discarded, models: models.into_iter().map(model).collect() })
    }
}

impl Stage for MonitorStage {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        let snapshot = OwnedSnapshot::read(snapshot)
            .map_err(|error| StageError::failed("reading the monitor's snapshot", error))?;
        self.ledger.resume(snapshot.ledger);
        self.discarded = snapshot.discarded;
        for ModelSnapshot { name, closed_ms, done_ms, judged } in snapshot.models {
            if let Some(model) = self.models.get_mut(&name) {
                (model.closed_ms, model.done_ms) = (closed_ms, done_ms);
                model.restored = judged.into_iter().collect();
            }
        }
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic, records, .. } if topic == topics::MODELS => {
                // Whatever is committed names the low mark anew; an epoch that did not would lose it.
                self.changed = true;
                for record in records {
                    self.references.absorb(record)?;
                }
            }
            Input::Records { partition, records, delivery, .. } => {
                for record in records {
                    self.absorb_partials(partition, record, delivery)?;
                    if delivery == Delivery::Live {
                        self.advance()?;
                    }
                }
            }
            Input::Idle { .. } | Input::CaughtUp => {}
        }
        Ok(())
    }

    fn seal(&mut self, _reason: Seal) -> Result<Option<Epoch>, StageError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(Some(Epoch::default()));
        }
        let mut resume_from = vec![capture::references::resume_point()];
        if let Some((partition, read_to)) = self.read_to {
            let offset = self.open.front().map_or(read_to, |(offset, _)| *offset);
            self.discarded = self.discarded.split_off(&offset);
            resume_from.push(ResumePoint { topic: topics::PARTIALS.to_owned(), partition, offset });
        }
        let snapshot = self.snapshot()?;
        Ok(Some(Epoch {
            files: Vec::new(),
            records: std::mem::take(&mut self.out),
            snapshot: Some(snapshot.into()),
            resume_from,
        }))
    }
}

/// The reference that a partial was counted against.
fn chosen(references: &ReferenceRegistry, partial: &Partial) -> Result<Option<ChosenReference>, StageError> {
    let Some(id) = &partial.reference else { return Ok(None) };
    let found = references.by_id(&partial.model, &partial.version, id);
    if found.is_none() && references.has_lost(&partial.model) {
        return Ok(None);
    }
    found.map(Some).ok_or_else(|| {
        StageError::failed(
            "judging",
            format!("reference {id} of {} is not among those announced on models", partial.model),
        )
    })
}

fn record_of(event: &MonitorEvent) -> Result<NewRecord, StageError> {
    let (id, kind, subject, time_ms) = match event {
        MonitorEvent::Verdict(verdict) => {
            (verdict.id.clone(), "driftline.verdict", &verdict.model, verdict.window.end_ms)
        }
        MonitorEvent::RowsMatured(matured) => (
            format!("{}@{}", matured.model, matured.span.start_ms),
            "driftline.rows_matured",
            &matured.model,
            matured.span.end_ms,
        ),
    };
    let attributes = Attributes { id: &id, source: SOURCE, kind, subject, time_ms };
    cloud_event::encode(topics::VERDICTS, attributes, event)
        .map_err(|error| StageError::failed("writing a verdict", error))
}

#[cfg(test)]
mod tests;
