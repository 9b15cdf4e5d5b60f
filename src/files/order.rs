//! Files whose rows are not in the order of time, as exports with the newest rows first are not.
//!
//! The rows of a replay move event time along, and what comes behind it is late: such a file would be replayed into nothing.
//! Its rows are therefore brought into the order of time first. Their numbers stay those of the file, so that ids made of
//! them are the same in any order. Rows whose time cannot be read come last.
//!
//! Sorting holds the file in memory; files that are too large for that are refused.

use super::time::millis;
use super::{BATCH_ROWS, Column, ROW_NUMBER, RowBatch, SourceError};
use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of rows that are sorted in memory.
const MOST_SORTED_BYTES: usize = 2 << 30;

/// When a row comes too late to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// How far a row may be behind one that came before it.
    pub disorder: Duration,
    /// Where event time stands before the first row; `None` where it has not begun.
    pub watermark_ms: Option<i64>,
}

/// How the rows of a file stand to the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeOrder {
    /// Rows of which the time can be read.
    pub rows: u64,
    /// The times of the first and the last of them in the order of time.
    pub span_ms: Option<(i64, i64)>,
    /// The first row that is further behind one before it than is allowed, and how far.
    pub first_behind: Option<(u64, Duration)>,
    /// Rows that are before the watermark at which the file begins.
    pub before: u64,
}

impl TimeOrder {
    /// Looks at the times of rows.
    ///
    /// # Errors
    /// When a row cannot be read, or the column is not there.
    pub fn of(
        rows: impl Iterator<Item = Result<RowBatch, SourceError>>,
        file: &Path,
        column: &str,
        lateness: Lateness,
    ) -> Result<Self, SourceError> {
        let mut order = Self::default();
        for batch in rows {
            let batch = batch?;
            let times = Column::find(file, &batch.batch, column)?;
            for row in 0..batch.batch.num_rows() {
                let Some(time_ms) = millis(&times.cell(row)) else { continue };
                order.observe(batch.number(row), time_ms, lateness);
            }
        }
        Ok(order)
    }

    fn observe(&mut self, number: u64, time_ms: i64, lateness: Lateness) {
        self.rows += 1;
        self.before += u64::from(lateness.watermark_ms.is_some_and(|watermark_ms| time_ms < watermark_ms));
        let (first_ms, last_ms) = self.span_ms.unwrap_or((time_ms, time_ms));
        let behind = Duration::from_millis(u64::try_from(last_ms.saturating_sub(time_ms)).unwrap_or(0));
        if behind > lateness.disorder && self.first_behind.is_none() {
            self.first_behind = Some((number, behind));
        }
        self.span_ms = Some((first_ms.min(time_ms), last_ms.max(time_ms)));
    }
}

/// The rows in the order of the times in a column; rows of the same time stay as they are.
///
/// # Errors
/// When a row cannot be read, the column is not there, or the rows take too much memory.
pub fn sorted<R: Iterator<Item = Result<RowBatch, SourceError>>>(
    rows: R,
    file: &Path,
    column: &str,
) -> Result<impl Iterator<Item = Result<RowBatch, SourceError>> + use<R>, SourceError> {
    let (mut batches, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
    for batch in rows {
        let batch = batch?;
        let times = Column::find(file, &batch.batch, column)?;
        places.extend((0..batch.batch.num_rows()).map(|row| {
            let time_ms = millis(&times.cell(row));
            (time_ms.is_none(), time_ms, batches.len(), row)
        }));
        bytes += batch.batch.get_array_memory_size();
        if bytes > MOST_SORTED_BYTES {
            return Err(SourceError::TooLargeToSort { file: file.to_owned(), column: column.to_owned() });
        }
        batches.push(batch);
    }
    // The place stands last, so that an unstable sort is a stable one.
    places.sort_unstable();
    let file = file.to_owned();
    let chunks: Vec<Vec<(usize, usize)>> = places
        .chunks(BATCH_ROWS)
        .map(|chunk| chunk.iter().map(|(_, _, batch, row)| (*batch, *row)).collect())
        .collect();
    let taken = chunks.into_iter().zip((0..).step_by(BATCH_ROWS)).map(move |(chunk, first_row)| {
        let gathered = gathered(&batches, &chunk).map_err(|error| SourceError::rows(&file, first_row, &error));
        Ok(RowBatch { first_row, batch: gathered? })
    });
    Ok(taken)
}

/// These rows of the batches, with their numbers.
fn gathered(batches: &[RowBatch], places: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    let all: Vec<_> = batches.iter().map(|rows| &rows.batch).collect();
    let rows = interleave_record_batch(&all, places)?;
    let numbers = places.iter().map(|(batch, row)| batches.get(*batch).map_or(0, |rows| rows.number(*row)));
    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(numbers));
    let columns = rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let columns = columns.into_iter().zip(rows.columns().to_vec()).chain([(ROW_NUMBER.to_owned(), numbers)]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
}
