//! The domain classifier on a sample of both files' rows: whether a model can tell which file a row is from.
//!
//! It sees columns that moved together, of which each alone moved too little. It counts as found only where it is both
//! certain and large: its p-value below its part of the budget, and its AUC beyond that of a small effect.

use anyhow::Result;
use arrow::array::RecordBatch;
use detectors::joint::{JointError, classify_domain};
use detectors::schema::ColumnSchema;
use serde::Serialize;

/// The most rows of each file that it learns from.
pub const MOST_CLASSIFIED: usize = 20_000;

/// Deals the rows out to the parts that are ranked in turn; fixed, so that the same files give the same answer.
const SEED: u64 = 1;

/// What the domain classifier must pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct DomainLimits {
    /// The p-value below which it is certain.
    pub(super) p_value: f64,
    /// The AUC from which it matters.
    pub(super) auc: f64,
}

/// How well rows of the two files can be told apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainFinding {
    /// Rows of the reference that were looked at.
    pub reference_rows: usize,
    /// Rows of the current file that were looked at.
    pub current_rows: usize,
    /// The probability that a row of the current file is taken for one sooner than a row of the reference; .5 is chance.
    pub auc: f64,
    /// The standard error of the AUC.
    pub standard_error: Option<f64>,
    /// The AUC from which it matters.
    pub least_auc: f64,
    /// The probability of telling rows of one distribution apart so well.
    pub p_value: f64,
    /// The p-value below which it is certain.
    pub p_value_below: f64,
    /// Whether it is certain and matters.
    pub exceeded: bool,
    /// What each column adds, the most first.
    pub weights: Vec<DomainWeight>,
}

/// How much one column tells the files apart, the others given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainWeight {
    /// The column.
    pub column: String,
    /// The standard deviation, over the rows, of what it adds to the log odds.
    pub spread: f64,
    /// Of a number: the change of the log odds of being of the current file with one standard deviation more.
    pub slope: Option<f64>,
}

impl DomainFinding {
    /// Of rows that have these columns.
    pub(super) fn of(
        columns: &[ColumnSchema],
        (reference, current): (&RecordBatch, &RecordBatch),
        limits: DomainLimits,
    ) -> Result<Self, JointError> {
        let found = classify_domain(reference.columns(), current.columns(), SEED)?;
        let weight = |weight: &detectors::joint::ColumnWeight| {
            let column = columns.get(weight.column)?.name.clone();
            Some(DomainWeight { column, spread: weight.spread, slope: weight.slope })
        };
        Ok(Self {
            reference_rows: reference.num_rows(),
            current_rows: current.num_rows(),
            auc: found.auc.value,
            standard_error: found.auc.standard_error,
            least_auc: limits.auc,
            p_value: found.p_value,
            p_value_below: limits.p_value,
            exceeded: found.p_value < limits.p_value && found.auc.value >= limits.auc,
            weights: found.weights.iter().filter_map(weight).collect(),
        })
    }
}
