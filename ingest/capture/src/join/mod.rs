//! The label join of one model and partition: which prediction a label belongs to, and what that adds to its window.
//!
//! Rules, all of them functions of each partition's own records, so that the order in which predictions and labels are
//! read does not matter:
//! - An inference is known by its id and version: several versions may answer the same request. The first wins as long as
//!   it is within the label horizon of the inference watermark. An id that comes again after that is a new prediction.
//! - A label came when its partition's watermark stood where it did just before it; that decides which judgements it is
//!   early enough for (see `dues`). Its effective time is the later of that and its own time. It belongs to the
//!   prediction of its id for which that is no later than the horizon, and no earlier than the inference watermark just
//!   before the prediction; these spans do not overlap, so it belongs to one of each version.
//! - Of several labels the last on the log wins, and one on the log wins over one that the prediction carries: the old
//!   outcome is taken back and the new one added, both as if they had come when the later did, so that what was judged before
//!   stays as it was.
//! - A label that is declared by its absence counts as come when its partition's watermark passes the moment, and before
//!   any label read after that.
//! - Labels wait for predictions, of other versions too, until these can no longer come.
//!
//! Nothing is dropped when the bound on ids is reached: [`JoinError::TooManyPending`] stops the stage, and the log waits.
//!
//! What is held of the ids is kept in `store`, in memory and beyond its bound on local disk; the rules do not know where.
//! After an error the join is of no more use, and the log gives it back.

mod dues;
mod entry;
mod kept;
mod memory;
mod outcome;
mod policy;
mod run;
mod section;
mod space;
mod store;

pub use dues::Dues;
pub use kept::KeptColumns;
pub use outcome::{OUTCOME_AFTER, OUTCOME_AFTER_STEP, OUTCOME_LABEL, OUTCOME_SIGN, label_at, outcome_schema};
pub use policy::{AbsentMeans, LabelPolicy};
pub use space::{LabelSpace, SpaceError};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use detectors::schema::Task;
use dues::After;
use entry::{Entry, Held, HeldLabel};
use memory::Due;
use outcome::{Outcome, gather};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::{Added, Found, Passing, Store, Undeclared};
use streams::log::Offset;
use thiserror::Error;

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
    /// Ids cannot be held.
    #[error(transparent)]
    Space(#[from] SpaceError),
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
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'a> {
    /// The version that answered.
    pub version: &'a Arc<str>,
    /// The columns that its outcome needs, from the join's [`KeptColumns`].
    pub row: &'a [u8],
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

/// What became of a label and a prediction that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// It is the first label of its prediction.
    First,
    /// It replaced another.
    Replaced,
}

/// A label as it enters the join.
#[derive(Debug, Clone, PartialEq)]
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

/// The ids of one model and partition that may still be labelled.
#[derive(Debug)]
pub struct LabelJoin {
    policy: LabelPolicy,
    dues: Dues,
    kept: Arc<KeptColumns>,
    versions: Versions,
    store: Store,
    findings: Findings,
    /// The inference watermark up to which labels without a prediction were let go.
    orphaned_to_ms: Option<i64>,
}

/// The versions of the predictions, which are held by number.
#[derive(Debug, Default)]
struct Versions {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

/// What the join has found out since it was last asked.
#[derive(Debug, Default)]
struct Findings {
    outcomes: Vec<Outcome>,
    needs: Vec<Need>,
    declared: i64,
}

impl LabelJoin {
    /// A join that holds nothing.
    pub fn new(policy: LabelPolicy, dues: Dues, kept: Arc<KeptColumns>, space: &Arc<LabelSpace>) -> Self {
        let store = Store::new(space, policy.absent.as_ref().map(|absent| absent.after_ms));
        Self {
            policy,
            dues,
            kept,
            versions: Versions::default(),
            store,
            findings: Findings::default(),
            orphaned_to_ms: None,
        }
    }

    /// How many ids are held.
    pub fn held(&self) -> usize {
        self.store.held()
    }

    /// Takes in a prediction, with the label that it carries itself.
    ///
    /// # Errors
    /// When the bound on ids is reached, or they cannot be held.
    pub fn predict(
        &mut self,
        id: &str,
        prediction: Prediction<'_>,
        own: Option<LabelValue>,
    ) -> Result<(Taken, Vec<Matched>), JoinError> {
        let mut found = self.find(id)?;
        let version = self.versions.number(prediction.version);
        if let Some(first) = found.entry.first_at(version, (prediction.watermark_ms, self.policy.horizon_ms)) {
            let is_later = prediction.time_ms > first.time_ms;
            return Ok((if is_later { Taken::LaterDuplicate } else { Taken::Duplicate }, Vec::new()));
        }
        self.check_bound(&found)?;
        let mut held = prediction.held(version);
        let Self { policy, dues, findings, .. } = self;
        let rules = Rules { policy, dues };
        let (time_ms, offset) = (prediction.time_ms, prediction.offset);
        let own = own.map(|value| Label { value, time_ms, watermark_ms: None, offset });
        let mut matched: Vec<_> = own.into_iter().map(|label| findings.count(rules, &mut held, label)).collect();
        for waiting in &mut found.entry.labels {
            if !policy.fits(&waiting.label, &held) {
                continue;
            }
            waiting.has_met = true;
            matched.push(findings.count(rules, &mut held, waiting.label.clone()));
        }
        found.entry.predictions.reserve_exact(1);
        found.entry.predictions.push(held);
        self.store.put(id, &found, Added::Prediction(time_ms))?;
        Ok((Taken::First, matched))
    }

    /// Takes in a label; says what became of each prediction that it belongs to.
    ///
    /// # Errors
    /// When the bound on ids is reached, or they cannot be held.
    pub fn label(&mut self, id: &str, label: Label) -> Result<Vec<Matched>, JoinError> {
        let mut found = self.find(id)?;
        let Self { policy, dues, findings, .. } = self;
        let rules = Rules { policy, dues };
        let own = found.entry.predictions.iter_mut().filter(|held| policy.fits(&label, held));
        let matched: Vec<_> = own.map(|held| findings.count(rules, held, label.clone())).collect();
        let time_ms = label.time_ms;
        if !matched.is_empty() && self.orphaned_to_ms.is_some_and(|to_ms| time_ms < to_ms) {
            // No other version can answer any more.
            self.store.put(id, &found, Added::Nothing)?;
            return Ok(matched);
        }
        self.check_bound(&found)?;
        found.entry.labels.push(HeldLabel { label, has_met: !matched.is_empty() });
        self.store.put(id, &found, Added::Label(time_ms))?;
        Ok(matched)
    }

    /// Lets go of the ids that neither partition's watermark allows any more, and declares absent labels.
    ///
    /// # Errors
    /// When ids cannot be held.
    pub fn pass(&mut self, inference_ms: Option<i64>, label_ms: Option<i64>) -> Result<Passed, JoinError> {
        let mut passed = Passed::default();
        if let (Some(inference_ms), Some(label_ms)) = (inference_ms, label_ms) {
            self.declare(label_ms)?;
            passed.expired = self.expire(inference_ms.min(label_ms).saturating_sub(self.policy.horizon_ms))?;
            // A label that is older than this belongs to no prediction that is still to come.
            passed.orphaned = self.orphan(inference_ms)?;
            self.orphaned_to_ms = self.orphaned_to_ms.max(Some(inference_ms));
            self.store.delete_empty_runs();
        }
        passed.declared = std::mem::take(&mut self.findings.declared);
        Ok(passed)
    }

    /// The records that a restart must read again for longer than their own times ask for, since the last call.
    pub fn take_needs(&mut self) -> Vec<Need> {
        std::mem::take(&mut self.findings.needs)
    }

    /// Whether labelled rows are waiting to be taken.
    pub fn has_outcomes(&self) -> bool {
        !self.findings.outcomes.is_empty()
    }

    /// Forgets the labelled rows, which a restart has counted already.
    pub fn discard_outcomes(&mut self) {
        self.findings.outcomes.clear();
    }

    /// The labelled rows since the last call, by version, with the columns of [`outcome_schema`].
    ///
    /// # Errors
    /// When the rows do not fit together.
    pub fn take_outcomes(&mut self, task: &Task) -> Result<Vec<(Arc<str>, RecordBatch)>, JoinError> {
        let mut by_version: BTreeMap<&Arc<str>, Vec<Outcome>> = BTreeMap::new();
        for outcome in std::mem::take(&mut self.findings.outcomes) {
            let Some(version) = self.versions.names.get(outcome.version as usize) else { continue };
            by_version.entry(version).or_default().push(outcome);
        }
        by_version
            .into_iter()
            .map(|(version, outcomes)| Ok((Arc::clone(version), gather(&self.kept, &outcomes, task.outcome_kind())?)))
            .collect()
    }

    /// What is held of an id, with the labels that were declared absent.
    fn find(&self, id: &str) -> Result<Found, JoinError> {
        let mut found = self.store.find(id)?;
        found.entry.note_declared(&self.policy, found.declared_to_ms);
        Ok(found)
    }

    /// Refuses another id where there are as many as there may be.
    fn check_bound(&self, found: &Found) -> Result<(), JoinError> {
        if !found.is_new() {
            return Ok(());
        }
        let (held, bound) = (self.store.held(), self.policy.max_pending);
        if held >= bound { Err(JoinError::TooManyPending { held, bound }) } else { Ok(()) }
    }

    /// Declares the label of predictions that are due.
    fn declare(&mut self, label_ms: i64) -> Result<(), JoinError> {
        while let Some(undeclared) = self.store.take_undeclared(label_ms)? {
            let Self { policy, dues, findings, .. } = self;
            let mut declare = |held: &mut Held| findings.declare(Rules { policy, dues }, held, Some(label_ms));
            match undeclared {
                Undeclared::Seen(mut entry) => entry.predictions.iter_mut().for_each(declare),
                Undeclared::Taken(mut taken) => {
                    taken.entry.note_declared(policy, taken.declared_to_ms);
                    taken.entry.predictions.iter_mut().for_each(&mut declare);
                    self.store.put_back(&taken)?;
                }
            }
        }
        Ok(())
    }

    /// Lets go of the predictions before this time; says how many had no label.
    fn expire(&mut self, over_ms: i64) -> Result<i64, JoinError> {
        let mut expired = 0;
        while let Some(passing) = self.store.take_passing(Due::Prediction, over_ms)? {
            match passing {
                Passing::Alone { time_ms, counted, declared_to_ms } => {
                    expired += i64::from(!counted && !self.policy.is_declared(time_ms, declared_to_ms));
                }
                Passing::Entry(mut taken) => {
                    taken.entry.note_declared(&self.policy, taken.declared_to_ms);
                    taken.entry.predictions.retain(|held| {
                        let is_over = held.time_ms < over_ms;
                        expired += i64::from(is_over && held.counted.is_none());
                        !is_over
                    });
                    self.store.put_back(&taken)?;
                }
            }
        }
        Ok(expired)
    }

    /// Lets go of the labels before this time; says how many have found no prediction.
    fn orphan(&mut self, over_ms: i64) -> Result<i64, JoinError> {
        let mut orphaned = 0;
        while let Some(passing) = self.store.take_passing(Due::Label, over_ms)? {
            match passing {
                Passing::Alone { counted, .. } => orphaned += i64::from(!counted),
                Passing::Entry(mut taken) => {
                    taken.entry.note_declared(&self.policy, taken.declared_to_ms);
                    taken.entry.labels.retain(|held| {
                        let is_over = held.label.time_ms < over_ms;
                        orphaned += i64::from(is_over && !held.has_met);
                        !is_over
                    });
                    self.store.put_back(&taken)?;
                }
            }
        }
        Ok(orphaned)
    }
}

impl Prediction<'_> {
    fn held(&self, version: u32) -> Held {
        let Self { row, time_ms, watermark_ms, offset, late, .. } = *self;
        Held { version, row: row.into(), time_ms, watermark_ms, offset, late, counted: None }
    }
}

impl Versions {
    fn number(&mut self, version: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(version) {
            return *number;
        }
        // More versions than that are more than memory holds.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(Arc::clone(version));
        self.numbers.insert(Arc::clone(version), number);
        number
    }
}

impl Entry {
    /// The prediction of which one of the same version that comes at this watermark is a duplicate.
    fn first_at(&self, version: u32, (watermark_ms, horizon_ms): (Option<i64>, i64)) -> Option<&Held> {
        let is_within = |held: &Held| watermark_ms.is_none_or(|at| at <= held.time_ms.saturating_add(horizon_ms));
        let is_held = |held: &&Held| held.version == version && is_within(held);
        self.predictions.iter().find(is_held)
    }

    /// Takes down the labels whose absence has been declared when their partition's watermark stood there.
    fn note_declared(&mut self, policy: &LabelPolicy, declared_to_ms: Option<i64>) {
        for held in self.predictions.iter_mut().filter(|held| held.counted.is_none()) {
            if policy.is_declared(held.time_ms, declared_to_ms) {
                held.counted = policy.absent_label(held.time_ms);
            }
        }
    }
}

/// What decides when labels count.
#[derive(Clone, Copy)]
struct Rules<'a> {
    policy: &'a LabelPolicy,
    dues: &'a Dues,
}

impl Findings {
    fn count(&mut self, rules: Rules<'_>, held: &mut Held, label: Label) -> Matched {
        self.declare(rules, held, label.watermark_ms);
        let time_ms = held.time_ms;
        // A restart that read only the later of the two would take it for unmatched.
        self.needs.push(match label.time_ms < time_ms {
            true => Need::Label { offset: label.offset, until_ms: time_ms },
            false => Need::Prediction { offset: held.offset, until_ms: label.time_ms },
        });
        let came_ms = label.watermark_ms.unwrap_or(i64::MIN);
        let (matched, came_ms) = match held.counted.take() {
            None => (Matched::First, came_ms),
            Some((old, old_came_ms)) => {
                let came_ms = came_ms.max(old_came_ms);
                self.emit(held, old, (rules.dues.after(time_ms, came_ms), -1));
                (Matched::Replaced, came_ms)
            }
        };
        self.emit(held, label.value.clone(), (rules.dues.after(time_ms, came_ms), 1));
        held.counted = Some((label.value, came_ms));
        matched
    }

    /// Declares the label absent if it has not come and is due.
    fn declare(&mut self, rules: Rules<'_>, held: &mut Held, label_watermark_ms: Option<i64>) {
        if held.counted.is_some() || !rules.policy.is_declared(held.time_ms, label_watermark_ms) {
            return;
        }
        let Some((label, came_ms)) = rules.policy.absent_label(held.time_ms) else { return };
        self.emit(held, label.clone(), (rules.dues.after(held.time_ms, came_ms), 1));
        held.counted = Some((label, came_ms));
        self.declared += 1;
    }

    fn emit(&mut self, held: &Held, label: LabelValue, (after, sign): (After, i8)) {
        if !held.late {
            self.outcomes.push(Outcome { version: held.version, row: held.row.clone(), label, after, sign });
        }
    }
}

#[cfg(test)]
mod tests;
