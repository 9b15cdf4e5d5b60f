//! From facts to requests: when an episode is to begin for a model, and since when the world is another. Pure.
//!
//! The controller reads `verdicts` in order and makes the same requests of the same verdicts, however their reading was
//! interleaved with the trainer's answers. Two things see to that. Its `now` is the time of the fact in hand. And while an
//! episode is under way, or before the model has a champion, facts queue and are considered in order when it has ended; so
//! whether that is read early or late changes nothing. What an episode has heard itself causes no other one.
//!
//! Invariants: at most one episode is under way; what one request was made of causes no second one; a verdict that is
//! provisional, milder than drift, about a segment, or about a version other than the champion causes nothing.
//!
//! Times are event time throughout: a verdict's is its window's end. A cause of a person is exempt from rest, budget and the
//! hold of a roll-back (the person knows), not from the rule of one episode at a time.

use crate::episode::MOST_CREDIT;
use crate::lifecycle::{LifecycleEvent, ModelEvent, PermitRecord, is_version};
use crate::policy::{RetrainPolicy, millis};
use crate::progress::{Refusal, RefusedCause};
use crate::request::{Cause, CauseKind, RetrainRequest, request_id};
use detectors::profile::Fault;
use detectors::verdict::{Finality, Monitor, RowsMatured, Severity, Verdict};
use detectors::windows::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

const DAY_MS: i64 = 24 * 3_600_000;
/// Facts that queue while an episode is under way; beyond it the oldest give way.
const FACTS_QUEUED: usize = 16_384;
/// Cause ids that are remembered, so that one that is delivered twice counts once.
const IDS_KEPT: usize = 256;
/// Trainings that a model may make before a labelled row has paid for one.
const FIRST_CREDIT: f64 = 1.0;

/// Something the controller takes into account, in the order of its topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A reason to retrain.
    Cause {
        /// The cause.
        cause: Cause,
        /// The version it is about; `None` where it is about the model.
        version: Option<String>,
    },
    /// A window whose data were at fault. Episodes wait for its end; the controller does not ask.
    Fault {
        /// The window.
        window: Window,
        /// The version that answered.
        version: String,
    },
    /// Labels of a span are complete.
    Matured {
        /// The span's end.
        until_ms: i64,
        /// Its labelled rows.
        labelled: i64,
    },
}

/// What is to be done about a cause.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Open an episode.
    Request(Box<RetrainRequest>),
    /// Nothing, and why.
    Ignore(Box<RefusedCause>),
}

/// What the controller knows of one model. Small; a snapshot of it is kept with every change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControllerState {
    model: String,
    champion: Option<Champion>,
    /// Where each version's training rows lie, for those that may yet become champion.
    trainings: BTreeMap<String, Training>,
    in_flight: Option<String>,
    /// End of the last episode.
    ended_ms: Option<i64>,
    requests_ms: Vec<i64>,
    /// Trainings that labelled rows have paid for.
    credit: f64,
    matured_ms: i64,
    rows_since_training: i64,
    /// The reason of a roll-back that nobody has lifted.
    hold: Option<String>,
    queue: VecDeque<Fact>,
    seen: VecDeque<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Champion {
    version: String,
    training: Training,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Training {
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// What is to be done about `cause`, given what is known. Changes nothing.
pub fn decide(state: &ControllerState, cause: &Cause, policy: &RetrainPolicy) -> Decision {
    match state.refusal(cause, policy) {
        Some(why) => Decision::Ignore(Box::new(RefusedCause { cause: cause.clone(), why })),
        None => Decision::Request(Box::new(state.request(cause, policy))),
    }
}

impl Fact {
    /// What a verdict amounts to; `None` where it causes nothing.
    ///
    /// A sequential verdict counts as a fall of quality where its detector reads errors or losses (`adwin(error)`) and its
    /// metrics `before` and `after`, if it has both, show that they rose.
    pub fn of_verdict(verdict: &Verdict, policy: &RetrainPolicy) -> Option<Self> {
        let drifted = verdict.finality == Finality::Final && verdict.severity == Severity::Drift;
        if !drifted || verdict.segment.is_some() {
            return None;
        }
        let kind = match &verdict.monitor {
            Monitor::DataQuality if !is_at_fault(verdict) => return None,
            Monitor::DataQuality => {
                return Some(Self::Fault { window: verdict.window, version: verdict.version.clone() });
            }
            Monitor::Quality => CauseKind::Quality,
            Monitor::Sequential(detector) if reads_errors(detector) => {
                has_risen(verdict).then_some(CauseKind::Quality)?
            }
            Monitor::Drift | Monitor::Sequential(_) => policy.on_feature_drift.then_some(CauseKind::FeatureDrift)?,
        };
        let cause = Cause {
            id: verdict.id.clone(),
            model: verdict.model.clone(),
            kind,
            time_ms: verdict.window.end_ms,
            change_point_ms: verdict.change_point_ms,
            summary: verdict.summary.clone(),
        };
        Some(Self::Cause { cause, version: Some(verdict.version.clone()) })
    }

    /// What matured rows amount to.
    pub fn of_matured(matured: &RowsMatured) -> Self {
        Self::Matured { until_ms: matured.span.end_ms, labelled: matured.labelled }
    }
}

impl Default for ControllerState {
    fn default() -> Self {
        Self {
            model: String::new(),
            champion: None,
            trainings: BTreeMap::new(),
            in_flight: None,
            ended_ms: None,
            requests_ms: Vec::new(),
            credit: FIRST_CREDIT,
            matured_ms: 0,
            rows_since_training: 0,
            hold: None,
            queue: VecDeque::new(),
            seen: VecDeque::new(),
        }
    }
}

impl ControllerState {
    /// What is known of a model before anything happened to it.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Takes in a fact and says what is to be done.
    pub fn absorb(&mut self, fact: Fact, policy: &RetrainPolicy) -> Vec<Decision> {
        if let (Fact::Cause { cause, .. }, Some(request)) = (&fact, &self.in_flight)
            && matches!(cause.kind, CauseKind::Person { .. })
        {
            // A person is told at once rather than surprised by a training later.
            let why = Refusal::InFlight { request: request.clone() };
            return vec![Decision::Ignore(Box::new(RefusedCause { cause: cause.clone(), why }))];
        }
        if !matches!(fact, Fact::Fault { .. }) {
            push_bounded(&mut self.queue, fact, FACTS_QUEUED);
        }
        self.consider_queue(policy)
    }

    /// Takes in what happened to the model and says what is to be done.
    pub fn absorb_lifecycle(&mut self, event: &ModelEvent, policy: &RetrainPolicy) -> Vec<Decision> {
        match &event.event {
            LifecycleEvent::VersionRegistered { version } => {
                let lineage = &version.lineage;
                let until_ms = lineage.trained_until.as_ref().map(|cut| cut.at_ms);
                let training = Training { from_ms: lineage.trained_from_ms, until_ms };
                self.trainings.insert(version.version.clone(), training);
            }
            LifecycleEvent::Promoted { version, permit, .. } => {
                self.set_champion(version);
                match permit {
                    PermitRecord::Trial { request, candidate: None, .. } => self.settle(request, event.time_ms),
                    PermitRecord::Trial { .. } => {}
                    PermitRecord::FirstVersion | PermitRecord::Override { .. } => self.hold = None,
                }
            }
            LifecycleEvent::RolledBack { version, reason, .. } => {
                self.set_champion(version);
                self.hold = Some(reason.clone());
            }
            LifecycleEvent::Released { .. } => self.hold = None,
            LifecycleEvent::TrainingAttempted { candidate: Some(_), attempt: 1, .. } => self.credit -= 1.0,
            LifecycleEvent::EpisodeEnded { request, .. }
            | LifecycleEvent::TrainingFailed { request, candidate: None, .. }
            | LifecycleEvent::ChallengerRejected { request, candidate: None, .. } => {
                self.settle(request, event.time_ms);
            }
            LifecycleEvent::ReferenceLearned { .. }
            | LifecycleEvent::EpisodeOpened { .. }
            | LifecycleEvent::TrainingAttempted { .. }
            | LifecycleEvent::TrainingFailed { .. }
            | LifecycleEvent::ChallengerTrained { .. }
            | LifecycleEvent::ChallengerRejected { .. } => {}
        }
        self.consider_queue(policy)
    }

    /// The request whose episode is under way, if one is.
    pub fn in_flight(&self) -> Option<&str> {
        self.in_flight.as_deref()
    }

    fn set_champion(&mut self, version: &str) {
        let training = self.trainings.get(version).copied().unwrap_or_default();
        self.champion = Some(Champion { version: version.to_owned(), training });
    }

    fn settle(&mut self, request: &str, time_ms: i64) {
        if self.in_flight.as_deref() == Some(request) {
            self.in_flight = None;
            self.ended_ms = Some(time_ms);
        }
    }

    fn consider_queue(&mut self, policy: &RetrainPolicy) -> Vec<Decision> {
        let mut decisions = Vec::new();
        while self.in_flight.is_none() && self.champion.is_some() {
            let Some(fact) = self.queue.pop_front() else { break };
            match fact {
                Fact::Cause { cause, version } => decisions.extend(self.consider_cause(cause, version, policy)),
                Fact::Matured { until_ms, labelled } => {
                    decisions.extend(self.consider_matured(until_ms, labelled, policy));
                }
                Fact::Fault { .. } => {}
            }
        }
        decisions
    }

    fn consider_cause(&mut self, cause: Cause, version: Option<String>, policy: &RetrainPolicy) -> Option<Decision> {
        if self.seen.contains(&cause.id) {
            return None;
        }
        push_bounded(&mut self.seen, cause.id.clone(), IDS_KEPT);
        if let (Some(version), Some(champion)) = (version, &self.champion)
            && !is_version(&version, &champion.version)
        {
            let why = Refusal::NotTheChampion { version, champion: champion.version.clone() };
            return Some(Decision::Ignore(Box::new(RefusedCause { cause, why })));
        }
        let decision = decide(self, &cause, policy);
        if let Decision::Request(request) = &decision {
            self.in_flight = Some(request.id.clone());
            self.requests_ms.push(request.time_ms);
            self.requests_ms.retain(|made_ms| *made_ms > request.time_ms.saturating_sub(DAY_MS));
            self.rows_since_training = 0;
        }
        Some(decision)
    }

    fn consider_matured(&mut self, until_ms: i64, labelled: i64, policy: &RetrainPolicy) -> Option<Decision> {
        self.matured_ms = until_ms;
        self.rows_since_training += labelled;
        let paid = labelled as f64 / policy.labelled_rows_per_training as f64;
        self.credit = (self.credit + paid).min(MOST_CREDIT);
        let rows = policy.every_labelled_rows?;
        if !u64::try_from(self.rows_since_training).is_ok_and(|since| since >= rows) {
            return None;
        }
        self.rows_since_training = 0;
        let cause = Cause {
            id: format!("volume:{}:{until_ms}", self.model),
            model: self.model.clone(),
            kind: CauseKind::DataVolume,
            time_ms: until_ms,
            change_point_ms: None,
            summary: format!("{rows} labelled rows have come since the last training"),
        };
        self.consider_cause(cause, None, policy)
    }

    /// The first guard that stands against a cause.
    fn refusal(&self, cause: &Cause, policy: &RetrainPolicy) -> Option<Refusal> {
        if let Some(request) = &self.in_flight {
            return Some(Refusal::InFlight { request: request.clone() });
        }
        if matches!(cause.kind, CauseKind::Person { .. }) {
            return None;
        }
        let trained_until_ms = self.champion.as_ref().and_then(|champion| champion.training.until_ms);
        if let Some(trained_until_ms) = trained_until_ms.filter(|until| cause.time_ms <= *until) {
            return Some(Refusal::OlderThanTraining { trained_until_ms });
        }
        if let Some(ended_ms) = self.ended_ms.filter(|ended_ms| cause.time_ms <= *ended_ms) {
            return Some(Refusal::HeardByEpisode { ended_ms });
        }
        if let Some(reason) = &self.hold {
            return Some(Refusal::HeldByRollBack { reason: reason.clone() });
        }
        self.rest_or_budget(cause, policy)
    }

    fn rest_or_budget(&self, cause: &Cause, policy: &RetrainPolicy) -> Option<Refusal> {
        let until_ms = self.ended_ms.map(|ended_ms| ended_ms.saturating_add(millis(policy.cooldown)));
        if let Some(until_ms) = until_ms.filter(|until| cause.time_ms < *until) {
            return Some(Refusal::Cooldown { until_ms });
        }
        let day_ago = cause.time_ms.saturating_sub(DAY_MS);
        let spent = self.requests_ms.iter().filter(|made_ms| **made_ms > day_ago).count();
        (spent >= policy.budget_per_day as usize).then_some(Refusal::Budget { budget: policy.budget_per_day })
    }

    fn request(&self, cause: &Cause, policy: &RetrainPolicy) -> RetrainRequest {
        let is_of_verdict = matches!(cause.kind, CauseKind::Quality | CauseKind::FeatureDrift);
        RetrainRequest {
            id: request_id(&cause.model, &cause.id),
            model: cause.model.clone(),
            time_ms: self.now_ms(cause),
            evidence: if is_of_verdict { vec![cause.id.clone()] } else { Vec::new() },
            train_from_ms: self.train_from_ms(cause, policy),
            matured_ms: self.matured_ms,
            credit: self.credit,
            champion: self.champion.as_ref().map(|champion| champion.version.clone()),
            parameters: policy.parameters.clone(),
            cause: cause.clone(),
        }
    }

    /// Event time of a cause: a person's clock may be far ahead of a replay's.
    fn now_ms(&self, cause: &Cause) -> i64 {
        if self.matured_ms > 0 { self.matured_ms.min(cause.time_ms) } else { cause.time_ms }
    }

    /// Where the training rows begin: at the change point, or the configured time back, but not before the rows that the
    /// champion was trained on, for those had been set aside then.
    fn train_from_ms(&self, cause: &Cause, policy: &RetrainPolicy) -> i64 {
        if let Some(change_point) = cause.change_point_ms {
            return change_point;
        }
        let back_ms = self.now_ms(cause).saturating_sub(millis(policy.window));
        let champion_from_ms = self.champion.as_ref().and_then(|champion| champion.training.from_ms);
        champion_from_ms.map_or(back_ms, |from_ms| from_ms.max(back_ms))
    }
}

fn reads_errors(detector: &str) -> bool {
    detector.ends_with("(error)") || detector.ends_with("(loss)")
}

/// Whether the data themselves are wrong, and not only elsewhere or more than they were: that is drift.
fn is_at_fault(verdict: &Verdict) -> bool {
    let is_drift = |test: &str| test == Fault::OutOfRange.test_name() || test == "volume";
    verdict.tests.iter().any(|test| test.exceeded && !is_drift(&test.test))
}

fn has_risen(verdict: &Verdict) -> bool {
    let value = |name: &str| verdict.metrics.get(name).map(|estimate| estimate.value);
    match (value("before"), value("after")) {
        (Some(before), Some(after)) => after > before,
        _ => true,
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests;
