//! What happened to a model, the newest first.

use crate::page::document::version_path;
use crate::page::words;
use maud::{Markup, html};
use retrain::lifecycle::{LifecycleEvent, ModelEvent, PermitRecord};

/// Events that are shown at once.
const SHOWN: usize = 100;

/// The section.
pub(super) fn section(history: &[ModelEvent], model: &str) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            @if history.is_empty() { p { "Nothing has happened to it yet." } }
            ol.history reversed { @for event in history.iter().take(SHOWN) {
                li { (words::moment(event.time_ms)) " " (told(&event.event, model)) }
            } }
        }
    }
}

fn told(event: &LifecycleEvent, model: &str) -> Markup {
    let link = |version: &str| html! { a href=(version_path(model, version)) { (version) } };
    html! {
        @match event {
            LifecycleEvent::VersionRegistered { version } => { (link(&version.version)) " was registered: " (version.lineage.cause) }
            LifecycleEvent::ReferenceLearned { version, .. } => { "A reference was learned for " (link(version)) }
            LifecycleEvent::EpisodeOpened { request } => { "An episode began: " (request.cause.summary) }
            LifecycleEvent::TrainingAttempted { attempt, .. } => { "A training began, attempt " (attempt) }
            LifecycleEvent::TrainingFailed { reason, .. } => { "A training failed: " (reason) }
            LifecycleEvent::ChallengerTrained { version, .. } => { (link(version)) " is on trial" }
            LifecycleEvent::ChallengerRejected { version, reason, .. } => { (link(version)) " was rejected: " (reason) }
            LifecycleEvent::EpisodeEnded { outcome, reason, .. } => {
                "The episode ended, " (outcome.name().replace('_', " ")) ": " (words::prose(reason))
            }
            LifecycleEvent::Promoted { version, permit, .. } => {
                strong { (link(version)) " became champion" } " " (by_what_right(permit))
            }
            LifecycleEvent::RolledBack { version, previous, reason } => {
                strong { "Rolled back to " (link(version)) " from " (link(previous)) } ": " (reason)
            }
            LifecycleEvent::Released { reason } => { "Promotions may go on: " (reason) }
        }
    }
}

fn by_what_right(permit: &PermitRecord) -> String {
    match permit {
        PermitRecord::FirstVersion => "as the first version".to_owned(),
        PermitRecord::Trial { report, .. } => format!("by its trial: {}", report.summary),
        PermitRecord::Override { reason } => format!("past the gate: {reason}"),
    }
}
