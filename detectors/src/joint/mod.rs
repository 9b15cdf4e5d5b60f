//! Drift of several columns together, which no column shows by itself.
//!
//! Three detectors have parameters that belong to the reference and read sums that add up: [`PrincipalAxes`] (how well
//! rows fit the axes along which the reference varies), [`CorrelationDetector`] (how columns go together, two by two)
//! and [`RandomFeatures`] (the maximum mean discrepancy: any change of the joint distribution). [`classify_domain`]
//! needs rows of both sides and is for batches only.
//!
//! Invariants. A [`JointSketch`] holds the number of rows and sums over them: merging is associative and commutative,
//! and neither the order of rows nor the bounds of batches change anything beyond rounding. Nothing here is NaN: what
//! is not defined is a [`JointError`].
//!
//! Rows enter as standardised numbers ([`Encoding`]); there is written what becomes of nulls, infinities and constants.
//! P-values hold for independent rows. Where rows depend on one another in time, thresholds come from how the
//! reference's own panes vary, and the scores are for that.
//!
//! Deliberately absent: thresholds and judgements, and raw rows.

mod correlation;
mod domain;
mod encoding;
mod mmd;
mod pca;
mod symmetric;

pub use correlation::{CorrelationChange, CorrelationDetector};
pub use domain::{ColumnWeight, DomainEvidence, classify_domain};
pub use encoding::Encoding;
pub use mmd::RandomFeatures;
pub use pca::PrincipalAxes;

use crate::normal::normal_survival;
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use thiserror::Error;

/// Why something could not be learned, summed or compared.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum JointError {
    /// Another number of columns than the reference has.
    #[error("{found} columns were given, the reference has {expected}: pass the reference's columns in its order")]
    ColumnCount {
        /// Columns of the reference, or how many are needed at least.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// A column of a type that cannot be read, or not of the kind that it has in the reference.
    #[error("column {place} is {found}: numbers must be Float64, categories strings, as in the reference")]
    ColumnType {
        /// Place among the columns.
        place: usize,
        /// Its type.
        found: String,
    },
    /// Columns of one batch differ in length.
    #[error("column {place} has {found} rows, the batch {expected}")]
    RowCount {
        /// Place among the columns.
        place: usize,
        /// Rows of the first column.
        expected: usize,
        /// Rows of this one.
        found: usize,
    },
    /// Fewer rows than the statistic needs.
    #[error("{rows} rows, where at least {needed} are needed")]
    TooFewRows {
        /// Rows there are.
        rows: i64,
        /// Rows needed.
        needed: i64,
    },
    /// A sketch of another detector, or of another reference's.
    #[error("the sketch is not of this detector and reference: sketches of different references never merge")]
    OtherSketch,
    /// No two columns vary on both sides.
    #[error("no two columns vary both in the reference and in the window: there is no correlation to compare")]
    NothingVaries,
}

/// Which detector a sketch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SketchOf {
    Reconstruction,
    Correlation,
    MeanDiscrepancy,
}

/// What a pane or window holds for one detector: how many rows, and sums over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointSketch {
    of: SketchOf,
    rows: i64,
    sums: Vec<f64>,
}

impl JointSketch {
    fn empty(of: SketchOf, sums: usize) -> Self {
        Self { of, rows: 0, sums: vec![0.0; sums] }
    }

    /// How many rows were summed.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Adds the other's rows to these.
    ///
    /// # Errors
    /// When the other is of another detector, or of a reference with other columns.
    pub fn merge(&mut self, other: &Self) -> Result<(), JointError> {
        self.check(other.of, other.sums.len())?;
        self.rows = self.rows.saturating_add(other.rows);
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            *sum += other;
        }
        Ok(())
    }

    fn check(&self, of: SketchOf, sums: usize) -> Result<(), JointError> {
        if self.of == of && self.sums.len() == sums { Ok(()) } else { Err(JointError::OtherSketch) }
    }

    fn check_rows(&self, needed: i64) -> Result<f64, JointError> {
        if self.rows < needed {
            return Err(JointError::TooFewRows { rows: self.rows, needed });
        }
        Ok(self.rows as f64)
    }
}

/// What a detector found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JointEvidence {
    /// How far the window is from the reference; zero or more, and always finite. Its unit is the detector's.
    pub score: f64,
    /// Its standard error between two samples of one distribution.
    pub standard_error: f64,
    /// The probability of at least this score between two samples of one distribution, for independent rows.
    pub p_value: f64,
}

/// A detector with the parameters of one reference.
pub trait JointDetector: Debug + Send + Sync {
    /// Its name in verdicts and metrics.
    fn name(&self) -> &'static str;

    /// A sketch without rows.
    fn empty(&self) -> JointSketch;

    /// Adds the rows of a batch: Float64 for numeric columns, strings or a dictionary of them for categorical ones.
    ///
    /// # Errors
    /// When the columns are not the reference's, or the sketch not this detector's; then nothing was added.
    fn observe(&self, sketch: &mut JointSketch, columns: &[ArrayRef]) -> Result<(), JointError>;

    /// Compares a window with the reference.
    ///
    /// # Errors
    /// When the statistic is not defined for the window; it is never NaN.
    fn compare(&self, current: &JointSketch) -> Result<JointEvidence, JointError>;
}

/// The probability that a standard normal is at least so far from zero.
fn two_sided(z: f64) -> f64 {
    (2.0 * normal_survival(z.abs())).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
