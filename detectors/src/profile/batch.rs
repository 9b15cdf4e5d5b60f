//! A batch as it comes to a profile: its columns, once they have been found to fit their layouts.
//!
//! Whatever does not fit is an error before anything is counted.

use super::ProfileError;
use crate::layout::{BinEdges, CategoryTable, ColumnLayout};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StringArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type};

/// A batch and how its columns are counted, in the schema's order.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// How each column is counted.
    pub layouts: &'a [ColumnLayout],
    /// Float64 for numeric columns; Utf8, Utf8View or a dictionary of strings for categorical ones.
    pub columns: &'a [ArrayRef],
    /// List of UInt16: for each row the places of the columns whose value is null because its type did not fit.
    pub wrong_type: &'a ArrayRef,
}

/// A batch whose columns have been found to fit.
pub(super) struct Batch<'a> {
    pub(super) rows: usize,
    pub(super) columns: Vec<Values<'a>>,
    /// `None` where no row has an entry.
    pub(super) wrong_type: Option<ListArray>,
}

/// One column with the layout it is counted against.
pub(super) enum Values<'a> {
    Numeric(&'a BinEdges, Float64Array),
    Categorical(&'a CategoryTable, StringArray),
}

impl Values<'_> {
    pub(super) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Numeric(_, array) => array.is_null(row),
            Self::Categorical(_, array) => array.is_null(row),
        }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn read(observed: &Observed<'a>) -> Result<Self, ProfileError> {
        let (expected, found) = (observed.layouts.len(), observed.columns.len());
        if expected != found {
            return Err(ProfileError::ColumnCount { what: "the batch", expected, found });
        }
        let rows = observed.wrong_type.len();
        let mut columns = Vec::with_capacity(found);
        for (place, (layout, array)) in observed.layouts.iter().zip(observed.columns).enumerate() {
            if array.len() != rows {
                return Err(ProfileError::RowCount { what: "a column", expected: rows, found: array.len() });
            }
            columns.push(read_column(layout, array, place)?);
        }
        Ok(Self { rows, columns, wrong_type: read_wrong_type(observed.wrong_type)? })
    }

    /// The same rows in another order.
    pub(super) fn reordered(&self, order: Vec<u32>) -> Result<Self, ProfileError> {
        let order = UInt32Array::from(order);
        let in_order = |array: &dyn Array| {
            take(array, &order, None).map_err(|error| ProfileError::Reorder { reason: error.to_string() })
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for values in &self.columns {
            columns.push(match values {
                Values::Numeric(bins, array) => {
                    Values::Numeric(bins, in_order(array)?.as_primitive::<Float64Type>().clone())
                }
                Values::Categorical(table, array) => {
                    Values::Categorical(table, in_order(array)?.as_string::<i32>().clone())
                }
            });
        }
        let wrong_type = match &self.wrong_type {
            Some(list) => Some(in_order(list)?.as_list::<i32>().clone()),
            None => None,
        };
        Ok(Self { rows: self.rows, columns, wrong_type })
    }
}

fn read_column<'a>(layout: &'a ColumnLayout, array: &ArrayRef, place: usize) -> Result<Values<'a>, ProfileError> {
    let misfit =
        || ProfileError::ColumnType { place, expected: layout.kind_name(), found: array.data_type().to_string() };
    match (layout, array.data_type()) {
        (ColumnLayout::Numeric(bins), DataType::Float64) => {
            Ok(Values::Numeric(bins, array.as_primitive::<Float64Type>().clone()))
        }
        (ColumnLayout::Categorical(table), DataType::Utf8) => {
            Ok(Values::Categorical(table, array.as_string::<i32>().clone()))
        }
        (ColumnLayout::Categorical(table), DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _)) => {
            let strings = cast(array, &DataType::Utf8).map_err(|_| misfit())?;
            let strings = strings.as_string_opt::<i32>().ok_or_else(misfit)?;
            Ok(Values::Categorical(table, strings.clone()))
        }
        _ => Err(misfit()),
    }
}

/// The list, or `None` where no row has an entry.
fn read_wrong_type(array: &ArrayRef) -> Result<Option<ListArray>, ProfileError> {
    match array.data_type() {
        DataType::List(item) if item.data_type() == &DataType::UInt16 => {
            Ok((array.null_count() < array.len()).then(|| array.as_list::<i32>().clone()))
        }
        DataType::Null => Ok(None),
        other => Err(ProfileError::WrongTypeColumn { found: other.to_string() }),
    }
}
