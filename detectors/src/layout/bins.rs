//! The bins of a numeric column: learned on a quantile grid, then only looked up.

use super::LayoutError;
use serde::{Deserialize, Serialize};
use std::hint::select_unpredictable;
use std::ops::Range;

/// The most fine bins of a numeric column.
pub const MOST_BINS: usize = 256;
/// How many coarse bins a column has, where it has as many fine ones.
pub const COARSE_BINS: usize = 10;
/// The share of a column's range that is nothing beside it.
const HAIR: f64 = 0.001;
/// How many values are looked up side by side: enough to hide the latency of a search behind the others'.
pub(crate) const LANES: usize = 8;

/// The bins of a numeric column.
///
/// Bin `i` is `[edge i, edge i+1)`; the last one is closed, so that it holds the reference's maximum. What lies below the
/// first edge or above the last belongs to no bin and is counted apart, but for the last digit that single precision
/// rounds: see [`Self::least_inside`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredBins", into = "StoredBins")]
pub struct BinEdges {
    edges: Vec<f64>,
    /// Where the reference's values lie within each bin, on average.
    centres: Vec<f64>,
    coarse_starts: Vec<u16>,
    search: Box<Search>,
}

/// What values are looked up in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    /// The edges between bins, padded with +∞ to a power of two, which the search needs.
    inner: [f64; MOST_BINS],
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
        let mut inner = [f64::INFINITY; MOST_BINS];
        let between = edges.len().saturating_sub(2);
        for (slot, edge) in inner.iter_mut().zip(edges.iter().skip(1).take(between)) {
            *slot = *edge;
        }
        let stride = (between + 1).next_power_of_two() / 2;
        Self { edges, centres, coarse_starts, search: Box::new(Search { inner, stride }) }
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

    /// The same coarse bins, each made of at most `parts` finer ones, for which neighbours are put together; and these
    /// counts of fine bins put together likewise.
    pub(crate) fn thinned(&self, fine: &[i64], parts: usize) -> (Self, Vec<i64>) {
        let (mut edges, mut centres, mut counts, mut coarse_starts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let starts = self.coarse_starts.iter().map(|start| usize::from(*start));
        let ends = self.coarse_starts.iter().skip(1).map(|start| usize::from(*start)).chain([self.bins()]);
        for (start, end) in starts.zip(ends) {
            coarse_starts.push(centres.len() as u16);
            let together = (end - start).div_ceil(parts.max(1)).max(1);
            for first in (start..end).step_by(together) {
                let of = first..(first + together).min(end);
                let (count, centre) = self.put_together(fine, of);
                edges.extend(self.edges.get(first));
                centres.push(centre);
                counts.push(count);
            }
        }
        edges.extend(self.edges.last());
        (Self::assemble(edges, centres, coarse_starts), counts)
    }

    /// The count of these bins together, and where their values lie on average.
    fn put_together(&self, fine: &[i64], bins: Range<usize>) -> (i64, f64) {
        let centres = self.centres.get(bins.clone()).unwrap_or_default();
        let counts = fine.get(bins).unwrap_or_default();
        let count: i64 = counts.iter().sum();
        let middle = centres.get(centres.len() / 2).copied().unwrap_or_default();
        let apart: f64 = counts.iter().zip(centres).map(|(count, centre)| *count as f64 * (centre - middle)).sum();
        (count, if count > 0 { middle + apart / count as f64 } else { middle })
    }

    /// The smallest value that is in a bin.
    pub fn lowest(&self) -> f64 {
        self.edges.first().copied().unwrap_or_default()
    }

    /// The largest value that is in a bin.
    pub fn highest(&self) -> f64 {
        self.edges.last().copied().unwrap_or_default()
    }

    /// The least value that is counted in the first bin. A value that is the lowest edge but for the last digit of single
    /// precision is that edge: .1 is .100000001 there.
    pub fn least_inside(&self) -> f64 {
        self.lowest() - self.last_digit(self.lowest())
    }

    /// The greatest value that is counted in the last bin, likewise.
    pub fn most_inside(&self) -> f64 {
        self.highest() + self.last_digit(self.highest())
    }

    /// The last digit of an edge in single precision, no larger than what separates whole numbers, or than a hair of the
    /// range.
    fn last_digit(&self, edge: f64) -> f64 {
        let (digit, range) = ((f64::from(f32::EPSILON) * edge.abs()).min(0.5), self.highest() - self.lowest());
        if range > 0.0 { digit.min(HAIR * range) } else { digit }
    }

    /// A value in the midst of the reference, about which moments are taken.
    pub fn origin(&self) -> f64 {
        self.centres.get(self.centres.len() / 2).copied().unwrap_or_default()
    }

    /// What values are looked up in. A copy is read in one sweep, where lookups that find it in no cache wait for each line
    /// that they come upon.
    pub(crate) fn search(&self) -> &Search {
        &self.search
    }
}

impl Search {
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
    use crate::layout::ColumnLayout;

    fn place_of(bins: &BinEdges, value: f64) -> usize {
        bins.search().places(&[value; LANES])[0]
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
    fn an_edge_ends_where_single_precision_would_still_write_it() {
        let bins = BinEdges::learn(&mut [0.1, 0.2, 0.3, 0.4]);
        assert!(bins.least_inside() <= 0.1_f32.next_down().into() && bins.least_inside() > 0.099_999);
        assert!(bins.most_inside() >= 0.4_f32.into() && bins.most_inside() < 0.400_001);
        let constant = BinEdges::learn(&mut [0.4; 9]);
        assert!(constant.most_inside() >= 0.4_f32.into());
        // The next day, the next second: no whole number is taken for its neighbour.
        let dates = BinEdges::learn(&mut [20_231_201.0; 9]);
        assert!(dates.most_inside() < 20_231_202.0 && dates.least_inside() > 20_231_200.0);
        let moments = BinEdges::learn(&mut [1.7e12, 1.7e12 + 100.0]);
        assert!(moments.most_inside() < 1.7e12 + 101.0);
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
}
