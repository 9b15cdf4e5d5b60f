//! What the columns of a file probably are.
//!
//! The first rows decide, and whoever acts on a guess shows it. Numbers stay numbers though some values are missing, or a few
//! are something else. What looks like an identifier is text that is nearly everywhere different, or whole numbers that are
//! so and also lie close together, only rise or only fall, or are all equally long: an amount of money in a small file is
//! nearly everywhere different too. A model that learned from an identifier would learn nothing, and its profile would be all
//! `unseen`.

use super::{Column, Files, Rows, SourceError, TimeFormat};
use detectors::schema::ColumnKind;
use std::collections::BTreeSet;

/// Examples that are kept of each column: every class of a label that has a reasonable number.
const MOST_EXAMPLES: usize = 20;
/// Share of different values from which a column looks like an identifier.
const IDENTIFIER_SHARE: f64 = 0.95;
/// Fewer rows cannot show that values are all different by nature.
const LEAST_IDENTIFIER_ROWS: u64 = 20;
/// Whole numbers lie close together where there is one in so many.
const MOST_APART: f64 = 2.0;
/// Digits from which numbers that all have as many look like an identifier.
const LONG_DIGITS: u32 = 9;
/// Share of numbers from which the rest are odd values among numbers, and not the other way round.
const NUMERIC_SHARE: f64 = 0.9;

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
    /// Nothing but nulls.
    Empty,
    /// Values of no plain type: lists, structs.
    Nested,
}

/// One column of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct InferredColumn {
    /// Its name.
    pub name: String,
    /// What it probably holds.
    pub kind: InferredKind,
    /// What it holds where nothing but numbers and categories is asked for.
    pub plain: ColumnKind,
    /// Rows without a value; in a column of numbers also those with a word that stands for a missing one.
    pub nulls: u64,
    /// Such words, the first few that differ.
    pub missing: BTreeSet<String>,
    /// Rows of a column of numbers that hold something else.
    pub odd: u64,
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
    /// What was guessed of how it is written, a sentence each.
    pub notes: Vec<String>,
}

/// Looks at a file's first rows, to the end of the batch that passes `most_rows`.
///
/// # Errors
/// When the file cannot be read.
pub fn infer(files: &Files, most_rows: u64) -> Result<InferredFile, SourceError> {
    infer_rows(files, files.open()?, most_rows)
}

/// As [`infer`], of these columns only.
///
/// # Errors
/// When the file cannot be read.
pub fn infer_columns(files: &Files, columns: &[&str], most_rows: u64) -> Result<InferredFile, SourceError> {
    infer_rows(files, files.open_columns(columns)?, most_rows)
}

fn infer_rows(files: &Files, rows: Rows, most_rows: u64) -> Result<InferredFile, SourceError> {
    let (file, notes) = (files.name(), rows.notes().to_vec());
    let mut tallies: Vec<_> = rows.schema().fields().iter().map(|field| Tally::new(field.name())).collect();
    let mut seen = 0;
    for batch in rows {
        let batch = batch?;
        for tally in &mut tallies {
            match Column::find(&file, &batch.batch, &tally.name) {
                Ok(column) => (0..batch.batch.num_rows()).for_each(|row| tally.observe(&column, row)),
                Err(_) => tally.is_nested = true,
            }
        }
        seen = batch.first_row + batch.batch.num_rows() as u64;
        if seen >= most_rows {
            break;
        }
    }
    let columns = tallies.into_iter().map(|tally| tally.conclude(seen)).collect();
    Ok(InferredFile { rows: seen, columns, notes })
}

/// Words for a missing value that are remembered of a column.
const MOST_WORDS: usize = 5;

#[derive(Default)]
struct Tally {
    name: String,
    is_nested: bool,
    values: u64,
    numbers: u64,
    whole: WholeNumbers,
    time: Option<TimeFormat>,
    times: u64,
    dates: u64,
    /// Values that stand for a missing number.
    missing: u64,
    words: BTreeSet<String>,
    distinct: BTreeSet<String>,
}

/// What tells identifiers from other whole numbers.
#[derive(Default)]
struct WholeNumbers {
    count: u64,
    least: f64,
    most: f64,
    last: f64,
    rises: u64,
    falls: u64,
}

impl WholeNumbers {
    fn observe(&mut self, number: f64) {
        if self.count == 0 {
            (self.least, self.most) = (number, number);
        } else {
            (self.least, self.most) = (self.least.min(number), self.most.max(number));
            self.rises += u64::from(number > self.last);
            self.falls += u64::from(number < self.last);
        }
        self.last = number;
        self.count += 1;
    }

    /// Whether numbers that are nearly all different are identifiers.
    fn are_identifiers(&self) -> bool {
        let digits = |number: f64| number.abs().max(1.0).log10().floor() as u32 + 1;
        let is_dense = self.most - self.least < MOST_APART * self.count as f64;
        let is_sorted = self.rises + 1 == self.count || self.falls + 1 == self.count;
        let is_long = digits(self.least) >= LONG_DIGITS && digits(self.least) == digits(self.most);
        is_dense || is_sorted || is_long
    }
}

impl Tally {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn observe(&mut self, column: &Column, row: usize) {
        let cell = column.cell(row);
        let Some(text) = cell.category() else { return };
        self.values += 1;
        if let Some(number) = cell.number() {
            self.numbers += 1;
            if number.fract() == 0.0 {
                self.whole.observe(number);
            }
        }
        if cell.is_missing() {
            self.missing += 1;
            if self.words.len() < MOST_WORDS {
                self.words.insert(text.clone());
            }
        }
        if let Some(format) = TimeFormat::recognise(&cell) {
            self.times += u64::from(self.time.is_none_or(|earlier| earlier == format));
            self.time.get_or_insert(format);
        }
        self.dates += u64::from(is_date(&text));
        self.distinct.insert(text);
    }

    fn conclude(self, rows: u64) -> InferredColumn {
        let (kind, is_numeric) = (self.kind(), self.is_numeric());
        let examples = self.distinct.iter().take(MOST_EXAMPLES).cloned().collect();
        let missing = if is_numeric { self.missing } else { 0 };
        InferredColumn {
            name: self.name,
            kind,
            plain: if is_numeric { ColumnKind::Numeric } else { ColumnKind::Categorical },
            nulls: rows - self.values + missing,
            missing: if is_numeric { self.words } else { BTreeSet::new() },
            odd: if is_numeric { self.values - self.missing - self.numbers } else { 0 },
            distinct: self.distinct.len(),
            examples,
        }
    }

    /// Whether these are numbers, a few odd values aside.
    fn is_numeric(&self) -> bool {
        let there = self.values - self.missing;
        let odd_are_few = self.numbers as f64 >= NUMERIC_SHARE * there as f64 && there >= LEAST_IDENTIFIER_ROWS;
        self.numbers > 0 && (self.numbers == there || odd_are_few)
    }

    fn kind(&self) -> InferredKind {
        let there = self.values - self.missing;
        match self.time {
            _ if self.is_nested => return InferredKind::Nested,
            _ if self.values == 0 => return InferredKind::Empty,
            Some(format) if self.times == there => return InferredKind::Time(format),
            _ if there > 0 && self.dates == there => return InferredKind::Date,
            _ => {}
        }
        let share = self.distinct.len() as f64 / self.values as f64;
        let may_be_identifier =
            if self.is_numeric() { self.whole.count == there && self.whole.are_identifiers() } else { true };
        match self.is_numeric() {
            _ if may_be_identifier && share > IDENTIFIER_SHARE && self.values >= LEAST_IDENTIFIER_ROWS => {
                InferredKind::Identifier
            }
            true => InferredKind::Numeric,
            false => InferredKind::Categorical,
        }
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
