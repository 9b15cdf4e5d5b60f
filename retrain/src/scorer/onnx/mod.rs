//! ONNX graphs, run by ONNX Runtime.
//!
//! `graph` reads the file and `metadata` what it says of itself, `inputs` fills its tensors, this file asks it. Nothing here
//! happens in the process that monitors: [`OnnxRuntime`] starts a child of its own for each version, which loads the library
//! (`library` tells where it is found), reads the artifact and answers ([`serve`]) within limits of memory and time.
//!
//! # What a graph may look like
//! - **Inputs**: one tensor `[N, features]` in the schema's order; or one input `[N, 1]` or `[N]` for each feature, of the
//!   feature's name; or as the metadata entry `driftline.inputs` says. float32, float64, int32, int64, bool and string are
//!   filled as `inputs` tells. A first dimension of fixed length is kept to: rows are asked so many at a time.
//! - **Output of a classification**: the one called `probabilities`, a map of classes (ZipMap), or else the only one of floats;
//!   `[N, classes]`, or `[N, 1]` or `[N]` with the score of the positive class. A `label` beside it is not looked at. Classes
//!   stand in the order of `driftline.classes`, else of the map's or the classifier operator's own labels (numbers from 0 on
//!   that are none of the schema's count its classes in the order of their names), else of the schema. Scores are
//!   probabilities unless `driftline.scores` says `logits`.
//! - **Output of a regression**: the one called `prediction`, `variable` or `predictions`, or else the only one of floats.
//! - **Operators**: those of the ONNX Runtime that is found; 1.17 is the oldest that is taken.
//!
//! A row that makes the graph fail by itself, as a category may that an encoder does not know, is answered with null.

mod correction;
mod graph;
mod inputs;
mod library;
mod metadata;
mod runtime;
mod serve;

pub use correction::append_correction;
pub use library::Library;
pub use metadata::CLASSES_KEY;
pub use runtime::{ENGINE_COMMAND, OnnxLimits, OnnxRuntime};
#[cfg(test)]
pub(crate) use serve::open;
pub use serve::{EngineArguments, serve};

use super::{Scorer, ScoringError};
use crate::answers;
use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, nullif, take_record_batch};
use detectors::schema::{ModelSchema, Task};
use graph::Graph;
use inputs::{Inputs, Tensors};
use metadata::Scores;
use ndarray::{Array2, Axis};
use ort::environment::Environment;
use ort::session::Session;
use prost::Message;

/// Rows that a graph may fail over, one by one, before it has answered any.
const MOST_FAILING_ROWS: usize = 16;

/// A loaded graph.
#[derive(Debug)]
pub struct OnnxScorer {
    session: Session,
    inputs: Inputs,
    batch: Option<usize>,
    task: Task,
    scores: Scores,
    /// For each class of the schema, its column in the graph's output.
    class_columns: Vec<usize>,
}

/// How far a batch has been asked row by row.
#[derive(Debug, Default)]
struct Failing {
    rows: usize,
    any_answered: bool,
}

impl OnnxScorer {
    /// Loads an artifact and holds it against the schema.
    ///
    /// # Errors
    /// The bytes are not ONNX, inputs or outputs do not fit the schema, or the engine refuses the graph.
    pub fn load(engine: &Environment, artifact: &[u8], schema: &ModelSchema) -> Result<Self, ScoringError> {
        let graph = Graph::read(artifact, schema)?;
        let inputs = Inputs::of(&graph, schema)?;
        let loaded = Session::builder(engine)
            .and_then(|builder| Ok(builder.with_intra_threads(1)?.with_inter_threads(1)?))
            .and_then(|mut builder| builder.commit_from_memory(&graph.model.encode_to_vec()));
        let session = loaded.map_err(|error| failed("loaded", &error))?;
        let Graph { batch, class_columns, scores, .. } = graph;
        Ok(Self { session, inputs, batch, task: schema.task.clone(), scores, class_columns })
    }

    /// The answers to rows that may be too many at once for the graph.
    fn ask_in_turn(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let at_once = self.batch.unwrap_or(rows.num_rows()).max(1);
        let mut answers = Vec::new();
        for from in (0..rows.num_rows()).step_by(at_once) {
            let some = rows.slice(from, at_once.min(rows.num_rows() - from));
            let asked = self.filled_up(&some)?;
            let found = self.ask_or_halve(&asked, &mut Failing::default())?;
            answers.push(found.slice(0, some.num_rows()));
        }
        let schema = answers::answer_schema(&self.task);
        concat_batches(&schema, &answers).map_err(|error| answers::AnswerError::from(error).into())
    }

    /// As many rows as a graph of fixed length takes: the last one stands for those that are not there.
    fn filled_up(&self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let Some(batch) = self.batch.filter(|batch| *batch > rows.num_rows()) else { return Ok(rows.clone()) };
        let last = rows.num_rows().saturating_sub(1);
        let places = UInt64Array::from_iter_values((0..batch).map(|place| place.min(last) as u64));
        take_record_batch(rows, &places).map_err(|error| answers::AnswerError::from(error).into())
    }

    /// Asks; where the graph fails, each half by itself, down to the rows that it fails over, which have no answer.
    fn ask_or_halve(&mut self, rows: &RecordBatch, failing: &mut Failing) -> Result<RecordBatch, ScoringError> {
        let error = match self.ask(rows) {
            Ok(answers) => {
                failing.any_answered = true;
                return Ok(answers);
            }
            Err(error) => error,
        };
        if rows.num_rows() <= 1 || self.batch.is_some() {
            failing.rows += 1;
            let is_hopeless = !failing.any_answered && failing.rows >= MOST_FAILING_ROWS.min(rows.num_rows());
            if is_hopeless || self.batch.is_some() {
                return Err(error);
            }
            tracing::debug!(%error, "a row has no answer: the graph fails over it");
            return Ok(self.no_answers(rows.num_rows())?);
        }
        let half = rows.num_rows() / 2;
        let first = self.ask_or_halve(&rows.slice(0, half), failing)?;
        let second = self.ask_or_halve(&rows.slice(half, rows.num_rows() - half), failing)?;
        let answers = concat_batches(&first.schema(), [&first, &second]);
        answers.map_err(|error| answers::AnswerError::from(error).into())
    }

    fn no_answers(&self, rows: usize) -> Result<RecordBatch, answers::AnswerError> {
        let schema = answers::answer_schema(&self.task);
        let columns = schema.fields().iter().map(|field| arrow::array::new_null_array(field.data_type(), rows));
        let columns = columns.collect();
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    fn ask(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let Tensors { values, unanswerable } = self.inputs.fill(rows)?;
        let outputs = self.run(values, rows.num_rows())?;
        let answers = match self.task {
            Task::Regression => self.numbers(&outputs)?,
            _ => self.probabilities(outputs)?,
        };
        if !unanswerable.contains(&true) {
            return Ok(answers);
        }
        let unanswerable = BooleanArray::from(unanswerable);
        let columns = answers.columns().iter().map(|column| nullif(column, &unanswerable));
        let columns = columns.collect::<Result<_, _>>().map_err(answers::AnswerError::from)?;
        Ok(RecordBatch::try_new(answers.schema(), columns).map_err(answers::AnswerError::from)?)
    }

    fn run(
        &mut self,
        values: Vec<(std::borrow::Cow<'static, str>, ort::session::SessionInputValue<'static>)>,
        rows: usize,
    ) -> Result<Array2<f64>, ScoringError> {
        let outputs = self.session.run(values).map_err(|error| failed("run", &error))?;
        let output = outputs.values().next().ok_or_else(|| outputs_are("the graph gave no output".to_owned()))?;
        if let Ok((shape, numbers)) = output.try_extract_tensor::<f32>() {
            return rows_by_columns(shape, numbers.iter().map(|number| f64::from(*number)).collect(), rows);
        }
        let (shape, numbers) = output.try_extract_tensor::<f64>().map_err(|error| failed("run", &error))?;
        rows_by_columns(shape, numbers.to_vec(), rows)
    }

    fn numbers(&self, outputs: &Array2<f64>) -> Result<RecordBatch, ScoringError> {
        if outputs.ncols() != 1 {
            return Err(outputs_are(format!("{} numbers for each row, one is expected", outputs.ncols())));
        }
        Ok(answers::from_numbers(outputs.iter().copied())?)
    }

    fn probabilities(&self, outputs: Array2<f64>) -> Result<RecordBatch, ScoringError> {
        let is_one = outputs.ncols() == 1 && matches!(self.task, Task::Binary { .. });
        let outputs = match self.scores {
            Scores::Probabilities => outputs,
            Scores::Logits if is_one => outputs.mapv(|logit| 1.0 / (1.0 + (-logit).exp())),
            Scores::Logits => crate::linear::softmax(outputs),
        };
        if is_one {
            return Ok(answers::from_probabilities(&self.task, &both_classes(&outputs))?);
        }
        let (columns, classes) = (outputs.ncols(), self.class_columns.len());
        if columns != classes {
            return Err(outputs_are(format!("{columns} scores for each row, the schema has {classes} classes")));
        }
        Ok(answers::from_probabilities(&self.task, &outputs.select(Axis(1), &self.class_columns))?)
    }
}

impl Scorer for OnnxScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        if rows.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(answers::answer_schema(&self.task)));
        }
        self.ask_in_turn(rows)
    }
}

fn rows_by_columns(shape: &[i64], numbers: Vec<f64>, rows: usize) -> Result<Array2<f64>, ScoringError> {
    let fits = shape.first().is_some_and(|first| *first == rows as i64) && shape.iter().skip(2).all(|one| *one == 1);
    if !fits {
        return Err(outputs_are(format!("an output of shape {shape:?} for {rows} rows")));
    }
    let columns = numbers.len() / rows.max(1);
    Array2::from_shape_vec((rows, columns), numbers).map_err(|error| outputs_are(error.to_string()))
}

/// The probability of the positive class, and of the other one before it.
fn both_classes(positive: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((positive.nrows(), 2), |(row, class)| {
        let probability = positive[[row, 0]];
        if class == 1 { probability } else { 1.0 - probability }
    })
}

fn outputs_are(reason: String) -> ScoringError {
    ScoringError::Outputs { reason }
}

fn failed(action: &'static str, error: &ort::Error) -> ScoringError {
    ScoringError::Graph { action, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
