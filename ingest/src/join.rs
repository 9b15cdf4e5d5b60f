//! The label join of one model and partition: which prediction a label belongs to, and what that adds to its window.
//!
//! Rules, all of them functions of each partition's own records, so that the order in which predictions and labels are
//! read does not matter:
//! - The first inference of an id wins as long as the id is within the label horizon of the inference watermark. An id
//!   that comes again after that is a new prediction.
//! - A label's effective time is the later of its own time and its partition's watermark just before it. It belongs to the
//!   prediction of its id for which that is no later than the horizon, and no earlier than the inference watermark just
//!   before the prediction; these spans do not overlap, so it belongs to one.
//! - The effective time gives the label's age, which decides for which judgements it is early enough. Of several labels
//!   the last on the log wins, and one on the log wins over one that the prediction carries: the old outcome is taken back
//!   and the new one added, both at the greater age, so that what was judged before stays as it was.
//! - A label that is declared by its absence counts as come when its partition's watermark passes the moment, and before
//!   any label read after that.
//! - Labels that belong to no prediction yet wait until theirs can no longer come.
//!
//! Nothing is dropped when the bound on ids is reached: [`JoinError::TooManyPending`] stops the stage, and the log waits.

mod outcome;

pub use outcome::{OUTCOME_AGE, OUTCOME_LABEL, OUTCOME_SIGN, label_at, outcome_schema};

use crate::log::Offset;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use detectors::schema::Task;
use outcome::gather;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use thiserror::Error;

/// When labels count, and how long they are waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelPolicy {
    /// Ages at which a window may be judged, ascending, in milliseconds; at the last one it is.
    pub ages_ms: Vec<i64>,
    /// Share of labelled rows that lets a window be judged at an earlier age than the last.
    pub coverage: Option<f64>,
    /// How long after its prediction a label still counts at all.
    pub horizon_ms: i64,
    /// What a label that never comes means.
    pub absent: Option<AbsentMeans>,
    /// Most ids held at once in one partition.
    pub max_pending: usize,
}

/// The meaning of a label that does not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentMeans {
    /// The label then taken to be true.
    pub label: String,
    /// How long after the prediction, in milliseconds.
    pub after_ms: i64,
}

impl LabelPolicy {
    /// The age at which labels are mature for good, in milliseconds.
    pub fn mature_ms(&self) -> i64 {
        self.ages_ms.last().copied().unwrap_or(0)
    }

    /// The first of the ages that a label `delay_ms` after its prediction makes; one beyond the last where none.
    fn age_of(&self, delay_ms: i64) -> u8 {
        let age = self.ages_ms.partition_point(|age_ms| *age_ms < delay_ms);
        u8::try_from(age).unwrap_or(u8::MAX)
    }

    /// Whether the label belongs to the prediction, given that their ids are the same.
    fn fits(&self, label: &Label, prediction: &Prediction) -> bool {
        prediction.watermark_ms.is_none_or(|at| at <= label.time_ms)
            && label.time_ms <= prediction.time_ms.saturating_add(self.horizon_ms)
    }

    /// Whether the label's absence has been declared when its partition's watermark stands there.
    fn is_declared(&self, prediction: &Prediction, label_watermark_ms: Option<i64>) -> bool {
        let due = self.absent.as_ref().map(|absent| prediction.time_ms.saturating_add(absent.after_ms));
        due.zip(label_watermark_ms).is_some_and(|(due, at)| due < at)
    }
}

/// Why the join cannot go on.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The bound on waiting ids is reached.
    #[error(
        "{held} ids wait for labels, the bound is {bound}: nothing was dropped; raise labels.max_pending, or shorten labels.horizon"
    )]
    TooManyPending {
        /// Ids held.
        held: usize,
        /// Most allowed.
        bound: usize,
    },
    /// Arrow refused to gather rows.
    #[error("gathering labelled rows: {0}")]
    Arrow(#[from] ArrowError),
}

/// A label's value.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelValue {
    /// A class.
    Class(Arc<str>),
    /// A number.
    Number(f64),
}

/// A prediction as it enters the join.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// The version that answered.
    pub version: Arc<str>,
    /// The batch that holds its row.
    pub batch: Arc<RecordBatch>,
    /// Its row in the batch.
    pub row: usize,
    /// Its event time.
    pub time_ms: i64,
    /// Its partition's watermark just before it.
    pub watermark_ms: Option<i64>,
    /// The offset of its record.
    pub offset: Offset,
    /// Whether it counts in no window.
    pub late: bool,
}

/// What became of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the first of its id.
    First,
    /// Its id had been seen.
    Duplicate,
    /// Its id had been seen with an earlier time, so that it may outlast what tells that it is a duplicate.
    LaterDuplicate,
}

/// What became of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// It is the first label of its prediction.
    First,
    /// It replaced another.
    Replaced,
    /// Its prediction has not come, or is out of its reach.
    Waiting,
}

/// A label as it enters the join.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its value.
    pub value: LabelValue,
    /// The later of its event time and its partition's watermark just before it.
    pub time_ms: i64,
    /// Its partition's watermark just before it.
    pub watermark_ms: Option<i64>,
    /// The offset of its record.
    pub offset: Offset,
}

/// A record that a restart must read again for longer than its own time asks for, because another depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A prediction, without which its later label would be taken for an orphan.
    Prediction {
        /// The offset of its record.
        offset: Offset,
        /// Needed as long as events of this time are.
        until_ms: i64,
    },
    /// A label, without which its later prediction would be taken for unlabelled.
    Label {
        /// The offset of its record.
        offset: Offset,
        /// Needed as long as events of this time are.
        until_ms: i64,
    },
}

/// Ids that passed out of the join.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Predictions that never got a label.
    pub expired: i64,
    /// Labels whose prediction never came.
    pub orphaned: i64,
    /// Predictions whose label was declared by its absence.
    pub declared: i64,
}

/// What is held of an id.
#[derive(Debug, Default)]
struct Entry {
    /// Its predictions within the horizon, in log order: almost always one.
    predictions: Vec<Held>,
    /// Labels that belong to none of them, in log order.
    waiting: Vec<Label>,
}

#[derive(Debug)]
struct Held {
    prediction: Prediction,
    /// The label that counts, and its age.
    counted: Option<(LabelValue, u8)>,
}

/// A labelled row, or one that is taken back.
#[derive(Debug)]
struct Outcome {
    prediction: Prediction,
    label: LabelValue,
    age: u8,
    sign: i8,
}

/// The ids of one model and partition that may still be labelled.
#[derive(Debug)]
pub struct LabelJoin {
    policy: LabelPolicy,
    entries: HashMap<Arc<str>, Entry>,
    /// Ids of predictions by event time, and of waiting labels by theirs: for expiry.
    predicted_at: BTreeSet<(i64, Arc<str>)>,
    labelled_at: BTreeSet<(i64, Arc<str>)>,
    /// Ids whose absent label is to be declared, by the time that is due.
    declared_at: BTreeSet<(i64, Arc<str>)>,
    found: Found,
}

/// What the join has found out since it was last asked.
#[derive(Debug, Default)]
struct Found {
    outcomes: Vec<Outcome>,
    needs: Vec<Need>,
    declared: i64,
}

impl LabelJoin {
    /// A join that holds nothing.
    pub fn new(policy: LabelPolicy) -> Self {
        Self {
            policy,
            entries: HashMap::new(),
            predicted_at: BTreeSet::new(),
            labelled_at: BTreeSet::new(),
            declared_at: BTreeSet::new(),
            found: Found::default(),
        }
    }

    /// How many ids are held.
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// Takes in a prediction, with the label that it carries itself.
    ///
    /// # Errors
    /// When the bound on ids is reached.
    pub fn predict(
        &mut self,
        id: &str,
        prediction: Prediction,
        own: Option<LabelValue>,
    ) -> Result<(Taken, Vec<Matched>), JoinError> {
        let known = self.entries.get_key_value(id);
        let first = known.and_then(|(_, entry)| entry.first_at(prediction.watermark_ms, self.policy.horizon_ms));
        if let Some(first) = first {
            let is_later = prediction.time_ms > first.time_ms;
            return Ok((if is_later { Taken::LaterDuplicate } else { Taken::Duplicate }, Vec::new()));
        }
        let id = self.hold(id, known)?;
        self.predicted_at.insert((prediction.time_ms, Arc::clone(&id)));
        if let Some(absent) = &self.policy.absent {
            self.declared_at.insert((prediction.time_ms.saturating_add(absent.after_ms), Arc::clone(&id)));
        }
        let Self { policy, entries, found, .. } = self;
        let entry = entries.entry(id).or_default();
        let (time_ms, offset) = (prediction.time_ms, prediction.offset);
        let own = own.map(|value| Label { value, time_ms, watermark_ms: None, offset });
        let fitting: Vec<Label> = entry.waiting.extract_if(.., |label| policy.fits(label, &prediction)).collect();
        let mut held = Held { prediction, counted: None };
        let matched = own.into_iter().chain(fitting).map(|label| found.count(policy, &mut held, label)).collect();
        // There is almost never a second one, and an id in memory for months is to take no more than it needs.
        entry.predictions.reserve_exact(1);
        entry.predictions.push(held);
        Ok((Taken::First, matched))
    }

    /// Takes in a label.
    ///
    /// # Errors
    /// When the bound on ids is reached.
    pub fn label(&mut self, id: &str, label: Label) -> Result<Matched, JoinError> {
        let Self { policy, entries, found, .. } = self;
        let mut predictions = entries.get_mut(id).into_iter().flat_map(|entry| &mut entry.predictions);
        if let Some(held) = predictions.find(|held| policy.fits(&label, &held.prediction)) {
            return Ok(found.count(policy, held, label));
        }
        let id = self.hold(id, self.entries.get_key_value(id))?;
        self.labelled_at.insert((label.time_ms, Arc::clone(&id)));
        self.entries.entry(id).or_default().waiting.push(label);
        Ok(Matched::Waiting)
    }

    /// Lets go of the ids that neither partition's watermark allows any more, and declares absent labels.
    pub fn pass(&mut self, inference_ms: Option<i64>, label_ms: Option<i64>) -> Passed {
        let mut passed = Passed::default();
        if let (Some(inference_ms), Some(label_ms)) = (inference_ms, label_ms) {
            self.declare(label_ms);
            passed.expired = self.expire(inference_ms.min(label_ms).saturating_sub(self.policy.horizon_ms));
            // A label that is older than this belongs to no prediction that is still to come.
            passed.orphaned = self.orphan(inference_ms);
        }
        passed.declared = std::mem::take(&mut self.found.declared);
        passed
    }

    /// The records that a restart must read again for longer than their own times ask for, since the last call.
    pub fn take_needs(&mut self) -> Vec<Need> {
        std::mem::take(&mut self.found.needs)
    }

    /// Whether labelled rows are waiting to be taken.
    pub fn has_outcomes(&self) -> bool {
        !self.found.outcomes.is_empty()
    }

    /// Forgets the labelled rows, which a restart has counted already.
    pub fn discard_outcomes(&mut self) {
        self.found.outcomes.clear();
    }

    /// The labelled rows since the last call, by version: the prediction's columns, then label, age and sign.
    ///
    /// # Errors
    /// When the rows do not fit together.
    pub fn take_outcomes(&mut self, task: &Task) -> Result<Vec<(Arc<str>, RecordBatch)>, JoinError> {
        let mut by_version: BTreeMap<Arc<str>, Vec<Outcome>> = BTreeMap::new();
        for outcome in std::mem::take(&mut self.found.outcomes) {
            by_version.entry(Arc::clone(&outcome.prediction.version)).or_default().push(outcome);
        }
        by_version
            .into_iter()
            .map(|(version, outcomes)| Ok((version, gather(&outcomes, task.outcome_kind())?)))
            .collect()
    }

    /// The id as it is held, if the bound allows for it.
    fn hold(&self, id: &str, known: Option<(&Arc<str>, &Entry)>) -> Result<Arc<str>, JoinError> {
        if let Some((held, _)) = known {
            return Ok(Arc::clone(held));
        }
        let (held, bound) = (self.entries.len(), self.policy.max_pending);
        if held >= bound { Err(JoinError::TooManyPending { held, bound }) } else { Ok(id.into()) }
    }

    /// Declares the label of predictions that are due.
    fn declare(&mut self, label_ms: i64) {
        let Self { policy, entries, found, .. } = self;
        for id in take_before(&mut self.declared_at, label_ms) {
            for held in entries.get_mut(&id).into_iter().flat_map(|entry| &mut entry.predictions) {
                found.declare(policy, held, Some(label_ms));
            }
        }
    }

    /// Lets go of the predictions before this time; says how many had no label.
    fn expire(&mut self, over_ms: i64) -> i64 {
        let mut expired = 0;
        for id in take_before(&mut self.predicted_at, over_ms) {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.predictions.retain(|held| {
                let is_over = held.prediction.time_ms < over_ms;
                expired += i64::from(is_over && held.counted.is_none());
                !is_over
            });
            self.forget_if_empty(&id);
        }
        expired
    }

    /// Lets go of the waiting labels before this time; says how many.
    fn orphan(&mut self, over_ms: i64) -> i64 {
        let mut orphaned = 0;
        for id in take_before(&mut self.labelled_at, over_ms) {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.waiting.retain(|label| {
                let is_over = label.time_ms < over_ms;
                orphaned += i64::from(is_over);
                !is_over
            });
            self.forget_if_empty(&id);
        }
        orphaned
    }

    fn forget_if_empty(&mut self, id: &Arc<str>) {
        if self.entries.get(id).is_some_and(|entry| entry.predictions.is_empty() && entry.waiting.is_empty()) {
            self.entries.remove(id);
        }
    }
}

impl Entry {
    /// The prediction of which one that comes at this watermark is a duplicate.
    fn first_at(&self, watermark_ms: Option<i64>, horizon_ms: i64) -> Option<&Prediction> {
        let is_held =
            |held: &&Held| watermark_ms.is_none_or(|at| at <= held.prediction.time_ms.saturating_add(horizon_ms));
        self.predictions.iter().find(is_held).map(|held| &held.prediction)
    }
}

impl Found {
    fn count(&mut self, policy: &LabelPolicy, held: &mut Held, label: Label) -> Matched {
        self.declare(policy, held, label.watermark_ms);
        let time_ms = held.prediction.time_ms;
        // A restart that read only the later of the two would take it for unmatched.
        self.needs.push(match label.time_ms < time_ms {
            true => Need::Label { offset: label.offset, until_ms: time_ms },
            false => Need::Prediction { offset: held.prediction.offset, until_ms: label.time_ms },
        });
        let age = policy.age_of(label.time_ms.saturating_sub(time_ms));
        let (matched, age) = match held.counted.take() {
            None => (Matched::First, age),
            Some((old, old_age)) => {
                let age = age.max(old_age);
                self.emit(&held.prediction, old, (age, -1));
                (Matched::Replaced, age)
            }
        };
        self.emit(&held.prediction, label.value.clone(), (age, 1));
        held.counted = Some((label.value, age));
        matched
    }

    /// Declares the label absent if it has not come and is due.
    fn declare(&mut self, policy: &LabelPolicy, held: &mut Held, label_watermark_ms: Option<i64>) {
        let Some(absent) = &policy.absent else { return };
        if held.counted.is_some() || !policy.is_declared(&held.prediction, label_watermark_ms) {
            return;
        }
        let (label, age) = (LabelValue::Class(absent.label.as_str().into()), policy.age_of(absent.after_ms));
        self.emit(&held.prediction, label.clone(), (age, 1));
        held.counted = Some((label, age));
        self.declared += 1;
    }

    fn emit(&mut self, prediction: &Prediction, label: LabelValue, (age, sign): (u8, i8)) {
        if !prediction.late {
            self.outcomes.push(Outcome { prediction: prediction.clone(), label, age, sign });
        }
    }
}

fn take_before(by_time: &mut BTreeSet<(i64, Arc<str>)>, time_ms: i64) -> impl Iterator<Item = Arc<str>> + use<> {
    let kept = match by_time.first() {
        Some((first_ms, _)) if *first_ms < time_ms => by_time.split_off(&(time_ms, "".into())),
        _ => std::mem::take(by_time),
    };
    std::mem::replace(by_time, kept).into_iter().map(|(_, id)| id)
}

#[cfg(test)]
mod tests;
