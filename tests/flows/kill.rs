//! Killed at random moments and started again, a replay comes out as one that was left alone.

use driftline::demo::simulation::{Features, Patient, Phase, Simulation};
use driftline_tests::{Outcome, Workplace};
use rand::{Rng, SeedableRng};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SEED: u64 = 4;
const KILLS: u32 = 30;

const CONFIGURATION: &str = "
version: 1
log: {directory: driftline-data, durability: normal}
partitions: 2
max_disorder: 1m
archive: {roll_rows: 3000}
models:
  bed:
    task: {type: binary, positive: bed, negative: home}
    features:
      {age: numeric, triage_level: numeric, heart_rate: numeric, systolic_bp: numeric, temperature: numeric,
       oxygen_saturation: numeric, arrivals_last_hour: numeric, arrival_mode: categorical, complaint: categorical}
    segments: {arrival_mode: arrival_mode}
    windows: {size: 12h}
    step: 1h
    labels: {mature: {after: 9h}, horizon: 2d}
    retrain: {min_labelled_rows: 1000, cooldown: 1d, deadline: 21d}
    trainer: {builtin: {}}
    serving: champion
";

#[test]
fn kills_change_nothing_of_what_comes_out() {
    if std::env::var_os("DRIFTLINE_LONG").is_none() {
        eprintln!("SKIPPED: kills and restarts, part of ./tests/run --long");
        return;
    }
    let kills = KILLS;
    let left_alone = prepared();
    let started = Instant::now();
    left_alone.run(REPLAY).unwrap();
    let whole = started.elapsed();
    let expected = left_alone.outcome().unwrap();
    assert!(expected.verdicts.len() > 50, "the stream is too short to show anything");
    assert!(expected.models.len() > 3, "the stream must hold a training");
    let killed = prepared();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let mut done = 0;
    while done < kills {
        let moment = whole.mul_f64(random.random_range(0.02..1.2) / f64::from(kills)).max(Duration::from_millis(20));
        let mut process = killed.command(REPLAY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + moment;
        while Instant::now() < until && process.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        if process.try_wait().unwrap().is_some() {
            break;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        done += 1;
    }
    println!("killed {done} times");
    assert!(done > 0, "not once was it killed in time");
    let last = killed.command(REPLAY).output().unwrap();
    let said = String::from_utf8_lossy(&last.stderr);
    assert!(last.status.success() || said.contains("has been replayed whole"), "{said}");
    same(&expected, &killed.outcome().unwrap());
}

const REPLAY: &[&str] = &[
    "replay",
    "stream.csv",
    "--model",
    "bed",
    "--id",
    "id",
    "--time",
    "time",
    "--label",
    "needs",
    "--label-time",
    "known",
    "--json",
];

fn prepared() -> Workplace {
    let place = Workplace::new(crate::BINARY, CONFIGURATION).unwrap();
    let reference = Simulation::new(1).take(8_000);
    place.write("first.csv", &csv(reference)).unwrap();
    let later = Simulation::new(1).filter(|patient| patient.phase == Phase::ConceptChange).take(14_000);
    place.write("stream.csv", &csv(later)).unwrap();
    place
        .run(&[
            "reference",
            "--model",
            "bed",
            "--from-file",
            "first.csv",
            "--id",
            "id",
            "--time",
            "time",
            "--label",
            "needs",
        ])
        .unwrap();
    place
}

fn csv(patients: impl Iterator<Item = Patient>) -> String {
    let mut text = Vec::new();
    writeln!(text, "id,time,{},{},needs,known", Features::NUMERIC.join(","), Features::CATEGORICAL.join(",")).unwrap();
    for patient in patients {
        let numbers = patient.features.numbers().map(|number| number.to_string()).join(",");
        let categories = patient.features.categories().join(",");
        let Patient { id, time_ms, label, label_time_ms, .. } = patient;
        writeln!(text, "{id},{time_ms},{numbers},{categories},{label},{label_time_ms}").unwrap();
    }
    String::from_utf8(text).unwrap()
}

/// Ids, integers and severities to the bit; floats, whose sums may be added in another order, to 1e-12.
fn same(expected: &Outcome, found: &Outcome) {
    assert_eq!(expected.archived, found.archived, "archived rows differ");
    let ids = |outcome: &Outcome| outcome.verdicts.iter().map(|verdict| verdict.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(expected), ids(found), "verdicts differ");
    for (a, b) in expected.verdicts.iter().zip(&found.verdicts) {
        assert_eq!(
            (a.rows, a.labelled, &a.severity, a.change_point_ms),
            (b.rows, b.labelled, &b.severity, b.change_point_ms)
        );
        for (name, metric) in &a.metrics {
            assert!(close(metric.value, b.metrics[name].value), "{name} of {}", a.id);
        }
        for (x, y) in a.tests.iter().zip(&b.tests) {
            assert!(close(x.score, y.score) && x.exceeded == y.exceeded, "{} of {}", x.test, a.id);
        }
    }
    let registry = |outcome: &Outcome| {
        let told = outcome.models.iter().map(|event| serde_json::to_value(event).unwrap());
        // Which process trained, and how often it was killed in the middle, is no part of the registry's content.
        told.filter(|event| event["kind"] != "training_attempted").collect::<Vec<_>>()
    };
    assert_eq!(registry(expected), registry(found), "registries differ");
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}
