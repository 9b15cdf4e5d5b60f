//! The series of verdicts: what the newest window of each model, version, segment and monitor says.
//!
//! A window shows its own figures or none: a test that the newest window could not run loses its series, rather than
//! keeping the value of a window long past. Severities and scores are those of final verdicts; provisional ones show their
//! quality and coverage alone, under a label that says so.
//!
//! A slice that has had no rows while [`KEPT_WINDOWS`] windows of its model have passed loses its series: a version that was
//! replaced elsewhere, or a value of a segment that comes no more. So those of what is alive find room.

use crate::catalogue::{
    DRIFT_P_VALUE, DRIFT_SCORE, DRIFT_THRESHOLD, LABEL_COVERAGE, Metric, QUALITY, VERDICTS, WINDOW_END, WINDOW_ROWS,
    WINDOW_SEVERITY,
};
use crate::exporter::Exporter;
use crate::read_model::segment_name;
use detectors::verdict::{Finality, Monitor, Severity, Verdict};
use std::collections::HashMap;

/// Every metric set here whose first labels are model and version.
const BY_VERSION: [&Metric; 8] = [
    &DRIFT_SCORE,
    &DRIFT_THRESHOLD,
    &DRIFT_P_VALUE,
    &WINDOW_SEVERITY,
    &WINDOW_ROWS,
    &WINDOW_END,
    &QUALITY,
    &LABEL_COVERAGE,
];

/// The label of what is final.
const FINAL: &str = "final";

/// So many of its own windows a slice is shown after the last that had rows, while others of its model go on.
const KEPT_WINDOWS: i64 = 8;

/// What a sequence of windows is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slice {
    model: String,
    version: String,
    segment: String,
    monitor: String,
    finality: &'static str,
}

/// What is on show of a slice's newest window.
#[derive(Debug, Default)]
struct Shown {
    start_ms: i64,
    end_ms: i64,
    /// Column and test.
    tests: Vec<(String, String)>,
    /// Names of quality metrics.
    metrics: Vec<String>,
}

/// Remembers what is on show, so that it can be taken down.
#[derive(Debug, Default)]
pub(super) struct VerdictSeries {
    shown: HashMap<Slice, Shown>,
}

/// Ends every series that is set here.
pub(super) fn clear(exporter: &Exporter) {
    for metric in BY_VERSION.into_iter().chain([&VERDICTS]) {
        exporter.remove_where(metric, |_| true);
    }
}

impl VerdictSeries {
    /// Shows a verdict, unless its slice has one of a later window or, if final, of the same.
    pub(super) fn show(&mut self, verdict: &Verdict, exporter: &Exporter) {
        let slice = Slice::of(verdict);
        let shown = self.shown.get(&slice);
        let (end_ms, is_final) = (verdict.window.end_ms, verdict.finality == Finality::Final);
        if shown.is_some_and(|shown| end_ms < shown.end_ms || (is_final && end_ms == shown.end_ms)) {
            return;
        }
        if let Some(shown) = shown {
            slice.take_down(shown, verdict, exporter);
        }
        if is_final {
            slice.set_window(verdict, exporter);
            slice.set_tests(verdict, exporter);
        }
        if verdict.monitor == Monitor::Quality {
            slice.set_quality(verdict, exporter);
        }
        self.end_those_long_before(&slice, end_ms, exporter);
        self.shown.insert(slice, Shown::of(verdict));
    }

    /// Ends the series of slices of the same kind whose last windows lie long before this time.
    fn end_those_long_before(&mut self, newer: &Slice, end_ms: i64, exporter: &Exporter) {
        let is_of_kind = |slice: &Slice| {
            (&slice.model, &slice.monitor, slice.finality) == (&newer.model, &newer.monitor, newer.finality)
        };
        let is_over = |shown: &Shown| end_ms - shown.end_ms >= KEPT_WINDOWS * (shown.end_ms - shown.start_ms);
        for (slice, shown) in self.shown.extract_if(|slice, shown| is_of_kind(slice) && is_over(shown)) {
            slice.end(&shown, exporter);
        }
    }

    /// Takes down every version of a model but these.
    pub(super) fn forget_versions(&mut self, model: &str, kept: &[&str], exporter: &Exporter) {
        self.shown.retain(|slice, _| slice.model != model || kept.contains(&slice.version.as_str()));
        for metric in BY_VERSION {
            exporter.remove_where(metric, |labels| match labels {
                [of, version, ..] => of == model && !kept.contains(&version.as_str()),
                _ => false,
            });
        }
    }
}

impl Shown {
    fn of(verdict: &Verdict) -> Self {
        Self {
            start_ms: verdict.window.start_ms,
            end_ms: verdict.window.end_ms,
            tests: verdict.tests.iter().map(|test| (test.subject.clone(), test.test.clone())).collect(),
            metrics: verdict.metrics.keys().cloned().collect(),
        }
    }
}

impl Slice {
    fn of(verdict: &Verdict) -> Self {
        Self {
            model: verdict.model.clone(),
            version: verdict.version.clone(),
            segment: segment_name(verdict.segment.as_ref()),
            monitor: verdict.monitor.name().to_owned(),
            finality: match verdict.finality {
                Finality::Provisional => "provisional",
                Finality::Final => FINAL,
            },
        }
    }

    /// Ends the series of an earlier window that the newer one has nothing for.
    fn take_down(&self, earlier: &Shown, newer: &Verdict, exporter: &Exporter) {
        let Self { model, version, segment, finality, .. } = self;
        for (column, test) in &earlier.tests {
            if !newer.tests.iter().any(|found| found.subject == *column && found.test == *test) {
                for metric in [&DRIFT_SCORE, &DRIFT_THRESHOLD, &DRIFT_P_VALUE] {
                    exporter.remove(metric, &[model, version, segment, column, test]);
                }
            }
        }
        for metric in earlier.metrics.iter().filter(|name| !newer.metrics.contains_key(*name)) {
            exporter.remove(&QUALITY, &[model, version, segment, metric, finality]);
        }
    }

    /// Ends all of its series.
    fn end(&self, shown: &Shown, exporter: &Exporter) {
        let Self { model, version, segment, monitor, finality } = self;
        for (column, test) in &shown.tests {
            for metric in [&DRIFT_SCORE, &DRIFT_THRESHOLD, &DRIFT_P_VALUE] {
                exporter.remove(metric, &[model, version, segment, column, test]);
            }
        }
        for metric in &shown.metrics {
            exporter.remove(&QUALITY, &[model, version, segment, metric, finality]);
        }
        exporter.remove(&LABEL_COVERAGE, &[model, version, segment, finality]);
        if *finality == FINAL {
            for metric in [&WINDOW_SEVERITY, &WINDOW_ROWS, &WINDOW_END] {
                exporter.remove(metric, &[model, version, segment, monitor]);
            }
        }
    }

    fn set_window(&self, verdict: &Verdict, exporter: &Exporter) {
        let labels = [self.model.as_str(), &self.version, &self.segment, &self.monitor];
        exporter.set(&WINDOW_SEVERITY, &labels, severity_code(&verdict.severity));
        exporter.set(&WINDOW_ROWS, &labels, verdict.rows as f64);
        exporter.set(&WINDOW_END, &labels, verdict.window.end_ms as f64 / 1e3);
        exporter.add(&VERDICTS, &[&self.model, &self.monitor, verdict.severity.name()], 1);
    }

    fn set_tests(&self, verdict: &Verdict, exporter: &Exporter) {
        for test in &verdict.tests {
            let labels = [self.model.as_str(), &self.version, &self.segment, &test.subject, &test.test];
            exporter.set(&DRIFT_SCORE, &labels, test.score);
            exporter.set(&DRIFT_THRESHOLD, &labels, test.threshold);
            exporter.set(&DRIFT_P_VALUE, &labels, test.p_value.unwrap_or(f64::NAN));
        }
    }

    fn set_quality(&self, verdict: &Verdict, exporter: &Exporter) {
        let Self { model, version, segment, finality, .. } = self;
        for (name, estimate) in &verdict.metrics {
            exporter.set(&QUALITY, &[model, version, segment, name, finality], estimate.value);
        }
        // A window without rows, or without word of labels, divides to NaN: its coverage is unknown.
        let labelled = verdict.labelled.map_or(f64::NAN, |labelled| labelled as f64);
        exporter.set(&LABEL_COVERAGE, &[model, version, segment, finality], labelled / verdict.rows as f64);
    }
}

/// The number that the catalogue's help explains.
fn severity_code(severity: &Severity) -> f64 {
    match severity {
        Severity::Learning => 0.0,
        Severity::Stable => 1.0,
        Severity::Warning => 2.0,
        Severity::Drift => 3.0,
        Severity::Inconclusive(_) => 4.0,
    }
}
