//! Privacy at the door: what may be stored of an event that was accepted.
//!
//! In the bytes of a record, values of hashed features become their hashes and values of dropped ones null; all else stays
//! as it was sent. A header says that this has been done, so that the decoder does not hash a hash. Whatever stands in a row
//! that cannot be read is replaced as a whole: nobody knows which part of it is which feature.
//!
//! A `profile_only` value must stay in the record, because it is still to be profiled; the retention of the topic is its end.

use super::Limits;
use super::cursor::{Cursor, Value, each_row};
use super::envelope::{Cell, Envelope, HeadReader, Taken};
use super::fault::Read;
use super::format::Format;
use super::json::Json;
use super::mapping::{FeaturesAt, Walk};
use super::msgpack::MessagePack;
use super::privacy::{HashKey, Policy};
use super::source::Source;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;

/// The header of a record whose features are stored as their privacy allows.
pub const REDACTED_HEADER: &str = "driftline-redacted";

/// Takes out of records what may not be stored.
pub struct Redactor {
    sources: Vec<Guarded>,
    limits: Limits,
}

/// A model with features that may not be stored as they come.
struct Guarded {
    source: Source,
    /// The policies of its features in schema order.
    features: Vec<(String, Policy)>,
    places: HashMap<Vec<u8>, usize>,
}

/// What a value is replaced with.
enum Substitute {
    Null,
    Hash([u8; HashKey::DIGITS]),
    /// A value that is no category is one no longer than this, and counted as a wrong type as before.
    EmptyArray,
}

type Splices = Vec<(Range<usize>, Substitute)>;

impl Redactor {
    /// A redactor for these models; `None` where none of them has a feature to hash or to drop.
    pub fn new(sources: &[Source], limits: Limits) -> Option<Self> {
        let sources: Vec<_> = sources.iter().filter_map(Guarded::new).collect();
        (!sources.is_empty()).then_some(Self { sources, limits })
    }

    /// The record's value as it may be stored.
    pub fn redact(&self, format: Format, value: &Bytes) -> Bytes {
        let mut splices = Vec::new();
        match format {
            Format::Json => self.search(&mut Json::new(value), &mut splices),
            Format::MessagePack => self.search(&mut MessagePack::new(value), &mut splices),
            // Columns are redacted where they are routed, and carry a mark of their own.
            Format::Arrow => {}
        }
        if splices.is_empty() { value.clone() } else { spliced(format, value, splices) }
    }

    fn search<'a, C: Cursor<'a>>(&'a self, cursor: &mut C, splices: &mut Splices) {
        let mut envelopes = HeadReader::new(self.limits.max_depth);
        let rejected_rows = each_row(cursor, u32::MAX, |cursor, _| self.row(cursor, &mut envelopes, splices));
        splices.extend(rejected_rows.into_iter().map(|row| (row.bytes, Substitute::Null)));
    }

    /// Looks at a row as an event v1, and through every mapping: what one of them would read is not stored.
    fn row<'a, C: Cursor<'a>>(&'a self, cursor: &mut C, envelopes: &mut HeadReader, splices: &mut Splices) -> Read<()> {
        let (start, depth) = (cursor.position(), self.limits.max_depth);
        cursor.skip(depth)?;
        let end = cursor.position();
        for guarded in &self.sources {
            let Some(mapping) = &guarded.source.mapping else { continue };
            let mut walk = Walk { cursor: &mut *cursor, start, depth };
            let FeaturesAt { all, each } = mapping.features(&mut walk)?;
            if let Some(at) = all {
                cursor.seek(at);
                guarded.features(cursor, depth, splices)?;
            }
            for (feature, at) in each {
                cursor.seek(at);
                guarded.feature(feature, cursor, depth, splices)?;
            }
        }
        cursor.seek(start);
        let mut envelope = Envelope::empty();
        let plain = envelopes.read(cursor, &mut envelope, |cursor, _| cursor.skip(depth).map(|()| Taken::Later));
        let model = envelope.model.filter(|_| plain.is_ok()).map(|model| model.to_text());
        let guarded = self.sources.iter().find(|guarded| Some(&*guarded.source.model) == model.as_deref());
        if let (Some(guarded), Some(at)) = (guarded, envelope.features) {
            cursor.seek(at);
            guarded.features(cursor, depth, splices)?;
        }
        cursor.seek(end);
        Ok(())
    }
}

impl Guarded {
    fn new(source: &Source) -> Option<Self> {
        let features = source.schema.features().map(|feature| feature.name.clone());
        let features: Vec<_> = features.map(|name| (name.clone(), source.privacy.of(&name))).collect();
        if !features.iter().any(|(_, policy)| matches!(policy, Policy::Hash | Policy::Drop)) {
            return None;
        }
        let places = features.iter().enumerate().map(|(place, (name, _))| (name.clone().into_bytes(), place)).collect();
        Some(Self { source: source.clone(), features, places })
    }

    /// Visits the map or array of all features at the cursor.
    fn features<'a, C: Cursor<'a>>(&self, cursor: &mut C, depth: usize, splices: &mut Splices) -> Read<()> {
        match cursor.value()? {
            Value::Map(mut open) => {
                while let Some(name) = cursor.next_key(&mut open)? {
                    let place = self.places.get(name.resolve(&mut Vec::new())).copied();
                    self.feature(place.unwrap_or(usize::MAX), cursor, depth, splices)?;
                }
                Ok(())
            }
            Value::Array(mut open) => {
                for place in 0.. {
                    if !cursor.next_item(&mut open)? {
                        break;
                    }
                    self.feature(place, cursor, depth, splices)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Visits the value of the feature at this place of the schema.
    fn feature<'a, C: Cursor<'a>>(
        &self,
        place: usize,
        cursor: &mut C,
        depth: usize,
        splices: &mut Splices,
    ) -> Read<()> {
        let start = cursor.position();
        let value = cursor.value()?;
        cursor.skip_rest(value, depth)?;
        let substitute = match self.features.get(place).map(|(_, policy)| *policy) {
            Some(Policy::Drop) => Substitute::Null,
            Some(Policy::Hash) => match (Cell::category(value), self.source.privacy.key()) {
                (Cell::Null, _) | (_, None) => Substitute::Null,
                (Cell::Wrong, _) => Substitute::EmptyArray,
                (category, Some(key)) => Substitute::Hash(key.hash(category.resolve(&mut Vec::new()))),
            },
            Some(Policy::Keep | Policy::ProfileOnly) | None => return Ok(()),
        };
        splices.push((start..cursor.position(), substitute));
        Ok(())
    }
}

impl Substitute {
    fn write(&self, format: Format, out: &mut Vec<u8>) {
        match (format, self) {
            (Format::Json, Self::Null) => out.extend_from_slice(b"null"),
            (Format::Json, Self::EmptyArray) => out.extend_from_slice(b"[]"),
            (Format::Json, Self::Hash(digits)) => {
                out.push(b'"');
                out.extend_from_slice(digits);
                out.push(b'"');
            }
            (Format::MessagePack | Format::Arrow, Self::Null) => out.push(rmp::Marker::Null.to_u8()),
            (Format::MessagePack | Format::Arrow, Self::EmptyArray) => out.push(rmp::Marker::FixArray(0).to_u8()),
            (Format::MessagePack | Format::Arrow, Self::Hash(digits)) => {
                out.push(rmp::Marker::FixStr(HashKey::DIGITS as u8).to_u8());
                out.extend_from_slice(digits);
            }
        }
    }
}

/// The value with its splices made; of two that overlap the first to start covers both.
fn spliced(format: Format, value: &Bytes, mut splices: Splices) -> Bytes {
    splices.sort_by_key(|(bytes, _)| (bytes.start, std::cmp::Reverse(bytes.end)));
    let mut stored = Vec::with_capacity(value.len());
    let mut done = 0;
    for (bytes, substitute) in splices.iter().filter(|(bytes, _)| !bytes.is_empty()) {
        if bytes.start < done {
            continue;
        }
        stored.extend_from_slice(value.get(done..bytes.start).unwrap_or_default());
        substitute.write(format, &mut stored);
        done = bytes.end.min(value.len());
    }
    stored.extend_from_slice(value.get(done..).unwrap_or_default());
    stored.into()
}
