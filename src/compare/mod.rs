//! `driftline compare`: whether the rows of one file are distributed as those of another.
//!
//! What a service does with windows of events, done once with two files: bins and categories are learned from a sample of
//! the reference, every row of both files is counted by the aggregate of the stream, and the panel judges the counts. Files
//! may be larger than memory.
//!
//! Deliberately absent: hysteresis, and thresholds from how the reference varies in time. A file has no windows; what is
//! learned is how far two samples of one distribution lie apart.

use crate::source::typed::{self, Wanted};
use crate::source::{self, InferredColumn, InferredKind, SourceError, infer};
use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use detectors::layout::ColumnLayout;
use detectors::panel::{Judgement, Outcome, Panel, PanelPolicy};
use detectors::profile::Profile;
use detectors::schema::{ColumnKind, ColumnSchema, Role};
use detectors::verdict::TestResult;
use ingest::learn::learn_layouts;
use ingest::scan::{self, Batches, RowSample};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Rows from which the columns' kinds are inferred.
const ROWS_TO_INFER_FROM: u64 = 10_000;

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct CompareSpec {
    /// The file that shows what is normal.
    pub reference: PathBuf,
    /// The file that is held against it.
    pub current: PathBuf,
    /// Which columns are compared, and what they hold.
    pub columns: ColumnChoice,
    /// The tests and their thresholds.
    pub policy: PanelPolicy,
    /// The share of comparisons without drift that may find some.
    pub budget: f64,
}

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

/// Why two files cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A column that was named is not there.
    #[error("{file} has no column `{column}`; it has {found}")]
    NoColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// The columns that it has.
        found: String,
    },
    /// No column is left.
    #[error("{file} has no column to compare ({left_out}): name some with --columns")]
    NoColumns {
        /// The file.
        file: PathBuf,
        /// Why each was left out.
        left_out: String,
    },
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedFile {
    /// Its path.
    pub file: PathBuf,
    /// Its rows.
    pub rows: i64,
}

/// A column that was not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub column: String,
    /// Why.
    pub why: String,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What is normal.
    pub reference: ComparedFile,
    /// What was held against it.
    pub current: ComparedFile,
    /// Whether any column is distributed otherwise.
    pub drift: Judgement,
    /// Whether there are more odd values.
    pub data_quality: Judgement,
    /// The columns that were compared.
    pub columns: Vec<ColumnSchema>,
    /// The columns that were not.
    pub left_out: Vec<LeftOut>,
}

impl Comparison {
    /// Whether a test exceeded its threshold, or a share of odd values its limit.
    pub fn found_something(&self) -> bool {
        [&self.drift, &self.data_quality].iter().any(|judgement| judgement.outcome == Outcome::Exceeded)
    }

    /// Whether there were enough rows to judge by.
    pub fn is_conclusive(&self) -> bool {
        !matches!(self.drift.outcome, Outcome::Inconclusive(_))
    }

    /// The drift tests, those furthest beyond their threshold first.
    pub fn tests_by_excess(&self) -> Vec<&TestResult> {
        let beyond = |test: &TestResult| test.score / test.threshold.max(f64::MIN_POSITIVE);
        let mut tests: Vec<_> = self.drift.tests.iter().collect();
        tests.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)));
        tests
    }
}

/// Compares two files.
///
/// # Errors
/// When a file cannot be read, lacks a column, or holds values that do not fit the column's kind.
pub fn compare(spec: &CompareSpec) -> Result<Comparison> {
    let (columns, left_out) = columns(spec)?;
    let table = Table::new(&columns);
    let layouts = Arc::new(table.learn(&spec.reference, &columns)?);
    let reference = table.profile(&spec.reference, &layouts)?;
    let panel = Panel::of_batch(&spec.policy, spec.budget, &columns, (&layouts, &reference))?;
    let current = table.profile(&spec.current, &layouts)?;
    Ok(Comparison {
        reference: ComparedFile { file: spec.reference.clone(), rows: reference.rows() },
        current: ComparedFile { file: spec.current.clone(), rows: current.rows() },
        drift: panel.judge_drift(&current),
        data_quality: panel.judge_data_quality(&current),
        columns,
        left_out,
    })
}

/// How both files are read.
struct Table {
    wanted: Arc<Vec<Wanted>>,
    schema: SchemaRef,
}

impl Table {
    fn new(columns: &[ColumnSchema]) -> Self {
        let wanted =
            |column: &ColumnSchema| Wanted { from: column.name.clone(), name: column.name.clone(), kind: column.kind };
        let field = |column: &ColumnSchema| Field::new(&column.name, ingest::columns::arrow_type(column.kind), true);
        Self {
            wanted: Arc::new(columns.iter().map(wanted).collect()),
            schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())),
        }
    }

    fn batches(&self, file: &Path) -> Result<impl Iterator<Item = Result<RecordBatch, SourceError>> + use<>> {
        let (wanted, path) = (Arc::clone(&self.wanted), file.to_owned());
        Ok(source::open(file)?.map(move |rows| typed::columns(&path, &rows?, &wanted)))
    }

    fn learn(&self, file: &Path, columns: &[ColumnSchema]) -> Result<Vec<ColumnLayout>> {
        let mut sample = RowSample::new();
        for batch in self.batches(file)? {
            sample.observe(&batch?)?;
        }
        Ok(learn_layouts(columns, &sample.finish(&self.schema)?))
    }

    fn profile(&self, file: &Path, layouts: &Arc<Vec<ColumnLayout>>) -> Result<Profile> {
        let batches: Batches = Box::new(self.batches(file)?.map(|batch| Ok(batch?)));
        let profiled = scan::profile(Arc::clone(layouts), &self.schema, batches);
        profiled.map_err(|error| match error {
            // What the file's own reader said needs no introduction.
            DataFusionError::External(source) => anyhow::Error::from_boxed(source),
            other => anyhow::Error::new(other).context(format!("counting the rows of {}", file.display())),
        })
    }
}

/// The columns to compare, and those that are left out.
fn columns(spec: &CompareSpec) -> Result<(Vec<ColumnSchema>, Vec<LeftOut>)> {
    let (file, choice) = (&spec.reference, &spec.columns);
    let current = source::open(&spec.current)?;
    let in_current = |name: &str| current.schema().field_with_name(name).is_ok() || choice.named().any(|it| it == name);
    let inferred = infer(file, ROWS_TO_INFER_FROM)?.columns;
    let known: BTreeSet<&str> = inferred.iter().map(|column| column.name.as_str()).collect();
    if let Some(missing) = choice.named().find(|name| !known.contains(name.as_str())) {
        let found = inferred.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CompareError::NoColumn { file: file.to_owned(), column: missing.clone(), found }.into());
    }
    let (mut compared, mut left_out) = (Vec::new(), Vec::new());
    for column in inferred {
        match choice.kind(&column) {
            Ok(_) if !in_current(&column.name) => {
                let why = format!("is not in {}", spec.current.display());
                left_out.push(LeftOut { column: column.name, why });
            }
            Ok(kind) => compared.push(ColumnSchema { role: choice.role(&column.name), name: column.name, kind }),
            Err(why) => left_out.push(LeftOut { column: column.name, why: why.to_owned() }),
        }
    }
    if compared.is_empty() {
        let left_out: Vec<_> = left_out.iter().map(|column| format!("`{}` {}", column.column, column.why)).collect();
        return Err(CompareError::NoColumns { file: file.to_owned(), left_out: left_out.join(", ") }.into());
    }
    Ok((compared, left_out))
}

impl ColumnChoice {
    fn named(&self) -> impl Iterator<Item = &String> {
        let lists = [&self.only, &self.left_out, &self.numeric, &self.categorical, &self.scores];
        lists.into_iter().flatten().chain(&self.prediction)
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

#[cfg(test)]
mod tests;
