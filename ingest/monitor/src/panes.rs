//! The open panes and steps of one version: what has been counted and not yet been judged for good.

use capture::partial::{Partial, PartialBody};
use detectors::moments::StepMoments;
use detectors::profile::Profile;
use detectors::quality::Quality;
use detectors::verdict::Segment;
use detectors::windows::Window;
use std::collections::BTreeMap;
use std::fmt::Display;

/// What one pane holds of one slice.
#[derive(Debug, Default)]
pub(super) struct Pane {
    pub(super) rows: i64,
    profile: Option<Profile>,
    /// By how many of the moments at which the pane's labels are asked for they came after; none is empty.
    outcomes: BTreeMap<u32, Option<Quality>>,
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
    steps: BTreeMap<i64, BTreeMap<u32, StepMoments>>,
}

impl Panes {
    /// Adds a partial.
    pub(super) fn add(&mut self, partial: Partial) {
        match partial.body {
            // Late rows count in no window, and which panes are still open when they come depends on the epochs.
            PartialBody::Inputs { late: true, .. } => {}
            PartialBody::Inputs { pane_start_ms, late: false, profile } => {
                let pane = self.pane(pane_start_ms, partial.segment);
                pane.rows += profile.rows();
                add_up(&mut pane.profile, profile, Profile::merge);
            }
            PartialBody::Rows { pane_start_ms, rows } => self.pane(pane_start_ms, partial.segment).rows += rows,
            PartialBody::Outcomes { pane_start_ms, after, quality } => {
                let outcomes = &mut self.pane(pane_start_ms, partial.segment).outcomes;
                add_up(outcomes.entry(after).or_default(), quality, Quality::merge);
            }
            PartialBody::Step { step_start_ms, after, moments } => {
                self.steps.entry(step_start_ms).or_default().entry(after).or_default().merge(&moments);
            }
        }
    }

    /// Everything that `window` holds, by slice, with the labels that came before so many of a pane's moments had passed.
    pub(super) fn window(
        &self,
        window: Window,
        before: impl Fn(i64) -> u32,
    ) -> BTreeMap<Option<Segment>, ClosedWindow> {
        let mut slices: BTreeMap<Option<Segment>, ClosedWindow> = BTreeMap::new();
        for (start_ms, panes) in self.panes.range(window.start_ms..window.end_ms) {
            for (segment, pane) in panes {
                slices.entry(segment.clone()).or_default().add(pane, before(*start_ms));
            }
        }
        slices
    }

    /// The moments of a step's rows whose labels had come by now, when it is handed on.
    pub(super) fn step(&self, start_ms: i64) -> Option<StepMoments> {
        Some(self.steps.get(&start_ms)?.get(&0).copied().unwrap_or_default())
    }

    /// Rows of a span with a prediction whose label had come when their step was handed on.
    pub(super) fn labelled(&self, span: Window) -> i64 {
        let steps = self.steps.range(span.start_ms..span.end_ms);
        steps.filter_map(|(_, moments)| moments.get(&0)).map(|moments| moments.error.n).sum()
    }

    /// Whether there are rows in a window.
    pub(super) fn has_rows(&self, window: Window) -> bool {
        let panes = self.panes.range(window.start_ms..window.end_ms).filter_map(|(_, slices)| slices.get(&None));
        panes.map(|pane| pane.rows).any(|rows| rows > 0)
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.panes.is_empty() && self.steps.is_empty()
    }

    /// Starts of the panes that hold anything, in order.
    pub(super) fn starts(&self) -> impl Iterator<Item = i64> {
        self.panes.keys().copied()
    }

    /// Starts of the steps that hold anything, in order.
    pub(super) fn step_starts(&self) -> impl Iterator<Item = i64> {
        self.steps.keys().copied()
    }

    /// Lets go of the first steps, as long as they are over.
    pub(super) fn forget_steps(&mut self, is_over: impl Fn(i64) -> bool) {
        while self.steps.first_key_value().is_some_and(|(start_ms, _)| is_over(*start_ms)) {
            self.steps.pop_first();
        }
    }

    /// Lets go of panes that start before `time_ms`.
    pub(super) fn forget_before(&mut self, time_ms: i64) {
        self.panes = self.panes.split_off(&time_ms);
    }

    fn pane(&mut self, start_ms: i64, segment: Option<Segment>) -> &mut Pane {
        self.panes.entry(start_ms).or_default().entry(segment).or_default()
    }
}

impl Pane {
    fn outcomes_before(&self, before: u32) -> impl Iterator<Item = &Quality> {
        self.outcomes.range(..before).filter_map(|(_, quality)| quality.as_ref())
    }
}

impl ClosedWindow {
    fn add(&mut self, pane: &Pane, before: u32) {
        self.rows += pane.rows;
        if let Some(profile) = &pane.profile {
            add_up(&mut self.profile, profile.clone(), Profile::merge);
        }
        for quality in pane.outcomes_before(before) {
            add_up(&mut self.quality, quality.clone(), Quality::merge);
        }
    }
}

/// Adds a part to what there is. One that cannot be added takes its place: the model had another task before, and whoever
/// changed that asks for the quality of the new one.
fn add_up<T, E: Display>(so_far: &mut Option<T>, part: T, add: impl Fn(&mut T, &T) -> Result<(), E>) {
    match so_far {
        Some(sum) => {
            if let Err(error) = add(sum, &part) {
                tracing::warn!(%error, "what was counted before a model's configuration changed is left out");
                *sum = part;
            }
        }
        none => *none = Some(part),
    }
}
