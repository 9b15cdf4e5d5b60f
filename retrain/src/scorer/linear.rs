//! Builtin models, answered in this process: no engine is asked for a few multiplications.

use super::onnx::CLASSES_KEY;
use super::{Scorer, ScoringError};
use crate::answers;
use crate::encoding::{CATEGORIES_KEY, InputEncoding};
use crate::linear::{Answer, Evaluation, read};
use crate::onnx_file::ModelProto;
use arrow::array::RecordBatch;
use detectors::schema::{ModelSchema, Task};
use serde::de::DeserializeOwned;

/// A linear model that was read from its graph.
#[derive(Debug)]
pub struct LinearScorer {
    encoding: InputEncoding,
    evaluation: Evaluation,
    task: Task,
}

impl LinearScorer {
    /// The model in an artifact; `None` where it is none of the builtin trainer's.
    ///
    /// # Errors
    /// It is one, of another schema.
    pub fn read(artifact: &[u8], schema: &ModelSchema) -> Result<Option<Self>, ScoringError> {
        let Some(found) = read::read(artifact) else { return Ok(None) };
        let features = schema.features().count();
        if found.features != features {
            let reason = format!("input features takes {} columns, the schema has {features} features", found.features);
            return Err(ScoringError::Inputs { reason });
        }
        let classes: Vec<String> = metadata(&found.file, CLASSES_KEY)?.unwrap_or_default();
        if classes != schema.task.classes() || found.model.answer != Answer::to(&schema.task) {
            let (found, expected) = (classes.join(", "), schema.task.classes().join(", "));
            return Err(ScoringError::Outputs {
                reason: format!("its classes are {found}, the schema's are {expected}"),
            });
        }
        let tables = metadata(&found.file, CATEGORIES_KEY)?.unwrap_or_default();
        let encoding = InputEncoding::new(schema, &tables)?;
        Ok(Some(Self { encoding, evaluation: Evaluation::of(found.model), task: schema.task.clone() }))
    }
}

impl Scorer for LinearScorer {
    fn score(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ScoringError> {
        let answers = self.evaluation.answers(&self.encoding.encode(rows)?);
        Ok(match self.task {
            Task::Regression => answers::from_numbers(answers.column(0).iter().copied())?,
            _ => answers::from_probabilities(&self.task, &answers)?,
        })
    }
}

fn metadata<T: DeserializeOwned>(file: &ModelProto, key: &'static str) -> Result<Option<T>, ScoringError> {
    let Some(value) = file.metadata(key) else { return Ok(None) };
    serde_json::from_str(value).map(Some).map_err(|error| ScoringError::Metadata { key, reason: error.to_string() })
}
