//! The fold that keeps what people see: each record of `verdicts`, `retrain` and `models` goes to the board and to the
//! metrics, once.
//!
//! It reads the three topics from their start each time the process starts, so board and counters are what the log says
//! and not what this process happened to witness. [`Dashboard::reset`] stands before any further reading from the start.

mod facts;
mod freshness;
mod lifecycle_series;
mod quality_series;
mod slice;
mod test_series;
mod verdict_series;

pub use facts::ModelFacts;
pub use freshness::Standing;

use crate::catalogue::{
    EPISODE_LOSS, EPISODE_NEEDED_ROWS, EPISODE_OPENED, EPISODE_ROWS, EPISODE_TARGET_LOSS, EPISODES, Metric,
    RETRAIN_REFUSALS, RETRAIN_REQUESTS, RETRAIN_STATE,
};
use crate::exporter::Exporter;
use crate::read_model::{CapturedRows, RetrainState, SharedReadModel};
use detectors::verdict::{Finality, Monitor, MonitorEvent, Verdict};
use freshness::Freshness;
use lifecycle_series::LifecycleSeries;
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use retrain::progress::{EpisodeProgress, RefusedCause};
use retrain::request::RetrainRequest;
use std::collections::HashSet;
use std::sync::Arc;
use verdict_series::{Told, VerdictSeries};

/// What is shown of an episode while it lasts.
const EPISODE_GAUGES: [&Metric; 5] =
    [&EPISODE_ROWS, &EPISODE_NEEDED_ROWS, &EPISODE_LOSS, &EPISODE_TARGET_LOSS, &EPISODE_OPENED];

/// The most tests of a model that have series, unless told otherwise.
pub const TESTS_OF_MODEL: usize = 30;

/// ReadModel and metrics, kept by one writer.
pub struct Dashboard {
    read_model: SharedReadModel,
    exporter: Arc<Exporter>,
    /// The models that are watched; those that are not have no series. Empty where that is not known: then all have.
    facts: Vec<ModelFacts>,
    freshness: Freshness,
    verdicts: VerdictSeries,
    lifecycle: LifecycleSeries,
    /// Ids of requests that were counted: the log may hold one twice. They are few, because each model has a budget a day.
    requests: HashSet<String>,
}

impl Dashboard {
    /// A dashboard before anything was read.
    pub fn new(read_model: SharedReadModel, exporter: Arc<Exporter>) -> Self {
        Self {
            read_model,
            exporter,
            facts: Vec::new(),
            freshness: Freshness::default(),
            verdicts: VerdictSeries::new(TESTS_OF_MODEL),
            lifecycle: LifecycleSeries::default(),
            requests: HashSet::new(),
        }
    }

    /// Shows these models and no others, of each so many tests.
    #[must_use]
    pub fn watching(self, facts: Vec<ModelFacts>, tests_of_model: usize) -> Self {
        facts::show(&facts, &self.exporter);
        let freshness = Freshness::of(&facts);
        Self { freshness, facts, verdicts: VerdictSeries::new(tests_of_model), ..self }
    }

    /// Empties board and series, before the topics are read again from their start.
    pub fn reset(&mut self) {
        self.read_model.clear();
        verdict_series::clear(&self.exporter);
        lifecycle_series::clear(&self.exporter);
        freshness::clear(&self.exporter);
        for metric in
            [&RETRAIN_REQUESTS, &RETRAIN_REFUSALS, &RETRAIN_STATE, &EPISODES].into_iter().chain(EPISODE_GAUGES)
        {
            self.exporter.remove_where(metric, |_| true);
        }
        let (facts, tests) = (std::mem::take(&mut self.facts), self.verdicts.tests_of_model());
        let fresh = Self::new(self.read_model.clone(), Arc::clone(&self.exporter));
        *self = if facts.is_empty() { fresh } else { fresh.watching(facts, tests) };
    }

    /// Takes in that rows of a model were captured in an epoch of which the log was told at this time.
    pub fn captured(&mut self, model: &str, rows: CapturedRows, told_ms: i64) {
        self.read_model.write().record_captured(model, rows);
        if self.is_watched(model) {
            Freshness::captured(model, rows, told_ms, &self.exporter);
        }
    }

    /// Takes in where a partition of inferences stands.
    pub fn stands(&mut self, standing: Standing) {
        self.freshness.stands(standing);
    }

    /// Takes in that there is nothing more to be read for now.
    pub fn settle(&mut self) {
        self.freshness.settle(&self.exporter);
    }

    /// Whether a model has series.
    pub fn is_watched(&self, model: &str) -> bool {
        self.facts.is_empty() || self.facts.iter().any(|facts| facts.name == model)
    }

    /// Takes in a record of `verdicts`, which the log got at this time.
    pub fn monitor_event(&mut self, event: &MonitorEvent, told_ms: i64) {
        self.read_model.write().record_monitor_event(event);
        match event {
            MonitorEvent::Verdict(verdict) if self.is_watched(&verdict.model) => self.show_verdict(verdict, told_ms),
            _ => {}
        }
    }

    fn show_verdict(&mut self, verdict: &Verdict, at_ms: i64) {
        let is_new = self.verdicts.show(Told { verdict, at_ms }, &self.lifecycle, &self.exporter);
        let is_of_windows = matches!(verdict.monitor, Monitor::Drift | Monitor::Quality);
        if is_new && is_of_windows && verdict.finality == Finality::Final && verdict.segment.is_none() {
            self.freshness.judged(verdict, at_ms, &self.exporter);
        }
    }

    /// Takes in a record of `models`.
    pub fn model_event(&mut self, event: &ModelEvent) {
        self.read_model.write().record_model_event(event);
        if !self.is_watched(&event.model) {
            return;
        }
        self.lifecycle.show(event, &self.exporter);
        if let Some(kept) = self.lifecycle.kept_versions(event) {
            self.verdicts.forget_versions(&event.model, &kept, &self.exporter);
        }
        match &event.event {
            LifecycleEvent::EpisodeOpened { .. } => {
                self.exporter.set(&EPISODE_OPENED, &[&event.model], event.time_ms as f64 / 1e3);
            }
            LifecycleEvent::EpisodeEnded { outcome, .. } => {
                self.exporter.add(&EPISODES, &[&event.model, outcome.name()], 1);
                EPISODE_GAUGES.iter().for_each(|metric| self.exporter.remove(metric, &[&event.model]));
            }
            _ => {}
        }
        self.show_retrain_state(&event.model);
    }

    /// Takes in a record of `retrain`.
    pub fn retrain_request(&mut self, request: &RetrainRequest) {
        self.read_model.write().record_request(request);
        if !self.is_watched(&request.model) {
            return;
        }
        if self.requests.insert(request.id.clone()) {
            self.exporter.add(&RETRAIN_REQUESTS, &[&request.model, request.cause.kind.name()], 1);
        }
        self.show_retrain_state(&request.model);
    }

    /// Takes in how an episode stands.
    pub fn episode(&mut self, progress: &EpisodeProgress) {
        self.read_model.write().record_progress(progress);
        if !self.is_watched(&progress.model) {
            return;
        }
        let labels = [progress.model.as_str()];
        self.exporter.set(&EPISODE_ROWS, &labels, progress.rows as f64);
        self.exporter.set(&EPISODE_NEEDED_ROWS, &labels, progress.rows_needed as f64);
        for (metric, loss) in [(&EPISODE_LOSS, progress.loss), (&EPISODE_TARGET_LOSS, progress.target)] {
            loss.iter().for_each(|loss| self.exporter.set(metric, &labels, *loss));
        }
        self.show_retrain_state(&progress.model);
    }

    /// Takes in a cause that leads to no request.
    pub fn refused(&mut self, refused: &RefusedCause) {
        self.read_model.write().record_refused(refused);
        if self.is_watched(&refused.cause.model) {
            self.exporter.add(&RETRAIN_REFUSALS, &[&refused.cause.model, refused.why.name()], 1);
        }
    }

    fn show_retrain_state(&self, model: &str) {
        let now = self.read_model.read().retrain_state(model);
        for state in RetrainState::ALL {
            self.exporter.set(&RETRAIN_STATE, &[model, state.name()], f64::from(u8::from(state == now)));
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fleet_tests;
