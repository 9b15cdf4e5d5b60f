//! Labelled quality of event-time windows, as pandas and scikit-learn have it.

use crate::shared::{shared, table};
use arrow::array::{ArrayRef, Float64Array, Int8Array, StringArray};
use detectors::quality::{Outcomes, Quality};
use detectors::schema::Task;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Predictions of `nannyml_car_loan` in time order.
struct CarLoan {
    times_ms: Vec<i64>,
    scores: Vec<f64>,
    predictions: Vec<String>,
    labels: Vec<String>,
}

impl CarLoan {
    fn read(shared: &Path) -> Self {
        let folder = shared.join("data/nannyml_car_loan");
        let labels: BTreeMap<String, String> = table(&folder.join("synthetic_car_loan_analysis_target.csv.gz"))
            .into_iter()
            .map(|row| (row["id"].clone(), row["repaid"].clone()))
            .collect();
        let rows = table(&folder.join("synthetic_car_loan_analysis.csv.gz"));
        Self {
            times_ms: rows.iter().map(|row| millis(&row["timestamp"])).collect(),
            scores: rows.iter().map(|row| row["y_pred_proba"].parse().expect("a score")).collect(),
            predictions: rows.iter().map(|row| row["y_pred"].clone()).collect(),
            labels: rows.iter().map(|row| labels[&row["id"]].clone()).collect(),
        }
    }

    fn quality_between(&self, start_ms: i64, end_ms: i64) -> Quality {
        let from = self.times_ms.partition_point(|time| *time < start_ms);
        let until = self.times_ms.partition_point(|time| *time < end_ms);
        let strings = |values: &[String]| Arc::new(StringArray::from_iter_values(values)) as ArrayRef;
        let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
        let scores = [Arc::new(Float64Array::from(self.scores[from..until].to_vec())) as ArrayRef];
        let (prediction, label) = (strings(&self.predictions[from..until]), strings(&self.labels[from..until]));
        let sign = Int8Array::from(vec![1; until - from]);
        let mut quality = Quality::empty(&task);
        let outcomes = Outcomes { task: &task, prediction: &prediction, scores: &scores, label: &label, sign: &sign };
        quality.observe(&outcomes).expect("columns fit");
        quality
    }
}

/// `2018-10-30 18:08:43.152`, UTC.
fn millis(timestamp: &str) -> i64 {
    use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
    string_to_timestamp_nanos(timestamp).expect("a timestamp") / 1_000_000
}

#[test]
fn windows_have_the_counts_and_metrics_of_scikit_learn() {
    let Some(shared) = shared() else { return };
    let data = CarLoan::read(&shared);
    let (mut compared, mut windows) = (0, 0);
    for window in table(&shared.join("oracle/windows_oracle/car_loan.csv")) {
        let bounds = |name: &str| window[name].parse::<i64>().expect("a time");
        let metrics = data.quality_between(bounds("start_ms"), bounds("end_ms")).metrics();
        windows += 1;
        for name in [
            "tn",
            "fp",
            "fn",
            "tp",
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "f1",
            "mcc",
            "kappa",
            "positive_rate_pred",
            "positive_rate_true",
            "brier",
            "log_loss",
            "roc_auc",
            "average_precision",
            "ece10",
        ] {
            let column = if name == "log_loss" { "log_loss_clip1e15" } else { name };
            let wanted = &window[column];
            let at = format!("{name} of the {} window at {}", window["size"], window["start_ms"]);
            if wanted.is_empty() {
                assert!(!metrics.contains_key(name), "{at} should be undefined");
                continue;
            }
            let wanted: f64 = wanted.parse().expect("a number");
            let found = metrics.get(name).unwrap_or_else(|| panic!("{at} is missing")).value;
            // Scores have two decimals, so bins hold one score each and even the AUC is exact.
            assert!((found - wanted).abs() <= 1e-9, "{at}: {found}, should be {wanted}");
            compared += 1;
        }
    }
    println!("windows: {compared} values of {windows} windows compared");
    assert!(compared > 0, "nothing was compared");
}
