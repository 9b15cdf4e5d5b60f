//! Files as sources of rows: what `replay`, `init` and `reference` read.
//!
//! CSV (with a header), Parquet and JSON lines, each also gzipped, are read a batch at a time, so that memory does not grow
//! with the file. A row is known by its number, 0-based, not counting a header. A row that cannot be read at all ends the
//! reading with an error that names file and row, because a file is repaired more easily than a log.
//!
//! Empty CSV fields and missing JSON keys are nulls. In a numeric column, `NaN` and `inf` are numbers like any other, text
//! that reads as a number is that number, and other text stays text: a strict reader ([`typed::columns`]) refuses it,
//! while events carry it as it is, so that the service counts it as a wrong type.
//!
//! What is not here: which column means what ([`EventEncoder`] is told), and how fast rows are sent.

mod cell;
mod columns;
mod csv;
mod encoder;
mod error;
mod infer;
mod jsonl;
mod parquet;
pub mod privacy;
mod time;
pub mod typed;

pub use cell::{Cell, Column};
pub use columns::{FileColumns, ScoreColumns, ScoreColumnsError};
pub use encoder::{Encoded, EncodedRecord, EncoderSpec, EventEncoder, EventTime, LabelDelay};
pub use error::SourceError;
pub use infer::{InferredColumn, InferredFile, InferredKind, infer};
pub use time::{TimeFormat, rfc3339};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Rows in a batch: enough to amortise the work around it, little enough to keep memory small.
const BATCH_ROWS: usize = 4096;

/// Consecutive rows of a file.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// Number of the first row, from 0.
    pub first_row: u64,
    /// The rows, with the file's own columns and types; CSV columns are text.
    pub batch: RecordBatch,
}

/// The rows of one file, in order.
pub struct Rows {
    file: PathBuf,
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + Send>,
    next_row: u64,
    failed: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rows").field("file", &self.file).field("next_row", &self.next_row).finish()
    }
}

impl Rows {
    /// The file they come from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Rows {
    type Item = Result<RowBatch, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.batches.next()? {
            Ok(batch) => {
                let first_row = self.next_row;
                self.next_row += batch.num_rows() as u64;
                Some(Ok(RowBatch { first_row, batch }))
            }
            Err(source) => {
                self.failed = true;
                Some(Err(SourceError::Rows { file: self.file.clone(), from_row: self.next_row, source }))
            }
        }
    }
}

/// How a file is written, apart from being gzipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Parquet,
    JsonLines,
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "parquet" | "pq" => Some(Self::Parquet),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Opens a file by its ending; whether it is gzipped is seen from its first bytes.
///
/// # Errors
/// When the file cannot be read, its ending is none that is known, or its header or schema is broken.
pub fn open(file: &Path) -> Result<Rows, SourceError> {
    let format = Format::of(file).ok_or_else(|| SourceError::Format { file: file.to_owned() })?;
    let (schema, batches) = match format {
        Format::Csv => csv::open(file)?,
        Format::Parquet => parquet::open(file)?,
        Format::JsonLines => jsonl::open(file)?,
    };
    Ok(Rows { file: file.to_owned(), schema, batches, next_row: 0, failed: false })
}

/// Opens a file of which only these columns are read; those that it does not have are left to the reader of the rows.
///
/// Parquet skips what is not wanted, and CSV does not keep it; JSON lines are read whole.
///
/// # Errors
/// As [`open`].
pub fn open_columns(file: &Path, columns: &[&str]) -> Result<Rows, SourceError> {
    let (schema, batches) = match Format::of(file) {
        Some(Format::Csv) => csv::open_columns(file, columns)?,
        Some(Format::Parquet) => parquet::open_columns(file, columns)?,
        Some(Format::JsonLines) | None => return open(file),
    };
    Ok(Rows { file: file.to_owned(), schema, batches, next_row: 0, failed: false })
}

/// The places of the wanted columns, in the file's order.
fn places(schema: &SchemaRef, columns: &[&str]) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| columns.contains(&field.name().as_str())).map(|(place, _)| place).collect()
}

/// A format's batches, with the columns they have.
type Batches = (SchemaRef, Box<dyn Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>> + Send>);

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
