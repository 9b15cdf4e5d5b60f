//! Rows in a Parquet file: how they are handed to a command, and how its answers come back.
//!
//! One file holds one batch's worth of rows, in order. It deliberately streams nothing: a training set and a sample fit in
//! memory, and the archive has readers of its own. What a program wrote is read as a plain file ([`crate::plain_file`]) and
//! within a size, packed and unpacked: a few kilobytes of Parquet can hold gigabytes.

use crate::plain_file::{self, PlainFileError};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why a file of rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsFileError {
    /// The file could not be created.
    #[error("{path} cannot be created; check the permissions of its folder and the space left", path = path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not there, or is none that is read.
    #[error("{path} cannot be opened", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: PlainFileError,
    },
    /// Its rows are larger than they may be.
    #[error(
        "{path} unpacks to more than the {most} bytes that are allowed; `result_limit` of the command raises that",
        path = path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is allowed.
        most: u64,
    },
    /// The file is not Parquet, or is damaged.
    #[error("{path} is not a readable Parquet file", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet reader or writer said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// The file's batches do not belong together.
    #[error("the rows in {path} cannot be read", path = path.display())]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What Arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
}

/// Writes rows to a new file, over one that is there.
///
/// # Errors
/// The file cannot be created or written.
pub fn write(path: &Path, rows: &RecordBatch) -> Result<(), RowsFileError> {
    let file = File::create(path).map_err(|source| RowsFileError::Create { path: path.to_owned(), source })?;
    let parquet = |source| RowsFileError::Parquet { path: path.to_owned(), source };
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).map_err(parquet)?;
    writer.write(rows).map_err(parquet)?;
    writer.close().map_err(parquet)?;
    Ok(())
}

/// Most rows that are unpacked at once.
const ROWS_AT_ONCE: u64 = 1024;

/// Reads all rows of a file of the folder, in order, where they take at most so many bytes.
///
/// # Errors
/// The file is missing, is no plain file of the folder, is not Parquet, is damaged or is larger.
pub fn read(folder: &Path, path: &Path, most: u64) -> Result<RecordBatch, RowsFileError> {
    let opened = plain_file::open(folder, path, most);
    let file = opened.map_err(|source| RowsFileError::Open { path: path.to_owned(), source })?;
    let parquet = |source| RowsFileError::Parquet { path: path.to_owned(), source };
    let arrow = |source| RowsFileError::Arrow { path: path.to_owned(), source };
    let too_large = || RowsFileError::TooLarge { path: path.to_owned(), most };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let columns = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
    let unpacked = columns.map(|column| column.uncompressed_size().unsigned_abs());
    if unpacked.clone().sum::<u64>() > most {
        return Err(too_large());
    }
    // A value that a dictionary holds once can stand in every row.
    let rows_at_once = (most / unpacked.max().unwrap_or(0).max(1)).clamp(1, ROWS_AT_ONCE);
    let reader = builder.with_batch_size(rows_at_once as usize).build().map_err(parquet)?;
    let schema = arrow::record_batch::RecordBatchReader::schema(&reader);
    let (mut batches, mut bytes) = (Vec::new(), 0);
    for batch in reader {
        let batch = batch.map_err(arrow)?;
        bytes += batch.get_array_memory_size() as u64;
        if bytes > most {
            return Err(too_large());
        }
        batches.push(batch);
    }
    concat_batches(&schema, &batches).map_err(arrow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn rows_come_back_as_they_were_written() {
        let rows = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![Some(1.5), None])) as ArrayRef),
            ("label", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
        ])
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.parquet");
        write(&path, &rows).unwrap();
        assert_eq!(read(directory.path(), &path, 1 << 20).unwrap().columns(), rows.columns());
    }

    #[test]
    fn a_small_file_that_holds_much_is_refused_before_it_fills_the_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.parquet");
        let long = "x".repeat(1 << 18);
        // A dictionary of one value.
        let many = Arc::new(Float64Array::from(vec![0.5; 2_000_000])) as ArrayRef;
        let wide = Arc::new(StringArray::from(vec![long.as_str(); 300])) as ArrayRef;
        for column in [many, wide] {
            write(&path, &RecordBatch::try_from_iter([("x", column)]).unwrap()).unwrap();
            let most = 8 << 20;
            assert!(std::fs::metadata(&path).unwrap().len() < most);
            let error = read(directory.path(), &path, most).unwrap_err();
            assert!(matches!(error, RowsFileError::TooLarge { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_parquet_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answers.parquet");
        std::fs::write(&path, "not parquet").unwrap();
        let message = read(directory.path(), &path, 100).unwrap_err().to_string();
        assert!(message.ends_with("answers.parquet is not a readable Parquet file"), "{message}");
    }
}
