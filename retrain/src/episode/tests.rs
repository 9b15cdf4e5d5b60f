//! Episodes of a world that is made up: the champion and what can be trained are no more than their losses.

use super::*;
use crate::request::{Cause, CauseKind};
use detectors::windows::Window;
use std::collections::BTreeMap;

const SPAN_MS: i64 = 1_000;
/// Labelled rows of a span.
const ROWS: i64 = 10;

fn request(kind: CauseKind, change_ms: i64, matured_ms: i64) -> RetrainRequest {
    let cause = Cause {
        id: "c".into(),
        model: "m".into(),
        kind,
        time_ms: matured_ms,
        change_point_ms: Some(change_ms),
        summary: "accuracy fell".into(),
    };
    RetrainRequest {
        id: "r".into(),
        model: "m".into(),
        cause,
        time_ms: matured_ms,
        evidence: Vec::new(),
        train_from_ms: change_ms,
        matured_ms,
        credit: 3.0,
        champion: Some("v1".into()),
        parameters: BTreeMap::new(),
    }
}

fn opening(request: RetrainRequest) -> Opening {
    Opening {
        request,
        number: 1,
        promotions: 0,
        target: Some(0.1),
        dependence: 1.0,
        earlier: Vec::new(),
        is_recalibrable: false,
        parameters: 4,
    }
}

fn span(number: i64) -> RowsMatured {
    let span = Window { start_ms: number * SPAN_MS, end_ms: (number + 1) * SPAN_MS };
    RowsMatured { model: "m".into(), span, labelled: ROWS, cut: Cut { at_ms: span.end_ms, positions: Vec::new() } }
}

/// Losses of 0 and 1 with this mean, spread evenly.
fn losses(mean: f64, number: i64) -> Vec<f64> {
    let row = |row: i64| ((row + 1) as f64 * mean).floor() - (row as f64 * mean).floor();
    (0..ROWS).map(|place| row(number * ROWS + place)).collect()
}

/// What happens in a run.
#[derive(Debug, Default)]
struct Story {
    /// Kind and rows of each candidate, with the span after which it was made.
    made: Vec<(i64, CandidateKind, i64)>,
    /// Version that was promoted, with the span.
    promoted: Vec<(i64, String)>,
    rejected: Vec<(i64, u32)>,
    ended: Option<(i64, EpisodeOutcome)>,
}

/// Goes through spans from `from` on; `loss_of` tells the mean loss of a version in a span.
fn run(mut episode: Episode, from: i64, until: i64, loss_of: impl Fn(&str, i64) -> f64) -> (Episode, Story) {
    let mut story = Story::default();
    for number in from..until {
        let mut read = SpanLosses::default();
        let champion = episode.champion().unwrap_or_default().to_owned();
        read.champion = losses(loss_of(&champion, number), number);
        for (candidate, version) in episode.on_trial() {
            let pairs = read.champion.iter().zip(losses(loss_of(version, number), number + 3));
            let pair = |(champion_loss, challenger_loss): (&f64, f64)| Pair {
                champion_loss: Some(*champion_loss),
                challenger_loss: Some(challenger_loss),
                segments: Vec::new(),
            };
            read.pairs.insert(candidate, pairs.map(pair).collect());
        }
        for order in episode.judge(&span(number), &read) {
            match order {
                Order::Make(candidate) => {
                    story.made.push((number, candidate.kind, candidate.rows));
                    let version = candidate.version.unwrap_or_else(|| format!("c{}", candidate.number));
                    episode.enter(candidate.number, &version, Some(loss_of(&version, number)));
                }
                Order::Promote(_, permit) => story.promoted.push((number, permit.version().to_owned())),
                Order::Reject(candidate, ..) => story.rejected.push((number, candidate)),
                Order::End(ending) => {
                    story.ended = Some((number, ending.outcome));
                    return (episode, story);
                }
            }
        }
    }
    (episode, story)
}

/// An episode whose change lies ten spans before its first.
fn after_a_change(opening: Opening, policy: RetrainPolicy) -> Episode {
    let mut episode = Episode::open(opening, policy);
    (0..10).for_each(|number| assert!(episode.recall(&span(number)).is_empty()));
    episode
}

fn quality(matured_spans: i64) -> RetrainRequest {
    request(CauseKind::Quality, 0, matured_spans * SPAN_MS)
}

#[test]
fn a_change_is_answered_by_a_training_that_wins_and_the_episode_ends_at_its_target() {
    let episode = after_a_change(opening(quality(10)), RetrainPolicy::default());
    let (_, story) = run(episode, 10, 500, |version, _| if version == "v1" { 0.6 } else { 0.1 });
    assert_eq!(story.made[0], (10, CandidateKind::Refit, 110));
    assert_eq!(story.promoted[0].1, "c1");
    assert!(story.promoted[0].0 <= 14, "{story:?}");
    assert_eq!(story.ended.unwrap().1, EpisodeOutcome::Recovered);
    assert_eq!(story.made.len(), 1, "{story:?}");
}

#[test]
fn a_poor_first_winner_is_followed_by_trainings_on_more_rows_until_they_show_nothing() {
    let loss_of = |version: &str, _| match version {
        "v1" => 0.6,
        "c1" => 0.4,
        _ => 0.25,
    };
    let (_, story) = run(after_a_change(opening(quality(10)), RetrainPolicy::default()), 10, 4_000, loss_of);
    let rows: Vec<i64> = story.made.iter().map(|(_, _, rows)| *rows).collect();
    assert!(rows.windows(2).all(|pair| pair[1] >= 2 * pair[0]), "{rows:?}");
    assert_eq!(story.promoted.iter().map(|(_, version)| version.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    assert_eq!(story.ended.unwrap().1, EpisodeOutcome::NoBetterModel);
}

#[test]
fn a_former_champion_is_tried_first_and_costs_no_training() {
    let opening = Opening { earlier: vec!["v0".into()], ..opening(quality(1)) };
    let (_, story) =
        run(
            Episode::open(opening, RetrainPolicy::default()),
            0,
            500,
            |version, _| {
                if version == "v0" { 0.1 } else { 0.6 }
            },
        );
    assert_eq!(story.promoted[0].1, "v0");
    assert!(story.made.iter().all(|(_, kind, _)| *kind != CandidateKind::Refit), "{story:?}");
    assert_eq!(story.ended.unwrap().1, EpisodeOutcome::Recovered);
}

#[test]
fn a_champion_that_does_as_it_always_did_ends_the_episode_of_a_false_alarm() {
    let (_, story) = run(after_a_change(opening(quality(10)), RetrainPolicy::default()), 10, 500, |_, _| 0.1);
    assert_eq!(story.promoted, []);
    assert_eq!(story.ended.unwrap().1, EpisodeOutcome::Recovered);
}

#[test]
fn no_training_is_made_that_no_rows_have_paid_for() {
    let policy = RetrainPolicy { labelled_rows_per_training: 1_000_000, ..RetrainPolicy::default() };
    let mut poor = quality(10);
    poor.credit = 1.0;
    let (_, story) = run(after_a_change(opening(poor), policy), 10, 1_000, |_, _| 0.6);
    assert_eq!(story.made.len(), 1, "{story:?}");
}

#[test]
fn an_alarm_behind_the_last_training_starts_over_from_its_change() {
    let episode = after_a_change(opening(quality(10)), RetrainPolicy::default());
    let (mut episode, story) = run(episode, 10, 20, |_, _| 0.5);
    assert_eq!(story.made.len(), 1);
    episode.alarm(Some(15 * SPAN_MS));
    assert_eq!(episode.change_ms(), 15 * SPAN_MS);
    let (_, story) = run(episode, 20, 21, |_, _| 0.5);
    assert_eq!(story.made, [(20, CandidateKind::Refit, 60)], "rows since the new change alone");
}

#[test]
fn a_winner_that_breaks_its_promise_begins_a_phase_of_its_own() {
    let loss_of = |version: &str, number: i64| match version {
        "v1" => 0.6,
        "c1" if number < 20 => 0.1,
        "c1" => 0.7,
        _ => 0.05,
    };
    let mut policy = RetrainPolicy::default();
    policy.candidates.factor = 8.0;
    let (episode, story) = run(after_a_change(opening(quality(10)), policy), 10, 400, loss_of);
    assert!(episode.change_ms() >= 18 * SPAN_MS, "{}", episode.change_ms());
    let second = story.made.iter().filter(|(_, kind, _)| *kind == CandidateKind::Refit).nth(1).unwrap();
    assert!((20..40).contains(&second.0), "{story:?}");
    assert_eq!(story.ended.unwrap().1, EpisodeOutcome::Recovered);
}

#[test]
fn rows_of_a_fault_are_not_learned_from_until_patience_is_over() {
    let policy = RetrainPolicy { fault_patience: std::time::Duration::from_secs(30), ..RetrainPolicy::default() };
    let mut episode = after_a_change(opening(quality(10)), policy);
    let mut made = Vec::new();
    for number in 10..60 {
        episode.fault(Window { start_ms: number * SPAN_MS, end_ms: (number + 1) * SPAN_MS });
        let (next, story) = run(episode, number, number + 1, |_, _| 0.6);
        episode = next;
        made.extend(story.made);
    }
    let (first, _, rows) = made[0];
    assert_eq!((first, rows), (40, 410), "thirty seconds after the first fault, the odd rows are the world as it is");
}

#[test]
fn where_losses_move_together_everything_takes_as_many_times_the_rows() {
    let opening = Opening { dependence: 4.0, ..opening(quality(10)) };
    let (_, story) =
        run(
            after_a_change(opening, RetrainPolicy::default()),
            10,
            500,
            |version, _| if version == "v1" { 0.6 } else { 0.1 },
        );
    assert!(story.made[0].0 >= 19, "200 rows instead of 50: {story:?}");
    assert!(story.promoted[0].0 - story.made[0].0 >= 8, "80 rows at least: {story:?}");
}

#[test]
fn a_person_gets_one_training_at_once_and_its_trial() {
    let person = CauseKind::Person { reason: "ann".into() };
    let policy = RetrainPolicy { min_labelled_rows: 100, ..RetrainPolicy::default() };
    let asked = || {
        let mut episode = after_a_change(opening(request(person.clone(), 0, 11 * SPAN_MS)), policy.clone());
        let orders = episode.recall(&span(10));
        assert!(matches!(orders.as_slice(), [Order::Make(refit)] if refit.rows == 110), "{orders:?}");
        episode.enter(1, "c1", None);
        episode
    };
    let (_, worse) = run(asked(), 11, 2_000, |version, _| if version == "v1" { 0.1 } else { 0.3 });
    assert_eq!((worse.made.len(), worse.ended.unwrap().1), (0, EpisodeOutcome::NoBetterModel));
    let (_, better) = run(asked(), 11, 2_000, |version, _| if version == "v1" { 0.3 } else { 0.1 });
    assert_eq!((better.promoted.len(), better.ended.unwrap().1), (1, EpisodeOutcome::Recovered));
}
