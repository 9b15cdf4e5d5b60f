//! The bounded state that the API shows: a fold of the `verdicts`, `retrain` and `models` topics.
//!
//! Invariants: an id stands on the board once, and a final verdict is never replaced by a provisional one; each model has
//! room of its own, so a busy one does not push out another's; what does not fit, the oldest leaves. The three topics are
//! read apart, so any of them may run ahead of the others.
//!
//! Deliberately absent: decisions. The registry that the trainer acts on is its own fold of the same events.

mod registry;
mod standing;
mod verdicts;

pub use registry::{
    CandidateState, CandidateView, ModelDetail, RefusedView, RequestState, RequestView, RetrainState, VersionView,
};
pub use standing::{Standing, StandingKey};
pub(crate) use verdicts::segment_name;
pub use verdicts::{Course, WindowQuery, WindowView};

use detectors::verdict::{MonitorEvent, RowsMatured, Verdict};
use registry::Registry;
use retrain::lifecycle::ModelEvent;
use retrain::progress::{EpisodeProgress, RefusedCause};
use retrain::request::RetrainRequest;
use serde::Serialize;
use standing::Standings;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use verdicts::VerdictRing;

/// How much the board keeps of each model; at least one of each is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardLimits {
    /// Verdicts.
    pub verdicts: usize,
    /// Retrain requests.
    pub requests: usize,
    /// Versions, beside the champion and the challenger.
    pub versions: usize,
    /// Lifecycle events.
    pub history: usize,
}

impl Default for BoardLimits {
    fn default() -> Self {
        Self { verdicts: 2_000, requests: 200, versions: 200, history: 200 }
    }
}

/// A model in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Its name.
    pub model: String,
    /// The version that answers; `None` where none was promoted.
    pub champion: Option<String>,
    /// The version that has been on trial for the longest.
    pub challenger: Option<String>,
    /// Every version on trial.
    pub challengers: Vec<String>,
    /// Where its retraining stands.
    pub retrain: RetrainState,
    /// How its events were captured.
    pub captured: CapturedRows,
    /// The newest final verdict that is at hand.
    pub last_final: Option<WindowView>,
}

/// How the events of a model were captured, as far back as the log tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CapturedRows {
    /// Good rows, whatever became of them.
    pub rows: u64,
    /// Of those, behind the watermark: they count in no window.
    pub late: u64,
    /// Of those, with an id that had been seen: they count once.
    pub duplicates: u64,
    /// Predictions that got a label.
    pub labelled: u64,
}

/// What is shown of every model.
#[derive(Debug, Clone, Default)]
pub struct ReadModel {
    limits: BoardLimits,
    /// Models that are shown though nothing was heard of them.
    configured: Vec<String>,
    models: BTreeMap<String, ModelBoard>,
    /// Number of the next verdict, over all models.
    arrivals: u64,
}

#[derive(Debug, Clone, Default)]
struct ModelBoard {
    captured: CapturedRows,
    verdicts: VerdictRing,
    standings: Standings,
    registry: Registry,
    matured: Option<RowsMatured>,
}

impl ModelBoard {
    fn summary(&self, name: &str) -> ModelSummary {
        ModelSummary {
            model: name.to_owned(),
            champion: self.registry.champion().map(str::to_owned),
            challenger: self.registry.challengers().first().cloned(),
            challengers: self.registry.challengers().to_vec(),
            retrain: self.registry.state(),
            captured: self.captured,
            last_final: self.verdicts.last_final().map(|verdict| WindowView::of(verdict)),
        }
    }
}

impl ReadModel {
    /// An empty board.
    pub fn new(limits: BoardLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Shows these models from now on, also before anything is heard of them.
    pub fn configure(&mut self, models: impl IntoIterator<Item = String>) {
        self.configured = models.into_iter().collect();
        self.models.extend(self.configured.iter().map(|model| (model.clone(), ModelBoard::default())));
    }

    /// Takes in that rows of a model were captured.
    pub fn record_captured(&mut self, model: &str, more: CapturedRows) {
        let CapturedRows { rows, late, duplicates, labelled } = &mut self.model_mut(model).captured;
        *rows += more.rows;
        *late += more.late;
        *duplicates += more.duplicates;
        *labelled += more.labelled;
    }

    /// Takes in what the monitor wrote.
    pub fn record_monitor_event(&mut self, event: &MonitorEvent) {
        match event {
            MonitorEvent::Verdict(verdict) => {
                self.arrivals += 1;
                let (arrival, most) = (self.arrivals, self.limits.verdicts);
                let model = self.model_mut(&verdict.model);
                let verdict = Arc::new(verdict.as_ref().clone());
                if model.verdicts.insert(arrival, Arc::clone(&verdict), most) {
                    model.standings.take_in(&verdict);
                }
            }
            MonitorEvent::RowsMatured(matured) => {
                self.model_mut(&matured.model).matured = Some(matured.clone());
            }
        }
    }

    /// Takes in a retrain request.
    pub fn record_request(&mut self, request: &RetrainRequest) {
        let limits = self.limits;
        self.model_mut(&request.model).registry.request(request, limits);
    }

    /// Takes in how an episode stands.
    pub fn record_progress(&mut self, progress: &EpisodeProgress) {
        self.model_mut(&progress.model).registry.progress(progress);
    }

    /// Takes in a cause that leads to no request.
    pub fn record_refused(&mut self, refused: &RefusedCause) {
        self.model_mut(&refused.cause.model).registry.refused(refused);
    }

    /// Takes in a change in the life of a model.
    pub fn record_model_event(&mut self, event: &ModelEvent) {
        let limits = self.limits;
        self.model_mut(&event.model).registry.apply(event, limits);
    }

    /// Every model, by name.
    pub fn models(&self) -> Vec<ModelSummary> {
        self.models.iter().map(|(name, model)| model.summary(name)).collect()
    }

    /// A model in a line; `None` where nothing is known of it.
    pub fn model_summary(&self, model: &str) -> Option<ModelSummary> {
        Some(self.models.get(model)?.summary(model))
    }

    /// What is known of a model; `None` where nothing is.
    pub fn model(&self, model: &str) -> Option<ModelDetail> {
        let found = self.models.get(model)?;
        Some(found.registry.detail(model, found.matured.clone()))
    }

    /// Where a model's retraining stands; idle where the model is unknown.
    pub fn retrain_state(&self, model: &str) -> RetrainState {
        self.models.get(model).map(|found| found.registry.state()).unwrap_or_default()
    }

    /// The versions of a model, newest first; `None` where the model is unknown.
    pub fn versions(&self, model: &str) -> Option<Vec<VersionView>> {
        Some(self.models.get(model)?.registry.versions())
    }

    /// The retrain requests of a model, newest first; `None` where the model is unknown.
    pub fn requests(&self, model: &str) -> Option<Vec<RequestView>> {
        Some(self.models.get(model)?.registry.requests())
    }

    /// The windows of a model that a query asks for, latest first; `None` where the model is unknown.
    pub fn windows(&self, model: &str, query: &WindowQuery) -> Option<Vec<WindowView>> {
        Some(self.models.get(model)?.verdicts.windows(query))
    }

    /// At most `limit` verdicts of one model or, for `None`, of all, the last to arrive first.
    pub fn verdicts(&self, model: Option<&str>, limit: usize) -> Vec<Arc<Verdict>> {
        let mut found: Vec<_> = self
            .models
            .iter()
            .filter(|(name, _)| model.is_none_or(|wanted| wanted == name.as_str()))
            .flat_map(|(_, model)| model.verdicts.newest().take(limit))
            .collect();
        found.sort_by_key(|(arrival, _)| Reverse(*arrival));
        found.into_iter().take(limit).map(|(_, verdict)| Arc::clone(verdict)).collect()
    }

    /// The verdict with this id, if it is still at hand.
    pub fn verdict(&self, id: &str) -> Option<Arc<Verdict>> {
        self.models.values().find_map(|model| model.verdicts.get(id)).map(Arc::clone)
    }

    /// Where every monitor of a model stands; none where the model is unknown.
    pub fn standings(&self, model: &str) -> Vec<(StandingKey, Standing)> {
        let found = self.models.get(model).into_iter().flat_map(|found| found.standings.all());
        found.map(|(key, standing)| (key.clone(), standing.clone())).collect()
    }

    /// The last verdict on the quality of all of a model's traffic, provisional or not.
    pub fn coverage(&self, model: &str) -> Option<Arc<Verdict>> {
        self.models.get(model)?.standings.coverage().map(Arc::clone)
    }

    /// The final verdicts of one monitor on one slice of a model, every version's, the earliest first.
    pub fn course(&self, model: &str, course: &Course<'_>) -> Vec<Arc<Verdict>> {
        self.models.get(model).map(|found| found.verdicts.course(course)).unwrap_or_default()
    }

    /// Every other verdict on the same window of the same version of a model.
    pub fn beside(&self, verdict: &Verdict) -> Vec<Arc<Verdict>> {
        self.models.get(&verdict.model).map(|found| found.verdicts.beside(verdict)).unwrap_or_default()
    }

    /// When a version of a model became champion last; `None` where that is not remembered.
    pub fn champion_since_ms(&self, model: &str) -> Option<i64> {
        self.models.get(model)?.registry.champion_since_ms()
    }

    /// Why promotions of a model are held, if they are, and how its last episode stood when that was told last.
    pub fn under_way(&self, model: &str) -> (Option<String>, Option<EpisodeProgress>) {
        self.models.get(model).map(|found| found.registry.under_way()).unwrap_or_default()
    }

    /// How a cause or a verdict with this id was acted upon: the requests that name it, and why it was refused where it was.
    pub fn acted_upon(&self, model: &str, id: &str) -> (Vec<RequestView>, Vec<RefusedView>) {
        self.models.get(model).map(|found| found.registry.acted_upon(id)).unwrap_or_default()
    }

    fn model_mut(&mut self, model: &str) -> &mut ModelBoard {
        self.models.entry(model.to_owned()).or_default()
    }
}

/// A board that one stage writes and many requests read.
#[derive(Debug, Clone, Default)]
pub struct SharedReadModel(Arc<RwLock<ReadModel>>);

impl SharedReadModel {
    /// Shares an empty board.
    pub fn new(limits: BoardLimits) -> Self {
        Self(Arc::new(RwLock::new(ReadModel::new(limits))))
    }

    /// The board as it stands. To be held briefly: the writer waits meanwhile.
    ///
    /// A writer that panicked leaves at worst one event half shown, and the board is only shown; so it is read on.
    pub fn read(&self) -> RwLockReadGuard<'_, ReadModel> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The board, to be changed.
    pub fn write(&self) -> RwLockWriteGuard<'_, ReadModel> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the board, before the log is read again from its start.
    pub fn clear(&self) {
        let mut read_model = self.write();
        let configured = std::mem::take(&mut read_model.configured);
        *read_model = ReadModel::new(read_model.limits);
        read_model.configure(configured);
    }
}

#[cfg(test)]
mod tests;
