//! Simulations of the gate, seeded, and its rules one by one.

use super::*;

/// A small deterministic generator (xorshift64*); its quality is ample for a few thousand trials.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A row on which only the challenger is right with probability `gain`, only the champion with `loss`.
    fn pair(&mut self, gain: f64, loss: f64) -> Pair {
        let (champion_loss, challenger_loss) = match self.roll() {
            roll if roll < gain => (1.0, 0.0),
            roll if roll < gain + loss => (0.0, 1.0),
            _ => (0.0, 0.0),
        };
        answered(champion_loss, challenger_loss)
    }
}

/// A row that both sides answered.
fn answered(champion_loss: f64, challenger_loss: f64) -> Pair {
    Pair { champion_loss: Some(champion_loss), challenger_loss: Some(challenger_loss), segments: Vec::new() }
}

/// The first training of an episode of the model.
fn terms(episode: u32, promotions: u32) -> TrialTerms {
    TrialTerms {
        model: "m".into(),
        request: "r".into(),
        candidate: 1,
        champion: Some("v1".into()),
        challenger: "v2".into(),
        deadline_ms: 1_000_000,
        most_rows: u64::MAX,
        fallback: Fallback::KeepChampion,
        share: Share { episode, kind: CandidateKind::Refit, number: 1, promotions },
        dependence: 1.0,
    }
}

/// Rows until the ruling, looked at every 20 rows, or `None` after 3,000.
fn run(dice: &mut Dice, number: u32, gain: f64, loss: f64) -> (Option<u64>, Ruling) {
    let policy = GatePolicy::default();
    let mut trial = Trial::new(terms(number, 0), &policy);
    for _ in 0..150 {
        (0..20).for_each(|_| trial.observe(&dice.pair(gain, loss)));
        let ruling = judge(&policy, &trial);
        if !matches!(ruling, Ruling::NotYet(_)) {
            return (Some(trial.rows), ruling);
        }
    }
    (None, judge(&policy, &trial))
}

#[test]
fn equal_models_are_promoted_no_more_often_than_the_budget_over_all_their_trials() {
    let mut dice = Dice(7);
    let lives = 300;
    let promoted = |dice: &mut Dice| (1..=6).any(|number| matches!(run(dice, number, 0.1, 0.1).1, Ruling::Promote(_)));
    let false_lives = (0..lives).filter(|_| promoted(&mut dice)).count();
    // The bound is .1; three standard errors of a share of .1 among 300 are .052.
    assert!((false_lives as f64) < (0.1 + 0.052) * f64::from(lives), "{false_lives} of {lives}");
}

#[test]
fn an_accuracy_better_by_a_twentieth_is_found_in_some_hundred_rows() {
    let mut dice = Dice(11);
    let mut rows: Vec<u64> = (0..400)
        .filter_map(|_| match run(&mut dice, 1, 0.1, 0.05) {
            (Some(rows), Ruling::Promote(_)) => Some(rows),
            _ => None,
        })
        .collect();
    rows.sort_unstable();
    assert!(rows.len() >= 380, "found in {} of 400", rows.len());
    assert!((400..=650).contains(&rows[200]), "median {}", rows[200]);
}

#[test]
fn a_worse_challenger_is_rejected_before_its_deadline() {
    let (rows, ruling) = run(&mut Dice(3), 1, 0.05, 0.15);
    assert!(matches!(ruling, Ruling::Reject(Why::Worse, _)), "{ruling:?} after {rows:?}");
}

#[test]
fn no_promotion_before_the_least_rows_however_clear() {
    let policy = GatePolicy::default();
    let clear = answered(1.0, 0.0);
    for (dependence, least) in [(1.0, 20), (2.5, 50)] {
        let mut trial = Trial::new(TrialTerms { dependence, ..terms(1, 0) }, &policy);
        (1..least).for_each(|_| trial.observe(&clear));
        assert!(matches!(judge(&policy, &trial), Ruling::NotYet(_)));
        trial.observe(&clear);
        let Ruling::Promote(permit) = judge(&policy, &trial) else { panic!("{least} clear rows") };
        assert_eq!((permit.version(), permit.champion()), ("v2", Some("v1")));
    }
}

#[test]
fn a_challenger_that_answers_the_easy_rows_alone_loses() {
    let policy = GatePolicy::default();
    let (mut dice, mut trial) = (Dice(13), Trial::new(terms(1, 0), &policy));
    let mut unanswered = 0;
    for _ in 0..400 {
        let champion_loss = Some(f64::from(u8::from(dice.roll() < 0.2)));
        let challenger_loss = (dice.roll() < 0.25).then_some(0.0);
        unanswered += u64::from(challenger_loss.is_none());
        trial.observe(&Pair { champion_loss, challenger_loss, segments: Vec::new() });
    }
    let Ruling::Reject(Why::Worse, report) = judge(&policy, &trial) else { panic!("it is right in a quarter") };
    assert_eq!((report.rows, report.challenger_unanswered, report.champion_unanswered), (400, unanswered, 0));
    let told = format!("counts as wrong: {unanswered} rows by the challenger, 0 by the champion");
    assert!(report.summary.ends_with(&told), "{}", report.summary);
}

#[test]
fn a_harmed_segment_stops_a_challenger_that_is_better_on_the_whole() {
    let policy = GatePolicy::default();
    let mut trial = Trial::new(terms(1, 0), &policy);
    let segment = |value: &str| vec![Segment { dimension: "ward".into(), value: value.into() }];
    for row in 0..400 {
        let harmed = row % 6 == 0;
        let (champion_loss, challenger_loss) = if harmed { (0.0, 1.0) } else { (1.0, 0.0) };
        let segments = segment(if harmed { "north" } else { "south" });
        trial.observe(&Pair { segments, ..answered(champion_loss, challenger_loss) });
    }
    let Ruling::Reject(Why::WorseInSegment { segment, .. }, _) = judge(&policy, &trial) else { panic!() };
    assert_eq!(segment.value, "north");
}

#[test]
fn forgetting_the_anchor_stops_a_challenger() {
    use crate::policy::AnchorPolicy;
    let policy =
        GatePolicy { anchor: Some(AnchorPolicy { from_ms: 0, until_ms: 1, margin: 0.02 }), ..GatePolicy::default() };
    let mut trial = Trial::new(terms(1, 0), &policy);
    trial.hold_against(AnchorStanding { rows: 100, champion_loss: 0.1, challenger_loss: 0.15 });
    assert!(matches!(judge(&policy, &trial), Ruling::Reject(Why::WorseOnAnchor { .. }, _)));
}

#[test]
fn at_the_deadline_the_fallback_decides() {
    let policy = GatePolicy::default();
    let mut dice = Dice(5);
    for (fallback, promotes) in [(Fallback::KeepChampion, false), (Fallback::PromoteIfBetter, true)] {
        let mut trial = Trial::new(TrialTerms { fallback, ..terms(40, 0) }, &policy);
        (0..300).for_each(|_| trial.observe(&dice.pair(0.1, 0.05)));
        trial.advance_to(999_999);
        assert!(matches!(judge(&policy, &trial), Ruling::NotYet(_)));
        trial.advance_to(1_000_000);
        assert_eq!(matches!(judge(&policy, &trial), Ruling::Promote(_)), promotes);
    }
}

#[test]
fn the_shares_of_all_trials_are_no_more_than_the_budget_and_grow_with_promotions() {
    let policy = GatePolicy::default();
    let level = |episode, kind, number, promotions| Share { episode, kind, number, promotions }.level(&policy);
    let kinds = [CandidateKind::Refit, CandidateKind::Recalibration, CandidateKind::Earlier];
    let numbers = || (1..300).flat_map(|episode| (1..300).map(move |number| (episode, number)));
    let spent: f64 = kinds
        .into_iter()
        .flat_map(|kind| numbers().map(move |(episode, number)| (episode, kind, number)))
        .map(|(episode, kind, number)| level(episode, kind, number, 0))
        .sum();
    assert!(spent <= policy.alpha && spent > 0.98 * policy.alpha, "{spent}");
    assert!(level(3, CandidateKind::Refit, 1, 2) > level(3, CandidateKind::Refit, 1, 0));
}

#[test]
fn a_trial_that_shows_nothing_ends_after_its_rows() {
    let policy = GatePolicy::default();
    let mut trial = Trial::new(TrialTerms { most_rows: 400, ..terms(1, 0) }, &policy);
    let mut dice = Dice(13);
    (0..400).for_each(|_| trial.observe(&dice.pair(0.1, 0.1)));
    assert!(matches!(judge(&policy, &trial), Ruling::Reject(Why::NothingShown { rows: 400 }, _)));
}

#[test]
fn an_override_needs_a_reason() {
    assert_eq!(override_gate("m", "v3", None, " "), Err(NoReason));
    let permit = override_gate("m", "v3", None, "ann: v2 cannot be served").unwrap();
    assert!(matches!(permit.record(), PermitRecord::Override { .. }));
}
