//! Holds the sequential detectors and the labelled quality against the answers of other implementations.
//!
//! The answers lie in a folder of their own, `$DRIFTLINE_SHARED` or `../shared` beside the workspace. Where it is
//! absent the tests say so and pass; with `DRIFTLINE_REQUIRE_SHARED=1` its absence is a failure. Each test prints what
//! it compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "the whole file is a test")]

use arrow::array::{ArrayRef, Float64Array, Int8Array, StringArray};
use detectors::moments::Moments;
use detectors::quality::{Outcomes, Quality};
use detectors::schema::Task;
use detectors::sequential::outcomes::{
    Alert, Ddm, DdmPolicy, Eddm, EddmPolicy, HddmA, HddmAPolicy, HddmW, HddmWPolicy, OutcomeDetector, RowOutcome,
};
use detectors::sequential::{
    Adwin, AdwinPolicy, AfterChange, Direction, PlainPageHinkley, PlainPageHinkleyPolicy, SequentialDetector, Sides,
    Signal,
};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder with the answers, if it is there.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("DRIFTLINE_SHARED").map_or(beside, PathBuf::from);
    if folder.join("oracle").is_dir() {
        return Some(folder);
    }
    let required = std::env::var("DRIFTLINE_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "DRIFTLINE_REQUIRE_SHARED=1, but {} has no folder `oracle`", folder.display());
    println!("skipped: {} has no folder `oracle`; set DRIFTLINE_SHARED to where it is", folder.display());
    None
}

fn text(path: &Path) -> String {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rows by column name; no field of these files is quoted.
fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = text(path);
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row_of = |line: &str| -> BTreeMap<String, String> {
        names.iter().zip(line.split(',')).map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    lines.map(row_of).collect()
}

/// The values of a stream: one number a line under a header.
fn stream(path: &Path) -> Vec<f64> {
    text(path).lines().skip(1).map(|line| line.parse().expect("a number")).collect()
}

/// Where a detector fed with single values signalled a change, and which way.
fn changes(detector: &mut dyn SequentialDetector, values: &[f64]) -> Vec<(usize, Direction)> {
    let mut found = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if let Signal::Change(change) = detector.observe(index as i64, Moments::of(*value)) {
            assert!(change.change_point_ms <= index as i64 && change.before.is_finite() && change.after.is_finite());
            found.push((index, change.direction));
        }
    }
    found
}

fn indices(list: &Value) -> Vec<usize> {
    list.as_array().expect("a list").iter().map(|index| index.as_u64().expect("an index") as usize).collect()
}

fn river_outcome_detector(name: &str) -> Option<Box<dyn OutcomeDetector>> {
    let hddm_a = |sides| HddmA::new(HddmAPolicy { sides, ..Default::default() }).unwrap();
    let hddm_w = |weight, sides| HddmW::new(HddmWPolicy { weight, sides, ..Default::default() }).unwrap();
    let eddm = |warning, drift| Eddm::new(EddmPolicy { warning, drift, ..Default::default() }).unwrap();
    Some(match name {
        "DDM" => Box::new(Ddm::new(DdmPolicy::default()).unwrap()),
        "DDM_w100_2_2.5" => Box::new(Ddm::new(DdmPolicy { warm_start: 100, warning: 2.0, drift: 2.5 }).unwrap()),
        "EDDM" => Box::new(eddm(0.95, 0.9)),
        "EDDM_0.9_0.8" => Box::new(eddm(0.9, 0.8)),
        "HDDM_A" => Box::new(hddm_a(Sides::Up)),
        "HDDM_A_two_sided" => Box::new(hddm_a(Sides::Both)),
        "HDDM_W" => Box::new(hddm_w(0.05, Sides::Up)),
        "HDDM_W_lambda0.01" => Box::new(hddm_w(0.01, Sides::Up)),
        "HDDM_W_two_sided" => Box::new(hddm_w(0.05, Sides::Both)),
        _ => return None,
    })
}

/// Where a detector fed with errors found drifts, and where its warnings began.
fn alerts(detector: &mut dyn OutcomeDetector, errors: &[f64]) -> (Vec<usize>, Vec<usize>) {
    let (mut drifts, mut warnings, mut warned) = (Vec::new(), Vec::new(), false);
    for (index, error) in errors.iter().enumerate() {
        let alert = detector.observe(if *error == 1.0 { RowOutcome::Wrong } else { RowOutcome::Right });
        match alert {
            Alert::Drift { .. } => drifts.push(index),
            Alert::Warning if !warned => warnings.push(index),
            Alert::Warning | Alert::Quiet => {}
        }
        warned = alert == Alert::Warning;
    }
    (drifts, warnings)
}

#[test]
fn single_outcomes_raise_the_alarms_and_warnings_of_river() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("oracle/river_oracle");
    let expected = json(&folder.join("expected.json"));
    let (mut rows, mut alarms, mut begun, mut wrong) = (0, 0, 0, Vec::new());
    let mut left_out = BTreeMap::new();
    for (stream_name, entry) in expected["streams"].as_object().expect("streams") {
        if entry["binary"] != true {
            *left_out.entry("values that are no outcomes").or_insert(0) += 1;
            continue;
        }
        let errors = stream(&folder.join(entry["file"].as_str().expect("a file")));
        for (name, result) in entry["results"].as_object().expect("results") {
            let Some(mut detector) = river_outcome_detector(name) else { continue };
            let (drifts, warnings) = alerts(detector.as_mut(), &errors);
            let wanted = indices(&result["drifts"]);
            rows += 1;
            alarms += wanted.len();
            if drifts != wanted {
                wrong.push(format!("{stream_name} / {name}: drifts at {drifts:?}, river {wanted:?}"));
            }
            // A falling share warns in river too; here only a rising one does. Long lists of warnings were cut.
            if result["warning_starts"].is_null() || name.ends_with("two_sided") {
                *left_out.entry("lists of warnings").or_insert(0) += 1;
                continue;
            }
            let wanted = indices(&result["warning_starts"]);
            begun += wanted.len();
            if !warnings.starts_with(&wanted) {
                wrong.push(format!("{stream_name} / {name}: warnings at {warnings:?}, river {wanted:?}"));
            }
        }
    }
    println!("river: {rows} rows with {alarms} drifts and {begun} warnings compared; left out: {left_out:?}");
    assert!(rows > 0, "no row was compared");
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn river_detector(name: &str) -> Option<Box<dyn SequentialDetector>> {
    let adwin = |delta, clock, after_change| {
        let policy = AdwinPolicy { delta, clock, min_part: 5, after_change };
        Some(Box::new(Adwin::new(policy).unwrap()) as Box<dyn SequentialDetector>)
    };
    let page_hinkley = |delta, threshold, sides| {
        let policy = PlainPageHinkleyPolicy { delta, threshold, sides, ..Default::default() };
        Some(Box::new(PlainPageHinkley::new(policy).unwrap()) as Box<dyn SequentialDetector>)
    };
    match name {
        "ADWIN" => adwin(0.002, 32, AfterChange::StartAfresh),
        "ADWIN_delta0.05" => adwin(0.05, 32, AfterChange::StartAfresh),
        "ADWIN_delta1e-5_clock1" => adwin(1e-5, 1, AfterChange::StartAfresh),
        "ADWIN_pure" => adwin(0.002, 32, AfterChange::DropOld),
        "PageHinkley" => page_hinkley(0.005, 50.0, Sides::Both),
        "PageHinkley_lambda10_up" => page_hinkley(0.005, 10.0, Sides::Up),
        "PageHinkley_lambda20_delta0.02_down" => page_hinkley(0.02, 20.0, Sides::Down),
        _ => None,
    }
}

#[test]
fn single_values_raise_the_alarms_of_river() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("oracle/river_oracle");
    let expected = json(&folder.join("expected.json"));
    let (mut rows, mut alarms, mut wrong) = (0, 0, Vec::new());
    for (stream_name, entry) in expected["streams"].as_object().expect("streams") {
        let values = stream(&folder.join(entry["file"].as_str().expect("a file")));
        for (name, result) in entry["results"].as_object().expect("results") {
            let Some(mut detector) = river_detector(name) else { continue };
            let found: Vec<_> = changes(detector.as_mut(), &values).into_iter().map(|(index, _)| index).collect();
            let wanted = indices(&result["drifts"]);
            rows += 1;
            alarms += wanted.len();
            if found != wanted {
                wrong.push(format!("{stream_name} / {name}: found {found:?}, river {wanted:?}"));
            }
        }
    }
    println!("river: {rows} rows with {alarms} alarms compared");
    assert!(rows > 0, "no row was compared");
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn single_values_raise_the_alarms_of_moa_where_the_mean_rises() {
    let Some(shared) = shared() else { return };
    let expected = json(&shared.join("oracle/moa_oracle/expected.json"));
    let (mut rows, mut alarms, mut wrong) = (0, 0, Vec::new());
    for (stream_name, results) in expected.as_object().expect("streams") {
        let path = shared.join(format!("oracle/river_oracle/{stream_name}.csv.gz"));
        let values = stream(&path);
        for (name, delta) in [("ADWINChangeDetector", 0.002), ("ADWINChangeDetector -a 0.05", 0.05)] {
            let mut detector = Adwin::new(AdwinPolicy { delta, ..Default::default() }).unwrap();
            let rising = |(index, direction)| (direction == Direction::Rising).then_some(index);
            let found: Vec<_> = changes(&mut detector, &values).into_iter().filter_map(rising).collect();
            let wanted = indices(&results[name]["drifts"]);
            rows += 1;
            alarms += wanted.len();
            if found != wanted {
                wrong.push(format!("{stream_name} / {name}: found {found:?}, MOA {wanted:?}"));
            }
        }
    }
    println!("MOA: {rows} rows with {alarms} alarms compared");
    assert!(rows > 0, "no row was compared");
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

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
