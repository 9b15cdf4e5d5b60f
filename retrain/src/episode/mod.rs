//! An episode: from the first alarm until the model is as good as it can be again. Pure.
//!
//! It reads spans of matured rows with both sides' losses on them, and alarms, in the order of `verdicts`, and says what is to
//! be done: make a candidate, promote or reject one, end. So it does the same for the same log, wherever epochs end and however
//! often it is begun anew after a restart.
//!
//! # Candidates
//! What costs no training comes first: former champions, for the world may have come back, and the champion with its score
//! recalibrated. Then trainings on the labelled rows after the change, each on more of them than the one before. All of them
//! are tried side by side, on rows that are younger than those they were made of, and the gate promotes the first that is
//! better. A training waits while one on trial is about to win.
//!
//! # A change that goes on
//! An alarm with a change point behind the last training says that the world has moved on: a *phase* begins with it, in which
//! rows are counted anew and former champions get another chance. A champion that does far worse than its training promised
//! begins one too. Where losses move together, change points are found in plain noise; there a training reaches further back.
//!
//! # The end
//! The episode aims at the best that a version of the model promised. After a promotion the next larger training challenges the
//! new champion, until the target is reached, a doubling has shown nothing, or what may be spent is spent. A poor champion
//! never becomes the new normal.
//!
//! # A data fault
//! Rows of a window at fault are not trained on, so an episode waits for rows behind it; for as long as the policy's patience
//! lasts.

mod candidates;
mod phase;
mod standing;

use crate::gate::{AnchorStanding, Pair, PromotionPermit, Ruling, Share, Trial, TrialTerms, Why, judge};
use crate::lifecycle::CandidateKind;
use crate::lifecycle::{EpisodeOutcome, TrialReport};
use crate::policy::{RetrainPolicy, millis};
use crate::request::RetrainRequest;
use detectors::verdict::{Cut, RowsMatured};
use detectors::windows::Window;
use phase::Phase;
use standing::Standing;
use std::collections::{BTreeMap, VecDeque};

/// Spans whose rows are counted: a change point further back counts from the oldest.
const SPANS_KEPT: usize = 16_384;
/// Rows of the champion on which its loss is held against the target, and those on which it is without any doubt.
const LEAST_ROWS: f64 = 50.0;
const ENOUGH_ROWS: f64 = 200.0;
/// The same for a champion that was not replaced.
const UNHARMED_ROWS: f64 = 500.0;
/// A trial ends after so many times the rows that its candidate was trained on, or as many as 200.
const TRIAL_FACTOR: u64 = 4;
/// Standard errors by which a loss must lie below what counts as recovered: it is looked at after every span.
const DOUBT: f64 = 3.0;
/// Trainings that may be saved up.
pub const MOST_CREDIT: f64 = 6.0;

/// What is known of a model when an episode opens.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The request.
    pub request: RetrainRequest,
    /// Which episode of the model this is, counted from 1.
    pub number: u32,
    /// Promotions that trials of the model won before.
    pub promotions: u32,
    /// The mean loss that is aimed at; `None` where no version ever promised one.
    pub target: Option<f64>,
    /// How many neighbouring rows say as much as one (see [`crate::evidence::dependence`]).
    pub dependence: f64,
    /// Former champions that can answer, the last one first.
    pub earlier: Vec<String>,
    /// Whether the champion's score can be recalibrated.
    pub is_recalibrable: bool,
    /// Parameters of a linear model of this schema.
    pub parameters: usize,
}

/// A challenger to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its number in the episode, from 1.
    pub number: u32,
    /// What it is made of.
    pub kind: CandidateKind,
    /// The version, where that exists already.
    pub version: Option<String>,
    /// Event time of the first row that it is made of.
    pub from_ms: i64,
    /// The log up to which its rows are frozen; younger ones judge it.
    pub until: Cut,
    /// Labelled rows between the two.
    pub rows: i64,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Order {
    /// Make a candidate; [`Episode::enter`] or [`Episode::fail`] says what came of it.
    Make(Candidate),
    /// The gate let a challenger pass.
    Promote(u32, PromotionPermit),
    /// A challenger lost.
    Reject(u32, Why, TrialReport),
    /// Nothing more.
    End(Ending),
}

/// How an episode ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// With what outcome.
    pub outcome: EpisodeOutcome,
    /// A sentence for people.
    pub reason: String,
    /// Mean loss of the champion on its rows in the episode.
    pub loss: Option<f64>,
}

/// Both sides' losses on the rows of one span that the champion answered.
#[derive(Debug, Default)]
pub struct SpanLosses {
    /// The champion's, in the order of event time.
    pub champion: Vec<f64>,
    /// By number of the candidates on trial.
    pub pairs: BTreeMap<u32, Vec<Pair>>,
}

/// The state machine.
#[derive(Debug)]
pub struct Episode {
    opening: Opening,
    policy: RetrainPolicy,
    champion: Option<String>,
    earlier: Vec<String>,
    phase: Phase,
    entrants: Vec<Entrant>,
    /// Candidates whose trials have ended without a ruling, which is still to be said.
    dropped: Vec<(u32, Why, TrialReport)>,
    /// Candidates made so far.
    made: u32,
    standing: Standing,
    /// Start and labelled rows of each span.
    spans: VecDeque<(i64, i64)>,
    /// End of the first and of the last window at fault since the change.
    faults: Option<(i64, i64)>,
    /// Labelled rows seen since the opening.
    seen_rows: i64,
    credit: f64,
    promotions: u32,
    tried: BTreeMap<CandidateKind, u32>,
    now_ms: i64,
    /// When something happened last.
    news_ms: i64,
}

/// A candidate and its trial, once it can answer.
#[derive(Debug)]
struct Entrant {
    candidate: Candidate,
    promised: Option<f64>,
    trial: Option<Trial>,
}

impl Episode {
    /// An episode before its first span.
    pub fn open(opening: Opening, policy: RetrainPolicy) -> Self {
        Self {
            champion: opening.request.champion.clone(),
            earlier: opening.earlier.iter().take(policy.candidates.earlier).cloned().collect(),
            phase: Phase::new(opening.request.train_from_ms),
            entrants: Vec::new(),
            dropped: Vec::new(),
            made: 0,
            standing: Standing::default(),
            spans: VecDeque::new(),
            faults: None,
            seen_rows: 0,
            credit: opening.request.credit,
            promotions: opening.promotions,
            tried: BTreeMap::new(),
            now_ms: opening.request.matured_ms,
            news_ms: if opening.request.matured_ms > 0 { opening.request.matured_ms } else { opening.request.time_ms },
            opening,
            policy,
        }
    }

    /// The champion as far as the episode has come.
    pub fn champion(&self) -> Option<&str> {
        self.champion.as_deref()
    }

    /// Candidates on trial, with the version that answers for each.
    pub fn on_trial(&self) -> impl Iterator<Item = (u32, &str)> {
        self.entrants.iter().filter_map(|entrant| {
            let trial = entrant.trial.as_ref()?;
            Some((entrant.candidate.number, trial.terms().challenger.as_str()))
        })
    }

    /// The trials that run.
    pub fn trials(&self) -> impl Iterator<Item = (&Candidate, &Trial)> {
        self.entrants.iter().filter_map(|entrant| Some((&entrant.candidate, entrant.trial.as_ref()?)))
    }

    /// Event time from which rows count as of the world as it is now.
    pub fn change_ms(&self) -> i64 {
        self.phase.change_ms
    }

    /// Labelled rows since then, and how many the next training needs.
    pub fn rows(&self) -> (i64, i64) {
        (self.rows_from(self.first_row_ms()), self.rows_needed())
    }

    /// Mean loss of the champion on its rows in the episode, and that aimed at.
    pub fn losses(&self) -> (Option<f64>, Option<f64>) {
        (self.standing.mean(), self.opening.target)
    }

    /// Counts a span that matured before the request was made. Who asks for a training gets it of the rows that there are: more
    /// may never come.
    pub fn recall(&mut self, span: &RowsMatured) -> Vec<Order> {
        push_bounded(&mut self.spans, (span.span.start_ms, span.labelled));
        let request = &self.opening.request;
        let is_last = span.span.end_ms == request.matured_ms;
        if is_last && !request.is_recovery() { self.candidates(&span.cut) } else { Vec::new() }
    }

    /// Takes in that the champion's quality was found to have fallen, since `change_ms` as far as that is known.
    pub fn alarm(&mut self, change_ms: Option<i64>) {
        let Some(change_ms) = change_ms.filter(|_| self.opening.request.is_recovery()) else { return };
        let made_until_ms = self.phase.last_refit.map(|last| last.until_ms).max(self.phase.promoted_until_ms);
        match made_until_ms {
            Some(until_ms) if change_ms >= until_ms => self.begin_phase(change_ms),
            None if change_ms > self.phase.change_ms => self.phase.change_ms = change_ms,
            _ => {}
        }
    }

    /// Takes in that the data of a window were at fault.
    pub fn fault(&mut self, window: Window) {
        if window.end_ms > self.phase.change_ms {
            let first_ms = self.faults.map_or(window.end_ms, |(first_ms, _)| first_ms);
            self.faults = Some((first_ms, window.end_ms));
        }
    }

    /// Takes in a span and both sides' losses on it, and says what is to be done, in this order.
    pub fn judge(&mut self, span: &RowsMatured, losses: &SpanLosses) -> Vec<Order> {
        self.now_ms = span.span.end_ms;
        self.seen_rows += span.labelled;
        self.credit += span.labelled as f64 / self.policy.labelled_rows_per_training as f64;
        push_bounded(&mut self.spans, (span.span.start_ms, span.labelled));
        if let Some(since_ms) = self.standing.observe(span.span.start_ms, &losses.champion, self.opening.dependence) {
            self.begin_phase(since_ms);
        }
        let dropped = std::mem::take(&mut self.dropped).into_iter();
        let mut orders: Vec<_> = dropped.map(|(number, why, report)| Order::Reject(number, why, report)).collect();
        orders.extend(self.rule(losses));
        let has_promoted = orders.iter().any(|order| matches!(order, Order::Promote(..)));
        if !has_promoted {
            match self.ending() {
                Some(ending) => orders.push(Order::End(ending)),
                None => orders.extend(self.candidates(&span.cut)),
            }
        }
        if !orders.is_empty() {
            self.news_ms = self.now_ms;
        }
        orders
    }

    /// A candidate can answer, as this version, and its training promises this mean loss.
    pub fn enter(&mut self, number: u32, version: &str, promised: Option<f64>) {
        let Some(place) = self.place(number) else { return };
        self.entrants[place].promised = promised;
        self.begin_trial(place, version.to_owned());
    }

    /// Sets what both sides of a trial showed on the anchor's rows.
    pub fn hold_against(&mut self, number: u32, anchor: AnchorStanding) {
        if let Some(trial) = self.place(number).and_then(|place| self.entrants[place].trial.as_mut()) {
            trial.hold_against(anchor);
        }
    }

    /// A candidate could not be made.
    pub fn fail(&mut self, number: u32) {
        let Some(place) = self.place(number) else { return };
        let failed = self.entrants.remove(place);
        self.phase.note_loser(&failed.candidate);
    }

    fn place(&self, number: u32) -> Option<usize> {
        self.entrants.iter().position(|entrant| entrant.candidate.number == number)
    }

    fn begin_trial(&mut self, place: usize, challenger: String) {
        let Entrant { candidate, .. } = &self.entrants[place];
        let (kind, rows, candidate) = (candidate.kind, candidate.rows.unsigned_abs(), candidate.number);
        let number = self.tried.entry(kind).or_default();
        *number += 1;
        let share = Share { episode: self.opening.number, kind, number: *number, promotions: self.promotions };
        let dependence = self.opening.dependence;
        let terms = TrialTerms {
            model: self.opening.request.model.clone(),
            request: self.opening.request.id.clone(),
            candidate,
            champion: self.champion.clone(),
            challenger,
            deadline_ms: self.now_ms.saturating_add(millis(self.policy.deadline)),
            most_rows: TRIAL_FACTOR * rows.max((ENOUGH_ROWS * dependence) as u64),
            fallback: self.policy.fallback,
            share,
            dependence,
        };
        self.entrants[place].trial = Some(Trial::new(terms, &self.policy.gate));
    }

    /// Starts over from a change point with what costs nothing. Refits on trial stay there.
    fn begin_phase(&mut self, change_ms: i64) {
        self.phase = Phase::new(change_ms);
        self.drop_where(|candidate, _| candidate.kind != CandidateKind::Refit, &Why::MovedOn);
        self.faults = self.faults.filter(|(_, last_ms)| *last_ms > change_ms);
        self.standing = Standing::default();
    }

    /// Ends the trials of candidates that others take the place of.
    fn drop_where(&mut self, is_over: impl Fn(&Candidate, &Trial) -> bool, why: &Why) {
        let gate = &self.policy.gate;
        self.entrants.retain(|Entrant { candidate, trial, .. }| {
            let Some(trial) = trial.as_ref().filter(|trial| is_over(candidate, trial)) else { return true };
            self.dropped.push((candidate.number, why.clone(), trial.report(gate)));
            false
        });
    }

    /// What the gate says of each trial. At most one challenger is promoted.
    fn rule(&mut self, losses: &SpanLosses) -> Vec<Order> {
        let (mut orders, mut over) = (Vec::new(), Vec::new());
        let (until_ms, gate) = (self.now_ms, self.policy.gate.clone());
        let target = self.opening.target;
        for entrant in &mut self.entrants {
            let Some(trial) = entrant.trial.as_mut() else { continue };
            let number = entrant.candidate.number;
            losses.pairs.get(&number).into_iter().flatten().for_each(|pair| trial.observe(pair));
            trial.advance_to(until_ms);
            match judge(&gate, trial) {
                Ruling::NotYet(_) => {}
                // A stopgap that is better and no good would only be in the way of what is being trained.
                Ruling::Promote(_) if entrant.candidate.kind != CandidateKind::Refit && !is_halfway(trial, target) => {}
                Ruling::Reject(why, report) => {
                    over.push(number);
                    self.phase.note_loser(&entrant.candidate);
                    orders.push(Order::Reject(number, why, report));
                }
                Ruling::Promote(permit) => {
                    orders.push(Order::Promote(number, permit));
                    break;
                }
            }
        }
        self.entrants.retain(|entrant| !over.contains(&entrant.candidate.number));
        if let Some(Order::Promote(number, _)) = orders.last() {
            let overtaken = self.promote(*number);
            // The others are told first, while they still run against the champion that they lost to.
            orders.splice(orders.len() - 1..orders.len() - 1, overtaken);
        }
        orders
    }

    /// Makes a challenger the champion; rejects those that can hardly be better, and tries the others against it.
    fn promote(&mut self, number: u32) -> Vec<Order> {
        let Some(place) = self.place(number) else { return Vec::new() };
        let winner = self.entrants.remove(place);
        let Some(version) = winner.trial.as_ref().map(|trial| trial.terms().challenger.clone()) else {
            return Vec::new();
        };
        self.earlier.retain(|known| *known != version);
        if let Some(before) = self.champion.replace(version.clone()) {
            self.earlier.insert(0, before);
            self.earlier.truncate(self.policy.candidates.earlier);
        }
        self.promotions += 1;
        self.standing = Standing::of_champion(winner.promised);
        let is_refit = winner.candidate.kind == CandidateKind::Refit;
        let made_rows = if is_refit { winner.candidate.rows } else { 0 };
        self.phase.promoted(winner.candidate.until.at_ms, self.grown(made_rows));
        let mut orders = Vec::new();
        for place in (0..self.entrants.len()).rev() {
            let Candidate { kind, rows, number, .. } = self.entrants[place].candidate;
            if kind == CandidateKind::Refit && rows > made_rows {
                if let Some(challenger) = self.entrants[place].trial.as_ref().map(|t| t.terms().challenger.clone()) {
                    self.begin_trial(place, challenger);
                }
            } else if let Some(trial) = self.entrants.remove(place).trial {
                let report = trial.report(&self.policy.gate);
                orders.push(Order::Reject(number, Why::Overtaken { by: version.clone() }, report));
            }
        }
        orders
    }

    fn ending(&self) -> Option<Ending> {
        let has_trials = !self.entrants.is_empty();
        let end = |outcome, reason: String| Some(Ending { outcome, reason, loss: self.standing.mean() });
        if !self.opening.request.is_recovery() {
            return match (has_trials, self.phase.refits, self.phase.promoted_until_ms) {
                (_, _, Some(_)) => {
                    end(EpisodeOutcome::Recovered, "the training that was asked for was promoted".into())
                }
                (false, 1.., None) => {
                    end(EpisodeOutcome::NoBetterModel, "the training that was asked for is not better".into())
                }
                _ => self.given_up(),
            };
        }
        let (loss, aim) = (self.standing.mean().unwrap_or(f64::NAN), self.aim());
        if self.is_recovered() {
            return end(EpisodeOutcome::Recovered, format!("mean loss {loss:.4}, where {aim:.4} was aimed at"));
        }
        if has_trials {
            return None;
        }
        if self.phase.promoted_until_ms.is_some()
            && self.phase.is_dry
            && self.standing.rows() >= self.scaled(LEAST_ROWS)
        {
            let reason = format!("more rows show no better model: mean loss {loss:.4}, where {aim:.4} was aimed at");
            let is_there = self.opening.target.is_some() && loss <= aim;
            return end(if is_there { EpisodeOutcome::Recovered } else { EpisodeOutcome::NoBetterModel }, reason);
        }
        if self.phase.refits >= self.policy.candidates.most {
            let reason = format!("{} trainings have shown no better model", self.phase.refits);
            return end(EpisodeOutcome::GivenUp, reason);
        }
        self.given_up()
    }

    fn given_up(&self) -> Option<Ending> {
        let waited_ms = self.now_ms.saturating_sub(self.news_ms);
        if !self.entrants.is_empty() || waited_ms <= millis(self.policy.wait_at_most) {
            return None;
        }
        let (rows, needed) = self.rows();
        let reason = format!("nothing more has come of it: {rows} of {needed} labelled rows");
        Some(Ending { outcome: EpisodeOutcome::GivenUp, reason, loss: self.standing.mean() })
    }

    /// Whether the champion is as good as a model of this kind was, beyond reasonable doubt.
    fn is_recovered(&self) -> bool {
        let least = if self.phase.promoted_until_ms.is_some() { LEAST_ROWS } else { UNHARMED_ROWS };
        let (Some(loss), Some(_)) = (self.standing.mean(), self.opening.target) else { return false };
        self.standing.rows() >= self.scaled(least)
            && loss + DOUBT * self.standing.error(self.opening.dependence) <= self.aim() + self.policy.gate.tolerance
    }

    /// The mean loss at which a model counts as recovered.
    fn aim(&self) -> f64 {
        self.opening.target.map_or(0.0, |target| target + self.policy.gate.tolerance)
    }
}

/// Whether the challenger makes up for half of what the champion lacks.
fn is_halfway(trial: &Trial, target: Option<f64>) -> bool {
    let Some((champion, challenger)) = trial.mean_losses() else { return false };
    challenger <= target.map_or(champion, |target| (target + champion) / 2.0)
}

fn push_bounded(spans: &mut VecDeque<(i64, i64)>, span: (i64, i64)) {
    if spans.len() == SPANS_KEPT {
        spans.pop_front();
    }
    spans.push_back(span);
}

#[cfg(test)]
mod tests;
