//! Privacy at the door: what may be stored of an event, a label or a feedback that was accepted.
//!
//! Where a model has columns that may not be stored as they come, its rows are stored as they were read: their known fields
//! and nothing beside them. Hashed values become their hashes, dropped ones null, and a row that a mapping reads becomes
//! the event that it stands for. Labels and feedback keep no features. That there were unknown features is kept, without
//! their names and values. Of a row that nobody reads the identity stays, and what is no row becomes null: nobody knows
//! which part of it is which column. A header says that this has been done, so that the decoder does not hash a hash.
//!
//! A `profile_only` value must stay in an event, because it is still to be profiled; the retention of the topic is its end.

use super::Limits;
use super::cursor::{Cursor, Value, each_row};
use super::envelope::{Envelope, Field, HeadReader, Part, Taken};
use super::fault::Read;
use super::format::Format;
use super::json::Json;
use super::known_fields::{KnownFields, MapWriter, Scope, is_identity, write_null};
use super::mapping::{MappedParts, Walk};
use super::msgpack::MessagePack;
use super::route::{Assembly, EventKind};
use super::source::Source;
use bytes::Bytes;
use std::ops::Range;

/// The header of a record whose rows are stored as their privacy allows.
pub const REDACTED_HEADER: &str = "driftline-redacted";

/// Takes out of records what may not be stored.
pub struct Redactor {
    /// All models, in the order in which mappings are tried.
    models: Vec<KnownFields>,
    limits: Limits,
}

/// Rows that are being stored anew.
struct Rewriting<'v> {
    value: &'v [u8],
    scope: Scope,
    stored: Assembly,
    /// Whether any row is stored otherwise than it came.
    is_changed: bool,
}

/// Whose a row is, and so how it is stored.
enum Owner<'a> {
    /// Of a model all of whose columns may be stored.
    Open,
    /// An event of the wire format.
    Plain(&'a KnownFields),
    /// A record of another shape, as its mapping reads it.
    Mapped(&'a KnownFields, MappedParts<'a>),
    /// Of no model that is known.
    Nobody,
}

impl Redactor {
    /// A redactor for these models; `None` where all of their columns may be stored.
    pub fn new(sources: &[Source], limits: Limits) -> Option<Self> {
        let is_private = sources.iter().any(|source| source.privacy.is_restrictive());
        is_private.then(|| Self { models: sources.iter().map(KnownFields::new).collect(), limits })
    }

    /// The record's value as it may be stored.
    pub fn redact(&self, kind: EventKind, format: Format, value: &Bytes) -> Bytes {
        let scope = Scope { kind, format, depth: self.limits.max_depth };
        match format {
            Format::Json => self.rewrite(&mut Json::new(value), value, scope),
            Format::MessagePack => self.rewrite(&mut MessagePack::new(value), value, scope),
            // Columns are redacted where they are routed, and carry a mark of their own.
            Format::Arrow => value.clone(),
        }
    }

    fn rewrite<'a, C: Cursor<'a>>(&'a self, cursor: &mut C, value: &'a Bytes, scope: Scope) -> Bytes {
        let mut envelopes = HeadReader::new(scope.depth);
        let mut rewriting = Rewriting { value, scope, stored: Assembly::default(), is_changed: false };
        let rejected_rows = each_row(cursor, u32::MAX, |cursor, index| {
            rewriting.fill_up_to(index);
            self.row(cursor, &mut envelopes, &mut rewriting)
        });
        if let Some(last) = rejected_rows.last() {
            rewriting.fill_up_to(last.index.saturating_add(last.rows));
        }
        if rewriting.is_changed { rewriting.stored.finish(scope.format) } else { value.clone() }
    }

    fn row<'a, C: Cursor<'a>>(
        &'a self,
        cursor: &mut C,
        envelopes: &mut HeadReader,
        rewriting: &mut Rewriting<'_>,
    ) -> Read<()> {
        let (start, scope) = (cursor.position(), rewriting.scope);
        cursor.skip(scope.depth)?;
        let end = cursor.position();
        cursor.seek(start);
        let owner = self.owner(cursor, envelopes, scope);
        cursor.seek(start);
        let row = match owner {
            Owner::Open => None,
            Owner::Plain(model) => Some(plain_row(cursor, Some(model), scope)?),
            Owner::Nobody => Some(plain_row(cursor, None, scope)?),
            Owner::Mapped(model, parts) => Some(mapped_row(cursor, model, &parts, scope)?),
        };
        rewriting.add(row, start..end);
        cursor.seek(end);
        Ok(())
    }

    /// Whose the row at the cursor is, as the decoder will see it: an event of the wire format, or else what the first
    /// mapping reads that fits.
    fn owner<'a, C: Cursor<'a>>(&'a self, cursor: &mut C, envelopes: &mut HeadReader, scope: Scope) -> Owner<'a> {
        let (start, depth) = (cursor.position(), scope.depth);
        let mut envelope = Envelope::empty();
        let plain = envelopes.read(cursor, &mut envelope, |cursor, _| cursor.skip(depth).map(|()| Taken::Later));
        let named = envelope.model.map(|model| model.to_text());
        let named = self.models.iter().find(|model| Some(model.name()) == named.as_deref());
        let owner_of = |model: &'a KnownFields| if model.is_private() { Owner::Plain(model) } else { Owner::Open };
        let is_complete = plain.is_ok() && scope.is_complete(&envelope);
        if let Some(model) = named.filter(|_| is_complete) {
            return owner_of(model);
        }
        for model in &self.models {
            let Some(mapping) = model.mapping() else { continue };
            let mut walk = Walk { cursor: &mut *cursor, start, depth };
            let Ok(parts) = mapping.parts(&mut walk, model.name()) else { continue };
            if parts.has_identity() {
                return if model.is_private() { Owner::Mapped(model, parts) } else { Owner::Open };
            }
        }
        named.map_or(Owner::Nobody, owner_of)
    }
}

impl Rewriting<'_> {
    /// Puts null in the place of each row that was left out before this one.
    fn fill_up_to(&mut self, index: u32) {
        while self.stored.events() < index {
            let mut null = Vec::new();
            write_null(self.scope.format, &mut null);
            self.stored.add(self.scope.format, &null);
            self.is_changed = true;
        }
    }

    /// Adds a row, or as it came where it may be stored so.
    fn add(&mut self, row: Option<Vec<u8>>, came_as: Range<usize>) {
        self.is_changed |= row.is_some();
        let as_it_came = || self.value.get(came_as).unwrap_or_default();
        let bytes = row.as_deref().unwrap_or_else(as_it_came);
        self.stored.add(self.scope.format, bytes);
    }
}

/// The known fields of an event of the wire format; of one of no known model, those that tell which it is.
fn plain_row<'a, C: Cursor<'a>>(cursor: &mut C, model: Option<&KnownFields>, scope: Scope) -> Read<Vec<u8>> {
    let Value::Map(mut open) = cursor.value()? else {
        let mut null = Vec::new();
        write_null(scope.format, &mut null);
        return Ok(null);
    };
    let mut row = MapWriter::new(scope);
    let mut scratch = Vec::new();
    while let Some(key) = cursor.next_key(&mut open)? {
        let is_kept = |field: &Field| if model.is_some() { scope.keeps(*field) } else { is_identity(*field) };
        let field = Field::find(key.resolve(&mut scratch)).filter(is_kept);
        let Some(field) = field else {
            cursor.skip(scope.depth)?;
            continue;
        };
        let at = cursor.position();
        let part = Part { value: cursor.value()?, at };
        let out = row.entry(field.name());
        match model {
            Some(model) => model.write(cursor, field, part, out)?,
            None => out.write_scalar(cursor, part.value)?,
        }
    }
    Ok(row.finish())
}

/// What a mapping reads, as an event of the wire format.
fn mapped_row<'a, C: Cursor<'a>>(
    cursor: &mut C,
    model: &KnownFields,
    parts: &MappedParts<'a>,
    scope: Scope,
) -> Read<Vec<u8>> {
    let mut row = MapWriter::new(scope);
    row.entry(Field::Model.name()).write_text(model.name());
    for (field, part) in parts.fields.iter().filter(|(field, _)| scope.keeps(*field)) {
        part.enter(cursor)?;
        model.write(cursor, *field, *part, row.entry(field.name()))?;
    }
    if scope.kind == EventKind::Inference {
        model.write_mapped_features(cursor, parts, row.entry(Field::Features.name()))?;
        model.write_mapped_segments(cursor, parts, row.entry(Field::Segment.name()))?;
    }
    Ok(row.finish())
}
