//! The control charts against the textbook's numbers.

use super::*;

fn limit(policy: Result<ShewhartPolicy, SequentialError>) -> f64 {
    policy.unwrap().limit
}

fn found_by<D: SequentialDetector>(mut chart: D, steps: &[(i64, Moments)]) -> Option<(i64, Change)> {
    steps.iter().find_map(|(start, step)| match chart.observe(*start, *step) {
        Signal::Change(change) => Some((*start, change)),
        Signal::Quiet => None,
    })
}

/// `count` steps of `n` values equal to `value`, each starting a second after the one before.
fn level(value: f64, n: i64, count: i64) -> Vec<(i64, Moments)> {
    let sum = n as f64 * value;
    (0..count).map(|k| (k * 1000, Moments { n, sum, sum_sq: sum * value })).collect()
}

#[test]
fn limits_for_a_run_length_are_those_of_the_tables() {
    // Montgomery: three standard errors are one false alarm in 370 steps; a CUSUM with k = ½ and h = 5 one in 465, with
    // h = 4 one in 168, which Siegmund's formula has as 469 and 169.
    assert!((limit(ShewhartPolicy::with_run_length(370.398)) - 3.0).abs() < 1e-5);
    assert!((limit(ShewhartPolicy::with_run_length(1e15)) - 8.03).abs() < 0.01);
    let threshold = |steps| CusumPolicy::with_run_length(0.5, steps).unwrap().threshold;
    assert!((threshold(469.1) - 5.0).abs() < 0.01, "{}", threshold(469.1));
    assert!((threshold(168.5) - 4.0).abs() < 0.01, "{}", threshold(168.5));
    assert_eq!(EwmaPolicy::with_run_length(0.2, 370.0).unwrap().limit, limit(ShewhartPolicy::with_run_length(370.0)));
}

#[test]
fn the_limits_of_the_ewma_chart_widen_as_the_textbook_has_it() {
    // Of steps of n = 4 with σ = 2, all just so high that the weighted mean touches L·σ·√(λ/(2 − λ)·(1 − (1 − λ)²ᵗ)/n) at t.
    let (weight, limit) = (0.2, 2.962);
    let chart = || Ewma::new(EwmaPolicy { weight, limit }, InControl::known(10.0, 2.0).unwrap()).unwrap();
    for t in [1, 2, 7, 20] {
        let kept = 0.8_f64.powi(t);
        let width = limit * 2.0 * (weight / (2.0 - weight) * (1.0 - kept * kept) / 4.0).sqrt();
        let height = width / (1.0 - kept);
        let below = found_by(chart(), &level(10.0 + 0.999 * height, 4, i64::from(t)));
        let above = found_by(chart(), &level(10.0 + 1.001 * height, 4, i64::from(t)));
        assert_eq!(below, None, "at {t}");
        assert_eq!(above.map(|(at, _)| at), Some((i64::from(t) - 1) * 1000), "at {t}");
    }
}

#[test]
fn a_shift_of_two_standard_errors_is_found_when_the_arithmetic_says() {
    // A mean of 100 values with σ = 1 has a standard error of .1, so .2 adds 2 − ½ a step: 4.5, 6 … passes 10 at the 7th.
    let reference = InControl::known(5.0, 1.0).unwrap();
    let chart = || Cusum::new(CusumPolicy { slack: 0.5, threshold: 10.0 }, reference).unwrap();
    let (at, change) = found_by(chart(), &level(5.2, 100, 20)).unwrap();
    assert_eq!((at, change.change_point_ms, change.direction), (6000, 0, Direction::Rising));
    assert!(change.before == 5.0 && (change.after - 5.2).abs() < 1e-12);
    let (at, change) = found_by(chart(), &level(4.8, 100, 20)).unwrap();
    assert_eq!((at, change.direction), (6000, Direction::Falling));
    // One value of the same height is a fifth of a standard error, less than the slack.
    assert_eq!(found_by(chart(), &level(5.2, 1, 1000)), None);
}

#[test]
fn one_step_beyond_its_own_limit_is_found_at_once_and_no_other() {
    let chart = || Shewhart::new(ShewhartPolicy { limit: 3.0 }, InControl::known(0.0, 1.0).unwrap()).unwrap();
    assert_eq!(found_by(chart(), &level(0.2999, 100, 1000)), None);
    assert_eq!(found_by(chart(), &level(-0.3001, 100, 1)).unwrap().1.direction, Direction::Falling);
    // Two steps below the mean, one above it within the limit, one beyond.
    let one = |height, k: i64| (k * 1000, level(height, 100, 1)[0].1);
    let (at, change) = found_by(chart(), &[one(-0.1, 0), one(-0.2, 1), one(0.1, 2), one(0.4, 3)]).unwrap();
    assert_eq!((at, change.change_point_ms), (3000, 2000));
}

#[test]
fn a_reference_of_few_values_is_not_held_against_large_steps() {
    // A hundred values know their mean to a tenth; steps of 10,000 that are half a tenth off are no news.
    let steps = level(0.05, 10_000, 1000);
    let known = InControl::known(0.0, 1.0).unwrap();
    let learned = InControl::learned(0.0, 1.0, 100).unwrap();
    let cusum = |reference| found_by(Cusum::new(CusumPolicy::default(), reference).unwrap(), &steps);
    let ewma = |reference| found_by(Ewma::new(EwmaPolicy::default(), reference).unwrap(), &steps);
    let shewhart = |reference| found_by(Shewhart::new(ShewhartPolicy::default(), reference).unwrap(), &steps);
    assert!(cusum(known).is_some() && ewma(known).is_some() && shewhart(known).is_some());
    assert_eq!((cusum(learned), ewma(learned), shewhart(learned)), (None, None, None));
}

#[test]
fn settings_of_charts_that_mean_nothing_are_refused_by_name() {
    let told = |error: SequentialError| error.to_string();
    assert_eq!(
        told(InControl::known(1.0, 0.0).unwrap_err()),
        "control chart setting reference standard deviation is 0: it must be finite and above zero"
    );
    assert!(told(InControl::known(f64::NAN, 1.0).unwrap_err()).contains("reference mean is NaN"));
    assert!(told(InControl::learned(0.0, 1.0, 0).unwrap_err()).contains("reference values is 0"));
    let cusum = |slack, threshold| Cusum::new(CusumPolicy { slack, threshold }, in_control()).map_err(told);
    assert_eq!(cusum(-1.0, 5.0).unwrap_err(), "cusum setting slack is -1: it must be finite and not negative");
    assert!(cusum(0.5, f64::INFINITY).unwrap_err().contains("threshold"));
    assert!(told(CusumPolicy::with_run_length(0.5, 1.0).unwrap_err()).contains("run length"));
    assert!(told(CusumPolicy::with_run_length(0.0, 1e6).unwrap_err()).contains("slack"));
    let ewma = |weight, limit| Ewma::new(EwmaPolicy { weight, limit }, in_control()).map_err(told);
    assert_eq!(ewma(0.0, 3.0).unwrap_err(), "ewma setting weight is 0: it must be above 0 and at most 1");
    assert!(ewma(0.1, 0.0).unwrap_err().contains("limit"));
    assert!(told(EwmaPolicy::with_run_length(0.1, 1.0).unwrap_err()).starts_with("ewma setting run length is 1"));
    assert!(Shewhart::new(ShewhartPolicy { limit: f64::NAN }, in_control()).is_err());
    assert!(ShewhartPolicy::with_run_length(f64::INFINITY).is_err());
}
