//! The fields of an event, whichever model it is of.
//!
//! A head is read in one pass. What can only be understood once the model is known (features that stand before it, scores,
//! segments) is remembered by its position.

use super::cursor::{Cursor, Open, Text, Value};
use super::expected::ExpectedKey;
use super::fault::{Fault, Read, Reason};
use super::time::{check_time, time_ms};
use detectors::spelling;

/// The value of one column in one row, before it is appended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    /// The row does not mention it.
    Missing,
    /// Null, or a value that is dropped.
    Null,
    /// A value whose type does not fit.
    Wrong,
    /// A number, which in a column of categories stands for one.
    Number(f64),
    Text(Text<'a>),
    /// Text that is the hash of a category already.
    Hash(Text<'a>),
    /// An integer that stands for a category.
    Int(i64),
    /// As `Int`, above its range.
    Uint(u64),
}

impl<'a> Cell<'a> {
    /// The value as a category, in its one spelling: text, a boolean or a number. NaN stands for no value.
    #[inline(always)]
    pub(crate) fn category(value: Value<'a>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Text(text) | Value::Long(text) => Self::Text(text.spelled()),
            Value::Bool(truth) => Self::Text(Text::plain(spelling::of_bool(truth).as_bytes())),
            Value::Int(value) => Self::Int(value),
            Value::Uint(value) => Self::Uint(value),
            Value::Float(value) if value.is_nan() => Self::Null,
            Value::Float(value) => Self::Number(value),
            Value::Opaque | Value::Array(_) | Value::Map(_) => Self::Wrong,
        }
    }

    /// The value as a number.
    #[inline(always)]
    pub(crate) fn number(value: Value<'a>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(value) => Self::Number(value as f64),
            Value::Uint(value) => Self::Number(value as f64),
            Value::Float(value) => Self::Number(value),
            Value::Long(digits) => digits.to_text().parse().map_or(Self::Wrong, Self::Number),
            _ => Self::Wrong,
        }
    }

    /// Appends the category; `false` where there is none.
    pub(crate) fn write_category(self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(text) | Self::Hash(text) => text.append_to(out),
            Self::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Uint(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Number(value) => match spelling::of_number(value) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => return false,
            },
            Self::Missing | Self::Null | Self::Wrong => return false,
        }
        true
    }

    /// The bytes of the category; `scratch` holds them where they are not in the record as such.
    pub(crate) fn resolve<'s>(self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        if let Self::Text(text) = self {
            return text.resolve(scratch);
        }
        scratch.clear();
        self.write_category(scratch);
        scratch
    }
}

/// A value that is looked into later: its head, and where it starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) at: usize,
}

impl<'a> Part<'a> {
    /// Has the cursor stand behind the value's head, so that what is within it can be walked through.
    pub(crate) fn enter<C: Cursor<'a>>(&self, cursor: &mut C) -> Read<()> {
        if let Value::Array(_) | Value::Map(_) = self.value {
            cursor.seek(self.at);
            cursor.value()?;
        }
        Ok(())
    }
}

/// The fields of one event.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    /// Text or a whole number; `Missing` where there is none.
    pub(crate) id: Cell<'a>,
    pub(crate) time_ms: Option<i64>,
    pub(crate) model: Option<Text<'a>>,
    /// Text or a whole number; `Missing` where there is none.
    pub(crate) version: Cell<'a>,
    /// Where the features are that have not been read yet.
    pub(crate) features: Option<usize>,
    pub(crate) prediction: Part<'a>,
    pub(crate) score: Part<'a>,
    pub(crate) segment: Part<'a>,
    pub(crate) label: Part<'a>,
    pub(crate) sampling_rate: Option<f64>,
    pub(crate) weight: Option<f64>,
    /// The fields that are there and not null, a bit each.
    present: u32,
}

/// What became of the features when they were met.
pub(crate) enum Taken {
    /// They have been read.
    Now,
    /// They have been skipped, to be read once the model is known.
    Later,
}

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    Time,
    Model,
    Version,
    Features,
    Prediction,
    Score,
    Segment,
    Label,
    SamplingRate,
    Weight,
    Name,
    Value,
}

impl Field {
    const ALL: [Self; 13] = [
        Self::Id,
        Self::Time,
        Self::Model,
        Self::Version,
        Self::Features,
        Self::Prediction,
        Self::Score,
        Self::Segment,
        Self::Label,
        Self::SamplingRate,
        Self::Weight,
        Self::Name,
        Self::Value,
    ];

    /// What it is called on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Time => "time",
            Self::Model => "model",
            Self::Version => "version",
            Self::Features => "features",
            Self::Prediction => "prediction",
            Self::Score => "score",
            Self::Segment => "segment",
            Self::Label => "label",
            Self::SamplingRate => "sampling_rate",
            Self::Weight => "weight",
            Self::Name => "name",
            Self::Value => "value",
        }
    }

    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name().as_bytes() == name)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Reads heads, and remembers the order in which the last one had its fields. A producer writes every row alike, so it
/// predicts the next.
#[derive(Debug)]
pub(crate) struct HeadReader {
    order: [Option<Field>; 16],
    /// The key of each field.
    keys: [Option<ExpectedKey>; Field::ALL.len()],
    max_depth: usize,
}

impl HeadReader {
    pub(crate) fn new(max_depth: usize) -> Self {
        let keys = Field::ALL.map(|field| ExpectedKey::new(field.name().as_bytes()));
        Self { order: [None; 16], keys, max_depth }
    }

    /// Reads the row at the cursor into an empty head. `features` is called at its features with the model, if that is
    /// known by then.
    pub(crate) fn read<'a, C: Cursor<'a>>(
        &mut self,
        cursor: &mut C,
        envelope: &mut Envelope<'a>,
        mut features: impl FnMut(&mut C, Option<Text<'a>>) -> Read<Taken>,
    ) -> Read<()> {
        let start = cursor.position();
        let mut open = match cursor.value()? {
            Value::Map(open) => open,
            other => return Err(Fault::new(Reason::NotAMap, start, format!("the row is {}", other.noun()))),
        };
        let mut seen = 0;
        for place in 0.. {
            let Some(found) = self.next_field(cursor, &mut open, place)? else { break };
            let Some(field) = found else {
                cursor.skip(self.max_depth)?;
                continue;
            };
            let at = cursor.position();
            if seen & field.bit() != 0 {
                return Err(Fault::new(Reason::DuplicateField, at, format!("`{}` is there twice", field.name())));
            }
            seen |= field.bit();
            if field != Field::Features {
                envelope.take(cursor, field, self.max_depth).map_err(|fault| fault.within(field.name()))?;
                continue;
            }
            envelope.present |= field.bit();
            if let Taken::Later = features(cursor, envelope.model)? {
                envelope.features = Some(at);
            }
        }
        Ok(())
    }

    /// Takes the next key: the field that it names, `Some(None)` where it names none, `None` at the end of the row.
    #[inline(always)]
    fn next_field<'a, C: Cursor<'a>>(
        &mut self,
        cursor: &mut C,
        open: &mut Open,
        place: usize,
    ) -> Read<Option<Option<Field>>> {
        let expected = self.order.get(place).copied().flatten();
        if expected.is_some_and(|field| self.passes(cursor, open, field)) {
            return Ok(Some(expected));
        }
        Ok(cursor.next_key(open)?.map(|key| self.learn(place, key)))
    }

    #[inline(always)]
    fn passes<'a, C: Cursor<'a>>(&self, cursor: &mut C, open: &mut Open, field: Field) -> bool {
        self.keys.get(field as usize).and_then(Option::as_ref).is_some_and(|key| cursor.pass_key(open, key))
    }

    #[cold]
    fn learn(&mut self, place: usize, key: Text<'_>) -> Option<Field> {
        let field = Field::find(key.resolve(&mut Vec::new()));
        if let Some(slot) = self.order.get_mut(place) {
            *slot = field;
        }
        field
    }
}

impl<'a> Envelope<'a> {
    pub(crate) fn empty() -> Self {
        let nothing = Part { value: Value::Null, at: 0 };
        Self {
            id: Cell::Missing,
            time_ms: None,
            model: None,
            version: Cell::Missing,
            features: None,
            prediction: nothing,
            score: nothing,
            segment: nothing,
            label: nothing,
            sampling_rate: None,
            weight: None,
            present: 0,
        }
    }

    /// Whether a field is there and not null.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.present & field.bit() != 0
    }

    /// Checks that a field is there and not null.
    pub(crate) fn require(&self, field: Field, missing: Reason, at: usize) -> Read<()> {
        if self.has(field) {
            return Ok(());
        }
        Err(Fault::new(missing, at, format!("the row has no `{}`", field.name())))
    }

    /// The id, which every event has.
    pub(crate) fn require_id(&self, at: usize) -> Read<Cell<'a>> {
        match self.id {
            Cell::Missing => Err(Fault::new(Reason::MissingId, at, "the row has no `id`")),
            id => Ok(id),
        }
    }

    /// The time, which every event has.
    pub(crate) fn require_time(&self, at: usize) -> Read<i64> {
        self.time_ms.ok_or_else(|| Fault::new(Reason::MissingTime, at, "the row has no `time`"))
    }

    /// The model, which every event has.
    pub(crate) fn require_model(&self, at: usize) -> Read<Text<'a>> {
        self.model.ok_or_else(|| Fault::new(Reason::MissingModel, at, "the row has no `model`"))
    }

    /// Where the features are that have not been read yet, which every inference event has.
    pub(crate) fn require_features(&self, at: usize) -> Read<usize> {
        self.features.ok_or_else(|| Fault::new(Reason::MissingFeatures, at, "the row has no `features`"))
    }

    /// The version, which every inference event has.
    pub(crate) fn require_version(&self, at: usize) -> Read<Cell<'a>> {
        match self.version {
            Cell::Missing => Err(Fault::new(Reason::MissingVersion, at, "the row has no `version`")),
            Cell::Text(text) if text.len() > MOST_NAME_BYTES => Err(long_name(text.len(), at).within("version")),
            version => Ok(version),
        }
    }

    /// Takes the value of a field at the cursor.
    #[inline(always)]
    fn take<C: Cursor<'a>>(&mut self, cursor: &mut C, field: Field, depth: usize) -> Read<()> {
        let at = cursor.position();
        if self.take_usual(cursor, field).is_some() {
            self.present |= field.bit();
            return Ok(());
        }
        cursor.seek(at);
        self.take_any(cursor, field, depth)
    }

    /// Takes the value of a field if it is of the usual kind. Where it is not, the cursor may stand anywhere.
    #[inline(always)]
    fn take_usual<C: Cursor<'a>>(&mut self, cursor: &mut C, field: Field) -> Option<()> {
        let at = cursor.position();
        match field {
            Field::Id => self.id = Cell::Text(cursor.plain_text().filter(|id| id.len() > 0)?),
            Field::Version => self.version = Cell::Text(cursor.plain_text().filter(|version| version.len() > 0)?),
            Field::Model => self.model = Some(cursor.plain_text()?),
            Field::Time => self.time_ms = Some(check_time(cursor.plain_integer()?, at).ok()?),
            Field::Prediction => self.prediction = Part { value: Value::Text(cursor.plain_text()?), at },
            Field::Score => self.score = Part { value: Value::Float(cursor.plain_number()?), at },
            _ => return None,
        }
        Some(())
    }

    #[inline(never)]
    fn take_any<C: Cursor<'a>>(&mut self, cursor: &mut C, field: Field, depth: usize) -> Read<()> {
        let at = cursor.position();
        let value = cursor.value()?;
        self.put(field, Part { value, at })?;
        match value {
            Value::Array(_) | Value::Map(_) => cursor.skip_rest(value, depth),
            _ => Ok(()),
        }
    }

    /// Gives a field its value.
    pub(crate) fn put(&mut self, field: Field, part: Part<'a>) -> Read<()> {
        let Part { value, at } = part;
        if matches!(value, Value::Null) {
            return Ok(());
        }
        self.present |= field.bit();
        match field {
            Field::Id => self.id = named(part, Reason::MissingId, Reason::WrongTypeId)?,
            Field::Version => self.version = named(part, Reason::MissingVersion, Reason::WrongTypeVersion)?,
            Field::Time => self.time_ms = Some(time_ms(part)?),
            Field::Model => match value {
                Value::Text(model) => self.model = Some(model),
                other => return Err(wrong(Reason::WrongTypeModel, at, &other)),
            },
            Field::Prediction => self.prediction = part,
            Field::Score => self.score = part,
            Field::Segment => self.segment = part,
            Field::Label => self.label = part,
            Field::SamplingRate => self.sampling_rate = Some(weight(part, |rate| rate > 0.0 && rate <= 1.0)?),
            Field::Weight => self.weight = Some(weight(part, |weight| weight >= 0.0 && weight.is_finite())?),
            Field::Name | Field::Value | Field::Features => {}
        }
        Ok(())
    }
}

/// A fault for a value of the wrong type, which is named but not shown.
#[cold]
pub(crate) fn wrong(reason: Reason, at: usize, found: &Value<'_>) -> Box<Fault> {
    Fault::new(reason, at, format!("found {}", found.noun()))
}

/// Bytes of the longest name of a version, or value of a segment: senders choose them, and each becomes a series.
pub(crate) const MOST_NAME_BYTES: usize = 128;

/// A fault for a longer one.
#[cold]
pub(crate) fn long_name(bytes: usize, at: usize) -> Box<Fault> {
    Fault::new(Reason::TooLarge, at, format!("a name of {bytes} bytes, where {MOST_NAME_BYTES} are allowed"))
}

/// An id or a version. Text stays as it is: it may be the key of its record, or the name of a folder. Of numbers those are
/// refused whose digits a float may have lost.
fn named<'a>(part: Part<'a>, missing: Reason, wrong_type: Reason) -> Read<Cell<'a>> {
    match part.value {
        Value::Text(text) if text.len() == 0 => Err(Fault::new(missing, part.at, "empty text")),
        Value::Text(text) | Value::Long(text) => Ok(Cell::Text(text)),
        Value::Int(value) => Ok(Cell::Int(value)),
        Value::Uint(value) => Ok(Cell::Uint(value)),
        Value::Float(value) if is_exact(value) => Ok(Cell::Number(value)),
        other => Err(wrong(wrong_type, part.at, &other)),
    }
}

/// Whether a float is a whole number that none of its neighbours could have been rounded to.
pub(crate) fn is_exact(value: f64) -> bool {
    const MOST: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    value.fract() == 0.0 && value.abs() < MOST
}

#[inline(never)]
fn weight(part: Part<'_>, allowed: impl Fn(f64) -> bool) -> Read<f64> {
    match Cell::number(part.value) {
        Cell::Number(value) if allowed(value) => Ok(value),
        Cell::Number(_) => Err(Fault::new(Reason::WeightOutOfRange, part.at, "the number is out of range")),
        _ => Err(wrong(Reason::WrongTypeWeight, part.at, &part.value)),
    }
}
