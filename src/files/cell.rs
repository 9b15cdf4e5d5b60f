//! One value of a row, whatever the file's type for it.

use super::SourceError;
use super::missing::is_missing;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType};
use arrow::record_batch::RecordBatch;
use detectors::spelling;
use std::path::Path;
use std::sync::Arc;

/// The most letters of a value that a message shows.
const MOST_SHOWN: usize = 40;

/// A value as the file has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// None, or an empty CSV field.
    Null,
    /// A number.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A number that no float holds exactly, in its digits.
    Digits(&'a str),
    /// Text.
    Text(&'a str),
    /// True or false.
    Boolean(bool),
    /// A moment, milliseconds since the epoch.
    Moment(i64),
}

impl Cell<'_> {
    /// The value as a number; text is read as one where it can be. `None` where it cannot; null is `None` too.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            #[expect(clippy::cast_precision_loss, reason = "a feature is a 64-bit float everywhere")]
            Self::Integer(value) => Some(*value as f64),
            Self::Text(text) | Self::Digits(text) => text.trim().parse().ok(),
            Self::Null | Self::Boolean(_) | Self::Moment(_) => None,
        }
    }

    /// Whether there is no value where a number is wanted: null, or a word that stands for one that is missing.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => is_missing(text),
            _ => false,
        }
    }

    /// The value as a message shows it, shortened: it may be personal data, and messages end in logs.
    pub fn shown(&self) -> String {
        match self.category() {
            None => "nothing".to_owned(),
            Some(text) if text.chars().count() > MOST_SHOWN => {
                format!("`{}…`", text.chars().take(MOST_SHOWN).collect::<String>())
            }
            Some(text) => format!("`{text}`"),
        }
    }

    /// The value as the name of a category, or as an id, in its one spelling; `None` for null.
    pub fn category(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Float(value) => spelling::of_number(*value),
            Self::Integer(value) | Self::Moment(value) => Some(value.to_string()),
            Self::Digits(digits) => Some((*digits).to_owned()),
            Self::Text(text) => Some(spelling::of_text(text).to_owned()),
            Self::Boolean(value) => Some(spelling::of_bool(*value).to_owned()),
        }
    }
}

/// The steps of a path: `\.` is a dot within a name.
fn steps(path: &str) -> Vec<String> {
    path.replace("\\.", "\0").split('.').map(|step| step.replace('\0', ".")).collect()
}

/// Whether a file has the column that a path leads to.
pub fn has_path(schema: &Schema, path: &str) -> bool {
    if schema.index_of(path).is_ok() {
        return true;
    }
    let (steps, mut fields) = (steps(path), schema.fields().clone());
    let (last, ways) = match steps.split_last() {
        Some(found) => found,
        None => return false,
    };
    for way in ways {
        match fields.find(way).map(|(_, field)| field.data_type().clone()) {
            Some(DataType::Struct(within)) => fields = within,
            _ => return false,
        }
    }
    fields.find(last).is_some()
}

/// The column that a path leads to.
fn at_path(batch: &RecordBatch, path: &str) -> Option<ArrayRef> {
    if let Some(column) = batch.column_by_name(path) {
        return Some(Arc::clone(column));
    }
    let steps = steps(path);
    let (first, rest) = steps.split_first()?;
    let mut column = Arc::clone(batch.column_by_name(first)?);
    for step in rest {
        let within = Arc::clone(column.as_struct_opt()?.column_by_name(step)?);
        column = within;
    }
    Some(column)
}

/// Names as a message lists them, so that one sees where each begins and ends.
pub fn names_of<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A column whose values can be looked at one by one.
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Float(Float64Array),
    Integer(Int64Array),
    Digits(StringArray),
    Text(StringArray),
    Boolean(BooleanArray),
    Moment(TimestampMillisecondArray),
}

impl Column {
    /// The column of that name, or where there is none the one that its steps lead to: structs are gone into at dots.
    ///
    /// # Errors
    /// When the file has no such column, or it holds no plain values.
    pub fn find(file: &Path, batch: &RecordBatch, name: &str) -> Result<Self, SourceError> {
        let Some(array) = &at_path(batch, name) else {
            let found = names_of(batch.schema_ref().fields().iter().map(|field| field.name()));
            return Err(SourceError::NoColumn { file: file.to_owned(), column: name.to_owned(), found });
        };
        let values = Values::of(array).ok_or_else(|| SourceError::ColumnType {
            file: file.to_owned(),
            column: name.to_owned(),
            data_type: array.data_type().to_string(),
        })?;
        Ok(Self { name: name.to_owned(), values })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All values, where each is a number or null by the file's own type.
    pub fn numbers(&self) -> Option<&Float64Array> {
        match &self.values {
            Values::Float(array) => Some(array),
            _ => None,
        }
    }

    /// All values, where each is text or null by the file's own type.
    pub fn texts(&self) -> Option<&StringArray> {
        match &self.values {
            Values::Text(array) => Some(array),
            _ => None,
        }
    }

    /// The value of a row of the batch; null past its end.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        match &self.values {
            Values::Float(array) if present(array, row) => Cell::Float(array.value(row)),
            Values::Integer(array) if present(array, row) => Cell::Integer(array.value(row)),
            Values::Digits(array) if present(array, row) => Cell::Digits(array.value(row)),
            Values::Text(array) if present(array, row) => Cell::Text(array.value(row)),
            Values::Boolean(array) if present(array, row) => Cell::Boolean(array.value(row)),
            Values::Moment(array) if present(array, row) => Cell::Moment(array.value(row)),
            _ => Cell::Null,
        }
    }
}

fn present(array: &dyn Array, row: usize) -> bool {
    row < array.len() && array.is_valid(row)
}

impl Values {
    fn of(array: &ArrayRef) -> Option<Self> {
        let as_type = |wanted: &DataType| cast(array, wanted).ok();
        match array.data_type() {
            DataType::Boolean => Some(Self::Boolean(array.as_boolean().clone())),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) | DataType::Null => {
                Some(Self::Text(as_type(&DataType::Utf8)?.as_string::<i32>().clone()))
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
                let millis = as_type(&DataType::Timestamp(TimeUnit::Millisecond, None))?;
                Some(Self::Moment(millis.as_primitive::<TimestampMillisecondType>().clone()))
            }
            whole if whole.is_integer() => {
                let no_value_lost = CastOptions { safe: false, ..CastOptions::default() };
                match cast_with_options(array, &DataType::Int64, &no_value_lost) {
                    Ok(whole) => Some(Self::Integer(whole.as_primitive::<Int64Type>().clone())),
                    Err(_) => Some(Self::Digits(spelling::of_array(array).ok()??)),
                }
            }
            decimal if decimal.is_decimal() => Some(Self::Digits(spelling::of_array(array).ok()??)),
            number if number.is_numeric() => {
                Some(Self::Float(as_type(&DataType::Float64)?.as_primitive::<Float64Type>().clone()))
            }
            _ => None,
        }
    }
}
