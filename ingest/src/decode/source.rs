//! One model as the decoder sees it: its columns in order, and how the values of a row find them.
//!
//! Features come by name, in the same order row after row. So the order of the last row predicts the next: the name that is
//! expected is compared with the bytes ahead, and only where it differs is the key read and looked up.

use super::Limits;
use super::builders::{Column, EventBuilder, LabelBuilder};
use super::cursor::{Cursor, Key, Open, Text, Value};
use super::fault::{Fault, Read, Reason};
use super::head::{Cell, Head, Part, wrong};
use super::mapping::Mapping;
use super::privacy::{Policy, Privacy};
use crate::columns::{self, SEGMENT_PREFIX};
use arrow::datatypes::SchemaRef;
use detectors::schema::{ColumnKind, ModelSchema, PREDICTION, Role, Task};
use std::collections::HashMap;
use std::sync::Arc;

/// A model whose events are decoded, and how.
#[derive(Debug, Clone)]
pub struct Source {
    /// The model's name in the events.
    pub model: Arc<str>,
    /// Its columns.
    pub schema: ModelSchema,
    /// The dimensions whose values its events carry themselves.
    pub segments: Vec<String>,
    /// What may be stored of each column.
    pub privacy: Privacy,
    /// Where the fields are in records of another shape.
    pub mapping: Option<Mapping>,
}

/// Names that are remembered of features that the schema does not have; what is beyond them is counted together.
const MOST_UNKNOWN: usize = 100;
/// Places of which the order is remembered.
const MOST_PLACES: usize = 4096;

/// Where the value of a feature goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// The column of this index.
    Column(usize),
    /// Nowhere; counted at this index.
    Unknown(usize),
}

/// What a source has built and counted.
pub(crate) struct Drained {
    pub(crate) events: Vec<EventBuilder>,
    pub(crate) labels: Option<LabelBuilder>,
    /// Unknown features and how many values they had; `None` names all that were too many to remember.
    pub(crate) unknown: Vec<(Option<String>, u64)>,
}

#[derive(Debug)]
struct Plan {
    name: Box<[u8]>,
    kind: ColumnKind,
    policy: Policy,
    /// Whether the name stands in JSON as it is, so that it can be expected.
    is_plain: bool,
}

#[derive(Debug)]
struct UnknownFeature {
    name: String,
    rows: u64,
}

/// A source in use.
#[derive(Debug)]
pub(crate) struct ActiveSource {
    pub(crate) source: Source,
    /// The schema's columns, then the segments.
    plans: Vec<Plan>,
    features: usize,
    prediction: Option<usize>,
    /// Index of each score column, by class; the one of a binary task stands under its positive class.
    scores: Vec<(String, usize)>,
    slots: HashMap<Box<[u8]>, Slot>,
    order: Vec<Slot>,
    unknown: Vec<UnknownFeature>,
    /// Values of unknown features beyond those remembered by name.
    unknown_beyond: u64,
    batch_schema: SchemaRef,
    max_text_bytes: usize,
    max_depth: usize,
    /// Builders by version, and the one used last.
    pub(crate) builders: Vec<EventBuilder>,
    /// Rows of the largest batch of the last epoch: the next one will hardly differ, and its columns need not grow.
    expected_rows: usize,
    by_version: HashMap<String, usize>,
    last_builder: usize,
    pub(crate) labels: Option<LabelBuilder>,
}

impl ActiveSource {
    pub(crate) fn new(source: Source, limits: &Limits) -> Self {
        let schema = &source.schema;
        let plan = |name: &str, kind| Plan {
            name: name.as_bytes().into(),
            kind,
            policy: source.privacy.of(name),
            is_plain: !name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)),
        };
        let columns = schema.columns.iter().map(|column| plan(&column.name, column.kind));
        let segments = source
            .segments
            .iter()
            .map(|dimension| plan(&format!("{SEGMENT_PREFIX}{dimension}"), ColumnKind::Categorical));
        let plans: Vec<Plan> = columns.chain(segments).collect();
        let is_feature = |index: &usize| schema.columns.get(*index).is_some_and(|column| column.role == Role::Feature);
        let features = (0..schema.columns.len()).filter(is_feature).count();
        let slots =
            plans.iter().take(features).enumerate().map(|(index, plan)| (plan.name.clone(), Slot::Column(index)));
        Self {
            features,
            prediction: schema.columns.iter().position(|column| column.name == PREDICTION),
            scores: score_slots(schema),
            slots: slots.collect(),
            order: Vec::new(),
            unknown: Vec::new(),
            unknown_beyond: 0,
            batch_schema: columns::event_schema(schema, &source.segments),
            max_text_bytes: limits.max_text_bytes,
            max_depth: limits.max_depth,
            builders: Vec::new(),
            expected_rows: 0,
            by_version: HashMap::new(),
            last_builder: 0,
            labels: None,
            plans,
            source,
        }
    }

    /// Levels that values may be nested.
    pub(crate) fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// Columns of a row: the schema's, then the segments.
    pub(crate) fn width(&self) -> usize {
        self.plans.len()
    }

    /// Reads the features at the cursor into their cells.
    pub(crate) fn read_features<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, cells: &mut [Cell<'a>]) -> Read<()> {
        let at = cursor.position();
        match cursor.value()? {
            Value::Map(open) => self.read_named(cursor, open, cells),
            Value::Array(open) => self.read_listed(cursor, open, cells),
            Value::Null => Ok(()),
            other => Err(wrong(Reason::WrongTypeFeatures, at, &other)),
        }
        .map_err(|fault| fault.within("features"))
    }

    fn read_named<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, mut open: Open, cells: &mut [Cell<'a>]) -> Read<()> {
        for place in 0.. {
            let expected = self.order.get(place).copied();
            let slot = match (cursor.next_key(&mut open, expected.and_then(|slot| self.name(slot)))?, expected) {
                (Key::End, _) => break,
                (Key::Expected, Some(slot)) => slot,
                (Key::Other(key), _) => self.learn(place, key),
                // A key can only be the expected one where one was expected.
                (Key::Expected, None) => continue,
            };
            match slot {
                Slot::Column(index) => self.read_feature(cursor, index, cells)?,
                Slot::Unknown(index) => {
                    match self.unknown.get_mut(index) {
                        Some(unknown) => unknown.rows += 1,
                        None => self.unknown_beyond += 1,
                    }
                    cursor.skip(self.max_depth)?;
                }
            }
        }
        Ok(())
    }

    fn read_listed<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, mut open: Open, cells: &mut [Cell<'a>]) -> Read<()> {
        let mut found = 0;
        while cursor.next_item(&mut open)? {
            if found == self.features {
                found += 1;
                break;
            }
            self.read_feature(cursor, found, cells)?;
            found += 1;
        }
        if found == self.features {
            return Ok(());
        }
        let comparison = if found > self.features { "more" } else { "fewer" };
        let what = format!("the array has {comparison} than the {} values of the schema", self.features);
        Err(Fault::new(Reason::WrongFeatureCount, cursor.position(), what))
    }

    #[inline(always)]
    fn read_feature<'a, C: Cursor<'a>>(&self, cursor: &mut C, index: usize, cells: &mut [Cell<'a>]) -> Read<()> {
        let (Some(plan), Some(cell)) = (self.plans.get(index), cells.get_mut(index)) else { return Ok(()) };
        let at = cursor.position();
        if !matches!(cell, Cell::Missing) {
            return Err(Fault::new(Reason::DuplicateFeature, at, "a feature is there twice").within(&plan.text()));
        }
        let value = cursor.value().map_err(|fault| fault.within(&plan.text()))?;
        *cell = plan.cell(value);
        match value {
            Value::Text(text) if text.len() > self.max_text_bytes => {
                self.check_text(text, at).map_err(|fault| fault.within(&plan.text()))
            }
            Value::Array(_) | Value::Map(_) => {
                cursor.skip_rest(value, self.max_depth).map_err(|fault| fault.within(&plan.text()))
            }
            _ => Ok(()),
        }
    }

    fn check_text(&self, text: Text<'_>, at: usize) -> Read<()> {
        if text.len() <= self.max_text_bytes {
            return Ok(());
        }
        let what = format!("text of {} bytes, where {} are allowed", text.len(), self.max_text_bytes);
        Err(Fault::new(Reason::TooLarge, at, what))
    }

    /// Reads prediction, scores and segments into their cells.
    pub(crate) fn read_outputs<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        head: &Head<'a>,
        cells: &mut [Cell<'a>],
    ) -> Read<()> {
        if let Value::Map(_) = head.prediction.value {
            let what = "the prediction is a map of outputs";
            return Err(Fault::new(Reason::SeveralOutputs, head.prediction.at, what));
        }
        if let Some(index) = self.prediction {
            self.fill(index, head.prediction, cells)?;
        }
        self.read_scores(cursor, head.score, cells)?;
        self.read_segments(cursor, head.segment, cells).map_err(|fault| fault.within("segment"))
    }

    pub(crate) fn fill<'a>(&self, index: usize, part: Part<'a>, cells: &mut [Cell<'a>]) -> Read<()> {
        if let (Some(plan), Some(cell)) = (self.plans.get(index), cells.get_mut(index)) {
            *cell = plan.cell(part.value);
            if let Cell::Text(text) = *cell {
                self.check_text(text, part.at).map_err(|fault| fault.within(&plan.text()))?;
            }
        }
        Ok(())
    }

    fn read_scores<'a, C: Cursor<'a>>(&self, cursor: &mut C, score: Part<'a>, cells: &mut [Cell<'a>]) -> Read<()> {
        if let Value::Map(_) = score.value {
            cursor.seek(score.at);
            return self.read_score_map(cursor, cells).map_err(|fault| fault.within("score"));
        }
        // One number cannot be the probabilities of several classes: there it is of the wrong type.
        let several = self.scores.len() > 1 && !matches!(score.value, Value::Null);
        for (_, index) in &self.scores {
            match cells.get_mut(*index) {
                Some(cell) if several => *cell = Cell::Wrong,
                _ => self.fill(*index, score, cells)?,
            }
        }
        Ok(())
    }

    fn read_score_map<'a, C: Cursor<'a>>(&self, cursor: &mut C, cells: &mut [Cell<'a>]) -> Read<()> {
        let Value::Map(mut open) = cursor.value()? else { return Ok(()) };
        let mut scratch = Vec::new();
        loop {
            let class = match cursor.next_key(&mut open, None)? {
                Key::Other(class) => class.resolve(&mut scratch),
                Key::Expected => continue,
                Key::End => return Ok(()),
            };
            let found = self.scores.iter().find(|(known, _)| known.as_bytes() == class);
            let part = Part { at: cursor.position(), value: cursor.value()? };
            if let Some((class, index)) = found {
                if !matches!(cells.get(*index), Some(Cell::Missing)) {
                    return Err(Fault::new(Reason::DuplicateField, part.at, format!("`{class}` is there twice")));
                }
                self.fill(*index, part, cells)?;
            }
            cursor.skip_rest(part.value, self.max_depth)?;
        }
    }

    fn read_segments<'a, C: Cursor<'a>>(&self, cursor: &mut C, segment: Part<'a>, cells: &mut [Cell<'a>]) -> Read<()> {
        match segment.value {
            Value::Null => return Ok(()),
            Value::Map(_) => cursor.seek(segment.at),
            other => return Err(wrong(Reason::WrongTypeSegment, segment.at, &other)),
        }
        let Value::Map(mut open) = cursor.value()? else { return Ok(()) };
        let mut scratch = Vec::new();
        loop {
            let dimension = match cursor.next_key(&mut open, None)? {
                Key::Other(dimension) => dimension.resolve(&mut scratch),
                Key::Expected => continue,
                Key::End => return Ok(()),
            };
            let found = self.source.segments.iter().position(|known| known.as_bytes() == dimension);
            let part = Part { at: cursor.position(), value: cursor.value()? };
            if let Some(dimension) = found {
                self.fill_segment(dimension, part, cells)?;
            }
            cursor.skip_rest(part.value, self.max_depth)?;
        }
    }

    /// Gives the segment of a dimension its value.
    pub(crate) fn fill_segment<'a>(&self, dimension: usize, part: Part<'a>, cells: &mut [Cell<'a>]) -> Read<()> {
        let index = self.source.schema.columns.len() + dimension;
        if !matches!(cells.get(index), Some(Cell::Missing)) {
            return Err(Fault::new(Reason::DuplicateField, part.at, "a dimension is there twice"));
        }
        self.fill(index, part, cells)?;
        match cells.get(index) {
            Some(Cell::Wrong) => Err(wrong(Reason::WrongTypeSegment, part.at, &part.value)),
            _ => Ok(()),
        }
    }

    /// The label as the model's task has it; `Null` where there is none.
    pub(crate) fn label<'a>(&self, label: Part<'a>) -> Read<Cell<'a>> {
        let cell = match self.source.schema.task.outcome_kind() {
            ColumnKind::Numeric => Cell::number(label.value),
            ColumnKind::Categorical => Cell::category(label.value),
        };
        match cell {
            Cell::Wrong => Err(wrong(Reason::WrongTypeLabel, label.at, &label.value).within("label")),
            Cell::Number(value) if !value.is_finite() => {
                Err(Fault::new(Reason::WrongTypeLabel, label.at, "the number is not finite").within("label"))
            }
            Cell::Text(text) => self.check_text(text, label.at).map(|()| cell).map_err(|fault| fault.within("label")),
            _ => Ok(cell),
        }
    }

    /// Id and version no longer than text may be.
    pub(crate) fn check_names(&self, head: &Head<'_>, at: usize) -> Read<()> {
        for (name, cell) in [("id", head.id), ("version", head.version)] {
            if let Cell::Text(text) = cell {
                self.check_text(text, at).map_err(|fault| fault.within(name))?;
            }
        }
        Ok(())
    }

    /// The builder of a version; a full one is moved to `aside` first.
    pub(crate) fn builder(
        &mut self,
        version: Cell<'_>,
        aside: &mut Vec<(Arc<str>, EventBuilder)>,
    ) -> Option<&mut EventBuilder> {
        let mut scratch = Vec::new();
        let version = version.resolve(&mut scratch);
        let is_last = |builder: &EventBuilder| builder.version().as_bytes() == version;
        if !self.builders.get(self.last_builder).is_some_and(is_last) {
            // Cursors make text of UTF-8 only, so nothing is replaced here.
            let version = String::from_utf8_lossy(version).into_owned();
            self.last_builder = match self.by_version.get(&version) {
                Some(index) => *index,
                None => self.add_builder(version),
            };
        }
        let index = self.last_builder;
        if self.builders.get(index).is_some_and(EventBuilder::is_full) {
            let fresh = self.new_builder(self.builders.get(index)?.version().to_owned());
            let full = std::mem::replace(self.builders.get_mut(index)?, fresh);
            aside.push((self.source.model.clone(), full));
        }
        self.builders.get_mut(index)
    }

    /// The builder of labels; a full one is moved to `aside` first.
    pub(crate) fn label_builder(&mut self, aside: &mut Vec<(Arc<str>, LabelBuilder)>) -> &mut LabelBuilder {
        if let Some(full) = self.labels.take_if(|builder| builder.is_full()) {
            aside.push((self.source.model.clone(), full));
        }
        self.labels.get_or_insert_with(|| LabelBuilder::new(&self.source.schema))
    }

    fn add_builder(&mut self, version: String) -> usize {
        let index = self.builders.len();
        self.builders.push(self.new_builder(version.clone()));
        self.by_version.insert(version, index);
        index
    }

    fn new_builder(&self, version: String) -> EventBuilder {
        let columns = self.plans.iter().map(|plan| {
            let key = if plan.policy == Policy::Hash { self.source.privacy.key().cloned() } else { None };
            Column::new(plan.kind, key, self.expected_rows)
        });
        let label = self.source.schema.task.outcome_kind();
        EventBuilder::new(self.batch_schema.clone(), version, columns.collect(), label)
    }

    /// Takes out what has been built and counted.
    pub(crate) fn drain(&mut self) -> Drained {
        self.by_version.clear();
        let named =
            self.unknown.iter_mut().map(|unknown| (Some(unknown.name.clone()), std::mem::take(&mut unknown.rows)));
        let beyond = (None, std::mem::take(&mut self.unknown_beyond));
        let unknown = named.chain([beyond]).filter(|(_, values)| *values > 0).collect();
        self.expected_rows = self.builders.iter().map(EventBuilder::rows).max().unwrap_or(0);
        Drained { events: std::mem::take(&mut self.builders), labels: self.labels.take(), unknown }
    }

    /// Counts values of a feature that the schema does not have.
    pub(crate) fn count_unknown(&mut self, name: &str, values: u64) {
        let slot = self.slots.get(name.as_bytes()).copied();
        let Slot::Unknown(index) = slot.unwrap_or_else(|| self.learn_unknown(name.as_bytes())) else { return };
        match self.unknown.get_mut(index) {
            Some(unknown) => unknown.rows += values,
            None => self.unknown_beyond += values,
        }
    }

    #[inline(always)]
    fn name(&self, slot: Slot) -> Option<&[u8]> {
        match slot {
            Slot::Column(index) => self.plans.get(index).filter(|plan| plan.is_plain).map(|plan| &*plan.name),
            // Names with escapes in them, and the counter that several names share, are looked up each time.
            Slot::Unknown(index) if index < MOST_UNKNOWN => {
                let name = self.unknown.get(index)?.name.as_bytes();
                (!name.contains(&b'"') && !name.contains(&b'\\')).then_some(name)
            }
            Slot::Unknown(_) => None,
        }
    }

    #[cold]
    fn learn(&mut self, place: usize, key: Text<'_>) -> Slot {
        let mut scratch = Vec::new();
        let name = key.resolve(&mut scratch);
        let slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => self.learn_unknown(name),
        };
        if let Some(known) = self.order.get_mut(place) {
            *known = slot;
        } else if place == self.order.len() && place < MOST_PLACES {
            self.order.push(slot);
        }
        slot
    }

    fn learn_unknown(&mut self, name: &[u8]) -> Slot {
        let index = self.unknown.len();
        let slot = Slot::Unknown(index.min(MOST_UNKNOWN));
        if index < MOST_UNKNOWN && name.len() <= 256 {
            self.unknown.push(UnknownFeature { name: String::from_utf8_lossy(name).into_owned(), rows: 0 });
            self.slots.insert(name.into(), slot);
            return slot;
        }
        Slot::Unknown(MOST_UNKNOWN)
    }
}

impl Plan {
    #[inline(always)]
    fn cell<'a>(&self, value: Value<'a>) -> Cell<'a> {
        match (self.policy, self.kind) {
            (Policy::Drop, _) => Cell::Null,
            (_, ColumnKind::Numeric) => Cell::number(value),
            (_, ColumnKind::Categorical) => Cell::category(value),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// The place of each score's column, by class; the one of a binary task stands under its positive class.
pub(super) fn score_slots(schema: &ModelSchema) -> Vec<(String, usize)> {
    let columns = schema.columns.iter().enumerate().filter(|(_, column)| column.role == Role::Score);
    let classes = match &schema.task {
        Task::Binary { positive, .. } => vec![positive.clone()],
        Task::Multiclass { classes } => classes.clone(),
        Task::Regression => Vec::new(),
    };
    classes.into_iter().zip(columns.map(|(index, _)| index)).collect()
}
