//! What a cell that is empty on one side counts as, where a logarithm would be infinite.

use super::Cells;

/// A small share of a sample, above 0 and below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct SmallShare(f64);

impl SmallShare {
    /// The share of one row in ten thousand, which many tools use.
    pub const ONE_IN_TEN_THOUSAND: Self = Self(1e-4);

    /// `None` unless `0 < share < 1`.
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share < 1.0).then_some(Self(share))
    }

    /// The share.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// How shares are filled before their logarithms are taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum EmptyCells {
    /// A cell that is empty on one side counts as half a row there, as in a continuity correction. The remedy shrinks as the
    /// sample grows, so that one new row in a million is a small change, and a new category of a tenth a large one.
    #[default]
    HalfRow,
    /// Every share below this one is raised to it (deepchecks: .01).
    Floor(SmallShare),
    /// This is added to every share (popmon: 1e-5).
    Added(SmallShare),
}

impl EmptyCells {
    /// `(reference, window)` shares of each cell, none of them zero. They are not renormalised, so may sum to a little more
    /// than 1.
    pub fn fill(self, cells: &Cells) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (n, m) = (cells.reference_total(), cells.current_total());
        cells.counts().iter().map(move |(a, b)| (self.share(*a, n), self.share(*b, m)))
    }

    fn share(self, count: f64, total: f64) -> f64 {
        match self {
            Self::HalfRow => (if count > 0.0 { count } else { HALF_A_ROW }) / total,
            Self::Floor(least) => (count / total).max(least.get()),
            Self::Added(more) => count / total + more.get(),
        }
    }
}

/// Rows that an empty cell is taken to have.
const HALF_A_ROW: f64 = 0.5;
