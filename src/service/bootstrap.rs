//! A model's first version and reference, from rows that are at hand before any event: a file, or a simulation.
//!
//! Happens before the stages run, so that `models` still has one writer.

use crate::service::model::ModelSetup;
use crate::service::topic_reader::TopicReader;
use anyhow::{Context, Result, bail};
use arrow::array::{ArrayRef, RecordBatch};
use capture::archive::parquet_file::to_parquet;
use capture::learn::{learn_reference, time_span};
use codec::columns::{EVENT_TIME, LABEL};
use detectors::reference::{Origin, Reference};
use retrain::cross_fit::{cross_fit, promised, promises};
use retrain::gate::admit_first;
use retrain::lifecycle::{ArtifactId, LifecycleEvent, Lineage, ModelEvent, ModelVersion};
use retrain::registry::ModelRegistry;
use retrain::scorer::{ScoredVersion, Scorer, ScoringError};
use retrain::trainer::{self, TrainedModel, TrainingJob, own_answers};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use streams::cloud_event;
use streams::error_chain::sentence;
use streams::log::{Log, NewRecord};
use streams::store::{Artifacts, Store};
use streams::topics;
use tokio_util::sync::CancellationToken;

/// The version of a model that is trained at set-up.
pub const FIRST_VERSION: &str = "v1";

/// What first versions are made with.
pub struct Bootstrap<'a> {
    log: &'a Arc<dyn Log>,
    store: &'a Store,
    work_directory: &'a Path,
    /// As it was read last.
    registry: ModelRegistry,
}

/// A first version that has been made and is not registered yet.
pub struct FirstVersion {
    model: String,
    version: ModelVersion,
    /// The id of its reference, and where that lies.
    reference: (String, ArtifactId),
}

impl<'a> Bootstrap<'a> {
    /// Reads the registry. Artifacts go into the store, and trainings work in the directory.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn read(log: &'a Arc<dyn Log>, (store, work_directory): (&'a Store, &'a Path)) -> Result<Self> {
        Ok(Self { log, store, work_directory, registry: registry(log)? })
    }

    /// Whether the model has a version already.
    pub fn is_done(&self, model: &str) -> bool {
        self.champion(model).is_some()
    }

    /// The champion of a model.
    pub fn champion(&self, model: &str) -> Option<&str> {
        self.registry.model(model)?.champion()
    }

    /// Trains the first version on these rows, and learns its reference from them. The rows have the columns of
    /// [`codec::columns::event_schema`] with a label.
    ///
    /// # Errors
    /// When the training fails.
    pub fn train(&self, setup: &ModelSetup, rows: &RecordBatch) -> Result<FirstVersion> {
        let Some(of_model) = setup.trainer() else {
            bail!("model {} has no trainer: configure `trainer`, or replay rows that hold predictions", setup.name());
        };
        let parameters = setup.retrain.parameters.clone();
        let directory = tempfile::tempdir_in(self.work_directory)
            .with_context(|| format!("making a directory for a training in {}", self.work_directory.display()))?;
        let job = TrainingJob {
            model: setup.name(),
            version: FIRST_VERSION,
            schema: &setup.watched.schema,
            rows,
            parameters: &parameters,
            sample: setup.retrain.sample,
            work_directory: directory.path(),
        };
        let stop = CancellationToken::new();
        let trained = trainer::train(of_model.as_ref(), &scorer_of(setup, &stop), &job, &stop)
            .with_context(|| format!("training the first version of {}", setup.name()))?;
        let artifact = ArtifactId(self.store.put(trained.artifact.clone())?);
        let training_set = to_parquet(&rows.schema(), std::slice::from_ref(rows))?;
        let training_set = ArtifactId(self.store.put(training_set)?);
        let mut version = self.version(setup, rows, (&trained, artifact, training_set.clone()));
        let (answered, promised) = self.answered(setup, (&mut version, &trained), &job)?;
        version.lineage.metrics.extend(promised);
        let origin = Origin::TrainingSet { digest: training_set.0 };
        let reference = learn_reference(&setup.watched, FIRST_VERSION, &answered, origin)?;
        self.first(setup, version, &reference)
    }

    /// Learns the reference of a version that is served elsewhere from rows with its predictions.
    ///
    /// # Errors
    /// When the rows make no reference.
    pub fn observe(
        &self,
        setup: &ModelSetup,
        version: &str,
        (rows, origin): (&RecordBatch, Origin),
    ) -> Result<FirstVersion> {
        let reference = learn_reference(&setup.watched, version, rows, origin)?;
        let version = ModelVersion {
            version: version.to_owned(),
            artifact: None,
            schema: setup.watched.schema.clone(),
            lineage: lineage("brought from outside", rows),
        };
        self.first(setup, version, &reference)
    }

    /// Makes these the champions of their models, all at once. Of a model that has got one meanwhile, from another process
    /// that starts, nothing is written.
    ///
    /// # Errors
    /// When the log fails.
    pub fn register(&mut self, versions: Vec<FirstVersion>) -> Result<()> {
        if versions.is_empty() {
            return Ok(());
        }
        // Anew, because much may have happened while they were made.
        self.registry = registry(self.log)?;
        let mut records = Vec::new();
        for first in versions {
            if self.is_done(&first.model) {
                tracing::info!(model = first.model, "another process was faster to make the first version");
                continue;
            }
            self.admit(first, &mut records)?;
        }
        Ok(self.log.append(&records)?)
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
            training: trained.record.clone().map(Box::new),
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
    /// With them, what these answers promise of the version.
    fn answered(
        &self,
        setup: &ModelSetup,
        (version, trained): (&mut ModelVersion, &TrainedModel),
        job: &TrainingJob<'_>,
    ) -> Result<(RecordBatch, BTreeMap<String, f64>)> {
        let (rows, stop) = (job.rows, CancellationToken::new());
        let scorer_of = scorer_of(setup, &stop);
        let own = own_answers(version, scorer_of(trained)?.as_mut(), rows)?;
        let held_out = match setup.trainer() {
            Some(trainer) => cross_fit(trainer.as_ref(), &scorer_of, job, &stop),
            None => Ok(own.clone()),
        };
        let task = &setup.watched.schema.task;
        let metrics = promises(task, rows, held_out.as_ref().unwrap_or(&own), None)?;
        let answers = match held_out {
            Ok(held_out) => promised(task, rows, own, held_out),
            Err(error) => {
                let error = sentence(&error);
                tracing::warn!(model = setup.name(), error, "the reference is learned in-sample");
                own
            }
        };
        let replaced = rows.schema_ref().fields().iter().zip(rows.columns()).map(|(field, column)| -> ArrayRef {
            answers.column_by_name(field.name()).map_or_else(|| Arc::clone(column), Arc::clone)
        });
        Ok((RecordBatch::try_new(rows.schema(), replaced.collect())?, metrics))
    }

    fn first(&self, setup: &ModelSetup, version: ModelVersion, reference: &Reference) -> Result<FirstVersion> {
        let artifact = ArtifactId(self.store.put(reference.to_bytes()?.into())?);
        let reference = (reference.id().to_owned(), artifact);
        Ok(FirstVersion { model: setup.name().to_owned(), version, reference })
    }

    fn admit(&mut self, first: FirstVersion, records: &mut Vec<NewRecord>) -> Result<()> {
        let FirstVersion { model, version, reference: (reference, artifact) } = first;
        let name = version.version.clone();
        let time_ms = version.lineage.trained_from_ms.unwrap_or_default();
        let registered = self.registry.register(&model, &version)?;
        let learned = LifecycleEvent::ReferenceLearned { version: name.clone(), reference, artifact };
        self.tell((&model, time_ms), (0, registered), records)?;
        self.tell((&model, time_ms), (1, learned), records)?;
        let promoted = self.registry.promote(admit_first(&model, &name))?;
        self.tell((&model, time_ms), (2, promoted), records)
    }

    fn tell(
        &mut self,
        (model, time_ms): (&str, i64),
        (number, event): (usize, LifecycleEvent),
        records: &mut Vec<NewRecord>,
    ) -> Result<()> {
        let event = ModelEvent { model: model.to_owned(), time_ms, event, estimates: BTreeMap::new() };
        self.registry.apply(&event)?;
        records.push(event.to_record(&format!("{model}-setup-{number}"))?);
        Ok(())
    }
}

/// What makes the scorer of anything that is trained for a first version.
fn scorer_of<'a>(
    setup: &'a ModelSetup,
    stop: &'a CancellationToken,
) -> impl Fn(&TrainedModel) -> Result<Box<dyn Scorer>, ScoringError> + 'a {
    move |trained| {
        let (model, version) = (setup.name().to_owned(), FIRST_VERSION.to_owned());
        let schema = setup.watched.schema.clone();
        setup.scorer(ScoredVersion { model, version, schema }, &trained.artifact, stop)
    }
}

fn registry(log: &Arc<dyn Log>) -> Result<ModelRegistry> {
    let mut registry = ModelRegistry::default();
    let mut models = TopicReader::new(Arc::clone(log), topics::MODELS)?;
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
        training: None,
    }
}
