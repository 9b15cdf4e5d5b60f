//! Correlation drift: the pair of columns whose correlation changed most.
//!
//! It sees a change of how two columns go together in a line, whatever happens to each by itself: a window's
//! correlation is taken about the window's own means and deviations.

use super::encoding::Rows;
use super::{Encoding, JointDetector, JointError, JointEvidence, JointSketch, SketchOf, two_sided};
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};

/// Correlations count as no nearer to ±1 than this, so that their transform is a number.
const NEAREST_TO_ONE: f64 = 1e-6;
/// Variances below this share of the mean square are rounding: the column is constant.
const LEAST_SPREAD: f64 = 1e-12;
/// Fisher's transform needs this many rows.
const LEAST_ROWS: i64 = 4;

/// The correlations of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationDetector {
    encoding: Encoding,
    rows: i64,
    pairs: Vec<Pair>,
}

/// Two columns that vary in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pair {
    left: usize,
    right: usize,
    correlation: f64,
    /// The variance of the transformed correlation of one sample, times its size.
    variance: f64,
}

/// How the correlation of two columns changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CorrelationChange {
    /// Place of the one column.
    pub left: usize,
    /// Place of the other.
    pub right: usize,
    /// Correlation in the reference.
    pub reference: f64,
    /// Correlation in the window.
    pub current: f64,
    /// Distance of the transformed correlations, its error and the probability of so large a one by chance, for this
    /// pair by itself.
    pub evidence: JointEvidence,
}

impl CorrelationDetector {
    /// Learns from the reference's rows; see [`Encoding::learn`] for the columns.
    ///
    /// # Errors
    /// As [`Encoding::learn`]; when there are fewer than two columns or four rows.
    pub fn learn(columns: &[ArrayRef]) -> Result<Self, JointError> {
        let encoding = Encoding::learn(columns)?;
        let rows = encoding.encode(columns)?;
        let (width, count) = (encoding.width(), rows.count() as i64);
        if width < 2 {
            return Err(JointError::ColumnCount { expected: 2, found: width });
        }
        if count < LEAST_ROWS {
            return Err(JointError::TooFewRows { rows: count, needed: LEAST_ROWS });
        }
        let sums = Sums::of(&sums_of(&rows, width), width, count as f64);
        let pairs = pairs_of(width).filter_map(|(left, right)| {
            let correlation = sums.correlation(left, right)?;
            Some(Pair { left, right, correlation, variance: transformed_variance(&rows, &sums, (left, right)) })
        });
        Ok(Self { rows: count, pairs: pairs.collect(), encoding })
    }

    /// Every pair that varies on both sides, the most improbable change first.
    ///
    /// # Formula
    /// `|artanh r − artanh r₀|` with the error `√(v·(1/(n − 3) + 1/(m − 3)))`. For two normal columns `v = 1` (Fisher,
    /// 1921); for others it is taken from the reference's fourth moments, `v = ((1 + r²/2)·μ₂₂ + r²/4·(μ₄₀ + μ₀₄) −
    /// r·(μ₃₁ + μ₁₃)) / (1 − r²)²` (Steiger and Hakstian, 1982, *British Journal of Mathematical and Statistical
    /// Psychology* 35), and never as less than 1, which errs to the safe side.
    ///
    /// # Errors
    /// When the sketch is another's, or holds fewer than four rows.
    pub fn changes(&self, current: &JointSketch) -> Result<Vec<CorrelationChange>, JointError> {
        let width = self.encoding.width();
        current.check(SketchOf::Correlation, sum_count(width))?;
        let rows = current.check_rows(LEAST_ROWS)?;
        let sums = Sums::of(&current.sums, width, rows);
        let sizes = 1.0 / (rows - 3.0) + 1.0 / (self.rows - 3) as f64;
        let change_of = |pair: &Pair| {
            let now = sums.correlation(pair.left, pair.right)?;
            let score = (transformed(now) - transformed(pair.correlation)).abs();
            let standard_error = (pair.variance * sizes).sqrt();
            let evidence = JointEvidence { score, standard_error, p_value: two_sided(score / standard_error) };
            let Pair { left, right, correlation: reference, .. } = *pair;
            Some(CorrelationChange { left, right, reference, current: now, evidence })
        };
        let mut changes: Vec<_> = self.pairs.iter().filter_map(change_of).collect();
        let distance = |change: &CorrelationChange| change.evidence.score / change.evidence.standard_error;
        changes.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
        Ok(changes)
    }
}

impl JointDetector for CorrelationDetector {
    fn name(&self) -> &'static str {
        "correlation"
    }

    fn empty(&self) -> JointSketch {
        JointSketch::empty(SketchOf::Correlation, sum_count(self.encoding.width()))
    }

    fn observe(&self, sketch: &mut JointSketch, columns: &[ArrayRef]) -> Result<(), JointError> {
        let width = self.encoding.width();
        sketch.check(SketchOf::Correlation, sum_count(width))?;
        let rows = self.encoding.encode(columns)?;
        let sums = sums_of(&rows, width);
        sketch.merge(&JointSketch { of: SketchOf::Correlation, rows: rows.count() as i64, sums })
    }

    /// # Formula
    /// The score is that of the pair with the most improbable change ([`CorrelationDetector::changes`]); its p-value is
    /// `1 − (1 − p)^k` of `k` pairs (Šidák).
    fn compare(&self, current: &JointSketch) -> Result<JointEvidence, JointError> {
        let changes = self.changes(current)?;
        let most = changes.first().ok_or(JointError::NothingVaries)?;
        // The plain power would lose every p below 1e-16.
        let p_value = -(changes.len() as f64 * (-most.evidence.p_value).ln_1p()).exp_m1();
        Ok(JointEvidence { p_value: p_value.clamp(0.0, 1.0), ..most.evidence })
    }
}

fn transformed(correlation: f64) -> f64 {
    correlation.clamp(NEAREST_TO_ONE - 1.0, 1.0 - NEAREST_TO_ONE).atanh()
}

fn pairs_of(width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..width).flat_map(move |left| (left + 1..width).map(move |right| (left, right)))
}

/// Sums of each column, and of the products of each with itself and those after it.
fn sum_count(width: usize) -> usize {
    width + width * (width + 1) / 2
}

fn sums_of(rows: &Rows, width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; sum_count(width)];
    let (singles, products) = sums.split_at_mut(width);
    for row in rows.iter() {
        singles.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        let pairs =
            row.iter().enumerate().flat_map(|(place, left)| row.iter().skip(place).map(move |right| left * right));
        products.iter_mut().zip(pairs).for_each(|(sum, product)| *sum += product);
    }
    sums
}

/// Means and mean products of a sample.
struct Sums {
    width: usize,
    means: Vec<f64>,
    products: Vec<f64>,
}

impl Sums {
    fn of(sums: &[f64], width: usize, rows: f64) -> Self {
        let (singles, products) = sums.split_at_checked(width).unwrap_or_default();
        let mean = |sum: &f64| sum / rows;
        Self { width, means: singles.iter().map(mean).collect(), products: products.iter().map(mean).collect() }
    }

    fn mean(&self, column: usize) -> f64 {
        self.means.get(column).copied().unwrap_or(0.0)
    }

    /// `left` is not after `right`.
    fn covariance(&self, left: usize, right: usize) -> f64 {
        let before = left * self.width - left * left.saturating_sub(1) / 2;
        let product = self.products.get(before + right - left).copied().unwrap_or(0.0);
        product - self.mean(left) * self.mean(right)
    }

    /// The column's variance; `None` where it is constant.
    fn variance(&self, column: usize) -> Option<f64> {
        let variance = self.covariance(column, column);
        (variance > LEAST_SPREAD * (1.0 + self.mean(column).powi(2))).then_some(variance)
    }

    fn correlation(&self, left: usize, right: usize) -> Option<f64> {
        let scale = (self.variance(left)? * self.variance(right)?).sqrt();
        Some((self.covariance(left, right) / scale).clamp(-1.0, 1.0))
    }
}

/// `v` of [`CorrelationDetector::changes`], from the reference's rows.
fn transformed_variance(rows: &Rows, sums: &Sums, (left, right): (usize, usize)) -> f64 {
    let deviation = |column: usize| sums.variance(column).map_or(1.0, f64::sqrt);
    let scaled =
        |row: &[f64], column: usize| (row.get(column).copied().unwrap_or(0.0) - sums.mean(column)) / deviation(column);
    let (mut m22, mut m4, mut m31) = (0.0, 0.0, 0.0);
    let weight = 1.0 / rows.count().max(1) as f64;
    for row in rows.iter() {
        let (a, b) = (scaled(row, left), scaled(row, right));
        m22 += weight * a * a * b * b;
        m4 += weight * (a.powi(4) + b.powi(4));
        m31 += weight * a * b * (a * a + b * b);
    }
    let r = sums.correlation(left, right).unwrap_or(0.0).clamp(NEAREST_TO_ONE - 1.0, 1.0 - NEAREST_TO_ONE);
    let variance = (1.0 + r * r / 2.0) * m22 + r * r / 4.0 * m4 - r * m31;
    (variance / (1.0 - r * r).powi(2)).max(1.0)
}
