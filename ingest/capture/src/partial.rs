//! What capture sends to the monitor: one record an epoch for each partition of `partials`, holding the ledger of what was
//! read and the partial profiles of the models that belong there; or several, where that is too much for one.
//!
//! Ledger and partials travel in one record so that neither can arrive without the other, and records of one epoch in one
//! transaction; every partition is told of what was read, because its time depends on it. A partial names the reference
//! against whose edges it counted; partials of different references never merge.

use crate::join::{Dues, Matched};
use bytes::Bytes;
use detectors::moments::StepMoments;
use detectors::profile::Profile;
use detectors::quality::Quality;
use detectors::verdict::{Position, Segment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use streams::log::{NewRecord, PartitionId, Record};
use streams::partition::partition_of;
use streams::stage::StageError;
use streams::topics;

/// The header that tells the version of a record's format, and the version that is written.
const FORMAT_HEADER: &str = "driftline-format";
const FORMAT: &[u8] = b"2";

/// The version before, whose labels have ages: which of those that the policy has they had come at, by effective time. It
/// tells nothing of when the log took what was read.
const FORMAT_WITH_AGES: &[u8] = b"1";

/// One record of the `partials` topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureEpoch {
    /// What was read, partition by partition.
    pub ledger: Vec<LedgerEntry>,
    /// What it amounts to.
    pub partials: Vec<Partial>,
    /// Whether a later record holds more of the same epoch: what was read is entered with the last, which tells of it whole.
    ///
    /// Left out where it is false, as in every record before there was such a thing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
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
    /// When the log took the last record; `None` where none is known, as in every record before there was such a thing.
    #[serde(default)]
    pub read_ms: Option<i64>,
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
    /// Rows of versions beyond those that are told apart (inference partitions only).
    #[serde(default)]
    pub other_versions: i64,
    /// Rows that are both late and duplicates, which are in either number.
    #[serde(default)]
    pub late_duplicates: i64,
    /// Predictions that are none of the model's classes (inference partitions only).
    #[serde(default)]
    pub unknown_predictions: i64,
    /// Labels that are none of the model's classes, those that events carry among them.
    #[serde(default)]
    pub unknown_labels: i64,
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
    /// What a record of `partials` tells.
    ///
    /// # Errors
    /// When it cannot be read: it says why.
    pub fn read(record: &Record) -> Result<Self, String> {
        let format = record.header(FORMAT_HEADER);
        let known = [FORMAT_WITH_AGES, FORMAT];
        if let Some(unknown) = format.filter(|format| !known.contains(&format.as_ref())) {
            let unknown = String::from_utf8_lossy(unknown);
            return Err(format!(
                "format {unknown} of partials is not known: a later version of driftline wrote it, start that one"
            ));
        }
        let value = record.value.as_deref().ok_or("a tombstone")?;
        rmp_serde::from_slice(value).map_err(|error| error.to_string())
    }

    /// Whether what a record tells of labels are ages, to be turned by [`PartialBody::without_age`].
    pub fn tells_ages(record: &Record) -> bool {
        record.header(FORMAT_HEADER).is_some_and(|format| format.as_ref() == FORMAT_WITH_AGES)
    }

    /// One epoch for each of so many monitors: all with the ledger's ranges and watermarks, the first also with its counts,
    /// and each with the partials of its own models.
    pub fn spread(self, monitors: u32) -> Vec<Self> {
        if monitors <= 1 {
            return vec![self];
        }
        let own_ledger = self.ledger.iter().map(LedgerEntry::without_counts).collect::<Vec<_>>();
        let of_monitor = |_| Self { ledger: own_ledger.clone(), ..Self::default() };
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

    /// The records that tell one partition of `partials` of an epoch: one, or several whose partials have at most
    /// `most_bytes` each where they have more together. A partial is never cut.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn into_records(self, partition: PartitionId, most_bytes: usize) -> Result<Vec<NewRecord>, StageError> {
        let whole = self.to_record(partition)?;
        if whole.value.as_ref().map_or(0, Bytes::len) <= most_bytes {
            return Ok(vec![whole]);
        }
        drop(whole);
        self.cut(most_bytes)?.iter().map(|part| part.to_record(partition)).collect()
    }

    fn to_record(&self, partition: PartitionId) -> Result<NewRecord, StageError> {
        Ok(NewRecord {
            topic: topics::PARTIALS.to_owned(),
            partition,
            key: None,
            value: Some(encoded(self)?.into()),
            headers: vec![(FORMAT_HEADER.to_owned(), Bytes::from_static(FORMAT))],
            appended_ms: None,
        })
    }

    /// Parts in the order in which they are to be read.
    fn cut(self, most_bytes: usize) -> Result<Vec<Self>, StageError> {
        let ledger: Vec<_> = self.ledger.iter().map(LedgerEntry::range_alone).collect();
        let (mut parts, mut partials, mut bytes) = (Vec::new(), Vec::new(), 0);
        for partial in self.partials {
            let more = encoded(&partial)?.len();
            if bytes + more > most_bytes && !partials.is_empty() {
                parts.push(Self { ledger: ledger.clone(), partials: std::mem::take(&mut partials), continues: true });
                bytes = 0;
            }
            bytes += more;
            partials.push(partial);
        }
        parts.push(Self { ledger: self.ledger, partials, continues: self.continues });
        Ok(parts)
    }
}

fn encoded(partials: &impl Serialize) -> Result<Vec<u8>, StageError> {
    rmp_serde::to_vec(partials).map_err(|error| StageError::failed("writing partials", error))
}

/// The partition of `partials` that a model belongs to.
pub fn monitor_of(model: &str, monitors: u32) -> PartitionId {
    partition_of(model, monitors)
}

impl LedgerEntry {
    /// What a monitor needs to know of it.
    fn without_counts(&self) -> Self {
        Self { ticks: self.ticks.clone(), ..self.range_alone() }
    }

    /// What was read, and up to when, of which more is told elsewhere.
    fn range_alone(&self) -> Self {
        Self {
            from: self.from,
            to: self.to.clone(),
            watermark_ms: self.watermark_ms,
            idle: self.idle,
            ticks: Vec::new(),
            counts: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            read_ms: self.read_ms,
        }
    }
}

impl Display for LedgerEntry {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Position { topic, partition, offset } = &self.to;
        write!(out, "{topic}/{partition} from {} to {offset}", self.from)
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
        self.other_versions += other.other_versions;
        self.late_duplicates += other.late_duplicates;
        self.unknown_predictions += other.unknown_predictions;
        self.unknown_labels += other.unknown_labels;
    }

    /// Rows that count in a window: neither late nor duplicates.
    pub fn counted(&self) -> i64 {
        self.produced - self.late - self.duplicates + self.late_duplicates
    }

    /// Counts what became of a label.
    pub fn match_label(&mut self, matched: Matched) {
        match matched {
            Matched::First => self.labelled += 1,
            Matched::Replaced => self.relabelled += 1,
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
        /// How many of the moments at which the pane's labels are asked for had passed when they came.
        after: u32,
        /// Their quality.
        quality: Quality,
    },
    /// Moments of the labelled predictions of a step.
    Step {
        /// Start of the step that the predictions belong to.
        step_start_ms: i64,
        /// As for outcomes; of a step there is one such moment.
        after: u32,
        /// Their moments.
        moments: StepMoments,
    },
}

impl PartialBody {
    /// The same where what it tells of labels is an age: they count in the judgements of the pane's first window from that
    /// age on, and in those of later windows that are due after these.
    #[must_use]
    pub fn without_age(self, dues: &Dues) -> Self {
        let asked = |age: u32| usize::try_from(age).ok().and_then(|age| dues.judged_at_ms.get(age).copied());
        match self {
            Self::Outcomes { pane_start_ms, after: age, quality } => {
                let first_end_ms = dues.windows.windows_of(pane_start_ms).next().map_or(0, |window| window.end_ms);
                let before = |age_ms: i64| dues.of_pane(pane_start_ms, first_end_ms + age_ms - 1);
                Self::Outcomes { pane_start_ms, after: asked(age).map_or(u32::MAX, before), quality }
            }
            Self::Step { step_start_ms, after: age, moments } => {
                Self::Step { step_start_ms, after: u32::from(asked(age).is_none()), moments }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    /// An epoch with a row of each model, of which it counts seven of the first.
    fn epoch() -> CaptureEpoch {
        let rows = |model: &str| Partial {
            model: model.to_owned(),
            version: "v1".to_owned(),
            reference: None,
            segment: None,
            body: PartialBody::Rows { pane_start_ms: 0, rows: 1 },
        };
        let entry = LedgerEntry {
            from: 0,
            to: Position { topic: "inferences".to_owned(), partition: 0, offset: 7 },
            watermark_ms: Some(1),
            idle: false,
            ticks: Vec::new(),
            counts: BTreeMap::from([("a".to_owned(), EventCounts { produced: 7, ..EventCounts::default() })]),
            dead_letters: BTreeMap::new(),
            read_ms: Some(1),
        };
        CaptureEpoch { ledger: vec![entry], partials: MODELS.map(rows).to_vec(), continues: false }
    }

    fn produced(epochs: &[CaptureEpoch]) -> i64 {
        epochs.iter().flat_map(|epoch| epoch.ledger[0].counts.values()).map(|counts| counts.produced).sum()
    }

    #[test]
    fn every_monitor_is_told_what_was_read_and_of_its_own_models_only() {
        let spread = epoch().spread(3);
        assert_eq!(epoch().spread(1), [epoch()]);
        let told = |spread: &CaptureEpoch| (spread.ledger[0].to.clone(), spread.ledger[0].watermark_ms);
        assert!(spread.iter().all(|spread| told(spread) == told(&epoch())));
        assert_eq!(produced(&spread), 7, "counts are told once");
        for (monitor, epoch) in (0..).zip(&spread) {
            assert!(epoch.partials.iter().all(|partial| monitor_of(&partial.model, 3) == monitor));
        }
        assert_eq!(spread.iter().map(|epoch| epoch.partials.len()).sum::<usize>(), MODELS.len());
    }

    #[test]
    fn an_epoch_too_large_for_a_record_is_told_in_several_in_its_order() {
        assert_eq!(epoch().into_records(0, usize::MAX).unwrap().len(), 1);
        for (most_bytes, wanted) in [(1, 6), (40, 3)] {
            let records = epoch().into_records(0, most_bytes).unwrap();
            let values = records.iter().map(|record| record.value.as_deref().unwrap());
            let parts: Vec<CaptureEpoch> = values.map(|value| rmp_serde::from_slice(value).unwrap()).collect();
            assert_eq!(parts.len(), wanted, "{parts:?}");
            let continues: Vec<_> = parts.iter().map(|part| part.continues).collect();
            assert_eq!(continues.iter().position(|continues| !continues), Some(wanted - 1), "all but the last");
            assert_eq!(produced(&parts), 7, "counts are told once");
            assert_eq!(parts.last().unwrap().ledger, epoch().ledger);
            let partials: Vec<_> = parts.into_iter().flat_map(|part| part.partials).collect();
            assert_eq!(partials, epoch().partials);
        }
    }

    #[test]
    fn a_record_that_is_not_one_of_several_is_written_as_it_always_was() {
        let bytes = rmp_serde::to_vec(&(epoch().ledger, epoch().partials)).unwrap();
        assert_eq!(rmp_serde::to_vec(&epoch()).unwrap(), bytes);
        assert_eq!(rmp_serde::from_slice::<CaptureEpoch>(&bytes).unwrap(), epoch());
    }
}
