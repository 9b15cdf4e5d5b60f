//! A panel: everything by which one slice of one reference judges windows.
//!
//! It is learned once for a reference and then only asked. Three questions are kept apart, because they have different
//! consequences: has the data drifted, are the data at fault, has the model become worse. Each is answered for one window
//! alone; what several windows amount to is the alarm's business.
//!
//! Every answer is a function of the profile, the reference and the policy: thresholds that need random samples draw the
//! same ones at every run.

mod attribution;
mod budget;
mod data_quality;
mod distribution;
mod drift;
mod judgement;
mod labelled;
mod policy;
mod support;

pub use attribution::{Movement, SegmentMovement, concentrated};
pub use budget::{BudgetError, FalseAlarmBudget};
pub use judgement::{Judgement, Outcome};
pub use policy::{DataQualityLimits, Hysteresis, PanelPolicy, PolicyError, QualityLimits, Thresholds};
pub use support::Support;

use crate::layout::ColumnLayout;
use crate::profile::{ColumnProfile, Profile};
use crate::quality::Quality;
use crate::reference::{Reference, ReferenceError, ReferenceWindow};
use crate::schema::ColumnSchema;
use crate::threshold::AlarmRule;
use crate::verdict::{TestResult, Why};
use data_quality::DataQualityPanel;
use drift::DriftPanel;
use labelled::QualityPanel;
use thiserror::Error;

/// Why a panel cannot be learned.
#[derive(Debug, Error)]
pub enum PanelError {
    /// The policy asks for what cannot be.
    #[error("panel.{0}")]
    Policy(#[from] PolicyError),
    /// The reference has no such slice.
    #[error("reference {reference} has {slices} slices, so none at place {slice}")]
    NoSuchSlice {
        /// Id of the reference.
        reference: String,
        /// The place asked for.
        slice: usize,
        /// How many slices there are.
        slices: usize,
    },
    /// The reference's panes do not add up.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// What is normal: the reference's rows all together, and window by window where they have times.
struct Normal<'a> {
    columns: &'a [ColumnSchema],
    layouts: &'a [ColumnLayout],
    whole: &'a Profile,
    /// Of each column what rows to come are held against.
    fresh: Vec<ColumnProfile>,
    windows: &'a [ReferenceWindow],
}

impl<'a> Normal<'a> {
    /// Of a slice that is `whole` itself, of all the traffic that the layouts were learned from.
    fn new(
        columns: &'a [ColumnSchema],
        layouts: &'a [ColumnLayout],
        (traffic, whole): (&Profile, &'a Profile),
        windows: &'a [ReferenceWindow],
    ) -> Self {
        let parts = traffic.columns().iter().zip(whole.columns());
        let fresh = layouts.iter().zip(parts);
        let fresh = fresh.map(|(layout, (all, part))| part.fresh(layout, all).unwrap_or_else(|| part.clone()));
        Self { columns, layouts, whole, fresh: fresh.collect(), windows }
    }
}

/// Everything by which one slice of a reference judges windows.
#[derive(Debug, Clone)]
pub struct Panel {
    min_rows: i64,
    reference_rows: i64,
    layouts: Vec<ColumnLayout>,
    drift: DriftPanel,
    data_quality: DataQualityPanel,
    quality: Option<QualityPanel>,
}

impl Panel {
    /// Learns how windows of one slice of the reference vary.
    ///
    /// # Errors
    /// When the policy asks for what cannot be, or the reference has no such slice.
    pub fn learn(policy: &PanelPolicy, reference: &Reference, slice: usize) -> Result<Self, PanelError> {
        let slices = reference.slices();
        let Some(whole) = slices.get(slice) else {
            let (reference, slices) = (reference.id().to_owned(), slices.len());
            return Err(PanelError::NoSuchSlice { reference, slice, slices });
        };
        let windows = reference.window_profiles(slice)?;
        let columns = &reference.schema().columns;
        let traffic = slices.first().map_or(&whole.profile, |traffic| &traffic.profile);
        let normal = Normal::new(columns, reference.layouts(), (traffic, &whole.profile), &windows);
        let rule = policy.alarm_rule(reference.windows(), slices.len());
        let mut panel = Self::of(policy, rule, &normal)?;
        let quality = whole.quality.as_ref();
        panel.quality = quality.and_then(|quality| QualityPanel::learn(policy, rule, quality, &windows));
        Ok(panel)
    }

    /// Learns from the counts of one batch alone, of which no windows are known, to judge one other batch: thresholds then
    /// know of sampling, and nothing of seasons. `rate` is the share of comparisons without drift that may find some.
    ///
    /// # Errors
    /// When the policy asks for what cannot be.
    pub fn of_batch(
        policy: &PanelPolicy,
        rate: f64,
        columns: &[ColumnSchema],
        (layouts, whole): (&[ColumnLayout], &Profile),
    ) -> Result<Self, PanelError> {
        if !(PanelPolicy::LEAST_RATE..=0.5).contains(&rate) {
            let range = "a share between 0.00001 and 0.5";
            return Err(PolicyError::OutOfRange { setting: "rate".to_owned(), value: rate, range }.into());
        }
        let normal = Normal::new(columns, layouts, (whole, whole), &[]);
        Self::of(policy, AlarmRule { rate, agreeing: 1, of: 1 }, &normal)
    }

    fn of(policy: &PanelPolicy, rule: AlarmRule, normal: &Normal<'_>) -> Result<Self, PanelError> {
        policy.validate()?;
        Ok(Self {
            min_rows: policy.min_rows,
            reference_rows: normal.whole.rows(),
            layouts: normal.layouts.to_vec(),
            drift: DriftPanel::learn(policy, rule, normal),
            data_quality: DataQualityPanel::learn(policy.data_quality, normal),
            quality: None,
        })
    }

    /// Whether the window's columns are distributed as in the reference.
    pub fn judge_drift(&self, current: &Profile) -> Judgement {
        match self.why_not(current).or_else(|| self.drift.unsupported().cloned()) {
            Some(why) => Judgement::inconclusive(why),
            None => self.drift.judge(current),
        }
    }

    /// Of each column the first test whose threshold no window of so many rows can exceed.
    fn out_of_reach(&self, window: &Profile) -> Vec<TestResult> {
        let judged = self.drift.judge(window);
        self.drift.out_of_reach(&judged.tests, window.rows()).into_iter().cloned().collect()
    }

    /// How one column moved, by its place in the schema; `None` where it cannot be compared.
    pub fn movement(&self, column: usize, current: &Profile) -> Option<Movement> {
        current.check_columns(&self.layouts).ok()?;
        self.drift.movement(column, current)
    }

    /// Whether the window has more odd values than the reference, or far more or fewer rows.
    pub fn judge_data_quality(&self, current: &Profile) -> Judgement {
        let Some(why) = self.why_not(current) else {
            return self.data_quality.judge(current);
        };
        // That rows are missing is a finding also where there are too few to find anything else.
        match self.data_quality.volume(current.rows()).filter(|volume| volume.exceeded) {
            Some(volume) => {
                let tests = vec![volume];
                let summary = data_quality::summary(&tests);
                Judgement::of(tests, summary)
            }
            None => Judgement::inconclusive(why),
        }
    }

    /// Whether the headline metric of the labelled rows is worse than in the reference.
    pub fn judge_quality(&self, current: &Quality) -> Judgement {
        match &self.quality {
            Some(panel) => panel.judge(current),
            None => Judgement::inconclusive(Why::NotInReference),
        }
    }

    fn why_not(&self, current: &Profile) -> Option<Why> {
        if self.reference_rows < self.min_rows || current.check_columns(&self.layouts).is_err() {
            return Some(Why::NotInReference);
        }
        (current.rows() < self.min_rows).then_some(Why::TooFewRows { rows: current.rows(), needed: self.min_rows })
    }
}

#[cfg(test)]
mod tests;
