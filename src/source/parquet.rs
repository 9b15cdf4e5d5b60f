//! Parquet, row group by row group. A gzipped file is unpacked into an unnamed temporary file first, because Parquet is
//! read from its end.

use super::{BATCH_ROWS, Batches, Compression, SourceError, open_plain};
use flate2::read::MultiGzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;

pub(super) fn open(file: &Path) -> Result<Batches, SourceError> {
    let broken = |error: parquet::errors::ParquetError| SourceError::Header {
        file: file.to_owned(),
        reason: format!("not a complete Parquet file ({error}): write it again"),
    };
    let (opened, compression) = open_plain(file)?;
    let opened = match compression {
        Compression::None => opened,
        Compression::Gzip => {
            unpack(opened).map_err(|source| SourceError::Unreadable { file: file.to_owned(), source })?
        }
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(broken)?;
    let schema = builder.schema().clone();
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(broken)?;
    Ok((schema, Box::new(reader)))
}

fn unpack(packed: File) -> std::io::Result<File> {
    let mut unpacked = tempfile::tempfile()?;
    std::io::copy(&mut MultiGzDecoder::new(packed), &mut unpacked)?;
    Ok(unpacked)
}
