//! What the monitor knows of its inputs: how far each partition has been read, and how far event time has come.
//!
//! Ranges must join without a gap; a gap stops the monitor, because events would not be counted. Time is the least
//! watermark of the partitions that are not idle: of the inferences for what needs no labels, and of all for what does.

use capture::partial::{LedgerEntry, Tick};
use detectors::verdict::{Cut, InputRange, Position};
use detectors::windows::{Window, floor_to};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, VecDeque};
use streams::stage::StageError;
use streams::topics;

/// Whether an entry is new to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    New,
    /// It lies wholly before what has been counted: it is to be discarded.
    Overlap,
}

/// How far event time has come; `None` before it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// In the inferences: every window that ended before this has its rows.
    pub(super) inferences_ms: Option<i64>,
    /// In the labels as well, if there are any.
    pub(super) all_ms: Option<i64>,
}

/// How one entry joins what has been counted.
enum EntryState {
    Fresh,
    Counted,
    /// It covers no record.
    Empty,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct InputProgress {
    read_to: i64,
    watermark_ms: Option<i64>,
    idle: bool,
    /// Steps of the watermark that a cut may still ask for, oldest first.
    ticks: VecDeque<Tick>,
    /// The first step in each span of event time, as far back as a window may ask for. Of these the oldest is kept across a
    /// restart; the others are in the partials that are read again then.
    #[serde(default, serialize_with = "the_oldest")]
    marks: VecDeque<Tick>,
}

impl InputProgress {
    /// A partition of which nothing was read before `from`.
    fn new(from: i64) -> Self {
        let start = Tick { at_ms: i64::MIN, offset: from };
        let (ticks, marks) = (VecDeque::new(), VecDeque::from([start]));
        Self { read_to: from, watermark_ms: None, idle: false, ticks, marks }
    }

    fn mark(&mut self, ticks: &[Tick], mark_ms: i64) {
        for tick in ticks {
            let is_later =
                |last: &Tick| last.at_ms == i64::MIN || floor_to(last.at_ms, mark_ms) < floor_to(tick.at_ms, mark_ms);
            if self.marks.back().is_none_or(is_later) {
                self.marks.push_back(*tick);
            }
        }
    }

    /// The first step at which the watermark had come so far.
    fn tick_at(&self, time_ms: i64) -> Option<&Tick> {
        self.ticks.iter().find(|tick| tick.at_ms >= time_ms)
    }

    /// Offsets between which every row on time of a window lies, if none was further behind another than `disorder_ms`, as is
    /// known when a verdict is due.
    fn range(&self, window: Window, (due_ms, disorder_ms): (i64, i64)) -> (i64, i64) {
        let at_or_after = |time_ms: i64| self.marks.partition_point(|mark| mark.at_ms < time_ms);
        // Before the watermark came so far, no event was as late as the window's first.
        let before = at_or_after(window.start_ms.saturating_sub(disorder_ms)).checked_sub(1);
        let before = before.and_then(|place| self.marks.get(place));
        // Whichever comes first: how far beyond the due moment an epoch has read says nothing of the window.
        let after = self.marks.get(at_or_after(window.end_ms)).into_iter().chain(self.tick_at(due_ms));
        let to = after.map(|tick| tick.offset).min();
        (before.map_or(0, |mark| mark.offset), to.unwrap_or(self.read_to))
    }
}

/// How far apart marks are, and how much they serve.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Marks {
    /// How far apart marks are in event time.
    pub(super) every_ms: i64,
    /// How far behind the latest event another may be without being late.
    pub(super) disorder_ms: i64,
    /// How long after a window's start its last verdict is due, at most.
    pub(super) last_verdict_after_ms: i64,
}

/// The most marks of a partition, of some bytes each, that verdicts may ask for.
const MOST_MARKS: i64 = 100_000;

impl Marks {
    /// Marks for models whose panes have at least this width. Those whose ends lie between two marks have a wider range.
    pub(super) fn new(pane_ms: i64, disorder_ms: i64, last_verdict_after_ms: i64) -> Self {
        let every_ms = pane_ms.max(last_verdict_after_ms / MOST_MARKS).max(1);
        Self { every_ms, disorder_ms, last_verdict_after_ms }
    }

    /// Until when windows ask for a mark at `at_ms`, of those before which there is another.
    fn kept_until_ms(&self, at_ms: i64) -> i64 {
        at_ms.saturating_add(self.disorder_ms).saturating_add(self.last_verdict_after_ms)
    }
}

/// The monitor's view of all input partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    inputs: BTreeMap<String, BTreeMap<u32, InputProgress>>,
    /// Partitions that must have been heard of before time is known.
    expected: BTreeMap<String, u32>,
    /// As the configuration has it, and no part of what is kept.
    #[serde(skip)]
    marks: Marks,
}

impl Ledger {
    pub(super) fn new(expected: BTreeMap<String, u32>, marks: Marks) -> Self {
        Self { inputs: BTreeMap::new(), expected, marks }
    }

    /// Goes on where another stood.
    pub(super) fn resume(&mut self, other: Self) {
        self.inputs = other.inputs;
    }

    /// Enters all partitions' shares of one epoch, or none of them.
    pub(super) fn enter(&mut self, entries: &[LedgerEntry]) -> Result<Entered, StageError> {
        let entered = self.joins(entries)?;
        match entered {
            Entered::New => entries.iter().for_each(|entry| self.take(entry)),
            Entered::Overlap => {
                let read: Vec<_> = entries.iter().map(LedgerEntry::to_string).collect();
                tracing::error!(read = read.join(", "), "an epoch overlaps the ledger and is discarded");
            }
        }
        Ok(entered)
    }

    /// How an epoch joins what has been counted; it is not entered.
    pub(super) fn joins(&self, entries: &[LedgerEntry]) -> Result<Entered, StageError> {
        let mut overlap: Option<&LedgerEntry> = None;
        let mut fresh: Option<&LedgerEntry> = None;
        for entry in entries {
            match self.state(entry)? {
                EntryState::Counted => overlap = Some(entry),
                EntryState::Fresh => fresh = Some(entry),
                EntryState::Empty => {}
            }
        }
        match (overlap, fresh) {
            (None, _) => Ok(Entered::New),
            (Some(_), None) => Ok(Entered::Overlap),
            // Its partials cannot be told apart: to discard them loses events, to add them counts some twice.
            (Some(overlap), Some(fresh)) => Err(half_counted(overlap, fresh)),
        }
    }

    /// How an entry joins what has been counted.
    fn state(&self, entry: &LedgerEntry) -> Result<EntryState, StageError> {
        let Position { topic, partition, offset } = &entry.to;
        let known = self.inputs.get(topic).and_then(|inputs| inputs.get(partition));
        let expected = known.map_or(entry.from, |progress| progress.read_to);
        if entry.from > expected {
            return Err(StageError::LedgerGap {
                topic: topic.clone(),
                partition: *partition,
                expected,
                found: entry.from,
            });
        }
        match (entry.from == *offset, entry.from < expected) {
            (true, _) => Ok(EntryState::Empty),
            (false, false) => Ok(EntryState::Fresh),
            (false, true) if *offset <= expected => Ok(EntryState::Counted),
            (false, true) => Err(half_counted(entry, entry)),
        }
    }

    fn take(&mut self, entry: &LedgerEntry) {
        let Position { topic, partition, offset } = &entry.to;
        let inputs = self.inputs.entry(topic.clone()).or_default();
        let progress = inputs.entry(*partition).or_insert_with(|| InputProgress::new(entry.from));
        progress.read_to = progress.read_to.max(*offset);
        progress.watermark_ms = entry.watermark_ms.or(progress.watermark_ms);
        progress.idle = entry.idle;
        progress.ticks.extend(&entry.ticks);
        if topic == topics::INFERENCES {
            progress.mark(&entry.ticks, self.marks.every_ms);
        }
    }

    /// Takes the marks of an epoch that was entered before a restart.
    pub(super) fn recall(&mut self, entries: &[LedgerEntry]) {
        for LedgerEntry { to, ticks, .. } in entries.iter().filter(|entry| entry.to.topic == topics::INFERENCES) {
            if let Some(progress) = self.inputs.get_mut(&to.topic).and_then(|inputs| inputs.get_mut(&to.partition)) {
                progress.mark(ticks, self.marks.every_ms);
            }
        }
    }

    /// Until when a restart has to read this epoch again for its marks.
    pub(super) fn needed_until_ms(&self, entries: &[LedgerEntry]) -> i64 {
        let inferences = entries.iter().filter(|entry| entry.to.topic == topics::INFERENCES);
        let last = inferences.filter_map(|entry| entry.ticks.last()).map(|tick| tick.at_ms).max();
        // It is the same for all ticks that a mark stands for: the one that made it is read again as long as any of them.
        let end_of_span = |at_ms| floor_to(at_ms, self.marks.every_ms).saturating_add(self.marks.every_ms);
        last.map_or(i64::MIN, |at_ms| self.marks.kept_until_ms(end_of_span(at_ms)))
    }

    /// How far event time has come.
    pub(super) fn reached(&self) -> Reached {
        let all_ms = self.least_of(|_| true);
        // Where the inferences are idle and the labels are not, time goes on with these.
        let inferences_ms = self.least_of(|topic| topic == topics::INFERENCES).max(all_ms);
        Reached { inferences_ms, all_ms }
    }

    /// The least watermark of the partitions of these topics that are not idle, or the greatest of all where they are;
    /// `None` until every one of them has been heard of.
    fn least_of(&self, counts: impl Fn(&str) -> bool) -> Option<i64> {
        let mut least = None;
        for (topic, partitions) in self.expected.iter().filter(|(topic, _)| counts(topic)) {
            for partition in 0..*partitions {
                let progress = self.inputs.get(topic)?.get(&partition)?;
                if !progress.idle {
                    let watermark_ms = progress.watermark_ms?;
                    least = Some(least.map_or(watermark_ms, |least: i64| least.min(watermark_ms)));
                }
            }
        }
        let inputs = self.inputs.iter().filter(|(topic, _)| counts(topic)).flat_map(|(_, inputs)| inputs.values());
        least.or_else(|| inputs.filter_map(|input| input.watermark_ms).max())
    }

    /// The log as it stood when every partition's watermark had reached `time_ms`, for rows before `at_ms`.
    pub(super) fn cut(&self, at_ms: i64, time_ms: i64) -> Cut {
        let mut positions = Vec::new();
        for (topic, inputs) in &self.inputs {
            for (partition, input) in inputs {
                let offset = input.tick_at(time_ms).map_or(input.read_to, |tick| tick.offset);
                positions.push(Position { topic: topic.clone(), partition: *partition, offset });
            }
        }
        Cut { at_ms, positions }
    }

    /// The inferences that hold a window's rows, when one of its verdicts is due.
    pub(super) fn ranges(&self, window: Window, due_ms: i64) -> Vec<InputRange> {
        let topic = topics::INFERENCES;
        let inputs = self.inputs.get(topic).into_iter().flatten();
        let ranges = inputs.map(|(partition, input)| {
            let (from, to) = input.range(window, (due_ms, self.marks.disorder_ms));
            InputRange { topic: topic.to_owned(), partition: *partition, from, to }
        });
        ranges.filter(|range| range.from < range.to).collect()
    }

    /// Lets go of what no window whose last verdict is due after `time_ms` can ask for.
    pub(super) fn forget_before(&mut self, time_ms: i64) {
        let marks = self.marks;
        for input in self.inputs.values_mut().flat_map(BTreeMap::values_mut) {
            while input.ticks.front().is_some_and(|tick| tick.at_ms < time_ms) {
                input.ticks.pop_front();
            }
            // The last mark before is where the records of the oldest window begin.
            while input.marks.get(1).is_some_and(|mark| marks.kept_until_ms(mark.at_ms) < time_ms) {
                input.marks.pop_front();
            }
        }
    }
}

fn the_oldest<S: Serializer>(marks: &VecDeque<Tick>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(marks.iter().take(1))
}

fn half_counted(counted: &LedgerEntry, fresh: &LedgerEntry) -> StageError {
    let reason = format!(
        "an epoch was counted in part: {counted} was, {fresh} was not; two captures may be writing to partials"
    );
    StageError::failed("entering the ledger", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use detectors::windows::{Timeliness, Watermark};
    use proptest::prelude::*;
    use std::time::Duration;

    const PANE_MS: i64 = 100;

    fn marks(disorder_ms: i64) -> Marks {
        Marks { every_ms: PANE_MS, disorder_ms, last_verdict_after_ms: 2 * PANE_MS }
    }

    /// What capture would tell of one partition with an event a record: the entry, and each event's time if it was on time.
    fn captured(times: &[i64], disorder_ms: i64) -> (LedgerEntry, Vec<Option<i64>>) {
        let mut watermark = Watermark::new(Duration::from_millis(disorder_ms.unsigned_abs()));
        let (mut ticks, mut on_time) = (Vec::new(), Vec::new());
        for (offset, time_ms) in (0..).zip(times) {
            let before = watermark.at_ms().map(|at_ms| floor_to(at_ms, PANE_MS));
            let timeliness = watermark.observe(*time_ms, i64::MAX);
            on_time.push(Some(*time_ms).filter(|_| timeliness == Timeliness::OnTime));
            let at_ms = watermark.at_ms().unwrap();
            if before != Some(floor_to(at_ms, PANE_MS)) {
                ticks.push(Tick { at_ms, offset: offset + 1 });
            }
        }
        let to = Position { topic: topics::INFERENCES.to_owned(), partition: 0, offset: times.len() as i64 };
        let (counts, dead_letters) = (BTreeMap::new(), BTreeMap::new());
        let watermark_ms = watermark.at_ms();
        let entry = LedgerEntry { from: 0, to, watermark_ms, idle: false, ticks, counts, dead_letters, read_ms: None };
        (entry, on_time)
    }

    proptest! {
        #[test]
        fn a_windows_range_holds_all_its_rows_and_begins_after_what_is_too_old(
            steps in prop::collection::vec(-250i64..300, 1..60), disorder_ms in 0i64..300
        ) {
            let times: Vec<_> = steps.iter().scan(1_000, |at, step| { *at += step; Some(*at) }).collect();
            let (entry, on_time) = captured(&times, disorder_ms);
            let mut ledger = Ledger::new(BTreeMap::new(), marks(disorder_ms));
            ledger.enter(std::slice::from_ref(&entry)).unwrap();
            for start_ms in (-20_000..20_000).step_by(PANE_MS as usize) {
                let window = Window { start_ms, end_ms: start_ms + 2 * PANE_MS };
                let own = (0..).zip(&on_time).filter(|(_, time)| time.is_some_and(|time| (window.start_ms..window.end_ms).contains(&time)));
                let own: Vec<i64> = own.map(|(offset, _)| offset).collect();
                let range = ledger.ranges(window, window.end_ms).first().map(|range| (range.from, range.to));
                prop_assert!(own.iter().all(|offset| range.is_some_and(|(from, to)| (from..to).contains(offset))));
            }
        }
    }

    #[test]
    fn what_no_later_window_asks_for_is_let_go() {
        let times: Vec<_> = (0..100).map(|number| number * 50).collect();
        let (entry, _) = captured(&times, 0);
        let mut ledger = Ledger::new(BTreeMap::new(), marks(0));
        ledger.enter(&[entry]).unwrap();
        let window = Window { start_ms: 4_000, end_ms: 4_200 };
        let before = ledger.ranges(window, window.end_ms);
        ledger.forget_before(window.end_ms);
        assert_eq!(ledger.ranges(window, window.end_ms), before);
        assert_eq!((before[0].from, before[0].to), (79, 85));
        let kept = &ledger.inputs[topics::INFERENCES][&0].marks;
        assert!(kept.len() < 15, "{kept:?}");
    }
}
