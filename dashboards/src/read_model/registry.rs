//! What the board shows of one model's versions, requests and history.

use super::BoardLimits;
use detectors::verdict::RowsMatured;
use retrain::lifecycle::CandidateKind;
use retrain::lifecycle::{EpisodeOutcome, LifecycleEvent, ModelEvent, ModelVersion, PermitRecord, TrialReport};
use retrain::progress::{EpisodeProgress, RefusedCause};
use retrain::request::RetrainRequest;
use serde::Serialize;
use std::collections::VecDeque;

/// Where a model's retraining stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetrainState {
    /// Nothing is under way.
    #[default]
    Idle,
    /// A request is made and not yet taken up.
    Requested,
    /// An episode waits for labelled rows.
    Waiting,
    /// A challenger is being trained.
    Training,
    /// At least one challenger is on trial.
    Trial,
}

impl RetrainState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Requested, Self::Waiting, Self::Training, Self::Trial];

    /// The name used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Requested => "requested",
            Self::Training => "training",
            Self::Trial => "trial",
        }
    }
}

/// How a request's episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Not yet taken up.
    Requested,
    /// Waits for labelled rows.
    Waiting,
    /// A challenger is being trained.
    Training,
    /// A challenger is on trial.
    Trial,
    /// Over (see [`RequestView::outcome`]).
    Ended,
}

impl RequestState {
    /// Where the model's retraining stands while this is its newest request; `None` where it is over.
    fn under_way(self) -> Option<RetrainState> {
        match self {
            Self::Requested => Some(RetrainState::Requested),
            Self::Waiting => Some(RetrainState::Waiting),
            Self::Training => Some(RetrainState::Training),
            Self::Trial => Some(RetrainState::Trial),
            Self::Ended => None,
        }
    }
}

/// How a candidate of an episode stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateState {
    /// In training.
    Training,
    /// On trial.
    Trial,
    /// It is or was champion.
    Promoted,
    /// It lost.
    Rejected,
    /// It could not be trained.
    Failed,
}

/// A candidate of an episode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateView {
    /// Its number in the episode, from 1.
    pub number: u32,
    /// How it stands.
    pub state: CandidateState,
    /// What it is made of; `None` before it can be tried.
    pub kind: Option<CandidateKind>,
    /// The version that answers for it.
    pub version: Option<String>,
    /// Trainings begun for it.
    pub attempts: u32,
    /// Why it failed or was rejected.
    pub reason: Option<String>,
    /// The trial's figures, where it was judged.
    pub report: Option<TrialReport>,
}

/// A request with its episode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    /// The request.
    pub request: RetrainRequest,
    /// How its episode stands.
    pub state: RequestState,
    /// With what outcome it ended.
    pub outcome: Option<EpisodeOutcome>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// Its candidates, in the order in which they were made.
    pub candidates: Vec<CandidateView>,
    /// How far it had come when that was told last.
    pub progress: Option<EpisodeProgress>,
}

/// A version with its role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionView {
    /// `champion`, `challenger`, or `None`.
    pub role: Option<&'static str>,
    /// When it was registered, in event time.
    pub registered_ms: i64,
    /// Id of the reference learned for it.
    pub reference: Option<String>,
    /// The version and its lineage.
    pub version: ModelVersion,
}

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelDetail {
    /// Its name.
    pub model: String,
    /// The version that answers.
    pub champion: Option<String>,
    /// The version that has been on trial for the longest.
    pub challenger: Option<String>,
    /// Every version on trial.
    pub challengers: Vec<String>,
    /// Where its retraining stands.
    pub retrain: RetrainState,
    /// Its last request, with the episode that it opened.
    pub episode: Option<RequestView>,
    /// The last causes that led to no request, newest first, each with why.
    pub refused: Vec<RefusedView>,
    /// The reason of the roll-back that holds promotions, if one does.
    pub hold: Option<String>,
    /// The last span whose labels are complete.
    pub matured: Option<RowsMatured>,
    /// What happened to it, newest first.
    pub history: Vec<ModelEvent>,
}

/// A cause that led to no request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedView {
    /// The cause.
    #[serde(flatten)]
    pub cause: RefusedCause,
    /// Why, as a sentence.
    pub reason: String,
}

/// Refused causes that are kept of a model.
const REFUSED_KEPT: usize = 20;

#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    champion: Option<String>,
    challengers: Vec<String>,
    hold: Option<String>,
    refused: VecDeque<RefusedView>,
    versions: VecDeque<VersionView>,
    requests: VecDeque<RequestView>,
    history: VecDeque<ModelEvent>,
}

impl Registry {
    pub(super) fn champion(&self) -> Option<&str> {
        self.champion.as_deref()
    }

    pub(super) fn challengers(&self) -> &[String] {
        &self.challengers
    }

    /// Follows from the requests, so that it does not matter which topic was read first.
    pub(super) fn state(&self) -> RetrainState {
        self.requests.iter().rev().find_map(|view| view.state.under_way()).unwrap_or_default()
    }

    pub(super) fn detail(&self, model: &str, matured: Option<RowsMatured>) -> ModelDetail {
        ModelDetail {
            model: model.to_owned(),
            champion: self.champion.clone(),
            challenger: self.challengers.first().cloned(),
            challengers: self.challengers.clone(),
            retrain: self.state(),
            episode: self.requests.back().cloned(),
            refused: self.refused.iter().rev().cloned().collect(),
            hold: self.hold.clone(),
            matured,
            history: self.history.iter().rev().cloned().collect(),
        }
    }

    pub(super) fn versions(&self) -> Vec<VersionView> {
        let with_role = |view: &VersionView| VersionView { role: self.role_of(&view.version.version), ..view.clone() };
        self.versions.iter().rev().map(with_role).collect()
    }

    pub(super) fn requests(&self) -> Vec<RequestView> {
        self.requests.iter().rev().cloned().collect()
    }

    /// When the champion became it last; as far as the history reaches.
    pub(super) fn champion_since_ms(&self) -> Option<i64> {
        let champion = self.champion()?;
        let became = |event: &&ModelEvent| match &event.event {
            LifecycleEvent::Promoted { version, .. } | LifecycleEvent::RolledBack { version, .. } => {
                version == champion
            }
            _ => false,
        };
        self.history.iter().rev().find(became).map(|event| event.time_ms)
    }

    pub(super) fn under_way(&self) -> (Option<String>, Option<EpisodeProgress>) {
        (self.hold.clone(), self.requests.back().and_then(|view| view.progress.clone()))
    }

    /// The requests that name a verdict or a cause, newest first, and the refusals of it.
    pub(super) fn acted_upon(&self, id: &str) -> (Vec<RequestView>, Vec<RefusedView>) {
        let names = |view: &&RequestView| {
            view.request.cause.id == id || view.request.evidence.iter().any(|verdict| verdict == id)
        };
        let requests = self.requests.iter().rev().filter(names).cloned().collect();
        (requests, self.refused.iter().rev().filter(|view| view.cause.cause.id == id).cloned().collect())
    }

    pub(super) fn request(&mut self, request: &RetrainRequest, limits: BoardLimits) {
        // The trainer's events may have been read first, and they know more.
        if self.requests.iter().any(|known| known.request.id == request.id) {
            return;
        }
        self.requests.push_back(RequestView {
            request: request.clone(),
            state: RequestState::Requested,
            outcome: None,
            reason: None,
            candidates: Vec::new(),
            progress: None,
        });
        keep_newest(&mut self.requests, limits.requests);
    }

    pub(super) fn progress(&mut self, progress: &EpisodeProgress) {
        self.update(&progress.request, |view| view.progress = Some(progress.clone()));
    }

    pub(super) fn refused(&mut self, cause: &RefusedCause) {
        self.refused.push_back(RefusedView { cause: cause.clone(), reason: cause.why.to_string() });
        keep_newest(&mut self.refused, REFUSED_KEPT);
    }

    pub(super) fn apply(&mut self, event: &ModelEvent, limits: BoardLimits) {
        self.apply_to_versions(event, limits);
        self.apply_to_requests(&event.event, limits);
        self.history.push_back(event.clone());
        keep_newest(&mut self.history, limits.history);
    }

    fn apply_to_versions(&mut self, event: &ModelEvent, limits: BoardLimits) {
        match &event.event {
            LifecycleEvent::VersionRegistered { version } => {
                self.versions.retain(|known| known.version.version != version.version);
                let (registered_ms, version) = (event.time_ms, version.clone());
                self.versions.push_back(VersionView { role: None, registered_ms, reference: None, version });
                self.drop_old_versions(limits.versions);
            }
            LifecycleEvent::ReferenceLearned { version, reference, .. } => {
                if let Some(known) = self.versions.iter_mut().find(|known| known.version.version == *version) {
                    known.reference = Some(reference.clone());
                }
            }
            LifecycleEvent::ChallengerTrained { version, .. } => self.challengers.push(version.clone()),
            LifecycleEvent::ChallengerRejected { version, .. } => self.challengers.retain(|known| known != version),
            LifecycleEvent::EpisodeEnded { .. } => self.challengers.clear(),
            LifecycleEvent::Promoted { version, permit, .. } => {
                self.champion = Some(version.clone());
                self.challengers.retain(|known| known != version);
                if !matches!(permit, PermitRecord::Trial { .. }) {
                    self.hold = None;
                }
            }
            LifecycleEvent::RolledBack { version, reason, .. } => {
                self.champion = Some(version.clone());
                self.hold = Some(reason.clone());
            }
            LifecycleEvent::Released { .. } => self.hold = None,
            LifecycleEvent::EpisodeOpened { .. }
            | LifecycleEvent::TrainingAttempted { .. }
            | LifecycleEvent::TrainingFailed { .. } => {}
        }
    }

    fn apply_to_requests(&mut self, event: &LifecycleEvent, limits: BoardLimits) {
        match event {
            LifecycleEvent::EpisodeOpened { request } => {
                self.request(request, limits);
                self.update(&request.id, |view| view.state = RequestState::Waiting);
            }
            LifecycleEvent::TrainingAttempted { request, candidate, attempt, .. } => {
                self.request(request, limits);
                self.update_candidate(&request.id, *candidate, |view| {
                    (view.state, view.attempts) = (CandidateState::Training, *attempt);
                });
            }
            LifecycleEvent::TrainingFailed { request, candidate, reason } => {
                self.update_candidate(request, *candidate, |view| {
                    (view.state, view.reason) = (CandidateState::Failed, Some(reason.clone()));
                });
            }
            LifecycleEvent::ChallengerTrained { request, candidate, made_of, version, .. } => {
                self.update_candidate(request, *candidate, |view| {
                    view.state = CandidateState::Trial;
                    (view.version, view.kind) = (Some(version.clone()), *made_of);
                });
            }
            LifecycleEvent::ChallengerRejected { request, candidate, reason, report, .. } => {
                self.update_candidate(request, *candidate, |view| {
                    (view.state, view.reason) = (CandidateState::Rejected, Some(reason.clone()));
                    view.report.clone_from(report);
                });
            }
            LifecycleEvent::Promoted { permit: PermitRecord::Trial { request, candidate, report }, .. } => {
                self.update_candidate(request, *candidate, |view| {
                    (view.state, view.report) = (CandidateState::Promoted, Some(report.clone()));
                });
            }
            LifecycleEvent::EpisodeEnded { request, outcome, reason, .. } => self.update(request, |view| {
                view.state = RequestState::Ended;
                (view.outcome, view.reason) = (Some(*outcome), Some(reason.clone()));
            }),
            LifecycleEvent::VersionRegistered { .. }
            | LifecycleEvent::ReferenceLearned { .. }
            | LifecycleEvent::Promoted { .. }
            | LifecycleEvent::RolledBack { .. }
            | LifecycleEvent::Released { .. } => {}
        }
    }

    /// Changes a candidate of a request, and what the request amounts to. A release without episodes numbered none: there a
    /// request ends with its one candidate.
    fn update_candidate(&mut self, request: &str, number: Option<u32>, change: impl FnOnce(&mut CandidateView)) {
        self.update(request, |view| {
            let wanted = number.unwrap_or(1);
            let place = view.candidates.iter().position(|known| known.number == wanted).unwrap_or_else(|| {
                view.candidates.push(CandidateView::numbered(wanted));
                view.candidates.len() - 1
            });
            let Some(candidate) = view.candidates.get_mut(place) else { return };
            change(candidate);
            let is = |state: CandidateState| view.candidates.iter().any(|known| known.state == state);
            view.state = match (is(CandidateState::Training), is(CandidateState::Trial), number) {
                (true, _, _) => RequestState::Training,
                (false, true, _) => RequestState::Trial,
                (false, false, Some(_)) => RequestState::Waiting,
                (false, false, None) => RequestState::Ended,
            };
        });
    }

    /// Changes a request that is still at hand; one that has left the board is not missed.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut RequestView)) {
        if let Some(view) = self.requests.iter_mut().find(|view| view.request.id == id) {
            change(view);
        }
    }

    fn drop_old_versions(&mut self, most: usize) {
        while self.versions.len() > most.max(1) + 2 {
            let roleless = self.versions.iter().position(|view| self.role_of(&view.version.version).is_none());
            let Some(oldest) = roleless else { return };
            self.versions.remove(oldest);
        }
    }

    fn role_of(&self, version: &str) -> Option<&'static str> {
        if self.champion() == Some(version) {
            Some("champion")
        } else if self.challengers.iter().any(|challenger| challenger == version) {
            Some("challenger")
        } else {
            None
        }
    }
}

impl CandidateView {
    fn numbered(number: u32) -> Self {
        let state = CandidateState::Training;
        Self { number, state, kind: None, version: None, attempts: 0, reason: None, report: None }
    }
}

fn keep_newest<T>(entries: &mut VecDeque<T>, most: usize) {
    while entries.len() > most.max(1) {
        entries.pop_front();
    }
}
