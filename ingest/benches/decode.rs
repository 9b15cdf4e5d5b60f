//! Decoding into columns: ten numbers and two categories by name, some 330 bytes an event, one event a record; as an Arrow
//! stream, 256 events a record.
//!
//! Every iteration decodes as many records as an epoch would and finishes their batches, so that building arrays is
//! included. Numbers have between one and seventeen digits, as measured values and computed ones do.

use arrow::array::{Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use ingest::decode::{Decoder, Limits, Privacy, Source};
use ingest::log::Record;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::sync::Arc;

const EVENTS: u64 = 20_000;
const START_MS: i64 = 1_700_000_000_000;

fn decoder() -> Decoder {
    let numbers = (0..10).map(|n| (format!("measure_{n:02}"), ColumnKind::Numeric));
    let categories = ["arrival", "complaint"].map(|name| (name.to_owned(), ColumnKind::Categorical));
    let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
    let schema = ModelSchema::new(numbers.chain(categories), task);
    let source =
        Source { model: "bed".into(), schema, segments: Vec::new(), privacy: Privacy::default(), mapping: None };
    Decoder::new(vec![source], Limits::default())
}

/// An event with its fields in the order of the wire format's description.
#[derive(Serialize)]
struct Event {
    id: String,
    time: i64,
    model: &'static str,
    version: &'static str,
    features: Map<String, Value>,
    prediction: &'static str,
    score: f64,
}

fn event(n: u64) -> Event {
    let mut features = Map::new();
    for k in 0..10 {
        let raw = ((n * 31 + k * 17) % 1009) as f64;
        let value = match k % 5 {
            0 => json!(raw as i64),
            1 => json!(raw / 3.0),
            2 => json!(raw / 10.0),
            3 => json!(raw / 1000.0),
            _ => json!(raw / 8.0),
        };
        features.insert(format!("measure_{k:02}"), value);
    }
    features.insert("arrival".to_owned(), json!(["walk-in", "ambulance"][(n % 2) as usize]));
    features.insert("complaint".to_owned(), json!(["chest pain", "fever", "fracture"][(n % 3) as usize]));
    Event {
        id: format!("patient-{n:08}"),
        time: START_MS + n as i64,
        model: "bed",
        version: "4",
        features,
        prediction: "1",
        score: 0.8125,
    }
}

fn records(encode: impl Fn(&Event) -> Vec<u8>) -> Vec<Record> {
    let records = (0..EVENTS).map(|n| Record {
        offset: n as i64,
        append_time_ms: START_MS + n as i64,
        key: None,
        value: Some(encode(&event(n)).into()),
        headers: Vec::new(),
    });
    records.collect()
}

fn decode(c: &mut Criterion) {
    let formats = [
        ("messagepack", records(|event| rmp_serde::to_vec_named(event).unwrap_or_default())),
        ("json", records(|event| serde_json::to_vec(event).unwrap_or_default())),
    ];
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(30);
    for (name, records) in formats {
        let bytes: usize = records.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len()).sum();
        println!("{name}: {} bytes an event", bytes as u64 / EVENTS);
        group.bench_function(name, |bencher| {
            let mut decoder = decoder();
            bencher.iter(|| {
                for record in &records {
                    decoder.decode_events(0, record);
                }
                black_box(decoder.take())
            });
        });
    }
    let record = Record {
        offset: 0,
        append_time_ms: START_MS + EVENTS as i64,
        key: None,
        value: Some(arrow_stream(256).into()),
        headers: Vec::new(),
    };
    group.throughput(Throughput::Elements(EVENTS / 256 * 256));
    group.bench_function("arrow, 256 events a record", |bencher| {
        let mut decoder = decoder();
        bencher.iter(|| {
            for _ in 0..EVENTS / 256 {
                decoder.decode_events(0, &record);
            }
            black_box(decoder.take())
        });
    });
    group.finish();
}

/// The first events as one stream, categories and names as dictionaries.
fn arrow_stream(events: u64) -> Vec<u8> {
    let rows: Vec<_> = (0..events).map(event).collect();
    let names = |name: &dyn Fn(&Event) -> Option<String>| -> ArrayRef {
        let names: Vec<_> = rows.iter().map(name).collect();
        Arc::new(names.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".to_owned(), Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.id.as_str())))),
        ("time".to_owned(), Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.time)))),
        ("model".to_owned(), names(&|row| Some(row.model.to_owned()))),
        ("version".to_owned(), names(&|row| Some(row.version.to_owned()))),
        ("prediction".to_owned(), names(&|row| Some(row.prediction.to_owned()))),
        ("score".to_owned(), Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.score)))),
    ];
    for name in rows.iter().flat_map(|row| row.features.keys()).take(12) {
        let numbers: Float64Array = rows.iter().map(|row| row.features.get(name)?.as_f64()).collect();
        let column = match numbers.null_count() {
            0 => Arc::new(numbers),
            _ => names(&|row| Some(row.features.get(name)?.as_str()?.to_owned())),
        };
        columns.push((format!("features.{name}"), column));
    }
    let written = RecordBatch::try_from_iter(columns).and_then(|batch| {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(&batch)?;
        writer.into_inner()
    });
    written.unwrap_or_default()
}

criterion_group!(benches, decode);
criterion_main!(benches);
