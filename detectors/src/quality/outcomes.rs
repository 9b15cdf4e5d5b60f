//! Labelled rows as they arrive, and their decoding into classes and numbers.
//!
//! A batch is decoded once, column by column, and then handed out row by row, so that binary, multiclass and step sums
//! share one reading of what is null, unknown or impossible.

use super::{QualityError, Sign};
use crate::schema::Task;
use arrow::array::{Array, ArrayRef, Float64Array, Int8Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Rows of one batch for which a label is known.
#[derive(Debug, Clone, Copy)]
pub struct Outcomes<'a> {
    /// What the model predicts.
    pub task: &'a Task,
    /// The model's answers: strings for a classifier, numbers for a regression.
    pub prediction: &'a ArrayRef,
    /// One column for each of [`Task::score_columns`], in that order; none where the model gives no scores.
    pub scores: &'a [ArrayRef],
    /// What was right, of the same type as the answers.
    pub label: &'a ArrayRef,
    /// +1 adds the row; -1 takes it back, as a corrected label does with the old one.
    pub sign: &'a Int8Array,
}

/// How many rows had something that could not be used. A row may be counted under several names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusions {
    /// No label.
    pub null_label: i64,
    /// A label that is no class of the task, or not a finite number.
    pub invalid_label: i64,
    /// No prediction.
    pub null_prediction: i64,
    /// A prediction that is no class of the task, or not a finite number.
    pub invalid_prediction: i64,
    /// No score, or none for one of several classes.
    pub null_score: i64,
    /// A score that is NaN or outside [0, 1].
    pub invalid_score: i64,
}

impl Exclusions {
    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        let factor = sign.factor();
        self.null_label += factor * other.null_label;
        self.invalid_label += factor * other.invalid_label;
        self.null_prediction += factor * other.null_prediction;
        self.invalid_prediction += factor * other.invalid_prediction;
        self.null_score += factor * other.null_score;
        self.invalid_score += factor * other.invalid_score;
    }

    pub(super) fn count_classes(&mut self, row: &ClassRow<'_>) {
        count(&row.label, row.sign, (&mut self.null_label, &mut self.invalid_label));
        count(&row.prediction, row.sign, (&mut self.null_prediction, &mut self.invalid_prediction));
        count(&row.scores, row.sign, (&mut self.null_score, &mut self.invalid_score));
    }

    pub(super) fn count_numbers(&mut self, row: &NumberRow) {
        count(&row.label, row.sign, (&mut self.null_label, &mut self.invalid_label));
        count(&row.prediction, row.sign, (&mut self.null_prediction, &mut self.invalid_prediction));
    }
}

/// What a cell holds, once held against the task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<T> {
    Null,
    /// Of no known class, not finite, or no probability.
    Invalid,
    Usable(T),
}

impl<T: Copy> Cell<T> {
    pub(super) fn usable(&self) -> Option<T> {
        match self {
            Self::Usable(value) => Some(*value),
            Self::Null | Self::Invalid => None,
        }
    }
}

/// One labelled row of a classifier; classes are places in [`Task::classes`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassRow<'a> {
    pub label: Cell<u16>,
    pub prediction: Cell<u16>,
    /// One probability for each score column.
    pub scores: Cell<&'a [f64]>,
    pub sign: i64,
}

/// One labelled row of a regression.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberRow {
    pub label: Cell<f64>,
    pub prediction: Cell<f64>,
    pub sign: i64,
}

impl Outcomes<'_> {
    /// Rows in the batch.
    pub fn rows(&self) -> usize {
        self.label.len()
    }

    /// Refuses columns and groups that do not belong together.
    pub(super) fn check_groups(&self, groups: &[usize]) -> Result<(), QualityError> {
        let scores = self.scores.iter().map(|scores| ("score", scores.len()));
        let others = [("prediction", self.prediction.len()), ("sign", self.sign.len()), ("groups", groups.len())];
        let expected = self.rows();
        if let Some((column, found)) = others.into_iter().chain(scores).find(|(_, found)| *found != expected) {
            return Err(QualityError::Length { column, expected, found });
        }
        match self.sign.null_count() {
            0 => Ok(()),
            nulls => Err(QualityError::NullSign { nulls }),
        }
    }
}

/// The columns of a classifier's batch, decoded.
pub(super) struct ClassColumns<'a> {
    labels: Vec<Cell<u16>>,
    predictions: Vec<Cell<u16>>,
    scores: Vec<Cell<()>>,
    /// Row by row, `width` to a row.
    score_values: Vec<f64>,
    width: usize,
    signs: &'a Int8Array,
}

impl<'a> ClassColumns<'a> {
    pub(super) fn decode(outcomes: &Outcomes<'a>) -> Result<Self, QualityError> {
        let names = outcomes.task.classes();
        let mut codes = HashMap::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            let code = u16::try_from(place).map_err(|_| QualityError::TooManyClasses { classes: names.len() })?;
            codes.insert(*name, code);
        }
        let (scores, score_values) = decode_scores(outcomes)?;
        Ok(Self {
            labels: decode_classes("label", outcomes.label, &codes)?,
            predictions: decode_classes("prediction", outcomes.prediction, &codes)?,
            scores,
            score_values,
            width: outcomes.scores.len(),
            signs: outcomes.sign,
        })
    }

    /// One row; a row beyond the batch is all null and adds nothing.
    pub(super) fn row(&self, row: usize) -> ClassRow<'_> {
        let scores = match self.scores.get(row) {
            Some(Cell::Usable(())) => {
                let values = self.score_values.get(row * self.width..(row + 1) * self.width);
                values.map_or(Cell::Null, Cell::Usable)
            }
            Some(Cell::Invalid) => Cell::Invalid,
            Some(Cell::Null) | None => Cell::Null,
        };
        ClassRow {
            label: at(&self.labels, row),
            prediction: at(&self.predictions, row),
            scores,
            sign: sign_at(self.signs, row),
        }
    }
}

/// The columns of a regression's batch, decoded.
pub(super) struct NumberColumns<'a> {
    labels: Vec<Cell<f64>>,
    predictions: Vec<Cell<f64>>,
    signs: &'a Int8Array,
}

impl<'a> NumberColumns<'a> {
    pub(super) fn decode(outcomes: &Outcomes<'a>) -> Result<Self, QualityError> {
        let finite = |value: f64| if value.is_finite() { Cell::Usable(value) } else { Cell::Invalid };
        let decode = |name, column| -> Result<Vec<Cell<f64>>, QualityError> {
            Ok(numbers(name, column)?.iter().map(|value| value.map_or(Cell::Null, finite)).collect())
        };
        Ok(Self {
            labels: decode("label", outcomes.label)?,
            predictions: decode("prediction", outcomes.prediction)?,
            signs: outcomes.sign,
        })
    }

    /// One row; a row beyond the batch is all null and adds nothing.
    pub(super) fn row(&self, row: usize) -> NumberRow {
        NumberRow {
            label: at(&self.labels, row),
            prediction: at(&self.predictions, row),
            sign: sign_at(self.signs, row),
        }
    }
}

fn decode_classes(
    column: &'static str,
    values: &ArrayRef,
    codes: &HashMap<&str, u16>,
) -> Result<Vec<Cell<u16>>, QualityError> {
    let values = strings(column, values)?;
    let code = |name: &str| codes.get(name).map_or(Cell::Invalid, |code| Cell::Usable(*code));
    Ok(values.iter().map(|name| name.map_or(Cell::Null, code)).collect())
}

/// For each row whether its scores can be used, and the scores row by row.
fn decode_scores(outcomes: &Outcomes<'_>) -> Result<(Vec<Cell<()>>, Vec<f64>), QualityError> {
    let (width, expected) = (outcomes.scores.len(), outcomes.task.score_columns().len());
    if width == 0 {
        return Ok((vec![Cell::Null; outcomes.rows()], Vec::new()));
    }
    if width != expected {
        return Err(QualityError::ScoreColumns { expected, found: width });
    }
    let columns = outcomes.scores.iter().map(|column| numbers("score", column)).collect::<Result<Vec<_>, _>>()?;
    let mut states = Vec::with_capacity(outcomes.rows());
    let mut values = Vec::with_capacity(outcomes.rows() * width);
    for row in 0..outcomes.rows() {
        let mut state = Cell::Usable(());
        for column in &columns {
            let value = if column.is_null(row) { None } else { Some(column.value(row)) };
            match value {
                None => state = Cell::Null,
                Some(value) if !(0.0..=1.0).contains(&value) && state != Cell::Null => state = Cell::Invalid,
                Some(_) => {}
            }
            values.push(value.unwrap_or(f64::NAN));
        }
        states.push(state);
    }
    Ok((states, values))
}

fn strings(column: &'static str, values: &ArrayRef) -> Result<StringArray, QualityError> {
    let text = match values.data_type() {
        DataType::Dictionary(_, held) => held.as_ref(),
        held => held,
    };
    let is_text = matches!(text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let converted = converted(column, values, is_text.then_some(&DataType::Utf8))?;
    let strings = converted.as_ref().and_then(|array| array.as_any().downcast_ref::<StringArray>());
    strings.cloned().ok_or_else(|| wrong_type(column, values, ("classification", "strings")))
}

fn numbers(column: &'static str, values: &ArrayRef) -> Result<Float64Array, QualityError> {
    let is_number = values.data_type().is_numeric() || values.data_type() == &DataType::Null;
    let converted = converted(column, values, is_number.then_some(&DataType::Float64))?;
    let numbers = converted.as_ref().and_then(|array| array.as_any().downcast_ref::<Float64Array>());
    let task = if column == "score" { "classification" } else { "regression" };
    numbers.cloned().ok_or_else(|| wrong_type(column, values, (task, "numbers")))
}

/// The column in the wished type; `None` where none is wished.
fn converted(
    column: &'static str,
    values: &ArrayRef,
    wished: Option<&DataType>,
) -> Result<Option<ArrayRef>, QualityError> {
    match wished {
        None => Ok(None),
        Some(wished) if wished == values.data_type() => Ok(Some(values.clone())),
        Some(wished) => cast(values, wished).map(Some).map_err(|source| QualityError::Conversion { column, source }),
    }
}

fn wrong_type(column: &'static str, values: &ArrayRef, (task, needed): (&'static str, &'static str)) -> QualityError {
    QualityError::ColumnType { column, found: values.data_type().clone(), task, needed }
}

fn at<T: Copy>(cells: &[Cell<T>], row: usize) -> Cell<T> {
    cells.get(row).copied().unwrap_or(Cell::Null)
}

fn sign_at(signs: &Int8Array, row: usize) -> i64 {
    if row < signs.len() { i64::from(signs.value(row)) } else { 0 }
}

fn count<T>(cell: &Cell<T>, sign: i64, (null, invalid): (&mut i64, &mut i64)) {
    match cell {
        Cell::Null => *null += sign,
        Cell::Invalid => *invalid += sign,
        Cell::Usable(_) => {}
    }
}
