//! Graphs from elsewhere: what is taken, what is refused and with which words.

use super::*;
use crate::fixtures::engine;
use crate::onnx_file as pb;
use crate::onnx_file::tensor_proto::DataType;
use crate::onnx_file::tensor_shape_proto::{Dimension, dimension};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::datatypes::Float64Type;
use detectors::schema::ColumnKind;
use prost::Message;
use std::sync::Arc;

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
        name: format!("{}_to_{}", operator.to_lowercase(), outputs.join("_")),
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

/// What is said of a file before any engine has seen it.
fn refusal(model: &pb::ModelProto) -> String {
    read(&model.encode_to_vec(), &schema()).unwrap_err().to_string()
}

fn read(artifact: &[u8], schema: &ModelSchema) -> Result<(), ScoringError> {
    Inputs::of(&Graph::read(artifact, schema)?, schema).map(drop)
}

/// A graph of its own, asked; `None` where no ONNX Runtime is at hand.
fn ask(model: &pb::ModelProto, schema: &ModelSchema, rows: &RecordBatch) -> Option<RecordBatch> {
    let mut scorer = OnnxScorer::load(engine()?, &model.encode_to_vec(), schema).unwrap();
    Some(scorer.score(rows).unwrap())
}

fn scores(answers: &RecordBatch) -> Vec<Option<f64>> {
    answers.column(1).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn the_classes_of_the_operator_decide_which_column_is_whose() {
    for (classes, positive_first) in [([0, 1], false), ([1, 0], true)] {
        let Some(answers) = ask(&model(vec![classifier(classes)]), &schema(), &rows()) else { return };
        let scores = scores(&answers);
        assert_eq!(scores[0] > Some(0.9), positive_first, "{answers:?}");
        assert_eq!(scores[1] > Some(0.9), !positive_first, "{answers:?}");
    }
}

#[test]
fn a_map_of_classes_is_read_as_the_matrix_that_it_is_made_of() {
    let mut zipped = model(vec![classifier([1, 0])]);
    let graph = zipped.graph.as_mut().unwrap();
    let mut map = node("ZipMap", &["probabilities"], &["map"]);
    map.domain = "ai.onnx.ml".to_owned();
    map.attribute = vec![pb::AttributeProto {
        ints: vec![1, 0],
        ..attribute("classlabels_int64s", pb::attribute_proto::AttributeType::Ints)
    }];
    graph.node.push(map);
    graph.output[1] = pb::ValueInfoProto { name: "map".to_owned(), ..Default::default() };
    let Some(answers) = ask(&zipped, &schema(), &rows()) else { return };
    assert_eq!(Some(answers), ask(&model(vec![classifier([1, 0])]), &schema(), &rows()));
}

#[test]
fn operators_that_only_the_label_needs_do_not_count() {
    let mut nodes = vec![classifier([0, 1])];
    nodes[0].output[0] = "class".to_owned();
    nodes.push(node("NoSuchOperator", &["class"], &["label"]));
    ask(&model(nodes), &schema(), &rows());
}

#[test]
fn one_input_for_each_feature_is_filled_by_name() {
    let mut joined = model(vec![node("Concat", &["y", "x"], &["features"]), classifier([0, 1])]);
    let graph = joined.graph.as_mut().unwrap();
    graph.node[0].attribute = vec![pb::AttributeProto::whole("axis", 1)];
    graph.input = ["y", "x"].map(|name| value(name, DataType::Float, &[None, Some(1)])).to_vec();
    // The graph puts y in front, so that the logit is y: the same for both rows.
    let Some(answers) = ask(&joined, &schema(), &rows()) else { return };
    assert!(scores(&answers).iter().all(|score| *score > Some(0.9)), "{answers:?}");
}

/// A graph whose answer is the sum of its inputs, each cast to float32.
fn sum(inputs: &[(&str, DataType)]) -> pb::ModelProto {
    let mut nodes = Vec::new();
    for (name, _) in inputs {
        let mut cast = node("Cast", &[name], &[&format!("{name}_float")]);
        cast.attribute = vec![pb::AttributeProto::whole("to", DataType::Float as i64)];
        nodes.push(cast);
    }
    let casts: Vec<_> = inputs.iter().map(|(name, _)| format!("{name}_float")).collect();
    nodes.push(node("Sum", &casts.iter().map(String::as_str).collect::<Vec<_>>(), &["prediction"]));
    let mut sum = model(nodes);
    let graph = sum.graph.as_mut().unwrap();
    graph.input = inputs.iter().map(|(name, kind)| value(name, *kind, &[None, Some(1)])).collect();
    graph.output = vec![value("prediction", DataType::Float, &[None, Some(1)])];
    sum
}

fn regression(features: &[(&str, ColumnKind)]) -> ModelSchema {
    ModelSchema::new(features.iter().map(|(name, kind)| ((*name).to_owned(), *kind)), Task::Regression)
}

fn numbers(answers: &RecordBatch) -> Vec<Option<f64>> {
    answers.column(0).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn what_an_input_cannot_hold_has_no_answer_unless_something_is_said_to_stand_for_it() {
    let schema =
        regression(&[("n", ColumnKind::Numeric), ("b", ColumnKind::Categorical), ("t", ColumnKind::Categorical)]);
    let mut graph = sum(&[("n", DataType::Int64), ("b", DataType::Bool), ("t", DataType::String)]);
    let texts = |texts: [Option<&str>; 6]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let rows = RecordBatch::try_from_iter_with_nullable([
        (
            "n",
            Arc::new(Float64Array::from(vec![Some(2.0), Some(2.5), None, Some(3.0), Some(3.0), Some(3.0)])) as ArrayRef,
            true,
        ),
        ("b", texts([Some("true"), Some("true"), Some("true"), None, Some("yes"), Some("false")]), true),
        ("t", texts([Some("4"), Some("4"), Some("4"), Some("4"), Some("4"), None]), true),
    ])
    .unwrap();
    let Some(answers) = ask(&graph, &schema, &rows) else { return };
    assert_eq!(numbers(&answers), [Some(7.0), None, None, None, None, None]);
    graph.set_metadata("driftline.nulls", r#"{"n": -1, "b": false, "t": "10"}"#.to_owned());
    let answers = ask(&graph, &schema, &rows).unwrap();
    assert_eq!(numbers(&answers), [Some(7.0), None, Some(4.0), Some(7.0), None, Some(13.0)]);
}

#[test]
fn a_number_is_not_rounded_where_the_input_is_double_and_null_passes_through() {
    let exact = 16_777_217.0;
    let mut graph = sum(&[("n", DataType::Double)]);
    let output = graph.graph.as_mut().unwrap();
    output.node = vec![node("Identity", &["n"], &["prediction"])];
    output.output = vec![value("prediction", DataType::Double, &[None, Some(1)])];
    let column = Arc::new(Float64Array::from(vec![Some(exact), None])) as ArrayRef;
    let rows = RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap();
    let Some(answers) = ask(&graph, &regression(&[("n", ColumnKind::Numeric)]), &rows) else { return };
    assert_eq!(numbers(&answers), [Some(exact), None]);
}

#[test]
fn null_is_answered_by_null_where_the_graph_has_nothing_to_say_of_it() {
    for operator in ["Relu", "Sigmoid", "Tanh", "Clip"] {
        let mut graph = sum(&[("n", DataType::Float)]);
        graph.graph.as_mut().unwrap().node = vec![node(operator, &["n"], &["prediction"])];
        let column = Arc::new(Float64Array::from(vec![Some(0.5), None])) as ArrayRef;
        let rows = RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap();
        let Some(answers) = ask(&graph, &regression(&[("n", ColumnKind::Numeric)]), &rows) else { return };
        assert!(answers.column(0).is_valid(0) && answers.column(0).is_null(1), "{operator}: {answers:?}");
    }
}

#[test]
fn a_category_that_an_encoder_refuses_costs_its_row_alone() {
    let mut graph = sum(&[("t", DataType::String)]);
    let proto = graph.graph.as_mut().unwrap();
    let mut encoder = node("OneHotEncoder", &["t"], &["hot"]);
    encoder.domain = "ai.onnx.ml".to_owned();
    let kind = pb::attribute_proto::AttributeType::Strings;
    let categories = vec![b"east".to_vec(), b"west".to_vec()];
    encoder.attribute = vec![
        pb::AttributeProto { strings: categories, ..attribute("cats_strings", kind) },
        pb::AttributeProto::whole("zeros", 0),
    ];
    let shape = node("Reshape", &["hot", "shape"], &["flat"]);
    proto.initializer = vec![pb::TensorProto {
        name: "shape".to_owned(),
        dims: vec![2],
        data_type: DataType::Int64 as i32,
        int64_data: vec![-1, 2],
        ..Default::default()
    }];
    let mut place = node("ArgMax", &["flat"], &["place"]);
    place.attribute = vec![pb::AttributeProto::whole("axis", 1)];
    let mut cast = node("Cast", &["place"], &["prediction"]);
    cast.attribute = vec![pb::AttributeProto::whole("to", DataType::Float as i64)];
    proto.node = vec![encoder, shape, place, cast];
    let wards = (0..100).map(|row| Some(["east", "west"][row % 2]).filter(|_| row != 40).or(Some("north")));
    let column = Arc::new(wards.collect::<StringArray>()) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("t", column)]).unwrap();
    let Some(answers) = ask(&graph, &regression(&[("t", ColumnKind::Categorical)]), &rows) else { return };
    let nulls: Vec<_> = (0..100).filter(|row| answers.column(0).is_null(*row)).collect();
    assert_eq!(nulls, [40]);
    assert_eq!(numbers(&answers)[41], Some(1.0));
}

#[test]
fn a_graph_that_takes_a_fixed_number_of_rows_is_asked_so_many_at_a_time() {
    let mut fixed = sum(&[("n", DataType::Float)]);
    fixed.graph.as_mut().unwrap().input = vec![value("n", DataType::Float, &[Some(4), Some(1)])];
    let column = Arc::new(Float64Array::from_iter_values((0..10).map(f64::from))) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let Some(answers) = ask(&fixed, &regression(&[("n", ColumnKind::Numeric)]), &rows) else { return };
    assert_eq!(numbers(&answers), (0..10).map(|row| Some(f64::from(row))).collect::<Vec<_>>());
}

#[test]
fn logits_are_probabilities_once_the_file_says_what_they_are() {
    let mut raw = model(vec![node("Identity", &["features"], &["probabilities"])]);
    raw.set_metadata("driftline.scores", "logits".to_owned());
    let Some(answers) = ask(&raw, &schema(), &rows()) else { return };
    // The logits are (x, y) for (0, 1).
    let expected = 1.0 / (1.0 + f64::exp(-3.0 - 5.0));
    assert!((scores(&answers)[0].unwrap() - expected).abs() < 1e-6, "{answers:?}");
}

#[test]
fn what_does_not_fit_the_schema_is_refused_with_both_sides() {
    let mut wide = model(vec![classifier([0, 1])]);
    wide.graph.as_mut().unwrap().input = vec![value("features", DataType::Float, &[None, Some(3)])];
    let mut halves = model(vec![classifier([0, 1])]);
    halves.graph.as_mut().unwrap().input = vec![value("features", DataType::Float16, &[None, Some(2)])];
    let mut none = model(vec![classifier([0, 1])]);
    none.graph.as_mut().unwrap().output.remove(1);
    let mut scores = model(vec![classifier([0, 1])]);
    scores.set_metadata("driftline.scores", "odds".to_owned());
    let mut elsewhere = model(vec![classifier([0, 1])]);
    let weights = pb::TensorProto { name: "w".to_owned(), data_location: 1, ..Default::default() };
    elsewhere.graph.as_mut().unwrap().initializer.push(weights);
    let cases = [
        (wide, "input features takes 3 columns, the schema has 2 features for it"),
        (halves, "input features is no tensor of float32, float64, int32, int64, bool or string"),
        (
            none,
            "an output of floats called probabilities or probability or output_probability is expected, there are label",
        ),
        (scores, "odds is neither probabilities nor logits"),
        (elsewhere, "the values of tensor w lie in another file"),
        (model(vec![classifier([7, 8])]), "its classes are 7, 8, the schema's are 0, 1"),
    ];
    for (model, expected) in cases {
        let message = refusal(&model);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn classes_that_a_library_numbers_are_the_schemas_in_the_order_of_their_names() {
    let classes = ["watch", "bed", "home"].map(str::to_owned).to_vec();
    let schema = ModelSchema::new(
        schema().features().map(|known| (known.name.clone(), known.kind)),
        Task::Multiclass { classes },
    );
    let mut numbered = classifier([0, 1]);
    numbered.attribute[0].ints = vec![0, 1, 2];
    let graph = Graph::read(&model(vec![numbered]).encode_to_vec(), &schema).unwrap();
    assert_eq!(graph.class_columns, [2, 0, 1]);
}

#[test]
fn bytes_that_are_not_onnx_are_refused() {
    for bytes in [b"".as_slice(), b"not a model", &[0xff; 64]] {
        let error = read(bytes, &schema()).unwrap_err();
        assert!(matches!(error, ScoringError::NotOnnx { .. }), "{error}");
    }
}

#[test]
fn a_batch_without_rows_has_answers_without_rows() {
    let Some(answers) = ask(&model(vec![classifier([0, 1])]), &schema(), &rows().slice(0, 0)) else { return };
    assert_eq!((answers.num_rows(), answers.num_columns()), (0, 2));
}

#[test]
fn a_file_that_is_read_and_written_again_is_the_same() {
    let model = model(vec![classifier([0, 1])]);
    let bytes = model.encode_to_vec();
    assert_eq!(pb::ModelProto::decode(bytes.as_slice()).unwrap().encode_to_vec(), bytes);
}
