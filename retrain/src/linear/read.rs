//! Reads a linear model back from the graph that was written from it, and from no other.
//!
//! The numbers are taken from the graph by the names that [`super::graph`] gives them, and written anew: only where that gives
//! the same nodes and the same constants are they what the graph means. What stands behind them must be corrections, node by
//! node, up to the graph's one output.

use super::graph::{self, PRODUCER};
use super::{Answer, Columns, LinearMap, LinearModel, Slot, Standardised};
use crate::onnx_file::tensor_proto::DataType;
use crate::onnx_file::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::recalibration::{Correction, LEAST_PROBABILITY};
use ndarray::{Array1, Array2};
use prost::Message;

/// Files beyond this size are not looked at: an engine has limits of its own for them.
const MOST_BYTES: usize = 32 << 20;

/// A model that was read.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the file says of itself.
    pub(crate) file: ModelProto,
    /// Features that the graph takes.
    pub(crate) features: usize,
    /// The model.
    pub(crate) model: LinearModel,
}

/// The model in a file; `None` where the file is not one that was written from a linear model.
pub(crate) fn read(bytes: &[u8]) -> Option<Found> {
    if bytes.len() > MOST_BYTES || !says_its_maker(bytes) {
        return None;
    }
    let mut file = ModelProto::decode(bytes).ok()?;
    let is_plain =
        matches!(file.opset_import.as_slice(), [only] if only.version == graph::OPSET && only.domain.is_empty());
    let graph = file.graph.take().filter(|_| is_plain && file.functions.is_empty())?;
    let (features, model) = model(&graph)?;
    Some(Found { file, features, model })
}

/// Whether a file begins as those of the builtin trainer do, so that no other has to be decoded.
fn says_its_maker(bytes: &[u8]) -> bool {
    let beginning = graph::file(GraphProto::default());
    let beginning =
        ModelProto { ir_version: beginning.ir_version, producer_name: PRODUCER.to_owned(), ..Default::default() };
    bytes.starts_with(&beginning.encode_to_vec())
}

fn model(graph: &GraphProto) -> Option<(usize, LinearModel)> {
    let features = match graph.input.as_slice() {
        [input] => usize::try_from(input.lengths().last().copied().flatten()?).ok()?,
        _ => return None,
    };
    let answer = match graph.node.iter().any(|node| node.op_type == "Softmax") {
        true => Answer::Probabilities,
        false => Answer::Number,
    };
    let columns = columns(graph)?;
    let map = map(graph, &columns)?;
    let mut model = LinearModel { columns, map, answer, corrections: Vec::new() };
    let written = graph::write(&graph.name, features, &model);
    let (base, rest) = graph.node.split_at_checked(written.node.len())?;
    let same_constants = graph.initializer.get(..written.initializer.len()) == Some(written.initializer.as_slice());
    if base != written.node || graph.input != written.input || !same_constants {
        return None;
    }
    let mut last = written.output.first()?.name.clone();
    let mut behind = Behind { graph, nodes: rest };
    while !behind.nodes.is_empty() {
        model.corrections.push(behind.correction(&mut last, answer)?);
    }
    matches!(graph.output.as_slice(), [output] if output.name == last).then_some((features, model))
}

fn columns(graph: &GraphProto) -> Option<Columns> {
    let mut columns = Columns::default();
    if let Some(inputs) = places(graph, "number_inputs") {
        let (means, scales) = (floats(graph, "means")?, floats(graph, "inverse_scales")?);
        for ((input, mean), inverse_scale) in inputs.into_iter().zip(means).zip(scales) {
            columns.numbers.push(Standardised { input, mean: *mean, inverse_scale: *inverse_scale });
        }
    }
    if let Some(inputs) = places(graph, "slot_inputs") {
        let indices = floats(graph, "slot_indices")?;
        columns.slots = inputs.into_iter().zip(indices).map(|(input, index)| Slot { input, index: *index }).collect();
    }
    Some(columns)
}

fn map(graph: &GraphProto, columns: &Columns) -> Option<LinearMap> {
    let exact = |floats: &[f32]| floats.iter().map(|number| f64::from(*number)).collect::<Vec<_>>();
    let bias = Array1::from_vec(exact(floats(graph, "bias")?));
    let weights = Array2::from_shape_vec((columns.width(), bias.len()), exact(floats(graph, "weights")?)).ok()?;
    Some(LinearMap { weights, bias })
}

fn constant<'a>(graph: &'a GraphProto, name: &str, kind: DataType) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name == name && tensor.data_type == kind as i32)
}

fn floats<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a [f32]> {
    constant(graph, name, DataType::Float).map(|tensor| tensor.float_data.as_slice())
}

fn places(graph: &GraphProto, name: &str) -> Option<Vec<usize>> {
    let tensor = constant(graph, name, DataType::Int64)?;
    tensor.int64_data.iter().map(|place| usize::try_from(*place).ok()).collect()
}

/// Nodes behind the answer of a model.
struct Behind<'a> {
    graph: &'a GraphProto,
    nodes: &'a [NodeProto],
}

impl<'a> Behind<'a> {
    /// The next correction; `last` becomes the tensor that it makes.
    fn correction(&mut self, last: &mut String, answer: Answer) -> Option<Correction> {
        match answer {
            Answer::Number => {
                let slope = self.one(last, "Mul")?;
                Some(Correction::Number { slope, offset: self.one(last, "Add")? })
            }
            Answer::Probabilities => {
                let least = self.one(last, "Add")?;
                self.node(last, "Log").filter(|node| node.input.len() == 1 && node.attribute.is_empty())?;
                let temperature = self.one(last, "Mul")?;
                let biases = self.constants(last, "Add")?;
                let softmax = self.node(last, "Softmax")?;
                let over_classes = matches!(softmax.attribute.as_slice(), [axis] if axis.name == "axis" && axis.i == 1);
                let same_least = least == f64::from(LEAST_PROBABILITY as f32);
                (over_classes && same_least).then_some(Correction::Classes { temperature, biases })
            }
        }
    }

    fn one(&mut self, last: &mut String, operator: &str) -> Option<f64> {
        match self.constants(last, operator)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn constants(&mut self, last: &mut String, operator: &str) -> Option<Vec<f64>> {
        let node = self.node(last, operator)?;
        let [_, name] = node.input.as_slice() else { return None };
        let floats = floats(self.graph, name).filter(|_| node.attribute.is_empty())?;
        Some(floats.iter().map(|number| f64::from(*number)).collect())
    }

    fn node(&mut self, last: &mut String, operator: &str) -> Option<&'a NodeProto> {
        let (node, rest) = self.nodes.split_first()?;
        let follows = node.op_type == operator && node.domain.is_empty() && node.input.first() == Some(last);
        let [output] = node.output.as_slice() else { return None };
        self.nodes = rest;
        *last = output.clone();
        follows.then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::Evaluation;
    use ndarray::array;

    fn model() -> LinearModel {
        LinearModel {
            columns: Columns {
                numbers: vec![Standardised { input: 1, mean: 2.0, inverse_scale: 0.5 }],
                slots: [-1.0, 0.0, 1.0].map(|index| Slot { input: 0, index }).to_vec(),
            },
            map: LinearMap {
                weights: array![[0.0, 1.0], [0.0, 0.25], [0.0, -0.5], [0.0, 2.0]],
                bias: array![0.0, 0.125],
            },
            answer: Answer::Probabilities,
            corrections: Vec::new(),
        }
    }

    fn file() -> ModelProto {
        graph::file(graph::write("m", 2, &model()))
    }

    #[test]
    fn what_was_written_is_read_and_answers_as_its_numbers_say() {
        let found = read(&file().encode_to_vec()).unwrap();
        assert_eq!((found.features, &found.model), (2, &model()));
        let answers = Evaluation::of(found.model).answers(&array![[1.0, 4.0], [-1.0, f32::NAN], [7.0, 2.0]]);
        let of = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let expected = [of(0.125 + 1.0 + 2.0), of(0.125 + 0.25), of(0.125)];
        for (answer, expected) in answers.column(1).iter().zip(expected) {
            assert!((answer - expected).abs() < 1e-15, "{answer} {expected}");
        }
    }

    /// Each is a graph that answers otherwise than its numbers would.
    #[test]
    fn a_graph_that_only_looks_like_one_is_not_taken_for_one() {
        type Change = fn(&mut GraphProto);
        let changes: [Change; 6] = [
            |graph| graph.node[0].op_type = "ScatterND".to_owned(),
            |graph| graph.node.swap(3, 4),
            |graph| graph.initializer[1].float_data.push(1.0),
            |graph| graph.output[0].name = "logits".to_owned(),
            |graph| graph.node.push(NodeProto { op_type: "Neg".to_owned(), ..Default::default() }),
            |graph| graph.node[6].attribute.push(AttributeProto::default()),
        ];
        use crate::onnx_file::AttributeProto;
        for (number, change) in changes.into_iter().enumerate() {
            let mut file = file();
            change(file.graph.as_mut().unwrap());
            assert!(read(&file.encode_to_vec()).is_none(), "change {number}");
        }
        let elsewhere = ModelProto { producer_name: "skl2onnx".to_owned(), ..file() };
        assert!(read(&elsewhere.encode_to_vec()).is_none());
    }
}
