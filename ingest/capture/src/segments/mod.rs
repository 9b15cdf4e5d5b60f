//! Segment expressions: the SQL that says which slice of the traffic a row belongs to.
//!
//! An expression is evaluated once, when the event is captured, and its value stays with the row, so that the label that
//! comes later counts in the same slice. Values that the reference does not know are gathered under [`OTHER`]: the number
//! of segments is the reference's, whatever the events say.

use crate::window_query::{Dimension, NO_VALUE};
use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use codec::columns::SEGMENT_PREFIX;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;
use detectors::spelling;
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

    /// Whether the value of any expression follows from this column.
    pub fn reads(&self, column: &str) -> bool {
        self.expressions.iter().any(|expression| collect_columns(expression).iter().any(|read| read.name() == column))
    }

    /// The batch with one more Utf8 column for each expression.
    ///
    /// A row on which an expression fails, as a division by zero does, has no value: it costs neither the others nor the
    /// stage.
    ///
    /// # Errors
    /// When the batch does not have the schema.
    pub fn extend(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        if self.expressions.is_empty() && batch.schema_ref() == &self.schema {
            return Ok(batch.clone());
        }
        let mut columns = batch.columns().to_vec();
        for expression in &self.expressions {
            columns.push(values_of(expression, batch).or_else(|_| values_one_by_one(expression, batch))?);
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

fn values_of(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let values: ArrayRef = expression.evaluate(batch)?.into_array(batch.num_rows())?;
    match spelling::of_array(&values)? {
        Some(names) => Ok(Arc::new(names)),
        None => Ok(cast(&values, &DataType::Utf8)?),
    }
}

/// As [`values_of`], with null for the rows on which the expression fails.
fn values_one_by_one(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    let none = new_null_array(&DataType::Utf8, 1);
    let rows = (0..batch.num_rows()).map(|row| values_of(expression, &batch.slice(row, 1)));
    let values: Vec<ArrayRef> = rows.map(|value| value.unwrap_or_else(|_| Arc::clone(&none))).collect();
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(concat(&values)?)
}

fn compile(session: &SessionContext, schema: &SchemaRef, sql: &str) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    let expression = session.parse_sql_expr(sql, &schema)?;
    session.create_physical_expr(expression, &schema)
}

#[cfg(test)]
mod tests;
