//! How the demo ended: the figures of its last line.

use super::simulation::Phase;
use super::telling::{JudgedWindow, Teller};
use crate::service::bootstrap::FIRST_VERSION;
use console::style;
use serde::Serialize;
use std::time::Duration;

/// The demo in figures.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ending {
    /// Predictions streamed.
    pub(super) events: u64,
    /// Windows judged for drift.
    pub(super) windows: u64,
    /// Windows from the covariate shift's beginning to the verdict that found it, that one included.
    pub(super) drift_detected_after_windows: Option<u64>,
    /// Requests made.
    pub(super) retrain_requests: u64,
    /// The version that was promoted last.
    pub(super) promoted_version: Option<String>,
    /// Accuracy of the first version before anything changed.
    pub(super) accuracy_reference: Option<f64>,
    /// Accuracy of the first version after the concept changed.
    pub(super) accuracy_drifted: Option<f64>,
    /// Accuracy of promoted versions after the concept changed.
    pub(super) accuracy_recovered: Option<f64>,
    /// Verdicts of drift before anything changed.
    pub(super) false_alarms_before_drift: u64,
    /// Whether drift was found, a challenger promoted, and accuracy recovered.
    pub(super) loop_closed: bool,
    /// Wall time.
    pub(super) seconds: f64,
}

impl Ending {
    pub(super) fn of(teller: &Teller, events: u64, took: Duration) -> Self {
        let changed_ms = Phase::ConceptChange.start_ms();
        let over =
            |wanted: &dyn Fn(&JudgedWindow) -> bool| accuracy(teller.judged.iter().filter(|window| wanted(window)));
        let first = |window: &JudgedWindow| window.version == FIRST_VERSION;
        let accuracy_reference = over(&|window| first(window) && window.start_ms < Phase::CovariateShift.start_ms());
        let accuracy_drifted = over(&|window| first(window) && window.start_ms >= changed_ms);
        let accuracy_recovered = over(&|window| !first(window) && window.start_ms >= changed_ms);
        let recovered =
            matches!((accuracy_drifted, accuracy_recovered), (Some(drifted), Some(after)) if after > drifted);
        Self {
            events,
            windows: teller.sums().windows,
            drift_detected_after_windows: teller.windows_to_drift,
            retrain_requests: teller.sums().retrain_requests,
            promoted_version: teller.promoted.clone(),
            accuracy_reference,
            accuracy_drifted,
            accuracy_recovered,
            false_alarms_before_drift: teller.false_alarms,
            loop_closed: recovered && teller.windows_to_drift.is_some() && teller.promoted.is_some(),
            seconds: took.as_secs_f64(),
        }
    }

    /// Says the figures in two sentences.
    pub(super) fn say(&self, teller: &Teller) {
        let percent = |share: Option<f64>| share.map_or("—".to_owned(), |share| format!("{:.1} %", share * 100.0));
        teller.say(&format!(
            "\n{} events, {} windows. Accuracy {} before, {} under the new rule, {} after the promotion of {}.",
            self.events,
            self.windows,
            percent(self.accuracy_reference),
            percent(self.accuracy_drifted),
            percent(self.accuracy_recovered),
            self.promoted_version.as_deref().unwrap_or("no one"),
        ));
        let closed = if self.loop_closed {
            style("The loop is closed.").green()
        } else {
            style("The loop did not close.").red()
        };
        teller.say(&format!("{closed} False alarms before the shift: {}.", self.false_alarms_before_drift));
    }
}

/// Accuracy over the labelled rows of the windows.
fn accuracy<'a>(windows: impl Iterator<Item = &'a JudgedWindow>) -> Option<f64> {
    let (mut correct, mut labelled) = (0.0, 0);
    for window in windows {
        correct += window.accuracy * window.labelled as f64;
        labelled += window.labelled;
    }
    (labelled > 0).then(|| correct / labelled as f64)
}
