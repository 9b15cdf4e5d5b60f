//! Words that stand for a missing value, as data frames, spreadsheets and databases write one.
//!
//! Where numbers are wanted they are no value, and nothing else they could be. Among categories they may be a value of their
//! own (`NA` is Namibia), so that there only those are empty that a person names.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// In lower case; `NaN` is a number, and not among them.
const WORDS: [&str; 19] = [
    "", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "null", "#null!", "none", "nil", "nat", "\\n", "?", "-", "--", ".",
    "#value!", "#div/0!",
];

/// Whether a text stands for a number that is missing.
pub(super) fn is_missing(text: &str) -> bool {
    let text = text.trim();
    // None is longer than eight bytes.
    text.len() <= 8 && WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// The batch without the texts that a person has said to stand for a missing value.
pub(super) fn emptied(batch: RecordBatch, missing: &[String]) -> Result<RecordBatch, ArrowError> {
    if missing.is_empty() {
        return Ok(batch);
    }
    let is_named = |text: &str| missing.iter().any(|word| word == text.trim());
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let emptied: ArrayRef = match column.as_string_opt::<i32>() {
            Some(texts) => {
                Arc::new(texts.iter().map(|text| text.filter(|text| !is_named(text))).collect::<StringArray>())
            }
            None => Arc::clone(column),
        };
        fields.push(Field::new(field.name(), emptied.data_type().clone(), true));
        columns.push(emptied);
    }
    debug_assert!(fields.iter().all(|field| field.data_type() != &DataType::Null), "null columns are read as text");
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
