//! How fresh what is known of each model is: when rows, labels and judgements came last, when the next window is due, and how
//! many windows event time has passed without a verdict.
//!
//! Ages are by the log's clock, because only that one goes on where nothing comes; what is due is told in event time.

use super::facts::ModelFacts;
use crate::catalogue::{LAST_EVENT, LAST_JUDGED, LAST_LABEL, Metric, NEXT_WINDOW_DUE, WINDOWS_WITHOUT_VERDICT};
use crate::exporter::Exporter;
use crate::read_model::CapturedRows;
use detectors::verdict::{Monitor, Severity, Verdict};
use detectors::windows::floor_to;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Every metric set here.
const ALL: [&Metric; 5] = [&LAST_EVENT, &LAST_LABEL, &LAST_JUDGED, &NEXT_WINDOW_DUE, &WINDOWS_WITHOUT_VERDICT];

/// Where an input partition of inferences stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Number of the partition.
    pub partition: u32,
    /// Event time before which a row is late.
    pub watermark_ms: i64,
    /// Whether it has been read to its end for so long that windows do not wait for it.
    pub is_idle: bool,
}

/// How fresh what is known of each model is.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    models: HashMap<String, Watched>,
    partitions: BTreeMap<u32, Standing>,
}

#[derive(Debug)]
struct Watched {
    facts: ModelFacts,
    /// The end of the newest window that has a verdict on drift; before there is one, of the last before the first event.
    judged_ms: Option<i64>,
}

impl Freshness {
    pub(super) fn of(models: &[ModelFacts]) -> Self {
        let watched = |facts: &ModelFacts| (facts.name.clone(), Watched { facts: facts.clone(), judged_ms: None });
        Self { models: models.iter().map(watched).collect(), partitions: BTreeMap::new() }
    }

    /// Rows were captured, of which the log was told at this time.
    pub(super) fn captured(model: &str, rows: CapturedRows, told_ms: i64, exporter: &Exporter) {
        if rows.rows > 0 {
            exporter.set(&LAST_EVENT, &[model], seconds(told_ms));
        }
        if rows.labelled > 0 {
            exporter.set(&LAST_LABEL, &[model], seconds(told_ms));
        }
    }

    /// A partition of inferences stands here.
    pub(super) fn stands(&mut self, standing: Standing) {
        self.partitions.insert(standing.partition, standing);
    }

    /// A window of all traffic has its final verdict, of which the log was told at this time.
    pub(super) fn judged(&mut self, verdict: &Verdict, told_ms: i64, exporter: &Exporter) {
        let (model, monitor) = (verdict.model.as_str(), verdict.monitor.name());
        if !matches!(verdict.severity, Severity::Learning | Severity::Inconclusive(_)) {
            exporter.set(&LAST_JUDGED, &[model, monitor], seconds(told_ms));
        }
        let Some(watched) = self.models.get_mut(model) else { return };
        let end_ms = verdict.window.end_ms;
        if verdict.monitor == Monitor::Drift {
            watched.judged_ms = watched.judged_ms.max(Some(end_ms));
        }
        let waits = match verdict.monitor {
            Monitor::Quality => watched.facts.labels_mature.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let due_ms = end_ms + millis(watched.facts.hop) + millis(watched.facts.disorder) + millis(waits);
        exporter.set(&NEXT_WINDOW_DUE, &[model, monitor], seconds(due_ms));
    }

    /// Shows how many windows of each model event time has passed, once there is nothing more to be read.
    pub(super) fn settle(&mut self, exporter: &Exporter) {
        let Some(now_ms) = self.event_time_ms() else { return };
        for (model, Watched { facts, judged_ms }) in &mut self.models {
            let hop_ms = millis(facts.hop).max(1);
            let judged_ms = *judged_ms.get_or_insert_with(|| floor_to(now_ms, hop_ms));
            let passed = (now_ms - judged_ms).max(0) / hop_ms;
            exporter.set(&WINDOWS_WITHOUT_VERDICT, &[model], passed as f64);
        }
    }

    /// The least watermark of the partitions that windows wait for, or the greatest where they wait for none.
    fn event_time_ms(&self) -> Option<i64> {
        let busy = self.partitions.values().filter(|standing| !standing.is_idle);
        let least = busy.map(|standing| standing.watermark_ms).min();
        least.or_else(|| self.partitions.values().map(|standing| standing.watermark_ms).max())
    }
}

/// Ends every series that is set here.
pub(super) fn clear(exporter: &Exporter) {
    ALL.iter().for_each(|metric| exporter.remove_where(metric, |_| true));
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}
