//! What the runner promises: each record counts once, whatever fails and whenever.

mod faulty;
mod idle;
mod workers;

use super::*;
use crate::log::embedded::{Durability, EmbeddedLog, Options};
use crate::log::{NewRecord, Offset, ReadBudget, Record, Retention, TopicSpec};
use crate::stage::{Delivery, Epoch, EpochFile, Gone, Input, ResumePoint, Seal, Share, Stage};
use faulty::{Fault, Faulty};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };

/// What happened to the stages of a test, over all of its runs.
#[derive(Default)]
struct Seen {
    told: Mutex<Vec<String>>,
    replayed: AtomicUsize,
    most_bytes_in_an_epoch: AtomicUsize,
    restarts: AtomicUsize,
    panics: AtomicBool,
    holds: AtomicBool,
    recalls: AtomicBool,
    is_awaited: AtomicBool,
}

impl Seen {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

/// Numbers the values it reads, per partition. The last value is kept by re-absorbing it, the number in the snapshot: both
/// ways of keeping state are in use, and each output depends on both.
struct Counting {
    counts: BTreeMap<u32, u64>,
    before: BTreeMap<u32, (Offset, String)>,
    lines: Vec<NewRecord>,
    /// Broadcasts since the last epoch: their offsets are committed too, and the resume points with them.
    heard: Vec<String>,
    bytes: usize,
    seen: Arc<Seen>,
}

impl Counting {
    fn take(&mut self, partition: u32, record: &Record, delivery: Delivery) {
        let value = text(record);
        let before = self.before.insert(partition, (record.offset, value.clone()));
        if delivery == Delivery::Replayed {
            self.seen.replayed.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let count = self.counts.entry(partition).or_default();
        *count += 1;
        let before = before.map_or("-".to_owned(), |(_, value)| value);
        self.lines.push(record_for("out", partition, &format!("{count}: {before} > {value}")));
        self.bytes += value.len();
        self.seen.most_bytes_in_an_epoch.fetch_max(self.bytes, Ordering::SeqCst);
    }
}

impl Stage for Counting {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        self.counts = serde_json::from_slice(snapshot).map_err(|error| StageError::failed("restoring", error))?;
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic: "in", partition, records, delivery } => {
                assert!(!self.seen.panics.swap(false, Ordering::SeqCst), "the stage was told to panic");
                records.iter().for_each(|record| self.take(partition, record, delivery));
                self.seen.tell(format!("{delivery:?} {}", records.len()));
            }
            Input::Records { topic, delivery, .. } => {
                self.heard.push(topic.to_owned());
                self.seen.tell(format!("{delivery:?} {topic}"));
            }
            Input::Idle { topic, partition } => self.seen.tell(format!("idle {topic}/{partition}")),
            Input::CaughtUp => self.seen.tell("caught up"),
        }
        Ok(())
    }

    fn recall(&mut self, gone: &Gone<'_>) -> Result<Option<Offset>, StageError> {
        self.seen.tell(format!("recall {:?}", gone.offsets));
        if !self.seen.recalls.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let first = gone.offsets.start;
        // As it was fed.
        let value = format!("value {}", 2 * first + Offset::from(gone.partition));
        self.before.insert(gone.partition, (first, value));
        Ok(Some(first + 1))
    }

    fn is_awaited(&self) -> bool {
        self.seen.is_awaited.load(Ordering::SeqCst)
    }

    fn seal(&mut self, reason: Seal) -> Result<Option<Epoch>, StageError> {
        self.seen.tell(format!("{reason:?}"));
        if self.seen.holds.load(Ordering::SeqCst) && reason == Seal::Due {
            return Ok(None);
        }
        self.bytes = 0;
        let records = std::mem::take(&mut self.lines);
        let says_something = !records.is_empty() || !self.heard.is_empty();
        self.heard.clear();
        if !says_something {
            return Ok(Some(Epoch::default()));
        }
        let name = format!("{:?}", self.counts);
        let resume_from = self.before.iter().map(|(partition, (offset, _))| ResumePoint {
            topic: "in".into(),
            partition: *partition,
            offset: *offset,
        });
        Ok(Some(Epoch {
            files: vec![EpochFile { path: name, bytes: Bytes::from_static(b"file") }],
            records,
            snapshot: Some(serde_json::to_vec(&self.counts).unwrap().into()),
            resume_from: resume_from.collect(),
        }))
    }
}

impl StageTelemetry for Seen {
    fn epoch_committed(&self, _: &str, _: EpochFigures) {}

    fn aborted(&self, _: &str) {}

    fn restarted(&self, _: &str, _: RestartCause, _: &StageError) {
        self.restarts.fetch_add(1, Ordering::SeqCst);
    }

    fn failed_for_good(&self, stage: &str, _: RestartCause, _: &StageError) {
        self.tell(format!("{stage} failed for good"));
    }

    fn rebalanced(&self, _: &str) {}

    fn lag(&self, _: &StageSpec, _: (&str, PartitionId), _: Lag) {}

    fn let_go(&self, _: &StageSpec, _: (&str, PartitionId)) {}
}

/// A log with two partitions of input, and what runs on it.
struct House {
    log: Arc<EmbeddedLog>,
    seen: Arc<Seen>,
    policy: EpochPolicy,
    fault: Fault,
    _directory: TempDir,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { synchronous: Durability::Off, ..Options::default() };
        let log = EmbeddedLog::open(directory.path(), options).unwrap();
        for name in ["in", "side", "out"] {
            let topic = TopicSpec { name: name.into(), partitions: 2, retention: Retention::default() };
            log.ensure_topic(&topic).unwrap();
        }
        let policy = EpochPolicy {
            interval: PATIENCE,
            awaited: PATIENCE,
            bytes: 30,
            seal_when: SealWhen::CaughtUp,
            idle_after: PATIENCE,
        };
        Self { log, seen: Arc::default(), policy, fault: Fault::Never, _directory: directory }
    }

    fn feed(&self, from: usize, to: usize) {
        let records: Vec<_> = (from..to).map(|n| record_for("in", (n % 2) as u32, &format!("value {n}"))).collect();
        self.log.append(&records).unwrap();
    }

    fn spec(&self) -> StageSpec {
        let (inputs, broadcasts) = (vec!["in".into()], vec!["side".into()]);
        StageSpec { name: "counting".into(), inputs, broadcasts, share: Share::All }
    }

    fn factory(&self) -> StageFactory {
        let seen = Arc::clone(&self.seen);
        Arc::new(move || {
            let seen = Arc::clone(&seen);
            let (counts, before) = (BTreeMap::new(), BTreeMap::new());
            Ok(Box::new(Counting { counts, before, lines: Vec::new(), heard: Vec::new(), bytes: 0, seen })
                as Box<dyn Stage>)
        })
    }

    fn start(&self) -> StageHandle {
        let faulty = Arc::new(Faulty::new(Arc::clone(&self.log), self.fault));
        let telemetry = Arc::clone(&self.seen) as Arc<dyn StageTelemetry>;
        let crash = Crash::default();
        let context = RunnerContext { log: faulty.clone(), files: faulty, policy: self.policy, telemetry, crash };
        Runner::spawn(self.spec(), self.factory(), context).unwrap()
    }

    /// Runs until all is read, then stops.
    fn run(&self) {
        let handle = self.start();
        assert!(wait_until_quiet(&[&handle], self.log.as_ref(), PATIENCE).unwrap(), "{:?}", handle.status());
        handle.shutdown();
        assert!(handle.ends_within(PATIENCE));
        handle.join().unwrap();
    }

    fn out(&self, partition: u32) -> Vec<String> {
        self.log.read("out", partition, 0, ALL).unwrap().iter().map(text).collect()
    }

    fn expect(&self, inputs: usize) {
        for partition in 0..2 {
            let own: Vec<_> = (partition..inputs).step_by(2).collect();
            let before = |index: usize| match index {
                0 => "-".to_owned(),
                _ => format!("value {}", own[index - 1]),
            };
            let line = |(index, number)| format!("{}: {} > value {number}", index + 1, before(index));
            let expected: Vec<_> = own.iter().enumerate().map(line).collect();
            assert_eq!(self.out(partition as u32), expected, "partition {partition} with {:?}", self.fault);
        }
    }
}

fn record_for(topic: &str, partition: u32, value: &str) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { topic: topic.into(), partition, key: None, value, headers: Vec::new(), appended_ms: None }
}

fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
}

#[test]
fn every_record_counts_once_and_a_restart_goes_on_where_it_was() {
    let house = House::new();
    house.feed(0, 20);
    house.run();
    house.expect(20);
    assert_eq!(house.seen.replayed.load(Ordering::SeqCst), 0);
    house.feed(20, 33);
    house.run();
    house.expect(33);
    assert_eq!(
        house.seen.replayed.load(Ordering::SeqCst),
        2,
        "the last record of each partition is absorbed again, muted"
    );
}

#[test]
fn every_record_counts_once_wherever_the_log_or_the_store_fails() {
    let kinds = [Fault::BeforeRead, Fault::BeforeFile, Fault::AfterFile, Fault::BeforeCommit, Fault::AfterCommit];
    for kind in kinds {
        for number in 0..5 {
            let mut house = House::new();
            house.fault = kind(number);
            house.feed(0, 9);
            let handle = house.start();
            assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap(), "{:?}", handle.status());
            house.feed(9, 24);
            assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap(), "{:?}", handle.status());
            assert_eq!(house.seen.restarts.load(Ordering::SeqCst), 1, "{:?} struck", house.fault);
            handle.shutdown();
            handle.join().unwrap();
            house.expect(24);
        }
    }
}

#[test]
fn a_stage_that_panics_is_rebuilt() {
    let house = House::new();
    house.seen.panics.store(true, Ordering::SeqCst);
    house.feed(0, 10);
    house.run();
    house.expect(10);
    assert_eq!(house.seen.restarts.load(Ordering::SeqCst), 1);
}

#[test]
fn an_epoch_that_others_wait_for_ends_before_its_time() {
    let mut house = House::new();
    let (awaited, bytes) = (Duration::ZERO, usize::MAX);
    house.policy = EpochPolicy { seal_when: SealWhen::Interval, awaited, bytes, ..house.policy };
    house.feed(0, 4);
    let handle = house.start();
    idle::wait_for(&house, "caught up", 1);
    assert_eq!(idle::count(&house, "Due"), 0, "no one waits for it");
    house.seen.is_awaited.store(true, Ordering::SeqCst);
    idle::wait_for(&house, "Due", 1);
    assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap());
    house.expect(4);
    handle.shutdown();
    handle.join().unwrap();
}

#[test]
fn an_epoch_absorbs_no_more_than_its_bytes() {
    let house = House::new();
    house.feed(0, 200);
    house.run();
    house.expect(200);
    let most = house.seen.most_bytes_in_an_epoch.load(Ordering::SeqCst);
    let last_record = "value 199".len();
    assert!(most < house.policy.bytes + last_record, "{most} bytes");
}

/// A stage that has absorbed all there is, and whose epoch is still open.
fn with_open_epoch(house: &mut House) -> StageHandle {
    house.policy = EpochPolicy { seal_when: SealWhen::Interval, bytes: usize::MAX, ..house.policy };
    house.feed(0, 10);
    let handle = house.start();
    let all_read = |handle: &StageHandle| {
        let inputs = handle.status().inputs;
        !inputs.is_empty() && inputs.iter().all(|input| input.behind == Some(0))
    };
    while !all_read(&handle) {
        std::thread::yield_now();
    }
    assert!(house.out(0).is_empty(), "its interval is not over");
    handle
}

#[test]
fn a_shutdown_seals_and_commits_what_was_absorbed() {
    let mut house = House::new();
    let handle = with_open_epoch(&mut house);
    handle.shutdown();
    handle.join().unwrap();
    house.expect(10);
    assert!(house.seen.told().contains(&"Stopping".to_owned()));
}

#[test]
fn a_last_epoch_that_the_log_does_not_take_is_offered_to_it_once_more() {
    for fault in [Fault::BeforeCommit(0), Fault::AfterCommit(0)] {
        let mut house = House::new();
        house.fault = fault;
        let handle = with_open_epoch(&mut house);
        handle.shutdown();
        handle.join().unwrap();
        house.expect(10);
        assert_eq!(house.seen.restarts.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn an_epoch_that_is_held_is_absorbed_again_live() {
    let house = House::new();
    house.seen.holds.store(true, Ordering::SeqCst);
    house.feed(0, 4);
    let handle = house.start();
    assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap(), "holding by choice is quiet");
    assert!(house.out(0).is_empty());
    // The stage fails with its epoch open; nothing of it was committed.
    house.seen.holds.store(false, Ordering::SeqCst);
    house.seen.panics.store(true, Ordering::SeqCst);
    house.feed(4, 6);
    assert!(wait_until_quiet(&[&handle], house.log.as_ref(), PATIENCE).unwrap());
    handle.shutdown();
    handle.join().unwrap();
    house.expect(6);
    assert_eq!(house.seen.replayed.load(Ordering::SeqCst), 0);
}

#[test]
fn broadcasts_are_read_up_before_the_first_live_record() {
    let house = House::new();
    house.feed(0, 4);
    house.log.append(&(0..20).map(|n| record_for("side", n % 2, "word")).collect::<Vec<_>>()).unwrap();
    house.run();
    let told = house.seen.told();
    let first_input = told.iter().position(|what| what.starts_with("Live ") && what != "Live side").unwrap();
    let last_broadcast = told.iter().rposition(|what| what == "Live side").unwrap();
    assert!(last_broadcast < first_input, "{told:?}");
}

#[test]
fn a_restart_absorbs_what_is_muted_before_a_newer_broadcast() {
    let house = House::new();
    house.feed(0, 4);
    house.run();
    house.log.append(&[record_for("side", 0, "new")]).unwrap();
    house.feed(4, 6);
    let before = house.seen.told().len();
    house.run();
    let told = house.seen.told().split_off(before);
    let order = ["Replayed 1", "Replayed 1", "Live side", "Live 1", "Live 1"];
    assert_eq!(told.iter().filter(|what| what.contains(' ') && *what != "caught up").collect::<Vec<_>>(), order);
}

#[test]
fn a_stage_that_is_caught_up_is_told_once_and_after_its_own_commits() {
    let house = House::new();
    house.feed(0, 2);
    house.run();
    let told = house.seen.told();
    let end = told.iter().position(|what| what == "caught up").unwrap();
    // Its commit, then once more; the empty epoch that follows commits nothing, so it is not told a third time.
    assert_eq!(told[end..], ["caught up", "Due", "caught up", "Due", "Stopping"]);
}

#[test]
fn records_that_expired_before_they_were_read_end_the_stage() {
    let house = House::new();
    house.feed(0, 10);
    house.run();
    let short = Retention { age: None, bytes_per_partition: Some(0) };
    house.log.ensure_topic(&TopicSpec { name: "in".into(), partitions: 2, retention: short }).unwrap();
    house.feed(10, 20);
    house.log.enforce_retention(0).unwrap();
    let handle = house.start();
    assert!(handle.ends_within(PATIENCE));
    assert!(matches!(handle.status().state, StageState::Failed { .. }));
    let message = handle.join().unwrap_err().to_string();
    assert!(message.contains("reading in/0") && message.contains("lengthen the topic's retention"), "{message}");
    assert_eq!(house.seen.restarts.load(Ordering::SeqCst), 0);
    let told = house.seen.told();
    assert_eq!(told.iter().filter(|what| what.ends_with("failed for good")).count(), 1, "{told:?}");
}

/// A house that has read ten records, of which the log has none any more.
fn forgetful() -> House {
    let house = House::new();
    house.feed(0, 10);
    house.run();
    let short = Retention { age: None, bytes_per_partition: Some(0) };
    house.log.ensure_topic(&TopicSpec { name: "in".into(), partitions: 2, retention: short }).unwrap();
    house.log.enforce_retention(0).unwrap();
    assert_eq!(house.log.bounds("in", 0).unwrap().first, 5);
    house.feed(10, 20);
    house
}

#[test]
fn what_expired_after_it_was_read_is_recalled_by_a_stage_that_has_it_from_elsewhere() {
    let house = forgetful();
    house.seen.recalls.store(true, Ordering::SeqCst);
    house.run();
    house.expect(20);
    let told = house.seen.told();
    assert_eq!(told.iter().filter(|what| *what == "recall 4..5").count(), 2, "{told:?}");
}

#[test]
fn what_expired_after_it_was_read_ends_a_stage_that_has_it_from_nowhere() {
    let house = forgetful();
    let handle = house.start();
    assert!(handle.ends_within(PATIENCE));
    let message = handle.join().unwrap_err();
    let message = sentence(&message);
    assert!(message.contains("in/0 offset 4 has passed its retention; the oldest record is 5"), "{message}");
}

#[test]
fn a_stage_that_cannot_be_built_says_so_and_can_be_stopped() {
    let house = House::new();
    let factory: StageFactory = Arc::new(|| Err(StageError::failed("building", "no reference")));
    let spec =
        StageSpec { name: "unbuilt".into(), inputs: vec!["in".into()], broadcasts: Vec::new(), share: Share::All };
    let files = Arc::new(NoFiles);
    let telemetry = Arc::clone(&house.seen) as Arc<dyn StageTelemetry>;
    let crash = Crash::default();
    let context = RunnerContext { log: house.log.clone(), files, policy: house.policy, telemetry, crash };
    let handle = Runner::spawn(spec, factory, context).unwrap();
    while house.seen.restarts.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    assert!(handle.status().failures >= 2);
    assert!(!wait_until_quiet(&[&handle], house.log.as_ref(), Duration::ZERO).unwrap());
    handle.shutdown();
    handle.join().unwrap();
}

struct NoFiles;

impl FileStore for NoFiles {
    fn put(&self, path: &str, _: Bytes) -> Result<(), FileError> {
        Err(FileError { path: path.to_owned(), source: "there is no store".into() })
    }
}

#[test]
fn pauses_double_up_to_half_a_minute() {
    let pauses: Vec<_> = [1, 2, 3, 9, 10, 1_000].map(pause_after).iter().map(Duration::as_millis).collect();
    assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
}
