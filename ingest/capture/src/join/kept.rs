//! The columns of a prediction that its outcome needs, as the bytes of one row.
//!
//! A row stands for itself: what is kept of a prediction takes memory for its own values and not for the batch that it
//! came with, of which all other rows may be gone for weeks.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// Turns the kept columns into rows, and rows into columns again.
#[derive(Debug)]
pub struct KeptColumns {
    schema: SchemaRef,
    converter: RowConverter,
}

impl KeptColumns {
    /// For batches of this schema.
    ///
    /// # Errors
    /// When a column's type has no row format.
    pub fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { schema, converter })
    }

    /// The rows of a batch of this schema.
    ///
    /// # Errors
    /// When the batch has other columns.
    pub fn rows(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(batch.columns())
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns of rows that were made here.
    pub(super) fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.converter.parser();
        self.converter.convert_rows(rows.map(|row| parser.parse(row)))
    }
}
