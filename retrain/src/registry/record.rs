//! One model's part of the registry: its versions, who reigned when, the request in flight, how the others ended.

use super::RegistryError;
use crate::lifecycle::{ArtifactId, LifecycleEvent, ModelEvent, ModelVersion, PermitRecord, TrialReport};
use crate::request::RetrainRequest;
use detectors::verdict::Cut;
use std::collections::{BTreeMap, BTreeSet};

/// One model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelRecord {
    versions: Vec<VersionRecord>,
    champion: Option<String>,
    reigns: Vec<Reign>,
    in_flight: Option<InFlight>,
    settled: BTreeMap<String, Settlement>,
    trials: u32,
    trials_won: u32,
}

/// A version and its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    /// The version.
    pub version: ModelVersion,
    /// When it was registered, in event time.
    pub registered_ms: i64,
    /// Id of its reference and where its bytes are; `None` until one was learned.
    pub reference: Option<(String, ArtifactId)>,
}

/// From when on a version was champion, and by what right.
#[derive(Debug, Clone, PartialEq)]
pub struct Reign {
    /// The version.
    pub version: String,
    /// Since when, in event time.
    pub since_ms: i64,
    /// By what right it came.
    pub right: Right,
}

/// By what right a version is champion.
#[derive(Debug, Clone, PartialEq)]
pub enum Right {
    /// A permit.
    Permit(PermitRecord),
    /// A person took the one before back.
    RollBack {
        /// Who, and why.
        reason: String,
    },
}

/// A request that is being worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// The request.
    pub request: RetrainRequest,
    /// The last attempt, counted from 1.
    pub attempt: u32,
    /// Mark of the process that made it.
    pub claimant: String,
    /// The version that the request has made and where rows that may judge it begin; `None` before it is trained.
    pub challenger: Option<(String, Cut)>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Its challenger became champion.
    Promoted {
        /// The version.
        version: String,
    },
    /// Its training failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Its challenger was rejected.
    Rejected {
        /// The version.
        version: String,
        /// Why.
        reason: String,
        /// The figures, where there were rows.
        report: Option<TrialReport>,
    },
}

impl ModelRecord {
    /// Every version, oldest first.
    pub fn versions(&self) -> &[VersionRecord] {
        &self.versions
    }

    /// A version by name.
    pub fn version(&self, name: &str) -> Option<&VersionRecord> {
        self.versions.iter().find(|known| known.version.version == name)
    }

    /// Name of the champion; `None` before the first promotion.
    pub fn champion(&self) -> Option<&str> {
        self.champion.as_deref()
    }

    /// The champion.
    pub fn champion_version(&self) -> Option<&VersionRecord> {
        self.version(self.champion.as_deref()?)
    }

    /// Name of the version on trial.
    pub fn challenger(&self) -> Option<&str> {
        self.in_flight.as_ref()?.challenger.as_ref().map(|(version, _)| version.as_str())
    }

    /// Who was champion, oldest first.
    pub fn reigns(&self) -> &[Reign] {
        &self.reigns
    }

    /// The request that is being worked on.
    pub fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// How a request ended; `None` while it has not.
    pub fn settlement(&self, request: &str) -> Option<&Settlement> {
        self.settled.get(request)
    }

    /// How every request ended, by id.
    pub fn settlements(&self) -> &BTreeMap<String, Settlement> {
        &self.settled
    }

    /// Trials begun so far, the running one included.
    pub fn trials(&self) -> u32 {
        self.trials
    }

    /// Trials that ended in a promotion.
    pub fn trials_won(&self) -> u32 {
        self.trials_won
    }

    /// A name that no version has: `v` and the next number.
    pub fn next_version(&self) -> String {
        let taken: BTreeSet<&str> = self.versions.iter().map(|known| known.version.version.as_str()).collect();
        let names = (self.versions.len() + 1..).map(|number| format!("v{number}"));
        names.into_iter().find(|name| !taken.contains(name.as_str())).unwrap_or_default()
    }

    /// The last champion that was another than the present one.
    pub(super) fn champion_before(&self) -> Option<&str> {
        let present = self.champion.as_deref()?;
        self.reigns.iter().rev().map(|reign| reign.version.as_str()).find(|version| *version != present)
    }

    pub(super) fn apply(&mut self, event: &ModelEvent) -> Result<(), RegistryError> {
        let (model, time_ms) = (event.model.as_str(), event.time_ms);
        match &event.event {
            LifecycleEvent::VersionRegistered { version } => self.add(model, version, time_ms),
            LifecycleEvent::ReferenceLearned { version, reference, artifact } => {
                self.known(model, version)?.reference = Some((reference.clone(), artifact.clone()));
                Ok(())
            }
            LifecycleEvent::TrainingAttempted { request, attempt, claimant } => {
                self.in_flight = Some(InFlight {
                    request: (**request).clone(),
                    attempt: *attempt,
                    claimant: claimant.clone(),
                    challenger: None,
                });
                Ok(())
            }
            LifecycleEvent::TrainingFailed { request, reason } => {
                self.settle(request, Settlement::Failed { reason: reason.clone() });
                Ok(())
            }
            LifecycleEvent::ChallengerTrained { request, version, trial_from } => {
                self.known(model, version)?;
                self.begin_trial(model, request, (version.clone(), trial_from.clone()))
            }
            LifecycleEvent::ChallengerRejected { request, version, reason, report } => {
                let (version, reason, report) = (version.clone(), reason.clone(), report.clone());
                self.settle(request, Settlement::Rejected { version, reason, report });
                Ok(())
            }
            LifecycleEvent::Promoted { version, permit, .. } => {
                self.crown(
                    model,
                    version,
                    Reign { version: version.clone(), since_ms: time_ms, right: Right::Permit(permit.clone()) },
                )?;
                if let PermitRecord::Trial { request, .. } = permit {
                    self.trials_won += 1;
                    self.settle(request, Settlement::Promoted { version: version.clone() });
                }
                Ok(())
            }
            LifecycleEvent::RolledBack { version, reason, .. } => {
                let right = Right::RollBack { reason: reason.clone() };
                self.crown(model, version, Reign { version: version.clone(), since_ms: time_ms, right })
            }
        }
    }

    fn add(&mut self, model: &str, version: &ModelVersion, registered_ms: i64) -> Result<(), RegistryError> {
        if self.version(&version.version).is_some() {
            let (model, version) = (model.to_owned(), version.version.clone());
            return Err(RegistryError::VersionExists { model, version });
        }
        self.versions.push(VersionRecord { version: version.clone(), registered_ms, reference: None });
        Ok(())
    }

    fn known(&mut self, model: &str, version: &str) -> Result<&mut VersionRecord, RegistryError> {
        let known = self.versions.iter_mut().find(|known| known.version.version == version);
        known.ok_or_else(|| RegistryError::NoSuchVersion { model: model.to_owned(), version: version.to_owned() })
    }

    fn begin_trial(&mut self, model: &str, request: &str, challenger: (String, Cut)) -> Result<(), RegistryError> {
        match self.in_flight.as_mut().filter(|in_flight| in_flight.request.id == request) {
            Some(in_flight) => {
                in_flight.challenger = Some(challenger);
                self.trials += 1;
                Ok(())
            }
            None => Err(RegistryError::NotInFlight { model: model.to_owned(), request: request.to_owned() }),
        }
    }

    fn crown(&mut self, model: &str, version: &str, reign: Reign) -> Result<(), RegistryError> {
        self.known(model, version)?;
        self.champion = Some(version.to_owned());
        self.reigns.push(reign);
        Ok(())
    }

    fn settle(&mut self, request: &str, settlement: Settlement) {
        self.settled.insert(request.to_owned(), settlement);
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.request.id == request) {
            self.in_flight = None;
        }
    }
}
