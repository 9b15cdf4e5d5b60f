//! What the trainer stage needs of the world around it: rows, artifacts, references, and a trainer for each model.
//!
//! The stage decides when; these carry it out. Everything they give is a function of what they are asked for: the same span
//! and cut give the same rows, the same bytes the same artifact, so that a crash between two steps changes nothing.

use crate::lifecycle::ArtifactId;
use crate::policy::RetrainPolicy;
use crate::scorer::{ScoredVersion, Scorer, ScoringError};
use crate::trainer::Trainer;
use arrow::array::RecordBatch;
use bytes::Bytes;
use detectors::schema::ModelSchema;
use detectors::verdict::Cut;
use detectors::windows::Window;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use streams::stage::StageError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// Which labelled rows are wanted.
#[derive(Debug, Clone, Copy)]
pub struct RowSpan<'a> {
    /// The model.
    pub model: &'a str,
    /// Event time of the predictions.
    pub event_time: Window,
    /// Predictions and labels count that stand before these positions; its moment plays no part.
    pub until: &'a Cut,
}

/// The labelled rows of the log and its archive.
pub trait LabelledRows: Send {
    /// Every labelled prediction of the span that was on time, of all versions, ordered by log partition, offset and
    /// index; with the columns of [`codec::columns::event_schema`], `label` filled from the join (the last one wins).
    ///
    /// # Errors
    /// When the log or the archive cannot be read.
    fn between(&mut self, span: RowSpan<'_>) -> Result<RecordBatch, StageError>;
}

/// Bytes by their digest.
pub trait ArtifactStore: Send {
    /// Makes bytes durable; writing what is there already changes nothing.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put(&mut self, bytes: Bytes) -> Result<ArtifactId, ArtifactError>;

    /// The bytes of an artifact, checked against its digest.
    ///
    /// # Errors
    /// When it is not there or is not what its name says.
    fn get(&mut self, id: &ArtifactId) -> Result<Bytes, ArtifactError>;
}

/// A version that has been trained and is to get its reference.
#[derive(Debug, Clone, Copy)]
pub struct ChallengerOrigin<'a> {
    /// The model.
    pub model: &'a str,
    /// Its new version.
    pub version: &'a str,
    /// What it was trained on: features and labels alone, so that equal rows are an equal origin whenever the log took them.
    pub training_set: &'a ArtifactId,
}

/// Learns references from rows.
pub trait ReferenceLearner: Send {
    /// The reference's id and bytes, from the training rows with the version's own answers in the output columns.
    ///
    /// # Errors
    /// When no reference can be learned from the rows.
    fn learn(&self, version: ChallengerOrigin<'_>, rows: &RecordBatch) -> Result<(String, Bytes), StageError>;
}

/// Makes the scorer of a version from its artifact.
pub type ScorerFactory = Box<dyn Fn(ScoredVersion, &[u8]) -> Result<Box<dyn Scorer>, ScoringError> + Send>;

/// One model that can be retrained.
pub struct TrainableModel {
    /// What it takes and gives.
    pub schema: ModelSchema,
    /// When and how it is retrained.
    pub policy: RetrainPolicy,
    /// What trains it.
    pub trainer: Box<dyn Trainer>,
    /// What answers for its versions.
    pub scorer: ScorerFactory,
}

/// What all models share.
pub struct TrainerDeps {
    /// Where rows come from.
    pub rows: Box<dyn LabelledRows>,
    /// Where artifacts lie.
    pub artifacts: Box<dyn ArtifactStore>,
    /// What learns references.
    pub references: Box<dyn ReferenceLearner>,
    /// Where a training finds a directory of its own, removed when it is done.
    pub work_directory: PathBuf,
    /// A random mark of this instance of the stage: another one for each, so that an attempt whose stage was rebuilt counts
    /// as one that was lost.
    pub claimant: String,
    /// Cancelled when the process is about to stop.
    pub stop: CancellationToken,
}

/// What can go wrong with an artifact.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Not there.
    #[error("artifact {id} is not in the store: restore it, or register the version anew", id = id.0)]
    Missing {
        /// The artifact.
        id: ArtifactId,
    },
    /// Damaged.
    #[error("artifact {id} is damaged: its bytes have the digest {found}", id = id.0)]
    Damaged {
        /// The artifact.
        id: ArtifactId,
        /// What its bytes amount to.
        found: String,
    },
    /// Anything else the store reported.
    #[error("artifact store: {doing}: {source}")]
    Store {
        /// What was being done.
        doing: String,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ArtifactId {
    /// The address of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// Whether these are the bytes of this address.
    ///
    /// # Errors
    /// [`ArtifactError::Damaged`] where they are not.
    pub fn check(&self, bytes: &[u8]) -> Result<(), ArtifactError> {
        let found = Self::of(bytes);
        if found == *self { Ok(()) } else { Err(ArtifactError::Damaged { id: self.clone(), found: found.0 }) }
    }
}
