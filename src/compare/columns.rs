//! Which columns of two files are compared, and as what.
//!
//! What is said of a column goes before what it looks like in the reference. Every column that is not compared is told of,
//! with the reason; one that was named and is not there is an error.

use super::{CompareError, FilePair};
use crate::source::{self, InferredColumn, InferredKind, infer};
use anyhow::Result;
use detectors::schema::{ColumnKind, ColumnSchema, Role};
use serde::Serialize;
use std::path::Path;

/// Rows from which the columns' kinds are inferred.
const ROWS_TO_INFER_FROM: u64 = 10_000;

/// What is said of the columns; all else is inferred from the reference.
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

/// The columns to compare, and those that are left out.
pub(super) fn columns(files: &FilePair) -> Result<(Vec<ColumnSchema>, Vec<LeftOut>)> {
    let (reference, choice) = (&files.reference, &files.columns);
    let inferred = infer(reference, ROWS_TO_INFER_FROM)?;
    let before: Vec<String> = inferred.columns.iter().map(|column| column.name.clone()).collect();
    let now: Vec<String> =
        source::open(&files.current)?.schema().fields().iter().map(|field| field.name().clone()).collect();
    choice.named().try_for_each(|name| check_there(name, reference, &before))?;
    choice.wanted().try_for_each(|name| check_there(name, &files.current, &now))?;
    if inferred.rows == 0 {
        return Err(CompareError::NoRows { file: reference.clone() }.into());
    }
    let (mut compared, mut left_out) = (Vec::new(), Vec::new());
    for column in inferred.columns {
        match choice.kind(&column) {
            Ok(_) if !now.contains(&column.name) => left_out.push(LeftOut::absent(column.name, &files.current)),
            Ok(kind) => compared.push(ColumnSchema { role: choice.role(&column.name), name: column.name, kind }),
            Err(why) => left_out.push(LeftOut { column: column.name, why: why.to_owned() }),
        }
    }
    left_out.extend(now.into_iter().filter(|name| !before.contains(name)).map(|name| LeftOut::absent(name, reference)));
    if compared.is_empty() {
        let left_out: Vec<_> = left_out.iter().map(|column| format!("`{}` {}", column.column, column.why)).collect();
        return Err(CompareError::NoColumns { file: reference.clone(), left_out: left_out.join(", ") }.into());
    }
    Ok((compared, left_out))
}

impl LeftOut {
    fn absent(column: String, file: &Path) -> Self {
        Self { column, why: format!("is not in {}", file.display()) }
    }
}

fn check_there(name: &str, file: &Path, known: &[String]) -> Result<(), CompareError> {
    if known.iter().any(|column| column == name) {
        return Ok(());
    }
    Err(CompareError::NoColumn { file: file.to_owned(), column: name.to_owned(), found: known.join(", ") })
}

impl ColumnChoice {
    /// Whether the column's kind was said.
    pub(super) fn is_declared(&self, name: &str) -> bool {
        self.numeric.iter().chain(&self.categorical).any(|declared| declared == name)
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
            return Err("was not asked for");
        }
        match column.kind {
            _ if among(&self.numeric) => Ok(ColumnKind::Numeric),
            _ if among(&self.categorical) => Ok(ColumnKind::Categorical),
            InferredKind::Numeric => Ok(ColumnKind::Numeric),
            InferredKind::Categorical => Ok(ColumnKind::Categorical),
            InferredKind::Identifier => Err("looks like an identifier"),
            InferredKind::Time(_) | InferredKind::Date => Err("looks like a time"),
            InferredKind::Empty => Err("has no plain values"),
        }
    }
}
