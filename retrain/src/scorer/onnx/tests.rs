//! Graphs from elsewhere: what is taken, what is refused and with which words.

use super::*;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use detectors::schema::ColumnKind;
use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};

fn schema() -> ModelSchema {
    let features = ["x", "y"].map(|name| (name.to_owned(), ColumnKind::Numeric));
    ModelSchema::new(features, Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() })
}

fn value(name: &str, data_type: DataType, lengths: &[Option<i64>]) -> pb::ValueInfoProto {
    let dimension =
        |length: &Option<i64>| Dimension { value: length.map(dimension::Value::DimValue), ..Default::default() };
    let shape = pb::TensorShapeProto { dim: lengths.iter().map(dimension).collect() };
    let tensor = pb::type_proto::Tensor { elem_type: data_type as i32, shape: Some(shape) };
    let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() }
}

fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> pb::NodeProto {
    pb::NodeProto {
        op_type: operator.to_owned(),
        name: format!("the_{}", operator.to_lowercase()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn attribute(name: &str, kind: pb::attribute_proto::AttributeType) -> pb::AttributeProto {
    pb::AttributeProto { name: name.to_owned(), r#type: kind as i32, ..Default::default() }
}

/// A LinearClassifier over (x, y) whose class `classes[1]` has the logit `x`.
fn classifier(classes: [i64; 2]) -> pb::NodeProto {
    use pb::attribute_proto::AttributeType::{Floats, Ints, String};
    let mut node = node("LinearClassifier", &["features"], &["label", "probabilities"]);
    node.domain = "ai.onnx.ml".to_owned();
    node.attribute = vec![
        pb::AttributeProto { ints: classes.to_vec(), ..attribute("classlabels_ints", Ints) },
        pb::AttributeProto { floats: vec![-1.0, 0.0, 1.0, 0.0], ..attribute("coefficients", Floats) },
        pb::AttributeProto { floats: vec![0.0, 0.0], ..attribute("intercepts", Floats) },
        pb::AttributeProto { s: b"SOFTMAX".to_vec(), ..attribute("post_transform", String) },
    ];
    node
}

fn model(nodes: Vec<pb::NodeProto>) -> pb::ModelProto {
    let graph = pb::GraphProto {
        node: nodes,
        input: vec![value("features", DataType::Float, &[None, Some(2)])],
        output: vec![
            value("label", DataType::Int64, &[None]),
            value("probabilities", DataType::Float, &[None, Some(2)]),
        ],
        ..Default::default()
    };
    let opset = |domain: &str, version| pb::OperatorSetIdProto { domain: domain.to_owned(), version };
    pb::ModelProto {
        ir_version: 7,
        opset_import: vec![opset("", 13), opset("ai.onnx.ml", 1)],
        graph: Some(graph),
        ..Default::default()
    }
}

fn rows() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("y", Arc::new(Float64Array::from(vec![5.0, 5.0])) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![-3.0, 3.0])) as ArrayRef),
    ])
    .unwrap()
}

fn refusal(model: &pb::ModelProto) -> String {
    OnnxScorer::load(&model.encode_to_vec(), &schema()).unwrap_err().to_string()
}

#[test]
fn the_classes_of_the_operator_decide_which_column_is_whose() {
    for (classes, positive_first) in [([0, 1], false), ([1, 0], true)] {
        let mut scorer = OnnxScorer::load(&model(vec![classifier(classes)]).encode_to_vec(), &schema()).unwrap();
        let answers = scorer.score(&rows()).unwrap();
        let scores = answers.column(1).as_primitive::<Float64Type>();
        assert_eq!(scores.value(0) > 0.9, positive_first, "{answers:?}");
        assert_eq!(scores.value(1) > 0.9, !positive_first, "{answers:?}");
    }
}

#[test]
fn an_operator_that_cannot_be_run_is_named_with_what_may_help() {
    let mut scaled = classifier([0, 1]);
    scaled.input = vec!["scaled".to_owned()];
    let message = refusal(&model(vec![node("Scaler", &["features"], &["scaled"]), scaled]));
    assert!(
        message.starts_with("operator Scaler (node the_scaler) is not supported; export the model with"),
        "{message}"
    );
}

#[test]
fn operators_that_only_the_label_needs_do_not_count() {
    let mut nodes = vec![classifier([0, 1])];
    nodes[0].output[0] = "class".to_owned();
    nodes.push(node("LabelEncoder", &["class"], &["label"]));
    OnnxScorer::load(&model(nodes).encode_to_vec(), &schema()).unwrap();
}

#[test]
fn one_input_for_each_feature_is_filled_by_name() {
    let mut joined = model(vec![node("Concat", &["y", "x"], &["features"]), classifier([0, 1])]);
    let axis = pb::AttributeProto { i: 1, ..attribute("axis", pb::attribute_proto::AttributeType::Int) };
    let graph = joined.graph.as_mut().unwrap();
    graph.node[0].attribute = vec![axis];
    graph.input = ["y", "x"].map(|name| value(name, DataType::Float, &[None, Some(1)])).to_vec();
    let answers = OnnxScorer::load(&joined.encode_to_vec(), &schema()).unwrap().score(&rows()).unwrap();
    // The graph puts y in front, so that the logit is y: the same for both rows.
    let scores = answers.column(1).as_primitive::<Float64Type>();
    assert!(scores.value(0) > 0.9 && scores.value(1) > 0.9, "{answers:?}");
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_both_sides() {
    let mut wide = model(vec![classifier([0, 1])]);
    wide.graph.as_mut().unwrap().input = vec![value("features", DataType::Float, &[None, Some(3)])];
    let mut texts = model(vec![classifier([0, 1])]);
    texts.graph.as_mut().unwrap().input = vec![value("features", DataType::String, &[None, Some(2)])];
    let mut zipped = model(vec![classifier([0, 1])]);
    zipped.graph.as_mut().unwrap().node.push(node("ZipMap", &["probabilities"], &["zipped"]));
    zipped.graph.as_mut().unwrap().output =
        vec![pb::ValueInfoProto { name: "zipped".to_owned(), ..Default::default() }];
    let cases = [
        (wide, "input features takes 3 columns, the schema has 2 features"),
        (texts, "input features takes neither float32, float64 nor int64"),
        (zipped, "a float output called probabilities is expected, there are zipped; export it with zipmap disabled"),
        (model(vec![classifier([7, 8])]), "its classes are 7, 8, the schema's are 0, 1"),
    ];
    for (model, expected) in cases {
        let message = refusal(&model);
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn bytes_that_are_not_onnx_are_refused() {
    for bytes in [b"".as_slice(), b"not a model", &[0xff; 64]] {
        let error = OnnxScorer::load(bytes, &schema()).unwrap_err();
        assert!(matches!(error, ScoringError::NotOnnx { .. }), "{error}");
    }
}

#[test]
fn a_batch_without_rows_has_answers_without_rows() {
    let mut scorer = OnnxScorer::load(&model(vec![classifier([0, 1])]).encode_to_vec(), &schema()).unwrap();
    let answers = scorer.score(&rows().slice(0, 0)).unwrap();
    assert_eq!((answers.num_rows(), answers.num_columns()), (0, 2));
}
