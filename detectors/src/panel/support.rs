//! The smallest budget of false alarms that a reference supports.
//!
//! Thresholds keep to any budget that they are learned for; with few windows of the reference they lie far out, and find
//! little. A reference supports a budget when its thresholds lie at most twice as far out as those of a long one would.

use super::drift::typical;
use super::{FalseAlarmBudget, PanelError, PanelPolicy};
use crate::reference::Reference;
use crate::threshold::{AlarmRule, windows_needed};

/// The rates that are tried, as powers of this.
const STEP: f64 = 1.05;

/// What a reference supports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Support {
    /// Windows of the reference with enough rows to learn from.
    pub windows: usize,
    /// Windows that the stated budget needs; as many as there are where none is stated.
    pub needed: usize,
    /// The smallest budget that the windows support; `None` where they support none.
    pub least: Option<FalseAlarmBudget>,
}

impl Support {
    /// What all of the traffic of a reference supports under a policy.
    ///
    /// # Errors
    /// When the policy's budget is tighter than any reference supports, or the reference's panes do not add up.
    pub fn of(policy: &PanelPolicy, reference: &Reference) -> Result<Self, PanelError> {
        let (spec, slices) = (reference.windows(), reference.slices().len());
        let windows = typical(policy, &reference.window_profiles(0)?).len();
        let probes = reference.schema().columns.iter().map(|column| policy.statistics(column.kind).len()).sum();
        let rule = policy.alarm_rule(spec, slices)?;
        let needed = if policy.false_alarms.is_some() { windows_needed(rule, probes) } else { windows };
        let tries = (0..).map(|power| PanelPolicy::LEAST_RATE * STEP.powi(power)).take_while(|rate| *rate < 0.5);
        let least = tries.map(|rate| AlarmRule { rate, ..rule }).find(|rule| windows_needed(*rule, probes) <= windows);
        Ok(Self { windows, needed, least: least.map(|rule| FalseAlarmBudget::of_rate(rule.rate, slices)) })
    }

    /// Whether the stated budget is kept with thresholds that find something.
    pub fn is_enough(&self) -> bool {
        self.windows >= self.needed
    }
}
