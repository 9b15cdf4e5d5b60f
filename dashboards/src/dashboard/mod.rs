//! The fold that keeps what people see: each record of `verdicts`, `retrain` and `models` goes to the board and to the
//! metrics, once.
//!
//! It reads the three topics from their start each time the process starts, so board and counters are what the log says
//! and not what this process happened to witness. [`Dashboard::reset`] stands before any further reading from the start.

mod lifecycle_series;
mod verdict_series;

use crate::catalogue::{
    EPISODE_LOSS, EPISODE_NEEDED_ROWS, EPISODE_ROWS, EPISODE_TARGET_LOSS, EPISODES, Metric, RETRAIN_REFUSALS,
    RETRAIN_REQUESTS, RETRAIN_STATE,
};
use crate::exporter::Exporter;
use crate::read_model::{CapturedRows, RetrainState, SharedReadModel};
use detectors::verdict::MonitorEvent;
use lifecycle_series::LifecycleSeries;
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use retrain::progress::{EpisodeProgress, RefusedCause};
use retrain::request::RetrainRequest;
use std::collections::HashSet;
use std::sync::Arc;
use verdict_series::VerdictSeries;

/// What is shown of an episode while it lasts.
const EPISODE_GAUGES: [&Metric; 4] = [&EPISODE_ROWS, &EPISODE_NEEDED_ROWS, &EPISODE_LOSS, &EPISODE_TARGET_LOSS];

/// ReadModel and metrics, kept by one writer.
pub struct Dashboard {
    read_model: SharedReadModel,
    exporter: Arc<Exporter>,
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
            verdicts: VerdictSeries::default(),
            lifecycle: LifecycleSeries::default(),
            requests: HashSet::new(),
        }
    }

    /// Empties board and series, before the topics are read again from their start.
    pub fn reset(&mut self) {
        self.read_model.clear();
        verdict_series::clear(&self.exporter);
        lifecycle_series::clear(&self.exporter);
        for metric in
            [&RETRAIN_REQUESTS, &RETRAIN_REFUSALS, &RETRAIN_STATE, &EPISODES].into_iter().chain(EPISODE_GAUGES)
        {
            self.exporter.remove_where(metric, |_| true);
        }
        *self = Self::new(self.read_model.clone(), Arc::clone(&self.exporter));
    }

    /// Takes in that rows of a model were captured in a committed epoch.
    pub fn captured(&mut self, model: &str, rows: CapturedRows) {
        self.read_model.write().record_captured(model, rows);
    }

    /// Takes in a record of `verdicts`.
    pub fn monitor_event(&mut self, event: &MonitorEvent) {
        self.read_model.write().record_monitor_event(event);
        if let MonitorEvent::Verdict(verdict) = event {
            self.verdicts.show(verdict, &self.exporter);
        }
    }

    /// Takes in a record of `models`.
    pub fn model_event(&mut self, event: &ModelEvent) {
        self.read_model.write().record_model_event(event);
        self.lifecycle.show(event, &self.exporter);
        if let Some(kept) = self.lifecycle.kept_versions(event) {
            self.verdicts.forget_versions(&event.model, &kept, &self.exporter);
        }
        if let LifecycleEvent::EpisodeEnded { outcome, .. } = &event.event {
            self.exporter.add(&EPISODES, &[&event.model, outcome.name()], 1);
            EPISODE_GAUGES.iter().for_each(|metric| self.exporter.remove(metric, &[&event.model]));
        }
        self.show_retrain_state(&event.model);
    }

    /// Takes in a record of `retrain`.
    pub fn retrain_request(&mut self, request: &RetrainRequest) {
        self.read_model.write().record_request(request);
        if self.requests.insert(request.id.clone()) {
            self.exporter.add(&RETRAIN_REQUESTS, &[&request.model, request.cause.kind.name()], 1);
        }
        self.show_retrain_state(&request.model);
    }

    /// Takes in how an episode stands.
    pub fn episode(&mut self, progress: &EpisodeProgress) {
        self.read_model.write().record_progress(progress);
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
        self.exporter.add(&RETRAIN_REFUSALS, &[&refused.cause.model, refused.why.name()], 1);
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
