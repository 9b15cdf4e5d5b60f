//! Arrow IPC streams, read with suspicion: whoever may send a record may send any bytes.
//!
//! The frame, the schema and the buffers are taken apart here, because every length in them has to be held against the bytes
//! that are there before it is believed. Arrow checks what is inside the buffers: offsets, keys, UTF-8.
//!
//! Invariants:
//! - No more is allocated than the stream has bytes, alignment and delta dictionaries excepted.
//! - A compressed body is refused: a few bytes of it could ask for gigabytes.
//! - A stream is read as a whole or not at all.
//!
//! Types that no column of an event can have (intervals, unions, maps, views of lists, run ends) are refused by name.

use crate::decode::Limits;
use crate::decode::fault::{Fault, Read, Reason};
use arrow::array::{ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array, new_empty_array};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::{self, MessageHeader, Type};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What each message of a stream begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The most columns of a stream, nested ones included.
const MOST_COLUMNS: usize = 10_000;
/// The most values of growing dictionaries that are copied, for each byte of the stream.
const MOST_COPIES: usize = 16;

/// A stream that has been read.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) batches: Vec<RecordBatch>,
    /// What the stream says about itself.
    pub(super) metadata: HashMap<String, String>,
}

impl Stream {
    /// Reads all batches of a stream.
    pub(super) fn read(bytes: &Bytes, limits: &Limits) -> Read<Self> {
        let mut messages = Messages { bytes, at: 0 };
        let Some(first) = messages.next()? else {
            return Err(Fault::new(Reason::Truncated, 0, "the stream ends before its schema"));
        };
        let mut batches = Batches::new(&first, limits, bytes.len())?;
        while let Some(message) = messages.next()? {
            batches.take(&message).map_err(|fault| fault.within(message.noun()))?;
        }
        Ok(Self { batches: batches.done, metadata: batches.schema.metadata().clone() })
    }
}

/// The frames of a stream, one after the other.
struct Messages<'a> {
    bytes: &'a Bytes,
    at: usize,
}

struct Message<'a> {
    at: usize,
    head: ipc::Message<'a>,
    body: Buffer,
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
        let head = self.take(usize::try_from(size).unwrap_or(usize::MAX))?;
        // What the verifier says is about offsets in its own bytes, which nobody can act on.
        let head = ipc::root_as_message(head)
            .map_err(|_| Fault::new(Reason::Malformed, at, "the head of a message cannot be read"))?;
        let start = self.at;
        let length = self.take(usize::try_from(head.bodyLength()).unwrap_or(usize::MAX))?.len();
        Ok(Some(Message { at, head, body: Buffer::from(self.bytes.slice(start..start + length)) }))
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
        match self.head.header_type() {
            MessageHeader::DictionaryBatch => "dictionary",
            _ => "batch",
        }
    }
}

/// The type of a column, and the dictionary of each that has one.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    data_type: DataType,
    dictionary: Option<i64>,
    /// For a dictionary, its values.
    children: Vec<Column>,
}

/// What a stream's schema says, and what has come since.
struct Batches {
    schema: SchemaRef,
    columns: Vec<Column>,
    dictionaries: HashMap<i64, ArrayRef>,
    done: Vec<RecordBatch>,
    rows: usize,
    most_rows: usize,
    stream_bytes: usize,
    /// Values of dictionaries that deltas made to be copied.
    copied: usize,
}

impl Batches {
    fn new(first: &Message<'_>, limits: &Limits, stream_bytes: usize) -> Read<Self> {
        let Some(schema) = first.head.header_as_schema() else {
            return Err(Fault::new(Reason::Malformed, first.at, "the stream does not begin with its schema"));
        };
        if schema.endianness() != ipc::Endianness::Little {
            return Err(unread(first.at, "numbers with their highest byte first"));
        }
        let mut reader = SchemaReader { at: first.at, columns: 0 };
        let fields = schema.fields().into_iter().flatten();
        let columns = fields.map(|field| reader.column(field, limits.max_depth)).collect::<Read<Vec<_>>>()?;
        let metadata = schema.custom_metadata().into_iter().flatten();
        let metadata = metadata.filter_map(|entry| Some((entry.key()?.to_owned(), entry.value()?.to_owned())));
        let schema = Schema::new_with_metadata(fields_of(&columns), metadata.collect());
        Ok(Self {
            schema: Arc::new(schema),
            columns,
            dictionaries: HashMap::new(),
            done: Vec::new(),
            rows: 0,
            most_rows: usize::try_from(limits.max_events_per_record).unwrap_or(usize::MAX),
            stream_bytes,
            copied: 0,
        })
    }

    fn take(&mut self, message: &Message<'_>) -> Read<()> {
        if let Some(dictionary) = message.head.header_as_dictionary_batch() {
            return self.take_dictionary(message, &dictionary);
        }
        if let Some(batch) = message.head.header_as_record_batch() {
            return self.take_batch(message, &batch);
        }
        Err(Fault::new(Reason::Malformed, message.at, "a message that is neither a batch nor a dictionary"))
    }

    fn take_batch(&mut self, message: &Message<'_>, batch: &ipc::RecordBatch<'_>) -> Read<()> {
        let rows = usize::try_from(batch.length()).unwrap_or(usize::MAX);
        // Every row has an id, which takes a byte at the least.
        if rows > self.stream_bytes {
            return Err(Fault::new(Reason::Malformed, message.at, "more rows than the stream has bytes"));
        }
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.most_rows {
            let what = format!("more than {} events in one record", self.most_rows);
            return Err(Fault::new(Reason::TooManyEvents, message.at, what));
        }
        let mut reader = ArrayReader::new(message, batch, &self.dictionaries, self.stream_bytes)?;
        let arrays = self.columns.iter().map(|column| reader.array(column)).collect::<Read<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        self.done.push(batch.map_err(|error| refused(message.at, &error))?);
        Ok(())
    }

    fn take_dictionary(&mut self, message: &Message<'_>, dictionary: &ipc::DictionaryBatch<'_>) -> Read<()> {
        let id = dictionary.id();
        let (Some(column), Some(batch)) = (find_dictionary(&self.columns, id), dictionary.data()) else {
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
}

impl SchemaReader {
    fn column(&mut self, field: ipc::Field<'_>, depth: usize) -> Read<Column> {
        let name = field.name().unwrap_or_default().to_owned();
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

/// Makes arrays of the body of a message.
struct ArrayReader<'a> {
    at: usize,
    body: &'a Buffer,
    nodes: VecDeque<ipc::FieldNode>,
    buffers: VecDeque<ipc::Buffer>,
    variadic: VecDeque<i64>,
    dictionaries: &'a HashMap<i64, ArrayRef>,
    most_values: usize,
}

impl<'a> ArrayReader<'a> {
    fn new(
        message: &'a Message<'_>,
        batch: &ipc::RecordBatch<'_>,
        dictionaries: &'a HashMap<i64, ArrayRef>,
        stream_bytes: usize,
    ) -> Read<Self> {
        if batch.compression().is_some() {
            return Err(Fault::new(Reason::Compressed, message.at, "the body is compressed"));
        }
        Ok(Self {
            at: message.at,
            body: &message.body,
            nodes: batch.nodes().into_iter().flatten().copied().collect(),
            buffers: batch.buffers().into_iter().flatten().copied().collect(),
            variadic: batch.variadicBufferCounts().into_iter().flatten().collect(),
            dictionaries,
            // A value takes a bit at the least, or is null in a column of nulls, of which nobody needs more.
            most_values: stream_bytes.saturating_mul(8),
        })
    }

    fn array(&mut self, column: &Column) -> Read<ArrayRef> {
        self.build(column).map_err(|fault| fault.within(&column.name))
    }

    fn build(&mut self, column: &Column) -> Read<ArrayRef> {
        let node = self.nodes.pop_front().ok_or_else(|| self.torn("a column's length"))?;
        let length = usize::try_from(node.length()).ok().filter(|length| *length <= self.most_values);
        let length = length.ok_or_else(|| self.torn("as many values as are announced"))?;
        let mut data = ArrayData::builder(column.data_type.clone()).len(length).align_buffers(true);
        if column.data_type != DataType::Null {
            data = data.null_bit_buffer(self.nulls(&node, length)?);
        }
        let exact = fixed_bytes(&column.data_type, length);
        for place in 0..self.buffers_of(&column.data_type)? {
            let buffer = self.buffer()?;
            data = data.add_buffer(match exact.filter(|_| place == 0) {
                Some(bytes) => self.cut(buffer, bytes, length)?,
                None => buffer,
            });
        }
        for child in self.children(column)? {
            data = data.add_child_data(child.to_data());
        }
        Ok(make_array(data.build().map_err(|error| refused(self.at, &error))?))
    }

    fn nulls(&mut self, node: &ipc::FieldNode, length: usize) -> Read<Option<Buffer>> {
        let validity = self.buffer()?;
        if node.null_count() == 0 {
            return Ok(None);
        }
        if validity.len().saturating_mul(8) < length {
            return Err(self.torn("the nulls of a column"));
        }
        Ok(Some(validity))
    }

    /// The part of a buffer that its values take. Arrow would take what is behind for a part of another value.
    fn cut(&self, buffer: Buffer, bytes: usize, length: usize) -> Read<Buffer> {
        match buffer.len() {
            // Of no values there may be no offsets either.
            0 if length == 0 => Ok(buffer),
            there if there < bytes => Err(self.torn("the values of a column")),
            _ => Ok(buffer.slice_with_length(0, bytes)),
        }
    }

    fn children(&mut self, column: &Column) -> Read<Vec<ArrayRef>> {
        let Some(id) = column.dictionary else {
            return column.children.iter().map(|child| self.array(child)).collect();
        };
        // A dictionary of which nothing is used need not be sent.
        let unused = || column.children.first().map(|values| new_empty_array(&values.data_type));
        let values = self.dictionaries.get(&id).cloned().or_else(unused);
        Ok(vec![values.ok_or_else(|| self.torn("a dictionary"))?])
    }

    /// How many buffers an array of this type has beside the one of its nulls.
    fn buffers_of(&mut self, data_type: &DataType) -> Read<usize> {
        Ok(match data_type {
            DataType::Null | DataType::Struct(_) | DataType::FixedSizeList(..) => 0,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => 2,
            DataType::Utf8View => {
                let further = self.variadic.pop_front().and_then(|count| usize::try_from(count).ok());
                let further = further.filter(|count| *count <= self.buffers.len());
                1 + further.ok_or_else(|| self.torn("the buffers of a view"))?
            }
            _ => 1,
        })
    }

    fn buffer(&mut self) -> Read<Buffer> {
        let place = self.buffers.pop_front().and_then(|buffer| {
            let (offset, length) = (usize::try_from(buffer.offset()).ok()?, usize::try_from(buffer.length()).ok()?);
            (offset.checked_add(length)? <= self.body.len()).then_some((offset, length))
        });
        let (offset, length) = place.ok_or_else(|| self.torn("a buffer of a column"))?;
        Ok(self.body.slice_with_length(offset, length))
    }

    #[cold]
    fn torn(&self, what: &str) -> Box<Fault> {
        Fault::new(Reason::Malformed, self.at, format!("the message does not hold {what}"))
    }
}

/// Bytes that so many values take in the first buffer after that of the nulls, which holds values, offsets or views.
fn fixed_bytes(data_type: &DataType, length: usize) -> Option<usize> {
    let (count, width) = match data_type {
        DataType::Boolean => (length.div_ceil(8), 1),
        DataType::Utf8 | DataType::Binary | DataType::List(_) => (length.checked_add(1)?, 4),
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => (length.checked_add(1)?, 8),
        DataType::Utf8View => (length, 16),
        DataType::Dictionary(keys, _) => (length, keys.primitive_width()?),
        other => (length, other.primitive_width()?),
    };
    count.checked_mul(width)
}

#[cold]
fn unread(at: usize, what: &str) -> Box<Fault> {
    Fault::new(Reason::UnreadType, at, format!("{what} is not read"))
}

/// What arrow says may repeat values, so it is not told.
#[cold]
fn refused(at: usize, _error: &ArrowError) -> Box<Fault> {
    Fault::new(Reason::Malformed, at, "the values do not fit the column's type and length")
}
