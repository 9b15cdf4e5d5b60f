//! Two samples of one column as two rows of a table: the reference's counts and the window's.

use super::{CategorySample, NotComparable, NumberSample};
use crate::layout::BinEdges;
use crate::profile::{CategoricalProfile, NumericProfile};
use std::collections::BTreeMap;

/// Counts of the reference and of the window, cell by cell. No cell is empty on both sides, and neither side is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    pairs: Vec<(f64, f64)>,
    /// How many of the cells, from the first, hold values; the others hold odd ones.
    of_values: usize,
    reference_total: f64,
    current_total: f64,
}

impl Cells {
    /// The cells of two lists of counts in the same order.
    ///
    /// # Errors
    /// When one side is empty, or they differ in length.
    pub fn new(reference: &[i64], current: &[i64]) -> Result<Self, NotComparable> {
        Self::with_odd((reference, current), (&[], &[]))
    }

    /// The cells of values and beside them those of odd ones: null, wrong type, NaN, ±∞.
    fn with_odd(values: (&[i64], &[i64]), odd: (&[i64], &[i64])) -> Result<Self, NotComparable> {
        if values.0.len() != values.1.len() || odd.0.len() != odd.1.len() {
            return Err(NotComparable::Layout);
        }
        let mut pairs = Vec::with_capacity(values.0.len() + odd.0.len());
        pairs.extend(filled(values));
        let of_values = pairs.len();
        pairs.extend(filled(odd));
        Self::assemble(pairs, of_values)
    }

    fn assemble(pairs: Vec<(f64, f64)>, of_values: usize) -> Result<Self, NotComparable> {
        let reference_total = pairs.iter().map(|(reference, _)| reference).sum();
        let current_total = pairs.iter().map(|(_, current)| current).sum();
        if reference_total <= 0.0 {
            return Err(NotComparable::EmptyReference);
        }
        if current_total <= 0.0 {
            return Err(NotComparable::EmptyWindow);
        }
        Ok(Self { pairs, of_values, reference_total, current_total })
    }

    pub(super) fn of_numeric(
        bins: &BinEdges,
        reference: &NumericProfile,
        current: &NumericProfile,
    ) -> Result<Self, NotComparable> {
        let values = |profile: &NumericProfile| {
            let mut counts = bins.coarsen(profile.fine());
            counts.extend([profile.below(), profile.above()]);
            counts
        };
        let odd = |profile: &NumericProfile| {
            [profile.null(), profile.nan(), profile.pos_inf(), profile.neg_inf(), profile.wrong_type()]
        };
        Self::with_odd((&values(reference), &values(current)), (&odd(reference), &odd(current)))
    }

    pub(super) fn of_categorical(
        reference: &CategoricalProfile,
        current: &CategoricalProfile,
    ) -> Result<Self, NotComparable> {
        let values = |profile: &CategoricalProfile| -> Vec<i64> {
            profile.known().iter().copied().chain([profile.other(), profile.unseen()]).collect()
        };
        let odd = |profile: &CategoricalProfile| [profile.null(), profile.wrong_type()];
        Self::with_odd((&values(reference), &values(current)), (&odd(reference), &odd(current)))
    }

    pub(super) fn of_numbers(
        reference: &NumberSample,
        current: &NumberSample,
        edges: &[f64],
    ) -> Result<Self, NotComparable> {
        let odd = |sample: &NumberSample| [sample.null(), sample.nan(), sample.pos_inf(), sample.neg_inf()];
        let values = (count_between(reference.sorted(), edges), count_between(current.sorted(), edges));
        Self::with_odd((&values.0, &values.1), (&odd(reference), &odd(current)))
    }

    pub(super) fn of_categories(reference: &CategorySample, current: &CategorySample) -> Result<Self, NotComparable> {
        let mut table: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for (name, count) in reference.counts() {
            table.entry(name).or_default().0 = *count;
        }
        for (name, count) in current.counts() {
            table.entry(name).or_default().1 = *count;
        }
        let (first, second): (Vec<i64>, Vec<i64>) = table.into_values().unzip();
        Self::with_odd((&first, &second), (&[reference.null()], &[current.null()]))
    }

    /// The cells of values alone: without null, wrong type, NaN and ±∞.
    ///
    /// # Errors
    /// When a side has no values.
    pub fn without_odd(&self) -> Result<Self, NotComparable> {
        Self::assemble(self.pairs.get(..self.of_values).unwrap_or_default().to_vec(), self.of_values)
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

/// The cells that are not empty on both sides.
fn filled<'a>((reference, current): (&'a [i64], &'a [i64])) -> impl Iterator<Item = (f64, f64)> + 'a {
    let pairs = reference.iter().zip(current).filter(|(a, b)| **a > 0 || **b > 0);
    pairs.map(|(a, b)| (*a as f64, *b as f64))
}

/// How many of the sorted values lie before the first edge, between each two, and from the last on.
fn count_between(sorted: &[f64], edges: &[f64]) -> Vec<i64> {
    let mut counts = Vec::with_capacity(edges.len() + 1);
    let mut before = 0;
    for edge in edges {
        let upto = sorted.partition_point(|value| value < edge);
        counts.push((upto - before) as i64);
        before = upto;
    }
    counts.push((sorted.len() - before) as i64);
    counts
}
