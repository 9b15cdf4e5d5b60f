//! The profile of a whole table, however long: batches go through the aggregate of the stream one at a time.
//!
//! Two passes over a table that is nobody's stream. [`RowSample`] keeps some of its rows, from which bins and categories are
//! learned; [`profile`] then counts all of them. Memory holds the sample and one batch, whatever the table's length.
//!
//! Which rows are kept depends on their numbers alone, so that the same file gives the same bins.

use crate::window_query::aggregate::{Filled, aggregate_function};
use arrow::array::{BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use codec::columns::WRONG_TYPE;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ident;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use detectors::layout::ColumnLayout;
use detectors::profile::Profile;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The most rows that a sample keeps unless told; a table of fewer is kept whole.
pub const MOST_SAMPLED: usize = 1 << 17;

/// Batches of a table, or why there are no more.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Box<dyn Error + Send + Sync>>> + Send>;

/// The type of [`WRONG_TYPE`]: of each row the places of its wrongly typed columns.
pub fn wrong_type() -> Field {
    let item = Arc::new(Field::new_list_field(DataType::UInt16, false));
    Field::new(WRONG_TYPE, DataType::List(item), true)
}

/// Rows of a table, chosen evenly by a hash of their numbers: one in 2ᵏ, with the least `k` that keeps few enough.
#[derive(Debug)]
pub struct RowSample {
    kept: Vec<(RecordBatch, Vec<u64>)>,
    rows: usize,
    most: usize,
    halvings: u32,
    next_row: u64,
}

impl RowSample {
    /// A sample of nothing yet, which will keep [`MOST_SAMPLED`] rows at most.
    pub fn new() -> Self {
        Self::of_at_most(MOST_SAMPLED)
    }

    /// A sample of nothing yet, which will keep so many rows at most.
    pub fn of_at_most(most: usize) -> Self {
        Self { kept: Vec::new(), rows: 0, most, halvings: 0, next_row: 0 }
    }

    /// Takes the next rows of the table into account.
    ///
    /// # Errors
    /// When the rows cannot be filtered.
    pub fn observe(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let hashes: Vec<u64> = (self.next_row..).take(batch.num_rows()).map(mixed).collect();
        self.next_row += batch.num_rows() as u64;
        let kept = thinned((batch, &hashes), self.halvings)?;
        self.rows += kept.1.len();
        self.kept.push(kept);
        while self.rows > self.most {
            self.halvings += 1;
            let halves = self.kept.iter().map(|(batch, hashes)| thinned((batch, hashes), self.halvings));
            self.kept = halves.collect::<Result<_, _>>()?;
            self.rows = self.kept.iter().map(|(_, hashes)| hashes.len()).sum();
        }
        Ok(())
    }

    /// Rows of the table so far.
    pub fn rows_seen(&self) -> u64 {
        self.next_row
    }

    /// The rows that were kept.
    ///
    /// # Errors
    /// When the batches do not have these columns.
    pub fn finish(self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        concat_batches(schema, self.kept.iter().map(|(batch, _)| batch))
    }
}

impl Default for RowSample {
    fn default() -> Self {
        Self::new()
    }
}

/// The rows whose hash ends in so many zeros.
fn thinned((batch, hashes): (&RecordBatch, &[u64]), halvings: u32) -> Result<(RecordBatch, Vec<u64>), ArrowError> {
    let stays = |hash: &u64| hash.trailing_zeros() >= halvings;
    let only: BooleanArray = hashes.iter().map(|hash| Some(stays(hash))).collect();
    Ok((filter_record_batch(batch, &only)?, hashes.iter().copied().filter(stays).collect()))
}

/// A row's number with its bits well mixed (the finaliser of SplitMix64: Steele, Lea and Flood, 2014).
fn mixed(row: u64) -> u64 {
    let mut mixed = row.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Counts every row of the batches, whose columns are those of the layouts in order; behind them may stand [`WRONG_TYPE`].
///
/// # Errors
/// When a batch cannot be read, or has other columns.
pub fn profile(
    layouts: Arc<Vec<ColumnLayout>>,
    schema: &SchemaRef,
    batches: Batches,
) -> Result<Profile, DataFusionError> {
    let fields = schema.fields().iter().cloned().chain([Arc::new(wrong_type())]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let leaf = Leaf { schema: Arc::clone(&schema), batches: Mutex::new(Some(batches)) };
    let arguments = schema.fields().iter().map(|field| ident(field.name())).collect();
    let filled = Filled::<Profile>::default();
    let state = aggregate_function(layouts, filled.clone()).call(arguments).alias("state");
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| external(error.into()))?;
    runtime.block_on(async {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let table = StreamingTable::try_new(schema, vec![Arc::new(leaf)])?;
        session.read_table(Arc::new(table))?.aggregate(Vec::new(), vec![state])?.collect().await
    })?;
    let profile = filled.take().into_iter().next();
    profile.ok_or_else(|| DataFusionError::Internal("the aggregate of a table has no value".to_owned()))
}

fn external(error: Box<dyn Error + Send + Sync>) -> DataFusionError {
    DataFusionError::External(error)
}

/// The leaf of the plan: gives the batches once.
struct Leaf {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Leaf").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Leaf {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
        let schema = Arc::clone(&self.schema);
        let complete = move |batch: RecordBatch| {
            let mut columns = batch.columns().to_vec();
            if columns.len() < schema.fields().len() {
                columns.push(new_null_array(wrong_type().data_type(), batch.num_rows()));
            }
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        };
        let batches = batches.into_iter().flatten().map(move |batch| batch.map_err(external).and_then(&complete));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let numbers: Float64Array = (from..from + rows).map(|n| (n % 7 != 0).then_some(n as f64)).collect();
        let names: StringArray = (from..from + rows).map(|n| Some(["a", "b", "c"][n as usize % 3])).collect();
        let columns: [(&str, ArrayRef); 2] = [("number", Arc::new(numbers)), ("name", Arc::new(names))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn layouts() -> Arc<Vec<ColumnLayout>> {
        let mut values: Vec<f64> = (0..1_000).map(f64::from).collect();
        Arc::new(vec![ColumnLayout::learn_numeric(&mut values), ColumnLayout::learn_categorical(["a", "b"])])
    }

    #[test]
    fn a_table_in_batches_is_counted_as_the_whole_at_once() {
        let whole = batch(0, 3_000);
        let profile_of = |batches: Vec<RecordBatch>| {
            profile(layouts(), &whole.schema(), Box::new(batches.into_iter().map(Ok))).unwrap()
        };
        let found = profile_of(vec![batch(0, 1), batch(1, 0), batch(1, 1_999), batch(2_000, 1_000)]);
        assert_eq!(found, profile_of(vec![whole.clone()]));
        assert_eq!(found.rows(), 3_000);
        assert_eq!(profile_of(Vec::new()).rows(), 0);
    }

    #[test]
    fn a_table_that_ends_in_an_error_gives_no_profile() {
        let broken = Box::new([Ok(batch(0, 10)), Err("row 10 is torn".into())].into_iter());
        let error = profile(layouts(), &batch(0, 1).schema(), broken).unwrap_err().to_string();
        assert!(error.contains("row 10 is torn"), "{error}");
    }

    #[test]
    fn a_short_table_is_kept_whole_and_a_long_one_evenly_and_alike_however_it_is_cut() {
        let numbers = |from: i64, rows: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
            RecordBatch::try_from_iter([("row", column)]).unwrap()
        };
        let sampled = |rows: i64, step: i64| {
            let mut sample = RowSample::new();
            (0..rows / step).for_each(|part| sample.observe(&numbers(part * step, step)).unwrap());
            assert_eq!(sample.rows_seen(), rows as u64);
            sample.finish(&numbers(0, 0).schema()).unwrap()
        };
        assert_eq!(sampled(1_000, 100), numbers(0, 1_000));
        let long = sampled(1_000_000, 10_000);
        assert_eq!(long, sampled(1_000_000, 1_000));
        assert!((MOST_SAMPLED / 3..=MOST_SAMPLED).contains(&long.num_rows()), "{}", long.num_rows());
        let rows = long.column(0).as_primitive::<arrow::datatypes::Int64Type>().values();
        let early = rows.iter().filter(|row| **row < 500_000).count() as f64 / rows.len() as f64;
        // Five standard errors of a share of at least 40,000 rows.
        assert!((early - 0.5).abs() < 0.0125, "{early}");
    }
}
