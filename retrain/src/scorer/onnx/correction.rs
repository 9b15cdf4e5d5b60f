//! A correction behind the answer of a graph: a few plain operators more, and an output in the place of the old one.

use super::CLASSES_KEY;
use super::graph::Graph;
use super::metadata::{OUTPUT_KEY, Scores};
use crate::onnx_file::tensor_proto::DataType;
use crate::onnx_file::{self as pb, AttributeProto};
use crate::recalibration::{Correction, LEAST_PROBABILITY};
use crate::scorer::ScoringError;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use prost::Message;

/// Operator set that is imported where there is none.
const PLAIN_OPSET: i64 = 13;

/// The artifact with its answers corrected. Other outputs, such as a label, go: they would speak of the answer before.
///
/// # Errors
/// The artifact is no graph that fits the schema, or its answer is neither float32 nor float64 with a column for each class.
pub fn append_correction(
    artifact: &[u8],
    schema: &ModelSchema,
    correction: &Correction,
) -> Result<Bytes, ScoringError> {
    let read = Graph::read(artifact, schema)?;
    if read.scores == Scores::Logits {
        return Err(ScoringError::Outputs { reason: "it gives logits; probabilities can be corrected".to_owned() });
    }
    let classes = read.class_columns.clone();
    let mut model = read.model;
    import_plain_operators(&mut model);
    let not_onnx = || ScoringError::NotOnnx { bytes: artifact.len() };
    let graph = model.graph.as_mut().ok_or_else(not_onnx)?;
    let output = graph.output.pop().ok_or_else(not_onnx)?;
    let number = Number::of(&output)?;
    let mut appended =
        Appended { graph, number, last: output.name.clone(), prefix: format!("{}_corrected", output.name) };
    match correction {
        Correction::Number { slope, offset } => {
            appended.with_constant("Mul", &[*slope]);
            appended.with_constant("Add", &[*offset]);
        }
        Correction::Classes { temperature, biases } => {
            refuse_one_column(&output, biases.len())?;
            let mut in_graph_order = vec![0.0; biases.len()];
            for (bias, column) in biases.iter().zip(&classes) {
                *in_graph_order.get_mut(*column).ok_or_else(not_onnx)? = *bias;
            }
            appended.with_constant("Add", &[LEAST_PROBABILITY]);
            appended.node("Log", None, Vec::new());
            appended.with_constant("Mul", &[*temperature]);
            appended.with_constant("Add", &in_graph_order);
            appended.node("Softmax", None, vec![AttributeProto::whole("axis", 1)]);
        }
    }
    let name = appended.last;
    graph.output.push(pb::ValueInfoProto { name, ..output });
    // It named the output of before.
    model.metadata_props.retain(|entry| entry.key != OUTPUT_KEY);
    set_classes(&mut model, schema, &classes)?;
    Ok(model.encode_to_vec().into())
}

/// What an output holds.
#[derive(Debug, Clone, Copy)]
enum Number {
    Float32,
    Float64,
}

impl Number {
    fn of(output: &pb::ValueInfoProto) -> Result<Self, ScoringError> {
        match output.tensor().map(|tensor| tensor.elem_type) {
            Some(kind) if kind == DataType::Float as i32 => Ok(Self::Float32),
            Some(kind) if kind == DataType::Double as i32 => Ok(Self::Float64),
            _ => Err(ScoringError::Outputs { reason: format!("{} is neither float32 nor float64", output.name) }),
        }
    }
}

/// Nodes that are put behind an output, one behind the other.
struct Appended<'a> {
    graph: &'a mut pb::GraphProto,
    number: Number,
    /// The tensor that the last of them makes.
    last: String,
    prefix: String,
}

impl Appended<'_> {
    fn with_constant(&mut self, operator: &str, values: &[f64]) {
        let name = format!("{}_{}", self.prefix, self.graph.initializer.len());
        let mut tensor =
            pb::TensorProto { name: name.clone(), dims: vec![1, values.len() as i64], ..Default::default() };
        match self.number {
            Number::Float32 => {
                tensor.data_type = DataType::Float as i32;
                tensor.float_data = values.iter().map(|value| *value as f32).collect();
            }
            Number::Float64 => {
                tensor.data_type = DataType::Double as i32;
                tensor.double_data = values.to_vec();
            }
        }
        self.graph.initializer.push(tensor);
        self.node(operator, Some(name), Vec::new());
    }

    fn node(&mut self, operator: &str, constant: Option<String>, attribute: Vec<pb::AttributeProto>) {
        let output = format!("{}_{}_{}", self.prefix, operator.to_lowercase(), self.graph.node.len());
        let input = std::iter::once(std::mem::replace(&mut self.last, output.clone())).chain(constant).collect();
        self.graph.node.push(pb::NodeProto {
            name: format!("make_{output}"),
            op_type: operator.to_owned(),
            input,
            output: vec![output],
            attribute,
            ..Default::default()
        });
    }
}

/// Graphs of trees alone need not import the plain operators, of which the correction is made.
fn import_plain_operators(model: &mut pb::ModelProto) {
    if !model.opset_import.iter().any(|set| set.domain.is_empty() || set.domain == "ai.onnx") {
        let plain = pb::OperatorSetIdProto { domain: String::new(), version: PLAIN_OPSET };
        model.opset_import.push(plain);
    }
}

/// A binary graph may give one column, the probability of the positive class; a softmax needs both.
fn refuse_one_column(output: &pb::ValueInfoProto, classes: usize) -> Result<(), ScoringError> {
    match output.lengths().as_slice() {
        [_, Some(columns)] if *columns == classes as i64 => Ok(()),
        _ => Err(ScoringError::Outputs { reason: format!("{} does not state a column for each class", output.name) }),
    }
}

/// States the order of the classes, which the graph's operators do not tell any more.
fn set_classes(model: &mut pb::ModelProto, schema: &ModelSchema, columns: &[usize]) -> Result<(), ScoringError> {
    if columns.is_empty() {
        return Ok(());
    }
    let mut in_graph_order = vec![""; columns.len()];
    for (class, column) in schema.task.classes().into_iter().zip(columns) {
        if let Some(place) = in_graph_order.get_mut(*column) {
            *place = class;
        }
    }
    let unwritten = |error: serde_json::Error| ScoringError::Metadata { key: CLASSES_KEY, reason: error.to_string() };
    let value = serde_json::to_string(&in_graph_order).map_err(unwritten)?;
    model.set_metadata(CLASSES_KEY, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::Scorer;
    use crate::scorer::linear::LinearScorer;
    use crate::trainer::builtin::BuiltinTrainer;
    use crate::trainer::{Trainer, TrainingJob};
    use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
    use arrow::datatypes::Float64Type;
    use detectors::schema::{ColumnKind, Task};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// What a builtin model of one column answers, as it is and corrected.
    fn answers(task: Task, label: ArrayRef, correction: &Correction) -> (RecordBatch, RecordBatch) {
        let schema = ModelSchema::new([("x".to_owned(), ColumnKind::Numeric)], task);
        let x: ArrayRef = Arc::new(Float64Array::from_iter_values((0..label.len()).map(|row| row as f64)));
        let rows = RecordBatch::try_from_iter([("x", x), ("label", label)]).unwrap();
        let work = tempfile::tempdir().unwrap();
        let job = TrainingJob {
            model: "m",
            version: "v1",
            schema: &schema,
            rows: &rows,
            parameters: &BTreeMap::new(),
            sample: Default::default(),
            work_directory: work.path(),
        };
        let artifact = BuiltinTrainer.train(&job, &Default::default()).unwrap().artifact;
        let corrected = append_correction(&artifact, &schema, correction).unwrap();
        let asked = rows.project(&[0]).unwrap();
        let score = |artifact: &[u8]| LinearScorer::read(artifact, &schema).unwrap().unwrap().score(&asked).unwrap();
        (score(&artifact), score(&corrected))
    }

    fn numbers(answers: &RecordBatch, column: &str) -> Vec<f64> {
        answers.column_by_name(column).unwrap().as_primitive::<Float64Type>().values().to_vec()
    }

    #[test]
    fn a_negative_temperature_turns_a_binary_answer_round() {
        let task = Task::Binary { positive: "1".into(), negative: "0".into() };
        let label = (0..60).map(|row| Some(if row < 30 { "0" } else { "1" })).collect::<StringArray>();
        let correction = Correction::Classes { temperature: -1.0, biases: vec![0.0, 0.0] };
        let (before, after) = answers(task, Arc::new(label), &correction);
        for (before, after) in numbers(&before, "score").into_iter().zip(numbers(&after, "score")) {
            assert!((before + after - 1.0).abs() < 1e-5, "{before} {after}");
        }
    }

    #[test]
    fn a_bias_moves_one_class_of_several() {
        let task = Task::Multiclass { classes: vec!["a".into(), "b".into(), "c".into()] };
        let label = (0..90).map(|row| Some(["a", "b", "c"][row / 30])).collect::<StringArray>();
        let correction = Correction::Classes { temperature: 1.0, biases: vec![0.0, 20.0, 0.0] };
        let (_, after) = answers(task, Arc::new(label), &correction);
        assert!(after.column(0).as_string::<i32>().iter().skip(20).take(50).all(|class| class == Some("b")));
    }

    #[test]
    fn a_number_is_stretched_and_moved() {
        let label = Arc::new(Float64Array::from_iter_values((0..40).map(|row| 3.0 * f64::from(row))));
        let (before, after) = answers(Task::Regression, label, &Correction::Number { slope: 2.0, offset: 1.0 });
        for (before, after) in numbers(&before, "prediction").into_iter().zip(numbers(&after, "prediction")) {
            assert!((2.0 * before + 1.0 - after).abs() < 1e-3, "{before} {after}");
        }
    }
}
