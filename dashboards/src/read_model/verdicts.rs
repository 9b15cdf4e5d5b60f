//! The last verdicts of one model, and the windows they judge.

use detectors::verdict::{Estimate, Finality, Monitor, Segment, Severity, Verdict};
use detectors::windows::Window;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Which windows of a model are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowQuery {
    /// The most to return.
    pub limit: usize,
    /// `dimension=value`, or `all` for all of the traffic; `None` for every segment.
    pub segment: Option<String>,
    /// Name of a monitor; `None` for every one.
    pub monitor: Option<String>,
}

/// Which windows follow one another in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course<'a> {
    /// The slice; `None` for all of the traffic.
    pub segment: Option<&'a Segment>,
    /// The monitor.
    pub monitor: &'a Monitor,
    /// Windows that ended later are left out.
    pub until_ms: i64,
    /// The most windows, the latest.
    pub limit: usize,
}

impl Course<'_> {
    fn has(&self, verdict: &Verdict) -> bool {
        verdict.finality == Finality::Final
            && verdict.segment.as_ref() == self.segment
            && verdict.monitor == *self.monitor
            && verdict.window.end_ms <= self.until_ms
    }
}

/// A judged window in brief; its verdict has the tests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowView {
    /// The event time it covers.
    pub window: Window,
    /// The version whose rows were judged.
    pub version: String,
    /// The slice judged, as `dimension=value`, or `all`.
    pub segment: String,
    /// Name of the monitor.
    pub monitor: String,
    /// What it amounts to.
    pub severity: Severity,
    /// Whether a later verdict may replace it.
    pub finality: Finality,
    /// Rows in the window.
    pub rows: i64,
    /// Rows with a label, where labels matter.
    pub labelled: Option<i64>,
    /// `column:test` of each test that passed its threshold.
    pub exceeded: Vec<String>,
    /// Every metric of quality by name.
    pub metrics: BTreeMap<String, Estimate>,
    /// A sentence for people.
    pub summary: String,
    /// Id of the verdict.
    pub verdict: String,
}

impl WindowView {
    /// The brief form of a verdict.
    pub fn of(verdict: &Verdict) -> Self {
        let exceeded = verdict.tests.iter().filter(|test| test.exceeded);
        Self {
            window: verdict.window,
            version: verdict.version.clone(),
            segment: segment_name(verdict.segment.as_ref()),
            monitor: verdict.monitor.name().to_owned(),
            severity: verdict.severity.clone(),
            finality: verdict.finality,
            rows: verdict.rows,
            labelled: verdict.labelled,
            exceeded: exceeded.map(|test| format!("{}:{}", test.subject, test.test)).collect(),
            metrics: verdict.metrics.clone(),
            summary: verdict.summary.clone(),
            verdict: verdict.id.clone(),
        }
    }
}

/// How a slice is named in metrics and the API: `dimension=value`, or `all`, which has no `=` and so is no slice's name.
pub(crate) fn segment_name(segment: Option<&Segment>) -> String {
    segment.map_or_else(|| "all".to_owned(), |segment| format!("{}={}", segment.dimension, segment.value))
}

/// Verdicts in the order of their arrival, each id once.
#[derive(Debug, Clone, Default)]
pub(super) struct VerdictRing {
    by_arrival: BTreeMap<u64, Arc<Verdict>>,
    arrivals: HashMap<String, u64>,
}

impl VerdictRing {
    /// Adds a verdict, in place of an earlier one with its id, and drops the oldest beyond `most`. Says whether it was added.
    pub(super) fn insert(&mut self, arrival: u64, verdict: Arc<Verdict>, most: usize) -> bool {
        let is_judged = self.get(&verdict.id).is_some_and(|earlier| earlier.finality == Finality::Final);
        if is_judged && verdict.finality == Finality::Provisional {
            return false;
        }
        if let Some(earlier) = self.arrivals.insert(verdict.id.clone(), arrival) {
            self.by_arrival.remove(&earlier);
        }
        self.by_arrival.insert(arrival, verdict);
        while self.by_arrival.len() > most.max(1) {
            let Some((_, oldest)) = self.by_arrival.pop_first() else { break };
            self.arrivals.remove(&oldest.id);
        }
        true
    }

    pub(super) fn get(&self, id: &str) -> Option<&Arc<Verdict>> {
        self.by_arrival.get(self.arrivals.get(id)?)
    }

    /// Verdicts with the number of their arrival, the last first.
    pub(super) fn newest(&self) -> impl Iterator<Item = (u64, &Arc<Verdict>)> {
        self.by_arrival.iter().rev().map(|(arrival, verdict)| (*arrival, verdict))
    }

    pub(super) fn last_final(&self) -> Option<&Arc<Verdict>> {
        self.newest().map(|(_, verdict)| verdict).find(|verdict| verdict.finality == Finality::Final)
    }

    pub(super) fn course(&self, course: &Course<'_>) -> Vec<Arc<Verdict>> {
        let wanted = self.newest().map(|(_, verdict)| verdict).filter(|verdict| course.has(verdict));
        let mut found: Vec<_> = wanted.map(Arc::clone).collect();
        found.sort_by_key(|verdict| Reverse((verdict.window.end_ms, verdict.window.start_ms)));
        found.truncate(course.limit);
        found.reverse();
        found
    }

    pub(super) fn beside(&self, verdict: &Verdict) -> Vec<Arc<Verdict>> {
        let is_beside = |other: &&Arc<Verdict>| {
            other.window == verdict.window && other.version == verdict.version && other.id != verdict.id
        };
        self.newest().map(|(_, verdict)| verdict).filter(is_beside).map(Arc::clone).collect()
    }

    pub(super) fn windows(&self, query: &WindowQuery) -> Vec<WindowView> {
        let mut found: Vec<_> =
            self.newest().map(|(_, verdict)| verdict).filter(|verdict| query.wants(verdict)).collect();
        // Stable: of windows with the same span, the last to arrive stays first.
        found.sort_by_key(|verdict| Reverse((verdict.window.end_ms, verdict.window.start_ms)));
        found.into_iter().take(query.limit).map(|verdict| WindowView::of(verdict)).collect()
    }
}

impl WindowQuery {
    fn wants(&self, verdict: &Verdict) -> bool {
        let segment = self.segment.as_ref().is_none_or(|wanted| *wanted == segment_name(verdict.segment.as_ref()));
        let monitor = self.monitor.as_ref().is_none_or(|wanted| wanted == verdict.monitor.name());
        segment && monitor
    }
}
