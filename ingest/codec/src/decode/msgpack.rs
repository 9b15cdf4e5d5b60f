//! A cursor over MessagePack.
//!
//! A record is one map, or one array of maps. Lengths are checked against the bytes that are there before they are believed.

use super::cursor::{Cursor, Open, Text, Value};
use super::expected::ExpectedKey;
use super::fault::{Fault, Read, Reason};
use rmp::Marker;

/// First byte of a double.
const DOUBLE: u8 = 0xcb;
/// First bytes of text of 0 to 31 bytes.
const SHORT_TEXT: u8 = 0xa0;
const SHORT_TEXT_END: u8 = 0xc0;
/// First bytes of integers that are their own value.
const SMALL_END: u8 = 0x80;
/// First bytes of maps of 0 to 15 entries.
const SMALL_MAP: u8 = 0x80;
const SMALL_MAP_END: u8 = 0x90;
/// First bytes of unsigned integers of 1, 2, 4 and 8 bytes.
const UNSIGNED: u8 = 0xcc;
const UNSIGNED_END: u8 = 0xd0;

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
    fn byte(&mut self) -> Read<u8> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    fn marker(&mut self) -> Read<Marker> {
        self.byte().map(Marker::from_u8)
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

    /// The rarer values, kept out of line so that those that `value` takes itself stay small.
    #[inline(never)]
    fn other_value(&mut self, marker: Marker) -> Read<Value<'a>> {
        if let Some(length) = self.text_length(marker)? {
            return Ok(Value::Text(self.text(length)?));
        }
        Ok(match marker {
            Marker::FixNeg(value) => Value::Int(i64::from(value)),
            Marker::Null => Value::Null,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
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
        // The common ones by their bytes: the enum of markers would be taken apart twice.
        match self.byte()? {
            DOUBLE => Ok(Value::Float(f64::from_be_bytes(self.number()?))),
            byte @ SHORT_TEXT..SHORT_TEXT_END => Ok(Value::Text(self.text(usize::from(byte - SHORT_TEXT))?)),
            byte @ ..SMALL_END => Ok(Value::Int(i64::from(byte))),
            byte @ SMALL_MAP..SMALL_MAP_END => Ok(Value::Map(Open { entries: u32::from(byte - SMALL_MAP) })),
            byte => self.other_value(Marker::from_u8(byte)),
        }
    }

    fn next_key(&mut self, open: &mut Open) -> Read<Option<Text<'a>>> {
        let Some(left) = open.entries.checked_sub(1) else { return Ok(None) };
        open.entries = left;
        let start = self.at;
        let marker = self.marker()?;
        let Some(length) = self.text_length(marker)? else {
            return Err(Fault::new(Reason::KeyNotText, start, "a key is not text"));
        };
        self.text(length).map(Some)
    }

    #[inline(always)]
    fn pass_key(&mut self, open: &mut Open, key: &ExpectedKey) -> bool {
        let is_next = open.entries > 0 && self.bytes.get(self.at..).is_some_and(|rest| key.message_pack.leads(rest));
        if is_next {
            open.entries -= 1;
            self.at += key.message_pack.len();
        }
        is_next
    }

    #[inline(always)]
    fn plain_number(&mut self) -> Option<f64> {
        let (first, rest) = self.bytes.get(self.at..)?.split_first()?;
        if *first != DOUBLE {
            return self.plain_integer().map(|integer| integer as f64);
        }
        let value = f64::from_be_bytes(*rest.first_chunk()?);
        self.at += 1 + size_of::<f64>();
        Some(value)
    }

    #[inline(always)]
    fn plain_integer(&mut self) -> Option<i64> {
        let (first, rest) = self.bytes.get(self.at..)?.split_first()?;
        let (value, width) = match *first {
            small @ ..SMALL_END => (i64::from(small), 0),
            unsigned @ UNSIGNED..UNSIGNED_END => {
                let width = 1 << (unsigned - UNSIGNED);
                let eight = u64::from_be_bytes(*rest.first_chunk()?);
                (i64::try_from(eight >> (u64::BITS as usize - 8 * width)).ok()?, width)
            }
            _ => return None,
        };
        self.at += 1 + width;
        Some(value)
    }

    #[inline(always)]
    fn plain_text(&mut self) -> Option<Text<'a>> {
        let (first, rest) = self.bytes.get(self.at..)?.split_first()?;
        let length = usize::from(first.checked_sub(SHORT_TEXT).filter(|length| *length < SHORT_TEXT_END - SHORT_TEXT)?);
        let raw = rest.get(..length)?;
        if !is_ascii(rest, length) {
            return None;
        }
        self.at += 1 + length;
        Some(Text::plain(raw))
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

/// Whether the first so many bytes are ASCII. Few are looked at all at once, together with what follows them.
#[inline(always)]
fn is_ascii(bytes: &[u8], length: usize) -> bool {
    const HIGH: u128 = u128::from_ne_bytes([0x80; 16]);
    match bytes.first_chunk() {
        Some(chunk) if length < 16 => u128::from_le_bytes(*chunk) & HIGH & ((1 << (8 * length)) - 1) == 0,
        _ => bytes.get(..length).is_some_and(<[u8]>::is_ascii),
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
