//! What every log promises, as functions that any implementation can be run through.
//!
//! Each takes an empty log. They assume only what [`Log`] says: offsets grow, but need not be dense.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "these are tests that other crates call; their names are their docs"
)]

use super::{
    Committed, Log, LogError, LogReader, NewRecord, Progress, Read, ReadBudget, Record, Retention, TopicSpec,
    Transaction,
};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long a condition is waited for before a promise counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);
const ALL: ReadBudget = ReadBudget { records: usize::MAX, bytes: usize::MAX };

/// Runs every promise, each on a log of its own.
pub fn keeps_every_promise<L: AsRef<dyn Log>>(mut empty_log: impl FnMut() -> L) {
    let promises: [fn(&dyn Log); 15] = [
        records_come_back_in_order_with_all_their_parts,
        partitions_do_not_mix,
        a_read_keeps_to_its_budget_but_returns_one_record,
        an_append_to_a_partition_that_does_not_exist_appends_nothing,
        a_topic_keeps_its_number_of_partitions,
        a_topic_tells_how_long_it_keeps_records,
        a_commit_is_all_or_nothing,
        groups_do_not_see_each_other,
        append_times_never_go_backwards_and_can_be_looked_up,
        the_version_grows_with_every_record,
        a_reader_returns_what_reads_do_and_knows_the_end,
        a_reader_wakes_when_a_record_arrives_or_it_is_called,
        a_group_that_is_taken_over_goes_on_where_it_was,
        concurrent_appends_lose_nothing,
        it_behaves_like_a_list_per_partition,
    ];
    for promise in promises {
        promise(empty_log().as_ref());
    }
}

pub fn records_come_back_in_order_with_all_their_parts(log: &dyn Log) {
    create(log, "t", 1);
    let full = NewRecord {
        key: Some(Bytes::from_static(b"key")),
        headers: vec![
            ("h".into(), Bytes::from_static(b"1")),
            ("h".into(), Bytes::new()),
            (String::new(), Bytes::new()),
        ],
        ..record("t", 0, "value")
    };
    let tombstone = NewRecord { value: None, ..record("t", 0, "") };
    let empty = record("t", 0, "");
    let large = NewRecord { value: Some(Bytes::from(vec![7; 300_000])), ..record("t", 0, "") };
    let written = [full, tombstone, empty, large];
    log.append(&written).expect("the topic exists");
    let read = read_all(log, "t", 0);
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((&read.key, &read.value, &*read.headers), (&written.key, &written.value, &*written.headers));
    }
    assert!(read.is_sorted_by(|before, after| before.offset < after.offset), "offsets grow");
    let end = log.bounds("t", 0).expect("it exists").end;
    assert!(log.read("t", 0, end, ALL).expect("the end can be read").is_empty());
}

pub fn partitions_do_not_mix(log: &dyn Log) {
    create(log, "a", 2);
    create(log, "b", 1);
    log.append(&[record("a", 1, "a1"), record("b", 0, "b0"), record("a", 0, "a0")]).expect("the topics exist");
    assert_eq!(values(log, "a", 0), ["a0"]);
    assert_eq!(values(log, "a", 1), ["a1"]);
    assert_eq!(values(log, "b", 0), ["b0"]);
    assert_eq!(log.partitions("a").expect("it exists"), 2);
}

pub fn a_read_keeps_to_its_budget_but_returns_one_record(log: &dyn Log) {
    create(log, "t", 1);
    log.append(&[record("t", 0, "12345"), record("t", 0, "12345"), record("t", 0, "12345")]).expect("the topic exists");
    let first = log.bounds("t", 0).expect("it exists").first;
    for (records, bytes, expected) in [(2, 100, 2), (9, 10, 2), (9, 14, 2), (9, 1, 1), (0, 0, 1), (9, 15, 3)] {
        let read = log.read("t", 0, first, ReadBudget { records, bytes }).expect("it exists");
        assert_eq!(read.len(), expected, "budget of {records} records and {bytes} bytes");
    }
}

pub fn an_append_to_a_partition_that_does_not_exist_appends_nothing(log: &dyn Log) {
    create(log, "t", 1);
    for (topic, partition) in [("t", 1), ("u", 0)] {
        let error = log.append(&[record("t", 0, "good"), record(topic, partition, "bad")]).expect_err("there is none");
        assert!(matches!(error, LogError::NoSuchPartition { .. }), "{error}");
        let error = log.read(topic, partition, 0, ALL).expect_err("there is none");
        assert!(matches!(error, LogError::NoSuchPartition { .. }), "{error}");
    }
    assert!(values(log, "t", 0).is_empty());
}

pub fn a_topic_keeps_its_number_of_partitions(log: &dyn Log) {
    create(log, "t", 2);
    create(log, "t", 2);
    let other = TopicSpec { name: "t".into(), partitions: 3, retention: Retention::default() };
    let error = log.ensure_topic(&other).expect_err("it has two");
    assert!(matches!(error, LogError::PartitionsDiffer { found: 2, wanted: 3, .. }), "{error}");
}

pub fn a_topic_tells_how_long_it_keeps_records(log: &dyn Log) {
    let bounded = Retention { age: Some(Duration::from_secs(3_600)), bytes_per_partition: Some(1 << 30) };
    for (name, retention) in [("bounded", bounded), ("unbounded", Retention::default())] {
        log.ensure_topic(&TopicSpec { name: name.into(), partitions: 2, retention }).expect("it can be made");
        assert_eq!(log.retention(name).expect("it is there"), retention);
    }
    assert!(log.retention("none").is_err(), "there is no such topic");
}

pub fn a_commit_is_all_or_nothing(log: &dyn Log) {
    create(log, "in", 1);
    create(log, "out", 1);
    log.append(&[record("in", 0, "x")]).expect("the topic exists");
    let good = commit_of(record("out", 0, "made"), 1, "0");
    log.commit("g", &good).expect("all of it exists");
    assert_eq!(values(log, "out", 0), ["made"]);
    let stored = Committed { offset: 1, metadata: "0".into() };
    assert_eq!(log.committed("g", "in", 0).expect("readable"), Some(stored.clone()));
    assert_eq!(log.snapshot("g").expect("readable"), Some(Bytes::from_static(b"snapshot 1")));

    let bad = commit_of(record("nowhere", 0, "lost"), 2, "1");
    log.commit("g", &bad).expect_err("the topic does not exist");
    assert_eq!(log.committed("g", "in", 0).expect("readable"), Some(stored));
    assert_eq!(log.snapshot("g").expect("readable"), Some(Bytes::from_static(b"snapshot 1")));

    let keeping = Transaction { snapshot: None, ..commit_of(record("out", 0, "more"), 3, "2") };
    log.commit("g", &keeping).expect("all of it exists");
    assert_eq!(log.snapshot("g").expect("readable"), Some(Bytes::from_static(b"snapshot 1")), "None keeps the last");
}

pub fn groups_do_not_see_each_other(log: &dyn Log) {
    create(log, "in", 1);
    create(log, "out", 1);
    log.commit("g", &commit_of(record("out", 0, "made"), 1, "0")).expect("all of it exists");
    assert_eq!(log.committed("h", "in", 0).expect("readable"), None);
    assert_eq!(log.committed("g", "out", 0).expect("readable"), None);
    assert_eq!(log.snapshot("h").expect("readable"), None);
}

pub fn append_times_never_go_backwards_and_can_be_looked_up(log: &dyn Log) {
    create(log, "t", 1);
    for value in ["a", "b", "c", "d"] {
        log.append(&[record("t", 0, value), record("t", 0, value)]).expect("the topic exists");
    }
    let read = read_all(log, "t", 0);
    assert!(read.is_sorted_by_key(|record| record.append_time_ms));
    for record in &read {
        let found = log.offset_at("t", 0, record.append_time_ms).expect("it exists");
        let first = read.iter().find(|other| other.append_time_ms >= record.append_time_ms);
        assert_eq!(Some(found), first.map(|first| first.offset));
    }
    let bounds = log.bounds("t", 0).expect("it exists");
    assert_eq!(log.offset_at("t", 0, i64::MAX).expect("it exists"), bounds.end);
    assert_eq!(log.offset_at("t", 0, i64::MIN).expect("it exists"), bounds.first);
}

pub fn the_version_grows_with_every_record(log: &dyn Log) {
    create(log, "t", 1);
    let mut seen = log.version().expect("it is known");
    for number in 0..4 {
        let records = vec![record("t", 0, "x")];
        match number % 2 {
            0 => log.append(&records).expect("the topic exists"),
            _ => log.commit("g", &Transaction { records, ..Transaction::default() }).expect("the topic exists"),
        }
        let version = log.version().expect("it is known");
        assert!(version > seen, "a record counts");
        seen = version;
    }
}

pub fn a_reader_returns_what_reads_do_and_knows_the_end(log: &dyn Log) {
    create(log, "t", 2);
    let mut reader = log.reader().expect("it can be had");
    let starts = [0, 1].map(|partition| log.bounds("t", partition).expect("it exists").first);
    let mut next = starts;
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..4 {
        let batch: Vec<_> = (0..20).map(|n| record("t", n % 2, &format!("{round}:{n}"))).collect();
        match round % 2 {
            0 => log.append(&batch).expect("the topic exists"),
            _ => log.commit("g", &Transaction { records: batch, ..Transaction::default() }).expect("it exists"),
        }
        let deadline = Instant::now() + PATIENCE;
        while !read_round(reader.as_mut(), &mut next, &mut all) || !reader.is_at_end().expect("it is known") {
            assert!(Instant::now() < deadline, "the end is never reached");
        }
        assert_eq!(all.each_ref().map(Vec::len), [10 * (round + 1); 2], "after round {round}");
    }
    for (partition, read) in (0..).zip(&all) {
        assert_eq!(read, &read_all(log, "t", partition));
    }
    // From another place, and on from there.
    let [first, ..] = all.each_ref().map(Vec::as_slice);
    for at in [5, 0, 17, 18, 19, 3] {
        let from = first.get(at).expect("there are forty").offset;
        let found = until_records(reader.as_mut(), from);
        assert_eq!(found.first(), first.get(at), "from record {at}");
    }
}

pub fn a_reader_wakes_when_a_record_arrives_or_it_is_called(log: &dyn Log) {
    create(log, "t", 1);
    let first = log.bounds("t", 0).expect("it exists").first;
    let mut reader = log.reader().expect("it can be had");
    std::thread::scope(|scope| {
        scope.spawn(|| log.append(&[record("t", 0, "x")]).expect("the topic exists"));
        assert_eq!(until_records(reader.as_mut(), first).len(), 1);
    });
    let deadline = Instant::now() + PATIENCE;
    let waker = reader.waker();
    std::thread::scope(|scope| {
        scope.spawn(move || waker());
        reader.wait(PATIENCE * 2);
    });
    assert!(Instant::now() < deadline, "the waker ends a wait");
    let before = Instant::now();
    // What rang before may end the first of them.
    (0..3).for_each(|_| reader.wait(Duration::from_millis(1)));
    assert!(before.elapsed() < PATIENCE, "a wait ends with its timeout");
}

pub fn a_group_that_is_taken_over_goes_on_where_it_was(log: &dyn Log) {
    create(log, "in", 1);
    create(log, "out", 1);
    log.fence("g").expect("nothing is in its way");
    log.commit("g", &commit_of(record("out", 0, "one"), 1, "0")).expect("all of it exists");
    log.fence("g").expect("nothing is in its way");
    let stored = Committed { offset: 1, metadata: "0".into() };
    assert_eq!(log.committed("g", "in", 0).expect("readable"), Some(stored));
    assert_eq!(log.snapshot("g").expect("readable"), Some(Bytes::from_static(b"snapshot 1")));
    let large = Bytes::from((0..2_500_000_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
    let larger = Transaction { snapshot: Some(large.clone()), ..commit_of(record("out", 0, "two"), 2, "1") };
    log.commit("g", &larger).expect("all of it exists");
    log.fence("g").expect("nothing is in its way");
    assert!(log.snapshot("g").expect("readable") == Some(large), "a large snapshot comes back whole");
    log.commit("g", &commit_of(record("out", 0, "three"), 3, "2")).expect("all of it exists");
    assert_eq!(log.snapshot("g").expect("readable"), Some(Bytes::from_static(b"snapshot 3")));
    assert_eq!(values(log, "out", 0), ["one", "two", "three"]);
}

pub fn concurrent_appends_lose_nothing(log: &dyn Log) {
    create(log, "t", 2);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for number in 0..25 {
                    let value = format!("{writer}:{number}");
                    log.append(&[record("t", 0, &value), record("t", 1, &value)]).expect("the topic exists");
                    let bad = log.append(&[record("t", 0, "bad"), record("t", 9, "bad")]);
                    assert!(bad.is_err(), "a neighbour's failure stays its own");
                }
            });
        }
    });
    for partition in 0..2 {
        let found = values(log, "t", partition);
        assert_eq!(found.len(), 8 * 25);
        for writer in 0..8 {
            let own = found.iter().filter(|value| value.starts_with(&format!("{writer}:")));
            assert!(own.eq((0..25).map(|number| format!("{writer}:{number}")).collect::<Vec<_>>().iter()));
        }
    }
}

/// Random appends and commits against lists in memory.
pub fn it_behaves_like_a_list_per_partition(log: &dyn Log) {
    create(log, "t", 3);
    let mut model = vec![Vec::new(); 3];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: u64| {
        // Knuth's linear congruential generator; its high bits are good enough to mix calls.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for step in 0..120 {
        let batch: Vec<_> = (0..below(6))
            .map(|number| record("t", u32::try_from(below(3)).unwrap_or(0), &format!("{step}.{number}")))
            .collect();
        if below(2) == 0 {
            log.append(&batch).expect("the topic exists");
        } else {
            log.commit("g", &Transaction { records: batch.clone(), ..Transaction::default() }).expect("it exists");
        }
        for new in batch {
            let value = new.value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned());
            model.get_mut(new.partition as usize).expect("there are three").extend(value);
        }
    }
    for (partition, expected) in (0..).zip(&model) {
        assert_eq!(&values(log, "t", partition), expected);
    }
}

fn create(log: &dyn Log, name: &str, partitions: u32) {
    let topic = TopicSpec { name: name.into(), partitions, retention: Retention::default() };
    log.ensure_topic(&topic).expect("a topic can be created");
}

fn record(topic: &str, partition: u32, value: &str) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    NewRecord { topic: topic.into(), partition, key: None, value, headers: Vec::new(), appended_ms: None }
}

fn commit_of(made: NewRecord, offset: i64, resume: &str) -> Transaction {
    let committed = Committed { offset, metadata: resume.into() };
    Transaction {
        records: vec![made],
        progress: vec![Progress { topic: "in".into(), partition: 0, committed }],
        snapshot: Some(Bytes::from(format!("snapshot {offset}"))),
    }
}

/// One read of each partition of `t`; says whether all were at their end.
fn read_round(reader: &mut dyn LogReader, next: &mut [i64; 2], all: &mut [Vec<Record>; 2]) -> bool {
    let mut ended = true;
    for ((partition, next), all) in (0..).zip(next).zip(all) {
        let budget = ReadBudget { records: 3, bytes: 1 << 20 };
        match reader.read("t", partition, *next, budget).expect("it exists") {
            Read::Records(records) => {
                *next = records.last().expect("there is at least one").offset + 1;
                all.extend(records);
                ended = false;
            }
            Read::End => {}
            Read::Pending => ended = false,
        }
    }
    if !ended {
        reader.wait(Duration::from_millis(1));
    }
    ended
}

fn until_records(reader: &mut dyn LogReader, from: i64) -> Vec<Record> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Read::Records(records) = reader.read("t", 0, from, ALL).expect("it exists") {
            return records;
        }
        assert!(Instant::now() < deadline, "no record came");
        reader.wait(PATIENCE);
    }
}

/// Reads a partition in small steps.
fn read_all(log: &dyn Log, topic: &str, partition: u32) -> Vec<Record> {
    let mut next = log.bounds(topic, partition).expect("it exists").first;
    let mut all = Vec::new();
    loop {
        let read = log.read(topic, partition, next, ReadBudget { records: 7, bytes: 1 << 20 }).expect("it exists");
        let Some(last) = read.last() else { return all };
        next = last.offset + 1;
        all.extend(read);
    }
}

fn values(log: &dyn Log, topic: &str, partition: u32) -> Vec<String> {
    let text = |record: Record| String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
    read_all(log, topic, partition).into_iter().map(text).collect()
}
