//! Writes events of wire format v1 in MessagePack.
//!
//! Writing into memory cannot fail, so the results of the writers are dropped.

use super::{EncodedRecord, EncoderSpec, Label, RowColumns, WaitingLabel, outcome, score_classes};
use crate::files::{Cell, Column};
use bytes::Bytes;
use detectors::schema::ColumnKind;
use rmp::encode;

/// Writes one row as an inference event.
pub(super) struct EventWriter<'a> {
    pub(super) spec: &'a EncoderSpec,
    pub(super) columns: &'a RowColumns,
    pub(super) row: usize,
}

impl EventWriter<'_> {
    /// Appends the event; `time` is the cell itself where it holds none.
    pub(super) fn write(&self, id: &str, time: Result<i64, Cell<'_>>, out: &mut Vec<u8>) {
        let Self { spec, columns, row } = self;
        let optional = [columns.prediction.is_some(), !columns.scores.is_empty(), !columns.segments.is_empty()];
        map(out, 5 + optional.iter().filter(|there| **there).count());
        text(out, "id");
        text(out, id);
        text(out, "time");
        match time {
            Ok(millis) => moment(out, millis),
            Err(cell) => as_it_is(out, &cell),
        }
        text(out, "model");
        text(out, &spec.model);
        text(out, "version");
        text(out, &spec.version);
        text(out, "features");
        map(out, columns.features.len());
        for (name, kind, column) in &columns.features {
            text(out, name);
            value(out, *kind, &column.cell(*row));
        }
        if let Some(prediction) = &columns.prediction {
            text(out, "prediction");
            let (task, cell) = (&spec.schema.task, prediction.cell(*row));
            match (task.outcome_kind(), outcome(task, &cell)) {
                (ColumnKind::Categorical, Some(class)) => text(out, &class),
                (kind, _) => value(out, kind, &cell),
            }
        }
        self.write_scores(out);
        self.write_segments(out);
    }

    fn write_scores(&self, out: &mut Vec<u8>) {
        let number = |column: &Column, out: &mut Vec<u8>| value(out, ColumnKind::Numeric, &column.cell(self.row));
        let classes = score_classes(&self.spec.schema.task);
        match self.columns.scores.as_slice() {
            [] => {}
            [score] if classes.is_empty() => {
                text(out, "score");
                number(score, out);
            }
            scores => {
                text(out, "score");
                map(out, scores.len().min(classes.len()));
                for (class, score) in classes.iter().zip(scores) {
                    text(out, class);
                    number(score, out);
                }
            }
        }
    }

    fn write_segments(&self, out: &mut Vec<u8>) {
        if self.columns.segments.is_empty() {
            return;
        }
        text(out, "segment");
        map(out, self.columns.segments.len());
        for (dimension, column) in &self.columns.segments {
            text(out, dimension);
            value(out, ColumnKind::Categorical, &column.cell(self.row));
        }
    }
}

/// Appends a label event.
pub(super) fn write_label(model: &str, waiting: &WaitingLabel, millis: i64, out: &mut Vec<u8>) {
    map(out, 4);
    text(out, "id");
    text(out, &waiting.id);
    text(out, "time");
    moment(out, millis);
    text(out, "model");
    text(out, model);
    text(out, "label");
    match &waiting.label {
        Label::Number(number) => float(out, *number),
        Label::Text(label) => text(out, label),
    }
}

/// A record of so many events.
pub(super) fn record(partition: u32, events: u32, bytes: &[u8]) -> EncodedRecord {
    let mut value = Vec::with_capacity(bytes.len() + 5);
    let _ = encode::write_array_len(&mut value, events);
    value.extend_from_slice(bytes);
    EncodedRecord { partition, events, value: Bytes::from(value) }
}

/// A value as its column wants it; one that does not fit goes as it is, to be counted by the service.
fn value(out: &mut Vec<u8>, kind: ColumnKind, cell: &Cell<'_>) {
    match (kind, cell, cell.number()) {
        (_, Cell::Null, _) => nil(out),
        (ColumnKind::Numeric, _, Some(number)) => float(out, number),
        (ColumnKind::Numeric, _, None) if cell.is_missing() => nil(out),
        (ColumnKind::Numeric, _, None) => as_it_is(out, cell),
        (ColumnKind::Categorical, _, _) => match cell.category() {
            Some(name) => text(out, &name),
            None => nil(out),
        },
    }
}

/// A time: so early ones as text, which as numbers would be taken for seconds.
fn moment(out: &mut Vec<u8>, millis: i64) {
    const FIRST_NUMBER_MS: i64 = 100_000_000_000;
    if millis >= FIRST_NUMBER_MS {
        return whole(out, millis);
    }
    match streams::cloud_event::rfc3339(millis) {
        Some(moment) => text(out, &moment),
        None => whole(out, millis),
    }
}

fn as_it_is(out: &mut Vec<u8>, cell: &Cell<'_>) {
    match cell {
        Cell::Null => nil(out),
        Cell::Float(number) => float(out, *number),
        Cell::Integer(number) | Cell::Moment(number) => whole(out, *number),
        Cell::Text(content) | Cell::Digits(content) => text(out, content),
        Cell::Boolean(truth) => {
            let _ = encode::write_bool(out, *truth);
        }
    }
}

fn map(out: &mut Vec<u8>, entries: usize) {
    let _ = encode::write_map_len(out, u32::try_from(entries).unwrap_or(u32::MAX));
}

fn text(out: &mut Vec<u8>, content: &str) {
    let _ = encode::write_str(out, content);
}

fn whole(out: &mut Vec<u8>, number: i64) {
    let _ = encode::write_sint(out, number);
}

fn float(out: &mut Vec<u8>, number: f64) {
    let _ = encode::write_f64(out, number);
}

fn nil(out: &mut Vec<u8>) {
    let _ = encode::write_nil(out);
}
