//! The series of labelled quality: of all traffic the metrics that people ask for first, of a segment the one it is judged by and,
//! while that is not as it was, its error, its reference and its coverage.
//!
//! A verdict holds what a metric fell or rose by against the reference, and not the reference's own value: that follows. A fall
//! is in the metric's unit; a rise is a multiple of the reference's value, or in the unit where that is 0.

use super::slice::{FINAL, Slice, Worth};
use crate::catalogue::{LABEL_COVERAGE, Metric, QUALITY, QUALITY_BASELINE, QUALITY_STANDARD_ERROR};
use crate::exporter::Exporter;
use detectors::verdict::{TestResult, Verdict};

/// The metrics that quality is judged by, of a classifier and of a regression.
const HEADLINES: [&str; 2] = ["accuracy", "mae"];
/// Those beside them that are shown of all traffic.
const OTHERS: [&str; 4] = ["balanced_accuracy", "roc_auc", "log_loss", "rmse"];

/// Shows what the newest window has of them, and ends the others.
pub(super) fn show(slice: &Slice, worth: Worth, verdict: &Verdict, exporter: &Exporter) {
    let Slice { model, version, segment, finality, .. } = slice;
    let is_final = *finality == FINAL;
    let detail = |value: f64| if worth == Worth::Full { value } else { f64::NAN };
    let others = OTHERS.iter().filter(|_| is_final && slice.is_whole());
    for metric in HEADLINES.iter().chain(others) {
        let found = verdict.metrics.get(*metric);
        let value = found.map_or(f64::NAN, |estimate| estimate.value);
        exporter.set(&QUALITY, &[model, version, segment, metric, finality], value);
        if is_final {
            let labels = [model.as_str(), version, segment, metric];
            let standard_error = found.and_then(|estimate| estimate.standard_error);
            exporter.set(&QUALITY_STANDARD_ERROR, &labels, detail(standard_error.unwrap_or(f64::NAN)));
            let test = verdict.tests.iter().find(|test| test.subject == **metric);
            exporter.set(&QUALITY_BASELINE, &labels, detail(test.map_or(f64::NAN, |test| baseline(value, test))));
        }
    }
    if is_final || slice.is_whole() {
        // A window without rows, or without word of labels, divides to NaN: its coverage is unknown.
        let labelled = verdict.labelled.map_or(f64::NAN, |labelled| labelled as f64);
        exporter.set(&LABEL_COVERAGE, &[model, version, segment, finality], detail(labelled / verdict.rows as f64));
    }
}

/// The reference's value of a metric, from this window's and by how much that is worse.
fn baseline(value: f64, test: &TestResult) -> f64 {
    if test.test.ends_with("_drop") {
        return value + test.score;
    }
    // Of a reference without error the rise is the error itself.
    if value == test.score { 0.0 } else { value / (1.0 + test.score) }
}

/// Ends every series of the slice.
pub(super) fn end(slice: &Slice, exporter: &Exporter) {
    let is_own = |labels: &[String]| labels.iter().zip(slice.labels()).take(3).all(|(is, of)| is == of);
    let is_of_finality = |labels: &[String]| is_own(labels) && labels.last().is_some_and(|last| last == slice.finality);
    exporter.remove_where(&QUALITY, is_of_finality);
    exporter.remove_where(&LABEL_COVERAGE, is_of_finality);
    if slice.finality == FINAL {
        let of_final: [&Metric; 2] = [&QUALITY_STANDARD_ERROR, &QUALITY_BASELINE];
        of_final.iter().for_each(|metric| exporter.remove_where(metric, is_own));
    }
}
