//! Statistics that compare a column of a window with the reference's.
//!
//! Each reads a [`Pair`]: two profiles, whose counts cost the same for a thousand rows as for a billion, or two exact
//! samples. Either way it is the same statistic, written once.
//!
//! Conventions, stated once. Statistics of *cells* ([`Psi`], [`KullbackLeibler`], [`JensenShannon`], [`Hellinger`],
//! [`TotalVariation`], [`LInfinity`], [`ChiSquared`], [`GTest`], [`CramersV`]) see, for a numeric column, its coarse bins and
//! beside them below range, above range, null, NaN, +∞, −∞ and wrong type, each a cell of its own; for a categorical one the known
//! categories, `other`, `unseen`, null and wrong type. Cells that are empty on both sides do not exist. Statistics of *order*
//! ([`KolmogorovSmirnov`], [`CramerVonMises`], [`AndersonDarling`], [`MannWhitney`], [`Wasserstein`], [`Energy`]) see the fine
//! bins and what is out of range, or every value of an exact sample; [`Welch`] sees moments.
//!
//! A zero count: statistics with a logarithm of a ratio of shares ([`Psi`], [`KullbackLeibler`]) take a cell that is empty on one
//! side as half a row there ([`EmptyCells::HalfRow`]), so that the remedy shrinks as the sample grows and the textbook's value
//! stands wherever no cell is empty; other conventions can be chosen. The others need no remedy; χ² and its kin pool sparse cells
//! ([`SparseCells::Pool`]).
//!
//! A score is an effect: it does not grow with the sample, so one threshold fits windows of any size. Significance is
//! the p-value's part.

mod cells;
mod ordered;
mod pair;
mod sample;

mod distribution;
mod empty_cells;
mod sparse_cells;

mod anderson_darling;
mod chi_squared;
mod cramer_von_mises;
mod cramers_v;
mod energy;
mod g_test;
mod goodness_of_fit;
mod hellinger;
mod jensen_shannon;
mod kolmogorov_smirnov;
mod kullback_leibler;
mod l_infinity;
mod mann_whitney;
mod psi;
mod total_variation;
mod two_proportion_z;
mod wasserstein;
mod welch;

mod named;

pub use anderson_darling::AndersonDarling;
pub use cells::Cells;
pub use chi_squared::{ChiSquared, Contingency, Continuity, contingency};
pub use cramer_von_mises::{CramerVonMises, CramerVonMisesNull, CramerVonMisesTies};
pub use cramers_v::CramersV;
pub use distribution::kolmogorov::kolmogorov_survival;
pub use empty_cells::{EmptyCells, SmallShare};
pub use energy::Energy;
pub use g_test::GTest;
pub use goodness_of_fit::GoodnessOfFit;
pub use hellinger::Hellinger;
pub use jensen_shannon::{JensenShannon, JensenShannonForm, LogBase, jensen_shannon_distance};
pub use kolmogorov_smirnov::{KolmogorovNull, KolmogorovSmirnov};
pub(crate) use kullback_leibler::relative_entropy;
pub use kullback_leibler::{FilledShares, KlDirection, KullbackLeibler};
pub use l_infinity::LInfinity;
pub use mann_whitney::{MannWhitney, MannWhitneyNull};
pub use named::Statistic;
pub use ordered::{Ordered, Point, Segment, Tail};
pub use pair::{Pair, SampleMoments};
pub(crate) use psi::stability_of_shares;
pub use psi::{Psi, population_stability_index};
pub use sample::{CategorySample, NumberSample};
pub use sparse_cells::SparseCells;
pub use total_variation::TotalVariation;
pub use two_proportion_z::TwoProportionZ;
pub(crate) use wasserstein::mean_shift;
pub use wasserstein::{Wasserstein, WassersteinUnit, wasserstein_distance};
pub use welch::{Variances, Welch};

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
    /// The p-value asked for can be had of few values only, of which none are binned or tied.
    #[error("the exact p-value takes few values, none of them binned or tied: choose another null distribution")]
    TooManyValues,
    /// No value differs from another on its side, so that there is no spread of any kind.
    #[error("both sides are constant: there is no spread to measure a difference by")]
    BothConstant,
    /// The statistic is one for two categories.
    #[error("the statistic needs exactly two categories; there are {found}")]
    NotTwoCategories {
        /// How many there are.
        found: usize,
    },
    /// There is one category on both sides, so that no association can be measured.
    #[error("there is one category only: no association can be measured")]
    OneCategory,
    /// A category that the reference does not have makes goodness of fit infinite.
    #[error("the window has a category that the reference does not have: no fit is possible")]
    NewCategory,
    /// After pooling, one cell is left.
    #[error("too few rows: all cells were pooled into one")]
    TooSparse,
}

/// Which differences a test looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alternative {
    /// Any.
    #[default]
    TwoSided,
    /// That the reference's function or value is the greater one. For distribution functions: `F > G` somewhere.
    Greater,
    /// That it is the smaller one.
    Less,
}

impl Alternative {
    /// How far a difference, reference less window, goes the way that is looked for; zero or more.
    fn of(self, difference: f64) -> f64 {
        match self {
            Self::TwoSided => difference.abs(),
            Self::Greater => difference.max(0.0),
            Self::Less => (-difference).max(0.0),
        }
    }
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

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
