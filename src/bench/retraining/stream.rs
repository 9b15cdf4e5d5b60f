//! A stream with known labels: the rows of a file as features and labels, and where its concept changes.

use crate::cli::BenchLoopArgs;
use crate::files::typed::{self, Wanted};
use crate::files::{self, Files, InferredKind, RowBatch};
use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null, take_record_batch};
use detectors::schema::{ColumnKind, ModelSchema, Task};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Columns that are taken for the target where none is named, before the last one.
const TARGETS: [&str; 4] = ["y", "class", "target", "label"];
/// The name that the target gets.
pub(super) const TARGET: &str = "label";
/// A target of whole numbers with no more values than this is a class.
const MOST_CLASSES: usize = 20;
/// A column of text with more values than this is left out.
const MOST_CATEGORIES: usize = 1_000;
/// The file beside the streams that names the rows of their changes.
const TRUTH: &str = "ground_truth.json";

/// A stream.
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) schema: ModelSchema,
    /// Features by name, and the target.
    pub(super) rows: RecordBatch,
    /// Rows at which the concept changes, as far as that is known.
    pub(super) changes: Vec<usize>,
}

/// The files below these paths, in the order of their names.
pub(super) fn find_streams(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
            let mut inside = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            inside.sort();
            inside.retain(|path| path.is_dir() || is_stream(path));
            found.extend(find_streams(&inside)?);
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn is_stream(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    [".csv", ".csv.gz", ".parquet"].iter().any(|ending| name.ends_with(ending))
}

impl Stream {
    /// The stream of a file and, where shuffled controls are wanted, one for each seed instead.
    pub(super) fn read(file: &Path, args: &BenchLoopArgs) -> Result<Vec<Self>> {
        let stream = Self::of_file(file, args)?;
        if args.shuffle.is_empty() {
            return Ok(vec![stream]);
        }
        args.shuffle.iter().map(|seed| stream.shuffled(*seed)).collect()
    }

    fn of_file(file: &Path, args: &BenchLoopArgs) -> Result<Self> {
        let inferred = files::infer(&Files::from(file), u64::MAX)?;
        let names: Vec<&str> = inferred.columns.iter().map(|column| column.name.as_str()).collect();
        let target = target_of(&names, args)?;
        let (mut wanted, mut task) = (Vec::new(), Task::Regression);
        for column in &inferred.columns {
            if column.name == target {
                task = task_of(column.kind, &column.examples, column.distinct);
                continue;
            }
            let kind = match column.kind {
                InferredKind::Numeric => ColumnKind::Numeric,
                InferredKind::Identifier if column.examples.iter().all(|text| text.parse::<f64>().is_ok()) => {
                    ColumnKind::Numeric
                }
                InferredKind::Categorical if column.distinct <= MOST_CATEGORIES => ColumnKind::Categorical,
                _ => continue,
            };
            if !args.exclude.contains(&column.name) && column.nulls < inferred.rows {
                wanted.push(Wanted { from: column.name.clone(), name: column.name.clone(), kind });
            }
        }
        ensure!(!wanted.is_empty(), "no column but `{target}` can be learned from");
        let features = wanted.iter().map(|column| (column.name.clone(), column.kind)).collect::<Vec<_>>();
        let schema = ModelSchema::new(features, task);
        wanted.push(Wanted { from: target, name: TARGET.to_owned(), kind: schema.task.outcome_kind() });
        let batches = files::open(file)?.map(|batch| Ok(typed::columns(file, &batch?, &wanted)?));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let first = batches.first().context("the file has no rows")?;
        let rows = concat_batches(&first.schema(), &batches)?;
        let labels = rows.column_by_name(TARGET).context("the target is gone")?;
        let rows = filter_record_batch(&rows, &is_not_null(labels)?)?;
        ensure!(rows.num_rows() > args.first + args.label_delay_rows, "{} labelled rows are too few", rows.num_rows());
        let name = stream_name(file);
        let changes = changes_of(file, &name, args)?;
        Ok(Self { name, schema, rows, changes })
    }

    /// The same rows in another order: a control in which nothing changes.
    fn shuffled(&self, seed: u64) -> Result<Self> {
        let mut order: Vec<u64> = (0..self.rows.num_rows() as u64).collect();
        order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        let rows = take_record_batch(&self.rows, &UInt64Array::from(order))?;
        let name = format!("{} shuffled {seed}", self.name);
        Ok(Self { name, schema: self.schema.clone(), rows, changes: Vec::new() })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Rows `from..until`.
    pub(super) fn between(&self, from: usize, until: usize) -> RecordBatch {
        let until = until.min(self.len());
        self.rows.slice(from.min(until), until - from.min(until))
    }

    /// The rows from `from` on, as those of a file.
    pub(super) fn batches(&self, from: usize, until: usize) -> impl Iterator<Item = RowBatch> + '_ {
        let starts = (from..until).step_by(4_096);
        starts.map(move |start| RowBatch {
            first_row: start as u64,
            batch: self.between(start, until.min(start + 4_096)),
        })
    }

    /// The loss of each answer: whether a class is wrong, or by how much a number is. A row without an answer is wrong, or as
    /// far off as the label is from zero.
    pub(super) fn losses(&self, from: usize, answers: &ArrayRef) -> Vec<f64> {
        let Some(labels) = self.rows.column_by_name(TARGET) else { return Vec::new() };
        let labels = labels.slice(from, answers.len());
        if let (Some(labels), Some(answers)) = (labels.as_string_opt::<i32>(), answers.as_string_opt::<i32>()) {
            return labels.iter().zip(answers).map(|(label, answer)| f64::from(u8::from(label != answer))).collect();
        }
        let number = |column: &ArrayRef, row: usize| {
            let column = column.as_primitive_opt::<arrow::datatypes::Float64Type>()?;
            (!column.is_null(row)).then(|| column.value(row))
        };
        let loss = |row| {
            let label = number(&labels, row).unwrap_or_default();
            (number(answers, row).unwrap_or_default() - label).abs()
        };
        (0..labels.len()).map(loss).collect()
    }
}

fn target_of(names: &[&str], args: &BenchLoopArgs) -> Result<String> {
    if let Some(target) = args.target.iter().find(|target| names.contains(&target.as_str())) {
        return Ok(target.clone());
    }
    if !args.target.is_empty() {
        bail!("none of the columns {} is there: they are {}", args.target.join(", "), names.join(", "));
    }
    let usual = TARGETS.iter().find(|name| names.contains(name)).or(names.last());
    Ok((*usual.context("the file has no columns")?).to_owned())
}

fn task_of(kind: InferredKind, examples: &[String], distinct: usize) -> Task {
    let is_whole = |text: &String| text.parse::<f64>().is_ok_and(|number| number.fract() == 0.0);
    let is_number = matches!(kind, InferredKind::Numeric | InferredKind::Identifier);
    if is_number && (distinct > MOST_CLASSES || !examples.iter().all(is_whole)) {
        return Task::Regression;
    }
    match examples {
        [negative, positive] => Task::Binary { positive: positive.clone(), negative: negative.clone() },
        classes => Task::Multiclass { classes: classes.to_vec() },
    }
}

fn stream_name(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// The rows of a stream's changes: those given, or the lists `changes` or `drift_points` under its name in the truth.
fn changes_of(file: &Path, name: &str, args: &BenchLoopArgs) -> Result<Vec<usize>> {
    if !args.change.is_empty() {
        return Ok(args.change.iter().copied().collect::<BTreeSet<_>>().into_iter().collect());
    }
    let beside = file.with_file_name(TRUTH);
    let Some(truth) = args.truth.clone().or_else(|| beside.exists().then_some(beside)) else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(&truth).with_context(|| format!("reading {}", truth.display()))?;
    let truth: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", truth.display()))?;
    let of_stream = truth.get(name).unwrap_or(&Value::Null);
    let rows = ["changes", "drift_points"].iter().find_map(|key| of_stream.get(key)?.as_array());
    Ok(rows.into_iter().flatten().filter_map(|row| usize::try_from(row.as_u64()?).ok()).collect())
}
