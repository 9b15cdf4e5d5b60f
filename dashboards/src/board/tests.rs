//! The promises of the board.

use super::*;
use crate::fixtures::{
    attempted, ended, event, first_promoted, judged, opened, progress, promoted, quality, registered, rejected,
    request, trained, verdict,
};
use detectors::verdict::{Finality, Segment};
use retrain::lifecycle::{EpisodeOutcome, LifecycleEvent};
use retrain::progress::{Refusal, RefusedCause};

fn board(limits: BoardLimits, verdicts: impl IntoIterator<Item = Verdict>) -> Board {
    let mut board = Board::new(limits);
    for verdict in verdicts {
        board.record_monitor_event(&judged(verdict));
    }
    board
}

fn ids(verdicts: &[Arc<Verdict>]) -> Vec<&str> {
    verdicts.iter().map(|verdict| verdict.id.as_str()).collect()
}

#[test]
fn the_oldest_verdict_leaves_when_there_is_no_room() {
    let limits = BoardLimits { verdicts: 2, ..BoardLimits::default() };
    let board = board(limits, [verdict("a", 1), verdict("b", 2), verdict("c", 3)]);
    assert_eq!(ids(&board.verdicts(None, 10)), ["c", "b"]);
    assert!(board.verdict("a").is_none() && board.verdict("b").is_some());
}

#[test]
fn a_busy_model_does_not_push_out_another() {
    let limits = BoardLimits { verdicts: 2, ..BoardLimits::default() };
    let other = Verdict { model: "ward".to_owned(), ..verdict("w", 1) };
    let board = board(limits, [other, verdict("a", 1), verdict("b", 2), verdict("c", 3)]);
    assert_eq!(ids(&board.verdicts(None, 10)), ["c", "b", "w"]);
    assert_eq!(ids(&board.verdicts(Some("ward"), 10)), ["w"]);
    assert_eq!(ids(&board.verdicts(None, 1)), ["c"]);
}

#[test]
fn a_final_verdict_replaces_the_provisional_one_and_never_the_reverse() {
    let (early, late) = (quality("q", Finality::Provisional, 0.9), quality("q", Finality::Final, 0.8));
    let board = board(BoardLimits::default(), [early.clone(), late, early]);
    let shown = board.verdicts(None, 10);
    assert_eq!(ids(&shown), ["q"]);
    assert_eq!(board.verdict("q").unwrap().finality, Finality::Final);
}

#[test]
fn windows_come_latest_first_and_as_asked() {
    let north = Segment { dimension: "region".to_owned(), value: "north".to_owned() };
    let segmented = Verdict { segment: Some(north), ..verdict("n", 3) };
    let board = board(BoardLimits::default(), [verdict("b", 2), segmented, verdict("a", 1)]);
    let query = |segment: Option<&str>| WindowQuery { limit: 2, segment: segment.map(str::to_owned), monitor: None };
    let found =
        |query| -> Vec<_> { board.windows("bed", &query).unwrap().into_iter().map(|window| window.verdict).collect() };
    assert_eq!(found(query(None)), ["n", "b"]);
    assert_eq!(found(query(Some("all"))), ["b", "a"]);
    assert_eq!(found(query(Some("region=north"))), ["n"]);
    let none = WindowQuery { monitor: Some("quality".to_owned()), ..query(None) };
    assert!(found(none).is_empty());
    assert!(board.windows("nobody", &query(None)).is_none());
}

#[test]
fn a_request_is_followed_through_its_episode() {
    let mut board = Board::default();
    let mut states = Vec::new();
    board.record_model_event(&event(0, registered("v1")));
    board.record_model_event(&event(0, first_promoted("v1")));
    board.record_request(&request("r", 1));
    states.push(board.retrain_state("bed"));
    let steps = [
        opened(request("r", 1)),
        attempted(request("r", 1)),
        registered("v2"),
        trained("r", "v2"),
        promoted("r", "v2", "v1"),
        ended("r", EpisodeOutcome::Recovered),
    ];
    for step in steps {
        board.record_model_event(&event(2, step));
        states.push(board.retrain_state("bed"));
    }
    board.record_progress(&progress("r"));
    use RetrainState::{Idle, Requested, Training, Trial, Waiting};
    assert_eq!(states, [Requested, Waiting, Training, Training, Trial, Waiting, Idle]);
    let followed = &board.requests("bed").unwrap()[0];
    assert_eq!((followed.state, followed.outcome), (RequestState::Ended, Some(EpisodeOutcome::Recovered)));
    assert_eq!(followed.progress.as_ref().unwrap().rows, 120);
    let candidate = &followed.candidates[0];
    assert_eq!((candidate.state, candidate.attempts), (CandidateState::Promoted, 1));
    assert_eq!(candidate.version.as_deref(), Some("v2"));
    let roles: Vec<_> = board.versions("bed").unwrap().into_iter().map(|view| view.role).collect();
    assert_eq!(roles, [Some("champion"), None]);
}

#[test]
fn what_holds_promotions_and_which_causes_were_refused_is_shown() {
    let mut board = Board::default();
    board.record_model_event(&event(0, first_promoted("v1")));
    let rolled_back =
        LifecycleEvent::RolledBack { version: "v0".to_owned(), previous: "v1".to_owned(), reason: "ann".to_owned() };
    board.record_model_event(&event(5, rolled_back));
    assert_eq!(board.model("bed").unwrap().hold.as_deref(), Some("ann"));
    let why = Refusal::HeldByRollBack { reason: "ann".to_owned() };
    board.record_refused(&RefusedCause { cause: request("r", 6).cause, why });
    let refused = &board.model("bed").unwrap().refused[0];
    assert!(refused.reason.contains("models release"), "{}", refused.reason);
    board.record_model_event(&event(7, LifecycleEvent::Released { reason: "bob".to_owned() }));
    assert_eq!(board.model("bed").unwrap().hold, None);
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
    let (mut requests_first, mut models_first) = (Board::default(), Board::default());
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
    let mut board = Board::new(BoardLimits { versions: 1, ..BoardLimits::default() });
    board.record_model_event(&event(0, registered("v1")));
    board.record_model_event(&event(0, first_promoted("v1")));
    for version in ["v2", "v3", "v4", "v5"] {
        board.record_model_event(&event(1, registered(version)));
    }
    let names: Vec<_> = board.versions("bed").unwrap().into_iter().map(|view| view.version.version).collect();
    assert_eq!(names, ["v5", "v4", "v1"]);
}
