//! Where capture stands in one input partition: its watermark, its share of the ledger, and how far back a restart reads.

use super::versions::{Asking, Versions};
use crate::partial::{EventCounts, LedgerEntry, Tick};
use detectors::verdict::Position;
use detectors::windows::{Timeliness, Watermark, floor_to};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use streams::log::{Offset, PartitionId};
use streams::stage::Delivery;
use streams::topics;

/// Which of capture's two topics a partition belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Source {
    Inferences,
    Labels,
}

impl Source {
    pub(super) fn of(topic: &str) -> Self {
        if topic == topics::LABELS { Self::Labels } else { Self::Inferences }
    }

    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::Inferences => topics::INFERENCES,
            Self::Labels => topics::LABELS,
        }
    }
}

/// A place from which a restart may absorb again, and the watermark there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) offset: Offset,
    watermark: Watermark,
    /// The latest event time between this checkpoint and the next.
    latest_ms: i64,
}

/// What is kept of an input partition across a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InputSnapshot {
    pub(super) source: Source,
    pub(super) partition: PartitionId,
    /// Where the last committed epoch ended.
    pub(super) sealed: Offset,
    /// Where the restart begins.
    pub(super) resume: Checkpoint,
    /// Places from there on of duplicates whose first may lie before.
    later_duplicates: BTreeSet<RowPosition>,
    /// The watermark where the last committed epoch ended. The archive keeps the latest of heartbeats that follow each other,
    /// so that a part of them may not come back from there.
    #[serde(default)]
    watermark_ms: Option<i64>,
    /// The versions that had a place there; `None` in snapshots of before there was such a thing.
    #[serde(default)]
    versions: Option<Versions>,
}

/// What an epoch has said of an input partition.
#[derive(Debug, Clone, Copy)]
struct ReportedProgress {
    watermark_ms: Option<i64>,
    idle: bool,
}

/// A row's place in its partition: the offset of its record, and its index there.
pub(super) type RowPosition = (Offset, i32);

/// What all input partitions have in common.
#[derive(Debug, Clone)]
pub(super) struct InputSettings {
    /// How far behind the latest event another may be without being late.
    pub(super) disorder: Duration,
    /// Widths whose boundaries the ledger's ticks mark.
    pub(super) pane_ms: Arc<[i64]>,
    /// Widths of the windows' panes: at their boundaries windows end.
    pub(super) window_pane_ms: Arc<[i64]>,
}

/// One input partition.
#[derive(Debug)]
pub(super) struct InputState {
    source: Source,
    partition: PartitionId,
    pub(super) watermark: Watermark,
    sealed: Offset,
    /// What the watermark was there, until a restart has absorbed so far.
    sealed_ms: Option<i64>,
    read_to: Offset,
    /// When the log took the last record before that; `None` before there was one in this run.
    read_ms: Option<i64>,
    idle: bool,
    /// What the last epoch said of it; `None` before there was one.
    told: Option<ReportedProgress>,
    ticks: Vec<Tick>,
    counts: BTreeMap<String, EventCounts>,
    dead_letters: BTreeMap<String, i64>,
    latest_ms: i64,
    checkpoints: VecDeque<Checkpoint>,
    /// Duplicates with a later time than their first, as far back as a restart may read.
    later_duplicates: BTreeSet<RowPosition>,
    /// Widths whose boundaries are ticks.
    pane_ms: Arc<[i64]>,
    /// The record whose events are being observed, and the watermark before it.
    record: Option<(Offset, Option<i64>)>,
    /// The versions that are told apart.
    pub(super) versions: Versions,
    /// Whether they are those of a snapshot, so that what is read again does not change them.
    has_versions: bool,
    /// Whether the epoch has anything to say of this partition.
    touched: bool,
}

impl InputState {
    pub(super) fn new(source: Source, partition: PartitionId, settings: &InputSettings) -> Self {
        let watermark = Watermark::new(settings.disorder);
        Self {
            source,
            partition,
            watermark,
            sealed: 0,
            sealed_ms: None,
            read_to: 0,
            read_ms: None,
            idle: false,
            told: None,
            ticks: Vec::new(),
            counts: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            latest_ms: i64::MIN,
            checkpoints: VecDeque::from([Checkpoint { offset: 0, watermark, latest_ms: i64::MIN }]),
            later_duplicates: BTreeSet::new(),
            pane_ms: Arc::clone(&settings.pane_ms),
            record: None,
            versions: Versions::default(),
            has_versions: false,
            touched: false,
        }
    }

    pub(super) fn restored(snapshot: &InputSnapshot, settings: &InputSettings) -> Self {
        let mut state = Self::new(snapshot.source, snapshot.partition, settings);
        state.watermark = snapshot.resume.watermark;
        (state.sealed, state.sealed_ms) = (snapshot.sealed, snapshot.watermark_ms);
        state.read_to = snapshot.resume.offset;
        state.checkpoints = VecDeque::from([snapshot.resume]);
        state.later_duplicates.clone_from(&snapshot.later_duplicates);
        state.has_versions = snapshot.versions.is_some();
        state.versions = snapshot.versions.clone().unwrap_or_default();
        state
    }

    /// Takes the times of an event of the record at `offset` into account; says how it stands to the watermark just
    /// before it.
    pub(super) fn observe(&mut self, offset: Offset, event_ms: i64, append_ms: i64) -> Timeliness {
        self.begin(offset);
        // A late label counts as come at the watermark, and is needed as long as events of that time are.
        let effective_ms = self.watermark.at_ms().map_or(event_ms, |at| at.max(event_ms));
        self.latest_ms = self.latest_ms.max(effective_ms);
        self.watermark.observe(event_ms, append_ms)
    }

    /// Whether a row's version is told apart; one that is read for the first time is given a place where there is one.
    pub(super) fn has_place(&mut self, asking: Asking<'_>, delivery: Delivery) -> bool {
        if delivery == Delivery::Replayed && self.has_versions {
            return self.versions.had_place(&asking.model.name, asking.version, asking.offset);
        }
        self.versions.admit(asking)
    }

    /// Has a restart read the record at `offset` again as long as events of `until_ms` are needed.
    pub(super) fn keep(&mut self, offset: Offset, until_ms: i64) {
        let after = self.checkpoints.partition_point(|checkpoint| checkpoint.offset <= offset);
        if let Some(checkpoint) = after.checked_sub(1).and_then(|place| self.checkpoints.get_mut(place)) {
            checkpoint.latest_ms = checkpoint.latest_ms.max(until_ms);
        }
    }

    /// Remembers a duplicate that a restart could take for the first of its id.
    pub(super) fn remember_duplicate(&mut self, place: RowPosition) {
        self.later_duplicates.insert(place);
    }

    /// Whether the row was found to be a duplicate before a restart.
    pub(super) fn is_known_duplicate(&self, place: RowPosition) -> bool {
        self.later_duplicates.contains(&place)
    }

    /// Moves the watermark as the control record at `offset` says.
    pub(super) fn advance_to(&mut self, offset: Offset, watermark_ms: i64) {
        self.begin(offset);
        self.watermark.advance_to(watermark_ms);
    }

    /// Notes that all records from `first` up to and including `last` have been read.
    pub(super) fn read_through(&mut self, first: Offset, last: Offset) {
        self.end_record();
        if self.read_to == 0 {
            // The topic began here when it was read for the first time: a restart need look no further back. There are
            // several where it was idle before.
            self.checkpoints.iter_mut().for_each(|checkpoint| checkpoint.offset = checkpoint.offset.max(first));
        }
        self.read_to = last + 1;
        if let Some(sealed_ms) = self.sealed_ms.take_if(|_| self.read_to >= self.sealed) {
            self.watermark.advance_to(sealed_ms);
        }
        self.idle = false;
        self.touched = true;
    }

    /// Notes when the log took the last of the records that are read.
    pub(super) fn taken_at(&mut self, append_ms: i64) {
        self.read_ms = Some(append_ms);
    }

    fn begin(&mut self, offset: Offset) {
        if self.record.is_none_or(|(current, _)| current != offset) {
            self.end_record();
            self.record = Some((offset, self.watermark.at_ms()));
        }
    }

    fn end_record(&mut self) {
        let (Some((offset, before_ms)), Some(now_ms)) = (self.record.take(), self.watermark.at_ms()) else { return };
        let crossed = |width: &i64| before_ms.is_none_or(|before| floor_to(before, *width) != floor_to(now_ms, *width));
        if before_ms != Some(now_ms) && self.pane_ms.iter().any(crossed) {
            self.ticks.push(Tick { at_ms: now_ms, offset: offset + 1 });
        }
    }

    pub(super) fn counts(&mut self, model: &str) -> &mut EventCounts {
        if !self.counts.contains_key(model) {
            self.counts.insert(model.to_owned(), EventCounts::default());
        }
        self.touched = true;
        self.counts.entry(model.to_owned()).or_default()
    }

    pub(super) fn dead_letters(&mut self, reason: &str, rows: u32) {
        *self.dead_letters.entry(reason.to_owned()).or_default() += i64::from(rows);
    }

    pub(super) fn set_idle(&mut self) {
        self.idle = true;
        self.touched = true;
    }

    /// Forgets what a restart has sent already.
    pub(super) fn forget_epoch(&mut self) {
        self.ticks.clear();
        self.counts.clear();
        self.dead_letters.clear();
        self.touched = false;
        self.tell();
    }

    fn tell(&mut self) {
        self.told = Some(ReportedProgress { watermark_ms: self.watermark.at_ms(), idle: self.idle });
    }

    /// Whether windows may wait for this partition's share of the ledger, of which events up to `unjudged_ms` are not judged
    /// yet: it has been heard of for the first time or become idle, or its watermark has passed where some end.
    pub(super) fn is_awaited(&self, unjudged_ms: Option<i64>, settings: &InputSettings) -> bool {
        let Some(told) = self.told else { return true };
        let mut now = self.watermark;
        if let Some(time_ms) = unjudged_ms {
            now.observe(time_ms, time_ms);
        }
        let has_passed = |now_ms: i64| {
            let passes =
                |width: &i64| told.watermark_ms.is_none_or(|ms| floor_to(ms, *width) != floor_to(now_ms, *width));
            settings.window_pane_ms.iter().any(passes)
        };
        (self.idle && !told.idle) || now.at_ms().is_some_and(has_passed)
    }

    /// This partition's share of the ledger, or `None` where nothing happened.
    pub(super) fn seal(&mut self) -> Option<LedgerEntry> {
        if !std::mem::take(&mut self.touched) {
            return None;
        }
        let from = std::mem::replace(&mut self.sealed, self.read_to);
        self.tell();
        if let Some(last) = self.checkpoints.back_mut() {
            last.latest_ms = last.latest_ms.max(self.latest_ms);
        }
        self.latest_ms = i64::MIN;
        self.checkpoints.push_back(Checkpoint { offset: self.read_to, watermark: self.watermark, latest_ms: i64::MIN });
        Some(LedgerEntry {
            from,
            to: Position { topic: self.source.topic().to_owned(), partition: self.partition, offset: self.read_to },
            watermark_ms: self.watermark.at_ms(),
            idle: self.idle,
            ticks: std::mem::take(&mut self.ticks),
            counts: std::mem::take(&mut self.counts),
            dead_letters: std::mem::take(&mut self.dead_letters),
            read_ms: self.read_ms,
        })
    }

    /// Lets go of checkpoints whose events are all before `needed_ms` and before `needed_from`, and says where a restart
    /// begins.
    pub(super) fn snapshot(&mut self, (needed_ms, needed_from): (i64, Option<Offset>)) -> InputSnapshot {
        while let (Some(first), Some(second)) = (self.checkpoints.front(), self.checkpoints.get(1)) {
            if first.latest_ms >= needed_ms || needed_from.is_some_and(|from| from < second.offset) {
                break;
            }
            self.checkpoints.pop_front();
        }
        let at_end = Checkpoint { offset: self.read_to, watermark: self.watermark, latest_ms: i64::MIN };
        let resume = self.checkpoints.front().copied().unwrap_or(at_end);
        self.later_duplicates = self.later_duplicates.split_off(&(resume.offset, 0));
        InputSnapshot {
            source: self.source,
            partition: self.partition,
            sealed: self.sealed,
            resume,
            later_duplicates: self.later_duplicates.clone(),
            watermark_ms: self.watermark.at_ms(),
            versions: Some(self.versions.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_looks_no_further_back_than_a_topic_went_that_was_idle_first() {
        let widths = Arc::from([1_000]);
        let settings = InputSettings { disorder: Duration::ZERO, pane_ms: Arc::clone(&widths), window_pane_ms: widths };
        let mut input = InputState::new(Source::Labels, 0, &settings);
        input.set_idle();
        input.seal().unwrap();
        input.observe(500, 10_000, 10_000);
        input.read_through(500, 500);
        input.seal().unwrap();
        assert_eq!(input.snapshot((0, None)).resume.offset, 500);
        assert_eq!(input.snapshot((20_000, Some(500))).resume.offset, 500);
        assert_eq!(input.snapshot((20_000, None)).resume.offset, 501);
    }
}
