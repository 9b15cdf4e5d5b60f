//! Two files as a user of another tool would see them: its test of each column, its thresholds, its word on the whole.
//!
//! Evidently 0.7, with its default preset: the test of a column goes by its rows and values, and there is drift where at
//! least half of the columns have it. Whole numbers of ten values or fewer are categories. Text of which more than half is
//! different is left out, because its test of text is not reproduced. What looks like an identifier is left out as
//! elsewhere, though Evidently would test it. A column whose kind is declared is taken for that.
//!
//! NannyML 0.13, with its univariate defaults: Jensen–Shannon's distance, held against the mean and three standard
//! deviations of the distances of the reference's chunks. The current file is one chunk; the reference is cut, in the order
//! of its rows, into chunks of as many rows, of which the last may be shorter. From fewer than two chunks no deviation is
//! learned: the threshold then is .1, NannyML's own of earlier versions. NannyML has no word on the whole; here there is
//! drift where a column alerts.
//!
//! The tests read every value, so one column of both files is in memory at a time, and no more than [`MOST_VALUES`] of each.
//!
//! Deliberately absent: budgets and minimum effects, which those tools do not have.

mod evidently;
mod nannyml;
mod values;

pub use values::MOST_VALUES;

use super::columns::{self, Columns};
use super::{ChangedColumn, ComparedFile, FilePair, LeftOut};
use anyhow::Result;
use detectors::parity::Finding;
use detectors::schema::{ColumnKind, ColumnSchema};
use detectors::statistics::NotComparable;
use serde::Serialize;
use values::Values;

/// The tool whose answers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParityTool {
    /// Evidently.
    Evidently,
    /// NannyML.
    Nannyml,
}

impl ParityTool {
    /// Every tool.
    pub const ALL: [Self; 2] = [Self::Evidently, Self::Nannyml];
    /// The share of drifted columns from which Evidently says that there is drift.
    const EVIDENTLYS_SHARE: f64 = 0.5;

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evidently => "evidently",
            Self::Nannyml => "nannyml",
        }
    }

    /// When the tool says that there is drift.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Evidently => "drift where at least half of the columns drifted",
            Self::Nannyml => "drift where a column alerts",
        }
    }

    fn is_drift(self, drifted: usize, of: usize) -> bool {
        match self {
            Self::Evidently => drifted as f64 >= Self::EVIDENTLYS_SHARE * of as f64,
            Self::Nannyml => drifted > 0,
        }
    }

    /// What the tool finds in one column, or why it does not test it; notes how many rows the files have.
    fn look_at(
        self,
        files: &FilePair,
        (mut schema, is_declared): (ColumnSchema, bool),
        rows: &mut (i64, i64),
    ) -> Result<Result<ParityColumn, String>> {
        let mut before = Values::read(&files.reference, &schema)?;
        if self == Self::Evidently && !is_declared {
            if before.is_text() {
                return Ok(Err("is text to Evidently, whose test of text is not reproduced".to_owned()));
            }
            if before.is_integer_of_few_values() {
                schema.kind = ColumnKind::Categorical;
                before = Values::read(&files.reference, &schema)?;
            }
        }
        let now = Values::read(&files.current, &schema)?;
        *rows = (before.rows(), now.rows());
        Ok(match self.test(before, now) {
            Ok((test, Finding { score, threshold, drifted })) => {
                Ok(ParityColumn { column: schema.name, kind: schema.kind, test, score, threshold, drifted })
            }
            Err(why) => Err(why.to_string()),
        })
    }

    /// The name of the tool's test, and what it finds.
    fn test(self, before: Values, now: Values) -> Result<(&'static str, Finding), NotComparable> {
        match self {
            Self::Evidently => evidently::test(before, now),
            Self::Nannyml => nannyml::test(before, now),
        }
    }
}

/// What the tool says of one column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParityColumn {
    /// The column.
    pub column: String,
    /// What it was compared as.
    pub kind: ColumnKind,
    /// The tool's name of its test.
    pub test: &'static str,
    /// A distance, or the p-value of a test.
    pub score: f64,
    /// What it is held against.
    pub threshold: f64,
    /// Whether the tool calls it drift.
    pub drifted: bool,
}

/// What the tool says of two files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParityComparison {
    /// The tool.
    pub tool: ParityTool,
    /// What is normal.
    pub reference: ComparedFile,
    /// What was held against it.
    pub current: ComparedFile,
    /// Whether there is drift, by the tool's rule.
    pub drifted: bool,
    /// The rule.
    pub rule: &'static str,
    /// How many columns drifted.
    pub drifted_columns: usize,
    /// The columns that were tested.
    pub columns: Vec<ParityColumn>,
    /// The columns that were not.
    pub left_out: Vec<LeftOut>,
    /// Columns that are gone, or were empty and are not any more; the tools do not judge those.
    pub changed: Vec<ChangedColumn>,
    /// What was guessed of the files, a sentence each.
    pub notes: Vec<String>,
}

/// Compares two files as the tool does.
///
/// # Errors
/// When a file cannot be read, lacks a column, has too many rows, or holds values that do not fit the column's kind.
pub fn compare(files: &FilePair, tool: ParityTool) -> Result<ParityComparison> {
    let Columns { compared: schemas, mut left_out, changed, notes, declared } = columns::columns(files)?;
    let mut tested = Vec::with_capacity(schemas.len());
    let mut rows = (0, 0);
    for schema in schemas {
        let column = schema.name.clone();
        let is_declared = declared.contains(&column);
        match tool.look_at(files, (schema, is_declared), &mut rows)? {
            Ok(found) => tested.push(found),
            Err(why) => left_out.push(LeftOut { column, why }),
        }
    }
    let drifted_columns = tested.iter().filter(|column| column.drifted).count();
    Ok(ParityComparison {
        tool,
        reference: ComparedFile { file: files.reference.name(), rows: rows.0 },
        current: ComparedFile { file: files.current.name(), rows: rows.1 },
        drifted: !tested.is_empty() && tool.is_drift(drifted_columns, tested.len()),
        rule: tool.rule(),
        drifted_columns,
        columns: tested,
        left_out,
        changed,
        notes,
    })
}

#[cfg(test)]
mod tests;
