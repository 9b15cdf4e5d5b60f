//! What both wire formats have in common: a position in bytes, scalars that borrow from them, and maps and arrays that are
//! walked through rather than built.
//!
//! Everything above the two cursors is written once against [`Cursor`] and compiled for each, so that JSON and MessagePack
//! cannot come to mean different things.

use super::expected::ExpectedKey;
use super::fault::{Fault, Read, Reason};
use detectors::spelling;
use std::ops::Range;

/// Text as it stands in the record.
///
/// Invariant: the cursor that made it has checked that the bytes are UTF-8 and that the escapes, if any, can be resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    escapes: Escapes,
}

/// Whether text still has its JSON escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Json,
}

impl<'a> Text<'a> {
    pub(super) fn plain(raw: &'a [u8]) -> Self {
        Self { raw, escapes: Escapes::None }
    }

    pub(super) fn escaped(raw: &'a [u8]) -> Self {
        Self { raw, escapes: Escapes::Json }
    }

    /// The text in the one spelling of the value that it names. Text with escapes is no number and no boolean.
    #[inline(always)]
    pub(crate) fn spelled(self) -> Self {
        match self.escapes {
            Escapes::None => Self { raw: spelling::of_bytes(self.raw), ..self },
            Escapes::Json => self,
        }
    }

    /// Bytes it takes in the record.
    pub(crate) fn len(self) -> usize {
        self.raw.len()
    }

    /// Whether it stands in the record as exactly these bytes.
    pub(super) fn is(self, plain: &[u8]) -> bool {
        self.plain_bytes() == Some(plain)
    }

    /// The bytes of the text, where they stand in the record as such.
    #[inline(always)]
    pub(crate) fn plain_bytes(self) -> Option<&'a [u8]> {
        (self.escapes == Escapes::None).then_some(self.raw)
    }

    /// Appends the text, its escapes resolved.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        match self.escapes {
            Escapes::None => out.extend_from_slice(self.raw),
            Escapes::Json => {
                let resolved = super::json::unescape(self.raw, out);
                debug_assert!(resolved.is_ok(), "the cursor resolved the same escapes before it made this text");
            }
        }
    }

    /// The bytes of the text; `scratch` holds them where escapes have to be resolved.
    pub(crate) fn resolve<'s>(self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if self.escapes == Escapes::None {
            return self.raw;
        }
        scratch.clear();
        self.append_to(scratch);
        scratch
    }

    /// The text, for messages and other rare uses.
    pub(crate) fn to_text(self) -> String {
        let mut scratch = Vec::new();
        String::from_utf8_lossy(self.resolve(&mut scratch)).into_owned()
    }
}

/// A map or an array whose head has been read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    /// MessagePack: entries still to come. JSON: entries already read, up to one.
    pub(super) entries: u32,
}

/// A scalar, or the head of a map or an array.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer above the range of `Int`.
    Uint(u64),
    /// An integer beyond the range of both, in its digits.
    Long(Text<'a>),
    Float(f64),
    Text(Text<'a>),
    /// Bytes or an extension type of MessagePack.
    Opaque,
    Array(Open),
    Map(Open),
}

impl Value<'_> {
    /// What it is, for messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Uint(_) | Self::Long(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::Opaque => "binary data",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }
}

/// A place in a record, and the steps that can be taken from it.
///
/// The steps named `pass_` and `plain_` take what nearly every row has, in the form that nearly every producer gives it. Where
/// anything else is ahead the cursor stays, and the general step says what that is.
pub(crate) trait Cursor<'a> {
    /// The byte it stands at.
    fn position(&self) -> usize;

    /// Goes back, or on, to a position it has had.
    fn seek(&mut self, position: usize);

    /// Takes a scalar, or the head of a map or an array.
    fn value(&mut self) -> Read<Value<'a>>;

    /// Takes the next key of a map; `None` at its end.
    fn next_key(&mut self, open: &mut Open) -> Read<Option<Text<'a>>>;

    /// Goes past the next key of a map if it is this one.
    fn pass_key(&mut self, open: &mut Open, key: &ExpectedKey) -> bool;

    /// Takes a number.
    fn plain_number(&mut self) -> Option<f64>;

    /// Takes an integer.
    fn plain_integer(&mut self) -> Option<i64>;

    /// Takes short text that stands in the record as it is.
    fn plain_text(&mut self) -> Option<Text<'a>>;

    /// Whether an array has another item; the cursor then stands at it.
    fn next_item(&mut self, open: &mut Open) -> Read<bool>;

    /// Goes to the next row of the record and says where it starts; `None` at the end.
    ///
    /// # Errors
    /// When the bytes at the cursor are no row. [`Cursor::leave_row`] goes past them.
    fn next_row(&mut self) -> Read<Option<usize>>;

    /// Goes past a row that starts at `start` and in which something is wrong, to where the next can be found. Does not
    /// recurse, however deep the row is.
    fn leave_row(&mut self, start: usize);

    /// Goes past one value, which must be well-formed, down to `depth` levels.
    fn skip(&mut self, depth: usize) -> Read<()> {
        let value = self.value()?;
        self.skip_rest(value, depth)
    }

    /// Goes past what is left of a value whose head was taken.
    fn skip_rest(&mut self, value: Value<'a>, depth: usize) -> Read<()> {
        let inner = match value {
            Value::Array(_) | Value::Map(_) => depth
                .checked_sub(1)
                .ok_or_else(|| Fault::new(Reason::TooDeep, self.position(), "values are nested too deep"))?,
            _ => return Ok(()),
        };
        match value {
            Value::Array(mut open) => {
                while self.next_item(&mut open)? {
                    self.skip(inner)?;
                }
            }
            Value::Map(mut open) => {
                while self.next_key(&mut open)?.is_some() {
                    self.skip(inner)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A row that could not be taken: its place within the record, its bytes, and why. It stands for those that follow it, if
/// there are more of them than can be told of one by one.
#[derive(Debug)]
pub(crate) struct RejectedRow {
    pub(crate) index: u32,
    /// How many rows it stands for, itself included.
    pub(crate) rows: u32,
    pub(crate) bytes: Range<usize>,
    pub(crate) fault: Box<Fault>,
}

impl RejectedRow {
    /// What is wrong, where, how to mend it, and for how many rows.
    pub(crate) fn message(&self) -> String {
        match self.rows {
            1 => self.fault.message(),
            rows => format!("{} (and {} rows that follow it)", self.fault.message(), rows - 1),
        }
    }
}

/// RejectedRow rows of a record that are told of one by one, however short they are, and the bytes of the record for which there
/// may be a further one. No good row is so short, so that what is told takes a small multiple of what was sent.
const MOST_TOLD: usize = 1_000;
const BYTES_OF_TOLD: usize = 64;

/// How many spoilt rows of so many bytes are told of one by one.
pub(super) fn most_told(bytes: usize) -> usize {
    MOST_TOLD + bytes / BYTES_OF_TOLD
}

/// Visits every row of a record and returns those that the visit, or the frame around them, found fault with.
///
/// A row that fails costs itself only: the cursor goes past it and the next is visited. Rows beyond `most` become one
/// rejected row together, and so do neighbours where there are very many.
pub(crate) fn each_row<'a, C: Cursor<'a>>(
    cursor: &mut C,
    most: u32,
    mut visit: impl FnMut(&mut C, u32) -> Read<()>,
) -> Vec<RejectedRow> {
    let mut rejected_rows = Vec::new();
    let mut index = 0;
    loop {
        let (start, outcome) = match cursor.next_row() {
            Ok(None) => return rejected_rows,
            Ok(Some(start)) if index >= most => {
                let fault = Fault::new(Reason::TooManyEvents, start, format!("more than {most} events in one record"));
                rejected_rows.push(RejectedRow { index, rows: 1, bytes: start..usize::MAX, fault });
                return rejected_rows;
            }
            Ok(Some(start)) => (start, visit(cursor, index)),
            Err(fault) => (cursor.position(), Err(fault)),
        };
        if let Err(fault) = outcome {
            cursor.leave_row(start);
            let bytes = start..cursor.position();
            let is_many = rejected_rows.len() >= most_told(bytes.end);
            match rejected_rows.last_mut().filter(|last| is_many && last.index.saturating_add(last.rows) == index) {
                Some(last) => (last.rows, last.bytes.end) = (last.rows + 1, bytes.end),
                None => rejected_rows.push(RejectedRow { index, rows: 1, bytes, fault }),
            }
        }
        index = index.saturating_add(1);
    }
}
