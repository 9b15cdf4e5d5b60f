//! The gate: whether a challenger may become champion, from paired losses on rows that neither side has seen. Pure.
//!
//! Only this file can make a [`PromotionPermit`], and a registry promotes for nothing else.
//!
//! # What is tested
//! Each row gives `d = champion's loss − challenger's loss`, both in [0, 1], and 1 for a side that left it unanswered. Three
//! bets run (see [`crate::evidence`]), each
//! of which may be looked at after every row:
//! * *better*: against `E d ≤ margin`. Won, with enough rows, no segment against it and the anchor held, it promotes.
//! * *worse*: against `E d ≥ 0`. Won at the model's whole `alpha`, it rejects: it errs on the side of the champion.
//! * for each segment, *worse than the floor*: against `E d ≥ −segment_margin`. Won in a segment with enough rows, it
//!   rejects. The level is shared among the segments (Bonferroni), so that many of them do not block by luck.
//!
//! # The budget
//! The j-th candidate of a kind in the e-th episode of a model is held to
//! `α = alpha · (P + 1) · w / (j (j + 1)) / (e (e + 1))`, `P` being the promotions that the model's trials have won so far and
//! `w` the kind's part (0.6 for refits, 0.2 each for the others): e-LOND (Xu and Ramdas, "Online multiple testing with
//! e-values", AISTATS 2024). As the factors add up to 1 over all episodes, kinds and candidates, of all promotions at most the
//! share `alpha` is expected to be false, whatever the dependence between trials; and if no challenger ever improves, the
//! probability that any is promoted stays below `alpha`. Promotions that were earned keep the test from growing ever harder for
//! a model that lives long. What the deadline's fallback promotes is outside it.
//!
//! # Losses that move together
//! A bet is fair whatever the dependence between rows, but what it finds is a difference of this hour. Where the losses of
//! neighbouring rows move together ([`crate::evidence::dependence`]), stakes are divided and the least rows are multiplied by
//! how much: so many rows say as much as one that is independent.

use crate::evidence::Wealth;
use crate::lifecycle::{CandidateKind, PermitRecord, TrialReport};
use crate::losses::LOSS_OF_NO_ANSWER;
use crate::policy::GatePolicy;
use crate::request::Fallback;
use detectors::verdict::Segment;
use std::collections::BTreeMap;
use thiserror::Error;

/// Both sides' losses on one row, in [0, 1]; `None` of a side that gave no answer, which counts as wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Of the champion's logged prediction.
    pub champion_loss: Option<f64>,
    /// Of the challenger's answer in shadow.
    pub challenger_loss: Option<f64>,
    /// The segments the row belongs to.
    pub segments: Vec<Segment>,
}

impl Pair {
    /// The losses of champion and challenger, with what an unanswered row costs.
    fn losses(&self) -> (f64, f64) {
        let cost = |loss: Option<f64>| loss.unwrap_or(LOSS_OF_NO_ANSWER);
        (cost(self.champion_loss), cost(self.challenger_loss))
    }
}

/// The part of a model's false-promotion budget that a trial has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which episode of the model this is, counted from 1.
    pub episode: u32,
    /// The kind of the candidate.
    pub kind: CandidateKind,
    /// Which trial of its kind in the episode this is, counted from 1.
    pub number: u32,
    /// Promotions that trials of the model won before.
    pub promotions: u32,
}

impl Share {
    /// The level that the bet on *better* is held to.
    pub fn level(&self, policy: &GatePolicy) -> f64 {
        let of = |number: u32| f64::from(number) * f64::from(number.saturating_add(1));
        policy.alpha * (f64::from(self.promotions) + 1.0) * part_of(self.kind) / (of(self.number) * of(self.episode))
    }
}

/// Who is tried against whom, and by which rules.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialTerms {
    /// The model.
    pub model: String,
    /// The request whose episode this is.
    pub request: String,
    /// Number of the candidate in it.
    pub candidate: u32,
    /// The champion to beat.
    pub champion: Option<String>,
    /// The challenger.
    pub challenger: String,
    /// Event time by which there is a ruling.
    pub deadline_ms: i64,
    /// Rows by which there is a ruling.
    pub most_rows: u64,
    /// What happens then.
    pub fallback: Fallback,
    /// The part of the budget.
    pub share: Share,
    /// How many neighbouring rows say as much as one that is independent; at least 1.
    pub dependence: f64,
}

/// A trial: what both sides have shown so far.
#[derive(Debug, Clone)]
pub struct Trial {
    terms: TrialTerms,
    judged_until_ms: i64,
    rows: u64,
    champion_loss: f64,
    challenger_loss: f64,
    /// Rows that each side left unanswered.
    champion_unanswered: u64,
    challenger_unanswered: u64,
    better: Wealth,
    worse: Wealth,
    margin: f64,
    segment_margin: f64,
    segments: BTreeMap<Segment, SegmentStanding>,
    anchor: Option<AnchorStanding>,
}

/// Mean losses on the anchor's rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnchorStanding {
    /// Rows compared.
    pub rows: u64,
    /// Mean loss of what answered then.
    pub champion_loss: f64,
    /// Mean loss of the challenger.
    pub challenger_loss: f64,
}

impl AnchorStanding {
    /// The mean losses of these rows.
    pub fn of(pairs: &[Pair]) -> Self {
        let rows = pairs.len().max(1) as f64;
        let (champion, challenger): (Vec<f64>, Vec<f64>) = pairs.iter().map(Pair::losses).unzip();
        Self {
            rows: pairs.len() as u64,
            champion_loss: champion.iter().sum::<f64>() / rows,
            challenger_loss: challenger.iter().sum::<f64>() / rows,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct SegmentStanding {
    rows: u64,
    harm: Wealth,
}

/// What the gate says of a trial.
#[derive(Debug)]
pub enum Ruling {
    /// The challenger may become champion.
    Promote(PromotionPermit),
    /// It may not.
    Reject(Why, TrialReport),
    /// More rows are needed.
    NotYet(TrialReport),
}

/// Why a challenger is rejected.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Why {
    /// It is worse than the champion.
    #[error("the challenger is worse than the champion")]
    Worse,
    /// It is worse in a segment by more than its floor allows.
    #[error("the challenger is worse by more than {margin} where {dimension} = {value} ({rows} rows)", dimension = segment.dimension, value = segment.value)]
    WorseInSegment {
        /// The segment.
        segment: Segment,
        /// By how much it might be.
        margin: f64,
        /// Rows judged there.
        rows: u64,
    },
    /// It has forgotten an earlier context.
    #[error("the challenger is worse by {by:.4} on the anchor's rows, where {margin} is allowed")]
    WorseOnAnchor {
        /// The difference of mean losses.
        by: f64,
        /// What is allowed.
        margin: f64,
    },
    /// The deadline passed first.
    #[error("the deadline passed before the challenger had shown that it is better")]
    Deadline,
    /// As many rows as a trial may take have shown nothing.
    #[error("{rows} rows have not shown that the challenger is better")]
    NothingShown {
        /// Rows judged.
        rows: u64,
    },
    /// The world has moved on since the rows that it was made of.
    #[error("the world has moved on since it was made")]
    MovedOn,
    /// One of its kind that was made of more rows takes its place.
    #[error("one that was made of more rows takes its place")]
    Renewed,
    /// A better one was promoted meanwhile.
    #[error("{by} was promoted meanwhile")]
    Overtaken {
        /// The new champion.
        by: String,
    },
}

/// Proof that the gate let a version pass. There is no other way to one than the functions of this file.
#[derive(Debug, Clone, PartialEq)]
pub struct PromotionPermit {
    model: String,
    version: String,
    champion: Option<String>,
    record: PermitRecord,
}

impl PromotionPermit {
    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version that may become champion.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The champion that it was measured against; the permit is void under another.
    pub fn champion(&self) -> Option<&str> {
        self.champion.as_deref()
    }

    /// By what right, as it is recorded.
    pub fn record(&self) -> &PermitRecord {
        &self.record
    }
}

/// A permit for the first version of a model, which has no champion to beat.
pub fn admit_first(model: impl Into<String>, version: impl Into<String>) -> PromotionPermit {
    PromotionPermit { model: model.into(), version: version.into(), champion: None, record: PermitRecord::FirstVersion }
}

/// A permit for a promotion past the gate, on a person's word that is recorded.
///
/// # Errors
/// When the person gives no reason.
pub fn override_gate(
    model: impl Into<String>,
    version: impl Into<String>,
    champion: Option<String>,
    reason: &str,
) -> Result<PromotionPermit, NoReason> {
    if reason.trim().is_empty() {
        return Err(NoReason);
    }
    let record = PermitRecord::Override { reason: reason.to_owned() };
    Ok(PromotionPermit { model: model.into(), version: version.into(), champion, record })
}

/// An override without a reason.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a promotion past the gate needs a reason, which is kept on record: say who asks and why")]
pub struct NoReason;

impl Trial {
    /// A trial before its first row.
    pub fn new(terms: TrialTerms, policy: &GatePolicy) -> Self {
        Self {
            terms,
            judged_until_ms: i64::MIN,
            rows: 0,
            champion_loss: 0.0,
            challenger_loss: 0.0,
            champion_unanswered: 0,
            challenger_unanswered: 0,
            better: Wealth::default(),
            worse: Wealth::default(),
            margin: policy.margin,
            segment_margin: policy.segment_margin,
            segments: BTreeMap::new(),
            anchor: None,
        }
    }

    /// Who is tried against whom.
    pub fn terms(&self) -> &TrialTerms {
        &self.terms
    }

    /// Takes in one row.
    pub fn observe(&mut self, pair: &Pair) {
        let (champion_loss, challenger_loss) = pair.losses();
        let difference = champion_loss - challenger_loss;
        self.rows += 1;
        self.champion_loss += champion_loss;
        self.challenger_loss += challenger_loss;
        self.champion_unanswered += u64::from(pair.champion_loss.is_none());
        self.challenger_unanswered += u64::from(pair.challenger_loss.is_none());
        let stake = self.terms.dependence.max(1.0);
        self.better.observe((difference - self.margin) / (1.0 + self.margin) / stake);
        self.worse.observe(-difference / stake);
        for segment in &pair.segments {
            let standing = self.segments.entry(segment.clone()).or_default();
            standing.rows += 1;
            standing.harm.observe((-difference - self.segment_margin) / (1.0 + self.segment_margin) / stake);
        }
    }

    /// Says that every row before `time_ms` that counts has been taken in.
    pub fn advance_to(&mut self, time_ms: i64) {
        self.judged_until_ms = self.judged_until_ms.max(time_ms);
    }

    /// Sets what both sides showed on the anchor's rows.
    pub fn hold_against(&mut self, anchor: AnchorStanding) {
        self.anchor = Some(anchor);
    }

    /// Rows judged.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Mean losses of champion and challenger; `None` before the first row.
    pub fn mean_losses(&self) -> Option<(f64, f64)> {
        let rows = self.rows as f64;
        (self.rows > 0).then(|| (self.champion_loss / rows, self.challenger_loss / rows))
    }

    /// The wealth of the bet that the challenger is better.
    pub fn evidence(&self) -> f64 {
        self.better.value()
    }

    /// Rows before which there is no promotion.
    pub fn least_rows(&self, policy: &GatePolicy) -> u64 {
        (policy.min_rows as f64 * self.terms.dependence.max(1.0)).ceil() as u64
    }

    /// The figures so far.
    pub fn report(&self, policy: &GatePolicy) -> TrialReport {
        let mean = |sum: f64| if self.rows == 0 { 0.0 } else { sum / self.rows as f64 };
        let (champion_loss, challenger_loss) = (mean(self.champion_loss), mean(self.challenger_loss));
        let (evidence, evidence_needed) = (self.better.value(), 1.0 / self.terms.share.level(policy));
        let (champion_unanswered, challenger_unanswered) = (self.champion_unanswered, self.challenger_unanswered);
        let mut summary = format!(
            "mean loss {challenger_loss:.4} against {champion_loss:.4} on {} rows; evidence {evidence:.3} of \
             {evidence_needed:.0}, at least {} rows",
            self.rows,
            self.least_rows(policy)
        );
        if champion_unanswered + challenger_unanswered > 0 {
            summary += &format!(
                "; left unanswered, which counts as wrong: {challenger_unanswered} rows by the challenger, \
                 {champion_unanswered} by the champion"
            );
        }
        TrialReport {
            rows: self.rows,
            champion_loss,
            challenger_loss,
            champion_unanswered,
            challenger_unanswered,
            evidence,
            evidence_needed,
            summary,
        }
    }

    fn harmed_segment(&self, policy: &GatePolicy) -> Option<Why> {
        let judged = self.segments.iter().filter(|(_, standing)| standing.rows >= policy.segment_min_rows);
        let level = policy.alpha / judged.clone().count().max(1) as f64;
        let mut harmed = judged.filter(|(_, standing)| standing.harm.refutes_at(level));
        harmed.next().map(|(segment, standing)| Why::WorseInSegment {
            segment: segment.clone(),
            margin: self.segment_margin,
            rows: standing.rows,
        })
    }

    fn forgotten_anchor(&self, policy: &GatePolicy) -> Option<Why> {
        let (standing, anchor) = (self.anchor.filter(|standing| standing.rows > 0)?, policy.anchor.as_ref()?);
        let by = standing.challenger_loss - standing.champion_loss;
        (by > anchor.margin).then_some(Why::WorseOnAnchor { by, margin: anchor.margin })
    }

    fn permit(&self, report: TrialReport) -> PromotionPermit {
        let TrialTerms { model, request, candidate, champion, challenger, .. } = self.terms.clone();
        let record = PermitRecord::Trial { request, candidate: Some(candidate), report };
        PromotionPermit { model, version: challenger, champion, record }
    }
}

/// Rules on a trial as it stands.
pub fn judge(policy: &GatePolicy, trial: &Trial) -> Ruling {
    let report = trial.report(policy);
    if let Some(why) = trial.forgotten_anchor(policy).or_else(|| trial.harmed_segment(policy)) {
        return Ruling::Reject(why, report);
    }
    let enough = trial.rows >= trial.least_rows(policy);
    if enough && trial.better.refutes_at(trial.terms.share.level(policy)) {
        return Ruling::Promote(trial.permit(report));
    }
    if enough && trial.worse.refutes_at(policy.alpha) {
        return Ruling::Reject(Why::Worse, report);
    }
    if trial.rows >= trial.terms.most_rows {
        return Ruling::Reject(Why::NothingShown { rows: trial.rows }, report);
    }
    if trial.judged_until_ms < trial.terms.deadline_ms {
        return Ruling::NotYet(report);
    }
    let is_better = report.champion_loss - report.challenger_loss > policy.margin;
    match trial.terms.fallback {
        Fallback::PromoteIfBetter if enough && is_better => Ruling::Promote(trial.permit(report)),
        _ => Ruling::Reject(Why::Deadline, report),
    }
}

/// The part of an episode's budget that the candidates of this kind share.
fn part_of(kind: CandidateKind) -> f64 {
    match kind {
        CandidateKind::Refit => 0.6,
        CandidateKind::Recalibration | CandidateKind::Earlier => 0.2,
    }
}

#[cfg(test)]
mod tests;
