//! A linear model as an ONNX graph.
//!
//! One input, `features: float32[N, F]` by the contract of [`crate::encoding`], and one output: `probabilities: float32[N,
//! K]` with the classes in canonical order, or `prediction: float32[N, 1]` for a regression. Only plain operators of opset
//! 13 are used, so that every server runs it:
//!
//! ```text
//! features ─ Gather ─ Where(IsNaN, mean, ·) ─ Sub mean ─ Mul 1/deviation ─┐
//!          └ Gather ─ Equal index ─ Cast ─────────────────────────────────┴ Concat ─ MatMul ─ Add ─ Softmax
//! ```

use super::{Answer, Columns, LinearModel};
use crate::onnx_file::tensor_proto::DataType;
use crate::onnx_file::{self as pb, AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// ONNX operator set; 13 is the first in which Softmax works on one axis.
pub(crate) const OPSET: i64 = 13;
/// ONNX file format that came with operator set 13.
const IR_VERSION: i64 = 7;
/// Who made the file, as it says itself.
pub(crate) const PRODUCER: &str = "driftline";

/// The file around a graph, without metadata.
pub(crate) fn file(graph: GraphProto) -> pb::ModelProto {
    pb::ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: PRODUCER.to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        ..Default::default()
    }
}

/// The graph of a model over so many features. Its corrections are not written; [`crate::scorer::onnx::append_correction`]
/// does that to any graph.
pub(crate) fn write(name: &str, features: usize, model: &LinearModel) -> GraphProto {
    let mut graph = GraphWriter::default();
    let columns = graph.columns(&model.columns);
    let outputs = model.map.bias.len();
    let weights = model.map.weights.iter().map(|weight| *weight as f32).collect();
    let bias = model.map.bias.iter().map(|bias| *bias as f32).collect();
    graph.initializer("weights", Values::Floats(weights), &[model.columns.width(), outputs]);
    graph.initializer("bias", Values::Floats(bias), &[1, outputs]);
    graph.node(Operator::plain("MatMul"), &[&columns, "weights"], "products");
    let output = match model.answer {
        Answer::Number => {
            graph.node(Operator::plain("Add"), &["products", "bias"], "prediction");
            "prediction"
        }
        Answer::Probabilities => {
            graph.node(Operator::plain("Add"), &["products", "bias"], "logits");
            graph.node(Operator::with("Softmax", "axis", 1), &["logits"], "probabilities");
            "probabilities"
        }
    };
    GraphProto {
        name: name.to_owned(),
        node: graph.nodes,
        initializer: graph.initializers,
        input: vec![ValueInfoProto::matrix("features", DataType::Float, features as i64)],
        output: vec![ValueInfoProto::matrix(output, DataType::Float, outputs as i64)],
        ..Default::default()
    }
}

enum Values {
    Floats(Vec<f32>),
    Places(Vec<usize>),
}

/// An ONNX operator with at most one attribute, a whole number.
struct Operator {
    name: &'static str,
    attribute: Option<AttributeProto>,
}

impl Operator {
    fn plain(name: &'static str) -> Self {
        Self { name, attribute: None }
    }

    fn with(name: &'static str, attribute: &str, value: i64) -> Self {
        Self { name, attribute: Some(AttributeProto::whole(attribute, value)) }
    }
}

#[derive(Default)]
struct GraphWriter {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl GraphWriter {
    /// The design matrix; gives the name of the tensor that holds it.
    fn columns(&mut self, columns: &Columns) -> String {
        match (columns.numbers.is_empty(), columns.slots.is_empty()) {
            (false, true) => self.numbers(columns),
            (true, _) => self.slots(columns),
            (false, false) => {
                let (numbers, slots) = (self.numbers(columns), self.slots(columns));
                self.node(Operator::with("Concat", "axis", 1), &[&numbers, &slots], "columns");
                "columns".to_owned()
            }
        }
    }

    fn numbers(&mut self, columns: &Columns) -> String {
        let numbers = &columns.numbers;
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

    fn slots(&mut self, columns: &Columns) -> String {
        let slots = &columns.slots;
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
        self.nodes.push(NodeProto {
            name: format!("make_{output}"),
            op_type: operator.name.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: operator.attribute.into_iter().collect(),
            ..Default::default()
        });
    }

    fn initializer(&mut self, name: &str, values: Values, shape: &[usize]) {
        let mut tensor = TensorProto {
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
