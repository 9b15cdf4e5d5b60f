//! Files as sources of rows: what `replay`, `init` and `reference` read.
//!
//! CSV (with a header), Parquet and JSON (an object a line, or one array of objects), each also gzipped, are read a batch at a
//! time, so that memory does not grow with the file. A row is known by its number, 0-based, not counting a header. A row that
//! cannot be read at all ends the reading with an error that names file and row, because a file is repaired more easily than
//! a log.
//!
//! Empty CSV fields and missing JSON keys are nulls; `missing` says which words are, where numbers are wanted. In a numeric
//! column, `NaN` and `inf` are numbers like any other, text that reads as a number is that number, and other text stays text:
//! a strict reader ([`typed::columns`]) refuses it, while events carry it as it is, so that the service counts it as a wrong type.
//!
//! What is not here: which column means what ([`EventEncoder`] is told), and how fast rows are sent.

mod opening;

mod csv;
mod json;
mod parquet;

mod cell;
mod missing;
mod time;
pub mod typed;

mod columns;
mod encoder;
mod error;
mod infer;
mod mapped;
mod order;
pub mod privacy;
pub mod table;

pub use cell::{Cell, Column, has_path as has_column, names_of};
pub use columns::{FileColumns, ScoreColumns, ScoreColumnsError};
pub use encoder::{
    Encoded, EncodedRecord, EncodedRows, EncoderSpec, EventEncoder, EventId, EventTime, LabelDelay, LabelRows,
    LabelTimes,
};
pub use error::SourceError;
pub use infer::{InferredColumn, InferredFile, InferredKind, infer, infer_columns};
pub use mapped::MappedColumns;
pub use opening::{Files, Reading};
pub use order::{Lateness, TimeOrder, sorted};
pub use time::{TimeFormat, rfc3339};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Rows in a batch: enough to amortise the work around it, little enough to keep memory small.
const BATCH_ROWS: usize = 4096;

/// The column of rows that were brought into another order than their file's: their numbers in it.
const ROW_NUMBER: &str = "driftline.row";

/// Consecutive rows of a file.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// How many rows come before the first.
    pub first_row: u64,
    /// The rows, with the file's own columns and types; CSV columns are text.
    pub batch: RecordBatch,
}

impl RowBatch {
    /// The number of a row of the batch in its file, from 0: what people look for it by.
    pub fn number(&self, row: usize) -> u64 {
        let numbers = self.batch.column_by_name(ROW_NUMBER).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let number = numbers.filter(|numbers| row < numbers.len()).map(|numbers| numbers.value(row));
        number.unwrap_or(self.first_row + row as u64)
    }
}

/// The rows of one or several files, in order.
pub struct Rows {
    file: PathBuf,
    schema: SchemaRef,
    batches: Batches,
    notes: Vec<String>,
    missing: Vec<String>,
    next_row: u64,
    failed: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rows").field("file", &self.file).field("next_row", &self.next_row).finish()
    }
}

impl Rows {
    fn new(file: PathBuf, opened: Opened, reading: &Reading) -> Self {
        let Opened { schema, batches, notes } = opened;
        Self { file, schema, batches, notes, missing: reading.missing.clone(), next_row: 0, failed: false }
    }

    /// What messages call the file they come from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Their columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What was guessed of how the file is written, a sentence each: it is shown to whoever asked for the rows.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Iterator for Rows {
    type Item = Result<RowBatch, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.batches.next()?.and_then(|batch| missing::emptied(batch, &self.missing)) {
            Ok(batch) => {
                let first_row = self.next_row;
                self.next_row += batch.num_rows() as u64;
                Some(Ok(RowBatch { first_row, batch }))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(SourceError::rows(&self.file, self.next_row, &error)))
            }
        }
    }
}

/// How a file is written, apart from being gzipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Parquet,
    Json,
}

impl Format {
    /// By the ending of the name.
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" | "tsv" => Some(Self::Csv),
            "parquet" | "pq" => Some(Self::Parquet),
            "jsonl" | "ndjson" | "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// By what the file begins with; CSV cannot be told from other text.
    fn recognised(file: &Path) -> Option<Self> {
        let mut beginning = Vec::new();
        open_text(file).ok()?.take(MOST_SPACE).read_to_end(&mut beginning).ok()?;
        let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace());
        match first {
            _ if beginning.starts_with(b"PAR1") => Some(Self::Parquet),
            Some(b'{' | b'[') => Some(Self::Json),
            _ => None,
        }
    }
}

/// The most bytes of white space before the first value of JSON.
const MOST_SPACE: u64 = 1 << 10;

/// Opens a file by its ending, or else by what it begins with; whether it is gzipped is seen from its first bytes.
///
/// # Errors
/// When the file cannot be read, its format is none that is known, or its header or schema is broken.
pub fn open(file: &Path) -> Result<Rows, SourceError> {
    Files::from(file).open()
}

/// The batches of one file.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + Send>;

/// One file, opened: the columns that are read of it, their rows, and what was guessed.
struct Opened {
    schema: SchemaRef,
    batches: Batches,
    notes: Vec<String>,
}

/// Opens one file; all of its columns unless some are named.
fn open_part(file: &Path, reading: &Reading, columns: Option<&[&str]>) -> Result<Opened, SourceError> {
    let format = Format::of(file).or_else(|| Format::recognised(file));
    match format {
        Some(Format::Csv) => csv::open(file, reading.delimiter, columns),
        Some(Format::Parquet) => parquet::open(file, columns),
        Some(Format::Json) => json::open(file),
        // A file that is not there has no format either.
        None => Err(match File::open(file) {
            Err(source) => SourceError::Unreadable { file: file.to_owned(), source },
            Ok(_) => SourceError::Format { file: file.to_owned() },
        }),
    }
}

/// The places of the wanted columns, in the file's order; all of them where none are named.
fn places(schema: &SchemaRef, columns: Option<&[&str]>) -> Vec<usize> {
    // What stands within a struct is wanted by a path that begins with its name.
    let begins =
        |path: &str, name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_wanted = |name: &str| columns.is_none_or(|columns| columns.iter().any(|path| begins(path, name)));
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| is_wanted(field.name())).map(|(place, _)| place).collect()
}

/// Whether the file begins as gzip does; leaves it at its start.
fn open_plain(file: &Path) -> Result<(File, Compression), SourceError> {
    let unreadable = |source| SourceError::Unreadable { file: file.to_owned(), source };
    let mut opened = File::open(file).map_err(unreadable)?;
    let mut magic = Vec::new();
    opened.by_ref().take(2).read_to_end(&mut magic).map_err(unreadable)?;
    opened.rewind().map_err(unreadable)?;
    let compression = if magic == [0x1f, 0x8b] { Compression::Gzip } else { Compression::None };
    Ok((opened, compression))
}

/// Whether a file is gzipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
}

/// The file's text, unpacked where it is gzipped.
fn open_text(file: &Path) -> Result<Box<dyn BufRead + Send>, SourceError> {
    let (opened, compression) = open_plain(file)?;
    Ok(match compression {
        Compression::None => Box::new(BufReader::with_capacity(1 << 17, opened)),
        Compression::Gzip => Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(opened))),
    })
}

#[cfg(test)]
mod tests;
