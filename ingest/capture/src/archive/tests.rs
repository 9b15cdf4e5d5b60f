//! What the archive promises: every good row once, whoever is killed and whatever is compacted.

use super::compaction::{Compacted, CompactionPolicy, NeededFrom, compact};
use super::index::ArchiveIndex;
use super::parquet_file::from_parquet;
use super::*;
use crate::fixtures::{self, START_MS, event, label, new_record};
use crate::history::History;
use arrow::array::Array;
use detectors::verdict::{Cut, Position};
use serde_json::{Value, json};
use std::ops::Range;
use streams::log::embedded::{Durability, EmbeddedLog, Options};
use streams::log::{Log, ReadBudget, Retention, TopicSpec};
use streams::stage::Delivery;
use streams::store::Store;
use tempfile::TempDir;

const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };
/// No stage needs any row again.
const NOTHING: NeededFrom<'static> = &|_, _| Ok(None);
const MERGE: CompactionPolicy = CompactionPolicy { least_files: 2, small_bytes: u64::MAX, keep: None };

/// A log and a store, and the archive's place in the log.
pub(crate) struct House {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) store: Arc<Store>,
    read: BTreeMap<(&'static str, PartitionId), Offset>,
    writers: usize,
    _directories: [TempDir; 2],
}

impl House {
    pub(crate) fn new() -> Self {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let options = Options { synchronous: Durability::Off, ..Options::default() };
        let log = EmbeddedLog::open(directories[0].path(), options).unwrap();
        for (name, partitions) in [(topics::INFERENCES, 2), (topics::LABELS, 2), (topics::ARCHIVED, 1)] {
            log.ensure_topic(&TopicSpec { name: name.to_owned(), partitions, retention: Retention::default() })
                .unwrap();
        }
        let store = Arc::new(Store::in_directory(directories[1].path()).unwrap());
        Self { log, store, read: BTreeMap::new(), writers: 0, _directories: directories }
    }

    pub(crate) fn infer(&self, partition: PartitionId, event: &Value) {
        self.log.append(&[new_record(topics::INFERENCES, partition, event)]).unwrap();
    }

    pub(crate) fn label(&self, partition: PartitionId, label: &Value) {
        self.log.append(&[new_record(topics::LABELS, partition, label)]).unwrap();
    }

    /// What a new writer makes of all that is not archived yet.
    fn sealed(&mut self) -> Epoch {
        self.writers += 1;
        let roll = RollPolicy { rows: usize::MAX, after: Duration::MAX };
        let mut archive = Archive::new(fixtures::decoder(&fixtures::watched()), roll, format!("w{}", self.writers));
        let mut has_read = false;
        for topic in [topics::INFERENCES, topics::LABELS] {
            for partition in 0..2 {
                let from = self.read.get(&(topic, partition)).copied().unwrap_or(0);
                let records = self.log.read(topic, partition, from, ALL).unwrap();
                has_read |= !records.is_empty();
                let delivery = Delivery::Live;
                archive.absorb(Input::Records { topic, partition, records: &records, delivery }).unwrap();
            }
        }
        let goes_on = archive.seal(Seal::Due).unwrap().is_none();
        assert_eq!(goes_on, has_read, "an epoch that is not full goes on, and one of nothing ends");
        archive.seal(Seal::Stopping).unwrap().unwrap()
    }

    pub(crate) fn archive(&mut self) {
        let epoch = self.sealed();
        for file in epoch.files {
            self.store.write(&file.path, file.bytes).unwrap();
        }
        self.log.append(&epoch.records).unwrap();
        for topic in [topics::INFERENCES, topics::LABELS] {
            for partition in 0..2 {
                self.read.insert((topic, partition), self.log.bounds(topic, partition).unwrap().end);
            }
        }
    }

    /// A writer that is killed between its files and its transaction.
    fn archive_and_die(&mut self) {
        for file in self.sealed().files {
            self.store.write(&file.path, file.bytes).unwrap();
        }
    }

    fn index(&self) -> ArchiveIndex {
        let mut index = ArchiveIndex::default();
        index.refresh(self.log.as_ref()).unwrap();
        index
    }

    /// Ids of a topic's archived rows, file by file.
    fn ids(&self, topic: &str) -> Vec<String> {
        let index = self.index();
        let files = index.files(topic, fixtures::MODEL, i64::MIN, i64::MAX);
        files.flat_map(|file| ids(&from_parquet(self.store.read(&file.path).unwrap()).unwrap())).collect()
    }

    pub(crate) fn history(&self) -> History {
        let watched = Arc::new(fixtures::watched());
        let decoder = fixtures::decoder(&watched);
        History::new(Arc::clone(&self.log) as Arc<dyn Log>, Arc::clone(&self.store), vec![watched], decoder)
    }

    pub(crate) fn now(&self) -> Cut {
        let mut positions = Vec::new();
        for topic in [topics::INFERENCES, topics::LABELS] {
            for partition in 0..2 {
                let offset = self.log.bounds(topic, partition).unwrap().end;
                positions.push(Position { topic: topic.to_owned(), partition, offset });
            }
        }
        Cut { at_ms: 0, positions }
    }
}

pub(crate) fn ids(rows: &RecordBatch) -> Vec<String> {
    let column = rows.column_by_name(columns::EVENT_ID).unwrap().as_string::<i32>();
    column.iter().map(|id| id.unwrap().to_owned()).collect()
}

/// Id and label of each row.
pub(crate) fn labelled(rows: &RecordBatch) -> Vec<(String, Option<String>)> {
    let labels = rows.column_by_name(columns::LABEL).unwrap().as_string::<i32>();
    let label = |row: usize| labels.is_valid(row).then(|| labels.value(row).to_owned());
    ids(rows).into_iter().enumerate().map(|(row, id)| (id, label(row))).collect()
}

fn filled() -> House {
    let mut house = House::new();
    for n in 0..5 {
        house.infer(0, &event(&format!("a{n}"), START_MS + n, n));
        house.infer(1, &json!([event(&format!("b{n}"), START_MS + n, n), event(&format!("c{n}"), START_MS + n, n)]));
        house.label(0, &label(&format!("a{n}"), START_MS + 10 + n, 1));
        house.archive();
    }
    house
}

#[test]
fn every_good_row_is_archived_once_and_bad_ones_and_marks_are_not() {
    let mut house = filled();
    house.infer(0, &json!({"id": "bad"}));
    house.log.append(&[Control::Heartbeat(START_MS).to_record(topics::INFERENCES, 1)]).unwrap();
    house.archive();
    let mut archived = house.ids(topics::INFERENCES);
    archived.sort();
    let expected: Vec<_> = ["a", "b", "c"].iter().flat_map(|kind| (0..5).map(move |n| format!("{kind}{n}"))).collect();
    assert_eq!(archived, expected);
    assert_eq!(house.ids(topics::LABELS).len(), 5);
    assert_eq!(house.index().end(topics::INFERENCES, 0), 6);
}

#[test]
fn what_a_killed_writer_left_is_no_ones() {
    let mut house = House::new();
    house.infer(0, &event("a", START_MS, 1));
    house.archive_and_die();
    assert_eq!(house.ids(topics::INFERENCES), [""; 0]);
    house.archive();
    assert_eq!(house.ids(topics::INFERENCES), ["a"]);
}

#[test]
fn two_writers_of_the_same_rows_never_share_a_path() {
    let mut house = House::new();
    house.infer(0, &event("a", START_MS, 1));
    let paths = [house.sealed(), house.sealed()].map(|epoch| epoch.files[0].path.clone());
    assert_ne!(paths[0], paths[1]);
}

#[test]
fn rows_of_two_days_go_to_two_files_in_log_order() {
    let mut house = House::new();
    for (id, day) in [("a", 0), ("b", 1), ("c", 0)] {
        house.infer(0, &event(id, START_MS + day * DAY_MS, 1));
    }
    house.archive();
    let index = house.index();
    let days: BTreeMap<_, _> = index.all().map(|file| (file.day, file.rows)).collect();
    let first = START_MS / DAY_MS;
    assert_eq!(days, BTreeMap::from([(first, 2), (first + 1, 1)]));
    let of_first_day = index.all().find(|file| file.day == first).unwrap();
    assert_eq!(ids(&from_parquet(house.store.read(&of_first_day.path).unwrap()).unwrap()), ["a", "c"]);
}

#[test]
fn an_epoch_is_closed_when_it_holds_enough_rows_or_has_lasted_long_enough() {
    let record = |offset, append_ms| {
        fixtures::as_stored(new_record(topics::INFERENCES, 0, &event("a", START_MS, 1)), offset, append_ms)
    };
    let hour = 3_600_000;
    for (records, is_closed) in [
        (vec![record(0, START_MS)], false),
        (vec![record(0, START_MS), record(1, START_MS), record(2, START_MS)], true),
        (vec![record(0, START_MS), record(1, START_MS + hour)], true),
    ] {
        let roll = RollPolicy { rows: 3, after: Duration::from_secs(3_600) };
        let mut archive = Archive::new(fixtures::decoder(&fixtures::watched()), roll, "n".to_owned());
        let (topic, delivery) = (topics::INFERENCES, Delivery::Live);
        archive.absorb(Input::Records { topic, partition: 0, records: &records, delivery }).unwrap();
        assert_eq!(archive.seal(Seal::Due).unwrap().is_some(), is_closed);
    }
}

#[test]
fn compaction_keeps_rows_and_their_log_order_and_deletes_what_it_replaced() {
    let house = filled();
    let replaced: Vec<_> = house.index().all().map(|file| file.path.clone()).collect();
    let done = compact(house.log.as_ref(), &house.store, &MERGE, NOTHING).unwrap();
    assert_eq!(done, Compacted { written: 2, removed: 10 });
    let in_order = ["a0", "a1", "a2", "a3", "a4", "b0", "c0", "b1", "c1", "b2", "c2", "b3", "c3", "b4", "c4"];
    assert_eq!(house.ids(topics::INFERENCES), in_order);
    assert!(replaced.iter().all(|path| house.store.read(path).is_err()));
    assert_eq!(house.index().end(topics::INFERENCES, 1), 5, "the archive reaches as far as before");
    assert_eq!(compact(house.log.as_ref(), &house.store, &MERGE, NOTHING).unwrap(), Compacted::default());
}

#[test]
fn files_that_are_too_old_go_by_event_time() {
    let mut house = House::new();
    for (id, day) in [("old", 0), ("young", 9)] {
        house.infer(0, &event(id, START_MS + day * DAY_MS, 1));
        house.archive();
    }
    let keep = Some(Duration::from_secs(5 * 86_400));
    let done = compact(house.log.as_ref(), &house.store, &CompactionPolicy { keep, ..MERGE }, NOTHING).unwrap();
    assert_eq!((done.removed, house.ids(topics::INFERENCES)), (1, vec!["young".to_owned()]));
}

/// All rows of history, and those of a span, however they are read.
fn seen(house: &House, history: &mut History, span_ms: Range<i64>) -> Vec<(String, Option<String>)> {
    labelled(&history.rows(fixtures::MODEL, &house.now(), span_ms).unwrap())
}

#[test]
fn history_is_the_same_before_and_after_archiving_and_compaction() {
    let mut house = House::new();
    for n in 0..12 {
        let id = format!("a{}", n % 9);
        house.infer((n % 2) as u32, &event(&id, START_MS + n * 100, n));
        house.label((n % 2) as u32, &label(&id, START_MS + n * 100 + 50, n % 2));
    }
    for span_ms in [i64::MIN..i64::MAX, START_MS + 950..START_MS + 1_200] {
        let from_log = seen(&house, &mut house.history(), span_ms.clone());
        assert!(!from_log.is_empty());
        house.archive();
        assert_eq!(seen(&house, &mut house.history(), span_ms.clone()), from_log, "archived");
        compact(house.log.as_ref(), &house.store, &MERGE, NOTHING).unwrap();
        assert_eq!(seen(&house, &mut house.history(), span_ms), from_log, "compacted");
    }
}

#[test]
fn history_that_was_read_before_and_one_that_begins_now_agree() {
    let mut house = House::new();
    let mut following = house.history();
    for n in 0..30 {
        let id = format!("a{}", n * 7 % 11);
        house.infer(0, &event(&id, START_MS + n * 400, n));
        house.label(0, &label(&id, START_MS + n * 400 + 100, n % 2));
        if n % 5 == 4 {
            house.archive();
        }
        let span_ms = START_MS + n * 400 - 1_500..START_MS + n * 400 + 1;
        let fresh = seen(&house, &mut house.history(), span_ms.clone());
        assert_eq!(seen(&house, &mut following, span_ms), fresh, "after {n}");
    }
}

#[test]
fn the_first_inference_and_the_last_label_count() {
    let house = House::new();
    let mut carrying = event("b", START_MS, 1);
    carrying["label"] = json!("0");
    house.infer(0, &event("a", START_MS, 1));
    house.infer(0, &event("a", START_MS + 5, 2));
    house.infer(0, &carrying);
    house.infer(0, &event("c", START_MS, 1));
    house.label(0, &label("a", START_MS + 10, 0));
    house.label(0, &label("a", START_MS + 20, 1));
    house.label(0, &label("c", START_MS + fixtures::HORIZON_MS + 1, 1));
    let rows = house.history().rows(fixtures::MODEL, &house.now(), i64::MIN..i64::MAX).unwrap();
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(labelled(&rows), [("a".to_owned(), text("1")), ("b".to_owned(), text("0")), ("c".to_owned(), None)]);
    let times = rows.column_by_name(EVENT_TIME).unwrap().as_primitive::<Int64Type>();
    assert_eq!(times.value(0), START_MS);
    let only = house.history().labelled_rows(fixtures::MODEL, &house.now(), i64::MIN..i64::MAX).unwrap();
    assert_eq!(ids(&only), ["a", "b"]);
}

#[test]
fn history_ends_at_the_cut() {
    let house = House::new();
    house.infer(0, &event("a", START_MS, 1));
    house.label(0, &label("a", START_MS + 10, 0));
    let cut = house.now();
    house.label(0, &label("a", START_MS + 11, 1));
    house.infer(0, &event("b", START_MS, 1));
    let rows = house.history().rows(fixtures::MODEL, &cut, i64::MIN..i64::MAX).unwrap();
    assert_eq!(labelled(&rows), [("a".to_owned(), Some("0".to_owned()))]);
}
