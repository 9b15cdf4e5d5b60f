//! A model's first version and reference, from rows that are at hand before any event: a file, or a simulation.
//!
//! Happens before the stages run, so that `models` still has one writer.

use crate::setup::ModelSetup;
use anyhow::{Context, Result, bail};
use arrow::array::{ArrayRef, RecordBatch};
use detectors::reference::Origin;
use ingest::archive::parquet_file::to_parquet;
use ingest::cloud_event;
use ingest::columns::{EVENT_TIME, LABEL};
use ingest::learn::{learn_reference, time_span};
use ingest::log::{Log, NewRecord};
use ingest::store::{Artifacts, Store};
use ingest::topics;
use retrain::cross_fit::{cross_fit, promised};
use retrain::gate::admit_first;
use retrain::lifecycle::{ArtifactId, LifecycleEvent, Lineage, ModelEvent, ModelVersion};
use retrain::registry::ModelRegistry;
use retrain::trainer::{self, TrainedModel, TrainingJob};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The version of a model that is trained at set-up.
pub const FIRST_VERSION: &str = "v1";

/// What first versions are made with.
pub struct Bootstrap<'a> {
    /// Where the registry is.
    pub log: &'a Arc<dyn Log>,
    /// Where artifacts go.
    pub store: &'a Store,
    /// Where trainings work.
    pub work_directory: &'a Path,
}

impl Bootstrap<'_> {
    /// Whether the model has a version already.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn is_done(&self, model: &str) -> Result<bool> {
        Ok(self.champion(model)?.is_some())
    }

    /// The champion of a model.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn champion(&self, model: &str) -> Result<Option<String>> {
        Ok(self.registry()?.model(model).and_then(|record| record.champion().map(str::to_owned)))
    }

    /// Trains the first version on these rows, learns its reference from them, and makes it champion. The rows have the
    /// columns of [`ingest::columns::event_schema`] with a label.
    ///
    /// # Errors
    /// When the training fails, or the registry has a champion already.
    pub fn train(&self, setup: &ModelSetup, rows: &RecordBatch) -> Result<()> {
        let Some(of_model) = setup.trainer() else {
            bail!("model {} has no trainer: configure `trainer`, or replay rows that hold predictions", setup.name());
        };
        let parameters = setup.retrain.parameters.clone();
        let job = TrainingJob {
            model: setup.name(),
            version: FIRST_VERSION,
            schema: &setup.watched.schema,
            rows,
            parameters: &parameters,
            work_directory: self.work_directory,
        };
        let trained = trainer::train(of_model.as_ref(), &job, &CancellationToken::new())
            .with_context(|| format!("training the first version of {}", setup.name()))?;
        let artifact = ArtifactId(self.store.put(trained.artifact.clone())?);
        let training_set = to_parquet(&rows.schema(), std::slice::from_ref(rows))?;
        let training_set = ArtifactId(self.store.put(training_set)?);
        let version = self.version(setup, rows, (&trained, artifact, training_set.clone()));
        let answered = self.answered(setup, (&version, &trained), &job)?;
        let origin = Origin::TrainingSet { digest: training_set.0 };
        let reference = learn_reference(&setup.watched, FIRST_VERSION, &answered, origin)?;
        self.register(setup, version, &reference)
    }

    /// Learns the reference of a version that is served elsewhere from rows with its predictions, and registers it.
    ///
    /// # Errors
    /// When the rows make no reference.
    pub fn observe(&self, setup: &ModelSetup, version: &str, (rows, origin): (&RecordBatch, Origin)) -> Result<()> {
        let reference = learn_reference(&setup.watched, version, rows, origin)?;
        let version = ModelVersion {
            version: version.to_owned(),
            artifact: None,
            schema: setup.watched.schema.clone(),
            lineage: lineage("brought from outside", rows),
        };
        self.register(setup, version, &reference)
    }

    fn version(
        &self,
        setup: &ModelSetup,
        rows: &RecordBatch,
        (trained, artifact, training_set): (&TrainedModel, ArtifactId, ArtifactId),
    ) -> ModelVersion {
        let lineage = Lineage {
            training_set: Some(training_set),
            code_revision: trained.code_revision.clone(),
            parameters: trained.parameters.clone(),
            metrics: trained.metrics.clone(),
            ..lineage("trained at set-up", rows)
        };
        ModelVersion {
            version: FIRST_VERSION.to_owned(),
            artifact: Some((artifact, trained.format)),
            schema: setup.watched.schema.clone(),
            lineage,
        }
    }

    /// The rows with answers in place of their own: of models that were not trained on them, where half of the rows makes one.
    fn answered(
        &self,
        setup: &ModelSetup,
        (version, trained): (&ModelVersion, &TrainedModel),
        job: &TrainingJob<'_>,
    ) -> Result<RecordBatch> {
        let (rows, stop) = (job.rows, CancellationToken::new());
        let own = setup.scorer(version, &trained.artifact, &stop)?.score(rows)?;
        let scorer_of = |half: &TrainedModel| setup.scorer(version, &half.artifact, &stop);
        let held_out = match setup.trainer() {
            Some(trainer) => cross_fit(trainer.as_ref(), &scorer_of, job, &stop),
            None => Ok(own.clone()),
        };
        let answers = match (held_out, rows.column_by_name(LABEL)) {
            (Ok(held_out), Some(labels)) => promised(&setup.watched.schema.task, labels, own, held_out),
            (Err(error), _) => {
                tracing::warn!(model = setup.name(), %error, "the reference is learned in-sample");
                own
            }
            (Ok(held_out), None) => held_out,
        };
        let replaced = rows.schema_ref().fields().iter().zip(rows.columns()).map(|(field, column)| -> ArrayRef {
            answers.column_by_name(field.name()).map_or_else(|| Arc::clone(column), Arc::clone)
        });
        Ok(RecordBatch::try_new(rows.schema(), replaced.collect())?)
    }

    fn register(
        &self,
        setup: &ModelSetup,
        version: ModelVersion,
        reference: &detectors::reference::Reference,
    ) -> Result<()> {
        let mut registry = self.registry()?;
        let name = version.version.clone();
        let time_ms = version.lineage.trained_from_ms.unwrap_or_default();
        let artifact = ArtifactId(self.store.put(reference.to_bytes()?.into())?);
        let learned =
            LifecycleEvent::ReferenceLearned { version: name.clone(), reference: reference.id().to_owned(), artifact };
        let registered = registry.register(setup.name(), &version)?;
        let mut records = Vec::new();
        for event in [registered, learned] {
            self.tell(&mut registry, (setup.name(), time_ms, event), &mut records)?;
        }
        let permit = admit_first(setup.name(), &name);
        let promoted = registry.promote(permit)?;
        self.tell(&mut registry, (setup.name(), time_ms, promoted), &mut records)?;
        Ok(self.log.append(&records)?)
    }

    fn tell(
        &self,
        registry: &mut ModelRegistry,
        (model, time_ms, event): (&str, i64, LifecycleEvent),
        records: &mut Vec<NewRecord>,
    ) -> Result<()> {
        let event = ModelEvent { model: model.to_owned(), time_ms, event, estimates: BTreeMap::new() };
        registry.apply(&event)?;
        records.push(event.to_record(&format!("{model}-setup-{}", records.len()))?);
        Ok(())
    }

    fn registry(&self) -> Result<ModelRegistry> {
        let mut registry = ModelRegistry::default();
        let mut models = crate::topic_reader::TopicReader::new(Arc::clone(self.log), topics::MODELS)?;
        loop {
            let records = models.read()?;
            if records.is_empty() {
                return Ok(registry);
            }
            for record in &records {
                registry.apply(&cloud_event::decode(record)?)?;
            }
        }
    }
}

fn lineage(cause: &str, rows: &RecordBatch) -> Lineage {
    debug_assert!(rows.column_by_name(EVENT_TIME).is_some() && rows.column_by_name(LABEL).is_some());
    Lineage {
        request: None,
        cause: cause.to_owned(),
        parent: None,
        training_set: None,
        training_rows: rows.num_rows() as u64,
        trained_from_ms: time_span(rows).map(|(from_ms, _)| from_ms),
        trained_until: None,
        code_revision: None,
        parameters: BTreeMap::new(),
        metrics: BTreeMap::new(),
    }
}
