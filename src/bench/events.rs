//! The events that a measurement sends: ten numbers and two categories, in each of the formats.
//!
//! Values have between one and seventeen digits, as measured values and computed ones do. What an event says depends on its
//! number alone.

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use codec::decode::Format;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Its version: that of a model which has none of its own.
const VERSION: &str = "default";
/// Time of the first event.
const START_MS: i64 = 1_700_000_000_000;

/// How many features are numbers.
pub(super) const NUMBERS: usize = 10;
/// The features that are categories, and how many values each has.
pub(super) const CATEGORIES: [(&str, u64); 2] = [("arrival", 2), ("complaint", 12)];

#[derive(Serialize)]
struct Event<'a> {
    id: String,
    time: i64,
    model: &'a str,
    version: &'static str,
    features: BTreeMap<String, Value>,
    prediction: &'static str,
    score: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Category(String),
}

/// The name of a number.
pub(super) fn number_name(place: usize) -> String {
    format!("measure_{place:02}")
}

fn number(event: u64, place: usize) -> f64 {
    let raw = ((event * 31 + place as u64 * 17) % 1_009) as f64;
    match place % 5 {
        0 => raw,
        1 => raw / 3.0,
        2 => raw / 10.0,
        3 => raw / 1_000.0,
        _ => raw / 8.0,
    }
}

fn category(event: u64, values: u64) -> String {
    format!("value {}", event.wrapping_mul(2_654_435_761) % values)
}

/// How close to one another events happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Density {
    events_per_ms: u64,
}

impl Density {
    /// As in a stream of 200,000 events a second.
    pub(super) const DENSE: Self = Self { events_per_ms: 200 };
    /// As in one of a thousand, whose windows end two hundred times as often for the same number of events.
    pub(super) const SPARSE: Self = Self { events_per_ms: 1 };

    /// When an event happened.
    pub(super) fn time_ms(self, event: u64) -> i64 {
        START_MS + (event / self.events_per_ms) as i64
    }
}

fn score(event: u64) -> f64 {
    (event % 997) as f64 / 997.0
}

/// The rows of a file that a reference is learned from.
pub(super) fn reference(events: u64) -> String {
    let names = (0..NUMBERS).map(number_name).chain(CATEGORIES.map(|(name, _)| name.to_owned()));
    let mut text = names.collect::<Vec<_>>().join(",") + ",prediction,score\n";
    for event in 0..events {
        let numbers = (0..NUMBERS).map(|place| number(event, place).to_string());
        let cells = numbers.chain(CATEGORIES.map(|(_, values)| category(event, values)));
        text += &cells.collect::<Vec<_>>().join(",");
        text += &format!(",1,{}\n", score(event));
    }
    text
}

/// The name of a model.
pub(super) fn model_name(number: u64) -> String {
    format!("bench-{number:04}")
}

/// One record of these events of a model.
pub(super) fn record(format: Format, model: &str, events: &[u64], density: Density) -> Result<Bytes> {
    let rows = || events.iter().map(|number| event(model, *number, density)).collect::<Vec<_>>();
    Ok(match format {
        Format::Arrow => arrow_stream(model, events, density)?.into(),
        Format::MessagePack => rmp_serde::to_vec_named(&rows())?.into(),
        Format::Json => serde_json::to_vec(&rows())?.into(),
    })
}

fn event(model: &str, event: u64, density: Density) -> Event<'_> {
    let numbers = (0..NUMBERS).map(|place| (number_name(place), Value::Number(number(event, place))));
    let categories = CATEGORIES.map(|(name, values)| (name.to_owned(), Value::Category(category(event, values))));
    Event {
        id: id(event),
        time: density.time_ms(event),
        model,
        version: VERSION,
        features: numbers.chain(categories).collect(),
        prediction: "1",
        score: score(event),
    }
}

/// The id of an event.
pub(super) fn id(event: u64) -> String {
    format!("event-{event:09}")
}

fn arrow_stream(model: &str, events: &[u64], density: Density) -> Result<Vec<u8>> {
    let texts = |text: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(events.iter().map(|number| text(*number))))
    };
    let times = Int64Array::from_iter_values(events.iter().map(|number| density.time_ms(*number)));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".to_owned(), texts(&id)),
        ("time".to_owned(), Arc::new(times)),
        ("model".to_owned(), texts(&|_| model.to_owned())),
        ("version".to_owned(), texts(&|_| VERSION.to_owned())),
        ("prediction".to_owned(), texts(&|_| "1".to_owned())),
        ("score".to_owned(), Arc::new(Float64Array::from_iter_values(events.iter().map(|n| score(*n))))),
    ];
    for place in 0..NUMBERS {
        let values = Float64Array::from_iter_values(events.iter().map(|n| number(*n, place)));
        columns.push((format!("features.{}", number_name(place)), Arc::new(values)));
    }
    for (name, values) in CATEGORIES {
        columns.push((format!("features.{name}"), texts(&|n| category(n, values))));
    }
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}
