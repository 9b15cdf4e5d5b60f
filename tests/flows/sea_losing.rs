//! `sea_losing`: three changes of concept, found and answered; and none found where there are none.
//!
//! The same learner is held beside the service: frozen, retrained every 1,000 rows, and retrained at the true changes.

use arrow::array::{Float64Array, RecordBatch, StringArray};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use driftline_tests::{On, Workplace};
use flate2::read::GzDecoder;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use retrain::scorer::linear::LinearScorer;
use retrain::scorer::{Scorer, ScoringError};
use retrain::trainer::builtin::BuiltinTrainer;
use retrain::trainer::{TrainedModel, TrainingJob, train};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

const FIRST: usize = 2_000;
const TRUE_CHANGES: [usize; 3] = [12_500, 25_000, 37_500];
const SHUFFLE_SEED: u64 = 20_260_101;

const CONFIGURATION: &str = "
version: 1
log: LOG
partitions: 2
max_disorder: 1s
models:
  sea:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features: {x1: numeric, x2: numeric, x3: numeric}
    windows: {size: 500s}
    step: 10s
    labels: {mature: {after: 120s}, horizon: 1h}
    retrain: {cooldown: 500s, deadline: 10000s, budget_per_day: 100}
    trainer: {builtin: {}}
    serving: champion
";

#[derive(Clone)]
struct Row {
    x: [f64; 3],
    class: String,
    line: String,
}

#[test]
fn each_change_of_concept_ends_in_a_promotion_and_a_shuffled_stream_in_none() {
    each_change_ends_in_a_promotion(&On::Embedded);
}

#[test]
fn each_change_of_concept_ends_in_a_promotion_and_a_shuffled_stream_in_none_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    each_change_ends_in_a_promotion(&kafka);
}

fn each_change_ends_in_a_promotion(on: &On) {
    let Some(folder) = crate::shared("data/sea_losing") else { return };
    let rows = read(&folder.join("sea_losing.csv.gz"));
    let served = replay(&rows, on);
    let mut shuffled = rows.clone();
    shuffled.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(SHUFFLE_SEED));
    let control = replay(&shuffled, on);
    println!("{:34} requests promotions rejections accuracy", "sea_losing, labels 100 rows late");
    print("driftline", &served);
    print(&format!("driftline, shuffled (seed {SHUFFLE_SEED})"), &control);
    println!("{:34} {:>40.4}", "frozen", baseline(&rows, &[]));
    let every: Vec<_> = (3_000..rows.len()).step_by(1_000).map(|at| (at, at - 1_000)).collect();
    println!("{:34} {:>40.4}", "retrained every 1,000 rows", baseline(&rows, &every));
    let at_changes: Vec<_> = TRUE_CHANGES.iter().map(|change| (change + 500, *change)).collect();
    println!("{:34} {:>40.4}", "retrained at the true changes", baseline(&rows, &at_changes));
    let promotions = served["promotions"].as_u64().unwrap();
    assert!(promotions >= TRUE_CHANGES.len() as u64, "{served}");
    assert!(served["trainings"].as_u64().unwrap() <= every.len() as u64 / 3, "{served}");
    assert!(served["accuracy"].as_f64().unwrap() >= 0.88, "{served}");
    assert_eq!(control["promotions"].as_u64(), Some(0), "{control}");
}

fn print(name: &str, report: &serde_json::Value) {
    let count = |field: &str| report[field].as_u64().unwrap_or_default();
    println!(
        "{name:34} {:>8} {:>10} {:>10} {:>9.4}",
        count("retrain_requests"),
        count("promotions"),
        count("rejections"),
        report["accuracy"].as_f64().unwrap_or(f64::NAN)
    );
}

/// Trains the first version on the first rows, and replays the rest with labels 100 rows late.
fn replay(rows: &[Row], on: &On) -> serde_json::Value {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, on.anew()).unwrap();
    let text = |rows: &[Row]| {
        let lines: Vec<_> = rows.iter().map(|row| row.line.as_str()).collect();
        format!("x1,x2,x3,class\n{}\n", lines.join("\n"))
    };
    place.write("first.csv", &text(&rows[..FIRST])).unwrap();
    place.write("rest.csv", &text(&rows[FIRST..])).unwrap();
    place.run(&["reference", "--model", "sea", "--from-file", "first.csv", "--label", "class"]).unwrap();
    let replay = ["replay", "rest.csv", "--model", "sea", "--label", "class", "--label-delay-rows", "100"];
    let options = ["--start", "2020-01-02T00:00:00Z", "--interval", "1s", "--json"];
    let output = place.run(&[&replay[..], &options[..]].concat()).unwrap();
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

/// Accuracy after the first rows, retrained at each `(when, from)` on the 500 or 1,000 rows from there.
fn baseline(rows: &[Row], retrainings: &[(usize, usize)]) -> f64 {
    let mut scorer = learn(&rows[..FIRST]);
    let mut correct = 0;
    let mut at = FIRST;
    let ends = retrainings.iter().map(|(when, from)| (*when, Some(*from))).chain([(rows.len(), None)]);
    for (end, from) in ends {
        let answers = scorer.score(&batch(&rows[at..end])).unwrap();
        let predictions = answers.column_by_name("prediction").unwrap();
        let predictions = predictions.as_any().downcast_ref::<StringArray>().unwrap();
        correct += rows[at..end].iter().zip(predictions).filter(|(row, said)| *said == Some(&row.class)).count();
        at = end;
        if let Some(from) = from {
            scorer = learn(&rows[from..end]);
        }
    }
    f64::from(u32::try_from(correct).unwrap()) / f64::from(u32::try_from(rows.len() - FIRST).unwrap())
}

fn learn(rows: &[Row]) -> LinearScorer {
    let schema = schema();
    let work = tempfile::tempdir().unwrap();
    let rows = batch(rows);
    let parameters = BTreeMap::new();
    let job = TrainingJob {
        model: "sea",
        version: "v",
        schema: &schema,
        rows: &rows,
        parameters: &parameters,
        sample: Default::default(),
        work_directory: work.path(),
    };
    let scorer_of = |trained: &TrainedModel| -> Result<Box<dyn Scorer>, ScoringError> {
        Ok(Box::new(LinearScorer::read(&trained.artifact, &schema)?.unwrap()))
    };
    let trained = train(&BuiltinTrainer, &scorer_of, &job, &Default::default()).unwrap();
    LinearScorer::read(&trained.artifact, &schema).unwrap().unwrap()
}

fn schema() -> ModelSchema {
    let features = ["x1", "x2", "x3"].map(|name| (name.to_owned(), ColumnKind::Numeric));
    ModelSchema::new(features, Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let feature = |place: usize| -> arrow::array::ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.x[place])))
    };
    let labels: arrow::array::ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.class)));
    RecordBatch::try_from_iter([("x1", feature(0)), ("x2", feature(1)), ("x3", feature(2)), ("label", labels)]).unwrap()
}

fn read(file: &std::path::Path) -> Vec<Row> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        let x = [0, 1, 2].map(|place: usize| cells[place].parse().unwrap());
        Row { x, class: cells[3].to_owned(), line: line.to_owned() }
    };
    text.lines().skip(1).map(row).collect()
}
