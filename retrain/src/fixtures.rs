//! What the tests of several modules set up alike.

use crate::lifecycle::Lineage;
use crate::scorer::onnx::OnnxScorer;
use crate::scorer::{Scorer, ScoringError};
use crate::trainer::TrainedModel;
use detectors::schema::ModelSchema;
use std::collections::BTreeMap;

/// What answers for models that are ONNX.
pub(crate) fn onnx_of(schema: &ModelSchema) -> impl Fn(&TrainedModel) -> Result<Box<dyn Scorer>, ScoringError> {
    move |trained| Ok(Box::new(OnnxScorer::load(&trained.artifact, schema)?))
}

/// The lineage of a version that nobody trained.
pub(crate) fn lineage() -> Lineage {
    Lineage {
        request: None,
        cause: "set up".into(),
        parent: None,
        training_set: None,
        training_rows: 0,
        trained_from_ms: None,
        trained_until: None,
        code_revision: None,
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
    }
}
