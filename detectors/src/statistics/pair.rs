//! The two samples that a statistic compares, whatever they were read from.
//!
//! A statistic asks for one of three views and does not know whether they come from profiles or from exact samples:
//! [`Pair::cells`] (the two rows of a contingency table), [`Pair::ordered`] (counts along the line) and [`Pair::moments`].
//! A view is made when it is first asked for and kept, so that several statistics of one column share it.
//!
//! The cells of exact numbers need edges. Where none are given they are learned from the reference, as a layout learns
//! them: the cells of two samples are then those of their two profiles.

use super::{CategorySample, Cells, NotComparable, NumberSample, Ordered};
use crate::layout::{BinEdges, ColumnLayout};
use crate::profile::{CategoricalProfile, ColumnProfile, NumericProfile};
use std::cell::OnceCell;

/// A reference's sample of one column and a window's.
#[derive(Debug, Clone)]
pub struct Pair<'a> {
    source: Source<'a>,
    cells: OnceCell<Result<Cells, NotComparable>>,
    ordered: OnceCell<Result<Ordered, NotComparable>>,
}

#[derive(Debug, Clone)]
enum Source<'a> {
    NumericProfiles { bins: &'a BinEdges, reference: &'a NumericProfile, current: &'a NumericProfile },
    CategoricalProfiles { reference: &'a CategoricalProfile, current: &'a CategoricalProfile },
    Numbers { reference: &'a NumberSample, current: &'a NumberSample, edges: Option<&'a [f64]> },
    Categories { reference: &'a CategorySample, current: &'a CategorySample },
    Cells,
}

/// Count, mean and standard deviation of a sample's finite values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleMoments {
    /// How many values there are; at least two.
    pub n: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with `n − 1` in the denominator.
    pub deviation: f64,
}

impl<'a> Pair<'a> {
    /// Two profiles that were counted against the layout.
    ///
    /// # Errors
    /// When they were counted against another.
    pub fn of_profiles(
        layout: &'a ColumnLayout,
        reference: &'a ColumnProfile,
        current: &'a ColumnProfile,
    ) -> Result<Self, NotComparable> {
        match (layout, reference, current) {
            (ColumnLayout::Numeric(bins), ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current))
                if reference.fine().len() == bins.bins() && current.fine().len() == bins.bins() =>
            {
                Ok(Self::from(Source::NumericProfiles { bins, reference, current }))
            }
            (
                ColumnLayout::Categorical(table),
                ColumnProfile::Categorical(reference),
                ColumnProfile::Categorical(current),
            ) if reference.known().len() == table.known().len() && current.known().len() == table.known().len() => {
                Ok(Self::from(Source::CategoricalProfiles { reference, current }))
            }
            _ => Err(NotComparable::Layout),
        }
    }

    /// Two samples of numbers; their cells have edges learned from the reference.
    pub fn of_numbers(reference: &'a NumberSample, current: &'a NumberSample) -> Self {
        Self::from(Source::Numbers { reference, current, edges: None })
    }

    /// Two samples of numbers whose cells are `(−∞, e₁), [e₁, e₂), …, [eₖ, ∞)`, beside those of odd values.
    ///
    /// # Errors
    /// When an edge is not finite or not above the one before it.
    pub fn of_binned_numbers(
        reference: &'a NumberSample,
        current: &'a NumberSample,
        edges: &'a [f64],
    ) -> Result<Self, NotComparable> {
        if !edges.iter().all(|edge| edge.is_finite()) || !edges.is_sorted_by(|a, b| a < b) {
            return Err(NotComparable::Edges);
        }
        Ok(Self::from(Source::Numbers { reference, current, edges: Some(edges) }))
    }

    /// Two samples of categories; each category of either is a cell, in the order of names.
    pub fn of_categories(reference: &'a CategorySample, current: &'a CategorySample) -> Self {
        Self::from(Source::Categories { reference, current })
    }

    /// Two samples of which the cells alone are known.
    pub fn of_cells(cells: Cells) -> Self {
        let pair = Self::from(Source::Cells);
        Self { cells: OnceCell::from(Ok(cells)), ..pair }
    }

    /// The two rows of a contingency table.
    ///
    /// # Errors
    /// When a side is empty.
    pub fn cells(&self) -> Result<&Cells, NotComparable> {
        self.cells.get_or_init(|| self.source.cells()).as_ref().map_err(|reason| *reason)
    }

    /// Counts along the line.
    ///
    /// # Errors
    /// When the column is not numeric, or a side is empty.
    pub fn ordered(&self) -> Result<&Ordered, NotComparable> {
        self.ordered.get_or_init(|| self.source.ordered()).as_ref().map_err(|reason| *reason)
    }

    /// Moments of the reference's finite values and of the window's.
    ///
    /// # Errors
    /// When the column is not numeric, a side has fewer than two values, or they are too large to be squared.
    pub fn moments(&self) -> Result<(SampleMoments, SampleMoments), NotComparable> {
        let (reference, current) = match &self.source {
            Source::NumericProfiles { reference, current, .. } => {
                let of = |profile: &NumericProfile| (profile.finite(), profile.mean(), profile.standard_deviation());
                (of(reference), of(current))
            }
            Source::Numbers { reference, current, .. } => {
                let of = |sample: &NumberSample| (sample.finite(), sample.mean(), sample.standard_deviation());
                (of(reference), of(current))
            }
            _ => return Err(self.not_numeric()),
        };
        let (fewest, none) = (reference.0.min(current.0), NotComparable::TooFewValues { needed: 2 });
        match (reference, current) {
            ((0, ..), _) => Err(NotComparable::EmptyReference),
            (_, (0, ..)) => Err(NotComparable::EmptyWindow),
            _ if fewest < 2 => Err(none),
            ((n, Some(mean), Some(deviation)), (m, Some(other_mean), Some(other_deviation))) => Ok((
                SampleMoments { n: n as f64, mean, deviation },
                SampleMoments { n: m as f64, mean: other_mean, deviation: other_deviation },
            )),
            _ => Err(NotComparable::TooLarge),
        }
    }

    /// The standard deviation of the reference's finite values; `None` where it has none.
    ///
    /// # Errors
    /// When the column is not numeric.
    pub fn reference_deviation(&self) -> Result<Option<f64>, NotComparable> {
        match &self.source {
            Source::NumericProfiles { reference, .. } => Ok(reference.standard_deviation()),
            Source::Numbers { reference, .. } => Ok(reference.standard_deviation()),
            _ => Err(self.not_numeric()),
        }
    }

    /// Whether every value is known, and not only its bin.
    pub fn is_exact(&self) -> bool {
        matches!(self.source, Source::Numbers { .. } | Source::Categories { .. })
    }

    fn not_numeric(&self) -> NotComparable {
        NotComparable::Kind { kind: self.source.kind_name() }
    }
}

impl<'a> From<Source<'a>> for Pair<'a> {
    fn from(source: Source<'a>) -> Self {
        Self { source, cells: OnceCell::new(), ordered: OnceCell::new() }
    }
}

impl Source<'_> {
    fn cells(&self) -> Result<Cells, NotComparable> {
        match self {
            Self::NumericProfiles { bins, reference, current } => Cells::of_numeric(bins, reference, current),
            Self::CategoricalProfiles { reference, current } => Cells::of_categorical(reference, current),
            Self::Numbers { reference, current, edges: Some(edges) } => Cells::of_numbers(reference, current, edges),
            Self::Numbers { reference, current, edges: None } => {
                let bins = BinEdges::learn(&mut reference.sorted().to_vec());
                Cells::of_numbers(reference, current, &coarse_edges(&bins))
            }
            Self::Categories { reference, current } => Cells::of_categories(reference, current),
            // A pair of cells was given them when it was made.
            Self::Cells => Err(NotComparable::EmptyReference),
        }
    }

    fn ordered(&self) -> Result<Ordered, NotComparable> {
        match self {
            Self::NumericProfiles { bins, reference, current } => Ordered::of_profiles(bins, reference, current),
            Self::Numbers { reference, current, .. } => Ordered::of_samples(reference, current),
            _ => Err(NotComparable::Kind { kind: self.kind_name() }),
        }
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Self::NumericProfiles { .. } | Self::Numbers { .. } => "numeric",
            Self::CategoricalProfiles { .. } | Self::Categories { .. } => "categorical",
            Self::Cells => "counted",
        }
    }
}

/// The edges at which coarse bins meet, and those beyond which nothing of the reference lies.
fn coarse_edges(bins: &BinEdges) -> Vec<f64> {
    let starts = bins.coarse_starts().iter().skip(1).filter_map(|start| bins.edges().get(usize::from(*start)).copied());
    // The last bin is closed: what is above it begins at the next number.
    let mut edges: Vec<f64> = [bins.least_inside()].into_iter().chain(starts).collect();
    edges.push(bins.most_inside().next_up());
    edges.dedup();
    edges
}
