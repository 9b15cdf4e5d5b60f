//! Labelled quality: the headline metric of a window against the reference's.
//!
//! # Formula
//! The change is `reference − window` for a metric of which more is better, and `(window − reference) / reference` for an
//! error. It exceeds when it is above the largest of three: the least change that matters; `c` standard errors of the
//! window, where `c` lets the alarm of `M` of `N` windows come at its rate although the reference's own error is in all of
//! them; and what windows of the reference showed against the rest of it. Of those the worst counts; where a budget is
//! stated, and so to be kept, the limit `m + z·κ·s` of windows to come, see [`crate::threshold`].
//!
//! Labels and predictions that are none of the classes are in no metric. Where the judgement would be another if they were all
//! right, or all wrong, there is none.

use super::Judgement;
use super::policy::{PanelPolicy, QualityLimits};
use crate::quality::{Headline, MetricDirection, Quality};
use crate::reference::ReferenceWindow;
use crate::threshold::{AlarmRule, ThresholdSource, windows_needed};
use crate::verdict::{TestResult, Why};

/// What labelled quality is judged by.
#[derive(Debug, Clone)]
pub(super) struct QualityPanel {
    limits: QualityLimits,
    reference: Headline,
    rule: AlarmRule,
    /// The change up to which windows of the reference are believed to go; `None` where they are too few to tell.
    in_time: Option<f64>,
    /// Windows of the reference with enough labels.
    windows: usize,
}

impl QualityPanel {
    /// `None` where the reference has too few labels to be held against.
    pub(super) fn learn(
        policy: &PanelPolicy,
        rule: AlarmRule,
        whole: &Quality,
        windows: &[ReferenceWindow],
    ) -> Option<Self> {
        let limits = policy.quality;
        if whole.labelled() < limits.min_labelled {
            return None;
        }
        let reference = whole.headline()?;
        let changes = windows.iter().filter_map(|window| {
            let quality = window.quality.as_ref().filter(|quality| quality.labelled() >= limits.min_labelled)?;
            let mut rest = whole.clone();
            rest.subtract(quality).ok()?;
            Some(change(&rest.headline()?, &quality.headline()?))
        });
        let changes: Vec<f64> = changes.filter(|change| change.is_finite()).collect();
        let in_time = match policy.false_alarms {
            Some(_) => rule.prediction_limit(&changes),
            None => Some(changes.iter().copied().fold(0.0, f64::max)),
        };
        Some(Self { limits, reference, rule, in_time, windows: changes.len() })
    }

    pub(super) fn judge(&self, current: &Quality) -> Judgement {
        let (labelled, needed) = (current.labelled(), self.limits.min_labelled);
        let unusable = Unusable::of(current);
        let found = match current.headline() {
            Some(found) if labelled >= needed && found.name == self.reference.name => found,
            Some(_) if labelled >= needed => return Judgement::inconclusive(Why::NotInReference),
            _ if unusable.of >= needed && unusable.rows() > 0 => return Judgement::inconclusive(unusable.why()),
            _ => return Judgement::inconclusive(Why::TooFewLabels { labelled, needed }),
        };
        let Some(in_time) = self.in_time else {
            let needed = windows_needed(self.rule, 1).max(3);
            return Judgement::inconclusive(Why::ReferenceTooShort { windows: self.windows, needed });
        };
        let score = change(&self.reference, &found);
        let (threshold, threshold_from) = self.threshold(&found, in_time);
        let [best, worst] = unusable.bounds(&found).map(|found| change(&self.reference, &found));
        if (best > threshold) != (worst > threshold) {
            return Judgement::inconclusive(unusable.why());
        }
        let test_name = format!("{}_{}", found.name, word(found.direction));
        if self.most_change().is_some_and(|most| threshold >= most) {
            return Judgement::inconclusive(Why::OutOfReach { subject: found.name.to_owned(), test: test_name });
        }
        let exceeded = score > threshold;
        let least = match found.direction {
            MetricDirection::HigherIsBetter => "down",
            MetricDirection::LowerIsBetter => "up",
        };
        let (name, value, before) = (found.name, found.value.value, self.reference.value.value);
        let summary = match exceeded {
            true => format!("{name} is {value:.3}, {least} from {before:.3} in the reference"),
            false => format!("{name} is {value:.3}, like {before:.3} in the reference"),
        };
        let test = TestResult {
            subject: name.to_owned(),
            test: test_name,
            score,
            threshold,
            threshold_from,
            p_value: None,
            exceeded,
        };
        Judgement::of(vec![test], summary)
    }

    /// How much worse a window can be at the most; `None` of errors, which have no end.
    fn most_change(&self) -> Option<f64> {
        match self.reference.direction {
            MetricDirection::HigherIsBetter => Some(self.reference.value.value),
            MetricDirection::LowerIsBetter => None,
        }
    }

    fn threshold(&self, found: &Headline, in_time: f64) -> (f64, ThresholdSource) {
        let least = match found.direction {
            MetricDirection::HigherIsBetter => self.limits.min_drop,
            MetricDirection::LowerIsBetter => self.limits.min_rise,
        };
        let of_reference = self.reference.value.standard_error.unwrap_or_default();
        let of_window = found.value.standard_error.unwrap_or_default();
        let standard_errors = match of_window > 0.0 {
            true => self.rule.standard_errors(of_reference / of_window) * of_window,
            false => self.rule.standard_errors(0.0) * of_reference,
        };
        let by_chance = standard_errors / unit(&self.reference);
        ThresholdSource::largest([
            (least, ThresholdSource::MinimumEffect),
            (by_chance, ThresholdSource::Sampling),
            (in_time, ThresholdSource::ReferenceWindows),
        ])
    }
}

/// What a window's quality could not use.
struct Unusable {
    labels: i64,
    predictions: i64,
    missing: i64,
    /// All rows with a label.
    of: i64,
}

impl Unusable {
    fn of(quality: &Quality) -> Self {
        let exclusions = quality.exclusions();
        Self {
            labels: exclusions.invalid_label,
            predictions: exclusions.invalid_prediction,
            missing: exclusions.null_prediction,
            of: quality.labelled() + exclusions.invalid_label,
        }
    }

    fn rows(&self) -> i64 {
        self.labels + self.predictions + self.missing
    }

    fn why(&self) -> Why {
        let Self { labels, predictions, missing, of } = *self;
        Why::Unusable { labels, predictions, missing, of }
    }

    /// The headline if all of those with an answer were right, and if all were wrong; of an error, which has no worst, itself.
    fn bounds(&self, found: &Headline) -> [Headline; 2] {
        let all = (self.of - self.missing).max(1);
        let unusable = (self.labels + self.predictions).clamp(0, all) as f64;
        let all = all as f64;
        let bound = |right: f64| {
            let mut bound = *found;
            if found.direction == MetricDirection::HigherIsBetter {
                bound.value.value = (found.value.value * (all - unusable) + right) / all;
            }
            bound
        };
        [bound(unusable), bound(0.0)]
    }
}

/// What a change for the worse is called.
fn word(direction: MetricDirection) -> &'static str {
    match direction {
        MetricDirection::HigherIsBetter => "drop",
        MetricDirection::LowerIsBetter => "rise",
    }
}

/// How much worse the window is.
fn change(reference: &Headline, window: &Headline) -> f64 {
    let change = window.value.value - reference.value.value;
    match reference.direction {
        MetricDirection::HigherIsBetter => -change,
        MetricDirection::LowerIsBetter => change / unit(reference),
    }
}

/// What changes are measured in: points, or shares of the reference's error where it has one.
fn unit(reference: &Headline) -> f64 {
    match reference.direction {
        MetricDirection::LowerIsBetter if reference.value.value > 0.0 => reference.value.value,
        _ => 1.0,
    }
}
