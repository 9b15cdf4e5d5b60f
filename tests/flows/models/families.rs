//! Each family that people train on tables: it loads, and answers as the library does, nulls included; and how fast, beside
//! ONNX Runtime in Python. Models and answers come from `tests/trainers/families.py`. It takes minutes: with `./tests/run --long`.

use super::{python, trainers};
use arrow::array::RecordBatch;
use detectors::schema::{ColumnKind, ModelSchema, Task};
use retrain::process::CommandSpec;
use retrain::rows_file;
use retrain::scorer::onnx::{Library, OnnxLimits, OnnxRuntime};
use retrain::scorer::{ScoredVersion, Scorer};
use retrain::trainer::{Sample, SamplePolicy, verify};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const BATCH: usize = 1_000;
const MOST_BYTES: u64 = 1 << 30;
/// What float32 makes of a probability, or of a number as a share of it.
const AGREES: SamplePolicy = SamplePolicy { tolerance: 1e-6, share_beyond: 0.0 };
/// Answers that float32 carries further: the library has its steps at float64.
const FURTHER: SamplePolicy = SamplePolicy { tolerance: 1e-5, share_beyond: 0.01 };
const MEASURED: Duration = Duration::from_secs(1);

/// What the script says of a model.
#[derive(Deserialize)]
struct Model {
    features: Vec<(String, ColumnKind)>,
    task: Task,
}

fn families(python: &Path) -> Vec<PathBuf> {
    let made = std::env::var_os("DRIFTLINE_FAMILIES").map(PathBuf::from).unwrap_or_else(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let script = trainers().join("families.py");
        let status = Command::new(python).arg(script).arg("make").arg(&folder).status().unwrap();
        assert!(status.success());
        folder
    });
    let mut folders: Vec<_> = std::fs::read_dir(made).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn every_family_answers_as_its_library_does() {
    if std::env::var_os("DRIFTLINE_LONG").is_none() {
        return eprintln!("SKIPPED: DRIFTLINE_LONG is not set");
    }
    let Some(python) = python() else { return };
    let trainer = CommandSpec { program: python.clone(), ..CommandSpec::default() };
    let library = Library { named: None, trainer: Some(trainer) };
    let engine = OnnxRuntime::new(crate::BINARY.into(), library, OnnxLimits::default());
    let folders = families(&python);
    assert!(folders.len() >= 17, "{folders:?}");
    println!("{:34} {:>7} {:>12} {:>12} {:>6}", "model", "agrees", "rows/s", "in Python", "ratio");
    let mut refused = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let model: Model = serde_json::from_slice(&std::fs::read(folder.join("model.json")).unwrap()).unwrap();
        let schema = ModelSchema::new(model.features, model.task);
        let of = ScoredVersion { model: name.clone(), version: "v1".to_owned(), schema: schema.clone() };
        let artifact = std::fs::read(folder.join("artifact")).unwrap();
        let mut scorer = match engine.scorer(of, &artifact, &Default::default()) {
            Ok(scorer) => scorer,
            Err(error) => {
                refused.push(format!("{name}: {error}"));
                continue;
            }
        };
        let sample = rows_file::read(&folder, &folder.join("sample.parquet"), MOST_BYTES).unwrap();
        let sample = Sample { rows: sample.clone(), answers: sample };
        let mut of_python = time_in_python(&python, &folder);
        let rows = rows_file::read(&folder, &folder.join("rows.parquet"), MOST_BYTES).unwrap();
        let ours = time(scorer.as_mut(), &rows);
        of_python = of_python.max(time_in_python(&python, &folder));
        let agrees = verify(scorer.as_mut(), &schema.task, &sample, AGREES);
        let told = match (&agrees, verify(scorer.as_mut(), &schema.task, &sample, FURTHER)) {
            (Ok(()), _) => "1e-6",
            (Err(_), Ok(())) => "1e-5",
            (Err(error), Err(_)) => {
                refused.push(format!("{name}: {}", std::error::Error::source(error).unwrap()));
                "no"
            }
        };
        println!("{name:34} {told:>7} {ours:>12.0} {of_python:>12.0} {:>6.2}", ours / of_python);
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Rows a second of the fastest batch.
fn time(scorer: &mut dyn Scorer, rows: &RecordBatch) -> f64 {
    let batch = rows.slice(0, BATCH);
    let (began, mut fastest) = (Instant::now(), Duration::MAX);
    while began.elapsed() < MEASURED {
        let started = Instant::now();
        scorer.score(&batch).unwrap();
        fastest = fastest.min(started.elapsed());
    }
    BATCH as f64 / fastest.as_secs_f64()
}

fn time_in_python(python: &Path, folder: &Path) -> f64 {
    let script = trainers().join("families.py");
    let output = Command::new(python).arg(script).arg("time").arg(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(f64::NAN)
}
