//! The builtin models as ONNX graphs.
//!
//! One input, `features: float32[N, F]` by the contract of [`crate::encoding`], and one output: `probabilities: float32[N,
//! K]` with the classes in canonical order, or `prediction: float32[N, 1]` for a regression. Only plain operators of opset
//! 13 are used, so that tract, ONNX Runtime and Triton all run it:
//!
//! ```text
//! features ─ Gather ─ Where(IsNaN, mean, ·) ─ Sub mean ─ Mul 1/deviation ─┐
//!          └ Gather ─ Equal index ─ Cast ─────────────────────────────────┴ Concat ─ MatMul ─ Add ─ Softmax
//! ```
//!
//! The metadata carries what a client needs to fill the input and to read the output: the format's version, the model's name
//! and version, the schema, the category tables and the classes.

use super::design::Design;
use super::linear_map::LinearMap;
use crate::encoding::CATEGORIES_KEY;
use crate::scorer::onnx::CLASSES_KEY;
use crate::trainer::{TrainingError, TrainingJob};
use bytes::Bytes;
use detectors::schema::Task;
use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// Version of the contract between the graph's metadata and its readers.
const FORMAT: &str = "1";
/// ONNX operator set; 13 is the first in which Softmax works on one axis.
const OPSET: i64 = 13;
/// ONNX file format that came with operator set 13.
const IR_VERSION: i64 = 7;

/// Writes the graph.
pub(super) fn export(job: &TrainingJob<'_>, design: &Design, map: &LinearMap) -> Result<Bytes, TrainingError> {
    let mut graph = GraphWriter::default();
    let columns = graph.design(design);
    let weights = map.weights.iter().map(|weight| *weight as f32).collect();
    let bias = map.bias.iter().map(|bias| *bias as f32).collect();
    graph.initializer("weights", Values::Floats(weights), &[design.width(), map.bias.len()]);
    graph.initializer("bias", Values::Floats(bias), &[1, map.bias.len()]);
    graph.node(Operator::plain("MatMul"), &[&columns, "weights"], "products");
    let output = match job.schema.task {
        Task::Regression => {
            graph.node(Operator::plain("Add"), &["products", "bias"], "prediction");
            "prediction"
        }
        _ => {
            graph.node(Operator::plain("Add"), &["products", "bias"], "logits");
            graph.node(Operator::with("Softmax", "axis", 1), &["logits"], "probabilities");
            "probabilities"
        }
    };
    let features = job.schema.features().count();
    let model = pb::ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "driftline".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(pb::GraphProto {
            name: job.model.to_owned(),
            node: graph.nodes,
            initializer: graph.initializers,
            input: vec![float_matrix("features", features)],
            output: vec![float_matrix(output, map.bias.len())],
            ..Default::default()
        }),
        metadata_props: metadata(job, design)?,
        ..Default::default()
    };
    Ok(model.encode_to_vec().into())
}

fn metadata(job: &TrainingJob<'_>, design: &Design) -> Result<Vec<pb::StringStringEntryProto>, TrainingError> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| TrainingError::Solver { reason: format!("the metadata cannot be written: {error}") })
    };
    let entries = [
        ("driftline.format", FORMAT.to_owned()),
        ("driftline.model", job.model.to_owned()),
        ("driftline.version", job.version.to_owned()),
        ("driftline.schema", json(serde_json::to_string(job.schema))?),
        (CATEGORIES_KEY, json(serde_json::to_string(&design.tables))?),
        (CLASSES_KEY, json(serde_json::to_string(&job.schema.task.classes()))?),
    ];
    Ok(entries.map(|(key, value)| pb::StringStringEntryProto { key: key.to_owned(), value }).into())
}

enum Values {
    Floats(Vec<f32>),
    Places(Vec<usize>),
}

/// An ONNX operator with at most one attribute, a whole number.
struct Operator {
    name: &'static str,
    attribute: Option<pb::AttributeProto>,
}

impl Operator {
    fn plain(name: &'static str) -> Self {
        Self { name, attribute: None }
    }

    fn with(name: &'static str, attribute: &str, value: i64) -> Self {
        let attribute = pb::AttributeProto {
            name: attribute.to_owned(),
            r#type: pb::attribute_proto::AttributeType::Int as i32,
            i: value,
            ..Default::default()
        };
        Self { name, attribute: Some(attribute) }
    }
}

#[derive(Default)]
struct GraphWriter {
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
}

impl GraphWriter {
    /// The design matrix; gives the name of the tensor that holds it.
    fn design(&mut self, design: &Design) -> String {
        match (design.numbers.is_empty(), design.slots.is_empty()) {
            (false, true) => self.numbers(design),
            (true, _) => self.slots(design),
            (false, false) => {
                let (numbers, slots) = (self.numbers(design), self.slots(design));
                self.node(Operator::with("Concat", "axis", 1), &[&numbers, &slots], "columns");
                "columns".to_owned()
            }
        }
    }

    fn numbers(&mut self, design: &Design) -> String {
        let numbers = &design.numbers;
        let means = numbers.iter().map(|number| number.mean).collect();
        let scales = numbers.iter().map(|number| number.inverse_scale).collect();
        let inputs = Values::Places(numbers.iter().map(|number| number.input).collect());
        self.initializer("number_inputs", inputs, &[numbers.len()]);
        self.initializer("means", Values::Floats(means), &[1, numbers.len()]);
        self.initializer("inverse_scales", Values::Floats(scales), &[1, numbers.len()]);
        self.node(Operator::with("Gather", "axis", 1), &["features", "number_inputs"], "numbers");
        self.node(Operator::plain("IsNaN"), &["numbers"], "missing");
        self.node(Operator::plain("Where"), &["missing", "means", "numbers"], "imputed");
        self.node(Operator::plain("Sub"), &["imputed", "means"], "centred");
        self.node(Operator::plain("Mul"), &["centred", "inverse_scales"], "standardised");
        "standardised".to_owned()
    }

    fn slots(&mut self, design: &Design) -> String {
        let slots = &design.slots;
        let indices = slots.iter().map(|slot| slot.index).collect();
        let inputs = Values::Places(slots.iter().map(|slot| slot.input).collect());
        self.initializer("slot_inputs", inputs, &[slots.len()]);
        self.initializer("slot_indices", Values::Floats(indices), &[1, slots.len()]);
        self.node(Operator::with("Gather", "axis", 1), &["features", "slot_inputs"], "held");
        self.node(Operator::plain("Equal"), &["held", "slot_indices"], "is_held");
        self.node(Operator::with("Cast", "to", DataType::Float as i64), &["is_held"], "one_hot");
        "one_hot".to_owned()
    }

    fn node(&mut self, operator: Operator, inputs: &[&str], output: &str) {
        self.nodes.push(pb::NodeProto {
            name: format!("make_{output}"),
            op_type: operator.name.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: operator.attribute.into_iter().collect(),
            ..Default::default()
        });
    }

    fn initializer(&mut self, name: &str, values: Values, shape: &[usize]) {
        let mut tensor = pb::TensorProto {
            name: name.to_owned(),
            dims: shape.iter().map(|length| *length as i64).collect(),
            ..Default::default()
        };
        match values {
            Values::Floats(floats) => {
                tensor.data_type = DataType::Float as i32;
                tensor.float_data = floats;
            }
            Values::Places(places) => {
                tensor.data_type = DataType::Int64 as i32;
                tensor.int64_data = places.into_iter().map(|place| place as i64).collect();
            }
        }
        self.initializers.push(tensor);
    }
}

/// A float32 matrix with any number of rows and so many columns.
fn float_matrix(name: &str, columns: usize) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension};
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let shape = pb::TensorShapeProto {
        dim: vec![
            dimension(dimension::Value::DimParam("N".to_owned())),
            dimension(dimension::Value::DimValue(columns as i64)),
        ],
    };
    let tensor = pb::type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    pb::ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() }),
        ..Default::default()
    }
}
