//! Which candidates an episode makes, and when: former champions and recalibrations beside each other, trainings on ever more
//! rows, each when its rows and its part of the ration are there.

use super::phase::LastRefit;
use super::{Candidate, ENOUGH_ROWS, Entrant, Episode, LEAST_ROWS, Order, is_halfway};
use crate::gate::{Trial, Why};
use crate::lifecycle::CandidateKind;
use crate::policy::millis;
use detectors::verdict::Cut;

/// Labelled rows after the change that two numbers of a recalibration need.
const RECALIBRATION_ROWS: f64 = 30.0;
/// Rows on which a training reaches back at least where losses move together.
const DEPENDENT_ROWS: i64 = 1_000;
/// A mean loss is far off that exceeds the target by so many times the tolerance.
const FAR_OFF: f64 = 5.0;
/// Wealth from which a trial counts as about to win.
const LEADING: f64 = 1.5;
/// Trainings that may be made before rows have paid for them.
const MOST_DEBT: f64 = 1.0;

impl Episode {
    /// What is to be made now, behind word of what it takes the place of.
    pub(super) fn candidates(&mut self, cut: &Cut) -> Vec<Order> {
        let mut made = Vec::new();
        if self.opening.request.is_recovery() {
            made.extend(self.earlier_champions(cut));
            made.extend(self.recalibration(cut));
        }
        if self.is_refit_due() {
            made.push(self.refit(cut));
        }
        let dropped = std::mem::take(&mut self.dropped).into_iter();
        let dropped = dropped.map(|(number, why, report)| Order::Reject(number, why, report));
        dropped.chain(made.into_iter().map(Order::Make)).collect()
    }

    fn earlier_champions(&mut self, cut: &Cut) -> Vec<Candidate> {
        if std::mem::replace(&mut self.phase.has_tried_earlier, true) {
            return Vec::new();
        }
        let from_ms = self.phase.change_ms;
        let versions = self.earlier.clone().into_iter();
        versions.map(|version| self.add(CandidateKind::Earlier, Some(version), from_ms, cut)).collect()
    }

    /// A recalibration on twice the rows of the last, unless that is about to win.
    fn recalibration(&mut self, cut: &Cut) -> Option<Candidate> {
        let rows = self.rows_from(self.first_row_ms());
        let due = match self.phase.recalibrated {
            None => (RECALIBRATION_ROWS * self.opening.dependence) as i64,
            Some(rows) => 2 * rows,
        };
        let is_wanted = self.policy.candidates.recalibrate
            && self.opening.is_recalibrable
            && self.phase.promoted_until_ms.is_none();
        if !is_wanted || rows < due {
            return None;
        }
        let is_behind = |candidate: &Candidate, trial: &Trial| {
            candidate.kind == CandidateKind::Recalibration && trial.evidence() <= LEADING
        };
        self.drop_where(is_behind, &Why::Renewed);
        self.phase.recalibrated = Some(rows);
        Some(self.add(CandidateKind::Recalibration, None, self.first_row_ms(), cut))
    }

    fn is_refit_due(&self) -> bool {
        let (rows, needed) = self.rows();
        if rows < needed || self.entrants.iter().any(|entrant| self.holds_back(entrant)) {
            return false;
        }
        if !self.opening.request.is_recovery() {
            return self.phase.refits == 0;
        }
        if self.phase.refits >= self.policy.candidates.most {
            return false;
        }
        let is_follow_up = self.phase.promoted_until_ms.is_some() && self.phase.refits > 0;
        if self.credit < self.credit_needed(is_follow_up) {
            return false;
        }
        let has_waited = self.phase.last_refit.is_none_or(|last| self.seen_rows - last.seen_rows >= last.gap_rows);
        has_waited && (self.phase.promoted_until_ms.is_none() || self.is_still_poor(is_follow_up))
    }

    /// What rows must have paid for before a training. A change is answered on credit if need be, unless it may be none; and where
    /// the champion is nearly as good as it can be, one training is kept for the next change.
    fn credit_needed(&self, is_follow_up: bool) -> f64 {
        let is_first = self.phase.refits == 0 && self.phase.promoted_until_ms.is_none();
        match (is_first, is_follow_up && !self.is_far_off()) {
            (true, _) if self.opening.dependence < 2.0 => -MOST_DEBT,
            (_, true) => 2.0,
            _ => 1.0,
        }
    }

    /// Whether the new champion's loss is above the target, or cannot be told from it after many rows.
    fn is_still_poor(&self, is_follow_up: bool) -> bool {
        let (Some(loss), Some(target)) = (self.standing.mean(), self.opening.target) else {
            return self.standing.rows() >= self.scaled(LEAST_ROWS);
        };
        let least = if is_follow_up { LEAST_ROWS } else { self.policy.gate.min_rows as f64 };
        self.standing.rows() >= self.scaled(least)
            && (loss - self.standing.error(self.opening.dependence) > target
                || loss > self.aim() && self.standing.rows() >= self.scaled(ENOUGH_ROWS))
    }

    /// Whether the champion's loss is beyond doubt far above the target.
    fn is_far_off(&self) -> bool {
        let (Some(loss), Some(target)) = (self.standing.mean(), self.opening.target) else { return false };
        loss - self.standing.error(self.opening.dependence) > target + FAR_OFF * self.policy.gate.tolerance
    }

    /// Whether a training is to wait for a trial: of a refit that has hardly begun, or of one that leads towards the target.
    fn holds_back(&self, entrant: &Entrant) -> bool {
        let is_refit = entrant.candidate.kind == CandidateKind::Refit;
        let Some(trial) = entrant.trial.as_ref() else { return is_refit };
        let made_of = entrant.candidate.rows.unsigned_abs();
        if is_refit && trial.rows() < trial.least_rows(&self.policy.gate).min(made_of) {
            return true;
        }
        trial.evidence() > LEADING && is_halfway(trial, self.opening.target) && trial.rows() < 2 * made_of.max(100)
    }

    fn refit(&mut self, cut: &Cut) -> Candidate {
        let (from_ms, rows) = (self.refit_from_ms(), self.rows_from(self.first_row_ms()));
        self.credit -= 1.0;
        self.phase.refits += 1;
        self.phase.next_rows = self.grown(rows);
        self.phase.last_refit =
            Some(LastRefit { until_ms: cut.at_ms, seen_rows: self.seen_rows, gap_rows: self.phase.next_rows - rows });
        self.add(CandidateKind::Refit, None, from_ms, cut)
    }

    fn add(&mut self, kind: CandidateKind, version: Option<String>, from_ms: i64, cut: &Cut) -> Candidate {
        self.made += 1;
        let rows = self.rows_from(from_ms);
        let candidate = Candidate { number: self.made, kind, version, from_ms, until: cut.clone(), rows };
        self.entrants.push(Entrant { candidate: candidate.clone(), promised: None, trial: None });
        candidate
    }

    /// Labelled rows that the next training needs.
    pub(super) fn rows_needed(&self) -> i64 {
        if !self.opening.request.is_recovery() {
            return i64::try_from(self.policy.min_labelled_rows).unwrap_or(i64::MAX);
        }
        let first = self
            .policy
            .candidates
            .first
            .map_or_else(|| (3 * self.opening.parameters).max(50) as f64 * self.opening.dependence, |rows| rows as f64);
        let first = first.ceil() as i64;
        if self.phase.promoted_until_ms.is_some() { first.max(self.phase.next_rows) } else { first }
    }

    pub(super) fn grown(&self, rows: i64) -> i64 {
        (rows as f64 * self.policy.candidates.factor).ceil() as i64
    }

    /// Event time of the first row that may be learned from: behind the change, and behind a fault that is waited out.
    pub(super) fn first_row_ms(&self) -> i64 {
        let change_ms = self.phase.change_ms;
        match self.faults {
            Some((first_ms, last_ms)) if self.now_ms < first_ms.saturating_add(millis(self.policy.fault_patience)) => {
                change_ms.max(last_ms)
            }
            _ => change_ms,
        }
    }

    /// Where a training begins: where losses move together further back than its change point, which may be noise.
    fn refit_from_ms(&self) -> i64 {
        let from_ms = self.first_row_ms();
        if self.opening.dependence < 2.0 {
            return from_ms;
        }
        let mut rows = 0;
        let reaches = self.spans.iter().rev().find(|(_, labelled)| {
            rows += labelled;
            rows >= DEPENDENT_ROWS
        });
        reaches.map_or(from_ms, |(start_ms, _)| from_ms.min(*start_ms))
    }

    pub(super) fn rows_from(&self, from_ms: i64) -> i64 {
        self.spans.iter().filter(|(start_ms, _)| *start_ms >= from_ms).map(|(_, labelled)| labelled).sum()
    }

    pub(super) fn scaled(&self, rows: f64) -> f64 {
        rows * self.opening.dependence
    }
}
