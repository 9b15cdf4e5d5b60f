//! Quality before its labels come: what a window's metrics should be if what the reference taught still holds.
//!
//! A classifier's scores, once they are probabilities ([`Calibration`]), say how many of its answers are right
//! ([`estimate_binary`], [`estimate_multiclass`]: confidence-based performance estimation). A regression's losses are
//! learned as a function of its prediction ([`LossModel`]) or of all columns ([`LossTree`]: direct loss estimation).
//! Both see a change of the inputs
//! that moves rows to where the model is worse, and neither can see a change of the relation between inputs and labels:
//! then the estimates stay where they are, and only labels tell. An estimate is no measurement, and is never shown as
//! one.
//!
//! Parameters belong to the reference and hold no raw rows; what a window brings are counts that add up
//! ([`ScoreTally`], [`LeafCounts`] and the prediction's profile).
//!
//! Deliberately absent: reading rows, thresholds and judgements.

mod calibration;
mod cbpe;
mod dle;
mod loss_tree;
mod scores;

pub use calibration::{Calibration, CalibrationChoice};
pub use cbpe::{ClassScores, estimate_binary, estimate_multiclass};
pub use dle::{LossEstimate, LossModel};
pub use loss_tree::{LeafCounts, LossTree, LossyRows};
pub use scores::{ScoreCounts, ScoreTally, count_scores};

use thiserror::Error;

/// Why nothing could be learned from a reference, or estimated of a window.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum NotEstimable {
    /// The reference has no row with both of what is needed.
    #[error("the reference has no usable labelled row to learn from")]
    EmptyReference,
    /// The window has no usable row.
    #[error("the window has no usable row to estimate from")]
    EmptyWindow,
    /// The profile was counted against other bins than the losses were learned for.
    #[error(
        "the profile has {found} bins, the losses were learned for {expected}: use the profile of the same reference"
    )]
    Layout {
        /// Bins of the reference.
        expected: usize,
        /// Bins of the profile.
        found: usize,
    },
    /// A column that is not of its layout's kind or of another length.
    #[error("column {place} is missing, of another kind or length than its layout and the rows")]
    Column {
        /// Place in the schema's order.
        place: usize,
    },
    /// Counts of another tree's leaves.
    #[error("the counts are of {found} leaves, the tree has {expected}: counts of different references never merge")]
    Leaves {
        /// Leaves of the tree.
        expected: usize,
        /// Leaves counted.
        found: usize,
    },
}

#[cfg(test)]
mod tests;
