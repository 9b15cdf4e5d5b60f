//! Rows as standardised numbers: what all joint detectors read.
//!
//! Invariants. Every row gives one finite number for each column. The parameters are the reference's alone.
//!
//! A number is `(x − mean) / standard deviation` of the reference. Null, NaN and ±∞ count as the reference's mean, and
//! so do numbers beyond 1e140, whose squares could not be summed; that they are missing is the business of the data
//! quality's tests. A category is the share of the reference's rows that have it, standardised likewise: rare ones look
//! like rare ones, an unseen one like the rarest of all, with share 0. A null counts as the most frequent category. So
//! NannyML encodes.
//!
//! Of a column that is constant in the reference the standard deviation counts as 1. Whatever is farther than 1,000
//! standard deviations from the mean counts as 1,000, so that one absurd value never decides. Of more than 1,000
//! categories the rarer ones count as unseen.

use super::JointError;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Numbers farther from zero count as missing.
pub(super) const LARGEST: f64 = 1e140;
/// The farthest that a value can be from the mean, in standard deviations.
const FARTHEST: f64 = 1000.0;
/// How many categories are told apart.
const MOST_CATEGORIES: usize = 1000;

/// How a reference's columns become numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoding {
    columns: Vec<ColumnEncoding>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ColumnEncoding {
    /// Shares of the categories; `None` for a numeric column.
    shares: Option<BTreeMap<String, f64>>,
    /// What a missing value counts as, before it is standardised.
    missing: f64,
    mean: f64,
    /// Never zero.
    deviation: f64,
}

/// Rows of numbers, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    pub(super) fn iter(&self) -> impl Iterator<Item = &[f64]> + Clone {
        self.values.chunks_exact(self.width)
    }

    pub(super) fn count(&self) -> usize {
        self.values.len() / self.width
    }
}

/// A column that could be read.
pub(super) enum Column {
    Numbers(Float64Array),
    Categories(StringArray),
}

impl Encoding {
    /// Learns from the reference's rows: Float64 for numeric columns, strings or a dictionary of them for categorical
    /// ones.
    ///
    /// # Errors
    /// When there is no column or fewer than two rows, or a column cannot be read.
    pub fn learn(columns: &[ArrayRef]) -> Result<Self, JointError> {
        let (columns, rows) = read(columns)?;
        if rows < 2 {
            return Err(JointError::TooFewRows { rows: rows as i64, needed: 2 });
        }
        Ok(Self { columns: columns.iter().map(ColumnEncoding::learn).collect() })
    }

    /// How many columns there are; at least one.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The rows of a batch as numbers.
    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<Rows, JointError> {
        let (expected, found) = (self.columns.len(), columns.len());
        if expected != found {
            return Err(JointError::ColumnCount { expected, found });
        }
        let (read, rows) = read(columns)?;
        for (place, (column, encoding)) in read.iter().zip(&self.columns).enumerate() {
            if matches!(column, Column::Categories(_)) != encoding.shares.is_some() {
                let found = columns.get(place).map(|column| column.data_type().to_string()).unwrap_or_default();
                return Err(JointError::ColumnType { place, found });
            }
        }
        let mut values = Vec::with_capacity(rows * expected);
        for row in 0..rows {
            values.extend(read.iter().zip(&self.columns).map(|(column, encoding)| encoding.encode(column, row)));
        }
        Ok(Rows { width: expected, values })
    }
}

impl ColumnEncoding {
    fn learn(column: &Column) -> Self {
        let (shares, missing) = match column {
            Column::Numbers(values) => (None, mean_of(values.iter().flatten().filter(|value| value.abs() <= LARGEST))),
            Column::Categories(values) => {
                let (shares, most_frequent) = shares_of(values);
                (Some(shares), most_frequent)
            }
        };
        let mut encoding = Self { shares, missing, mean: 0.0, deviation: 1.0 };
        let raw: Vec<f64> = (0..column.len()).map(|row| encoding.raw(column, row)).collect();
        encoding.mean = mean_of(raw.iter().copied());
        let variance = mean_of(raw.iter().map(|value| (value - encoding.mean).powi(2)));
        let deviation = variance.sqrt();
        // Below this the values differ by the rounding of their mean only.
        if deviation > 8.0 * f64::EPSILON * encoding.mean.abs() {
            encoding.deviation = deviation;
        }
        encoding
    }

    fn encode(&self, column: &Column, row: usize) -> f64 {
        ((self.raw(column, row) - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)
    }

    fn raw(&self, column: &Column, row: usize) -> f64 {
        match column {
            Column::Numbers(values) if values.is_valid(row) && values.value(row).abs() <= LARGEST => values.value(row),
            Column::Categories(values) if values.is_valid(row) => {
                self.shares.as_ref().and_then(|shares| shares.get(values.value(row))).copied().unwrap_or(0.0)
            }
            Column::Numbers(_) | Column::Categories(_) => self.missing,
        }
    }
}

impl Column {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Categories(values) => values.len(),
        }
    }
}

/// The mean about the first value, so that equal values have it exactly; 0 of none.
fn mean_of(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let origin = values.clone().next().unwrap_or(0.0);
    let (n, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + (value - origin)));
    if n > 0.0 { origin + sum / n } else { 0.0 }
}

/// The categories' shares of all rows, and the share of the most frequent, to which the nulls are counted.
fn shares_of(values: &StringArray) -> (BTreeMap<String, f64>, f64) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values.iter().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let mut ranked: Vec<(&str, usize)> = counts.into_iter().collect();
    // The sort is stable: of equally frequent ones the first by name leads.
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if let Some((_, count)) = ranked.first_mut() {
        *count += values.null_count();
    }
    ranked.truncate(MOST_CATEGORIES);
    let rows = values.len().max(1) as f64;
    let most_frequent = ranked.first().map_or(0.0, |(_, count)| *count as f64 / rows);
    (ranked.into_iter().map(|(name, count)| (name.to_owned(), count as f64 / rows)).collect(), most_frequent)
}

/// The columns and their length.
pub(super) fn read(columns: &[ArrayRef]) -> Result<(Vec<Column>, usize), JointError> {
    let Some(expected) = columns.first().map(|column| column.len()) else {
        return Err(JointError::ColumnCount { expected: 1, found: 0 });
    };
    let mut read = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        if column.len() != expected {
            return Err(JointError::RowCount { place, expected, found: column.len() });
        }
        read.push(read_column(column, place)?);
    }
    Ok((read, expected))
}

fn read_column(column: &ArrayRef, place: usize) -> Result<Column, JointError> {
    let misfit = || JointError::ColumnType { place, found: column.data_type().to_string() };
    match column.data_type() {
        DataType::Float64 => Ok(Column::Numbers(column.as_primitive::<Float64Type>().clone())),
        DataType::Utf8 => Ok(Column::Categories(column.as_string::<i32>().clone())),
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => {
            let strings = cast(column, &DataType::Utf8).map_err(|_| misfit())?;
            Ok(Column::Categories(strings.as_string_opt::<i32>().ok_or_else(misfit)?.clone()))
        }
        _ => Err(misfit()),
    }
}
