//! The builtin trainer as its callers see it: rows in, an artifact that answers as the trainer did.

use super::*;
use crate::fixtures::{engine, onnx_of};
use crate::recalibration::Correction;
use crate::scorer::Scorer;
use crate::scorer::linear::LinearScorer;
use crate::scorer::onnx::{OnnxScorer, append_correction};
use crate::trainer::{SamplePolicy, train, verify};
use arrow::array::{ArrayRef, Float64Array, StringArray};
use detectors::schema::ColumnKind;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Instant;

const WARDS: [&str; 3] = ["east", "north", "west"];

struct Patients {
    ages: Vec<Option<f64>>,
    wards: Vec<Option<&'static str>>,
}

/// Seeded rows with nulls in both columns.
fn patients(rows: usize) -> Patients {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let ages = (0..rows).map(|row| (row % 17 != 0).then(|| random.random_range(18.0..95.0))).collect();
    let wards = (0..rows).map(|row| (row % 13 != 0).then(|| WARDS[random.random_range(0..3)])).collect();
    Patients { ages, wards }
}

impl Patients {
    fn rows(&self, label: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([
            ("age", Arc::new(Float64Array::from(self.ages.clone())) as ArrayRef, true),
            ("ward", Arc::new(StringArray::from(self.wards.clone())) as ArrayRef, true),
            ("label", label, true),
        ])
        .unwrap()
    }

    fn severity(&self) -> impl Iterator<Item = f64> {
        self.ages
            .iter()
            .zip(&self.wards)
            .map(|(age, ward)| age.unwrap_or(55.0) / 20.0 + if *ward == Some("west") { 1.5 } else { 0.0 })
    }

    fn classified(&self, classify: impl Fn(f64) -> &'static str) -> RecordBatch {
        self.rows(Arc::new(self.severity().map(|severity| Some(classify(severity))).collect::<StringArray>()))
    }
}

fn features() -> [(String, ColumnKind); 2] {
    [("age".to_owned(), ColumnKind::Numeric), ("ward".to_owned(), ColumnKind::Categorical)]
}

fn binary() -> ModelSchema {
    ModelSchema::new(features(), Task::Binary { positive: "bed".to_owned(), negative: "home".to_owned() })
}

fn by_class(severity: f64) -> &'static str {
    if severity > 3.3 { "bed" } else { "home" }
}

fn own_scorer(trained: &TrainedModel, schema: &ModelSchema) -> LinearScorer {
    LinearScorer::read(&trained.artifact, schema).unwrap().unwrap()
}

fn train_on(schema: &ModelSchema, rows: &RecordBatch) -> Result<TrainedModel, TrainingError> {
    let parameters = BTreeMap::new();
    let job = TrainingJob {
        model: "admission",
        version: "v1",
        schema,
        rows,
        parameters: &parameters,
        sample: Default::default(),
        work_directory: std::path::Path::new("."),
    };
    train(&BuiltinTrainer, &onnx_of(schema), &job, &CancellationToken::new())
}

#[test]
fn the_graph_of_each_task_reproduces_the_trainers_answers() {
    let patients = patients(400);
    let three = |severity: f64| {
        if severity > 4.0 {
            "bed"
        } else if severity > 2.0 {
            "watch"
        } else {
            "home"
        }
    };
    let classes = ["watch", "home", "bed"].map(str::to_owned).to_vec();
    let numbers: Float64Array = patients.severity().map(|severity| Some(1000.0 * severity)).collect();
    let cases = [
        (binary(), patients.classified(by_class), "training_accuracy"),
        (ModelSchema::new(features(), Task::Multiclass { classes }), patients.classified(three), "training_accuracy"),
        (ModelSchema::new(features(), Task::Regression), patients.rows(Arc::new(numbers)), "training_r2"),
    ];
    for (schema, rows, metric) in cases {
        let trained = train_on(&schema, &rows).unwrap();
        assert!(trained.metrics[metric] > 0.8, "{:?}: {:?}", schema.task, trained.metrics);
        assert_eq!(trained.sample.unwrap().rows.num_rows(), 200);
    }
}

/// What is published is the graph: servers run it, and here its numbers are evaluated.
#[test]
fn onnx_runtime_answers_as_the_numbers_do_recalibrated_or_not() {
    let Some(engine) = engine() else { return };
    let patients = patients(400);
    let numbers: Float64Array = patients.severity().map(Some).collect();
    let by_classes = |biases: &[f64]| Correction::Classes { temperature: -0.7, biases: biases.to_vec() };
    let three = |severity: f64| ["home", "watch", "bed"][(severity as usize / 2).min(2)];
    let classes = ["watch", "home", "bed"].map(str::to_owned).to_vec();
    let cases = [
        (binary(), patients.classified(by_class), by_classes(&[0.0, 0.4])),
        (
            ModelSchema::new(features(), Task::Multiclass { classes }),
            patients.classified(three),
            by_classes(&[0.0, 1.0, -0.3]),
        ),
        (
            ModelSchema::new(features(), Task::Regression),
            patients.rows(Arc::new(numbers)),
            Correction::Number { slope: 1.5, offset: -0.2 },
        ),
    ];
    for (schema, rows, correction) in cases {
        let trained = train_on(&schema, &rows).unwrap();
        let once = append_correction(&trained.artifact, &schema, &correction).unwrap();
        let twice = append_correction(&once, &schema, &correction).unwrap();
        for artifact in [trained.artifact, once, twice] {
            let own = LinearScorer::read(&artifact, &schema).unwrap().unwrap().score(&rows).unwrap();
            let sample = Sample { rows: rows.clone(), answers: own };
            let mut scorer = OnnxScorer::load(engine, &artifact, &schema).unwrap();
            verify(&mut scorer, &schema.task, &sample, SamplePolicy { tolerance: 2e-6, share_beyond: 0.0 }).unwrap();
        }
    }
}

#[test]
fn equal_rows_give_equal_bytes() {
    let rows = patients(300).classified(by_class);
    let [first, second] = [(); 2].map(|()| train_on(&binary(), &rows).unwrap().artifact);
    assert_eq!(first, second);
}

#[test]
fn the_score_belongs_to_the_positive_class_whichever_is_more_frequent() {
    let patients = patients(300);
    let frequent: fn(f64) -> &'static str = |severity| if severity > 1.5 { "bed" } else { "home" };
    for classify in [by_class, frequent] {
        let trained = train_on(&binary(), &patients.classified(classify)).unwrap();
        let rows = RecordBatch::try_from_iter([
            ("age", Arc::new(Float64Array::from(vec![20.0, 95.0])) as ArrayRef),
            ("ward", Arc::new(StringArray::from(vec!["east", "west"])) as ArrayRef),
        ])
        .unwrap();
        let answers = own_scorer(&trained, &binary()).score(&rows).unwrap();
        let scores = answers.column(1).as_primitive::<Float64Type>();
        assert!(scores.value(0) < scores.value(1), "{answers:?}");
        assert_eq!(answers.column(0).as_string::<i32>().value(1), "bed");
    }
}

#[test]
fn null_and_unknown_categories_are_answered_too() {
    let trained = train_on(&binary(), &patients(300).classified(by_class)).unwrap();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("age", Arc::new(Float64Array::from(vec![None, Some(60.0)])) as ArrayRef, true),
        ("ward", Arc::new(StringArray::from(vec![None, Some("south")])) as ArrayRef, true),
    ])
    .unwrap();
    let answers = own_scorer(&trained, &binary()).score(&rows).unwrap();
    assert_eq!(answers.column(0).null_count() + answers.column(1).null_count(), 0);
}

#[test]
fn rows_that_cannot_be_learned_from_are_refused_with_the_reason() {
    let check = |rows: RecordBatch, expected: &str| {
        let message = train_on(&binary(), &rows).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    };
    check(patients(19).classified(by_class), "19 training rows are too few");
    check(patients(50).classified(|_| "home"), "all 50 training rows have the label home");
    check(patients(50).classified(|_| "ICU"), "training row 0 has the label ICU, which is none of");
    let unlabelled = StringArray::from(vec![None::<&str>; 50]);
    check(patients(50).rows(Arc::new(unlabelled)), "training row 0 has no finite label");
    let mut infinite = patients(50);
    infinite.ages[3] = Some(f64::NEG_INFINITY);
    check(infinite.classified(by_class), "feature age is infinite");
}

#[test]
fn an_artifact_that_answers_otherwise_is_rejected() {
    let rows = patients(300).classified(by_class);
    let trained = train_on(&binary(), &rows).unwrap();
    let other = train_on(&binary(), &rows.slice(0, 60)).unwrap();
    let mut scorer = own_scorer(&other, &binary());
    let error = verify(&mut scorer, &binary().task, &trained.sample.unwrap(), SamplePolicy::default()).unwrap_err();
    assert_eq!(error.to_string(), "the artifact was rejected");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("does not reproduce"));
}

#[test]
fn a_stopped_training_says_so() {
    let rows = patients(50).classified(by_class);
    let stop = CancellationToken::new();
    stop.cancel();
    let (schema, parameters) = (binary(), BTreeMap::new());
    let work_directory = std::path::Path::new(".");
    let job = TrainingJob {
        model: "m",
        version: "v1",
        schema: &schema,
        rows: &rows,
        parameters: &parameters,
        sample: Default::default(),
        work_directory,
    };
    assert!(matches!(BuiltinTrainer.train(&job, &stop), Err(TrainingError::Stopped)));
}

/// The rows of `sea_losing`, where the folder with the optional test data is there.
fn sea_losing() -> Option<RecordBatch> {
    let shared = std::env::var("DRIFTLINE_SHARED").unwrap_or_else(|_| "../../shared".to_owned());
    let path = std::path::Path::new(&shared).join("data/sea_losing/sea_losing.csv.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: {} is not there; set DRIFTLINE_SHARED to the test data", path.display());
        return None;
    };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let number = |place: usize| {
        Arc::new(rows.iter().map(|row| row[place].parse::<f64>().ok()).collect::<Float64Array>()) as ArrayRef
    };
    let labels = Arc::new(rows.iter().map(|row| Some(row[3])).collect::<StringArray>()) as ArrayRef;
    let columns = [("x1", number(0)), ("x2", number(1)), ("x3", number(2)), ("label", labels)];
    Some(RecordBatch::try_from_iter(columns).unwrap())
}

#[test]
fn trained_on_the_first_rows_of_sea_losing_it_is_as_good_as_scikit_learn() {
    let Some(rows) = sea_losing() else { return };
    let features = ["x1", "x2", "x3"].map(|name| (name.to_owned(), ColumnKind::Numeric));
    let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
    let schema = ModelSchema::new(features, task);
    let trained = train_on(&schema, &rows.slice(0, 2_000)).unwrap();
    let later = rows.slice(2_000, rows.num_rows() - 2_000);
    let answers = own_scorer(&trained, &schema).score(&later).unwrap();
    let labels = later.column(3).as_string::<i32>().iter();
    let right = labels.zip(answers.column(0).as_string::<i32>().iter()).filter(|(label, found)| label == found).count();
    let accuracy = right as f64 / later.num_rows() as f64;
    println!("sea_losing, trained on 2,000 rows, accuracy over the rest: {accuracy:.4}");
    assert!((accuracy - 0.844).abs() < 0.002, "{accuracy}");
}

#[test]
fn scoring_a_small_batch_costs_far_less_than_a_millisecond() {
    let rows = patients(300).classified(by_class);
    let trained = train_on(&binary(), &rows).unwrap();
    let mut scorer = own_scorer(&trained, &binary());
    let hundred = rows.slice(0, 100);
    let fastest = (0..200).map(|_| {
        let started = Instant::now();
        scorer.score(&hundred).unwrap();
        started.elapsed()
    });
    let fastest = fastest.min().unwrap();
    println!("100 rows scored in {fastest:?}");
    assert!(fastest.as_micros() < 1_000, "{fastest:?}");
}

/// Answers the sample's encoded rows with ONNX Runtime, which is what Triton serves with.
const ONNX_RUNTIME: &str = "
import json, sys
import numpy, onnxruntime
matrix = numpy.array(json.load(open('matrix.json')), dtype=numpy.float32)
matrix[matrix == 1e30] = numpy.nan
session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])
print(json.dumps(session.run(['probabilities'], {'features': matrix})[0][:, 1].tolist()))
";

#[test]
fn onnx_runtime_answers_as_the_trainer_did() {
    let Ok(python) = std::env::var("DRIFTLINE_TEST_PYTHON") else {
        println!("skipped: DRIFTLINE_TEST_PYTHON names no interpreter with tests/trainers/requirements.txt");
        return;
    };
    let trained = train_on(&binary(), &patients(300).classified(by_class)).unwrap();
    let sample = trained.sample.unwrap();
    let tables = [("ward".to_owned(), WARDS.map(str::to_owned).to_vec())].into();
    let matrix = crate::encoding::InputEncoding::new(&binary(), &tables).unwrap().encode(&sample.rows).unwrap();
    // JSON has no NaN.
    let rows: Vec<Vec<f32>> = matrix
        .rows()
        .into_iter()
        .map(|row| row.mapv(|value| if value.is_nan() { 1e30 } else { value }).to_vec())
        .collect();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("matrix.json"), serde_json::to_vec(&rows).unwrap()).unwrap();
    std::fs::write(directory.path().join("model.onnx"), &trained.artifact).unwrap();
    let mut command = std::process::Command::new(python);
    let output = command.args(["-c", ONNX_RUNTIME]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<f64> = serde_json::from_slice(&output.stdout).unwrap();
    let expected = sample.answers.column(1).as_primitive::<Float64Type>();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected.values()) {
        assert!((found - expected).abs() < answers::TOLERANCE, "{found} {expected}");
    }
}
