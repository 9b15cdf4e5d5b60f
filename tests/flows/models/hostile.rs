//! Artifacts that ask for too much, never end, lead elsewhere or are broken: each costs its version and nothing else.

use super::{configuration, python, rows};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use driftline_tests::{On, Workplace};
use prost::Message;
use retrain::onnx_file::attribute_proto::AttributeType;
use retrain::onnx_file::tensor_proto::DataType;
use retrain::onnx_file::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use retrain::rows_file;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hands over what lies beside it.
const TRAIN: &str = r#"
folder=$(dirname "$1"); cp -P artifact sample.parquet "$folder"
echo '{"artifact_format": "onnx", "sample": "sample.parquet"}' > "$folder/result.json"
"#;

/// What a process that answers may take here, in megabytes, and a good deal for the process that monitors.
const MOST_RESIDENT_MB: i64 = 2_048;
/// Longer than any time limit that a case can meet, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn whole(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Int64 as i32,
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto { dims: Vec::new(), ..whole(name, &[value]) }
}

fn subgraph(graph: GraphProto) -> AttributeProto {
    let r#type = AttributeType::Graph as i32;
    AttributeProto { name: "body".to_owned(), r#type, g: Some(graph), ..Default::default() }
}

/// A file whose answer is the first feature, sent through these nodes, the last of which makes `probabilities`.
fn file(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        name: "g".to_owned(),
        node: nodes,
        initializer: constants,
        input: vec![ValueInfoProto::matrix("features", DataType::Float, 2)],
        output: vec![ValueInfoProto::matrix("probabilities", DataType::Float, 2)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: String::new(), version: 17 };
    let mut file = ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    file.set_metadata("driftline.categories", r#"{"ward": ["east", "north", "west"]}"#.to_owned());
    file
}

/// Makes a tensor of so many numbers and adds its sum, so that no optimisation may drop it.
fn filled_with(count: &[i64]) -> ModelProto {
    let mut sum = node("ReduceSum", &["filled"], "sum");
    sum.attribute = vec![AttributeProto::whole("keepdims", 0)];
    let nodes =
        vec![node("ConstantOfShape", &["shape"], "filled"), sum, node("Add", &["features", "sum"], "probabilities")];
    file(nodes, vec![whole("shape", count)])
}

fn endless() -> ModelProto {
    let yes = TensorProto { data_type: DataType::Bool as i32, int32_data: vec![1], ..scalar("yes", 1) };
    let yes = TensorProto { int64_data: Vec::new(), ..yes };
    let value = |name: &str, kind: DataType| ValueInfoProto {
        r#type: ValueInfoProto::matrix(name, kind, 2).r#type,
        name: name.to_owned(),
        ..Default::default()
    };
    let mut scalars = [value("i", DataType::Int64), value("on", DataType::Bool), value("still", DataType::Bool)];
    for scalar in &mut scalars {
        let kind = scalar.tensor().unwrap().elem_type;
        let tensor = retrain::onnx_file::type_proto::Tensor { elem_type: kind, shape: Some(Default::default()) };
        let value = retrain::onnx_file::type_proto::Value::TensorType(tensor);
        scalar.r#type = Some(retrain::onnx_file::TypeProto { value: Some(value), ..Default::default() });
    }
    let [i, on, still] = scalars;
    let body = GraphProto {
        name: "body".to_owned(),
        node: vec![node("Identity", &["on"], "still"), node("Sin", &["x"], "next")],
        input: vec![i, on, value("x", DataType::Float)],
        output: vec![still, value("next", DataType::Float)],
        ..Default::default()
    };
    let mut repeat = node("Loop", &["", "yes", "features"], "probabilities");
    repeat.attribute = vec![subgraph(body)];
    file(vec![repeat], vec![yes])
}

fn nested(depth: usize) -> ModelProto {
    let mut graph = GraphProto { name: "g".to_owned(), ..Default::default() };
    for _ in 0..depth {
        let mut inner = node("Loop", &[], "x");
        inner.attribute = vec![subgraph(graph)];
        graph = GraphProto { name: "g".to_owned(), node: vec![inner], ..Default::default() };
    }
    let mut outer = node("Loop", &["features"], "probabilities");
    outer.attribute = vec![subgraph(graph)];
    file(vec![outer], Vec::new())
}

fn elsewhere(location: &str) -> ModelProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() };
    let tensor = TensorProto {
        name: "w".to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![1, 2],
        data_location: 1,
        external_data: vec![entry("location", location)],
        ..Default::default()
    };
    file(vec![node("Add", &["features", "w"], "probabilities")], vec![tensor])
}

fn gathered() -> ModelProto {
    let mut gather = node("Gather", &["features", "places"], "probabilities");
    gather.attribute = vec![AttributeProto::whole("axis", 1)];
    file(vec![gather], vec![whole("places", &[0, 99_999_999])])
}

fn chain(links: usize) -> ModelProto {
    let names: Vec<_> = (0..links).map(|link| format!("x{link}")).collect();
    let mut nodes = vec![node("Abs", &["features"], "x0")];
    nodes.extend(names.windows(2).map(|pair| node("Add", &[&pair[0], &pair[0]], &pair[1])));
    nodes.push(node("Identity", &[names.last().unwrap()], "probabilities"));
    file(nodes, Vec::new())
}

/// Each artifact, and a word of what is said of it.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let plain = || file(vec![node("Identity", &["features"], "probabilities")], Vec::new());
    let encoded = |file: ModelProto| file.encode_to_vec();
    let of_opset = |version: i64| {
        let mut file = plain();
        file.opset_import[0].version = version;
        file
    };
    let mut cyclic = plain();
    cyclic.graph.as_mut().unwrap().node =
        vec![node("Add", &["features", "b"], "probabilities"), node("Neg", &["probabilities"], "b")];
    let mut wide = plain();
    wide.graph.as_mut().unwrap().input = vec![ValueInfoProto::matrix("features", DataType::Float, 1 << 40)];
    let mut outputless = plain();
    outputless.graph.as_mut().unwrap().output.clear();
    let short = TensorProto {
        name: "w".to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![1 << 20, 1 << 20],
        raw_data: Some(vec![0; 8]),
        ..Default::default()
    };
    let negative = TensorProto { dims: vec![-5, 2], ..short.clone() };
    let adds = |constant: TensorProto| file(vec![node("Add", &["features", "w"], "probabilities")], vec![constant]);
    let range = file(
        vec![
            node("Range", &["zero", "many", "one"], "numbers"),
            node("ReduceMax", &["numbers"], "most"),
            {
                let mut cast = node("Cast", &["most"], "float");
                cast.attribute = vec![AttributeProto::whole("to", 1)];
                cast
            },
            node("Add", &["features", "float"], "probabilities"),
        ],
        vec![scalar("zero", 0), scalar("many", 1 << 40), scalar("one", 1)],
    );
    let tile = file(
        vec![node("Tile", &["features", "times"], "tiled"), node("Identity", &["tiled"], "probabilities")],
        vec![whole("times", &[1, 1 << 34])],
    );
    let mut truncated = encoded(plain());
    truncated.truncate(truncated.len() / 2);
    vec![
        ("100 GB", encoded(filled_with(&[25_000_000_000])), "ConstantOfShape"),
        ("a shape beyond all numbers", encoded(filled_with(&[1 << 40, 1 << 40])), "the graph"),
        ("a negative shape", encoded(filled_with(&[-7])), "the graph"),
        ("a range of a trillion", encoded(range), "Range"),
        ("tiles without number", encoded(tile), "Tile"),
        ("a loop without an end", encoded(endless()), "time limit of 3s"),
        // Loading it takes longer than anyone should wait.
        ("a chain of 8,000 additions", encoded(chain(8_000)), "the artifact"),
        ("a place beyond the input", encoded(gathered()), "Gather"),
        ("a cycle", encoded(cyclic), "the graph cannot be loaded"),
        ("graphs in graphs", encoded(nested(400)), "not an ONNX model"),
        ("an unknown operator", encoded(file(vec![node("Exec", &["features"], "probabilities")], Vec::new())), "Exec"),
        ("an operator set of the future", encoded(of_opset(99)), "the graph cannot be loaded"),
        ("an operator set of nobody", encoded(of_opset(-1)), "the graph cannot be loaded"),
        ("a file elsewhere", encoded(elsewhere("../../../../etc/passwd")), "lie in another file"),
        ("a file of the system", encoded(elsewhere("/etc/passwd")), "lie in another file"),
        ("values that are not there", encoded(adds(short)), "the graph cannot be loaded"),
        ("a tensor of negative size", encoded(adds(negative)), "the graph cannot be loaded"),
        ("an input of a trillion columns", encoded(wide), "takes 1099511627776 columns"),
        ("no output", encoded(outputless), "not an ONNX model"),
        ("half a file", truncated, "the artifact"),
        (
            "noise",
            (0..100_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            "not an ONNX model",
        ),
    ]
}

fn sample() -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("age", Arc::new(Float64Array::from(vec![0.25, 0.5]))),
        ("ward", Arc::new(StringArray::from(vec!["east", "west"]))),
        ("prediction", Arc::new(StringArray::from(vec!["yes", "no"]))),
        ("score", Arc::new(Float64Array::from(vec![0.75, 0.25]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A folder with a trainer that hands over what is written to `artifact`.
fn place(python: &std::path::Path) -> (Workplace, String) {
    let trainer = "{command: {program: sh, arguments: [train.sh], time_limit: 10s}}";
    let configuration = configuration(trainer, "").replace("time_limit: 20s", "time_limit: 3s");
    let place = Workplace::new(crate::BINARY, &configuration, On::Embedded).unwrap();
    place.write("rows.csv", &rows(60)).unwrap();
    place.write("train.sh", TRAIN).unwrap();
    rows_file::write(&place.path().join("sample.parquet"), &sample()).unwrap();
    // The first python3 in PATH is the one with the library.
    let folders = std::env::var("PATH").unwrap_or_default();
    (place, format!("{}:{folders}", python.parent().unwrap().display()))
}

#[test]
fn a_hostile_artifact_is_refused_with_its_reason_and_costs_nothing_else() {
    let Some(python) = python() else { return };
    let (place, path) = place(&python);
    let mut told = Vec::new();
    for (name, artifact, expected) in cases() {
        std::fs::write(place.path().join("artifact"), artifact).unwrap();
        let began = Instant::now();
        let outcome = place.command(&super::REFERENCE).env("PATH", &path).output().unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        told.push(format!("{name}: {:.1} s: {}", began.elapsed().as_secs_f64(), said.trim()));
        assert_eq!(outcome.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(expected) && said.contains("the artifact"), "{name}: {said}");
        assert!(began.elapsed() < PATIENCE, "{name}: {:?}", began.elapsed());
    }
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    println!("{}\nlargest process: {} MB", told.join("\n"), usage.max_rss() / 1024);
    assert!(usage.max_rss() / 1024 < MOST_RESIDENT_MB, "{} MB", usage.max_rss() / 1024);
}
