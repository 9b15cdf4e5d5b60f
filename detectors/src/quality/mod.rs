//! How right a model was: labelled quality of one window, pane or segment.
//!
//! A [`Quality`] is a set of sums. Rows are added with a sign, so that a corrected label takes its old row back and
//! adds the new one, and two qualities of the same task merge in any order. Counts are integers and merge to the same
//! bits; sums of losses are floats and merge up to rounding. A quality that holds only corrections may have negative
//! counts; it becomes meaningful once merged with the rows that it corrects.
//!
//! A row gives what it can: one without a usable score still counts in the confusion cells, one without a usable
//! prediction still counts in the score histogram. Everything that could not be used is counted in [`Exclusions`].
//!
//! What is deliberately absent: thresholds and judgements, which are the panel's, and raw rows.

mod binary;
mod error;
pub(crate) mod estimates;
mod multiclass;
mod outcomes;
mod ranking;
mod regression;
pub(crate) mod score_histogram;
mod steps;

pub use binary::BinaryQuality;
pub use error::QualityError;
pub use multiclass::MulticlassQuality;
pub use outcomes::{Exclusions, Outcomes};
pub use ranking::{SegmentLoss, SegmentQuality, rank_by_loss};
pub use regression::RegressionQuality;
pub use score_histogram::ScoreHistogram;
pub use steps::observe_steps;

use crate::schema::Task;
use crate::verdict::Estimate;
use outcomes::{ClassColumns, NumberColumns};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sums over the labelled rows of a model, from which its metrics follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Of a classifier of two classes.
    Binary(BinaryQuality),
    /// Of a classifier of several classes.
    Multiclass(MulticlassQuality),
    /// Of a model that predicts a number.
    Regression(RegressionQuality),
}

/// The one metric by which a window is first judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// Its name among [`Quality::metrics`].
    pub name: &'static str,
    /// Its value.
    pub value: Estimate,
    /// Which way is better.
    pub direction: MetricDirection,
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricDirection {
    /// As accuracy does.
    HigherIsBetter,
    /// As an error does.
    LowerIsBetter,
}

/// Whether sums are added or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Add,
    Subtract,
}

impl Sign {
    fn factor(self) -> i64 {
        match self {
            Self::Add => 1,
            Self::Subtract => -1,
        }
    }
}

impl Quality {
    /// The metric that counts labels of no class, or not finite.
    pub const INVALID_LABELS: &'static str = "invalid_labels";
    /// The metric that counts predictions of no class, or not finite.
    pub const INVALID_PREDICTIONS: &'static str = "invalid_predictions";
    /// The metric that counts labelled rows without a prediction.
    pub const MISSING_PREDICTIONS: &'static str = "missing_predictions";

    /// The quality of no rows.
    pub fn empty(task: &Task) -> Self {
        match task {
            Task::Binary { .. } => Self::Binary(BinaryQuality::default()),
            Task::Multiclass { classes } => Self::Multiclass(MulticlassQuality::empty(classes.len())),
            Task::Regression => Self::Regression(RegressionQuality::default()),
        }
    }

    /// Adds every row to this quality.
    ///
    /// # Errors
    /// As [`Quality::observe_groups`].
    pub fn observe(&mut self, outcomes: &Outcomes<'_>) -> Result<(), QualityError> {
        Self::observe_groups(std::slice::from_mut(self), &vec![0; outcomes.rows()], outcomes)
    }

    /// Adds each row to the quality of its group; `groups[row]` is the group's place in `qualities`.
    ///
    /// # Errors
    /// When columns differ in length or hold the wrong type, when a group does not exist, or when a quality is not one
    /// of the outcomes' task. On an error some rows may have been added: drop the qualities.
    pub fn observe_groups(
        qualities: &mut [Self],
        groups: &[usize],
        outcomes: &Outcomes<'_>,
    ) -> Result<(), QualityError> {
        outcomes.check_groups(groups)?;
        if let Task::Regression = outcomes.task {
            let columns = NumberColumns::decode(outcomes)?;
            for (row, group) in groups.iter().enumerate() {
                match group_of(qualities, *group)? {
                    Self::Regression(quality) => quality.observe(&columns.row(row)),
                    other => return Err(other.differs_from(outcomes.task)),
                }
            }
            return Ok(());
        }
        let columns = ClassColumns::decode(outcomes)?;
        for (row, group) in groups.iter().enumerate() {
            match (group_of(qualities, *group)?, outcomes.task) {
                (Self::Binary(quality), Task::Binary { .. }) => quality.observe(&columns.row(row)),
                (Self::Multiclass(quality), Task::Multiclass { classes }) if quality.classes() == classes.len() => {
                    quality.observe(&columns.row(row));
                }
                (other, task) => return Err(other.differs_from(task)),
            }
        }
        Ok(())
    }

    /// Adds the other's rows to these.
    ///
    /// # Errors
    /// When the two are of different tasks, or of different numbers of classes.
    pub fn merge(&mut self, other: &Self) -> Result<(), QualityError> {
        self.combine(other, Sign::Add)
    }

    /// Takes the other's rows out of these, as a reference does to leave one of its windows out.
    ///
    /// # Errors
    /// When the two are of different tasks, or of different numbers of classes.
    pub fn subtract(&mut self, other: &Self) -> Result<(), QualityError> {
        self.combine(other, Sign::Subtract)
    }

    /// Rows whose label could be used: not null, and a class of the task or a finite number.
    pub fn labelled(&self) -> i64 {
        match self {
            Self::Binary(quality) => quality.labelled(),
            Self::Multiclass(quality) => quality.labelled(),
            Self::Regression(quality) => quality.labelled(),
        }
    }

    /// What could not be used, and why.
    pub fn exclusions(&self) -> &Exclusions {
        match self {
            Self::Binary(quality) => quality.exclusions(),
            Self::Multiclass(quality) => quality.exclusions(),
            Self::Regression(quality) => quality.exclusions(),
        }
    }

    /// Every metric that is defined for these rows, by name; an undefined one is absent, never NaN.
    ///
    /// The names and formulas are those of [`BinaryQuality::metrics`], [`MulticlassQuality::metrics`] and
    /// [`RegressionQuality::metrics`].
    ///
    /// Where rows could not be used there are counts of them beside: `invalid_labels`, `invalid_predictions` (of no class, or
    /// not finite) and `missing_predictions`.
    pub fn metrics(&self) -> BTreeMap<String, Estimate> {
        let mut metrics = match self {
            Self::Binary(quality) => quality.metrics(),
            Self::Multiclass(quality) => quality.metrics(),
            Self::Regression(quality) => quality.metrics(),
        };
        let Exclusions { invalid_label, invalid_prediction, null_prediction, .. } = *self.exclusions();
        let counts = [
            (Self::INVALID_LABELS, invalid_label),
            (Self::INVALID_PREDICTIONS, invalid_prediction),
            (Self::MISSING_PREDICTIONS, null_prediction),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            metrics.insert(name.to_owned(), estimates::plain(count as f64));
        }
        metrics
    }

    /// Accuracy of a classifier, mean absolute error of a regression; `None` where no row has both label and
    /// prediction.
    pub fn headline(&self) -> Option<Headline> {
        use MetricDirection::{HigherIsBetter, LowerIsBetter};
        let (name, value, direction) = match self {
            Self::Binary(quality) => ("accuracy", quality.accuracy(), HigherIsBetter),
            Self::Multiclass(quality) => ("accuracy", quality.accuracy(), HigherIsBetter),
            Self::Regression(quality) => ("mae", quality.mean_absolute_error(), LowerIsBetter),
        };
        // Sums of absurd values overflow, and what is no number is no headline.
        value.filter(|value| value.value.is_finite()).map(|value| Headline { name, value, direction })
    }

    fn combine(&mut self, other: &Self, sign: Sign) -> Result<(), QualityError> {
        match (self, other) {
            (Self::Binary(left), Self::Binary(right)) => left.combine(right, sign),
            (Self::Regression(left), Self::Regression(right)) => left.combine(right, sign),
            (Self::Multiclass(left), Self::Multiclass(right)) if left.classes() == right.classes() => {
                left.combine(right, sign);
            }
            (left, right) => {
                return Err(QualityError::DifferentTask { held: left.describe(), given: right.describe() });
            }
        }
        Ok(())
    }

    fn differs_from(&self, task: &Task) -> QualityError {
        QualityError::DifferentTask { held: self.describe(), given: Self::empty(task).describe() }
    }

    fn describe(&self) -> String {
        match self {
            Self::Binary(_) => "binary".to_owned(),
            Self::Multiclass(quality) => format!("multiclass of {} classes", quality.classes()),
            Self::Regression(_) => "regression".to_owned(),
        }
    }
}

fn group_of(qualities: &mut [Quality], group: usize) -> Result<&mut Quality, QualityError> {
    let groups = qualities.len();
    qualities.get_mut(group).ok_or(QualityError::NoSuchGroup { group, groups })
}

#[cfg(test)]
mod tests;
