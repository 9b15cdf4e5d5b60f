//! What the embedded log promises beyond [`Log`]: it survives being killed, and never takes a wrong file for its own.

use super::*;
use crate::log::{Progress, Retention, conformance};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };

fn fast() -> Options {
    Options { synchronous: Durability::Off, ..Options::default() }
}

fn open(directory: &Path) -> Result<Arc<EmbeddedLog>, LogError> {
    EmbeddedLog::open(directory, fast())
}

fn topic(name: &str, retention: Retention) -> TopicSpec {
    TopicSpec { name: name.into(), partitions: 1, retention }
}

fn record(value: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: 0,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
        appended_ms: None,
    }
}

/// A closed log with records of which some spill to further pages.
fn written(directory: &Path) {
    let log = open(directory).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    for number in 0..40_u8 {
        log.append(&[record(vec![number; 5_000 + usize::from(number) * 1_000])]).unwrap();
    }
}

/// A log's files as a killed process leaves them.
fn killed(from: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["driftline.db", "driftline.db-wal", "driftline.lock"] {
        fs::copy(from.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn file(directory: &Path) -> PathBuf {
    directory.join("driftline.db")
}

fn reason(outcome: Result<Arc<EmbeddedLog>, LogError>) -> String {
    match outcome {
        Err(error @ LogError::Unusable { .. }) => error.to_string(),
        Err(error) => panic!("another error than expected: {error}"),
        Ok(_) => panic!("it was opened"),
    }
}

struct Fixture {
    log: Arc<dyn Log>,
    _directory: TempDir,
}

impl AsRef<dyn Log> for Fixture {
    fn as_ref(&self) -> &(dyn Log + 'static) {
        self.log.as_ref()
    }
}

#[test]
fn it_keeps_what_every_log_promises() {
    conformance::keeps_every_promise(|| {
        let directory = tempfile::tempdir().unwrap();
        Fixture { log: open(directory.path()).unwrap(), _directory: directory }
    });
}

#[test]
fn all_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    assert!(!directory.path().join("driftline.db-wal").exists(), "closing folds the write-ahead file in");
    let log = open(directory.path()).unwrap();
    assert_eq!(log.read("t", 0, 0, ALL).unwrap().len(), 40);
    assert_eq!(log.bounds("t", 0).unwrap(), OffsetRange { first: 0, end: 40 });
    log.append(&[record("next")]).unwrap();
    assert_eq!(log.read("t", 0, 40, ALL).unwrap()[0].offset, 40);
}

#[test]
fn a_second_opening_names_the_directory_and_the_holder() {
    let directory = tempfile::tempdir().unwrap();
    let _held = open(directory.path()).unwrap();
    match open(directory.path()).err() {
        Some(LogError::InUse { directory: named, holder }) => {
            assert_eq!((named.as_path(), holder), (directory.path(), std::process::id()));
        }
        other => panic!("not in use: {other:?}"),
    }
}

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_killed_process`] kills.
#[test]
fn child_that_aborts() {
    let Some(directory) = std::env::var_os("DRIFTLINE_TEST_ABORT_IN") else { return };
    let log = EmbeddedLog::open(PathBuf::from(directory), Options::default()).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    for number in 0..50_u8 {
        log.append(&[record(vec![number; 3_000])]).unwrap();
    }
    std::process::abort();
}

#[test]
fn what_was_acknowledged_survives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    for life in 1..=3 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::embedded::tests::child_that_aborts"])
            .env("DRIFTLINE_TEST_ABORT_IN", directory.path())
            .output()
            .unwrap();
        assert!(child.status.signal().is_some(), "it aborted: {child:?}");
        let log = open(directory.path()).unwrap();
        assert_eq!(log.read("t", 0, 0, ALL).unwrap().len(), life * 50);
    }
}

#[test]
fn a_log_that_lacks_acknowledged_records_is_refused_and_opens_with_a_prefix_once_that_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    for number in 0..20_u8 {
        log.append(&[record(vec![number; 40_000])]).unwrap();
    }
    let copy = killed(directory.path());
    let wal = copy.path().join("driftline.db-wal");
    let whole = fs::read(&wal).unwrap();
    let mut last = 0;
    for torn in (0..whole.len()).step_by(whole.len() / 37) {
        fs::write(&wal, &whole[..torn]).unwrap();
        let again = killed(copy.path());
        let refused = reason(open(again.path()));
        assert!(refused.contains("of 20 records that were acknowledged are gone"), "{refused}");
        assert_eq!(fs::read(again.path().join("driftline.db-wal")).unwrap().len(), torn, "it is left as it is");
        fs::remove_file(again.path().join("driftline.lock")).unwrap();
        let log = open(again.path()).unwrap();
        let Ok(records) = log.read("t", 0, 0, ALL) else {
            assert_eq!(last, 0, "the topic itself is in the write-ahead file");
            continue;
        };
        assert!(records.iter().zip(0_u8..).all(|(record, number)| record.value == Some(vec![number; 40_000].into())));
        assert!(records.len() >= last);
        last = records.len();
    }
    assert!(last >= 18, "only the tail was torn off at the end");
}

#[test]
fn what_a_kill_cut_off_before_it_was_acknowledged_is_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path()).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    log.append(&[record("acknowledged")]).unwrap();
    let lock = fs::read(directory.path().join("driftline.lock")).unwrap();
    log.append(&[record(vec![7; 40_000])]).unwrap();
    let copy = killed(directory.path());
    drop(log);
    fs::write(copy.path().join("driftline.lock"), lock).unwrap();
    let wal = copy.path().join("driftline.db-wal");
    let whole = fs::read(&wal).unwrap();
    fs::write(&wal, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(open(copy.path()).unwrap().read("t", 0, 0, ALL).unwrap().len(), 1);
}

#[test]
fn an_older_copy_of_a_closed_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let older = fs::read(file(directory.path())).unwrap();
    open(directory.path()).unwrap().append(&[record("more")]).unwrap();
    fs::write(file(directory.path()), older).unwrap();
    assert!(reason(open(directory.path())).contains("1 of 41 records that were acknowledged are gone"));
}

#[test]
fn a_file_torn_at_any_length_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let whole = fs::read(file(directory.path())).unwrap();
    for torn in (0..whole.len()).step_by(whole.len() / 61) {
        fs::write(file(directory.path()), &whole[..torn]).unwrap();
        let message = reason(open(directory.path()));
        assert!(message.contains("driftline.db") && message.contains("restore it"), "{message}");
    }
}

#[test]
fn a_file_torn_after_a_kill_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let whole = fs::read(file(directory.path())).unwrap();
    let log = open(directory.path()).unwrap();
    for torn in (1..whole.len() - 1).step_by(whole.len() / 23) {
        let copy = killed(directory.path());
        fs::write(file(copy.path()), &whole[..torn]).unwrap();
        reason(open(copy.path()));
    }
    drop(log);
}

#[test]
fn flipped_bytes_never_panic() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let whole = fs::read(file(directory.path())).unwrap();
    let mut refused = 0;
    let near_the_start = (0..4_096).step_by(97);
    for place in near_the_start.chain((4_096..whole.len()).step_by(whole.len() / 67)) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x55;
        fs::write(file(directory.path()), &flipped).unwrap();
        fs::write(directory.path().join("driftline.lock"), "1 closing").unwrap();
        match open(directory.path()) {
            Ok(log) => drop(log.read("t", 0, 0, ALL)),
            Err(_) => refused += 1,
        }
        let _ = fs::remove_file(directory.path().join("driftline.db-wal"));
        let _ = fs::remove_file(directory.path().join("driftline.db-shm"));
    }
    assert!(refused > 0, "damage to the structure is found");
}

#[test]
fn a_file_of_someone_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(file(directory.path()), "id,time,label\n".repeat(100)).unwrap();
    assert!(reason(open(directory.path())).contains("not an SQLite file"));
    fs::remove_file(file(directory.path())).unwrap();
    let foreign = rusqlite::Connection::open(file(directory.path())).unwrap();
    foreign.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine');").unwrap();
    drop(foreign);
    let before = fs::read(file(directory.path())).unwrap();
    assert!(reason(open(directory.path())).contains("belongs to another program"));
    assert_eq!(fs::read(file(directory.path())).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let newer = rusqlite::Connection::open(file(directory.path())).unwrap();
    newer.pragma_update(None, "user_version", schema::FORMAT + 1).unwrap();
    drop(newer);
    assert!(reason(open(directory.path())).contains("use the newer program"));
}

#[test]
fn a_log_that_is_gone_is_not_started_anew() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::remove_file(file(directory.path())).unwrap();
    assert!(reason(open(directory.path())).contains("it is missing, but driftline.lock says"));
    fs::write(file(directory.path()), "").unwrap();
    assert!(reason(open(directory.path())).contains("it is empty, but driftline.lock says"));
    fs::remove_file(file(directory.path())).unwrap();
    fs::remove_file(directory.path().join("driftline.lock")).unwrap();
    fs::write(directory.path().join("driftline.db-wal"), "records").unwrap();
    assert!(reason(open(directory.path())).contains("driftline.db-wal holds records"));
}

#[test]
fn a_killed_log_without_its_latest_records_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let log = open(directory.path()).unwrap();
    let copy = killed(directory.path());
    drop(log);
    fs::remove_file(copy.path().join("driftline.db-wal")).unwrap();
    assert!(reason(open(copy.path())).contains("latest records is gone"));
}

#[test]
fn offsets_are_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { age: Some(Duration::from_secs(1)), bytes_per_partition: None };
    let log = open(directory.path()).unwrap();
    log.ensure_topic(&topic("t", retention)).unwrap();
    log.append(&vec![record("x"); 3_000]).unwrap();
    let last = log.read("t", 0, 2_999, ALL).unwrap()[0].append_time_ms;
    log.enforce_retention(last + 60_000).unwrap();
    assert_eq!(log.bounds("t", 0).unwrap(), OffsetRange { first: 3_000, end: 3_000 });
    drop(log);
    let log = open(directory.path()).unwrap();
    assert_eq!(log.bounds("t", 0).unwrap(), OffsetRange { first: 3_000, end: 3_000 });
    log.append(&[record("y")]).unwrap();
    assert_eq!(log.read("t", 0, 3_000, ALL).unwrap()[0].offset, 3_000);
    assert!(log.read("t", 0, 3_000, ALL).unwrap()[0].append_time_ms >= last);
    let expired = log.read("t", 0, 2_999, ALL).unwrap_err();
    assert!(matches!(expired, LogError::Expired { wanted: 2_999, first: 3_000, .. }), "{expired}");
}

#[test]
fn retention_keeps_the_young_and_what_fits() {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = Arc::clone(&now);
    let options = Options { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..fast() };
    let log = EmbeddedLog::open(directory.path(), options).unwrap();
    let aged = Retention { age: Some(Duration::from_millis(500)), bytes_per_partition: None };
    log.ensure_topic(&topic("t", aged)).unwrap();
    for time in [1_000, 2_000, 1_500, 3_000] {
        now.store(time, Ordering::SeqCst);
        log.append(&[record(vec![0; 100])]).unwrap();
    }
    let times: Vec<_> = log.read("t", 0, 0, ALL).unwrap().iter().map(|record| record.append_time_ms).collect();
    assert_eq!(times, [1_000, 2_000, 2_000, 3_000], "a clock that is set back does not take the log back");
    assert_eq!(log.offset_at("t", 0, 1_001).unwrap(), 1);
    log.enforce_retention(2_500).unwrap();
    assert_eq!(log.bounds("t", 0).unwrap(), OffsetRange { first: 1, end: 4 });
    let sized = Retention { age: None, bytes_per_partition: Some(250) };
    log.ensure_topic(&topic("t", sized)).unwrap();
    log.enforce_retention(2_500).unwrap();
    assert_eq!(log.bounds("t", 0).unwrap(), OffsetRange { first: 2, end: 4 });
}

#[test]
fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Some(1 << 20), ..fast() };
    let log = EmbeddedLog::open(directory.path(), options).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    log.append(&[record("small")]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let error = log.append(&[record("part"), record(vec![1; 2 << 20])]).unwrap_err();
                assert!(matches!(error, LogError::DiskFull { .. }), "{error}");
            });
            scope.spawn(|| log.append(&[record("small")]).unwrap());
        }
    });
    let values: Vec<_> = log.read("t", 0, 0, ALL).unwrap().into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, vec![Bytes::from_static(b"small"); 5]);
}

#[test]
fn readers_that_never_pause_do_not_let_the_write_ahead_file_grow() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { wal_bytes: 4 << 20, ..fast() };
    let log = EmbeddedLog::open(directory.path(), options).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    log.append(&[record(vec![1; 80_000])]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    log.read("t", 0, 0, ReadBudget { records: 64, bytes: usize::MAX }).unwrap();
                }
            });
        }
        for _ in 0..400 {
            log.append(&[record(vec![1; 80_000])]).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    let length = fs::metadata(directory.path().join("driftline.db-wal")).unwrap().len();
    assert!(length < 16 << 20, "{length} bytes after 32 MB of appends");
}

#[test]
fn progress_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let committed = Committed { offset: 7, metadata: "3".into() };
    let log = open(directory.path()).unwrap();
    log.ensure_topic(&topic("t", Retention::default())).unwrap();
    let progress = vec![Progress { topic: "t".into(), partition: 0, committed: committed.clone() }];
    log.commit("g", &Transaction { progress, snapshot: Some("state".into()), ..Transaction::default() }).unwrap();
    drop(log);
    let log = open(directory.path()).unwrap();
    assert_eq!(log.committed("g", "t", 0).unwrap(), Some(committed));
    assert_eq!(log.snapshot("g").unwrap(), Some("state".into()));
}
