//! What an ONNX file says about itself, held against the model's schema before anything is run.
//!
//! The graph is cut down to what its answers need, so that a label output with operators that cannot be run is no obstacle.

use super::CLASSES_KEY;
use crate::encoding::{CATEGORIES_KEY, CategoryTables};
use crate::scorer::ScoringError;
use detectors::schema::{ColumnKind, ModelSchema, Task};
use prost::Message;
use std::collections::HashSet;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// A graph that fits its schema.
pub(super) struct Graph {
    /// The file, cut down to the one output.
    pub(super) model: pb::ModelProto,
    /// How each input is filled, in the graph's order.
    pub(super) inputs: Vec<Input>,
    /// Features of the schema.
    pub(super) features: usize,
    /// Category tables from the metadata.
    pub(super) tables: CategoryTables,
    /// For each class of the schema, its column in the output.
    pub(super) class_columns: Vec<usize>,
}

/// One input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) layout: Layout,
    pub(super) number: Number,
    /// 1 or 2 dimensions.
    pub(super) rank: usize,
}

/// What an input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Every feature.
    Matrix,
    /// The feature at this place of the schema.
    Feature(usize),
}

/// The type of an input's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Float32,
    Float64,
    Int64,
}

impl Graph {
    /// Reads the file and holds it against the schema.
    pub(super) fn read(artifact: &[u8], schema: &ModelSchema) -> Result<Self, ScoringError> {
        let not_onnx = || ScoringError::NotOnnx { bytes: artifact.len() };
        let mut model = pb::ModelProto::decode(artifact).map_err(|_| not_onnx())?;
        let mut graph = model.graph.take().ok_or_else(not_onnx)?;
        let output = answer_output(&graph, &schema.task)?;
        keep_only(&mut graph, output);
        refuse_unsupported(&graph)?;
        let inputs = read_inputs(&graph, schema)?;
        let tables: CategoryTables = metadata(&model, CATEGORIES_KEY)?.unwrap_or_default();
        refuse_untabled(schema, &tables)?;
        let classes = match metadata(&model, CLASSES_KEY)? {
            Some(classes) => Some(classes),
            None => operator_classes(&graph),
        };
        number_labels(&mut graph);
        let class_columns = class_columns(&schema.task, classes)?;
        model.graph = Some(graph);
        Ok(Self { model, inputs, features: schema.features().count(), tables, class_columns })
    }
}

/// The output that holds the answers.
fn answer_output(graph: &pb::GraphProto, task: &Task) -> Result<pb::ValueInfoProto, ScoringError> {
    let names: &[&str] = match task {
        Task::Regression => &["prediction", "variable"],
        _ => &["probabilities"],
    };
    let floats: Vec<_> = graph.output.iter().filter(|output| is_float(output)).collect();
    let named = floats.iter().find(|output| names.contains(&output.name.as_str()));
    match (named, floats.as_slice()) {
        (Some(output), _) | (None, [output]) => Ok((*output).clone()),
        _ => {
            let zipped = graph.node.iter().any(|node| node.op_type == "ZipMap");
            let hint = if zipped { "; export it with zipmap disabled" } else { "" };
            let found = graph.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", ");
            let reason = format!("a float output called {} is expected, there are {found}{hint}", names.join(" or "));
            Err(ScoringError::Outputs { reason })
        }
    }
}

fn is_float(value: &pb::ValueInfoProto) -> bool {
    tensor_type(value).is_some_and(|tensor| {
        [DataType::Float as i32, DataType::Double as i32, DataType::Float16 as i32].contains(&tensor.elem_type)
    })
}

pub(super) fn tensor_type(value: &pb::ValueInfoProto) -> Option<&pb::type_proto::Tensor> {
    match value.r#type.as_ref()?.value.as_ref()? {
        pb::type_proto::Value::TensorType(tensor) => Some(tensor),
    }
}

/// Drops the nodes that the output does not depend on, walking back from it. Nodes stand in topological order.
fn keep_only(graph: &mut pb::GraphProto, output: pb::ValueInfoProto) {
    let mut needed: HashSet<String> = HashSet::from([output.name.clone()]);
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in graph.node.drain(..).rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needed.extend(node.input.iter().cloned());
            needed.extend(names_in_subgraphs(&node));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.output = vec![output];
}

/// Tensors of the outer graph that an If or a Loop reads from within.
fn names_in_subgraphs(node: &pb::NodeProto) -> Vec<String> {
    let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    let nodes = graphs.flat_map(|graph| &graph.node);
    nodes.flat_map(|inner| inner.input.iter().cloned().chain(names_in_subgraphs(inner))).collect()
}

fn refuse_unsupported(graph: &pb::GraphProto) -> Result<(), ScoringError> {
    let engine = tract_onnx::onnx();
    let known = &engine.op_register.0;
    let Some(node) = graph.node.iter().find(|node| !known.contains_key(&node.op_type)) else {
        return Ok(());
    };
    let name = if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() };
    let hint = match node.op_type.as_str() {
        "ZipMap" => "export the model with zipmap disabled",
        "Scaler" => "export the model with the option {StandardScaler: {\"div\": \"div\"}}",
        "OneHotEncoder" | "LabelEncoder" | "Imputer" => "encode before the model, as `driftline.categories` describes",
        _ => "export the model with the operators of the plain ONNX set",
    };
    Err(ScoringError::UnsupportedOperator { operator: node.op_type.clone(), node: name, hint })
}

fn read_inputs(graph: &pb::GraphProto, schema: &ModelSchema) -> Result<Vec<Input>, ScoringError> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).collect();
    let features: Vec<&str> = schema.features().map(|feature| feature.name.as_str()).collect();
    match inputs.as_slice() {
        [only] if !(features.len() == 1 && features.contains(&only.name.as_str())) => {
            Ok(vec![read_matrix(only, &features)?])
        }
        _ => {
            let missing: Vec<_> =
                features.iter().filter(|name| !inputs.iter().any(|input| input.name == **name)).copied().collect();
            if !missing.is_empty() {
                return Err(inputs_are(format!("it has no input for {}", missing.join(", "))));
            }
            inputs.into_iter().map(|input| read_feature(input, &features)).collect()
        }
    }
}

fn read_matrix(input: &pb::ValueInfoProto, features: &[&str]) -> Result<Input, ScoringError> {
    let dimensions = dimensions(input);
    let fits = match dimensions.as_slice() {
        [_, Some(width)] => *width == features.len() as i64,
        // A width that the file leaves open is settled when the graph is prepared for the schema's.
        [_, None] | [] => true,
        _ => false,
    };
    if !fits {
        let found = dimensions.last().copied().flatten().map_or("another shape".to_owned(), |width| width.to_string());
        let reason = format!("input {} takes {found} columns, the schema has {} features", input.name, features.len());
        return Err(inputs_are(reason));
    }
    Ok(Input { layout: Layout::Matrix, number: number(input)?, rank: 2 })
}

fn read_feature(input: &pb::ValueInfoProto, features: &[&str]) -> Result<Input, ScoringError> {
    let place = features.iter().position(|name| *name == input.name).ok_or_else(|| {
        inputs_are(format!("it asks for {}, which is none of the features {}", input.name, features.join(", ")))
    })?;
    let rank = match dimensions(input).as_slice() {
        [_] => 1,
        [] | [_, None | Some(1)] => 2,
        _ => return Err(inputs_are(format!("input {} takes more than one value for each row", input.name))),
    };
    Ok(Input { layout: Layout::Feature(place), number: number(input)?, rank })
}

/// The lengths that the file states; `None` for one that it leaves open.
fn dimensions(input: &pb::ValueInfoProto) -> Vec<Option<i64>> {
    let shape = tensor_type(input).and_then(|tensor| tensor.shape.as_ref());
    let length = |dimension: &pb::tensor_shape_proto::Dimension| match dimension.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimValue(length)) if length > 0 => Some(length),
        _ => None,
    };
    shape.map(|shape| shape.dim.iter().map(length).collect()).unwrap_or_default()
}

fn number(input: &pb::ValueInfoProto) -> Result<Number, ScoringError> {
    match tensor_type(input).map(|tensor| tensor.elem_type) {
        Some(kind) if kind == DataType::Float as i32 => Ok(Number::Float32),
        Some(kind) if kind == DataType::Double as i32 => Ok(Number::Float64),
        Some(kind) if kind == DataType::Int64 as i32 => Ok(Number::Int64),
        _ => Err(inputs_are(format!("input {} takes neither float32, float64 nor int64", input.name))),
    }
}

fn inputs_are(reason: String) -> ScoringError {
    ScoringError::Inputs { reason }
}

fn metadata<T: serde::de::DeserializeOwned>(
    model: &pb::ModelProto,
    key: &'static str,
) -> Result<Option<T>, ScoringError> {
    let Some(entry) = model.metadata_props.iter().find(|entry| entry.key == key) else {
        return Ok(None);
    };
    let unreadable = |error: serde_json::Error| ScoringError::Metadata { key, reason: error.to_string() };
    serde_json::from_str(&entry.value).map(Some).map_err(unreadable)
}

fn refuse_untabled(schema: &ModelSchema, tables: &CategoryTables) -> Result<(), ScoringError> {
    let known: HashSet<&str> = schema
        .features()
        .filter(|feature| feature.kind == ColumnKind::Categorical)
        .map(|feature| feature.name.as_str())
        .collect();
    match tables.keys().find(|column| !known.contains(column.as_str())) {
        None => Ok(()),
        Some(column) => {
            let reason = format!("{column} is no categorical feature of the schema");
            Err(ScoringError::Metadata { key: CATEGORIES_KEY, reason })
        }
    }
}

/// The labels that a classifier operator carries; whole numbers as they are written.
fn operator_classes(graph: &pb::GraphProto) -> Option<Vec<String>> {
    let attributes = graph.node.iter().rev().flat_map(|node| &node.attribute);
    attributes.into_iter().find_map(|attribute| match attribute.name.as_str() {
        "classlabels_strings" if !attribute.strings.is_empty() => {
            Some(attribute.strings.iter().map(|class| String::from_utf8_lossy(class).into_owned()).collect())
        }
        "classlabels_ints" | "classlabels_int64s" if !attribute.ints.is_empty() => {
            Some(attribute.ints.iter().map(i64::to_string).collect())
        }
        _ => None,
    })
}

/// Gives the classes numbers for names within the graph: its engine cannot run a classifier with names, and the label
/// output, the only one that would show them, is not looked at.
fn number_labels(graph: &mut pb::GraphProto) {
    for node in &mut graph.node {
        let numbered = if node.op_type == "LinearClassifier" { "classlabels_ints" } else { "classlabels_int64s" };
        for attribute in node.attribute.iter_mut().filter(|attribute| attribute.name == "classlabels_strings") {
            let classes = std::mem::take(&mut attribute.strings).len() as i64;
            attribute.name = numbered.to_owned();
            attribute.r#type = pb::attribute_proto::AttributeType::Ints as i32;
            attribute.ints = (0..classes).collect();
        }
    }
}

fn class_columns(task: &Task, classes: Option<Vec<String>>) -> Result<Vec<usize>, ScoringError> {
    let expected = task.classes();
    let Some(classes) = classes.filter(|_| !expected.is_empty()) else {
        return Ok((0..expected.len()).collect());
    };
    let places = expected.iter().map(|class| classes.iter().position(|found| found == class));
    match places.collect::<Option<Vec<_>>>() {
        Some(places) if classes.len() == expected.len() => Ok(places),
        _ => {
            let (found, expected) = (classes.join(", "), expected.join(", "));
            Err(ScoringError::Outputs { reason: format!("its classes are {found}, the schema's are {expected}") })
        }
    }
}
