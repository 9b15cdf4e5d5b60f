//! What an ONNX file says about itself, held against the model's schema before anything is run.
//!
//! The graph is cut down to what its answers need: a label beside them costs nothing, and of a map of classes (ZipMap) the
//! matrix that it is made of is what is looked at.

use super::metadata::{self, Scores};
use crate::encoding::CategoryTables;
use crate::onnx_file::tensor_proto::DataType;
use crate::onnx_file::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};
use crate::scorer::ScoringError;
use detectors::schema::{ModelSchema, Task};
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};

/// `data_location` of a tensor whose values are in another file.
const EXTERNAL: i32 = 1;

/// A graph that fits its schema.
#[derive(Debug)]
pub(super) struct Graph {
    /// The file, cut down to the one output.
    pub(super) model: ModelProto,
    /// How each input is filled, in the graph's order.
    pub(super) inputs: Vec<Input>,
    /// Rows that it takes at once, where that is fixed.
    pub(super) batch: Option<usize>,
    /// Category tables from the metadata.
    pub(super) tables: CategoryTables,
    /// What stands for null, by feature, from the metadata.
    pub(super) nulls: BTreeMap<String, serde_json::Value>,
    /// For each class of the schema, its column in the output.
    pub(super) class_columns: Vec<usize>,
    /// What the output holds.
    pub(super) scores: Scores,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The features that are its columns.
    pub(super) features: Vec<String>,
    pub(super) rank: Rank,
}

/// Whether an input has a dimension for its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Rows,
    RowsAndColumns,
}

/// The type of an input's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float32,
    Float64,
    Int32,
    Int64,
    Bool,
    Text,
}

/// Where the answers come out.
struct Answer {
    output: ValueInfoProto,
    /// The classes of a map's keys.
    classes: Option<Vec<String>>,
}

impl Graph {
    /// Reads the file and holds it against the schema.
    pub(super) fn read(artifact: &[u8], schema: &ModelSchema) -> Result<Self, ScoringError> {
        let not_onnx = || ScoringError::NotOnnx { bytes: artifact.len() };
        let mut model = ModelProto::decode(artifact).map_err(|_| not_onnx())?;
        let mut graph = model.graph.take().filter(|graph| !graph.output.is_empty()).ok_or_else(not_onnx)?;
        refuse_other_files(&graph, &model)?;
        let answer = find_answer(&graph, &model, &schema.task)?;
        keep_only(&mut graph, answer.output);
        let (inputs, batch) = read_inputs(&graph, &model, schema)?;
        let tables = metadata::tables(&model, schema)?;
        let classes = match metadata::classes(&model)? {
            Some(classes) => Some(classes),
            None => answer.classes.or_else(|| operator_classes(&graph)),
        };
        let class_columns = class_columns(&schema.task, classes)?;
        let (nulls, scores) = (metadata::nulls(&model)?, metadata::scores(&model)?);
        model.graph = Some(graph);
        Ok(Self { model, inputs, batch, tables, nulls, class_columns, scores })
    }
}

/// Tensors whose values lie in another file are refused: an artifact is one file.
fn refuse_other_files(graph: &GraphProto, model: &ModelProto) -> Result<(), ScoringError> {
    let of_functions = model.functions.iter().find_map(|function| external_in_nodes(&function.node));
    match external(graph).or(of_functions) {
        None => Ok(()),
        Some(tensor) => Err(ScoringError::OtherFile { tensor }),
    }
}

fn external(graph: &GraphProto) -> Option<String> {
    let sparse = graph.sparse_initializer.iter().flat_map(parts);
    let constants = graph.initializer.iter().chain(sparse).find_map(external_tensor);
    constants.or_else(|| external_in_nodes(&graph.node))
}

fn external_in_nodes(nodes: &[NodeProto]) -> Option<String> {
    let mut attributes = nodes.iter().flat_map(|node| &node.attribute);
    attributes.find_map(|attribute| {
        let sparse = attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors).flat_map(parts);
        let tensors = attribute.t.iter().chain(&attribute.tensors).chain(sparse).find_map(external_tensor);
        tensors.or_else(|| attribute.g.iter().chain(&attribute.graphs).find_map(external))
    })
}

fn parts(sparse: &SparseTensorProto) -> impl Iterator<Item = &TensorProto> {
    sparse.values.iter().chain(&sparse.indices)
}

fn external_tensor(tensor: &TensorProto) -> Option<String> {
    (tensor.data_location == EXTERNAL || !tensor.external_data.is_empty()).then(|| tensor.name.clone())
}

/// The output that holds the answers: the one that the metadata names; or the one of the usual name; or the one that is a map
/// of classes; or the only one of floats.
fn find_answer(graph: &GraphProto, model: &ModelProto, task: &Task) -> Result<Answer, ScoringError> {
    let plain = |output: &ValueInfoProto| Answer { output: output.clone(), classes: None };
    let producers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let unzipped = |output: &ValueInfoProto| {
        let node = producers.get(output.name.as_str()).filter(|node| node.op_type == "ZipMap")?;
        let (matrix, classes) = (node.input.first()?, labels_of(node)?);
        let output = ValueInfoProto::matrix(matrix, DataType::Float, classes.len() as i64);
        Some(Answer { output, classes: Some(classes) })
    };
    if let Some(name) = model.metadata(metadata::OUTPUT_KEY) {
        let named = graph.output.iter().find(|output| output.name == name);
        let named = named.and_then(|output| unzipped(output).or_else(|| is_float(output).then(|| plain(output))));
        return named.ok_or_else(|| no_output(graph, &[name]));
    }
    let names: &[&str] = match task {
        Task::Regression => &["prediction", "variable", "predictions"],
        _ => &["probabilities", "probability", "output_probability"],
    };
    let floats: Vec<_> = graph.output.iter().filter(|output| is_float(output)).collect();
    let named = floats.iter().find(|output| names.contains(&output.name.as_str())).map(|output| plain(output));
    let zipped = || graph.output.iter().find_map(unzipped);
    let only = || match floats.as_slice() {
        [only] => Some(plain(only)),
        _ => None,
    };
    named.or_else(zipped).or_else(only).ok_or_else(|| no_output(graph, names))
}

fn no_output(graph: &GraphProto, names: &[&str]) -> ScoringError {
    let found = graph.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", ");
    let reason = format!(
        "an output of floats called {} is expected, there are {found}; name the one in the metadata entry `{}`",
        names.join(" or "),
        metadata::OUTPUT_KEY
    );
    ScoringError::Outputs { reason }
}

fn is_float(value: &ValueInfoProto) -> bool {
    let kinds = [DataType::Float as i32, DataType::Double as i32];
    value.tensor().is_some_and(|tensor| kinds.contains(&tensor.elem_type))
}

/// Drops what the output does not depend on.
fn keep_only(graph: &mut GraphProto, output: ValueInfoProto) {
    let mut producers: HashMap<String, usize> = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        producers.extend(node.output.iter().map(|name| (name.clone(), place)));
    }
    let (mut kept, mut needed) = (HashSet::new(), vec![output.name.clone()]);
    while let Some(name) = needed.pop() {
        let Some(place) = producers.get(&name).copied() else { continue };
        if let Some(node) = graph.node.get(place).filter(|_| kept.insert(place)) {
            needed.extend(node.input.iter().cloned());
            needed.extend(names_in_subgraphs(node));
        }
    }
    let mut place = 0..;
    graph.node.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
    graph.value_info.retain(|value| producers.get(&value.name).is_some_and(|place| kept.contains(place)));
    graph.output = vec![output];
}

/// Tensors of the outer graph that an If or a Loop reads from within.
fn names_in_subgraphs(node: &NodeProto) -> Vec<String> {
    let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graphs
        .flat_map(|graph| {
            let read =
                |inner: &NodeProto| inner.input.iter().cloned().chain(names_in_subgraphs(inner)).collect::<Vec<_>>();
            graph.node.iter().flat_map(read).chain(graph.output.iter().map(|output| output.name.clone()))
        })
        .collect()
}

/// The inputs, and how many rows they take at once where that is fixed.
fn read_inputs(
    graph: &GraphProto,
    model: &ModelProto,
    schema: &ModelSchema,
) -> Result<(Vec<Input>, Option<usize>), ScoringError> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let found: Vec<_> = graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).collect();
    let features: Vec<String> = schema.features().map(|feature| feature.name.clone()).collect();
    let stated = metadata::inputs(model, &features)?;
    let is_feature = |input: &ValueInfoProto| features.len() == 1 && features.contains(&input.name);
    let mut inputs = Vec::new();
    for input in &found {
        let columns = match (stated.get(&input.name), found.len()) {
            (Some(stated), _) => stated.clone(),
            (None, 1) if !is_feature(input) => features.clone(),
            (None, _) if features.contains(&input.name) => vec![input.name.clone()],
            (None, _) => return Err(unknown_input(&input.name, &features)),
        };
        inputs.push(read_input(input, columns)?);
    }
    let missing = features.iter().filter(|name| !inputs.iter().any(|input| input.features.contains(name)));
    let missing: Vec<_> = missing.cloned().collect();
    if !missing.is_empty() && stated.is_empty() {
        return Err(inputs_are(format!("it has no input for {}", missing.join(", "))));
    }
    let mut batches = found.iter().filter_map(|input| input.lengths().first().copied().flatten());
    let batch = batches.next().and_then(|rows| usize::try_from(rows).ok());
    if batches.any(|rows| usize::try_from(rows).ok() != batch) {
        return Err(inputs_are("its inputs take different numbers of rows at once".to_owned()));
    }
    Ok((inputs, batch))
}

fn unknown_input(name: &str, features: &[String]) -> ScoringError {
    inputs_are(format!(
        "it asks for {name}, which is none of the features {}; name its columns in the metadata entry `{}`, a JSON object \
         from input to features",
        features.join(", "),
        metadata::INPUTS_KEY
    ))
}

fn read_input(input: &ValueInfoProto, features: Vec<String>) -> Result<Input, ScoringError> {
    let (lengths, columns) = (input.lengths(), features.len());
    let fits = match lengths.as_slice() {
        [] | [_, None] => true,
        [_, Some(width)] => *width == columns as i64,
        [_] => columns == 1,
        _ => false,
    };
    if !fits {
        let found = lengths.last().copied().flatten().map_or("another shape".to_owned(), |width| width.to_string());
        let reason = format!("input {} takes {found} columns, the schema has {columns} features for it", input.name);
        return Err(inputs_are(reason));
    }
    let rank = if lengths.len() == 1 { Rank::Rows } else { Rank::RowsAndColumns };
    Ok(Input { name: input.name.clone(), kind: kind(input)?, features, rank })
}

fn kind(input: &ValueInfoProto) -> Result<Kind, ScoringError> {
    let found = input.tensor().and_then(|tensor| DataType::try_from(tensor.elem_type).ok());
    match found {
        Some(DataType::Float) => Ok(Kind::Float32),
        Some(DataType::Double) => Ok(Kind::Float64),
        Some(DataType::Int32) => Ok(Kind::Int32),
        Some(DataType::Int64) => Ok(Kind::Int64),
        Some(DataType::Bool) => Ok(Kind::Bool),
        Some(DataType::String) => Ok(Kind::Text),
        _ => Err(inputs_are(format!(
            "input {} is no tensor of float32, float64, int32, int64, bool or string",
            input.name
        ))),
    }
}

fn inputs_are(reason: String) -> ScoringError {
    ScoringError::Inputs { reason }
}

/// The labels that a classifier operator carries; whole numbers as they are written.
fn operator_classes(graph: &GraphProto) -> Option<Vec<String>> {
    graph.node.iter().rev().find_map(labels_of)
}

fn labels_of(node: &NodeProto) -> Option<Vec<String>> {
    node.attribute.iter().find_map(|attribute| match attribute.name.as_str() {
        "classlabels_strings" if !attribute.strings.is_empty() => {
            Some(attribute.strings.iter().map(|class| String::from_utf8_lossy(class).into_owned()).collect())
        }
        "classlabels_ints" | "classlabels_int64s" if !attribute.ints.is_empty() => {
            Some(attribute.ints.iter().map(i64::to_string).collect())
        }
        _ => None,
    })
}

/// For each class of the schema, its column in the output.
fn class_columns(task: &Task, classes: Option<Vec<String>>) -> Result<Vec<usize>, ScoringError> {
    let expected = task.classes();
    let Some(classes) = classes.filter(|_| !expected.is_empty()) else {
        return Ok((0..expected.len()).collect());
    };
    let named: Vec<_> = classes.iter().map(|class| task.class_named(class)).collect();
    // Libraries that know classes as numbers alone are given them in the order of their names.
    let is_numbered = classes.iter().enumerate().all(|(place, class)| *class == place.to_string());
    let mut sorted: Vec<_> = expected.iter().map(|class| Some(*class)).collect();
    sorted.sort_unstable();
    let found = if is_numbered && named.iter().all(Option::is_none) { sorted } else { named };
    let places = expected.iter().map(|class| found.iter().position(|found| *found == Some(*class)));
    match places.collect::<Option<Vec<_>>>() {
        Some(places) if classes.len() == expected.len() => Ok(places),
        _ => {
            let (found, expected) = (classes.join(", "), expected.join(", "));
            let key = metadata::CLASSES_KEY;
            let reason = format!(
                "its classes are {found}, the schema's are {expected}; the metadata entry `{key}`, a JSON list, names them \
                 in the order of the output's columns"
            );
            Err(ScoringError::Outputs { reason })
        }
    }
}
