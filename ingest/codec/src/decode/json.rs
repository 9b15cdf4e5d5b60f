//! A cursor over JSON.
//!
//! A record is any number of values with white space between them (JSON lines among them), each an event or an array of
//! events. `NaN`, `Infinity` and `-Infinity` are taken as Python writes them, because a model that answers NaN is a finding,
//! not a syntax error. Values that nobody asks for are checked as strictly as the others, their UTF-8 excepted.

use super::cursor::{Cursor, Open, Text, Value};
use super::expected::ExpectedKey;
use super::fault::{Fault, Read, Reason};
use super::number::number;
use super::unclosed::Unclosed;

/// A place in a JSON record.
pub(crate) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Frame,
    unclosed: Unclosed,
}

/// Where the rows of the record stand.
enum Frame {
    /// Between values of the outer sequence.
    Lines,
    /// Within an array of it.
    Array(Open),
}

/// The bytes ahead hold an escape that stands for no character.
#[derive(Debug)]
pub(super) struct BadEscape;

impl<'a> Json<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        // Files written on Windows may begin with a byte-order mark.
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self { bytes, at, frame: Frame::Lines, unclosed: Unclosed::default() }
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, wanted: u8) -> Read<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected_byte(wanted))
    }

    /// Takes the text whose opening quote has been read.
    #[inline]
    fn text(&mut self) -> Read<Text<'a>> {
        let start = self.at;
        let mut escaped = false;
        let mut ascii = true;
        loop {
            let stop = special(self.bytes, self.at);
            ascii &= stop.ascii;
            self.at = stop.at;
            match self.bytes.get(stop.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(control) => {
                    let what = if *control == b'\n' { "the line ends" } else { "a control character stands" };
                    return Err(Fault::new(Reason::Malformed, stop.at, format!("{what} within text")));
                }
                None => return Err(self.truncated()),
            }
        }
        let raw = self.bytes.get(start..self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        if !ascii && std::str::from_utf8(raw).is_err() {
            return Err(Fault::new(Reason::NotUtf8, start, "text is not UTF-8"));
        }
        if !escaped {
            return Ok(Text::plain(raw));
        }
        match unescape(raw, &mut Vec::new()) {
            Ok(()) => Ok(Text::escaped(raw)),
            Err(BadEscape) => Err(Fault::new(Reason::Malformed, start, "text has an escape that is no character")),
        }
    }

    fn word(&mut self, word: &[u8], value: Value<'a>) -> Read<Value<'a>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        if word.starts_with(rest) { Err(self.truncated()) } else { Err(self.unexpected("a value")) }
    }

    #[inline]
    fn number(&mut self) -> Read<Value<'a>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if let Some((value, length)) = number(rest) {
            self.at += length;
            return Ok(value);
        }
        if rest.starts_with(b"-I") {
            return self.word(b"-Infinity", Value::Float(f64::NEG_INFINITY));
        }
        if rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            return Err(self.truncated());
        }
        Err(self.unexpected("a number"))
    }

    #[cold]
    fn truncated(&self) -> Box<Fault> {
        Fault::new(Reason::Truncated, self.bytes.len(), "the bytes end within a value")
    }

    #[cold]
    fn unexpected(&mut self, wanted: &str) -> Box<Fault> {
        match self.peek() {
            None => self.truncated(),
            Some(_) => Fault::new(Reason::Malformed, self.at, format!("expected {wanted}")),
        }
    }

    #[cold]
    fn unexpected_byte(&mut self, wanted: u8) -> Box<Fault> {
        let wanted = char::from(wanted);
        let or_comma = if matches!(wanted, '}' | ']') { "`,` or " } else { "" };
        self.unexpected(&format!("{or_comma}`{wanted}`"))
    }

    /// Goes to the entry after a comma, or past `close`; whether there is an entry.
    #[inline(always)]
    fn next_entry(&mut self, open: &mut Open, close: u8) -> Read<bool> {
        let first = open.entries == 0;
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                self.at += 1;
                if self.peek() == Some(close) {
                    return Err(self.unexpected("another entry after the comma"));
                }
            }
            Some(_) if first => {}
            _ => return Err(self.unexpected_byte(close)),
        }
        open.entries = 1;
        Ok(true)
    }
}

impl<'a> Cursor<'a> for Json<'a> {
    fn position(&self) -> usize {
        self.at
    }

    fn seek(&mut self, position: usize) {
        self.at = position;
    }

    #[inline(always)]
    fn value(&mut self) -> Read<Value<'a>> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::Text(self.text()?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => {
                self.at += 1;
                Ok(Value::Map(Open { entries: 0 }))
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Value::Array(Open { entries: 0 }))
            }
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Null),
            Some(b'N') => self.word(b"NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.word(b"Infinity", Value::Float(f64::INFINITY)),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn next_key(&mut self, open: &mut Open) -> Read<Option<Text<'a>>> {
        if !self.next_entry(open, b'}')? {
            return Ok(None);
        }
        self.expect(b'"')?;
        let key = self.text()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    #[inline(always)]
    fn pass_key(&mut self, open: &mut Open, key: &ExpectedKey) -> bool {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        if open.entries > 0 {
            let Some((b',', after)) = rest.split_first() else { return false };
            // Python puts a space here.
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        let is_next = key.json.leads(rest);
        if is_next {
            self.at = self.bytes.len() - rest.len() + key.json.len();
            open.entries = 1;
        }
        is_next
    }

    #[inline(always)]
    fn plain_number(&mut self) -> Option<f64> {
        self.peek()?;
        let (value, length) = number(self.bytes.get(self.at..)?)?;
        self.at += length;
        match value {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            Value::Uint(value) => Some(value as f64),
            _ => None,
        }
    }

    #[inline(always)]
    fn plain_integer(&mut self) -> Option<i64> {
        self.peek()?;
        let (value, length) = number(self.bytes.get(self.at..)?)?;
        let Value::Int(value) = value else { return None };
        self.at += length;
        Some(value)
    }

    #[inline(always)]
    fn plain_text(&mut self) -> Option<Text<'a>> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let stop = special(self.bytes, start);
        if !stop.ascii || self.bytes.get(stop.at) != Some(&b'"') {
            return None;
        }
        self.at = stop.at + 1;
        self.bytes.get(start..stop.at).map(Text::plain)
    }

    #[inline(always)]
    fn next_item(&mut self, open: &mut Open) -> Read<bool> {
        self.next_entry(open, b']')
    }

    fn next_row(&mut self) -> Read<Option<usize>> {
        loop {
            if let Frame::Array(mut open) = self.frame {
                let more = self.next_item(&mut open);
                self.frame = Frame::Array(open);
                if more? {
                    self.peek();
                    return Ok(Some(self.at));
                }
                self.frame = Frame::Lines;
            }
            match self.peek() {
                None => return Ok(None),
                Some(b'[') => {
                    self.at += 1;
                    self.frame = Frame::Array(Open { entries: 0 });
                }
                Some(_) => return Ok(Some(self.at)),
            }
        }
    }

    fn leave_row(&mut self, start: usize) {
        let brackets = match self.bytes.get(start) {
            // A line that was cut off leaves its brackets open, so this fails and the line's end decides.
            Some(b'{' | b'[') => self.unclosed.end_of_value(self.bytes, start),
            _ => None,
        };
        let end = brackets.or_else(|| match self.frame {
            Frame::Lines => next_line(self.bytes, start),
            Frame::Array(_) => self.unclosed.end_of_value(self.bytes, start).or_else(|| {
                self.frame = Frame::Array(Open { entries: 0 });
                next_line(self.bytes, start)
            }),
        });
        self.at = end.unwrap_or(self.bytes.len());
        if end.is_none() {
            self.frame = Frame::Lines;
        }
    }
}

/// Where text stops being plain.
pub(super) struct Stop {
    pub(super) at: usize,
    ascii: bool,
}

/// Finds the next quote, backslash or control character, eight bytes at a time.
///
/// The bit tricks are those of Mycroft's zero-byte test: a byte above the lowest hit may be flagged wrongly, the lowest
/// never is.
#[inline]
pub(super) fn special(bytes: &[u8], mut at: usize) -> Stop {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let mut seen = 0u64;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let hits = zero(word ^ (LOW * u64::from(b'"'))) | zero(word ^ (LOW * u64::from(b'\\'))) | control;
        if hits != 0 {
            let before = hits.trailing_zeros() & !7;
            seen |= word & ((1u64 << before) - 1);
            return Stop { at: at + before as usize / 8, ascii: seen & HIGH == 0 };
        }
        seen |= word;
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        seen |= u64::from(*byte);
        at += 1;
    }
    Stop { at, ascii: seen & HIGH == 0 }
}

/// Appends text with its escapes resolved.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BadEscape> {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let [_, letter, after @ ..] = escape else { return Err(BadEscape) };
        rest = after;
        match letter {
            b'"' | b'\\' | b'/' => out.push(*letter),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (found, after) = unicode(rest)?;
                out.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => return Err(BadEscape),
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of a `\u` escape, which may take a second escape as its other half.
fn unicode(rest: &[u8]) -> Result<(char, &[u8]), BadEscape> {
    let (high, rest) = hex(rest)?;
    if let Some(found) = char::from_u32(high) {
        return Ok((found, rest));
    }
    let (low, rest) = hex(rest.strip_prefix(b"\\u").ok_or(BadEscape)?)?;
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return Err(BadEscape);
    }
    let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    Ok((char::from_u32(code).ok_or(BadEscape)?, rest))
}

fn hex(bytes: &[u8]) -> Result<(u32, &[u8]), BadEscape> {
    let (digits, rest) = bytes.split_first_chunk::<4>().ok_or(BadEscape)?;
    let mut code = 0;
    for digit in digits {
        code = code * 16 + char::from(*digit).to_digit(16).ok_or(BadEscape)?;
    }
    Ok((code, rest))
}

/// The start of the first line after `start` that begins with a bracket, as a new event or array does.
fn next_line(bytes: &[u8], start: usize) -> Option<usize> {
    let mut line_is_blank = false;
    for (at, byte) in bytes.iter().enumerate().skip(start + 1) {
        match byte {
            b'\n' => line_is_blank = true,
            b' ' | b'\t' | b'\r' => {}
            b'{' | b'[' if line_is_blank => return Some(at),
            _ => line_is_blank = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        let mut cursor = Json::new(text.as_bytes());
        match cursor.value() {
            Ok(Value::Text(text)) => Ok(text.to_text()),
            Ok(other) => Ok(other.noun().to_owned()),
            Err(fault) => Err(fault.reason.name()),
        }
    }

    #[test]
    fn escapes_are_resolved_and_halves_of_characters_refused() {
        assert_eq!(read(r#""a\"\\\/\n\u00e4\ud83d\ude00z""#), Ok("a\"\\/\nä😀z".to_owned()));
        for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\x""#, r#""\u12""#, r#""\ud83d\u0041""#] {
            assert_eq!(read(bad), Err("malformed"), "{bad}");
        }
    }

    #[test]
    fn text_ends_at_its_quote_wherever_that_falls() {
        for length in 0..40 {
            let inner: String = "aä§".chars().cycle().take(length).collect();
            assert_eq!(read(&format!("\"{inner}\",\"x\"")), Ok(inner.clone()));
            assert_eq!(read(&format!("\"{inner}")), Err("truncated"));
            assert_eq!(read(&format!("\"{inner}\n\"")), Err("malformed"));
        }
    }

    #[test]
    fn python_spellings_of_what_is_no_number_are_numbers() {
        for word in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(read(word), Ok("a number".to_owned()));
        }
    }
}
