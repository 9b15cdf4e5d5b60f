//! The query that profiles a model's rows: the same for the stream, the archive and references.

use crate::columns::{EVENT_TIME, WRONG_TYPE};
use crate::segments::Segmenter;
use crate::watched::WatchedModel;
use crate::window_query::QuerySpec;
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
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
}
