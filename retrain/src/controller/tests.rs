//! The guards as a table, and the promise that interleaving changes nothing.

use super::*;
use crate::fixtures::lineage;
use crate::lifecycle::{EpisodeOutcome, Lineage, ModelVersion};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use detectors::threshold::ThresholdSource;
use detectors::verdict::{Cut, Segment, TestResult};
use std::time::Duration;

const SPAN_MS: i64 = 1000;

fn policy() -> RetrainPolicy {
    RetrainPolicy {
        window: Duration::from_secs(20),
        cooldown: Duration::from_secs(5),
        budget_per_day: 2,
        labelled_rows_per_training: 1_000,
        ..RetrainPolicy::default()
    }
}

/// A hundred labelled rows.
fn span(number: i64) -> Fact {
    Fact::Matured { until_ms: (number + 1) * SPAN_MS, labelled: 100 }
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

fn ended(state: &ControllerState, time_ms: i64) -> ModelEvent {
    let (request, outcome) = (state.in_flight().unwrap().to_owned(), EpisodeOutcome::Recovered);
    event(time_ms, LifecycleEvent::EpisodeEnded { request, outcome, reason: String::new(), loss: None, target: None })
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
        Decision::Ignore(_) => None,
    });
    made.collect()
}

fn why(decision: &Decision) -> &'static str {
    match decision {
        Decision::Request(_) => "request",
        Decision::Ignore(refused) => refused.why.name(),
    }
}

#[test]
fn an_alarm_opens_an_episode_at_once_with_what_it_may_cost() {
    let mut state = with_champion();
    (2..22).for_each(|number| drop(state.absorb(span(number), &policy())));
    let decisions = state.absorb(about("v1", cause("c", 22_500, Some(20_000))), &policy());
    let request = requests(&decisions)[0];
    assert_eq!((request.train_from_ms, request.matured_ms, request.time_ms), (20_000, 22_000, 22_000));
    assert_eq!((request.id.clone(), request.champion.as_deref()), (request_id("m", "c"), Some("v1")));
    assert!((request.credit - 3.0).abs() < 1e-9, "one to begin with, and two for as many thousand rows");
}

#[test]
fn every_guard_refuses_by_name() {
    let mut table = Vec::new();
    let mut told = |state: &mut ControllerState, fact: Fact| table.push(why(&state.absorb(fact, &policy())[0]));
    let person = |id: &str| {
        let kind = CauseKind::Person { reason: "ann".into() };
        Fact::Cause { cause: Cause { kind, ..cause(id, 9000, None) }, version: None }
    };
    let mut state = with_champion();
    told(&mut state, about("v0", cause("other", 6000, None)));
    told(&mut state, about("v1", cause("old", 1500, None)));
    told(&mut state, about("v1", cause("first", 8000, Some(7000))));
    told(&mut state, person("ann"));
    let ended = ended(&state, 10_000);
    state.absorb_lifecycle(&ended, &policy());
    told(&mut state, about("v1", cause("heard", 10_000, None)));
    told(&mut state, about("v1", cause("tired", 12_000, None)));
    let back = LifecycleEvent::RolledBack { version: "v1".into(), previous: "v2".into(), reason: "slow".into() };
    state.absorb_lifecycle(&event(16_000, back), &policy());
    told(&mut state, about("v1", cause("held", 20_000, None)));
    told(&mut state, person("bob"));
    assert_eq!(
        table,
        [
            "not_the_champion",
            "older_than_training",
            "request",
            "in_flight",
            "heard_by_episode",
            "cooldown",
            "held_by_roll_back",
            "request"
        ]
    );
}

#[test]
fn a_roll_back_holds_until_it_is_lifted() {
    let mut state = with_champion();
    let back = LifecycleEvent::RolledBack { version: "v1".into(), previous: "v2".into(), reason: "slow".into() };
    state.absorb_lifecycle(&event(6_000, back), &policy());
    let refused = state.absorb(about("v1", cause("a", 9_000, None)), &policy());
    assert_eq!(why(&refused[0]), "held_by_roll_back");
    state.absorb_lifecycle(&event(9_500, LifecycleEvent::Released { reason: "ann".into() }), &policy());
    assert_eq!(why(&state.absorb(about("v1", cause("b", 10_000, None)), &policy())[0]), "request");
}

#[test]
fn no_more_episodes_than_the_budget_within_a_day() {
    let mut state = with_champion();
    let mut last = Vec::new();
    for (id, time_ms) in [("a", 6000), ("b", 12_000), ("c", 18_000)] {
        last = state.absorb(about("v1", cause(id, time_ms, None)), &policy());
        if state.in_flight().is_some() {
            let ended = ended(&state, time_ms);
            state.absorb_lifecycle(&ended, &policy());
        }
    }
    assert_eq!(why(&last[0]), "budget");
}

#[test]
fn trainings_are_taken_off_what_rows_have_paid_for() {
    let mut state = with_champion();
    let decisions = state.absorb(about("v1", cause("a", 6000, None)), &policy());
    let request = Box::new(requests(&decisions)[0].clone());
    for (candidate, attempt) in [(1, 1), (1, 2), (2, 1)] {
        let claimant = "i".to_owned();
        let attempted = LifecycleEvent::TrainingAttempted {
            request: request.clone(),
            candidate: Some(candidate),
            attempt,
            claimant,
        };
        state.absorb_lifecycle(&event(7000, attempted), &policy());
    }
    let ended = ended(&state, 8000);
    state.absorb_lifecycle(&ended, &policy());
    let decisions = state.absorb(about("v1", cause("b", 20_000, None)), &policy());
    assert_eq!(requests(&decisions)[0].credit, -1.0, "a second attempt at one training is no other training");
}

#[test]
fn new_rows_cause_a_request_where_the_policy_says_so() {
    let policy = RetrainPolicy { every_labelled_rows: Some(350), ..policy() };
    let mut state = with_champion();
    let decisions: Vec<_> = (2..6).flat_map(|number| state.absorb(span(number), &policy)).collect();
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
    let test = |name: &str| TestResult {
        subject: "x".into(),
        test: name.into(),
        score: 1.0,
        threshold: 0.1,
        threshold_from: ThresholdSource::Fixed,
        p_value: None,
        exceeded: true,
    };
    let odd = |name| Verdict { monitor: Monitor::DataQuality, tests: vec![test(name)], ..verdict.clone() };
    assert!(is_fact(&odd("null_share")), "a fault, which episodes wait for");
    assert!(!is_fact(&odd("out_of_range_share")) && !is_fact(&odd("volume")), "the world, not a fault");
    let eager = RetrainPolicy { on_feature_drift: true, ..policy() };
    assert!(Fact::of_verdict(&Verdict { monitor: Monitor::Drift, ..verdict }, &eager).is_some());
}

/// Facts that lead to two requests, the first of whose episodes ends at 16 s.
fn facts() -> Vec<Fact> {
    let mut facts: Vec<_> = (2..40).map(span).collect();
    facts.insert(5, about("v1", cause("a", 6500, Some(5000))));
    facts.insert(12, about("v1", cause("b", 12_500, Some(12_000))));
    facts.insert(25, about("v2", cause("c", 25_500, Some(24_000))));
    facts
}

#[test]
fn when_the_end_of_an_episode_is_read_changes_nothing() {
    let mut told = Vec::new();
    for late in 0..30 {
        let (mut state, mut decisions, mut since) = (with_champion(), Vec::new(), None);
        for fact in facts() {
            decisions.extend(state.absorb(fact, &policy()));
            since = if state.in_flight().is_some() { Some(since.map_or(0, |n| n + 1)) } else { None };
            if since == Some(late) && requests(&decisions).len() == 1 {
                state.absorb_lifecycle(&registered("v2", 9000), &policy());
                let ended = ended(&state, 16_000);
                let by_trial = PermitRecord::Override { reason: "ann".into() };
                decisions.extend(state.absorb_lifecycle(&promoted("v2", 15_000, by_trial), &policy()));
                decisions.extend(state.absorb_lifecycle(&ended, &policy()));
            }
        }
        assert_eq!(requests(&decisions).len(), 2);
        told.push(decisions);
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
}
