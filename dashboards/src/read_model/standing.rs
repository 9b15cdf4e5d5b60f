//! Where each monitor of a model stands: what its last judged window amounts to, and since when.
//!
//! A state stays until a window that could be judged says otherwise: one that cannot be judged shows that the monitor is
//! blind, and not that what it had found is over. Provisional verdicts change nothing here; the last is kept for its coverage.

use detectors::verdict::{Finality, Monitor, Segment, Severity, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Standings that are kept of a model; the oldest leave.
const MOST_STANDINGS: usize = 1_000;

/// Whose standing it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandingKey {
    /// The version judged.
    pub version: String,
    /// The slice; `None` for all of the traffic, which comes first.
    pub segment: Option<Segment>,
    /// Which judgement.
    pub monitor: Monitor,
}

/// Where one monitor of one slice of one version stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The last verdict.
    pub last: Arc<Verdict>,
    /// The last of a window that could be judged; `None` where there was none.
    pub judged: Option<Arc<Verdict>>,
    /// End of the first window since which it amounts to what `judged` says.
    pub since_ms: Option<i64>,
}

impl Standing {
    /// What the last window that could be judged amounts to.
    pub fn state(&self) -> Option<&Severity> {
        self.judged.as_ref().map(|verdict| &verdict.severity)
    }

    /// Whether the last window could not be judged.
    pub fn is_blind(&self) -> bool {
        matches!(self.last.severity, Severity::Inconclusive(_))
    }

    fn new(verdict: &Arc<Verdict>) -> Self {
        let mut standing = Self { last: Arc::clone(verdict), judged: None, since_ms: None };
        standing.take_in(verdict);
        standing
    }

    fn take_in(&mut self, verdict: &Arc<Verdict>) {
        if verdict.window.end_ms < self.last.window.end_ms {
            return;
        }
        self.last = Arc::clone(verdict);
        if matches!(verdict.severity, Severity::Inconclusive(_)) {
            return;
        }
        if self.state().is_none_or(|state| *state != verdict.severity) {
            self.since_ms = Some(verdict.window.end_ms);
        }
        self.judged = Some(Arc::clone(verdict));
    }
}

/// The standings of one model.
#[derive(Debug, Clone, Default)]
pub(super) struct Standings {
    by_key: BTreeMap<StandingKey, Standing>,
    /// The last verdict on the quality of all traffic, provisional or not.
    coverage: Option<Arc<Verdict>>,
}

impl Standings {
    pub(super) fn take_in(&mut self, verdict: &Arc<Verdict>) {
        if verdict.monitor == Monitor::Quality && verdict.segment.is_none() {
            self.coverage = Some(Arc::clone(verdict));
        }
        if verdict.finality == Finality::Provisional {
            return;
        }
        let (version, segment, monitor) = (verdict.version.clone(), verdict.segment.clone(), verdict.monitor.clone());
        let entry = self.by_key.entry(StandingKey { version, segment, monitor });
        entry.and_modify(|standing| standing.take_in(verdict)).or_insert_with(|| Standing::new(verdict));
        if self.by_key.len() > MOST_STANDINGS {
            self.drop_oldest();
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&StandingKey, &Standing)> {
        self.by_key.iter()
    }

    pub(super) fn coverage(&self) -> Option<&Arc<Verdict>> {
        self.coverage.as_ref()
    }

    fn drop_oldest(&mut self) {
        let oldest = self.by_key.iter().min_by_key(|(_, standing)| standing.last.window.end_ms);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.by_key.remove(&key);
        }
    }
}
