//! NannyML's univariate methods, as its version 0.13 computes them.
//!
//! Edges are frozen when the method is fitted, Doane's for numbers, and everything outside them is one bin that the reference does not
//! have: both tails, all unseen categories. From 10,000 rows of reference Kolmogorov's and Wasserstein's distances are estimated
//! from 10,000 equal bins between the reference's extremes, and where a chunk has values below them one row too many is
//! counted there. χ² is the contingency test with Yates's correction, so it is smaller than Pearson's on two categories.
//!
//! Thresholds are the mean and three standard deviations of the distance over chunks of the reference ([`threshold_of_chunks`]);
//! earlier versions had .1. χ² alone is judged by its p-value. Missing values are dropped; infinite ones, on which NannyML
//! fails, too.

use super::Finding;
use super::histogram::{count_in, doane_edges, equal_edges};
use crate::statistics::{
    CategorySample, Cells, ChiSquared, Continuity, Detector, Evidence, Hellinger, JensenShannon, KolmogorovNull,
    KolmogorovSmirnov, LInfinity, NotComparable, NumberSample, Pair, SparseCells, Wasserstein, WassersteinUnit,
};

/// Rows of the reference from which distances are estimated.
const ESTIMATED_FROM: usize = 10_000;
/// Bins of an estimate.
const BINS_OF_ESTIMATE: usize = 10_000;
/// The p-value below which χ² is drift.
const SIGNIFICANT: f64 = 0.05;

/// The threshold of a distance in versions before thresholds were learned, and where no chunks are given.
pub const DEFAULT_THRESHOLD: f64 = 0.1;

/// A method for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberMethod {
    /// `jensen_shannon`, base 2; what NannyML uses by default.
    JensenShannon,
    /// `hellinger`.
    Hellinger,
    /// `kolmogorov_smirnov`.
    KolmogorovSmirnov,
    /// `wasserstein`, in the column's unit.
    Wasserstein,
}

/// A method for categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryMethod {
    /// `jensen_shannon`, base 2; what NannyML uses by default.
    JensenShannon,
    /// `hellinger`.
    Hellinger,
    /// `chi2`.
    ChiSquared,
    /// `l_infinity`.
    LInfinity,
}

/// A column of numbers, fitted to its reference.
#[derive(Debug, Clone)]
pub struct FittedNumbers {
    reference: NumberSample,
    /// Doane's edges.
    edges: Vec<f64>,
    /// The edges of estimates.
    fine_edges: Vec<f64>,
}

impl FittedNumbers {
    /// Fits to the finite values of a reference.
    ///
    /// # Errors
    /// When there are none.
    pub fn fit(reference: &NumberSample) -> Result<Self, NotComparable> {
        let reference = NumberSample::of(reference.sorted());
        let sorted = reference.sorted();
        let (Some(least), Some(greatest)) = (sorted.first().copied(), sorted.last().copied()) else {
            return Err(NotComparable::EmptyReference);
        };
        let fine_edges = equal_edges((least, greatest), BINS_OF_ESTIMATE);
        Ok(Self { edges: doane_edges(sorted), fine_edges, reference })
    }

    /// The distance of a chunk.
    ///
    /// # Errors
    /// When it has no finite values.
    pub fn distance(&self, method: NumberMethod, chunk: &NumberSample) -> Result<f64, NotComparable> {
        let chunk = NumberSample::of(chunk.sorted());
        if chunk.finite() == 0 {
            return Err(NotComparable::EmptyWindow);
        }
        let estimated = self.is_estimated();
        match method {
            NumberMethod::JensenShannon => Ok(JensenShannon::default().compare(&self.pair(&chunk)?)?.score),
            NumberMethod::Hellinger => Ok(Hellinger.compare(&self.pair(&chunk)?)?.score),
            NumberMethod::KolmogorovSmirnov if estimated => Ok(self.estimated_kolmogorov(&chunk)),
            NumberMethod::Wasserstein if estimated => self.estimated_wasserstein(&chunk),
            NumberMethod::KolmogorovSmirnov => Ok(self.exact_kolmogorov(&chunk)?.score),
            NumberMethod::Wasserstein => {
                let plain = Wasserstein { unit: WassersteinUnit::Own };
                Ok(plain.compare(&Pair::of_numbers(&self.reference, &chunk))?.score)
            }
        }
    }

    /// What NannyML says of a chunk, against a threshold for the distance.
    ///
    /// # Errors
    /// As [`Self::distance`].
    pub fn judge(&self, method: NumberMethod, threshold: f64, chunk: &NumberSample) -> Result<Finding, NotComparable> {
        let score = self.distance(method, chunk)?;
        Ok(Finding { score, threshold, drifted: score > threshold })
    }

    fn exact_kolmogorov(&self, chunk: &NumberSample) -> Result<Evidence, NotComparable> {
        let test = KolmogorovSmirnov { null: KolmogorovNull::Auto, ..KolmogorovSmirnov::default() };
        test.compare(&Pair::of_numbers(&self.reference, chunk))
    }

    fn is_estimated(&self) -> bool {
        self.reference.sorted().len() >= ESTIMATED_FROM
    }

    /// The frozen bins, and one for what lies in none of them.
    fn pair(&self, chunk: &NumberSample) -> Result<Pair<'static>, NotComparable> {
        let mut first = count_in(&self.edges, self.reference.sorted());
        let mut second = count_in(&self.edges, chunk.sorted());
        first.push(0);
        second.push(chunk.finite() - second.iter().sum::<i64>());
        Ok(Pair::of_cells(Cells::new(&first, &second)?))
    }

    /// The distribution functions behind each fine bin, the chunk's after so many rows below all bins.
    fn functions(&self, chunk: &NumberSample, below: f64) -> Vec<(f64, f64)> {
        let (n, m) = (self.reference.finite() as f64, chunk.finite() as f64);
        let counts = count_in(&self.fine_edges, self.reference.sorted());
        let bins = counts.into_iter().zip(count_in(&self.fine_edges, chunk.sorted()));
        let sums = bins.scan((0.0, below), |(first, second), (a, b)| {
            *first += a as f64;
            *second += b as f64;
            Some((*first / n, *second / m))
        });
        sums.collect()
    }

    /// The largest distance of the distribution functions behind the fine bins.
    fn estimated_kolmogorov(&self, chunk: &NumberSample) -> f64 {
        let below = self.outside(chunk).0.len() as f64;
        self.functions(chunk, below).into_iter().map(|(f, g)| (f - g).abs()).fold(0.0, f64::max)
    }

    /// The area between the distribution functions: in the fine bins, and exactly outside of them.
    fn estimated_wasserstein(&self, chunk: &NumberSample) -> Result<f64, NotComparable> {
        let [first, second, .., last] = self.fine_edges.as_slice() else { return Err(NotComparable::EmptyReference) };
        let (smaller, bigger) = self.outside(chunk);
        // The reference's least value is counted among those below it, as there.
        let below = if smaller.is_empty() { 0.0 } else { smaller.len() as f64 + 1.0 };
        let apart: f64 = self.functions(chunk, below).into_iter().map(|(f, g)| (f - g).abs()).sum();
        let lower: f64 = smaller.iter().map(|value| first - value).sum();
        let upper: f64 = bigger.iter().map(|value| value - last).sum();
        let distance = apart * (second - first) + (lower + upper) / chunk.finite() as f64;
        if distance.is_finite() { Ok(distance) } else { Err(NotComparable::TooLarge) }
    }

    /// The chunk's values below the fine bins, and above them.
    fn outside<'a>(&self, chunk: &'a NumberSample) -> (&'a [f64], &'a [f64]) {
        let (Some(first), Some(last)) = (self.fine_edges.first(), self.fine_edges.last()) else {
            return Default::default();
        };
        let (from, to) = (
            chunk.sorted().partition_point(|value| value < first),
            chunk.sorted().partition_point(|value| value <= last),
        );
        (chunk.sorted().get(..from).unwrap_or_default(), chunk.sorted().get(to..).unwrap_or_default())
    }
}

/// A column of categories, fitted to its reference.
#[derive(Debug, Clone)]
pub struct FittedCategories {
    reference: CategorySample,
}

impl FittedCategories {
    /// Fits to a reference; nulls are dropped.
    ///
    /// # Errors
    /// When it has no values.
    pub fn fit(reference: &CategorySample) -> Result<Self, NotComparable> {
        if reference.counts().is_empty() {
            return Err(NotComparable::EmptyReference);
        }
        Ok(Self { reference: reference.clone() })
    }

    /// The distance of a chunk, or χ².
    ///
    /// # Errors
    /// When it has no values.
    pub fn distance(&self, method: CategoryMethod, chunk: &CategorySample) -> Result<f64, NotComparable> {
        let all = || Ok(Pair::of_cells(Pair::of_categories(&self.reference, chunk).cells()?.without_odd()?));
        match method {
            CategoryMethod::JensenShannon => Ok(JensenShannon::default().compare(&self.pooled(chunk)?)?.score),
            CategoryMethod::Hellinger => Ok(Hellinger.compare(&self.pooled(chunk)?)?.score),
            CategoryMethod::ChiSquared => Ok(contingency().compare(&all()?)?.statistic),
            CategoryMethod::LInfinity => Ok(LInfinity.compare(&all()?)?.score),
        }
    }

    /// What NannyML says of a chunk, against a threshold for the distance; χ² is judged by its p-value, whatever the threshold.
    ///
    /// # Errors
    /// As [`Self::distance`].
    pub fn judge(
        &self,
        method: CategoryMethod,
        threshold: f64,
        chunk: &CategorySample,
    ) -> Result<Finding, NotComparable> {
        if method == CategoryMethod::ChiSquared {
            let cells = Pair::of_categories(&self.reference, chunk).cells()?.without_odd()?;
            let p_value = contingency().compare(&Pair::of_cells(cells))?.p_value;
            return Ok(Finding::of_p_value(p_value.ok_or(NotComparable::TooSparse)?, SIGNIFICANT));
        }
        let score = self.distance(method, chunk)?;
        Ok(Finding { score, threshold, drifted: score > threshold })
    }

    /// The reference's categories, and one for all others.
    fn pooled(&self, chunk: &CategorySample) -> Result<Pair<'static>, NotComparable> {
        let count = |name: &String| chunk.counts().get(name).copied().unwrap_or_default();
        let mut first: Vec<i64> = self.reference.counts().values().copied().collect();
        let mut second: Vec<i64> = self.reference.counts().keys().map(count).collect();
        first.push(0);
        second.push(chunk.counts().values().sum::<i64>() - second.iter().sum::<i64>());
        Ok(Pair::of_cells(Cells::new(&first, &second)?))
    }
}

/// NannyML's threshold: the mean of the distances of the reference's chunks, and three of their (population) standard
/// deviations. `None` without chunks.
pub fn threshold_of_chunks(distances: &[f64]) -> Option<f64> {
    let n = distances.len() as f64;
    let mean = distances.iter().sum::<f64>() / n;
    let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / n;
    (n > 0.0).then(|| mean + 3.0 * variance.sqrt())
}

fn contingency() -> ChiSquared {
    ChiSquared { sparse: SparseCells::Keep, continuity: Continuity::Yates }
}
