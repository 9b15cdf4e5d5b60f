//! Statistics that compare a column of a window with the reference's.
//!
//! Each reads a [`Pair`]: two profiles, whose counts cost the same for a thousand rows as for a billion, or two exact
//! samples. Either way it is the same statistic, written once.
//!
//! Conventions, stated once. Statistics of *cells* ([`Psi`], [`JensenShannon`], [`ChiSquared`]) see, for a numeric column,
//! its coarse bins and beside them below range, above range, null, NaN, +∞, −∞ and wrong type, each a cell of its own; for
//! a categorical one the known categories, `other`, `unseen`, null and wrong type. Cells that are empty on both sides do
//! not exist. Statistics of *order* ([`KolmogorovSmirnov`], [`Wasserstein`]) see the fine bins and what is out of range.
//!
//! A zero count: Jensen–Shannon needs no remedy. PSI takes a cell that is empty on one side as half a row there, so that
//! the remedy shrinks as the sample grows and the textbook's value stands wherever no cell is empty. χ² pools sparse cells.
//!
//! A score is an effect: it does not grow with the sample, so one threshold fits windows of any size. Significance is
//! the p-value's part.

mod cells;
mod ordered;
mod pair;
mod sample;

mod chi_squared;
mod jensen_shannon;
mod kolmogorov_smirnov;
mod psi;
mod wasserstein;

pub use cells::Cells;
pub use ordered::{Ordered, Point, Tail};
pub use pair::{Pair, SampleMoments};
pub use sample::{CategorySample, NumberSample};

pub use chi_squared::{ChiSquared, Contingency, contingency};
pub use jensen_shannon::{JensenShannon, jensen_shannon_distance};
pub use kolmogorov_smirnov::{KolmogorovSmirnov, kolmogorov_survival};
pub use psi::{Psi, population_stability_index};
pub(crate) use wasserstein::mean_shift;
pub use wasserstein::{Wasserstein, wasserstein_distance};

use crate::schema::ColumnKind;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use thiserror::Error;

/// What a statistic found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// How far apart the two are, as an effect; zero or more, and always finite.
    pub score: f64,
    /// The number that textbooks and other tools give under the statistic's name (χ², t, U, the distance in the column's
    /// own unit); it may have a sign and may grow with the samples. Always finite.
    pub statistic: f64,
    /// The probability of at least this score between two samples of one distribution, where the statistic has one.
    pub p_value: Option<f64>,
}

impl Evidence {
    /// The evidence of a distance: its score is the distance itself, and it has no p-value.
    pub(crate) fn of_distance(distance: f64) -> Self {
        Self { score: distance, statistic: distance, p_value: None }
    }
}

/// Why two samples cannot be compared.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum NotComparable {
    /// The statistic is not one for this kind of column.
    #[error("the statistic does not apply to a {kind} column")]
    Kind {
        /// The column's kind.
        kind: &'static str,
    },
    /// The profiles were counted against another layout.
    #[error("the profiles were not counted against this layout")]
    Layout,
    /// The reference has no values of which the statistic speaks.
    #[error("the reference has no values to compare with")]
    EmptyReference,
    /// The window has no values of which the statistic speaks.
    #[error("the window has no values to compare")]
    EmptyWindow,
    /// The reference is constant, so that there is no scale to measure a move by.
    #[error("the reference is constant: there is no spread to measure a move by")]
    NoSpread,
    /// The edges given for the cells of numbers are not edges.
    #[error("the edges of the cells must be finite and rise")]
    Edges,
    /// The statistic needs more values on either side.
    #[error("too few values: the statistic needs {needed} on either side")]
    TooFewValues {
        /// How many it needs.
        needed: usize,
    },
    /// The values are too large to be calculated with.
    #[error("the values are too large: their sums or squares are no finite numbers")]
    TooLarge,
    /// After pooling, one cell is left.
    #[error("too few rows: all cells were pooled into one")]
    TooSparse,
}

/// A statistic of one column.
pub trait Detector: Debug + Send + Sync {
    /// Its name in verdicts and metrics.
    fn name(&self) -> &'static str;

    /// Compares a window's sample of a column with the reference's.
    ///
    /// # Errors
    /// When the statistic is undefined for the two; it is never NaN.
    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable>;
}

/// The statistics by name, as a policy chooses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// [`Psi`].
    Psi,
    /// [`JensenShannon`].
    JensenShannon,
    /// [`KolmogorovSmirnov`].
    Ks,
    /// [`ChiSquared`].
    ChiSquared,
    /// [`Wasserstein`].
    Wasserstein,
}

impl Statistic {
    /// Every statistic.
    pub const ALL: [Self; 5] = [Self::Psi, Self::JensenShannon, Self::Ks, Self::ChiSquared, Self::Wasserstein];

    /// The statistic itself.
    pub fn detector(self) -> &'static dyn Detector {
        match self {
            Self::Psi => &Psi,
            Self::JensenShannon => &JensenShannon,
            Self::Ks => &KolmogorovSmirnov,
            Self::ChiSquared => &ChiSquared,
            Self::Wasserstein => &Wasserstein,
        }
    }

    /// The name in verdicts, metrics and the configuration.
    pub fn name(self) -> &'static str {
        self.detector().name()
    }

    /// Whether the statistic is defined for columns of this kind.
    pub fn applies_to(self, kind: ColumnKind) -> bool {
        match kind {
            ColumnKind::Numeric => true,
            ColumnKind::Categorical => !matches!(self, Self::Ks | Self::Wasserstein),
        }
    }
}

#[cfg(test)]
mod tests;
