//! What an id that waits for its label costs: time for a prediction and its label, and memory.
//!
//! Two ways to hold a million ids of 36 characters, each with an output, a score and a segment: all in memory, and with
//! memory for a tenth of them, so that the others are in runs on disk. Labels come in another order than predictions did,
//! so that each look-up is somewhere else. Time is that on the processor, and bytes are what the process takes more than before,
//! both by the system's own count; each way has a process of its own, which finds no memory that the other has given back.
//!
//! Turning the batch's columns into rows is part of a prediction's time. Files are in the system's cache, as they mostly are
//! where labels come within days.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark stops at the first surprise")]

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use capture::join::{Dues, KeptColumns, Label, LabelJoin, LabelPolicy, LabelSpace, LabelValue, Prediction};
use detectors::windows::WindowSpec;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const IDS: u64 = 1_000_000;
const ROWS: u64 = 256;
const HORIZON_MS: i64 = 10_000_000;

/// Bytes of memory that the process takes.
fn resident() -> u64 {
    const PAGE: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

/// Nanoseconds that this thread has had of a processor.
fn processor_ns() -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    statistics.split(' ').next().unwrap().parse().unwrap()
}

fn id(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (high, low) = (mixed >> 32, mixed & 0xffff);
    format!("{high:08x}-{:04x}-4{:03x}-{low:04x}-{number:012x}", mixed >> 16 & 0xffff, mixed & 0xfff)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("event_time_ms", DataType::Int64, false),
        Field::new("prediction", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
        Field::new("segment.age_group", DataType::Utf8, true),
    ]))
}

fn batch(from: u64) -> RecordBatch {
    let numbers = from..from + ROWS;
    let age = |number| if number % 3 == 0 { "older" } else { "younger" };
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(|number| number as i64))),
        Arc::new(StringArray::from_iter_values(numbers.clone().map(|number| (number % 2).to_string()))),
        Arc::new(Float64Array::from_iter_values(numbers.clone().map(|number| number as f64))),
        Arc::new(StringArray::from_iter_values(numbers.map(age))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A join under measurement.
struct Measured {
    join: LabelJoin,
    kept: Arc<KeptColumns>,
    ids: Vec<String>,
    before: u64,
}

impl Measured {
    fn new(memory: u64) -> Self {
        let directory = std::env::temp_dir().join("driftline-label-join");
        let space = Arc::new(LabelSpace::new(directory, memory));
        let kept = Arc::new(KeptColumns::new(schema()).unwrap());
        let policy = LabelPolicy {
            ages_ms: vec![1_000],
            coverage: None,
            horizon_ms: HORIZON_MS,
            absent: None,
            max_pending: usize::MAX,
        };
        let ids: Vec<_> = (0..IDS).map(id).collect();
        let windows = WindowSpec::tumbling(Duration::from_secs(60)).unwrap();
        let dues = Dues { windows, step_ms: 1_000, judged_at_ms: vec![1_000] };
        let join = LabelJoin::new(policy, dues, Arc::clone(&kept), &space);
        Self { join, kept, ids, before: resident() }
    }

    fn predict(&mut self) -> u64 {
        let version: Arc<str> = "1".into();
        let mut took = 0;
        for from in (0..IDS - ROWS).step_by(ROWS as usize) {
            let batch = batch(from);
            let start = processor_ns();
            let rows = self.kept.rows(&batch).unwrap();
            for row in 0..ROWS {
                let (number, time_ms) = ((from + row) as usize, (from + row) as i64);
                let (row, watermark_ms) = (rows.row(row as usize).data(), Some(time_ms - 100));
                let prediction =
                    Prediction { version: &version, row, time_ms, watermark_ms, offset: time_ms, late: false };
                self.join.predict(&self.ids[number], prediction, None).unwrap();
            }
            took += processor_ns() - start;
        }
        took
    }

    fn label(&mut self) -> u64 {
        let start = processor_ns();
        for step in 0..IDS {
            let number = step * 7_919 % (IDS - ROWS);
            let (time_ms, value) = (number as i64 + 500, LabelValue::Class("1".into()));
            let label = Label { value, time_ms, watermark_ms: Some(number as i64), offset: time_ms };
            self.join.label(&self.ids[number as usize], label).unwrap();
            if step % ROWS == 0 {
                self.join.discard_outcomes();
                self.join.take_needs();
            }
        }
        processor_ns() - start
    }

    fn pass(&mut self) -> u64 {
        let (start, end) = (processor_ns(), Some(2 * HORIZON_MS));
        self.join.pass(end, end).unwrap();
        processor_ns() - start
    }

    fn tell(&self, what: &str, took: u64) {
        let bytes = resident().saturating_sub(self.before) / IDS;
        println!("{what:<12} {:>6} ns an id, {bytes:>4} bytes of memory an id", took / IDS);
    }
}

/// The ways to hold ids, and the memory for each.
const WAYS: [(&str, u64); 2] = [("in-memory", 1 << 40), ("on-disk", 12 << 20)];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((way, memory)) = WAYS.into_iter().find(|(way, _)| *way == wanted) else {
        for (way, _) in WAYS {
            assert!(Command::new(std::env::current_exe().unwrap()).arg(way).status().unwrap().success());
        }
        return;
    };
    println!("{way}:");
    let mut measured = Measured::new(memory);
    let took = measured.predict();
    measured.tell("predictions", took);
    let took = measured.predict();
    measured.tell("duplicates", took);
    let took = measured.label();
    measured.tell("labels", took);
    let took = measured.pass();
    measured.tell("expiry", took);
}
