//! What capture sends to the monitor: one record an epoch for each partition of `partials`, holding the ledger of what was
//! read and the partial profiles of the models that belong there.
//!
//! Ledger and partials travel in one record so that neither can arrive without the other; every partition is told of what
//! was read, because its time depends on it. A partial names the reference against whose edges it counted; partials of
//! different references never merge.

use crate::join::Matched;
use crate::log::{NewRecord, PartitionId};
use crate::partition::partition_of;
use crate::stage::StageError;
use crate::topics;
use bytes::Bytes;
use detectors::moments::StepMoments;
use detectors::profile::Profile;
use detectors::quality::Quality;
use detectors::verdict::{Position, Segment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One record of the `partials` topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureEpoch {
    /// What was read, partition by partition.
    pub ledger: Vec<LedgerEntry>,
    /// What it amounts to.
    pub partials: Vec<Partial>,
}

/// One input partition's share of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Where the last epoch had ended, as the offset after its last record.
    pub from: i64,
    /// Where this one ends.
    pub to: Position,
    /// The partition's watermark at the end of the epoch; `None` before its first event.
    pub watermark_ms: Option<i64>,
    /// Whether the partition had been read to its end for the idle time.
    pub idle: bool,
    /// Every step of the watermark past a pane boundary in this epoch, oldest first.
    pub ticks: Vec<Tick>,
    /// Events of each model.
    pub counts: BTreeMap<String, EventCounts>,
    /// Records or rows that became dead letters, by reason.
    pub dead_letters: BTreeMap<String, i64>,
}

/// A step of a partition's watermark past at least one pane boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Where the watermark came to stand.
    pub at_ms: i64,
    /// The offset after the record that moved it there.
    pub offset: i64,
}

/// How the events of one model and partition were taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Rows that were good, whatever became of them.
    pub produced: i64,
    /// Of those, behind the watermark.
    pub late: i64,
    /// Of those, with an id that had been seen.
    pub duplicates: i64,
    /// Of those, ahead of the log's clock by more than the allowed disorder.
    pub future: i64,
    /// Predictions that got a label (label partitions only).
    pub labelled: i64,
    /// Predictions that passed the label horizon without one.
    pub expired: i64,
    /// Labels that replaced another (label partitions only).
    pub relabelled: i64,
    /// Labels whose prediction never came (label partitions only).
    pub orphaned: i64,
    /// Rows in a partition that their id does not belong to.
    pub misplaced: i64,
    /// Values of features that the model does not have (inference partitions only).
    #[serde(default)]
    pub unknown_features: i64,
}

/// A partial profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// The model.
    pub model: String,
    /// The version that answered.
    pub version: String,
    /// The reference whose edges were used; `None` where there is none yet.
    pub reference: Option<String>,
    /// The slice; `None` for all of the traffic.
    pub segment: Option<Segment>,
    /// What was counted.
    pub body: PartialBody,
}

impl CaptureEpoch {
    /// One epoch for each of so many monitors: all with the ledger's ranges and watermarks, the first also with its counts,
    /// and each with the partials of its own models.
    pub fn spread(self, monitors: u32) -> Vec<Self> {
        if monitors <= 1 {
            return vec![self];
        }
        let own_ledger = self.ledger.iter().map(LedgerEntry::without_counts).collect::<Vec<_>>();
        let of_monitor = |_| Self { ledger: own_ledger.clone(), partials: Vec::new() };
        let mut epochs: Vec<Self> = (0..monitors).map(of_monitor).collect();
        for partial in self.partials {
            let monitor = monitor_of(&partial.model, monitors) as usize;
            if let Some(epoch) = epochs.get_mut(monitor) {
                epoch.partials.push(partial);
            }
        }
        if let Some(first) = epochs.first_mut() {
            first.ledger = self.ledger;
        }
        epochs
    }

    /// The record that tells one partition of `partials` of an epoch.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn to_record(&self, partition: PartitionId) -> Result<NewRecord, StageError> {
        let value = rmp_serde::to_vec(self).map_err(|error| StageError::failed("writing partials", error))?;
        Ok(NewRecord {
            topic: topics::PARTIALS.to_owned(),
            partition,
            key: None,
            value: Some(value.into()),
            headers: vec![("driftline-format".to_owned(), Bytes::from_static(b"1"))],
            appended_ms: None,
        })
    }
}

/// The partition of `partials` that a model belongs to.
pub fn monitor_of(model: &str, monitors: u32) -> PartitionId {
    partition_of(model, monitors)
}

impl LedgerEntry {
    /// What a monitor needs to know of it.
    fn without_counts(&self) -> Self {
        Self { counts: BTreeMap::new(), dead_letters: BTreeMap::new(), ..self.clone() }
    }
}

impl EventCounts {
    /// Adds the other's counts to these.
    pub fn add(&mut self, other: &Self) {
        self.produced += other.produced;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.future += other.future;
        self.labelled += other.labelled;
        self.expired += other.expired;
        self.relabelled += other.relabelled;
        self.orphaned += other.orphaned;
        self.misplaced += other.misplaced;
        self.unknown_features += other.unknown_features;
    }

    /// Counts what became of a label.
    pub fn match_label(&mut self, matched: Matched) {
        match matched {
            Matched::First => self.labelled += 1,
            Matched::Replaced => self.relabelled += 1,
            Matched::Waiting => {}
        }
    }
}

/// What a partial counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PartialBody {
    /// Columns of a pane's predictions.
    Inputs {
        /// Start of the pane.
        pane_start_ms: i64,
        /// Whether these rows were late.
        late: bool,
        /// Their profile.
        profile: Profile,
    },
    /// Rows of a pane before there was a reference: counted only.
    Rows {
        /// Start of the pane.
        pane_start_ms: i64,
        /// How many.
        rows: i64,
    },
    /// Labelled predictions of a pane.
    Outcomes {
        /// Start of the pane that the predictions belong to.
        pane_start_ms: i64,
        /// Which of the label policy's ages the labels came at; one beyond the last means too late for any decision.
        age: u8,
        /// Their quality.
        quality: Quality,
    },
    /// Moments of the labelled predictions of a step.
    Step {
        /// Start of the step that the predictions belong to.
        step_start_ms: i64,
        /// As for outcomes.
        age: u8,
        /// Their moments.
        moments: StepMoments,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_monitor_is_told_what_was_read_and_of_its_own_models_only() {
        let rows = |model: &str| Partial {
            model: model.to_owned(),
            version: "v1".to_owned(),
            reference: None,
            segment: None,
            body: PartialBody::Rows { pane_start_ms: 0, rows: 1 },
        };
        let counts = BTreeMap::from([("a".to_owned(), EventCounts { produced: 7, ..EventCounts::default() })]);
        let to = Position { topic: "inferences".to_owned(), partition: 0, offset: 7 };
        let entry = LedgerEntry {
            from: 0,
            to: to.clone(),
            watermark_ms: Some(1),
            idle: false,
            ticks: Vec::new(),
            counts,
            dead_letters: BTreeMap::new(),
        };
        let models = ["a", "b", "c", "d", "e", "f"];
        let epoch = CaptureEpoch { ledger: vec![entry], partials: models.map(rows).to_vec() };
        let spread = epoch.clone().spread(3);
        assert_eq!(epoch.clone().spread(1), [epoch]);
        assert!(spread.iter().all(|epoch| epoch.ledger[0].to == to && epoch.ledger[0].watermark_ms == Some(1)));
        let produced = spread.iter().flat_map(|epoch| epoch.ledger[0].counts.values()).map(|counts| counts.produced);
        assert_eq!(produced.sum::<i64>(), 7, "counts are told once");
        for (monitor, epoch) in (0..).zip(&spread) {
            assert!(epoch.partials.iter().all(|partial| monitor_of(&partial.model, 3) == monitor));
        }
        assert_eq!(spread.iter().map(|epoch| epoch.partials.len()).sum::<usize>(), models.len());
    }
}
