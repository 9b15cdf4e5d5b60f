//! Labels and predictions that are none of their model's classes: counted, and the first of each told.
//!
//! They stay in their rows, so that quality knows what it could not use. A prediction of which a hash is stored is no class,
//! and not asked.

use super::Capture;
use super::input::Source;
use arrow::array::{AsArray, RecordBatch};
use codec::columns::LABEL;
use codec::decode::{Decoded, Policy};
use detectors::schema::PREDICTION;
use std::sync::Arc;
use streams::log::PartitionId;

/// Values of a column that are none of the classes.
struct Unknown {
    rows: i64,
    first: String,
}

impl Capture {
    /// Counts what is none of the classes, and warns of the first of each model.
    pub(super) fn unknown_classes(&mut self, partition: PartitionId, decoded: &Decoded) {
        for events in &decoded.events {
            let input = (Source::Inferences, partition);
            if self.decoder.privacy(&events.model).is_some_and(|privacy| privacy.of(PREDICTION) != Policy::Hash) {
                self.unknown_in(input, (&events.model, &events.batch), PREDICTION);
            }
            self.unknown_in(input, (&events.model, &events.batch), LABEL);
        }
        for labels in &decoded.labels {
            self.unknown_in((Source::Labels, partition), (&labels.model, &labels.batch), LABEL);
        }
    }

    fn unknown_in(
        &mut self,
        (source, partition): (Source, PartitionId),
        (model, batch): (&Arc<str>, &RecordBatch),
        column: &'static str,
    ) {
        let Some(task) = self.models.get(model).map(|model| &model.watched.schema.task) else { return };
        let mut classes = task.classes();
        classes.sort_unstable();
        let Some(Unknown { rows, first }) = unknown(batch, column, &classes) else { return };
        if self.told_classes.insert((Arc::clone(model), column)) {
            tracing::warn!(%model, column, value = first, ?classes, "a value is none of the model's classes, so its row counts in no figure of quality; such rows are counted: map it to a class, or add the class to the task");
        }
        let counts = self.input(source, partition).counts(model);
        match column {
            PREDICTION => counts.unknown_predictions += rows,
            _ => counts.unknown_labels += rows,
        }
    }
}

/// The values that are none of these classes, which are in order; `None` where all are, or the task has no classes.
fn unknown(batch: &RecordBatch, column: &str, classes: &[&str]) -> Option<Unknown> {
    let texts = batch.column_by_name(column)?.as_string_opt::<i32>()?;
    let mut unknown = texts.iter().flatten().filter(|text| classes.binary_search(text).is_err());
    let first = unknown.next().filter(|_| !classes.is_empty())?.to_owned();
    Some(Unknown { rows: 1 + unknown.count() as i64, first })
}
