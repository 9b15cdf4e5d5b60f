//! Quality of a model that predicts a number: power sums of its errors and of the labels.

use super::Sign;
use super::estimates::{Metrics, combine_moments, mean};
use super::outcomes::{Exclusions, NumberRow};
use crate::moments::Moments;
use crate::verdict::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Below this share of `Σy²` the spread of the labels is lost in the rounding of their sums.
const LEAST_SPREAD: f64 = 1e-10;

/// Sums over the labelled rows of a regression; an error is prediction less label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RegressionQuality {
    labelled: i64,
    exclusions: Exclusions,
    errors: Moments,
    absolute_errors: Moments,
    squared_errors: Moments,
    /// Labels of the rows that have a prediction too.
    labels: Moments,
}

impl RegressionQuality {
    pub(super) fn observe(&mut self, row: &NumberRow) {
        self.exclusions.count_numbers(row);
        let Some(label) = row.label.usable() else { return };
        self.labelled += row.sign;
        let Some(prediction) = row.prediction.usable() else { return };
        let error = prediction - label;
        self.errors.observe(error, row.sign);
        self.absolute_errors.observe(error.abs(), row.sign);
        self.squared_errors.observe(error * error, row.sign);
        self.labels.observe(label, row.sign);
    }

    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        self.labelled += sign.factor() * other.labelled;
        self.exclusions.combine(&other.exclusions, sign);
        combine_moments(&mut self.errors, &other.errors, sign);
        combine_moments(&mut self.absolute_errors, &other.absolute_errors, sign);
        combine_moments(&mut self.squared_errors, &other.squared_errors, sign);
        combine_moments(&mut self.labels, &other.labels, sign);
    }

    /// Rows with a finite label.
    pub fn labelled(&self) -> i64 {
        self.labelled
    }

    /// What could not be used, and why.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// The mean absolute error; `None` where nothing was predicted.
    pub fn mean_absolute_error(&self) -> Option<Estimate> {
        mean(&self.absolute_errors)
    }

    /// Every metric that is defined.
    ///
    /// `mae`, `mse`, `rmse`, `mean_error` (prediction less label) with standard errors, that of `rmse` by the delta
    /// method, and `r2 = 1 − Σe² / Σ(y − ȳ)²`. `r2` is absent where all labels are equal, and where their spread is so
    /// small beside their size (a coefficient of variation below 1e-5) that their sums cannot hold it.
    pub fn metrics(&self) -> BTreeMap<String, Estimate> {
        let mut metrics = Metrics::default();
        metrics.put("mae", self.mean_absolute_error());
        metrics.put("mean_error", mean(&self.errors));
        metrics.put("mse", mean(&self.squared_errors));
        metrics.put("rmse", self.root_mean_squared_error());
        metrics.put_value("r2", self.determination());
        metrics.into_map()
    }

    fn root_mean_squared_error(&self) -> Option<Estimate> {
        let Estimate { value: mse, standard_error } = mean(&self.squared_errors)?;
        // Corrections may leave a rounding error below zero.
        let value = mse.max(0.0).sqrt();
        Some(Estimate { value, standard_error: standard_error.map(|error| error / (2.0 * value)) })
    }

    fn determination(&self) -> Option<f64> {
        let spread = self.labels.variance()? * self.labels.n as f64;
        (spread > LEAST_SPREAD * self.labels.sum_sq).then(|| 1.0 - self.squared_errors.sum / spread)
    }
}
