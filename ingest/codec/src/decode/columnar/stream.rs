//! Arrow IPC streams, read with suspicion: whoever may send a record may send any bytes.
//!
//! The frame and the schema are taken apart here and the buffers in `arrays`, because every length in them has to be held
//! against the bytes that are there before it is believed. Arrow checks what is inside the buffers: offsets, keys, UTF-8.
//!
//! Invariants:
//! - No more is allocated than the stream has bytes, alignment and delta dictionaries excepted.
//! - A compressed body is refused: a few bytes of it could ask for gigabytes.
//! - A stream is read as a whole or not at all.
//! - Streams that begin with the same bytes share their [`Layout`], which is made once.
//!
//! Types that no column of an event can have (intervals, unions, maps, views of lists, run ends) are refused by name.

use super::arrays::ArrayReader;
use crate::decode::Limits;
use crate::decode::fault::{Fault, Read, Reason};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::{self, MessageHeader, Type};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// What each message of a stream begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The most columns of a stream, nested ones included.
const MOST_COLUMNS: usize = 10_000;
/// The longest name of a column.
const MOST_NAME_BYTES: usize = 1_024;
/// Bytes of a schema that a column takes at the least, beside its name. The same bytes could be pointed to as several columns.
const LEAST_COLUMN_BYTES: usize = 16;
/// Bytes of a stream that a row takes at the least: of its id, time, model and version or label.
const LEAST_ROW_BYTES: usize = 4;
/// The most values of growing dictionaries that are copied, for each byte of the stream.
const MOST_COPIES: usize = 16;

/// A stream that has been read.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) layout: Arc<Layout>,
}

/// What a stream says of its columns before any of them comes.
#[derive(Debug)]
pub(in crate::decode) struct Layout {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The frame that says so, and where what follows it begins.
    frame: Bytes,
}

impl Stream {
    /// Reads all batches of a stream; `last` is the layout of the one before, which most often is that of this one.
    pub(super) fn read(bytes: &Bytes, limits: &Limits, last: Option<&Arc<Layout>>) -> Read<Self> {
        let known = last.filter(|layout| bytes.starts_with(&layout.frame));
        let layout = match known {
            Some(layout) => Arc::clone(layout),
            None => Arc::new(Layout::read(bytes, limits)?),
        };
        let mut messages = Messages { bytes, at: layout.frame.len() };
        let mut batches = Batches::new(&layout, limits, bytes.len());
        while let Some(message) = messages.next()? {
            batches.take(&message).map_err(|fault| fault.within(message.noun()))?;
        }
        Ok(Self { batches: batches.done, layout })
    }
}

impl Layout {
    fn read(bytes: &Bytes, limits: &Limits) -> Read<Self> {
        let mut messages = Messages { bytes, at: 0 };
        let Some(first) = messages.next()? else {
            return Err(Fault::new(Reason::Truncated, 0, "the stream ends before its schema"));
        };
        let Some(schema) = first.envelope.header_as_schema() else {
            return Err(Fault::new(Reason::Malformed, first.at, "the stream does not begin with its schema"));
        };
        if schema.endianness() != ipc::Endianness::Little {
            return Err(unread(first.at, "numbers with their highest byte first"));
        }
        let mut reader = SchemaReader { at: first.at, columns: 0, left: messages.at };
        let fields = schema.fields().into_iter().flatten();
        let columns = fields.map(|field| reader.column(field, limits.max_depth)).collect::<Read<Vec<_>>>()?;
        let metadata = schema.custom_metadata().into_iter().flatten();
        let metadata = metadata.filter_map(|entry| Some((entry.key()?.to_owned(), entry.value()?.to_owned())));
        let schema = Arc::new(Schema::new_with_metadata(fields_of(&columns), metadata.collect()));
        // A copy, so that what is kept of a record is not all of it.
        let frame = Bytes::copy_from_slice(bytes.get(..messages.at).unwrap_or_default());
        Ok(Self { schema, columns, frame })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// The frames of a stream, one after the other.
struct Messages<'a> {
    bytes: &'a Bytes,
    at: usize,
}

pub(super) struct Message<'a> {
    pub(super) at: usize,
    envelope: ipc::Message<'a>,
    pub(super) body: Buffer,
}

impl<'a> Messages<'a> {
    fn next(&mut self) -> Read<Option<Message<'a>>> {
        let at = self.at;
        if at == self.bytes.len() {
            return Ok(None);
        }
        if self.take(4)? != CONTINUATION {
            return Err(Fault::new(Reason::Malformed, at, "this is not an Arrow IPC stream"));
        }
        let size = self.take(4)?.first_chunk().map_or(0, |size| u32::from_le_bytes(*size));
        if size == 0 {
            let left = self.bytes.len() - self.at;
            let what = || Fault::new(Reason::TrailingBytes, self.at, format!("{left} bytes follow the end"));
            return if left == 0 { Ok(None) } else { Err(what()) };
        }
        let envelope = self.take(usize::try_from(size).unwrap_or(usize::MAX))?;
        // What the verifier says is about offsets in its own bytes, which nobody can act on.
        let envelope = ipc::root_as_message(envelope)
            .map_err(|_| Fault::new(Reason::Malformed, at, "the head of a message cannot be read"))?;
        let start = self.at;
        let length = self.take(usize::try_from(envelope.bodyLength()).unwrap_or(usize::MAX))?.len();
        Ok(Some(Message { at, envelope, body: Buffer::from(self.bytes.slice(start..start + length)) }))
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| {
            Fault::new(Reason::Truncated, self.bytes.len(), "the bytes end within a message of the stream")
        })?;
        self.at += length;
        Ok(taken)
    }
}

impl Message<'_> {
    fn noun(&self) -> &'static str {
        match self.envelope.header_type() {
            MessageHeader::DictionaryBatch => "dictionary",
            _ => "batch",
        }
    }
}

/// The type of a column, and the dictionary of each that has one.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) dictionary: Option<i64>,
    /// For a dictionary, its values.
    pub(super) children: Vec<Column>,
}

/// What has come since a stream's schema.
struct Batches<'a> {
    layout: &'a Layout,
    dictionaries: HashMap<i64, ArrayRef>,
    done: Vec<RecordBatch>,
    rows: usize,
    most_rows: usize,
    stream_bytes: usize,
    /// Values of dictionaries that deltas made to be copied.
    copied: usize,
}

impl<'a> Batches<'a> {
    fn new(layout: &'a Layout, limits: &Limits, stream_bytes: usize) -> Self {
        Self {
            layout,
            dictionaries: HashMap::new(),
            done: Vec::new(),
            rows: 0,
            most_rows: usize::try_from(limits.max_events_per_record).unwrap_or(usize::MAX),
            stream_bytes,
            copied: 0,
        }
    }

    fn take(&mut self, message: &Message<'_>) -> Read<()> {
        if let Some(dictionary) = message.envelope.header_as_dictionary_batch() {
            return self.take_dictionary(message, &dictionary);
        }
        if let Some(batch) = message.envelope.header_as_record_batch() {
            return self.take_batch(message, &batch);
        }
        Err(Fault::new(Reason::Malformed, message.at, "a message that is neither a batch nor a dictionary"))
    }

    fn take_batch(&mut self, message: &Message<'_>, batch: &ipc::RecordBatch<'_>) -> Read<()> {
        let rows = usize::try_from(batch.length()).unwrap_or(usize::MAX);
        if rows > self.stream_bytes / LEAST_ROW_BYTES {
            return Err(Fault::new(Reason::Malformed, message.at, "more rows than the stream has bytes for"));
        }
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.most_rows {
            let what = format!("more than {} events in one record", self.most_rows);
            return Err(Fault::new(Reason::TooManyEvents, message.at, what));
        }
        let mut reader = ArrayReader::new(message, batch, &self.dictionaries, self.stream_bytes)?;
        let arrays = self.layout.columns.iter().map(|column| reader.array(column)).collect::<Read<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.layout.schema), arrays, &options);
        self.done.push(batch.map_err(|error| refused(message.at, &error))?);
        Ok(())
    }

    fn take_dictionary(&mut self, message: &Message<'_>, dictionary: &ipc::DictionaryBatch<'_>) -> Read<()> {
        let id = dictionary.id();
        let (Some(column), Some(batch)) = (find_dictionary(&self.layout.columns, id), dictionary.data()) else {
            return Err(Fault::new(Reason::Malformed, message.at, "a dictionary that no column has"));
        };
        let values = ArrayReader::new(message, &batch, &self.dictionaries, self.stream_bytes)?.array(column)?;
        let values = match self.dictionaries.get(&id).filter(|_| dictionary.isDelta()) {
            Some(known) => concat(&[known.as_ref(), values.as_ref()]).map_err(|error| refused(message.at, &error))?,
            None => values,
        };
        self.copied = self.copied.saturating_add(values.len());
        if self.copied > self.stream_bytes.saturating_mul(MOST_COPIES) {
            return Err(Fault::new(Reason::TooLarge, message.at, "a dictionary that grows too often"));
        }
        self.dictionaries.insert(id, values);
        Ok(())
    }
}

fn find_dictionary(columns: &[Column], id: i64) -> Option<&Column> {
    columns.iter().find_map(|column| match column.dictionary {
        Some(own) if own == id => column.children.first(),
        _ => find_dictionary(&column.children, id),
    })
}

fn fields_of(columns: &[Column]) -> Fields {
    // Whether a column may be null is for the decoder to judge, row by row.
    columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)).collect()
}

struct SchemaReader {
    at: usize,
    columns: usize,
    /// Bytes of the schema that no column has been found to take.
    left: usize,
}

impl SchemaReader {
    fn column(&mut self, field: ipc::Field<'_>, depth: usize) -> Read<Column> {
        let name = self.name(field.name().unwrap_or_default())?;
        self.columns += 1;
        if self.columns > MOST_COLUMNS {
            return Err(Fault::new(Reason::TooLarge, self.at, format!("more than {MOST_COLUMNS} columns")));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Fault::new(Reason::TooDeep, self.at, "columns are nested too deep"));
        };
        let children = field.children().into_iter().flatten();
        let children = children.map(|child| self.column(child, depth)).collect::<Read<Vec<_>>>()?;
        let data_type = self.data_type(&field, &children).map_err(|fault| fault.within(&name))?;
        let Some(dictionary) = field.dictionary() else {
            return Ok(Column { name, data_type, dictionary: None, children });
        };
        let keys = match dictionary.indexType() {
            Some(keys) => self.integer(&keys).map_err(|fault| fault.within(&name))?,
            None => DataType::Int32,
        };
        if data_type.is_nested() {
            return Err(unread(self.at, "a dictionary of nested values").within(&name));
        }
        let values = Column { name: name.clone(), data_type: data_type.clone(), dictionary: None, children };
        let data_type = DataType::Dictionary(Box::new(keys), Box::new(data_type));
        Ok(Column { name, data_type, dictionary: Some(dictionary.id()), children: vec![values] })
    }

    fn name(&mut self, name: &str) -> Read<String> {
        if name.len() > MOST_NAME_BYTES {
            let what = format!("a column's name of {} bytes, where {MOST_NAME_BYTES} are allowed", name.len());
            return Err(Fault::new(Reason::TooLarge, self.at, what));
        }
        let left = self.left.checked_sub(name.len() + LEAST_COLUMN_BYTES);
        self.left = left.ok_or_else(|| Fault::new(Reason::Malformed, self.at, "columns that share their bytes"))?;
        Ok(name.to_owned())
    }

    fn data_type(&self, field: &ipc::Field<'_>, children: &[Column]) -> Read<DataType> {
        let missing = || Fault::new(Reason::Malformed, self.at, "a column without its type");
        let item = || fields_of(children).first().cloned().ok_or_else(missing);
        Ok(match field.type_type() {
            Type::Null => DataType::Null,
            Type::Bool => DataType::Boolean,
            Type::Int => self.integer(&field.type_as_int().ok_or_else(missing)?)?,
            Type::FloatingPoint => self.float(&field.type_as_floating_point().ok_or_else(missing)?)?,
            Type::Decimal => self.decimal(&field.type_as_decimal().ok_or_else(missing)?)?,
            Type::Utf8 => DataType::Utf8,
            Type::LargeUtf8 => DataType::LargeUtf8,
            Type::Utf8View => DataType::Utf8View,
            Type::Binary => DataType::Binary,
            Type::LargeBinary => DataType::LargeBinary,
            Type::Timestamp => self.timestamp(&field.type_as_timestamp().ok_or_else(missing)?)?,
            Type::Date => match field.type_as_date().ok_or_else(missing)?.unit() {
                ipc::DateUnit::DAY => DataType::Date32,
                _ => DataType::Date64,
            },
            Type::List => DataType::List(item()?),
            Type::LargeList => DataType::LargeList(item()?),
            Type::FixedSizeList => {
                DataType::FixedSizeList(item()?, field.type_as_fixed_size_list().ok_or_else(missing)?.listSize().max(0))
            }
            Type::Struct_ => DataType::Struct(fields_of(children)),
            other => return Err(unread(self.at, other.variant_name().unwrap_or("an unknown type"))),
        })
    }

    fn integer(&self, int: &ipc::Int<'_>) -> Read<DataType> {
        Ok(match (int.bitWidth(), int.is_signed()) {
            (8, true) => DataType::Int8,
            (16, true) => DataType::Int16,
            (32, true) => DataType::Int32,
            (64, true) => DataType::Int64,
            (8, false) => DataType::UInt8,
            (16, false) => DataType::UInt16,
            (32, false) => DataType::UInt32,
            (64, false) => DataType::UInt64,
            _ => return Err(unread(self.at, "an integer of unknown width")),
        })
    }

    fn float(&self, float: &ipc::FloatingPoint<'_>) -> Read<DataType> {
        Ok(match float.precision() {
            ipc::Precision::HALF => DataType::Float16,
            ipc::Precision::SINGLE => DataType::Float32,
            ipc::Precision::DOUBLE => DataType::Float64,
            _ => return Err(unread(self.at, "a floating point number of unknown width")),
        })
    }

    fn decimal(&self, decimal: &ipc::Decimal<'_>) -> Read<DataType> {
        let (precision, scale) = (u8::try_from(decimal.precision()), i8::try_from(decimal.scale()));
        match (precision, scale, decimal.bitWidth()) {
            (Ok(precision @ 1..=38), Ok(scale @ -38..=38), 128) => Ok(DataType::Decimal128(precision, scale)),
            _ => Err(unread(self.at, "a decimal of other than 128 bits and 38 digits")),
        }
    }

    /// The zone is for show only: the values count in UTC.
    fn timestamp(&self, timestamp: &ipc::Timestamp<'_>) -> Read<DataType> {
        let unit = match timestamp.unit() {
            ipc::TimeUnit::SECOND => TimeUnit::Second,
            ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
            ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
            ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
            _ => return Err(unread(self.at, "a timestamp of unknown unit")),
        };
        Ok(DataType::Timestamp(unit, None))
    }
}

#[cold]
fn unread(at: usize, what: &str) -> Box<Fault> {
    Fault::new(Reason::UnreadType, at, format!("{what} is not read"))
}

/// What arrow says may repeat values, so it is not told.
#[cold]
pub(super) fn refused(at: usize, _error: &ArrowError) -> Box<Fault> {
    Fault::new(Reason::Malformed, at, "the values do not fit the column's type and length")
}
