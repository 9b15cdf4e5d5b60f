//! Why outcomes could not be added, or two qualities not merged: always a fault of the caller, never of a row.

use arrow::datatypes::DataType;
use thiserror::Error;

/// Why outcomes or qualities do not fit together.
#[derive(Debug, Error)]
pub enum QualityError {
    /// Two columns of one batch have different lengths.
    #[error("column {column} has {found} rows where the labels have {expected}: pass columns of one batch")]
    Length {
        /// The column, or `groups`.
        column: &'static str,
        /// Rows of the label column.
        expected: usize,
        /// Rows of this one.
        found: usize,
    },
    /// A column holds a type that the task cannot use.
    #[error("column {column} is of type {found}: a {task} task needs {needed}")]
    ColumnType {
        /// The column.
        column: &'static str,
        /// Its type.
        found: DataType,
        /// What the task is.
        task: &'static str,
        /// What it should hold.
        needed: &'static str,
    },
    /// A column that should convert did not.
    #[error("column {column} could not be converted")]
    Conversion {
        /// The column.
        column: &'static str,
        /// What arrow says.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// Neither no score columns nor one for each that the task names.
    #[error("{found} score columns were given: the task has {expected} (or pass none at all)")]
    ScoreColumns {
        /// As many as the task names.
        expected: usize,
        /// As many as were given.
        found: usize,
    },
    /// More classes than a class number can hold.
    #[error("the task has {classes} classes: at most 65535 are supported")]
    TooManyClasses {
        /// Classes of the task.
        classes: usize,
    },
    /// A sign is missing.
    #[error("{nulls} signs are null: every row needs +1 or -1")]
    NullSign {
        /// How many.
        nulls: usize,
    },
    /// A row names a group that does not exist.
    #[error("a row belongs to group {group}, but there are only {groups}")]
    NoSuchGroup {
        /// The group named.
        group: usize,
        /// Groups there are.
        groups: usize,
    },
    /// The two sides are of different tasks.
    #[error(
        "a quality of a {held} task cannot take outcomes of a {given} task: keep one quality for each model version"
    )]
    DifferentTask {
        /// What the quality is of.
        held: String,
        /// What it was given.
        given: String,
    },
}
