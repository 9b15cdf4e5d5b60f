//! ONNX graphs, run in this process by tract.
//!
//! `graph` reads the file: which inputs there are, which output holds the answers, in which order the classes stand, and
//! whether every operator on the way is one that can be run. This file prepares the plan once, for any number of rows, and
//! asks it.
//!
//! # What a graph may look like
//! - **Inputs**: either one matrix `[N, features]` by the contract of [`crate::encoding`], or one input `[N, 1]` or `[N]`
//!   for each feature, of the feature's name. float32, float64 and int64 are filled; strings are not, so a categorical
//!   feature needs its table in the metadata entry `driftline.categories`.
//! - **Output of a classification**: the one called `probabilities`, or else the only one of floats; `[N, classes]`, or
//!   `[N, 1]` or `[N]` with the probability of the positive class. A `label` output is not looked at. Classes stand in the
//!   order of the metadata entry `driftline.classes`, else of the classifier operator's own labels, else of the schema.
//! - **Output of a regression**: the one called `prediction` or `variable`, or else the only one of floats; `[N, 1]` or
//!   `[N]`.
//! - **Operators**: those of opset 9 to 18 that tract 0.23 knows, and of `ai.onnx.ml` LinearClassifier, LinearRegressor,
//!   TreeEnsembleClassifier, Normalizer and CategoryMapper. Not among them: Scaler, Imputer, OneHotEncoder, LabelEncoder,
//!   TreeEnsembleRegressor, SVMClassifier, SVMRegressor and ZipMap. Only operators on the way to the answers count. The
//!   exporter skl2onnx avoids ZipMap and Scaler with `options={Classifier: {"zipmap": False}, StandardScaler: {"div":
//!   "div"}}`.

mod correction;
mod graph;

pub use correction::append_correction;

use super::{Scorer, ScoringError};
use crate::answers;
use crate::encoding::InputEncoding;
use arrow::array::RecordBatch;
use detectors::schema::{ModelSchema, Task};
use graph::{Graph, Input, Layout, Number};
use ndarray::Array2;
use std::sync::Arc;
use tract_onnx::prelude::*;

/// Key of the class order in an ONNX graph's metadata: a JSON list of class names.
pub const CLASSES_KEY: &str = "driftline.classes";

/// A loaded graph.
#[derive(Debug)]
pub struct OnnxScorer {
    plan: Arc<TypedRunnableModel>,
    encoding: InputEncoding,
    inputs: Vec<Input>,
    task: Task,
    /// For each class of the schema, its column in the graph's output.
    class_columns: Vec<usize>,
}

impl OnnxScorer {
    /// Loads an artifact and holds it against the schema.
    ///
    /// # Errors
    /// The bytes are not ONNX, an operator is not supported, inputs or outputs do not fit the schema, or the graph is not
    /// sound.
    pub fn load(artifact: &[u8], schema: &ModelSchema) -> Result<Self, ScoringError> {
        let graph = Graph::read(artifact, schema)?;
        let plan = prepare(&graph).map_err(|error| failed("loaded", &error))?;
        let Graph { tables, inputs, class_columns, .. } = graph;
        let encoding = InputEncoding::new(schema, &tables)?;
        let mut scorer = Self { plan, encoding, inputs, task: schema.task.clone(), class_columns };
        scorer.try_out()?;
        Ok(scorer)
    }

    /// One row of zeros shows at load time what the shapes in the file do not always say.
    fn try_out(&mut self) -> Result<(), ScoringError> {
        self.answer(&Array2::zeros((1, self.encoding.width()))).map(drop)
    }

    fn answer(&self, matrix: &Array2<f32>) -> Result<RecordBatch, ScoringError> {
        let output = self.run(matrix).map_err(|error| failed("run", &error))?;
        let outputs = rows_by_columns(output, matrix.nrows())?;
        match self.task {
            Task::Regression => self.numbers(&outputs),
            _ => self.probabilities(outputs),
        }
    }

    fn run(&self, matrix: &Array2<f32>) -> TractResult<Tensor> {
        let tensors = self.inputs.iter().map(|input| Ok(fill(input, matrix)?.into_tvalue()));
        let mut outputs = self.plan.run(tensors.collect::<TractResult<_>>()?)?;
        let output = outputs.pop().ok_or_else(|| TractError::msg("the graph gave no output"))?;
        Ok(output.cast_to::<f64>()?.into_owned())
    }

    fn numbers(&self, outputs: &Array2<f64>) -> Result<RecordBatch, ScoringError> {
        if outputs.ncols() != 1 {
            return Err(outputs_are(format!("{} numbers for each row, one is expected", outputs.ncols())));
        }
        Ok(answers::from_numbers(outputs.iter().copied())?)
    }

    fn probabilities(&self, outputs: Array2<f64>) -> Result<RecordBatch, ScoringError> {
        let outputs = match (&self.task, outputs.ncols()) {
            (Task::Binary { .. }, 1) => both_classes(&outputs),
            (_, columns) if columns == self.class_columns.len() => outputs,
            (_, columns) => {
                let classes = self.class_columns.len();
                return Err(outputs_are(format!(
                    "{columns} probabilities for each row, the schema has {classes} classes"
                )));
            }
        };
        Ok(answers::from_probabilities(&self.task, &outputs.select(ndarray::Axis(1), &self.class_columns))?)
    }
}

impl Scorer for OnnxScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let matrix = self.encoding.encode(rows)?;
        if matrix.nrows() == 0 {
            return Ok(RecordBatch::new_empty(answers::answer_schema(&self.task)));
        }
        self.answer(&matrix)
    }
}

/// The plan, with the number of rows left open, so that one plan serves every batch.
fn prepare(graph: &Graph) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_proto_model(&graph.model)?;
    let rows = model.symbols.sym("rows");
    let features = graph.features;
    for (place, input) in graph.inputs.iter().enumerate() {
        let columns = if input.layout == Layout::Matrix { features } else { 1 };
        let shape: TVec<TDim> =
            if input.rank == 1 { tvec![rows.to_dim()] } else { tvec![rows.to_dim(), columns.to_dim()] };
        model.set_input_fact(place, InferenceFact::dt_shape(input.number.datum_type(), shape))?;
    }
    model.into_optimized()?.into_runnable()
}

impl Number {
    fn datum_type(self) -> DatumType {
        match self {
            Self::Float32 => f32::datum_type(),
            Self::Float64 => f64::datum_type(),
            Self::Int64 => i64::datum_type(),
        }
    }
}

fn fill(input: &Input, matrix: &Array2<f32>) -> TractResult<Tensor> {
    let rows = matrix.nrows();
    let (values, columns): (Vec<f32>, usize) = match input.layout {
        Layout::Matrix => (matrix.iter().copied().collect(), matrix.ncols()),
        Layout::Feature(place) => (matrix.column(place).to_vec(), 1),
    };
    let shape: &[usize] = if input.rank == 1 { &[rows] } else { &[rows, columns] };
    let tensor = Tensor::from_shape(shape, &values)?;
    Ok(tensor.cast_to_dt(input.number.datum_type())?.into_owned())
}

fn rows_by_columns(output: Tensor, rows: usize) -> Result<Array2<f64>, ScoringError> {
    let shape = output.shape().to_vec();
    let columns = match shape.as_slice() {
        [found] if *found == rows => 1,
        [found, columns] if *found == rows => *columns,
        _ => return Err(outputs_are(format!("an output of shape {shape:?} for {rows} rows"))),
    };
    let view = output.to_plain_array_view::<f64>().map_err(|error| failed("run", &error))?;
    let values = view.iter().copied().collect();
    Array2::from_shape_vec((rows, columns), values).map_err(|error| outputs_are(error.to_string()))
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

/// The whole chain of causes in one line, because tract names the node in one and the reason in another.
fn failed(action: &'static str, error: &TractError) -> ScoringError {
    ScoringError::Graph { action, reason: format!("{error:#}") }
}

#[cfg(test)]
mod tests;
