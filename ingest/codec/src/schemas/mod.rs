//! Schemas that records are written with: from files, and from a registry that Confluent's clients can talk to.
//!
//! Invariants:
//! - A schema is asked for by what the record says of it: the registry's number, its GUID, the fingerprint of Avro's
//!   single-object encoding, or nothing. What an id stands for never changes, so an answer is kept.
//! - "There is no such schema" is an answer. That nobody answers is an [`Outage`], which passes: whoever decodes has to wait,
//!   because a record that is set aside for it would be lost to its window.
//!
//! It deliberately does not write schemas, check their compatibility, or read those of Protobuf.

mod avro;
mod registry;

pub(crate) use avro::{AvroReader, AvroSchema, Misfit};
pub use registry::{RegistryError, RegistrySettings};

use registry::Registry;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What a record says of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// A registry's number.
    Number(u32),
    /// A registry's globally unique id.
    Guid([u8; 16]),
    /// The CRC-64 fingerprint of an Avro schema's canonical form.
    Fingerprint(u64),
    /// Nothing.
    Unframed,
}

/// A schema as far as it can be used.
#[derive(Debug, Clone)]
pub(crate) enum Schema {
    /// Records are Avro.
    Avro(Arc<AvroSchema>),
    /// Records are JSON, which is read without its schema.
    Json,
    /// Records cannot be read, and why.
    Unread(String),
}

/// A schema of a file that cannot be used.
#[derive(Debug, Error)]
#[error("the schema {reason}")]
pub struct UnusableSchema {
    reason: String,
}

/// The registry did not say what an id stands for.
#[derive(Debug, Error)]
#[error("{schema} cannot be had from the schema registry at {url} ({reason}); its records wait until it can")]
pub struct Outage {
    schema: SchemaId,
    url: String,
    reason: String,
}

/// Every schema there is to be had.
#[derive(Debug, Default)]
pub struct Schemas {
    files: HashMap<SchemaId, Schema>,
    registry: Option<Registry>,
}

impl Schemas {
    /// Adds an Avro schema by its text: records carry one of these ids, or its fingerprint.
    ///
    /// # Errors
    /// When it is no Avro schema that can be read.
    pub fn with_avro(mut self, text: &str, ids: &[SchemaId]) -> Result<Self, UnusableSchema> {
        let schema = AvroSchema::new(text).map_err(|reason| UnusableSchema { reason })?;
        let own = schema.fingerprint().map(SchemaId::Fingerprint);
        let schema = Arc::new(schema);
        for id in ids.iter().copied().chain(own) {
            self.files.insert(id, Schema::Avro(Arc::clone(&schema)));
        }
        Ok(self)
    }

    /// Adds a registry, which is asked for what no file has.
    ///
    /// # Errors
    /// When the certificates or the key cannot be used. The registry itself is not asked before a record needs it.
    pub fn with_registry(mut self, settings: RegistrySettings) -> Result<Self, RegistryError> {
        self.registry = Some(Registry::new(settings)?);
        Ok(self)
    }

    /// What an id stands for; `None` where that is known to be nothing.
    ///
    /// # Errors
    /// When the registry gives no answer.
    pub(crate) fn find(&self, id: SchemaId) -> Result<Option<Schema>, Outage> {
        if let Some(schema) = self.files.get(&id) {
            return Ok(Some(schema.clone()));
        }
        match (&self.registry, id) {
            (Some(registry), SchemaId::Number(_) | SchemaId::Guid(_)) => registry.find(id),
            _ => Ok(None),
        }
    }

    /// Whether records that say nothing of their schema have one.
    pub(crate) fn has_unframed(&self) -> bool {
        self.files.contains_key(&SchemaId::Unframed)
    }
}

impl SchemaId {
    /// Reads a GUID, as `00112233-4455-6677-8899-aabbccddeeff`.
    pub fn guid(text: &str) -> Option<Self> {
        let groups: Vec<_> = text.split('-').map(str::len).collect();
        if groups != [8, 4, 4, 4, 12] {
            return None;
        }
        let digits = text.replace('-', "");
        let number = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u128::from_str_radix(&digits, 16));
        Some(Self::Guid(number?.ok()?.to_be_bytes()))
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "schema {number}"),
            Self::Guid(guid) => write!(formatter, "schema {}", hyphenated(*guid)),
            Self::Fingerprint(fingerprint) => write!(formatter, "the schema with fingerprint {fingerprint:016x}"),
            Self::Unframed => formatter.write_str("the schema of records without a frame"),
        }
    }
}

/// Sixteen bytes as a GUID is written.
pub(crate) fn hyphenated(guid: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(guid));
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
