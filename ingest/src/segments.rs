//! Segment expressions: the SQL that says which slice of the traffic a row belongs to.
//!
//! An expression is evaluated once, when the event is captured, and its value stays with the row, so that the label that
//! comes later counts in the same slice. Values that the reference does not know are gathered under [`OTHER`]: the number
//! of segments is the reference's, whatever the events say.

use crate::columns::SEGMENT_PREFIX;
use crate::window_query::{Dimension, NO_VALUE};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use detectors::verdict::Segment;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// The segment of values that the reference does not know.
pub const OTHER: &str = "(other)";

/// Where the value of a dimension comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentSource {
    /// A SQL expression over the event's columns.
    Expression(String),
    /// The event's own `segment` map.
    FromEvent,
}

/// A dimension by which the traffic is sliced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentSpec {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: SegmentSource,
}

/// A segment expression that cannot be used.
#[derive(Debug, Error)]
#[error("segment {name}: {source}: `{expression}` must be a SQL expression over the model's columns")]
pub struct SegmentError {
    /// The dimension.
    name: String,
    /// Its expression.
    expression: String,
    /// What DataFusion says of it.
    #[source]
    source: Box<DataFusionError>,
}

/// Puts the value of every dimension beside the rows.
#[derive(Debug)]
pub struct Segmenter {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    dimensions: Vec<Dimension>,
}

impl Segmenter {
    /// Compiles the expressions over batches of this schema.
    ///
    /// # Errors
    /// When an expression does not parse, or names a column that is not there.
    pub fn new(schema: &SchemaRef, specs: &[SegmentSpec]) -> Result<Self, SegmentError> {
        let session = SessionContext::new();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        let mut expressions = Vec::new();
        let mut dimensions = Vec::new();
        for spec in specs {
            let column = format!("{SEGMENT_PREFIX}{}", spec.name);
            if let SegmentSource::Expression(sql) = &spec.source {
                let compiled = compile(&session, schema, sql).map_err(|source| SegmentError {
                    name: spec.name.clone(),
                    expression: sql.clone(),
                    source: Box::new(source),
                })?;
                expressions.push(compiled);
                fields.push(Arc::new(Field::new(&column, DataType::Utf8, true)));
            }
            dimensions.push(Dimension { name: spec.name.clone(), column });
        }
        Ok(Self { expressions, schema: Arc::new(Schema::new(fields)), dimensions })
    }

    /// The columns of an extended batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The dimensions with their columns.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The batch with one more Utf8 column for each expression.
    ///
    /// # Errors
    /// When an expression fails on the rows, as a division by zero does.
    pub fn extend(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let mut columns = batch.columns().to_vec();
        for expression in &self.expressions {
            let values: ArrayRef = expression.evaluate(batch)?.into_array(batch.num_rows())?;
            columns.push(cast(&values, &DataType::Utf8)?);
        }
        let extended: Result<RecordBatch, ArrowError> = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        Ok(extended?)
    }
}

/// The segment under which a value counts, given those the reference knows.
pub fn known_segment(segment: Segment, is_known: impl Fn(&Segment) -> bool) -> Segment {
    if segment.value == NO_VALUE || is_known(&segment) {
        return segment;
    }
    Segment { value: OTHER.to_owned(), ..segment }
}

fn compile(session: &SessionContext, schema: &SchemaRef, sql: &str) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    let expression = session.parse_sql_expr(sql, &schema)?;
    session.create_physical_expr(expression, &schema)
}
