//! What capture sends to the monitor: one record an epoch, holding the ledger of what was read and the partial profiles.
//!
//! Ledger and partials travel in one record so that neither can arrive without the other. A partial names the reference
//! against whose edges it counted; partials of different references never merge.

use crate::join::Matched;
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
