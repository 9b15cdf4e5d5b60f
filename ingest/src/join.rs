//! The label join of one model and partition: which prediction a label belongs to, and what that adds to its window.
//!
//! Rules, all of them functions of each partition's own records, so that the order in which predictions and labels are
//! read does not matter:
//! - The first inference of an id wins as long as the id is within the label horizon of the inference watermark.
//! - A label counts when its label partition's watermark just before it had not passed the prediction's horizon.
//! - A label's age is measured from the later of its own time and its partition's watermark; it decides for which
//!   judgements the label is early enough. Of several labels the last on the log wins: the old outcome is taken back and
//!   the new one added, both at the greater age, so that what was judged before stays as it was.
//! - Labels that come first wait, all of them, until their prediction comes or can no longer come.
//!
//! Nothing is dropped when the bound on ids is reached: [`JoinError::TooManyPending`] stops the stage, and the log waits.

use detectors::schema::{ColumnKind, Task};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use thiserror::Error;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

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
}

/// What became of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// It is the first label of its prediction.
    First,
    /// It replaced another.
    Replaced,
    /// Its prediction has not come.
    Waiting,
    /// It came after the horizon of its prediction.
    TooLate,
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

#[derive(Debug)]
enum Entry {
    Waiting(Vec<Label>),
    Predicted { prediction: Prediction, counted: Option<(LabelValue, u8)> },
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
    predicted_at: BTreeMap<i64, Vec<Arc<str>>>,
    labelled_at: BTreeMap<i64, Vec<Arc<str>>>,
    /// Ids whose absent label is to be declared, by the time that is due.
    declared_at: BTreeMap<i64, Vec<Arc<str>>>,
    outcomes: Vec<Outcome>,
}

impl LabelJoin {
    /// A join that holds nothing.
    pub fn new(policy: LabelPolicy) -> Self {
        Self {
            policy,
            entries: HashMap::new(),
            predicted_at: BTreeMap::new(),
            labelled_at: BTreeMap::new(),
            declared_at: BTreeMap::new(),
            outcomes: Vec::new(),
        }
    }

    /// How many ids are held.
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// Takes in a prediction; `watermark_ms` is its partition's watermark just before it.
    ///
    /// # Errors
    /// When the bound on ids is reached.
    pub fn predict(
        &mut self,
        id: &str,
        prediction: Prediction,
        watermark_ms: Option<i64>,
    ) -> Result<(Taken, Vec<Matched>), JoinError> {
        let horizon_ms = self.policy.horizon_ms;
        let still_held = |time_ms: i64| watermark_ms.is_none_or(|at| at <= time_ms.saturating_add(horizon_ms));
        let waiting = match self.entries.remove_entry(id) {
            Some((id, Entry::Predicted { prediction: first, counted })) if still_held(first.time_ms) => {
                self.entries.insert(id, Entry::Predicted { prediction: first, counted });
                return Ok((Taken::Duplicate, Vec::new()));
            }
            Some((_, Entry::Waiting(labels))) => labels,
            _ => Vec::new(),
        };
        self.check_bound()?;
        let id: Arc<str> = id.into();
        self.predicted_at.entry(prediction.time_ms).or_default().push(Arc::clone(&id));
        if let Some(absent) = &self.policy.absent {
            let due = prediction.time_ms.saturating_add(absent.after_ms);
            self.declared_at.entry(due).or_default().push(Arc::clone(&id));
        }
        let mut counted = None;
        let mut matched = Vec::new();
        for label in waiting.into_iter().filter(|label| still_held(label.time_ms)) {
            matched.push(self.count(&prediction, &mut counted, label));
        }
        self.entries.insert(id, Entry::Predicted { prediction, counted });
        Ok((Taken::First, matched))
    }

    /// Takes in a label.
    ///
    /// # Errors
    /// When the bound on ids is reached.
    pub fn label(&mut self, id: &str, label: Label) -> Result<Matched, JoinError> {
        match self.entries.remove_entry(id) {
            Some((id, Entry::Predicted { prediction, mut counted })) => {
                let matched = self.count(&prediction, &mut counted, label);
                self.entries.insert(id, Entry::Predicted { prediction, counted });
                Ok(matched)
            }
            Some((id, Entry::Waiting(mut labels))) => {
                self.labelled_at.entry(label.time_ms).or_default().push(Arc::clone(&id));
                labels.push(label);
                self.entries.insert(id, Entry::Waiting(labels));
                Ok(Matched::Waiting)
            }
            None => {
                self.check_bound()?;
                let id: Arc<str> = id.into();
                self.labelled_at.entry(label.time_ms).or_default().push(Arc::clone(&id));
                self.entries.insert(id, Entry::Waiting(vec![label]));
                Ok(Matched::Waiting)
            }
        }
    }

    /// Lets go of the ids that neither partition's watermark allows any more, and declares absent labels.
    pub fn pass(&mut self, inference_ms: Option<i64>, label_ms: Option<i64>) -> Passed {
        let mut passed = Passed::default();
        let (Some(inference_ms), Some(label_ms)) = (inference_ms, label_ms) else { return passed };
        passed.declared = self.declare(label_ms);
        let horizon_ms = self.policy.horizon_ms;
        // An id may have come again after its horizon: only the entry that is over goes.
        let over_ms = inference_ms.min(label_ms).saturating_sub(horizon_ms);
        for id in take_before(&mut self.predicted_at, over_ms) {
            if let Some(Entry::Predicted { prediction, counted }) = self.entries.get(&id)
                && prediction.time_ms < over_ms
            {
                passed.expired += i64::from(counted.is_none());
                self.entries.remove(&id);
            }
        }
        let over_ms = inference_ms.saturating_sub(horizon_ms);
        for id in take_before(&mut self.labelled_at, over_ms) {
            if let Some(Entry::Waiting(labels)) = self.entries.get(&id)
                && labels.iter().all(|label| label.time_ms < over_ms)
            {
                passed.orphaned += i64::try_from(labels.len()).unwrap_or(i64::MAX);
                self.entries.remove(&id);
            }
        }
        passed
    }

    /// Whether labelled rows are waiting to be taken.
    pub fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Forgets the labelled rows, which a restart has counted already.
    pub fn discard_outcomes(&mut self) {
        self.outcomes.clear();
    }

    /// The labelled rows since the last call, by version: the prediction's columns, then label, age and sign.
    ///
    /// # Errors
    /// When the rows do not fit together.
    pub fn take_outcomes(&mut self, task: &Task) -> Result<Vec<(Arc<str>, RecordBatch)>, JoinError> {
        let mut by_version: BTreeMap<Arc<str>, Vec<Outcome>> = BTreeMap::new();
        for outcome in std::mem::take(&mut self.outcomes) {
            by_version.entry(Arc::clone(&outcome.prediction.version)).or_default().push(outcome);
        }
        by_version
            .into_iter()
            .map(|(version, outcomes)| Ok((version, gather(&outcomes, task.outcome_kind())?)))
            .collect()
    }

    fn count(&mut self, prediction: &Prediction, counted: &mut Option<(LabelValue, u8)>, label: Label) -> Matched {
        let deadline = prediction.time_ms.saturating_add(self.policy.horizon_ms);
        if label.watermark_ms.is_some_and(|at| at > deadline) {
            return Matched::TooLate;
        }
        let age = self.policy.age_of(label.time_ms.saturating_sub(prediction.time_ms));
        let (matched, age) = match counted.take() {
            None => (Matched::First, age),
            Some((old, old_age)) => {
                let age = age.max(old_age);
                self.emit(prediction, old, age, -1);
                (Matched::Replaced, age)
            }
        };
        self.emit(prediction, label.value.clone(), age, 1);
        *counted = Some((label.value, age));
        matched
    }

    fn emit(&mut self, prediction: &Prediction, label: LabelValue, age: u8, sign: i8) {
        if !prediction.late {
            self.outcomes.push(Outcome { prediction: prediction.clone(), label, age, sign });
        }
    }

    /// Declares the label of predictions that are due; says how many.
    fn declare(&mut self, label_ms: i64) -> i64 {
        let Some(absent) = self.policy.absent.clone() else { return 0 };
        let mut declared = 0;
        for id in take_before(&mut self.declared_at, label_ms) {
            let Some((id, Entry::Predicted { prediction, counted: None })) = self.remove_unlabelled(&id) else {
                continue;
            };
            let label = Label {
                value: LabelValue::Class(absent.label.as_str().into()),
                time_ms: prediction.time_ms.saturating_add(absent.after_ms),
                watermark_ms: None,
            };
            let mut counted = None;
            self.count(&prediction, &mut counted, label);
            self.entries.insert(id, Entry::Predicted { prediction, counted });
            declared += 1;
        }
        declared
    }

    fn remove_unlabelled(&mut self, id: &Arc<str>) -> Option<(Arc<str>, Entry)> {
        match self.entries.get(id) {
            Some(Entry::Predicted { counted: None, .. }) => self.entries.remove_entry(id),
            _ => None,
        }
    }

    fn check_bound(&self) -> Result<(), JoinError> {
        let (held, bound) = (self.entries.len(), self.policy.max_pending);
        if held >= bound { Err(JoinError::TooManyPending { held, bound }) } else { Ok(()) }
    }
}

fn take_before(by_time: &mut BTreeMap<i64, Vec<Arc<str>>>, time_ms: i64) -> impl Iterator<Item = Arc<str>> + use<> {
    let kept = by_time.split_off(&time_ms);
    std::mem::replace(by_time, kept).into_values().flatten()
}

fn gather(outcomes: &[Outcome], kind: ColumnKind) -> Result<RecordBatch, JoinError> {
    let mut batches: Vec<&Arc<RecordBatch>> = Vec::new();
    let mut places = HashMap::new();
    let mut rows = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let batch = &outcome.prediction.batch;
        let place = *places.entry(Arc::as_ptr(batch)).or_insert_with(|| {
            batches.push(batch);
            batches.len() - 1
        });
        rows.push((place, outcome.prediction.row));
    }
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), |batch| batch.schema());
    let mut columns = Vec::with_capacity(schema.fields().len() + 3);
    for column in 0..schema.fields().len() {
        let parts: Vec<_> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        columns.push(interleave(&parts, &rows)?);
    }
    columns.push(labels(outcomes, kind));
    columns.push(Arc::new(Int64Array::from_iter_values(outcomes.iter().map(|outcome| i64::from(outcome.age)))));
    columns.push(Arc::new(Int8Array::from_iter_values(outcomes.iter().map(|outcome| outcome.sign))));
    Ok(RecordBatch::try_new(outcome_schema(&schema, kind), columns)?)
}

/// Name of the outcome's label column.
pub const OUTCOME_LABEL: &str = "outcome_label";
/// Name of the outcome's age column, Int64.
pub const OUTCOME_AGE: &str = "outcome_age";
/// Name of the outcome's sign column, Int8: −1 takes an earlier outcome back.
pub const OUTCOME_SIGN: &str = "outcome_sign";

/// The prediction's columns, then label, age and sign.
pub fn outcome_schema(predictions: &SchemaRef, kind: ColumnKind) -> SchemaRef {
    let label = Field::new(OUTCOME_LABEL, crate::columns::arrow_type(kind), true);
    let age = Field::new(OUTCOME_AGE, DataType::Int64, false);
    let sign = Field::new(OUTCOME_SIGN, DataType::Int8, false);
    let fields = predictions.fields().iter().cloned().chain([label, age, sign].map(Arc::new));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn labels(outcomes: &[Outcome], kind: ColumnKind) -> ArrayRef {
    match kind {
        ColumnKind::Numeric => Arc::new(Float64Array::from_iter(outcomes.iter().map(|outcome| match &outcome.label {
            LabelValue::Number(number) => Some(*number),
            LabelValue::Class(text) => text.parse().ok(),
        }))),
        ColumnKind::Categorical => {
            Arc::new(StringArray::from_iter(outcomes.iter().map(|outcome| match &outcome.label {
                LabelValue::Class(class) => Some(class.as_ref()),
                LabelValue::Number(_) => None,
            })))
        }
    }
}

/// The label in a row of a label column; `None` where it is null.
pub fn label_at(column: &ArrayRef, row: usize) -> Option<LabelValue> {
    if column.is_null(row) {
        return None;
    }
    if let Some(classes) = column.as_string_opt::<i32>() {
        return Some(LabelValue::Class(classes.value(row).into()));
    }
    column.as_primitive_opt::<Float64Type>().map(|numbers| LabelValue::Number(numbers.value(row)))
}
