//! Which columns of two files are compared, and as what.
//!
//! What is said of a column goes before what it looks like in the reference. Every column that is not compared is told of,
//! with the reason; one that was named and is not there is an error. A column that is gone is a finding, and so is one that
//! was empty and has values now: nothing is more constant than nothing.

use super::{CompareError, FilePair};
use crate::files::{Files, InferredColumn, InferredFile, InferredKind, SourceError, infer, infer_columns, names_of};
use anyhow::Result;
use detectors::schema::{ColumnKind, ColumnSchema, Role};
use serde::Serialize;
use std::path::Path;

/// Rows from which the columns' kinds are inferred.
const ROWS_TO_INFER_FROM: u64 = 10_000;

/// What is said of the columns; all else is inferred from the reference. Names are as they were written: a name of a column, or
/// several with commas between them, each perhaps in quotes.
#[derive(Debug, Clone, Default)]
pub struct ColumnChoice {
    /// Only these; empty for all that can be compared.
    pub only: Vec<String>,
    /// Not these.
    pub left_out: Vec<String>,
    /// These are numeric.
    pub numeric: Vec<String>,
    /// These are categorical.
    pub categorical: Vec<String>,
    /// This is the model's prediction.
    pub prediction: Option<String>,
    /// These are its scores.
    pub scores: Vec<String>,
}

/// A column that was not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub column: String,
    /// Why.
    pub why: String,
}

/// What has become of a column that cannot be compared, and is a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is not in the current file.
    Gone,
    /// It was empty in all rows, and has values now.
    CameAlive,
}

/// A column that has changed so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedColumn {
    /// Its name.
    pub column: String,
    /// What has become of it.
    pub change: Change,
}

/// The columns of two files.
pub(super) struct Columns {
    pub(super) compared: Vec<ColumnSchema>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) changed: Vec<ChangedColumn>,
    pub(super) notes: Vec<String>,
    /// The names of those whose kind was said.
    pub(super) declared: Vec<String>,
}

/// The columns to compare, those that are left out, and those that have changed otherwise.
pub(super) fn columns(files: &FilePair) -> Result<Columns> {
    let (reference, current) = (&files.reference.name(), &files.current.name());
    let inferred = infer(&files.reference, ROWS_TO_INFER_FROM)?;
    let opened = files.current.open()?;
    let before: Vec<String> = inferred.columns.iter().map(|column| column.name.clone()).collect();
    let now: Vec<String> = opened.schema().fields().iter().map(|field| field.name().clone()).collect();
    let choice = &files.columns.resolved(before.iter().chain(&now));
    choice.named().try_for_each(|name| check_there(name, reference, &before))?;
    choice.wanted().try_for_each(|name| check_there(name, current, &now))?;
    if inferred.rows == 0 {
        return Err(CompareError::NoRows { file: reference.clone() }.into());
    }
    let notes = notes(reference, &inferred).into_iter();
    let notes = notes.chain(opened.notes().iter().map(|told| format!("{}: {told}", current.display()))).collect();
    let declared = choice.numeric.iter().chain(&choice.categorical).cloned().collect();
    let (compared, left_out, changed) = (Vec::new(), Vec::new(), Vec::new());
    let mut columns = Columns { compared, left_out, changed, notes, declared };
    for column in inferred.columns {
        columns.take(column, choice, (files, &now))?;
    }
    let added = now.iter().filter(|name| !before.contains(name));
    columns.left_out.extend(added.map(|name| LeftOut::because(name, format!("is not in {}", reference.display()))));
    if columns.compared.is_empty() {
        let left_out: Vec<_> =
            columns.left_out.iter().map(|column| format!("`{}` {}", column.column, column.why)).collect();
        return Err(CompareError::NoColumns { file: reference.clone(), left_out: left_out.join(", ") }.into());
    }
    Ok(columns)
}

/// What was guessed of a file, and of the values in its columns of numbers.
fn notes(file: &Path, inferred: &InferredFile) -> Vec<String> {
    let of_file = inferred.notes.iter().map(|told| format!("{}: {told}", file.display()));
    let with_words = inferred.columns.iter().filter(|column| !column.missing.is_empty());
    let of_words = with_words.map(|column| {
        let words: Vec<_> = column.missing.iter().map(|word| format!("`{word}`")).collect();
        format!("`{}` holds numbers: {} there is taken for a missing one", column.name, words.join(", "))
    });
    let with_odd = inferred.columns.iter().filter(|column| column.odd > 0);
    let of_odd = with_odd.map(|column| {
        format!(
            "`{}` holds numbers: {} values of it that are none are odd values; --kind says otherwise",
            column.name, column.odd
        )
    });
    of_file.chain(of_words).chain(of_odd).collect()
}

impl Columns {
    /// Puts a column of the reference where it belongs.
    fn take(
        &mut self,
        column: InferredColumn,
        choice: &ColumnChoice,
        (files, now): (&FilePair, &[String]),
    ) -> Result<(), SourceError> {
        let name = column.name.clone();
        let gone = (!now.contains(&name)).then(|| format!("is not in {}", files.current.name().display()));
        match choice.kind(&column) {
            Err(why) if why == NOT_ASKED_FOR => self.left_out.push(LeftOut::because(&name, why)),
            found if gone.is_some() => {
                self.left_out.push(LeftOut::because(&name, gone.unwrap_or_default()));
                // What would not have been compared is no finding.
                self.changed.extend(found.is_ok().then_some(ChangedColumn { column: name, change: Change::Gone }));
            }
            Ok(kind) => self.compared.push(ColumnSchema { role: choice.role(&name), name, kind }),
            Err(_) if column.kind == InferredKind::Empty => self.take_empty(&name, choice, files)?,
            Err(why) => self.left_out.push(LeftOut::because(&name, why)),
        }
        Ok(())
    }

    /// Of a column that is empty in the first rows of the reference.
    fn take_empty(&mut self, name: &str, choice: &ColumnChoice, files: &FilePair) -> Result<(), SourceError> {
        let of_all =
            |files: &Files| infer_columns(files, &[name], u64::MAX).map(|found| found.columns.into_iter().next());
        let plain = |column: Option<InferredColumn>| column.filter(|column| column.kind != InferredKind::Empty);
        match plain(of_all(&files.reference)?) {
            // It comes to life further down.
            Some(later) => match choice.kind(&later) {
                Ok(kind) => {
                    self.compared.push(ColumnSchema { role: choice.role(name), name: name.to_owned(), kind });
                }
                Err(why) => self.left_out.push(LeftOut::because(name, why)),
            },
            None => match plain(of_all(&files.current)?) {
                Some(_) => {
                    self.left_out.push(LeftOut::because(name, "was empty, and has values now"));
                    self.changed.push(ChangedColumn { column: name.to_owned(), change: Change::CameAlive });
                }
                None => self.left_out.push(LeftOut::because(name, "is empty in both files")),
            },
        }
        Ok(())
    }
}

impl LeftOut {
    fn because(column: &str, why: impl Into<String>) -> Self {
        Self { column: column.to_owned(), why: why.into() }
    }
}

fn check_there(name: &str, file: &Path, known: &[String]) -> Result<(), CompareError> {
    if known.iter().any(|column| column == name) {
        return Ok(());
    }
    let (file, column, found) = (file.to_owned(), name.to_owned(), names_of(known.iter()));
    Err(CompareError::NoColumn { file, column, found })
}

/// Why a column is left out that the user did not name.
const NOT_ASKED_FOR: &str = "was not asked for";

impl ColumnChoice {
    /// Names of columns, as far as these are known: what is no name as a whole is several, with commas between them.
    pub(super) fn resolved<'a>(&self, known: impl Iterator<Item = &'a String> + Clone) -> Self {
        let names = |written: &[String]| -> Vec<String> {
            let is_known = |name: &str| known.clone().any(|known| known == name);
            let of_one = |text: &String| if is_known(text) { vec![text.clone()] } else { separated(text) };
            written.iter().flat_map(of_one).collect()
        };
        Self {
            only: names(&self.only),
            left_out: names(&self.left_out),
            numeric: names(&self.numeric),
            categorical: names(&self.categorical),
            prediction: self.prediction.clone(),
            scores: names(&self.scores),
        }
    }

    fn named(&self) -> impl Iterator<Item = &String> {
        self.wanted().chain(&self.left_out)
    }

    /// The columns that were named to be compared, and so must be in both files.
    fn wanted(&self) -> impl Iterator<Item = &String> {
        [&self.only, &self.numeric, &self.categorical, &self.scores].into_iter().flatten().chain(&self.prediction)
    }

    fn role(&self, name: &str) -> Role {
        match () {
            () if self.prediction.as_deref() == Some(name) => Role::Prediction,
            () if self.scores.iter().any(|score| score == name) => Role::Score,
            () => Role::Feature,
        }
    }

    /// What a column is compared as, or why it is not.
    fn kind(&self, column: &InferredColumn) -> Result<ColumnKind, &'static str> {
        let among = |names: &[String]| names.contains(&column.name);
        if among(&self.left_out) || !(self.only.is_empty() || among(&self.only)) {
            return Err(NOT_ASKED_FOR);
        }
        match column.kind {
            _ if among(&self.numeric) => Ok(ColumnKind::Numeric),
            _ if among(&self.categorical) => Ok(ColumnKind::Categorical),
            InferredKind::Numeric => Ok(ColumnKind::Numeric),
            InferredKind::Categorical => Ok(ColumnKind::Categorical),
            // A column that was named is compared, whatever it looks like.
            InferredKind::Identifier if self.wanted().any(|name| *name == column.name) => Ok(column.plain),
            InferredKind::Identifier => Err("looks like an identifier; --columns or --kind compares it"),
            InferredKind::Time(_) | InferredKind::Date => Err("looks like a time; --kind compares it"),
            InferredKind::Empty => Err("is empty"),
            InferredKind::Nested => Err("has no plain values"),
        }
    }
}

/// The names between commas, but for commas within quotes; a quote within quotes is written twice.
fn separated(text: &str) -> Vec<String> {
    let (mut names, mut name, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => name.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_can_be_named_alone_or_in_quotes() {
        let known = ["price, net", "region", "a \"b\", c"].map(str::to_owned);
        let resolved = |written: &str| {
            let choice = ColumnChoice { only: vec![written.to_owned()], ..ColumnChoice::default() };
            choice.resolved(known.iter()).only
        };
        assert_eq!(resolved("price, net"), ["price, net"]);
        assert_eq!(resolved("\"price, net\",region"), ["price, net", "region"]);
        assert_eq!(resolved("region , \"a \"\"b\"\", c\""), ["region", "a \"b\", c"]);
        assert_eq!(resolved("price,region"), ["price", "region"]);
    }
}
