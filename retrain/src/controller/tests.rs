//! The guards as a table, and the promise that interleaving changes nothing.

use super::*;
use crate::fixtures::lineage;
use crate::lifecycle::{Lineage, ModelVersion, TrialReport};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use detectors::verdict::{Position, Segment};
use std::time::Duration;

const PANE_MS: i64 = 1000;

fn policy() -> RetrainPolicy {
    RetrainPolicy {
        min_labelled_rows: 300,
        window: Duration::from_secs(20),
        cooldown: Duration::from_secs(5),
        budget_per_day: 2,
        wait_at_most: Duration::from_secs(30),
        deadline: Duration::from_secs(60),
        ..RetrainPolicy::default()
    }
}

fn pane(number: i64) -> Fact {
    let pane = Window { start_ms: number * PANE_MS, end_ms: (number + 1) * PANE_MS };
    let positions = vec![Position { topic: "inferences".into(), partition: 0, offset: number }];
    let cut = Cut { at_ms: pane.end_ms + 50, positions };
    Fact::PaneMatured(PaneMatured { model: "m".into(), pane, rows: 120, labelled: 100, cut })
}

fn cause(id: &str, time_ms: i64, change_point_ms: Option<i64>) -> Cause {
    let (model, summary) = ("m".to_owned(), "quality fell".to_owned());
    Cause { id: id.to_owned(), model, kind: CauseKind::Quality, time_ms, change_point_ms, summary }
}

fn about(version: &str, cause: Cause) -> Fact {
    Fact::Cause { cause, version: Some(version.to_owned()) }
}

fn event(time_ms: i64, event: LifecycleEvent) -> ModelEvent {
    ModelEvent { model: "m".into(), time_ms, event, estimates: BTreeMap::new() }
}

fn registered(version: &str, trained_until_ms: i64) -> ModelEvent {
    let trained_until = Some(Cut { at_ms: trained_until_ms, positions: Vec::new() });
    let lineage = Lineage { trained_from_ms: Some(0), trained_until, ..lineage() };
    let schema = ModelSchema::new([("x".to_owned(), ColumnKind::Numeric)], Task::Regression);
    let version = ModelVersion { version: version.into(), artifact: None, schema, lineage };
    event(trained_until_ms, LifecycleEvent::VersionRegistered { version })
}

fn promoted(version: &str, time_ms: i64, permit: PermitRecord) -> ModelEvent {
    event(time_ms, LifecycleEvent::Promoted { version: version.into(), previous: None, permit })
}

fn with_champion() -> ControllerState {
    let mut state = ControllerState::new("m");
    state.absorb_lifecycle(&registered("v1", 2000), &policy());
    state.absorb_lifecycle(&promoted("v1", 2000, PermitRecord::FirstVersion), &policy());
    state
}

fn requests(decisions: &[Decision]) -> Vec<&RetrainRequest> {
    let made = decisions.iter().filter_map(|decision| match decision {
        Decision::Request(request) => Some(&**request),
        _ => None,
    });
    made.collect()
}

fn why(decision: &Decision) -> &'static str {
    match decision {
        Decision::Wait(_) => "wait",
        Decision::Request(_) => "request",
        Decision::Ignore(refused) => refused.why.name(),
    }
}

#[test]
fn it_waits_for_labelled_rows_after_the_change_point_and_tells_how_many_there_are() {
    let mut state = with_champion();
    for number in 2..6 {
        assert_eq!(state.absorb(pane(number), &policy()), []);
    }
    let decisions = state.absorb(about("v1", cause("c", 6000, Some(5000))), &policy());
    let Decision::Wait(waiting) = &decisions[0] else { panic!("{decisions:?}") };
    assert_eq!((waiting.rows, waiting.rows_needed), (100, 300));
    assert_eq!(why(&state.absorb(pane(6), &policy())[0]), "wait");
    let decisions = state.absorb(pane(7), &policy());
    let request = requests(&decisions)[0];
    assert_eq!((request.train_from_ms, request.train_until.at_ms, request.labelled_rows), (5000, 8000, 300));
    assert_eq!((request.time_ms, request.deadline_ms), (8000, 68_000));
    assert_eq!((request.id.clone(), request.champion.as_deref()), (request_id("m", "c"), Some("v1")));
}

#[test]
fn the_rows_that_raised_the_alarm_are_never_younger_than_the_training_rows() {
    let mut state = with_champion();
    (2..8).for_each(|number| drop(state.absorb(pane(number), &policy())));
    let decisions = state.absorb(about("v1", cause("c", 8500, Some(4000))), &policy());
    let Decision::Wait(waiting) = &decisions[0] else { panic!("{decisions:?}") };
    assert_eq!(waiting.lacking, Lacking::AlarmRows);
    assert_eq!(requests(&state.absorb(pane(8), &policy())).len(), 1);
}

#[test]
fn every_guard_refuses_by_name() {
    let mut table = Vec::new();
    let mut told = |state: &mut ControllerState, fact: Fact| table.push(why(&state.absorb(fact, &policy())[0]));
    let mut state = with_champion();
    told(&mut state, about("v0", cause("other", 6000, None)));
    told(&mut state, about("v1", cause("old", 1500, None)));
    state.absorb(Fact::Fault { window: Window { start_ms: 5000, end_ms: 6000 }, version: "v1".into() }, &policy());
    told(&mut state, about("v1", cause("faulty", 6000, None)));
    told(&mut state, about("v1", cause("first", 8000, Some(7000))));
    told(&mut state, about("v1", cause("again", 9000, None)));
    (7..10).for_each(|number| drop(state.absorb(pane(number), &policy())));
    let person = CauseKind::Person { reason: "ann".into() };
    told(&mut state, Fact::Cause { cause: Cause { kind: person, ..cause("ann", 9000, None) }, version: None });
    let request = state.in_flight().unwrap().to_owned();
    let failed = LifecycleEvent::TrainingFailed { request, reason: "exit 1".into() };
    state.absorb_lifecycle(&event(10_000, failed), &policy());
    told(&mut state, about("v1", cause("tired", 12_000, None)));
    assert_eq!(
        table,
        [
            "not_the_champion",
            "older_than_training",
            "data_quality_fault",
            "wait",
            "already_waiting",
            "in_flight",
            "cooldown"
        ]
    );
}

#[test]
fn no_more_requests_than_the_budget_within_a_day() {
    let mut state = with_champion();
    (2..6).for_each(|number| drop(state.absorb(pane(number), &policy())));
    let mut last = Vec::new();
    for (id, time_ms) in [("a", 6000), ("b", 12_000), ("c", 18_000)] {
        let number = time_ms / PANE_MS - 1;
        state.absorb(pane(number), &policy());
        last = state.absorb(about("v1", cause(id, time_ms, None)), &policy());
        if let Some(request) = state.in_flight().map(str::to_owned) {
            let failed = LifecycleEvent::TrainingFailed { request, reason: String::new() };
            state.absorb_lifecycle(&event(time_ms, failed), &policy());
        }
    }
    assert_eq!(why(&last[0]), "budget");
}

#[test]
fn a_later_change_point_supersedes_what_waits() {
    let mut state = with_champion();
    state.absorb(pane(5), &policy());
    state.absorb(about("v1", cause("first", 6000, Some(5000))), &policy());
    let decisions = state.absorb(about("v1", cause("second", 8000, Some(7000))), &policy());
    assert_eq!(decisions.iter().map(why).collect::<Vec<_>>(), ["superseded", "wait"]);
    let decisions: Vec<_> = (6..10).flat_map(|number| state.absorb(pane(number), &policy())).collect();
    assert_eq!(requests(&decisions)[0].train_from_ms, 7000);
    assert_eq!(requests(&decisions)[0].labelled_rows, 300);
}

#[test]
fn a_fault_seen_after_the_alarm_stops_the_request() {
    let mut state = with_champion();
    state.absorb(about("v1", cause("c", 6000, Some(5000))), &policy());
    state.absorb(Fact::Fault { window: Window { start_ms: 5000, end_ms: 6000 }, version: "v1".into() }, &policy());
    assert_eq!(why(&state.absorb(pane(6), &policy())[0]), "data_quality_fault");
    assert_eq!(state.waiting(), None);
}

#[test]
fn waiting_for_labels_that_never_come_is_given_up() {
    let mut state = with_champion();
    state.absorb(about("v1", cause("c", 6000, Some(5000))), &policy());
    let Fact::PaneMatured(mut late) = pane(36) else { unreachable!() };
    late.labelled = 7;
    assert_eq!(why(&state.absorb(Fact::PaneMatured(late), &policy())[0]), "given_up");
}

#[test]
fn new_rows_cause_a_request_where_the_policy_says_so() {
    let policy = RetrainPolicy { every_labelled_rows: Some(350), ..policy() };
    let mut state = with_champion();
    let decisions: Vec<_> = (2..6).flat_map(|number| state.absorb(pane(number), &policy)).collect();
    assert_eq!(requests(&decisions)[0].cause.kind, CauseKind::DataVolume);
}

#[test]
fn only_final_drift_of_the_whole_traffic_is_a_fact() {
    let verdict = Verdict {
        id: "id".into(),
        model: "m".into(),
        version: "v1".into(),
        reference: None,
        borrowed_reference: false,
        segment: None,
        monitor: Monitor::Quality,
        window: Window { start_ms: 0, end_ms: 1 },
        inputs: Vec::new(),
        finality: Finality::Final,
        severity: Severity::Drift,
        rows: 1,
        labelled: None,
        tests: Vec::new(),
        attribution: Vec::new(),
        metrics: BTreeMap::new(),
        change_point_ms: None,
        summary: String::new(),
    };
    let is_fact = |verdict: &Verdict| Fact::of_verdict(verdict, &policy()).is_some();
    assert!(is_fact(&verdict));
    let segment = Segment { dimension: "region".into(), value: "north".into() };
    assert!(!is_fact(&Verdict { finality: Finality::Provisional, ..verdict.clone() }));
    assert!(!is_fact(&Verdict { severity: Severity::Warning, ..verdict.clone() }));
    assert!(!is_fact(&Verdict { segment: Some(segment), ..verdict.clone() }));
    assert!(!is_fact(&Verdict { monitor: Monitor::Drift, ..verdict.clone() }));
    assert!(!is_fact(&Verdict { monitor: Monitor::Sequential("adwin(prediction)".into()), ..verdict.clone() }));
    for detector in ["adwin(error)", "e_detector(error)", "cusum(loss)"] {
        assert!(is_fact(&Verdict { monitor: Monitor::Sequential(detector.into()), ..verdict.clone() }), "{detector}");
    }
    let eager = RetrainPolicy { on_feature_drift: true, ..policy() };
    assert!(Fact::of_verdict(&Verdict { monitor: Monitor::Drift, ..verdict }, &eager).is_some());
}

/// Facts that lead to two requests, the first of which is answered at 16 s.
fn facts() -> Vec<Fact> {
    let mut facts: Vec<_> = (2..40).map(pane).collect();
    facts.insert(5, about("v1", cause("a", 6500, Some(5000))));
    facts.insert(12, about("v1", cause("b", 12_500, Some(12_000))));
    facts.insert(25, about("v2", cause("c", 25_500, Some(24_000))));
    facts
}

#[test]
fn when_an_outcome_is_read_changes_nothing() {
    let outcome = |request: String| {
        let report = TrialReport {
            rows: 1,
            champion_loss: 0.0,
            challenger_loss: 0.0,
            champion_unanswered: 0,
            challenger_unanswered: 0,
            evidence: 1.0,
            evidence_needed: 1.0,
            summary: String::new(),
        };
        promoted("v2", 16_000, PermitRecord::Trial { request, report })
    };
    let mut told = Vec::new();
    for late in 0..30 {
        let (mut state, mut decisions, mut since) = (with_champion(), Vec::new(), None);
        for fact in facts() {
            decisions.extend(state.absorb(fact, &policy()));
            since = if state.in_flight().is_some() { Some(since.map_or(0, |n| n + 1)) } else { None };
            if since == Some(late) && told_requests(&decisions) == 1 {
                let request = state.in_flight().unwrap().to_owned();
                state.absorb_lifecycle(&registered("v2", 9000), &policy());
                decisions.extend(state.absorb_lifecycle(&outcome(request), &policy()));
            }
        }
        assert_eq!(told_requests(&decisions), 2);
        told.push(decisions);
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
}

fn told_requests(decisions: &[Decision]) -> usize {
    requests(decisions).len()
}
