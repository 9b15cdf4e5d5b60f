//! Realised quality, estimated quality, reconstruction and missing values of chunks of two data sets, as NannyML 0.13.1
//! has them; and what has no answer of NannyML's there, held against the labels and the known drift of the same data.

use crate::shared::{shared, table};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int8Array, NullArray, StringArray};
use arrow::datatypes::Float64Type;
use detectors::estimate::{Calibration, LossModel, LossTree, LossyRows, ScoreTally, count_scores, estimate_binary};
use detectors::joint::{CorrelationDetector, JointDetector, PrincipalAxes, RandomFeatures, classify_domain};
use detectors::layout::ColumnLayout;
use detectors::profile::{ColumnProfile, Fault, Profile};
use detectors::quality::{Outcomes, Quality};
use detectors::schema::Task;
use detectors::verdict::Estimate;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The seed of the rows that the calibration holds out.
const SEED: u64 = 42;

type Row = BTreeMap<String, String>;

/// What was compared of one measure.
#[derive(Debug, Default)]
struct Compared {
    values: usize,
    worst: f64,
}

/// The comparisons of one file, by measure.
#[derive(Debug, Default)]
struct Comparisons(BTreeMap<String, Compared>);

impl Comparisons {
    fn add(&mut self, measure: &str, found: f64, wanted: f64) {
        assert!(found.is_finite(), "{measure} is {found}, should be {wanted}");
        let compared = self.0.entry(measure.to_owned()).or_default();
        compared.values += 1;
        compared.worst = compared.worst.max((found - wanted).abs() / wanted.abs().max(1.0));
    }

    /// Prints what was compared and fails where a measure is further off than its bound.
    fn report(&self, title: &str, bound: impl Fn(&str) -> f64) {
        assert!(!self.0.is_empty(), "{title}: nothing was compared");
        for (measure, Compared { values, worst }) in &self.0 {
            println!("{title}: {measure}: {values} values, worst difference {worst:.2e}");
        }
        for (measure, Compared { worst, .. }) in &self.0 {
            assert!(*worst <= bound(measure), "{title}: {measure} is off by {worst:.2e}");
        }
    }
}

/// A data set with its labels, reference and analysis, and the rows of a chunk.
struct DataSet {
    reference: Vec<Row>,
    analysis: Vec<Row>,
    chunk: usize,
}

impl DataSet {
    fn car_loan(shared: &Path) -> Self {
        let folder = shared.join("data/nannyml_car_loan");
        let file = |name: &str| table(&folder.join(format!("synthetic_car_loan_{name}.csv.gz")));
        let analysis = labelled(file("analysis"), file("analysis_target"));
        Self { reference: file("reference"), analysis, chunk: 5000 }
    }

    fn car_price(shared: &Path) -> Self {
        let folder = shared.join("data/nannyml_car_price");
        let file = |name: &str| table(&folder.join(format!("regression_synthetic_{name}.csv.gz")));
        let analysis = labelled(file("analysis"), file("analysis_targets"));
        Self { reference: file("reference"), analysis, chunk: 6000 }
    }

    /// The rows that an answer speaks of.
    fn rows_of(&self, answer: &Row) -> &[Row] {
        let rows = if answer["chunk.period"] == "reference" { &self.reference } else { &self.analysis };
        let from = answer["chunk.start_index"].parse::<usize>().expect("an index");
        let until = answer["chunk.end_index"].parse::<usize>().expect("an index") + 1;
        assert_eq!(until - from, self.chunk, "chunks are of one size");
        &rows[from..until]
    }
}

fn labelled(mut rows: Vec<Row>, labels: Vec<Row>) -> Vec<Row> {
    let labels: BTreeMap<String, Row> = labels.into_iter().map(|row| (row["id"].clone(), row)).collect();
    for row in &mut rows {
        let label = labels[&row["id"]].clone();
        row.extend(label);
    }
    rows
}

fn number(row: &Row, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} is `{}`, no number", row[name]))
}

fn answers(shared: &Path, name: &str) -> Vec<Row> {
    table(&shared.join("oracle/nannyml_oracle").join(name))
}

/// `1.0` and `1` are the same class.
fn is_positive(text: &str) -> bool {
    text.parse::<f64>().expect("a class that is a number") == 1.0
}

fn binary_quality(rows: &[Row]) -> Quality {
    let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
    let classes = |name: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| if is_positive(&row[name]) { "1" } else { "0" })))
    };
    let scores: [ArrayRef; 1] =
        [Arc::new(rows.iter().map(|row| Some(number(row, "y_pred_proba"))).collect::<Float64Array>())];
    quality_of(&task, [&classes("y_pred"), &classes("repaid")], &scores)
}

fn regression_quality(rows: &[Row]) -> Quality {
    let numbers =
        |name: &str| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(number(row, name))).collect::<Float64Array>()) };
    quality_of(&Task::Regression, [&numbers("y_pred"), &numbers("y_true")], &[])
}

fn quality_of(task: &Task, [prediction, label]: [&ArrayRef; 2], scores: &[ArrayRef]) -> Quality {
    let sign = Int8Array::from(vec![1; label.len()]);
    let mut quality = Quality::empty(task);
    quality.observe(&Outcomes { task, prediction, scores, label, sign: &sign }).expect("columns fit");
    quality
}

/// Metrics and the quality that they are read from.
type Realised = (&'static [&'static str], fn(&[Row]) -> Quality);

#[test]
fn realised_metrics_are_those_of_nannyml() {
    let Some(shared) = shared() else { return };
    let binary: Realised = (&["roc_auc", "f1", "accuracy", "precision", "recall", "specificity"], binary_quality);
    let regression: Realised = (&["mae", "rmse", "mape", "rmsle"], regression_quality);
    let sets =
        [("car_loan", DataSet::car_loan(&shared), binary), ("car_price", DataSet::car_price(&shared), regression)];
    for (name, data, (metrics, quality)) in sets {
        let mut compared = Comparisons::default();
        let whole = quality(&data.reference).metrics();
        let answers = answers(&shared, &format!("{name}.realized.csv"));
        let limits = limits_of(answers.iter().filter(|answer| answer["chunk.period"] == "reference").map(|answer| {
            let found = quality(data.rows_of(answer)).metrics();
            metrics.iter().map(|metric| found[*metric].value).collect()
        }));
        for answer in answers {
            let found = quality(data.rows_of(&answer)).metrics();
            for (metric, (lower, upper)) in metrics.iter().zip(&limits) {
                let value = found[*metric].value;
                compared.add(metric, value, number(&answer, &format!("{metric}.value")));
                compared.add("thresholds", *lower, number(&answer, &format!("{metric}.lower_threshold")));
                compared.add("thresholds", *upper, number(&answer, &format!("{metric}.upper_threshold")));
                let alert = if value < *lower || value > *upper { "True" } else { "False" };
                assert_eq!(alert, answer[&format!("{metric}.alert")], "{name}: {metric} at {}", answer["chunk.key"]);
            }
            for metric in metrics {
                let Some(error) = sampling_error(&whole, metric) else { continue };
                let of_chunk = error * (data.reference.len() as f64 / data.chunk as f64).sqrt();
                let wanted = number(&answer, &format!("{metric}.sampling_error"));
                compared.add(&format!("{metric} sampling error, relative"), of_chunk / wanted, 1.0);
            }
        }
        // Shares' errors are smoothed by four rows of 50,000: a thousandth of themselves.
        compared.report(&format!("realised, {name}"), |name| if name.contains("sampling") { 1e-3 } else { 1e-6 });
    }
}

/// NannyML's error of a metric, which is the reference's as if there were only as many rows as in a chunk.
///
/// That of the AUC is left out: NannyML takes the scatter of one class only, ties in the order of an unstable sort, where
/// ours is DeLong's. Its error of F1 lacks the slope of `2q/(1 + q)` by `1/(1 + q) = (2 − F1)/2`, which is put back here.
fn sampling_error(reference: &BTreeMap<String, Estimate>, metric: &str) -> Option<f64> {
    let Estimate { value, standard_error } = *reference.get(metric)?;
    match metric {
        "roc_auc" => None,
        "f1" => standard_error.map(|error| error * 2.0 / (2.0 - value)),
        _ => standard_error,
    }
}

/// NannyML's thresholds: mean and three standard deviations of each metric over the reference's chunks.
fn limits_of(chunks: impl Iterator<Item = Vec<f64>>) -> Vec<(f64, f64)> {
    let chunks: Vec<Vec<f64>> = chunks.collect();
    let n = chunks.len() as f64;
    let limits = |metric: usize| {
        let mean = chunks.iter().map(|chunk| chunk[metric]).sum::<f64>() / n;
        let variance = chunks.iter().map(|chunk| (chunk[metric] - mean).powi(2)).sum::<f64>() / n;
        (mean - 3.0 * variance.sqrt(), mean + 3.0 * variance.sqrt())
    };
    (0..chunks[0].len()).map(limits).collect()
}

#[test]
fn estimated_metrics_are_those_of_nannyml() {
    let Some(shared) = shared() else { return };
    let data = DataSet::car_loan(&shared);
    let labelled = data.reference.iter().map(|row| (number(row, "y_pred_proba"), is_positive(&row["repaid"])));
    let calibration = Calibration::learn(&count_scores(labelled), SEED).expect("the reference has labels");
    println!("CBPE: {:?}", calibration.choice());
    let whole = binary_quality(&data.reference).metrics();
    let mut compared = Comparisons::default();
    for answer in answers(&shared, "car_loan.cbpe.csv") {
        let rows = data.rows_of(&answer).iter();
        let answered: Vec<(f64, bool)> =
            rows.map(|row| (number(row, "y_pred_proba"), is_positive(&row["y_pred"]))).collect();
        let mut tally = ScoreTally::default();
        answered.iter().for_each(|(score, positive)| tally.observe(*score, *positive));
        let exact = estimate_binary(&count_scores(answered), &calibration);
        let tallied = estimate_binary(&tally.counts(), &calibration);
        for metric in ["roc_auc", "f1", "accuracy", "precision", "recall", "specificity"] {
            let wanted = number(&answer, &format!("{metric}.value"));
            compared.add(metric, exact[metric].value, wanted);
            compared.add(&format!("{metric} from a tally"), tallied[metric].value, wanted);
            if let Some(error) = sampling_error(&whole, metric) {
                let of_chunk = error * (data.reference.len() as f64 / data.chunk as f64).sqrt();
                let wanted = number(&answer, &format!("{metric}.sampling_error"));
                compared.add(&format!("{metric} sampling error, relative"), of_chunk / wanted, 1.0);
            }
            let limits = ["lower", "upper"].map(|side| number(&answer, &format!("{metric}.{side}_threshold")));
            let alerts = |found: f64| if found < limits[0] || found > limits[1] { "True" } else { "False" };
            let (alert, wanted) = (alerts(exact[metric].value), &answer[&format!("{metric}.alert")]);
            assert_eq!(alert, wanted, "the alert of {metric} at {}", answer["chunk.key"]);
        }
    }
    compared.report("CBPE, car_loan", |_| 1e-3);
}

/// A feature of a data set, and whether it is a number.
type Feature = (&'static str, bool);

const CAR_LOAN: [Feature; 7] = [
    ("car_value", true),
    ("salary_range", false),
    ("debt_to_income_ratio", true),
    ("loan_length", true),
    ("repaid_loan_on_prev_car", false),
    ("size_of_downpayment", false),
    ("driver_tenure", true),
];

const CAR_PRICE: [Feature; 7] = [
    ("car_age", true),
    ("km_driven", true),
    ("price_new", true),
    ("accident_count", true),
    ("door_count", true),
    ("fuel", false),
    ("transmission", false),
];

/// An empty cell is a null.
fn columns_of(rows: &[Row], features: &[Feature]) -> Vec<ArrayRef> {
    let cells =
        |name: &'static str| rows.iter().map(move |row| Some(row[name].as_str()).filter(|cell| !cell.is_empty()));
    let column = |(name, is_number): &Feature| -> ArrayRef {
        if *is_number {
            let parse = |cell: &str| cell.parse::<f64>().unwrap_or_else(|_| panic!("{name} is `{cell}`, no number"));
            Arc::new(cells(name).map(|cell| cell.map(parse)).collect::<Float64Array>())
        } else {
            Arc::new(cells(name).collect::<StringArray>())
        }
    };
    features.iter().map(column).collect()
}

#[test]
fn reconstruction_errors_are_those_of_nannyml() {
    let Some(shared) = shared() else { return };
    let sets =
        [("car_loan", DataSet::car_loan(&shared), CAR_LOAN), ("car_price", DataSet::car_price(&shared), CAR_PRICE)];
    for (name, data, features) in sets {
        let axes = PrincipalAxes::learn(&columns_of(&data.reference, &features)).expect("the reference has rows");
        let mut compared = Comparisons::default();
        for answer in answers(&shared, &format!("{name}.pca_reconstruction.csv")) {
            let mut sketch = axes.empty();
            axes.observe(&mut sketch, &columns_of(data.rows_of(&answer), &features)).expect("columns fit");
            let found = axes.reconstruction_error(&sketch).expect("a chunk has rows");
            compared.add("value", found.value, number(&answer, "reconstruction_error.value"));
            let error = found.standard_error.expect("a chunk has several rows");
            compared.add("sampling error", error, number(&answer, "reconstruction_error.sampling_error"));
        }
        compared.report(&format!("PCA reconstruction, {name}, {} axes", axes.axes()), |_| 1e-6);
    }
}

#[test]
fn joint_detectors_are_quiet_before_the_drift_of_the_data_and_loud_after_it() {
    let Some(shared) = shared() else { return };
    let sets =
        [("car_loan", DataSet::car_loan(&shared), CAR_LOAN), ("car_price", DataSet::car_price(&shared), CAR_PRICE)];
    for (name, data, features) in sets {
        let reference = columns_of(&data.reference, &features);
        let detectors: [Box<dyn JointDetector>; 3] = [
            Box::new(PrincipalAxes::learn(&reference).expect("the reference has rows")),
            Box::new(CorrelationDetector::learn(&reference).expect("the reference has several columns")),
            Box::new(RandomFeatures::learn(&reference, SEED).expect("the reference has rows")),
        ];
        for (chunk, rows) in data.analysis.chunks(data.chunk).enumerate() {
            let columns = columns_of(rows, &features);
            let domain = classify_domain(&columns_of(&data.reference[..data.chunk], &features), &columns, SEED);
            let mut p_values = vec![("domain_classifier", domain.expect("both sides have rows").p_value)];
            for detector in &detectors {
                let mut sketch = detector.empty();
                detector.observe(&mut sketch, &columns).expect("columns fit");
                p_values.push((detector.name(), detector.compare(&sketch).expect("a chunk has rows").p_value));
            }
            println!("joint, {name}, chunk {chunk}: {p_values:.6?}");
            // The drift begins in the middle of the analysis: row 25,000 of 50,000, row 30,000 of 60,000.
            let is_drift = chunk >= 5;
            for (detector, p_value) in p_values {
                let is_told = if is_drift { p_value < 1e-6 } else { p_value > 1e-3 };
                assert!(is_told, "{name}, chunk {chunk}: {detector} has p {p_value}");
            }
        }
    }
}

#[test]
fn missing_values_are_those_of_nannyml() {
    let Some(shared) = shared() else { return };
    let sets =
        [("car_loan", DataSet::car_loan(&shared), CAR_LOAN), ("car_price", DataSet::car_price(&shared), CAR_PRICE)];
    for (name, data, features) in sets {
        let reference = columns_of(&data.reference, &features);
        let layouts: Vec<ColumnLayout> = reference.iter().map(layout_of).collect();
        let mut compared = Comparisons::default();
        let missing_of =
            |profile: &Profile, place: usize| profile.columns()[place].count_of(Fault::Null).expect("nulls") as f64;
        let whole = profile_of(&layouts, &reference);
        for answer in answers(&shared, &format!("{name}.missing.csv")) {
            let profile = profile_of(&layouts, &columns_of(data.rows_of(&answer), &features));
            for (place, (feature, _)) in features.iter().enumerate() {
                let share = missing_of(&profile, place) / data.chunk as f64;
                compared.add("value", share, number(&answer, &format!("{feature}.value")));
                let expected = missing_of(&whole, place) / data.reference.len() as f64;
                let error = (expected * (1.0 - expected) / data.chunk as f64).sqrt();
                compared.add("sampling error", error, number(&answer, &format!("{feature}.sampling_error")));
            }
        }
        compared.report(&format!("missing values (the data have none), {name}"), |_| 1e-6);
    }
}

fn layout_of(column: &ArrayRef) -> ColumnLayout {
    match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) => ColumnLayout::learn_numeric(&mut numbers.values().to_vec()),
        None => ColumnLayout::learn_categorical(column.as_string::<i32>().iter().flatten()),
    }
}

fn profile_of(layouts: &[ColumnLayout], columns: &[ArrayRef]) -> Profile {
    let mut profile = Profile::empty(layouts);
    let wrong_type: ArrayRef = Arc::new(NullArray::new(columns[0].len()));
    profile.observe(layouts, columns, &wrong_type).expect("columns fit");
    profile
}

#[test]
fn losses_of_car_prices_are_estimated_from_profiles() {
    let Some(shared) = shared() else { return };
    let data = DataSet::car_price(&shared);
    let features: Vec<Feature> = CAR_PRICE.into_iter().chain([("y_pred", true)]).collect();
    let columns = columns_of(&data.reference, &features);
    let layouts: Vec<ColumnLayout> = columns.iter().map(layout_of).collect();
    let outcomes: Vec<(f64, f64)> =
        data.reference.iter().map(|row| (number(row, "y_pred"), number(row, "y_true"))).collect();
    let Some(ColumnLayout::Numeric(bins)) = layouts.last() else { panic!("predictions are numbers") };
    let of_prediction = LossModel::learn(bins, outcomes.iter().copied()).expect("the reference has labels");
    let rows = LossyRows { layouts: &layouts, columns: &columns, outcomes: &outcomes };
    let of_columns = LossTree::learn(&rows, SEED).expect("the reference has labels");
    // There is no answer of NannyML's for these; what they are held against is the realised error.
    for answer in answers(&shared, "car_price.realized.csv") {
        let columns = columns_of(data.rows_of(&answer), &features);
        let window = profile_of(&layouts, &columns);
        let Some(ColumnProfile::Numeric(profile)) = window.columns().last() else { panic!("predictions are numbers") };
        let mut leaves = of_columns.empty();
        of_columns.observe(&mut leaves, &layouts, &columns).expect("columns fit");
        let found =
            [of_prediction.estimate(profile), of_columns.estimate(&leaves)].map(|found| found.expect("rows").mae);
        let realised = number(&answer, "mae.value");
        let errors = found.map(|mae| mae.standard_error.expect("an error"));
        let away = [0, 1].map(|model| (found[model].value - realised) / errors[model]);
        let (period, key) = (&answer["chunk.period"], &answer["chunk.key"]);
        println!(
            "DLE, {period} {key}: realised {realised:.1}; of the prediction {:.1} ± {:.1} ({:+.1}), of all columns {:.1} ± {:.1} ({:+.1})",
            found[0].value, errors[0], away[0], found[1].value, errors[1], away[1]
        );
        // The prediction tells before the drift only: ten chunks of the reference, five of the analysis. All columns tell
        // after it, too.
        let is_still = period == "reference" || answer["chunk.end_index"].parse::<usize>().expect("an index") < 30_000;
        assert!(!is_still || away[0].abs() < 4.0, "{period} {key}: {away:?} errors away");
        assert!(away[1].abs() < 4.0, "{period} {key}: {away:?} errors away");
    }
}
