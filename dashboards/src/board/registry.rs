//! What the board shows of one model's versions, requests and history.

use super::BoardLimits;
use detectors::verdict::PaneMatured;
use retrain::lifecycle::{LifecycleEvent, ModelEvent, ModelVersion, PermitRecord, TrialReport};
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
    /// A cause waits for labelled rows.
    Waiting,
    /// A request is made and not yet taken up.
    Requested,
    /// A challenger is being trained.
    Training,
    /// A challenger is on trial.
    Trial,
}

impl RetrainState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Waiting, Self::Requested, Self::Training, Self::Trial];

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

/// How far a cause that waits for labelled rows has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetrainProgress {
    /// The model.
    pub model: String,
    /// Labelled rows after the change so far.
    pub rows: u64,
    /// Labelled rows that a request needs.
    pub needed: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    /// Not yet taken up.
    Requested,
    /// In training.
    Training,
    /// Its challenger is on trial.
    Trial,
    /// Its challenger is or was champion.
    Promoted,
    /// Its challenger lost.
    Rejected,
    /// No challenger could be trained.
    Failed,
    /// Another version became champion than the one it was to beat.
    Void,
}

impl RequestState {
    /// Where the model's retraining stands while this is its newest request; `None` where it is over.
    fn under_way(self) -> Option<RetrainState> {
        match self {
            Self::Requested => Some(RetrainState::Requested),
            Self::Training => Some(RetrainState::Training),
            Self::Trial => Some(RetrainState::Trial),
            Self::Promoted | Self::Rejected | Self::Failed | Self::Void => None,
        }
    }
}

/// A request with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    /// The request.
    pub request: RetrainRequest,
    /// What became of it.
    pub state: RequestState,
    /// Trainings begun for it.
    pub attempts: u32,
    /// The version that it led to.
    pub challenger: Option<String>,
    /// Why it failed or was rejected.
    pub reason: Option<String>,
    /// The trial's figures, where it was judged.
    pub report: Option<TrialReport>,
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
    /// The version on trial.
    pub challenger: Option<String>,
    /// Where its retraining stands.
    pub retrain: RetrainState,
    /// How far a waiting cause has come.
    pub progress: Option<RetrainProgress>,
    /// The last pane whose labels are complete.
    pub matured: Option<PaneMatured>,
    /// What happened to it, newest first.
    pub history: Vec<ModelEvent>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    champion: Option<String>,
    challenger: Option<String>,
    progress: Option<RetrainProgress>,
    versions: VecDeque<VersionView>,
    requests: VecDeque<RequestView>,
    history: VecDeque<ModelEvent>,
}

impl Registry {
    pub(super) fn champion(&self) -> Option<&str> {
        self.champion.as_deref()
    }

    pub(super) fn challenger(&self) -> Option<&str> {
        self.challenger.as_deref()
    }

    /// Follows from the requests, so that it does not matter which topic was read first.
    pub(super) fn state(&self) -> RetrainState {
        let waiting = if self.progress.is_some() { RetrainState::Waiting } else { RetrainState::Idle };
        self.requests.iter().rev().find_map(|view| view.state.under_way()).unwrap_or(waiting)
    }

    pub(super) fn detail(&self, model: &str, matured: Option<PaneMatured>) -> ModelDetail {
        ModelDetail {
            model: model.to_owned(),
            champion: self.champion.clone(),
            challenger: self.challenger.clone(),
            retrain: self.state(),
            progress: self.progress.clone(),
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

    pub(super) fn request(&mut self, request: &RetrainRequest, limits: BoardLimits) {
        // The trainer's events may have been read first, and they know more.
        if self.requests.iter().any(|known| known.request.id == request.id) {
            return;
        }
        self.requests.push_back(RequestView {
            request: request.clone(),
            state: RequestState::Requested,
            attempts: 0,
            challenger: None,
            reason: None,
            report: None,
        });
        self.progress = None;
        keep_newest(&mut self.requests, limits.requests);
    }

    pub(super) fn progress(&mut self, progress: &RetrainProgress) {
        self.progress = Some(progress.clone());
    }

    pub(super) fn waiting_ended(&mut self) {
        self.progress = None;
    }

    pub(super) fn apply(&mut self, event: &ModelEvent, limits: BoardLimits) {
        self.apply_to_versions(event, limits);
        self.apply_to_requests(&event.event, limits);
        if matches!(event.event, LifecycleEvent::Promoted { .. } | LifecycleEvent::RolledBack { .. }) {
            self.void_requests_until(event.time_ms);
        }
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
            LifecycleEvent::ChallengerTrained { version, .. } => self.challenger = Some(version.clone()),
            LifecycleEvent::ChallengerRejected { .. } => self.challenger = None,
            LifecycleEvent::Promoted { version, .. } | LifecycleEvent::RolledBack { version, .. } => {
                self.champion = Some(version.clone());
                self.challenger = None;
            }
            LifecycleEvent::TrainingAttempted { .. } | LifecycleEvent::TrainingFailed { .. } => {}
        }
    }

    fn apply_to_requests(&mut self, event: &LifecycleEvent, limits: BoardLimits) {
        match event {
            LifecycleEvent::TrainingAttempted { request, attempt, .. } => {
                self.request(request, limits);
                self.update(&request.id, |view| {
                    view.state = RequestState::Training;
                    view.attempts = *attempt;
                });
            }
            LifecycleEvent::TrainingFailed { request, reason } => self.update(request, |view| {
                view.state = RequestState::Failed;
                view.reason = Some(reason.clone());
            }),
            LifecycleEvent::ChallengerTrained { request, version, .. } => self.update(request, |view| {
                view.state = RequestState::Trial;
                view.challenger = Some(version.clone());
            }),
            LifecycleEvent::ChallengerRejected { request, reason, report, .. } => self.update(request, |view| {
                view.state = RequestState::Rejected;
                view.reason = Some(reason.clone());
                view.report.clone_from(report);
            }),
            LifecycleEvent::Promoted { permit: PermitRecord::Trial { request, report }, .. } => {
                self.update(request, |view| {
                    view.state = RequestState::Promoted;
                    view.report = Some(report.clone());
                });
            }
            LifecycleEvent::VersionRegistered { .. }
            | LifecycleEvent::ReferenceLearned { .. }
            | LifecycleEvent::Promoted { .. }
            | LifecycleEvent::RolledBack { .. } => {}
        }
    }

    /// Changes a request that is still at hand; one that has left the board is not missed.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut RequestView)) {
        if let Some(view) = self.requests.iter_mut().find(|view| view.request.id == id) {
            change(view);
        }
    }

    /// A request names the champion that it is to beat, so another champion ends those that were made before.
    fn void_requests_until(&mut self, time_ms: i64) {
        let open = self.requests.iter_mut().filter(|view| view.state.under_way().is_some());
        for view in open.filter(|view| view.request.time_ms <= time_ms) {
            view.state = RequestState::Void;
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
        } else if self.challenger() == Some(version) {
            Some("challenger")
        } else {
            None
        }
    }
}

fn keep_newest<T>(entries: &mut VecDeque<T>, most: usize) {
    while entries.len() > most.max(1) {
        entries.pop_front();
    }
}
