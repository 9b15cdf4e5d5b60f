//! The stage on a log in memory, with a trainer that always learns the one rule there is, and crashes where they hurt.

mod bench;

use super::*;
use crate::command::Action;
use crate::lifecycle::PermitRecord;
use bench::{Bench, CUT_SHORT, MATURED_MS, SPAN_MS, register};

const LOOP: [&str; 8] = [
    "version_registered",
    "promoted",
    "episode_opened",
    "training_attempted",
    "version_registered",
    "reference_learned",
    "challenger_trained",
    "promoted",
];

#[test]
fn a_better_challenger_is_trained_tried_and_promoted_with_its_lineage() {
    let mut bench = Bench::new(Some("good"));
    let mut instance = bench.start();
    bench.settle(&mut instance);
    (0..5).for_each(|number| bench.span(number));
    bench.request();
    bench.settle(&mut instance);
    assert_eq!(bench.kinds(), LOOP[..7]);
    (5..12).for_each(|number| bench.span(number));
    bench.settle(&mut instance);
    assert_eq!(bench.kinds()[..8], LOOP);
    let registry = bench.registry();
    let model = registry.model("m").unwrap();
    let champion = model.champion_version().unwrap();
    assert_eq!((champion.version.version.as_str(), champion.version.lineage.training_rows), ("v2", 500));
    assert_eq!(champion.version.lineage.parent.as_deref(), Some("v1"));
    assert_eq!(champion.reference.as_ref().unwrap().0, "reference-v2");
    assert_eq!((model.episodes(), model.trials_won()), (1, 1));
    let mut events = bench.events().into_iter();
    let last =
        events.find(|event| matches!(event.event, LifecycleEvent::Promoted { .. } if event.time_ms > 1)).unwrap();
    let LifecycleEvent::Promoted { permit: PermitRecord::Trial { report, .. }, .. } = last.event else { panic!() };
    // The first span behind the training rows: in event time, not when the stage came to it.
    assert_eq!((report.rows, last.time_ms), (100, 6 * SPAN_MS));
}

#[test]
fn a_worse_challenger_is_rejected_and_the_champion_stays() {
    let mut bench = Bench::new(Some("bad"));
    bench.request();
    (0..30).for_each(|number| bench.span(number));
    let mut instance = bench.start();
    bench.settle(&mut instance);
    let registry = bench.registry();
    assert_eq!(registry.model("m").unwrap().champion(), Some("v1"));
    let rejected =
        |event: &ModelEvent| matches!(event.event, LifecycleEvent::ChallengerRejected { report: Some(_), .. });
    assert!(bench.events().iter().any(rejected), "{:?}", bench.kinds());
}

/// Everything but the attempts, which a crash multiplies by design.
fn outcomes(bench: &Bench) -> Vec<ModelEvent> {
    let is_outcome = |event: &ModelEvent| !matches!(event.event, LifecycleEvent::TrainingAttempted { .. });
    bench.events().into_iter().filter(is_outcome).collect()
}

#[test]
fn the_same_log_gives_the_same_events_in_any_cut_into_epochs_and_with_restarts() {
    let run = |learns: &'static str, spans_an_epoch: i64, restarts: bool| {
        let mut bench = Bench::new(Some(learns));
        let mut instance = bench.start();
        bench.request();
        let mut number = 0;
        while number < 36 {
            (number..number + spans_an_epoch).for_each(|number| bench.span(number));
            number += spans_an_epoch;
            instance.read_all(&bench);
            // An epoch that ends before the stage could act: its spans are committed, its trial is not.
            bench.commit(&mut instance);
            if restarts {
                instance = bench.start();
            }
            bench.settle(&mut instance);
        }
        outcomes(&bench)
    };
    for learns in ["good", "bad"] {
        let whole = run(learns, 12, false);
        assert!(whole.len() >= LOOP.len() - 1, "{}", whole.len());
        for (spans, restarts) in [(1, false), (2, false), (3, true), (1, true), (4, true), (36, true)] {
            let parted = run(learns, spans, restarts);
            let differs = parted.iter().zip(&whole).find(|(parted, whole)| parted != whole);
            assert!(differs.is_none(), "{learns}, {spans} spans an epoch, restarts: {restarts}: {differs:?}");
            assert_eq!(parted.len(), whole.len(), "{learns}, {spans} spans an epoch, restarts: {restarts}");
        }
    }
}

#[test]
fn a_crash_between_claim_and_outcome_makes_a_second_attempt() {
    let mut bench = Bench::new(Some("good"));
    (0..5).for_each(|number| bench.span(number));
    let mut instance = bench.start();
    bench.settle(&mut instance);
    bench.request();
    while bench.kinds().last().unwrap() != "training_attempted" {
        instance.epoch(&mut bench);
    }
    let mut instance = bench.start();
    bench.settle(&mut instance);
    let attempts = bench.events().into_iter().filter_map(|event| match event.event {
        LifecycleEvent::TrainingAttempted { attempt, claimant, .. } => Some((attempt, claimant)),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [(1, "instance-1".to_owned()), (2, "instance-2".to_owned())]);
    assert_eq!(bench.kinds().last().unwrap(), "challenger_trained");
}

#[test]
fn a_training_that_kills_its_process_fails_after_as_many_attempts_as_allowed() {
    let mut bench = Bench::new(Some("good"));
    (0..5).for_each(|number| bench.span(number));
    let mut instance = bench.start();
    bench.settle(&mut instance);
    bench.request();
    for _ in 0..20 {
        // Each instance ends just before it trains: with its claim written.
        instance.epoch(&mut bench);
        instance = bench.start();
    }
    let kinds = bench.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "training_attempted").count(), 3, "{kinds:?}");
    assert_eq!(kinds.last().unwrap(), "training_failed");
}

#[test]
fn a_failing_trainer_is_tried_as_often_as_allowed_and_its_words_are_kept() {
    let mut bench = Bench::new(None);
    (0..5).for_each(|number| bench.span(number));
    let mut instance = bench.start();
    bench.request();
    bench.settle(&mut instance);
    let events = bench.events();
    assert_eq!(bench.kinds().iter().filter(|kind| *kind == "training_attempted").count(), 3);
    let LifecycleEvent::TrainingFailed { reason, .. } = &events.last().unwrap().event else { panic!() };
    assert!(reason.contains("500 training rows are too few"), "{reason}");
}

#[test]
fn a_training_that_the_end_of_the_process_cuts_short_has_not_failed() {
    let mut bench = Bench::new(Some(CUT_SHORT));
    (0..5).for_each(|number| bench.span(number));
    bench.request();
    let mut cut_short = bench.start();
    bench.settle(&mut cut_short);
    let attempts = |bench: &Bench| bench.kinds().iter().filter(|kind| *kind == "training_attempted").count();
    assert_eq!(attempts(&bench), 1);
    bench.learns = Some("good");
    let mut instance = bench.start();
    bench.settle(&mut instance);
    assert_eq!((attempts(&bench), bench.kinds().last().unwrap().as_str()), (2, "challenger_trained"));
}

#[test]
fn a_challenger_that_the_end_of_the_process_cuts_short_is_not_rejected() {
    let mut bench = Bench::new(Some("good"));
    let mut instance = bench.start();
    (0..5).for_each(|number| bench.span(number));
    bench.request();
    bench.settle(&mut instance);
    (5..12).for_each(|number| bench.span(number));
    bench.ends = true;
    let mut cut_short = bench.start();
    bench.settle(&mut cut_short);
    assert_eq!(bench.kinds().last().unwrap(), "challenger_trained");
    bench.ends = false;
    let mut instance = bench.start();
    bench.settle(&mut instance);
    assert_eq!(bench.kinds().last().unwrap(), "promoted");
}

#[test]
fn the_deadline_ends_a_trial_that_shows_nothing() {
    let mut bench = Bench::new(Some("good"));
    bench.policy.deadline = std::time::Duration::from_millis(SPAN_MS as u64);
    bench.policy.gate.min_rows = 1_000;
    bench.request();
    (0..8).for_each(|number| bench.span(number));
    let mut instance = bench.start();
    bench.settle(&mut instance);
    let mut events = bench.events().into_iter();
    let rejected = events.find(|event| matches!(event.event, LifecycleEvent::ChallengerRejected { .. })).unwrap();
    let LifecycleEvent::ChallengerRejected { reason, .. } = rejected.event else { panic!() };
    assert!(reason.contains("deadline"), "{reason}");
    assert_eq!(rejected.time_ms, MATURED_MS + 2 * SPAN_MS);
}

#[test]
fn a_request_for_another_champion_is_void() {
    let mut bench = Bench::new(Some("good"));
    let past = |version: &str| Action::Promote { version: version.into(), past_the_gate: Some("ann: trust me".into()) };
    bench.command("register", Some("v1"), register("hand-made"));
    bench.command("promote", Some("v1"), past("hand-made"));
    bench.request();
    let mut instance = bench.start();
    bench.settle(&mut instance);
    let last = bench.events().pop().unwrap();
    let LifecycleEvent::EpisodeEnded { outcome, reason, .. } = last.event else { panic!("{last:?}") };
    assert_eq!(outcome, EpisodeOutcome::Abandoned);
    assert!(reason.contains("hand-made"), "{reason}");
}

#[test]
fn commands_are_carried_out_once_in_order_or_refused_with_their_reason() {
    let mut bench = Bench::new(Some("good"));
    let promote = |past: Option<&str>| Action::Promote { version: "v9".into(), past_the_gate: past.map(str::to_owned) };
    bench.command("register", Some("v1"), register("v9"));
    bench.command("gate", Some("v1"), promote(None));
    bench.command("outdated", Some("v0"), promote(Some("ann")));
    bench.command("override", Some("v1"), promote(Some("ann")));
    bench.command("back", Some("v9"), Action::RollBack { version: None, reason: "worse".into() });
    let mut instance = bench.start();
    instance.read_all(&bench);
    // Committed before they could be carried out, and lost with their instance.
    bench.commit(&mut instance);
    let mut instance = bench.start();
    bench.settle(&mut instance);
    let mut instance = bench.start();
    bench.settle(&mut instance);
    assert_eq!(bench.kinds(), ["version_registered", "promoted", "version_registered", "promoted", "rolled_back"]);
    let refusals = bench.topics[topics::RETRAIN].iter().map(|record| decode(record).unwrap());
    let refused: Vec<_> = refusals
        .map(|event| match event {
            RetrainEvent::CommandRefused(refused) => (refused.command, refused.reason),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(refused.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["gate", "outdated"]);
    assert!(refused[1].1.contains("the champion of m is v1, not v0"), "{}", refused[1].1);
}
