use super::*;
use arrow::array::{ArrayRef, Float64Array, Int8Array, StringArray};
use proptest::prelude::*;
use std::sync::Arc;

/// Float sums in another order differ by rounding only: far below this for the few hundred values used here.
const ROUNDING: f64 = 1e-9;

fn binary() -> Task {
    Task::Binary { positive: "yes".to_owned(), negative: "no".to_owned() }
}

fn three_classes() -> Task {
    Task::Multiclass { classes: ["a", "b", "c"].map(str::to_owned).to_vec() }
}

/// Label, prediction and scores of a row.
type ClassRow<'a> = (Option<&'a str>, Option<&'a str>, Vec<Option<f64>>);

/// The columns of a batch, owned.
struct Batch {
    task: Task,
    prediction: ArrayRef,
    scores: Vec<ArrayRef>,
    label: ArrayRef,
    sign: Int8Array,
}

impl Batch {
    fn classes(task: Task, rows: &[ClassRow<'_>]) -> Self {
        let width = task.score_columns().len();
        let strings = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let column = |place: usize| -> ArrayRef {
            Arc::new(rows.iter().map(|row| row.2.get(place).copied().flatten()).collect::<Float64Array>())
        };
        Self {
            task,
            label: strings(rows.iter().map(|row| row.0).collect()),
            prediction: strings(rows.iter().map(|row| row.1).collect()),
            scores: (0..width).map(column).collect(),
            sign: Int8Array::from(vec![1; rows.len()]),
        }
    }

    fn numbers(labels: Vec<Option<f64>>, predictions: Vec<Option<f64>>) -> Self {
        let sign = Int8Array::from(vec![1; labels.len()]);
        let column = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
        Self {
            task: Task::Regression,
            prediction: column(predictions),
            scores: Vec::new(),
            label: column(labels),
            sign,
        }
    }

    fn signed(mut self, signs: &[i8]) -> Self {
        self.sign = Int8Array::from(signs.to_vec());
        self
    }

    fn outcomes(&self) -> Outcomes<'_> {
        let Self { task, prediction, scores, label, sign } = self;
        Outcomes { task, prediction, scores, label, sign }
    }

    fn quality(&self) -> Quality {
        let mut quality = Quality::empty(&self.task);
        quality.observe(&self.outcomes()).unwrap();
        quality
    }
}

fn value(quality: &Quality, name: &str) -> f64 {
    quality.metrics().get(name).unwrap_or_else(|| panic!("{name} is absent")).value
}

fn assert_close(left: &Quality, right: &Quality) {
    assert_eq!((left.labelled(), left.exclusions()), (right.labelled(), right.exclusions()));
    let (left, right) = (left.metrics(), right.metrics());
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (name, estimate) in &left {
        let difference = (estimate.value - right[name].value).abs();
        assert!(difference <= ROUNDING * estimate.value.abs().max(1.0), "{name}: {estimate:?} and {:?}", right[name]);
    }
}

/// The first window of scikit-learn's answers for `nannyml_car_loan`, 207 rows, as (score in hundredths, prediction,
/// label, rows).
const CAR_LOAN: &[(u8, u8, u8, usize)] = &[
    (0, 0, 0, 15),
    (0, 0, 1, 2),
    (1, 0, 0, 10),
    (2, 0, 0, 5),
    (3, 0, 0, 11),
    (3, 0, 1, 1),
    (4, 0, 0, 6),
    (5, 0, 0, 5),
    (6, 0, 0, 4),
    (7, 0, 0, 4),
    (8, 0, 0, 4),
    (9, 0, 0, 2),
    (10, 0, 0, 1),
    (11, 0, 0, 3),
    (12, 0, 0, 2),
    (13, 0, 0, 4),
    (13, 0, 1, 1),
    (15, 0, 0, 1),
    (16, 0, 0, 1),
    (18, 0, 0, 1),
    (20, 0, 0, 2),
    (23, 0, 1, 1),
    (24, 0, 1, 1),
    (25, 0, 0, 1),
    (29, 0, 1, 1),
    (30, 0, 0, 1),
    (31, 0, 0, 1),
    (32, 0, 0, 1),
    (43, 0, 0, 1),
    (52, 0, 0, 1),
    (55, 0, 1, 1),
    (56, 0, 0, 1),
    (57, 0, 0, 1),
    (59, 0, 0, 1),
    (71, 1, 1, 1),
    (77, 1, 1, 1),
    (79, 1, 1, 1),
    (83, 1, 0, 1),
    (84, 1, 1, 2),
    (85, 1, 1, 1),
    (86, 1, 1, 1),
    (89, 1, 1, 2),
    (90, 1, 1, 3),
    (91, 1, 1, 1),
    (92, 1, 1, 5),
    (93, 1, 1, 7),
    (94, 1, 1, 8),
    (95, 1, 1, 6),
    (96, 1, 1, 10),
    (97, 1, 0, 1),
    (97, 1, 1, 9),
    (98, 1, 0, 1),
    (98, 1, 1, 15),
    (99, 1, 0, 2),
    (99, 1, 1, 17),
    (100, 1, 1, 14),
];

#[test]
fn a_window_of_car_loans_has_the_metrics_of_scikit_learn() {
    let name = |class: u8| Some(if class == 1 { "yes" } else { "no" });
    let rows: Vec<_> = CAR_LOAN
        .iter()
        .flat_map(|(score, prediction, label, count)| {
            let row = (name(*label), name(*prediction), vec![Some(f64::from(*score) / 100.0)]);
            std::iter::repeat_n(row, *count)
        })
        .collect();
    let quality = Batch::classes(binary(), &rows).quality();
    for (metric, wanted) in [
        ("tn", 90.0),
        ("fp", 5.0),
        ("fn", 8.0),
        ("tp", 104.0),
        ("accuracy", 0.937198067633),
        ("balanced_accuracy", 0.937969924812),
        ("precision", 0.954128440367),
        ("recall", 0.928571428571),
        ("f1", 0.941176470588),
        ("mcc", 0.874216122438),
        ("kappa", 0.87384557686),
        ("positive_rate_pred", 0.526570048309),
        ("positive_rate_true", 0.541062801932),
        ("brier", 0.0618879227053),
        ("log_loss", 0.542935363971),
        ("roc_auc", 0.944595864662),
        ("average_precision", 0.939508960831),
        ("ece10", 0.0383574879227),
    ] {
        let found = value(&quality, metric);
        assert!((found - wanted).abs() < 1e-9, "{metric}: {found}, should be {wanted}");
    }
}

#[test]
fn a_row_without_a_usable_score_still_counts_in_accuracy() {
    let rows = [
        (Some("yes"), Some("yes"), vec![None]),
        (Some("no"), Some("yes"), vec![Some(f64::NAN)]),
        (Some("no"), Some("no"), vec![Some(1.5)]),
        (Some("no"), None, vec![Some(0.25)]),
        (Some("maybe"), Some("yes"), vec![Some(0.5)]),
        (None, Some("perhaps"), vec![Some(0.5)]),
    ];
    let quality = Batch::classes(binary(), &rows).quality();
    assert_eq!(quality.labelled(), 4);
    assert!((value(&quality, "accuracy") - 2.0 / 3.0).abs() < ROUNDING);
    assert!((value(&quality, "brier") - 0.0625).abs() < ROUNDING);
    let expected = Exclusions {
        null_label: 1,
        invalid_label: 1,
        null_prediction: 1,
        invalid_prediction: 1,
        null_score: 1,
        invalid_score: 2,
    };
    assert_eq!(quality.exclusions(), &expected);
}

#[test]
fn a_corrected_label_leaves_no_trace_of_the_old_one() {
    let row = |label| (Some(label), Some("yes"), vec![Some(0.75)]);
    let corrected = Batch::classes(binary(), &[row("no"), row("no"), row("yes")]).signed(&[1, -1, 1]).quality();
    assert_close(&corrected, &Batch::classes(binary(), &[row("yes")]).quality());
}

#[test]
fn undefined_metrics_are_absent() {
    let task = binary();
    assert!(Quality::empty(&task).metrics().is_empty());
    assert_eq!(Quality::empty(&task).headline(), None);
    let one_class = Batch::classes(task, &[(Some("no"), Some("no"), vec![Some(0.0)])]).quality().metrics();
    for name in ["precision", "recall", "f1", "mcc", "kappa", "balanced_accuracy", "roc_auc", "average_precision"] {
        assert!(!one_class.contains_key(name), "{name} is defined");
    }
    assert!(one_class.contains_key("accuracy") && one_class.contains_key("log_loss"));
}

#[test]
fn a_perfect_window_has_a_standard_error_above_zero() {
    let rows = vec![(Some("no"), Some("no"), vec![Some(0.0)]); 10];
    let headline = Batch::classes(binary(), &rows).quality().headline().unwrap();
    assert_eq!((headline.name, headline.value.value), ("accuracy", 1.0));
    assert!(headline.value.standard_error.unwrap() > 0.05);
}

#[test]
fn equal_losses_have_no_standard_error_and_unequal_ones_have() {
    for (score, rows) in [(0.1, 2), (0.3, 7), (0.9, 1_000), (0.7, 20_000), (1e-12, 333), (1.0 - 1e-12, 999)] {
        let mut rows = vec![(Some("yes"), Some("yes"), vec![Some(score)]); rows];
        let error = |rows: &[_], name: &str| Batch::classes(binary(), rows).quality().metrics()[name].standard_error;
        assert_eq!(error(&rows, "log_loss"), Some(0.0), "{score} of {}", rows.len());
        assert_eq!(error(&rows, "brier"), Some(0.0), "{score} of {}", rows.len());
        rows[0].2 = vec![Some(score * 0.99)];
        assert!(error(&rows, "log_loss").unwrap() > 0.0, "{score} of {}", rows.len());
    }
}

#[test]
fn scores_on_an_edge_belong_to_the_bin_above() {
    for tenth in 0..=9_u8 {
        let score = f64::from(tenth) / 10.0;
        let mut histogram = ScoreHistogram::default();
        histogram.observe(score, score_histogram::Truth::Negative, 1);
        histogram.observe((score + 0.0999).min(1.0), score_histogram::Truth::Positive, 1);
        let gap = (score + (score + 0.0999) - 1.0).abs() / 2.0;
        assert!((histogram.calibration_error().unwrap().value - gap).abs() < ROUNDING, "{score}");
    }
}

#[test]
fn several_classes_have_the_metrics_of_their_definitions() {
    let scores = |a: f64, b: f64, c: f64| vec![Some(a), Some(b), Some(c)];
    let rows = [
        (Some("a"), Some("a"), scores(0.8, 0.1, 0.1)),
        (Some("a"), Some("b"), scores(0.3, 0.5, 0.2)),
        (Some("b"), Some("b"), scores(0.1, 0.7, 0.2)),
        (Some("b"), Some("b"), scores(0.2, 0.6, 0.2)),
    ];
    let quality = Batch::classes(three_classes(), &rows).quality();
    let expected = [
        ("accuracy", 0.75),
        ("macro_precision", (1.0 + 2.0 / 3.0) / 2.0),
        ("macro_recall", 0.75),
        ("macro_f1", (2.0 / 3.0 + 0.8) / 2.0),
        ("weighted_recall", 0.75),
        ("log_loss", -(0.8_f64.ln() + 0.3_f64.ln() + 0.7_f64.ln() + 0.6_f64.ln()) / 4.0),
        ("brier", (0.06 + 0.78 + 0.14 + 0.24) / 4.0),
        ("roc_auc", 1.0),
    ];
    for (name, wanted) in expected {
        let found = value(&quality, name);
        assert!((found - wanted).abs() < ROUNDING, "{name}: {found}, should be {wanted}");
    }
}

#[test]
fn a_regression_has_the_metrics_of_its_definitions() {
    let quality = Batch::numbers(
        vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0), None, Some(f64::INFINITY)],
        vec![Some(2.0), Some(2.0), Some(3.0), Some(1.0), Some(9.0), Some(9.0)],
    )
    .quality();
    assert_eq!(quality.labelled(), 4);
    for (name, wanted) in
        [("mae", 1.0), ("mse", 2.5), ("rmse", 2.5_f64.sqrt()), ("mean_error", -0.5), ("r2", 1.0 - 10.0 / 5.0)]
    {
        assert!((value(&quality, name) - wanted).abs() < ROUNDING, "{name}");
    }
    assert_eq!(quality.headline().unwrap().direction, MetricDirection::LowerIsBetter);
    let constant = Batch::numbers(vec![Some(1e9); 5], vec![Some(0.0); 5]).quality();
    assert!(!constant.metrics().contains_key("r2"), "equal labels have no spread to explain");
}

#[test]
fn groups_are_kept_apart_and_unknown_ones_refused() {
    let batch = Batch::classes(binary(), &vec![(Some("yes"), Some("yes"), vec![Some(0.5)]); 3]);
    let mut qualities = vec![Quality::empty(&batch.task); 2];
    Quality::observe_groups(&mut qualities, &[1, 0, 1], &batch.outcomes()).unwrap();
    assert_eq!(qualities.iter().map(Quality::labelled).collect::<Vec<_>>(), [1, 2]);
    let error = Quality::observe_groups(&mut qualities, &[0, 2, 0], &batch.outcomes()).unwrap_err();
    assert!(matches!(error, QualityError::NoSuchGroup { group: 2, groups: 2 }), "{error}");
}

#[test]
fn columns_and_qualities_that_do_not_fit_are_refused() {
    let batch = Batch::classes(binary(), &[(Some("yes"), Some("yes"), vec![Some(0.5)])]);
    let numbers = Batch::numbers(vec![Some(1.0)], vec![Some(1.0)]);
    let mut quality = Quality::empty(&batch.task);
    let mixed = Outcomes { label: &numbers.label, ..batch.outcomes() };
    assert!(matches!(quality.observe(&mixed), Err(QualityError::ColumnType { column: "label", .. })));
    assert!(matches!(quality.observe(&numbers.outcomes()), Err(QualityError::DifferentTask { .. })));
    let two_scores = [batch.scores[0].clone(), batch.scores[0].clone()];
    let wide = Outcomes { scores: &two_scores, ..batch.outcomes() };
    assert!(matches!(quality.observe(&wide), Err(QualityError::ScoreColumns { expected: 1, found: 2 })));
    assert!(quality.merge(&Quality::empty(&Task::Regression)).is_err());
    let four = Task::Multiclass { classes: ["a", "b", "c", "d"].map(str::to_owned).to_vec() };
    assert!(Quality::empty(&three_classes()).merge(&Quality::empty(&four)).is_err());
}

#[test]
fn steps_hold_errors_losses_and_predictions() {
    let rows = [
        (Some("yes"), Some("no"), vec![Some(0.25)]),
        (Some("no"), Some("no"), vec![Some(0.25)]),
        (Some("no"), Some("no"), vec![None]),
    ];
    let mut steps = [crate::moments::StepMoments::default(); 2];
    observe_steps(&mut steps, &[0, 0, 1], &Batch::classes(binary(), &rows).outcomes()).unwrap();
    assert_eq!((steps[0].error.n, steps[0].error.sum), (2, 1.0));
    assert!((steps[0].loss.sum + 0.25_f64.ln() + 0.75_f64.ln()).abs() < ROUNDING);
    assert_eq!((steps[0].prediction.n, steps[0].prediction.sum), (2, 0.5));
    assert_eq!((steps[1].error.n, steps[1].loss.n, steps[1].prediction.n), (1, 0, 0));

    let mut step = [crate::moments::StepMoments::default()];
    observe_steps(&mut step, &[0], &Batch::numbers(vec![Some(5.0)], vec![Some(3.0)]).outcomes()).unwrap();
    assert_eq!((step[0].error.sum, step[0].loss.sum, step[0].prediction.sum), (2.0, 4.0, 3.0));
}

#[test]
fn a_few_scores_take_few_bytes() {
    let rows = vec![(Some("yes"), Some("yes"), vec![Some(0.5)]); 20];
    let bytes = rmp_serde::to_vec(&Batch::classes(binary(), &rows).quality()).unwrap();
    assert!(bytes.len() < 250, "{} bytes", bytes.len());
}

type Row = (Option<u8>, Option<u8>, Vec<Option<f64>>, i8);

fn any_row() -> impl Strategy<Value = Row> {
    let score =
        prop_oneof![8 => (0.0..=1.0).prop_map(Some), 1 => Just(Some(f64::NAN)), 1 => Just(Some(2.0)), 1 => Just(None)];
    let class = || proptest::option::weighted(0.9, 0..4_u8);
    (class(), class(), proptest::collection::vec(score, 3), Just(1_i8))
}

fn any_task() -> impl Strategy<Value = Task> {
    prop_oneof![
        Just(Task::Binary { positive: "b".to_owned(), negative: "a".to_owned() }),
        Just(three_classes()),
        Just(Task::Regression)
    ]
}

/// Rows as a batch of any task; a class is a letter, or a number of its own size.
fn batch_of(task: &Task, rows: &[Row]) -> Batch {
    let batch = if let Task::Regression = task {
        let number = |class: Option<u8>, score: &Option<f64>| class.zip(*score).map(|(c, s)| f64::from(c) * 10.0 + s);
        let labels = rows.iter().map(|row| row.0.map(f64::from)).collect();
        Batch::numbers(labels, rows.iter().map(|row| number(row.1, &row.2[0])).collect())
    } else {
        let name = |class: Option<u8>| class.map(|class| ["a", "b", "c", "unheard of"][usize::from(class)]);
        let rows: Vec<_> = rows.iter().map(|row| (name(row.0), name(row.1), row.2.clone())).collect();
        Batch::classes(task.clone(), &rows)
    };
    batch.signed(&rows.iter().map(|row| row.3).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn merging_parts_in_any_order_equals_observing_the_whole(
        task in any_task(), rows in proptest::collection::vec(any_row(), 0..60), cut in 0.0..1.0_f64,
    ) {
        let (left, right) = rows.split_at((rows.len() as f64 * cut) as usize);
        let (left, right) = (batch_of(&task, left).quality(), batch_of(&task, right).quality());
        let (mut forwards, mut backwards) = (left.clone(), right.clone());
        forwards.merge(&right).unwrap();
        backwards.merge(&left).unwrap();
        assert_close(&forwards, &backwards);
        assert_close(&forwards, &batch_of(&task, &rows).quality());
        forwards.subtract(&right).unwrap();
        prop_assert_eq!(forwards.labelled(), left.labelled());
        prop_assert_eq!(forwards.exclusions(), left.exclusions());
    }

    #[test]
    fn metrics_are_finite_and_survive_storage(task in any_task(), rows in proptest::collection::vec(any_row(), 0..60)) {
        let quality = batch_of(&task, &rows).quality();
        for (name, estimate) in quality.metrics() {
            prop_assert!(estimate.value.is_finite(), "{} is {}", name, estimate.value);
            prop_assert!(estimate.standard_error.is_none_or(|error| error.is_finite() && error >= 0.0), "{}", name);
        }
        let stored = rmp_serde::to_vec(&quality).unwrap();
        prop_assert_eq!(&rmp_serde::from_slice::<Quality>(&stored).unwrap(), &quality);
        let json = serde_json::to_string(&quality).unwrap();
        assert_close(&serde_json::from_str(&json).unwrap(), &quality);
    }

    #[test]
    fn the_auc_lies_within_its_bound(rows in proptest::collection::vec((0.4..0.41_f64, any::<bool>()), 2..80)) {
        let name = |positive| Some(if positive { "yes" } else { "no" });
        let batch: Vec<_> = rows.iter().map(|(score, positive)| (name(*positive), None, vec![Some(*score)])).collect();
        let quality = Batch::classes(binary(), &batch).quality();
        let of = |wanted| rows.iter().filter(move |row| row.1 == wanted).map(|row| row.0);
        let pairs = of(true).count() * of(false).count();
        prop_assume!(pairs > 0);
        let won = of(true).flat_map(|p| of(false).map(move |n| if p > n { 1.0 } else if p < n { 0.0 } else { 0.5 }));
        let exact = won.sum::<f64>() / pairs as f64;
        let (found, bound) = (value(&quality, "roc_auc"), value(&quality, "roc_auc_bound"));
        prop_assert!((found - exact).abs() <= bound + ROUNDING, "{} is not within {} of {}", found, bound, exact);
    }
}

#[test]
fn specificity_and_the_errors_of_f1_mcc_and_kappa_are_those_of_the_cells() {
    // tn 40, fp 10, fn 5, tp 45.
    let cells = [("no", "no", 40), ("no", "yes", 10), ("yes", "no", 5), ("yes", "yes", 45)];
    let rows: Vec<ClassRow<'_>> = cells
        .iter()
        .flat_map(|(label, prediction, rows)| vec![(Some(*label), Some(*prediction), vec![Some(0.5)]); *rows])
        .collect();
    let quality = Batch::classes(binary(), &rows).quality();
    assert!((value(&quality, "specificity") - 0.8).abs() < ROUNDING);
    let error = |name: &str| quality.metrics()[name].standard_error.unwrap();
    // The delta method on the same cells, one row more in each: q = 46/63, n = 63 relevant rows.
    let q: f64 = 46.0 / 63.0;
    let by_delta = 2.0 / (1.0 + q).powi(2) * (q * (1.0 - q) / 63.0).sqrt();
    assert!((error("f1") / by_delta - 1.0).abs() < 0.02, "{} and {by_delta}", error("f1"));
    // The delta method on (41, 11, 6, 46) rows; for κ that is the formula of Fleiss, Cohen and Everitt (1969).
    assert!((error("kappa") / 0.072_185 - 1.0).abs() < 0.02, "{}", error("kappa"));
    assert!((error("mcc") / 0.071_383 - 1.0).abs() < 0.02, "{}", error("mcc"));
}

#[test]
fn the_calibration_error_has_the_error_of_its_labels() {
    let rows: Vec<ClassRow<'_>> =
        (0..100).map(|row| (Some(if row < 30 { "yes" } else { "no" }), Some("no"), vec![Some(0.35)])).collect();
    let ece = Batch::classes(binary(), &rows).quality().metrics()["ece10"];
    let rate: f64 = 32.0 / 104.0;
    assert!((ece.value - 0.05).abs() < ROUNDING);
    assert!((ece.standard_error.unwrap() - (rate * (1.0 - rate) / 100.0).sqrt()).abs() < ROUNDING);
}

#[test]
fn relative_and_logarithmic_errors_are_told_only_where_every_row_has_them() {
    let quality = Batch::numbers(vec![Some(2.0), Some(4.0)], vec![Some(3.0), Some(3.0)]).quality();
    assert!((value(&quality, "mape") - 0.375).abs() < ROUNDING);
    let logs = [(4.0_f64 / 3.0).ln().powi(2), (4.0_f64 / 5.0).ln().powi(2)];
    assert!((value(&quality, "rmsle") - ((logs[0] + logs[1]) / 2.0).sqrt()).abs() < ROUNDING);
    let with_zero = Batch::numbers(vec![Some(0.0), Some(4.0)], vec![Some(3.0), Some(-3.0)]).quality();
    assert!(!with_zero.metrics().contains_key("mape") && !with_zero.metrics().contains_key("rmsle"));
}

#[test]
fn what_older_versions_stored_of_a_regression_can_still_be_read() {
    let zeros = (0, 0.0, 0.0);
    let stored = rmp_serde::to_vec(&(0, Exclusions::default(), zeros, zeros, zeros, zeros)).unwrap();
    assert_eq!(rmp_serde::from_slice::<RegressionQuality>(&stored).unwrap(), RegressionQuality::default());
}
