//! The event that the benchmarks send: ten numbers and two categories by name, with a prediction and a score.
//!
//! Numbers have between one and seventeen digits, as measured values and computed ones do: two of ten are whole, one is
//! near zero, and one has all the digits that a double can have. It takes some 330 bytes in JSON and 270 in MessagePack.

use codec::decode::{Decoder, Limits, Privacy, Source};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) const MODEL: &str = "bed";
pub(crate) const VERSION: &str = "4";
/// Time of the first event; each further one comes a millisecond later.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// An event with its fields in the order of the wire format's description.
#[derive(Serialize)]
pub(crate) struct Event {
    id: String,
    time: i64,
    model: &'static str,
    version: &'static str,
    features: Map<String, Value>,
    prediction: &'static str,
    score: f64,
}

pub(crate) fn event(n: u64) -> Event {
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
        model: MODEL,
        version: VERSION,
        features,
        prediction: "1",
        score: 0.8125,
    }
}

pub(crate) fn schema() -> ModelSchema {
    let numbers = (0..10).map(|n| (format!("measure_{n:02}"), ColumnKind::Numeric));
    let categories = ["arrival", "complaint"].map(|name| (name.to_owned(), ColumnKind::Categorical));
    let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
    ModelSchema::new(numbers.chain(categories), task)
}

pub(crate) fn decoder() -> Decoder {
    let privacy = Privacy::default();
    let source = Source { model: MODEL.into(), schema: schema(), segments: Vec::new(), privacy, mapping: None };
    Decoder::new(vec![source], Limits::default())
}
