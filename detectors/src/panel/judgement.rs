//! What a panel says of one window, before any hysteresis.

use super::attribution::in_segment;
use crate::verdict::{Attribution, Segment, TestResult, Why};
use serde::{Deserialize, Serialize};

/// Whether a window is like the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No test exceeded its threshold.
    Within,
    /// At least one did.
    Exceeded,
    /// The window cannot be judged.
    Inconclusive(Why),
}

/// A window's outcome with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What it amounts to.
    pub outcome: Outcome,
    /// Every test, in the order of the schema; none where the window cannot be judged, but for thresholds out of reach.
    pub tests: Vec<TestResult>,
    /// The columns that take part in a drift, the largest contribution first; none where there is no drift.
    pub attribution: Vec<Attribution>,
    /// A sentence for people.
    pub summary: String,
}

impl Judgement {
    /// The judgement of these tests.
    pub(super) fn of(tests: Vec<TestResult>, summary: String) -> Self {
        let exceeded = tests.iter().any(|test| test.exceeded);
        Self {
            outcome: if exceeded { Outcome::Exceeded } else { Outcome::Within },
            tests,
            attribution: Vec::new(),
            summary,
        }
    }

    /// Says in which segment the column at this place of the attribution has moved most.
    pub fn locate(&mut self, place: usize, segment: Option<Segment>) {
        let Some(part) = self.attribution.get_mut(place) else { return };
        part.segment = segment;
        if let (0, Some(segment)) = (place, &part.segment) {
            self.summary += &in_segment(segment);
        }
    }

    /// The word that a window cannot be judged.
    pub(super) fn inconclusive(why: Why) -> Self {
        let summary = match &why {
            Why::TooFewRows { rows, needed } => format!("{rows} rows: a judgement needs {needed}"),
            Why::TooFewLabels { labelled, needed } => format!("{labelled} labels: a judgement needs {needed}"),
            Why::Unusable { labels, predictions, missing, of } => unusable([*labels, *predictions, *missing], *of),
            Why::ReferenceTooShort { windows, needed } => format!(
                "the reference holds {windows} windows: from so few the budget of false alarms cannot be kept; it needs {needed}"
            ),
            Why::OutOfReach { subject, test } => format!(
                "windows of the reference differ so much among themselves that no {test} of `{subject}` could exceed its threshold: learn it from a longer time, or segment it by what makes them differ"
            ),
            Why::NotInReference => "the reference holds nothing to compare with".to_owned(),
        };
        Self { outcome: Outcome::Inconclusive(why), tests: Vec::new(), attribution: Vec::new(), summary }
    }
}

/// What could not be used of so many labelled rows: labels, predictions, and predictions that are missing.
fn unusable([labels, predictions, missing]: [i64; 3], of: i64) -> String {
    let what = [
        (labels, "labels are none of the model's classes"),
        (predictions, "predictions are none of the model's classes"),
        (missing, "predictions are missing"),
    ];
    let parts = what.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{rows} of {of} {what}"));
    format!("{}: the other rows may be better or worse", parts.collect::<Vec<_>>().join(", "))
}
