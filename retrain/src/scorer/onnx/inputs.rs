//! How rows become the tensors that a graph takes.
//!
//! | feature | at float32, float64 | at int32, int64 | at bool | at string |
//! |---|---|---|---|---|
//! | numeric | the number | the number, if it is whole | 0 or 1 | its shortest spelling |
//! | categorical with a table | its index, -1 if the table has none | the same | – | the category, as it is |
//! | categorical without one | refused | refused | `true` or `false` | the category, as it is |
//! | null of a number | NaN | no answer | no answer | no answer |
//! | null of a category | -1, as one that is not in the table | -1 | no answer | no answer |
//!
//! "No answer" means that the row is answered with null, because the input has nothing that would stand for what the row holds;
//! what `driftline.nulls` states for a feature stands for its nulls instead. Numbers are rounded to float32 only where the
//! input is of that type.

use super::graph::{Graph, Input, Kind, Rank};
use crate::encoding::{EncodingError, column_as};
use crate::scorer::ScoringError;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use detectors::schema::{ColumnKind, ModelSchema};
use ort::session::SessionInputValue;
use ort::value::Tensor;
use std::borrow::Cow;
use std::collections::HashMap;

/// What stands for null and for an unknown category where a table gives indices.
const UNSEEN: f64 = -1.0;

/// Turns rows into tensors.
#[derive(Debug)]
pub(super) struct Inputs {
    inputs: Vec<Filled>,
}

#[derive(Debug)]
struct Filled {
    input: Input,
    columns: Vec<Column>,
}

/// One column of an input.
#[derive(Debug)]
struct Column {
    feature: String,
    reading: Reading,
}

/// How a feature is read.
#[derive(Debug)]
enum Reading {
    Number { null: f64 },
    Index { table: HashMap<String, f64>, null: f64 },
    Truth { null: f64 },
    Text { null: Option<String> },
}

/// The tensors of some rows.
pub(super) struct Tensors {
    /// By the name of the input.
    pub(super) values: Vec<(Cow<'static, str>, SessionInputValue<'static>)>,
    /// Of each row, whether an input could not hold what it has.
    pub(super) unanswerable: Vec<bool>,
}

impl Inputs {
    /// How this graph is filled with rows of this schema.
    pub(super) fn of(graph: &Graph, schema: &ModelSchema) -> Result<Self, ScoringError> {
        let filled = graph.inputs.iter().map(|input| {
            let columns = input.features.iter().map(|feature| column(graph, schema, (feature, input.kind)));
            Ok(Filled { input: input.clone(), columns: columns.collect::<Result<_, ScoringError>>()? })
        });
        Ok(Self { inputs: filled.collect::<Result<_, ScoringError>>()? })
    }

    /// The tensors of these rows.
    pub(super) fn fill(&self, rows: &RecordBatch) -> Result<Tensors, ScoringError> {
        let mut unanswerable = vec![false; rows.num_rows()];
        let mut values = Vec::with_capacity(self.inputs.len());
        for filled in &self.inputs {
            let value = match filled.input.kind {
                Kind::Text => filled.texts(rows, &mut unanswerable)?,
                _ => filled.numbers(rows, &mut unanswerable)?,
            };
            values.push((Cow::Owned(filled.input.name.clone()), value));
        }
        Ok(Tensors { values, unanswerable })
    }
}

fn column(graph: &Graph, schema: &ModelSchema, (feature, kind): (&str, Kind)) -> Result<Column, ScoringError> {
    let is_numeric = schema.features().any(|known| known.name == feature && known.kind == ColumnKind::Numeric);
    let null = graph.nulls.get(feature);
    let number = |default: f64| match null {
        Some(serde_json::Value::Bool(truth)) => f64::from(u8::from(*truth)),
        stated => stated.and_then(serde_json::Value::as_f64).unwrap_or(default),
    };
    let reading = match (kind, graph.tables.get(feature)) {
        (Kind::Text, _) => {
            Reading::Text { null: null.map(|null| null.as_str().map_or_else(|| null.to_string(), str::to_owned)) }
        }
        _ if is_numeric => Reading::Number { null: number(f64::NAN) },
        (Kind::Bool, _) => Reading::Truth { null: number(f64::NAN) },
        (_, Some(table)) => {
            let table = table.iter().enumerate().map(|(index, name)| (name.clone(), index as f64)).collect();
            Reading::Index { table, null: number(UNSEEN) }
        }
        (_, None) => return Err(EncodingError::NoTable { column: feature.to_owned() }.into()),
    };
    Ok(Column { feature: feature.to_owned(), reading })
}

impl Filled {
    fn shape(&self, rows: usize) -> Vec<i64> {
        match self.input.rank {
            Rank::Rows => vec![rows as i64],
            Rank::RowsAndColumns => vec![rows as i64, self.columns.len() as i64],
        }
    }

    fn texts(&self, rows: &RecordBatch, unanswerable: &mut [bool]) -> Result<SessionInputValue<'static>, ScoringError> {
        let width = self.columns.len();
        let mut texts = vec![String::new(); rows.num_rows() * width];
        for (place, column) in self.columns.iter().enumerate() {
            let found = column.texts(rows)?;
            let null = match &column.reading {
                Reading::Text { null } => null.as_deref(),
                _ => None,
            };
            let slots = texts.iter_mut().skip(place).step_by(width).zip(unanswerable.iter_mut());
            for ((slot, unanswerable), text) in slots.zip(found.iter()) {
                match text.or(null) {
                    Some(text) => text.clone_into(slot),
                    None => *unanswerable = true,
                }
            }
        }
        let tensor = Tensor::from_string_array((self.shape(rows.num_rows()), texts.as_slice())).map_err(unfilled)?;
        Ok(tensor.into())
    }

    fn numbers(
        &self,
        rows: &RecordBatch,
        unanswerable: &mut [bool],
    ) -> Result<SessionInputValue<'static>, ScoringError> {
        let width = self.columns.len();
        let mut numbers = vec![0.0; rows.num_rows() * width];
        let holds = |number: f64| match self.input.kind {
            Kind::Int32 => number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX),
            // Beyond 2^53 a float64 is no longer every whole number.
            Kind::Int64 => number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0,
            Kind::Bool => number == 0.0 || number == 1.0,
            Kind::Float32 | Kind::Float64 | Kind::Text => true,
        };
        for (place, column) in self.columns.iter().enumerate() {
            let found = column.numbers(rows)?;
            let slots = numbers.iter_mut().skip(place).step_by(width).zip(unanswerable.iter_mut());
            for ((slot, unanswerable), number) in slots.zip(found) {
                if holds(number) { *slot = number } else { *unanswerable = true }
            }
        }
        let shape = self.shape(rows.num_rows());
        let value: Result<SessionInputValue<'static>, ort::Error> = match self.input.kind {
            Kind::Float32 => Tensor::from_array((shape, cast(&numbers, |number| number as f32))).map(Into::into),
            Kind::Int32 => Tensor::from_array((shape, cast(&numbers, |number| number as i32))).map(Into::into),
            Kind::Int64 => Tensor::from_array((shape, cast(&numbers, |number| number as i64))).map(Into::into),
            Kind::Bool => Tensor::from_array((shape, cast(&numbers, |number| number == 1.0))).map(Into::into),
            Kind::Float64 | Kind::Text => Tensor::from_array((shape, numbers)).map(Into::into),
        };
        value.map_err(unfilled)
    }
}

fn cast<T>(numbers: &[f64], to: impl Fn(f64) -> T) -> Vec<T> {
    numbers.iter().map(|number| to(*number)).collect()
}

fn unfilled(error: ort::Error) -> ScoringError {
    ScoringError::Graph { action: "filled", reason: error.to_string() }
}

impl Column {
    fn texts(&self, rows: &RecordBatch) -> Result<StringArray, EncodingError> {
        Ok(column_as(rows, &self.feature, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// The numbers of the rows; NaN where there is none.
    fn numbers(&self, rows: &RecordBatch) -> Result<Vec<f64>, EncodingError> {
        match &self.reading {
            Reading::Number { null } => {
                let column = column_as(rows, &self.feature, &DataType::Float64)?;
                let column = column.as_primitive::<Float64Type>();
                let known = |value: Option<f64>| value.filter(|value| !value.is_nan()).unwrap_or(*null);
                Ok(match column.null_count() {
                    0 if null.is_nan() => column.values().to_vec(),
                    _ => column.iter().map(known).collect(),
                })
            }
            Reading::Index { table, null } => {
                let index = |text: Option<&str>| match text {
                    Some(text) => table.get(text).copied().unwrap_or(UNSEEN),
                    None => *null,
                };
                Ok(self.texts(rows)?.iter().map(index).collect())
            }
            Reading::Truth { null } => {
                let truth = |text: Option<&str>| match text {
                    Some("true") => 1.0,
                    Some("false") => 0.0,
                    Some(_) => f64::NAN,
                    None => *null,
                };
                Ok(self.texts(rows)?.iter().map(truth).collect())
            }
            Reading::Text { .. } => Ok(vec![f64::NAN; rows.num_rows()]),
        }
    }
}
