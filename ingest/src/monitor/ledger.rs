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

    pub(super) fn enter(&mut self, entry: &LedgerEntry) -> Result<Entered, StageError> {
        let Position { topic, partition, offset } = &entry.to;
        let progress = self.inputs.entry(topic.clone()).or_default().entry(*partition).or_insert_with(|| {
            InputProgress { read_to: entry.from, watermark_ms: None, idle: false, ticks: VecDeque::new() }
        });
        if entry.from > progress.read_to {
            return Err(StageError::LedgerGap {
                topic: topic.clone(),
                partition: *partition,
                expected: progress.read_to,
                found: entry.from,
            });
        }
        if entry.from < progress.read_to {
            tracing::error!(
                topic,
                partition,
                from = entry.from,
                read_to = progress.read_to,
                "an epoch overlaps the ledger and is discarded"
            );
            return Ok(Entered::Overlap);
        }
        progress.read_to = *offset;
        progress.watermark_ms = entry.watermark_ms.or(progress.watermark_ms);
        progress.idle = entry.idle;
        progress.ticks.extend(&entry.ticks);
        Ok(Entered::New)
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

    /// Watermarks by topic and partition, for those that have one.
    pub(super) fn watermarks(&self) -> impl Iterator<Item = (&str, u32, i64)> {
        let inputs =
            self.inputs.iter().flat_map(|(topic, inputs)| inputs.iter().map(move |(p, input)| (topic, p, input)));
        inputs.filter_map(|(topic, partition, input)| Some((topic.as_str(), *partition, input.watermark_ms?)))
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
