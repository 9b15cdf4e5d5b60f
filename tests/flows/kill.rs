//! Killed at random moments and started again, a replay comes out as one that was left alone.

use detectors::verdict::Verdict;
use driftline::demo::simulation::{Features, Patient, Phase, Simulation};
use driftline_tests::{ArchivedRow, On, Outcome, Workplace};
use rand::{Rng, SeedableRng};
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

const SEED: u64 = 4;
const KILLS: u32 = 5;
const KILLS_WHEN_LONG: u32 = 30;
/// How often is looked whether a kill's moment has come.
const LOOK_EVERY: Duration = Duration::from_millis(1);

const CONFIGURATION: &str = "
version: 1
log: LOG
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
    # The kills are not the training's fault.
    retrain: {min_labelled_rows: 1000, cooldown: 1d, deadline: 21d, max_attempts: 1000}
    trainer: {builtin: {}}
    serving: champion
";

#[test]
fn kills_change_nothing_of_what_comes_out() {
    kills_change_nothing(&On::Embedded);
}

#[test]
fn kills_change_nothing_of_what_comes_out_on_kafka() {
    let Some(kafka) = On::kafka().unwrap() else { return };
    kills_change_nothing(&kafka);
}

fn kills_change_nothing(on: &On) {
    let kills = if std::env::var_os("DRIFTLINE_LONG").is_some() { KILLS_WHEN_LONG } else { KILLS };
    let left_alone = prepared(on);
    let started = Instant::now();
    left_alone.run(REPLAY).unwrap();
    let whole = started.elapsed();
    let all = left_alone.progress().unwrap().committed().unwrap();
    let expected = left_alone.outcome().unwrap();
    assert!(expected.verdicts.len() > 50, "the stream is too short to show anything");
    assert!(expected.models.len() > 3, "the stream must hold a training");
    let started = Instant::now();
    let again = left_alone.command(REPLAY).output().unwrap();
    assert!(replayed_whole(&again), "{again:?}");
    let start_up = started.elapsed();
    let killed = prepared(on);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(SEED);
    let share = |part: f64| (all as f64 * part / f64::from(kills + 1)) as i64;
    for kill in 0..kills {
        let kill = f64::from(kill);
        // One in six comes while it starts; the others anywhere in their part of the work, trainings included.
        let moment = match random.random_bool(1.0 / 6.0) {
            true => Moment { from: 0, delay: start_up.mul_f64(random.random()), at_most: share(kill + 1.0) },
            false => Moment {
                from: share(kill + random.random::<f64>()),
                delay: whole.mul_f64(random.random::<f64>() / f64::from(kills)),
                at_most: share(kill + 1.0),
            },
        };
        kill_at(&killed, moment);
    }
    killed.run(REPLAY).unwrap();
    println!("{kills} kills, {} verdicts, {} archived rows", expected.verdicts.len(), expected.archived.len());
    same((&expected, &killed.outcome().unwrap()), on);
}

fn replayed_whole(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("has been replayed whole")
}

/// When a replay is killed. What its stages have committed decides, so that no kill comes after the end.
struct Moment {
    /// Once so much is committed …
    from: i64,
    /// … and so much time has passed since, …
    delay: Duration,
    /// … or at the latest here.
    at_most: i64,
}

/// Starts the replay and kills it.
fn kill_at(place: &Workplace, moment: Moment) {
    let progress = place.progress().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut command = tokio::process::Command::from(place.command(REPLAY));
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut since = None;
        loop {
            let committed = progress.committed().unwrap();
            let waited = (committed >= moment.from).then(|| since.get_or_insert_with(Instant::now).elapsed());
            if committed >= moment.at_most || waited.is_some_and(|waited| waited >= moment.delay) {
                break;
            }
            let ended = tokio::time::timeout(LOOK_EVERY, process.wait()).await;
            assert!(ended.is_err(), "it ended with {ended:?} when {committed} was committed");
        }
        process.kill().await.unwrap();
    })
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

fn prepared(on: &On) -> Workplace {
    let place = Workplace::new(crate::BINARY, CONFIGURATION, on.anew()).unwrap();
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

/// Ids, integers and severities to the bit; floats, whose sums may be added in another order, to 1e-12. On Kafka an append
/// that a kill interrupts leaves a hole, so that rows have the same order and not the same offsets.
fn same((expected, found): (&Outcome, &Outcome), on: &On) {
    same_lines(&lifecycle(expected), &lifecycle(found), "registry");
    let verdicts = |outcome: &Outcome| outcome.verdicts.iter().map(line).collect::<Vec<_>>();
    same_lines(&verdicts(expected), &verdicts(found), "verdicts");
    let is_dense = matches!(on, On::Embedded);
    let row = |row: &ArchivedRow| {
        let ArchivedRow { topic, partition, offset, index, id } = row;
        format!("{topic}/{partition} {:?} {index} {id}", is_dense.then_some(offset))
    };
    let rows = |outcome: &Outcome| outcome.archived.iter().map(row).collect::<Vec<_>>();
    same_lines(&rows(expected), &rows(found), "archive");
    for (a, b) in expected.verdicts.iter().zip(&found.verdicts) {
        for (name, metric) in &a.metrics {
            assert!(close(metric.value, b.metrics[name].value), "{name} of {}", a.id);
        }
        for (x, y) in a.tests.iter().zip(&b.tests) {
            assert!(close(x.score, y.score) && x.exceeded == y.exceeded, "{} of {}", x.test, a.id);
        }
    }
}

/// Which process trained, and how often it was killed in the middle, is no part of the registry's content.
fn lifecycle(outcome: &Outcome) -> Vec<String> {
    let told = outcome.models.iter().map(|event| serde_json::to_value(event).unwrap());
    told.filter(|event| event["kind"] != "training_attempted").map(|event| event.to_string()).collect()
}

/// All of a verdict that has to be equal to the bit.
fn line(verdict: &Verdict) -> String {
    let Verdict { id, version, monitor, window, segment, rows, labelled, severity, change_point_ms, .. } = verdict;
    format!("{id} {version} {monitor:?} {window:?} {segment:?} {rows} {labelled:?} {severity:?} {change_point_ms:?}")
}

fn same_lines(expected: &[String], found: &[String], what: &str) {
    let differs = expected.iter().zip(found).find(|(expected, found)| expected != found);
    assert!(differs.is_none(), "{what} differs: {differs:#?}");
    assert_eq!(expected.len(), found.len(), "{what}: one has more");
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
}
