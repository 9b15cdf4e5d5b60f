//! Records of other shapes: where in them the fields of an event are.
//!
//! A mapping is looked up field by field with the cursor, so no value is built and NaN stays NaN. It costs a walk through the
//! record for each field, which is the price of a foreign shape. The row as such must be well-formed.

use super::cursor::{Cursor, Text, Value};
use super::envelope::{Cell, Envelope, Field, Part};
use super::fault::{Fault, Read, Reason};
use super::source::ActiveSource;
use super::time::check_time;
use detectors::schema::{ModelSchema, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// The `map` section of a source, as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingSettings {
    /// Where the id is.
    pub id: Origin,
    /// Where the time is, and its unit.
    pub time: TimeOrigin,
    /// The model; the one whose section this is, unless given.
    #[serde(default)]
    pub model: Option<Origin>,
    /// The version of the model.
    #[serde(default)]
    pub version: Option<Origin>,
    /// The features: one place that holds them all by name, or a place for each.
    #[serde(default)]
    pub features: Option<FeatureOrigins>,
    /// The answer.
    #[serde(default)]
    pub prediction: Option<Origin>,
    /// The score, or the map of scores.
    #[serde(default)]
    pub score: Option<Origin>,
    /// The label.
    #[serde(default)]
    pub label: Option<Origin>,
    /// The segments, by dimension.
    #[serde(default)]
    pub segment: BTreeMap<String, Origin>,
    /// The share of the traffic that was captured.
    #[serde(default)]
    pub sampling_rate: Option<Origin>,
    /// The weight of the event.
    #[serde(default)]
    pub weight: Option<Origin>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path such as `request.id`, or `{constant: …}`")]
pub enum Origin {
    /// A path into the record: keys and places in arrays, with dots between; `\.` is a dot within a key.
    Path(String),
    /// The same for every row.
    Constant(Constant),
}

/// A value that is the same for every row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The value.
    pub constant: Scalar,
}

/// A value of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected text, a number or a boolean")]
pub enum Scalar {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
}

/// Where the features come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path to all features, or a path for each")]
pub enum FeatureOrigins {
    /// The path of the map or array that holds them.
    All(String),
    /// Each by its name in the schema.
    Each(BTreeMap<String, Origin>),
}

/// Where the time comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path, or `{path: …, unit: s|ms|us|ns|rfc3339}`")]
pub enum TimeOrigin {
    /// A path to milliseconds, or to RFC 3339 text.
    Path(String),
    /// A path and a unit.
    Unit(TimePath),
}

/// A path to a time, and its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimePath {
    /// Where the time is.
    pub path: String,
    /// What it counts.
    pub unit: TimeUnit,
}

/// What a time counts since the epoch, or that it is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds, with a fraction if need be.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// RFC 3339 text.
    Rfc3339,
}

/// Why a mapping was refused. The field is its path within the `map` section.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MappingError {
    /// A path with nothing in it, or nothing between two dots.
    #[error("map.{field}: the path `{path}` has an empty step; write keys with single dots between")]
    EmptyStep {
        /// The mapped field.
        field: String,
        /// The path given.
        path: String,
    },
    /// A feature that the schema does not have.
    #[error("map.features.{feature}: the model has no such feature; add it to the model's features, or remove it here")]
    UnknownFeature {
        /// The name given.
        feature: String,
    },
    /// A dimension that events of this model do not carry.
    #[error(
        "map.segment.{dimension}: the model has no such segment from its events; add it to its segments, or remove it here"
    )]
    UnknownSegment {
        /// The name given.
        dimension: String,
    },
}

/// A checked mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    fields: Vec<(Field, FieldOrigin)>,
    time: (Path, TimeUnit),
    model: Option<FieldOrigin>,
    features: Option<Path>,
    columns: Vec<(usize, String, FieldOrigin)>,
    segments: Vec<(usize, FieldOrigin)>,
}

/// What a mapping reads of a row.
pub(crate) struct MappedParts<'a> {
    /// The fields that do not depend on the model's schema; the time is in milliseconds.
    pub(crate) fields: Vec<(Field, Part<'a>)>,
    /// The map or array of all features.
    pub(crate) features: Option<Part<'a>>,
    /// Features that are mapped one by one, by the columns of the schema.
    pub(crate) columns: Vec<(usize, Part<'a>)>,
    /// Segments, by dimension.
    pub(crate) segments: Vec<(usize, Part<'a>)>,
}

/// A checked origin.
#[derive(Debug, Clone, PartialEq)]
enum FieldOrigin {
    Path(Path),
    Constant(Scalar),
}

/// The steps of a path, none of them empty.
#[derive(Debug, Clone, PartialEq)]
struct Path(Vec<String>);

impl Mapping {
    /// Checks a `map` section against the model's schema and the dimensions its events carry.
    ///
    /// # Errors
    /// When a path is malformed, or a feature or a dimension does not exist.
    pub fn new(settings: &MappingSettings, schema: &ModelSchema, segments: &[String]) -> Result<Self, MappingError> {
        let optional = [
            (Field::Version, &settings.version),
            (Field::Prediction, &settings.prediction),
            (Field::Score, &settings.score),
            (Field::Label, &settings.label),
            (Field::SamplingRate, &settings.sampling_rate),
            (Field::Weight, &settings.weight),
        ];
        let mut fields = vec![(Field::Id, FieldOrigin::new("id", &settings.id)?)];
        for (field, origin) in optional {
            if let Some(origin) = origin {
                fields.push((field, FieldOrigin::new(field.name(), origin)?));
            }
        }
        let (features, columns) = match &settings.features {
            None => (None, Vec::new()),
            Some(FeatureOrigins::All(path)) => (Some(Path::new("features", path)?), Vec::new()),
            Some(FeatureOrigins::Each(origins)) => (None, feature_places(origins, schema)?),
        };
        Ok(Self {
            fields,
            time: match &settings.time {
                TimeOrigin::Path(path) => (Path::new("time", path)?, TimeUnit::Ms),
                TimeOrigin::Unit(time) => (Path::new("time", &time.path)?, time.unit),
            },
            model: settings.model.as_ref().map(|origin| FieldOrigin::new("model", origin)).transpose()?,
            features,
            columns,
            segments: segment_places(&settings.segment, segments)?,
        })
    }

    /// Reads the row that starts at `start`; its cells are filled, and the cursor is past it.
    pub(crate) fn read<'a, C: Cursor<'a>>(
        &'a self,
        cursor: &mut C,
        source: &mut ActiveSource,
        cells: &mut [Cell<'a>],
    ) -> Read<Envelope<'a>> {
        let start = cursor.position();
        let depth = source.max_depth();
        cursor.skip(depth)?;
        let end = cursor.position();
        let mut walk = Walk { cursor, start, depth };
        self.check_model(&mut walk, &source.source.model)?;
        let envelope = self.read_head(&mut walk)?;
        if let Some(at) = self.features.as_ref().map(|path| walk.find(path)).transpose()?.flatten() {
            walk.cursor.seek(at);
            source.read_features(walk.cursor, cells)?;
        }
        for (index, name, place) in &self.columns {
            if let Some(part) = walk.part(place)? {
                source.fill(*index, part, cells).map_err(|fault| fault.within(name))?;
            }
        }
        for (dimension, place) in &self.segments {
            if let Some(part) = walk.part(place)? {
                source.fill_segment(*dimension, part, cells)?;
            }
        }
        cursor.seek(end);
        Ok(envelope)
    }

    /// Reads the fields that do not depend on the model's schema.
    pub(crate) fn read_head<'a, C: Cursor<'a>>(&'a self, walk: &mut Walk<'_, C>) -> Read<Envelope<'a>> {
        let mut envelope = Envelope::empty();
        for (field, place) in &self.fields {
            if let Some(part) = walk.part(place)? {
                envelope.put(*field, part).map_err(|fault| fault.within(field.name()))?;
            }
        }
        let (path, unit) = &self.time;
        if let Some(at) = walk.find(path)? {
            walk.cursor.seek(at);
            let value = in_ms(walk.cursor.value()?, *unit, at).map_err(|fault| fault.within("time"))?;
            envelope.put(Field::Time, Part { value, at }).map_err(|fault| fault.within("time"))?;
        }
        Ok(envelope)
    }

    /// Finds all that it reads of a row of this model.
    pub(crate) fn parts<'a, C: Cursor<'a>>(&'a self, walk: &mut Walk<'_, C>, model: &str) -> Read<MappedParts<'a>> {
        self.check_model(walk, model)?;
        let mut parts = MappedParts { fields: Vec::new(), features: None, columns: Vec::new(), segments: Vec::new() };
        for (field, place) in &self.fields {
            parts.fields.extend(walk.part(place)?.map(|part| (*field, part)));
        }
        let (path, unit) = &self.time;
        if let Some(part) = walk.part_at(path)? {
            let value = in_ms(part.value, *unit, part.at)?;
            parts.fields.push((Field::Time, Part { value, ..part }));
        }
        if let Some(path) = &self.features {
            parts.features = walk.part_at(path)?;
        }
        for (column, _, place) in &self.columns {
            parts.columns.extend(walk.part(place)?.map(|part| (*column, part)));
        }
        for (dimension, place) in &self.segments {
            parts.segments.extend(walk.part(place)?.map(|part| (*dimension, part)));
        }
        Ok(parts)
    }

    fn check_model<'a, C: Cursor<'a>>(&'a self, walk: &mut Walk<'_, C>, model: &str) -> Read<()> {
        let Some(place) = &self.model else { return Ok(()) };
        let start = walk.start;
        match walk.part(place)? {
            Some(Part { value: Value::Text(named), .. }) if named.resolve(&mut Vec::new()) == model.as_bytes() => {
                Ok(())
            }
            Some(Part { at, .. }) => Err(Fault::new(Reason::UnknownModel, at, "the mapped model is another one")),
            None => Err(Fault::new(Reason::MissingModel, start, "nothing is where the model is mapped from")),
        }
    }
}

impl MappedParts<'_> {
    /// Whether it has an id and a time, as every event has.
    pub(crate) fn has_identity(&self) -> bool {
        let has =
            |wanted| self.fields.iter().any(|(field, part)| *field == wanted && !matches!(part.value, Value::Null));
        has(Field::Id) && has(Field::Time)
    }
}

/// A row that is looked into path by path.
pub(crate) struct Walk<'c, C> {
    pub(crate) cursor: &'c mut C,
    pub(crate) start: usize,
    pub(crate) depth: usize,
}

impl<C> Walk<'_, C> {
    fn part<'a>(&mut self, place: &'a FieldOrigin) -> Read<Option<Part<'a>>>
    where
        C: Cursor<'a>,
    {
        let path = match place {
            FieldOrigin::Constant(scalar) => return Ok(Some(Part { value: scalar.value(), at: self.start })),
            FieldOrigin::Path(path) => path,
        };
        self.part_at(path)
    }

    fn part_at<'a>(&mut self, path: &Path) -> Read<Option<Part<'a>>>
    where
        C: Cursor<'a>,
    {
        let Some(at) = self.find(path)? else { return Ok(None) };
        self.cursor.seek(at);
        Ok(Some(Part { value: self.cursor.value()?, at }))
    }

    fn find<'a>(&mut self, path: &Path) -> Read<Option<usize>>
    where
        C: Cursor<'a>,
    {
        self.cursor.seek(self.start);
        for step in &path.0 {
            if !self.descend(step)? {
                return Ok(None);
            }
        }
        Ok(Some(self.cursor.position()))
    }

    /// Goes to the value under a key, or at a place of an array; whether there is one.
    fn descend<'a>(&mut self, step: &str) -> Read<bool>
    where
        C: Cursor<'a>,
    {
        match self.cursor.value()? {
            Value::Map(mut open) => loop {
                match self.cursor.next_key(&mut open)? {
                    Some(key) if key.resolve(&mut Vec::new()) == step.as_bytes() => return Ok(true),
                    Some(_) => self.cursor.skip(self.depth)?,
                    None => return Ok(false),
                }
            },
            Value::Array(mut open) => {
                let Ok(place) = step.parse::<usize>() else { return Ok(false) };
                for _ in 0..place {
                    if !self.cursor.next_item(&mut open)? {
                        return Ok(false);
                    }
                    self.cursor.skip(self.depth)?;
                }
                self.cursor.next_item(&mut open)
            }
            _ => Ok(false),
        }
    }
}

impl FieldOrigin {
    fn new(field: &str, origin: &Origin) -> Result<Self, MappingError> {
        match origin {
            Origin::Path(path) => Ok(Self::Path(Path::new(field, path)?)),
            Origin::Constant(constant) => Ok(Self::Constant(constant.constant.clone())),
        }
    }
}

impl Path {
    fn new(field: &str, path: &str) -> Result<Self, MappingError> {
        let mut steps = vec![String::new()];
        let mut letters = path.chars();
        while let Some(letter) = letters.next() {
            let last = steps.last_mut();
            match (letter, last) {
                ('.', _) => steps.push(String::new()),
                ('\\', Some(step)) => step.extend(letters.next()),
                (letter, Some(step)) => step.push(letter),
                (_, None) => {}
            }
        }
        if steps.iter().any(String::is_empty) {
            return Err(MappingError::EmptyStep { field: field.to_owned(), path: path.to_owned() });
        }
        Ok(Self(steps))
    }
}

impl Scalar {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(value) => Value::Text(Text::plain(value.as_bytes())),
        }
    }
}

fn feature_places(
    origins: &BTreeMap<String, Origin>,
    schema: &ModelSchema,
) -> Result<Vec<(usize, String, FieldOrigin)>, MappingError> {
    let mut places = Vec::new();
    for (name, origin) in origins {
        let found = schema.columns.iter().position(|column| column.role == Role::Feature && column.name == *name);
        let index = found.ok_or_else(|| MappingError::UnknownFeature { feature: name.clone() })?;
        places.push((index, name.clone(), FieldOrigin::new(&format!("features.{name}"), origin)?));
    }
    Ok(places)
}

fn segment_places(
    origins: &BTreeMap<String, Origin>,
    segments: &[String],
) -> Result<Vec<(usize, FieldOrigin)>, MappingError> {
    let mut places = Vec::new();
    for (dimension, origin) in origins {
        let found = segments.iter().position(|known| known == dimension);
        let index = found.ok_or_else(|| MappingError::UnknownSegment { dimension: dimension.clone() })?;
        places.push((index, FieldOrigin::new(&format!("segment.{dimension}"), origin)?));
    }
    Ok(places)
}

/// A time of the unit in milliseconds, rounded down; text and what is no time is left for the field to judge.
fn in_ms<'a>(value: Value<'a>, unit: TimeUnit, at: usize) -> Read<Value<'a>> {
    let per_ms = match (unit, value) {
        (_, Value::Text(_) | Value::Null) | (TimeUnit::Ms, _) => return Ok(value),
        (TimeUnit::Rfc3339, _) => return Err(super::envelope::wrong(Reason::WrongTypeTime, at, &value)),
        (TimeUnit::S, _) => 1e-3,
        (TimeUnit::Us, _) => 1e3,
        (TimeUnit::Ns, _) => 1e6,
    };
    let ms = match value {
        Value::Int(time) if unit == TimeUnit::S => time.saturating_mul(1000),
        Value::Int(time) => time.div_euclid(per_ms as i64),
        // The cast saturates, and what is out of range is refused just below.
        Value::Float(time) => (time / per_ms).floor() as i64,
        other => return Err(super::envelope::wrong(Reason::WrongTypeTime, at, &other)),
    };
    check_time(ms, at).map(Value::Int).map_err(|_| {
        let what = "counted in the mapped unit the time is not within March 1973 to 9999";
        Fault::new(Reason::TimeOutOfRange, at, what)
    })
}
