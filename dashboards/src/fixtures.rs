//! Records of one model, `bed`, for the tests of this crate.

use crate::dashboard::ModelFacts;
use crate::exporter::{Exporter, ExporterOptions};
use detectors::schema::{ModelSchema, Task};
use detectors::threshold::ThresholdSource;
use detectors::verdict::{Cut, Estimate, Finality, Monitor, MonitorEvent, Severity, TestResult, Verdict};
use detectors::windows::Window;
use retrain::lifecycle::CandidateKind;
use retrain::lifecycle::EpisodeOutcome;
use retrain::lifecycle::{LifecycleEvent, Lineage, ModelEvent, ModelVersion, PermitRecord, TrialReport};
use retrain::progress::EpisodeProgress;
use retrain::request::{Cause, CauseKind, RetrainRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const HOUR: i64 = 3_600_000;

pub(crate) fn exporter() -> Arc<Exporter> {
    let options = ExporterOptions {
        most_series_per_metric: 1_000,
        most_series_per_model: 1_000,
        version: "0.1.0".to_owned(),
        revision: Some("abc".to_owned()),
    };
    Arc::new(Exporter::new(&options).unwrap())
}

/// The page without comments and buckets, and without what it says of itself and of the process.
pub(crate) fn values(exporter: &Exporter) -> String {
    let page = exporter.render().unwrap();
    let is_told = |line: &&str| {
        !["#", "driftline_series", "process_"].iter().any(|left_out| line.starts_with(left_out))
            && !line.contains("_bucket")
    };
    let lines = page.lines().filter(is_told);
    lines.map(|line| format!("{line}\n")).collect()
}

/// A model of hourly windows, with labels, that is retrained.
pub(crate) fn facts(name: &str) -> ModelFacts {
    ModelFacts {
        name: name.to_owned(),
        window: Duration::from_secs(3_600),
        hop: Duration::from_secs(3_600),
        labels_mature: Some(Duration::from_secs(7_200)),
        disorder: Duration::from_secs(600),
        retrains: true,
        publishes: false,
    }
}

/// A final, stable drift verdict of version `v1` on the hour that ends at `hour`.
pub(crate) fn verdict(id: &str, hour: i64) -> Verdict {
    Verdict {
        id: id.to_owned(),
        model: "bed".to_owned(),
        version: "v1".to_owned(),
        reference: Some("r1".to_owned()),
        borrowed_reference: false,
        segment: None,
        monitor: Monitor::Drift,
        window: Window { start_ms: (hour - 1) * HOUR, end_ms: hour * HOUR },
        inputs: Vec::new(),
        finality: Finality::Final,
        severity: Severity::Stable,
        rows: 500,
        labelled: None,
        tests: vec![test("age", 0.05)],
        attribution: Vec::new(),
        metrics: BTreeMap::new(),
        change_point_ms: None,
        summary: "nothing moved".to_owned(),
    }
}

/// A quality verdict of version `v1` with 300 of 500 rows labelled.
pub(crate) fn quality(id: &str, finality: Finality, accuracy: f64) -> Verdict {
    Verdict {
        monitor: Monitor::Quality,
        finality,
        labelled: Some(300),
        tests: Vec::new(),
        attribution: Vec::new(),
        metrics: BTreeMap::from([("accuracy".to_owned(), Estimate { value: accuracy, standard_error: None })]),
        ..verdict(id, 1)
    }
}

/// A population stability index of a column, against .2.
pub(crate) fn test(subject: &str, score: f64) -> TestResult {
    TestResult {
        subject: subject.to_owned(),
        test: "psi".to_owned(),
        score,
        threshold: 0.2,
        threshold_from: ThresholdSource::Fixed,
        p_value: Some(0.5),
        exceeded: score > 0.2,
    }
}

pub(crate) fn judged(verdict: Verdict) -> MonitorEvent {
    MonitorEvent::Verdict(Box::new(verdict))
}

pub(crate) fn request(id: &str, hour: i64) -> RetrainRequest {
    RetrainRequest {
        id: id.to_owned(),
        model: "bed".to_owned(),
        cause: Cause {
            id: format!("cause of {id}"),
            model: "bed".to_owned(),
            kind: CauseKind::Quality,
            time_ms: hour * HOUR,
            change_point_ms: None,
            summary: "accuracy fell".to_owned(),
        },
        time_ms: hour * HOUR,
        evidence: Vec::new(),
        train_from_ms: 0,
        matured_ms: hour * HOUR,
        credit: 1.0,
        champion: Some("v1".to_owned()),
        parameters: BTreeMap::new(),
    }
}

pub(crate) fn opened(request: RetrainRequest) -> LifecycleEvent {
    LifecycleEvent::EpisodeOpened { request: Box::new(request) }
}

pub(crate) fn ended(request: &str, outcome: EpisodeOutcome) -> LifecycleEvent {
    let reason = "as good as it was".to_owned();
    LifecycleEvent::EpisodeEnded { request: request.to_owned(), outcome, reason, loss: Some(0.1), target: Some(0.1) }
}

/// An episode with 120 of 500 labelled rows.
pub(crate) fn progress(request: &str) -> EpisodeProgress {
    EpisodeProgress {
        request: request.to_owned(),
        model: "bed".to_owned(),
        time_ms: HOUR,
        change_ms: 0,
        rows: 120,
        rows_needed: 500,
        loss: Some(0.3),
        target: Some(0.1),
        trials: Vec::new(),
    }
}

pub(crate) fn event(hour: i64, event: LifecycleEvent) -> ModelEvent {
    ModelEvent { model: "bed".to_owned(), time_ms: hour * HOUR, event, estimates: BTreeMap::new() }
}

pub(crate) fn registered(version: &str) -> LifecycleEvent {
    let lineage = Lineage {
        request: None,
        cause: "set up".to_owned(),
        parent: None,
        training_set: None,
        training_rows: 2_000,
        trained_from_ms: None,
        trained_until: None,
        code_revision: None,
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
        training: None,
    };
    let schema = ModelSchema::new([], Task::Regression);
    LifecycleEvent::VersionRegistered {
        version: ModelVersion { version: version.to_owned(), artifact: None, schema, lineage },
    }
}

pub(crate) fn attempted(request: RetrainRequest) -> LifecycleEvent {
    let candidate = Some(1);
    LifecycleEvent::TrainingAttempted { request: Box::new(request), candidate, attempt: 1, claimant: "c".to_owned() }
}

pub(crate) fn trained(request: &str, version: &str) -> LifecycleEvent {
    let trial_from = Cut { at_ms: 0, positions: Vec::new() };
    LifecycleEvent::ChallengerTrained {
        request: request.to_owned(),
        candidate: Some(1),
        made_of: Some(CandidateKind::Refit),
        version: version.to_owned(),
        trial_from,
    }
}

pub(crate) fn rejected(request: &str, version: &str) -> LifecycleEvent {
    LifecycleEvent::ChallengerRejected {
        request: request.to_owned(),
        candidate: Some(1),
        version: version.to_owned(),
        reason: "it is no better".to_owned(),
        report: None,
    }
}

pub(crate) fn first_promoted(version: &str) -> LifecycleEvent {
    LifecycleEvent::Promoted { version: version.to_owned(), previous: None, permit: PermitRecord::FirstVersion }
}

/// `version` beat `previous` in the trial of `request`.
pub(crate) fn promoted(request: &str, version: &str, previous: &str) -> LifecycleEvent {
    let report = TrialReport {
        rows: 400,
        champion_loss: 0.2,
        challenger_loss: 0.1,
        champion_unanswered: 0,
        challenger_unanswered: 3,
        evidence: 12.0,
        evidence_needed: 10.0,
        summary: "better".to_owned(),
    };
    LifecycleEvent::Promoted {
        version: version.to_owned(),
        previous: Some(previous.to_owned()),
        permit: PermitRecord::Trial { request: request.to_owned(), candidate: Some(1), report },
    }
}
