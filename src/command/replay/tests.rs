//! The promises of the command that only a service cut short shows.

use super::*;
use crate::cli::{Command, CommandLine};
use clap::Parser;
use ingest::topics;
use std::path::Path;

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
    let row = |n: u32| format!("{n},{},{},{},{}\n", i64::from(n) * 10_000, n % 97, n % 89, n % 83);
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
    let setup = Arc::clone(setup::find(&ModelSetup::of(config).unwrap(), "fare", config).unwrap());
    let grounds = Arc::new(Grounds::open(config).unwrap());
    super::super::reference::first_references(&grounds).unwrap();
    let options = ServiceOptions { pace: Pace::LockStep, listen: None, stages: vec!["archive".to_owned()] };
    let service = Service::start(Arc::clone(&grounds), &options).unwrap();
    let spec = spec(args, encoder(args, &setup, config.partitions.get()).unwrap());
    through((&service, &setup), spec, source::open(&args.file).unwrap(), &mut |_| Ok(())).unwrap();
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
    let verdicts = || Grounds::open(&config).unwrap().log.bounds(topics::VERDICTS, 0).unwrap().end;
    cut_short(&args, &config);
    assert_eq!(verdicts(), 0, "no monitor has run yet");
    let told = replay(&args, false).unwrap_err().to_string();
    assert!(told.contains("has been replayed whole"), "{told}");
    assert!(verdicts() > 0);
}
