//! The parity modes on every input: what the tools fail on is a reason here.

use super::evidently::EvidentlyTest;
use super::nannyml::{
    CategoryMethod, DEFAULT_THRESHOLD, FittedCategories, FittedNumbers, NumberMethod, threshold_of_chunks,
};
use super::*;
use crate::statistics::{CategorySample, NotComparable, NumberSample};
use proptest::prelude::*;

const TESTS: [EvidentlyTest; 12] = [
    EvidentlyTest::Ks,
    EvidentlyTest::ChiSquare,
    EvidentlyTest::Z,
    EvidentlyTest::Wasserstein,
    EvidentlyTest::JensenShannon,
    EvidentlyTest::Psi,
    EvidentlyTest::KlDivergence,
    EvidentlyTest::Hellinger,
    EvidentlyTest::MannWhitney,
    EvidentlyTest::TTest,
    EvidentlyTest::Anderson,
    EvidentlyTest::CramerVonMises,
];

const NUMBER_METHODS: [NumberMethod; 4] =
    [NumberMethod::JensenShannon, NumberMethod::Hellinger, NumberMethod::KolmogorovSmirnov, NumberMethod::Wasserstein];

const CATEGORY_METHODS: [CategoryMethod; 4] =
    [CategoryMethod::JensenShannon, CategoryMethod::Hellinger, CategoryMethod::ChiSquared, CategoryMethod::LInfinity];

fn check(found: Result<Finding, NotComparable>, what: &dyn std::fmt::Debug) -> Result<(), TestCaseError> {
    if let Ok(found) = found {
        prop_assert!(found.score.is_finite() && found.score >= 0.0, "{what:?} {found:?}");
    }
    Ok(())
}

#[test]
fn edges_are_those_of_numpy() {
    // `numpy.histogram_bin_edges` of 0 … 9: Sturges 5 bins; Doane, without skew, 5 too.
    let values: Vec<f64> = (0..10).map(f64::from).collect();
    assert_eq!(sturges_edges((0.0, 9.0), 10), equal_edges((0.0, 9.0), 5));
    assert_eq!(doane_edges(&values).len(), 6);
    assert_eq!(equal_edges((2.0, 2.0), 1), [1.5, 2.5]);
    assert_eq!(count_in(&[0.0, 1.0, 2.0], &[-1.0, 0.0, 0.5, 1.0, 2.0, 2.5]), [2, 2]);
}

#[test]
fn nannymls_threshold_is_three_deviations_above_the_mean() {
    assert_eq!(threshold_of_chunks(&[1.0, 3.0]), Some(5.0));
    assert_eq!(threshold_of_chunks(&[]), None);
}

#[test]
fn both_tails_are_one_bin_to_nannyml() {
    let reference = NumberSample::of(&(0..1_000).map(f64::from).collect::<Vec<_>>());
    let fitted = FittedNumbers::fit(&reference).unwrap();
    let distance = |shift: f64| {
        let chunk = NumberSample::of(&(0..1_000).map(|value| f64::from(value) + shift).collect::<Vec<_>>());
        fitted.distance(NumberMethod::JensenShannon, &chunk).unwrap()
    };
    assert_eq!(distance(5_000.0), distance(-5_000.0));
    assert!((distance(5_000.0) - 1.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn no_numbers_panic_or_give_nan(
        reference in proptest::collection::vec(any::<f64>(), 0..60),
        current in proptest::collection::vec(prop_oneof![any::<f64>(), Just(3.0), -2.0..2.0], 0..60),
    ) {
        let (reference, current) = (NumberSample::of(&reference), NumberSample::of(&current));
        for (first, second) in [(&reference, &current), (&current, &reference), (&current, &current)] {
            EvidentlyTest::default_for_numbers(first, second);
            for test in TESTS {
                check(test.of_numbers(first, second), &test)?;
            }
            let Ok(fitted) = FittedNumbers::fit(first) else { continue };
            for method in NUMBER_METHODS {
                check(fitted.judge(method, DEFAULT_THRESHOLD, second), &method)?;
            }
        }
    }

    #[test]
    fn no_categories_panic_or_give_nan(
        reference in proptest::collection::vec(proptest::option::of(0..4_usize), 0..60),
        current in proptest::collection::vec(proptest::option::of(0..6_usize), 0..60),
    ) {
        const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", ""];
        let sample = |rows: &[Option<usize>]| CategorySample::new(rows.iter().map(|row| row.map(|place| NAMES[place])));
        let (reference, current) = (sample(&reference), sample(&current));
        EvidentlyTest::default_for_categories(&reference, &current);
        for test in TESTS {
            check(test.of_categories(&reference, &current), &test)?;
        }
        let Ok(fitted) = FittedCategories::fit(&reference) else { return Ok(()) };
        for method in CATEGORY_METHODS {
            check(fitted.judge(method, DEFAULT_THRESHOLD, &current), &method)?;
        }
    }
}
