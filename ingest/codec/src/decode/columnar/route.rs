//! Routing of streams: the rows of a partition become a stream of their own.
//!
//! Rows that are good as they stand keep all their columns as they were sent (dictionaries only with the values that are
//! used), but for what privacy does not allow to be stored: hashed columns become their hashes, dropped ones null, and the
//! stream says so in its metadata. Rows that have to be looked at one by one become JSON events, and are routed as such.

use super::envelopes::{Envelopes, Needs};
use super::row::write_row;
use super::table::{Budget, Column, FEATURES, SCORE, SEGMENT, Table, inner, tables, unconvertible};
use super::{REDACTED, stream::Stream};
use crate::columns::SEGMENT_PREFIX;
use crate::decode::Limits;
use crate::decode::envelope::Field;
use crate::decode::fault::{Fault, Read, Reason};
use crate::decode::format::Format;
use crate::decode::known_fields::{Scope, UNKNOWN};
use crate::decode::privacy::{HashKey, Policy};
use crate::decode::route::EventKind;
use crate::decode::source::{Source, score_slots};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field as ColumnField, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use detectors::schema::{ColumnKind, PREDICTION};
use detectors::spelling;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use streams::log::PartitionId;
use streams::partition::partition_of;

/// Splits streams by partition.
pub(in crate::decode) struct Outgoing<'a> {
    pub(in crate::decode) sources: &'a [Source],
    pub(in crate::decode) limits: Limits,
    pub(in crate::decode) partitions: u32,
    pub(in crate::decode) max_record_bytes: usize,
}

/// What becomes of the rows of a body.
#[derive(Default)]
pub(in crate::decode) struct Sorted {
    /// Streams, and the partitions they belong to.
    pub(in crate::decode) streams: Vec<(PartitionId, Bytes)>,
    /// Rows that these hold.
    pub(in crate::decode) accepted: u64,
    /// Rows that are to be looked at, as lines of JSON, and their places in the body.
    pub(in crate::decode) lines: Vec<u8>,
    pub(in crate::decode) line_rows: Vec<u32>,
    /// The latest time of the rows that the streams hold.
    pub(in crate::decode) latest_ms: Option<i64>,
    /// Rows that do not fit into a record.
    pub(in crate::decode) too_large: Vec<(u32, Box<Fault>)>,
}

/// What all batches of a body have in common.
struct Sorting<'a> {
    kind: EventKind,
    /// The places of the models' sources.
    names: HashMap<&'a str, usize>,
    /// For the lines.
    budget: Budget,
}

/// Rows of a batch that go the same way.
struct Parcel<'a> {
    source: &'a Source,
    kind: EventKind,
    partition: PartitionId,
    table: &'a Table,
    first_row: u32,
}

impl Outgoing<'_> {
    /// Sorts the rows of a body.
    ///
    /// # Errors
    /// When the body as a whole cannot be read.
    pub(in crate::decode) fn sort(&self, kind: EventKind, body: &Bytes) -> Read<Sorted> {
        let stream = Stream::read(body, &self.limits, None)?;
        self.sort_tables(kind, &tables(&stream.batches, body.len())?, body.len())
    }

    /// Sorts the rows of a body that was read.
    pub(super) fn sort_tables(&self, kind: EventKind, tables: &[Table], record_bytes: usize) -> Read<Sorted> {
        let names = (0..).zip(self.sources).map(|(at, source)| (&*source.model, at)).collect();
        let mut sorting = Sorting { kind, names, budget: Budget::of_rows(record_bytes) };
        let mut sorted = Sorted::default();
        let mut first_row = 0;
        for table in tables {
            self.sort_table(&mut sorting, table, first_row, &mut sorted)?;
            first_row += u32::try_from(table.rows).unwrap_or(u32::MAX);
        }
        Ok(sorted)
    }

    fn sort_table(&self, sorting: &mut Sorting<'_>, table: &Table, first_row: u32, sorted: &mut Sorted) -> Read<()> {
        let kind = sorting.kind;
        let needs = Needs::new(kind, &self.limits, i64::MAX);
        let envelopes = Envelopes::of(table)?;
        let good =
            envelopes.as_ref().map_or_else(|| vec![false; table.rows], |envelopes| envelopes.judge(table, &needs));
        let mut parcels: BTreeMap<(usize, PartitionId), Vec<u32>> = BTreeMap::new();
        for (row, good) in (0u32..).zip(good) {
            let at = row as usize;
            let found = envelopes.as_ref().filter(|_| good).and_then(|envelopes| {
                let source = *sorting.names.get(envelopes.models.value(at))?;
                sorted.latest_ms = sorted.latest_ms.max(Some(envelopes.times.value(at)));
                Some((source, partition_of(envelopes.ids.value(at), self.partitions)))
            });
            match found {
                Some(key) => parcels.entry(key).or_default().push(row),
                None => {
                    let before = sorted.lines.len();
                    write_row(&mut sorted.lines, table, at);
                    sorted.lines.push(b'\n');
                    sorting.budget.spend(sorted.lines.len() - before)?;
                    sorted.line_rows.push(first_row + row);
                }
            }
        }
        for ((source, partition), rows) in parcels {
            let Some(source) = self.sources.get(source) else { continue };
            let parcel = Parcel { source, kind, partition, table, first_row };
            self.pack(&parcel, &rows, sorted).map_err(unconvertible)?;
        }
        Ok(())
    }

    /// Writes the rows as one stream, or as several where one would be too large.
    fn pack(&self, parcel: &Parcel<'_>, rows: &[u32], sorted: &mut Sorted) -> Result<(), ArrowError> {
        let table = parcel.table.select(&UInt32Array::from(rows.to_vec()))?;
        let value = encoded(&table, parcel)?;
        match rows {
            _ if value.len() <= self.max_record_bytes => {
                sorted.accepted += rows.len() as u64;
                sorted.streams.push((parcel.partition, value.into()));
            }
            [row] => {
                let what = format!("an event of {} bytes, where {} are allowed", value.len(), self.max_record_bytes);
                sorted.too_large.push((parcel.first_row + row, Fault::new(Reason::TooLarge, 0, what)));
            }
            _ => {
                let (before, after) = rows.split_at(rows.len() / 2);
                self.pack(parcel, before, sorted)?;
                self.pack(parcel, after, sorted)?;
            }
        }
        Ok(())
    }
}

/// A stream of one batch, in columns that may be stored.
fn encoded(table: &Table, parcel: &Parcel<'_>) -> Result<Vec<u8>, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut add = |name: &str, column: ArrayRef| {
        fields.push(ColumnField::new(name, column.data_type().clone(), true));
        columns.push(column);
    };
    let is_private = parcel.source.privacy.is_restrictive();
    for column in table.columns.iter().filter(|column| !is_private || is_known(column, parcel)) {
        add(&column.name, stored(column, parcel.source)?);
    }
    if is_private && parcel.kind == EventKind::Inference {
        unknown_features(table, parcel).into_iter().for_each(|column| add(&format!("{FEATURES}.{UNKNOWN}"), column));
    }
    let metadata = is_private.then(|| (REDACTED.to_owned(), String::new()));
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.into_iter().collect()));
    let options = RecordBatchOptions::new().with_row_count(Some(table.rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// Whether a column is one of the fields that rows of its model are stored with.
fn is_known(column: &Column, parcel: &Parcel<'_>) -> bool {
    let (name, source) = (column.name.as_str(), parcel.source);
    let is_event = parcel.kind == EventKind::Inference;
    if let Some(feature) = inner(name, FEATURES) {
        return is_event && source.schema.features().any(|known| known.name == feature);
    }
    if let Some(dimension) = inner(name, SEGMENT) {
        return is_event && source.segments.iter().any(|known| known == dimension);
    }
    if let Some(class) = inner(name, SCORE) {
        return is_event
            && score_slots(&source.schema)
                .iter()
                .any(|(known, _)| known.as_bytes() == spelling::of_bytes(class.as_bytes()));
    }
    let scope = Scope { kind: parcel.kind, format: Format::Arrow, depth: 0 };
    Field::find(name.as_bytes()).is_some_and(|field| scope.keeps(field)) && !column.plain.data_type().is_nested()
}

/// That rows had features which their model does not have, without what they were; `None` where none had.
fn unknown_features(table: &Table, parcel: &Parcel<'_>) -> Option<ArrayRef> {
    let unknown: Vec<_> = table.columns.iter().filter(|column| inner(&column.name, FEATURES).is_some()).collect();
    let unknown: Vec<_> = unknown.into_iter().filter(|column| !is_known(column, parcel)).collect();
    let is_there = |row: usize| {
        let has_value = |column: &&Column| *column.plain.data_type() != DataType::Null && column.plain.is_valid(row);
        unknown.iter().any(has_value).then_some(true)
    };
    let there: BooleanArray = (0..table.rows).map(is_there).collect();
    (there.null_count() < there.len()).then(|| Arc::new(there) as ArrayRef)
}

fn stored(column: &Column, source: &Source) -> Result<ArrayRef, ArrowError> {
    let (policy, kind) = policy_of(&column.name, source);
    match (policy, source.privacy.key()) {
        (Policy::Drop, _) => Ok(new_null_array(&DataType::Null, column.plain.len())),
        (Policy::Hash, Some(key)) if kind == ColumnKind::Categorical => hashed(&column.plain, key),
        // There is no hash without a key, and none of a number; settings that ask for it are refused.
        (Policy::Hash, _) => Ok(new_null_array(&DataType::Null, column.plain.len())),
        (Policy::Keep | Policy::ProfileOnly, _) => compact(column),
    }
}

/// What may be stored of a column of a stream.
fn policy_of(name: &str, source: &Source) -> (Policy, ColumnKind) {
    let schema = &source.schema;
    let kind = |name: &str| schema.columns.iter().find(|column| column.name == name).map(|column| column.kind);
    let kept = (Policy::Keep, ColumnKind::Categorical);
    if let Some(feature) = inner(name, FEATURES) {
        return kind(feature).map_or(kept, |kind| (source.privacy.of(feature), kind));
    }
    if name == Field::Prediction.name() {
        return kind(PREDICTION).map_or(kept, |kind| (source.privacy.of(PREDICTION), kind));
    }
    if inner(name, SEGMENT).is_some_and(|dimension| source.segments.iter().any(|known| known == dimension)) {
        debug_assert!(name.starts_with(SEGMENT_PREFIX), "segments are called alike on the wire and in batches");
        return (source.privacy.of(name), ColumnKind::Categorical);
    }
    if name == SCORE || inner(name, SCORE).is_some() {
        // The one score of two classes may be sent under its class.
        let policies = [SCORE, name].map(|name| source.privacy.of(name));
        let policy = policies.into_iter().find(|policy| *policy != Policy::Keep);
        return (policy.unwrap_or_default(), ColumnKind::Numeric);
    }
    kept
}

/// Hashes of categories. What is none becomes empty bytes, so that it is counted as a wrong type as before.
fn hashed(plain: &ArrayRef, key: &HashKey) -> Result<ArrayRef, ArrowError> {
    let Some(names) = spelling::of_array(plain)? else {
        let wrong = (0..plain.len()).map(|row| plain.is_valid(row).then_some(b"")).collect::<BinaryArray>();
        return Ok(Arc::new(wrong));
    };
    let hash = |name: &str| String::from_utf8_lossy(&key.hash(name.as_bytes())).into_owned();
    Ok(Arc::new(names.iter().map(|name| name.map(hash)).collect::<StringArray>()))
}

/// The column as it was sent, without what a dictionary or a view holds of other rows.
fn compact(column: &Column) -> Result<ArrayRef, ArrowError> {
    match column.sent.data_type() {
        DataType::Dictionary(..) if *column.plain.data_type() == DataType::Utf8 => {
            cast(&column.plain, column.sent.data_type())
        }
        DataType::Dictionary(..) | DataType::Utf8View => Ok(Arc::clone(&column.plain)),
        _ => Ok(Arc::clone(&column.sent)),
    }
}
