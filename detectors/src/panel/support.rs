//! The smallest budget of false alarms that a reference supports.
//!
//! Thresholds keep to any budget that they are learned for; with few windows of the reference they lie far out, and find
//! little. A reference supports a budget when its thresholds lie at most twice as far out as those of a long one would.

use super::drift::typical;
use super::{FalseAlarmBudget, Panel, PanelError, PanelPolicy, Thresholds};
use crate::reference::Reference;
use crate::threshold::{AlarmRule, supports, windows_needed};
use crate::verdict::TestResult;

/// The largest rate that is asked for.
const LARGEST_RATE: f64 = 0.5;

/// What a reference supports.
#[derive(Debug, Clone, PartialEq)]
pub struct Support {
    /// Windows of the reference with enough rows to learn from.
    pub windows: usize,
    /// Windows that the stated budget needs; none where thresholds are not learned from them.
    pub needed: usize,
    /// The smallest budget that the windows support; `None` where they support none.
    pub least: Option<FalseAlarmBudget>,
    /// Tests of columns whose thresholds no window can exceed, one for each column.
    pub out_of_reach: Vec<TestResult>,
}

impl Support {
    /// What all of the traffic of a reference supports under a policy.
    ///
    /// # Errors
    /// When the reference's panes do not add up.
    pub fn of(policy: &PanelPolicy, reference: &Reference) -> Result<Self, PanelError> {
        let (spec, slices) = (reference.windows(), reference.slices().len());
        let profiles = reference.window_profiles(0)?;
        let typical = typical(policy, &profiles);
        let windows = typical.len();
        let probes = reference.schema().columns.iter().map(|column| policy.statistics(column.kind).len()).sum();
        let rule = policy.alarm_rule(spec, slices);
        let is_learned = policy.false_alarms.is_some() && policy.thresholds == Thresholds::Learned;
        let needed = if is_learned { windows_needed(rule, probes) } else { 0 };
        let is_supported = |rate: f64| supports(windows, AlarmRule { rate, ..rule }, probes);
        let least = least_rate(is_supported).and_then(|rate| FalseAlarmBudget::of_rate(rate, slices));
        let panel = Panel::learn(policy, reference, 0)?;
        let out_of_reach = typical.first().map(|window| panel.out_of_reach(window)).unwrap_or_default();
        Ok(Self { windows, needed, least, out_of_reach })
    }

    /// Whether the stated budget is kept with thresholds that find something.
    pub fn is_enough(&self) -> bool {
        self.windows >= self.needed
    }
}

/// The least rate that is supported, to a hundredth of itself; larger ones are supported as well.
fn least_rate(is_supported: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut low, mut high) = (PanelPolicy::LEAST_RATE, LARGEST_RATE);
    if is_supported(low) {
        return Some(low);
    }
    if !is_supported(high) {
        return None;
    }
    while high / low > 1.01 {
        let middle = (low * high).sqrt();
        if is_supported(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}
