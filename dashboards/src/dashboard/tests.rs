//! The promises of the dashboard: which series a log leads to.

use super::*;
use crate::fixtures::{
    attempted, ended, event, exporter, first_promoted, judged, opened, progress, promoted, quality, registered,
    request, test, trained, values, verdict,
};
use crate::read_model::BoardLimits;
use detectors::verdict::{Finality, Severity, Verdict, Why};
use expect_test::expect;
use retrain::lifecycle::EpisodeOutcome;
use retrain::progress::{Refusal, RefusedCause};

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
    dashboard.monitor_event(&judged(drifted));
    dashboard.monitor_event(&judged(quality("q", Finality::Provisional, 0.75)));
    dashboard.retrain_request(&request("r", 1));
    dashboard.retrain_request(&request("r", 1));
    dashboard.model_event(&event(2, attempted(request("r", 1))));
    dashboard.model_event(&event(2, trained("r", "v2")));
    expect![[r#"
        driftline_build_info{revision="abc",version="0.1.0"} 1
        driftline_drift_p_value{column="age",model="bed",segment="all",test="psi",version="v1"} 0.5
        driftline_drift_score{column="age",model="bed",segment="all",test="psi",version="v1"} 0.4
        driftline_drift_threshold{column="age",model="bed",segment="all",test="psi",version="v1"} 0.2
        driftline_label_coverage_ratio{finality="provisional",model="bed",segment="all",version="v1"} 0.6
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
        driftline_window_rows{model="bed",monitor="drift",segment="all",version="v1"} 500
        driftline_window_severity{model="bed",monitor="drift",segment="all",version="v1"} 3
    "#]]
    .assert_eq(&values(&exporter));
}

#[test]
fn a_window_that_could_not_be_tested_shows_no_score() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.monitor_event(&judged(verdict("a", 1)));
    let severity = Severity::Inconclusive(Why::TooFewRows { rows: 3, needed: 100 });
    dashboard.monitor_event(&judged(Verdict { severity, tests: Vec::new(), rows: 3, ..verdict("b", 2) }));
    let page = values(&exporter);
    assert!(!page.contains("driftline_drift_"), "{page}");
    assert!(page.contains(r#"segment="all",version="v1"} 4"#), "{page}");
}

#[test]
fn an_earlier_window_never_overwrites_a_later_one() {
    let (mut dashboard, exporter) = dashboard();
    dashboard.monitor_event(&judged(verdict("b", 2)));
    let before = values(&exporter);
    dashboard.monitor_event(&judged(Verdict { rows: 9, ..verdict("a", 1) }));
    dashboard.monitor_event(&judged(verdict("b", 2)));
    assert_eq!(values(&exporter), before);
}

#[test]
fn a_promotion_takes_down_the_versions_before_the_last() {
    let (mut dashboard, exporter) = dashboard();
    for version in ["v1", "v2", "v3"] {
        dashboard.monitor_event(&judged(Verdict { version: version.to_owned(), ..verdict(version, 1) }));
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
        dashboard.monitor_event(&judged(hours(&format!("build-{build}"), build)));
    }
    dashboard.monitor_event(&judged(hours("build-78", 80)));
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
        dashboard.monitor_event(&judged(verdict("a", 1)));
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
