//! Labelled rows as a batch: the columns of the prediction, then label, what the label came after, and sign.

use super::dues::After;
use super::{JoinError, KeptColumns, LabelValue};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use detectors::schema::ColumnKind;
use std::sync::Arc;

/// A labelled row, or one that is taken back.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The number of the version in its join.
    pub(super) version: u32,
    /// The prediction's row.
    pub(super) row: Box<[u8]>,
    pub(super) label: LabelValue,
    pub(super) after: After,
    pub(super) sign: i8,
}

/// Gathers the rows of outcomes.
pub(super) fn gather(kept: &KeptColumns, outcomes: &[Outcome], kind: ColumnKind) -> Result<RecordBatch, JoinError> {
    let mut columns = kept.columns(outcomes.iter().map(|outcome| outcome.row.as_ref()))?;
    columns.push(labels(outcomes, kind));
    let int64 = |of: fn(&Outcome) -> u32| Int64Array::from_iter_values(outcomes.iter().map(|one| i64::from(of(one))));
    columns.push(Arc::new(int64(|outcome| outcome.after.pane)));
    columns.push(Arc::new(int64(|outcome| outcome.after.step)));
    columns.push(Arc::new(Int8Array::from_iter_values(outcomes.iter().map(|outcome| outcome.sign))));
    Ok(RecordBatch::try_new(outcome_schema(kept.schema(), kind), columns)?)
}

/// Name of the outcome's label column.
pub const OUTCOME_LABEL: &str = "outcome_label";
/// Name of the Int64 column that says how many judgements of its pane the outcome's label came after.
pub const OUTCOME_AFTER: &str = "outcome_after";
/// Name of the Int64 column that says whether the outcome's label came after its step was handed on (1) or not (0).
pub const OUTCOME_AFTER_STEP: &str = "outcome_after_step";
/// Name of the outcome's sign column, Int8: −1 takes an earlier outcome back.
pub const OUTCOME_SIGN: &str = "outcome_sign";

/// The prediction's columns, then label, what the label came after, and sign.
pub fn outcome_schema(predictions: &SchemaRef, kind: ColumnKind) -> SchemaRef {
    let label = Field::new(OUTCOME_LABEL, codec::columns::arrow_type(kind), true);
    let after = Field::new(OUTCOME_AFTER, DataType::Int64, false);
    let after_step = Field::new(OUTCOME_AFTER_STEP, DataType::Int64, false);
    let sign = Field::new(OUTCOME_SIGN, DataType::Int8, false);
    let fields = predictions.fields().iter().cloned().chain([label, after, after_step, sign].map(Arc::new));
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
