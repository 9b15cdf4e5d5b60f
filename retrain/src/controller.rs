//! From facts to requests: when a model is to be retrained, and on which rows. Pure.
//!
//! The controller reads `verdicts` in order and makes the same requests of the same verdicts, however their reading was
//! interleaved with the trainer's answers. Two things see to that. Its `now` is the time of the fact in hand. And while a
//! request is in flight, or before the model has a champion, facts queue and are considered in order when the answer has
//! come; so whether an outcome is read early or late changes nothing.
//!
//! Invariants: at most one request is in flight; what one request was made of causes no second one; a verdict that is
//! provisional, milder than drift, about a segment, or about a version other than the champion causes nothing.
//!
//! Times are event time throughout: a verdict's is its window's end, a pane's its own end. A cause of a person is exempt
//! from rest, budget and data-quality guard (the person knows), not from the rule of one request at a time.

use crate::lifecycle::{LifecycleEvent, ModelEvent, PermitRecord};
use crate::policy::{RetrainPolicy, millis};
use crate::progress::{Lacking, Refusal, RefusedCause, Waiting};
use crate::request::{Cause, CauseKind, RetrainRequest, request_id};
use detectors::verdict::{Cut, Finality, Monitor, PaneMatured, Severity, Verdict};
use detectors::windows::Window;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

const DAY_MS: i64 = 24 * 3_600_000;
/// Panes whose counts are remembered: rows after a change point that lies further back are counted from the oldest.
const PANES_KEPT: usize = 1024;
/// Data-quality faults that are remembered.
const FAULTS_KEPT: usize = 64;
/// Facts that queue while a request is in flight; beyond it the oldest give way.
const FACTS_QUEUED: usize = 4096;
/// Cause ids that are remembered, so that one that is delivered twice counts once.
const IDS_KEPT: usize = 256;

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
    /// A window whose data were at fault.
    Fault {
        /// The window.
        window: Window,
        /// The version that answered.
        version: String,
    },
    /// Labels of a pane are complete.
    PaneMatured(PaneMatured),
}

/// What is to be done about a cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Wait for rows.
    Wait(Box<Waiting>),
    /// Order a training.
    Request(Box<RetrainRequest>),
    /// Nothing, and why.
    Ignore(Box<RefusedCause>),
}

/// What the controller knows of one model. Small; a snapshot of it is kept with every change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ControllerState {
    model: String,
    champion: Option<Champion>,
    /// Where each version's training rows lie, for those that may yet become champion.
    trainings: BTreeMap<String, Training>,
    in_flight: Option<String>,
    rests_after_ms: Option<i64>,
    requests_ms: Vec<i64>,
    faults: VecDeque<Window>,
    panes: VecDeque<PaneCount>,
    newest: Option<PaneMatured>,
    rows_since_training: i64,
    waiting: Option<Waiting>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct PaneCount {
    start_ms: i64,
    labelled: i64,
}

/// What is to be done about `cause`, given what is known. Changes nothing.
pub fn decide(state: &ControllerState, cause: &Cause, policy: &RetrainPolicy) -> Decision {
    if let Some(why) = state.refusal(cause, policy) {
        return Decision::Ignore(Box::new(RefusedCause { cause: cause.clone(), why }));
    }
    let give_up_ms = match &state.waiting {
        Some(superseded) => superseded.give_up_ms,
        None => cause.time_ms.saturating_add(millis(policy.wait_at_most)),
    };
    let waiting = Waiting {
        cause: cause.clone(),
        lacking: Lacking::LabelledRows,
        rows: 0,
        rows_needed: i64::try_from(policy.min_labelled_rows).unwrap_or(i64::MAX),
        from_ms: state.train_from_ms(cause, policy),
        give_up_ms,
    };
    state.weigh(waiting, policy)
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
}

impl ControllerState {
    /// What is known of a model before anything happened to it.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            champion: None,
            trainings: BTreeMap::new(),
            in_flight: None,
            rests_after_ms: None,
            requests_ms: Vec::new(),
            faults: VecDeque::new(),
            panes: VecDeque::new(),
            newest: None,
            rows_since_training: 0,
            waiting: None,
            queue: VecDeque::new(),
            seen: VecDeque::new(),
        }
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
        push_bounded(&mut self.queue, fact, FACTS_QUEUED);
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
                self.crown(version);
                if let PermitRecord::Trial { request, .. } = permit {
                    self.settle(request, event.time_ms);
                }
            }
            LifecycleEvent::RolledBack { version, .. } => self.crown(version),
            LifecycleEvent::TrainingFailed { request, .. } | LifecycleEvent::ChallengerRejected { request, .. } => {
                self.settle(request, event.time_ms);
            }
            LifecycleEvent::ReferenceLearned { .. }
            | LifecycleEvent::TrainingAttempted { .. }
            | LifecycleEvent::ChallengerTrained { .. } => {}
        }
        self.consider_queue(policy)
    }

    /// The cause that waits, if one does.
    pub fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    /// The request whose outcome is awaited, if there is one.
    pub fn in_flight(&self) -> Option<&str> {
        self.in_flight.as_deref()
    }

    fn crown(&mut self, version: &str) {
        let training = self.trainings.get(version).copied().unwrap_or_default();
        self.champion = Some(Champion { version: version.to_owned(), training });
        // What waits was about the champion before; what it saw is either mended or will be seen again.
        self.waiting = None;
    }

    fn settle(&mut self, request: &str, time_ms: i64) {
        if self.in_flight.as_deref() == Some(request) {
            self.in_flight = None;
            self.rests_after_ms = Some(time_ms);
        }
    }

    fn consider_queue(&mut self, policy: &RetrainPolicy) -> Vec<Decision> {
        let mut decisions = Vec::new();
        while self.in_flight.is_none() && self.champion.is_some() {
            let Some(fact) = self.queue.pop_front() else { break };
            match fact {
                Fact::Cause { cause, version } => decisions.extend(self.consider_cause(cause, version, policy)),
                Fact::Fault { window, version } => {
                    if self.champion.as_ref().is_some_and(|champion| champion.version == version) {
                        push_bounded(&mut self.faults, window, FAULTS_KEPT);
                    }
                }
                Fact::PaneMatured(pane) => self.consider_pane(pane, policy, &mut decisions),
            }
        }
        decisions
    }

    fn consider_cause(&mut self, cause: Cause, version: Option<String>, policy: &RetrainPolicy) -> Vec<Decision> {
        if self.seen.contains(&cause.id) {
            return Vec::new();
        }
        push_bounded(&mut self.seen, cause.id.clone(), IDS_KEPT);
        if let (Some(version), Some(champion)) = (version, &self.champion)
            && version != champion.version
        {
            let why = Refusal::NotTheChampion { version, champion: champion.version.clone() };
            return vec![Decision::Ignore(Box::new(RefusedCause { cause, why }))];
        }
        let mut decisions = Vec::new();
        let decision = decide(self, &cause, policy);
        self.apply(decision, &mut decisions);
        decisions
    }

    fn consider_pane(&mut self, pane: PaneMatured, policy: &RetrainPolicy, decisions: &mut Vec<Decision>) {
        let count = PaneCount { start_ms: pane.pane.start_ms, labelled: pane.labelled };
        push_bounded(&mut self.panes, count, PANES_KEPT);
        self.rows_since_training += pane.labelled;
        let time_ms = pane.pane.end_ms;
        self.newest = Some(pane);
        if let Some(waiting) = self.waiting.clone() {
            let decision = self.weigh(waiting, policy);
            self.apply(decision, decisions);
        } else if let Some(rows) = policy.every_labelled_rows
            && u64::try_from(self.rows_since_training).is_ok_and(|since| since >= rows)
        {
            self.rows_since_training = 0;
            let cause = Cause {
                id: format!("volume:{}:{time_ms}", self.model),
                model: self.model.clone(),
                kind: CauseKind::DataVolume,
                time_ms,
                change_point_ms: None,
                summary: format!("{rows} labelled rows have come since the last training"),
            };
            decisions.extend(self.consider_cause(cause, None, policy));
        }
    }

    /// Makes a decision part of what is known and of what is told.
    fn apply(&mut self, decision: Decision, decisions: &mut Vec<Decision>) {
        match &decision {
            Decision::Wait(waiting) => {
                self.drop_superseded(&waiting.cause.id, decisions);
                self.waiting = Some((**waiting).clone());
            }
            Decision::Request(request) => {
                self.drop_superseded(&request.cause.id, decisions);
                self.in_flight = Some(request.id.clone());
                self.requests_ms.push(request.time_ms);
                self.requests_ms.retain(|made_ms| *made_ms > request.time_ms.saturating_sub(DAY_MS));
                self.rows_since_training = 0;
            }
            Decision::Ignore(refused) => {
                if self.waiting.as_ref().is_some_and(|waiting| waiting.cause.id == refused.cause.id) {
                    self.waiting = None;
                }
            }
        }
        decisions.push(decision);
    }

    /// Ends the waiting; if it was another cause's, says by which one it was superseded.
    fn drop_superseded(&mut self, by: &str, decisions: &mut Vec<Decision>) {
        if let Some(superseded) = self.waiting.take().filter(|waiting| waiting.cause.id != by) {
            let why = Refusal::Superseded { by: by.to_owned() };
            decisions.push(Decision::Ignore(Box::new(RefusedCause { cause: superseded.cause, why })));
        }
    }

    /// The first guard that stands against a cause.
    fn refusal(&self, cause: &Cause, policy: &RetrainPolicy) -> Option<Refusal> {
        if let Some(request) = &self.in_flight {
            return Some(Refusal::InFlight { request: request.clone() });
        }
        let is_person = matches!(cause.kind, CauseKind::Person { .. });
        let trained_until_ms = self.champion.as_ref().and_then(|champion| champion.training.until_ms);
        if let Some(trained_until_ms) = trained_until_ms.filter(|until| !is_person && cause.time_ms <= *until) {
            return Some(Refusal::OlderThanTraining { trained_until_ms });
        }
        if let Some(window) = self.fault_in_span(cause) {
            return Some(Refusal::DataQualityFault { window });
        }
        if let Some(waiting) = &self.waiting
            && cause.change_point_ms.is_none_or(|change_point| change_point <= waiting.from_ms)
        {
            let Waiting { rows, rows_needed, .. } = *waiting;
            return Some(Refusal::AlreadyWaiting { rows, rows_needed });
        }
        if is_person { None } else { self.rest_or_budget(cause, policy) }
    }

    fn rest_or_budget(&self, cause: &Cause, policy: &RetrainPolicy) -> Option<Refusal> {
        let until_ms = self.rests_after_ms.map(|outcome| outcome.saturating_add(millis(policy.cooldown)));
        if let Some(until_ms) = until_ms.filter(|until| cause.time_ms < *until) {
            return Some(Refusal::Cooldown { until_ms });
        }
        let day_ago = cause.time_ms.saturating_sub(DAY_MS);
        let spent = self.requests_ms.iter().filter(|made_ms| **made_ms > day_ago).count();
        (spent >= policy.budget_per_day as usize).then_some(Refusal::Budget { budget: policy.budget_per_day })
    }

    /// A fault that overlaps what a cause speaks of: from its change point (or its own moment) to its time.
    fn fault_in_span(&self, cause: &Cause) -> Option<Window> {
        if matches!(cause.kind, CauseKind::Person { .. }) {
            return None;
        }
        let from_ms = cause.change_point_ms.unwrap_or(cause.time_ms - 1).min(cause.time_ms - 1);
        self.faults.iter().find(|fault| fault.start_ms < cause.time_ms && from_ms < fault.end_ms).copied()
    }

    /// Where the training rows begin: at the change point, or the configured time back, but not before the rows that the
    /// champion was trained on, for those had been set aside then.
    fn train_from_ms(&self, cause: &Cause, policy: &RetrainPolicy) -> i64 {
        if let Some(change_point) = cause.change_point_ms {
            return change_point;
        }
        // A person's clock may be far ahead of a replay's event time.
        let now_ms = self.newest.as_ref().map_or(cause.time_ms, |pane| pane.pane.end_ms.min(cause.time_ms));
        let back_ms = now_ms.saturating_sub(millis(policy.window));
        let champion_from_ms = self.champion.as_ref().and_then(|champion| champion.training.from_ms);
        champion_from_ms.map_or(back_ms, |from_ms| from_ms.max(back_ms))
    }

    /// Whether what waits has what it needs by now, or never will.
    fn weigh(&self, mut waiting: Waiting, policy: &RetrainPolicy) -> Decision {
        waiting.rows =
            self.panes.iter().filter(|pane| pane.start_ms >= waiting.from_ms).map(|pane| pane.labelled).sum();
        let Some(newest) = &self.newest else { return Decision::Wait(Box::new(waiting)) };
        // A fault is often seen only after the alarm that it set off.
        if let Some(window) = self.fault_in_span(&waiting.cause) {
            let why = Refusal::DataQualityFault { window };
            return Decision::Ignore(Box::new(RefusedCause { cause: waiting.cause, why }));
        }
        if waiting.rows >= waiting.rows_needed {
            if !is_of_verdict(&waiting.cause) || newest.pane.end_ms >= waiting.cause.time_ms {
                return Decision::Request(Box::new(request(waiting, newest, self.champion.as_ref(), policy)));
            }
            waiting.lacking = Lacking::AlarmRows;
        }
        if newest.pane.end_ms > waiting.give_up_ms {
            let why = Refusal::GivenUp { rows: waiting.rows, rows_needed: waiting.rows_needed };
            return Decision::Ignore(Box::new(RefusedCause { cause: waiting.cause, why }));
        }
        Decision::Wait(Box::new(waiting))
    }
}

fn request(
    waiting: Waiting,
    newest: &PaneMatured,
    champion: Option<&Champion>,
    policy: &RetrainPolicy,
) -> RetrainRequest {
    let Waiting { cause, rows, from_ms, .. } = waiting;
    let time_ms = newest.pane.end_ms;
    RetrainRequest {
        id: request_id(&cause.model, &cause.id),
        model: cause.model.clone(),
        time_ms,
        evidence: if is_of_verdict(&cause) { vec![cause.id.clone()] } else { Vec::new() },
        train_from_ms: from_ms,
        // The pane's end rather than the moment it matured: of younger rows only those with early labels are known.
        train_until: Cut { at_ms: time_ms, positions: newest.cut.positions.clone() },
        labelled_rows: rows,
        deadline_ms: time_ms.saturating_add(millis(policy.deadline)),
        fallback: policy.fallback,
        champion: champion.map(|champion| champion.version.clone()),
        parameters: policy.parameters.clone(),
        cause,
    }
}

fn is_of_verdict(cause: &Cause) -> bool {
    matches!(cause.kind, CauseKind::Quality | CauseKind::FeatureDrift)
}

fn reads_errors(detector: &str) -> bool {
    detector.ends_with("(error)") || detector.ends_with("(loss)")
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
