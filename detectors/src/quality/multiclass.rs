//! Quality of a classifier of several classes: the confusion matrix, the losses and one histogram per class against the
//! rest.

use super::estimates::{Metrics, Together, combine_moments, log_loss, mean, plain, ratio, share};
use super::outcomes::{ClassRow, Exclusions};
use super::score_histogram::Truth;
use super::{ScoreHistogram, Sign};
use crate::moments::Moments;
use crate::verdict::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sums over the labelled rows of a classifier of several classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MulticlassQuality {
    labelled: i64,
    exclusions: Exclusions,
    /// Rows by `label · classes + prediction`; of many classes most cells are empty.
    cells: BTreeMap<u32, i64>,
    brier: Moments,
    log_loss: Moments,
    /// For each class its score, the class against the rest.
    scores: Vec<ScoreHistogram>,
}

/// One class's margins of the confusion matrix.
#[derive(Debug, Clone, Copy, Default)]
struct ClassCounts {
    right: i64,
    labels: i64,
    predictions: i64,
}

/// What is averaged over the classes.
type ClassRatio = fn(&ClassCounts) -> Estimate;

impl MulticlassQuality {
    pub(super) fn empty(classes: usize) -> Self {
        Self {
            labelled: 0,
            exclusions: Exclusions::default(),
            cells: BTreeMap::new(),
            brier: Moments::default(),
            log_loss: Moments::default(),
            scores: vec![ScoreHistogram::default(); classes],
        }
    }

    pub(super) fn observe(&mut self, row: &ClassRow<'_>) {
        self.exclusions.count_classes(row);
        let Some(label) = row.label.usable() else { return };
        self.labelled += row.sign;
        if let Some(prediction) = row.prediction.usable() {
            self.add_cell(u32::from(label) * self.scores.len() as u32 + u32::from(prediction), row.sign);
        }
        if let Some(scores) = row.scores.usable() {
            self.observe_scores(scores, label, row.sign);
        }
    }

    fn observe_scores(&mut self, scores: &[f64], label: u16, sign: i64) {
        let Some(loss) = log_loss(label, scores) else { return };
        self.log_loss.observe(loss, sign);
        let mut brier = 0.0;
        for (class, (score, histogram)) in scores.iter().zip(&mut self.scores).enumerate() {
            let (truth, outcome) =
                if class == usize::from(label) { (Truth::Positive, 1.0) } else { (Truth::Negative, 0.0) };
            histogram.observe(*score, truth, sign);
            brier += (score - outcome).powi(2);
        }
        self.brier.observe(brier, sign);
    }

    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        self.labelled += sign.factor() * other.labelled;
        self.exclusions.combine(&other.exclusions, sign);
        for (cell, rows) in &other.cells {
            self.add_cell(*cell, sign.factor() * rows);
        }
        combine_moments(&mut self.brier, &other.brier, sign);
        combine_moments(&mut self.log_loss, &other.log_loss, sign);
        for (histogram, other) in self.scores.iter_mut().zip(&other.scores) {
            histogram.combine(other, sign);
        }
    }

    /// Cells that become empty are dropped, so that equal contents are equal values.
    fn add_cell(&mut self, cell: u32, rows: i64) {
        let held = self.cells.entry(cell).or_default();
        *held += rows;
        if *held == 0 {
            self.cells.remove(&cell);
        }
    }

    /// Rows with a label of a class of the task.
    pub fn labelled(&self) -> i64 {
        self.labelled
    }

    /// What could not be used, and why.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// How many classes the task has.
    pub fn classes(&self) -> usize {
        self.scores.len()
    }

    /// Rows with this label and prediction, by place among the task's classes.
    pub fn cell(&self, label: u16, prediction: u16) -> i64 {
        let cell = u32::from(label) * self.scores.len() as u32 + u32::from(prediction);
        self.cells.get(&cell).copied().unwrap_or(0)
    }

    /// The share of right predictions; `None` where nothing was predicted.
    pub fn accuracy(&self) -> Option<Estimate> {
        let classes = self.class_counts();
        share(classes.iter().map(|class| class.right).sum(), classes.iter().map(|class| class.labels).sum())
    }

    /// Every metric that is defined.
    ///
    /// `accuracy`; `macro_precision`, `macro_recall` and `macro_f1`, means over the classes that occur among the labels
    /// or the predictions; `weighted_precision`, `weighted_recall` and `weighted_f1`, weighted by the labels of each
    /// class. A class never predicted has precision 0 and one never labelled has recall 0, as scikit-learn has it.
    /// `log_loss` (natural logarithm, clipped at 1e-15), `brier` (summed over the classes, so from 0 to 2), `roc_auc`
    /// (each class against the rest, mean over the classes for which it is defined) with `roc_auc_bound`.
    ///
    /// Standard errors of means over classes: those of recall and of precision add as of independent shares, which they
    /// are at the numbers of labels, or of predictions, that there were; of F1 and AUC, where one row counts in several
    /// classes, the errors are taken to go together, which errs to the safe side.
    pub fn metrics(&self) -> BTreeMap<String, Estimate> {
        let mut metrics = Metrics::default();
        metrics.put("accuracy", self.accuracy());
        self.put_class_means(&mut metrics);
        metrics.put("brier", mean(&self.brier));
        metrics.put("log_loss", mean(&self.log_loss));
        metrics.put("roc_auc", self.mean_roc_auc());
        metrics.put_value("roc_auc_bound", average(self.scores.iter().filter_map(ScoreHistogram::roc_auc_bound)));
        metrics.into_map()
    }

    fn put_class_means(&self, metrics: &mut Metrics) {
        let classes: Vec<_> = self.class_counts().into_iter().filter(ClassCounts::occurs).collect();
        let labels: i64 = classes.iter().map(|class| class.labels).sum();
        let precision: ClassRatio = ClassCounts::precision;
        let ratios = [
            ("precision", precision, Together::Independent),
            ("recall", ClassCounts::recall, Together::Independent),
            ("f1", ClassCounts::f1, Together::Same),
        ];
        for (name, of, together) in ratios {
            let even = classes.iter().map(|class| (1.0 / classes.len() as f64, of(class)));
            metrics.put(&format!("macro_{name}"), together.mean(even));
            let weighted =
                classes.iter().filter_map(|class| Some((ratio(class.labels as f64, labels as f64)?, of(class))));
            metrics.put(&format!("weighted_{name}"), together.mean(weighted));
        }
    }

    fn mean_roc_auc(&self) -> Option<Estimate> {
        let aucs: Vec<Estimate> = self.scores.iter().filter_map(ScoreHistogram::roc_auc).collect();
        Together::Same.mean(aucs.iter().map(|auc| (1.0 / aucs.len() as f64, *auc)))
    }

    fn class_counts(&self) -> Vec<ClassCounts> {
        let mut classes = vec![ClassCounts::default(); self.scores.len()];
        let width = self.scores.len().max(1);
        for (cell, rows) in &self.cells {
            let (label, prediction) = (*cell as usize / width, *cell as usize % width);
            if let Some(class) = classes.get_mut(label) {
                class.labels += rows;
                class.right += if label == prediction { *rows } else { 0 };
            }
            if let Some(class) = classes.get_mut(prediction) {
                class.predictions += rows;
            }
        }
        classes
    }
}

impl ClassCounts {
    fn occurs(&self) -> bool {
        self.labels + self.predictions > 0
    }

    fn precision(&self) -> Estimate {
        share(self.right, self.predictions).unwrap_or(plain(0.0))
    }

    fn recall(&self) -> Estimate {
        share(self.right, self.labels).unwrap_or(plain(0.0))
    }

    /// `F1 = 2q/(1 + q)` with `q` the share of right ones among the rows that have the class as label or prediction;
    /// its error follows by the delta method.
    fn f1(&self) -> Estimate {
        let relevant = self.labels + self.predictions - self.right;
        let Some(q) = share(self.right, relevant) else { return plain(0.0) };
        let slope = 2.0 / (1.0 + q.value).powi(2);
        Estimate { value: 2.0 * q.value / (1.0 + q.value), standard_error: q.standard_error.map(|error| slope * error) }
    }
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    ratio(sum, n)
}
