//! What the trainer stage needs of the world: rows from the log and the archive, artifacts in the object store, references
//! learned from training sets.

use crate::service::model::{ModelSetup, decoder};
use arrow::array::RecordBatch;
use bytes::Bytes;
use capture::history::History;
use capture::learn::learn_reference;
use capture::segments::Segmenter;
use codec::columns::event_schema;
use codec::schemas::Schemas;
use detectors::reference::Origin;
use retrain::lifecycle::ArtifactId;
use retrain::trainer_deps::{
    ArtifactError, ArtifactStore, ChallengerOrigin, LabelledRows, ReferenceLearner, RowSpan, TrainableModel,
    TrainerDeps,
};
use retrain::trainer_stage::TrainerStage;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use streams::log::Log;
use streams::stage::StageError;
use streams::store::{Artifacts, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// What trainer stages are made of.
#[derive(Clone)]
pub(crate) struct WorkshopParts {
    /// Where rows are.
    pub log: Arc<dyn Log>,
    /// Where artifacts and archived rows are.
    pub store: Arc<Store>,
    /// The models.
    pub models: Vec<Arc<ModelSetup>>,
    /// What records are written with.
    pub schemas: Arc<Schemas>,
    /// Where trainings work.
    pub work_directory: PathBuf,
    /// Cancelled when trainings are to end.
    pub stop: CancellationToken,
}

impl WorkshopParts {
    /// A new trainer stage; every instance has a claimant's name of its own.
    ///
    /// # Errors
    /// When a segment expression cannot be used.
    pub(crate) fn stage(&self) -> Result<TrainerStage, StageError> {
        let watched: Vec<_> = self.models.iter().map(|model| Arc::clone(&model.watched)).collect();
        let decoder = decoder(&self.models, &self.schemas);
        let history = History::new(Arc::clone(&self.log), Arc::clone(&self.store), watched, decoder);
        let mut segmenters = BTreeMap::new();
        for model in &self.models {
            let schema = event_schema(&model.watched.schema, &model.watched.segments_from_events());
            let segmenter = Segmenter::new(&schema, &model.watched.segments);
            let segmenter = segmenter.map_err(|error| StageError::failed("setting up the trainer", error))?;
            segmenters.insert(model.name().to_owned(), segmenter);
        }
        let trainable = self.models.iter().filter_map(|model| Some((model.name().to_owned(), self.trainable(model)?)));
        let trainer_deps = TrainerDeps {
            rows: Box::new(SegmentedRows { history, segmenters }),
            artifacts: Box::new(StoredArtifacts(Arc::clone(&self.store))),
            references: Box::new(References(self.models.clone())),
            work_directory: self.work_directory.clone(),
            claimant: random_name(),
            stop: self.stop.clone(),
        };
        Ok(TrainerStage::new(trainable.collect(), trainer_deps))
    }

    fn trainable(&self, model: &Arc<ModelSetup>) -> Option<TrainableModel> {
        let trainer = model.trainer()?;
        let (setup, stop) = (Arc::clone(model), self.stop.clone());
        Some(TrainableModel {
            schema: model.watched.schema.clone(),
            policy: model.retrain.clone(),
            trainer,
            scorer: Box::new(move |version, artifact| setup.scorer(version, artifact, &stop)),
        })
    }
}

/// A name that no other process or instance has.
pub(crate) fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Labelled rows with the values of their segments beside them.
struct SegmentedRows {
    history: History,
    segmenters: BTreeMap<String, Segmenter>,
}

impl LabelledRows for SegmentedRows {
    fn between(&mut self, span: RowSpan<'_>) -> Result<RecordBatch, StageError> {
        let rows =
            self.history.labelled_rows(span.model, span.until, span.event_time.start_ms..span.event_time.end_ms)?;
        match self.segmenters.get(span.model) {
            Some(segmenter) => segmenter.extend(&rows).map_err(|error| StageError::failed("segmenting rows", error)),
            None => Ok(rows),
        }
    }
}

struct StoredArtifacts(Arc<Store>);

impl ArtifactStore for StoredArtifacts {
    fn put(&mut self, bytes: Bytes) -> Result<ArtifactId, ArtifactError> {
        self.0.put(bytes).map(ArtifactId).map_err(|error| stored("storing an artifact", error))
    }

    fn get(&mut self, id: &ArtifactId) -> Result<Bytes, ArtifactError> {
        Artifacts::get(self.0.as_ref(), &id.0).map_err(|error| match error {
            StoreError::Damaged { found, .. } => ArtifactError::Damaged { id: id.clone(), found },
            other => stored("reading an artifact", other),
        })
    }
}

fn stored(doing: &str, error: StoreError) -> ArtifactError {
    ArtifactError::Store { doing: doing.to_owned(), source: Box::new(error) }
}

struct References(Vec<Arc<ModelSetup>>);

impl ReferenceLearner for References {
    fn learn(&self, version: ChallengerOrigin<'_>, rows: &RecordBatch) -> Result<(String, Bytes), StageError> {
        let ChallengerOrigin { model, version, training_set } = version;
        let setup = self.0.iter().find(|setup| setup.name() == model);
        let setup =
            setup.ok_or_else(|| StageError::failed("learning a reference", format!("`{model}` is not configured")))?;
        let origin = Origin::TrainingSet { digest: training_set.0.clone() };
        let reference = learn_reference(&setup.watched, version, rows, origin);
        let reference = reference.map_err(|error| StageError::failed("learning a reference", error))?;
        let bytes = reference.to_bytes().map_err(|error| StageError::failed("writing a reference", error))?;
        Ok((reference.id().to_owned(), bytes.into()))
    }
}
