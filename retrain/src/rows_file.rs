//! Rows in a Parquet file: how they are handed to a command, and how its answers come back.
//!
//! One file holds one batch's worth of rows, in order. It deliberately streams nothing: a training set and a sample fit in
//! memory, and the archive has readers of its own.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why a file of rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsFileError {
    /// The file could not be opened or created.
    #[error("{path} cannot be opened; check that it exists and that its permissions allow it", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
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
    let file = File::create(path).map_err(|source| RowsFileError::Open { path: path.to_owned(), source })?;
    let parquet = |source| RowsFileError::Parquet { path: path.to_owned(), source };
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).map_err(parquet)?;
    writer.write(rows).map_err(parquet)?;
    writer.close().map_err(parquet)?;
    Ok(())
}

/// Reads all rows of a file, in order.
///
/// # Errors
/// The file is missing, is not Parquet or is damaged.
pub fn read(path: &Path) -> Result<RecordBatch, RowsFileError> {
    let file = File::open(path).map_err(|source| RowsFileError::Open { path: path.to_owned(), source })?;
    let parquet = |source| RowsFileError::Parquet { path: path.to_owned(), source };
    let arrow = |source| RowsFileError::Arrow { path: path.to_owned(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?.build().map_err(parquet)?;
    let schema = arrow::record_batch::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
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
        assert_eq!(read(&path).unwrap().columns(), rows.columns());
    }

    #[test]
    fn a_file_that_is_not_parquet_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("answers.parquet");
        std::fs::write(&path, "not parquet").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.ends_with("answers.parquet is not a readable Parquet file"), "{message}");
    }
}
