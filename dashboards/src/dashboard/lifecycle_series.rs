//! The series of the registry: which version has which role, and what trainings, trials and promotions came to.

use crate::catalogue::{
    CHAMPION_SINCE, LAST_TRAINING, MODEL_INFO, PROMOTIONS, REFERENCE_LEARNED, REJECTIONS, ROLLBACKS, TRAININGS,
};
use crate::exporter::Exporter;
use retrain::lifecycle::CandidateKind;
use retrain::lifecycle::{LifecycleEvent, ModelEvent, PermitRecord};
use std::collections::HashMap;

/// Remembers roles, so that an old one can be taken down.
#[derive(Debug, Default)]
pub(super) struct LifecycleSeries {
    models: HashMap<String, Roles>,
}

#[derive(Debug, Default)]
struct Roles {
    champion: Option<String>,
    challengers: Vec<String>,
    /// When the reference of each version was learned.
    references: HashMap<String, i64>,
    /// Since when the champion is one.
    since_ms: i64,
}

/// Ends every series that is set here.
pub(super) fn clear(exporter: &Exporter) {
    let times = [&CHAMPION_SINCE, &REFERENCE_LEARNED, &LAST_TRAINING];
    for metric in [&MODEL_INFO, &TRAININGS, &REJECTIONS, &PROMOTIONS, &ROLLBACKS].into_iter().chain(times) {
        exporter.remove_where(metric, |_| true);
    }
}

impl LifecycleSeries {
    /// Shows what happened to a model.
    pub(super) fn show(&mut self, event: &ModelEvent, exporter: &Exporter) {
        count(event, exporter);
        let roles = self.models.entry(event.model.clone()).or_default();
        match &event.event {
            LifecycleEvent::ChallengerTrained { version, .. } => {
                roles.challengers.push(version.clone());
                exporter.set(&LAST_TRAINING, &[&event.model], event.time_ms as f64 / 1e3);
            }
            LifecycleEvent::ChallengerRejected { version, .. } => roles.challengers.retain(|known| known != version),
            LifecycleEvent::EpisodeEnded { .. } => roles.challengers.clear(),
            LifecycleEvent::Promoted { version, .. } | LifecycleEvent::RolledBack { version, .. } => {
                (roles.champion, roles.since_ms) = (Some(version.clone()), event.time_ms);
                roles.challengers.retain(|known| known != version);
            }
            LifecycleEvent::ReferenceLearned { version, .. } => {
                roles.references.insert(version.clone(), event.time_ms);
            }
            LifecycleEvent::VersionRegistered { .. }
            | LifecycleEvent::EpisodeOpened { .. }
            | LifecycleEvent::Released { .. }
            | LifecycleEvent::TrainingAttempted { .. }
            | LifecycleEvent::TrainingFailed { .. } => return,
        }
        roles.show(&event.model, exporter);
    }

    /// Whether a version has no role any more in a model that has a champion.
    pub(super) fn has_retired(&self, model: &str, version: &str) -> bool {
        self.models.get(model).is_some_and(|roles| roles.champion.is_some() && !roles.has(version))
    }

    /// The versions that are still of interest after a change of champion; `None` where it did not change.
    ///
    /// The one before stays: its last windows close after the promotion, and it is one command away.
    pub(super) fn kept_versions<'a>(&self, event: &'a ModelEvent) -> Option<Vec<&'a str>> {
        match &event.event {
            LifecycleEvent::Promoted { version, previous, .. } => {
                Some([Some(version), previous.as_ref()].into_iter().flatten().map(String::as_str).collect())
            }
            LifecycleEvent::RolledBack { version, previous, .. } => Some(vec![version, previous]),
            _ => None,
        }
    }
}

impl Roles {
    fn has(&self, version: &str) -> bool {
        self.champion.as_deref() == Some(version) || self.challengers.iter().any(|known| known == version)
    }

    fn show(&self, model: &str, exporter: &Exporter) {
        for metric in [&MODEL_INFO, &CHAMPION_SINCE, &REFERENCE_LEARNED] {
            exporter.remove_where(metric, |labels| labels.first().is_some_and(|of| of == model));
        }
        if let Some(version) = &self.champion {
            exporter.set(&MODEL_INFO, &[model, version, "champion"], 1.0);
            exporter.set(&CHAMPION_SINCE, &[model, version], self.since_ms as f64 / 1e3);
        }
        for version in &self.challengers {
            exporter.set(&MODEL_INFO, &[model, version, "challenger"], 1.0);
        }
        // A model that nobody promotes versions of has references all the same.
        for (version, learned_ms) in self.references.iter().filter(|(of, _)| self.champion.is_none() || self.has(of)) {
            exporter.set(&REFERENCE_LEARNED, &[model, version], *learned_ms as f64 / 1e3);
        }
    }
}

fn count(event: &ModelEvent, exporter: &Exporter) {
    let model = event.model.as_str();
    match &event.event {
        LifecycleEvent::TrainingAttempted { .. } => exporter.add(&TRAININGS, &[model, "attempted"], 1),
        LifecycleEvent::TrainingFailed { .. } => exporter.add(&TRAININGS, &[model, "failed"], 1),
        LifecycleEvent::ChallengerTrained { made_of: None | Some(CandidateKind::Refit), .. } => {
            exporter.add(&TRAININGS, &[model, "trained"], 1);
        }
        LifecycleEvent::ChallengerRejected { .. } => exporter.add(&REJECTIONS, &[model], 1),
        LifecycleEvent::Promoted { permit, .. } => exporter.add(&PROMOTIONS, &[model, right_of(permit)], 1),
        LifecycleEvent::RolledBack { .. } => exporter.add(&ROLLBACKS, &[model], 1),
        LifecycleEvent::VersionRegistered { .. }
        | LifecycleEvent::ReferenceLearned { .. }
        | LifecycleEvent::EpisodeOpened { .. }
        | LifecycleEvent::EpisodeEnded { .. }
        | LifecycleEvent::ChallengerTrained { .. }
        | LifecycleEvent::Released { .. } => {}
    }
}

fn right_of(permit: &PermitRecord) -> &'static str {
    match permit {
        PermitRecord::FirstVersion => "first_version",
        PermitRecord::Trial { .. } => "trial",
        PermitRecord::Override { .. } => "override",
    }
}
