//! One model's part of the registry: its versions, who reigned when, the request in flight, how the others ended.

use super::RegistryError;
use crate::lifecycle::CandidateKind;
use crate::lifecycle::{
    ArtifactId, EpisodeOutcome, LifecycleEvent, ModelEvent, ModelVersion, PermitRecord, TrialReport,
};
use crate::request::RetrainRequest;
use std::collections::{BTreeMap, BTreeSet};

/// One model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelRecord {
    versions: Vec<VersionRecord>,
    champion: Option<String>,
    tenures: Vec<Tenure>,
    in_flight: Option<InFlight>,
    settled: BTreeMap<String, Settlement>,
    hold: Option<String>,
    episodes: u32,
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
pub struct Tenure {
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

/// An episode under way: a request that is being worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// The request.
    pub request: RetrainRequest,
    /// Which episode of the model this is, counted from 1; 0 where a release without episodes began it.
    pub number: u32,
    /// Promotions that trials had won when it began.
    pub promotions: u32,
    /// The champions until then (the first entries of [`ModelRecord::tenures`]).
    pub tenures: usize,
    /// The last champion that it promoted; `None` before the first.
    pub promoted: Option<String>,
    /// What has become of its candidates, by number.
    pub candidates: BTreeMap<u32, CandidateRecord>,
}

/// What has become of a candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CandidateRecord {
    /// The last attempt to train it, counted from 1; 0 where it needed no training.
    pub attempt: u32,
    /// Mark of the process that made it.
    pub claimant: String,
    /// The version that answers for it, once it can be tried.
    pub version: Option<String>,
    /// What it is made of, once it can be tried.
    pub made_of: Option<CandidateKind>,
    /// How it ended; `None` while it is made or tried.
    pub settled: Option<Settlement>,
}

/// How a request or a candidate ended.
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
    /// The episode that it opened is over.
    Ended {
        /// With what outcome.
        outcome: EpisodeOutcome,
        /// A sentence for people.
        reason: String,
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

    /// Names of the versions on trial, in the order in which they were made.
    pub fn challengers(&self) -> impl Iterator<Item = &str> {
        let candidates = self.in_flight.iter().flat_map(|in_flight| in_flight.candidates.values());
        candidates.filter(|candidate| candidate.settled.is_none()).filter_map(|candidate| candidate.version.as_deref())
    }

    /// The versions of the first `tenures` champions, the last one first, each once.
    pub fn champions(&self, tenures: usize) -> Vec<&ModelVersion> {
        let mut champions: Vec<&ModelVersion> = Vec::new();
        for Tenure { version, .. } in self.tenures.iter().take(tenures).rev() {
            if let Some(known) = self.version(version).filter(|_| champions.iter().all(|had| had.version != *version)) {
                champions.push(&known.version);
            }
        }
        champions
    }

    /// Why nothing is promoted for now: the reason of a roll-back that nobody has lifted.
    pub fn hold(&self) -> Option<&str> {
        self.hold.as_deref()
    }

    /// Who was champion, oldest first.
    pub fn tenures(&self) -> &[Tenure] {
        &self.tenures
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

    /// Episodes so far, the running one included; a trial of a release that had no episodes counts as one.
    pub fn episodes(&self) -> u32 {
        self.episodes
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
        self.tenures.iter().rev().map(|tenure| tenure.version.as_str()).find(|version| *version != present)
    }

    pub(super) fn apply(&mut self, event: &ModelEvent) -> Result<(), RegistryError> {
        let (model, time_ms) = (event.model.as_str(), event.time_ms);
        match &event.event {
            LifecycleEvent::VersionRegistered { version } => self.add(model, version, time_ms),
            LifecycleEvent::ReferenceLearned { version, reference, artifact } => {
                self.known(model, version)?.reference = Some((reference.clone(), artifact.clone()));
                Ok(())
            }
            LifecycleEvent::EpisodeOpened { request } => {
                self.open_episode(request);
                Ok(())
            }
            LifecycleEvent::TrainingAttempted { request, candidate, attempt, claimant } => {
                let in_flight = self.in_flight.get_or_insert_with(|| InFlight::without_episode(request));
                let record = in_flight.candidates.entry(candidate.unwrap_or(1)).or_default();
                (record.attempt, record.claimant) = (*attempt, claimant.clone());
                Ok(())
            }
            LifecycleEvent::TrainingFailed { request, candidate, reason } => {
                self.settle(request, *candidate, Settlement::Failed { reason: reason.clone() });
                Ok(())
            }
            LifecycleEvent::ChallengerTrained { request, candidate, made_of, version, .. } => {
                self.known(model, version)?;
                self.episodes += u32::from(candidate.is_none());
                let record = self.candidate(model, request, candidate.unwrap_or(1))?;
                (record.version, record.made_of) = (Some(version.clone()), *made_of);
                Ok(())
            }
            LifecycleEvent::ChallengerRejected { request, candidate, version, reason, report } => {
                let (version, reason, report) = (version.clone(), reason.clone(), report.clone());
                self.settle(request, *candidate, Settlement::Rejected { version, reason, report });
                Ok(())
            }
            LifecycleEvent::EpisodeEnded { request, outcome, reason, .. } => {
                self.settle(request, None, Settlement::Ended { outcome: *outcome, reason: reason.clone() });
                Ok(())
            }
            LifecycleEvent::Promoted { version, permit, .. } => self.apply_promotion(event, version, permit),
            LifecycleEvent::RolledBack { version, reason, .. } => {
                let right = Right::RollBack { reason: reason.clone() };
                self.hold = Some(reason.clone());
                self.promote(model, version, Tenure { version: version.clone(), since_ms: time_ms, right })
            }
            LifecycleEvent::Released { .. } => {
                self.hold = None;
                Ok(())
            }
        }
    }

    fn open_episode(&mut self, request: &RetrainRequest) {
        self.episodes += 1;
        self.in_flight = Some(InFlight {
            number: self.episodes,
            promotions: self.trials_won,
            tenures: self.tenures.len(),
            ..InFlight::without_episode(request)
        });
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

    fn candidate(&mut self, model: &str, request: &str, number: u32) -> Result<&mut CandidateRecord, RegistryError> {
        let in_flight = self.in_flight.as_mut().filter(|in_flight| in_flight.request.id == request);
        let not_in_flight = || RegistryError::NotInFlight { model: model.to_owned(), request: request.to_owned() };
        Ok(in_flight.ok_or_else(not_in_flight)?.candidates.entry(number).or_default())
    }

    fn apply_promotion(
        &mut self,
        event: &ModelEvent,
        version: &str,
        permit: &PermitRecord,
    ) -> Result<(), RegistryError> {
        let right = Right::Permit(permit.clone());
        let tenure = Tenure { version: version.to_owned(), since_ms: event.time_ms, right };
        self.promote(&event.model, version, tenure)?;
        match permit {
            PermitRecord::Trial { request, candidate, .. } => {
                self.trials_won += 1;
                self.settle(request, *candidate, Settlement::Promoted { version: version.to_owned() });
                if let Some(in_flight) = self.in_flight.as_mut().filter(|flight| flight.request.id == *request) {
                    in_flight.promoted = Some(version.to_owned());
                }
            }
            PermitRecord::FirstVersion | PermitRecord::Override { .. } => self.hold = None,
        }
        Ok(())
    }

    fn promote(&mut self, model: &str, version: &str, tenure: Tenure) -> Result<(), RegistryError> {
        self.known(model, version)?;
        self.champion = Some(version.to_owned());
        self.tenures.push(tenure);
        Ok(())
    }

    /// Settles a candidate of the episode in flight or, where none is named, the whole of it.
    fn settle(&mut self, request: &str, candidate: Option<u32>, settlement: Settlement) {
        let in_flight = self.in_flight.as_mut().filter(|in_flight| in_flight.request.id == request);
        match (candidate, in_flight) {
            (Some(number), Some(in_flight)) => {
                in_flight.candidates.entry(number).or_default().settled = Some(settlement);
            }
            (Some(_), None) => {}
            (None, in_flight) => {
                if in_flight.is_some() {
                    self.in_flight = None;
                }
                self.settled.insert(request.to_owned(), settlement);
            }
        }
    }
}

impl InFlight {
    fn without_episode(request: &RetrainRequest) -> Self {
        let (request, candidates) = (request.clone(), BTreeMap::new());
        Self { request, number: 0, promotions: 0, tenures: 0, promoted: None, candidates }
    }

    /// The champion that there should be.
    pub fn expected_champion(&self) -> Option<&str> {
        self.promoted.as_deref().or(self.request.champion.as_deref())
    }
}
