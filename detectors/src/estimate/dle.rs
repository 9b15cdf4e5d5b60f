//! Direct loss estimation: a regression's expected losses, learned on the reference as a function of its prediction.
//!
//! The regressor is a step function over the prediction's own bins, joined until each step stands on enough rows. So an
//! estimate needs the prediction's profile only, which adds up, and each step's mean has a known error. It sees quality
//! change because the predictions move, as they do when inputs move; it cannot see inputs that change the error and
//! leave the prediction where it was. For that see [`super::LossTree`], which needs rows to count.

use super::NotEstimable;
use crate::layout::BinEdges;
use crate::moments::Moments;
use crate::profile::NumericProfile;
use crate::verdict::Estimate;
use serde::{Deserialize, Serialize};

/// A step stands on at least so many labelled rows of the reference, if it has them.
const LEAST_ROWS: i64 = 50;
/// There are at most about so many steps.
const STEPS: i64 = 64;
/// Errors beyond this are left out: their fourth powers would be no numbers.
pub(super) const LARGEST_ERROR: f64 = 1e70;

/// Expected losses by prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossModel {
    /// Bins of the prediction's layout.
    bins: usize,
    steps: Vec<Step>,
}

/// The reference's losses in neighbouring bins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Step {
    /// The first bin after it.
    end: usize,
    losses: Losses,
}

/// The losses of some of the reference's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Losses {
    absolute: Moments,
    squared: Moments,
}

impl Losses {
    pub(super) fn rows(&self) -> i64 {
        self.absolute.n
    }

    /// Adds an absolute error of at most [`LARGEST_ERROR`].
    pub(super) fn observe(&mut self, error: f64) {
        self.absolute.observe(error, 1);
        self.squared.observe(error * error, 1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.absolute.merge(&other.absolute);
        self.squared.merge(&other.squared);
    }
}

/// What the losses of a window should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossEstimate {
    /// Mean absolute error.
    pub mae: Estimate,
    /// Mean squared error.
    pub mse: Estimate,
    /// Its root.
    pub rmse: Estimate,
    /// Share of the predictions that lie outside everything in the reference, in [0, 1], where the losses are learned
    /// of predictions. For these they are those of the outermost step, and a guess.
    pub outside: Option<f64>,
}

impl LossModel {
    /// Learns from pairs of prediction and label; a pair that is not finite is left out. `bins` are those of the
    /// prediction's column.
    ///
    /// # Errors
    /// When there is no usable pair.
    pub fn learn(bins: &BinEdges, pairs: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, NotEstimable> {
        let mut of_bins = vec![Step::default(); bins.bins()];
        let inner = bins.edges().get(1..bins.bins()).unwrap_or_default();
        for (prediction, label) in pairs {
            let error = (prediction - label).abs();
            if prediction.is_finite() && error <= LARGEST_ERROR {
                let place = inner.partition_point(|edge| *edge <= prediction);
                if let Some(step) = of_bins.get_mut(place) {
                    step.losses.observe(error);
                }
            }
        }
        let rows: i64 = of_bins.iter().map(|step| step.losses.rows()).sum();
        if rows == 0 {
            return Err(NotEstimable::EmptyReference);
        }
        Ok(Self { bins: bins.bins(), steps: joined(&of_bins, LEAST_ROWS.max(rows / STEPS)) })
    }

    /// Estimates the losses of a window from the profile of its predictions.
    ///
    /// # Formula
    /// `Σ_s n_s·m_s / n` with `n_s` the window's rows and `m_s` the reference's mean loss in step `s`. The variance is
    /// `Σ_s n_s·v_s / n² + Σ_s (n_s/n)²·v_s/N_s`: how losses scatter about the step's mean in the window, and the error
    /// of that mean, learned from `N_s` rows. The error of the root follows by the delta method.
    ///
    /// # Errors
    /// When the profile is of other bins, or holds no finite prediction.
    pub fn estimate(&self, predictions: &NumericProfile) -> Result<LossEstimate, NotEstimable> {
        let fine = predictions.fine();
        if fine.len() != self.bins {
            return Err(NotEstimable::Layout { expected: self.bins, found: fine.len() });
        }
        let rows = predictions.finite();
        if rows <= 0 {
            return Err(NotEstimable::EmptyWindow);
        }
        let mut counts = Vec::with_capacity(self.steps.len());
        let mut start = 0;
        for step in &self.steps {
            counts.push(fine.get(start..step.end).unwrap_or_default().iter().sum::<i64>() as f64);
            start = step.end;
        }
        if let Some(first) = counts.first_mut() {
            *first += predictions.below() as f64;
        }
        if let Some(last) = counts.last_mut() {
            *last += predictions.above() as f64;
        }
        let outside = (predictions.below() + predictions.above()) as f64 / rows as f64;
        let losses = self.steps.iter().map(|step| &step.losses);
        Ok(LossEstimate { outside: Some(outside), ..expected_losses(losses.zip(counts)) })
    }
}

/// The formula of [`LossModel::estimate`], of losses and how many of the window's rows have them.
pub(super) fn expected_losses<'a>(weighted: impl Iterator<Item = (&'a Losses, f64)> + Clone) -> LossEstimate {
    let rows: f64 = weighted.clone().map(|(_, count)| count).sum();
    let mean_of = |loss: fn(&Losses) -> &Moments| {
        let (mut value, mut variance) = (0.0, 0.0);
        for (losses, count) in weighted.clone() {
            let loss = loss(losses);
            let share = count / rows;
            let spread = loss.variance().unwrap_or(0.0);
            value += share * loss.mean().unwrap_or(0.0);
            variance += share * spread / rows + share * share * spread / loss.n.max(1) as f64;
        }
        Estimate { value, standard_error: Some(variance.sqrt()) }
    };
    let mse = mean_of(|losses| &losses.squared);
    LossEstimate { mae: mean_of(|losses| &losses.absolute), mse, rmse: root(mse), outside: None }
}

/// Joins neighbouring bins into steps of at least so many rows; what is left over at the end joins the last step.
fn joined(of_bins: &[Step], least: i64) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = Step::default();
    for (place, bin) in of_bins.iter().enumerate() {
        open.end = place + 1;
        open.losses.merge(&bin.losses);
        if open.losses.rows() >= least {
            steps.push(std::mem::take(&mut open));
        }
    }
    match steps.last_mut() {
        None => steps.push(open),
        Some(last) => {
            last.end = of_bins.len();
            last.losses.merge(&open.losses);
        }
    }
    steps
}

fn root(mse: Estimate) -> Estimate {
    let value = mse.value.sqrt();
    let slope = if value > 0.0 { 1.0 / (2.0 * value) } else { 0.0 };
    Estimate { value, standard_error: mse.standard_error.map(|error| slope * error) }
}
