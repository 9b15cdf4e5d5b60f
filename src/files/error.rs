//! What can be wrong with a source of rows.

use arrow::error::ArrowError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why rows cannot be read or understood. Row numbers are 0-based and do not count a header.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("cannot read {file} ({source}): name a file that is there and may be read")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The ending of the file's name is none that is known.
    #[error(
        "{file}: the name must end in .csv, .parquet, .jsonl or .ndjson, perhaps with .gz after it: rename or convert the file"
    )]
    Format {
        /// The file.
        file: PathBuf,
    },
    /// The file's header or schema is broken.
    #[error("{file}: {reason}")]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and how to mend it.
        reason: String,
    },
    /// A row of a batch cannot be read.
    #[error(
        "{file}: a row at or soon after row {from_row} cannot be read ({reason}): mend the row; those before {from_row} were read"
    )]
    Rows {
        /// The file.
        file: PathBuf,
        /// First row of the batch that failed.
        from_row: u64,
        /// What the reader said, shortened.
        reason: String,
    },
    /// Rows that are not in the order of time, and more than can be sorted.
    #[error(
        "{file}: its rows are not in the order of time, and too many to be sorted in memory: sort them by `{column}`, or replay them as they are with --order file"
    )]
    TooLargeToSort {
        /// The file.
        file: PathBuf,
        /// The column of the times.
        column: String,
    },
    /// A column that the file does not have.
    #[error("{file} has no column `{column}`: its columns are {found}")]
    NoColumn {
        /// The file.
        file: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns there are.
        found: String,
    },
    /// A value that cannot be what its column is.
    #[error("{file} row {row}, column `{column}`: {found} is not {wanted}")]
    Value {
        /// The file.
        file: PathBuf,
        /// The row.
        row: u64,
        /// The column.
        column: String,
        /// The value, shortened.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A column whose type holds no plain values.
    #[error(
        "{file}, column `{column}`: {data_type} holds no plain values: write numbers, text, booleans or timestamps"
    )]
    ColumnType {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
}

impl SourceError {
    /// Rows from this one on that cannot be read, because the reader said this.
    pub(super) fn rows(file: &Path, from_row: u64, said: &ArrowError) -> Self {
        Self::Rows { file: file.to_owned(), from_row, reason: clipped(&said.to_string()) }
    }
}

/// The most letters of what a reader says: it may repeat its input at full length, which may be personal data.
const MOST_LETTERS: usize = 160;

/// What a reader said, shortened.
pub(super) fn clipped(said: &str) -> String {
    match said.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", said.get(..end).unwrap_or_default()),
        None => said.to_owned(),
    }
}
