//! A phase of an episode: the time since its latest change point.

use super::Candidate;
use crate::lifecycle::CandidateKind;

/// What happens after one change point.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) change_ms: i64,
    pub(super) refits: u32,
    pub(super) last_refit: Option<LastRefit>,
    /// Rows that the next training after a promotion needs.
    pub(super) next_rows: i64,
    /// Rows of the last recalibration.
    pub(super) recalibrated: Option<i64>,
    pub(super) has_tried_earlier: bool,
    /// Where the rows of the champion's training ended, if it was promoted in this phase.
    pub(super) promoted_until_ms: Option<i64>,
    /// Whether a trial has shown nothing since the last promotion.
    pub(super) is_dry: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LastRefit {
    pub(super) until_ms: i64,
    /// Labelled rows that had been seen then.
    pub(super) seen_rows: i64,
    /// Labelled rows that have to come before the next.
    pub(super) gap_rows: i64,
}

impl Phase {
    pub(super) fn new(change_ms: i64) -> Self {
        Self {
            change_ms,
            refits: 0,
            last_refit: None,
            next_rows: 0,
            recalibrated: None,
            has_tried_earlier: false,
            promoted_until_ms: None,
            is_dry: false,
        }
    }

    /// A training that came after the champion's and is no better says that more rows do not help.
    pub(super) fn note_loser(&mut self, loser: &Candidate) {
        let is_younger = self.promoted_until_ms.is_some_and(|until_ms| loser.until.at_ms > until_ms);
        self.is_dry |= loser.kind == CandidateKind::Refit && is_younger;
    }

    pub(super) fn promoted(&mut self, until_ms: i64, next_rows: i64) {
        self.promoted_until_ms = Some(until_ms);
        self.next_rows = next_rows;
        self.last_refit = None;
        self.is_dry = false;
    }
}
