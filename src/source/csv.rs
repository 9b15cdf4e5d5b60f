//! CSV with a header row. Every column is read as text: what a value means is decided by the model's schema, and one odd
//! value must not cost its neighbours.

use super::{BATCH_ROWS, Batches, SourceError, open_text, places};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(file: &Path) -> Result<Batches, SourceError> {
    let schema = header(file)?;
    let reader = reader(&schema).build_buffered(open_text(file)?).map_err(|error| broken(file, error.to_string()))?;
    Ok((schema, Box::new(reader)))
}

pub(super) fn open_columns(file: &Path, columns: &[&str]) -> Result<Batches, SourceError> {
    let schema = header(file)?;
    let kept = places(&schema, columns);
    let projected = schema.project(&kept).map_err(|error| broken(file, error.to_string()))?;
    let reader = reader(&schema).with_projection(kept);
    let reader = reader.build_buffered(open_text(file)?).map_err(|error| broken(file, error.to_string()))?;
    Ok((Arc::new(projected), Box::new(reader)))
}

fn broken(file: &Path, reason: String) -> SourceError {
    SourceError::Header { file: file.to_owned(), reason }
}

fn reader(schema: &SchemaRef) -> ReaderBuilder {
    ReaderBuilder::new(Arc::clone(schema)).with_header(true).with_batch_size(BATCH_ROWS)
}

/// The columns that the header names, all as text.
fn header(file: &Path) -> Result<SchemaRef, SourceError> {
    let broken = |reason| broken(file, reason);
    let (header, _) = Format::default()
        .with_header(true)
        .infer_schema(open_text(file)?, Some(0))
        .map_err(|error| broken(format!("the header cannot be read ({error})")))?;
    let mut seen = BTreeSet::new();
    for field in header.fields() {
        if field.name().is_empty() || !seen.insert(field.name()) {
            return Err(broken(format!(
                "the header names column `{}` twice or not at all: give each its own name",
                field.name()
            )));
        }
    }
    if seen.is_empty() {
        return Err(broken("the file is empty: its first line must name the columns".to_owned()));
    }
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    Ok(Arc::new(Schema::new(header.fields().iter().map(text).collect::<Vec<_>>())))
}
