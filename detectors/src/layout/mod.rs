//! How a column is counted: the bins of a numeric column, the table of a categorical one.
//!
//! A layout is learned once, from the reference, and never changes: profiles that were counted against the same layout
//! add up cell by cell. Fine bins lie on a quantile grid, so each holds about the same share of the reference; the ten
//! coarse bins are made of whole fine ones, so a coarse count is a sum and needs no second look at the values.
//!
//! Deliberately absent: bins that move with the current window. A score would then change because the bins did.

mod bins;
mod categories;

pub use bins::{BinEdges, COARSE_BINS, MOST_BINS};
pub(crate) use bins::{LANES, Search};
pub use categories::{CategoryPlace, CategoryTable, MOST_KNOWN, MOST_OTHER};

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// Why a layout cannot be built.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum LayoutError {
    /// Too few edges, or too many.
    #[error("{edges} bin edges given; a column needs between 2 and {most}", most = MOST_BINS + 1)]
    EdgeCount {
        /// How many were given.
        edges: usize,
    },
    /// An edge that is not a number, or not above the one before it.
    #[error("bin edge {place} is {value}: edges must be finite and rise (only the last two may be equal)")]
    EdgeOrder {
        /// Which edge, from 0.
        place: usize,
        /// Its value.
        value: f64,
    },
    /// A stored layout whose parts do not fit each other.
    #[error(
        "stored bins do not fit each other: {bins} bins, {centres} centres, {coarse} coarse starts; learn the reference again"
    )]
    Inconsistent {
        /// How many bins the edges make.
        bins: usize,
        /// How many centres there are.
        centres: usize,
        /// How many coarse bins there are.
        coarse: usize,
    },
    /// Too many categories, or one of them twice.
    #[error(
        "stored category table holds `{category}` twice, or more than {MOST_KNOWN} known categories; learn the reference again"
    )]
    CategoryTable {
        /// The offending category.
        category: String,
    },
}

/// How one column is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ColumnLayout {
    /// In bins.
    Numeric(Arc<BinEdges>),
    /// By category.
    Categorical(Arc<CategoryTable>),
}

impl ColumnLayout {
    /// Bins learned from the values of a numeric column; see [`BinEdges::learn`].
    pub fn learn_numeric(values: &mut [f64]) -> Self {
        Self::Numeric(Arc::new(BinEdges::learn(values)))
    }

    /// A table learned from the values of a categorical column; see [`CategoryTable::learn`].
    pub fn learn_categorical<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Categorical(Arc::new(CategoryTable::learn(values)))
    }

    /// The word for the layout's kind in messages.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Numeric(_) => "numeric",
            Self::Categorical(_) => "categorical",
        }
    }
}
