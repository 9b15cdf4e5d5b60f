//! How right a model was, as counts of right and wrong answers: the least that the panel needs.

use crate::schema::Task;
use crate::verdict::Estimate;
use arrow::array::{Array, ArrayRef, AsArray, Int8Array};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Right and wrong answers of a classifier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryQuality {
    right: i64,
    wrong: i64,
}

/// Sums over the labelled rows of a model, from which its metrics follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Quality {
    /// Of a classifier.
    Binary(BinaryQuality),
}

/// Two qualities that do not belong together.
#[derive(Debug, Error)]
#[error("qualities of different tasks do not merge")]
pub struct QualityError;

/// Labelled rows.
#[derive(Debug, Clone, Copy)]
pub struct Outcomes<'a> {
    /// What the model predicts.
    pub task: &'a Task,
    /// The model's answers.
    pub prediction: &'a ArrayRef,
    /// Its scores.
    pub scores: &'a [ArrayRef],
    /// What was right.
    pub label: &'a ArrayRef,
    /// +1 adds a row, -1 takes it back.
    pub sign: &'a Int8Array,
}

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricDirection {
    /// As accuracy does.
    HigherIsBetter,
    /// As an error does.
    LowerIsBetter,
}

/// The one metric by which a window is first judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Headline {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Estimate,
    /// Which way is better.
    pub direction: MetricDirection,
}

impl Quality {
    /// The quality of no rows.
    pub fn empty(_task: &Task) -> Self {
        Self::Binary(BinaryQuality::default())
    }

    /// Adds every row.
    ///
    /// # Errors
    /// Never.
    pub fn observe(&mut self, outcomes: &Outcomes<'_>) -> Result<(), QualityError> {
        let Self::Binary(quality) = self;
        let (predictions, labels) = (outcomes.prediction.as_string::<i32>(), outcomes.label.as_string::<i32>());
        for row in 0..labels.len() {
            let sign = i64::from(outcomes.sign.value(row));
            *(if predictions.value(row) == labels.value(row) { &mut quality.right } else { &mut quality.wrong }) +=
                sign;
        }
        Ok(())
    }

    /// Adds the other's rows.
    ///
    /// # Errors
    /// Never.
    pub fn merge(&mut self, other: &Self) -> Result<(), QualityError> {
        let (Self::Binary(mine), Self::Binary(theirs)) = (self, other);
        mine.right += theirs.right;
        mine.wrong += theirs.wrong;
        Ok(())
    }

    /// Takes the other's rows out.
    ///
    /// # Errors
    /// Never.
    pub fn subtract(&mut self, other: &Self) -> Result<(), QualityError> {
        let (Self::Binary(mine), Self::Binary(theirs)) = (self, other);
        mine.right -= theirs.right;
        mine.wrong -= theirs.wrong;
        Ok(())
    }

    /// Rows with a label.
    pub fn labelled(&self) -> i64 {
        let Self::Binary(quality) = self;
        quality.right + quality.wrong
    }

    /// Accuracy.
    pub fn headline(&self) -> Option<Headline> {
        let Self::Binary(quality) = self;
        let n = self.labelled();
        (n > 0).then(|| {
            let value = quality.right as f64 / n as f64;
            let standard_error = Some((value * (1.0 - value) / n as f64).sqrt());
            let value = Estimate { value, standard_error };
            Headline { name: "accuracy", value, direction: MetricDirection::HigherIsBetter }
        })
    }
}
