//! Models from elsewhere: trained and answered by what people use, and artifacts that want to do harm.

mod families;
mod hostile;

use driftline_tests::{On, Workplace};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The Python with `tests/trainers/requirements.txt`; `None` (told) where it is not at hand, which fails where it is required.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("DRIFTLINE_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        let required = std::env::var("DRIFTLINE_REQUIRE_PYTHON").is_ok_and(|value| value == "1");
        assert!(!required, "DRIFTLINE_TEST_PYTHON must name an interpreter with tests/trainers/requirements.txt");
        eprintln!("SKIPPED: DRIFTLINE_TEST_PYTHON names no interpreter with tests/trainers/requirements.txt");
    }
    python
}

fn trainers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("trainers")
}

/// Rows with nulls and a category, of which the label can be told.
fn rows(count: usize) -> String {
    (0..count).fold("id,age,ward,y\n".to_owned(), |mut rows, row| {
        let age = if row % 17 == 0 { String::new() } else { (20 + row * 37 % 60).to_string() };
        let ward = ["east", "west", "north"][row % 3];
        let level = row * 37 % 60 + if ward == "west" { 30 } else { 0 };
        let label = if level > 40 { "yes" } else { "no" };
        writeln!(rows, "{row},{age},{ward},{label}").unwrap();
        rows
    })
}

fn configuration(trainer: &str, more: &str) -> String {
    format!(
        "
version: 1
log: LOG
partitions: 1
onnxruntime: {{memory: 2GiB, time_limit: 20s}}
models:
  loan:
    task: {{type: binary, positive: \"yes\", negative: \"no\"}}
    features: {{age: numeric, ward: categorical}}
    windows: {{size: 1h}}
    labels: {{mature: {{after: 1h}}, horizon: 10d}}
    retrain: {{min_labelled_rows: 100000}}
    trainer: {trainer}
    serving: champion
{more}"
    )
}

const REFERENCE: [&str; 9] = ["reference", "--model", "loan", "--from-file", "rows.csv", "--label", "y", "--id", "id"];

/// ONNX Runtime is found in the Python that trains, answers in a process of its own, and is held against the trainer.
#[test]
fn a_boosting_library_trains_and_its_model_answers() {
    let Some(python) = python() else { return };
    for script in ["lightgbm_trainer.py", "pipeline_trainer.py"] {
        let trainer = format!(
            "{{command: {{program: {}, arguments: [{}], time_limit: 5m}}}}",
            python.display(),
            trainers().join(script).display()
        );
        let place = Workplace::new(crate::BINARY, &configuration(&trainer, ""), On::Embedded).unwrap();
        place.write("rows.csv", &rows(600)).unwrap();
        place.run(&REFERENCE).unwrap();
        let replay = ["replay", "rows.csv", "--model", "loan", "--label", "y", "--id", "id", "--json"];
        let output = place.run(&replay).unwrap();
        let report: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
        assert!(report["accuracy"].as_f64().unwrap() > 0.9, "{script}: {report}");
    }
}

/// What answers is the program, for an artifact that no engine here could load.
#[test]
fn a_scorer_command_that_stays_up_answers_for_any_artifact() {
    let Some(python) = python() else { return };
    let trainer = format!("{{command: {{program: {}, arguments: [train.py], time_limit: 1m}}}}", python.display());
    let scorer = format!(
        "    scorer: {{standing_command: {{program: {}, arguments: [score.py], time_limit: 1m}}}}\n",
        python.display()
    );
    let place = Workplace::new(crate::BINARY, &configuration(&trainer, &scorer), On::Embedded).unwrap();
    place.write("rows.csv", &rows(300)).unwrap();
    place.write("train.py", include_str!("train.py")).unwrap();
    place.write("score.py", include_str!("score.py")).unwrap();
    place.run(&REFERENCE).unwrap();
    let replay = ["replay", "rows.csv", "--model", "loan", "--label", "y", "--id", "id", "--json"];
    let output = place.run(&replay).unwrap();
    let report: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert!(report["accuracy"].as_f64().unwrap() > 0.6, "{report}");
    // One for each model that was made (of all rows, and of each half) and asked, and one that served the replay.
    let starts = std::fs::read_to_string(place.path().join("starts")).unwrap().lines().count();
    assert!((2..=8).contains(&starts), "{starts}");
    // A scorer that answers otherwise than the trainer is refused, whatever the artifact's format.
    let other = Workplace::new(crate::BINARY, &configuration(&trainer, &scorer), On::Embedded).unwrap();
    other.write("rows.csv", &rows(300)).unwrap();
    other.write("train.py", include_str!("train.py")).unwrap();
    other.write("score.py", &include_str!("score.py").replace("0.9", "0.8")).unwrap();
    let outcome = other.command(&REFERENCE).output().unwrap();
    let said = String::from_utf8(outcome.stderr).unwrap();
    assert!(!outcome.status.success() && said.contains("does not reproduce its trainer's own answers"), "{said}");
}
