//! The promises of the board.

use super::*;
use crate::fixtures::{
    HOUR, attempted, ended, event, first_promoted, judged, opened, progress, promoted, quality, registered, rejected,
    request, trained, verdict,
};
use detectors::verdict::{Finality, Segment};
use retrain::lifecycle::{EpisodeOutcome, LifecycleEvent};
use retrain::progress::{Refusal, RefusedCause};

fn read_model(limits: BoardLimits, verdicts: impl IntoIterator<Item = Verdict>) -> ReadModel {
    let mut read_model = ReadModel::new(limits);
    for verdict in verdicts {
        read_model.record_monitor_event(&judged(verdict));
    }
    read_model
}

fn ids(verdicts: &[Arc<Verdict>]) -> Vec<&str> {
    verdicts.iter().map(|verdict| verdict.id.as_str()).collect()
}

#[test]
fn the_oldest_verdict_leaves_when_there_is_no_room() {
    let limits = BoardLimits { verdicts: 2, ..BoardLimits::default() };
    let read_model = read_model(limits, [verdict("a", 1), verdict("b", 2), verdict("c", 3)]);
    assert_eq!(ids(&read_model.verdicts(None, 10)), ["c", "b"]);
    assert!(read_model.verdict("a").is_none() && read_model.verdict("b").is_some());
}

#[test]
fn a_busy_model_does_not_push_out_another() {
    let limits = BoardLimits { verdicts: 2, ..BoardLimits::default() };
    let other = Verdict { model: "ward".to_owned(), ..verdict("w", 1) };
    let read_model = read_model(limits, [other, verdict("a", 1), verdict("b", 2), verdict("c", 3)]);
    assert_eq!(ids(&read_model.verdicts(None, 10)), ["c", "b", "w"]);
    assert_eq!(ids(&read_model.verdicts(Some("ward"), 10)), ["w"]);
    assert_eq!(ids(&read_model.verdicts(None, 1)), ["c"]);
}

#[test]
fn a_final_verdict_replaces_the_provisional_one_and_never_the_reverse() {
    let (early, late) = (quality("q", Finality::Provisional, 0.9), quality("q", Finality::Final, 0.8));
    let read_model = read_model(BoardLimits::default(), [early.clone(), late, early]);
    let shown = read_model.verdicts(None, 10);
    assert_eq!(ids(&shown), ["q"]);
    assert_eq!(read_model.verdict("q").unwrap().finality, Finality::Final);
}

#[test]
fn windows_come_latest_first_and_as_asked() {
    let north = Segment { dimension: "region".to_owned(), value: "north".to_owned() };
    let segmented = Verdict { segment: Some(north), ..verdict("n", 3) };
    let read_model = read_model(BoardLimits::default(), [verdict("b", 2), segmented, verdict("a", 1)]);
    let query = |segment: Option<&str>| WindowQuery { limit: 2, segment: segment.map(str::to_owned), monitor: None };
    let found = |query| -> Vec<_> {
        read_model.windows("bed", &query).unwrap().into_iter().map(|window| window.verdict).collect()
    };
    assert_eq!(found(query(None)), ["n", "b"]);
    assert_eq!(found(query(Some("all"))), ["b", "a"]);
    assert_eq!(found(query(Some("region=north"))), ["n"]);
    let none = WindowQuery { monitor: Some("quality".to_owned()), ..query(None) };
    assert!(found(none).is_empty());
    assert!(read_model.windows("nobody", &query(None)).is_none());
}

#[test]
fn a_request_is_followed_through_its_episode() {
    let mut read_model = ReadModel::default();
    let mut states = Vec::new();
    read_model.record_model_event(&event(0, registered("v1")));
    read_model.record_model_event(&event(0, first_promoted("v1")));
    read_model.record_request(&request("r", 1));
    states.push(read_model.retrain_state("bed"));
    let steps = [
        opened(request("r", 1)),
        attempted(request("r", 1)),
        registered("v2"),
        trained("r", "v2"),
        promoted("r", "v2", "v1"),
        ended("r", EpisodeOutcome::Recovered),
    ];
    for step in steps {
        read_model.record_model_event(&event(2, step));
        states.push(read_model.retrain_state("bed"));
    }
    read_model.record_progress(&progress("r"));
    use RetrainState::{Idle, Requested, Training, Trial, Waiting};
    assert_eq!(states, [Requested, Waiting, Training, Training, Trial, Waiting, Idle]);
    let followed = &read_model.requests("bed").unwrap()[0];
    assert_eq!((followed.state, followed.outcome), (RequestState::Ended, Some(EpisodeOutcome::Recovered)));
    assert_eq!(followed.progress.as_ref().unwrap().rows, 120);
    let candidate = &followed.candidates[0];
    assert_eq!((candidate.state, candidate.attempts), (CandidateState::Promoted, 1));
    assert_eq!(candidate.version.as_deref(), Some("v2"));
    let roles: Vec<_> = read_model.versions("bed").unwrap().into_iter().map(|view| view.role).collect();
    assert_eq!(roles, [Some("champion"), None]);
}

#[test]
fn what_holds_promotions_and_which_causes_were_refused_is_shown() {
    let mut read_model = ReadModel::default();
    read_model.record_model_event(&event(0, first_promoted("v1")));
    let rolled_back =
        LifecycleEvent::RolledBack { version: "v0".to_owned(), previous: "v1".to_owned(), reason: "ann".to_owned() };
    read_model.record_model_event(&event(5, rolled_back));
    assert_eq!(read_model.model("bed").unwrap().hold.as_deref(), Some("ann"));
    let why = Refusal::HeldByRollBack { reason: "ann".to_owned() };
    read_model.record_refused(&RefusedCause { cause: request("r", 6).cause, why });
    let refused = &read_model.model("bed").unwrap().refused[0];
    assert!(refused.reason.contains("models release"), "{}", refused.reason);
    read_model.record_model_event(&event(7, LifecycleEvent::Released { reason: "bob".to_owned() }));
    assert_eq!(read_model.model("bed").unwrap().hold, None);
}

#[test]
fn the_order_in_which_topics_are_read_does_not_matter() {
    let events = [
        event(0, first_promoted("v1")),
        event(1, attempted(request("r", 1))),
        event(2, trained("r", "v2")),
        event(3, rejected("r", "v2")),
        event(3, ended("r", EpisodeOutcome::NoBetterModel)),
    ];
    let (mut requests_first, mut models_first) = (ReadModel::default(), ReadModel::default());
    requests_first.record_request(&request("r", 1));
    requests_first.record_request(&request("s", 4));
    for event in &events {
        requests_first.record_model_event(event);
        models_first.record_model_event(event);
    }
    models_first.record_request(&request("r", 1));
    models_first.record_request(&request("s", 4));
    assert_eq!(requests_first.requests("bed"), models_first.requests("bed"));
    assert_eq!(requests_first.retrain_state("bed"), RetrainState::Requested);
    assert_eq!(requests_first.models(), models_first.models());
}

#[test]
fn champion_and_challenger_never_leave_the_board() {
    let mut read_model = ReadModel::new(BoardLimits { versions: 1, ..BoardLimits::default() });
    read_model.record_model_event(&event(0, registered("v1")));
    read_model.record_model_event(&event(0, first_promoted("v1")));
    for version in ["v2", "v3", "v4", "v5"] {
        read_model.record_model_event(&event(1, registered(version)));
    }
    let names: Vec<_> = read_model.versions("bed").unwrap().into_iter().map(|view| view.version.version).collect();
    assert_eq!(names, ["v5", "v4", "v1"]);
}

#[test]
fn what_was_found_stays_until_a_window_is_judged_clean() {
    use detectors::verdict::{Severity, Why};
    let mut read_model = ReadModel::default();
    let mut record = |hour: i64, severity: Severity| {
        read_model.record_monitor_event(&judged(Verdict { severity, ..verdict(&format!("w{hour}"), hour) }));
        let (_, standing) = read_model.standings("bed").pop().unwrap();
        (standing.state().cloned(), standing.since_ms.map(|since_ms| since_ms / HOUR), standing.is_blind())
    };
    let blind = || Severity::Inconclusive(Why::TooFewRows { rows: 1, needed: 100 });
    assert_eq!(record(1, blind()), (None, None, true));
    assert_eq!(record(2, Severity::Stable), (Some(Severity::Stable), Some(2), false));
    assert_eq!(record(3, Severity::Drift), (Some(Severity::Drift), Some(3), false));
    assert_eq!(record(4, blind()), (Some(Severity::Drift), Some(3), true), "not seeing it is not its end");
    assert_eq!(record(5, Severity::Drift), (Some(Severity::Drift), Some(3), false));
    assert_eq!(record(2, Severity::Stable), (Some(Severity::Drift), Some(3), false), "told again, late");
    assert_eq!(record(6, Severity::Stable), (Some(Severity::Stable), Some(6), false));
}
