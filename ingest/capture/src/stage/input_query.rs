//! The query that profiles a model's rows: the same for the stream, the archive and references.

use crate::segments::Segmenter;
use crate::watched::WatchedModel;
use crate::window_query::QuerySpec;
use arrow::array::{AsArray, Int64Array, ListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, UInt16Type};
use arrow::error::ArrowError;
use codec::columns::{EVENT_TIME, WRONG_TYPE};
use detectors::schema::ModelSchema;
use std::sync::Arc;

/// Int64 column that tells late rows (1) from others (0). Its prefix keeps it apart from any feature.
pub(super) const LATE: &str = "driftline.late";

/// What profiles the rows of any version of a model, and what it reads of them.
pub struct InputQuery {
    /// The query.
    pub spec: QuerySpec,
    /// Where the columns that it reads stand in rows with their segments; the late column comes behind them.
    read: Vec<usize>,
}

impl InputQuery {
    /// The query for a model's columns and segments.
    pub fn new(watched: &WatchedModel, segmenter: &Segmenter) -> Self {
        let columns = watched.schema.columns.iter().map(|column| column.name.clone());
        let arguments: Vec<_> = columns.chain([WRONG_TYPE.to_owned()]).collect();
        let dimensions = segmenter.dimensions().to_vec();
        let is_read = |name: &String| {
            name == EVENT_TIME || arguments.contains(name) || dimensions.iter().any(|of| of.column == *name)
        };
        let fields = segmenter.schema().fields();
        let read: Vec<_> =
            (0..fields.len()).filter(|at| fields.get(*at).is_some_and(|it| is_read(it.name()))).collect();
        let mut fields: Vec<_> = read.iter().filter_map(|at| fields.get(*at).cloned()).collect();
        fields.push(Arc::new(Field::new(LATE, DataType::Int64, false)));
        let spec = QuerySpec {
            schema: Arc::new(Schema::new(fields)),
            bin_ms: watched.windows.pane_ms(),
            time: EVENT_TIME.to_owned(),
            tag: LATE.to_owned(),
            dimensions,
            arguments,
        };
        Self { spec, read }
    }

    /// What the query reads of rows with their segments. `late` holds 1 for each row that is late, and 0 for others.
    ///
    /// # Errors
    /// When a column is missing or has another type.
    pub fn rows(&self, extended: &RecordBatch, late: Vec<i64>) -> Result<RecordBatch, ArrowError> {
        let mut columns = extended.project(&self.read)?.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(late)));
        RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)
    }

    /// The query for a reference whose columns are the same, in an order of their own, and what its rows need for it.
    pub(super) fn in_order_of(&self, reference: &ModelSchema) -> (QuerySpec, Order) {
        let names: Vec<_> = reference.columns.iter().map(|column| column.name.clone()).collect();
        let own = self.spec.arguments.iter().filter(|name| *name != WRONG_TYPE);
        let places = own.map(|name| names.iter().position(|other| other == name).unwrap_or_default() as u16).collect();
        let arguments = names.into_iter().chain([WRONG_TYPE.to_owned()]).collect();
        (QuerySpec { arguments, ..self.spec.clone() }, Order { places })
    }
}

/// Where each column of a model stands in a reference.
pub(super) struct Order {
    places: Vec<u16>,
}

impl Order {
    /// Rows as the query reads them, in which columns that held values of another type are named by their places there.
    pub(super) fn apply(&self, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let is_same = self.places.iter().enumerate().all(|(own, place)| own == usize::from(*place));
        let Ok(at) = rows.schema_ref().index_of(WRONG_TYPE) else { return Ok(rows) };
        let lists = rows.column(at).as_list_opt::<i32>();
        let Some(lists) = lists.filter(|lists| !is_same && !lists.values().is_empty()) else { return Ok(rows) };
        let (field, offsets, values, nulls) = lists.clone().into_parts();
        let there = |own: u16| self.places.get(usize::from(own)).copied().unwrap_or(own);
        let values = values.as_primitive::<UInt16Type>().unary::<_, UInt16Type>(there);
        let mut columns = rows.columns().to_vec();
        if let Some(column) = columns.get_mut(at) {
            *column = Arc::new(ListArray::try_new(field, offsets, Arc::new(values), nulls)?);
        }
        RecordBatch::try_new(rows.schema(), columns)
    }
}
