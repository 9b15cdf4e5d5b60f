//! Labelled rows as moments of fine steps of event time, which the sequential detectors read.

use super::QualityError;
use super::estimates::log_loss;
use super::outcomes::{ClassColumns, ClassRow, NumberColumns, NumberRow, Outcomes};
use crate::moments::StepMoments;
use crate::schema::Task;

/// Adds each row to the step of its group; `groups[row]` is the step's place in `steps`.
///
/// A classifier's error is 0 or 1, its loss the log loss of the label's class (clipped at 1e-15), its prediction the
/// score of the positive class, or of several classes the highest score. A regression's error is `|e|`, its loss `e²`,
/// its prediction the number. A row adds what it can, and signs apply as in [`Outcomes`].
///
/// # Errors
/// When columns differ in length or hold the wrong type, or a group does not exist.
pub fn observe_steps(steps: &mut [StepMoments], groups: &[usize], outcomes: &Outcomes<'_>) -> Result<(), QualityError> {
    outcomes.check_groups(groups)?;
    let count = steps.len();
    let no_such = |group: usize| QualityError::NoSuchGroup { group, groups: count };
    if let Task::Regression = outcomes.task {
        let columns = NumberColumns::decode(outcomes)?;
        for (row, group) in groups.iter().enumerate() {
            let step = steps.get_mut(*group).ok_or_else(|| no_such(*group))?;
            observe_number(step, &columns.row(row));
        }
        return Ok(());
    }
    let columns = ClassColumns::decode(outcomes)?;
    for (row, group) in groups.iter().enumerate() {
        let step = steps.get_mut(*group).ok_or_else(|| no_such(*group))?;
        observe_class(step, &columns.row(row));
    }
    Ok(())
}

fn observe_class(step: &mut StepMoments, row: &ClassRow<'_>) {
    let label = row.label.usable();
    if let Some((label, prediction)) = label.zip(row.prediction.usable()) {
        step.error.observe(if label == prediction { 0.0 } else { 1.0 }, row.sign);
    }
    let Some(scores) = row.scores.usable() else { return };
    step.prediction.observe(scores.iter().copied().fold(0.0, f64::max), row.sign);
    if let Some(loss) = label.and_then(|label| log_loss(label, scores)) {
        step.loss.observe(loss, row.sign);
    }
}

fn observe_number(step: &mut StepMoments, row: &NumberRow) {
    let Some(prediction) = row.prediction.usable() else { return };
    step.prediction.observe(prediction, row.sign);
    if let Some(label) = row.label.usable() {
        let error = prediction - label;
        step.error.observe(error.abs(), row.sign);
        step.loss.observe(error * error, row.sign);
    }
}
