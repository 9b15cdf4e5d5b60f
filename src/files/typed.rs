//! Rows as the columns of a model: Float64 for numbers, Utf8 for categories.
//!
//! Strict: a value that does not fit is an error with its row, because a reference or a training set learned from a file
//! that means something else would be wrong in silence. Where rows are themselves to be judged, a value that does not fit
//! is a finding and not the end: [`judged_columns`] lists them.

use super::time::{self, millis};
use super::{Column, RowBatch, SourceError};
use arrow::array::{ArrayRef, Float64Array, Float64Builder, ListBuilder, StringBuilder, UInt16Builder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use detectors::schema::ColumnKind;
use detectors::spelling;
use std::path::Path;
use std::sync::Arc;

/// A column to be read: its name in the file, the name it gets, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the file.
    pub from: String,
    /// Its name in the batch.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The wanted columns of some rows, in the wanted order.
///
/// # Errors
/// When a column is missing, or a value is not of its kind.
pub fn columns(file: &Path, rows: &RowBatch, wanted: &[Wanted]) -> Result<RecordBatch, SourceError> {
    let mut fields = Vec::with_capacity(wanted.len());
    let mut arrays = Vec::with_capacity(wanted.len());
    for want in wanted {
        let column = Column::find(file, &rows.batch, &want.from)?;
        arrays.push(match want.kind {
            ColumnKind::Numeric => numbers(file, rows, &column)?,
            ColumnKind::Categorical => categories(rows, &column),
        });
        fields.push(Field::new(&want.name, codec::columns::arrow_type(want.kind), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| SourceError::rows(file, rows.first_row, &error))
}

/// As [`columns`], and behind them the column [`codec::columns::WRONG_TYPE`]: values that are not of their kind are null and
/// listed there, but for those of the columns named in `strict`.
///
/// # Errors
/// When a column is missing, or a value of a strict one is not of its kind.
pub fn judged_columns(
    file: &Path,
    rows: &RowBatch,
    wanted: &[Wanted],
    strict: &[String],
) -> Result<RecordBatch, SourceError> {
    let mut odd: Vec<Vec<u16>> = vec![Vec::new(); rows.batch.num_rows()];
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (place, want) in (0..).zip(wanted) {
        let column = Column::find(file, &rows.batch, &want.from)?;
        arrays.push(match want.kind {
            ColumnKind::Categorical => categories(rows, &column),
            ColumnKind::Numeric if strict.contains(&want.from) => numbers(file, rows, &column)?,
            ColumnKind::Numeric => {
                for (row, odd) in odd.iter_mut().enumerate() {
                    let cell = column.cell(row);
                    odd.extend((cell.number().is_none() && !cell.is_missing()).then_some(place));
                }
                fitting_numbers(rows, &column)
            }
        });
        fields.push(Field::new(&want.name, codec::columns::arrow_type(want.kind), true));
    }
    let mut list = ListBuilder::new(UInt16Builder::new()).with_field(Field::new_list_field(DataType::UInt16, false));
    for places in odd {
        list.append_option((!places.is_empty()).then(|| places.into_iter().map(Some)));
    }
    arrays.push(Arc::new(list.finish()));
    fields.push(capture::scan::wrong_type());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| SourceError::rows(file, rows.first_row, &error))
}

/// The times of a column, milliseconds since the epoch.
///
/// # Errors
/// When the column is missing, or a row has no time.
pub fn times(file: &Path, rows: &RowBatch, column: &str) -> Result<Vec<i64>, SourceError> {
    let column = Column::find(file, &rows.batch, column)?;
    let time = |row: usize| {
        millis(&column.cell(row)).ok_or_else(|| SourceError::Value {
            file: file.to_owned(),
            row: rows.number(row),
            column: column.name().to_owned(),
            found: format!("{:?}", column.cell(row)).chars().take(80).collect(),
            wanted: time::wanted(&column.cell(row)),
        })
    };
    (0..rows.batch.num_rows()).map(time).collect()
}

fn numbers(file: &Path, rows: &RowBatch, column: &Column) -> Result<ArrayRef, SourceError> {
    if let Some(numbers) = column.numbers() {
        return Ok(Arc::new(numbers.clone()));
    }
    let mut builder = Float64Builder::with_capacity(rows.batch.num_rows());
    for row in 0..rows.batch.num_rows() {
        let cell = column.cell(row);
        let number = cell.number();
        if number.is_none() && !cell.is_missing() {
            return Err(SourceError::Value {
                file: file.to_owned(),
                row: rows.number(row),
                column: column.name().to_owned(),
                found: format!("{cell:?}").chars().take(80).collect(),
                wanted: "a number: mend the file, say with --na that it stands for a missing value, or declare the column categorical",
            });
        }
        builder.append_option(number);
    }
    Ok(Arc::new(builder.finish()))
}

/// The values that are numbers.
fn fitting_numbers(rows: &RowBatch, column: &Column) -> ArrayRef {
    if let Some(numbers) = column.numbers() {
        return Arc::new(numbers.clone());
    }
    Arc::new((0..rows.batch.num_rows()).map(|row| column.cell(row).number()).collect::<Float64Array>())
}

fn categories(rows: &RowBatch, column: &Column) -> ArrayRef {
    if let Some(texts) = column.texts() {
        return Arc::new(spelling::of_texts(texts));
    }
    let mut builder = StringBuilder::new();
    for row in 0..rows.batch.num_rows() {
        builder.append_option(column.cell(row).category());
    }
    Arc::new(builder.finish())
}
