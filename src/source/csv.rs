//! CSV with a header row. Every column is read as text: what a value means is decided by the model's schema, and one odd
//! value must not cost its neighbours.

use super::{BATCH_ROWS, Batches, SourceError, open_text};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(file: &Path) -> Result<Batches, SourceError> {
    let broken = |reason: String| SourceError::Header { file: file.to_owned(), reason };
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
    let schema = Arc::new(Schema::new(header.fields().iter().map(text).collect::<Vec<_>>()));
    let reader = ReaderBuilder::new(schema.clone())
        .with_header(true)
        .with_batch_size(BATCH_ROWS)
        .build_buffered(open_text(file)?)
        .map_err(|error| broken(error.to_string()))?;
    Ok((schema, Box::new(reader)))
}
