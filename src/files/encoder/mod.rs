//! Turns rows into inference and label events, as a service in production would send them.
//!
//! Every record holds many events of one partition, in MessagePack. The order of the rows is kept within each partition,
//! and a label is sent when its time has come: after so many further rows, or when event time has passed it. Labels that
//! wait are the only state; [`EventEncoder::finish`] sends those that still do.
//!
//! A row whose time cannot be read is sent with the time as it stands, so that the service puts it among the dead letters
//! and counts it. The first row must be readable, because a wrong column is likelier than a bad first row.

use super::time::{self, millis};
use super::{Cell, Column, RowBatch, SourceError};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use detectors::schema::{ColumnKind, ModelSchema, PREDICTION, Task};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use streams::partition::partition_of;

mod labels;
mod msgpack;

pub use labels::{LabelRows, LabelTimes};

use msgpack::EventWriter;

/// Events in one record at most: enough to amortise its cost, little enough for a reader's memory.
const MOST_EVENTS: u32 = 256;

/// Where an event's id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventId {
    /// A column.
    Column(String),
    /// The row's number in the file that this name tells from others: rows of two files never share an id.
    RowOf(String),
}

/// Where an event's time comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTime {
    /// A column.
    Column(String),
    /// The row's number: `start_ms + row * interval`.
    Synthetic {
        /// Time of row 0, milliseconds since the epoch.
        start_ms: i64,
        /// Time between two rows.
        interval: Duration,
    },
}

/// When the label of a row is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelDelay {
    /// After so many further rows; its time is that of the row which it follows.
    Rows(u64),
    /// So long after its event.
    Time(Duration),
    /// At the time that a column names.
    Column(String),
}

/// Which model the rows belong to, and what their columns are.
#[derive(Debug, Clone)]
pub struct EncoderSpec {
    /// The file, for messages.
    pub file: PathBuf,
    /// The model.
    pub model: String,
    /// The version that answered.
    pub version: String,
    /// The model's features and task.
    pub schema: ModelSchema,
    /// Column of each feature that does not stand under its own name.
    pub renamed: BTreeMap<String, String>,
    /// Where the id comes from.
    pub id: EventId,
    /// Where the time comes from.
    pub time: EventTime,
    /// Column of the label.
    pub label: Option<String>,
    /// When labels are sent.
    pub label_delay: LabelDelay,
    /// Column of the prediction.
    pub prediction: Option<String>,
    /// Columns of the scores, in the order of the task's score columns; empty where there are none.
    pub scores: Vec<String>,
    /// Dimension and column of each segment that events carry.
    pub segments: Vec<(String, String)>,
    /// Partitions of the input topics.
    pub partitions: u32,
}

/// A record for one partition of `inferences` or `labels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRecord {
    /// The partition of all its events.
    pub partition: u32,
    /// How many events it holds.
    pub events: u32,
    /// The events, a MessagePack array.
    pub value: Bytes,
}

/// Records made of some rows: append `events` before `labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Inference events.
    pub events: Vec<EncodedRecord>,
    /// Labels whose time has come.
    pub labels: Vec<EncodedRecord>,
    /// The latest event time so far, milliseconds since the epoch.
    pub latest_ms: Option<i64>,
}

/// What has become of rows in the encoder, as far as nobody after it can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedRows {
    /// Labels that were or will be sent.
    pub labels: u64,
    /// Labels that are not sent, because the time at which they came cannot be read.
    pub untimed_labels: u64,
    /// Rows whose time cannot be read, and that the service will refuse.
    pub untimed_rows: u64,
    /// Labels that are not sent, because no prediction of theirs is in the log to tell their time by.
    pub unknown_labels: u64,
    /// The first row without a time: its number and what it has for one.
    pub first_untimed: Option<(u64, String)>,
}

/// Encodes the rows of one file, in order.
#[derive(Debug)]
pub struct EventEncoder {
    spec: EncoderSpec,
    waiting: VecDeque<WaitingLabel>,
    latest_ms: Option<i64>,
    rows: EncodedRows,
}

#[derive(Debug)]
struct WaitingLabel {
    due: Due,
    id: String,
    label: Label,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    AfterRow(u64),
    At(i64),
}

#[derive(Debug, Clone, PartialEq)]
enum Label {
    Number(f64),
    Text(String),
}

impl Label {
    fn of(task: &Task, cell: &Cell<'_>) -> Option<Self> {
        match (task.outcome_kind(), cell.number()) {
            (ColumnKind::Numeric, Some(number)) => Some(Self::Number(number)),
            (ColumnKind::Numeric, None) if cell.is_missing() => None,
            _ => outcome(task, cell).map(Self::Text),
        }
    }
}

impl EventEncoder {
    /// From the next row on this version answers.
    pub fn answered_by(&mut self, version: &str) {
        if self.spec.version != version {
            self.spec.version = version.to_owned();
        }
    }

    /// An encoder before the first row.
    pub fn new(spec: EncoderSpec) -> Self {
        Self { spec, waiting: VecDeque::new(), latest_ms: None, rows: EncodedRows::default() }
    }

    /// What has become of the rows so far.
    pub fn rows(&self) -> &EncodedRows {
        &self.rows
    }

    /// The same, to be told of rows that went another way.
    pub fn rows_mut(&mut self) -> &mut EncodedRows {
        &mut self.rows
    }

    /// Encodes rows that follow those before. `answers` holds prediction and score columns of a model that serves the rows;
    /// without it they come from the file, where it has them.
    ///
    /// # Errors
    /// When a column is missing or of no plain type, an id is null, or the first row's time cannot be read.
    pub fn encode(&mut self, rows: &RowBatch, answers: Option<&RecordBatch>) -> Result<Encoded, SourceError> {
        let columns = RowColumns::find(&self.spec, rows, answers)?;
        let mut events = Partitioned::new(self.spec.partitions);
        let mut labels = Partitioned::new(self.spec.partitions);
        for row in 0..rows.batch.num_rows() {
            let number = rows.first_row + row as u64;
            let id = self.id_of(&columns, rows, row)?;
            let time = self.time_of(&columns, rows, row)?;
            let partition = partition_of(&id, self.spec.partitions);
            let writer = EventWriter { spec: &self.spec, columns: &columns, row };
            writer.write(&id, time, events.room(partition));
            match time {
                Ok(millis) => {
                    self.latest_ms = Some(self.latest_ms.map_or(millis, |latest| latest.max(millis)));
                    self.wait_for_label(&columns, rows, WaitingFor { id, row, millis });
                }
                Err(cell) => {
                    self.rows.untimed_rows += 1;
                    self.rows.first_untimed.get_or_insert_with(|| (rows.number(row), cell.shown()));
                }
            }
            self.send_due(number, &mut labels);
        }
        Ok(Encoded { events: events.finish(), labels: labels.finish(), latest_ms: self.latest_ms })
    }

    /// The labels that still wait, each at the time at which it was due; those that waited for rows, at the last event's.
    pub fn finish(&mut self) -> Encoded {
        let mut labels = Partitioned::new(self.spec.partitions);
        for waiting in std::mem::take(&mut self.waiting) {
            self.write_label(&waiting, &mut labels);
        }
        Encoded { events: Vec::new(), labels: labels.finish(), latest_ms: self.latest_ms }
    }

    fn id_of(&self, columns: &RowColumns, rows: &RowBatch, row: usize) -> Result<String, SourceError> {
        match (&self.spec.id, &columns.id) {
            (EventId::RowOf(file), _) => Ok(format!("{file}-{}", rows.number(row))),
            (EventId::Column(_), Some(column)) => column.cell(row).category().ok_or_else(|| {
                self.misfit((rows, row), column, "an id: every row needs one; without --id the row's number serves")
            }),
            (EventId::Column(name), None) => Err(self.no_column(name)),
        }
    }

    /// The time of a row, or the text that is none.
    fn time_of<'a>(
        &self,
        columns: &'a RowColumns,
        rows: &RowBatch,
        row: usize,
    ) -> Result<Result<i64, Cell<'a>>, SourceError> {
        let number = rows.first_row + row as u64;
        let column = match (&self.spec.time, &columns.time) {
            (EventTime::Synthetic { start_ms, interval }, _) => {
                let passed = interval.as_millis().saturating_mul(number.into());
                return Ok(Ok(start_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))));
            }
            (EventTime::Column(_), Some(column)) => column,
            (EventTime::Column(name), None) => return Err(self.no_column(name)),
        };
        let cell = column.cell(row);
        match millis(&cell) {
            Some(millis) => Ok(Ok(millis)),
            None if number == 0 => Err(self.misfit((rows, row), column, time::wanted(&cell))),
            None => Ok(Err(cell)),
        }
    }

    fn misfit(&self, (rows, row): (&RowBatch, usize), column: &Column, wanted: &'static str) -> SourceError {
        let found = format!("{:?}", column.cell(row)).chars().take(80).collect();
        let (file, column) = (self.spec.file.clone(), column.name().to_owned());
        SourceError::Value { file, row: rows.number(row), column, found, wanted }
    }

    fn no_column(&self, name: &str) -> SourceError {
        SourceError::NoColumn { file: self.spec.file.clone(), column: name.to_owned(), found: String::new() }
    }

    fn wait_for_label(&mut self, columns: &RowColumns, rows: &RowBatch, event: WaitingFor) {
        let Some(column) = &columns.label else { return };
        let cell = column.cell(event.row);
        // A null label is one that never came.
        let Some(label) = Label::of(&self.spec.schema.task, &cell) else { return };
        let due = match &self.spec.label_delay {
            LabelDelay::Rows(delay) => Due::AfterRow(rows.first_row + event.row as u64 + delay),
            LabelDelay::Time(delay) => {
                Due::At(event.millis.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
            }
            LabelDelay::Column(_) => {
                let cell = columns.label_time.as_ref().map_or(Cell::Null, |column| column.cell(event.row));
                let Some(at) = millis(&cell) else {
                    self.rows.untimed_labels += 1;
                    self.rows.first_untimed.get_or_insert_with(|| (rows.number(event.row), cell.shown()));
                    return;
                };
                Due::At(at)
            }
        };
        let waiting = WaitingLabel { due, id: event.id, label };
        let place = match due {
            Due::AfterRow(_) => self.waiting.len(),
            Due::At(at) => self.waiting.partition_point(|other| matches!(other.due, Due::At(earlier) if earlier <= at)),
        };
        self.waiting.insert(place, waiting);
        self.rows.labels += 1;
    }

    fn send_due(&mut self, row: u64, labels: &mut Partitioned) {
        let Some(now) = self.latest_ms else { return };
        let is_due = |due: Due| match due {
            Due::AfterRow(wanted) => wanted <= row,
            Due::At(at) => at <= now,
        };
        while self.waiting.front().is_some_and(|waiting| is_due(waiting.due)) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.write_label(&waiting, labels);
            }
        }
    }

    fn write_label(&self, waiting: &WaitingLabel, labels: &mut Partitioned) {
        let millis = match waiting.due {
            Due::At(at) => at,
            Due::AfterRow(_) => self.latest_ms.unwrap_or(0),
        };
        let room = labels.room(partition_of(&waiting.id, self.spec.partitions));
        msgpack::write_label(&self.spec.model, waiting, millis, room);
    }
}

/// A label or a prediction as text; one that names a class in another way, as `1.0` does `1`, gets the class's name.
fn outcome(task: &Task, cell: &Cell<'_>) -> Option<String> {
    let text = cell.category()?;
    Some(task.class_named(&text).map(str::to_owned).unwrap_or(text))
}

/// The event whose label is waited for.
struct WaitingFor {
    id: String,
    /// Its place in the batch.
    row: usize,
    millis: i64,
}

/// The columns of one batch of rows that events are made of.
#[derive(Debug)]
struct RowColumns {
    id: Option<Column>,
    time: Option<Column>,
    label: Option<Column>,
    label_time: Option<Column>,
    features: Vec<(String, ColumnKind, Column)>,
    prediction: Option<Column>,
    scores: Vec<Column>,
    segments: Vec<(String, Column)>,
}

impl RowColumns {
    fn find(spec: &EncoderSpec, rows: &RowBatch, answers: Option<&RecordBatch>) -> Result<Self, SourceError> {
        let column = |name: &String| Column::find(&spec.file, &rows.batch, name);
        let maybe = |name: &Option<String>| name.as_ref().map(column).transpose();
        let time = match &spec.time {
            EventTime::Column(name) => Some(column(name)?),
            EventTime::Synthetic { .. } => None,
        };
        let label_time = match &spec.label_delay {
            LabelDelay::Column(name) => Some(column(name)?),
            _ => None,
        };
        let mut features = Vec::new();
        for feature in spec.schema.features() {
            let name = spec.renamed.get(&feature.name).unwrap_or(&feature.name);
            features.push((feature.name.clone(), feature.kind, column(name)?));
        }
        let (prediction, scores) = match answers {
            Some(answers) => answered(spec, answers)?,
            None => (maybe(&spec.prediction)?, spec.scores.iter().map(column).collect::<Result<_, _>>()?),
        };
        let segments = spec.segments.iter().map(|(dimension, name)| Ok((dimension.clone(), column(name)?)));
        let segments = segments.collect::<Result<_, SourceError>>()?;
        let id = match &spec.id {
            EventId::Column(name) => Some(column(name)?),
            EventId::RowOf(_) => None,
        };
        Ok(Self { id, time, label: maybe(&spec.label)?, label_time, features, prediction, scores, segments })
    }
}

/// Prediction and scores that a scorer gave.
fn answered(spec: &EncoderSpec, answers: &RecordBatch) -> Result<(Option<Column>, Vec<Column>), SourceError> {
    let column = |name: &str| Column::find(&spec.file, answers, name);
    let scores = spec.schema.task.score_columns().iter().map(|name| column(name)).collect::<Result<_, _>>()?;
    Ok((Some(column(PREDICTION)?), scores))
}

/// Records under way, one for each partition.
struct Partitioned {
    open: Vec<(u32, Vec<u8>)>,
    done: Vec<EncodedRecord>,
}

impl Partitioned {
    fn new(partitions: u32) -> Self {
        Self { open: vec![(0, Vec::new()); partitions as usize], done: Vec::new() }
    }

    /// The buffer to which the partition's next event is to be written.
    fn room(&mut self, partition: u32) -> &mut Vec<u8> {
        // partition_of yields a number below the count; growing instead of failing keeps this total.
        let place = partition as usize;
        if place >= self.open.len() {
            self.open.resize(place + 1, (0, Vec::new()));
        }
        let Self { open, done } = self;
        let slot = &mut open[place];
        if slot.0 == MOST_EVENTS {
            done.push(msgpack::record(partition, slot.0, &std::mem::take(&mut slot.1)));
            slot.0 = 0;
        }
        slot.0 += 1;
        &mut slot.1
    }

    fn finish(mut self) -> Vec<EncodedRecord> {
        for (partition, (events, bytes)) in (0..).zip(&self.open) {
            if *events > 0 {
                self.done.push(msgpack::record(partition, *events, bytes));
            }
        }
        self.done
    }
}

/// The class that a score belongs to, where the task has several.
fn score_classes(task: &Task) -> &[String] {
    match task {
        Task::Multiclass { classes } => classes,
        _ => &[],
    }
}
