//! The promises of the command: what becomes of every row, and of a replay that was cut short.

use super::*;
use crate::cli::{Command, CommandLine};
use clap::Parser;
use std::path::Path;
use streams::topics;
use tempfile::TempDir;

const CONFIGURATION: &str = "
version: 1
log: {directory: driftline-data}
partitions: 1
models:
  fare:
    task: {type: regression}
    features: {km: numeric}
    windows: {size: 1h}
    reference: {file: reference.csv, columns: {label: y, prediction: p}}
";

fn csv(rows: u32) -> String {
    let row = |n: u32| format!("{n},{},{},{},{}\n", 1_700_000_000 + i64::from(n) * 10_000, n % 97, n % 89, n % 83);
    format!("id,time,km,p,y\n{}", (0..rows).map(row).collect::<String>())
}

fn arguments(folder: &Path) -> ReplayArgs {
    let file = |name: &str| folder.join(name).display().to_string();
    let (config, stream) = (file("driftline.yaml"), file("stream.csv"));
    let columns = ["--id", "id", "--time", "time", "--label", "y", "--prediction", "p"];
    let line = [&["driftline", "replay", &stream, "--config", &config, "--model", "fare"][..], &columns].concat();
    let Command::Replay(args) = CommandLine::try_parse_from(line).unwrap().command else { unreachable!() };
    args
}

/// Appends the whole file while only the archive runs.
fn cut_short(args: &ReplayArgs, config: &Config) {
    let setup = Arc::clone(model::find(&ModelSetup::of(config).unwrap(), "fare", config).unwrap());
    let context = Arc::new(ServiceContext::open(config).unwrap());
    super::super::reference::first_references(&context).unwrap();
    let options = ServiceOptions { pace: Pace::LockStep, listen: None, stages: vec!["archive".to_owned()] };
    let service = Service::start(Arc::clone(&context), &options).unwrap();
    let input = Input::read(args, &setup, config).unwrap();
    through(&service, &setup, (spec(args, &input), &input), &mut |_| Ok(())).unwrap();
    service.shutdown().unwrap();
}

#[test]
fn a_replay_that_was_appended_whole_finishes_the_stages_work_when_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in
        [("driftline.yaml", CONFIGURATION), ("reference.csv", &csv(500)), ("stream.csv", &csv(2_000))]
    {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let args = arguments(folder.path());
    let config = Config::load(&args.config.config).unwrap();
    let verdicts = || ServiceContext::open(&config).unwrap().log.bounds(topics::VERDICTS, 0).unwrap().end;
    cut_short(&args, &config);
    assert_eq!(verdicts(), 0, "no monitor has run yet");
    let told = replay(&args, false).unwrap_err().to_string();
    assert!(told.contains("has been replayed whole"), "{told}");
    assert!(verdicts() > 0);
}

const LOANS: &str = "
version: 1
log: {directory: driftline-data, durability: normal}
partitions: 2
models:
  loan:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features: {amount: numeric}
    windows: {size: 1d}
    labels: {mature: {after: 1h}, horizon: 30d}
    panel: {min_rows: 20, quality: {min_labelled: 10}}
    reference: {file: reference.csv, columns: {id: id, time: at, label: y, prediction: p, score: s}}
  other:
    task: {type: regression}
    features: {amount: numeric}
    windows: {size: 1d}
    labels: {mature: {after: 1h}, horizon: 30d}
";

/// A model whose records have another shape.
const MAPPED: &str = "  mapped:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features: {amount: numeric}
    windows: {size: 1d}
    labels: {mature: {after: 1h}, horizon: 30d}
    map: {id: head.id, time: at, version: {constant: v7}, features: body, prediction: out.p, score: out.s}
";

/// Rows of loans, one every half hour from a day of March on, with an id before them.
fn loans(days: std::ops::Range<u32>) -> Vec<String> {
    let row = |n: u32| {
        let (day, half_hour) = (1 + n / 48, n % 48);
        let at = format!("2026-03-{day:02}T{:02}:{:02}:00Z", half_hour / 2, half_hour % 2 * 30);
        let (p, y) = (u32::from(n % 7 < 3), u32::from(n % 5 < 2));
        format!("{n},{at},{},{p},0.{},{y}", n % 97, n % 10)
    };
    (days.start * 48..days.end * 48).map(row).collect()
}

fn file_of(rows: &[String]) -> String {
    format!("id,at,amount,p,s,y\n{}\n", rows.join("\n"))
}

/// The columns that come at these places.
fn columns(text: &str, places: &[usize]) -> String {
    let line = |line: &str| {
        let fields: Vec<_> = line.split(',').collect();
        places.iter().map(|place| fields[*place]).collect::<Vec<_>>().join(",") + "\n"
    };
    text.lines().map(line).collect()
}

/// A folder with the models above and these files.
fn house(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let reference = file_of(&loans(0..6));
    for (name, content) in [("driftline.yaml", LOANS), ("reference.csv", &reference)].iter().chain(files) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

const ALL: &str = "--model loan --id id --time at --label y --prediction p --score s";

/// Replays files of the folder with these arguments.
fn replayed(folder: &TempDir, files: &[&str], arguments: &str) -> Result<(Balance, Sums)> {
    let of = |name: &&str| folder.path().join(name).display().to_string();
    let mut line = vec!["driftline".to_owned(), "replay".to_owned(), "--config".to_owned(), of(&"driftline.yaml")];
    line.extend(files.iter().map(of));
    line.extend(arguments.split_whitespace().map(str::to_owned));
    let Command::Replay(args) = CommandLine::try_parse_from(line).unwrap().command else { unreachable!() };
    let config = Config::load(&args.config.config).unwrap();
    let setup = Arc::clone(model::find(&ModelSetup::of(&config).unwrap(), &args.model, &config).unwrap());
    let input = Input::read(&args, &setup, &config)?;
    in_lock_step(&input, &Arc::new(ServiceContext::open(&config)?), (&setup, true))
}

/// Rows read, counted, late, duplicate, dead and told of nowhere.
fn figures(balance: &Balance) -> [i64; 6] {
    let dead = balance.dead_letters.values().sum();
    [balance.read, balance.counted, balance.late, balance.duplicates, dead, balance.unaccounted]
}

#[test]
fn rows_in_any_order_come_to_the_same_windows_and_doubled_ones_are_told_of() {
    let rows = loans(6..12);
    let (mut reversed, mut shuffled) = (rows.clone(), rows.clone());
    reversed.reverse();
    shuffled.sort_by_key(|row| streams::store::digest(row.as_bytes()));
    let folder = house(&[("in_order.csv", &file_of(&rows))]);
    let (balance, in_order) = replayed(&folder, &["in_order.csv"], ALL).unwrap();
    assert!(balance.is_whole(), "{balance}");
    assert_eq!(figures(&balance), [288, 288, 0, 0, 0, 0]);
    assert_eq!((in_order.windows, in_order.labelled, in_order.unjudged_windows), (6, 288, 0));
    for rows in [reversed, shuffled] {
        let folder = house(&[("rows.csv", &file_of(&rows))]);
        let (balance, sums) = replayed(&folder, &["rows.csv"], ALL).unwrap();
        assert!(balance.is_whole(), "{balance}");
        assert_eq!((sums.windows, sums.labelled, sums.accuracy), (6, 288, in_order.accuracy));
    }
    let doubled = [rows.clone(), rows].concat();
    let folder = house(&[("rows.csv", &file_of(&doubled))]);
    let (balance, sums) = replayed(&folder, &["rows.csv"], ALL).unwrap();
    assert_eq!(figures(&balance), [576, 288, 0, 288, 0, 0], "{balance}");
    assert_eq!((sums.windows, sums.labelled, exit_of(&balance)), (6, 288, Exit::NotCounted));
}

#[test]
fn rows_that_are_left_in_an_order_that_makes_them_late_are_counted_as_such() {
    let mut rows = loans(6..12);
    rows.reverse();
    let folder = house(&[("rows.csv", &file_of(&rows))]);
    let (balance, _) = replayed(&folder, &["rows.csv"], &format!("{ALL} --order file")).unwrap();
    let [read, counted, late, duplicates, dead, unaccounted] = figures(&balance);
    assert_eq!((read, counted + late, duplicates, dead, unaccounted), (288, 288, 0, 0, 0), "{balance}");
    assert!(late > 200 && exit_of(&balance) == Exit::NotCounted, "{balance}");
}

#[test]
fn rows_without_a_time_are_dead_letters_that_the_balance_names_in_terms_of_the_file() {
    let mut rows = loans(6..8);
    for row in [3, 40, 41] {
        let at = rows[row].split(',').nth(1).unwrap().to_owned();
        rows[row] = rows[row].replace(&at, "unknown");
    }
    let folder = house(&[("rows.csv", &file_of(&rows))]);
    let (balance, _) = replayed(&folder, &["rows.csv"], ALL).unwrap();
    assert_eq!(figures(&balance), [96, 93, 0, 0, 3, 0]);
    let told = balance.to_string();
    assert!(told.contains("3 dead letters (wrong_type_time)"), "{told}");
    assert!(told.contains("the first without a time that can be read is row 3, with `unknown`"), "{told}");
    assert_eq!(balance.labels.unwrap().read, 93, "a label without its row is not sent");
}

#[test]
fn rows_of_two_files_without_ids_are_never_taken_for_each_others() {
    let without_ids = |days| columns(&file_of(&loans(days)), &[1, 2, 3, 4, 5]);
    let (one, two) = (without_ids(6..9), without_ids(9..12));
    let all = ALL.replace("--id id ", "");
    let folder = house(&[("one.csv", &one), ("two.csv", &two)]);
    let (balance, _) = replayed(&folder, &["one.csv"], &format!("{all} --no-end-mark")).unwrap();
    assert!(balance.is_whole(), "{balance}");
    let (balance, sums) = replayed(&folder, &["two.csv"], &all).unwrap();
    assert!(balance.is_whole(), "{balance}");
    assert_eq!((balance.read, sums.windows, sums.labelled), (144, 6, 288));
    let folder = house(&[("one.csv", &one), ("two.csv", &two)]);
    let (balance, sums) = replayed(&folder, &["one.csv", "two.csv"], &all).unwrap();
    assert!(balance.is_whole(), "{balance}");
    assert_eq!((balance.read, sums.windows, sums.labelled), (288, 6, 288));
}

#[test]
fn labels_in_a_file_of_their_own_meet_the_predictions_that_wait_for_them() {
    let whole = file_of(&loans(6..12));
    let (predictions, labels) = (columns(&whole, &[0, 1, 2, 3, 4]), columns(&whole, &[0, 5]));
    let labels = labels + "stranger,1\n";
    let folder = house(&[("predictions.csv", &predictions), ("labels.csv", &labels), ("whole.csv", &whole)]);
    let outputs = "--model loan --id id --time at --prediction p --score s --no-end-mark";
    let (balance, _) = replayed(&folder, &["predictions.csv"], outputs).unwrap();
    assert!(balance.is_whole() && balance.labels.is_none(), "{balance}");
    let (balance, apart) = replayed(&folder, &["labels.csv"], "--model loan --id id --label y").unwrap();
    let of_labels = balance.labels.as_ref().unwrap();
    assert_eq!((of_labels.read, of_labels.matched, of_labels.unmatched), (289, 288, 1), "{balance}");
    assert_eq!(exit_of(&balance), Exit::NotCounted);
    let together = house(&[("whole.csv", &whole)]);
    let (_, together) = replayed(&together, &["whole.csv"], ALL).unwrap();
    assert_eq!((apart.windows, apart.labelled, apart.accuracy), (6, 288, together.accuracy));
    assert_eq!(together.labelled, 288);
}

#[test]
fn history_that_would_be_late_is_refused_before_it_is_sent() {
    let (old, new) = (file_of(&loans(0..6)), file_of(&loans(12..18)));
    let folder = house(&[("old.csv", &old), ("new.csv", &new)]);
    replayed(&folder, &["new.csv"], ALL).unwrap();
    let of_other = "--model other --id id --time at --label y --prediction p";
    let refused = replayed(&folder, &["old.csv"], of_other).unwrap_err().to_string();
    assert!(refused.starts_with("288 of the 288 rows") && refused.contains("--allow-late"), "{refused}");
    let (balance, _) = replayed(&folder, &["old.csv"], &format!("{of_other} --allow-late")).unwrap();
    assert_eq!(figures(&balance), [288, 0, 288, 0, 0, 0], "{balance}");
}

#[test]
fn records_of_another_shape_are_read_by_the_models_map() {
    let line = |row: &String| {
        let fields: Vec<_> = row.split(',').collect();
        let [id, at, amount, p, s, _] = fields[..] else { unreachable!() };
        format!(
            "{{\"head\": {{\"id\": \"{id}\"}}, \"at\": \"{at}\", \"body\": {{\"amount\": {amount}}}, \"out\": {{\"p\": {p}, \"s\": {s}}}}}\n"
        )
    };
    let lines: String = loans(6..8).iter().chain(&loans(6..7)).map(line).collect();
    let folder = house(&[("log.jsonl", &lines)]);
    std::fs::write(folder.path().join("driftline.yaml"), [LOANS, MAPPED].concat()).unwrap();
    let (balance, sums) = replayed(&folder, &["log.jsonl"], "--model mapped").unwrap();
    assert_eq!(figures(&balance), [144, 96, 0, 48, 0, 0], "{balance}");
    assert_eq!((sums.windows, sums.unjudged_windows), (2, 2));
    assert_eq!(sums.unjudged_because.as_deref(), Some("there is no reference yet"));
}
