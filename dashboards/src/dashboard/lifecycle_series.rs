//! The series of the registry: which version has which role, and what trainings, trials and promotions came to.

use crate::catalogue::{MODEL_INFO, PROMOTIONS, REJECTIONS, ROLLBACKS, TRAININGS};
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
}

/// Ends every series that is set here.
pub(super) fn clear(exporter: &Exporter) {
    for metric in [&MODEL_INFO, &TRAININGS, &REJECTIONS, &PROMOTIONS, &ROLLBACKS] {
        exporter.remove_where(metric, |_| true);
    }
}

impl LifecycleSeries {
    /// Shows what happened to a model.
    pub(super) fn show(&mut self, event: &ModelEvent, exporter: &Exporter) {
        count(event, exporter);
        let roles = self.models.entry(event.model.clone()).or_default();
        match &event.event {
            LifecycleEvent::ChallengerTrained { version, .. } => roles.challengers.push(version.clone()),
            LifecycleEvent::ChallengerRejected { version, .. } => roles.challengers.retain(|known| known != version),
            LifecycleEvent::EpisodeEnded { .. } => roles.challengers.clear(),
            LifecycleEvent::Promoted { version, .. } | LifecycleEvent::RolledBack { version, .. } => {
                roles.champion = Some(version.clone());
                roles.challengers.retain(|known| known != version);
            }
            LifecycleEvent::VersionRegistered { .. }
            | LifecycleEvent::ReferenceLearned { .. }
            | LifecycleEvent::EpisodeOpened { .. }
            | LifecycleEvent::Released { .. }
            | LifecycleEvent::TrainingAttempted { .. }
            | LifecycleEvent::TrainingFailed { .. } => return,
        }
        exporter.remove_where(&MODEL_INFO, |labels| labels.first() == Some(&event.model));
        let champion = roles.champion.iter().map(|version| (version, "champion"));
        for (version, role) in champion.chain(roles.challengers.iter().map(|version| (version, "challenger"))) {
            exporter.set(&MODEL_INFO, &[&event.model, version, role], 1.0);
        }
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
