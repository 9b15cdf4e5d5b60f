//! One version of a model, counted against one reference: its open panes, its panels, its alarms and detectors.

use super::panes::{ClosedWindow, Panes};
use super::sequential::{Rise, StepDetector, Unsupported};
use capture::join::Dues;
use capture::references::ChosenReference;
use capture::watched::WatchedModel;
use detectors::alarm::Alarm;
use detectors::panel::{Judgement, Outcome, Panel, SegmentMovement, concentrated};
use detectors::verdict::{Estimate, Finality, Monitor, Segment, Severity, Verdict, VerdictKey, Why, verdict_id};
use detectors::windows::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use streams::stage::StageError;

/// What is kept of a version across a restart; its open panes are read again from `partials`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Judged {
    alarms: Vec<((Option<Segment>, Monitor), Alarm)>,
    sequential: Vec<StepDetector>,
    /// Starts of windows whose quality has been judged for good.
    matured: BTreeSet<i64>,
    /// Start of the first of the windows in a row whose quality was below the reference's, by slice.
    below_since: Vec<(Option<Segment>, i64)>,
    /// Windows of the model in a row that closed without a row of this version, and whose quality was judged without one.
    #[serde(default)]
    absent: (u32, u32),
}

/// A version that has had no rows in so many windows of its model is forgotten: when it comes again, it begins anew.
const FORGOTTEN_AFTER: u32 = 8;

impl Judged {
    /// Takes note of whether the version has rows in a window that closes.
    pub(super) fn closes(&mut self, has_rows: bool) {
        self.absent.0 = if has_rows { 0 } else { self.absent.0.saturating_add(1) };
        if self.absent.0 == FORGOTTEN_AFTER {
            self.alarms.retain(|((_, monitor), _)| !matches!(monitor, Monitor::Drift | Monitor::DataQuality));
        }
    }

    /// Takes note of whether the version has rows in a window whose quality is judged for good.
    pub(super) fn matures(&mut self, has_rows: bool) {
        self.absent.1 = if has_rows { 0 } else { self.absent.1.saturating_add(1) };
        if self.absent.1 == FORGOTTEN_AFTER {
            self.alarms.retain(|((_, monitor), _)| matches!(monitor, Monitor::Drift | Monitor::DataQuality));
            self.below_since.clear();
            self.sequential.clear();
        }
    }

    /// Whether there is nothing more to keep of it.
    pub(super) fn is_forgotten(&self, has_labels: bool) -> bool {
        self.absent.0 >= FORGOTTEN_AFTER && (self.absent.1 >= FORGOTTEN_AFTER || !has_labels)
    }
}

/// A moment at which the quality of a window may be judged.
#[derive(Clone, Copy)]
pub(super) struct Maturity<'a> {
    pub(super) dues: &'a Dues,
    pub(super) at_ms: i64,
    /// Whether it is judged then, however few labels have come.
    pub(super) is_last: bool,
}

/// What a version's rows are held against.
pub(super) enum Against {
    /// A reference.
    Reference(ChosenReference),
    /// None, and why where the model has one.
    Nothing(Option<String>),
}

/// A version under watch.
pub(super) struct WatchedVersion {
    watched: Arc<WatchedModel>,
    version: String,
    chosen: Option<ChosenReference>,
    /// Why there is none although the model has one.
    misfit: Option<String>,
    panels: BTreeMap<Option<Segment>, Option<Panel>>,
    /// Sequential detectors that are wanted and that the reference does not support.
    unsupported: Vec<Unsupported>,
    pub(super) panes: Panes,
    pub(super) judged: Judged,
}

impl WatchedVersion {
    pub(super) fn new(watched: Arc<WatchedModel>, version: String, against: Against) -> Result<Self, StageError> {
        let (chosen, misfit) = match against {
            Against::Reference(chosen) => (Some(chosen), None),
            Against::Nothing(misfit) => (None, misfit),
        };
        let (sequential, unsupported) = detectors(&watched, chosen.as_ref())?;
        let judged = Judged { sequential, ..Judged::default() };
        let (panels, panes) = (BTreeMap::new(), Panes::default());
        Ok(Self { watched, version, chosen, misfit, panels, unsupported, panes, judged })
    }

    /// Goes on from what was kept across a restart.
    pub(super) fn resume(&mut self, kept: Judged) {
        let fresh = std::mem::take(&mut self.judged.sequential);
        self.judged = Judged { sequential: StepDetector::resumed(fresh, kept.sequential), ..kept };
    }

    /// Judges the drift and the data quality of a window that has ended, and shows its quality so far.
    pub(super) fn close(&mut self, window: Window) -> Result<Vec<Verdict>, StageError> {
        let slices = self.panes.window(window, |_| u32::MAX);
        self.judged.closes(self.panes.has_rows(window));
        let mut verdicts = Vec::new();
        for (segment, slice) in &slices {
            let (mut drift, data_quality) = match (&slice.profile, self.panel(segment)?) {
                (Some(profile), Some(panel)) => {
                    (Some(panel.judge_drift(profile)), Some(panel.judge_data_quality(profile)))
                }
                _ => (None, None),
            };
            if let (None, Some(judgement)) = (segment, drift.as_mut()) {
                self.locate(judgement, &slices)?;
            }
            verdicts.push(self.judged(window, segment, Monitor::Drift, slice, drift));
            if data_quality.is_some() {
                verdicts.push(self.judged(window, segment, Monitor::DataQuality, slice, data_quality));
            }
            if self.watched.labels.is_some() {
                verdicts.push(self.provisional(window, segment, slice));
            }
        }
        if let Some(overall) = slices.get(&None) {
            verdicts.extend(self.unsupported.iter().map(|detector| self.unwatched(window, detector, overall)));
        }
        Ok(verdicts)
    }

    /// Names for each column that drifted the segment that holds most of its movement, where one does.
    fn locate(
        &mut self,
        judgement: &mut Judgement,
        slices: &BTreeMap<Option<Segment>, ClosedWindow>,
    ) -> Result<(), StageError> {
        let Some(reference) = self.chosen.as_ref().map(|chosen| Arc::clone(&chosen.reference)) else { return Ok(()) };
        let columns = &reference.schema().columns;
        for place in 0..judgement.attribution.len() {
            let column = judgement.attribution.get(place).map(|part| part.column.clone());
            let Some(column) = columns.iter().position(|schema| Some(&schema.name) == column.as_ref()) else {
                continue;
            };
            let mut moved = Vec::new();
            for (segment, slice) in slices {
                let (Some(segment), Some(profile)) = (segment, &slice.profile) else { continue };
                let panel = self.panel(&Some(segment.clone()))?;
                let movement = panel.and_then(|panel| panel.movement(column, profile));
                moved.extend(movement.map(|movement| SegmentMovement::new(segment, slice.rows, &movement)));
            }
            judgement.locate(place, concentrated(&moved));
        }
        Ok(())
    }

    /// Judges the quality of a window for good, if it has not been and its labels that have come by now suffice.
    pub(super) fn mature(&mut self, window: Window, due: Maturity<'_>) -> Result<Vec<Verdict>, StageError> {
        if due.is_last {
            self.matures(window)?;
        }
        if self.judged.matured.contains(&window.start_ms) {
            return Ok(Vec::new());
        }
        let slices = self.panes.window(window, |start_ms| due.dues.of_pane(start_ms, due.at_ms));
        if !due.is_last && !self.is_covered(&slices) {
            return Ok(Vec::new());
        }
        self.judged.matured.insert(window.start_ms);
        let mut verdicts = Vec::new();
        for (segment, slice) in slices {
            let judgement = match (&slice.quality, self.panel(&segment)?) {
                (Some(quality), Some(panel)) => Some(panel.judge_quality(quality)),
                (None, Some(_)) => Some(no_labels()),
                (_, None) => None,
            };
            let since_ms =
                judgement.as_ref().and_then(|judgement| self.below_since(window, &segment, &judgement.outcome));
            let mut verdict = self.judged(window, &segment, Monitor::Quality, &slice, judgement);
            verdict.change_point_ms = since_ms.filter(|_| verdict.severity == Severity::Drift);
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Takes note of whether it has rows in a window whose quality is judged, and begins anew with detectors that were let go.
    fn matures(&mut self, window: Window) -> Result<(), StageError> {
        self.judged.matures(self.panes.has_rows(window));
        if self.judged.sequential.is_empty() {
            self.judged.sequential = detectors(&self.watched, self.chosen.as_ref())?.0;
        }
        Ok(())
    }

    /// Whether nothing is held or kept of it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.panes.is_empty() && self.judged.is_forgotten(self.watched.labels.is_some())
    }

    /// Since when a slice's quality has been below the reference's without a break; `None` where it is not.
    fn below_since(&mut self, window: Window, segment: &Option<Segment>, outcome: &Outcome) -> Option<i64> {
        let below = &mut self.judged.below_since;
        let place = below.iter().position(|(of, _)| of == segment);
        match (outcome, place) {
            (Outcome::Exceeded, None) => below.push((segment.clone(), window.start_ms)),
            (Outcome::Within, Some(place)) => {
                below.swap_remove(place);
            }
            _ => {}
        }
        below.iter().find(|(of, _)| of == segment).map(|(_, since_ms)| *since_ms)
    }

    /// Hands a matured step to the sequential detectors; a verdict for each that finds the error risen.
    pub(super) fn step(&mut self, span: Window) -> Vec<Verdict> {
        let Some(moments) = self.panes.step(span.start_ms) else { return Vec::new() };
        let rises: Vec<_> =
            self.judged.sequential.iter_mut().filter_map(|detector| detector.observe(span, &moments)).collect();
        rises.into_iter().map(|rise| self.risen(span, rise)).collect()
    }

    /// Lets go of panes and marks that nothing can ask for any more.
    pub(super) fn forget_before(&mut self, pane_start_ms: i64, window_start_ms: i64) {
        self.panes.forget_before(pane_start_ms);
        self.judged.matured = self.judged.matured.split_off(&window_start_ms);
    }

    fn is_covered(&self, slices: &BTreeMap<Option<Segment>, ClosedWindow>) -> bool {
        let wanted = self.watched.labels.as_ref().and_then(|labels| labels.coverage);
        let (Some(wanted), Some(overall)) = (wanted, slices.get(&None)) else { return false };
        let labelled = overall.quality.as_ref().map_or(0, |quality| quality.labelled());
        overall.rows > 0 && labelled as f64 / overall.rows as f64 >= wanted
    }

    /// The panel of a slice, learned when it is first asked for; `None` where the reference does not have the slice.
    fn panel(&mut self, segment: &Option<Segment>) -> Result<Option<&Panel>, StageError> {
        let Some(chosen) = self.chosen.as_ref() else { return Ok(None) };
        if !self.panels.contains_key(segment) {
            let slice = chosen.reference.slice_of(segment.as_ref());
            let panel = slice.map(|slice| Panel::learn(&self.watched.panel, &chosen.reference, slice)).transpose();
            let panel = panel.map_err(|error| StageError::failed("learning thresholds", error))?;
            self.panels.insert(segment.clone(), panel);
        }
        Ok(self.panels.get(segment).and_then(Option::as_ref))
    }

    /// The final verdict of a judgement, after hysteresis.
    fn judged(
        &mut self,
        window: Window,
        segment: &Option<Segment>,
        monitor: Monitor,
        slice: &ClosedWindow,
        judgement: Option<Judgement>,
    ) -> Verdict {
        let Some(judgement) = judgement else {
            let severity = match &self.chosen {
                None => Severity::Learning,
                Some(_) => Severity::Inconclusive(Why::NotInReference),
            };
            let verdict = self.verdict(window, segment, monitor, slice, severity);
            let summary = self.misfit.clone().unwrap_or_default();
            return Verdict { summary, ..verdict };
        };
        let severity = self.alarm(segment, &monitor).observe(window, &judgement.outcome);
        let mut verdict = self.verdict(window, segment, monitor, slice, severity);
        verdict.tests = judgement.tests;
        verdict.attribution = judgement.attribution;
        verdict.summary = judgement.summary;
        verdict
    }

    fn provisional(&self, window: Window, segment: &Option<Segment>, slice: &ClosedWindow) -> Verdict {
        let mut verdict = self.verdict(window, segment, Monitor::Quality, slice, Severity::Learning);
        verdict.finality = Finality::Provisional;
        verdict.summary = "labels are not mature".to_owned();
        verdict
    }

    fn verdict(
        &self,
        window: Window,
        segment: &Option<Segment>,
        monitor: Monitor,
        slice: &ClosedWindow,
        severity: Severity,
    ) -> Verdict {
        // How many labels have come by the end of a window depends on how far the label partitions were read.
        let quality = slice.quality.as_ref().filter(|_| monitor == Monitor::Quality);
        let metrics = quality.map(|quality| quality.metrics()).unwrap_or_default();
        let labelled = (monitor == Monitor::Quality).then(|| quality.map_or(0, |quality| quality.labelled()));
        Verdict {
            segment: segment.clone(),
            severity,
            rows: slice.rows,
            labelled,
            metrics,
            ..self.blank(window, monitor, segment)
        }
    }

    /// A verdict that says nothing yet.
    fn blank(&self, window: Window, monitor: Monitor, segment: &Option<Segment>) -> Verdict {
        let reference = self.chosen.as_ref().map(|chosen| chosen.reference.id().to_owned());
        let key = VerdictKey {
            model: &self.watched.name,
            version: &self.version,
            reference: reference.as_deref(),
            segment: segment.as_ref(),
            monitor: &monitor,
            window,
        };
        Verdict {
            id: verdict_id(key),
            model: self.watched.name.to_string(),
            version: self.version.clone(),
            borrowed_reference: self.chosen.as_ref().is_some_and(|chosen| chosen.borrowed),
            reference,
            segment: None,
            monitor,
            window,
            inputs: Vec::new(),
            finality: Finality::Final,
            severity: Severity::Learning,
            rows: 0,
            labelled: None,
            tests: Vec::new(),
            attribution: Vec::new(),
            metrics: BTreeMap::new(),
            change_point_ms: None,
            summary: String::new(),
        }
    }

    fn risen(&self, span: Window, Rise { name, change, values }: Rise) -> Verdict {
        let mut verdict = self.blank(span, Monitor::Sequential(name.clone()), &None);
        verdict.severity = Severity::Drift;
        verdict.rows = values;
        verdict.labelled = Some(values);
        verdict.change_point_ms = Some(change.change_point_ms);
        let estimate = |value| Estimate { value, standard_error: None };
        verdict.metrics = BTreeMap::from([
            ("before".to_owned(), estimate(change.before)),
            ("after".to_owned(), estimate(change.after)),
        ]);
        verdict.summary = format!("{name}: the mean rose from {:.4} to {:.4}", change.before, change.after);
        verdict
    }

    /// That a detector which is wanted does not watch.
    fn unwatched(&self, window: Window, Unsupported { name, why }: &Unsupported, overall: &ClosedWindow) -> Verdict {
        let mut verdict = self.blank(window, Monitor::Sequential((*name).to_owned()), &None);
        verdict.severity = Severity::Inconclusive(Why::NotInReference);
        verdict.rows = overall.rows;
        verdict.summary = format!("{name} does not watch: {why}");
        verdict
    }

    fn alarm(&mut self, segment: &Option<Segment>, monitor: &Monitor) -> &mut Alarm {
        let alarms = &mut self.judged.alarms;
        let is_it = |((of, by), _): &((Option<Segment>, Monitor), Alarm)| of == segment && by == monitor;
        let place = alarms.iter().position(is_it).unwrap_or_else(|| {
            alarms.push(((segment.clone(), monitor.clone()), Alarm::new(self.watched.panel.hysteresis)));
            alarms.len() - 1
        });
        &mut alarms[place].1
    }
}

fn no_labels() -> Judgement {
    Judgement {
        outcome: Outcome::Inconclusive(Why::TooFewLabels { labelled: 0, needed: 1 }),
        tests: Vec::new(),
        attribution: Vec::new(),
        summary: "no label has come".to_owned(),
    }
}

/// The sequential detectors of a version, and those that its reference does not support.
fn detectors(
    watched: &WatchedModel,
    chosen: Option<&ChosenReference>,
) -> Result<(Vec<StepDetector>, Vec<Unsupported>), StageError> {
    if watched.labels.is_none() {
        return Ok((Vec::new(), Vec::new()));
    }
    let all = StepDetector::all(watched, chosen.map(|chosen| &*chosen.reference));
    all.map_err(|error| StageError::failed("setting up sequential detectors", error))
}
