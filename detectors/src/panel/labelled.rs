//! Labelled quality: the headline metric of a window against the reference's.
//!
//! # Formula
//! The change is `reference − window` for a metric of which more is better, and `(window − reference) / reference` for an
//! error. It exceeds when it is above the largest of three: the least change that matters; `z(p)` standard errors of the
//! difference, `√(se_r² + se_w²)`; and what windows of the reference showed against the rest of it. `p` is the share of
//! single windows that may exceed. Of the reference's windows the worst counts; where a budget is stated, and so to be
//! kept, the prediction limit `m + t⁻¹_{K−1}(1 − p)·s·√(1 + 1/K)` of one more than those `K`.

use super::Judgement;
use super::policy::{PanelPolicy, QualityLimits};
use crate::quality::{Headline, MetricDirection, Quality};
use crate::reference::ReferenceWindow;
use crate::threshold::{AlarmRule, ThresholdSource};
use crate::verdict::{TestResult, Why};

/// What labelled quality is judged by.
#[derive(Debug, Clone)]
pub(super) struct QualityPanel {
    limits: QualityLimits,
    reference: Headline,
    /// Standard errors that chance is given.
    standard_errors: f64,
    /// The change up to which windows of the reference are believed to go.
    in_time: f64,
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
            Some(_) => rule.prediction_limit(&changes).unwrap_or_default(),
            None => changes.into_iter().fold(0.0, f64::max),
        };
        Some(Self { limits, reference, standard_errors: rule.standard_errors(), in_time })
    }

    pub(super) fn judge(&self, current: &Quality) -> Judgement {
        let (labelled, needed) = (current.labelled(), self.limits.min_labelled);
        let found = match current.headline() {
            Some(found) if labelled >= needed && found.name == self.reference.name => found,
            Some(_) if labelled >= needed => return Judgement::inconclusive(Why::NotInReference),
            _ => return Judgement::inconclusive(Why::TooFewLabels { labelled, needed }),
        };
        let score = change(&self.reference, &found);
        let (threshold, threshold_from) = self.threshold(&found);
        let exceeded = score > threshold;
        let (word, least) = match found.direction {
            MetricDirection::HigherIsBetter => ("drop", "down"),
            MetricDirection::LowerIsBetter => ("rise", "up"),
        };
        let (name, value, before) = (found.name, found.value.value, self.reference.value.value);
        let summary = match exceeded {
            true => format!("{name} is {value:.3}, {least} from {before:.3} in the reference"),
            false => format!("{name} is {value:.3}, like {before:.3} in the reference"),
        };
        let test = TestResult {
            subject: name.to_owned(),
            test: format!("{name}_{word}"),
            score,
            threshold,
            threshold_from,
            p_value: None,
            exceeded,
        };
        Judgement::of(vec![test], summary)
    }

    fn threshold(&self, found: &Headline) -> (f64, ThresholdSource) {
        let least = match found.direction {
            MetricDirection::HigherIsBetter => self.limits.min_drop,
            MetricDirection::LowerIsBetter => self.limits.min_rise,
        };
        let of_reference = self.reference.value.standard_error.unwrap_or_default();
        let of_window = found.value.standard_error.unwrap_or_default();
        let by_chance = self.standard_errors * of_reference.hypot(of_window) / unit(&self.reference);
        ThresholdSource::largest([
            (least, ThresholdSource::MinimumEffect),
            (by_chance, ThresholdSource::Sampling),
            (self.in_time, ThresholdSource::ReferenceWindows),
        ])
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
