//! The columns of one model, made of those of a table.
//!
//! A column has one type, so its values fit the schema's column all together or not at all; which of them cost their row
//! (long text, a label that is no label, a segment that is none) is told row by row.

use super::table::{FEATURES, SCORE, SEGMENT, Table};
use crate::columns::SEGMENT_PREFIX;
use crate::decode::builders::append::Fitted;
use crate::decode::envelope::{Field, MOST_NAME_BYTES};
use crate::decode::privacy::Policy;
use crate::decode::source::{Source, score_slots};
use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use detectors::schema::{ColumnKind, Role};
use detectors::spelling;
use std::sync::Arc;

/// The columns of a model's schema and segments, its labels, and which rows may not have them.
pub(super) struct Coerced {
    pub(super) columns: Vec<Fitted>,
    pub(super) label: Fitted,
    /// Whether nothing in a row costs it.
    pub(super) good: Vec<bool>,
}

/// Brings the columns of a table to those of a model.
pub(super) struct Coercion<'a> {
    source: &'a Source,
    table: &'a Table,
    max_text_bytes: usize,
    good: Vec<bool>,
}

impl<'a> Coercion<'a> {
    pub(super) fn new(source: &'a Source, table: &'a Table, max_text_bytes: usize) -> Self {
        Self { source, table, max_text_bytes, good: vec![true; table.rows] }
    }

    /// The columns of events.
    pub(super) fn events(mut self) -> Result<Coerced, ArrowError> {
        let source = self.source;
        let mut columns = Vec::new();
        for column in &source.schema.columns {
            let policy = source.privacy.of(&column.name);
            columns.push(match column.role {
                Role::Feature => self.feature(&column.name, column.kind, policy)?,
                Role::Prediction => self.output(self.table.get(Field::Prediction.name()), column.kind, policy)?,
                Role::Score => self.score(columns.len(), policy)?,
            });
        }
        for dimension in &source.segments {
            let policy = source.privacy.of(&format!("{SEGMENT_PREFIX}{dimension}"));
            let sent = self.inner(SEGMENT, dimension);
            let fitted = self.output(sent, ColumnKind::Categorical, policy)?;
            self.refuse(fitted.wrong.as_ref());
            self.refuse_longer(&fitted.values, MOST_NAME_BYTES);
            columns.push(fitted);
        }
        let label = self.label()?;
        Ok(Coerced { columns, label, good: self.good })
    }

    /// The column of labels alone.
    pub(super) fn labels(mut self) -> Result<Coerced, ArrowError> {
        let label = self.label()?;
        Ok(Coerced { columns: Vec::new(), label, good: self.good })
    }

    fn inner(&self, field: &'static str, name: &str) -> Option<&'a ArrayRef> {
        let is_it = |inner: &str| inner == name || (field == SCORE && spelling::of_text(inner) == name);
        self.table.within(field).find(|(inner, _)| is_it(inner)).map(|(_, column)| &column.plain)
    }

    fn feature(&mut self, name: &str, kind: ColumnKind, policy: Policy) -> Result<Fitted, ArrowError> {
        let sent = self.inner(FEATURES, name);
        // Long text costs a row even where the text would not be kept.
        if let Some(sent) = sent {
            self.refuse_long(sent);
        }
        self.fitted(sent, kind, policy)
    }

    /// A prediction, score or segment: here only text that would be kept can be too long.
    fn output(&mut self, sent: Option<&ArrayRef>, kind: ColumnKind, policy: Policy) -> Result<Fitted, ArrowError> {
        let fitted = self.fitted(sent, kind, policy)?;
        if kind == ColumnKind::Categorical {
            self.refuse_long(&fitted.values);
        }
        Ok(fitted)
    }

    /// The score that stands at this place of the schema: of its class, or the one there is.
    fn score(&mut self, place: usize, policy: Policy) -> Result<Fitted, ArrowError> {
        let slots = score_slots(&self.source.schema);
        let class = slots.iter().find(|(_, index)| *index == place).map(|(class, _)| class.as_str());
        let of_class = class.and_then(|class| self.inner(SCORE, class));
        match self.table.get(SCORE) {
            // One number cannot be the probabilities of several classes.
            Some(sent) if slots.len() > 1 => Ok(self.wrong(sent, ColumnKind::Numeric)),
            Some(sent) => self.output(Some(sent), ColumnKind::Numeric, policy),
            None => self.output(of_class, ColumnKind::Numeric, policy),
        }
    }

    fn label(&mut self) -> Result<Fitted, ArrowError> {
        let kind = self.source.schema.task.outcome_kind();
        let fitted = self.output(self.table.get(Field::Label.name()), kind, Policy::Keep)?;
        self.refuse(fitted.wrong.as_ref());
        if let Some(numbers) = fitted.values.as_primitive_opt::<Float64Type>() {
            let is_finite = numbers.iter().map(|label| label.is_none_or(f64::is_finite));
            self.good.iter_mut().zip(is_finite).for_each(|(good, is_finite)| *good &= is_finite);
        }
        Ok(fitted)
    }

    fn fitted(&self, sent: Option<&ArrayRef>, kind: ColumnKind, policy: Policy) -> Result<Fitted, ArrowError> {
        let Some(sent) = sent.filter(|sent| policy != Policy::Drop && *sent.data_type() != DataType::Null) else {
            return Ok(self.nothing(kind));
        };
        match (kind, sent.data_type()) {
            (ColumnKind::Numeric, numeric) if numeric.is_numeric() => {
                Ok(Fitted { values: cast(sent, &type_of(kind))?, wrong: None })
            }
            (ColumnKind::Numeric, _) => Ok(self.wrong(sent, kind)),
            (ColumnKind::Categorical, _) => Ok(match spelling::of_array(sent)? {
                Some(names) => Fitted { values: Arc::new(names), wrong: None },
                None => self.wrong(sent, kind),
            }),
        }
    }

    fn nothing(&self, kind: ColumnKind) -> Fitted {
        Fitted { values: new_null_array(&type_of(kind), self.table.rows), wrong: None }
    }

    /// Nulls, and which of them stand for a value of the wrong type.
    fn wrong(&self, sent: &ArrayRef, kind: ColumnKind) -> Fitted {
        let wrong = match sent.logical_nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(sent.len()),
        };
        Fitted { wrong: Some(wrong), ..self.nothing(kind) }
    }

    fn refuse(&mut self, rows: Option<&BooleanBuffer>) {
        for row in rows.into_iter().flat_map(|rows| rows.set_indices()) {
            if let Some(good) = self.good.get_mut(row) {
                *good = false;
            }
        }
    }

    fn refuse_long(&mut self, sent: &ArrayRef) {
        self.refuse_longer(sent, self.max_text_bytes);
    }

    fn refuse_longer(&mut self, sent: &ArrayRef, most_bytes: usize) {
        let Some(texts) = sent.as_string_opt::<i32>() else { return };
        let ends = texts.value_offsets();
        let most = i32::try_from(most_bytes).unwrap_or(i32::MAX);
        for (row, bounds) in ends.windows(2).enumerate() {
            if let ([start, end], Some(good)) = (bounds, self.good.get_mut(row)) {
                *good &= end - start <= most || texts.is_null(row);
            }
        }
    }
}

fn type_of(kind: ColumnKind) -> DataType {
    crate::columns::arrow_type(kind)
}
