//! Records of Avro: arrow makes a batch of one row of each, whose columns are taken as those of a stream are.
//!
//! A record of Avro is named as the wire format is: its fields are `id`, `time`, `model` and so on, with `features`, `score`
//! and `segment` as records or maps. The types of Avro that JSON lacks become what they count: timestamps and dates
//! milliseconds, decimals numbers, enums text, a UUID text. Unions of several types are read value by value.
//!
//! Invariant: a dead letter holds the record as it came, frame included.

use super::pending_records::{Arrival, Kind};
use super::table::{Budget, Table};
use super::{Outgoing, Sorted};
use crate::decode::builders::append::Hashes;
use crate::decode::fault::{Fault, Read, Reason};
use crate::decode::route::EventKind;
use crate::decode::{Decoder, Task};
use crate::schemas::{Misfit, SchemaId};
use arrow::array::RecordBatch;
use bytes::Bytes;
use streams::log::{Headers, Record};

impl Decoder {
    /// Takes in a record of Avro, whose bytes stand without its frame. It is decoded with those that follow it.
    pub(in crate::decode) fn take_avro(&mut self, record: &Record, schema: SchemaId, bytes: &Bytes, task: &Task<'_>) {
        match self.read_avro(schema, bytes) {
            Ok(batch) => {
                let kind = Kind { rows: task.rows, redacted: task.redacted, hashes: Hashes::Due };
                let letter = record.value.clone();
                let record = Record { key: None, value: letter.clone(), headers: Headers::default(), ..*record };
                self.gather(Arrival { record, batches: vec![batch], place: task.place, kind, letter });
            }
            Err(fault) => {
                self.decode_gathered();
                self.refuse(record, fault);
            }
        }
    }

    /// Sorts a record of Avro without its frame as a body of one row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::decode) fn sort_avro(
        &mut self,
        outgoing: &Outgoing<'_>,
        kind: EventKind,
        (schema, bytes): (SchemaId, &[u8]),
    ) -> Read<Sorted> {
        let table = Table::new(&self.read_avro(schema, bytes)?, &mut Budget::new(bytes.len()))?;
        outgoing.sort_tables(kind, &[table], bytes.len())
    }

    fn read_avro(&mut self, schema: SchemaId, bytes: &[u8]) -> Read<RecordBatch> {
        let Some(reader) = self.readers.get(schema) else {
            return Err(Fault::new(Reason::UnknownSchema, 0, format!("{schema} is nowhere to be had")));
        };
        reader.read(bytes).map_err(|misfit| fault(schema, bytes.len(), misfit))
    }
}

/// What is wrong with a record. Arrow's own words may repeat values, so they are not told.
#[cold]
fn fault(schema: SchemaId, length: usize, misfit: Misfit) -> Box<Fault> {
    match misfit {
        Misfit::Truncated => Fault::new(Reason::Truncated, length, format!("the bytes end within a value of {schema}")),
        Misfit::Malformed => Fault::new(Reason::Malformed, 0, format!("the bytes are no record of {schema}")),
        Misfit::Trailing(end) => Fault::new(Reason::Malformed, end, format!("bytes follow the record of {schema}")),
        Misfit::TooLarge(most) => {
            let what = format!("a record of {length} bytes, where {schema} allows {most}");
            Fault::new(Reason::TooLarge, 0, what)
        }
    }
}
