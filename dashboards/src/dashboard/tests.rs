//! The promises of the dashboard: which series a log leads to.

use super::*;
use crate::fixtures::{
    HOUR, attempted, ended, event, exporter, facts, first_promoted, judged, opened, progress, promoted, quality,
    registered, request, test, trained, values, verdict,
};
use crate::read_model::BoardLimits;
use detectors::verdict::{Attribution, Estimate, Segment, TestResult};
use detectors::verdict::{Finality, Severity, Verdict, Why};
use expect_test::expect;
use retrain::lifecycle::EpisodeOutcome;
use retrain::progress::{Refusal, RefusedCause};

/// When the log was told of verdicts.
const TOLD: i64 = 7_200_000;

fn dashboard() -> (Dashboard, Arc<Exporter>) {
    let exporter = exporter();
    (Dashboard::new(SharedReadModel::new(BoardLimits::default()), exporter.clone()), exporter)
}

#[test]
fn a_log_leads_to_these_series() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.model_event(&event(0, registered("v1")));
    dashboard.model_event(&event(0, first_promoted("v1")));
    let drifted = Verdict { severity: Severity::Drift, tests: vec![test("age", 0.4)], ..verdict("a", 1) };
    dashboard.monitor_event(&judged(drifted), TOLD);
    dashboard.monitor_event(&judged(quality("q", Finality::Provisional, 0.75)), TOLD);
    dashboard.retrain_request(&request("r", 1));
    dashboard.retrain_request(&request("r", 1));
    dashboard.model_event(&event(2, attempted(request("r", 1))));
    dashboard.model_event(&event(2, trained("r", "v2")));
    expect![[r#"
        driftline_build_info{revision="abc",version="0.1.0"} 1
        driftline_champion_since_timestamp_seconds{model="bed",version="v1"} 0
        driftline_drift_p_value{column="age",kind="feature",model="bed",monitor="drift",segment="all",test="psi",version="v1"} 0.5
        driftline_drift_score{column="age",kind="feature",model="bed",monitor="drift",segment="all",test="psi",version="v1"} 0.4
        driftline_drift_score_ratio{column="age",kind="feature",model="bed",monitor="drift",segment="all",test="psi",version="v1"} 2
        driftline_drift_since_timestamp_seconds{model="bed",monitor="drift",segment="all",version="v1"} 7200
        driftline_drift_state{model="bed",monitor="drift",segment="all",state="drift",version="v1"} 1
        driftline_drift_state{model="bed",monitor="drift",segment="all",state="stable",version="v1"} 0
        driftline_drift_state{model="bed",monitor="drift",segment="all",state="warning",version="v1"} 0
        driftline_drift_threshold{column="age",kind="feature",model="bed",monitor="drift",segment="all",test="psi",version="v1"} 0.2
        driftline_exceeded_tests{model="bed",monitor="drift",segment="all",version="v1"} 1
        driftline_label_coverage_ratio{finality="provisional",model="bed",segment="all",version="v1"} 0.6
        driftline_last_drift_timestamp_seconds{model="bed",monitor="drift",segment="all",version="v1"} 7200
        driftline_last_judged_timestamp_seconds{model="bed",monitor="drift"} 7200
        driftline_last_training_timestamp_seconds{model="bed"} 7200
        driftline_model_info{model="bed",role="challenger",version="v2"} 1
        driftline_model_info{model="bed",role="champion",version="v1"} 1
        driftline_promotions_total{by="first_version",model="bed"} 1
        driftline_quality{finality="provisional",metric="accuracy",model="bed",segment="all",version="v1"} 0.75
        driftline_retrain_requests_total{cause="quality",model="bed"} 1
        driftline_retrain_state{model="bed",state="idle"} 0
        driftline_retrain_state{model="bed",state="requested"} 0
        driftline_retrain_state{model="bed",state="training"} 0
        driftline_retrain_state{model="bed",state="trial"} 1
        driftline_retrain_state{model="bed",state="waiting"} 0
        driftline_trainings_total{model="bed",outcome="attempted"} 1
        driftline_trainings_total{model="bed",outcome="trained"} 1
        driftline_verdicts_total{model="bed",monitor="drift",severity="drift"} 1
        driftline_window_end_timestamp_seconds{model="bed",monitor="drift",segment="all",version="v1"} 3600
        driftline_window_judged{model="bed",monitor="drift",segment="all",version="v1"} 1
        driftline_window_rows{model="bed",monitor="drift",segment="all",version="v1"} 500
    "#]]
    .assert_eq(&values(&exporter));
}

#[test]
fn a_window_that_could_not_be_tested_shows_no_score() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.monitor_event(&judged(verdict("a", 1)), TOLD);
    let severity = Severity::Inconclusive(Why::TooFewRows { rows: 3, needed: 100 });
    dashboard.monitor_event(&judged(Verdict { severity, tests: Vec::new(), rows: 3, ..verdict("b", 2) }), TOLD);
    let page = values(&exporter);
    assert!(!page.contains("driftline_drift_score"), "{page}");
    let why =
        r#"driftline_window_unjudged{model="bed",monitor="drift",segment="all",version="v1",why="too_few_rows"} 1"#;
    assert!(page.contains(why), "{page}");
}

#[test]
fn an_earlier_window_never_overwrites_a_later_one() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.monitor_event(&judged(verdict("b", 2)), TOLD);
    let before = values(&exporter);
    dashboard.monitor_event(&judged(Verdict { rows: 9, ..verdict("a", 1) }), TOLD);
    dashboard.monitor_event(&judged(verdict("b", 2)), TOLD);
    assert_eq!(values(&exporter), before);
}

#[test]
fn a_promotion_takes_down_the_versions_before_the_last() {
    let (mut dashboard, exporter) = dashboard();
    for version in ["v1", "v2", "v3"] {
        dashboard.monitor_event(&judged(Verdict { version: version.to_owned(), ..verdict(version, 1) }), TOLD);
    }
    dashboard.model_event(&event(3, promoted("r", "v3", "v2")));
    let page = values(&exporter);
    assert!(!page.contains(r#"version="v1""#), "{page}");
    assert!(page.contains(r#"version="v2""#) && page.contains(r#"version="v3""#), "{page}");
}

#[test]
fn series_of_a_version_end_once_others_have_had_some_windows_without_it() {
    let (mut dashboard, exporter) = dashboard();
    let hours = |version: &str, hour: i64| Verdict {
        version: version.to_owned(),
        tests: vec![test("age", 0.4)],
        ..verdict(&format!("{version}-{hour}"), hour)
    };
    for build in 1..=80 {
        dashboard.monitor_event(&judged(hours(&format!("build-{build}"), build)), TOLD);
    }
    dashboard.monitor_event(&judged(hours("build-78", 80)), TOLD);
    let page = values(&exporter);
    let shown = |build: i64| page.matches(&format!(r#"version="build-{build}"}}"#)).count();
    let few = (1..=80).filter(|build| shown(*build) > 0).collect::<Vec<_>>();
    assert_eq!(few, (73..=80).collect::<Vec<_>>(), "{page}");
    assert_eq!(shown(78), shown(80), "{page}");
}

#[test]
fn an_episode_is_shown_while_it_lasts_and_its_outcome_is_counted() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.model_event(&event(1, opened(request("r", 1))));
    dashboard.episode(&progress("r"));
    let page = values(&exporter);
    assert!(page.contains(r#"driftline_episode_labelled_rows{model="bed"} 120"#), "{page}");
    assert!(page.contains(r#"driftline_episode_target_loss{model="bed"} 0.1"#), "{page}");
    assert!(page.contains(r#"driftline_retrain_state{model="bed",state="waiting"} 1"#), "{page}");
    dashboard.model_event(&event(2, ended("r", EpisodeOutcome::GivenUp)));
    let page = values(&exporter);
    assert!(!page.contains("driftline_episode_"), "{page}");
    assert!(page.contains(r#"driftline_episodes_total{model="bed",outcome="given_up"} 1"#), "{page}");
    assert!(page.contains(r#"driftline_retrain_state{model="bed",state="idle"} 1"#), "{page}");
}

#[test]
fn causes_that_lead_nowhere_are_counted_by_why() {
    let (mut dashboard, exporter) = dashboard();
    let why = Refusal::Budget { budget: 4 };
    dashboard.refused(&RefusedCause { cause: request("r", 6).cause, why });
    let page = values(&exporter);
    assert!(page.contains(r#"driftline_retrain_refusals_total{model="bed",why="budget"} 1"#), "{page}");
}

#[test]
fn reading_the_log_again_counts_nothing_twice() {
    let (mut dashboard, exporter) = dashboard();
    let read = |dashboard: &mut Dashboard| {
        dashboard.monitor_event(&judged(verdict("a", 1)), TOLD);
        dashboard.retrain_request(&request("r", 1));
        dashboard.episode(&progress("r"));
        dashboard.model_event(&event(2, promoted("r", "v2", "v1")));
    };
    read(&mut dashboard);
    let once = values(&exporter);
    dashboard.reset();
    assert_eq!(values(&exporter).lines().count(), 1, "only the build is known");
    read(&mut dashboard);
    assert_eq!(values(&exporter), once);
}

/// Whether the page has a series of this metric with these labels and this value.
fn has(exporter: &Exporter, (metric, labels): (&str, &[&str]), value: f64) -> bool {
    values(exporter).lines().any(|line| {
        let is_it = line.split('{').next() == Some(metric) && labels.iter().all(|label| line.contains(label));
        is_it && line.rsplit(' ').next().and_then(|told| told.parse().ok()) == Some(value)
    })
}

const DRIFTS: (&str, &[&str]) = ("driftline_drift_state", &[r#"state="drift""#, r#"segment="all""#]);

#[test]
fn drift_stays_until_a_window_is_judged_clean() {
    let (mut dashboard, exporter) = dashboard();
    let part = |column: &str| Attribution {
        distribution: None,
        column: column.to_owned(),
        contribution: 0.75,
        moved_share: 0.5,
        towards: None,
        segment: None,
    };
    let drifted = Verdict { severity: Severity::Drift, attribution: vec![part("age")], ..verdict("a", 1) };
    dashboard.monitor_event(&judged(drifted), 1_000);
    assert!(has(&exporter, DRIFTS, 1.0), "{}", values(&exporter));
    let severity = Severity::Inconclusive(Why::TooFewRows { rows: 3, needed: 100 });
    dashboard.monitor_event(&judged(Verdict { severity, tests: Vec::new(), ..verdict("b", 2) }), 2_000);
    assert!(has(&exporter, DRIFTS, 1.0), "too few rows are no end of a drift");
    assert!(has(&exporter, ("driftline_window_judged", &[]), 0.0));
    assert!(has(&exporter, ("driftline_drift_since_timestamp_seconds", &[]), 1.0));
    assert!(has(&exporter, ("driftline_drift_contribution_ratio", &[r#"column="age""#]), 0.75));
    dashboard.monitor_event(&judged(verdict("c", 3)), 3_000);
    assert!(has(&exporter, DRIFTS, 0.0) && has(&exporter, ("driftline_window_judged", &[]), 1.0));
    assert!(has(&exporter, ("driftline_last_drift_timestamp_seconds", &[]), 1.0), "the last drift stays told");
    let page = values(&exporter);
    for over in ["driftline_drift_since", "driftline_window_unjudged", "driftline_drift_contribution"] {
        assert!(!page.contains(over), "{over} in {page}");
    }
}

#[test]
fn a_segment_has_a_state_while_it_is_not_stable() {
    let (mut dashboard, exporter) = dashboard();
    let segment = Some(Segment { dimension: "ward".to_owned(), value: "a".to_owned() });
    let of_ward = |id: &str, hour, severity| Verdict { segment: segment.clone(), severity, ..verdict(id, hour) };
    dashboard.monitor_event(&judged(of_ward("a", 1, Severity::Drift)), TOLD);
    let drifts = ("driftline_drift_state", &[r#"segment="ward=a""#, r#"state="drift""#][..]);
    assert!(has(&exporter, drifts, 1.0));
    dashboard.monitor_event(&judged(of_ward("b", 2, Severity::Stable)), TOLD);
    let page = values(&exporter);
    assert!(!page.contains("driftline_drift_state") && page.contains(r#"driftline_window_rows{model="bed""#), "{page}");
}

#[test]
fn the_worst_tests_of_a_model_have_series_and_no_more_than_it_has_room_for() {
    let exporter = exporter();
    let read_model = SharedReadModel::new(BoardLimits::default());
    let mut dashboard = Dashboard::new(read_model, exporter.clone()).watching(vec![facts("bed")], 5);
    let tests = (0..40).map(|at| test(&format!("column {at:02}"), f64::from(at) / 100.0)).collect();
    dashboard.monitor_event(&judged(Verdict { tests, ..verdict("a", 1) }), TOLD);
    let page = values(&exporter);
    assert_eq!(page.matches("driftline_drift_score_ratio{").count(), 5, "{page}");
    assert!(has(&exporter, ("driftline_drift_score", &[r#"column="column 39""#, r#"kind="feature""#]), 0.39));
    let tests = vec![test("age", 0.1), test("weight", 0.05)];
    dashboard.monitor_event(&judged(Verdict { tests, ..verdict("b", 2) }), TOLD);
    let page = values(&exporter);
    assert!(!page.contains("driftline_drift_score{") && !page.contains("column 39"), "{page}");
    assert!(
        has(&exporter, ("driftline_drift_score_ratio", &[r#"column="age""#]), 0.5),
        "the nearest are shown: {page}"
    );
}

#[test]
fn quality_stands_beside_its_reference_and_its_error() {
    let (mut dashboard, exporter) = dashboard();
    let accuracy = Estimate { value: 0.75, standard_error: Some(0.02) };
    let drop = TestResult { subject: "accuracy".to_owned(), test: "accuracy_drop".to_owned(), ..test("", 0.125) };
    let quality = Verdict {
        metrics: [("accuracy".to_owned(), accuracy)].into(),
        tests: vec![drop],
        ..quality("q", Finality::Final, 0.75)
    };
    dashboard.monitor_event(&judged(quality), TOLD);
    assert!(has(&exporter, ("driftline_quality_baseline", &[r#"metric="accuracy""#]), 0.875));
    assert!(has(&exporter, ("driftline_quality_standard_error", &[r#"metric="accuracy""#]), 0.02));
    assert!(has(&exporter, ("driftline_label_coverage_ratio", &[r#"finality="final""#]), 0.6));
}

#[test]
fn every_counter_of_a_watched_model_begins_at_0_and_others_have_no_series() {
    let exporter = exporter();
    let read_model = SharedReadModel::new(BoardLimits::default());
    let mut dashboard = Dashboard::new(read_model, exporter.clone()).watching(vec![facts("bed")], 5);
    for (metric, label) in [
        ("driftline_events_total", r#"model="bed""#),
        ("driftline_labels_matched_total", r#"model="bed""#),
        ("driftline_verdicts_total", r#"severity="drift""#),
        ("driftline_trainings_total", r#"outcome="failed""#),
        ("driftline_retrain_refusals_total", r#"why="budget""#),
        ("driftline_episodes_total", r#"outcome="given_up""#),
    ] {
        assert!(has(&exporter, (metric, &[label]), 0.0), "{metric}: {}", values(&exporter));
    }
    assert!(has(&exporter, ("driftline_model_window_seconds", &[]), 3_600.0));
    let before = values(&exporter);
    dashboard.monitor_event(&judged(Verdict { model: "gone".to_owned(), ..verdict("a", 1) }), TOLD);
    assert_eq!(values(&exporter), before, "a model that is not configured any more");
}

#[test]
fn windows_that_event_time_has_passed_without_a_verdict_are_counted() {
    let exporter = exporter();
    let read_model = SharedReadModel::new(BoardLimits::default());
    let mut dashboard = Dashboard::new(read_model, exporter.clone()).watching(vec![facts("bed")], 5);
    dashboard.monitor_event(&judged(verdict("a", 1)), TOLD);
    let without = ("driftline_windows_without_verdict", &[][..]);
    let stands = |hour: i64, is_idle| Standing { partition: u32::from(is_idle), watermark_ms: hour * HOUR, is_idle };
    dashboard.stands(stands(4, false));
    dashboard.stands(stands(2, true));
    dashboard.settle();
    assert!(has(&exporter, without, 3.0), "windows do not wait for an idle partition: {}", values(&exporter));
    dashboard.monitor_event(&judged(verdict("d", 4)), TOLD);
    dashboard.settle();
    assert!(has(&exporter, without, 0.0));
    // An hour to the end of the next window, and ten minutes of disorder.
    assert!(has(&exporter, ("driftline_next_window_due_timestamp_seconds", &[]), 5.0 * 3_600.0 + 600.0));
    assert!(has(&exporter, ("driftline_last_judged_timestamp_seconds", &[]), 7_200.0));
}

#[test]
fn a_version_that_answers_no_more_is_off_the_page_after_two_windows() {
    let (mut dashboard, exporter) = dashboard();
    let of = |version: &str, hour: i64| Verdict {
        version: version.to_owned(),
        ..verdict(&format!("{version}{hour}"), hour)
    };
    dashboard.model_event(&event(0, first_promoted("v1")));
    dashboard.monitor_event(&judged(of("v1", 1)), TOLD);
    dashboard.model_event(&event(1, promoted("r", "v2", "v1")));
    dashboard.monitor_event(&judged(of("v2", 2)), TOLD);
    assert!(values(&exporter).contains(r#"version="v1""#), "its last windows may still come");
    dashboard.monitor_event(&judged(of("v2", 3)), TOLD);
    assert!(!values(&exporter).contains(r#"version="v1""#), "{}", values(&exporter));
}
