//! The promises of the trait, kept by every detector on any input.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Some stretches of values in 0 … 16, each about a level of its own, in steps of 1, 2, 4 or 8: of these every mean is exact.
fn stream() -> impl Strategy<Value = Vec<(i64, Moments)>> {
    let stretch = (0..=16_i32, 1..=4_i32, 1..120_usize)
        .prop_flat_map(|(level, spread, count)| vec((level - spread).max(0)..=(level + spread).min(16), count));
    (vec(stretch, 1..6), 0..4_u32).prop_map(|(stretches, power)| {
        let values: Vec<f64> = stretches.concat().into_iter().map(f64::from).collect();
        let mut steps = steps(&values, 1 << power);
        // The last step may be short.
        steps.retain(|(_, step)| step.n == 1 << power);
        steps
    })
}

/// Anything a step may claim to be, sound or not.
fn any_step() -> impl Strategy<Value = Moments> {
    let number = prop_oneof![
        any::<f64>(),
        -2.0..2.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e9),
        Just(1e9 + 1.0),
        Just(1e-9),
        Just(-1e100),
        Just(0.0),
    ];
    let count = prop_oneof![1..5_i64, Just(0), Just(-3), Just((1 << 53) - 1), Just(i64::MAX), any::<i64>()];
    let same = (number.clone(), prop_oneof![1..1_000_i64, Just(1 << 53)]).prop_map(|(value, n)| {
        let mut step = Moments::default();
        step.observe(value, n);
        step
    });
    prop_oneof![
        2 => same,
        1 => (count, number.clone(), number).prop_map(|(n, sum, sum_sq)| Moments { n, sum, sum_sq }),
    ]
}

/// Each detector for values in 0 … 16 scaled and moved, where it can be told of that; they alarm sooner than by default.
fn moved(scale: f64, offset: f64) -> Vec<Sequential> {
    let reference = InControl::known(8.0 * scale + offset, 4.0 * scale).unwrap();
    let baseline = Baseline::Reference { mean: 8.0 * scale + offset, standard_deviation: 4.0 * scale };
    let policy = PageHinkleyPolicy { threshold: 20.0, ..Default::default() };
    let bounds = (Some(offset), Some(16.0 * scale + offset));
    let unchanged = BoundedMean::known(bounds.0, bounds.1, 8.0 * scale + offset).unwrap();
    let e_detector = |reads| {
        let policy = EDetectorPolicy { run_length: 1000.0, reads };
        Sequential::EDetector(EDetector::new(policy, unchanged).unwrap())
    };
    vec![
        Sequential::PageHinkley(PageHinkley::new(policy, baseline).unwrap()),
        Sequential::Cusum(Cusum::new(CusumPolicy { slack: 0.5, threshold: 5.0 }, reference).unwrap()),
        Sequential::Ewma(Ewma::new(EwmaPolicy { weight: 0.25, limit: 3.0 }, reference).unwrap()),
        Sequential::Shewhart(Shewhart::new(ShewhartPolicy { limit: 2.0 }, reference).unwrap()),
        e_detector(Reads::Values),
        e_detector(Reads::StepMeans),
    ]
}

/// All detectors, those that are told of the values' range for values in 0 … 16.
fn sensitive() -> Vec<Sequential> {
    moved(1.0, 0.0).into_iter().chain(without_reference()).collect()
}

/// The step's values, each scaled and moved; exact as long as all are multiples of one power of two.
fn transformed(steps: &[(i64, Moments)], scale: f64, offset: f64) -> Vec<(i64, Moments)> {
    let change = |step: &Moments| {
        let n = step.n as f64;
        let sum_sq = scale * scale * step.sum_sq + 2.0 * scale * offset * step.sum + n * offset * offset;
        Moments { n: step.n, sum: scale * step.sum + n * offset, sum_sq }
    };
    steps.iter().map(|(start, step)| (*start, change(step))).collect()
}

/// Of an adaptive window all that was dropped may, at worst, have the mean of all that was kept: then neither way.
fn which_way(change: &Change) -> Option<Direction> {
    (change.after != change.before).then_some(change.direction)
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Rising => Direction::Falling,
        Direction::Falling => Direction::Rising,
    }
}

fn stored(detector: &Sequential) -> Sequential {
    rmp_serde::from_slice(&rmp_serde::to_vec(detector).unwrap()).unwrap()
}

/// A change is one of what was seen, and its means are numbers.
fn is_sound(change: &Change, seen: &[(i64, Moments)]) -> Result<(), TestCaseError> {
    prop_assert!(change.before.is_finite() && change.after.is_finite(), "{change:?}");
    prop_assert!(seen.iter().any(|(start, _)| *start == change.change_point_ms), "{change:?}");
    Ok(())
}

proptest! {
    #[test]
    fn resuming_from_a_stored_state_changes_nothing(steps in stream(), cuts in vec(0..600_usize, 0..5)) {
        for fresh in sensitive() {
            let (mut whole, mut resumed) = (fresh.clone(), fresh);
            for (place, (start, step)) in steps.iter().enumerate() {
                if cuts.contains(&place) {
                    resumed = stored(&resumed);
                }
                prop_assert_eq!(whole.observe(*start, *step), resumed.observe(*start, *step));
            }
            prop_assert_eq!(whole, resumed);
        }
    }

    #[test]
    fn steps_without_values_may_be_put_in_or_left_out(steps in stream(), places in vec(0..600_usize, 0..20)) {
        for fresh in sensitive() {
            let (mut sparse, mut dense) = (fresh.clone(), fresh);
            for (place, (start, step)) in steps.iter().enumerate() {
                if places.contains(&place) {
                    let mut empty = Moments::default();
                    empty.merge(&Moments::default());
                    prop_assert_eq!(dense.observe(*start - 1, empty), Signal::Quiet);
                }
                prop_assert_eq!(sparse.observe(*start, *step), dense.observe(*start, *step));
            }
            prop_assert_eq!(sparse, dense);
        }
    }

    #[test]
    fn a_change_point_lies_within_what_was_seen_since_the_last_change(steps in stream()) {
        for mut detector in sensitive() {
            // What an adaptive window keeps after a change is older than the change was found.
            let forgets = !matches!(detector, Sequential::Adwin(_));
            let mut first = 0;
            for (place, (start, step)) in steps.iter().enumerate() {
                if let Signal::Change(change) = detector.observe(*start, *step) {
                    is_sound(&change, &steps[first..=place])?;
                    first = if forgets { place + 1 } else { first };
                }
            }
        }
    }

    #[test]
    fn a_rise_is_to_a_higher_mean_and_a_fall_to_a_lower(steps in stream()) {
        for mut detector in sensitive() {
            // River's sums forget, and so may be drawn on by a mean that is long gone.
            if matches!(detector, Sequential::PlainPageHinkley(_)) {
                continue;
            }
            for (_, change) in run(&mut detector, &steps) {
                let rises = change.direction == Direction::Rising;
                prop_assert_eq!(change.after > change.before, rises, "{} {:?}", detector.name(), change);
            }
        }
    }

    #[test]
    fn neither_scale_nor_offset_matters_where_the_reference_gives_them(
        steps in stream(), power in -30..30_i32, offset in -1024..1024_i32,
    ) {
        // Powers of two, and offsets that are multiples of them, leave every sum exact.
        let scale = 2.0_f64.powi(power);
        let offset = f64::from(offset) * scale;
        let other = transformed(&steps, scale, offset);
        for (mut here, mut there) in moved(1.0, 0.0).into_iter().zip(moved(scale, offset)) {
            let found = run(&mut here, &steps);
            let moved = run(&mut there, &other);
            let told = |changes: &[(i64, Change)]| -> Vec<(i64, i64, Direction)> {
                changes.iter().map(|(at, change)| (*at, change.change_point_ms, change.direction)).collect()
            };
            prop_assert_eq!(told(&found), told(&moved), "{}", here.name());
        }
    }

    #[test]
    fn mirrored_values_mirror_the_direction(steps in stream()) {
        // About zero, of which the mirror image is exact.
        let steps = transformed(&steps, 1.0, -8.0);
        let mirror = transformed(&steps, -1.0, 0.0);
        for fresh in moved(1.0, -8.0).into_iter().chain(without_reference()) {
            // River's maximum starts at −1 and its minimum at infinity, which is no mirror image.
            if matches!(fresh, Sequential::PlainPageHinkley(_)) {
                continue;
            }
            let found = run(&mut fresh.clone(), &steps);
            let mirrored = run(&mut fresh.clone(), &mirror);
            let told = |changes: &[(i64, Change)], turn: fn(Direction) -> Direction| -> Vec<_> {
                changes.iter().map(|(at, c)| (*at, c.change_point_ms, which_way(c).map(turn))).collect()
            };
            let (turned, told) = (told(&found, opposite), told(&mirrored, |as_it_is| as_it_is));
            prop_assert_eq!(turned, told, "{}", fresh.name());
        }
    }

    #[test]
    fn no_step_whatever_panics_or_leaves_a_nan(claims in vec(any_step(), 0..200)) {
        let steps: Vec<_> = claims.into_iter().zip(0..).map(|(step, start)| (start, step)).collect();
        for mut detector in sensitive().into_iter().chain(detectors()).chain(moved(1e-9, 0.0)).chain(moved(1.0, 1e9)) {
            for (place, (start, step)) in steps.iter().enumerate() {
                if let Signal::Change(change) = detector.observe(*start, *step) {
                    is_sound(&change, &steps[..=place])?;
                }
                // A NaN equals nothing, not even itself.
                prop_assert!(detector == detector.clone(), "{detector:?}");
            }
            prop_assert!(rmp_serde::to_vec(&detector).unwrap().len() < 4096, "{}", detector.name());
            // JSON writes what is no number as null, which is none when read again.
            let text = serde_json::to_string(&detector).unwrap();
            prop_assert!(serde_json::from_str::<Sequential>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn resetting_forgets_everything_but_the_settings(steps in stream()) {
        for fresh in sensitive() {
            let mut detector = fresh.clone();
            run(&mut detector, &steps);
            detector.reset();
            prop_assert_eq!(detector, fresh);
        }
    }
}
