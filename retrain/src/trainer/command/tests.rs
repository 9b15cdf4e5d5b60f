//! The command trainer with programs in shell, and with the example in Python where its packages are installed.

use super::*;
use crate::fixtures::{onnx_of, python};
use crate::lifecycle::ArtifactFormat;
use crate::process::ProcessError;
use crate::scorer::command::CommandScorer;
use crate::scorer::{ScoredVersion, Scorer, ScoringError};
use crate::trainer::{SamplePolicy, ScorerOf, train};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use detectors::schema::{ColumnKind, Task};
use std::sync::Arc;
use std::time::Duration;

fn trainer(program: &str, arguments: &[&str]) -> CommandTrainer {
    CommandTrainer {
        command: CommandSpec {
            program: program.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: BTreeMap::new(),
            working_directory: None,
            time_limit: Duration::from_secs(300),
            output_lines_kept: 20,
            most_result_bytes: 64 << 20,
        },
    }
}

fn shell(script: &str) -> CommandTrainer {
    trainer("/bin/sh", &["-c", script])
}

struct Case {
    schema: ModelSchema,
    rows: RecordBatch,
    parameters: BTreeMap<String, String>,
}

impl Case {
    fn train(&self, trainer: &CommandTrainer) -> Result<TrainedModel, TrainingError> {
        self.train_for(trainer, &onnx_of(&self.schema))
    }

    fn train_for(&self, trainer: &CommandTrainer, scorer_of: ScorerOf<'_>) -> Result<TrainedModel, TrainingError> {
        let directory = tempfile::tempdir().unwrap();
        let job = TrainingJob {
            model: "admission",
            version: "v2",
            schema: &self.schema,
            rows: &self.rows,
            parameters: &self.parameters,
            sample: SamplePolicy::default(),
            work_directory: directory.path(),
        };
        train(trainer, scorer_of, &job, &CancellationToken::new())
    }
}

/// Rows with nulls, two numbers and, where the estimator takes them, a category.
fn case(task: Task, estimator: &str) -> Case {
    let rows = 400;
    let x: Vec<Option<f64>> = (0..rows).map(|row| (row % 19 != 0).then(|| f64::from(row * 37 % 101))).collect();
    let y: Vec<Option<f64>> = (0..rows).map(|row| Some(f64::from(row * 53 % 97) / 7.0)).collect();
    let wards = (0..rows).map(|row| Some(["east", "west", "north"][(row % 3) as usize]));
    let level = |row: usize| x[row].unwrap_or(50.0) + 3.0 * y[row].unwrap_or(0.0) + (row % 3) as f64 * 10.0;
    let label: ArrayRef = match task.classes().as_slice() {
        [] => Arc::new((0..rows as usize).map(|row| Some(level(row))).collect::<Float64Array>()),
        classes => {
            let class = |row: usize| classes.get((level(row) as usize / 60).min(classes.len() - 1)).copied();
            Arc::new((0..rows as usize).map(class).collect::<StringArray>())
        }
    };
    let mut features = vec![("x".to_owned(), ColumnKind::Numeric), ("y".to_owned(), ColumnKind::Numeric)];
    let mut columns = vec![
        ("x", Arc::new(Float64Array::from(x.clone())) as ArrayRef, true),
        ("y", Arc::new(Float64Array::from(y.clone())) as ArrayRef, true),
        ("label", label, true),
    ];
    if !matches!(estimator, "own" | "logistic" | "linear") {
        features.push(("ward".to_owned(), ColumnKind::Categorical));
        columns.push(("ward", Arc::new(wards.collect::<StringArray>()) as ArrayRef, true));
    }
    Case {
        schema: ModelSchema::new(features, task),
        rows: RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        parameters: BTreeMap::from([("estimator".to_owned(), estimator.to_owned())]),
    }
}

fn binary() -> Task {
    Task::Binary { positive: "bed".to_owned(), negative: "home".to_owned() }
}

fn multiclass() -> Task {
    Task::Multiclass { classes: ["watch", "home", "bed"].map(str::to_owned).to_vec() }
}

#[test]
fn a_program_finds_its_job_and_its_result_is_taken() {
    let script = r#"
        grep -q '"version": "v2"' "$0" && grep -q '"row_count": 400' "$DRIFTLINE_JOB" && test -s training_rows.parquet
        printf 'weights' > artifact
        printf '{"artifact_format": "opaque", "metrics": {"auc": 0.75}, "parameters": {"depth": "3"}}' > result.json
    "#;
    let trained = case(binary(), "own").train(&shell(script)).unwrap();
    assert_eq!(trained.artifact.as_ref(), b"weights");
    assert_eq!((trained.format, trained.metrics["auc"]), (ArtifactFormat::Opaque, 0.75));
    let used = trained.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    assert_eq!(used, ["depth=3", "estimator=own"]);
}

#[test]
fn what_a_program_leaves_undone_is_named() {
    let result = |text: &str| format!("printf 'x' > artifact; printf '{text}' > result.json");
    let cases = [
        ("true".to_owned(), "result.json cannot be used: it cannot be read"),
        ("printf '{\"artifact_format\": \"opaque\"}' > result.json".to_owned(), "artifact cannot be used"),
        (result("{}"), "missing field `artifact_format`"),
        (result("{\"artifact_format\": \"opaque\", \"metrix\": {}}"), "unknown field `metrix`"),
        (result("{\"artifact_format\": \"onnx\"}"), "no sample of its own answers"),
        (result("{\"artifact_format\": \"onnx\", \"sample\": \"none.parquet\"}"), "none.parquet cannot be opened"),
    ];
    for (script, expected) in cases {
        let message = case(binary(), "own").train(&shell(&script)).unwrap_err().to_string();
        assert!(message.contains(expected), "{script}: {message}");
    }
}

/// What a program may leave in place of its artifact or its result, and what is said of it.
#[test]
fn only_plain_files_of_a_sensible_size_are_a_result() {
    let cases = [
        ("mkfifo artifact", "artifact cannot be used: it is a named pipe"),
        ("ln -s /dev/zero artifact", "artifact cannot be used: it is a symbolic link"),
        ("ln -s job.json artifact", "artifact cannot be used: it is a symbolic link"),
        ("mkdir artifact", "artifact cannot be used: it is a directory"),
        ("truncate -s 4G artifact", "artifact cannot be used: it has 4294967296 bytes, more than the 67108864"),
        ("rm result.json; mkfifo result.json", "result.json cannot be used: it is a named pipe"),
        ("truncate -s 4G result.json", "result.json cannot be used: it has 4294967296 bytes, more than the 1048576"),
        ("printf x > artifact; mkfifo sample.parquet", "sample.parquet cannot be used"),
        ("printf x > artifact; ln -sf /dev/zero sample.parquet", "sample.parquet cannot be used"),
    ];
    for (script, expected) in cases {
        let result = r#"{"artifact_format": "onnx", "sample": "sample.parquet"}"#;
        let trainer = shell(&format!("printf '{result}' > result.json; {script}"));
        let error = case(binary(), "own").train(&trainer).unwrap_err();
        assert!(error.to_string().contains(expected), "{script}: {error}");
        assert!(error.is_of_the_result(), "another attempt would leave the same: {script}");
    }
}

#[test]
fn a_sample_lies_in_the_folder_of_its_job() {
    let elsewhere = tempfile::tempdir().unwrap();
    let sample = elsewhere.path().join("sample.parquet");
    rows_file::write(&sample, &answers::from_numbers([1.0]).unwrap()).unwrap();
    let result = format!(r#"{{"artifact_format": "onnx", "sample": "{}"}}"#, sample.display());
    let trainer = shell(&format!("printf x > artifact; printf '{result}' > result.json"));
    let message = streams::error_chain::sentence(&case(binary(), "own").train(&trainer).unwrap_err());
    assert!(message.contains("it lies outside of the job's folder"), "{message}");
}

/// The graph is none that the engine could load.
#[test]
fn whoever_will_answer_for_an_artifact_is_held_against_its_sample() {
    let case = case(Task::Regression, "own");
    let prepared = tempfile::tempdir().unwrap();
    let (sample, others) = (prepared.path().join("sample.parquet"), prepared.path().join("others.parquet"));
    let answers = answers::from_numbers([3.0, 4.0]).unwrap();
    let columns = case.schema.features().map(|feature| feature.name.clone()).collect::<Vec<_>>();
    let rows = case.rows.slice(0, 2);
    let features = columns.iter().map(|name| (name.clone(), rows.column_by_name(name).unwrap().clone(), true));
    let with_answers = features.chain([("prediction".to_owned(), answers.column(0).clone(), true)]);
    rows_file::write(&sample, &RecordBatch::try_from_iter_with_nullable(with_answers).unwrap()).unwrap();
    rows_file::write(&others, &answers::from_numbers([3.0, 5.0]).unwrap()).unwrap();
    let result = r#"{"artifact_format": "onnx", "sample": "sample.parquet"}"#;
    let copied =
        format!("cp {} sample.parquet; printf x > artifact; printf '{result}' > result.json", sample.display());
    let train_with = |answers: &Path| {
        let command = shell(&format!("cp {} answers.parquet", answers.display())).command;
        let schema = case.schema.clone();
        let scorer_of = |trained: &TrainedModel| -> Result<Box<dyn Scorer>, ScoringError> {
            let of = ScoredVersion { model: "m".to_owned(), version: "v2".to_owned(), schema: schema.clone() };
            Ok(Box::new(CommandScorer::new(command.clone(), of, &trained.artifact, CancellationToken::new())?))
        };
        case.train_for(&shell(&copied), &scorer_of)
    };
    assert_eq!(train_with(&sample).unwrap().artifact.as_ref(), b"x");
    let error = train_with(&others).unwrap_err();
    assert!(streams::error_chain::sentence(&error).contains("where prediction differs by"), "{error:?}");
}

#[test]
fn a_failed_program_is_quoted() {
    let error = case(binary(), "own").train(&shell("echo 'out of memory' >&2; exit 9")).unwrap_err();
    assert!(matches!(error, TrainingError::Job(JobError::Process(ProcessError::Failed { .. }))));
    assert!(error.to_string().ends_with("exited with code 9; its last lines were:\nout of memory"), "{error}");
}

/// An example trainer, where an interpreter with its packages is named.
fn example(script: &str) -> Option<CommandTrainer> {
    let script = format!("{}/../tests/trainers/{script}", env!("CARGO_MANIFEST_DIR"));
    Some(trainer(&python()?, &[&script]))
}

#[test]
fn the_graphs_of_each_example_reproduce_its_librarys_answers() {
    let cases = [
        ("sklearn_trainer.py", "logistic", binary()),
        ("sklearn_trainer.py", "forest", multiclass()),
        ("sklearn_trainer.py", "boosting", binary()),
        ("sklearn_trainer.py", "boosting", multiclass()),
        ("sklearn_trainer.py", "linear", Task::Regression),
        ("sklearn_trainer.py", "forest", Task::Regression),
        ("pipeline_trainer.py", "its own", binary()),
        ("pipeline_trainer.py", "its own", Task::Regression),
        ("lightgbm_trainer.py", "its own", binary()),
        ("lightgbm_trainer.py", "its own", multiclass()),
        ("lightgbm_trainer.py", "its own", Task::Regression),
        ("xgboost_trainer.py", "its own", binary()),
        ("xgboost_trainer.py", "its own", multiclass()),
        ("xgboost_trainer.py", "its own", Task::Regression),
    ];
    for (script, estimator, task) in cases {
        let Some(example) = example(script) else { return };
        let mut case = case(task, estimator);
        case.parameters.insert("trees".to_owned(), "20".to_owned());
        // Training includes the check that the graph answers as the estimator did, nulls and categories included.
        let trained = case.train(&example);
        let trained = trained.unwrap_or_else(|error| panic!("{script} {estimator} {:?}: {error:?}", case.schema.task));
        assert_eq!(trained.format, ArtifactFormat::Onnx);
        let record = trained.record.unwrap();
        assert!(record.peak_memory_bytes > Some(10 << 20) && record.processor_seconds > Some(0.1), "{record:?}");
        assert!(record.environment.iter().any(|package| package.starts_with("onnx==")), "{record:?}");
        if script == "lightgbm_trainer.py" {
            assert_eq!((record.curve.len(), record.curve[19]["step"]), (20, 19.0));
        }
        assert_eq!(trained.sample.unwrap().rows.num_rows(), 200);
    }
}

#[test]
fn the_example_says_what_it_cannot_do() {
    let Some(example) = example("sklearn_trainer.py") else { return };
    let mut case = case(binary(), "forest");
    case.parameters.insert("estimator".to_owned(), "logistic".to_owned());
    let message = case.train(&example).unwrap_err().to_string();
    assert!(message.ends_with("takes numeric features only; set the parameter estimator to forest"), "{message}");
}
