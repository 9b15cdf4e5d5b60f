//! The arrays in the body of a message.
//!
//! Every length is held against the bytes that are there before it is believed. Arrow checks what is inside the buffers.

use super::stream::{Column, Message, refused};
use crate::decode::fault::{Fault, Read, Reason};
use arrow::array::{ArrayData, ArrayRef, ArrowPrimitiveType, PrimitiveArray, StringArray, make_array, new_empty_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::ipc;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Makes arrays of the body of a message.
pub(super) struct ArrayReader<'a> {
    at: usize,
    body: &'a Buffer,
    nodes: VecDeque<ipc::FieldNode>,
    buffers: VecDeque<ipc::Buffer>,
    variadic: VecDeque<i64>,
    dictionaries: &'a HashMap<i64, ArrayRef>,
    most_values: usize,
}

impl<'a> ArrayReader<'a> {
    pub(super) fn new(
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

    /// The next column.
    pub(super) fn array(&mut self, column: &Column) -> Read<ArrayRef> {
        self.build(column).map_err(|fault| fault.within(&column.name))
    }

    fn build(&mut self, column: &Column) -> Read<ArrayRef> {
        let node = self.nodes.pop_front().ok_or_else(|| self.torn("a column's length"))?;
        let length = usize::try_from(node.length()).ok().filter(|length| *length <= self.most_values);
        let length = length.ok_or_else(|| self.torn("as many values as are announced"))?;
        match column.data_type {
            DataType::Float64 => self.numbers::<Float64Type>(&node, length),
            DataType::Int64 => self.numbers::<Int64Type>(&node, length),
            DataType::Utf8 => self.texts(&node, length),
            _ => self.any(column, &node, length),
        }
    }

    /// Numbers: what most columns are, without what arrow asks of all types.
    fn numbers<T: ArrowPrimitiveType>(&mut self, node: &ipc::FieldNode, length: usize) -> Read<ArrayRef> {
        let nulls = self.nulls(node, length)?.map(|bits| NullBuffer::new(BooleanBuffer::new(bits, 0, length)));
        let bytes = length.checked_mul(size_of::<T::Native>()).ok_or_else(|| self.torn("the values of a column"))?;
        let values = self.buffer()?;
        let values = aligned::<T::Native>(self.cut(values, bytes, length)?);
        let numbers = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls);
        Ok(Arc::new(numbers.map_err(|error| refused(self.at, &error))?))
    }

    /// Text: the other half of most columns.
    fn texts(&mut self, node: &ipc::FieldNode, length: usize) -> Read<ArrayRef> {
        let nulls = self.nulls(node, length)?.map(|bits| NullBuffer::new(BooleanBuffer::new(bits, 0, length)));
        let bytes = fixed_bytes(&DataType::Utf8, length).ok_or_else(|| self.torn("the values of a column"))?;
        let offsets = self.buffer()?;
        let offsets = ScalarBuffer::<i32>::from(aligned::<i32>(self.cut(offsets, bytes, length)?));
        let values = self.buffer()?;
        if offsets.is_empty() {
            return Ok(new_empty_array(&DataType::Utf8));
        }
        let is_ascending = offsets.windows(2).all(|pair| matches!(pair, [from, to] if from <= to));
        if !is_ascending || offsets.first().is_some_and(|first| *first < 0) {
            return Err(self.torn("text in its order"));
        }
        let offsets = OffsetBuffer::new(offsets);
        if let Ok(texts) = StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()) {
            return Ok(Arc::new(texts));
        }
        // Bytes that are of no value need not be text, which this way of building looks at.
        let data = ArrayData::builder(DataType::Utf8).len(length).nulls(nulls);
        let data = data.add_buffer(offsets.into_inner().into_inner()).add_buffer(values).build();
        Ok(make_array(data.map_err(|error| refused(self.at, &error))?))
    }

    fn any(&mut self, column: &Column, node: &ipc::FieldNode, length: usize) -> Read<ArrayRef> {
        let mut data = ArrayData::builder(column.data_type.clone()).len(length).align_buffers(true);
        if column.data_type != DataType::Null {
            data = data.null_bit_buffer(self.nulls(node, length)?);
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

/// The same bytes where values of that type may stand; a copy where they do not yet.
fn aligned<T>(bytes: Buffer) -> Buffer {
    match bytes.as_ptr().align_offset(align_of::<T>()) {
        0 => bytes,
        _ => Buffer::from(bytes.as_slice()),
    }
}
