//! Labelled rows as a batch: the columns of the prediction, then label, age and sign.

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
    pub(super) age: u8,
    pub(super) sign: i8,
}

/// Gathers the rows of outcomes.
pub(super) fn gather(kept: &KeptColumns, outcomes: &[Outcome], kind: ColumnKind) -> Result<RecordBatch, JoinError> {
    let mut columns = kept.columns(outcomes.iter().map(|outcome| outcome.row.as_ref()))?;
    columns.push(labels(outcomes, kind));
    columns.push(Arc::new(Int64Array::from_iter_values(outcomes.iter().map(|outcome| i64::from(outcome.age)))));
    columns.push(Arc::new(Int8Array::from_iter_values(outcomes.iter().map(|outcome| outcome.sign))));
    Ok(RecordBatch::try_new(outcome_schema(kept.schema(), kind), columns)?)
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
