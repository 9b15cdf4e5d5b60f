//! How a column is counted: the bins of a numeric column, the table of a categorical one.
//!
//! A layout is learned once, from the reference, and never changes: profiles that were counted against the same layout
//! add up cell by cell. Fine bins lie on a quantile grid, so each holds about the same share of the reference; the ten
//! coarse bins are made of whole fine ones, so a coarse count is a sum and needs no second look at the values.
//!
//! Deliberately absent: bins that move with the current window. A score would then change because the bins did.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::select_unpredictable;
use std::sync::Arc;
use thiserror::Error;

/// The most fine bins of a numeric column.
pub const MOST_BINS: usize = 256;
/// How many coarse bins a column has, where it has as many fine ones.
pub const COARSE_BINS: usize = 10;
/// The most categories that are counted by name.
pub const MOST_KNOWN: usize = 100;
/// The most further categories of the reference that are remembered as `other`.
pub const MOST_OTHER: usize = 10_000;

/// How many values are looked up side by side: enough to hide the latency of a search behind the others'.
pub(crate) const LANES: usize = 8;

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

/// The bins of a numeric column.
///
/// Bin `i` is `[edge i, edge i+1)`; the last one is closed, so that it holds the reference's maximum. What lies below the
/// first edge or above the last belongs to no bin and is counted apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredBins", into = "StoredBins")]
pub struct BinEdges {
    edges: Vec<f64>,
    /// Where the reference's values lie within each bin, on average.
    centres: Vec<f64>,
    coarse_starts: Vec<u16>,
    /// The edges between bins, padded with +∞ to a power of two, which the search needs.
    inner: Box<[f64; MOST_BINS]>,
    /// The first stride of the search.
    stride: usize,
}

impl BinEdges {
    /// Bins on a quantile grid of the finite ones among `values`, which are sorted in place.
    ///
    /// Where there are at most [`MOST_BINS`] distinct values each has its own bin, parted half-way. A column without any
    /// finite value gets one bin at zero, so that whatever comes later is out of range instead of unknown.
    pub fn learn(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let finite = finite_part(values);
        let mut distinct = finite.to_vec();
        distinct.dedup();
        let edges = match distinct.as_slice() {
            [] => vec![0.0, 0.0],
            few if few.len() <= MOST_BINS => edges_between(few),
            _ => quantile_edges(finite),
        };
        let (counts, centres) = fill(&edges, finite);
        let coarse_starts = coarse_starts(&counts);
        Self::assemble(edges, centres, coarse_starts)
    }

    /// Bins with the given edges: `n + 1` edges make `n` bins.
    ///
    /// # Errors
    /// When there are too few or too many edges, or they do not rise.
    pub fn from_edges(edges: Vec<f64>) -> Result<Self, LayoutError> {
        check_edges(&edges)?;
        let centres: Vec<f64> = edges.windows(2).map(|pair| halfway(pair[0], pair[1])).collect();
        let coarse_starts = coarse_starts(&vec![1; centres.len()]);
        Ok(Self::assemble(edges, centres, coarse_starts))
    }

    fn assemble(edges: Vec<f64>, centres: Vec<f64>, coarse_starts: Vec<u16>) -> Self {
        let mut inner = Box::new([f64::INFINITY; MOST_BINS]);
        let between = edges.len().saturating_sub(2);
        for (slot, edge) in inner.iter_mut().zip(edges.iter().skip(1).take(between)) {
            *slot = *edge;
        }
        let stride = (between + 1).next_power_of_two() / 2;
        Self { edges, centres, coarse_starts, inner, stride }
    }

    /// How many fine bins there are.
    pub fn bins(&self) -> usize {
        self.centres.len()
    }

    /// The edges, rising; one more than there are bins.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// For each bin the mean of the reference's values in it, or its middle where there are none.
    pub fn centres(&self) -> &[f64] {
        &self.centres
    }

    /// The first fine bin of each coarse bin.
    pub fn coarse_starts(&self) -> &[u16] {
        &self.coarse_starts
    }

    /// Sums counts of fine bins into counts of coarse ones.
    pub fn coarsen(&self, fine: &[i64]) -> Vec<i64> {
        let starts = self.coarse_starts.iter().map(|start| usize::from(*start));
        let ends = self.coarse_starts.iter().skip(1).map(|start| usize::from(*start)).chain([fine.len()]);
        starts.zip(ends).map(|(start, end)| fine.get(start..end).unwrap_or_default().iter().sum()).collect()
    }

    /// The smallest value that is in a bin.
    pub fn lowest(&self) -> f64 {
        self.edges.first().copied().unwrap_or_default()
    }

    /// The largest value that is in a bin.
    pub fn highest(&self) -> f64 {
        self.edges.last().copied().unwrap_or_default()
    }

    /// A value in the midst of the reference, about which moments are taken.
    pub fn origin(&self) -> f64 {
        self.centres.get(self.centres.len() / 2).copied().unwrap_or_default()
    }

    /// The bins of `values`, each of which must lie between the lowest and the highest edge.
    ///
    /// The search has no branches that depend on the values, and runs in lanes.
    #[inline]
    pub(crate) fn places(&self, values: &[f64; LANES]) -> [usize; LANES] {
        let mut places = [0_usize; LANES];
        let mut stride = self.stride;
        while stride > 0 {
            for (place, value) in places.iter_mut().zip(values) {
                // `place + stride - 1` stays below MOST_BINS; the mask only tells the compiler so.
                let edge = self.inner[(*place + stride - 1) & (MOST_BINS - 1)];
                // Half of these go either way: a predicted branch would cost more than the rest of the search.
                *place = select_unpredictable(edge <= *value, *place + stride, *place);
            }
            stride /= 2;
        }
        places
    }
}

/// What is stored of the bins; the search table is rebuilt.
#[derive(Serialize, Deserialize)]
struct StoredBins {
    edges: Vec<f64>,
    centres: Vec<f64>,
    coarse_starts: Vec<u16>,
}

impl From<BinEdges> for StoredBins {
    fn from(bins: BinEdges) -> Self {
        Self { edges: bins.edges, centres: bins.centres, coarse_starts: bins.coarse_starts }
    }
}

impl TryFrom<StoredBins> for BinEdges {
    type Error = LayoutError;

    fn try_from(stored: StoredBins) -> Result<Self, LayoutError> {
        check_edges(&stored.edges)?;
        let bins = stored.edges.len() - 1;
        let (centres, coarse) = (stored.centres.len(), stored.coarse_starts.len());
        let starts = &stored.coarse_starts;
        let coarse_fit = starts.first() == Some(&0)
            && starts.is_sorted_by(|a, b| a < b)
            && starts.last().is_some_and(|last| usize::from(*last) < bins);
        if centres != bins || !coarse_fit || !stored.centres.iter().all(|centre| centre.is_finite()) {
            return Err(LayoutError::Inconsistent { bins, centres, coarse });
        }
        Ok(Self::assemble(stored.edges, stored.centres, stored.coarse_starts))
    }
}

/// Where a category is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryPlace {
    /// Under its own name: its place among the known categories.
    Known(usize),
    /// The reference has it, but not among its most frequent.
    Other,
    /// The reference does not have it.
    Unseen,
}

/// The categories of a column that are counted by name, and those that are known to exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredCategories", into = "StoredCategories")]
pub struct CategoryTable {
    known: Vec<String>,
    other: BTreeSet<String>,
    places: HashMap<String, CategoryPlace, BuildHasherDefault<NameHasher>>,
}

impl CategoryTable {
    /// The most frequent of `values` by name ([`MOST_KNOWN`], ties in the order of names), the next [`MOST_OTHER`]
    /// remembered as `other`. What a reference has beyond that counts as unseen, in the reference too.
    pub fn learn<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
        ranked.sort_unstable_by(|(name, count), (name_b, count_b)| count_b.cmp(count).then(name.cmp(name_b)));
        let mut names = ranked.into_iter().map(|(name, _)| name.to_owned());
        let known: Vec<String> = names.by_ref().take(MOST_KNOWN).collect();
        let other: BTreeSet<String> = names.take(MOST_OTHER).collect();
        Self::assemble(known, other)
    }

    fn assemble(known: Vec<String>, other: BTreeSet<String>) -> Self {
        let others = other.iter().map(|name| (name.clone(), CategoryPlace::Other));
        let named = known.iter().enumerate().map(|(place, name)| (name.clone(), CategoryPlace::Known(place)));
        let places = others.chain(named).collect();
        Self { known, other, places }
    }

    /// The categories counted by name, most frequent first.
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// Where `category` is counted.
    #[inline]
    pub fn place(&self, category: &str) -> CategoryPlace {
        self.places.get(category).copied().unwrap_or(CategoryPlace::Unseen)
    }
}

/// A hash of names, a word of eight bytes at a time.
///
/// Whoever sends events can choose names whose hashes collide, but cannot add names to a table: a look-up stays short.
#[derive(Debug, Clone, Default)]
struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        // An odd number with its bits well spread (2⁶⁴ over the golden ratio); both halves of the product are mixed.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        // The length keeps apart what differs by zeros at its end, and zero from nothing.
        self.add(rest.iter().fold(bytes.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }

    #[inline]
    fn write_u8(&mut self, _end: u8) {
        // The mark that `str` puts behind its bytes tells neighbouring fields apart; here a name stands alone.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is stored of a table; the lookup is rebuilt.
#[derive(Serialize, Deserialize)]
struct StoredCategories {
    known: Vec<String>,
    other: BTreeSet<String>,
}

impl From<CategoryTable> for StoredCategories {
    fn from(table: CategoryTable) -> Self {
        Self { known: table.known, other: table.other }
    }
}

impl TryFrom<StoredCategories> for CategoryTable {
    type Error = LayoutError;

    fn try_from(stored: StoredCategories) -> Result<Self, LayoutError> {
        let mut seen = BTreeSet::new();
        for category in &stored.known {
            if !seen.insert(category) || stored.other.contains(category) || seen.len() > MOST_KNOWN {
                return Err(LayoutError::CategoryTable { category: category.clone() });
            }
        }
        Ok(Self::assemble(stored.known, stored.other))
    }
}

fn check_edges(edges: &[f64]) -> Result<(), LayoutError> {
    if edges.len() < 2 || edges.len() > MOST_BINS + 1 {
        return Err(LayoutError::EdgeCount { edges: edges.len() });
    }
    let mut before = f64::NEG_INFINITY;
    for (place, value) in edges.iter().copied().enumerate() {
        let closes = place + 1 == edges.len() && value == before;
        if !value.is_finite() || !(value > before || closes) {
            return Err(LayoutError::EdgeOrder { place, value });
        }
        before = value;
    }
    Ok(())
}

/// The finite values of a slice in total order, which puts the others at its ends.
fn finite_part(sorted: &[f64]) -> &[f64] {
    let start = sorted.iter().position(|value| value.is_finite()).unwrap_or(sorted.len());
    let rest = sorted.get(start..).unwrap_or_default();
    let end = rest.iter().position(|value| !value.is_finite()).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn halfway(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    // Neighbouring floats have nothing between them.
    if middle > low && middle <= high { middle } else { high }
}

fn edges_between(distinct: &[f64]) -> Vec<f64> {
    let first = distinct.first().copied();
    let last = distinct.last().copied();
    let between = distinct.windows(2).map(|pair| halfway(pair[0], pair[1]));
    first.into_iter().chain(between).chain(last).collect()
}

fn quantile_edges(sorted: &[f64]) -> Vec<f64> {
    let mut edges: Vec<f64> = sorted.first().copied().into_iter().collect();
    let grid = (1..MOST_BINS).filter_map(|step| sorted.get(step * sorted.len() / MOST_BINS).copied());
    for value in grid {
        if edges.last().is_some_and(|last| value > *last) {
            edges.push(value);
        }
    }
    edges.extend(sorted.last());
    edges
}

/// Counts and means of the sorted values in each bin.
fn fill(edges: &[f64], sorted: &[f64]) -> (Vec<u64>, Vec<f64>) {
    let mut rest = sorted;
    let bins = edges.len().saturating_sub(1);
    let mut counts = Vec::with_capacity(bins);
    let mut centres = Vec::with_capacity(bins);
    for (place, pair) in edges.windows(2).enumerate() {
        let (low, high) = (pair[0], pair[1]);
        let end = if place + 1 == bins { rest.len() } else { rest.partition_point(|value| *value < high) };
        let (inside, after) = rest.split_at(end);
        rest = after;
        counts.push(inside.len() as u64);
        // Each value is divided before it is added, so that a sum of huge ones stays finite.
        let mean: f64 = inside.iter().map(|value| value / inside.len() as f64).sum();
        centres.push(if inside.is_empty() { halfway(low, high) } else { mean.clamp(low, high) });
    }
    (counts, centres)
}

/// Groups fine bins into at most [`COARSE_BINS`] of about the same weight.
fn coarse_starts(weights: &[u64]) -> Vec<u16> {
    let total: u64 = weights.iter().sum::<u64>().max(1);
    let mut starts = Vec::with_capacity(COARSE_BINS);
    let mut before = 0_u64;
    let mut last_group = None;
    for (place, weight) in weights.iter().enumerate() {
        // The coarse bin that holds the middle of this bin's weight.
        let group = (COARSE_BINS as u64 * (2 * before + weight) / (2 * total)).min(COARSE_BINS as u64 - 1);
        if last_group != Some(group) {
            starts.push(place as u16);
            last_group = Some(group);
        }
        before += weight;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(bins: &BinEdges, value: f64) -> usize {
        bins.places(&[value; LANES])[0]
    }

    #[test]
    fn every_value_of_the_reference_is_in_the_bin_whose_edges_hold_it() {
        let mut values: Vec<f64> = (0..10_000).map(|i| ((i * 7919) % 10_007) as f64 / 3.0).collect();
        let bins = BinEdges::learn(&mut values);
        assert_eq!(bins.bins(), MOST_BINS);
        for value in values {
            let place = place_of(&bins, value);
            let last = place + 1 == bins.bins();
            assert!(bins.edges()[place] <= value);
            assert!(value < bins.edges()[place + 1] || (last && value == bins.highest()));
        }
    }

    #[test]
    fn few_distinct_values_have_a_bin_each() {
        let bins = BinEdges::learn(&mut [3.0, 1.0, 2.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(bins.edges(), [1.0, 1.5, 2.5, 3.0]);
        assert_eq!(bins.centres(), [1.0, 2.0, 3.0]);
        assert_eq!([1.0, 2.0, 3.0].map(|value| place_of(&bins, value)), [0, 1, 2]);
    }

    #[test]
    fn a_constant_column_has_one_bin_and_an_empty_one_too() {
        assert_eq!(BinEdges::learn(&mut [5.0; 40]).edges(), [5.0, 5.0]);
        assert_eq!(BinEdges::learn(&mut [f64::NAN]).edges(), [0.0, 0.0]);
    }

    #[test]
    fn neighbouring_floats_and_the_largest_ones_can_be_told_apart() {
        let next = 1.0_f64.next_up();
        let bins = BinEdges::learn(&mut [1.0, next, -f64::MAX, f64::MAX]);
        assert_eq!([-f64::MAX, 1.0, next, f64::MAX].map(|value| place_of(&bins, value)), [0, 1, 2, 3]);
        assert!(check_edges(bins.edges()).is_ok());
    }

    #[test]
    fn coarse_bins_hold_about_a_tenth_each_and_whole_fine_bins() {
        let mut values: Vec<f64> = (0..20_000).map(|i| (i as f64 / 20_000.0).powi(3)).collect();
        let bins = BinEdges::learn(&mut values);
        let mut fine = vec![0; bins.bins()];
        values.iter().for_each(|value| fine[place_of(&bins, *value)] += 1);
        let coarse = bins.coarsen(&fine);
        assert_eq!(coarse.len(), COARSE_BINS);
        assert_eq!(coarse.iter().sum::<i64>(), 20_000);
        assert!(coarse.iter().all(|count| (1_800..=2_200).contains(count)), "{coarse:?}");
    }

    #[test]
    fn a_mass_at_one_value_costs_only_its_own_bins() {
        let mut values: Vec<f64> = (0..5_000).map(|i| if i < 2_500 { 0.0 } else { i as f64 }).collect();
        let bins = BinEdges::learn(&mut values);
        assert!(bins.bins() > 100);
        assert!(bins.coarse_starts().len() >= 5);
    }

    #[test]
    fn a_layout_survives_storage_and_a_broken_one_is_refused() {
        let layout = ColumnLayout::learn_numeric(&mut [1.0, 2.0, 4.0]);
        let bytes = rmp_serde::to_vec(&layout).unwrap();
        assert_eq!(rmp_serde::from_slice::<ColumnLayout>(&bytes).unwrap(), layout);
        let broken = StoredBins { edges: vec![0.0, 1.0, 2.0], centres: vec![0.5], coarse_starts: vec![0] };
        assert!(matches!(BinEdges::try_from(broken), Err(LayoutError::Inconsistent { .. })));
        assert!(matches!(BinEdges::from_edges(vec![1.0, 0.0]), Err(LayoutError::EdgeOrder { place: 1, .. })));
    }

    #[test]
    fn rare_categories_of_the_reference_are_other_and_new_ones_unseen() {
        let names: Vec<String> = (0..150).map(|i| format!("c{i:03}")).collect();
        let table = CategoryTable::learn(names.iter().map(String::as_str).chain(["c149", "c149", "c148"]));
        assert_eq!(table.place("c149"), CategoryPlace::Known(0));
        assert_eq!(table.place("c148"), CategoryPlace::Known(1));
        assert_eq!(table.place("c000"), CategoryPlace::Known(2));
        assert_eq!(table.place("c120"), CategoryPlace::Other);
        assert_eq!(table.place("new"), CategoryPlace::Unseen);
    }
}
