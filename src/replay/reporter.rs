//! What happens in sentences: each change of state once, and nothing of the windows between.

use crate::files::rfc3339;
use crate::replay::event_feed::FeedEvent;
use detectors::verdict::{Finality, Monitor, Severity, Verdict};
use retrain::lifecycle::LifecycleEvent;
use retrain::progress::RetrainEvent;
use std::collections::BTreeSet;

/// Tells what people want to know of at once.
#[derive(Debug, Default)]
pub struct Reporter {
    /// Model, version and monitor of the alarms that are on.
    alarms: BTreeSet<(String, String, String)>,
}

impl Reporter {
    /// A sentence for what is news; `None` for all the rest.
    pub fn sentence(&mut self, happening: &FeedEvent) -> Option<String> {
        match happening {
            FeedEvent::Verdict(verdict) => self.of_verdict(verdict),
            FeedEvent::Retrain(event) => match event.as_ref() {
                RetrainEvent::Request(request) => Some(format!("retrain request: {}", request.cause.summary)),
                _ => None,
            },
            FeedEvent::Model(event) => match &event.event {
                LifecycleEvent::ChallengerTrained { version, made_of, .. } => {
                    let made_of = made_of.map_or("refit", |kind| kind.name());
                    Some(format!("challenger {version} ({made_of}) is on trial"))
                }
                LifecycleEvent::EpisodeEnded { outcome, reason, .. } => {
                    Some(format!("the episode has ended, {}: {reason}", outcome.name().replace('_', " ")))
                }
                LifecycleEvent::ChallengerRejected { version, reason, .. } => {
                    Some(format!("challenger {version} rejected: {reason}"))
                }
                LifecycleEvent::TrainingFailed { reason, .. } => Some(format!("training failed: {reason}")),
                LifecycleEvent::Promoted { version, .. } => Some(format!("{version} is champion")),
                LifecycleEvent::RolledBack { version, .. } => Some(format!("rolled back to {version}")),
                _ => None,
            },
        }
    }

    fn of_verdict(&mut self, verdict: &Verdict) -> Option<String> {
        if verdict.segment.is_some() || verdict.finality == Finality::Provisional {
            return None;
        }
        let (version, monitor) = (&verdict.version, verdict.monitor.name());
        let alarm = (verdict.model.clone(), version.clone(), monitor.to_owned());
        let at = rfc3339(verdict.window.end_ms);
        let news = match verdict.severity {
            // Each change that a sequential detector finds is one of its own, and its summary begins with its name.
            Severity::Drift if matches!(verdict.monitor, Monitor::Sequential(_)) => {
                return Some(format!("{at} {version} {}", verdict.summary));
            }
            Severity::Drift if self.alarms.insert(alarm.clone()) => verdict.summary.as_str(),
            Severity::Stable if self.alarms.remove(&alarm) => "as in the reference again",
            _ => return None,
        };
        Some(format!("{at} {version} {monitor}: {news}"))
    }
}
