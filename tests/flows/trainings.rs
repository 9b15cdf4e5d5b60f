//! First versions by programs: each training has a folder of its own, and nothing of it is left.

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use driftline_tests::{On, Workplace};
use retrain::rows_file;
use retrain::trainer::builtin::BuiltinTrainer;
use retrain::trainer::{Trainer, TrainingJob};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// The program of the second model ends well and writes nothing.
const CONFIGURATION: &str = "
version: 1
log: LOG
models:
  first:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {age: numeric}
    windows: {size: 1d}
    labels: {mature: {after: 12h}, horizon: 30d}
    trainer: {command: {program: sh, arguments: [train.sh]}}
    serving: champion
  second:
    task: {type: binary, positive: \"yes\", negative: \"no\"}
    features: {age: numeric}
    windows: {size: 1d}
    labels: {mature: {after: 12h}, horizon: 30d}
    trainer: {command: {program: \"true\"}}
    serving: champion
";

const TRAIN: &str = r#"
folder=$(dirname "$1")
test "$(ls "$folder")" = "$(printf 'job.json\ntraining_rows.parquet')" || { ls "$folder"; exit 1; }
cp model.onnx "$folder/artifact"
cp sample.parquet "$folder/sample.parquet"
echo '{"artifact_format": "onnx", "sample": "sample.parquet"}' > "$folder/result.json"
"#;

#[test]
fn a_program_that_writes_nothing_is_not_credited_with_what_another_left() {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, On::Embedded).unwrap();
    prepare(&place);
    let reference = |model: &'static str| ["reference", "--model", model, "--from-file", "rows.csv", "--label", "y"];
    place.run(&reference("first")).unwrap();
    let output = place.command(&reference("second")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("the trainer's result.json cannot be used"), "{said}");
    let left: Vec<_> = std::fs::read_dir(place.path().join("driftline-data/trainings")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Rows, and a model of them with a sample of its answers, which the program hands over.
fn prepare(place: &Workplace) {
    let label = |age: i32| if age > 40 || age % 7 == 0 { "yes" } else { "no" };
    let csv = (20..70).fold("age,y\n".to_owned(), |mut rows, age| {
        writeln!(rows, "{age},{}", label(age)).unwrap();
        rows
    });
    place.write("rows.csv", &csv).unwrap();
    place.write("train.sh", TRAIN).unwrap();
    let ages: ArrayRef = Arc::new(Float64Array::from_iter_values((20..70).map(f64::from)));
    let labels: ArrayRef = Arc::new(StringArray::from_iter_values((20..70).map(label)));
    let rows = RecordBatch::try_from_iter([("age", ages), ("label", labels)]).unwrap();
    let task = Task::Binary { positive: "yes".to_owned(), negative: "no".to_owned() };
    let job = TrainingJob {
        model: "first",
        version: "v1",
        schema: &ModelSchema::new([("age".to_owned(), ColumnKind::Numeric)], task),
        rows: &rows,
        parameters: &BTreeMap::new(),
        sample: Default::default(),
        work_directory: Path::new("."),
    };
    let trained = BuiltinTrainer.train(&job, &Default::default()).unwrap();
    std::fs::write(place.path().join("model.onnx"), &trained.artifact).unwrap();
    let sample = trained.sample.unwrap();
    let columns = [&sample.rows, &sample.answers].into_iter().flat_map(|batch| {
        let schema = batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
        names.into_iter().zip(batch.columns().to_vec()).map(|(name, values)| (name, values, true))
    });
    let sample = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    rows_file::write(&place.path().join("sample.parquet"), &sample).unwrap();
}
