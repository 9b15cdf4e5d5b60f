//! Two profiles of one column as two rows of a table: the reference's counts and the window's.

use super::NotComparable;
use crate::layout::{BinEdges, ColumnLayout};
use crate::profile::{CategoricalProfile, ColumnProfile, NumericProfile};

/// Counts of the reference and of the window, cell by cell. No cell is empty on both sides, and neither side is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pairs: Vec<(f64, f64)>,
    reference_total: f64,
    current_total: f64,
}

impl Cells {
    /// The cells of two lists of counts in the same order.
    ///
    /// # Errors
    /// When one side is empty, or they differ in length.
    pub fn new(reference: &[i64], current: &[i64]) -> Result<Self, NotComparable> {
        if reference.len() != current.len() {
            return Err(NotComparable::Layout);
        }
        let pairs = reference.iter().zip(current).filter(|(a, b)| **a > 0 || **b > 0);
        let pairs: Vec<(f64, f64)> = pairs.map(|(a, b)| (*a as f64, *b as f64)).collect();
        let reference_total = pairs.iter().map(|(reference, _)| reference).sum();
        let current_total = pairs.iter().map(|(_, current)| current).sum();
        if reference_total <= 0.0 {
            return Err(NotComparable::EmptyReference);
        }
        if current_total <= 0.0 {
            return Err(NotComparable::EmptyWindow);
        }
        Ok(Self { pairs, reference_total, current_total })
    }

    /// The cells of a column, as the module's conventions say.
    ///
    /// # Errors
    /// When a side is empty, or the profiles were not counted against the layout.
    pub fn of(
        layout: &ColumnLayout,
        reference: &ColumnProfile,
        current: &ColumnProfile,
    ) -> Result<Self, NotComparable> {
        match (layout, reference, current) {
            (ColumnLayout::Numeric(bins), ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current)) => {
                Self::new(&numeric_counts(bins, reference), &numeric_counts(bins, current))
            }
            (
                ColumnLayout::Categorical(_),
                ColumnProfile::Categorical(reference),
                ColumnProfile::Categorical(current),
            ) => Self::new(&categorical_counts(reference), &categorical_counts(current)),
            _ => Err(NotComparable::Layout),
        }
    }

    /// `(reference, window)` counts of each cell.
    pub fn counts(&self) -> &[(f64, f64)] {
        &self.pairs
    }

    /// Rows of the reference.
    pub fn reference_total(&self) -> f64 {
        self.reference_total
    }

    /// Rows of the window.
    pub fn current_total(&self) -> f64 {
        self.current_total
    }

    /// `(reference, window)` shares of each cell.
    pub fn shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.pairs.iter().map(|(a, b)| (a / self.reference_total, b / self.current_total))
    }

    /// The share of rows that would have to change cells to make the two alike: half of `Σ |p − q|`, in `[0, 1]`.
    pub fn moved_share(&self) -> f64 {
        self.shares().map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
    }
}

fn numeric_counts(bins: &BinEdges, profile: &NumericProfile) -> Vec<i64> {
    let mut counts = bins.coarsen(profile.fine());
    counts.extend([profile.below(), profile.above(), profile.null(), profile.nan()]);
    counts.extend([profile.pos_inf(), profile.neg_inf(), profile.wrong_type()]);
    counts
}

fn categorical_counts(profile: &CategoricalProfile) -> Vec<i64> {
    let odd = [profile.other(), profile.unseen(), profile.null(), profile.wrong_type()];
    profile.known().iter().copied().chain(odd).collect()
}
