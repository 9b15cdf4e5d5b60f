//! The champion as a Triton model repository.
//!
//! ```text
//! <repository>/<model>/config.pbtxt       names the one version that is served
//! <repository>/<model>/<number>/model.onnx
//! ```
//!
//! A reader never sees half a version: each version's directory is filled under a hidden name and renamed into place, and
//! the configuration, renamed last, is what makes a server turn to it (in Triton's `poll` mode by itself, in `explicit` mode
//! when it is told to load the model). The [`VERSIONS_KEPT`] newest versions stay for a rollback, which is to publish the
//! earlier number again. Only the writer of the `models` topic publishes, so that nothing else writes here.

use crate::onnx_file as pb;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How many versions stay in the repository, the one that is served among them.
pub const VERSIONS_KEPT: usize = 3;

/// What is published.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// The model; also the name of its directory.
    pub model: &'a str,
    /// Triton's number for the version, from 1; a greater one for a later version.
    pub number: u64,
    /// The ONNX graph.
    pub artifact: &'a [u8],
}

/// Why a version could not be published. What was served before is served still.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A model name that is no directory name.
    #[error(
        "the model name {model:?} cannot be a directory's; letters, digits, `-`, `_` and `.` are allowed, and no `.` in front"
    )]
    Name {
        /// The name.
        model: String,
    },
    /// A version number that Triton does not take.
    #[error("version number 0 of model {model} cannot be published; Triton counts from 1")]
    Number {
        /// The model.
        model: String,
    },
    /// The artifact is not a graph that can be described.
    #[error("the artifact of model {model} cannot be described to Triton: {reason}")]
    Artifact {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// The file system refused.
    #[error("{path} cannot be {action}; check its permissions and the space left", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Puts a version into the repository and makes it the one that is served. Publishing what is there already is harmless.
///
/// # Errors
/// The name or number is not allowed, the artifact is not ONNX, or a file cannot be written.
pub fn publish(repository: &Path, publication: &Publication<'_>) -> Result<(), PublishError> {
    check_name(publication.model)?;
    if publication.number == 0 {
        return Err(PublishError::Number { model: publication.model.to_owned() });
    }
    let configuration = describe(publication)?;
    let directory = repository.join(publication.model);
    std::fs::create_dir_all(&directory).map_err(io(&directory, "created"))?;
    place_version(&directory, publication)?;
    place_configuration(&directory, &configuration)?;
    remove_old_versions(&directory, publication.number)
}

fn check_name(model: &str) -> Result<(), PublishError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !model.is_empty() && !model.starts_with('.') && model.len() <= 200 && model.chars().all(allowed) {
        return Ok(());
    }
    Err(PublishError::Name { model: model.to_owned() })
}

fn place_version(directory: &Path, publication: &Publication<'_>) -> Result<(), PublishError> {
    let place = directory.join(publication.number.to_string());
    let graph = place.join("model.onnx");
    if std::fs::read(&graph).is_ok_and(|there| there == publication.artifact) {
        return Ok(());
    }
    let hidden = directory.join(format!(".{}.new", publication.number));
    clear(&hidden)?;
    std::fs::create_dir(&hidden).map_err(io(&hidden, "created"))?;
    write_durably(&hidden.join("model.onnx"), publication.artifact)?;
    // Another artifact under this number can only be what an interrupted publication or a foreign hand left.
    clear(&place)?;
    std::fs::rename(&hidden, &place).map_err(io(&place, "moved into place"))?;
    sync_directory(directory)
}

fn place_configuration(directory: &Path, configuration: &str) -> Result<(), PublishError> {
    let hidden = directory.join(".config.pbtxt.new");
    let place = directory.join("config.pbtxt");
    write_durably(&hidden, configuration.as_bytes())?;
    std::fs::rename(&hidden, &place).map_err(io(&place, "moved into place"))?;
    sync_directory(directory)
}

/// Keeps the served version and the greatest numbers beside it.
fn remove_old_versions(directory: &Path, served: u64) -> Result<(), PublishError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io(directory, "listed"))? {
        let name = entry.map_err(io(directory, "listed"))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()).filter(|number| *number != served));
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    for number in numbers.into_iter().skip(VERSIONS_KEPT - 1) {
        clear(&directory.join(number.to_string()))?;
    }
    Ok(())
}

fn clear(directory: &Path) -> Result<(), PublishError> {
    match std::fs::remove_dir_all(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(io(directory, "removed")(source)),
        _ => Ok(()),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let mut file = File::create(path).map_err(io(path, "created"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(path, "written"))
}

/// Makes a rename survive a power cut.
fn sync_directory(directory: &Path) -> Result<(), PublishError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(io(directory, "made durable"))
}

fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> PublishError {
    move |source| PublishError::Io { path: path.to_owned(), action, source }
}

/// The text of `config.pbtxt`. Inputs and outputs are the graph's own; the first dimension is the batch, which Triton wants
/// left out of `dims`.
fn describe(publication: &Publication<'_>) -> Result<String, PublishError> {
    let Publication { model, number, artifact } = *publication;
    let unusable = |reason: String| PublishError::Artifact { model: model.to_owned(), reason };
    let decoded: pb::ModelProto =
        prost::Message::decode(artifact).map_err(|error: prost::DecodeError| unusable(error.to_string()))?;
    let graph = decoded.graph.ok_or_else(|| unusable("it has no graph".to_owned()))?;
    let constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let inputs = graph.input.iter().filter(|input| !constant(&input.name)).map(tensor);
    let inputs = inputs.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    let outputs = graph.output.iter().map(tensor).collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    Ok(format!(
        "name: {}\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: 1024\ninput [\n{}\n]\noutput [\n{}\n]\n\
         version_policy {{ specific {{ versions: [{number}] }} }}\ndynamic_batching {{ }}\n",
        quoted(model),
        inputs.join(",\n"),
        outputs.join(",\n"),
    ))
}

fn tensor(value: &pb::ValueInfoProto) -> Result<String, String> {
    use pb::tensor_shape_proto::dimension::Value::DimValue;
    let Some(pb::type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Err(format!("{} is not a tensor; export the model with zipmap disabled", value.name));
    };
    let data_type = triton_type(tensor.elem_type).ok_or_else(|| format!("{} has an unknown type", value.name))?;
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let dims: Vec<String> = shape
        .iter()
        .skip(1)
        .map(|dimension| match dimension.value {
            Some(DimValue(length)) if length > 0 => length.to_string(),
            _ => "-1".to_owned(),
        })
        .collect();
    // A tensor of the batch alone has no other dimension; Triton spells that [1] with an empty reshape.
    let (dims, reshape) =
        if dims.is_empty() { ("1".to_owned(), " reshape { shape: [] }") } else { (dims.join(", "), "") };
    Ok(format!("  {{ name: {} data_type: {data_type} dims: [{dims}]{reshape} }}", quoted(&value.name)))
}

fn triton_type(elem_type: i32) -> Option<&'static str> {
    use pb::tensor_proto::DataType;
    match DataType::try_from(elem_type).ok()? {
        DataType::Float => Some("TYPE_FP32"),
        DataType::Double => Some("TYPE_FP64"),
        DataType::Int32 => Some("TYPE_INT32"),
        DataType::Int64 => Some("TYPE_INT64"),
        DataType::Bool => Some("TYPE_BOOL"),
        DataType::String => Some("TYPE_STRING"),
        _ => None,
    }
}

/// A string of protobuf's text format.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pb::tensor_proto::DataType;
    use pb::tensor_shape_proto::{Dimension, dimension};
    use prost::Message;

    fn value(name: &str, data_type: DataType, width: Option<i64>) -> pb::ValueInfoProto {
        let batch = Dimension { value: Some(dimension::Value::DimParam("N".to_owned())), ..Default::default() };
        let width =
            width.map(|width| Dimension { value: Some(dimension::Value::DimValue(width)), ..Default::default() });
        let shape = pb::TensorShapeProto { dim: std::iter::once(batch).chain(width).collect() };
        let tensor = pb::type_proto::Tensor { elem_type: data_type as i32, shape: Some(shape) };
        let kind = pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
        pb::ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() }
    }

    fn artifact(producer: &str) -> Vec<u8> {
        let graph = pb::GraphProto {
            input: vec![value("features", DataType::Float, Some(3))],
            output: vec![value("label", DataType::Int64, None), value("probabilities", DataType::Float, Some(2))],
            ..Default::default()
        };
        pb::ModelProto { graph: Some(graph), producer_name: producer.to_owned(), ..Default::default() }.encode_to_vec()
    }

    fn publish_number(repository: &Path, number: u64) {
        let artifact = artifact(&number.to_string());
        publish(repository, &Publication { model: "admission", number, artifact: &artifact }).unwrap();
    }

    fn entries(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_configuration_describes_the_graph_and_serves_the_version() {
        let repository = tempfile::tempdir().unwrap();
        publish_number(repository.path(), 4);
        let directory = repository.path().join("admission");
        expect![[r#"
            name: "admission"
            platform: "onnxruntime_onnx"
            max_batch_size: 1024
            input [
              { name: "features" data_type: TYPE_FP32 dims: [3] }
            ]
            output [
              { name: "label" data_type: TYPE_INT64 dims: [1] reshape { shape: [] } },
              { name: "probabilities" data_type: TYPE_FP32 dims: [2] }
            ]
            version_policy { specific { versions: [4] } }
            dynamic_batching { }
        "#]]
        .assert_eq(&std::fs::read_to_string(directory.join("config.pbtxt")).unwrap());
        assert_eq!(std::fs::read(directory.join("4/model.onnx")).unwrap(), artifact("4"));
    }

    #[test]
    fn earlier_versions_stay_for_a_rollback_and_no_more_than_needed() {
        let repository = tempfile::tempdir().unwrap();
        (1..=5).for_each(|number| publish_number(repository.path(), number));
        let directory = repository.path().join("admission");
        assert_eq!(entries(&directory), ["3", "4", "5", "config.pbtxt"]);
        publish_number(repository.path(), 3);
        assert_eq!(entries(&directory), ["3", "4", "5", "config.pbtxt"]);
        let configuration = std::fs::read_to_string(directory.join("config.pbtxt")).unwrap();
        assert!(configuration.contains("versions: [3]"), "{configuration}");
    }

    #[test]
    fn what_an_interrupted_publication_left_is_replaced() {
        let repository = tempfile::tempdir().unwrap();
        let directory = repository.path().join("admission");
        for left in [".1.new", "1"] {
            std::fs::create_dir_all(directory.join(left)).unwrap();
            std::fs::write(directory.join(left).join("model.onnx"), "half").unwrap();
        }
        publish_number(repository.path(), 1);
        assert_eq!(entries(&directory), ["1", "config.pbtxt"]);
        assert_eq!(std::fs::read(directory.join("1/model.onnx")).unwrap(), artifact("1"));
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_repository() {
        let repository = tempfile::tempdir().unwrap();
        let artifact = artifact("1");
        for model in ["", "..", "../other", "a/b", "/etc", ".hidden", "a\0b"] {
            let error = publish(repository.path(), &Publication { model, number: 1, artifact: &artifact }).unwrap_err();
            assert!(matches!(error, PublishError::Name { .. }), "{error}");
        }
        assert!(entries(repository.path()).is_empty());
    }
}
