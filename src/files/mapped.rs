//! A model's `map` as it holds for files: records of another shape, kept as they were sent, are history too.
//!
//! What the map has a path to is taken from there where a file has that column, dots leading into structs. What is said on the
//! command line goes before it, and what it is used for is told.

use super::cell::has_path;
use super::{EventTime, FileColumns, ScoreColumns};
use crate::config::ModelConfig;
use arrow::datatypes::Schema;
use codec::decode::{FeatureOrigins, MappingSettings, Origin, Scalar, TimeOrigin};
use detectors::schema::{ModelSchema, Task};
use std::collections::BTreeMap;

/// What a map says of a file's columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MappedColumns {
    /// The columns beside features.
    pub columns: FileColumns,
    /// The column of each feature that does not stand under its own name.
    pub renamed: BTreeMap<String, String>,
    /// The version, where it is the same for every record.
    pub version: Option<String>,
    /// What was taken from where, for whoever asked for the rows.
    pub told: Vec<String>,
}

impl MappedColumns {
    /// What the map of a model says of a file with these columns.
    pub fn of(model: &ModelConfig, file: &Schema) -> Self {
        let mut mapped = Self { renamed: model.renamed_features(), ..Self::default() };
        if let Some(map) = &model.map {
            mapped.take(map, model.schema(), file);
        }
        mapped
    }

    fn take(&mut self, map: &MappingSettings, schema: &ModelSchema, file: &Schema) {
        self.columns.id = self.path("id", Some(&map.id), file);
        let time = match &map.time {
            TimeOrigin::Path(path) => path,
            TimeOrigin::Unit(time) => &time.path,
        };
        if let Some(column) = self.path("time", Some(&Origin::Path(time.clone())), file) {
            self.columns.time = EventTime::Column(column);
        }
        self.columns.prediction = self.path("prediction", map.prediction.as_ref(), file);
        self.columns.label = self.path("label", map.label.as_ref(), file);
        if let Some(Origin::Path(path)) = &map.score {
            self.columns.scores = scores(path, &schema.task, file);
        }
        for (dimension, origin) in &map.segment {
            let column = self.path(dimension, Some(origin), file);
            self.columns.segments.extend(column.map(|column| (dimension.clone(), column)));
        }
        if let Some(FeatureOrigins::All(path)) = &map.features {
            let within = |name: &str| format!("{path}.{}", name.replace('.', "\\."));
            let names = schema.features().map(|feature| (feature.name.clone(), within(&feature.name)));
            self.renamed.extend(names.filter(|(_, column)| has_path(file, column)));
        }
        self.version = match &map.version {
            Some(Origin::Constant(constant)) => match &constant.constant {
                Scalar::Text(version) => Some(version.clone()),
                Scalar::Int(version) => Some(version.to_string()),
                Scalar::Bool(_) | Scalar::Float(_) => None,
            },
            _ => None,
        };
    }

    /// The path of a mapped field that the file has.
    fn path(&mut self, field: &str, origin: Option<&Origin>, file: &Schema) -> Option<String> {
        let Some(Origin::Path(path)) =
            origin.filter(|origin| matches!(origin, Origin::Path(path) if has_path(file, path)))
        else {
            return None;
        };
        self.told.push(format!("{field} is taken from `{path}`"));
        Some(path.clone())
    }
}

/// The score of a binary task, or one of each class below the path.
fn scores(path: &str, task: &Task, file: &Schema) -> ScoreColumns {
    match task {
        Task::Binary { .. } if has_path(file, path) => ScoreColumns::One(path.to_owned()),
        Task::Multiclass { classes } => {
            let of_class = |class: &String| (class.clone(), format!("{path}.{}", class.replace('.', "\\.")));
            let columns: BTreeMap<_, _> = classes.iter().map(of_class).collect();
            let has_all = columns.values().all(|column| has_path(file, column));
            if has_all { ScoreColumns::EachClass(columns) } else { ScoreColumns::None }
        }
        _ => ScoreColumns::None,
    }
}
