//! Privacy of rows that come from a file: they are hashed and emptied before anything is made of them.

use super::{Column, RowBatch, SourceError};
use arrow::array::{ArrayRef, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use codec::decode::{Policy, Source};
use detectors::schema::{ColumnKind, ColumnSchema};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The rows as they may be stored in a record: with hashed features as their hashes and dropped ones null. `renamed` holds
/// the file's column of each feature that does not stand under its own name.
///
/// # Errors
/// When the file lacks the column of such a feature.
pub fn redacted(
    file: &Path,
    rows: &RowBatch,
    source: &Source,
    renamed: &BTreeMap<String, String>,
) -> Result<RowBatch, SourceError> {
    let policy = |feature: &ColumnSchema| source.privacy.of(&feature.name);
    changed(&Changing { file, source, renamed }, rows, policy)
}

/// The rows as they may be profiled: as [`redacted`], and categories that are profiled only as their hashes.
///
/// # Errors
/// As there.
pub fn profiled(
    file: &Path,
    rows: &RowBatch,
    source: &Source,
    renamed: &BTreeMap<String, String>,
) -> Result<RowBatch, SourceError> {
    let policy = |feature: &ColumnSchema| match (source.privacy.of(&feature.name), feature.kind) {
        (Policy::ProfileOnly, ColumnKind::Categorical) => Policy::Hash,
        (policy, _) => policy,
    };
    changed(&Changing { file, source, renamed }, rows, policy)
}

/// Whose rows are changed.
struct Changing<'a> {
    file: &'a Path,
    source: &'a Source,
    renamed: &'a BTreeMap<String, String>,
}

fn changed(
    changing: &Changing<'_>,
    rows: &RowBatch,
    policy: impl Fn(&ColumnSchema) -> Policy,
) -> Result<RowBatch, SourceError> {
    let Changing { file, source, renamed } = changing;
    let mut batch = rows.batch.clone();
    for feature in source.schema.features() {
        let name = renamed.get(&feature.name).unwrap_or(&feature.name);
        let stored: ArrayRef = match policy(feature) {
            Policy::Keep | Policy::ProfileOnly => continue,
            Policy::Drop => new_null_array(&DataType::Utf8, batch.num_rows()),
            Policy::Hash => hashed(&Column::find(file, &batch, name)?, source, batch.num_rows()),
        };
        let failed = |error| SourceError::rows(file, rows.first_row, &error);
        batch = with_column(&batch, name, stored).map_err(failed)?;
    }
    Ok(RowBatch { first_row: rows.first_row, batch })
}

fn hashed(column: &Column, source: &Source, rows: usize) -> ArrayRef {
    let mut hashes = StringBuilder::new();
    for row in 0..rows {
        let category = column.cell(row).category();
        hashes.append_option(category.and_then(|category| source.privacy.hash(category.as_bytes())));
    }
    Arc::new(hashes.finish())
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let schema = batch.schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    let field = Arc::new(Field::new(name, DataType::Utf8, true));
    match schema.index_of(name) {
        Ok(at) => {
            fields[at] = field;
            columns[at] = column;
        }
        Err(_) => {
            fields.push(field);
            columns.push(column);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
