//! Univariate drift as NannyML 0.13.1 has it, chunk by chunk, on its two public data sets.

use crate::shared::{shared, table};
use crate::tally::{Bound, Tally};
use detectors::parity::nannyml::{CategoryMethod, FittedCategories, FittedNumbers, NumberMethod, threshold_of_chunks};
use detectors::statistics::{CategorySample, NumberSample};
use std::collections::BTreeMap;
use std::path::Path;

/// The answers are written with twelve digits.
const DISTANCE: Bound = Bound { relative: 1e-6, floor: 1e-12 };

type Rows = Vec<BTreeMap<String, String>>;

/// A data set, its files and the size of its chunks.
struct DataSet {
    name: &'static str,
    files: [&'static str; 2],
    chunk: usize,
}

const DATA_SETS: [DataSet; 2] = [
    DataSet {
        name: "car_loan",
        files: [
            "nannyml_car_loan/synthetic_car_loan_reference.csv.gz",
            "nannyml_car_loan/synthetic_car_loan_analysis.csv.gz",
        ],
        chunk: 5_000,
    },
    DataSet {
        name: "car_price",
        files: [
            "nannyml_car_price/regression_synthetic_reference.csv.gz",
            "nannyml_car_price/regression_synthetic_analysis.csv.gz",
        ],
        chunk: 6_000,
    },
];

fn numbers(rows: &[BTreeMap<String, String>], column: &str) -> NumberSample {
    NumberSample::new(rows.iter().map(|row| row[column].parse().ok()))
}

fn categories(rows: &[BTreeMap<String, String>], column: &str) -> CategorySample {
    CategorySample::new(rows.iter().map(|row| Some(row[column].as_str()).filter(|value| !value.is_empty())))
}

fn number_method(name: &str) -> Option<NumberMethod> {
    Some(match name {
        "jensen_shannon" => NumberMethod::JensenShannon,
        "hellinger" => NumberMethod::Hellinger,
        "kolmogorov_smirnov" => NumberMethod::KolmogorovSmirnov,
        "wasserstein" => NumberMethod::Wasserstein,
        _ => return None,
    })
}

fn category_method(name: &str) -> Option<CategoryMethod> {
    Some(match name {
        "jensen_shannon" => CategoryMethod::JensenShannon,
        "hellinger" => CategoryMethod::Hellinger,
        "chi2" => CategoryMethod::ChiSquared,
        "l_infinity" => CategoryMethod::LInfinity,
        _ => return None,
    })
}

/// Distance and whether NannyML raises an alert, for each chunk in turn; and the threshold.
type Judged = (Vec<(f64, bool)>, Option<f64>);

fn judged_numbers(method: NumberMethod, column: &str, (reference, chunks): (&Rows, &[Rows])) -> Judged {
    let fitted = FittedNumbers::fit(&numbers(reference, column)).expect("a reference");
    let distance = |chunk: &Rows| fitted.distance(method, &numbers(chunk, column)).expect("a distance");
    let of_reference: Vec<f64> = chunks[..chunks.len() / 2].iter().map(distance).collect();
    let threshold = threshold_of_chunks(&of_reference).expect("chunks");
    let judge = |chunk: &Rows| {
        let found = fitted.judge(method, threshold, &numbers(chunk, column)).expect("a distance");
        (found.score, found.drifted)
    };
    (chunks.iter().map(judge).collect(), Some(threshold))
}

fn judged_categories(method: CategoryMethod, column: &str, (reference, chunks): (&Rows, &[Rows])) -> Judged {
    let fitted = FittedCategories::fit(&categories(reference, column)).expect("a reference");
    let distance = |chunk: &Rows| fitted.distance(method, &categories(chunk, column)).expect("a distance");
    let of_reference: Vec<f64> = chunks[..chunks.len() / 2].iter().map(distance).collect();
    let threshold = threshold_of_chunks(&of_reference).expect("chunks");
    let judge = |chunk: &Rows| {
        let found = fitted.judge(method, threshold, &categories(chunk, column)).expect("a distance");
        (distance(chunk), found.drifted)
    };
    let judged = chunks.iter().map(judge).collect();
    (judged, (method != CategoryMethod::ChiSquared).then_some(threshold))
}

fn hold(tally: &mut Tally, data_set: &DataSet, shared: &Path) {
    let answers = table(&shared.join(format!("oracle/nannyml_oracle/{}.univariate.csv", data_set.name)));
    let [reference, analysis] = data_set.files.map(|file| table(&shared.join("data").join(file)));
    let chunks: Vec<Rows> =
        reference.chunks(data_set.chunk).chain(analysis.chunks(data_set.chunk)).map(<[_]>::to_vec).collect();
    assert_eq!(chunks.len(), answers.len());
    for key in answers[0].keys().filter_map(|name| name.strip_suffix(".value")) {
        let (column, method) = key.split_once('.').expect("column and method");
        // The methods of categories are told by two that numbers do not have.
        let categorical = answers[0].contains_key(&format!("{column}.chi2.value"));
        let data = (&reference, &chunks[..]);
        let (judged, threshold) = match (categorical, number_method(method), category_method(method)) {
            (false, Some(method), _) => judged_numbers(method, column, data),
            (true, _, Some(method)) => judged_categories(method, column, data),
            _ => {
                tally.left_out(&format!("{method}: not offered"));
                continue;
            }
        };
        hold_method(tally, &format!("{} {key}", data_set.name), (judged, threshold), (key, &answers));
    }
}

fn hold_method(tally: &mut Tally, what: &str, (judged, threshold): Judged, (key, answers): (&str, &Rows)) {
    for (place, ((distance, alert), answer)) in judged.into_iter().zip(answers).enumerate() {
        let what = format!("{what} chunk {place}");
        let expected = |part: &str| answer[&format!("{key}.{part}")].clone();
        tally.number(&what, "distance", (distance, expected("value").parse().expect("a number")), DISTANCE);
        if let Some(threshold) = threshold {
            let expected = expected("upper_threshold").parse().expect("a number");
            tally.number(&what, "threshold", (threshold, expected), DISTANCE);
        }
        if alert != (expected("alert") == "True") {
            tally.wrong(format!("{what}: alert is {alert}"));
        }
    }
}

#[test]
fn univariate_distances_thresholds_and_alerts_are_nannymls() {
    let Some(shared) = shared() else { return };
    let mut tally = Tally::default();
    for data_set in &DATA_SETS {
        hold(&mut tally, data_set, &shared);
    }
    tally.conclude("nannyml_oracle, univariate");
}
