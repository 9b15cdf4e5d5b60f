//! What stands around the bytes of a record: the id of the schema that it was written with.
//!
//! Three frames are known:
//! - Confluent's serializers put a byte 0 and the registry's number (four bytes, the highest first) before the payload, Avro's
//!   as well as JSON Schema's. Newer ones write a byte 1 and the schema's GUID (sixteen bytes), and that into the header
//!   `__value_schema_id`, so that the payload stands alone. Either id may stand in either place; the header goes first.
//! - Avro's single-object encoding: `C3 01` and the fingerprint of the schema (eight bytes, the lowest first).
//! - A content type that says Avro, and nothing else: the schema is the one that the configuration gives for it.
//!
//! There is no confusion with what has no frame: JSON never begins with the bytes 0, 1 or C3, and in MessagePack they are two
//! integers and `true`, none of them an event. Where the content type says MessagePack or Arrow no frame is looked for.
//!
//! Of a schema that is nowhere to be had only the framing can be told, so a payload that begins as JSON does is taken for it.

use super::Decoder;
use super::fault::{Fault, Read, Reason};
use super::format::Format;
use crate::schemas::{AvroReader, Outage, Schema, SchemaId};
use std::collections::HashMap;
use std::sync::Arc;
use streams::log::{Headers, Record};

/// The header that holds the id of a value's schema.
pub const SCHEMA_ID_HEADER: &str = "__value_schema_id";

/// What is to be decoded, and where it starts.
pub(super) enum Payload {
    /// The record as it is.
    Plain(Format),
    /// JSON behind a frame.
    FramedJson { start: usize },
    /// A record of Avro, for which there is a reader.
    Avro { schema: SchemaId, start: usize },
}

/// Why there is nothing to decode.
pub(super) enum Stop {
    Fault(Box<Fault>),
    Outage(Outage),
}

impl From<Box<Fault>> for Stop {
    fn from(fault: Box<Fault>) -> Self {
        Self::Fault(fault)
    }
}

/// The readers of the schemas that are in use.
#[derive(Default)]
pub(super) struct Readers {
    by_schema: HashMap<SchemaId, AvroReader>,
}

impl Readers {
    /// The most readers; each holds some kilobytes for every column. Where there are more schemas they are made anew.
    const MOST: usize = 32;

    pub(super) fn get(&mut self, schema: SchemaId) -> Option<&mut AvroReader> {
        self.by_schema.get_mut(&schema)
    }

    fn add(&mut self, schema: SchemaId, reader: AvroReader) {
        if self.by_schema.len() >= Self::MOST {
            self.by_schema.clear();
        }
        self.by_schema.insert(schema, reader);
    }
}

/// The format that headers name, whatever the value is: what the headers of the last record said, they say of the next that
/// shares them.
#[derive(Default)]
pub(super) struct FormatByHeaders(Option<(Headers, Format)>);

impl FormatByHeaders {
    /// What the headers of a plain record of this format tell of others.
    fn by(record: &Record, format: Format) -> Self {
        // In front of JSON there may be a frame, and without a content type the value tells the format.
        let by_headers = format != Format::Json && record.header("content-type").is_some();
        Self(by_headers.then(|| (Arc::clone(&record.headers), format)))
    }

    fn of(&self, headers: &Headers) -> Option<Format> {
        let (known, format) = self.0.as_ref()?;
        Arc::ptr_eq(known, headers).then_some(*format)
    }
}

/// The id of a schema, and where what is written with it starts.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    schema: SchemaId,
    start: usize,
}

impl Decoder {
    /// What a record holds, by its headers and its first bytes.
    pub(super) fn payload(&mut self, record: &Record, value: &[u8]) -> Result<Payload, Stop> {
        if value.is_empty() {
            return Err(Fault::new(Reason::Empty, 0, "the record is empty").into());
        }
        if let Some(format) = self.named.of(&record.headers) {
            return Ok(Payload::Plain(format));
        }
        if let Some(frame) = self.frame(record, value)? {
            return self.framed(&frame, value);
        }
        let what = "neither the content type nor the first bytes tell the format";
        let format = Format::of(record).ok_or_else(|| Fault::new(Reason::UnknownFormat, 0, what))?;
        self.named = FormatByHeaders::by(record, format);
        Ok(Payload::Plain(format))
    }

    fn frame(&self, record: &Record, value: &[u8]) -> Read<Option<Frame>> {
        if let Some(header) = record.header(SCHEMA_ID_HEADER) {
            let what = format!("the header `{SCHEMA_ID_HEADER}` holds no id of a schema");
            let frame = confluent(header).ok_or_else(|| Fault::new(Reason::Malformed, 0, what))?;
            return Ok(Some(Frame { start: 0, ..frame }));
        }
        let Some(content_type) = record.header("content-type") else {
            return Ok(confluent(value).or_else(|| single_object(value)));
        };
        let content_type = std::str::from_utf8(content_type).unwrap_or_default();
        if !is_avro(content_type) {
            let is_json = Format::of_content_type(content_type) == Some(Format::Json);
            return Ok(if is_json { confluent(value) } else { None });
        }
        if self.schemas.has_unframed() {
            return Ok(Some(Frame { schema: SchemaId::Unframed, start: 0 }));
        }
        let what = "the record names no schema, and none is given for such records";
        let frame = confluent(value).or_else(|| single_object(value));
        frame.map(Some).ok_or_else(|| Fault::new(Reason::UnknownSchema, 0, what))
    }

    fn framed(&mut self, frame: &Frame, value: &[u8]) -> Result<Payload, Stop> {
        let Frame { schema, start } = *frame;
        if self.readers.get(schema).is_some() {
            return Ok(Payload::Avro { schema, start });
        }
        match self.schemas.find(schema).map_err(Stop::Outage)? {
            Some(Schema::Avro(found)) => {
                self.readers.add(schema, AvroReader::new(found));
                Ok(Payload::Avro { schema, start })
            }
            Some(Schema::Json) => Ok(Payload::FramedJson { start }),
            Some(Schema::Unread(why)) => Err(Fault::new(Reason::UnreadSchema, 0, format!("{schema} {why}")).into()),
            None if matches!(value.get(start), Some(b'{' | b'[')) => Ok(Payload::FramedJson { start }),
            None => Err(Fault::new(Reason::UnknownSchema, 0, format!("{schema} is nowhere to be had")).into()),
        }
    }
}

/// The frame of Confluent's serializers.
fn confluent(bytes: &[u8]) -> Option<Frame> {
    match bytes {
        [0, id @ ..] => Some(Frame { schema: SchemaId::Number(u32::from_be_bytes(*id.first_chunk()?)), start: 5 }),
        [1, id @ ..] => Some(Frame { schema: SchemaId::Guid(*id.first_chunk()?), start: 17 }),
        _ => None,
    }
}

/// The frame of Avro's single-object encoding.
fn single_object(bytes: &[u8]) -> Option<Frame> {
    let fingerprint = bytes.strip_prefix(&[0xc3, 0x01])?.first_chunk()?;
    Some(Frame { schema: SchemaId::Fingerprint(u64::from_le_bytes(*fingerprint)), start: 10 })
}

/// Whether a content type says that a record is Avro.
fn is_avro(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let names = ["application/avro", "application/x-avro", "application/avro-binary", "avro/binary"];
    names.iter().any(|name| name.eq_ignore_ascii_case(essence))
}
