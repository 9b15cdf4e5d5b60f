//! The fields that every event has, for all rows of a batch at once.
//!
//! A row is told to be good only if a look at it alone would say the same; the reason why another is not is left to that
//! look. Where the type of a column alone does not decide (text for a time is good or bad by its letters), the letters are
//! read here; where every row would be bad, nothing is decided here.

use super::table::{FEATURES, SEGMENT, Table, unconvertible};
use crate::decode::Limits;
use crate::decode::cursor::Text;
use crate::decode::envelope::{Field, MOST_NAME_BYTES, is_exact};
use crate::decode::fault::Read;
use crate::decode::route::EventKind;
use crate::decode::time::{check_time, rfc3339_ms};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use detectors::spelling;

/// The fields of the rows of one table. What a row lacks is null.
#[derive(Debug, Clone)]
pub(super) struct Envelopes {
    pub(super) ids: StringArray,
    pub(super) times: Int64Array,
    pub(super) models: StringArray,
    pub(super) versions: StringArray,
    pub(super) sampling_rate: Float64Array,
    pub(super) weight: Float64Array,
}

/// What a row needs to be good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    pub(super) kind: EventKind,
    pub(super) max_text_bytes: usize,
    /// The latest time that is believed.
    pub(super) latest_ms: i64,
}

impl Needs {
    pub(super) fn new(kind: EventKind, limits: &Limits, latest_ms: i64) -> Self {
        Self { kind, max_text_bytes: limits.max_text_bytes, latest_ms }
    }
}

impl Envelopes {
    /// The fields of a table; `None` where the type of a column asks for a look at each row.
    pub(super) fn of(table: &Table) -> Read<Option<Self>> {
        let is_nested = |name: &str| table.get(name).is_some_and(|column| column.data_type().is_nested());
        let is_there = |name: &str| table.get(name).is_some_and(|column| *column.data_type() != DataType::Null);
        // Each value of a union is of a type of its own.
        let is_mixed = table.columns.iter().any(|column| matches!(column.plain.data_type(), DataType::Union(..)));
        if is_mixed
            || is_there(FEATURES)
            || is_there(SEGMENT)
            || is_nested(Field::Prediction.name())
            || is_nested(Field::Score.name())
        {
            return Ok(None);
        }
        let (Some(ids), Some(models), Some(versions)) = (
            names(table, Field::Id).map_err(unconvertible)?,
            text(table, Field::Model),
            names(table, Field::Version).map_err(unconvertible)?,
        ) else {
            return Ok(None);
        };
        let (Some(times), Some(sampling_rate), Some(weight)) = (
            times(table).map_err(unconvertible)?,
            numbers(table, Field::SamplingRate).map_err(unconvertible)?,
            numbers(table, Field::Weight).map_err(unconvertible)?,
        ) else {
            return Ok(None);
        };
        Ok(Some(Self { ids, times, models, versions, sampling_rate, weight }))
    }

    /// Whether the head of each row is good.
    pub(super) fn judge(&self, table: &Table, needs: &Needs) -> Vec<bool> {
        let is_name = |text: &str| !text.is_empty() && text.len() <= needs.max_text_bytes;
        let mut good: Vec<bool> = self.ids.iter().map(|id| id.is_some_and(is_name)).collect();
        let is_time = |time_ms: i64| time_ms <= needs.latest_ms;
        refine(&mut good, self.times.iter().map(|time| time.is_some_and(is_time)));
        refine(&mut good, (0..self.models.len()).map(|row| self.models.is_valid(row)));
        let needs_version = needs.kind == EventKind::Inference;
        let is_version = |text: &str| is_name(text) && (!needs_version || text.len() <= MOST_NAME_BYTES);
        refine(&mut good, self.versions.iter().map(|version| version.map_or(!needs_version, is_version)));
        let is_rate = |rate: f64| rate > 0.0 && rate <= 1.0;
        refine(&mut good, self.sampling_rate.iter().map(|rate| rate.is_none_or(is_rate)));
        let is_weight = |weight: f64| weight >= 0.0 && weight.is_finite();
        refine(&mut good, self.weight.iter().map(|weight| weight.is_none_or(is_weight)));
        let required: &[Field] = match needs.kind {
            EventKind::Inference => &[],
            EventKind::Label => &[Field::Label],
            EventKind::Feedback => &[Field::Name, Field::Value],
        };
        for field in required {
            match table.get(field.name()).filter(|column| *column.data_type() != DataType::Null) {
                Some(column) => refine(&mut good, (0..column.len()).map(|row| column.is_valid(row))),
                None => good.fill(false),
            }
        }
        good
    }

    /// These rows only.
    pub(super) fn select(&self, rows: &UInt32Array) -> Result<Self, ArrowError> {
        if rows.len() == self.ids.len() {
            return Ok(self.clone());
        }
        Ok(Self {
            ids: take(&self.ids, rows, None)?.as_string::<i32>().clone(),
            times: take(&self.times, rows, None)?.as_primitive::<Int64Type>().clone(),
            models: take(&self.models, rows, None)?.as_string::<i32>().clone(),
            versions: take(&self.versions, rows, None)?.as_string::<i32>().clone(),
            sampling_rate: take(&self.sampling_rate, rows, None)?.as_primitive::<Float64Type>().clone(),
            weight: take(&self.weight, rows, None)?.as_primitive::<Float64Type>().clone(),
        })
    }
}

fn refine(good: &mut [bool], also: impl Iterator<Item = bool>) {
    good.iter_mut().zip(also).for_each(|(good, also)| *good &= also);
}

/// The column of a field; nulls where there is none.
fn column(table: &Table, field: Field, data_type: &DataType) -> ArrayRef {
    match table.get(field.name()).filter(|column| *column.data_type() != DataType::Null) {
        Some(column) => column.clone(),
        None => new_null_array(data_type, table.rows),
    }
}

fn text(table: &Table, field: Field) -> Option<StringArray> {
    column(table, field, &DataType::Utf8).as_string_opt::<i32>().cloned()
}

/// Text as it is, and whole numbers in their digits; null where a number is not whole, or too large for its float.
fn names(table: &Table, field: Field) -> Result<Option<StringArray>, ArrowError> {
    let column = column(table, field, &DataType::Utf8);
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string_opt::<i32>().cloned(),
        DataType::Float64 => {
            let ids = column.as_primitive::<Float64Type>().iter();
            Some(ids.map(|id| id.filter(|id| is_exact(*id)).and_then(spelling::of_number)).collect())
        }
        whole if whole.is_numeric() => {
            let digits = spelling::of_array(&column)?;
            digits.map(|digits| digits.iter().map(|id| id.filter(|id| !id.contains('.'))).collect())
        }
        _ => None,
    })
}

/// Milliseconds; null where text is no time, and where a number is none.
fn times(table: &Table) -> Result<Option<Int64Array>, ArrowError> {
    let column = column(table, Field::Time, &DataType::Int64);
    Ok(match column.data_type() {
        DataType::Int64 | DataType::UInt64 => {
            let is_time = |time_ms: &i64| check_time(*time_ms, 0).is_ok();
            let times = cast(&column, &DataType::Int64)?;
            times.as_primitive_opt::<Int64Type>().map(|times| match times.values().iter().all(is_time) {
                true => times.clone(),
                false => times.iter().map(|time_ms| time_ms.filter(is_time)).collect(),
            })
        }
        DataType::Utf8 => column.as_string_opt::<i32>().map(|texts| {
            texts.iter().map(|text| text.and_then(|text| rfc3339_ms(Text::plain(text.as_bytes())))).collect()
        }),
        _ => None,
    })
}

fn numbers(table: &Table, field: Field) -> Result<Option<Float64Array>, ArrowError> {
    let column = column(table, field, &DataType::Float64);
    Ok(match column.data_type() {
        numeric if numeric.is_numeric() => {
            cast(&column, &DataType::Float64)?.as_primitive_opt::<Float64Type>().cloned()
        }
        _ => None,
    })
}
