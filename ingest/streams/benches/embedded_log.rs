//! Appending to and reading from the embedded log, in records as capture sees them: 256 events, 80 KB.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise; criterion's macro writes main"
)]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;
use streams::log::embedded::{Durability, EmbeddedLog, Options};
use streams::log::{Log, NewRecord, ReadBudget, Retention, TopicSpec};
use tempfile::TempDir;

const RECORD_BYTES: usize = 80_000;
const RECORDS: usize = 4_000;
/// Records of one append.
const BATCH: usize = 32;

fn open(synchronous: Durability) -> (TempDir, Arc<EmbeddedLog>) {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(directory.path(), Options { synchronous, ..Options::default() }).unwrap();
    let topic = TopicSpec { name: "inferences".into(), partitions: 1, retention: Retention::default() };
    log.ensure_topic(&topic).unwrap();
    (directory, log)
}

fn batch() -> Vec<NewRecord> {
    let value = Some(Bytes::from(vec![42; RECORD_BYTES]));
    let record = NewRecord {
        topic: "inferences".into(),
        partition: 0,
        key: None,
        value,
        headers: Vec::new(),
        appended_ms: None,
    };
    vec![record; BATCH]
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append 32 records of 80 KB");
    group.throughput(Throughput::Bytes((BATCH * RECORD_BYTES) as u64)).sample_size(20);
    let batch = batch();
    for synchronous in [Durability::Full, Durability::Off] {
        group.bench_function(format!("{synchronous:?}"), |bencher| {
            let (_directory, log) = open(synchronous);
            bencher.iter_batched(|| (), |()| log.append(&batch).unwrap(), BatchSize::PerIteration);
        });
    }
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read 4,000 records of 80 KB");
    group.throughput(Throughput::Bytes((RECORDS * RECORD_BYTES) as u64)).sample_size(10);
    let (_directory, log) = open(Durability::Off);
    let batch = batch();
    for _ in 0..RECORDS / BATCH {
        log.append(&batch).unwrap();
    }
    group.bench_function("4 MB a read", |bencher| bencher.iter(|| read_all(log.as_ref())));
}

fn read_all(log: &EmbeddedLog) {
    let end = log.bounds("inferences", 0).unwrap().end;
    let mut next = 0;
    while next < end {
        let records = log.read("inferences", 0, next, ReadBudget { records: 4_096, bytes: 4 << 20 }).unwrap();
        next = records.last().unwrap().offset + 1;
    }
}

criterion_group!(benches, append, read);
criterion_main!(benches);
