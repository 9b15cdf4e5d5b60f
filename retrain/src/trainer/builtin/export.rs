//! The file of a builtin model: the graph of [`crate::linear`], and metadata.
//!
//! The metadata carries what a client needs to fill the input and to read the output: the format's version, the model's name
//! and version, the schema, the category tables and the classes.

use super::design::Design;
use crate::encoding::CATEGORIES_KEY;
use crate::linear::{Answer, LinearMap, LinearModel, graph};
use crate::scorer::onnx::CLASSES_KEY;
use crate::trainer::{TrainingError, TrainingJob};
use bytes::Bytes;
use prost::Message;

/// Version of the contract between the graph's metadata and its readers.
const FORMAT: &str = "1";

/// Writes the file.
pub(super) fn export(job: &TrainingJob<'_>, design: &Design, map: &LinearMap) -> Result<Bytes, TrainingError> {
    let model = LinearModel {
        columns: design.columns.clone(),
        map: map.clone(),
        answer: Answer::to(&job.schema.task),
        corrections: Vec::new(),
    };
    let mut file = graph::file(graph::write(job.model, job.schema.features().count(), &model));
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| TrainingError::Solver { reason: format!("the metadata cannot be written: {error}") })
    };
    file.set_metadata("driftline.format", FORMAT.to_owned());
    file.set_metadata("driftline.model", job.model.to_owned());
    file.set_metadata("driftline.version", job.version.to_owned());
    file.set_metadata("driftline.schema", json(serde_json::to_string(job.schema))?);
    file.set_metadata(CATEGORIES_KEY, json(serde_json::to_string(&design.tables))?);
    file.set_metadata(CLASSES_KEY, json(serde_json::to_string(&job.schema.task.classes()))?);
    Ok(file.encode_to_vec().into())
}
