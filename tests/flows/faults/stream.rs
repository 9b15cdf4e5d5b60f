//! The stream: rows of a model that never was, with their labels, in order of time and from a seed.
//!
//! It begins a week back, because a watermark never passes the time at which the log took a record. Some rows are late, and
//! some never get a label.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::fmt::Write;
use std::time::SystemTime;

/// The model.
pub(super) const MODEL: &str = "bed";
/// Its version: that of a reference from a file.
pub(super) const VERSION: &str = "default";
/// Its categories.
const KINDS: [&str; 4] = ["walk-in", "ambulance", "transfer", "helicopter"];

/// Length of a window.
pub(super) const WINDOW_MS: i64 = 5 * MINUTE_MS;
/// How far an event may be behind without being late.
pub(super) const DISORDER_MS: i64 = MINUTE_MS;
/// After so long a label does not count.
pub(super) const HORIZON_MS: i64 = 20 * MINUTE_MS;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// From one row to the next.
const STEP_MS: i64 = 1_000;
const LABEL_DELAY_MS: i64 = MINUTE_MS;
/// How far behind a late row is, of which there are none until the watermarks stand.
const LATE_MS: i64 = 10 * MINUTE_MS;
const LATE_FROM: i64 = 200;
/// So much later than the last row that everything of before is over.
const CLOSING_MS: i64 = 2 * 60 * MINUTE_MS;

/// The configuration; `LOG` stands for the log and `PARTITIONS` for their number.
pub(super) const CONFIGURATION: &str = "
version: 1
log: LOG
api: {listen: \"127.0.0.1:0\"}
partitions: PARTITIONS
epoch: {interval: 200ms}
idle_after: 1h
max_disorder: 1m
archive: {roll_rows: 200}
models:
  bed:
    task: {type: binary, positive: \"1\", negative: \"0\"}
    features: {load: numeric, kind: categorical}
    windows: {size: 5m}
    labels: {mature: {after: 2m}, horizon: 20m}
    reference:
      file: reference.csv
      columns: {id: id, time: time, label: label, prediction: prediction, score: score}
";

/// What is added to the configuration to have the model retrained again and again: no challenger is any better, so that
/// each ends with its deadline.
pub(super) const RETRAINED: &str = "
    retrain:
      {every_labelled_rows: 300, min_labelled_rows: 100, cooldown: 1m, deadline: 10m, budget_per_day: 10000,
       max_attempts: 1000}
    trainer: {builtin: {}}
";

/// A row as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) time_ms: i64,
    pub(super) label: Option<&'static str>,
    load: f64,
    kind: &'static str,
    score: f64,
}

impl Row {
    /// Its inference event.
    pub(super) fn event(&self) -> Vec<u8> {
        let Self { id, time_ms, load, kind, score, .. } = self;
        let (features, prediction) = (json!({"load": load, "kind": kind}), self.prediction());
        let event = json!({"id": id, "time": time_ms, "model": MODEL, "version": VERSION, "features": features,
            "prediction": prediction, "score": score});
        event.to_string().into_bytes()
    }

    /// Its label event, where it gets one.
    pub(super) fn label_event(&self) -> Option<Vec<u8>> {
        let (id, time) = (&self.id, self.time_ms + LABEL_DELAY_MS);
        let event = json!({"id": id, "time": time, "model": MODEL, "label": self.label?});
        Some(event.to_string().into_bytes())
    }

    /// The same by another clock.
    pub(super) fn at(self, time_ms: i64) -> Self {
        Self { time_ms, ..self }
    }

    fn prediction(&self) -> &'static str {
        if self.score > 0.5 { "1" } else { "0" }
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Rows without end.
pub(super) struct Stream {
    random: ChaCha8Rng,
    next: i64,
    start_ms: i64,
}

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        let start_ms = (now_ms() - 7 * DAY_MS) / WINDOW_MS * WINDOW_MS;
        Self { random: ChaCha8Rng::seed_from_u64(seed), next: 0, start_ms }
    }

    /// The end of the last window that holds a row.
    pub(super) fn end_ms(&self) -> i64 {
        let last_ms = self.start_ms + (self.next - 1) * STEP_MS;
        (last_ms / WINDOW_MS + 1) * WINDOW_MS
    }

    /// A row so much later that everything of before is over; some of these get a label, and some do not.
    pub(super) fn closing(&mut self, number: u32) -> Row {
        let row = self.row(format!("closing-{number}"), self.start_ms + self.next * STEP_MS + CLOSING_MS);
        Row { label: number.is_multiple_of(2).then_some("1"), ..row }
    }

    /// The file that the reference is learned from.
    pub(super) fn reference() -> String {
        let mut text = "id,time,load,kind,prediction,score,label\n".to_owned();
        for row in Self::new(1).take(2_000) {
            let Row { id, time_ms, load, kind, score, label } = &row;
            let (prediction, label) = (row.prediction(), label.unwrap_or("0"));
            // A day before anything else.
            let time_ms = time_ms - DAY_MS;
            writeln!(text, "{id},{time_ms},{load},{kind},{prediction},{score},{label}").unwrap();
        }
        text
    }

    fn row(&mut self, id: String, time_ms: i64) -> Row {
        let score = f64::from(self.random.random_range(0..1_000)) / 1_000.0;
        let truth = if self.random.random_bool(score) { "1" } else { "0" };
        Row {
            id,
            time_ms,
            label: self.random.random_bool(0.7).then_some(truth),
            load: f64::from(self.random.random_range(0..100_000)) / 1_000.0,
            kind: KINDS[self.random.random_range(0..KINDS.len())],
            score,
        }
    }
}

impl Iterator for Stream {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let number = self.next;
        self.next += 1;
        let is_late = number >= LATE_FROM && self.random.random_bool(0.01);
        let time_ms = self.start_ms + number * STEP_MS - if is_late { LATE_MS } else { 0 };
        Some(self.row(format!("row-{number}"), time_ms))
    }
}
