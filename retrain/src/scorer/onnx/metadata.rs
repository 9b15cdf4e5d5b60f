//! What a graph says in its metadata, where its tensors do not say it. Each entry is JSON unless told otherwise.
//!
//! | entry | holds |
//! |---|---|
//! | `driftline.categories` | object from a categorical feature to its categories: what stands at a numeric input is the index |
//! | `driftline.classes` | list of the classes, in the order of the output's columns |
//! | `driftline.inputs` | object from an input to the features that are its columns |
//! | `driftline.output` | name of the output that holds the answers, as it is |
//! | `driftline.scores` | `probabilities` or `logits`, as it is |
//! | `driftline.nulls` | object from a feature to what stands for null at an input that has none |

use crate::encoding::{CATEGORIES_KEY, CategoryTables};
use crate::onnx_file::ModelProto;
use crate::scorer::ScoringError;
use detectors::schema::{ColumnKind, ModelSchema};
use std::collections::BTreeMap;

/// Key of the class order in an ONNX graph's metadata: a JSON list of class names.
pub const CLASSES_KEY: &str = "driftline.classes";
/// Key of the features that are an input's columns.
pub(super) const INPUTS_KEY: &str = "driftline.inputs";
/// Key of the output that holds the answers.
pub(super) const OUTPUT_KEY: &str = "driftline.output";
/// Key of what the answers are.
const SCORES_KEY: &str = "driftline.scores";
/// Key of what stands for null.
const NULLS_KEY: &str = "driftline.nulls";

/// What the output of a classification holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scores {
    Probabilities,
    /// What a sigmoid or a softmax makes probabilities of.
    Logits,
}

pub(super) fn tables(model: &ModelProto, schema: &ModelSchema) -> Result<CategoryTables, ScoringError> {
    let tables: CategoryTables = read(model, CATEGORIES_KEY)?.unwrap_or_default();
    let is_known = |column: &str| {
        schema.features().any(|feature| feature.name == column && feature.kind == ColumnKind::Categorical)
    };
    match tables.keys().find(|column| !is_known(column)) {
        None => Ok(tables),
        Some(column) => Err(unreadable(CATEGORIES_KEY, format!("{column} is no categorical feature of the schema"))),
    }
}

pub(super) fn classes(model: &ModelProto) -> Result<Option<Vec<String>>, ScoringError> {
    read(model, CLASSES_KEY)
}

pub(super) fn inputs(model: &ModelProto, features: &[String]) -> Result<BTreeMap<String, Vec<String>>, ScoringError> {
    let inputs: BTreeMap<String, Vec<String>> = read(model, INPUTS_KEY)?.unwrap_or_default();
    match inputs.values().flatten().find(|column| !features.contains(column)) {
        None => Ok(inputs),
        Some(column) => Err(unreadable(INPUTS_KEY, format!("{column} is no feature of the schema"))),
    }
}

pub(super) fn nulls(model: &ModelProto) -> Result<BTreeMap<String, serde_json::Value>, ScoringError> {
    Ok(read(model, NULLS_KEY)?.unwrap_or_default())
}

pub(super) fn scores(model: &ModelProto) -> Result<Scores, ScoringError> {
    match model.metadata(SCORES_KEY) {
        None | Some("probabilities") => Ok(Scores::Probabilities),
        Some("logits") => Ok(Scores::Logits),
        Some(other) => Err(unreadable(SCORES_KEY, format!("{other} is neither probabilities nor logits"))),
    }
}

fn read<T: serde::de::DeserializeOwned>(model: &ModelProto, key: &'static str) -> Result<Option<T>, ScoringError> {
    let Some(value) = model.metadata(key) else { return Ok(None) };
    serde_json::from_str(value).map(Some).map_err(|error| unreadable(key, error.to_string()))
}

fn unreadable(key: &'static str, reason: String) -> ScoringError {
    ScoringError::Metadata { key, reason }
}
