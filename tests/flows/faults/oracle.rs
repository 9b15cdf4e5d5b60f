//! The oracle: a count of the input topics that shares nothing with capture but the bins.
//!
//! It reads each partition's records one after the other, with the rules of the design: an event behind its partition's
//! watermark is late, the first inference of an id wins, a label belongs to the prediction of its id whose horizon it is
//! within. Deliberately absent: ids that come again after the horizon, records of several events.

use super::stream::{DISORDER_MS, HORIZON_MS, WINDOW_MS};
use arrow::array::{ArrayRef, Float64Array, ListArray, StringArray};
use arrow::datatypes::UInt16Type;
use detectors::profile::Profile;
use detectors::reference::Reference;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use streams::log::Record;

/// The start of a pane, and whether its rows were late.
pub(super) type Pane = (i64, bool);

#[derive(Deserialize)]
struct Event {
    id: String,
    time: i64,
    features: Features,
    prediction: String,
    score: f64,
}

#[derive(Deserialize)]
struct Features {
    load: f64,
    kind: String,
}

#[derive(Deserialize)]
struct Label {
    id: String,
    time: i64,
}

/// A prediction that is waited for a label of.
struct Prediction {
    time_ms: i64,
    watermark_ms: Option<i64>,
    labelled: bool,
}

/// What one partition of the inputs holds.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) produced: i64,
    pub(super) duplicates: i64,
    /// Offsets of records that are none of the model's.
    pub(super) dead_letters: Vec<i64>,
    pub(super) dead_labels: Vec<i64>,
    pub(super) predictions: i64,
    pub(super) labelled: i64,
    pub(super) expired: i64,
    /// Good rows of inferences and of labels, by offset.
    pub(super) archived: (Vec<i64>, Vec<i64>),
    pub(super) watermark_ms: Option<i64>,
    rows: BTreeMap<Pane, Vec<Event>>,
}

impl Counted {
    /// Counts the records of one partition of inferences and labels.
    pub(super) fn of(inferences: &[Record], labels: &[Record]) -> Self {
        let mut counted = Self::default();
        let mut predictions: HashMap<String, Prediction> = HashMap::new();
        for record in inferences {
            counted.produced += 1;
            match parsed::<Event>(record) {
                Some(event) => counted.event(event, record, &mut predictions),
                None => counted.dead_letters.push(record.offset),
            }
        }
        let watermark_ms = counted.labels(labels, &mut predictions);
        counted.predictions = predictions.len() as i64;
        counted.labelled = predictions.values().filter(|prediction| prediction.labelled).count() as i64;
        let passed_ms = counted.watermark_ms.zip(watermark_ms).map_or(i64::MIN, |(a, b)| a.min(b) - HORIZON_MS);
        let is_expired = |prediction: &&Prediction| !prediction.labelled && prediction.time_ms < passed_ms;
        counted.expired = predictions.values().filter(is_expired).count() as i64;
        counted
    }

    /// The panes with their counts, in bins of the reference.
    pub(super) fn panes(&self, reference: &Reference) -> BTreeMap<Pane, Profile> {
        self.rows.iter().map(|(pane, rows)| (*pane, profile(rows, reference))).collect()
    }

    fn event(&mut self, event: Event, record: &Record, predictions: &mut HashMap<String, Prediction>) {
        let watermark_ms = self.watermark_ms;
        let late = watermark_ms.is_some_and(|at| event.time < at);
        self.watermark_ms = advanced(watermark_ms, event.time, record);
        self.archived.0.push(record.offset);
        if predictions.contains_key(&event.id) {
            self.duplicates += 1;
            return;
        }
        let prediction = Prediction { time_ms: event.time, watermark_ms, labelled: false };
        predictions.insert(event.id.clone(), prediction);
        self.rows.entry((event.time.div_euclid(WINDOW_MS) * WINDOW_MS, late)).or_default().push(event);
    }

    /// The watermark of the labels after them.
    fn labels(&mut self, labels: &[Record], predictions: &mut HashMap<String, Prediction>) -> Option<i64> {
        let mut watermark_ms = None;
        for record in labels {
            let Some(label) = parsed::<Label>(record) else {
                self.dead_labels.push(record.offset);
                continue;
            };
            self.archived.1.push(record.offset);
            let effective_ms = watermark_ms.map_or(label.time, |at| label.time.max(at));
            watermark_ms = advanced(watermark_ms, label.time, record);
            let Some(prediction) = predictions.get_mut(&label.id) else { continue };
            let comes_after = prediction.watermark_ms.is_none_or(|at| at <= effective_ms);
            prediction.labelled |= comes_after && effective_ms <= prediction.time_ms + HORIZON_MS;
        }
        watermark_ms
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(record: &Record) -> Option<T> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}

fn advanced(watermark_ms: Option<i64>, time_ms: i64, record: &Record) -> Option<i64> {
    watermark_ms.max(Some(time_ms.min(record.append_time_ms) - DISORDER_MS))
}

fn profile(rows: &[Event], reference: &Reference) -> Profile {
    let text = |of: fn(&Event) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let number = |of: fn(&Event) -> f64| Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns = reference.schema().columns.iter().map(|column| match column.name.as_str() {
        "load" => number(|event| event.features.load),
        "kind" => text(|event| &event.features.kind),
        "prediction" => text(|event| &event.prediction),
        "score" => number(|event| event.score),
        other => panic!("the model has no {other}"),
    });
    let columns: Vec<_> = columns.collect();
    let fits = rows.iter().map(|_| None::<Vec<Option<u16>>>);
    let wrong_type: ArrayRef = Arc::new(ListArray::from_iter_primitive::<UInt16Type, _, _>(fits));
    let mut profile = Profile::empty(reference.layouts());
    profile.observe(reference.layouts(), &columns, &wrong_type).unwrap();
    profile
}
