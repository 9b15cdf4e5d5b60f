//! The rows of a decoded batch, with what capture finds out of each.

use super::input::{InputState, RowPosition};
use super::input_query::InputQuery;
use crate::join::Taken;
use crate::partial::EventCounts;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::row::Rows;
use codec::columns::{self, APPEND_TIME, EVENT_ID, EVENT_TIME, INDEX, OFFSET};
use std::ops::Range;
use streams::stage::{Delivery, StageError};

/// What a row counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: it is not the first of its id and version.
    Duplicate,
    /// A row of its version.
    Own,
    /// A row of a version that is not told apart.
    Other,
}

/// Rows that count, as the query reads them.
pub(super) struct CountedRows {
    /// Of the batch's version.
    pub(super) own: RecordBatch,
    /// Of versions that are not told apart; `None` where there are none.
    pub(super) others: Option<RecordBatch>,
}

/// A batch of events with what is being found out of its rows.
pub(super) struct PreparedRows {
    extended: RecordBatch,
    /// The columns that outcomes need, where the model has labels.
    pub(super) joined: Option<Rows>,
    pub(super) log: LogRows,
    /// The labels that the events carry.
    pub(super) labels: ArrayRef,
    pub(super) late: Vec<i64>,
    /// What each row counts as.
    fates: Vec<Fate>,
    pub(super) delivery: Delivery,
    pub(super) counts: EventCounts,
    /// What became of labels that these rows met.
    pub(super) label_counts: EventCounts,
}

impl PreparedRows {
    /// The extended batch, and the columns that outcomes need.
    ///
    /// # Errors
    /// When a column is missing.
    pub(super) fn new(extended: RecordBatch, joined: Option<Rows>, delivery: Delivery) -> Result<Self, StageError> {
        let lacking = || StageError::failed("capturing", "an event batch lacks a column");
        let log = LogRows::of(&extended).ok_or_else(lacking)?;
        let labels = extended.column_by_name(columns::LABEL).cloned().ok_or_else(lacking)?;
        let rows = extended.num_rows();
        let (late, fates) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (counts, label_counts) = (EventCounts::default(), EventCounts::default());
        Ok(Self { extended, joined, log, labels, late, fates, delivery, counts, label_counts })
    }

    /// Takes note of what became of the next row, at this place of its input, and of what it counts as if it counts.
    pub(super) fn take(&mut self, taken: Taken, fate: Fate, (input, place): (&mut InputState, RowPosition)) {
        if taken == Taken::LaterDuplicate {
            input.remember_duplicate(place);
        }
        let is_first = taken == Taken::First;
        self.fates.push(if is_first { fate } else { Fate::Duplicate });
        self.counts.duplicates += i64::from(!is_first);
        // Late ones count in no window, whichever version they are of.
        let is_late = self.late.last().is_some_and(|late| *late != 0);
        self.counts.late_duplicates += i64::from(!is_first && is_late);
        self.counts.other_versions += i64::from(fate == Fate::Other && !is_late);
    }

    /// The rows that count, as the query reads them.
    ///
    /// # Errors
    /// When they do not have its columns.
    pub(super) fn finish(self, query: &InputQuery) -> Result<CountedRows, StageError> {
        let failed = |error| StageError::failed("capturing", error);
        let rows = query.rows(&self.extended, self.late).map_err(failed)?;
        if self.fates.iter().all(|fate| *fate == Fate::Own) {
            return Ok(CountedRows { own: rows, others: None });
        }
        let of = |wanted: Fate| {
            let is_wanted: BooleanArray = self.fates.iter().map(|fate| Some(*fate == wanted)).collect();
            filter_record_batch(&rows, &is_wanted).map_err(failed)
        };
        let others = if self.fates.contains(&Fate::Other) { Some(of(Fate::Other)?) } else { None };
        Ok(CountedRows { own: of(Fate::Own)?, others })
    }
}

/// The rows of a batch of labels.
pub(super) struct LabelRows {
    pub(super) log: LogRows,
    pub(super) labels: ArrayRef,
    pub(super) counts: EventCounts,
}

impl LabelRows {
    /// The rows of a batch.
    ///
    /// # Errors
    /// When a column is missing.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, StageError> {
        let columns = LogRows::of(batch).zip(batch.column_by_name(columns::LABEL).cloned());
        let (log, labels) =
            columns.ok_or_else(|| StageError::failed("joining labels", "a label batch lacks a column"))?;
        Ok(Self { log, labels, counts: EventCounts::default() })
    }
}

/// The columns that every decoded row has.
pub(super) struct LogRows {
    pub(super) ids: StringArray,
    pub(super) times: Int64Array,
    pub(super) appended: Int64Array,
    offsets: Int64Array,
    indices: Int32Array,
}

impl LogRows {
    fn of(batch: &RecordBatch) -> Option<Self> {
        Some(Self {
            ids: batch.column_by_name(EVENT_ID)?.as_string_opt()?.clone(),
            times: int64(batch, EVENT_TIME)?,
            appended: int64(batch, APPEND_TIME)?,
            offsets: int64(batch, OFFSET)?,
            indices: batch.column_by_name(INDEX)?.as_primitive_opt::<Int32Type>()?.clone(),
        })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A row's offset and its index within the record.
    pub(super) fn place(&self, row: usize) -> RowPosition {
        (self.offsets.value(row), self.indices.value(row))
    }

    /// Rows of one record between which no other row of it can be, with the place of the first.
    fn runs(&self) -> impl Iterator<Item = (RowPosition, Range<usize>)> {
        let follows = |row: &usize| {
            let (offset, index) = self.place(row - 1);
            self.place(*row) == (offset, index + 1)
        };
        let mut start = 0;
        std::iter::from_fn(move || {
            let first = (start < self.len()).then(|| self.place(start))?;
            let end = (start + 1..self.len()).find(|row| !follows(row)).unwrap_or(self.len());
            Some((first, std::mem::replace(&mut start, end)..end))
        })
    }
}

/// The rows of all batches in log order: the batch, and rows of it that follow one another in the log.
pub(super) fn in_log_order(batches: &[&LogRows]) -> Vec<(usize, Range<usize>)> {
    if let [only] = batches {
        return vec![(0, 0..only.len())];
    }
    let mut runs = Vec::new();
    for (index, rows) in batches.iter().enumerate() {
        runs.extend(rows.runs().map(|(place, run)| (place, index, run)));
    }
    runs.sort_unstable_by_key(|(place, ..)| *place);
    runs.into_iter().map(|(_, index, run)| (index, run)).collect()
}

fn int64(batch: &RecordBatch, name: &str) -> Option<Int64Array> {
    batch.column_by_name(name)?.as_primitive_opt::<Int64Type>().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the rows of records are spread over models, of which some were bad.
        #[test]
        fn rows_of_all_batches_come_in_log_order(
            rows in prop::collection::vec((0_usize..3, 0_i32..3, 0_i64..2), 1..60),
        ) {
            let mut places = vec![Vec::new(); 3];
            let (mut offset, mut index) = (0, 0);
            for (batch, bad, records) in rows {
                (offset, index) = if records > 0 { (offset + records, 0) } else { (offset, index + 1 + bad) };
                places[batch].push((offset, index));
            }
            let batches: Vec<_> = places.iter().map(|places| log_rows(places)).collect();
            let order = in_log_order(&batches.iter().collect::<Vec<_>>());
            let found: Vec<_> = order.into_iter().flat_map(|(batch, run)| places[batch][run].to_vec()).collect();
            let mut wanted = places.concat();
            wanted.sort_unstable();
            prop_assert_eq!(found, wanted);
        }
    }

    fn log_rows(places: &[RowPosition]) -> LogRows {
        let zeros = || Int64Array::from(vec![0; places.len()]);
        LogRows {
            ids: vec![Some("a"); places.len()].into(),
            times: zeros(),
            appended: zeros(),
            offsets: places.iter().map(|(offset, _)| *offset).collect::<Vec<_>>().into(),
            indices: places.iter().map(|(_, index)| *index).collect::<Vec<_>>().into(),
        }
    }
}
