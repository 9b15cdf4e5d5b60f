//! What retraining left behind, held against what may be there: each request once, each of its events once, in an order
//! that the registry admits.

use driftline_tests::{Workplace, all};
use retrain::lifecycle::{LifecycleEvent, ModelEvent};
use retrain::progress::RetrainEvent;
use retrain::registry::ModelRegistry;
use std::collections::BTreeMap;
use streams::cloud_event;
use streams::topics;

/// What was done about one request.
#[derive(Debug, Default)]
struct Done {
    opened: u32,
    /// By the number of the candidate.
    attempts: BTreeMap<Option<u32>, Vec<u32>>,
    trained: BTreeMap<Option<u32>, u32>,
    settled: BTreeMap<Option<u32>, u32>,
    ended: u32,
}

/// What retraining left behind.
#[derive(Debug)]
pub(super) struct Lifecycle {
    /// In order.
    requests: Vec<String>,
    done: BTreeMap<String, Done>,
}

impl Lifecycle {
    /// Reads it; fails where an event does not fit those before it.
    pub(super) fn read(place: &Workplace) -> Self {
        let log = place.log().unwrap();
        let mut requests: Vec<String> = Vec::new();
        for record in all(log.as_ref(), topics::RETRAIN).unwrap() {
            if let RetrainEvent::Request(request) = cloud_event::decode(&record).unwrap() {
                assert!(!requests.contains(&request.id), "request {} was made twice", request.id);
                requests.push(request.id.clone());
            }
        }
        let mut registry = ModelRegistry::default();
        let mut done: BTreeMap<String, Done> = BTreeMap::new();
        for record in all(log.as_ref(), topics::MODELS).unwrap() {
            let event: ModelEvent = cloud_event::decode(&record).unwrap();
            // It refuses versions that are there already.
            registry.apply(&event).unwrap();
            note(event.event, &mut done);
        }
        Self { requests, done }
    }

    /// Requests that have come to their end.
    pub(super) fn ended(&self) -> usize {
        self.done.values().filter(|done| done.ended > 0).count()
    }

    /// Fails where a request or an event is missing, or there twice.
    pub(super) fn check(mut self) {
        println!("{} requests, {} ended", self.requests.len(), self.ended());
        for (place, request) in self.requests.iter().enumerate() {
            // Of the last one the end may not have come.
            let is_last = place + 1 == self.requests.len();
            let Some(done) = self.done.remove(request) else {
                assert!(is_last, "request {request} was lost");
                continue;
            };
            for attempts in done.attempts.values() {
                assert!(attempts.iter().copied().eq(1..=attempts.len() as u32), "attempts of {request}: {done:?}");
            }
            assert!(done.trained.values().chain(done.settled.values()).all(|times| *times == 1), "{request}: {done:?}");
            assert!(done.opened == 1 && done.ended <= 1, "{request}: {done:?}");
            assert!(is_last || (done.trained.len() == 1 && done.ended == 1), "{request} has no end: {done:?}");
        }
        assert!(self.done.is_empty(), "events of requests that no one made: {:?}", self.done);
    }
}

fn note(event: LifecycleEvent, done: &mut BTreeMap<String, Done>) {
    match event {
        LifecycleEvent::EpisodeOpened { request } => done.entry(request.id).or_default().opened += 1,
        LifecycleEvent::TrainingAttempted { request, candidate, attempt, .. } => {
            done.entry(request.id).or_default().attempts.entry(candidate).or_default().push(attempt);
        }
        LifecycleEvent::ChallengerTrained { request, candidate, .. } => {
            *done.entry(request).or_default().trained.entry(candidate).or_default() += 1;
        }
        LifecycleEvent::ChallengerRejected { request, candidate, .. } => {
            *done.entry(request).or_default().settled.entry(candidate).or_default() += 1;
        }
        LifecycleEvent::EpisodeEnded { request, .. } => done.entry(request).or_default().ended += 1,
        LifecycleEvent::TrainingFailed { request, reason, .. } => {
            panic!("the training for {request} failed: {reason}")
        }
        LifecycleEvent::Promoted { .. }
        | LifecycleEvent::VersionRegistered { .. }
        | LifecycleEvent::ReferenceLearned { .. }
        | LifecycleEvent::RolledBack { .. }
        | LifecycleEvent::Released { .. } => {}
    }
}
