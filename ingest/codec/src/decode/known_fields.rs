//! A row written anew with the fields that its model has, each as its privacy allows.
//!
//! What a value is stays as it was, so that a row is refused for the same reason as before: an array where none may be is an
//! empty one, a field that is there twice is there twice, and there are as many features in a list as there were, up to one
//! too many.

use super::cursor::{Cursor, Open, Text, Value};
use super::envelope::{Cell, Envelope, Field, Part};
use super::fault::Read;
use super::format::Format;
use super::mapping::{MappedParts, Mapping};
use super::privacy::Policy;
use super::route::EventKind;
use super::source::{Source, score_slots};
use crate::columns::SEGMENT_PREFIX;
use detectors::schema::PREDICTION;
use detectors::spelling;
use std::collections::HashMap;

/// The name under which it is kept that there were features which the model does not have.
pub(super) const UNKNOWN: &str = "(unknown)";
/// The scores' own name, where no class has one.
const SCORE: &str = "score";

/// What is written, and from what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) kind: EventKind,
    pub(super) format: Format,
    /// Levels that values may be nested.
    pub(super) depth: usize,
}

/// The fields that rows of one model may be stored with.
pub(super) struct KnownFields {
    source: Source,
    /// The features in schema order, and their places by name.
    features: Vec<Policy>,
    places: HashMap<Vec<u8>, usize>,
    names: Vec<String>,
    /// Classes that have a score.
    classes: Vec<String>,
}

/// Where a value is written.
pub(super) struct Out<'o> {
    scope: Scope,
    bytes: &'o mut Vec<u8>,
}

/// A map under construction.
pub(super) struct MapWriter {
    scope: Scope,
    bytes: Vec<u8>,
    entries: u32,
}

impl Scope {
    /// Whether a row of the wire format is one beyond doubt, although records of another shape are expected too.
    pub(super) fn is_complete(&self, envelope: &Envelope<'_>) -> bool {
        let substance = match self.kind {
            EventKind::Inference => Field::Features,
            EventKind::Label => Field::Label,
            EventKind::Feedback => Field::Name,
        };
        [Field::Id, Field::Time, substance].into_iter().all(|field| envelope.has(field))
    }

    /// Whether a field is stored.
    pub(super) fn keeps(&self, field: Field) -> bool {
        match field {
            _ if is_identity(field) => true,
            Field::Name | Field::Value => self.kind == EventKind::Feedback,
            Field::Label | Field::SamplingRate | Field::Weight => self.kind != EventKind::Feedback,
            _ => self.kind == EventKind::Inference,
        }
    }
}

/// Whether a field tells which row it is, and of what.
pub(super) fn is_identity(field: Field) -> bool {
    matches!(field, Field::Id | Field::Time | Field::Model | Field::Version)
}

impl Out<'_> {
    /// Writes a value whose head was taken; in the place of one with values within stands an empty one.
    pub(super) fn write_scalar<'a, C: Cursor<'a>>(self, cursor: &mut C, value: Value<'a>) -> Read<()> {
        cursor.skip_rest(value, self.scope.depth)?;
        self.write(value);
        Ok(())
    }

    /// Writes text.
    pub(super) fn write_text(self, text: &str) {
        match self.scope.format {
            Format::Json => written(serde_json::to_writer(self.bytes, text)),
            Format::MessagePack | Format::Arrow => written(rmp::encode::write_str(self.bytes, text)),
        }
    }

    fn write(self, value: Value<'_>) {
        match self.scope.format {
            Format::Json => write_json(value, self.bytes),
            Format::MessagePack | Format::Arrow => write_message_pack(value, self.bytes),
        }
    }
}

impl KnownFields {
    pub(super) fn new(source: &Source) -> Self {
        let names: Vec<_> = source.schema.features().map(|feature| feature.name.clone()).collect();
        Self {
            features: names.iter().map(|name| source.privacy.of(name)).collect(),
            places: (0..).zip(&names).map(|(place, name)| (name.clone().into_bytes(), place)).collect(),
            names,
            classes: score_slots(&source.schema).into_iter().map(|(class, _)| class).collect(),
            source: source.clone(),
        }
    }

    /// The model's name.
    pub(super) fn name(&self) -> &str {
        &self.source.model
    }

    /// Whether it has a column that may not be stored as it comes.
    pub(super) fn is_private(&self) -> bool {
        self.source.privacy.is_restrictive()
    }

    /// How its records of another shape are read.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.source.mapping.as_ref()
    }

    /// Writes a field whose value's head was taken, and goes past the value.
    pub(super) fn write<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        field: Field,
        part: Part<'a>,
        out: Out<'_>,
    ) -> Read<()> {
        match (field, part.value) {
            (Field::Features, value) => self.write_features(cursor, value, out),
            (Field::Score, Value::Map(open)) => {
                let is_class =
                    |name: &[u8]| self.classes.iter().any(|class| class.as_bytes() == spelling::of_bytes(name));
                let policy = |name: &[u8]| is_class(name).then(|| self.score_policy());
                self.write_map(cursor, open, &policy, out)
            }
            (Field::Score, value) => self.write_private(cursor, self.score_policy(), value, out),
            (Field::Segment, Value::Map(open)) => {
                let known = |name: &[u8]| self.source.segments.iter().find(|known| known.as_bytes() == name);
                let policy = |name: &[u8]| known(name).map(|dimension| self.segment_policy(dimension));
                self.write_map(cursor, open, &policy, out)
            }
            (Field::Prediction, value) => self.write_private(cursor, self.source.privacy.of(PREDICTION), value, out),
            (_, value) => out.write_scalar(cursor, value),
        }
    }

    /// Writes the features that a mapping reads, by name.
    pub(super) fn write_mapped_features<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        parts: &MappedParts<'a>,
        out: Out<'_>,
    ) -> Read<()> {
        if let Some(all) = parts.features {
            all.enter(cursor)?;
            return self.write_features(cursor, all.value, out);
        }
        let mut map = MapWriter::new(out.scope);
        for (column, part) in &parts.columns {
            let place =
                self.source.schema.columns.get(*column).and_then(|column| self.places.get(column.name.as_bytes()));
            let Some((place, name)) = place.and_then(|place| Some((*place, self.names.get(*place)?))) else { continue };
            part.enter(cursor)?;
            let policy = self.features.get(place).copied().unwrap_or_default();
            self.write_private(cursor, policy, part.value, map.entry(name))?;
        }
        out.bytes.extend_from_slice(&map.finish());
        Ok(())
    }

    /// Writes the segments that a mapping reads.
    pub(super) fn write_mapped_segments<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        parts: &MappedParts<'a>,
        out: Out<'_>,
    ) -> Read<()> {
        let mut map = MapWriter::new(out.scope);
        for (dimension, part) in &parts.segments {
            let Some(name) = self.source.segments.get(*dimension) else { continue };
            part.enter(cursor)?;
            self.write_private(cursor, self.segment_policy(name), part.value, map.entry(name))?;
        }
        out.bytes.extend_from_slice(&map.finish());
        Ok(())
    }

    fn write_map<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        open: Open,
        policy: &dyn Fn(&[u8]) -> Option<Policy>,
        out: Out<'_>,
    ) -> Read<()> {
        let mut map = MapWriter::new(out.scope);
        self.write_entries(cursor, open, policy, &mut map)?;
        out.bytes.extend_from_slice(&map.finish());
        Ok(())
    }

    fn write_features<'a, C: Cursor<'a>>(&self, cursor: &mut C, features: Value<'a>, out: Out<'_>) -> Read<()> {
        match features {
            Value::Map(open) => {
                let policy = |name: &[u8]| self.features.get(*self.places.get(name)?).copied();
                let mut map = MapWriter::new(out.scope);
                if self.write_entries(cursor, open, &policy, &mut map)? {
                    map.entry(UNKNOWN).write(Value::Bool(true));
                }
                out.bytes.extend_from_slice(&map.finish());
                Ok(())
            }
            Value::Array(open) => self.write_list(cursor, open, out),
            Value::Null => out.write_scalar(cursor, Value::Null),
            // Features are no single value: that there was one is kept, and which it was is not.
            _ => out.write_scalar(cursor, Value::Bool(true)),
        }
    }

    /// Writes a list of features in schema order, with one behind them at the most.
    fn write_list<'a, C: Cursor<'a>>(&self, cursor: &mut C, mut open: Open, out: Out<'_>) -> Read<()> {
        let (scope, mut items, mut count) = (out.scope, Vec::new(), 0u32);
        for place in 0.. {
            if !cursor.next_item(&mut open)? {
                break;
            }
            let value = cursor.value()?;
            if place > self.features.len() {
                cursor.skip_rest(value, scope.depth)?;
                continue;
            }
            if scope.format == Format::Json && count > 0 {
                items.push(b',');
            }
            let policy = self.features.get(place).copied().unwrap_or(Policy::Drop);
            self.write_private(cursor, policy, value, Out { scope, bytes: &mut items })?;
            count += 1;
        }
        match scope.format {
            Format::Json => {
                out.bytes.push(b'[');
                out.bytes.extend_from_slice(&items);
                out.bytes.push(b']');
            }
            Format::MessagePack | Format::Arrow => {
                written(rmp::encode::write_array_len(out.bytes, count));
                out.bytes.extend_from_slice(&items);
            }
        }
        Ok(())
    }

    /// Writes those entries of a map that have a policy; whether there were others.
    fn write_entries<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        mut open: Open,
        policy: &dyn Fn(&[u8]) -> Option<Policy>,
        map: &mut MapWriter,
    ) -> Read<bool> {
        let mut scratch = Vec::new();
        let mut others = false;
        while let Some(key) = cursor.next_key(&mut open)? {
            let name = key.resolve(&mut scratch);
            let value = cursor.value()?;
            match policy(name) {
                Some(policy) => {
                    let out = map.entry(&String::from_utf8_lossy(name));
                    self.write_private(cursor, policy, value, out)?;
                }
                None => {
                    others = true;
                    cursor.skip_rest(value, map.scope.depth)?;
                }
            }
        }
        Ok(others)
    }

    /// Writes a value whose head was taken as its column's policy allows.
    fn write_private<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        policy: Policy,
        value: Value<'a>,
        out: Out<'_>,
    ) -> Read<()> {
        cursor.skip_rest(value, out.scope.depth)?;
        match policy {
            Policy::Keep | Policy::ProfileOnly => out.write(value),
            Policy::Drop => out.write(Value::Null),
            Policy::Hash => match (Cell::category(value), self.source.privacy.key()) {
                (Cell::Null, _) | (_, None) => out.write(Value::Null),
                (Cell::Wrong, _) => out.write(value),
                (category, Some(key)) => {
                    let digits = key.hash(category.resolve(&mut Vec::new()));
                    out.write_text(&String::from_utf8_lossy(&digits));
                }
            },
        }
        Ok(())
    }

    fn score_policy(&self) -> Policy {
        self.source.privacy.of(SCORE)
    }

    fn segment_policy(&self, dimension: &str) -> Policy {
        self.source.privacy.of(&format!("{SEGMENT_PREFIX}{dimension}"))
    }
}

impl MapWriter {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, bytes: Vec::new(), entries: 0 }
    }

    /// Begins the entry of this key, whose value is to follow.
    pub(super) fn entry(&mut self, key: &str) -> Out<'_> {
        match self.scope.format {
            Format::Json => {
                if self.entries > 0 {
                    self.bytes.push(b',');
                }
                written(serde_json::to_writer(&mut self.bytes, key));
                self.bytes.push(b':');
            }
            Format::MessagePack | Format::Arrow => written(rmp::encode::write_str(&mut self.bytes, key)),
        }
        self.entries += 1;
        Out { scope: self.scope, bytes: &mut self.bytes }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self.scope.format {
            Format::Json => [b"{", self.bytes.as_slice(), b"}"].concat(),
            Format::MessagePack | Format::Arrow => {
                let mut map = Vec::with_capacity(self.bytes.len() + 5);
                written(rmp::encode::write_map_len(&mut map, self.entries));
                map.extend_from_slice(&self.bytes);
                map
            }
        }
    }
}

/// Writes null.
pub(super) fn write_null(format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => out.extend_from_slice(b"null"),
        Format::MessagePack | Format::Arrow => out.push(rmp::Marker::Null.to_u8()),
    }
}

fn write_json(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(spelling::of_bool(truth).as_bytes()),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Uint(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Long(digits) => digits.append_to(out),
        Value::Float(f64::INFINITY) => out.extend_from_slice(b"Infinity"),
        Value::Float(f64::NEG_INFINITY) => out.extend_from_slice(b"-Infinity"),
        // Shown in full it reads as the very same number, and with its point or exponent as no integer.
        Value::Float(number) => out.extend_from_slice(format!("{number:?}").as_bytes()),
        Value::Text(text) => written(serde_json::to_writer(out, &text.to_text())),
        Value::Opaque | Value::Array(_) => out.extend_from_slice(b"[]"),
        Value::Map(_) => out.extend_from_slice(b"{}"),
    }
}

fn write_message_pack(value: Value<'_>, out: &mut Vec<u8>) {
    let text = |text: Text<'_>, out: &mut Vec<u8>| written(rmp::encode::write_str(out, &text.to_text()));
    match value {
        Value::Null => out.push(rmp::Marker::Null.to_u8()),
        Value::Bool(truth) => written(rmp::encode::write_bool(out, truth)),
        Value::Int(number) => written(rmp::encode::write_sint(out, number)),
        Value::Uint(number) => written(rmp::encode::write_uint(out, number)),
        Value::Float(number) => written(rmp::encode::write_f64(out, number)),
        Value::Text(letters) | Value::Long(letters) => text(letters, out),
        Value::Opaque | Value::Array(_) => written(rmp::encode::write_array_len(out, 0)),
        Value::Map(_) => written(rmp::encode::write_map_len(out, 0)),
    }
}

fn written<T, E>(outcome: Result<T, E>) {
    debug_assert!(outcome.is_ok(), "memory takes all that is written, and text is always JSON");
}
