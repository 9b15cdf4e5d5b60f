use super::*;
use crate::layout::{BinEdges, ColumnLayout};
use crate::profile::{ColumnProfile, NumericProfile, Profile};
use crate::random::Random;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, NullArray, StringArray};
use arrow::datatypes::Float64Type;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Scores of a skewed kind, whose labels are coins of a probability that the function gives.
fn simulated(rows: usize, seed: u64, probability: fn(f64) -> f64) -> Vec<(f64, bool)> {
    let mut random = Random::new(seed);
    let row = |_| {
        let score = random.uniform().powf(0.5);
        (score, random.uniform() <= probability(score))
    };
    (0..rows).map(row).collect()
}

fn learned(rows: &[(f64, bool)]) -> Calibration {
    Calibration::learn(&count_scores(rows.iter().copied()), 7).unwrap()
}

/// Answered positively from 0.5 on.
fn answers(rows: &[(f64, bool)]) -> Vec<ScoreCounts> {
    count_scores(rows.iter().map(|(score, _)| (*score, *score >= 0.5)))
}

fn realised_accuracy(rows: &[(f64, bool)]) -> f64 {
    rows.iter().filter(|(score, label)| (*score >= 0.5) == *label).count() as f64 / rows.len() as f64
}

#[test]
fn pooling_gives_the_rates_of_isotonic_regression() {
    // Rates .2, .6, .3, .9: the second and third pool to .45 at their scores, as scikit-learn's isotonic regression has
    // it.
    let counts = [(0.1, 8, 2), (0.2, 4, 6), (0.3, 7, 3), (0.9, 1, 9)];
    let counts = counts.map(|(score, negatives, positives)| ScoreCounts { score, negatives, positives });
    let hundredfold =
        counts.map(|at| ScoreCounts { negatives: at.negatives * 100, positives: at.positives * 100, ..at });
    let calibration = Calibration::learn(&hundredfold, 1).unwrap();
    assert!(matches!(calibration.choice(), CalibrationChoice::Applied { before, after } if after < before));
    let at = [0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.6, 0.9, 1.0].map(|score| calibration.probability(score));
    let expected = [0.2, 0.2, 0.325, 0.45, 0.45, 0.45, 0.675, 0.9, 0.9];
    assert!(at.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{at:?}");
}

#[test]
fn scores_that_are_probabilities_already_are_left_alone_and_others_are_mapped() {
    let bent = learned(&simulated(20_000, 1, |score| score * score));
    assert!(matches!(bent.choice(), CalibrationChoice::Applied { .. }));
    assert!((bent.probability(0.5) - 0.25).abs() < 0.03, "{}", bent.probability(0.5));
    let one_class = learned(&simulated(500, 1, |_| 1.0));
    assert_eq!((one_class.choice(), one_class.probability(0.3)), (CalibrationChoice::OneClass, 0.3));
    assert_eq!(learned(&simulated(50, 1, |score| score)).choice(), CalibrationChoice::TooFewRows);
    // Of ten seeds, most perfectly calibrated references gain nothing from a map that learns their noise.
    let left_alone = (0..10).filter(|seed| {
        let calibration = learned(&simulated(2_000, *seed, |score| score));
        !matches!(calibration.choice(), CalibrationChoice::Applied { .. })
    });
    assert!(left_alone.count() >= 6);
}

#[test]
fn a_reference_without_rows_is_refused() {
    assert_eq!(Calibration::learn(&[], 1), Err(NotEstimable::EmptyReference));
    let odd = [ScoreCounts { score: f64::NAN, negatives: 4, positives: 4 }];
    assert_eq!(Calibration::learn(&odd, 1), Err(NotEstimable::EmptyReference));
}

#[test]
fn realised_metrics_lie_within_the_estimates_standard_errors() {
    // 200 windows of 1,000 rows, of scores whose probability is their square, against a reference of 5,000.
    let bend = |score: f64| score * score;
    let calibration = learned(&simulated(5_000, 99, bend));
    let mut squares: BTreeMap<&str, f64> = BTreeMap::new();
    for window in 0..200 {
        let rows = simulated(1_000, 1_000 + window, bend);
        let estimates = estimate_binary(&answers(&rows), &calibration);
        let auc = exact_auc(&rows);
        for (name, realised) in [("accuracy", realised_accuracy(&rows)), ("roc_auc", auc)] {
            let error = estimates[name].standard_error.unwrap();
            *squares.entry(name).or_default() += ((estimates[name].value - realised) / error).powi(2) / 200.0;
        }
    }
    // The mean square of 200 standardised differences is 1 ± .1; the calibration's own error is the same in all of
    // them.
    assert!(squares.values().all(|square| (0.5..2.0).contains(square)), "{squares:?}");
}

fn exact_auc(rows: &[(f64, bool)]) -> f64 {
    let of = |wanted: bool| rows.iter().filter(move |row| row.1 == wanted).map(|row| row.0);
    let won = of(true).map(|p| {
        of(false)
            .map(|n| {
                if p > n {
                    1.0
                } else if p < n {
                    0.0
                } else {
                    0.5
                }
            })
            .sum::<f64>()
    });
    won.sum::<f64>() / (of(true).count() * of(false).count()) as f64
}

#[test]
fn two_classes_of_several_are_a_binary_task() {
    let rows = simulated(3_000, 5, |score| score * score);
    let mirrored: Vec<(f64, bool)> = rows.iter().map(|(score, label)| (1.0 - score, !label)).collect();
    let (positive, negative) = (learned(&rows), learned(&mirrored));
    let (yes, no) = (answers(&rows), count_scores(rows.iter().map(|(score, _)| (1.0 - score, *score < 0.5))));
    let classes =
        [ClassScores { answered: &no, calibration: &negative }, ClassScores { answered: &yes, calibration: &positive }];
    let (several, binary) = (estimate_multiclass(&classes), estimate_binary(&yes, &positive));
    assert!((several["accuracy"].value - binary["accuracy"].value).abs() < 1e-9);
    assert!((several["roc_auc"].value - binary["roc_auc"].value).abs() < 1e-9);
    let mean_recall = (binary["recall"].value + binary["specificity"].value) / 2.0;
    assert!((several["macro_recall"].value - mean_recall).abs() < 1e-9);
}

#[test]
fn what_is_not_defined_is_absent() {
    let calibration = learned(&simulated(50, 1, |score| score));
    assert!(estimate_binary(&[], &calibration).is_empty());
    assert!(estimate_multiclass(&[]).is_empty());
    let never = [ScoreCounts { score: 0.0, negatives: 5, positives: 0 }];
    let estimates = estimate_binary(&never, &calibration);
    assert_eq!(estimates["accuracy"].value, 1.0);
    assert!(["precision", "recall", "f1", "roc_auc"].iter().all(|name| !estimates.contains_key(*name)));
}

/// A regression whose error grows with its prediction.
fn losses(rows: usize, seed: u64, lowest: f64) -> Vec<(f64, f64)> {
    let mut random = Random::new(seed);
    let pair = |_| {
        let prediction = lowest + 10.0 * random.uniform();
        (prediction, prediction + prediction * random.normal())
    };
    (0..rows).map(pair).collect()
}

fn profile_of(bins: &BinEdges, values: &[f64]) -> NumericProfile {
    let layouts = [ColumnLayout::Numeric(Arc::new(bins.clone()))];
    let mut profile = Profile::empty(&layouts);
    let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let none: ArrayRef = Arc::new(NullArray::new(values.len()));
    profile.observe(&layouts, &[column], &none).unwrap();
    match &profile.columns()[0] {
        ColumnProfile::Numeric(numeric) => numeric.clone(),
        ColumnProfile::Categorical(_) => panic!("a numeric layout has a numeric profile"),
    }
}

#[test]
fn losses_follow_the_predictions_to_where_the_model_is_worse() {
    let reference = losses(20_000, 1, 0.0);
    let bins = BinEdges::learn(&mut reference.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let model = LossModel::learn(&bins, reference.iter().copied()).unwrap();
    let estimate_of = |pairs: &[(f64, f64)]| {
        let predictions: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        model.estimate(&profile_of(&bins, &predictions)).unwrap()
    };
    let mut squares = 0.0;
    for window in 0..100 {
        let pairs: Vec<_> = losses(4_000, 50 + window, 0.0).into_iter().filter(|pair| pair.0 > 6.0).collect();
        let realised = pairs.iter().map(|pair| (pair.0 - pair.1).abs()).sum::<f64>() / pairs.len() as f64;
        let estimate = estimate_of(&pairs);
        squares += ((estimate.mae.value - realised) / estimate.mae.standard_error.unwrap()).powi(2) / 100.0;
        assert!(estimate.rmse.value > estimate.mae.value && estimate.outside.is_some_and(|share| share < 0.01));
    }
    assert!((0.5..2.0).contains(&squares), "{squares}");
    let outside = estimate_of(&losses(100, 1, 20.0));
    assert_eq!(outside.outside, Some(1.0));
}

#[test]
fn losses_need_labels_a_window_and_the_same_bins() {
    let bins = BinEdges::from_edges(vec![0.0, 1.0, 2.0]).unwrap();
    assert_eq!(LossModel::learn(&bins, [(f64::NAN, 1.0), (1.0, f64::INFINITY)]), Err(NotEstimable::EmptyReference));
    let model = LossModel::learn(&bins, [(1.0, 1.0)]).unwrap();
    assert_eq!(model.estimate(&NumericProfile::empty(&bins)), Err(NotEstimable::EmptyWindow));
    let other = BinEdges::from_edges(vec![0.0, 1.0]).unwrap();
    let expected = NotEstimable::Layout { expected: 2, found: 1 };
    assert_eq!(model.estimate(&profile_of(&other, &[0.5])), Err(expected));
    let certain = model.estimate(&profile_of(&bins, &[0.5])).unwrap();
    assert_eq!((certain.mae.value, certain.rmse.standard_error), (0.0, Some(0.0)));
}

/// Two numbers and a category; the error depends on the first where the category is `b`, and the prediction tells
/// nothing.
fn interacting(rows: usize, seed: u64, lowest: f64) -> (Vec<ArrayRef>, Vec<(f64, f64)>) {
    let mut random = Random::new(seed);
    let (mut first, mut category, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let (value, is_b) = (lowest + (1.0 - lowest) * random.uniform(), random.uniform() < 0.5);
        first.push(value);
        category.push(if is_b { "b" } else { "a" });
        outcomes.push((5.0, 5.0 + random.normal() * if is_b { 1.0 + 4.0 * value } else { 1.0 }));
    }
    (vec![Arc::new(Float64Array::from(first)), Arc::new(StringArray::from(category))], outcomes)
}

fn tree_of(rows: usize) -> (Vec<ColumnLayout>, LossTree) {
    let (columns, outcomes) = interacting(rows, 1, 0.0);
    let numbers = columns[0].as_primitive::<Float64Type>().values().to_vec();
    let layouts =
        vec![ColumnLayout::learn_numeric(&mut numbers.clone()), ColumnLayout::learn_categorical(["a", "b", "b"])];
    let tree = LossTree::learn(&LossyRows { layouts: &layouts, columns: &columns, outcomes: &outcomes }, 3).unwrap();
    (layouts, tree)
}

#[test]
fn a_tree_of_losses_sees_columns_that_matter_together() {
    let (layouts, tree) = tree_of(20_000);
    assert!((4..=128).contains(&tree.leaves()), "{} leaves", tree.leaves());
    let mut squares = 0.0;
    for window in 0..100 {
        let (columns, outcomes) = interacting(1_000, 100 + window, 0.6);
        let mut counts = tree.empty();
        tree.observe(&mut counts, &layouts, &columns).unwrap();
        let estimate = tree.estimate(&counts).unwrap();
        let realised = outcomes.iter().map(|pair| (pair.0 - pair.1).abs()).sum::<f64>() / 1_000.0;
        squares += ((estimate.mae.value - realised) / estimate.mae.standard_error.unwrap()).powi(2) / 100.0;
    }
    // 1 ± .14 for the labels' scatter; the tree's own error and its steps are the same in all windows.
    assert!((0.4..2.5).contains(&squares), "{squares}");
}

#[test]
fn leaves_add_up_and_those_of_another_tree_are_refused() {
    let (layouts, tree) = tree_of(5_000);
    let whole = interacting(100, 2, 0.0).0;
    let counts_of = |columns: &[ArrayRef]| {
        let mut counts = tree.empty();
        tree.observe(&mut counts, &layouts, columns).unwrap();
        counts
    };
    let parts = [(0, 30), (30, 70)]
        .map(|(from, rows)| counts_of(&whole.iter().map(|column| column.slice(from, rows)).collect::<Vec<_>>()));
    let (mut forwards, mut backwards) = (parts[0].clone(), parts[1].clone());
    forwards.merge(&parts[1]).unwrap();
    backwards.merge(&parts[0]).unwrap();
    assert_eq!((&forwards, &backwards), (&counts_of(&whole), &counts_of(&whole)));
    let stored: LossTree = rmp_serde::from_slice(&rmp_serde::to_vec(&tree).unwrap()).unwrap();
    assert_eq!(stored, tree);

    let (_, stump) = tree_of(20);
    assert_eq!(stump.leaves(), 1);
    let other = NotEstimable::Leaves { expected: tree.leaves(), found: 1 };
    assert_eq!((forwards.merge(&stump.empty()), tree.estimate(&stump.empty())), (Err(other), Err(other)));
    assert_eq!(tree.estimate(&tree.empty()), Err(NotEstimable::EmptyWindow));
    let swapped = [whole[1].clone(), whole[0].clone()];
    assert_eq!(tree.observe(&mut forwards, &layouts, &swapped), Err(NotEstimable::Column { place: 0 }));
    assert_eq!(tree.observe(&mut forwards, &layouts, &whole[..1]), Err(NotEstimable::Column { place: 1 }));
    let none = LossyRows { layouts: &[], columns: &[], outcomes: &[(f64::NAN, 1.0)] };
    assert_eq!(LossTree::learn(&none, 1), Err(NotEstimable::EmptyReference));
}

fn any_score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..=1.0_f64, 2 => (0..=10_u8).prop_map(|tenth| f64::from(tenth) / 10.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0, 1e-300, 1.0 - 1e-16]),
    ]
}

fn any_rows() -> impl Strategy<Value = Vec<(f64, bool)>> {
    proptest::collection::vec((any_score(), any::<bool>()), 0..400)
}

fn tally_of(rows: &[(f64, bool)]) -> ScoreTally {
    let mut tally = ScoreTally::default();
    rows.iter().for_each(|(score, positive)| tally.observe(*score, *positive));
    tally
}

proptest! {
    #[test]
    fn tallies_merge_to_the_same_bits_in_any_order(a in any_rows(), b in any_rows(), c in any_rows()) {
        let whole = tally_of(&[a.clone(), b.clone(), c.clone()].concat());
        let (a, b, c) = (tally_of(&a), tally_of(&b), tally_of(&c));
        let merged = |parts: [&ScoreTally; 3]| {
            let mut sum = ScoreTally::default();
            parts.iter().for_each(|part| sum.merge(part));
            sum
        };
        prop_assert_eq!(&merged([&a, &b, &c]), &whole);
        prop_assert_eq!(&merged([&c, &a, &b]), &whole);
        let stored = rmp_serde::to_vec(&whole).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<ScoreTally>(&stored).unwrap(), whole);
    }

    #[test]
    fn calibrations_rise_and_stay_within_zero_and_one(rows in any_rows(), seed in any::<u64>(), scores in proptest::collection::vec(any_score(), 2)) {
        let Ok(calibration) = Calibration::learn(&count_scores(rows.iter().copied()), seed) else { return Ok(()) };
        let mut reversed = count_scores(rows);
        reversed.reverse();
        prop_assert_eq!(&Calibration::learn(&reversed, seed).unwrap(), &calibration);
        let at = |score: f64| calibration.probability(score);
        prop_assert!(scores.iter().all(|score| (0.0..=1.0).contains(&at(*score))));
        if scores[0] <= scores[1] {
            prop_assert!(at(scores[0]) <= at(scores[1]) + 1e-12);
        }
    }

    #[test]
    fn estimates_are_numbers_in_range_from_rows_and_from_tallies(reference in any_rows(), rows in any_rows(), huge in 0..3_i64) {
        let Ok(calibration) = Calibration::learn(&tally_of(&reference).counts(), 3) else { return Ok(()) };
        let scale = [1, 1 << 20, 1 << 44][huge as usize];
        for mut counts in [count_scores(rows.iter().copied()), tally_of(&rows).counts()] {
            for at in &mut counts {
                (at.negatives, at.positives) = (at.negatives * scale, at.positives * scale);
            }
            let binary = estimate_binary(&counts, &calibration);
            let classes = [ClassScores { answered: &counts, calibration: &calibration }; 3];
            for (name, estimate) in binary.iter().chain(&estimate_multiclass(&classes)) {
                let most = if name.len() == 2 { f64::MAX } else { 1.0 + 1e-12 };
                prop_assert!((0.0..=most).contains(&estimate.value), "{} is {}", name, estimate.value);
                // Of a class that is never answered no precision is known, nor its error.
                let known = name == "macro_precision" || estimate.standard_error.is_some();
                let finite = estimate.standard_error.is_none_or(|error| error.is_finite() && error >= 0.0);
                prop_assert!(known && finite, "{}", name);
            }
        }
    }

    #[test]
    fn a_tally_estimates_what_the_rows_do(rows in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..300)) {
        let calibration = Calibration::learn(&[ScoreCounts { score: 0.5, negatives: 1, positives: 1 }], 1).unwrap();
        let exact = estimate_binary(&count_scores(rows.iter().copied()), &calibration);
        let tallied = estimate_binary(&tally_of(&rows).counts(), &calibration);
        for name in ["accuracy", "tp", "fn"] {
            let rows = if name.len() == 2 { rows.len() as f64 } else { 1.0 };
            // The mean score of a bin is known to a 512,000th; rows of a bin that are answered differently share it.
            prop_assert!((exact[name].value - tallied[name].value).abs() <= 1e-3 * rows, "{}", name);
        }
    }

    #[test]
    fn losses_are_numbers_whatever_the_pairs(
        pairs in proptest::collection::vec((any_number(), any_number()), 0..200), window in proptest::collection::vec(any_number(), 0..50),
    ) {
        let bins = BinEdges::learn(&mut pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
        let Ok(model) = LossModel::learn(&bins, pairs) else { return Ok(()) };
        let Ok(estimate) = model.estimate(&profile_of(&bins, &window)) else { return Ok(()) };
        for found in [estimate.mae, estimate.mse, estimate.rmse] {
            prop_assert!(found.value.is_finite() && found.value >= 0.0);
            prop_assert!(found.standard_error.is_some_and(|error| error.is_finite() && error >= 0.0));
        }
        prop_assert!(estimate.outside.is_some_and(|share| (0.0..=1.0).contains(&share)));
    }

    #[test]
    fn trees_give_every_row_a_leaf_whatever_its_values(
        rows in proptest::collection::vec((any_number(), any_number(), any_name()), 0..300), seed in any::<u64>(),
        window in proptest::collection::vec((any_number(), any_name()), 0..50),
    ) {
        let columns = columns_of(rows.iter().map(|row| (row.0, row.2)));
        let mut numbers: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let names = rows.iter().filter_map(|row| row.2);
        let layouts = [ColumnLayout::learn_numeric(&mut numbers), ColumnLayout::learn_categorical(names)];
        let outcomes: Vec<(f64, f64)> = rows.iter().map(|row| (row.0, row.1)).collect();
        let learned = LossTree::learn(&LossyRows { layouts: &layouts, columns: &columns, outcomes: &outcomes }, seed);
        let Ok(tree) = learned else { return Ok(()) };
        let mut counts = tree.empty();
        tree.observe(&mut counts, &layouts, &columns_of(window.iter().copied())).unwrap();
        prop_assert_eq!(tree.estimate(&counts).is_err(), window.is_empty());
        let Ok(estimate) = tree.estimate(&counts) else { return Ok(()) };
        for found in [estimate.mae, estimate.mse, estimate.rmse] {
            prop_assert!(found.value.is_finite() && found.value >= 0.0);
            prop_assert!(found.standard_error.is_some_and(|error| error.is_finite() && error >= 0.0));
        }
    }
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -100.0..100.0_f64, 2 => (-3..3_i8).prop_map(f64::from), 1 => (0.0..10.0_f64).prop_map(|x| 1e9 + x),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e-9, 1e-300]),
    ]
}

fn any_name() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![Some("a"), Some("b"), Some("c"), Some(""), None])
}

fn columns_of<'a>(rows: impl Iterator<Item = (f64, Option<&'a str>)> + Clone) -> Vec<ArrayRef> {
    vec![
        Arc::new(rows.clone().map(|row| Some(row.0)).collect::<Float64Array>()),
        Arc::new(rows.map(|row| row.1).collect::<StringArray>()),
    ]
}
