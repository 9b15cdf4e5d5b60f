//! Rows as the columns of a model: Float64 for numbers, Utf8 for categories.
//!
//! Strict: a value that does not fit is an error with its row, because a reference or a training set learned from a file
//! that means something else would be wrong in silence.

use super::time::millis;
use super::{Column, RowBatch, SourceError};
use arrow::array::{ArrayRef, Float64Builder, StringBuilder};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use detectors::schema::ColumnKind;
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
        fields.push(Field::new(&want.name, ingest::columns::arrow_type(want.kind), true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|source| SourceError::Rows {
        file: file.to_owned(),
        from_row: rows.first_row,
        source,
    })
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
            row: rows.first_row + row as u64,
            column: column.name().to_owned(),
            found: format!("{:?}", column.cell(row)).chars().take(80).collect(),
            wanted: "a time, as RFC 3339 text or as seconds or milliseconds since the epoch",
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
        if number.is_none() && cell != super::Cell::Null {
            return Err(SourceError::Value {
                file: file.to_owned(),
                row: rows.first_row + row as u64,
                column: column.name().to_owned(),
                found: format!("{cell:?}").chars().take(80).collect(),
                wanted: "a number: mend the file, or declare the column categorical",
            });
        }
        builder.append_option(number);
    }
    Ok(Arc::new(builder.finish()))
}

fn categories(rows: &RowBatch, column: &Column) -> ArrayRef {
    if let Some(texts) = column.texts() {
        return Arc::new(texts.clone());
    }
    let mut builder = StringBuilder::new();
    for row in 0..rows.batch.num_rows() {
        builder.append_option(column.cell(row).category());
    }
    Arc::new(builder.finish())
}
