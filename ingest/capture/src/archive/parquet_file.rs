//! Rows to Parquet bytes and back.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use codec::columns;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use std::ops::Range;
use streams::log::{Offset, PartitionId};

/// The rows as one Parquet file, compressed with Zstandard.
///
/// # Errors
/// When the rows do not have the schema.
pub fn to_parquet(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Bytes, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties))?;
    for batch in rows {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(bytes.into())
}

/// All rows of a Parquet file in one batch.
///
/// # Errors
/// When the bytes are no Parquet file.
pub fn from_parquet(bytes: Bytes) -> Result<RecordBatch, ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The rows of these offsets of a partition, so many in a batch; of all others only their place is read.
///
/// # Errors
/// When it is no Parquet file, or its rows have no place in the log.
pub fn rows_between<R: ChunkReader + 'static>(
    file: R,
    (partition, offsets): (PartitionId, Range<Offset>),
    batch_rows: usize,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let places = ProjectionMask::columns(builder.parquet_schema(), [columns::PARTITION, columns::OFFSET]);
    let wanted = i32::try_from(partition).unwrap_or(i32::MAX);
    let is_between = ArrowPredicateFn::new(places, move |rows| {
        let lacking = || ArrowError::SchemaError("rows of an archive file have no place in the log".to_owned());
        let partitions = rows.column_by_name(columns::PARTITION).and_then(|it| it.as_primitive_opt::<Int32Type>());
        let found = rows.column_by_name(columns::OFFSET).and_then(|it| it.as_primitive_opt::<Int64Type>());
        let (partitions, found) = partitions.zip(found).ok_or_else(lacking)?;
        let places = partitions.values().iter().zip(found.values());
        let between = places.map(|(partition, offset)| Some(*partition == wanted && offsets.contains(offset)));
        Ok(between.collect::<BooleanArray>())
    });
    builder.with_row_filter(RowFilter::new(vec![Box::new(is_between)])).with_batch_size(batch_rows).build()
}
