//! CSV with a header row. Every column is read as text: what a value means is decided by the model's schema, and one odd
//! value must not cost its neighbours.
//!
//! How the file is written is told from its beginning, and noted for whoever reads it: what separates the fields, whether
//! decimals have a comma (then they get a point), and columns without a name, which programs write for row numbers and for a
//! comma at the end of every line. Those are left out.

use super::{BATCH_ROWS, Batches, Opened, SourceError, open_text, places};
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use csv::ByteRecord;
use std::collections::BTreeSet;
use std::io::{Read, copy, sink};
use std::path::Path;
use std::sync::Arc;

/// How much of a file is looked at to tell how it is written.
const LOOKED_AT_BYTES: u64 = 256 << 10;
const LOOKED_AT_ROWS: usize = 200;
/// What may separate the fields.
const DELIMITERS: [u8; 4] = *b",;\t|";

pub(super) fn open(file: &Path, delimiter: Option<u8>, columns: Option<&[&str]>) -> Result<Opened, SourceError> {
    let broken = |reason: String| SourceError::Header { file: file.to_owned(), reason };
    let mut beginning = Vec::new();
    let unreadable = |source| SourceError::Unreadable { file: file.to_owned(), source };
    let looked_at = open_text(file)?.take(LOOKED_AT_BYTES).read_to_end(&mut beginning);
    // Where the file breaks off later, its rows tell.
    looked_at.map(drop).or_else(|source| if beginning.is_empty() { Err(unreadable(source)) } else { Ok(()) })?;
    let dialect = Dialect::of(&beginning, delimiter).map_err(broken)?;
    let schema = dialect.schema().map_err(broken)?;
    let named = |place: &usize| !schema.field(*place).name().is_empty();
    let kept: Vec<_> = places(&schema, columns).into_iter().filter(named).collect();
    let projected = schema.project(&kept).map_err(|error| broken(error.to_string()))?;
    let reader = ReaderBuilder::new(Arc::clone(&schema))
        .with_delimiter(dialect.delimiter)
        .with_batch_size(BATCH_ROWS)
        .with_header(dialect.header_bytes.is_none())
        .with_projection(kept);
    let mut text = open_text(file)?;
    if let Some(bytes) = dialect.header_bytes {
        copy(&mut text.by_ref().take(bytes), &mut sink()).map_err(unreadable)?;
    }
    let reader = reader.build_buffered(text).map_err(|error| broken(error.to_string()))?;
    let batches: Batches =
        if dialect.decimal_comma { Box::new(reader.map(|batch| with_points(&batch?))) } else { Box::new(reader) };
    Ok(Opened { schema: Arc::new(projected), batches, notes: dialect.notes(delimiter) })
}

/// How a file is written.
struct Dialect {
    delimiter: u8,
    decimal_comma: bool,
    /// Names of the columns; empty where there is none.
    columns: Vec<String>,
    /// The length of the header where it has fewer fields than the rows, which are to be read without it.
    header_bytes: Option<u64>,
}

impl Dialect {
    /// Of a file that begins so.
    fn of(beginning: &[u8], delimiter: Option<u8>) -> Result<Self, String> {
        let candidates = delimiter.map_or_else(|| DELIMITERS.to_vec(), |delimiter| vec![delimiter]);
        let samples = candidates.into_iter().map(|delimiter| Sample::of(beginning, delimiter));
        let samples =
            samples.collect::<Result<Vec<_>, _>>().map_err(|error| format!("the header cannot be read ({error})"))?;
        // Of equals the first: the comma.
        let best = samples.iter().rev().max_by(|one, other| one.fit().total_cmp(&other.fit()));
        let sample = best
            .filter(|sample| !sample.header.is_empty())
            .ok_or("the file is empty: its first line must name the columns")?;
        let names = sample.header.iter().map(|name| String::from_utf8_lossy(name).into_owned());
        let mut dialect = Self {
            delimiter: sample.delimiter,
            decimal_comma: sample.has_decimal_comma(),
            columns: names.collect(),
            header_bytes: None,
        };
        match sample.beyond_the_header() {
            Beyond::Nothing => return Ok(dialect),
            Beyond::Before => dialect.columns.insert(0, String::new()),
            Beyond::After => dialect.columns.push(String::new()),
        }
        dialect.header_bytes = Some(sample.header_bytes);
        Ok(dialect)
    }

    /// All columns as text, those without a name among them.
    fn schema(&self) -> Result<SchemaRef, String> {
        let mut seen = BTreeSet::new();
        for name in self.columns.iter().filter(|name| !name.is_empty()) {
            if !seen.insert(name) {
                return Err(format!("the header names column `{name}` twice: give each its own name"));
            }
        }
        if seen.is_empty() {
            return Err("the header names no column: its first line must name the columns".to_owned());
        }
        let fields = self.columns.iter().map(|name| Field::new(name, DataType::Utf8, true));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// What is to be told of it; what was said is no guess.
    fn notes(&self, said: Option<u8>) -> Vec<String> {
        let mut notes = Vec::new();
        if said.is_none() && self.delimiter != b',' {
            let name =
                if self.delimiter == b'\t' { "tabs".to_owned() } else { format!("`{}`", char::from(self.delimiter)) };
            notes.push(format!("fields are separated by {name}"));
        }
        if self.decimal_comma {
            notes.push("decimals are written with a comma".to_owned());
        }
        let unnamed = (1..).zip(&self.columns).filter(|(_, name)| name.is_empty());
        notes.extend(unnamed.map(|(place, _)| format!("column {place} has no name and is left out")));
        notes
    }
}

/// What rows have beside the columns that their header names.
enum Beyond {
    Nothing,
    /// Row numbers before them.
    Before,
    /// Nothing, behind a separator at the end.
    After,
}

/// The beginning of a file, read with one separator.
struct Sample {
    delimiter: u8,
    header: ByteRecord,
    header_bytes: u64,
    rows: Vec<ByteRecord>,
}

impl Sample {
    fn of(beginning: &[u8], delimiter: u8) -> Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = reader.delimiter(delimiter).flexible(true).has_headers(false).from_reader(beginning);
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header)?;
        let header_bytes = reader.position().byte();
        let mut rows = reader.byte_records().take(LOOKED_AT_ROWS + 1).collect::<Result<Vec<_>, _>>()?;
        // The last row may be cut off.
        if beginning.len() as u64 == LOOKED_AT_BYTES || rows.len() > LOOKED_AT_ROWS {
            rows.pop();
        }
        Ok(Self { delimiter, header, header_bytes, rows })
    }

    /// The share of rows that have the fields of the header, which are several; the header alone counts little.
    fn fit(&self) -> f64 {
        if self.header.len() < 2 {
            return 0.0;
        }
        let fitting = self.rows.iter().filter(|row| row.len() == self.header.len()).count();
        (1 + fitting) as f64 / (1 + self.rows.len()) as f64
    }

    /// Whether every row has one field more than the header, and what that is.
    fn beyond_the_header(&self) -> Beyond {
        let one_more = |row: &ByteRecord| row.len() == self.header.len() + 1;
        let is_empty = |row: &ByteRecord| row.iter().next_back().is_some_and(<[u8]>::is_empty);
        let is_number = |(number, row): (usize, &ByteRecord)| row.get(0) == Some(number.to_string().as_bytes());
        match () {
            () if self.rows.is_empty() || !self.rows.iter().all(one_more) => Beyond::Nothing,
            () if self.rows.iter().all(is_empty) => Beyond::After,
            () if (1..).zip(&self.rows).all(is_number) => Beyond::Before,
            () => Beyond::Nothing,
        }
    }

    /// Whether there are numbers with a decimal comma, and none with a point; a comma that separates fields is none.
    fn has_decimal_comma(&self) -> bool {
        let fields = || self.rows.iter().flat_map(ByteRecord::iter).filter_map(|field| std::str::from_utf8(field).ok());
        let has_point = |text: &str| text.contains('.') && text.trim().parse::<f64>().is_ok();
        self.delimiter != b',' && fields().any(|text| with_point(text).is_some()) && !fields().any(has_point)
    }
}

/// A number with a decimal comma as one with a point, without the points between its thousands; `None` for other text.
fn with_point(text: &str) -> Option<String> {
    let (whole, fraction) = text.trim().split_once(',')?;
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let (first, thousands) = unsigned.split_once('.').map_or((unsigned, None), |(first, rest)| (first, Some(rest)));
    let are_thousands = thousands.is_none_or(|rest| rest.split('.').all(|part| part.len() == 3 && is_digits(part)));
    (is_digits(first) && are_thousands && is_digits(fraction)).then(|| format!("{}.{fraction}", whole.replace('.', "")))
}

/// The rows with decimal points instead of commas.
fn with_points(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |column: &ArrayRef| -> ArrayRef {
        let Some(texts) = column.as_string_opt::<i32>() else { return Arc::clone(column) };
        let texts = texts.iter().map(|text| text.map(|text| with_point(text).unwrap_or_else(|| text.to_owned())));
        Arc::new(texts.collect::<StringArray>())
    };
    RecordBatch::try_new(batch.schema(), batch.columns().iter().map(column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comma_becomes_a_point_and_other_text_stays() {
        for (text, wanted) in [("12,5", "12.5"), ("-1.234.567,25", "-1234567.25"), (" 0,1 ", "0.1")] {
            assert_eq!(with_point(text).as_deref(), Some(wanted));
        }
        for text in ["12.5", "1,2,3", "a,b", ",5", "12,", "1.2,5", "Rome, Italy"] {
            assert_eq!(with_point(text), None, "{text}");
        }
    }

    #[test]
    fn the_separator_is_that_by_which_rows_have_the_fields_of_the_header() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2\n2,5;3\n", b';'),
            ("a\tb\n1,5\tx, y\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("text\nhello; you\n", b','),
            ("a;b,c\n1;2,3\n4,5\n", b','),
            ("a;b\n", b';'),
        ] {
            assert_eq!(Dialect::of(text.as_bytes(), None).unwrap().delimiter, delimiter, "{text}");
        }
        assert_eq!(Dialect::of(b"a;b,c\n1;2,3\n", Some(b';')).unwrap().columns, ["a", "b,c"]);
    }
}
