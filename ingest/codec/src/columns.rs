//! The names and order of the Arrow columns that events and labels are decoded into.
//!
//! One decoded batch holds the events of one model and version. The archive's Parquet files, the window query, the label
//! join and the trainers all read these columns. Names of features stand as the user gave them; every other column is
//! reserved, and a schema that uses a reserved name for a feature is refused.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use detectors::schema::{ColumnKind, ModelSchema, PREDICTION, Role};
use std::sync::Arc;

/// Id of the event, which labels refer to. Utf8.
pub const EVENT_ID: &str = "event_id";
/// Event time, milliseconds since the epoch. Int64.
pub const EVENT_TIME: &str = "event_time_ms";
/// When the log took the record, milliseconds since the epoch. Int64.
pub const APPEND_TIME: &str = "append_time_ms";
/// Version of the model that answered. Utf8.
pub const VERSION: &str = "model_version";
/// Partition of the record. Int32.
pub const PARTITION: &str = "log_partition";
/// Offset of the record. Int64.
pub const OFFSET: &str = "log_offset";
/// Place of the event within its record, from 0. Int32.
pub const INDEX: &str = "log_index";
/// The label, in a label batch or carried by the event itself. Utf8 or Float64, as the prediction.
pub const LABEL: &str = "label";
/// Share of the traffic that was captured, in (0, 1]; null where all was. Float64.
pub const SAMPLING_RATE: &str = "sampling_rate";
/// Weight of the event; null where it is 1. Float64.
pub const WEIGHT: &str = "weight";
/// Places (in the schema's column order) of the values whose type did not fit; they are null in their columns.
/// List of UInt16, null where there are none.
pub const WRONG_TYPE: &str = "wrong_type";
/// Prefix of the columns that hold the event's own `segment` map. Utf8.
pub const SEGMENT_PREFIX: &str = "segment.";

/// Arrow type of a profiled column: Float64 for numbers, Utf8 for categories.
pub fn arrow_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Numeric => DataType::Float64,
        ColumnKind::Categorical => DataType::Utf8,
    }
}

/// The columns of a batch of inference events: place in the log, id, times, then the schema's columns, then the rest.
///
/// `segments` are the dimensions whose values the events carry themselves.
pub fn event_schema(schema: &ModelSchema, segments: &[String]) -> SchemaRef {
    let mut fields = log_fields();
    fields.push(Field::new(VERSION, DataType::Utf8, false));
    fields.extend(schema.columns.iter().map(|column| Field::new(&column.name, arrow_type(column.kind), true)));
    fields.extend(segments.iter().map(|name| Field::new(format!("{SEGMENT_PREFIX}{name}"), DataType::Utf8, true)));
    fields.push(Field::new(LABEL, arrow_type(schema.task.outcome_kind()), true));
    fields.push(Field::new(SAMPLING_RATE, DataType::Float64, true));
    fields.push(Field::new(WEIGHT, DataType::Float64, true));
    fields.push(Field::new(WRONG_TYPE, DataType::List(Arc::new(Field::new_list_field(DataType::UInt16, false))), true));
    Arc::new(Schema::new(fields))
}

/// The columns of a batch of labels for one model.
pub fn label_schema(schema: &ModelSchema) -> SchemaRef {
    let mut fields = log_fields();
    fields.push(Field::new(LABEL, arrow_type(schema.task.outcome_kind()), true));
    Arc::new(Schema::new(fields))
}

/// What the names of columns begin with that a stage adds for itself.
pub const OWN_PREFIX: &str = "driftline.";

/// Whether a feature may not have this name, because a column of Driftline's own has it.
pub fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 13] = [
        EVENT_ID,
        EVENT_TIME,
        APPEND_TIME,
        VERSION,
        PARTITION,
        OFFSET,
        INDEX,
        LABEL,
        SAMPLING_RATE,
        WEIGHT,
        WRONG_TYPE,
        PREDICTION,
        "score",
    ];
    const RESERVED_PREFIXES: [&str; 3] = [SEGMENT_PREFIX, "score.", OWN_PREFIX];
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Names of the model's output columns (prediction, then scores) in schema order.
pub fn output_columns(schema: &ModelSchema) -> impl Iterator<Item = &str> {
    schema.columns.iter().filter(|column| column.role != Role::Feature).map(|column| column.name.as_str())
}

fn log_fields() -> Vec<Field> {
    vec![
        Field::new(PARTITION, DataType::Int32, false),
        Field::new(OFFSET, DataType::Int64, false),
        Field::new(INDEX, DataType::Int32, false),
        Field::new(EVENT_ID, DataType::Utf8, false),
        Field::new(EVENT_TIME, DataType::Int64, false),
        Field::new(APPEND_TIME, DataType::Int64, false),
    ]
}
