//! What the monitor knows of its inputs: how far each partition has been read, and how far event time has come.
//!
//! Ranges must join without a gap; a gap stops the monitor, because events would not be counted. Time is the least
//! watermark of the partitions that are not idle.

use crate::partial::{LedgerEntry, Tick};
use crate::stage::StageError;
use detectors::verdict::{Cut, Position};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Whether an entry is new to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    New,
    /// It lies wholly before what has been counted: it is to be discarded.
    Overlap,
}

/// How one entry joins what has been counted.
enum Standing {
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
}

/// The monitor's view of all input partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    inputs: BTreeMap<String, BTreeMap<u32, InputProgress>>,
    /// Partitions that must have been heard of before time is known.
    expected: BTreeMap<String, u32>,
}

impl Ledger {
    pub(super) fn new(expected: BTreeMap<String, u32>) -> Self {
        Self { inputs: BTreeMap::new(), expected }
    }

    /// Enters all partitions' shares of one epoch, or none of them.
    pub(super) fn enter(&mut self, entries: &[LedgerEntry]) -> Result<Entered, StageError> {
        let mut overlap: Option<&LedgerEntry> = None;
        let mut fresh: Option<&LedgerEntry> = None;
        for entry in entries {
            match self.standing(entry)? {
                Standing::Counted => overlap = Some(entry),
                Standing::Fresh => fresh = Some(entry),
                Standing::Empty => {}
            }
        }
        match (overlap, fresh) {
            (None, _) => entries.iter().for_each(|entry| self.take(entry)),
            (Some(overlap), None) => {
                let Position { topic, partition, offset } = &overlap.to;
                tracing::error!(
                    topic,
                    partition,
                    from = overlap.from,
                    to = offset,
                    "an epoch overlaps the ledger and is discarded"
                );
                return Ok(Entered::Overlap);
            }
            // Its partials cannot be told apart: to discard them loses events, to add them counts some twice.
            (Some(overlap), Some(fresh)) => return Err(half_counted(overlap, fresh)),
        }
        Ok(Entered::New)
    }

    /// How an entry joins what has been counted.
    fn standing(&self, entry: &LedgerEntry) -> Result<Standing, StageError> {
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
            (true, _) => Ok(Standing::Empty),
            (false, false) => Ok(Standing::Fresh),
            (false, true) if *offset <= expected => Ok(Standing::Counted),
            (false, true) => Err(half_counted(entry, entry)),
        }
    }

    fn take(&mut self, entry: &LedgerEntry) {
        let Position { topic, partition, offset } = &entry.to;
        let progress = self.inputs.entry(topic.clone()).or_default().entry(*partition).or_insert_with(|| {
            InputProgress { read_to: entry.from, watermark_ms: None, idle: false, ticks: VecDeque::new() }
        });
        progress.read_to = progress.read_to.max(*offset);
        progress.watermark_ms = entry.watermark_ms.or(progress.watermark_ms);
        progress.idle = entry.idle;
        progress.ticks.extend(&entry.ticks);
    }

    /// The least watermark of the partitions that are not idle; `None` until every partition has been heard of.
    pub(super) fn time_ms(&self) -> Option<i64> {
        let mut least = None;
        for (topic, partitions) in &self.expected {
            for partition in 0..*partitions {
                let progress = self.inputs.get(topic)?.get(&partition)?;
                if !progress.idle {
                    let watermark_ms = progress.watermark_ms?;
                    least = Some(least.map_or(watermark_ms, |least: i64| least.min(watermark_ms)));
                }
            }
        }
        least.or_else(|| self.inputs.values().flat_map(BTreeMap::values).filter_map(|input| input.watermark_ms).max())
    }

    /// The log as it stood when every partition's watermark had reached `time_ms`, for rows before `at_ms`.
    pub(super) fn cut(&self, at_ms: i64, time_ms: i64) -> Cut {
        let mut positions = Vec::new();
        for (topic, inputs) in &self.inputs {
            for (partition, input) in inputs {
                let reached = input.ticks.iter().find(|tick| tick.at_ms >= time_ms);
                let offset = reached.map_or(input.read_to, |tick| tick.offset);
                positions.push(Position { topic: topic.clone(), partition: *partition, offset });
            }
        }
        Cut { at_ms, positions }
    }

    /// Lets go of ticks that no later cut can ask for.
    pub(super) fn forget_before(&mut self, time_ms: i64) {
        for input in self.inputs.values_mut().flat_map(BTreeMap::values_mut) {
            while input.ticks.front().is_some_and(|tick| tick.at_ms < time_ms) {
                input.ticks.pop_front();
            }
        }
    }
}

fn half_counted(counted: &LedgerEntry, fresh: &LedgerEntry) -> StageError {
    let of = |entry: &LedgerEntry| {
        format!("{}/{} from {} to {}", entry.to.topic, entry.to.partition, entry.from, entry.to.offset)
    };
    let reason = format!(
        "an epoch was counted in part: {} was, {} was not; two captures may be writing to partials",
        of(counted),
        of(fresh)
    );
    StageError::failed("entering the ledger", reason)
}
