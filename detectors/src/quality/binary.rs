//! Quality of a classifier of two classes: the four cells, the losses and the score histogram.

use super::estimates::{Metrics, combine_moments, jackknife, log_loss, mean, plain, ratio, share};
use super::outcomes::{ClassRow, Exclusions};
use super::score_histogram::Truth;
use super::{ScoreHistogram, Sign};
use crate::moments::Moments;
use crate::verdict::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The positive class's place among the task's classes.
const POSITIVE: u16 = 1;

/// Sums over the labelled rows of a binary classifier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BinaryQuality {
    labelled: i64,
    exclusions: Exclusions,
    cells: Cells,
    brier: Moments,
    log_loss: Moments,
    scores: ScoreHistogram,
}

/// The confusion matrix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cells {
    true_negatives: i64,
    false_positives: i64,
    false_negatives: i64,
    true_positives: i64,
}

impl BinaryQuality {
    pub(super) fn observe(&mut self, row: &ClassRow<'_>) {
        self.exclusions.count_classes(row);
        let Some(label) = row.label.usable() else { return };
        self.labelled += row.sign;
        if let Some(prediction) = row.prediction.usable() {
            *self.cells.of(label, prediction) += row.sign;
        }
        let Some(scores) = row.scores.usable() else { return };
        if let ([score], Some(loss)) = (scores, log_loss(label, scores)) {
            let (truth, outcome) = if label == POSITIVE { (Truth::Positive, 1.0) } else { (Truth::Negative, 0.0) };
            self.brier.observe((score - outcome).powi(2), row.sign);
            self.log_loss.observe(loss, row.sign);
            self.scores.observe(*score, truth, row.sign);
        }
    }

    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        self.labelled += sign.factor() * other.labelled;
        self.exclusions.combine(&other.exclusions, sign);
        self.cells.combine(&other.cells, sign);
        combine_moments(&mut self.brier, &other.brier, sign);
        combine_moments(&mut self.log_loss, &other.log_loss, sign);
        self.scores.combine(&other.scores, sign);
    }

    /// Rows with a label of one of the two classes.
    pub fn labelled(&self) -> i64 {
        self.labelled
    }

    /// What could not be used, and why.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// The scores of positives and negatives.
    pub fn scores(&self) -> &ScoreHistogram {
        &self.scores
    }

    /// The share of right predictions; `None` where nothing was predicted.
    pub fn accuracy(&self) -> Option<Estimate> {
        share(self.cells.true_negatives + self.cells.true_positives, self.cells.total())
    }

    /// Every metric that is defined.
    ///
    /// From the cells: `tn`, `fp`, `fn`, `tp`, `accuracy`, `balanced_accuracy`, `precision`, `recall`, `specificity`,
    /// `f1`, `mcc` (Matthews), `kappa` (Cohen), `positive_rate_pred`, `positive_rate_true`. From the scores: `brier`,
    /// `log_loss` (natural logarithm, probabilities clipped at 1e-15), `roc_auc`, `roc_auc_bound`, `average_precision`,
    /// `ece10`. Shares and means have standard errors, the AUC has DeLong's, `f1`, `mcc` and `kappa` the jackknife's;
    /// counts, bounds and the average precision have none.
    pub fn metrics(&self) -> BTreeMap<String, Estimate> {
        let mut metrics = Metrics::default();
        if self.cells.total() > 0 {
            self.cells.put_metrics(&mut metrics);
        }
        metrics.put("accuracy", self.accuracy());
        metrics.put("brier", mean(&self.brier));
        metrics.put("log_loss", mean(&self.log_loss));
        metrics.put("roc_auc", self.scores.roc_auc());
        metrics.put_value("roc_auc_bound", self.scores.roc_auc_bound());
        metrics.put_value("average_precision", self.scores.average_precision());
        metrics.put("ece10", self.scores.calibration_error());
        metrics.into_map()
    }
}

impl Cells {
    fn of(&mut self, label: u16, prediction: u16) -> &mut i64 {
        match (label == POSITIVE, prediction == POSITIVE) {
            (false, false) => &mut self.true_negatives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (true, true) => &mut self.true_positives,
        }
    }

    fn combine(&mut self, other: &Self, sign: Sign) {
        let factor = sign.factor();
        self.true_negatives += factor * other.true_negatives;
        self.false_positives += factor * other.false_positives;
        self.false_negatives += factor * other.false_negatives;
        self.true_positives += factor * other.true_positives;
    }

    fn total(&self) -> i64 {
        self.true_negatives + self.false_positives + self.false_negatives + self.true_positives
    }

    fn put_metrics(&self, metrics: &mut Metrics) {
        let Self { true_negatives: tn, false_positives: fp, false_negatives: fne, true_positives: tp } = *self;
        for (name, count) in [("tn", tn), ("fp", fp), ("fn", fne), ("tp", tp)] {
            metrics.put(name, Some(plain(count as f64)));
        }
        metrics.put("precision", share(tp, tp + fp));
        metrics.put("recall", share(tp, tp + fne));
        metrics.put("specificity", share(tn, tn + fp));
        metrics.put("balanced_accuracy", self.balanced_accuracy());
        metrics.put("f1", self.with_jackknife(Self::f1));
        metrics.put("mcc", self.with_jackknife(Self::matthews));
        metrics.put("kappa", self.with_jackknife(Self::kappa));
        metrics.put("positive_rate_pred", share(tp + fp, self.total()));
        metrics.put("positive_rate_true", share(tp + fne, self.total()));
    }

    /// A metric of the cells with the jackknife's standard error.
    ///
    /// # Formula
    /// `√((n − 1)/n · Σ c·(f₋ − f̄)²)` over the four cells, with `f₋` the metric when one of the cell's `c` rows is
    /// left out and `f̄` the mean of all `n` of these. It is taken of the cells with one row more in each, for the
    /// reason that shares have (see [`share`]): where all rows are right, the plain error would be zero. Source: Efron
    /// and Stein (1981), *Annals of Statistics* 9.
    fn with_jackknife(&self, metric: fn(&Self) -> Option<f64>) -> Option<Estimate> {
        let value = metric(self)?;
        let one_more = |count: i64| count.max(0) + 1;
        let Self { true_negatives: tn, false_positives: fp, false_negatives: fne, true_positives: tp } = *self;
        let counts = [tn, fp, fne, tp].map(one_more);
        let [true_negatives, false_positives, false_negatives, true_positives] = counts;
        let full = Self { true_negatives, false_positives, false_negatives, true_positives };
        let less = [
            Self { true_negatives: true_negatives - 1, ..full },
            Self { false_positives: false_positives - 1, ..full },
            Self { false_negatives: false_negatives - 1, ..full },
            Self { true_positives: true_positives - 1, ..full },
        ];
        let left_out: Option<Vec<f64>> = less.iter().map(metric).collect();
        Some(Estimate { value, standard_error: left_out.and_then(|left_out| jackknife(&left_out, &counts)) })
    }

    /// `2·tp / (2·tp + fp + fn)`; undefined where nothing is positive, in truth or prediction.
    fn f1(&self) -> Option<f64> {
        let right = 2 * self.true_positives;
        ratio(right as f64, (right + self.false_positives + self.false_negatives) as f64)
    }

    /// The mean of the two classes' recalls; the variances of independent shares add.
    fn balanced_accuracy(&self) -> Option<Estimate> {
        let positive = share(self.true_positives, self.true_positives + self.false_negatives)?;
        let negative = share(self.true_negatives, self.true_negatives + self.false_positives)?;
        let errors = positive.standard_error.zip(negative.standard_error);
        Some(Estimate {
            value: (positive.value + negative.value) / 2.0,
            standard_error: errors.map(|(positive, negative)| positive.hypot(negative) / 2.0),
        })
    }

    /// `(tp·tn − fp·fn) / √((tp+fp)(tp+fn)(tn+fp)(tn+fn))`; undefined where a margin is empty.
    fn matthews(&self) -> Option<f64> {
        let (tn, fp) = (self.true_negatives as f64, self.false_positives as f64);
        let (fne, tp) = (self.false_negatives as f64, self.true_positives as f64);
        let margins = ((tp + fp) * (tp + fne)).sqrt() * ((tn + fp) * (tn + fne)).sqrt();
        ratio(tp * tn - fp * fne, margins)
    }

    /// `(p_o − p_e) / (1 − p_e)`; undefined where labels and predictions are all of one class.
    fn kappa(&self) -> Option<f64> {
        let (tn, fp) = (self.true_negatives as f64, self.false_positives as f64);
        let (fne, tp) = (self.false_negatives as f64, self.true_positives as f64);
        let total = self.total() as f64;
        let by_chance = (tp + fp) * (tp + fne) + (tn + fp) * (tn + fne);
        ratio(total * (tp + tn) - by_chance, total * total - by_chance)
    }
}
