//! What the tests of several modules set up alike.

use crate::lifecycle::Lineage;
use crate::process::CommandSpec;
use crate::scorer::linear::LinearScorer;
use crate::scorer::onnx::{Library, OnnxScorer, open};
use crate::scorer::{Scorer, ScoringError};
use crate::trainer::TrainedModel;
use detectors::schema::ModelSchema;
use ort::environment::Environment;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What answers for models that are ONNX: their own numbers, or ONNX Runtime in this process.
pub(crate) fn onnx_of(schema: &ModelSchema) -> impl Fn(&TrainedModel) -> Result<Box<dyn Scorer>, ScoringError> {
    move |trained| match LinearScorer::read(&trained.artifact, schema)? {
        Some(linear) => Ok(Box::new(linear)),
        None => Ok(Box::new(OnnxScorer::load(engine().ok_or(ScoringError::NoRuntime)?, &trained.artifact, schema)?)),
    }
}

/// The Python that tests may use, with `tests/trainers/requirements.txt`; `None`, and a word about it, where there is none.
pub(crate) fn python() -> Option<String> {
    let python = std::env::var("DRIFTLINE_TEST_PYTHON").ok();
    if python.is_none() {
        let required = std::env::var("DRIFTLINE_REQUIRE_PYTHON").is_ok_and(|value| value == "1");
        assert!(!required, "DRIFTLINE_TEST_PYTHON must name an interpreter with tests/trainers/requirements.txt");
        println!("skipped: DRIFTLINE_TEST_PYTHON names no interpreter with tests/trainers/requirements.txt");
    }
    python
}

/// The ONNX Runtime of that Python, one for all tests of this process.
pub(crate) fn engine() -> Option<&'static Environment> {
    static ENGINE: OnceLock<Environment> = OnceLock::new();
    let python = python()?;
    Some(ENGINE.get_or_init(|| {
        let trainer = CommandSpec { program: python.into(), ..CommandSpec::default() };
        open(&Library { named: None, trainer: Some(trainer) }.candidates()).unwrap()
    }))
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
        training: None,
    }
}
