//! The query that turns an epoch's rows into partial windows, planned once and run again for every epoch.
//!
//! `SELECT bin, tag, segments…, state(arguments…) FROM rows GROUP BY GROUPING SETS (overall, one set a dimension)`: the
//! bin is `date_bin` of the event time, the tag is an integer column that keeps rows apart (late ones, or labels by age).
//! The leaf of the plan is refilled before each run and the plan's states are reset, which costs microseconds where
//! planning costs a hundred times that.
//!
//! A null segment value is a segment of its own, [`NO_VALUE`], so that it cannot be taken for the overall group.

pub mod aggregate;

use aggregate::{Filled, WindowState, aggregate_function};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType, UInt64Type};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::functions::expr_fn::date_bin;
use datafusion::logical_expr::{cast, ident, lit, when};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use detectors::verdict::Segment;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

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
    filled: Filled<S>,
}

/// Plans window queries, and runs them on the thread that asks.
///
/// The plan is put together by hand: there is but one, a thousand models have a thousand of them, and to find it anew with
/// every rule of the optimizer takes a millisecond. Expressions are DataFusion's to plan.
pub struct QueryEngine {
    session: SessionContext,
    runtime: Runtime,
}

impl QueryEngine {
    /// An engine that has planned nothing.
    ///
    /// # Errors
    /// When the runtime for queries cannot be made.
    pub fn new() -> std::io::Result<Self> {
        let config = SessionConfig::new().with_target_partitions(1);
        let session = SessionContext::new_with_state(SessionStateBuilder::new().with_config(config).build());
        Ok(Self { session, runtime: tokio::runtime::Builder::new_current_thread().build()? })
    }

    /// Plans a query.
    ///
    /// # Errors
    /// When a column is missing or has the wrong type.
    pub fn plan<S: WindowState>(&self, spec: QuerySpec, counts: Arc<S::Spec>) -> Result<WindowQuery<S>> {
        let schema = &spec.schema;
        let leaf = Arc::new(Leaf { schema: Arc::clone(schema), rows: Mutex::default() });
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::clone(&leaf) as _];
        let rows = StreamingTableExec::try_new(Arc::clone(schema), partitions, None, [], false, None)?;
        let filled = Filled::default();
        let arguments = spec.arguments.iter().map(|name| column(name, schema)).collect::<Result<Vec<_>>>()?;
        let state = aggregate_function::<S>(counts, filled.clone());
        let state = AggregateExprBuilder::new(Arc::new(state), arguments).schema(Arc::clone(schema)).alias("state");
        let plan = AggregateExec::try_new(
            AggregateMode::Single,
            self.grouping(&spec)?,
            vec![Arc::new(state.build()?)],
            vec![None],
            Arc::new(rows),
            Arc::clone(schema),
        )?;
        let context = self.session.task_ctx();
        Ok(WindowQuery { leaf, plan: Arc::new(plan), context, dimensions: spec.dimensions, filled })
    }

    /// One grouping set for all rows, and one for each dimension.
    fn grouping(&self, spec: &QuerySpec) -> Result<PhysicalGroupBy> {
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
        let width = lit(ScalarValue::new_interval_mdn(0, 0, spec.bin_ms * 1_000_000));
        // In nanoseconds, as the function's signature has it; any other origin turns the bins into nanoseconds too.
        let origin = lit(ScalarValue::TimestampNanosecond(Some(0), None));
        let bin = date_bin(width, cast(ident(&spec.time), timestamp), origin);
        let mut groups = vec![(bin, "bin".to_owned()), (ident(&spec.tag), "tag".to_owned())];
        for Dimension { name, column } in &spec.dimensions {
            let value = when(ident(column).is_null(), lit(NO_VALUE)).otherwise(ident(column))?;
            groups.push((value, format!("dimension.{name}")));
        }
        let schema = DFSchema::try_from(spec.schema.as_ref().clone())?;
        let (mut values, mut nulls) = (Vec::new(), Vec::new());
        for (expression, name) in groups {
            let value = self.session.create_physical_expr(expression, &schema)?;
            let null = ScalarValue::try_from(value.data_type(&spec.schema)?)?;
            nulls.push((Arc::new(Literal::new(null)) as Arc<dyn PhysicalExpr>, name.clone()));
            values.push((value, name));
        }
        if spec.dimensions.is_empty() {
            return Ok(PhysicalGroupBy::new_single(values));
        }
        // Of the expressions behind the bin and the tag each set has one at most; those that it lacks are null.
        let lacks = |set: Option<usize>| (0..values.len()).map(|at| at >= 2 && Some(at - 2) != set).collect();
        let sets = [None].into_iter().chain((0..spec.dimensions.len()).map(Some)).map(lacks).collect();
        Ok(PhysicalGroupBy::new(values, nulls, sets, true))
    }
}

fn column(name: &str, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(Arc::new(Column::new_with_schema(name, schema)?))
}

impl<S: WindowState> WindowQuery<S> {
    /// Runs the query over these rows.
    ///
    /// # Errors
    /// When the aggregate refuses the rows.
    pub fn run(&mut self, engine: &QueryEngine, rows: Vec<RecordBatch>) -> Result<Vec<Cell<S>>> {
        self.leaf.fill(rows);
        // What a run that failed has left behind.
        self.filled.take();
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let answer = engine.runtime.block_on(collect(plan, Arc::clone(&self.context)))?;
        let mut filled: Vec<_> = self.filled.take().into_iter().map(Some).collect();
        let mut cells = Vec::with_capacity(filled.len());
        for batch in &answer {
            for row in 0..batch.num_rows() {
                cells.push(self.cell((batch, row), &mut filled)?);
            }
        }
        Ok(cells)
    }

    fn cell(&self, (batch, row): (&RecordBatch, usize), filled: &mut [Option<S>]) -> Result<Cell<S>> {
        let unknown = || DataFusionError::Internal(format!("a window query answered with {}", batch.schema()));
        let [starts, tags, values @ .., places] = batch.columns() else { return Err(unknown()) };
        let starts = starts.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(unknown)?;
        let tags = tags.as_primitive_opt::<Int64Type>().ok_or_else(unknown)?;
        let places = places.as_primitive_opt::<UInt64Type>().ok_or_else(unknown)?;
        let segment = self.dimensions.iter().zip(values).find_map(|(dimension, values)| {
            let value = string_at(values.as_string_opt::<i32>()?, row)?;
            Some(Segment { dimension: dimension.name.clone(), value: value.to_owned() })
        });
        let state = filled.get_mut(places.value(row) as usize).and_then(Option::take);
        let state = state.ok_or_else(|| DataFusionError::Internal("a window query answered twice".to_owned()))?;
        Ok(Cell { start_ms: starts.value(row), tag: tags.value(row), segment, state })
    }
}

fn string_at(values: &StringArray, row: usize) -> Option<&str> {
    values.is_valid(row).then(|| values.value(row))
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
