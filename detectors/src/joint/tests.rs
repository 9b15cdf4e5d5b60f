use super::*;
use crate::random::Random;
use arrow::array::{Float64Array, StringArray};
use proptest::prelude::*;
use std::sync::Arc;

/// Sums of a few hundred values in another order differ by rounding only.
const ROUNDING: f64 = 1e-9;
const SEED: u64 = 11;

type Row = (Option<f64>, Option<f64>, Option<&'static str>);

fn columns_of(rows: &[Row]) -> Vec<ArrayRef> {
    vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
    ]
}

/// Every detector that can be learned of the rows.
fn detectors_of(columns: &[ArrayRef]) -> Vec<Box<dyn JointDetector>> {
    let mut learned: Vec<Box<dyn JointDetector>> = Vec::new();
    learned.extend(PrincipalAxes::learn(columns).map(|axes| Box::new(axes) as Box<dyn JointDetector>));
    learned.extend(CorrelationDetector::learn(columns).map(|pairs| Box::new(pairs) as Box<dyn JointDetector>));
    learned.extend(RandomFeatures::learn(columns, SEED).map(|features| Box::new(features) as Box<dyn JointDetector>));
    learned
}

fn sketch_of(detector: &dyn JointDetector, columns: &[ArrayRef]) -> JointSketch {
    let mut sketch = detector.empty();
    detector.observe(&mut sketch, columns).unwrap();
    sketch
}

fn assert_close(left: &JointSketch, right: &JointSketch) {
    assert_eq!((left.of, left.rows), (right.of, right.rows));
    // Sums of products of up to 1,000 standard deviations; what cancels is as large as the terms.
    let scale = 1.0 + left.sums.iter().fold(0.0, |most: f64, sum| most.max(sum.abs()));
    for (a, b) in left.sums.iter().zip(&right.sums) {
        assert!((a - b).abs() <= ROUNDING * scale, "{a} and {b}");
    }
}

/// How rows are drawn: two normal numbers of a correlation, and a category that goes with the first.
#[derive(Debug, Clone, Copy)]
struct World {
    correlation: f64,
    shift: f64,
}

const STILL: World = World { correlation: 0.7, shift: 0.0 };

fn drawn(world: World, rows: usize, seed: u64) -> Vec<ArrayRef> {
    let mut random = Random::new(seed);
    let row = |_| {
        let (first, noise) = (random.normal(), random.normal());
        let second = world.correlation * first + (1.0 - world.correlation * world.correlation).sqrt() * noise;
        let category = if first + random.normal() > 0.0 { "high" } else { "low" };
        (Some(10.0 + 3.0 * (first + world.shift)), Some(second), Some(category))
    };
    columns_of(&(0..rows).map(row).collect::<Vec<Row>>())
}

#[test]
fn without_drift_small_p_values_are_as_rare_as_they_say() {
    let detectors = detectors_of(&drawn(STILL, 5_000, 1));
    assert_eq!(detectors.len(), 3);
    for detector in &detectors {
        let windows = (0..400).map(|window| drawn(STILL, 500, 100 + window));
        let p_values = windows.map(|columns| detector.compare(&sketch_of(&**detector, &columns)).unwrap().p_value);
        let small = p_values.filter(|p| *p < 0.05).count();
        // 20 of 400 are expected, with an error of 4.4 and what all windows share of the reference's own.
        assert!((4..=42).contains(&small), "{}: {small} of 400", detector.name());
    }
}

#[test]
fn a_short_reference_does_not_make_new_rows_look_as_if_they_fitted_worse() {
    let mut below = 0;
    for reference in 0..100 {
        let axes = PrincipalAxes::learn(&drawn(STILL, 60, 1_000 + reference)).unwrap();
        let window = sketch_of(&axes, &drawn(STILL, 2_000, 5_000 + reference));
        below += i32::from(axes.compare(&window).unwrap().p_value < 0.05);
    }
    assert!(below <= 14, "{below} of 100 where 5 are expected, with an error of 2.2");
}

#[test]
fn each_detector_sees_the_drift_that_it_is_for() {
    let detectors = detectors_of(&drawn(STILL, 5_000, 1));
    let p_values = |world: World| -> Vec<f64> {
        let columns = drawn(world, 1_000, 7);
        detectors.iter().map(|detector| detector.compare(&sketch_of(&**detector, &columns)).unwrap().p_value).collect()
    };
    let apart = p_values(World { correlation: -0.7, shift: 0.0 });
    assert!(apart.iter().all(|p| *p < 1e-6), "{apart:?}");
    let shifted = p_values(World { correlation: 0.7, shift: 0.5 });
    assert!(shifted[2] < 1e-6, "{shifted:?}");
}

#[test]
fn the_changed_pair_is_named() {
    let detector = CorrelationDetector::learn(&drawn(STILL, 5_000, 1)).unwrap();
    let window = sketch_of(&detector, &drawn(World { correlation: 0.0, shift: 0.0 }, 1_000, 7));
    let changes = detector.changes(&window).unwrap();
    assert_eq!((changes.len(), changes[0].left, changes[0].right), (3, 0, 1));
    assert!((changes[0].reference - 0.7).abs() < 0.03 && changes[0].current.abs() < 0.1, "{:?}", changes[0]);
}

#[test]
fn the_domain_classifier_tells_shifted_rows_and_names_the_column() {
    let reference = drawn(STILL, 1_000, 1);
    let shifted = classify_domain(&reference, &drawn(World { correlation: 0.7, shift: 1.0 }, 800, 2), SEED).unwrap();
    assert!(shifted.auc.value > 0.75 && shifted.p_value < 1e-12, "{shifted:?}");
    assert_eq!(shifted.weights[0].column, 0);
    assert!(shifted.weights[0].slope.is_some_and(|slope| slope > 0.5));
}

#[test]
fn domains_without_drift_are_as_rarely_told_apart_as_the_p_value_says() {
    let pairs = (0..200).map(|window| (drawn(STILL, 400, 1_000 + window), drawn(STILL, 300, 5_000 + window)));
    let small = pairs.filter(|(reference, window)| classify_domain(reference, window, SEED).unwrap().p_value < 0.05);
    // 10 of 200 are expected, with an error of 3.1.
    let small = small.count();
    assert!((1..=20).contains(&small), "{small} of 200 windows without drift have p below .05");
}

#[test]
fn rows_that_cannot_be_told_apart_at_all_have_an_auc_of_a_half() {
    let same: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![1.0; 50]))];
    let evidence = classify_domain(&same, &same, SEED).unwrap();
    assert!((evidence.auc.value - 0.5).abs() < ROUNDING && evidence.p_value > 0.4, "{evidence:?}");
    assert_eq!(evidence.weights[0].spread, 0.0);
}

#[test]
fn a_break_between_columns_that_tell_the_same_is_seen_though_the_reference_has_no_error() {
    let doubled = |rows: Vec<(f64, f64)>| -> Vec<ArrayRef> {
        columns_of(&rows.into_iter().map(|(a, b)| (Some(a), Some(b), Some("only"))).collect::<Vec<_>>())
    };
    let axes = PrincipalAxes::learn(&doubled((0..100).map(|x| (f64::from(x), 2.0 * f64::from(x))).collect())).unwrap();
    assert_eq!(axes.axes(), 1);
    let same = axes.compare(&sketch_of(&axes, &doubled(vec![(3.0, 6.0), (50.0, 100.0)]))).unwrap();
    assert!(same.score < ROUNDING && same.p_value > 0.1, "{same:?}");
    let broken = axes.compare(&sketch_of(&axes, &doubled(vec![(90.0, 6.0)]))).unwrap();
    assert!(broken.score > 1.0 && broken.p_value < 1e-12, "{broken:?}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let columns = drawn(STILL, 50, 1);
    assert_eq!(PrincipalAxes::learn(&[]), Err(JointError::ColumnCount { expected: 1, found: 0 }));
    assert_eq!(CorrelationDetector::learn(&columns[..1]), Err(JointError::ColumnCount { expected: 2, found: 1 }));
    assert_eq!(RandomFeatures::learn(&drawn(STILL, 1, 1), 1), Err(JointError::TooFewRows { rows: 1, needed: 2 }));
    let axes = PrincipalAxes::learn(&columns).unwrap();
    let mut sketch = axes.empty();
    let swapped = [columns[2].clone(), columns[1].clone(), columns[0].clone()];
    assert_eq!(axes.observe(&mut sketch, &swapped), Err(JointError::ColumnType { place: 0, found: "Utf8".to_owned() }));
    assert_eq!(axes.observe(&mut sketch, &columns[..2]), Err(JointError::ColumnCount { expected: 3, found: 2 }));
    assert_eq!(axes.compare(&sketch), Err(JointError::TooFewRows { rows: 0, needed: 1 }));
    let features = RandomFeatures::learn(&columns, 1).unwrap();
    assert_eq!(features.observe(&mut sketch, &columns), Err(JointError::OtherSketch));
    assert_eq!(sketch.merge(&features.empty()), Err(JointError::OtherSketch));
    let pairs = CorrelationDetector::learn(&columns).unwrap();
    let constant = columns_of(&[(Some(1.0), Some(1.0), Some("high")); 10]);
    assert_eq!(pairs.compare(&sketch_of(&pairs, &constant)), Err(JointError::NothingVaries));
    assert!(classify_domain(&columns, &drawn(STILL, 5, 1), 1).is_err());
}

#[test]
fn one_column_and_fewer_rows_than_columns_are_compared_all_the_same() {
    let one = PrincipalAxes::learn(&drawn(STILL, 100, 1)[..1]).unwrap();
    let evidence = one.compare(&sketch_of(&one, &drawn(STILL, 100, 2)[..1])).unwrap();
    assert!(evidence.score < ROUNDING && evidence.p_value > 0.1, "{evidence:?}");
    for detector in detectors_of(&drawn(STILL, 2, 3)) {
        let evidence = detector.compare(&sketch_of(&*detector, &drawn(STILL, 50, 4))).unwrap();
        assert!(evidence.score.is_finite(), "{evidence:?}");
    }
}

#[test]
fn parameters_survive_storage() {
    let columns = drawn(STILL, 200, 1);
    let window = drawn(STILL, 100, 2);
    let axes = PrincipalAxes::learn(&columns).unwrap();
    let stored: PrincipalAxes = rmp_serde::from_slice(&rmp_serde::to_vec(&axes).unwrap()).unwrap();
    assert_eq!((sketch_of(&stored, &window), &stored), (sketch_of(&axes, &window), &axes));
    let features = RandomFeatures::learn(&columns, 5).unwrap();
    let stored: RandomFeatures = rmp_serde::from_slice(&rmp_serde::to_vec(&features).unwrap()).unwrap();
    assert_eq!((sketch_of(&stored, &window), &stored), (sketch_of(&features, &window), &features));
    let pairs = CorrelationDetector::learn(&columns).unwrap();
    let stored: CorrelationDetector = rmp_serde::from_slice(&rmp_serde::to_vec(&pairs).unwrap()).unwrap();
    assert_eq!((sketch_of(&stored, &window), &stored), (sketch_of(&pairs, &window), &pairs));
}

fn any_number() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        6 => (-5.0..5.0_f64).prop_map(Some), 1 => Just(None), 1 => (0.0..3.0_f64).prop_map(|x| Some(1e9 + x)),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e-9, 1e-300, 1e139])
            .prop_map(Some),
    ]
}

fn any_rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let category = prop::sample::select(vec![Some("a"), Some("b"), Some("c"), Some(""), None]);
    let varied = proptest::collection::vec((any_number(), any_number(), category.clone()), 0..most);
    let constant = ((any_number(), any_number(), category), 0..most).prop_map(|(row, rows)| vec![row; rows]);
    prop_oneof![4 => varied, 1 => constant]
}

proptest! {
    #[test]
    fn merging_in_any_order_equals_observing_once(
        reference in any_rows(60), a in any_rows(40), b in any_rows(40), c in any_rows(40),
    ) {
        for detector in detectors_of(&columns_of(&reference)) {
            let sketch = |rows: &[Row]| sketch_of(&*detector, &columns_of(rows));
            let mut rows = [a.clone(), b.clone(), c.clone()].concat();
            let whole = sketch(&rows);
            rows.reverse();
            assert_close(&whole, &sketch(&rows));
            for parts in [[&a, &b, &c], [&c, &a, &b]] {
                let mut batches = detector.empty();
                let mut merged = detector.empty();
                for part in parts {
                    detector.observe(&mut batches, &columns_of(part)).unwrap();
                    merged.merge(&sketch(part)).unwrap();
                }
                assert_close(&whole, &batches);
                assert_close(&whole, &merged);
            }
            let mut grouped = sketch(&b);
            grouped.merge(&sketch(&c)).unwrap();
            let mut right = sketch(&a);
            right.merge(&grouped).unwrap();
            assert_close(&whole, &right);
        }
    }

    #[test]
    fn evidence_is_finite_and_in_range_or_a_reason(reference in any_rows(60), window in any_rows(40), huge in any::<bool>()) {
        for detector in detectors_of(&columns_of(&reference)) {
            let mut sketch = sketch_of(&*detector, &columns_of(&window));
            let stored = rmp_serde::to_vec(&sketch).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<JointSketch>(&stored).unwrap(), &sketch);
            if huge {
                sketch.rows *= 1 << 47;
                sketch.sums.iter_mut().for_each(|sum| *sum *= (1_u64 << 47) as f64);
            }
            let Ok(evidence) = detector.compare(&sketch) else { continue };
            prop_assert!(evidence.score.is_finite() && evidence.score >= 0.0, "{}: {:?}", detector.name(), evidence);
            prop_assert!(evidence.standard_error.is_finite() && evidence.standard_error >= 0.0, "{:?}", evidence);
            prop_assert!((0.0..=1.0).contains(&evidence.p_value), "{}: {:?}", detector.name(), evidence);
        }
    }

    #[test]
    fn the_reference_compared_with_itself_is_no_drift(reference in any_rows(60)) {
        for detector in detectors_of(&columns_of(&reference)) {
            let Ok(evidence) = detector.compare(&sketch_of(&*detector, &columns_of(&reference))) else { continue };
            prop_assert!(evidence.score <= 1e-6 && evidence.p_value > 0.3, "{}: {:?}", detector.name(), evidence);
        }
    }

    #[test]
    fn domains_are_classified_whatever_the_rows(reference in any_rows(80), window in any_rows(60)) {
        let Ok(evidence) = classify_domain(&columns_of(&reference), &columns_of(&window), SEED) else { return Ok(()) };
        prop_assert!((0.0..=1.0).contains(&evidence.auc.value) && (0.0..=1.0).contains(&evidence.p_value), "{:?}", evidence);
        prop_assert!(evidence.weights.iter().all(|weight| weight.spread.is_finite()), "{:?}", evidence);
    }
}
