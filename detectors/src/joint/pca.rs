//! Reconstruction error: how far rows lie from the axes along which the reference varies most.
//!
//! A row that combines ordinary values in an unordinary way is far from them, though no column shows it. The converse
//! holds, too: a change along the axes is not seen here.
//!
//! As many axes are kept as explain 65 % of the variance, NannyML's default. With columns that tell the same, one axis
//! may explain all of the reference; then any distance at all is news. With one column its axis is everything, and the
//! error is always zero.

use super::encoding::Rows;
use super::symmetric::Symmetric;
use super::{Encoding, JointDetector, JointError, JointEvidence, JointSketch, SketchOf, two_sided};
use crate::moments::Moments;
use crate::quality::estimates::mean;
use crate::verdict::Estimate;
use arrow::array::ArrayRef;
use serde::{Deserialize, Serialize};

/// The share of the variance that the axes explain.
const EXPLAINED: f64 = 0.65;
/// Differences of this many standard deviations are rounding, not drift.
const ROUNDING: f64 = 1e-9;

/// The axes of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrincipalAxes {
    encoding: Encoding,
    centre: Vec<f64>,
    axes: Vec<Vec<f64>>,
    errors: Moments,
}

impl PrincipalAxes {
    /// Learns from the reference's rows; see [`Encoding::learn`] for the columns.
    ///
    /// # Errors
    /// As [`Encoding::learn`].
    pub fn learn(columns: &[ArrayRef]) -> Result<Self, JointError> {
        let encoding = Encoding::learn(columns)?;
        let rows = encoding.encode(columns)?;
        let centre = centre_of(&rows, encoding.width());
        let axes = axes_of(&rows, &centre);
        let mut learned = Self { encoding, centre, axes, errors: Moments::default() };
        let mut errors = Moments::default();
        rows.iter().for_each(|row| errors.observe(learned.error_of(row), 1));
        learned.errors = errors;
        Ok(learned)
    }

    /// How many axes are kept.
    pub fn axes(&self) -> usize {
        self.axes.len()
    }

    /// The mean reconstruction error of a window, in standard deviations of the columns; `None` of no rows.
    ///
    /// # Formula
    /// The mean of `‖z − ẑ‖` with `z` a row of standardised values and `ẑ` its projection onto the axes; the standard
    /// error is `s/√n`.
    pub fn reconstruction_error(&self, window: &JointSketch) -> Option<Estimate> {
        match window.sums.as_slice() {
            [sum, sum_sq] if window.of == SketchOf::Reconstruction => {
                mean(&Moments { n: window.rows, sum: *sum, sum_sq: *sum_sq })
            }
            _ => None,
        }
    }

    /// The mean reconstruction error of the reference itself.
    pub fn reference_error(&self) -> Option<Estimate> {
        mean(&self.errors)
    }

    fn error_of(&self, row: &[f64]) -> f64 {
        let mut left: Vec<f64> = row.iter().zip(&self.centre).map(|(value, centre)| value - centre).collect();
        for axis in &self.axes {
            let along: f64 = left.iter().zip(axis).map(|(value, part)| value * part).sum();
            left.iter_mut().zip(axis).for_each(|(value, part)| *value -= along * part);
        }
        left.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

impl JointDetector for PrincipalAxes {
    fn name(&self) -> &'static str {
        "pca_reconstruction"
    }

    fn empty(&self) -> JointSketch {
        JointSketch::empty(SketchOf::Reconstruction, 2)
    }

    fn observe(&self, sketch: &mut JointSketch, columns: &[ArrayRef]) -> Result<(), JointError> {
        sketch.check(SketchOf::Reconstruction, 2)?;
        let rows = self.encoding.encode(columns)?;
        let mut errors = Moments::default();
        rows.iter().for_each(|row| errors.observe(self.error_of(row), 1));
        sketch.merge(&JointSketch {
            of: SketchOf::Reconstruction,
            rows: errors.n,
            sums: vec![errors.sum, errors.sum_sq],
        })
    }

    /// # Formula
    /// The score is the distance between the two mean errors, in standard deviations of the columns; rows that fit
    /// better than the reference's are drift, too. Its error is `√(v·(1/n + 1/m))` with `v` the reference's variance of
    /// errors, and the p-value that of a normal, which means of so many errors are.
    fn compare(&self, current: &JointSketch) -> Result<JointEvidence, JointError> {
        current.check(SketchOf::Reconstruction, 2)?;
        let rows = current.check_rows(1)?;
        let before = self.errors.mean().unwrap_or(0.0);
        let now = current.sums.first().copied().unwrap_or(0.0) / rows;
        let variance = self.errors.variance().unwrap_or(0.0) * (1.0 / rows + 1.0 / self.errors.n.max(1) as f64);
        let standard_error = variance.sqrt().max(ROUNDING);
        let score = (now - before).abs();
        Ok(JointEvidence { score, standard_error, p_value: two_sided(score / standard_error) })
    }
}

fn centre_of(rows: &Rows, width: usize) -> Vec<f64> {
    let mut centre = vec![0.0; width];
    for row in rows.iter() {
        centre.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = rows.count().max(1) as f64;
    centre.iter_mut().for_each(|sum| *sum /= count);
    centre
}

/// The axes with the largest variances, as many as pass the explained share.
fn axes_of(rows: &Rows, centre: &[f64]) -> Vec<Vec<f64>> {
    let mut covariance = Symmetric::zero(centre.len());
    for row in rows.iter() {
        let deviations: Vec<f64> = row.iter().zip(centre).map(|(value, centre)| value - centre).collect();
        covariance.add_outer(&deviations, 1.0);
    }
    covariance.scale(1.0 / rows.count().max(1) as f64);
    let total = covariance.trace();
    let mut explained = 0.0;
    let mut kept = Vec::new();
    for (variance, axis) in covariance.axes() {
        if total <= 0.0 || explained > EXPLAINED * total {
            break;
        }
        explained += variance;
        kept.push(axis);
    }
    kept
}
