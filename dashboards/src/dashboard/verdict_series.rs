//! The series of verdicts: what each model, version, segment and monitor came to.
//!
//! The state is latched: a window that cannot be judged says so beside it and changes nothing, so that too few rows are never
//! taken for an end of drift. A figure that the newest window does not have ends, rather than standing for a window long past.
//! Provisional verdicts show quality and coverage alone, under a label that says so. Sequential detectors only ever tell of a
//! change: they have no state, but the time of the last.
//!
//! A slice that has had no rows while some windows of its model have passed loses its series: [`KEPT_WINDOWS`], or
//! [`RETIRED_WINDOWS`] where its version is neither champion nor challenger of a model that has a champion.

use super::lifecycle_series::LifecycleSeries;
use super::slice::{FINAL, Slice, Worth};
use super::{quality_series, test_series};
use crate::catalogue::{
    CONTRIBUTION, DRIFT_SINCE, DRIFT_STATE, EXCEEDED_TESTS, LABEL_COVERAGE, LAST_DRIFT, MOVED, Metric, QUALITY,
    QUALITY_BASELINE, QUALITY_STANDARD_ERROR, VERDICTS, WINDOW_END, WINDOW_JUDGED, WINDOW_ROWS, WINDOW_UNJUDGED,
};
use crate::exporter::Exporter;
use detectors::verdict::{Finality, Monitor, Severity, Verdict, Why};
use std::collections::HashMap;
use test_series::TestSeries;

/// Every metric set here whose first labels are model, version and segment.
const BY_VERSION: [&Metric; 13] = [
    &DRIFT_STATE,
    &DRIFT_SINCE,
    &LAST_DRIFT,
    &WINDOW_JUDGED,
    &WINDOW_UNJUDGED,
    &WINDOW_ROWS,
    &WINDOW_END,
    &EXCEEDED_TESTS,
    &CONTRIBUTION,
    &MOVED,
    &QUALITY,
    &QUALITY_STANDARD_ERROR,
    &QUALITY_BASELINE,
];

/// Those with a label for the monitor behind.
const OF_WINDOWS: [&Metric; 8] = [
    &DRIFT_STATE,
    &DRIFT_SINCE,
    &LAST_DRIFT,
    &WINDOW_JUDGED,
    &WINDOW_UNJUDGED,
    &WINDOW_ROWS,
    &WINDOW_END,
    &EXCEEDED_TESTS,
];

/// So many of its own windows a slice is shown after the last that had rows, while others of its model go on.
const KEPT_WINDOWS: i64 = 8;
/// The same of a version that has no role any more.
const RETIRED_WINDOWS: i64 = 2;

/// So many columns of a drift are named, of all traffic and of a segment.
const COLUMNS_NAMED: (usize, usize) = (3, 1);

/// What windows that can be judged come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stable,
    Warning,
    Drift,
}

/// What is on show of a slice.
#[derive(Debug, Default)]
struct Shown {
    start_ms: i64,
    end_ms: i64,
    /// The last word of a window that could be judged; `None` before there was one.
    state: Option<State>,
    /// Since when it drifts, by the log's clock.
    since_ms: Option<i64>,
    /// Why the newest window could not be judged; `None` where it was.
    unjudged: Option<&'static str>,
    /// The columns that are named.
    columns: Vec<String>,
}

/// Remembers what is on show, so that it can be taken down.
#[derive(Debug)]
pub(super) struct VerdictSeries {
    shown: HashMap<Slice, Shown>,
    tests: TestSeries,
}

/// Ends every series that is set here.
pub(super) fn clear(exporter: &Exporter) {
    for metric in BY_VERSION.into_iter().chain(test_series::ALL).chain([&VERDICTS, &LABEL_COVERAGE]) {
        exporter.remove_where(metric, |_| true);
    }
}

/// A verdict, and when the log was told of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) at_ms: i64,
}

impl VerdictSeries {
    /// Shows at most so many tests of each model.
    pub(super) fn new(tests_of_model: usize) -> Self {
        Self { shown: HashMap::new(), tests: TestSeries::new(tests_of_model) }
    }

    pub(super) fn tests_of_model(&self) -> usize {
        self.tests.most_of_model()
    }

    /// Shows a verdict, unless its slice has one of a later window or, if final, of the same; says whether it did.
    pub(super) fn show(&mut self, told: Told<'_>, roles: &LifecycleSeries, exporter: &Exporter) -> bool {
        let verdict = told.verdict;
        let slice = Slice::of(verdict);
        let (end_ms, is_final) = (verdict.window.end_ms, verdict.finality == Finality::Final);
        let earlier = self.shown.get(&slice);
        if earlier.is_some_and(|shown| end_ms < shown.end_ms || (is_final && end_ms == shown.end_ms)) {
            return false;
        }
        let shown = Shown::after(earlier, &slice, told);
        if is_final {
            slice.count(told, exporter);
        }
        if is_final && !matches!(verdict.monitor, Monitor::Sequential(_)) {
            slice.set(earlier, &shown, verdict, exporter);
            self.tests.show(&slice, verdict, exporter);
        }
        if verdict.monitor == Monitor::Quality {
            quality_series::show(&slice, shown.worth(&slice), verdict, exporter);
        }
        self.end_those_long_before(&slice, end_ms, roles, exporter);
        self.shown.insert(slice, shown);
        true
    }

    /// Ends the series of slices of the same kind whose last windows lie long before this time.
    fn end_those_long_before(&mut self, newer: &Slice, end_ms: i64, roles: &LifecycleSeries, exporter: &Exporter) {
        let is_of_kind = |slice: &Slice| {
            (&slice.model, &slice.monitor, slice.finality) == (&newer.model, &newer.monitor, newer.finality)
        };
        let is_over = |slice: &Slice, shown: &Shown| {
            let kept = if roles.has_retired(&slice.model, &slice.version) { RETIRED_WINDOWS } else { KEPT_WINDOWS };
            end_ms - shown.end_ms >= kept * (shown.end_ms - shown.start_ms)
        };
        let over: Vec<_> = self.shown.extract_if(|slice, shown| is_of_kind(slice) && is_over(slice, shown)).collect();
        if over.is_empty() {
            return;
        }
        over.iter().for_each(|(slice, _)| slice.end(exporter));
        self.tests.end(&newer.model, |slice| over.iter().any(|(gone, _)| gone == slice), exporter);
    }

    /// Takes down every version of a model but these.
    pub(super) fn forget_versions(&mut self, model: &str, kept: &[&str], exporter: &Exporter) {
        let is_gone = |slice: &Slice| slice.model == model && !kept.contains(&slice.version.as_str());
        self.shown.retain(|slice, _| !is_gone(slice));
        self.tests.end(model, is_gone, exporter);
        for metric in BY_VERSION.into_iter().chain([&LABEL_COVERAGE]) {
            exporter.remove_where(metric, |labels| match labels {
                [of, version, ..] => of == model && !kept.contains(&version.as_str()),
                _ => false,
            });
        }
    }
}

impl State {
    const ALL: [Self; 3] = [Self::Stable, Self::Warning, Self::Drift];

    /// What a window comes to; `None` of one that could not be judged.
    fn of(severity: &Severity) -> Option<Self> {
        match severity {
            Severity::Stable => Some(Self::Stable),
            Severity::Warning => Some(Self::Warning),
            Severity::Drift => Some(Self::Drift),
            Severity::Learning | Severity::Inconclusive(_) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Warning => "warning",
            Self::Drift => "drift",
        }
    }
}

impl Shown {
    /// What is to be shown after a verdict: one that could not be judged leaves the state, and its causes, as they were.
    fn after(earlier: Option<&Self>, slice: &Slice, told: Told<'_>) -> Self {
        let verdict = told.verdict;
        let judged = State::of(&verdict.severity);
        let state = judged.or(earlier.and_then(|shown| shown.state));
        let since_ms = earlier.and_then(|shown| shown.since_ms);
        let named = if slice.is_whole() { COLUMNS_NAMED.0 } else { COLUMNS_NAMED.1 };
        let columns = match (judged, &verdict.monitor) {
            (Some(State::Drift), Monitor::Drift) => {
                verdict.attribution.iter().take(named).map(|part| part.column.clone()).collect()
            }
            (None, _) => earlier.map(|shown| shown.columns.clone()).unwrap_or_default(),
            _ => Vec::new(),
        };
        Self {
            start_ms: verdict.window.start_ms,
            end_ms: verdict.window.end_ms,
            state,
            since_ms: (state == Some(State::Drift)).then(|| since_ms.unwrap_or(told.at_ms)),
            unjudged: why_unjudged(&verdict.severity).filter(|_| slice.is_whole()),
            columns,
        }
    }
}

impl Shown {
    fn worth(&self, slice: &Slice) -> Worth {
        let is_stable = self.state.is_none_or(|state| state == State::Stable);
        if slice.is_whole() || !is_stable { Worth::Full } else { Worth::Brief }
    }
}

impl Slice {
    fn count(&self, Told { verdict, at_ms }: Told<'_>, exporter: &Exporter) {
        exporter.add(&VERDICTS, &[&self.model, &self.monitor, verdict.severity.name()], 1);
        if verdict.severity == Severity::Drift {
            exporter.set(&LAST_DRIFT, &self.labels(), seconds(at_ms));
        }
    }

    /// Shows what there is of a window in place of what was shown of an earlier one.
    fn set(&self, earlier: Option<&Shown>, shown: &Shown, verdict: &Verdict, exporter: &Exporter) {
        if let Some(earlier) = earlier {
            self.take_down(earlier, shown, exporter);
        }
        self.set_window(shown, verdict, exporter);
        self.set_state(shown, verdict, exporter);
        self.set_columns(shown, verdict, exporter);
    }

    /// Ends what was shown of an earlier window and is not of the newer.
    fn take_down(&self, earlier: &Shown, newer: &Shown, exporter: &Exporter) {
        let [model, version, segment, monitor] = self.labels();
        if let Some(why) = earlier.unjudged.filter(|why| newer.unjudged != Some(*why)) {
            exporter.remove(&WINDOW_UNJUDGED, &[model, version, segment, monitor, why]);
        }
        for column in earlier.columns.iter().filter(|column| !newer.columns.contains(column)) {
            exporter.remove(&CONTRIBUTION, &[model, version, segment, column]);
            exporter.remove(&MOVED, &[model, version, segment, column]);
        }
    }

    fn set_window(&self, shown: &Shown, verdict: &Verdict, exporter: &Exporter) {
        let labels @ [model, version, segment, monitor] = self.labels();
        // Data quality looks at the same windows as drift, and quality at the same rows later.
        if verdict.monitor == Monitor::Drift {
            exporter.set(&WINDOW_ROWS, &labels, verdict.rows as f64);
        }
        if self.is_whole() && verdict.monitor != Monitor::DataQuality {
            exporter.set(&WINDOW_END, &labels, seconds(verdict.window.end_ms));
        }
        if let Some(why) = shown.unjudged {
            exporter.set(&WINDOW_UNJUDGED, &[model, version, segment, monitor, why], 1.0);
        }
    }

    fn set_state(&self, shown: &Shown, verdict: &Verdict, exporter: &Exporter) {
        let labels @ [model, version, segment, monitor] = self.labels();
        let worth = shown.worth(self);
        for state in State::ALL {
            let labels = [model, version, segment, monitor, state.name()];
            match shown.state.filter(|_| worth == Worth::Full) {
                Some(now) => exporter.set(&DRIFT_STATE, &labels, f64::from(u8::from(state == now))),
                None => exporter.remove(&DRIFT_STATE, &labels),
            }
        }
        let known = |value: f64| if worth == Worth::Full { value } else { f64::NAN };
        let is_judged = State::of(&verdict.severity).is_some();
        exporter.set(&WINDOW_JUDGED, &labels, known(f64::from(u8::from(is_judged))));
        let exceeded = verdict.tests.iter().filter(|test| test.exceeded).count();
        if verdict.monitor != Monitor::Quality {
            exporter.set(&EXCEEDED_TESTS, &labels, known(exceeded as f64));
        }
        exporter.set(&DRIFT_SINCE, &labels, shown.since_ms.map_or(f64::NAN, seconds));
    }

    /// Names the first columns of a drift; a window that could not be judged leaves those that were named.
    fn set_columns(&self, shown: &Shown, verdict: &Verdict, exporter: &Exporter) {
        let [model, version, segment, _] = self.labels();
        for part in verdict.attribution.iter().filter(|part| shown.columns.contains(&part.column)) {
            let labels = [model, version, segment, &part.column];
            exporter.set(&CONTRIBUTION, &labels, part.contribution);
            exporter.set(&MOVED, &labels, part.moved_share);
        }
    }

    /// Ends all of its series but those of tests.
    fn end(&self, exporter: &Exporter) {
        if self.finality == FINAL {
            let [model, version, segment, monitor] = self.labels();
            let is_own = |labels: &[String]| labels.iter().zip(self.labels()).all(|(is, of)| is == of);
            OF_WINDOWS.iter().for_each(|metric| exporter.remove_where(metric, is_own));
            let is_of_slice = |labels: &[String]| labels.iter().zip([model, version, segment]).all(|(is, of)| is == of);
            for metric in [&CONTRIBUTION, &MOVED].into_iter().filter(|_| monitor == Monitor::Drift.name()) {
                exporter.remove_where(metric, is_of_slice);
            }
        }
        if self.monitor == Monitor::Quality.name() {
            quality_series::end(self, exporter);
        }
    }
}

/// Why a window could not be judged; `None` where it was.
fn why_unjudged(severity: &Severity) -> Option<&'static str> {
    match severity {
        Severity::Stable | Severity::Warning | Severity::Drift => None,
        Severity::Learning => Some("learning"),
        Severity::Inconclusive(why) => Some(match why {
            Why::TooFewRows { .. } => "too_few_rows",
            Why::TooFewLabels { .. } => "too_few_labels",
            Why::Unusable { .. } => "unusable",
            Why::ReferenceTooShort { .. } => "reference_too_short",
            Why::OutOfReach { .. } => "out_of_reach",
            Why::NotInReference => "not_in_reference",
        }),
    }
}

fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}
