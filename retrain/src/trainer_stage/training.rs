//! One training: freezes the rows, trains, checks that the artifact answers, learns the new version's reference.

use super::TrainerStage;
use crate::cross_fit::{cross_fit, promised};
use crate::lifecycle::{ArtifactId, LifecycleEvent, Lineage, ModelVersion};
use crate::request::RetrainRequest;
use crate::scorer::ScoredVersion;
use crate::trainer::{ScorerOf, TrainedModel, TrainingError, TrainingJob, own_answers, train};
use crate::trial::{TrialError, features, training_set, with_answers};
use crate::workshop::{Apprentice, ArtifactError, Graduation, RowSpan};
use arrow::array::RecordBatch;
use bytes::Bytes;
use detectors::windows::Window;
use ingest::error_chain::sentence;
use ingest::stage::StageError;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use tokio_util::sync::CancellationToken;

/// The metric of a version whose reference was learned from its own answers to its training rows.
const IN_SAMPLE: &str = "reference_in_sample";

/// A version that was trained and has yet to answer.
struct Candidate {
    version: ModelVersion,
    artifact: Bytes,
    training_set: ArtifactId,
    /// Answers to the training rows by models that were not trained on them.
    held_out: Option<RecordBatch>,
}

/// A version that was trained and can answer, with its reference.
struct Graduate {
    version: ModelVersion,
    reference: (String, ArtifactId),
}

/// Why a training came to nothing.
enum Fall {
    /// The trainer or its artifact is at fault: counted as an attempt, and told.
    Training(String),
    /// What the trainer made cannot be used, and would be the same in another attempt: told.
    Unusable(String),
    /// The world around it is: the stage is rebuilt, and the attempt counts as lost.
    World(StageError),
    /// The process is about to stop: nothing is recorded, the next instance makes the next attempt.
    Stopped,
}

impl TrainerStage {
    /// Trains for a request that this instance has claimed.
    pub(super) fn train(&mut self, request: RetrainRequest, attempt: u32) -> Result<(), StageError> {
        if self.workshop.stop.is_cancelled() {
            return Ok(());
        }
        match self.graduate(&request) {
            Ok(graduate) => self.register_challenger(&request, graduate),
            Err(Fall::Stopped) => Ok(()),
            // A program that was ended because this process ends has not failed; the next instance runs it again.
            Err(Fall::Training(_) | Fall::Unusable(_)) if self.workshop.stop.is_cancelled() => Ok(()),
            Err(Fall::World(error)) => Err(error),
            Err(Fall::Training(reason)) => self.try_again(request, attempt, reason),
            Err(Fall::Unusable(reason)) => {
                let event = LifecycleEvent::TrainingFailed { request: request.id.clone(), reason };
                self.write_one(&request, event, "unusable")
            }
        }
    }

    fn register_challenger(&mut self, request: &RetrainRequest, graduate: Graduate) -> Result<(), StageError> {
        let Graduate { version, reference: (reference, artifact) } = graduate;
        let name = version.version.clone();
        let mut draft = self.draft(&request.model, request.time_ms);
        match draft.registry.register(&request.model, &version) {
            Ok(event) => draft.add(event)?,
            Err(error) => {
                let event = LifecycleEvent::TrainingFailed { request: request.id.clone(), reason: error.to_string() };
                return self.write_one(request, event, "misfit");
            }
        }
        draft.add(LifecycleEvent::ReferenceLearned { version: name.clone(), reference, artifact })?;
        draft.add(LifecycleEvent::ChallengerTrained {
            request: request.id.clone(),
            version: name,
            // Where the training rows ended, however long the training took.
            trial_from: request.train_until.clone(),
        })?;
        self.write(draft, &format!("{}:trained", request.id), Vec::new())
    }

    fn graduate(&mut self, request: &RetrainRequest) -> Result<Graduate, Fall> {
        let event_time = Window { start_ms: request.train_from_ms, end_ms: request.train_until.at_ms };
        let span = RowSpan { model: &request.model, event_time, until: &request.train_until };
        let rows = self.workshop.rows.between(span).map_err(Fall::World)?;
        let Some(apprentice) = self.apprentices.get(&request.model) else {
            return Err(Fall::Training("the configuration names no trainer for the model".to_owned()));
        };
        let set = training_set(&rows, &apprentice.schema)?;
        let digest = self.workshop.artifacts.put(parquet_of(&set)?)?;
        let name = self.registry.model(&request.model).map_or_else(|| "v1".to_owned(), |record| record.next_version());
        let directory = tempfile::tempdir_in(&self.workshop.work_directory)
            .map_err(|error| Fall::World(StageError::failed("making a directory for the training", error)))?;
        let job = TrainingJob {
            model: &request.model,
            version: &name,
            schema: &apprentice.schema,
            rows: &set,
            parameters: &request.parameters,
            work_directory: directory.path(),
        };
        let scorer_of = |trained: &TrainedModel| {
            let (model, version) = (request.model.clone(), name.clone());
            let scored = ScoredVersion { model, version, schema: apprentice.schema.clone() };
            (apprentice.scorer)(scored, &trained.artifact)
        };
        let trained = train(apprentice.trainer.as_ref(), &scorer_of, &job, &self.workshop.stop)?;
        let artifact = self.workshop.artifacts.put(trained.artifact.clone())?;
        let lineage = lineage(request, &trained, &set, digest.clone());
        let version = ModelVersion {
            version: name.clone(),
            artifact: Some((artifact, trained.format)),
            schema: apprentice.schema.clone(),
            lineage,
        };
        let held_out = held_out_answers(apprentice, &scorer_of, &job, &self.workshop.stop)?;
        self.with_reference(
            request,
            Candidate { version, artifact: trained.artifact, training_set: digest, held_out },
            &rows,
        )
    }

    /// Asks the new version for its answers, which shows that it can give them, and learns its reference.
    fn with_reference(
        &mut self,
        request: &RetrainRequest,
        candidate: Candidate,
        rows: &RecordBatch,
    ) -> Result<Graduate, Fall> {
        let Candidate { mut version, artifact, training_set, held_out } = candidate;
        let Some(apprentice) = self.apprentices.get(&request.model) else { return Err(Fall::Stopped) };
        let scored = ScoredVersion::of(&request.model, &version);
        let mut scorer = (apprentice.scorer)(scored, &artifact).map_err(|error| Fall::Training(sentence(&error)))?;
        let answers = own_answers(&mut version, scorer.as_mut(), &features(rows, &apprentice.schema)?)?;
        let answers = match held_out {
            Some(held_out) => promised(&apprentice.schema.task, rows, answers, held_out),
            None => {
                version.lineage.metrics.insert(IN_SAMPLE.to_owned(), 1.0);
                answers
            }
        };
        let rows = with_answers(rows, &answers, &apprentice.schema)?;
        let graduation = Graduation { model: &request.model, version: &version.version, training_set: &training_set };
        let learned = self.workshop.references.learn(graduation, &rows);
        let (reference, bytes) = learned.map_err(Fall::World)?;
        let reference = (reference, self.workshop.artifacts.put(bytes)?);
        Ok(Graduate { version, reference })
    }
}

/// Answers that the reference may promise; `None` where half of the rows does not make a model.
fn held_out_answers(
    apprentice: &Apprentice,
    scorer_of: ScorerOf<'_>,
    job: &TrainingJob<'_>,
    stop: &CancellationToken,
) -> Result<Option<RecordBatch>, Fall> {
    match cross_fit(apprentice.trainer.as_ref(), scorer_of, job, stop) {
        Ok(answers) => Ok(Some(answers)),
        Err(_) if stop.is_cancelled() => Err(Fall::Stopped),
        Err(error) => {
            let reason = sentence(&error);
            tracing::warn!(model = job.model, version = job.version, reason, "the reference is learned in-sample");
            Ok(None)
        }
    }
}

fn lineage(request: &RetrainRequest, trained: &TrainedModel, set: &RecordBatch, digest: ArtifactId) -> Lineage {
    Lineage {
        request: Some(request.id.clone()),
        cause: format!("{}: {}", request.cause.kind.name(), request.cause.summary),
        parent: request.champion.clone(),
        training_set: Some(digest),
        training_rows: set.num_rows() as u64,
        trained_from_ms: Some(request.train_from_ms),
        trained_until: Some(request.train_until.clone()),
        code_revision: trained.code_revision.clone(),
        parameters: trained.parameters.clone(),
        metrics: trained.metrics.clone(),
    }
}

/// The rows as a Parquet file: the same rows give the same bytes, and so the same digest.
fn parquet_of(rows: &RecordBatch) -> Result<Bytes, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None)?;
    writer.write(rows)?;
    Ok(Bytes::from(writer.into_inner()?))
}

impl From<TrainingError> for Fall {
    fn from(error: TrainingError) -> Self {
        match error {
            TrainingError::Stopped => Self::Stopped,
            error if error.is_of_the_result() => Self::Unusable(sentence(&error)),
            error => Self::Training(sentence(&error)),
        }
    }
}

impl From<TrialError> for Fall {
    fn from(error: TrialError) -> Self {
        Self::Training(sentence(&error))
    }
}

impl From<ArtifactError> for Fall {
    fn from(error: ArtifactError) -> Self {
        Self::World(StageError::failed("storing an artifact", error))
    }
}

impl From<ParquetError> for Fall {
    fn from(error: ParquetError) -> Self {
        Self::World(StageError::failed("writing the training set", error))
    }
}
