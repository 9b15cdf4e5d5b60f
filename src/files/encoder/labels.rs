//! Labels that come in a file of their own, because they were known later than the predictions.
//!
//! They are sent in the order of their times, which the file tells, or else the predictions that are in the log already: a
//! label then comes with its prediction, or so long after it. All of them are held in memory until they are sent.

use super::{Due, Encoded, EncodedRows, EncoderSpec, EventId, Label, Partitioned, WaitingLabel, msgpack};
use crate::files::time::millis;
use crate::files::{Cell, Column, RowBatch, SourceError};
use std::collections::HashMap;
use std::time::Duration;
use streams::partition::partition_of;

/// Where the times of labels come from.
#[derive(Debug, Clone)]
pub enum LabelTimes {
    /// A column.
    Column(String),
    /// So long after the prediction of their id.
    After {
        /// The times of the predictions, by id, in milliseconds since the epoch.
        predictions: HashMap<String, i64>,
        /// How long after.
        delay: Duration,
    },
}

impl LabelTimes {
    /// The time of a label, in milliseconds since the epoch.
    fn of(&self, id: &str, columns: &LabelColumns, row: usize) -> Option<i64> {
        match self {
            Self::Column(_) => millis(&columns.times.as_ref()?.cell(row)),
            Self::After { predictions, delay } => {
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                predictions.get(id).map(|time_ms| time_ms.saturating_add(delay_ms))
            }
        }
    }
}

/// The columns of one batch of rows that labels are made of.
struct LabelColumns {
    ids: Column,
    labels: Column,
    times: Option<Column>,
}

impl LabelColumns {
    fn find(spec: &EncoderSpec, times: &LabelTimes, rows: &RowBatch) -> Result<Self, SourceError> {
        let column = |name: &str| Column::find(&spec.file, &rows.batch, name);
        let id = if let EventId::Column(name) = &spec.id { name } else { "id" };
        let times = if let LabelTimes::Column(name) = times { Some(column(name)?) } else { None };
        Ok(Self { ids: column(id)?, labels: column(spec.label.as_deref().unwrap_or("label"))?, times })
    }
}

/// The labels of a file, in the order of their times.
#[derive(Debug)]
pub struct LabelRows {
    model: String,
    partitions: u32,
    labels: Vec<(i64, WaitingLabel)>,
    rows: EncodedRows,
}

impl LabelRows {
    /// Reads them; of the specification only id, label and model matter.
    ///
    /// # Errors
    /// When a row cannot be read, has no id, or a column is not there.
    pub fn read(
        spec: &EncoderSpec,
        times: &LabelTimes,
        rows: impl Iterator<Item = Result<RowBatch, SourceError>>,
    ) -> Result<Self, SourceError> {
        let (model, partitions) = (spec.model.clone(), spec.partitions);
        let mut read = Self { model, partitions, labels: Vec::new(), rows: EncodedRows::default() };
        for batch in rows {
            read.take(spec, times, &batch?)?;
        }
        read.labels.sort_by_key(|(time_ms, _)| *time_ms);
        Ok(read)
    }

    fn take(&mut self, spec: &EncoderSpec, times: &LabelTimes, rows: &RowBatch) -> Result<(), SourceError> {
        let columns = LabelColumns::find(spec, times, rows)?;
        for row in 0..rows.batch.num_rows() {
            let Some(label) = Label::of(&spec.schema.task, &columns.labels.cell(row)) else { continue };
            let id = columns.ids.cell(row).category().ok_or_else(|| SourceError::Value {
                file: spec.file.clone(),
                row: rows.number(row),
                column: columns.ids.name().to_owned(),
                found: Cell::Null.shown(),
                wanted: "an id: every label needs that of its prediction",
            })?;
            match (times.of(&id, &columns, row), &columns.times) {
                (Some(time_ms), _) => {
                    self.rows.labels += 1;
                    self.labels.push((time_ms, WaitingLabel { due: Due::At(time_ms), id, label }));
                }
                (None, Some(times)) => {
                    self.rows.untimed_labels += 1;
                    self.rows.first_untimed.get_or_insert_with(|| (rows.number(row), times.cell(row).shown()));
                }
                (None, None) => self.rows.unknown_labels += 1,
            }
        }
        Ok(())
    }

    /// What has become of the rows.
    pub fn rows(&self) -> &EncodedRows {
        &self.rows
    }

    /// The latest time of a label.
    pub fn latest_ms(&self) -> Option<i64> {
        self.labels.last().map(|(time_ms, _)| *time_ms)
    }

    /// The labels from a place on, so many at most; `None` at their end.
    pub fn encode(&self, from: u64, most: usize) -> Option<Encoded> {
        let rest = self.labels.get(usize::try_from(from).ok()?..)?;
        let labels = rest.get(..most.min(rest.len()))?;
        let (latest_ms, _) = labels.last()?;
        let mut records = Partitioned::new(self.partitions);
        for (time_ms, label) in labels {
            let room = records.room(partition_of(&label.id, self.partitions));
            msgpack::write_label(&self.model, label, *time_ms, room);
        }
        Some(Encoded { events: Vec::new(), labels: records.finish(), latest_ms: Some(*latest_ms) })
    }
}
