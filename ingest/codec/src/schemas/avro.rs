//! An Avro schema whose records can be read in bounded space, and the reading of one record.
//!
//! Avro is terse: a null of one byte may stand for a record of a thousand fields, and an item of an array may take no byte at
//! all. So a schema is looked at before any record is: how many fields it has when its names are written out, how deep
//! they are nested, and how many bytes of memory a byte of a record can ask for at the most. The latter bounds the length of a
//! record; a schema that sets no bound is not used.
//!
//! A record that ends early leaves half a row in arrow's decoder, so a decoder that has failed is dropped. One with a union of
//! several types (other than null and one more) is dropped after each record: arrow-avro 59.3 goes on counting the values of its
//! branches after they have been taken, and refuses the next record for it. Such schemas are slower to read.
//!
//! Arrow takes a branch that a union of null and one more type does not have for the one that is not null.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema as SchemaText, Fingerprint, FingerprintAlgorithm, SchemaStore};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The most fields and types of a schema whose names are written out.
const MOST_FIELDS: usize = 2_000;
/// The most levels that types may be nested.
const MOST_LEVELS: usize = 32;
/// The most bytes that one record may become.
const MOST_BYTES: usize = 256 << 20;
/// What arrow's decoder wants before each record; the number means nothing.
const FRAME: [u8; 5] = [0; 5];

/// A schema that can be used.
#[derive(Debug)]
pub(crate) struct AvroSchema {
    text: String,
    /// The most bytes of a record.
    most_bytes: usize,
    /// Whether there is a union of several types in it.
    is_mixed: bool,
}

/// Reads records of one schema.
#[derive(Debug)]
pub(crate) struct AvroReader {
    schema: Arc<AvroSchema>,
    decoder: Option<Box<Decoder>>,
}

/// Why a record was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It ends within a value.
    Truncated,
    /// Its bytes are none that the schema allows.
    Malformed,
    /// It ends at this byte, and more follow.
    Trailing(usize),
    /// It is longer than this schema's records may be.
    TooLarge(usize),
}

impl AvroSchema {
    /// Looks at a schema; what is wrong with it completes "the schema …".
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let tree: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        if written_out(&tree, &mut HashMap::new()) > MOST_FIELDS {
            return Err(format!("has more than {MOST_FIELDS} fields and types"));
        }
        let mut schema = Self { text: text.to_owned(), most_bytes: 0, is_mixed: false };
        let cost = Cost::of_all(&schema.decoder()?.schema())?;
        let left = MOST_BYTES.checked_sub(cost.least_space).ok_or("asks for too much space for one record")?;
        schema.most_bytes = left / cost.space_per_byte.max(1);
        schema.is_mixed = cost.is_mixed;
        Ok(schema)
    }

    /// The fingerprint of its canonical form.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        match SchemaText::new(self.text.clone()).fingerprint(FingerprintAlgorithm::Rabin) {
            Ok(Fingerprint::Rabin(fingerprint)) => Some(fingerprint),
            _ => None,
        }
    }

    fn decoder(&self) -> Result<Decoder, String> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let set = store.set(Fingerprint::Id(0), SchemaText::new(self.text.clone()));
        let builder = ReaderBuilder::new().with_batch_size(1).with_writer_schema_store(store);
        set.and_then(|_| builder.build_decoder())
            .map_err(|error| format!("cannot be read as a record of Avro: {error}"))
    }
}

impl AvroReader {
    pub(crate) fn new(schema: Arc<AvroSchema>) -> Self {
        Self { schema, decoder: None }
    }

    /// Reads a record, which is one row.
    pub(crate) fn read(&mut self, record: &[u8]) -> Result<RecordBatch, Misfit> {
        if record.len() > self.schema.most_bytes {
            return Err(Misfit::TooLarge(self.schema.most_bytes));
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => Box::new(self.schema.decoder().map_err(|_| Misfit::Malformed)?),
        };
        let batch = read_one(&mut decoder, record)?;
        self.decoder = Some(decoder).filter(|_| !self.schema.is_mixed);
        Ok(batch)
    }
}

fn read_one(decoder: &mut Decoder, record: &[u8]) -> Result<RecordBatch, Misfit> {
    let framed = decoder.decode(&FRAME);
    let read = framed.and_then(|_| decoder.decode(record)).map_err(|_| Misfit::Malformed)?;
    match decoder.flush() {
        Ok(Some(batch)) if read == record.len() => Ok(batch),
        Ok(Some(_)) => Err(Misfit::Trailing(read)),
        Ok(None) => Err(Misfit::Truncated),
        Err(_) => Err(Misfit::Malformed),
    }
}

/// How many fields and types a schema has when every name is replaced by what it names.
///
/// Namespaces are left aside: of two types with the same last name the larger one counts for both.
fn written_out<'a>(schema: &'a Value, named: &mut HashMap<&'a str, usize>) -> usize {
    match schema {
        Value::String(name) => named.get(last_name(name)).copied().unwrap_or(1),
        Value::Array(branches) => {
            branches.iter().fold(1, |sum: usize, branch| sum.saturating_add(written_out(branch, named)))
        }
        Value::Object(parts) => {
            let mut count = parts.get("type").map_or(1, |kind| written_out(kind, named)).saturating_add(1);
            for part in ["items", "values"] {
                count = count.saturating_add(parts.get(part).map_or(0, |part| written_out(part, named)));
            }
            for field in parts.get("fields").and_then(Value::as_array).into_iter().flatten() {
                let kind = field.get("type").map_or(1, |kind| written_out(kind, named));
                count = count.saturating_add(kind);
            }
            if let Some(name) = parts.get("name").and_then(Value::as_str) {
                let known = named.entry(last_name(name)).or_default();
                *known = count.max(*known);
            }
            count
        }
        _ => 1,
    }
}

fn last_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// What a value of a type takes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Bytes of a record that it takes at the least.
    least_bytes: usize,
    /// Bytes of memory that it takes, also where it is null, without the items of lists and the letters of text.
    least_space: usize,
    /// Bytes of memory that a further byte of a record asks for at the most.
    space_per_byte: usize,
    /// Whether it is a union of several types, or has one within.
    is_mixed: bool,
}

impl Cost {
    fn of_all(schema: &ArrowSchema) -> Result<Self, String> {
        Self::sum(schema.fields().iter().map(|field| &**field), MOST_LEVELS)
    }

    fn sum<'a>(fields: impl Iterator<Item = &'a Field>, levels: usize) -> Result<Self, String> {
        let mut sum = Self { least_bytes: 0, least_space: 0, space_per_byte: 1, is_mixed: false };
        for field in fields {
            let cost = Self::of(field, levels)?;
            sum.least_bytes = sum.least_bytes.saturating_add(cost.least_bytes);
            sum.least_space = sum.least_space.saturating_add(cost.least_space);
            sum.space_per_byte = sum.space_per_byte.max(cost.space_per_byte);
            sum.is_mixed |= cost.is_mixed;
        }
        Ok(sum)
    }

    fn of(field: &Field, levels: usize) -> Result<Self, String> {
        let Some(levels) = levels.checked_sub(1) else {
            return Err(format!("nests its types beyond {MOST_LEVELS} levels"));
        };
        let flat = |least_space| Self { least_bytes: 1, least_space, space_per_byte: 1, is_mixed: false };
        let cost = match field.data_type() {
            DataType::Null => Self { least_bytes: 0, ..flat(1) },
            DataType::FixedSizeBinary(size) => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                Self { least_bytes: size.min(1), ..flat(size) }
            }
            DataType::List(item) => Self::of_items(item, levels)?,
            DataType::Map(entry, _) => Self::of_items(entry, levels)?,
            DataType::Struct(fields) => Self::sum(fields.iter().map(|field| &**field), levels)?,
            DataType::Union(fields, _) => {
                let sum = Self::sum(fields.iter().map(|(_, field)| &**field), levels)?;
                Self { least_bytes: 1, least_space: sum.least_space.saturating_add(5), is_mixed: true, ..sum }
            }
            other => flat(other.primitive_width().unwrap_or(4)),
        };
        // A value that may be null is one of a union, whose branch takes a byte.
        let is_optional = field.is_nullable() && *field.data_type() != DataType::Null;
        Ok(if is_optional {
            Self { least_bytes: 1, least_space: cost.least_space.saturating_add(1), ..cost }
        } else {
            cost
        })
    }

    fn of_items(item: &Field, levels: usize) -> Result<Self, String> {
        let item = Self::of(item, levels)?;
        let Some(per_byte) = item.least_space.checked_div(item.least_bytes) else {
            return Err("has an array whose items take no bytes, so that its length has no bound".to_owned());
        };
        let space_per_byte = item.space_per_byte.max(per_byte.saturating_add(1));
        Ok(Self { least_bytes: 1, least_space: 8, space_per_byte, ..item })
    }
}
