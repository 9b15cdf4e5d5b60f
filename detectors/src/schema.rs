//! What a model takes and gives: its columns, their kinds and roles, and its task.
//!
//! A schema is the agreement between the events, the profiles and the trainers. It names columns in one order, and every
//! profile, reference and training set keeps that order.

use crate::spelling;
use serde::{Deserialize, Serialize};

/// What a column holds, which decides how it is profiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Floating-point or whole numbers, profiled in bins.
    Numeric,
    /// Strings or booleans, profiled by category.
    Categorical,
}

/// What a column is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An input.
    Feature,
    /// The answer: a class or a number.
    Prediction,
    /// The probability the model gave a class.
    Score,
}

/// One column of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnSchema {
    /// Its name in the events; `prediction` and `score…` for the model's outputs.
    pub name: String,
    /// What it is to the model.
    pub role: Role,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What the model predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Task {
    /// One of two classes; the score is the probability of `positive`.
    Binary {
        /// The class that precision, recall and the score speak of.
        positive: String,
        /// The other one.
        negative: String,
    },
    /// One of several classes; the score is a probability for each.
    Multiclass {
        /// Every class, in the order of the score columns.
        classes: Vec<String>,
    },
    /// A number.
    Regression,
}

impl Task {
    /// The classes in canonical order (negative first for a binary task); empty for regression.
    pub fn classes(&self) -> Vec<&str> {
        match self {
            Self::Binary { positive, negative } => vec![negative, positive],
            Self::Multiclass { classes } => classes.iter().map(String::as_str).collect(),
            Self::Regression => Vec::new(),
        }
    }

    /// The class that a text names: the one of that name, or else the one that is spelled alike, as `1.0` is `1`, or is the
    /// same number.
    pub fn class_named(&self, text: &str) -> Option<&str> {
        let (classes, spelling) = (self.classes(), spelling::of_text(text.trim()));
        let same_name = classes.iter().find(|class| **class == text);
        let same_spelling = || classes.iter().find(|class| spelling::of_text(class) == spelling);
        let same_number = || {
            let number: f64 = spelling.parse().ok()?;
            classes.iter().find(|class| class.parse() == Ok(number))
        };
        same_name.or_else(same_spelling).or_else(same_number).copied()
    }

    /// What the prediction and label columns hold.
    pub fn outcome_kind(&self) -> ColumnKind {
        match self {
            Self::Regression => ColumnKind::Numeric,
            _ => ColumnKind::Categorical,
        }
    }

    /// Names of the score columns: `score` for a binary task, `score.<class>` for each class of several, none for
    /// regression.
    pub fn score_columns(&self) -> Vec<String> {
        match self {
            Self::Binary { .. } => vec!["score".to_owned()],
            Self::Multiclass { classes } => classes.iter().map(|class| format!("score.{class}")).collect(),
            Self::Regression => Vec::new(),
        }
    }
}

/// The name of the prediction column everywhere.
pub const PREDICTION: &str = "prediction";

/// The columns of one model, features first, then the prediction, then the scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSchema {
    /// Every profiled column in canonical order.
    pub columns: Vec<ColumnSchema>,
    /// What the model predicts.
    pub task: Task,
}

impl ModelSchema {
    /// The schema of a model with these features and this task; the output columns follow from the task.
    pub fn new(features: impl IntoIterator<Item = (String, ColumnKind)>, task: Task) -> Self {
        let features = features.into_iter().map(|(name, kind)| ColumnSchema { name, role: Role::Feature, kind });
        let prediction =
            ColumnSchema { name: PREDICTION.to_owned(), role: Role::Prediction, kind: task.outcome_kind() };
        let scores = task.score_columns().into_iter().map(|name| ColumnSchema {
            name,
            role: Role::Score,
            kind: ColumnKind::Numeric,
        });
        let columns = features.chain([prediction]).chain(scores).collect();
        Self { columns, task }
    }

    /// The inputs, in order.
    pub fn features(&self) -> impl Iterator<Item = &ColumnSchema> {
        self.columns.iter().filter(|column| column.role == Role::Feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_named_by_its_text_or_by_its_number() {
        let numbered = Task::Binary { positive: "1".into(), negative: "0".into() };
        assert_eq!(
            ["1", "1.0", "0.00", " 1", "2", "yes", "NaN"].map(|text| numbered.class_named(text)),
            [Some("1"), Some("1"), Some("0"), Some("1"), None, None, None]
        );
        let named = Task::Multiclass { classes: vec!["1.0".into(), "1".into(), "a".into()] };
        assert_eq!(
            ["1", "1.0", "a", "A"].map(|text| named.class_named(text)),
            [Some("1"), Some("1.0"), Some("a"), None]
        );
        assert_eq!(Task::Regression.class_named("1"), None);
        let named = Task::Binary { positive: "true".into(), negative: "false".into() };
        assert_eq!(["True", "FALSE", "1"].map(|text| named.class_named(text)), [Some("true"), Some("false"), None]);
    }
}
