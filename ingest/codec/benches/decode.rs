//! Decoding into columns: ten numbers and two categories by name, one event a record.
//!
//! Every iteration decodes as many records as the runner delivers at once and finishes their batches, so that building
//! arrays is included. Beside each decoder stands a plain cursor over the same bytes: it goes past every value and does nothing with
//! it, and so says what the machine of the day allows. Compare the two, not figures of different days.
//!
//! What bounds it: instructions, some 4,000 an event in MessagePack and 7,000 in JSON, which are nearly all independent of
//! each other: 19 keys and 18 values are told apart, and 21 columns grow by a row. Nothing is allocated for an event, and
//! records and columns of a delivery lie in the second cache. JSON costs more by the digits of its numbers.
//!
//! The promise is 3 million events a second a core for MessagePack and 1 million for JSON, where the plain cursor over
//! MessagePack does 2 to 5 million.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

mod event;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{START_MS, decoder, event};
use rmp::Marker;
use rmp::decode::read_marker;
use serde::de::IgnoredAny;
use std::hint::black_box;
use streams::log::{Headers, Record};

/// The most records of one delivery of the runner.
const EVENTS: u64 = 4_096;

fn records(encode: impl Fn(&event::Event) -> Vec<u8>) -> Vec<Record> {
    let records = (0..EVENTS).map(|n| Record {
        offset: n as i64,
        append_time_ms: START_MS + n as i64,
        key: None,
        value: Some(encode(&event(n)).into()),
        headers: Headers::default(),
    });
    records.collect()
}

fn decode(criterion: &mut Criterion) {
    let messagepack = records(|event| rmp_serde::to_vec_named(event).unwrap_or_default());
    let json = records(|event| serde_json::to_vec(event).unwrap_or_default());
    compare(criterion, ("messagepack", &messagepack), |mut bytes| pass_value(&mut bytes));
    compare(criterion, ("json", &json), |bytes| serde_json::from_slice::<IgnoredAny>(bytes).map_or(0, |_| bytes.len()));
}

/// The decoder into columns, and a plain cursor that returns something of what it went past.
fn compare(criterion: &mut Criterion, (name, records): (&str, &[Record]), cursor: impl Fn(&[u8]) -> usize) {
    let values = || records.iter().filter_map(|record| record.value.as_deref());
    println!("{name}: {} bytes an event", values().map(<[u8]>::len).sum::<usize>() as u64 / EVENTS);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(EVENTS)).sample_size(30);
    group.bench_function("into columns", |bencher| {
        let mut decoder = decoder();
        bencher.iter(|| {
            for record in records {
                decoder.decode_events(0, record).unwrap();
            }
            black_box(decoder.take())
        });
    });
    group.bench_function("plain cursor", |bencher| bencher.iter(|| black_box(values().map(&cursor).sum::<usize>())));
    group.finish();
}

/// Goes past a value of the kinds that the events have; returns how many bytes of text were in it.
fn pass_value(bytes: &mut &[u8]) -> usize {
    let Ok(marker) = read_marker(bytes) else { return 0 };
    let mut pass = |length| *bytes = bytes.get(length..).unwrap_or_default();
    match marker {
        Marker::F64 | Marker::U64 => pass(8),
        Marker::U8 => pass(1),
        Marker::U16 => pass(2),
        Marker::FixStr(length) => {
            pass(usize::from(length));
            return usize::from(length);
        }
        Marker::FixMap(entries) => return (0..2 * entries).map(|_| pass_value(bytes)).sum(),
        _ => {}
    }
    0
}

criterion_group!(benches, decode);
criterion_main!(benches);
