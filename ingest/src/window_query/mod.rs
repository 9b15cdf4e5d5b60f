//! The query that turns an epoch's rows into partial windows, planned once and run again for every epoch.
//!
//! `SELECT bin, tag, segments…, state(arguments…) FROM rows GROUP BY GROUPING SETS (overall, one set a dimension)`: the
//! bin is `date_bin` of the event time, the tag is an integer column that keeps rows apart (late ones, or labels by age).
//! The leaf of the plan is refilled before each run and the plan's states are reset, which costs microseconds where
//! planning costs milliseconds.
//!
//! A null segment value is a segment of its own, [`NO_VALUE`], so that it cannot be taken for the overall group.

pub mod aggregate;

use aggregate::{WindowState, aggregate_function, decode_state};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::functions::expr_fn::{arrow_cast, coalesce, date_bin};
use datafusion::logical_expr::{Expr, GroupingSet, ident, lit};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use detectors::verdict::Segment;
use std::sync::{Arc, Mutex, PoisonError};

/// The segment of rows for which the expression gives null.
pub const NO_VALUE: &str = "(none)";

/// What a window query reads and how it groups.
#[derive(Debug, Clone)]
pub struct QuerySpec {
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// Width of a bin: a pane, or a step.
    pub bin_ms: i64,
    /// Int64 column with the event time.
    pub time: String,
    /// Int64 column that keeps rows apart within a bin.
    pub tag: String,
    /// Utf8 columns that hold the segments, with the names of their dimensions.
    pub dimensions: Vec<Dimension>,
    /// Columns handed to the aggregate, in its order.
    pub arguments: Vec<String>,
}

/// A segmentation of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Its configured name.
    pub name: String,
    /// The column that holds its values.
    pub column: String,
}

/// One group of a query's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell<S> {
    /// Start of the bin.
    pub start_ms: i64,
    /// The tag of its rows.
    pub tag: i64,
    /// The slice; `None` for all rows.
    pub segment: Option<Segment>,
    /// What was counted.
    pub state: S,
}

/// A plan that is run again and again over new rows.
#[derive(Debug)]
pub struct WindowQuery<S> {
    leaf: Arc<Leaf>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    dimensions: Vec<Dimension>,
    state: std::marker::PhantomData<fn() -> S>,
}

impl<S: WindowState> WindowQuery<S> {
    /// Plans the query.
    ///
    /// # Errors
    /// When a column is missing or has the wrong type.
    pub async fn plan(spec: QuerySpec, counts: Arc<S::Spec>) -> Result<Self> {
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let leaf = Arc::new(Leaf { schema: Arc::clone(&spec.schema), rows: Mutex::default() });
        let table = StreamingTable::try_new(Arc::clone(&spec.schema), vec![Arc::clone(&leaf) as _])?;
        let state = aggregate_function::<S>(counts).call(spec.arguments.iter().map(ident).collect());
        let plan = session
            .read_table(Arc::new(table))?
            .aggregate(vec![grouping(&spec)], vec![state.alias("state")])?
            .create_physical_plan()
            .await?;
        let context = session.task_ctx();
        Ok(Self { leaf, plan, context, dimensions: spec.dimensions, state: std::marker::PhantomData })
    }

    /// Runs the query over these rows.
    ///
    /// # Errors
    /// When the aggregate refuses the rows.
    pub async fn run(&mut self, rows: Vec<RecordBatch>) -> Result<Vec<Cell<S>>> {
        self.leaf.fill(rows);
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let answer = collect(plan, Arc::clone(&self.context)).await?;
        let mut cells = Vec::new();
        for batch in &answer {
            for row in 0..batch.num_rows() {
                cells.push(self.cell(batch, row)?);
            }
        }
        Ok(cells)
    }

    fn cell(&self, batch: &RecordBatch, row: usize) -> Result<Cell<S>> {
        let (Some(starts), Some(tags), Some(states)) = (
            batch.column(0).as_primitive_opt::<TimestampMillisecondType>(),
            batch.column(1).as_primitive_opt::<Int64Type>(),
            batch.columns().last().and_then(|states| states.as_binary_opt::<i32>()),
        ) else {
            let reason = format!("a window query answered with {}", batch.schema());
            return Err(DataFusionError::Internal(reason));
        };
        let segment = self.dimensions.iter().zip(&batch.columns()[2..]).find_map(|(dimension, values)| {
            let value = string_at(values.as_string_opt::<i32>()?, row)?;
            Some(Segment { dimension: dimension.name.clone(), value: value.to_owned() })
        });
        let (start_ms, tag) = (starts.value(row), tags.value(row));
        Ok(Cell { start_ms, tag, segment, state: decode_state(states.value(row))? })
    }
}

fn string_at(values: &StringArray, row: usize) -> Option<&str> {
    values.is_valid(row).then(|| values.value(row))
}

/// One grouping set for all rows, and one for each dimension.
fn grouping(spec: &QuerySpec) -> Expr {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None).to_string();
    let time = arrow_cast(ident(&spec.time), lit(timestamp));
    let width = lit(ScalarValue::new_interval_mdn(0, 0, spec.bin_ms * 1_000_000));
    // In nanoseconds, as the function's signature has it; any other origin turns the bins into nanoseconds too.
    let origin = lit(ScalarValue::TimestampNanosecond(Some(0), None));
    let bin = date_bin(width, time, origin).alias("bin");
    let overall = vec![bin, ident(&spec.tag)];
    let by_dimension = spec.dimensions.iter().map(|dimension| {
        let value =
            coalesce(vec![ident(&dimension.column), lit(NO_VALUE)]).alias(format!("dimension.{}", dimension.name));
        overall.iter().cloned().chain([value]).collect()
    });
    Expr::GroupingSet(GroupingSet::GroupingSets([overall.clone()].into_iter().chain(by_dimension).collect()))
}

/// The refillable leaf: gives up the rows it was filled with.
#[derive(Debug)]
struct Leaf {
    schema: SchemaRef,
    rows: Mutex<Vec<RecordBatch>>,
}

impl Leaf {
    fn fill(&self, rows: Vec<RecordBatch>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

impl PartitionStream for Leaf {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        let rows = futures::stream::iter(rows.into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

#[cfg(test)]
mod tests;
