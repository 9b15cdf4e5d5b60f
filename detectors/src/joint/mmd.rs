//! Maximum mean discrepancy by random Fourier features: any change of the joint distribution, in one number.
//!
//! The discrepancy is the distance between the mean images of two samples under a Gaussian kernel. Random features make
//! the image a short vector, so that the mean is a sum that adds up. They are drawn with the seed stated, and belong to
//! the reference: two sketches of one reference have the same ones.

use super::encoding::Rows;
use super::symmetric::Symmetric;
use super::{Encoding, JointDetector, JointError, JointEvidence, JointSketch, SketchOf};
use crate::random::Random;
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};
use statrs::function::gamma::checked_gamma_ur;

/// Frequencies drawn; each gives a cosine and a sine.
const FREQUENCIES: usize = 50;
/// Rows, evenly spaced, between which distances are taken for the bandwidth.
const ROWS_FOR_BANDWIDTH: usize = 400;
/// Squared discrepancies below this are rounding.
const ROUNDING: f64 = 1e-18;

/// The random features of a reference, and where its rows lie in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomFeatures {
    encoding: Encoding,
    bandwidth: f64,
    frequencies: Vec<Vec<f64>>,
    rows: i64,
    means: Vec<f64>,
    /// Traces of the features' covariance, its square and its cube.
    traces: [f64; 3],
}

impl RandomFeatures {
    /// Learns from the reference's rows; see [`Encoding::learn`] for the columns.
    ///
    /// The bandwidth is the median distance between standardised rows, of 400 rows evenly spaced through the reference;
    /// where half of the distances are zero it is the root of the number of columns.
    ///
    /// # Errors
    /// As [`Encoding::learn`].
    pub fn learn(columns: &[ArrayRef], seed: u64) -> Result<Self, JointError> {
        let encoding = Encoding::learn(columns)?;
        let rows = encoding.encode(columns)?;
        let width = encoding.width();
        let bandwidth = median_distance(&rows).unwrap_or_else(|| (width as f64).sqrt());
        let mut random = Random::new(seed);
        let mut frequency = |_| (0..width).map(|_| random.normal() / bandwidth).collect();
        let frequencies: Vec<Vec<f64>> = (0..FREQUENCIES).map(&mut frequency).collect();
        let count = rows.count().max(1) as f64;
        let means: Vec<f64> = summed(&frequencies, &rows).iter().map(|sum| sum / count).collect();
        let traces = traces_of(&frequencies, &rows, &means);
        Ok(Self { encoding, bandwidth, frequencies, rows: rows.count() as i64, means, traces })
    }

    /// The width of the kernel `exp(−‖x − y‖²/2σ²)`, in standard deviations of the columns.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// The probability of at least this squared distance between the means of two samples of the reference's
    /// distribution.
    fn p_value(&self, squared_distance: f64, sizes: f64) -> f64 {
        let [first, second, third] = self.traces;
        let (c1, c2, c3) = (sizes * first, sizes * sizes * second, sizes.powi(3) * third);
        let degrees = c2 * c2 * c2 / (c3 * c3);
        let chi_squared = (squared_distance - c1) * (degrees / c2).sqrt() + degrees;
        if !degrees.is_finite() || !chi_squared.is_finite() {
            // The features do not vary in the reference: whatever differs at all cannot be chance.
            return if squared_distance <= ROUNDING { 1.0 } else { 0.0 };
        }
        if chi_squared <= 0.0 {
            return 1.0;
        }
        checked_gamma_ur(degrees / 2.0, chi_squared / 2.0).unwrap_or(0.0).clamp(0.0, 1.0)
    }
}

impl JointDetector for RandomFeatures {
    fn name(&self) -> &'static str {
        "mmd"
    }

    fn empty(&self) -> JointSketch {
        JointSketch::empty(SketchOf::MeanDiscrepancy, 2 * FREQUENCIES)
    }

    fn observe(&self, sketch: &mut JointSketch, columns: &[ArrayRef]) -> Result<(), JointError> {
        sketch.check(SketchOf::MeanDiscrepancy, 2 * FREQUENCIES)?;
        let rows = self.encoding.encode(columns)?;
        let sums = summed(&self.frequencies, &rows);
        sketch.merge(&JointSketch { of: SketchOf::MeanDiscrepancy, rows: rows.count() as i64, sums })
    }

    /// # Formula
    /// With `φ(x)` the cosines and sines of `ωᵢ·x`, over `√50`, and `ω` normal with deviation `1/σ` (Rahimi and Recht,
    /// 2007, *NIPS*), `T = ‖mean φ − mean φ₀‖²` estimates the squared discrepancy (Gretton et al., 2012, *JMLR* 13).
    /// The score is `T` less its mean without drift, `c·tr Σ` with `c = 1/n + 1/m` and `Σ` the reference's covariance
    /// of `φ`, and never below 0; it lies in [0, 4]. Without drift `T` is a sum of weighted χ²: its variance is `2c²·tr
    /// Σ²`, and the p-value is that of the χ² with the same first three moments (Imhof, 1961, *Biometrika* 48).
    fn compare(&self, current: &JointSketch) -> Result<JointEvidence, JointError> {
        current.check(SketchOf::MeanDiscrepancy, 2 * FREQUENCIES)?;
        let rows = current.check_rows(1)?;
        let distance = |(sum, mean): (&f64, &f64)| (sum / rows - mean).powi(2);
        let squared_distance: f64 = current.sums.iter().zip(&self.means).map(distance).sum();
        let sizes = 1.0 / rows + 1.0 / self.rows.max(1) as f64;
        let [first, second, _] = self.traces;
        let score = (squared_distance - sizes * first).max(0.0);
        let standard_error = sizes * (2.0 * second).sqrt();
        Ok(JointEvidence { score, standard_error, p_value: self.p_value(squared_distance, sizes) })
    }
}

/// The features of one row.
fn features(frequencies: &[Vec<f64>], row: &[f64]) -> impl Iterator<Item = f64> {
    let scale = 1.0 / (FREQUENCIES as f64).sqrt();
    frequencies.iter().flat_map(move |frequency| {
        let angle: f64 = frequency.iter().zip(row).map(|(part, value)| part * value).sum();
        let (sine, cosine) = angle.sin_cos();
        [scale * cosine, scale * sine]
    })
}

fn summed(frequencies: &[Vec<f64>], rows: &Rows) -> Vec<f64> {
    let mut sums = vec![0.0; 2 * frequencies.len()];
    for row in rows.iter() {
        sums.iter_mut().zip(features(frequencies, row)).for_each(|(sum, feature)| *sum += feature);
    }
    sums
}

fn traces_of(frequencies: &[Vec<f64>], rows: &Rows, means: &[f64]) -> [f64; 3] {
    let mut covariance = Symmetric::zero(means.len());
    for row in rows.iter() {
        let deviations: Vec<f64> =
            features(frequencies, row).zip(means).map(|(feature, mean)| feature - mean).collect();
        covariance.add_outer(&deviations, 1.0);
    }
    covariance.scale(1.0 / rows.count().max(1) as f64);
    let square = covariance.squared();
    [covariance.trace(), square.trace(), square.trace_of_product(&covariance)]
}

fn median_distance(rows: &Rows) -> Option<f64> {
    let stride = rows.count().div_ceil(ROWS_FOR_BANDWIDTH).max(1);
    let chosen: Vec<&[f64]> = rows.iter().step_by(stride).collect();
    let mut distances = Vec::with_capacity(chosen.len() * chosen.len() / 2);
    for (place, left) in chosen.iter().enumerate() {
        for right in chosen.iter().skip(place + 1) {
            let squared: f64 = left.iter().zip(*right).map(|(a, b)| (a - b).powi(2)).sum();
            distances.push(squared.sqrt());
        }
    }
    let middle = distances.len() / 2;
    if distances.is_empty() {
        return None;
    }
    let (_, median, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median).filter(|median| *median > 0.0)
}
