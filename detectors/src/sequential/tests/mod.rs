//! What the detectors find and let pass, by name; [`properties`] holds what no input may break.

use super::*;

mod betting;
mod charts;
mod properties;

/// Every detector that gathers what steps tell, ready to run; a Shewhart chart judges each by itself, and one error among
/// single values tells it nothing.
fn detectors() -> Vec<Sequential> {
    let baseline = Baseline::Reference { mean: 0.2, standard_deviation: 0.4 };
    let told = vec![
        page_hinkley(baseline),
        Sequential::Cusum(Cusum::new(CusumPolicy::default(), in_control()).unwrap()),
        Sequential::Ewma(Ewma::new(EwmaPolicy::default(), in_control()).unwrap()),
        e_detector(),
    ];
    without_reference().into_iter().chain(told).collect()
}

/// The detectors that no reference tells where the mean should be.
fn without_reference() -> Vec<Sequential> {
    let adwin =
        |after_change| Sequential::Adwin(Adwin::new(AdwinPolicy { after_change, ..AdwinPolicy::default() }).unwrap());
    vec![
        adwin(AfterChange::DropOld),
        adwin(AfterChange::StartAfresh),
        page_hinkley(Baseline::Running),
        Sequential::PlainPageHinkley(PlainPageHinkley::new(PlainPageHinkleyPolicy::default()).unwrap()),
    ]
}

fn page_hinkley(baseline: Baseline) -> Sequential {
    Sequential::PageHinkley(PageHinkley::new(PageHinkleyPolicy::default(), baseline).unwrap())
}

/// Errors at .2, known.
fn in_control() -> InControl {
    InControl::known(0.2, 0.4).unwrap()
}

fn e_detector() -> Sequential {
    let unchanged = BoundedMean::known(Some(0.0), Some(1.0), 0.2).unwrap();
    Sequential::EDetector(EDetector::new(EDetectorPolicy::default(), unchanged).unwrap())
}

/// A fixed sequence of errors with probability `p`: golden-ratio steps are even enough to never cluster.
fn errors(from: usize, count: usize, p: f64) -> impl Iterator<Item = f64> {
    (from..from + count).map(move |k| if (k as f64 * 0.618_033_988_749_895).fract() < p { 1.0 } else { 0.0 })
}

/// Errors at .2, then at `later`, 1,000 each.
fn stream_with_change(later: f64) -> Vec<f64> {
    errors(0, 1000, 0.2).chain(errors(1000, 1000, later)).collect()
}

/// Values in steps of `size`, each starting a second after the one before.
fn steps(values: &[f64], size: usize) -> Vec<(i64, Moments)> {
    let moments = |chunk: &[f64]| {
        let mut step = Moments::default();
        chunk.iter().for_each(|value| step.observe(*value, 1));
        step
    };
    values.chunks(size).enumerate().map(|(k, chunk)| (k as i64 * 1000, moments(chunk))).collect()
}

fn run(detector: &mut Sequential, steps: &[(i64, Moments)]) -> Vec<(i64, Change)> {
    let change = |(start, step): &(i64, Moments)| match detector.observe(*start, *step) {
        Signal::Change(change) => Some((*start, change)),
        Signal::Quiet => None,
    };
    steps.iter().filter_map(change).collect()
}

#[test]
fn a_change_is_found_after_it_happened_and_in_its_direction() {
    for (later, direction) in [(0.6, Direction::Rising), (0.0, Direction::Falling)] {
        let steps = steps(&stream_with_change(later), 10);
        for mut detector in detectors() {
            let name = detector.name();
            let changes = run(&mut detector, &steps);
            let Some((found, first)) = changes.first() else { panic!("{name} missed the change to {later}") };
            assert!((100_000..160_000).contains(found), "{name} found the change to {later} at {found}");
            assert_eq!(first.direction, direction, "{name}");
            assert!((first.after > first.before) == (direction == Direction::Rising), "{name}: {first:?}");
            let distance = (first.change_point_ms - 100_000).abs();
            assert!(distance <= 40_000, "{name} puts the change at {}", first.change_point_ms);
        }
    }
}

#[test]
fn steady_errors_raise_no_alarm_in_steps_of_any_size() {
    let values: Vec<_> = errors(0, 20_000, 0.2).collect();
    for size in [1, 7, 100, 3000] {
        for mut detector in detectors() {
            assert_eq!(run(&mut detector, &steps(&values, size)), [], "{} at size {size}", detector.name());
        }
    }
}

#[test]
fn constant_and_tiny_values_raise_no_alarm() {
    for value in [0.0, 1e-300, 1.0, -1e9, 1e12] {
        // A fixed reference would rightly alarm at a constant elsewhere.
        for mut detector in without_reference() {
            let changes = run(&mut detector, &steps(&vec![value; 150], 1));
            assert_eq!(changes, [], "{} at {value}", detector.name());
        }
    }
}

#[test]
fn page_hinkley_does_not_depend_on_the_scale() {
    let run_at = |scale: f64| {
        let baseline = Baseline::Reference { mean: 0.2 * scale, standard_deviation: 0.4 * scale };
        let detector = PageHinkley::new(PageHinkleyPolicy::default(), baseline).unwrap();
        let values: Vec<_> = stream_with_change(0.6).iter().map(|value| value * scale).collect();
        run(&mut Sequential::PageHinkley(detector), &steps(&values, 1)).first().map(|(at, _)| *at)
    };
    // A power of two scales every float exactly.
    assert!(run_at(1.0).is_some());
    assert_eq!(run_at(1.0), run_at(2.0_f64.powi(-40)));
}

#[test]
fn a_step_beyond_all_standard_deviations_is_a_change_all_the_same() {
    let baseline = Baseline::Reference { mean: 0.0, standard_deviation: 1e-300 };
    let reference = InControl::known(0.0, 1e-300).unwrap();
    let detectors = [
        page_hinkley(baseline),
        Sequential::Cusum(Cusum::new(CusumPolicy::default(), reference).unwrap()),
        Sequential::Ewma(Ewma::new(EwmaPolicy::default(), reference).unwrap()),
        Sequential::Shewhart(Shewhart::new(ShewhartPolicy::default(), reference).unwrap()),
    ];
    for mut detector in detectors {
        let changes = run(&mut detector, &steps(&[1e50; 30], 30));
        assert!(matches!(changes[..], [(0, Change { direction: Direction::Rising, .. })]), "{}", detector.name());
    }
}

#[test]
fn a_scale_brings_small_values_within_reach_of_adwin() {
    let values: Vec<_> = stream_with_change(0.6).iter().map(|value| 1e6 + value * 1e-3).collect();
    let plain = steps(&values, 10);
    let scale = Scale::between(1e6, 1e6 + 1e-3).unwrap();
    let scaled: Vec<_> = plain.iter().map(|(start, step)| (*start, scale.apply(*step))).collect();
    let adwin = || Sequential::Adwin(Adwin::new(AdwinPolicy::default()).unwrap());
    assert_eq!(run(&mut adwin(), &plain), []);
    let changes = run(&mut adwin(), &scaled);
    assert!(changes.first().is_some_and(|(at, _)| *at >= 100_000), "{changes:?}");
}

#[test]
fn steps_without_usable_values_change_nothing() {
    let nothing = Moments::default();
    let taken_back = Moments { n: -1, sum: -1.0, sum_sq: -1.0 };
    let infinite = Moments { n: 1, sum: f64::INFINITY, sum_sq: f64::INFINITY };
    let huge = Moments { n: 1, sum: 1e200, sum_sq: f64::INFINITY };
    for fresh in detectors() {
        let mut detector = fresh.clone();
        for step in [nothing, taken_back, infinite, huge, Moments { n: 2, sum: 0.0, sum_sq: f64::NAN }] {
            assert_eq!(detector.observe(0, step), Signal::Quiet);
        }
        assert_eq!(detector.ignored(), 4, "{}", detector.name());
        let values = steps(&stream_with_change(0.6), 1);
        assert_eq!(run(&mut detector, &values), run(&mut fresh.clone(), &values));
    }
}

#[test]
fn a_reset_detector_is_as_good_as_new() {
    let values = steps(&stream_with_change(0.6), 1);
    for fresh in detectors() {
        let mut detector = fresh.clone();
        run(&mut detector, &values[..1234]);
        detector.reset();
        assert_eq!(detector, fresh, "{}", fresh.name());
    }
}

#[test]
fn steps_of_several_values_find_the_change_nearly_when_single_values_do() {
    let values = stream_with_change(0.6);
    for fresh in detectors() {
        let first = |size: usize| {
            let found = run(&mut fresh.clone(), &steps(&values, size));
            // Steps of any size start where the single values would.
            found.first().map(|(at, _)| at / 1000 * size as i64).unwrap()
        };
        let single = first(1);
        for size in [2, 8, 20] {
            // A clock of 32 values and a step's length are what a larger step may cost or gain.
            let most = 32 + 2 * size as i64;
            assert!((first(size) - single).abs() <= most, "{}: {} and {single}", fresh.name(), first(size));
        }
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let adwin = |policy| Adwin::new(policy).unwrap_err().to_string();
    assert_eq!(
        adwin(AdwinPolicy { delta: 0.0, ..AdwinPolicy::default() }),
        "adwin setting delta is 0: it must be between 0 and 1"
    );
    assert!(adwin(AdwinPolicy { clock: 0, ..AdwinPolicy::default() }).contains("clock"));
    assert!(adwin(AdwinPolicy { min_part: 4, ..AdwinPolicy::default() }).contains("min_part"));
    let constant = Baseline::Reference { mean: 1.0, standard_deviation: 0.0 };
    assert!(PageHinkley::new(PageHinkleyPolicy::default(), constant).is_err());
    assert!(
        PageHinkley::new(PageHinkleyPolicy { tolerance: f64::NAN, ..Default::default() }, Baseline::Running).is_err()
    );
    assert!(PlainPageHinkley::new(PlainPageHinkleyPolicy { alpha: 0.0, ..Default::default() }).is_err());
    assert!(Scale::between(1.0, 1.0).is_err());
}

#[test]
fn the_state_stays_small_however_long_the_stream() {
    let values: Vec<_> = errors(0, 100_000, 0.2).collect();
    for mut detector in detectors() {
        run(&mut detector, &steps(&values, 1));
        let bytes = rmp_serde::to_vec(&detector).unwrap().len();
        assert!(bytes < 4096, "{} takes {bytes} bytes", detector.name());
    }
}
