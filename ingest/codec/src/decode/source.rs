//! One model as the decoder sees it: its columns in order, and how the values of a row find them.
//!
//! Where a row's features come in the order of the last row's, and their values are of the usual kind, they are read without
//! a look at anything else. What differs is read again, from its key on, by the general steps, which find the faults too.

use super::Limits;
use super::builders::{BatchShape, Hashing, LabelBuilder, RecordPosition, Stored};
use super::cursor::{Cursor, Open, Text, Value};
use super::envelope::{Cell, Envelope, MOST_NAME_BYTES, Part, long_name, wrong};
use super::expected::ExpectedKey;
use super::fault::{Fault, Read, Reason};
use super::feature_order::{FeatureOrder, Slot};
use super::mapping::Mapping;
use super::privacy::{Policy, Privacy};
use super::shared_builders::SharedBuilders;
use crate::columns::{self, SEGMENT_PREFIX};
use detectors::schema::{ColumnKind, ModelSchema, PREDICTION, Role, Task};
use detectors::spelling;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The most versions of a model that one record's rows are told apart by. More than that are no versions: somebody numbers
/// requests there, and each would take a batch of its own.
pub(crate) const MOST_VERSIONS_OF_RECORD: usize = 64;
/// What rows of further versions are counted under.
pub const OTHER_VERSIONS: &str = "other";

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

/// What a source has built of labels, and counted.
pub(crate) struct Drained {
    pub(crate) labels: Option<LabelBuilder>,
    /// Unknown features and how many values they had; `None` names all that were too many to remember.
    pub(crate) unknown: Vec<(Option<String>, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    name: Box<[u8]>,
    key: Option<ExpectedKey>,
    kind: ColumnKind,
    policy: Policy,
    usual: Usual,
}

/// The values that a column usually has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usual {
    Number,
    Text,
    /// None that would be kept.
    Nothing,
}

/// A source in use.
#[derive(Debug)]
pub(crate) struct ActiveSource {
    pub(crate) source: Source,
    /// The schema's columns, then the segments.
    plans: Arc<[Plan]>,
    prediction: Option<usize>,
    /// Index of each score column, by class; the one of a binary task stands under its positive class.
    scores: Vec<(String, usize)>,
    features: FeatureOrder,
    max_text_bytes: usize,
    max_depth: usize,
    /// Which of the decoder's [`SharedBuilders`] builds the model's events.
    pub(crate) built_by: usize,
    /// The numbers by which they are given there, by version, and the one used last.
    owners: HashMap<Arc<str>, u32>,
    last_owner: Option<(Arc<str>, u32)>,
    /// The record whose rows are being read, and the versions that it named.
    record: Option<(i32, i64)>,
    of_record: HashSet<u32>,
    pub(crate) labels: Option<LabelBuilder>,
}

impl ActiveSource {
    pub(crate) fn new(source: Source, limits: &Limits) -> Self {
        let schema = &source.schema;
        let plan = |name: &str, kind| Plan::new(name, kind, source.privacy.of(name));
        let columns = schema.columns.iter().map(|column| plan(&column.name, column.kind));
        let segments = source
            .segments
            .iter()
            .map(|dimension| plan(&format!("{SEGMENT_PREFIX}{dimension}"), ColumnKind::Categorical));
        let plans = columns.chain(segments).collect();
        let features = FeatureOrder::new(schema.features().map(|column| column.name.as_str()));
        Self {
            features,
            prediction: schema.columns.iter().position(|column| column.name == PREDICTION),
            scores: score_slots(schema),
            max_text_bytes: limits.max_text_bytes,
            max_depth: limits.max_depth,
            built_by: 0,
            owners: HashMap::new(),
            last_owner: None,
            record: None,
            of_record: HashSet::new(),
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
            if self.read_expected(cursor, &mut open, place, cells) {
                continue;
            }
            let Some(key) = cursor.next_key(&mut open)? else { break };
            match self.features.find(place, key) {
                Slot::Column(index) => self.read_feature(cursor, index, cells)?,
                Slot::Unknown(index) => {
                    self.features.count_unknown(index);
                    cursor.skip(self.max_depth)?;
                }
            }
        }
        Ok(())
    }

    /// Reads key and value of a feature if they are what this place had before; else the cursor stays.
    #[inline(always)]
    fn read_expected<'a, C: Cursor<'a>>(
        &self,
        cursor: &mut C,
        open: &mut Open,
        place: usize,
        cells: &mut [Cell<'a>],
    ) -> bool {
        let Some(Slot::Column(index)) = self.features.at(place) else { return false };
        let (Some(plan), Some(cell @ Cell::Missing)) = (self.plans.get(index), cells.get_mut(index)) else {
            return false;
        };
        let (start, before) = (cursor.position(), *open);
        if !plan.key.as_ref().is_some_and(|key| cursor.pass_key(open, key)) {
            return false;
        }
        if plan.fill_usual(cursor, cell, self.max_text_bytes) {
            return true;
        }
        cursor.seek(start);
        *open = before;
        false
    }

    fn read_listed<'a, C: Cursor<'a>>(&mut self, cursor: &mut C, mut open: Open, cells: &mut [Cell<'a>]) -> Read<()> {
        let features = self.features.columns();
        let mut found = 0;
        while cursor.next_item(&mut open)? {
            if found == features {
                found += 1;
                break;
            }
            self.read_feature(cursor, found, cells)?;
            found += 1;
        }
        if found == features {
            return Ok(());
        }
        let comparison = if found > features { "more" } else { "fewer" };
        let what = format!("the array has {comparison} than the {} values of the schema", features);
        Err(Fault::new(Reason::WrongFeatureCount, cursor.position(), what))
    }

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
        envelope: &Envelope<'a>,
        cells: &mut [Cell<'a>],
    ) -> Read<()> {
        if let Value::Map(_) = envelope.prediction.value {
            let what = "the prediction is a map of outputs";
            return Err(Fault::new(Reason::SeveralOutputs, envelope.prediction.at, what));
        }
        if let Some(index) = self.prediction {
            self.fill(index, envelope.prediction, cells)?;
        }
        self.read_scores(cursor, envelope.score, cells)?;
        self.read_segments(cursor, envelope.segment, cells).map_err(|fault| fault.within("segment"))
    }

    /// Takes the texts of hashed columns for the hashes that they are.
    pub(crate) fn take_hashes(&self, cells: &mut [Cell<'_>]) {
        for (plan, cell) in self.plans.iter().zip(cells) {
            if let (Policy::Hash, Cell::Text(hash)) = (plan.policy, *cell) {
                *cell = Cell::Hash(hash);
            }
        }
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
            let Some(class) = cursor.next_key(&mut open)? else { return Ok(()) };
            let class = spelling::of_bytes(class.resolve(&mut scratch));
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
            let Some(dimension) = cursor.next_key(&mut open)? else { return Ok(()) };
            let dimension = dimension.resolve(&mut scratch);
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
            Some(Cell::Text(text)) if text.len() > MOST_NAME_BYTES => Err(long_name(text.len(), part.at)),
            _ => Ok(()),
        }
    }

    /// The label as the model's task has it; `Null` where there is none.
    pub(crate) fn label<'a>(&self, label: Part<'a>) -> Read<Cell<'a>> {
        let kind = self.source.schema.task.outcome_kind();
        let cell = match kind {
            ColumnKind::Numeric => Cell::number(label.value),
            ColumnKind::Categorical => Cell::category(label.value),
        };
        match cell {
            Cell::Wrong => Err(wrong(Reason::WrongTypeLabel, label.at, &label.value).within("label")),
            Cell::Number(value) if kind == ColumnKind::Numeric && !value.is_finite() => {
                Err(Fault::new(Reason::WrongTypeLabel, label.at, "the number is not finite").within("label"))
            }
            Cell::Text(text) => self.check_text(text, label.at).map(|()| cell).map_err(|fault| fault.within("label")),
            _ => Ok(cell),
        }
    }

    /// Id and version no longer than text may be.
    pub(crate) fn check_names(&self, envelope: &Envelope<'_>, at: usize) -> Read<()> {
        for (name, cell) in [("id", envelope.id), ("version", envelope.version)] {
            if let Cell::Text(text) = cell {
                self.check_text(text, at).map_err(|fault| fault.within(name))?;
            }
        }
        Ok(())
    }

    /// The columns of its events.
    pub(crate) fn shape(&self) -> BatchShape {
        let hashing = |plan: &Plan| {
            let stored = match (plan.policy, plan.kind) {
                (Policy::Hash, _) => Stored::Hashed,
                // References and verdicts know it by its hash.
                (Policy::ProfileOnly, ColumnKind::Categorical) => Stored::AsItCame,
                _ => return None,
            };
            self.source.privacy.key().map(|key| Hashing { key: key.clone(), stored })
        };
        BatchShape {
            schema: columns::event_schema(&self.source.schema, &self.source.segments),
            label: self.source.schema.task.outcome_kind(),
            columns: self.plans.iter().map(|plan| (plan.kind, hashing(plan))).collect(),
        }
    }

    /// Reads its rows by the plans of another source, where they are the same: those of many models are in no cache.
    pub(crate) fn share_plans(&mut self, other: &Self) {
        if self.plans == other.plans {
            self.plans = Arc::clone(&other.plans);
        }
    }

    /// The number of a version among those whose rows are built together. Of the versions that a record names those beyond
    /// [`MOST_VERSIONS_OF_RECORD`] are [`OTHER_VERSIONS`].
    #[inline]
    pub(crate) fn owner(
        &mut self,
        version: Cell<'_>,
        place: &RecordPosition,
        shared_builders: &mut SharedBuilders,
    ) -> u32 {
        if self.record != Some((place.partition, place.offset)) {
            self.begin_record(place);
        }
        let mut scratch = Vec::new();
        let version = version.resolve(&mut scratch);
        match &self.last_owner {
            Some((last, owner)) if last.as_bytes() == version => *owner,
            _ => self.look_up_owner(version, shared_builders),
        }
    }

    #[cold]
    fn begin_record(&mut self, place: &RecordPosition) {
        self.record = Some((place.partition, place.offset));
        self.of_record.clear();
        self.last_owner = None;
    }

    fn look_up_owner(&mut self, version: &[u8], shared_builders: &mut SharedBuilders) -> u32 {
        // Cursors make text of UTF-8 only, so nothing is replaced here.
        let mut version: Arc<str> = String::from_utf8_lossy(version).into();
        let is_full = self.of_record.len() >= MOST_VERSIONS_OF_RECORD;
        if is_full && self.owners.get(&version).is_none_or(|owner| !self.of_record.contains(owner)) {
            version = OTHER_VERSIONS.into();
        }
        let add = || shared_builders.add_owner(&self.source.model, &version);
        let owner = *self.owners.entry(Arc::clone(&version)).or_insert_with(add);
        self.of_record.insert(owner);
        self.last_owner = Some((version, owner));
        owner
    }

    /// The builder of labels; a full one is moved to `aside` first.
    pub(crate) fn label_builder(&mut self, aside: &mut Vec<(Arc<str>, LabelBuilder)>) -> &mut LabelBuilder {
        if let Some(full) = self.labels.take_if(|builder| builder.is_full()) {
            aside.push((self.source.model.clone(), full));
        }
        self.labels.get_or_insert_with(|| LabelBuilder::new(&self.source.schema))
    }

    /// Takes out what has been built of labels and counted; its events are handed over with it.
    pub(crate) fn drain(&mut self) -> Drained {
        self.owners.clear();
        self.last_owner = None;
        self.record = None;
        Drained { labels: self.labels.take(), unknown: self.features.take_unknown() }
    }

    /// Counts values of a feature that the schema does not have.
    pub(crate) fn count_unknown(&mut self, name: &str, values: u64) {
        self.features.count_unknown_name(name, values);
    }
}

impl Plan {
    fn new(name: &str, kind: ColumnKind, policy: Policy) -> Self {
        let name = name.as_bytes();
        let usual = match (policy, kind) {
            (Policy::Drop, _) => Usual::Nothing,
            (_, ColumnKind::Numeric) => Usual::Number,
            (_, ColumnKind::Categorical) => Usual::Text,
        };
        Self { name: name.into(), key: ExpectedKey::new(name), kind, policy, usual }
    }

    /// Takes a value if it is of the usual kind. Where it is not, the cursor may stand anywhere.
    #[inline(always)]
    fn fill_usual<'a, C: Cursor<'a>>(&self, cursor: &mut C, cell: &mut Cell<'a>, max_text_bytes: usize) -> bool {
        // Each arm writes the cell itself, so that its parts are not carried around one by one.
        match self.usual {
            Usual::Number => {
                let Some(number) = cursor.plain_number() else { return false };
                *cell = Cell::Number(number);
            }
            Usual::Text => match cursor.plain_text() {
                Some(text) if text.len() <= max_text_bytes => *cell = Cell::Text(text.spelled()),
                _ => return false,
            },
            Usual::Nothing => return false,
        }
        true
    }

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
