//! The e-detector's bets: what they claim to have won, they have.

use super::*;
use proptest::prelude::*;

fn unit(mean: f64) -> BoundedMean {
    BoundedMean::known(Some(0.0), Some(1.0), mean).unwrap()
}

/// `ln R` of the average bet after the given steps, with no alarm on the way.
fn evidence(unchanged: BoundedMean, steps: &[(i64, Moments)]) -> f64 {
    let policy = EDetectorPolicy { run_length: 1e300, reads: Reads::Values };
    let mut detector = EDetector::new(policy, unchanged).unwrap();
    steps.iter().for_each(|(start, step)| assert_eq!(detector.observe(*start, *step), Signal::Quiet));
    detector.log_evidence()
}

/// The same for one step, bet by bet and value by value, as written in the formula: `R = Π(1 + λ(w − 1))`.
fn capital(mean: f64, values: &[f64]) -> f64 {
    let fractions: Vec<f64> = (1..=10).map(|power| 0.5_f64.powi(power)).collect();
    let bet = |fraction: f64, height: &dyn Fn(f64) -> f64| -> f64 {
        values.iter().map(|value| 1.0 + fraction * (height(*value) - 1.0)).product()
    };
    let rises = fractions.iter().map(|fraction| bet(*fraction, &|value| value / mean));
    let falls = fractions.iter().map(|fraction| bet(*fraction, &|value| (1.0 - value) / (1.0 - mean)));
    rises.chain(falls).sum::<f64>() / 20.0
}

proptest! {
    #[test]
    fn a_step_never_wins_more_than_its_values_have_won(
        values in prop::collection::vec(0.0..=1.0_f64, 1..40), mean in 0.01..0.99_f64,
    ) {
        let (found, had) = (evidence(unit(mean), &steps(&values, values.len())), capital(mean, &values).ln());
        prop_assert!(found <= had + 1e-9, "{found} of {had}");
    }

    #[test]
    fn errors_and_single_values_win_all_that_can_be_won(
        errors in prop::collection::vec(prop::bool::ANY, 1..40), value in 0.0..=1.0_f64, mean in 0.01..0.99_f64,
    ) {
        let errors: Vec<f64> = errors.iter().map(|wrong| f64::from(u8::from(*wrong))).collect();
        for values in [errors, vec![value]] {
            let (found, had) = (evidence(unit(mean), &steps(&values, values.len())), capital(mean, &values).ln());
            prop_assert!((found - had).abs() <= 1e-9 * (1.0 + had.abs()), "{found}, had {had}");
        }
    }
}

#[test]
fn a_fair_bet_is_worth_one_on_average() {
    // All 2⁸ outcomes of a step of eight errors, each with its probability at a mean of .3.
    let mean: f64 = 0.3;
    let worth = |bits: u32| {
        let errors: Vec<f64> = (0..8).map(|place| f64::from(bits >> place & 1)).collect();
        let wrong = bits.count_ones() as i32;
        mean.powi(wrong) * (1.0 - mean).powi(8 - wrong) * evidence(unit(mean), &steps(&errors, 8)).exp()
    };
    let average: f64 = (0..256).map(worth).sum();
    assert!((average - 1.0).abs() < 1e-12, "{average}");
}

#[test]
fn the_sum_over_starting_points_is_that_of_shiryaev_and_roberts() {
    // With L at each of three steps, R = L₁L₂L₃ + L₂L₃ + L₃; every bet alike for a value at the mean of a half.
    let values = [0.5, 0.5, 0.5];
    assert!((evidence(unit(0.5), &steps(&values, 1)).exp() - 3.0).abs() < 1e-12);
}

#[test]
fn values_that_stand_at_the_mean_are_no_change_however_long() {
    let mut detector = EDetector::new(EDetectorPolicy { run_length: 100.0, reads: Reads::Values }, unit(0.5)).unwrap();
    for step in 0..10_000 {
        assert_eq!(detector.observe(step, Moments::of(0.5)), Signal::Quiet);
    }
}

#[test]
fn a_mean_within_the_references_confidence_is_no_change() {
    let reference = Moments { n: 1_000, sum: 200.0, sum_sq: 200.0 };
    let unchanged = BoundedMean::learned((0.0, 1.0), reference, 0.99).unwrap();
    let detector = || Sequential::EDetector(EDetector::new(EDetectorPolicy::default(), unchanged).unwrap());
    // ±.05 is what a thousand errors say about .2; steps of a thousand that are .03 off for ever are no news.
    let level = |share: f64| -> Vec<(i64, Moments)> {
        (0..2_000).map(|k| (k, Moments { n: 1_000, sum: 1_000.0 * share, sum_sq: 1_000.0 * share })).collect()
    };
    assert_eq!(run(&mut detector(), &level(0.23)), []);
    assert_eq!(run(&mut detector(), &level(0.17)), []);
    assert!(!run(&mut detector(), &level(0.3)).is_empty());
}

#[test]
fn losses_without_an_upper_bound_can_be_seen_to_rise() {
    let unchanged = BoundedMean::known(Some(0.0), None, 0.7).unwrap();
    let losses = |mean: f64| -> Vec<(i64, Moments)> {
        // Two values of three are zero, as log losses are skewed.
        (0..3_000).map(|k| (k, Moments::of(if k % 3 == 0 { 3.0 * mean } else { 0.0 }))).collect()
    };
    let detector = || Sequential::EDetector(EDetector::new(EDetectorPolicy::default(), unchanged).unwrap());
    assert_eq!(run(&mut detector(), &losses(0.7)), []);
    let changes = run(&mut detector(), &losses(1.4));
    assert!(changes.first().is_some_and(|(at, change)| *at < 200 && change.direction == Direction::Rising));
    assert_eq!(run(&mut detector(), &losses(0.1)), []);
}

#[test]
fn settings_of_bets_that_mean_nothing_are_refused_by_name() {
    let told = |error: SequentialError| error.to_string();
    let policy = EDetectorPolicy { run_length: 1.0, ..Default::default() };
    assert_eq!(
        told(EDetector::new(policy, unit(0.2)).unwrap_err()),
        "e_detector setting run_length is 1: it must be finite and above 1 step"
    );
    let known = |low, high, mean| BoundedMean::known(low, high, mean).map_err(told);
    assert!(known(None, None, 0.5).unwrap_err().contains("bound of values"));
    assert!(known(Some(0.0), Some(f64::INFINITY), 0.5).unwrap_err().contains("bound of values"));
    assert!(known(Some(0.0), Some(1.0), 0.0).unwrap_err().contains("reference mean is 0"));
    assert!(known(Some(0.0), Some(1.0), f64::NAN).unwrap_err().contains("reference mean"));
    let learned = |n, share: f64, confidence| {
        let sum = n as f64 * share;
        BoundedMean::learned((0.0, 1.0), Moments { n, sum, sum_sq: sum }, confidence).map_err(told)
    };
    assert!(learned(1_000, 0.2, 1.0).unwrap_err().contains("confidence is 1"));
    assert!(learned(5, 0.4, 0.99).unwrap_err().contains("reference values is 5"));
    assert!(learned(0, 0.4, 0.99).unwrap_err().contains("reference values is 0"));
    // No error among ten thousand is a reference all the same.
    assert!(learned(10_000, 0.0, 0.99).is_ok());
}
