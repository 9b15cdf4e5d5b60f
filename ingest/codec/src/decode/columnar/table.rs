//! A batch with its columns named as on the wire, and with values of few types.
//!
//! The structs `features`, `score` and `segment` become columns with a dot (`features.age`); dictionaries and views become
//! plain text, all integers `Int64` (or `UInt64`), floats `Float64`, timestamps and dates milliseconds since the
//! epoch, sixteen fixed bytes a UUID as text. What a dictionary or a view repeats has to fit into a budget before it is written out.

use crate::decode::fault::{Fault, Read, Reason};
use crate::schemas::hyphenated;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::kernels::length::length;
use arrow::compute::{cast, is_null, nullif, sum, take};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Columns whose fields may stand in a struct of their name.
pub(super) const FEATURES: &str = "features";
pub(super) const SCORE: &str = "score";
pub(super) const SEGMENT: &str = "segment";

/// The rows of one batch.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) rows: usize,
    pub(super) columns: Vec<Column>,
}

/// One column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The field, or the field and what is within it with a dot between.
    pub(super) name: String,
    /// As it was sent.
    pub(super) sent: ArrayRef,
    /// In one of the few types.
    pub(super) plain: ArrayRef,
}

/// Bytes that a record may take once what it shares between its rows is written out for each of them: values, or the names
/// of columns in rows that are looked at one by one.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    const LEAST: usize = 8 << 20;
    /// So much for each byte of a record: values are written out up to three times on their way.
    const PER_BYTE: usize = 16;
    /// Far enough below what the offsets of one text column can count.
    const MOST: usize = 512 << 20;

    pub(super) fn new(record_bytes: usize) -> Self {
        Self { left: record_bytes.saturating_mul(Self::PER_BYTE).saturating_add(Self::LEAST).min(Self::MOST) }
    }

    /// The same for rows that are written out one by one, each with the names of its columns: they are held beside the values.
    pub(super) fn of_rows(record_bytes: usize) -> Self {
        Self { left: record_bytes.saturating_mul(Self::PER_BYTE / 2).saturating_add(Self::LEAST).min(Self::MOST) }
    }

    /// Takes so many bytes from it.
    ///
    /// # Errors
    /// When there are not so many left.
    pub(super) fn spend(&mut self, bytes: usize) -> Read<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(Fault::new(Reason::TooLarge, 0, "written out for each row, values and names take too much space"))
            }
        }
    }
}

impl Table {
    /// The rows of a batch.
    pub(super) fn new(batch: &RecordBatch, budget: &mut Budget) -> Read<Self> {
        let mut columns: Vec<Column> = Vec::with_capacity(batch.num_columns());
        for (field, sent) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let name = field.name();
            let parts = match (name.as_str(), sent.as_struct_opt()) {
                (FEATURES | SCORE | SEGMENT, Some(_)) => fields_of(name, sent).map_err(unconvertible)?,
                _ => vec![(name.clone(), Arc::clone(sent))],
            };
            for (name, sent) in parts {
                let plain = plain(&sent, budget).map_err(|fault| fault.within(&name))?;
                columns.push(Column { name, sent, plain });
            }
        }
        let table = Self { rows: batch.num_rows(), columns };
        table.check_names()?;
        Ok(table)
    }

    /// The column of a name.
    pub(super) fn get(&self, name: &str) -> Option<&ArrayRef> {
        self.columns.iter().find(|column| column.name == name).map(|column| &column.plain)
    }

    /// Columns within `features`, `score` or `segment`, by their own name.
    pub(super) fn within<'a>(&'a self, field: &'static str) -> impl Iterator<Item = (&'a str, &'a Column)> {
        self.columns.iter().filter_map(move |column| Some((inner(&column.name, field)?, column)))
    }

    /// These rows only.
    pub(super) fn select(&self, rows: &UInt32Array) -> Result<Self, ArrowError> {
        if rows.len() == self.rows {
            return Ok(self.clone());
        }
        let columns = self.columns.iter().map(|column| {
            let plain = take(&column.plain, rows, None)?;
            Ok(Column { name: column.name.clone(), sent: take(&column.sent, rows, None)?, plain })
        });
        Ok(Self { rows: rows.len(), columns: columns.collect::<Result<_, ArrowError>>()? })
    }

    /// Everything is there once.
    fn check_names(&self) -> Read<()> {
        for field in [FEATURES, SCORE, SEGMENT] {
            if self.get(field).is_some() && self.within(field).next().is_some() {
                return Err(
                    Fault::new(Reason::DuplicateField, 0, "a field has a column beside those within it").within(field)
                );
            }
        }
        let mut names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        });
        match twice {
            Some(name) if inner(name, FEATURES).is_some() => {
                Err(Fault::new(Reason::DuplicateFeature, 0, "a feature has two columns").within(name))
            }
            Some(name) => Err(Fault::new(Reason::DuplicateField, 0, "a field has two columns").within(name)),
            None => Ok(()),
        }
    }
}

/// The name within a field: `age` of `features.age`.
pub(super) fn inner<'a>(name: &'a str, field: &str) -> Option<&'a str> {
    name.strip_prefix(field)?.strip_prefix('.')
}

/// The fields of a struct, null wherever the struct is.
fn fields_of(name: &str, sent: &ArrayRef) -> Result<Vec<(String, ArrayRef)>, ArrowError> {
    let Some(parent) = sent.as_struct_opt() else { return Ok(Vec::new()) };
    let absent = is_null(parent)?;
    let children = parent.fields().iter().zip(parent.columns());
    let children = children.map(|(field, child)| {
        let child = if parent.null_count() > 0 { nullif(child, &absent)? } else { Arc::clone(child) };
        Ok((format!("{name}.{}", field.name()), child))
    });
    children.collect()
}

/// Values within a list or a struct, which their column's budget has paid for, in one of the few types; nulls where that
/// fails.
pub(super) fn plain_within(sent: &ArrayRef) -> ArrayRef {
    written_out(sent).unwrap_or_else(|_| new_null_array(&DataType::Null, sent.len()))
}

/// The values in one of the few types that are read.
fn plain(sent: &ArrayRef, budget: &mut Budget) -> Read<ArrayRef> {
    budget.spend(written_bytes(sent).map_err(unconvertible)?)?;
    written_out(sent).map_err(unconvertible)
}

fn written_out(sent: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match sent.data_type() {
        DataType::Dictionary(_, values) => {
            let written = cast(sent, values)?;
            written_out(&written)
        }
        DataType::LargeUtf8 | DataType::Utf8View => cast(sent, &DataType::Utf8),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            cast(sent, &DataType::Int64)
        }
        DataType::Float16 | DataType::Float32 => cast(sent, &DataType::Float64),
        DataType::Time32(_) => cast(&cast(sent, &DataType::Int32)?, &DataType::Int64),
        DataType::Time64(_) => cast(sent, &DataType::Int64),
        DataType::FixedSizeBinary(16) => Ok(Arc::new(uuids(sent))),
        DataType::FixedSizeBinary(_) => cast(sent, &DataType::Binary),
        DataType::Timestamp(unit, _) => milliseconds(sent, |count| match unit {
            TimeUnit::Second => count.saturating_mul(1_000),
            TimeUnit::Millisecond => count,
            TimeUnit::Microsecond => count.div_euclid(1_000),
            TimeUnit::Nanosecond => count.div_euclid(1_000_000),
        }),
        DataType::Date32 => milliseconds(&cast(sent, &DataType::Int32)?, |days| days.saturating_mul(86_400_000)),
        DataType::Date64 => cast(sent, &DataType::Int64),
        _ => Ok(Arc::clone(sent)),
    }
}

/// Sixteen bytes as a UUID: that is what they are, but for the digests that nobody computes with.
fn uuids(sent: &ArrayRef) -> StringArray {
    let values = sent.as_fixed_size_binary_opt().into_iter().flatten();
    values.map(|value| Some(hyphenated(*value?.first_chunk()?))).collect()
}

fn milliseconds(sent: &ArrayRef, convert: impl Fn(i64) -> i64) -> Result<ArrayRef, ArrowError> {
    let counts = cast(sent, &DataType::Int64)?;
    let counts: Int64Array = counts.as_primitive::<Int64Type>().unary(convert);
    Ok(Arc::new(counts))
}

/// Bytes the values take when nothing is shared between them.
pub(super) fn written_bytes(sent: &ArrayRef) -> Result<usize, ArrowError> {
    let values = match sent.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    Ok(match values {
        DataType::Null => 0,
        DataType::Boolean => sent.len(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary => {
            text_bytes(sent)?.saturating_add(sent.len().saturating_mul(4))
        }
        DataType::Struct(_) => {
            let mut bytes = sent.len();
            for child in sent.as_struct_opt().map(|parent| parent.columns()).unwrap_or_default() {
                bytes = bytes.saturating_add(written_bytes(child)?);
            }
            bytes
        }
        DataType::List(_) => items_bytes(sent, sent.as_list_opt::<i32>().map(|list| list.values()))?,
        DataType::LargeList(_) => items_bytes(sent, sent.as_list_opt::<i64>().map(|list| list.values()))?,
        DataType::FixedSizeList(..) => items_bytes(sent, sent.as_fixed_size_list_opt().map(|list| list.values()))?,
        DataType::Map(..) => {
            let entries = sent.as_map_opt().map(|map| Arc::new(map.entries().clone()) as ArrayRef);
            items_bytes(sent, entries.as_ref())?
        }
        // A decimal is written out as JSON in so many digits at the most.
        DataType::Decimal128(..) | DataType::Decimal256(..) => sent.len().saturating_mul(32),
        DataType::FixedSizeBinary(size) => sent.len().saturating_mul(usize::try_from(*size).unwrap_or(0).max(36)),
        _ => sent.len().saturating_mul(8),
    })
}

fn items_bytes(list: &ArrayRef, items: Option<&ArrayRef>) -> Result<usize, ArrowError> {
    let items = items.map(written_bytes).transpose()?;
    Ok(items.unwrap_or_default().saturating_add(list.len().saturating_mul(8)))
}

fn text_bytes(texts: &ArrayRef) -> Result<usize, ArrowError> {
    // What most columns are: no need to measure each value.
    if let Some(texts) = texts.as_string_opt::<i32>() {
        let bounds = texts.value_offsets();
        let bytes = bounds.last().zip(bounds.first()).map(|(end, start)| end - start);
        return Ok(bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default());
    }
    // Of a dictionary the kernel measures each value once.
    let lengths = length(texts)?;
    let lengths = match lengths.data_type() {
        DataType::Dictionary(_, numbers) => cast(&lengths, numbers)?,
        _ => lengths,
    };
    let lengths = cast(&lengths, &DataType::Int64)?;
    Ok(sum(lengths.as_primitive::<Int64Type>()).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default())
}

/// The batches of a stream, all within one budget.
pub(super) fn tables(batches: &[RecordBatch], record_bytes: usize) -> Read<Vec<Table>> {
    let mut budget = Budget::new(record_bytes);
    batches.iter().map(|batch| Table::new(batch, &mut budget)).collect()
}

/// What arrow says may repeat values, so it is not told.
#[cold]
pub(super) fn unconvertible(_error: ArrowError) -> Box<Fault> {
    Fault::new(Reason::Malformed, 0, "the values of a column cannot be converted")
}
