//! The rows that the oracle's windows hold: car loans with their predictions and, from a file of their own, labels.

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use flate2::read::GzDecoder;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How long after its prediction a label comes.
const LABEL_DELAY_MS: i64 = 2 * 3_600_000;

/// Every row, in order of time.
pub(super) struct Loans {
    pub(super) rows: Vec<Loan>,
    /// The file of the rows with a further column for the label.
    pub(super) with_labels: String,
}

/// One prediction and what turned out to be true.
#[derive(Clone)]
pub(super) struct Loan {
    id: String,
    pub(super) time_ms: i64,
    features: Features,
    score: f64,
    prediction: String,
    label: String,
}

#[derive(Clone, Serialize)]
struct Features {
    car_value: f64,
    salary_range: String,
    debt_to_income_ratio: f64,
    loan_length: f64,
    repaid_loan_on_prev_car: String,
    size_of_downpayment: String,
    driver_tenure: f64,
}

/// An inference event v1.
#[derive(Serialize)]
pub(super) struct Event<'a> {
    id: &'a str,
    time: i64,
    model: &'a str,
    version: &'a str,
    features: &'a Features,
    prediction: &'a str,
    score: f64,
}

/// A label event v1.
#[derive(Serialize)]
pub(super) struct LabelEvent<'a> {
    id: &'a str,
    time: i64,
    model: &'a str,
    label: &'a str,
}

impl Loans {
    pub(super) fn read(folder: &Path) -> Self {
        let labels = text(&folder.join("synthetic_car_loan_analysis_target.csv.gz"));
        let labels: HashMap<_, _> = labels.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
        let analysis = text(&folder.join("synthetic_car_loan_analysis.csv.gz"));
        let mut with_labels = format!("{},repaid\n", analysis.lines().next().unwrap());
        let mut rows = Vec::new();
        for line in analysis.lines().skip(1) {
            let row = Loan::parse(line, &labels);
            writeln!(with_labels, "{line},{}", row.label).unwrap();
            rows.push(row);
        }
        Self { rows, with_labels }
    }

    pub(super) fn at(&self, places: &[usize]) -> Vec<&Loan> {
        places.iter().map(|place| &self.rows[*place]).collect()
    }
}

impl Loan {
    /// A line of the file; none of its fields is quoted.
    fn parse(line: &str, labels: &HashMap<&str, &str>) -> Self {
        let cells: Vec<_> = line.split(',').collect();
        let [id, value, salary, debt, length, repaid, downpayment, tenure, time, score, prediction] = cells[..] else {
            panic!("{line}")
        };
        let number = |cell: &str| cell.parse::<f64>().unwrap();
        Self {
            id: id.to_owned(),
            time_ms: string_to_timestamp_nanos(time).unwrap() / 1_000_000,
            features: Features {
                car_value: number(value),
                salary_range: salary.to_owned(),
                debt_to_income_ratio: number(debt),
                loan_length: number(length),
                repaid_loan_on_prev_car: repaid.to_owned(),
                size_of_downpayment: downpayment.to_owned(),
                driver_tenure: number(tenure),
            },
            score: number(score),
            prediction: prediction.to_owned(),
            label: labels[id].to_owned(),
        }
    }

    /// The same under another id, at another time.
    pub(super) fn again(&self, id: String, time_ms: i64) -> Self {
        Self { id, time_ms, ..self.clone() }
    }

    pub(super) fn event<'a>(&'a self, model: &'a str) -> Event<'a> {
        let Self { id, time_ms, features, score, prediction, .. } = self;
        Event { id, time: *time_ms, model, version: "default", features, prediction, score: *score }
    }

    pub(super) fn label_event<'a>(&'a self, model: &'a str) -> LabelEvent<'a> {
        LabelEvent { id: &self.id, time: self.time_ms + LABEL_DELAY_MS, model, label: &self.label }
    }
}

/// The text of a gzipped file.
pub(super) fn text(file: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    text
}
