//! What the columns of a file are, beside features: said on the command line, or by the configuration.

use super::EventTime;
use detectors::schema::Task;
use detectors::spelling;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Which columns of a file hold what. Features stand under their own names, or those of `map.features`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileColumns {
    /// Column of the event's id; the row's number without it.
    pub id: Option<String>,
    /// Where the event's time comes from.
    pub time: EventTime,
    /// Column of the label.
    pub label: Option<String>,
    /// Column of the prediction.
    pub prediction: Option<String>,
    /// Columns of the scores.
    pub scores: ScoreColumns,
    /// Dimension and column of each segment that events carry.
    pub segments: Vec<(String, String)>,
}

impl FileColumns {
    /// These columns; what is not said is as `other` has it.
    pub fn or(self, other: &Self) -> Self {
        let has_scores = self.scores != ScoreColumns::None;
        Self {
            id: self.id.or_else(|| other.id.clone()),
            time: match (&self.time, &other.time) {
                (EventTime::Synthetic { .. }, EventTime::Column(column)) => EventTime::Column(column.clone()),
                _ => self.time,
            },
            label: self.label.or_else(|| other.label.clone()),
            prediction: self.prediction.or_else(|| other.prediction.clone()),
            scores: if has_scores { self.scores } else { other.scores.clone() },
            segments: if self.segments.is_empty() { other.segments.clone() } else { self.segments },
        }
    }
}

impl EventTime {
    /// 2020-01-01T00:00:00Z, where rows without times begin unless told.
    pub const DEFAULT_START_MS: i64 = 1_577_836_800_000;
    /// The time between two rows without times unless told.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

    /// Times made of the rows' numbers; what is not given is the default.
    pub fn synthetic(start: Option<SystemTime>, interval: Option<Duration>) -> Self {
        Self::Synthetic {
            start_ms: start.map_or(Self::DEFAULT_START_MS, epoch_millis),
            interval: interval.unwrap_or(Self::DEFAULT_INTERVAL),
        }
    }
}

impl Default for EventTime {
    fn default() -> Self {
        Self::synthetic(None, None)
    }
}

/// Which columns hold scores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ScoreColumns {
    /// None does.
    #[default]
    None,
    /// The probability of a binary task's positive class.
    One(String),
    /// A probability for each class, by class.
    EachClass(BTreeMap<String, String>),
}

/// Scores that cannot be those of the model.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScoreColumnsError {
    /// Another number or kind of columns than the task has scores.
    #[error("{task} has {has}: {remedy}")]
    NotOfTask {
        /// The kind of task.
        task: &'static str,
        /// Which scores it has.
        has: &'static str,
        /// How to name them.
        remedy: &'static str,
    },
    /// A class without a column, or a column for no class.
    #[error("the columns are for the classes {named:?}, the task has {classes:?}: name a column for each")]
    Classes {
        /// Classes that have a column.
        named: Vec<String>,
        /// Classes of the task.
        classes: Vec<String>,
    },
    /// One column without and others with a class.
    #[error("`{column}` has no class, and is not the only score column: write each as CLASS=COLUMN")]
    WithoutClass {
        /// The column.
        column: String,
    },
}

impl ScoreColumns {
    /// Reads `COLUMN`, or `CLASS=COLUMN` for each class.
    ///
    /// # Errors
    /// When one of several has no class.
    pub fn parse(written: &[String]) -> Result<Self, ScoreColumnsError> {
        match written {
            [] => Ok(Self::None),
            [column] if !column.contains('=') => Ok(Self::One(column.clone())),
            several => {
                let pairs = several.iter().map(|text| {
                    let pair = text.split_once('=').map(|(class, column)| (class.to_owned(), column.to_owned()));
                    pair.ok_or_else(|| ScoreColumnsError::WithoutClass { column: text.clone() })
                });
                pairs.collect::<Result<_, _>>().map(Self::EachClass)
            }
        }
    }

    /// The columns in the order of the task's score columns; empty where there are none.
    ///
    /// # Errors
    /// When they are not the scores that the task has.
    pub fn in_order(&self, task: &Task) -> Result<Vec<String>, ScoreColumnsError> {
        match (task, self) {
            (_, Self::None) => Ok(Vec::new()),
            (Task::Binary { .. }, Self::One(column)) => Ok(vec![column.clone()]),
            (Task::Multiclass { classes }, Self::EachClass(columns)) => {
                let of_class = |class: &String| columns.iter().find(|(named, _)| spelling::of_text(named) == class);
                let in_order: Vec<_> = classes.iter().filter_map(of_class).map(|(_, column)| column.clone()).collect();
                if in_order.len() < classes.len() || columns.len() > classes.len() {
                    let named = columns.keys().cloned().collect();
                    return Err(ScoreColumnsError::Classes { named, classes: classes.clone() });
                }
                Ok(in_order)
            }
            (task, _) => Err(Self::not_of(task)),
        }
    }

    fn not_of(task: &Task) -> ScoreColumnsError {
        let (task, has, remedy) = match task {
            Task::Binary { .. } => ("a binary task", "one score", "name the column of its positive class alone"),
            Task::Multiclass { .. } => ("a multiclass task", "a score for each class", "name a column for each"),
            Task::Regression => ("a regression task", "no score", "name none"),
        };
        ScoreColumnsError::NotOfTask { task, has, remedy }
    }
}

/// Milliseconds since the epoch; moments before it are negative.
fn epoch_millis(moment: SystemTime) -> i64 {
    let millis = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    match moment.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(written: &[&str]) -> Result<ScoreColumns, ScoreColumnsError> {
        ScoreColumns::parse(&written.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn scores_stand_in_the_order_of_the_classes() {
        let classes = ["z", "a"].map(str::to_owned).to_vec();
        let task = Task::Multiclass { classes };
        assert_eq!(parsed(&["a=p_a", "z=p_z"]).unwrap().in_order(&task).unwrap(), ["p_z", "p_a"]);
        assert_eq!(parsed(&[]).unwrap().in_order(&task).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn scores_that_are_not_those_of_the_task_are_refused() {
        let binary = Task::Binary { positive: "1".into(), negative: "0".into() };
        let many = Task::Multiclass { classes: vec!["a".into(), "b".into()] };
        assert!(parsed(&["p", "q"]).is_err());
        assert_eq!(parsed(&["p"]).unwrap().in_order(&binary).unwrap(), ["p"]);
        for (written, task) in [
            (vec!["p"], &many),
            (vec!["a=p"], &many),
            (vec!["a=p", "b=q", "c=r"], &many),
            (vec!["p"], &Task::Regression),
        ] {
            assert!(parsed(&written).unwrap().in_order(task).is_err(), "{written:?} {task:?}");
        }
    }

    #[test]
    fn rows_without_times_begin_at_the_documented_moment() {
        let start = humantime::parse_rfc3339("2020-01-01T00:00:00Z").unwrap();
        assert_eq!(EventTime::default(), EventTime::synthetic(Some(start), Some(Duration::from_secs(1))));
    }
}
