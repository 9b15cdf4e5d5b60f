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
    /// `|error / label|` of the rows whose label is not zero. What older versions stored ends before this.
    #[serde(default)]
    relative_errors: Moments,
    /// `(ln(1 + prediction) − ln(1 + label))²` of the rows where neither is negative.
    #[serde(default)]
    squared_log_errors: Moments,
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
        if label != 0.0 {
            self.relative_errors.observe((error / label).abs(), row.sign);
        }
        if label >= 0.0 && prediction >= 0.0 {
            self.squared_log_errors.observe((prediction.ln_1p() - label.ln_1p()).powi(2), row.sign);
        }
    }

    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        self.labelled += sign.factor() * other.labelled;
        self.exclusions.combine(&other.exclusions, sign);
        combine_moments(&mut self.errors, &other.errors, sign);
        combine_moments(&mut self.absolute_errors, &other.absolute_errors, sign);
        combine_moments(&mut self.squared_errors, &other.squared_errors, sign);
        combine_moments(&mut self.labels, &other.labels, sign);
        combine_moments(&mut self.relative_errors, &other.relative_errors, sign);
        combine_moments(&mut self.squared_log_errors, &other.squared_log_errors, sign);
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
    /// small beside their size (a coefficient of variation below 1e-5) that their sums cannot hold it. `mape` is the
    /// mean of `|e / y|`, absent where a label is zero; `rmsle` the root of the mean of `(ln(1 + ŷ) − ln(1 + y))²`,
    /// absent where a label or prediction is negative. A mean over the other rows would be of another population.
    pub fn metrics(&self) -> BTreeMap<String, Estimate> {
        let mut metrics = Metrics::default();
        metrics.put("mae", self.mean_absolute_error());
        metrics.put("mean_error", mean(&self.errors));
        metrics.put("mse", mean(&self.squared_errors));
        metrics.put("rmse", root(mean(&self.squared_errors)));
        metrics.put("mape", mean(&self.relative_errors).filter(|_| self.relative_errors.n == self.labels.n));
        let of_all = mean(&self.squared_log_errors).filter(|_| self.squared_log_errors.n == self.labels.n);
        metrics.put("rmsle", root(of_all));
        metrics.put_value("r2", self.determination());
        metrics.into_map()
    }

    fn determination(&self) -> Option<f64> {
        let spread = self.labels.variance()? * self.labels.n as f64;
        (spread > LEAST_SPREAD * self.labels.sum_sq).then(|| 1.0 - self.squared_errors.sum / spread)
    }
}

/// The root of an estimate, by the delta method; that of zero has no error that could be told.
fn root(estimate: Option<Estimate>) -> Option<Estimate> {
    let Estimate { value, standard_error } = estimate?;
    // Corrections may leave a rounding error below zero.
    let value = value.max(0.0).sqrt();
    Some(Estimate { value, standard_error: standard_error.map(|error| error / (2.0 * value)) })
}
