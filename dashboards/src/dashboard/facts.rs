//! What is known of the models before anything is heard of them: which there are, how long their windows are, and every counter
//! that they can come to have, at 0, so that `rate` and `increase` see the first of each.

use crate::catalogue::{
    DUPLICATE_EVENTS, EPISODES, EVENTS, FUTURE_EVENTS, LABELS_EXPIRED, LABELS_MATCHED, LABELS_ORPHANED,
    LABELS_REPLACED, LATE_EVENTS, MISPLACED_EVENTS, MODEL_HOP, MODEL_LABELS_MATURE, MODEL_WINDOW, MODELS, Metric,
    OTHER_VERSIONS, PROMOTIONS, PUBLICATIONS, REJECTIONS, RETRAIN_REFUSALS, RETRAIN_REQUESTS, RETRAIN_STATE, ROLLBACKS,
    TRAININGS, UNKNOWN_FEATURES, UNKNOWN_LABELS, UNKNOWN_PREDICTIONS, VERDICTS,
};
use crate::exporter::Exporter;
use crate::read_model::RetrainState;
use retrain::lifecycle::EpisodeOutcome;
use std::time::Duration;

/// Counters of rows.
const OF_ROWS: [&Metric; 8] = [
    &EVENTS,
    &LATE_EVENTS,
    &FUTURE_EVENTS,
    &DUPLICATE_EVENTS,
    &MISPLACED_EVENTS,
    &UNKNOWN_FEATURES,
    &OTHER_VERSIONS,
    &UNKNOWN_PREDICTIONS,
];
/// Counters of labels.
const OF_LABELS: [&Metric; 5] = [&UNKNOWN_LABELS, &LABELS_MATCHED, &LABELS_REPLACED, &LABELS_EXPIRED, &LABELS_ORPHANED];
/// What windows come to.
const SEVERITIES: [&str; 5] = ["learning", "stable", "warning", "drift", "inconclusive"];
/// What leads to a request.
const CAUSES: [&str; 5] = ["quality", "feature_drift", "schedule", "data_volume", "person"];
/// Why a cause leads to none.
const REFUSALS: [&str; 7] = [
    "not_the_champion",
    "older_than_training",
    "heard_by_episode",
    "held_by_roll_back",
    "in_flight",
    "cooldown",
    "budget",
];
/// What becomes of trainings.
const TRAINING_OUTCOMES: [&str; 3] = ["attempted", "trained", "failed"];
/// By what right a version is promoted.
const RIGHTS: [&str; 3] = ["first_version", "trial", "override"];

/// What is known of a model from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// Length of its windows.
    pub window: Duration,
    /// Time from the end of one window to the next.
    pub hop: Duration,
    /// How long after its end a window's quality is judged for good; `None` where there are no labels.
    pub labels_mature: Option<Duration>,
    /// How far behind the newest an event may be: so long after its end a window is judged.
    pub disorder: Duration,
    /// Whether it is retrained.
    pub retrains: bool,
    /// Whether its champion is published.
    pub publishes: bool,
}

impl ModelFacts {
    /// The monitors that judge its windows.
    fn monitors(&self) -> impl Iterator<Item = &'static str> {
        ["drift", "data_quality"].into_iter().chain(self.labels_mature.map(|_| "quality"))
    }
}

/// Shows what is known of these models, and that nothing has happened to them.
pub(super) fn show(models: &[ModelFacts], exporter: &Exporter) {
    exporter.set(&MODELS, &[], models.len() as f64);
    for facts in models {
        let model = [facts.name.as_str()];
        exporter.set(&MODEL_WINDOW, &model, facts.window.as_secs_f64());
        exporter.set(&MODEL_HOP, &model, facts.hop.as_secs_f64());
        if let Some(mature) = facts.labels_mature {
            exporter.set(&MODEL_LABELS_MATURE, &model, mature.as_secs_f64());
            OF_LABELS.iter().for_each(|metric| exporter.add(metric, &model, 0));
        }
        OF_ROWS.iter().for_each(|metric| exporter.add(metric, &model, 0));
        show_nothing_judged(facts, exporter);
        if facts.retrains {
            show_nothing_retrained(&facts.name, exporter);
        }
        if facts.publishes {
            show_each(&PUBLICATIONS, &facts.name, &["published", "failed"], exporter);
        }
    }
}

fn show_nothing_judged(facts: &ModelFacts, exporter: &Exporter) {
    for monitor in facts.monitors() {
        SEVERITIES.iter().for_each(|severity| exporter.add(&VERDICTS, &[&facts.name, monitor, severity], 0));
    }
}

fn show_nothing_retrained(model: &str, exporter: &Exporter) {
    let outcomes = EpisodeOutcome::ALL.map(EpisodeOutcome::name);
    let by_label: [(&Metric, &[&str]); 5] = [
        (&RETRAIN_REQUESTS, &CAUSES),
        (&RETRAIN_REFUSALS, &REFUSALS),
        (&EPISODES, &outcomes),
        (&TRAININGS, &TRAINING_OUTCOMES),
        (&PROMOTIONS, &RIGHTS),
    ];
    by_label.iter().for_each(|(metric, values)| show_each(metric, model, values, exporter));
    exporter.add(&REJECTIONS, &[model], 0);
    exporter.add(&ROLLBACKS, &[model], 0);
    for state in RetrainState::ALL {
        let is_idle = f64::from(u8::from(state == RetrainState::Idle));
        exporter.set(&RETRAIN_STATE, &[model, state.name()], is_idle);
    }
}

fn show_each(metric: &Metric, model: &str, values: &[&str], exporter: &Exporter) {
    values.iter().for_each(|value| exporter.add(metric, &[model, value], 0));
}
