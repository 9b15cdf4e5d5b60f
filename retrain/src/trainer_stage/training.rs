//! Making a candidate: freezes the rows, trains or recalibrates, checks that the artifact answers, learns the new version's
//! reference.

use super::TrainerStage;
use super::running::Progress;
use crate::cross_fit::{LOSS_DEPENDENCE, cross_fit, promised, promises};
use crate::episode::Candidate;
use crate::lifecycle::{ArtifactFormat, ArtifactId, LifecycleEvent, Lineage, ModelVersion};
use crate::recalibration::recalibrate;
use crate::registry::{CandidateRecord, InFlight, ModelRecord};
use crate::request::RetrainRequest;
use crate::scorer::ScoredVersion;
use crate::trainer::{ScorerOf, TrainedModel, TrainingError, TrainingJob, own_answers, train};
use crate::trainer_deps::{ArtifactError, ChallengerOrigin, RowSpan, TrainableModel};
use crate::trial::{TrialError, features, rows_of_version, training_set, with_answers};
use arrow::array::RecordBatch;
use bytes::Bytes;
use detectors::windows::Window;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use streams::error_chain::sentence;
use streams::stage::StageError;
use tokio_util::sync::CancellationToken;

/// The metric of a version whose reference was learned from its own answers to its training rows.
const IN_SAMPLE: &str = "reference_in_sample";

/// A version that was trained and has yet to answer.
struct Untried {
    version: ModelVersion,
    artifact: Bytes,
    training_set: ArtifactId,
    /// Answers to the training rows by models that were not trained on them.
    held_out: Option<RecordBatch>,
}

/// A version that was trained and can answer, with its reference.
struct TrainedChallenger {
    version: ModelVersion,
    reference: (String, ArtifactId),
}

/// The labelled rows of a candidate whose training was claimed and has not begun.
pub(super) struct RowsAtHand {
    request: String,
    candidate: u32,
    rows: RecordBatch,
}

/// Why a training came to nothing.
enum TrainError {
    /// The trainer or its artifact is at fault: counted as an attempt, and told.
    Training(String),
    /// What the trainer made cannot be used, and would be the same in another attempt: told.
    Unusable(String),
    /// The world around it is: the stage is rebuilt, and the attempt counts as lost.
    Infrastructure(StageError),
    /// The process is about to stop: nothing is recorded, the next instance makes the next attempt.
    Stopped,
}

/// The rows that a candidate is made of.
struct Frozen {
    /// As the log holds them, with a label each.
    rows: RecordBatch,
    /// Features and labels alone.
    set: RecordBatch,
    digest: ArtifactId,
}

impl TrainerStage {
    /// Trains a candidate that this instance has claimed, or claims it.
    pub(super) fn train(
        &mut self,
        in_flight: &InFlight,
        candidate: &Candidate,
        record: &CandidateRecord,
    ) -> Result<Progress, StageError> {
        let request = &in_flight.request;
        if record.attempt == 0 {
            return self.claim(request, candidate, 1);
        }
        if record.claimant != self.trainer_deps.claimant {
            let reason = format!("attempt {} ended with its process or its stage", record.attempt);
            return self.try_again(request, candidate, (record.attempt, reason));
        }
        if self.trainer_deps.stop.is_cancelled() {
            return Ok(Progress::Pending);
        }
        match self.trained(request, candidate) {
            Ok(trained) => self.register_challenger(request, candidate, trained),
            Err(TrainError::Stopped) => Ok(Progress::Pending),
            // A program that was ended because this process ends has not failed; the next instance runs it again.
            Err(TrainError::Training(_) | TrainError::Unusable(_)) if self.trainer_deps.stop.is_cancelled() => {
                Ok(Progress::Pending)
            }
            Err(TrainError::Infrastructure(error)) => Err(error),
            Err(TrainError::Training(reason)) => self.try_again(request, candidate, (record.attempt, reason)),
            Err(TrainError::Unusable(reason)) => self.give_up(request, candidate, reason),
        }
    }

    /// Makes a version of the champion whose score is recalibrated. Where it cannot be, nothing is written.
    pub(super) fn recalibrate(
        &mut self,
        in_flight: &InFlight,
        candidate: &Candidate,
        champion: &str,
    ) -> Result<Progress, StageError> {
        match self.recalibrated(&in_flight.request, candidate, champion) {
            Ok(trained) => self.register_challenger(&in_flight.request, candidate, trained),
            Err(TrainError::Infrastructure(error)) => Err(error),
            Err(TrainError::Stopped) => Ok(Progress::Pending),
            Err(TrainError::Training(reason) | TrainError::Unusable(reason)) => {
                tracing::debug!(model = in_flight.request.model, champion, reason, "the champion is not recalibrated");
                Ok(Progress::Done)
            }
        }
    }

    /// Claims an attempt, once the rows are at hand: an archive that cannot be read is no fault of the training.
    fn claim(&mut self, request: &RetrainRequest, candidate: &Candidate, attempt: u32) -> Result<Progress, StageError> {
        let rows = self.trainer_deps.rows.between(span_of(request, candidate))?;
        self.at_hand = Some(RowsAtHand { request: request.id.clone(), candidate: candidate.number, rows });
        let event = LifecycleEvent::TrainingAttempted {
            request: Box::new(request.clone()),
            candidate: Some(candidate.number),
            attempt,
            claimant: self.trainer_deps.claimant.clone(),
        };
        let step = format!("{}:attempt-{attempt}", candidate.number);
        self.write_at(request, candidate.until.at_ms, event, &step)
    }

    /// Makes the next attempt, or records the failure if that was the last.
    fn try_again(
        &mut self,
        request: &RetrainRequest,
        candidate: &Candidate,
        (attempt, reason): (u32, String),
    ) -> Result<Progress, StageError> {
        let most = self.trainable.get(&request.model).map_or(1, |trainable| trainable.policy.max_attempts);
        if attempt < most {
            let (model, candidate_number) = (&request.model, candidate.number);
            tracing::warn!(model, candidate = candidate_number, attempt, reason, "training failed, trying again");
            return self.claim(request, candidate, attempt + 1);
        }
        self.give_up(request, candidate, reason)
    }

    fn give_up(
        &mut self,
        request: &RetrainRequest,
        candidate: &Candidate,
        reason: String,
    ) -> Result<Progress, StageError> {
        let (request_id, number) = (request.id.clone(), candidate.number);
        let event = LifecycleEvent::TrainingFailed { request: request_id, candidate: Some(number), reason };
        self.write_at(request, candidate.until.at_ms, event, &format!("{number}:failed"))
    }

    fn register_challenger(
        &mut self,
        request: &RetrainRequest,
        candidate: &Candidate,
        trained: TrainedChallenger,
    ) -> Result<Progress, StageError> {
        let TrainedChallenger { version, reference: (reference, artifact) } = trained;
        let (name, number, time_ms) = (version.version.clone(), candidate.number, candidate.until.at_ms);
        let mut draft = self.draft(&request.model, time_ms);
        match draft.registry.register(&request.model, &version) {
            Ok(event) => draft.add(event)?,
            Err(error) => {
                let (request_id, reason) = (request.id.clone(), error.to_string());
                let event = LifecycleEvent::TrainingFailed { request: request_id, candidate: Some(number), reason };
                return self.write_at(request, time_ms, event, &format!("{number}:misfit"));
            }
        }
        draft.add(LifecycleEvent::ReferenceLearned { version: name.clone(), reference, artifact })?;
        draft.add(LifecycleEvent::ChallengerTrained {
            request: request.id.clone(),
            candidate: Some(number),
            made_of: Some(candidate.kind),
            version: name,
            // Where the training rows ended, however long the training took.
            trial_from: candidate.until.clone(),
        })?;
        self.write(draft, &format!("{}:{number}:trained", request.id), Vec::new())?;
        Ok(Progress::Pending)
    }

    /// The labelled rows that a candidate is made of, kept as an artifact.
    fn freeze(&mut self, request: &RetrainRequest, candidate: &Candidate) -> Result<Frozen, TrainError> {
        let is_wanted = |held: &RowsAtHand| held.request == request.id && held.candidate == candidate.number;
        let rows = match self.at_hand.take().filter(is_wanted) {
            Some(held) => held.rows,
            None => self.trainer_deps.rows.between(span_of(request, candidate)).map_err(TrainError::Infrastructure)?,
        };
        let unknown = || TrainError::Training("the configuration names no trainer for the model".to_owned());
        let trainable = self.trainable.get(&request.model).ok_or_else(unknown)?;
        let set = training_set(&rows, &trainable.schema)?;
        let digest = self.trainer_deps.artifacts.put(parquet_of(&set)?)?;
        Ok(Frozen { rows, set, digest })
    }

    fn next_version(&self, model: &str) -> String {
        self.registry.model(model).map_or_else(|| "v1".to_owned(), ModelRecord::next_version)
    }

    fn trained(&mut self, request: &RetrainRequest, candidate: &Candidate) -> Result<TrainedChallenger, TrainError> {
        let frozen = self.freeze(request, candidate)?;
        let name = self.next_version(&request.model);
        let Some(trainable) = self.trainable.get(&request.model) else { return Err(TrainError::Stopped) };
        let directory = tempfile::tempdir_in(&self.trainer_deps.work_directory).map_err(|error| {
            TrainError::Infrastructure(StageError::failed("making a directory for the training", error))
        })?;
        let job = TrainingJob {
            model: &request.model,
            version: &name,
            schema: &trainable.schema,
            rows: &frozen.set,
            parameters: &request.parameters,
            sample: trainable.policy.sample,
            work_directory: directory.path(),
        };
        let scorer_of = |trained: &TrainedModel| {
            let (model, version) = (request.model.clone(), name.clone());
            let scored = ScoredVersion { model, version, schema: trainable.schema.clone() };
            (trainable.scorer)(scored, &trained.artifact)
        };
        let trained = train(trainable.trainer.as_ref(), &scorer_of, &job, &self.trainer_deps.stop)?;
        let artifact = self.trainer_deps.artifacts.put(trained.artifact.clone())?;
        let version = ModelVersion {
            version: name.clone(),
            artifact: Some((artifact, trained.format)),
            schema: trainable.schema.clone(),
            lineage: Lineage {
                code_revision: trained.code_revision.clone(),
                parameters: trained.parameters.clone(),
                metrics: trained.metrics.clone(),
                training: trained.record.clone().map(Box::new),
                ..lineage(request, candidate, &frozen)
            },
        };
        let held_out = held_out_answers(trainable, &scorer_of, &job, &self.trainer_deps.stop)?;
        let untried = Untried { version, artifact: trained.artifact, training_set: frozen.digest, held_out };
        self.with_reference(request, untried, &frozen.rows)
    }

    fn recalibrated(
        &mut self,
        request: &RetrainRequest,
        candidate: &Candidate,
        champion: &str,
    ) -> Result<TrainedChallenger, TrainError> {
        let frozen = self.freeze(request, candidate)?;
        let gone = || TrainError::Training("the champion or its artifact is gone".to_owned());
        let known = self.registry.model(&request.model).and_then(|record| record.version(champion)).ok_or_else(gone)?;
        let (id, _) = known.version.artifact.as_ref().ok_or_else(gone)?;
        let base = self.trainer_deps.artifacts.get(id)?;
        let trainable = self.trainable.get(&request.model).ok_or_else(gone)?;
        let answered = rows_of_version(&frozen.rows, Some(champion))?;
        let artifact = recalibrate(&base, &trainable.schema, &answered);
        let artifact = artifact.map_err(|error| TrainError::Training(sentence(&error)))?;
        let version = ModelVersion {
            version: self.next_version(&request.model),
            artifact: Some((self.trainer_deps.artifacts.put(artifact.clone())?, ArtifactFormat::Onnx)),
            schema: trainable.schema.clone(),
            lineage: lineage(request, candidate, &frozen),
        };
        let untried = Untried { version, artifact, training_set: frozen.digest, held_out: None };
        self.with_reference(request, untried, &frozen.rows)
    }

    /// Asks the new version for its answers, which shows that it can give them, and learns its reference.
    fn with_reference(
        &mut self,
        request: &RetrainRequest,
        untried: Untried,
        rows: &RecordBatch,
    ) -> Result<TrainedChallenger, TrainError> {
        let Untried { mut version, artifact, training_set, held_out } = untried;
        let Some(trainable) = self.trainable.get(&request.model) else { return Err(TrainError::Stopped) };
        let scored = ScoredVersion::of(&request.model, &version);
        let mut scorer =
            (trainable.scorer)(scored, &artifact).map_err(|error| TrainError::Training(sentence(&error)))?;
        let answers = own_answers(&mut version, scorer.as_mut(), &features(rows, &trainable.schema)?)?;
        let task = &trainable.schema.task;
        let inherited = self.inherited_dependence(request);
        let metrics =
            promises(task, rows, held_out.as_ref().unwrap_or(&answers), inherited).map_err(TrialError::from)?;
        version.lineage.metrics.extend(metrics);
        let answers = match held_out {
            Some(held_out) => promised(task, rows, answers, held_out),
            None => {
                version.lineage.metrics.insert(IN_SAMPLE.to_owned(), 1.0);
                answers
            }
        };
        let rows = with_answers(rows, &answers, &trainable.schema)?;
        let graduation =
            ChallengerOrigin { model: &request.model, version: &version.version, training_set: &training_set };
        let learned = self.trainer_deps.references.learn(graduation, &rows);
        let (reference, bytes) = learned.map_err(TrainError::Infrastructure)?;
        let reference = (reference, self.trainer_deps.artifacts.put(bytes)?);
        Ok(TrainedChallenger { version, reference })
    }

    fn inherited_dependence(&self, request: &RetrainRequest) -> Option<f64> {
        let parent = self.registry.model(&request.model)?.version(request.champion.as_deref()?)?;
        parent.version.lineage.metrics.get(LOSS_DEPENDENCE).copied()
    }
}

/// The rows that a candidate is made of.
fn span_of<'a>(request: &'a RetrainRequest, candidate: &'a Candidate) -> RowSpan<'a> {
    let event_time = Window { start_ms: candidate.from_ms, end_ms: candidate.until.at_ms };
    RowSpan { model: &request.model, event_time, until: &candidate.until }
}

/// Answers that the reference may promise; `None` where half of the rows does not make a model.
fn held_out_answers(
    trainable: &TrainableModel,
    scorer_of: ScorerOf<'_>,
    job: &TrainingJob<'_>,
    stop: &CancellationToken,
) -> Result<Option<RecordBatch>, TrainError> {
    match cross_fit(trainable.trainer.as_ref(), scorer_of, job, stop) {
        Ok(answers) => Ok(Some(answers)),
        Err(_) if stop.is_cancelled() => Err(TrainError::Stopped),
        Err(error) => {
            let reason = sentence(&error);
            tracing::warn!(model = job.model, version = job.version, reason, "the reference is learned in-sample");
            Ok(None)
        }
    }
}

fn lineage(request: &RetrainRequest, candidate: &Candidate, frozen: &Frozen) -> Lineage {
    let kind = candidate.kind.name();
    Lineage {
        request: Some(request.id.clone()),
        cause: format!("{kind} after {}: {}", request.cause.kind.name(), request.cause.summary),
        parent: request.champion.clone(),
        training_set: Some(frozen.digest.clone()),
        training_rows: frozen.set.num_rows() as u64,
        trained_from_ms: Some(candidate.from_ms),
        trained_until: Some(candidate.until.clone()),
        code_revision: None,
        parameters: request.parameters.clone(),
        metrics: BTreeMap::new(),
        training: None,
    }
}

/// The rows as a Parquet file: the same rows give the same bytes, and so the same digest.
fn parquet_of(rows: &RecordBatch) -> Result<Bytes, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None)?;
    writer.write(rows)?;
    Ok(Bytes::from(writer.into_inner()?))
}

impl From<TrainingError> for TrainError {
    fn from(error: TrainingError) -> Self {
        match error {
            TrainingError::Stopped => Self::Stopped,
            error if error.is_of_the_result() => Self::Unusable(sentence(&error)),
            error => Self::Training(sentence(&error)),
        }
    }
}

impl From<TrialError> for TrainError {
    fn from(error: TrialError) -> Self {
        Self::Training(sentence(&error))
    }
}

impl From<ArtifactError> for TrainError {
    fn from(error: ArtifactError) -> Self {
        Self::Infrastructure(StageError::failed("storing an artifact", error))
    }
}

impl From<ParquetError> for TrainError {
    fn from(error: ParquetError) -> Self {
        Self::Infrastructure(StageError::failed("writing the training set", error))
    }
}
