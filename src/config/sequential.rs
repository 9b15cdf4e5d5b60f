//! Which sequential detectors are on, and the run lengths that the budget of false alarms leaves them.
//!
//! Where a budget is stated, a detector that promises a run length takes the place of ADWIN, which promises none that is
//! counted in time: the e-detector on the errors of a classifier, CUSUM on the losses of a regression. Together they have
//! the sequential detectors' part of the budget, and several share it alike.

use super::error::{Problem, Validated, refuse};
use super::raw::RawSequential;
use capture::watched::{SequentialPolicy, WatchedModel};
use detectors::schema::Task;

/// The shortest run length that the detectors can be set to with any sense.
const LEAST_STEPS: f64 = 2.0;

/// The detectors of a model, from what is written and what is known of it otherwise.
pub(super) fn sequential(path: &str, raw: RawSequential, watched: &WatchedModel) -> Validated<SequentialPolicy> {
    let steps = steps_per_alarm(watched);
    let can_promise = steps.is_some() && watched.labels.is_some();
    let is_regression = watched.schema.task == Task::Regression;
    let wanted = |key: &'static str, given: Option<bool>, by_default: bool| {
        if given == Some(true) {
            check_promise(&format!("{path}.sequential.{key}"), steps, watched)?;
        }
        Ok(given.unwrap_or(can_promise && by_default))
    };
    if is_regression && raw.e_detector == Some(true) {
        let problem = Problem::NotOfTask { task: "regression", key: "e_detector" };
        return refuse(format!("{path}.sequential.e_detector"), problem);
    }
    let e_detector = wanted("e_detector", raw.e_detector, !is_regression)?;
    let cusum = wanted("cusum", raw.cusum, is_regression)?;
    let run_length = run_length(path, steps, u8::from(e_detector) + u8::from(cusum))?;
    Ok(SequentialPolicy {
        adwin: raw.adwin.unwrap_or(steps.is_none()),
        page_hinkley: raw.page_hinkley,
        e_detector: run_length.filter(|_| e_detector),
        cusum: run_length.filter(|_| cusum),
    })
}

/// The run length of each of the detectors that share a budget; `None` where there is none of them, or no budget.
fn run_length(path: &str, steps: Option<f64>, sharing: u8) -> Validated<Option<f64>> {
    let Some(steps) = steps.map(|steps| steps * f64::from(sharing)).filter(|_| sharing > 0) else { return Ok(None) };
    if steps >= LEAST_STEPS && steps.is_finite() {
        return Ok(Some(steps));
    }
    let reason = format!(
        "the budget leaves each sequential detector one false alarm in {steps:.1} steps, and {LEAST_STEPS} steps are the shortest run that they can be set to: state fewer false alarms, or shorten `step`"
    );
    refuse(format!("{path}.panel.false_alarms"), Problem::Refused { reason })
}

/// Refuses a detector that could promise nothing, or read nothing.
fn check_promise(path: &str, steps: Option<f64>, watched: &WatchedModel) -> Validated<()> {
    if steps.is_none() {
        let why = "the detector's run length is a part of the budget of false alarms";
        return refuse(path, Problem::Needs { key: "panel.false_alarms", why });
    }
    if watched.labels.is_none() {
        return refuse(path, Problem::Needs { key: "labels", why: "without labels there are no errors to read" });
    }
    Ok(())
}

/// The steps in which the sequential detectors may together raise one false alarm; `None` where no budget is stated. They
/// read all of the traffic as one, whatever its segments.
fn steps_per_alarm(watched: &WatchedModel) -> Option<f64> {
    let budget = watched.panel.false_alarms?;
    let of_windows = || watched.windows.hop_ms() as f64 / budget.rate_per_window(watched.windows, 1);
    Some(budget.millis_per_alarm().unwrap_or_else(of_windows) / watched.step_ms as f64)
}
