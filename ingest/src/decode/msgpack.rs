//! A cursor over MessagePack.
//!
//! A record is one map, or one array of maps. Lengths are checked against the bytes that are there before they are believed.

use super::cursor::{Cursor, Key, Open, Text, Value};
use super::fault::{Fault, Read, Reason};
use rmp::Marker;

/// A place in a MessagePack record.
pub(crate) struct MessagePack<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Frame,
}

/// Where the rows of the record stand.
enum Frame {
    /// Nothing has been read.
    Start,
    /// Within the outer array, with so many rows to come.
    Array(u32),
    /// The one value is read; nothing may follow.
    End,
}

impl<'a> MessagePack<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, frame: Frame::Start }
    }

    #[inline(always)]
    fn marker(&mut self) -> Read<Marker> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(Marker::from_u8(byte))
    }

    #[inline(always)]
    fn number<const N: usize>(&mut self) -> Read<[u8; N]> {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let chunk = *rest.ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(chunk)
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.truncated())?;
        self.at += length;
        Ok(taken)
    }

    #[inline(always)]
    fn text(&mut self, length: usize) -> Read<Text<'a>> {
        let start = self.at;
        let raw = self.take(length)?;
        if !raw.is_ascii() && std::str::from_utf8(raw).is_err() {
            return Err(Fault::new(Reason::NotUtf8, start, "text is not UTF-8"));
        }
        Ok(Text::plain(raw))
    }

    /// Takes the length of text whose marker was read; `None` if the marker is of something else.
    #[inline(always)]
    fn text_length(&mut self, marker: Marker) -> Read<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixStr(length) => usize::from(length),
            Marker::Str8 => usize::from(u8::from_be_bytes(self.number()?)),
            Marker::Str16 => usize::from(u16::from_be_bytes(self.number()?)),
            Marker::Str32 => u32::from_be_bytes(self.number()?) as usize,
            _ => return Ok(None),
        }))
    }

    fn opaque(&mut self, marker: Marker) -> Read<Value<'a>> {
        // An extension has a byte for its type beside its length.
        let length = match marker {
            Marker::Bin8 => usize::from(u8::from_be_bytes(self.number()?)),
            Marker::Bin16 => usize::from(u16::from_be_bytes(self.number()?)),
            Marker::Bin32 => u32::from_be_bytes(self.number()?) as usize,
            Marker::Ext8 => usize::from(u8::from_be_bytes(self.number()?)) + 1,
            Marker::Ext16 => usize::from(u16::from_be_bytes(self.number()?)) + 1,
            Marker::Ext32 => (u32::from_be_bytes(self.number()?) as usize).saturating_add(1),
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            _ => return Err(Fault::new(Reason::Malformed, self.at - 1, "a byte that MessagePack never uses")),
        };
        self.take(length)?;
        Ok(Value::Opaque)
    }

    /// The rarer values, kept out of line so that the common ones stay small: all that are not fixed-length text, doubles or small integers.
    #[inline(never)]
    fn other_value(&mut self, marker: Marker) -> Read<Value<'a>> {
        if let Some(length) = self.text_length(marker)? {
            return Ok(Value::Text(self.text(length)?));
        }
        Ok(match marker {
            Marker::FixNeg(value) => Value::Int(i64::from(value)),
            Marker::U8 => Value::Int(i64::from(u8::from_be_bytes(self.number()?))),
            Marker::U16 => Value::Int(i64::from(u16::from_be_bytes(self.number()?))),
            Marker::U32 => Value::Int(i64::from(u32::from_be_bytes(self.number()?))),
            Marker::U64 => {
                let value = u64::from_be_bytes(self.number()?);
                i64::try_from(value).map_or(Value::Uint(value), Value::Int)
            }
            Marker::I8 => Value::Int(i64::from(i8::from_be_bytes(self.number()?))),
            Marker::I16 => Value::Int(i64::from(i16::from_be_bytes(self.number()?))),
            Marker::I32 => Value::Int(i64::from(i32::from_be_bytes(self.number()?))),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.number()?)),
            Marker::F32 => Value::Float(f64::from(f32::from_be_bytes(self.number()?))),
            Marker::FixArray(entries) => Value::Array(Open { entries: u32::from(entries) }),
            Marker::Array16 => Value::Array(Open { entries: u32::from(u16::from_be_bytes(self.number()?)) }),
            Marker::Array32 => Value::Array(Open { entries: u32::from_be_bytes(self.number()?) }),
            Marker::FixMap(entries) => Value::Map(Open { entries: u32::from(entries) }),
            Marker::Map16 => Value::Map(Open { entries: u32::from(u16::from_be_bytes(self.number()?)) }),
            Marker::Map32 => Value::Map(Open { entries: u32::from_be_bytes(self.number()?) }),
            other => self.opaque(other)?,
        })
    }

    #[cold]
    fn truncated(&self) -> Box<Fault> {
        Fault::new(Reason::Truncated, self.bytes.len(), "the bytes end within a value")
    }
}

impl<'a> Cursor<'a> for MessagePack<'a> {
    fn position(&self) -> usize {
        self.at
    }

    fn seek(&mut self, position: usize) {
        self.at = position;
    }

    #[inline(always)]
    fn value(&mut self) -> Read<Value<'a>> {
        match self.marker()? {
            Marker::F64 => Ok(Value::Float(f64::from_be_bytes(self.number()?))),
            Marker::FixStr(length) => Ok(Value::Text(self.text(usize::from(length))?)),
            Marker::FixPos(value) => Ok(Value::Int(i64::from(value))),
            Marker::Null => Ok(Value::Null),
            Marker::False => Ok(Value::Bool(false)),
            Marker::True => Ok(Value::Bool(true)),
            marker => self.other_value(marker),
        }
    }

    #[inline(always)]
    fn next_key(&mut self, open: &mut Open, expected: Option<&[u8]>) -> Read<Key<'a>> {
        let Some(left) = open.entries.checked_sub(1) else { return Ok(Key::End) };
        open.entries = left;
        let start = self.at;
        let marker = self.marker()?;
        let Some(length) = self.text_length(marker)? else {
            return Err(Fault::new(Reason::KeyNotText, start, "a key is not text"));
        };
        if let Some(expected) = expected
            && expected.len() == length
            && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(expected))
        {
            self.at += length;
            return Ok(Key::Expected);
        }
        Ok(Key::Other(self.text(length)?))
    }

    #[inline(always)]
    fn next_item(&mut self, open: &mut Open) -> Read<bool> {
        let Some(left) = open.entries.checked_sub(1) else { return Ok(false) };
        open.entries = left;
        Ok(true)
    }

    fn next_row(&mut self) -> Read<Option<usize>> {
        if let Frame::Start = self.frame {
            self.frame = Frame::End;
            match self.bytes.get(self.at).map(|byte| Marker::from_u8(*byte)) {
                None => return Ok(None),
                Some(Marker::FixArray(_) | Marker::Array16 | Marker::Array32) => {}
                Some(_) => return Ok(Some(self.at)),
            }
            if let Value::Array(open) = self.value()? {
                self.frame = Frame::Array(open.entries);
            }
        }
        let left = match self.frame {
            Frame::Array(left) if left > 0 => left,
            _ if self.at < self.bytes.len() => {
                let what = format!("{} bytes follow the last event", self.bytes.len() - self.at);
                return Err(Fault::new(Reason::TrailingBytes, self.at, what));
            }
            _ => return Ok(None),
        };
        self.frame = Frame::Array(left - 1);
        if self.at >= self.bytes.len() {
            self.frame = Frame::End;
            let what = format!("the array announces {left} more events than are there");
            return Err(Fault::new(Reason::Truncated, self.at, what));
        }
        Ok(Some(self.at))
    }

    fn leave_row(&mut self, start: usize) {
        self.at = start;
        // One more value for each entry of an array, two for each of a map; no recursion.
        let mut values = 1u64;
        let frame_is_over = matches!(self.frame, Frame::End) && start > 0;
        while values > 0 && !frame_is_over {
            values -= 1;
            match self.pass_value() {
                Ok(inner) => values = values.saturating_add(inner),
                Err(_) => break,
            }
        }
        if values > 0 {
            self.at = self.bytes.len();
            self.frame = Frame::End;
        }
    }
}

impl MessagePack<'_> {
    /// Goes past one value without looking at its text; returns how many values it holds.
    fn pass_value(&mut self) -> Read<u64> {
        let marker = self.marker()?;
        if let Some(length) = self.text_length(marker)? {
            self.take(length)?;
            return Ok(0);
        }
        match marker {
            Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) => Ok(0),
            Marker::F64 => self.take(8).map(|_| 0),
            _ => match self.other_value(marker)? {
                Value::Array(open) => Ok(u64::from(open.entries)),
                Value::Map(open) => Ok(u64::from(open.entries) * 2),
                _ => Ok(0),
            },
        }
    }
}
