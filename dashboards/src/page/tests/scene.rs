//! A board with a story on it: a model that drifts and has retrained, one that is well, one that is blind, one that never had
//! a window, and one whose names are hostile.

use crate::fixtures::{HOUR, attempted, ended, event, first_promoted, judged, promoted, registered, request, trained};
use crate::read_model::{BoardLimits, ReadModel};
use detectors::threshold::ThresholdSource;
use detectors::verdict::*;
use detectors::windows::Window;
use retrain::lifecycle::{EpisodeOutcome, LifecycleEvent, ModelEvent};
use retrain::progress::EpisodeProgress;
use std::collections::BTreeMap;

/// 2026-01-05, a Monday.
const START_MS: i64 = 1_767_571_200_000;
/// Windows of the model that drifts.
pub(super) const WINDOWS: i64 = 40;
/// The window in which its inputs shift.
const SHIFT: i64 = 30;
/// A name that breaks what does not escape it.
pub(super) const HOSTILE: &str = "<script>alert('x')</script>\"&amp;/../%2F";

pub(super) fn north() -> Segment {
    Segment { dimension: "region".to_owned(), value: "north".to_owned() }
}

fn south() -> Segment {
    Segment { value: "south".to_owned(), ..north() }
}

fn test(subject: &str, test: &str, score: f64) -> TestResult {
    let (threshold, threshold_from) = match test {
        "psi" => (0.2, ThresholdSource::Fixed),
        "jensen_shannon" => (0.1, ThresholdSource::MinimumEffect),
        _ => (0.12, ThresholdSource::ReferenceWindows),
    };
    let (subject, test) = (subject.to_owned(), test.to_owned());
    TestResult { subject, test, score, threshold, threshold_from, p_value: Some(1e-6), exceeded: score > threshold }
}

/// A verdict that says nothing yet, of the window that ends at this hour.
fn blank(model: &str, hour: i64, monitor: Monitor, segment: Option<Segment>) -> Verdict {
    let window = Window { start_ms: START_MS + (hour - 1) * HOUR, end_ms: START_MS + hour * HOUR };
    let name = monitor.name().to_owned();
    let of = segment.as_ref().map(|segment| segment.value.clone()).unwrap_or_default();
    let id = format!(
        "{:032x}",
        name.len() as i64 * 1_000_000 + i64::from(of.bytes().next().unwrap_or_default()) * 1_000 + hour
    );
    Verdict {
        id: if model == "admission" { id } else { format!("{model} {name} {of} {hour}") },
        model: model.to_owned(),
        version: "v1".to_owned(),
        reference: Some("3f9a1c2b77d0".to_owned()),
        borrowed_reference: false,
        segment,
        monitor,
        window,
        inputs: (0..4)
            .map(|partition| InputRange {
                topic: "inferences".to_owned(),
                partition,
                from: 1_000 * hour,
                to: 1_000 * hour + 512,
            })
            .collect(),
        finality: Finality::Final,
        severity: Severity::Stable,
        rows: 1_900 + 37 * (hour % 9),
        labelled: None,
        tests: Vec::new(),
        attribution: Vec::new(),
        metrics: BTreeMap::new(),
        change_point_ms: None,
        summary: "no column moved beyond what the reference does on its own".to_owned(),
    }
}

fn severity(hour: i64) -> Severity {
    match hour {
        17 => Severity::Inconclusive(Why::TooFewRows { rows: 12, needed: 100 }),
        9 | SHIFT => Severity::Warning,
        _ if hour > SHIFT => Severity::Drift,
        _ => Severity::Stable,
    }
}

fn wobble(hour: i64, step: f64) -> f64 {
    0.5 + 0.5 * (hour as f64 * step).sin()
}

pub(super) fn drift(hour: i64, segment: Option<Segment>) -> Verdict {
    let is_south = segment.as_ref().is_some_and(|segment| segment.value == "south");
    let moved = if hour >= SHIFT && !is_south { 1.0 } else { 0.0 };
    let mut verdict = blank("admission", hour, Monitor::Drift, segment);
    verdict.severity = if is_south { Severity::Stable } else { severity(hour) };
    if matches!(verdict.severity, Severity::Inconclusive(_)) {
        verdict.summary = "12 rows: a judgement needs 100".to_owned();
        return verdict;
    }
    let warned = if hour == 9 { 0.08 } else { 0.0 };
    verdict.tests = vec![
        test("age", "wasserstein", 0.03 + 0.03 * wobble(hour, 1.1)),
        test("age", "jensen_shannon", 0.02 + 0.03 * wobble(hour, 0.7)),
        test("heart_rate", "wasserstein", 0.03 + 0.04 * wobble(hour, 1.9) + 0.52 * moved + warned),
        test("heart_rate", "jensen_shannon", 0.02 + 0.03 * wobble(hour, 2.3) + 0.21 * moved),
        test("arrival_mode", "jensen_shannon", 0.02 + 0.03 * wobble(hour, 1.3) + 0.12 * moved),
        test("score", "wasserstein", 0.03 + 0.05 * wobble(hour, 0.9) + 0.1 * moved),
    ];
    if moved > 0.0 {
        verdict.attribution = attribution();
        verdict.summary = "`heart_rate` moved: 35 % of the mass, towards higher values; 3 of 9 columns; concentrated in `region = north`".to_owned();
    }
    verdict
}

fn attribution() -> Vec<Attribution> {
    let part = |column: &str, contribution, moved_share, towards: &str| Attribution {
        column: column.to_owned(),
        contribution,
        moved_share,
        towards: Some(towards.to_owned()),
        segment: None,
        distribution: None,
    };
    vec![
        Attribution {
            segment: Some(north()),
            distribution: Some(numbers()),
            ..part("heart_rate", 0.82, 0.35, "higher values")
        },
        Attribution { distribution: Some(categories()), ..part("arrival_mode", 0.13, 0.14, "`ambulance`") },
        part("score", 0.05, 0.09, "higher values"),
    ]
}

fn numbers() -> Distribution {
    let outside = |kind, reference, rows| OutsideCount { kind, reference, rows };
    Distribution {
        bins: Bins::Numeric { edges: vec![58.0, 64.5, 69.0, 73.0, 77.5, 82.0, 87.0, 93.5, 103.0] },
        reference: vec![0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.099],
        rows: vec![41, 62, 70, 88, 121, 170, 214, 281, 372, 482],
        outside: vec![outside(OutsideKind::Above, 0.0, 57), outside(OutsideKind::Null, 0.001, 2)],
        reference_quantiles: Some(Quantiles { p5: 52.0, p50: 77.5, p95: 112.0 }),
        quantiles: Some(Quantiles { p5: 60.1, p50: 93.0, p95: 128.4 }),
    }
}

fn categories() -> Distribution {
    let names = ["walk-in", "ambulance", "referred by a general practitioner", "helicopter"];
    let outside = |kind, reference, rows| OutsideCount { kind, reference, rows };
    Distribution {
        bins: Bins::Categories { names: names.map(str::to_owned).to_vec() },
        reference: vec![0.55, 0.24, 0.18, 0.02],
        rows: vec![820, 730, 330, 31],
        outside: vec![outside(OutsideKind::Other, 0.01, 12), outside(OutsideKind::Unseen, 0.0, 37)],
        reference_quantiles: None,
        quantiles: None,
    }
}

pub(super) fn quality(hour: i64, finality: Finality) -> Verdict {
    let mut verdict = blank("admission", hour, Monitor::Quality, None);
    let value = 0.842 - 0.02 * wobble(hour, 1.7) - if hour > SHIFT { 0.11 } else { 0.0 };
    let estimate = |value| Estimate { value, standard_error: Some(0.011) };
    verdict.metrics = [("accuracy", value), ("f1", value - 0.05), ("log_loss", 1.2 - value)]
        .map(|(name, value)| (name.to_owned(), estimate(value)))
        .into();
    verdict.labelled = Some(verdict.rows * 9 / 10);
    verdict.finality = finality;
    if finality == Finality::Provisional {
        (verdict.severity, verdict.labelled) = (Severity::Learning, Some(verdict.rows / 3));
        verdict.summary = "labels are not mature".to_owned();
        return verdict;
    }
    let mut found = test("accuracy", "accuracy_drop", 0.84 - value);
    (found.threshold, found.p_value, found.exceeded) = (0.05, None, 0.84 - value > 0.05);
    verdict.severity = if hour > SHIFT + 1 { Severity::Drift } else { Severity::Stable };
    verdict.summary = match found.exceeded {
        true => format!("accuracy is {value:.3}, down from 0.840 in the reference"),
        false => format!("accuracy is {value:.3}, like 0.840 in the reference"),
    };
    verdict.tests = vec![found];
    verdict
}

fn fault(hour: i64) -> Verdict {
    let mut verdict = blank("admission", hour, Monitor::DataQuality, None);
    let share = if hour == WINDOWS { 0.412 } else { 0.01 };
    let mut found = test("age", "null_share", share);
    (found.threshold, found.p_value, found.exceeded) = (0.06, None, share > 0.06);
    verdict.summary = match found.exceeded {
        true => "null_share of `age` is 41.2 % (limit 6.0 %); 1 such findings".to_owned(),
        false => "no share of odd values is beyond its limit".to_owned(),
    };
    verdict.severity = if found.exceeded { Severity::Warning } else { Severity::Stable };
    verdict.tests = vec![found];
    verdict
}

fn of(model: &str, mut made: ModelEvent) -> ModelEvent {
    made.model = model.to_owned();
    made.time_ms += START_MS;
    made
}

/// The board.
pub(super) fn read_model() -> ReadModel {
    let mut read_model = ReadModel::new(BoardLimits::default());
    read_model.configure(["admission", "fare", "quiet", "triage"].map(str::to_owned));
    let mut record = |verdict: Verdict| read_model.record_monitor_event(&judged(verdict));
    for hour in 1..=WINDOWS {
        for segment in [None, Some(north()), Some(south())] {
            record(drift(hour, segment));
        }
        record(fault(hour));
        record(quality(hour, if hour > WINDOWS - 2 { Finality::Provisional } else { Finality::Final }));
        record(blank("quiet", hour, Monitor::Drift, None));
        let why = Why::TooFewLabels { labelled: 0, needed: 100 };
        let blind = blank("triage", hour, Monitor::Quality, None);
        let summary = "no label has come".to_owned();
        record(Verdict { severity: Severity::Inconclusive(why), labelled: Some(0), summary, ..blind });
    }
    hostile(&mut read_model);
    life(&mut read_model);
    read_model
}

/// A model, a version, a slice, a column and a category that all are called the same.
fn hostile(read_model: &mut ReadModel) {
    let segment = Segment { dimension: HOSTILE.to_owned(), value: HOSTILE.to_owned() };
    for segment in [None, Some(segment)] {
        let mut verdict = Verdict { model: HOSTILE.to_owned(), ..drift(WINDOWS, None) };
        verdict.id = format!("{HOSTILE} {}", segment.is_some());
        (verdict.version, verdict.segment, verdict.summary) = (HOSTILE.to_owned(), segment, HOSTILE.to_owned());
        for part in &mut verdict.attribution {
            (part.column, part.towards) = (HOSTILE.to_owned(), Some(HOSTILE.to_owned()));
            part.segment = verdict.segment.clone();
            part.distribution =
                Some(Distribution { bins: Bins::Categories { names: vec![HOSTILE.to_owned(); 4] }, ..categories() });
        }
        verdict.tests.iter_mut().for_each(|test| (test.subject, test.test) = (HOSTILE.to_owned(), HOSTILE.to_owned()));
        read_model.record_monitor_event(&judged(verdict));
    }
    let mut registered = event(0, registered(HOSTILE));
    registered.model = HOSTILE.to_owned();
    if let LifecycleEvent::VersionRegistered { version } = &mut registered.event {
        version.lineage.cause = HOSTILE.to_owned();
        version.lineage.parameters = [(HOSTILE.to_owned(), HOSTILE.to_owned())].into();
    }
    read_model.record_model_event(&registered);
}

/// Two episodes: one that ended in a promotion, and one on trial.
fn life(read_model: &mut ReadModel) {
    let mut first = request("r-1", 5);
    first.model = "admission".to_owned();
    first.cause.summary = "accuracy is 0.761, down from 0.840 in the reference".to_owned();
    first.time_ms += START_MS;
    let mut second = request("r-2", 33);
    (second.model, second.time_ms) = ("admission".to_owned(), START_MS + 33 * HOUR);
    second.cause.id = quality(33, Finality::Final).id;
    second.cause.summary = quality(33, Finality::Final).summary;
    let opened = |request: &retrain::request::RetrainRequest| crate::fixtures::opened(request.clone());
    let story = [
        (0, registered("v0")),
        (0, first_promoted("v0")),
        (5, opened(&first)),
        (5, attempted(first.clone())),
        (6, registered("v1")),
        (6, trained("r-1", "v1")),
        (8, promoted("r-1", "v1", "v0")),
        (9, ended("r-1", EpisodeOutcome::Recovered)),
        (33, opened(&second)),
        (33, attempted(second.clone())),
        (34, registered("v2")),
        (34, trained("r-2", "v2")),
    ];
    for (hour, told) in story {
        read_model.record_model_event(&of("admission", event(hour, told)));
    }
    let progress = crate::fixtures::progress("r-2");
    let change_ms = START_MS + 30 * HOUR;
    read_model.record_progress(&EpisodeProgress {
        model: "admission".to_owned(),
        change_ms,
        time_ms: START_MS + 38 * HOUR,
        ..progress
    });
}
