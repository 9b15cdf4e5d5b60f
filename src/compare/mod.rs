//! `driftline compare`: whether the rows of one file are distributed as those of another.
//!
//! What a service does with windows of events, done once with two files: bins and categories are learned from a sample of
//! the reference, every row of both files is counted by the aggregate of the stream, and the panel judges the counts. Files
//! may be larger than memory.
//!
//! Deliberately absent: hysteresis, and thresholds from how the reference varies in time. A file has no windows; what is
//! learned is how far two samples of one distribution lie apart.

mod columns;
mod domain;
pub mod parity;

pub use columns::{Change, ChangedColumn, ColumnChoice, LeftOut};
pub use domain::{DomainFinding, DomainWeight, MOST_CLASSIFIED};

use crate::files::typed::{self, Wanted};
use crate::files::{Files, SourceError};
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use capture::learn::learn_layouts;
use capture::scan::{self, Batches, MOST_SAMPLED, RowSample};
use columns::Columns;
use datafusion::common::DataFusionError;
use detectors::layout::ColumnLayout;
use detectors::panel::{Judgement, Outcome, Panel, PanelPolicy};
use detectors::profile::Profile;
use detectors::schema::{ColumnKind, ColumnSchema};
use detectors::statistics::{Pair, Statistic};
use detectors::verdict::TestResult;
use domain::DomainLimits;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// Two files, and what is compared of them.
#[derive(Debug, Clone)]
pub struct FilePair {
    /// What shows what is normal.
    pub reference: Files,
    /// What is held against it.
    pub current: Files,
    /// Which columns are compared, and what they hold.
    pub columns: ColumnChoice,
}

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct CompareSpec {
    /// The files.
    pub files: FilePair,
    /// Only these tests, each for the columns that it is defined for; empty for those of the policy.
    pub tests: Vec<Statistic>,
    /// The tests and their thresholds.
    pub policy: PanelPolicy,
    /// The share of comparisons without drift that may find some. Where a domain classifier is asked too, each of the two
    /// has one half.
    pub budget: f64,
    /// Whether a classifier is to tell the rows of the files apart.
    pub domain_classifier: bool,
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
    /// A file without rows.
    #[error("{file} has no rows: there is nothing to compare with")]
    NoRows {
        /// The file.
        file: PathBuf,
    },
    /// A test that was asked for and is not defined for any of the columns.
    #[error("`{test}` is defined for {kind} columns only, and none is compared; those are {columns}")]
    NoColumnForTest {
        /// The test.
        test: &'static str,
        /// The kind that it is defined for.
        kind: &'static str,
        /// The columns compared.
        columns: String,
    },
    /// More values than are held at once.
    #[error(
        "{file}, column `{column}`: --parity holds all values of a column, and takes {most} at most: compare a sample of the rows, or leave --parity out, without which files may be of any size"
    )]
    TooManyValues {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// How many there may be.
        most: usize,
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

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What is normal.
    pub reference: ComparedFile,
    /// What was held against it.
    pub current: ComparedFile,
    /// Whether any column is distributed otherwise.
    pub drift: Judgement,
    /// Of each column and drift test the number that textbooks give under its name: χ², t, U, the distance in the column's
    /// own unit.
    pub statistics: BTreeMap<String, BTreeMap<&'static str, f64>>,
    /// Whether there are more odd values.
    pub data_quality: Judgement,
    /// Whether rows of the files can be told apart, where that was asked.
    pub domain_classifier: Option<DomainFinding>,
    /// The columns that were compared.
    pub columns: Vec<ColumnSchema>,
    /// The columns that were not.
    pub left_out: Vec<LeftOut>,
    /// Columns that are gone, or were empty and are not any more.
    pub changed: Vec<ChangedColumn>,
    /// What was guessed of the files, a sentence each.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether a test exceeded its threshold, a share of odd values its limit, or the domain classifier both of its own, or a
    /// column is gone or has come alive.
    pub fn found_something(&self) -> bool {
        if !self.changed.is_empty() {
            return true;
        }
        let told_apart = self.domain_classifier.as_ref().is_some_and(|found| found.exceeded);
        told_apart || [&self.drift, &self.data_quality].iter().any(|judgement| judgement.outcome == Outcome::Exceeded)
    }

    /// Why there is no judgement; `None` where there is one.
    pub fn inconclusive(&self, least_rows: i64) -> Option<String> {
        let short = [&self.reference, &self.current].into_iter().find(|compared| compared.rows < least_rows);
        match (&self.drift.outcome, short) {
            (Outcome::Inconclusive(_), Some(ComparedFile { file, rows })) => {
                Some(format!("{} has {rows} of the {least_rows} rows that a judgement needs", file.display()))
            }
            (Outcome::Inconclusive(_), None) => Some(self.drift.summary.clone()),
            _ if self.drift.tests.is_empty() => {
                Some("none of the tests is defined for the values of these columns".to_owned())
            }
            _ => None,
        }
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
    let files = &spec.files;
    let Columns { compared: columns, left_out, changed, notes, declared } = columns::columns(files)?;
    let policy = spec.policy(&columns)?;
    let table = Table::new(&columns, (files.reference.name(), declared));
    let layouts = Arc::new(learn_layouts(&columns, &table.sample(&files.reference, MOST_SAMPLED)?));
    let reference = table.profile(&files.reference, &layouts)?;
    let panel = Panel::of_batch(&policy, spec.rate(), &columns, (&layouts, &reference))?;
    let current = table.profile(&files.current, &layouts)?;
    Ok(Comparison {
        reference: ComparedFile { file: files.reference.name(), rows: reference.rows() },
        current: ComparedFile { file: files.current.name(), rows: current.rows() },
        drift: panel.judge_drift(&current),
        statistics: statistics(&columns, &policy, (&layouts, &reference, &current)),
        data_quality: panel.judge_data_quality(&current),
        domain_classifier: spec.told_apart(&columns, &table)?,
        columns,
        left_out,
        changed,
        notes,
    })
}

impl CompareSpec {
    /// The share of comparisons without drift in which the tests may find some.
    fn rate(&self) -> f64 {
        if self.domain_classifier { self.budget / 2.0 } else { self.budget }
    }

    /// The policy with the tests that were asked for.
    fn policy(&self, columns: &[ColumnSchema]) -> Result<PanelPolicy, CompareError> {
        let mut policy = self.policy.clone();
        if self.tests.is_empty() {
            return Ok(policy);
        }
        let is_of_use = |test: &&Statistic| columns.iter().any(|column| test.applies_to(column.kind));
        if let Some(test) = self.tests.iter().find(|test| !is_of_use(test)) {
            let kind = if test.applies_to(ColumnKind::Numeric) { "numeric" } else { "categorical" };
            let columns = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CompareError::NoColumnForTest { test: test.name(), kind, columns });
        }
        let of = |kind| self.tests.iter().copied().filter(|test| test.applies_to(kind)).collect();
        (policy.numeric, policy.categorical) = (of(ColumnKind::Numeric), of(ColumnKind::Categorical));
        Ok(policy)
    }

    fn told_apart(&self, columns: &[ColumnSchema], table: &Table) -> Result<Option<DomainFinding>> {
        if !self.domain_classifier {
            return Ok(None);
        }
        // An AUC is a Mann–Whitney statistic: what is small for one is so for the other.
        let auc = (1.0 + self.policy.min_effect(Statistic::MannWhitney)) / 2.0;
        let limits = DomainLimits { p_value: self.rate(), auc };
        let sample = |file: &Files| table.sample(file, MOST_CLASSIFIED);
        let (reference, current) = (sample(&self.files.reference)?, sample(&self.files.current)?);
        let found = DomainFinding::of(columns, (&reference, &current), limits);
        Ok(Some(found.context("the domain classifier cannot judge")?))
    }
}

/// The textbooks' numbers of every test that is defined.
fn statistics(
    columns: &[ColumnSchema],
    policy: &PanelPolicy,
    (layouts, reference, current): (&[ColumnLayout], &Profile, &Profile),
) -> BTreeMap<String, BTreeMap<&'static str, f64>> {
    let profiles = reference.columns().iter().zip(current.columns());
    let mut numbers = BTreeMap::new();
    for ((schema, layout), (reference, current)) in columns.iter().zip(layouts).zip(profiles) {
        let fresh = reference.fresh(layout, reference);
        let Ok(pair) = Pair::of_profiles(layout, fresh.as_ref().unwrap_or(reference), current) else { continue };
        let number = |test: &Statistic| Some((test.name(), test.detector().compare(&pair).ok()?.statistic));
        numbers.insert(schema.name.clone(), policy.statistics(schema.kind).iter().filter_map(number).collect());
    }
    numbers
}

/// How both files are read.
struct Table {
    wanted: Arc<Vec<Wanted>>,
    schema: SchemaRef,
    reference: PathBuf,
    /// Columns of which the reference may hold nothing that is not of their kind: that was said of them.
    declared: Arc<Vec<String>>,
}

impl Table {
    fn new(columns: &[ColumnSchema], (reference, declared): (PathBuf, Vec<String>)) -> Self {
        let wanted =
            |column: &ColumnSchema| Wanted { from: column.name.clone(), name: column.name.clone(), kind: column.kind };
        let field = |column: &ColumnSchema| Field::new(&column.name, codec::columns::arrow_type(column.kind), true);
        Self {
            wanted: Arc::new(columns.iter().map(wanted).collect()),
            schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())),
            reference,
            declared: Arc::new(declared),
        }
    }

    /// The columns, and behind them which values are not of their kind: in the current file they are what is to be judged.
    fn batches(&self, file: &Files) -> Result<impl Iterator<Item = Result<RecordBatch, SourceError>> + use<>> {
        let (wanted, path) = (Arc::clone(&self.wanted), file.name());
        let names: Vec<&str> = self.wanted.iter().map(|column| column.name.as_str()).collect();
        let strict = if path == self.reference { Arc::clone(&self.declared) } else { Arc::default() };
        Ok(file.open_columns(&names)?.map(move |rows| typed::judged_columns(&path, &rows?, &wanted, &strict)))
    }

    fn sample(&self, file: &Files, most: usize) -> Result<RecordBatch> {
        let mut sample = RowSample::of_at_most(most);
        let columns: Vec<_> = (0..self.schema.fields().len()).collect();
        for batch in self.batches(file)? {
            sample.observe(&batch?.project(&columns)?)?;
        }
        Ok(sample.finish(&self.schema)?)
    }

    fn profile(&self, file: &Files, layouts: &Arc<Vec<ColumnLayout>>) -> Result<Profile> {
        let batches: Batches = Box::new(self.batches(file)?.map(|batch| Ok(batch?)));
        let profiled = scan::profile(Arc::clone(layouts), &self.schema, batches);
        profiled.map_err(|error| match error {
            // What the file's own reader said needs no introduction.
            DataFusionError::External(source) => anyhow::Error::from_boxed(source),
            other => anyhow::Error::new(other).context(format!("counting the rows of {}", file.name().display())),
        })
    }
}

#[cfg(test)]
mod tests;
