//! JSON lines: one object a line. The file is read twice, first for its columns and their types, since a key may appear
//! late. A column that holds text in one row and numbers in another is text.

use super::{BATCH_ROWS, Batches, SourceError, open_text};
use crate::ordered::Ordered;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;
use serde::de::IgnoredAny;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(file: &Path) -> Result<Batches, SourceError> {
    let broken = |reason: String| SourceError::Header { file: file.to_owned(), reason };
    let (inferred, _) = infer_json_schema(open_text(file)?, None)
        .map_err(|error| broken(format!("not one JSON object a line, with one kind of value a key ({error})")))?;
    let order = first_keys(file)?;
    let place = |field: &Arc<Field>| order.iter().position(|key| key == field.name()).unwrap_or(usize::MAX);
    let mut fields: Vec<_> = inferred.fields().iter().map(plain).collect();
    fields.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.name().cmp(b.name())));
    let schema = Arc::new(Schema::new(fields));
    let reader = ReaderBuilder::new(schema.clone())
        .with_batch_size(BATCH_ROWS)
        .with_coerce_primitive(true)
        .build(open_text(file)?)
        .map_err(|error| broken(error.to_string()))?;
    Ok((schema, Box::new(reader)))
}

/// The keys of the first row in their order, which is the order people expect.
fn first_keys(file: &Path) -> Result<Vec<String>, SourceError> {
    let mut line = String::new();
    open_text(file)?
        .read_line(&mut line)
        .map_err(|source| SourceError::Unreadable { file: file.to_owned(), source })?;
    let row: Ordered<IgnoredAny> = serde_json::from_str(&line).unwrap_or_default();
    Ok(row.into_iter().map(|(key, _)| key).collect())
}

/// A column of nulls alone is read as text.
fn plain(field: &Arc<Field>) -> Arc<Field> {
    match field.data_type() {
        DataType::Null => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => field.clone(),
    }
}
