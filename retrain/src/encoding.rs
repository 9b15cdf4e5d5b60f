//! How rows become the float matrix that a model of Driftline takes.
//!
//! The contract, for every ONNX graph with one input: `features: float32[N, F]`, one column per feature of the schema, in
//! the schema's order. A number stands as itself; null stands as NaN (and NaN in the data therefore means null). A category
//! stands as its index in the feature's table; null and every category that the table does not know stand as -1.
//!
//! The tables travel with the artifact, in the graph's metadata under [`CATEGORIES_KEY`] as a JSON object from the
//! feature's name to its categories in order. Numbers are rounded to float32 before anything is learned from them, so that
//! what a model was trained on is exactly what it will be asked.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use codec::columns::arrow_type;
use detectors::schema::{ColumnKind, ModelSchema};
use detectors::spelling;
use ndarray::{Array2, ArrayViewMut1};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Key of the category tables in an ONNX graph's metadata.
pub const CATEGORIES_KEY: &str = "driftline.categories";

/// What stands in the matrix for null and for a category that the table does not know.
pub const UNSEEN: f32 = -1.0;

/// The categories of each categorical feature, by name, in index order.
pub type CategoryTables = BTreeMap<String, Vec<String>>;

/// Why rows could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodingError {
    /// A categorical feature without a table.
    #[error(
        "feature {column} is categorical and the artifact carries no table of its categories; add it to the JSON object in \
         the metadata entry `{CATEGORIES_KEY}`"
    )]
    NoTable {
        /// The feature.
        column: String,
    },
    /// A column that is not there.
    #[error("the rows have no column {column}; they have {found}")]
    MissingColumn {
        /// The column.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A column of a type that cannot be read as what the schema says.
    #[error("column {column} cannot be read as {expected}")]
    WrongType {
        /// The column.
        column: String,
        /// The Arrow type that the schema asks for.
        expected: DataType,
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// Columns that do not belong together.
    #[error("the feature columns do not make rows")]
    Columns {
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
}

/// One column of the matrix.
#[derive(Debug, Clone)]
struct InputColumn {
    name: String,
    /// Index by category; `None` for a number.
    indices: Option<HashMap<String, f32>>,
}

/// Turns rows into the matrix of one model.
#[derive(Debug, Clone)]
pub struct InputEncoding {
    columns: Vec<InputColumn>,
}

impl InputEncoding {
    /// The encoding of a schema's features with these tables.
    ///
    /// # Errors
    /// [`EncodingError::NoTable`] if a categorical feature has none.
    pub fn new(schema: &ModelSchema, tables: &CategoryTables) -> Result<Self, EncodingError> {
        let columns = schema.features().map(|feature| {
            let indices = match feature.kind {
                ColumnKind::Numeric => None,
                ColumnKind::Categorical => {
                    let table = tables
                        .get(&feature.name)
                        .ok_or_else(|| EncodingError::NoTable { column: feature.name.clone() })?;
                    Some(table.iter().enumerate().map(|(index, name)| (name.clone(), index as f32)).collect())
                }
            };
            Ok(InputColumn { name: feature.name.clone(), indices })
        });
        Ok(Self { columns: columns.collect::<Result<_, _>>()? })
    }

    /// Columns of the matrix.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The matrix of these rows, shape `[rows, width]`.
    ///
    /// # Errors
    /// A feature's column is missing, or is of a type that cannot be read.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Array2<f32>, EncodingError> {
        let mut matrix = Array2::zeros((rows.num_rows(), self.columns.len()));
        for (column, slots) in self.columns.iter().zip(matrix.columns_mut()) {
            match &column.indices {
                None => encode_numbers(&column_as(rows, &column.name, &DataType::Float64)?, slots),
                Some(indices) => encode_categories(&column_as(rows, &column.name, &DataType::Utf8)?, indices, slots),
            }
        }
        Ok(matrix)
    }
}

/// A column of the rows, by name, as the type that is asked for.
pub(crate) fn column_as(rows: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef, EncodingError> {
    let Some(column) = rows.column_by_name(name) else {
        let schema = rows.schema();
        let found = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(EncodingError::MissingColumn { column: name.to_owned(), found });
    };
    let names = if *wanted == DataType::Utf8 { spelling::of_array(column) } else { Ok(None) };
    let converted = names.and_then(|names| match names {
        Some(names) => Ok(Arc::new(names) as ArrayRef),
        None => cast(column, wanted),
    });
    converted.map_err(|source| EncodingError::WrongType { column: name.to_owned(), expected: wanted.clone(), source })
}

/// The features of rows as the schema has them: by name, in its order, in the type of their kind.
///
/// # Errors
/// A feature's column is missing, or is of a type that cannot be read.
pub(crate) fn features_as(schema: &ModelSchema, rows: &RecordBatch) -> Result<RecordBatch, EncodingError> {
    let columns = schema.features().map(|feature| {
        let column = column_as(rows, &feature.name, &arrow_type(feature.kind))?;
        Ok::<_, EncodingError>((feature.name.as_str(), column, true))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|source| EncodingError::Columns { source })
}

fn encode_numbers(column: &ArrayRef, slots: ArrayViewMut1<'_, f32>) {
    for (slot, value) in slots.into_iter().zip(column.as_primitive::<Float64Type>().iter()) {
        *slot = value.map_or(f32::NAN, |value| value as f32);
    }
}

fn encode_categories(column: &ArrayRef, indices: &HashMap<String, f32>, slots: ArrayViewMut1<'_, f32>) {
    for (slot, value) in slots.into_iter().zip(column.as_string::<i32>().iter()) {
        *slot = value.and_then(|value| indices.get(value).copied()).unwrap_or(UNSEEN);
    }
}

/// How often each category occurs in a categorical feature.
pub(crate) fn count_categories(rows: &RecordBatch, name: &str) -> Result<BTreeMap<String, usize>, EncodingError> {
    let column = column_as(rows, name, &DataType::Utf8)?;
    let mut counts = BTreeMap::new();
    for value in column.as_string::<i32>().iter().flatten() {
        match counts.get_mut(value) {
            Some(count) => *count += 1,
            None => {
                counts.insert(value.to_owned(), 1);
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray};
    use detectors::schema::Task;
    use std::sync::Arc;

    fn schema() -> ModelSchema {
        let features = [("age".to_owned(), ColumnKind::Numeric), ("ward".to_owned(), ColumnKind::Categorical)];
        ModelSchema::new(features, Task::Regression)
    }

    fn tables() -> CategoryTables {
        BTreeMap::from([("ward".to_owned(), vec!["east".to_owned(), "west".to_owned()])])
    }

    #[test]
    fn null_is_nan_and_a_category_without_an_index_is_unseen() {
        let rows = RecordBatch::try_from_iter([
            ("ward", Arc::new(StringArray::from(vec![Some("west"), Some("north"), None])) as ArrayRef),
            ("age", Arc::new(Float64Array::from(vec![Some(40.0), None, Some(2.5)])) as ArrayRef),
        ])
        .unwrap();
        let matrix = InputEncoding::new(&schema(), &tables()).unwrap().encode(&rows).unwrap();
        assert_eq!(matrix.column(1).to_vec(), [1.0, UNSEEN, UNSEEN]);
        assert_eq!(matrix[[0, 0]], 40.0);
        assert!(matrix[[1, 0]].is_nan());
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_are_there() {
        let rows =
            RecordBatch::try_from_iter([("ward", Arc::new(StringArray::from(vec!["west"])) as ArrayRef)]).unwrap();
        let error = InputEncoding::new(&schema(), &tables()).unwrap().encode(&rows).unwrap_err();
        assert_eq!(error.to_string(), "the rows have no column age; they have ward");
    }

    #[test]
    fn a_categorical_feature_needs_its_table() {
        let error = InputEncoding::new(&schema(), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().starts_with("feature ward is categorical"), "{error}");
    }
}
