//! Parquet, row group by row group. A gzipped file is unpacked into an unnamed temporary file first, because Parquet is
//! read from its end.

use super::{BATCH_ROWS, Compression, Opened, SourceError, open_plain, places};
use flate2::read::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(file: &Path, columns: Option<&[&str]>) -> Result<Opened, SourceError> {
    let builder = builder(file)?;
    let kept = places(builder.schema(), columns);
    let schema = builder.schema().project(&kept).map_err(|error| broken(file, &error.into()))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), kept);
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    let batches = Box::new(reader.map_err(|error| broken(file, &error))?);
    Ok(Opened { schema: Arc::new(schema), batches, notes: Vec::new() })
}

fn broken(file: &Path, error: &ParquetError) -> SourceError {
    let reason = format!("not a complete Parquet file ({error}): write it again");
    SourceError::Header { file: file.to_owned(), reason }
}

fn builder(file: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, SourceError> {
    let (opened, compression) = open_plain(file)?;
    let opened = match compression {
        Compression::None => opened,
        Compression::Gzip => {
            unpack(opened).map_err(|source| SourceError::Unreadable { file: file.to_owned(), source })?
        }
    };
    ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|error| broken(file, &error))
}

fn unpack(packed: File) -> std::io::Result<File> {
    let mut unpacked = tempfile::tempfile()?;
    std::io::copy(&mut MultiGzDecoder::new(packed), &mut unpacked)?;
    Ok(unpacked)
}
