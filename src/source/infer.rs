//! What the columns of a file probably are.
//!
//! The first rows decide. A column whose values are nearly all different and are text or whole numbers looks
//! like an identifier: a model that learned from it would learn nothing, and its profile would be all `unseen`.

use super::{Column, SourceError, TimeFormat, open};
use std::collections::BTreeSet;
use std::path::Path;

/// Examples that are kept of each column: every class of a label that has a reasonable number.
const MOST_EXAMPLES: usize = 20;
/// Share of different values from which a column looks like an identifier.
const IDENTIFIER_SHARE: f64 = 0.95;
/// Fewer rows cannot show that values are all different by nature.
const LEAST_IDENTIFIER_ROWS: u64 = 20;

/// What a column probably holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InferredKind {
    /// Numbers.
    Numeric,
    /// Categories.
    Categorical,
    /// Times.
    Time(TimeFormat),
    /// Dates as people write them, whose order of day and month cannot be told.
    Date,
    /// Values that are nearly all different.
    Identifier,
    /// Nothing but nulls, or values of no plain type.
    Empty,
}

/// One column of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredColumn {
    /// Its name.
    pub name: String,
    /// What it probably holds.
    pub kind: InferredKind,
    /// Rows without a value.
    pub nulls: u64,
    /// Different values.
    pub distinct: usize,
    /// Some of them, in order.
    pub examples: Vec<String>,
}

/// The columns of a file, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredFile {
    /// Rows that were looked at.
    pub rows: u64,
    /// The columns.
    pub columns: Vec<InferredColumn>,
}

/// Looks at a file's first rows, to the end of the batch that passes `most_rows`.
///
/// # Errors
/// When the file cannot be read.
pub fn infer(file: &Path, most_rows: u64) -> Result<InferredFile, SourceError> {
    let rows = open(file)?;
    let mut tallies: Vec<_> = rows.schema().fields().iter().map(|field| Tally::new(field.name())).collect();
    let mut seen = 0;
    for batch in rows {
        let batch = batch?;
        for tally in &mut tallies {
            // A column of no plain type stays empty, and is left out with a comment.
            if let Ok(column) = Column::find(file, &batch.batch, &tally.name) {
                (0..batch.batch.num_rows()).for_each(|row| tally.observe(&column, row));
            }
        }
        seen = batch.first_row + batch.batch.num_rows() as u64;
        if seen >= most_rows {
            break;
        }
    }
    Ok(InferredFile { rows: seen, columns: tallies.into_iter().map(|tally| tally.conclude(seen)).collect() })
}

struct Tally {
    name: String,
    values: u64,
    numbers: u64,
    whole: u64,
    time: Option<TimeFormat>,
    times: u64,
    dates: u64,
    distinct: BTreeSet<String>,
}

impl Tally {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: 0,
            numbers: 0,
            whole: 0,
            time: None,
            times: 0,
            dates: 0,
            distinct: BTreeSet::new(),
        }
    }

    fn observe(&mut self, column: &Column, row: usize) {
        let cell = column.cell(row);
        let Some(text) = cell.category() else { return };
        self.values += 1;
        if let Some(number) = cell.number() {
            self.numbers += 1;
            self.whole += u64::from(number.fract() == 0.0);
        }
        if let Some(format) = TimeFormat::recognise(&cell) {
            self.times += u64::from(self.time.is_none_or(|earlier| earlier == format));
            self.time.get_or_insert(format);
        }
        self.dates += u64::from(is_date(&text));
        self.distinct.insert(text);
    }

    fn conclude(self, rows: u64) -> InferredColumn {
        let kind = self.kind();
        let examples = self.distinct.iter().take(MOST_EXAMPLES).cloned().collect();
        InferredColumn { name: self.name, kind, nulls: rows - self.values, distinct: self.distinct.len(), examples }
    }

    fn kind(&self) -> InferredKind {
        if self.values == 0 {
            return InferredKind::Empty;
        }
        if let Some(format) = self.time.filter(|_| self.times == self.values) {
            return InferredKind::Time(format);
        }
        if self.dates == self.values {
            return InferredKind::Date;
        }
        let numeric = self.numbers == self.values;
        #[expect(clippy::cast_precision_loss, reason = "nobody looks at 2⁵³ rows to infer a kind")]
        let share = self.distinct.len() as f64 / self.values as f64;
        let discrete = !numeric || self.whole == self.values;
        if discrete && share > IDENTIFIER_SHARE && self.values >= LEAST_IDENTIFIER_ROWS {
            return InferredKind::Identifier;
        }
        if numeric { InferredKind::Numeric } else { InferredKind::Categorical }
    }
}

/// Whether a text is three numbers with one separator between them, as `31/12/2026`, perhaps with a time after it.
fn is_date(text: &str) -> bool {
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    ['-', '/', '.'].iter().any(|separator| {
        let parts: Vec<_> = day.split(*separator).collect();
        let short = |part: &&str| matches!(part.len(), 1..=4) && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.len() == 3 && parts.iter().all(short) && parts.iter().any(|part| part.len() == 4)
    })
}
