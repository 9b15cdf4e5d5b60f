//! The open panes and steps of one version: what has been counted and not yet been judged for good.

use crate::partial::{Partial, PartialBody};
use detectors::moments::StepMoments;
use detectors::profile::{Profile, ProfileError};
use detectors::quality::{Quality, QualityError};
use detectors::verdict::Segment;
use detectors::windows::Window;
use std::collections::BTreeMap;
use thiserror::Error;

/// Partials that do not fit together.
#[derive(Debug, Error)]
pub(super) enum MergeError {
    #[error("merging profiles: {0}")]
    Profile(#[from] ProfileError),
    #[error("merging qualities: {0}")]
    Quality(#[from] QualityError),
}

/// What one pane holds of one slice.
#[derive(Debug, Default)]
pub(super) struct Pane {
    pub(super) rows: i64,
    profile: Option<Profile>,
    /// By the age of their labels.
    outcomes: BTreeMap<u8, Quality>,
}

/// What a window holds of one slice.
#[derive(Debug, Default)]
pub(super) struct ClosedWindow {
    pub(super) rows: i64,
    pub(super) profile: Option<Profile>,
    pub(super) quality: Option<Quality>,
}

/// Panes by start and slice, and steps by start.
#[derive(Debug, Default)]
pub(super) struct Panes {
    panes: BTreeMap<i64, BTreeMap<Option<Segment>, Pane>>,
    steps: BTreeMap<i64, BTreeMap<u8, StepMoments>>,
}

impl Panes {
    /// Adds a partial.
    pub(super) fn add(&mut self, partial: Partial) -> Result<(), MergeError> {
        match partial.body {
            // Late rows count in no window, and which panes are still open when they come depends on the epochs.
            PartialBody::Inputs { late: true, .. } => {}
            PartialBody::Inputs { pane_start_ms, late: false, profile } => {
                let pane = self.pane(pane_start_ms, partial.segment);
                pane.rows += profile.rows();
                match &mut pane.profile {
                    Some(so_far) => so_far.merge(&profile)?,
                    none => *none = Some(profile),
                }
            }
            PartialBody::Rows { pane_start_ms, rows } => self.pane(pane_start_ms, partial.segment).rows += rows,
            PartialBody::Outcomes { pane_start_ms, age, quality } => {
                let outcomes = &mut self.pane(pane_start_ms, partial.segment).outcomes;
                merge_quality(outcomes.entry(age), quality)?;
            }
            PartialBody::Step { step_start_ms, age, moments } => {
                self.steps.entry(step_start_ms).or_default().entry(age).or_default().merge(&moments);
            }
        }
        Ok(())
    }

    /// Everything that `window` holds, by slice, with the labels that came by `age`.
    pub(super) fn window(
        &self,
        window: Window,
        age: u8,
    ) -> Result<BTreeMap<Option<Segment>, ClosedWindow>, MergeError> {
        let mut slices: BTreeMap<Option<Segment>, ClosedWindow> = BTreeMap::new();
        for panes in self.panes.range(window.start_ms..window.end_ms).map(|(_, panes)| panes) {
            for (segment, pane) in panes {
                slices.entry(segment.clone()).or_default().add(pane, age)?;
            }
        }
        Ok(slices)
    }

    /// The moments of a step's rows whose labels came by `age`, and forgets the step.
    pub(super) fn take_step(&mut self, start_ms: i64, age: u8) -> Option<StepMoments> {
        let ages = self.steps.remove(&start_ms)?;
        let mut moments = StepMoments::default();
        ages.range(..=age).for_each(|(_, found)| moments.merge(found));
        Some(moments)
    }

    /// Rows of one pane, and how many of them have a label that came by `age`.
    pub(super) fn pane_rows(&self, start_ms: i64, age: u8) -> (i64, i64) {
        let Some(pane) = self.panes.get(&start_ms).and_then(|slices| slices.get(&None)) else { return (0, 0) };
        (pane.rows, pane.outcomes.range(..=age).map(|(_, quality)| quality.labelled()).sum())
    }

    /// Starts of the panes that hold anything, in order.
    pub(super) fn starts(&self) -> impl Iterator<Item = i64> {
        self.panes.keys().copied()
    }

    /// Starts of the steps that hold anything, in order.
    pub(super) fn step_starts(&self) -> impl Iterator<Item = i64> {
        self.steps.keys().copied()
    }

    /// Lets go of panes that start before `time_ms`. Steps go when they are taken: one that began in a pane that is over may
    /// reach into the next.
    pub(super) fn forget_before(&mut self, time_ms: i64) {
        self.panes = self.panes.split_off(&time_ms);
    }

    fn pane(&mut self, start_ms: i64, segment: Option<Segment>) -> &mut Pane {
        self.panes.entry(start_ms).or_default().entry(segment).or_default()
    }
}

impl ClosedWindow {
    fn add(&mut self, pane: &Pane, age: u8) -> Result<(), MergeError> {
        self.rows += pane.rows;
        match (&mut self.profile, &pane.profile) {
            (Some(so_far), Some(profile)) => so_far.merge(profile)?,
            (none, Some(profile)) => *none = Some(profile.clone()),
            (_, None) => {}
        }
        for quality in pane.outcomes.range(..=age).map(|(_, quality)| quality) {
            match &mut self.quality {
                Some(so_far) => so_far.merge(quality)?,
                none => *none = Some(quality.clone()),
            }
        }
        Ok(())
    }
}

fn merge_quality(
    entry: std::collections::btree_map::Entry<'_, u8, Quality>,
    quality: Quality,
) -> Result<(), QualityError> {
    match entry {
        std::collections::btree_map::Entry::Vacant(vacant) => {
            vacant.insert(quality);
            Ok(())
        }
        std::collections::btree_map::Entry::Occupied(mut occupied) => occupied.get_mut().merge(&quality),
    }
}
