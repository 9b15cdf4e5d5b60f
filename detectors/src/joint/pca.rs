//! Reconstruction error: how far rows lie from the axes along which the reference varies most.
//!
//! A row that combines ordinary values in an unordinary way is far from them, though no column shows it. The converse
//! holds, too: a change along the axes is not seen here.
//!
//! As many axes are kept as explain 65 % of the variance, NannyML's default. With columns that tell the same, one axis
//! may explain all of the reference; then any distance at all is news. With one column its axis is everything, and the
//! error is always zero.

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

/// Parts that the reference is cut into, each of which is held against the axes of the others.
const FOLDS: usize = 5;

/// The axes of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrincipalAxes {
    encoding: Encoding,
    fitted: Fitted,
    errors: Moments,
    /// Errors of the reference's rows to the axes that the other rows have: axes fit the rows that they were learned from
    /// better than any to come.
    errors_unseen: Moments,
}

impl PrincipalAxes {
    /// Learns from the reference's rows; see [`Encoding::learn`] for the columns.
    ///
    /// # Errors
    /// As [`Encoding::learn`].
    pub fn learn(columns: &[ArrayRef]) -> Result<Self, JointError> {
        let encoding = Encoding::learn(columns)?;
        let rows = encoding.encode(columns)?;
        let fitted = Fitted::to(rows.iter(), encoding.width());
        let errors = fitted.errors(rows.iter());
        let mut errors_unseen = Moments::default();
        for fold in 0..FOLDS {
            let others = rows.iter().enumerate().filter(|(row, _)| row % FOLDS != fold).map(|(_, values)| values);
            let of_others = Fitted::to(others, encoding.width());
            errors_unseen.merge(&of_others.errors(rows.iter().skip(fold).step_by(FOLDS)));
        }
        Ok(Self { encoding, fitted, errors, errors_unseen })
    }

    /// How many axes are kept.
    pub fn axes(&self) -> usize {
        self.fitted.axes.len()
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
        let errors = self.fitted.errors(rows.iter());
        sketch.merge(&JointSketch {
            of: SketchOf::Reconstruction,
            rows: errors.n,
            sums: vec![errors.sum, errors.sum_sq],
        })
    }

    /// # Formula
    /// The score is how far the mean error lies outside of two: that of the reference's rows to their own axes, which fit
    /// them best, and that of its rows to axes which have not seen them (five-fold), where rows to come are expected. It is
    /// in standard deviations of the columns; rows that fit better are drift, too. The standard error is `√(v·(1/n + 1/m))`
    /// with `v` the variance of the unseen rows' errors, and the p-value that of a normal, which means of so many errors are.
    fn compare(&self, current: &JointSketch) -> Result<JointEvidence, JointError> {
        current.check(SketchOf::Reconstruction, 2)?;
        let rows = current.check_rows(1)?;
        let unseen = &self.errors_unseen;
        let (own, expected) = (self.errors.mean().unwrap_or(0.0), unseen.mean().unwrap_or(0.0));
        let now = current.sums.first().copied().unwrap_or(0.0) / rows;
        let variance = unseen.variance().unwrap_or(0.0) * (1.0 / rows + 1.0 / unseen.n.max(1) as f64);
        let standard_error = variance.sqrt().max(ROUNDING);
        let score = (now - own.max(expected)).max(own.min(expected) - now).max(0.0);
        Ok(JointEvidence { score, standard_error, p_value: two_sided(score / standard_error) })
    }
}

/// What axes are fitted to rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fitted {
    centre: Vec<f64>,
    axes: Vec<Vec<f64>>,
}

impl Fitted {
    fn to<'a>(rows: impl Iterator<Item = &'a [f64]> + Clone, width: usize) -> Self {
        let centre = centre_of(rows.clone(), width);
        let axes = axes_of(rows, &centre);
        Self { centre, axes }
    }

    /// The moments of the rows' errors.
    fn errors<'a>(&self, rows: impl Iterator<Item = &'a [f64]>) -> Moments {
        let mut errors = Moments::default();
        rows.for_each(|row| errors.observe(self.error_of(row), 1));
        errors
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

fn centre_of<'a>(rows: impl Iterator<Item = &'a [f64]>, width: usize) -> Vec<f64> {
    let (mut centre, mut count) = (vec![0.0; width], 0_usize);
    for row in rows {
        count += 1;
        centre.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    centre.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
    centre
}

/// The axes with the largest variances, as many as pass the explained share.
fn axes_of<'a>(rows: impl Iterator<Item = &'a [f64]>, centre: &[f64]) -> Vec<Vec<f64>> {
    let (mut covariance, mut count) = (Symmetric::zero(centre.len()), 0_usize);
    for row in rows {
        count += 1;
        let deviations: Vec<f64> = row.iter().zip(centre).map(|(value, centre)| value - centre).collect();
        covariance.add_outer(&deviations, 1.0);
    }
    covariance.scale(1.0 / count.max(1) as f64);
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
