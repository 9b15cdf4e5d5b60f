//! The registry: what the events on `models` amount to, and the checks before there are more of them.
//!
//! A [`ModelRegistry`] is the fold of the topic and has no other state: whoever replays it gets the same one. Its commands
//! (`register`, `promote`, `roll_back`, …) change nothing; they check and return the event that would, which the one
//! writer of the model appends and everybody, the writer included, folds when it is read.
//!
//! Invariants: the champion is a registered version; a promotion needs the gate's permit, given against the champion that
//! is champion; a version's name is never used twice.

use crate::gate::PromotionPermit;
use crate::lifecycle::{ArtifactId, LifecycleEvent, ModelEvent, ModelVersion};
use detectors::schema::ModelSchema;
use std::collections::BTreeMap;
use streams::cloud_event::{Attributes, CloudEventError, encode};
use streams::log::NewRecord;
use streams::topics;
use thiserror::Error;

mod record;

pub use record::{CandidateRecord, InFlight, ModelRecord, Right, Settlement, Tenure, VersionRecord};

/// Every model and what has become of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelRegistry {
    models: BTreeMap<String, ModelRecord>,
}

/// Why a registry refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// No such version.
    #[error("model {model} has no version {version}: `driftline models show {model}` lists them")]
    NoSuchVersion {
        /// The model.
        model: String,
        /// The version asked for.
        version: String,
    },
    /// The name is taken.
    #[error("model {model} has a version {version} already: choose another name, versions are never replaced")]
    VersionExists {
        /// The model.
        model: String,
        /// The name.
        version: String,
    },
    /// Another champion than the one expected.
    #[error("the champion of {model} is {found}, not {expected}: look again before you change it", found = name_of(found), expected = name_of(expected))]
    OtherChampion {
        /// The model.
        model: String,
        /// The one expected.
        expected: Option<String>,
        /// The one there is.
        found: Option<String>,
    },
    /// It is champion already.
    #[error("version {version} is the champion of {model} already")]
    IsChampion {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// The version was never champion, so one cannot go back to it.
    #[error("version {version} of {model} was never champion: promote it instead")]
    NeverChampion {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// There was no champion before this one.
    #[error("model {model} has no champion to go back to")]
    NothingToGoBackTo {
        /// The model.
        model: String,
    },
    /// The gate has not let it pass.
    #[error("the gate has not let version {version} of {model} pass: give a reason to promote it past the gate")]
    NotThroughTheGate {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// Its inputs or outputs are not those of the model.
    #[error("version {version} does not fit the schema of {model}: {reason}")]
    SchemaDiffers {
        /// The model.
        model: String,
        /// The version.
        version: String,
        /// What differs.
        reason: String,
    },
    /// No roll-back holds promotions.
    #[error("no roll-back of {model} holds promotions: there is nothing to release")]
    NothingHeld {
        /// The model.
        model: String,
    },
    /// An event about a request that is not the one in flight.
    #[error("request {request} of {model} is not in flight: the topic `models` has another writer")]
    NotInFlight {
        /// The model.
        model: String,
        /// The request.
        request: String,
    },
}

impl ModelRegistry {
    /// Folds one event of the topic.
    ///
    /// # Errors
    /// When the event contradicts those before it; the registry is as it was.
    pub fn apply(&mut self, event: &ModelEvent) -> Result<(), RegistryError> {
        self.models.entry(event.model.clone()).or_default().apply(event)
    }

    /// One model.
    pub fn model(&self, model: &str) -> Option<&ModelRecord> {
        self.models.get(model)
    }

    /// Every model by name.
    pub fn models(&self) -> impl Iterator<Item = (&str, &ModelRecord)> {
        self.models.iter().map(|(name, record)| (name.as_str(), record))
    }

    /// The event that registers a version.
    ///
    /// # Errors
    /// When its name is taken, or it does not fit the schema of the model's versions.
    pub fn register(&self, model: &str, version: &ModelVersion) -> Result<LifecycleEvent, RegistryError> {
        if let Some(record) = self.model(model) {
            if record.version(&version.version).is_some() {
                let (model, version) = (model.to_owned(), version.version.clone());
                return Err(RegistryError::VersionExists { model, version });
            }
            if let Some(known) = record.champion_version().or(record.versions().last()) {
                preflight(&known.version.schema, &version.schema).map_err(|reason| RegistryError::SchemaDiffers {
                    model: model.to_owned(),
                    version: version.version.clone(),
                    reason,
                })?;
            }
        }
        Ok(LifecycleEvent::VersionRegistered { version: version.clone() })
    }

    /// The event that gives a version a reference.
    ///
    /// # Errors
    /// When there is no such version.
    pub fn set_reference(
        &self,
        model: &str,
        version: &str,
        (reference, artifact): (String, ArtifactId),
    ) -> Result<LifecycleEvent, RegistryError> {
        self.version(model, version)?;
        Ok(LifecycleEvent::ReferenceLearned { version: version.to_owned(), reference, artifact })
    }

    /// The event that makes the permit's version champion.
    ///
    /// # Errors
    /// When the version does not exist, is champion already, or another version is champion than the one the permit was given
    /// against.
    pub fn promote(&self, permit: PromotionPermit) -> Result<LifecycleEvent, RegistryError> {
        let (model, version) = (permit.model(), permit.version());
        self.version(model, version)?;
        let previous = self.expect_champion(model, permit.champion())?;
        if previous.as_deref() == Some(version) {
            return Err(RegistryError::IsChampion { model: model.to_owned(), version: version.to_owned() });
        }
        Ok(LifecycleEvent::Promoted { version: version.to_owned(), previous, permit: permit.record().clone() })
    }

    /// The event that makes a former champion champion again: `version`, or the one before the present one.
    ///
    /// # Errors
    /// When there is no such version, or it never was champion.
    pub fn roll_back(&self, model: &str, version: Option<&str>, reason: &str) -> Result<LifecycleEvent, RegistryError> {
        let nothing = || RegistryError::NothingToGoBackTo { model: model.to_owned() };
        let record = self.model(model).ok_or_else(nothing)?;
        let previous = record.champion().map(str::to_owned).ok_or_else(nothing)?;
        let version = match version {
            Some(version) => version,
            None => record.champion_before().ok_or_else(nothing)?,
        };
        self.version(model, version)?;
        let owned = || (model.to_owned(), version.to_owned());
        if version == previous {
            let (model, version) = owned();
            return Err(RegistryError::IsChampion { model, version });
        }
        if !record.tenures().iter().any(|tenure| tenure.version == version) {
            let (model, version) = owned();
            return Err(RegistryError::NeverChampion { model, version });
        }
        Ok(LifecycleEvent::RolledBack { version: version.to_owned(), previous, reason: reason.to_owned() })
    }

    /// The event that lifts the hold of a roll-back.
    ///
    /// # Errors
    /// When nothing is held.
    pub fn release(&self, model: &str, reason: &str) -> Result<LifecycleEvent, RegistryError> {
        match self.model(model).and_then(ModelRecord::hold) {
            Some(_) => Ok(LifecycleEvent::Released { reason: reason.to_owned() }),
            None => Err(RegistryError::NothingHeld { model: model.to_owned() }),
        }
    }

    /// The champion, if it is the one expected.
    ///
    /// # Errors
    /// When it is another.
    pub fn expect_champion(&self, model: &str, expected: Option<&str>) -> Result<Option<String>, RegistryError> {
        let found = self.model(model).and_then(|record| record.champion().map(str::to_owned));
        if found.as_deref() == expected {
            return Ok(found);
        }
        Err(RegistryError::OtherChampion { model: model.to_owned(), expected: expected.map(str::to_owned), found })
    }

    fn version(&self, model: &str, version: &str) -> Result<&VersionRecord, RegistryError> {
        let known = self.model(model).and_then(|record| record.version(version));
        known.ok_or_else(|| RegistryError::NoSuchVersion { model: model.to_owned(), version: version.to_owned() })
    }
}

/// Whether a version with the schema `incoming` can stand in for one with `known`: the same task, and the same features
/// of the same kinds. Their order is the version's own affair, for features go by name.
///
/// # Errors
/// What differs, as a clause.
pub fn preflight(known: &ModelSchema, incoming: &ModelSchema) -> Result<(), String> {
    if known.task != incoming.task {
        return Err(format!("its task is {:?}, where the model's is {:?}", incoming.task, known.task));
    }
    for feature in known.features() {
        match incoming.features().find(|column| column.name == feature.name) {
            None => return Err(format!("feature {} is missing", feature.name)),
            Some(column) if column.kind != feature.kind => {
                return Err(format!(
                    "feature {} is {:?}, where the model's is {:?}",
                    feature.name, column.kind, feature.kind
                ));
            }
            Some(_) => {}
        }
    }
    match incoming.features().find(|column| !known.features().any(|feature| feature.name == column.name)) {
        Some(column) => Err(format!("feature {} is not among the model's", column.name)),
        None => Ok(()),
    }
}

impl ModelEvent {
    /// The record that holds it. `id` is unique among the model's events.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_record(&self, id: &str) -> Result<NewRecord, CloudEventError> {
        let kind = match &self.event {
            LifecycleEvent::VersionRegistered { .. } => "driftline.model.version_registered",
            LifecycleEvent::ReferenceLearned { .. } => "driftline.model.reference_learned",
            LifecycleEvent::EpisodeOpened { .. } => "driftline.model.episode_opened",
            LifecycleEvent::EpisodeEnded { .. } => "driftline.model.episode_ended",
            LifecycleEvent::Released { .. } => "driftline.model.released",
            LifecycleEvent::TrainingAttempted { .. } => "driftline.model.training_attempted",
            LifecycleEvent::TrainingFailed { .. } => "driftline.model.training_failed",
            LifecycleEvent::ChallengerTrained { .. } => "driftline.model.challenger_trained",
            LifecycleEvent::ChallengerRejected { .. } => "driftline.model.challenger_rejected",
            LifecycleEvent::Promoted { .. } => "driftline.model.promoted",
            LifecycleEvent::RolledBack { .. } => "driftline.model.rolled_back",
        };
        let attributes =
            Attributes { id, source: "/driftline/trainer", kind, subject: &self.model, time_ms: self.time_ms };
        encode(topics::MODELS, attributes, self)
    }
}

fn name_of(champion: &Option<String>) -> &str {
    champion.as_deref().unwrap_or("none")
}

#[cfg(test)]
mod tests;
