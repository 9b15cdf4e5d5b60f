//! JSON: one object a line, or one array of objects. The file is read twice, first for its columns and their types, since a
//! key may appear late. A column that holds text in one row and numbers in another is text.

use super::error::clipped;
use super::{BATCH_ROWS, Opened, SourceError, open_text};
use crate::config::ordered::Ordered;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;
use serde::de::IgnoredAny;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(file: &Path) -> Result<Opened, SourceError> {
    let broken = |reason: String| SourceError::Header { file: file.to_owned(), reason };
    let (inferred, _) = infer_json_schema(open_lines(file)?, None).map_err(|error| {
        broken(format!("not JSON objects, with one kind of value a key ({})", clipped(&error.to_string())))
    })?;
    let order = first_keys(file)?;
    let place = |field: &Arc<Field>| order.iter().position(|key| key == field.name()).unwrap_or(usize::MAX);
    let mut fields: Vec<_> = inferred.fields().iter().map(plain).collect();
    fields.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.name().cmp(b.name())));
    let schema = Arc::new(Schema::new(fields));
    let reader = ReaderBuilder::new(schema.clone())
        .with_batch_size(BATCH_ROWS)
        .with_coerce_primitive(true)
        .build(open_lines(file)?)
        .map_err(|error| broken(clipped(&error.to_string())))?;
    Ok(Opened { schema, batches: Box::new(reader), notes: Vec::new() })
}

/// The file's text with an object a line.
fn open_lines(file: &Path) -> Result<Box<dyn BufRead + Send>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { file: file.to_owned(), source };
    let mut text = open_text(file)?;
    let is_array = loop {
        let beginning = text.fill_buf().map_err(unreadable)?;
        let space = beginning.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match beginning.get(space) {
            Some(first) => break *first == b'[',
            None if beginning.is_empty() => break false,
            None => text.consume(space),
        }
    };
    Ok(if is_array { Box::new(BufReader::new(ArrayLines { text, depth: 0, quoted: Quoted::No })) } else { text })
}

/// The keys of the first row in their order, which is the order people expect.
fn first_keys(file: &Path) -> Result<Vec<String>, SourceError> {
    let mut lines = open_lines(file)?.lines();
    let is_row = |line: &io::Result<String>| line.as_ref().map_or(true, |line| !line.trim().is_empty());
    let first = lines.find(is_row).transpose();
    let line = first.map_err(|source| SourceError::Unreadable { file: file.to_owned(), source })?.unwrap_or_default();
    let row: Ordered<IgnoredAny> = serde_json::from_str(&line).unwrap_or_default();
    Ok(row.into_iter().map(|(key, _)| key).collect())
}

/// A column of nulls alone is read as text.
fn plain(field: &Arc<Field>) -> Arc<Field> {
    match field.data_type() {
        // Numbers that are not all whole, or too large for 64 bits, keep their digits as text.
        DataType::Null | DataType::Float64 => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => field.clone(),
    }
}

/// The elements of an array, one a line: the brackets around them are left out, the commas between them become ends of lines,
/// and the ends of lines within them spaces. What is no JSON stays none.
struct ArrayLines {
    text: Box<dyn BufRead + Send>,
    depth: u32,
    quoted: Quoted,
}

/// Whether a byte stands within quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

impl Read for ArrayLines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.text.read(out)?;
        out.iter_mut().take(length).for_each(|byte| *byte = self.mapped(*byte));
        Ok(length)
    }
}

impl ArrayLines {
    fn mapped(&mut self, byte: u8) -> u8 {
        self.quoted = match (self.quoted, byte) {
            (Quoted::No, b'"') | (Quoted::Escaped, _) => Quoted::Yes,
            (Quoted::No, _) | (Quoted::Yes, b'"') => Quoted::No,
            (Quoted::Yes, b'\\') => Quoted::Escaped,
            (Quoted::Yes, _) => Quoted::Yes,
        };
        if self.quoted != Quoted::No {
            return byte;
        }
        match (byte, self.depth) {
            (b'[' | b'{', _) => {
                self.depth += 1;
                if self.depth == 1 { b' ' } else { byte }
            }
            (b']' | b'}', _) => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 { b' ' } else { byte }
            }
            (b',', 1) => b'\n',
            (b'\n' | b'\r', _) => b' ',
            _ => byte,
        }
    }
}
