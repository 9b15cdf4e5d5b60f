//! The design matrix of the builtin models: standardised numbers, then one column for each category.
//!
//! What is learned here from the training rows is frozen with the model. Numbers are centred and scaled to unit deviation,
//! null counts as the mean and so contributes nothing; a column that never varied is given the scale 0 and stays silent
//! whatever it holds later. Each categorical feature has a column for each of its categories and one for `unseen`, in which
//! null and the categories too rare for a column of their own stand, so that its weight is learned and not guessed.
//!
//! Means and scales are rounded to float32 before they are used, because that is how the exported graph holds them.

use super::options::Options;
use crate::encoding::{CategoryTables, InputEncoding, UNSEEN, count_categories};
use crate::linear::{Columns, Slot, Standardised};
use crate::trainer::TrainingError;
use arrow::array::RecordBatch;
use detectors::schema::{ColumnKind, ModelSchema};
use ndarray::{Array2, ArrayView1};

/// What was learned of the columns.
#[derive(Debug, Clone)]
pub(super) struct Design {
    pub(super) tables: CategoryTables,
    pub(super) columns: Columns,
}

impl Design {
    /// Learns tables, means and scales; also gives the input matrix of the rows, from which it learned them.
    pub(super) fn learn(
        schema: &ModelSchema,
        rows: &RecordBatch,
        options: &Options,
    ) -> Result<(Self, Array2<f32>), TrainingError> {
        let tables = learn_tables(schema, rows, options)?;
        let inputs = InputEncoding::new(schema, &tables)?.encode(rows)?;
        let mut numbers = Vec::new();
        let mut slots = Vec::new();
        for ((input, feature), column) in schema.features().enumerate().zip(inputs.columns()) {
            match feature.kind {
                ColumnKind::Numeric => {
                    refuse_infinite(&feature.name, column)?;
                    numbers.push(standardise(input, column));
                }
                ColumnKind::Categorical => {
                    let categories = tables.get(&feature.name).map_or(0, Vec::len);
                    slots.push(Slot { input, index: UNSEEN });
                    slots.extend((0..categories).map(|index| Slot { input, index: index as f32 }));
                }
            }
        }
        let design = Self { tables, columns: Columns { numbers, slots } };
        if design.columns_that_vary(&inputs) == 0 {
            return Err(TrainingError::AllConstant { rows: rows.num_rows() });
        }
        Ok((design, inputs))
    }

    /// Columns of the design matrix.
    pub(super) fn width(&self) -> usize {
        self.columns.width()
    }

    /// Numeric features that never varied.
    pub(super) fn constant_numbers(&self) -> usize {
        self.columns.numbers.iter().filter(|number| number.inverse_scale == 0.0).count()
    }

    /// The design matrix, shape `[rows, width]`.
    pub(super) fn matrix(&self, inputs: &Array2<f32>) -> Array2<f64> {
        let mut matrix = Array2::zeros((inputs.nrows(), self.width()));
        let (mut numbers, mut slots) = matrix.view_mut().split_at(ndarray::Axis(1), self.columns.numbers.len());
        for (number, mut column) in self.columns.numbers.iter().zip(numbers.columns_mut()) {
            let (mean, inverse_scale) = (f64::from(number.mean), f64::from(number.inverse_scale));
            column.zip_mut_with(&inputs.column(number.input), |cell, value| {
                *cell = if value.is_nan() { 0.0 } else { (f64::from(*value) - mean) * inverse_scale };
            });
        }
        for (slot, mut column) in self.columns.slots.iter().zip(slots.columns_mut()) {
            column.zip_mut_with(&inputs.column(slot.input), |cell, value| {
                *cell = f64::from(u8::from(*value == slot.index));
            });
        }
        matrix
    }

    fn columns_that_vary(&self, inputs: &Array2<f32>) -> usize {
        let varies = |slot: &&Slot| {
            let mut column = inputs.column(slot.input).into_iter().map(|value| *value == slot.index);
            let first = column.next();
            column.any(|held| Some(held) != first)
        };
        self.columns.numbers.len() - self.constant_numbers() + self.columns.slots.iter().filter(varies).count()
    }
}

/// The most frequent categories of each categorical feature, at most `max_categories`, each in at least
/// `min_category_rows` rows; in alphabetical order, so that equal rows give equal tables.
fn learn_tables(schema: &ModelSchema, rows: &RecordBatch, options: &Options) -> Result<CategoryTables, TrainingError> {
    let mut tables = CategoryTables::new();
    for feature in schema.features().filter(|feature| feature.kind == ColumnKind::Categorical) {
        let mut counts: Vec<(String, usize)> = count_categories(rows, &feature.name)?
            .into_iter()
            .filter(|(_, count)| *count >= options.min_category_rows)
            .collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts.truncate(options.max_categories);
        let mut categories: Vec<String> = counts.into_iter().map(|(category, _)| category).collect();
        categories.sort();
        tables.insert(feature.name.clone(), categories);
    }
    Ok(tables)
}

fn refuse_infinite(feature: &str, column: ArrayView1<'_, f32>) -> Result<(), TrainingError> {
    let infinite = column.iter().filter(|value| value.is_infinite()).count();
    if infinite == 0 { Ok(()) } else { Err(TrainingError::Infinite { column: feature.to_owned(), rows: infinite }) }
}

fn standardise(input: usize, column: ArrayView1<'_, f32>) -> Standardised {
    let known = || column.iter().copied().filter(|value| !value.is_nan());
    let count = known().count().max(1) as f64;
    let mean = (known().map(f64::from).sum::<f64>() / count) as f32;
    let variance = known().map(|value| (f64::from(value) - f64::from(mean)).powi(2)).sum::<f64>() / count;
    let first = known().next();
    let varies = known().any(|value| Some(value) != first);
    let inverse_scale = if varies { (1.0 / variance.sqrt()) as f32 } else { 0.0 };
    // A deviation too small for float32 has an infinite inverse; such a column says nothing that the graph could carry.
    let inverse_scale = if inverse_scale.is_finite() { inverse_scale } else { 0.0 };
    Standardised { input, mean, inverse_scale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use detectors::schema::Task;
    use std::sync::Arc;

    fn schema() -> ModelSchema {
        let features = [("x".to_owned(), ColumnKind::Numeric), ("ward".to_owned(), ColumnKind::Categorical)];
        ModelSchema::new(features, Task::Regression)
    }

    fn rows(numbers: Vec<Option<f64>>, wards: Vec<Option<&str>>) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(numbers)) as ArrayRef),
            ("ward", Arc::new(StringArray::from(wards)) as ArrayRef),
        ])
        .unwrap()
    }

    fn options(min_category_rows: usize) -> Options {
        Options { min_category_rows, ..Options::default() }
    }

    #[test]
    fn null_counts_as_the_mean_and_rare_categories_as_unseen() {
        let rows =
            rows(vec![Some(1.0), Some(3.0), None, Some(2.0)], vec![Some("east"), Some("east"), Some("rare"), None]);
        let (design, inputs) = Design::learn(&schema(), &rows, &options(2)).unwrap();
        assert_eq!(design.tables["ward"], ["east"]);
        let matrix = design.matrix(&inputs);
        assert_eq!(matrix.column(0)[2], 0.0);
        assert_eq!(matrix.column(1).to_vec(), [0.0, 0.0, 1.0, 1.0], "unseen");
        assert_eq!(matrix.column(2).to_vec(), [1.0, 1.0, 0.0, 0.0], "east");
        assert!((matrix.column(0).sum()).abs() < 1e-6);
    }

    #[test]
    fn a_column_that_never_varied_stays_silent() {
        let rows = rows(vec![Some(7.0); 3], vec![Some("a"), Some("a"), Some("b")]);
        let (design, _) = Design::learn(&schema(), &rows, &options(1)).unwrap();
        assert_eq!(design.constant_numbers(), 1);
        let later = ndarray::array![[1e9_f32, 0.0]];
        assert_eq!(design.matrix(&later)[[0, 0]], 0.0);
    }

    #[test]
    fn rows_without_any_variation_are_refused() {
        let rows = rows(vec![Some(7.0); 3], vec![Some("a"); 3]);
        let error = Design::learn(&schema(), &rows, &options(1)).unwrap_err();
        assert!(error.to_string().starts_with("every feature is constant over the 3"), "{error}");
    }

    #[test]
    fn infinite_values_are_refused_with_the_feature_and_their_number() {
        let rows = rows(vec![Some(f64::INFINITY), Some(1e300), Some(1.0)], vec![Some("a"); 3]);
        let error = Design::learn(&schema(), &rows, &options(1)).unwrap_err();
        assert!(matches!(error, TrainingError::Infinite { ref column, rows: 2 } if column == "x"), "{error}");
    }
}
