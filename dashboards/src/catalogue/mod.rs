//! Every metric that Driftline exports: its name, type, unit, labels and help, in one table.
//!
//! Names follow Prometheus' habit: `driftline_` before (but `kafka_consumer_` and `process_` where everyone has the same), the
//! unit in the name, `_total` behind a counter. What is unknown has no series; it is never shown as −1 or 0. A `segment` label
//! reads `dimension=value`, or `all` for all of the traffic. On a log that several processes share each of them shows every verdict, so rules and panels
//! take the maximum over instances.
//!
//! The exporter builds its registry from [`CATALOGUE`] alone, so a metric that is not listed here does not exist. Each is in a
//! rule or a panel, or says why not.

mod capture;
mod process;
mod retraining;
mod service;
mod verdicts;

pub use capture::*;
pub use process::*;
pub use retraining::*;
pub use service::*;
pub use verdicts::*;

/// What a metric measures over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations below each of these upper bounds.
    Histogram(&'static [f64]),
}

/// What a metric is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things that the name says.
    Count,
    /// Seconds; of a timestamp, since the epoch.
    Seconds,
    /// A part of a whole, or a multiple of a threshold.
    Ratio,
    /// Bytes.
    Bytes,
    /// The unit of the statistic that the labels name.
    Statistic,
    /// Always 1: the labels carry what there is to say.
    Info,
}

/// One family of series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name on the metrics page.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What its values are counted in.
    pub unit: Unit,
    /// Names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Why no rule and no panel reads it; `None` where one does.
    pub unshown: Option<&'static str>,
}

/// Milliseconds to a minute: one epoch, one request.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, help, unshown: None }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, labels, help, unshown: None }
}

impl Metric {
    const fn of(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    const fn unshown(self, why: &'static str) -> Self {
        Self { unshown: Some(why), ..self }
    }

    /// Whether its first label names a model, so that each model has room of its own.
    pub fn is_of_models(&self) -> bool {
        matches!(self.labels, ["model", ..])
    }

    const fn spread_over(self, bounds: &'static [f64]) -> Self {
        Self { kind: Kind::Histogram(bounds), unit: Unit::Seconds, ..self }
    }
}

/// Every metric there is.
pub const CATALOGUE: &[Metric] = &[
    DRIFT_STATE,
    DRIFT_SINCE,
    LAST_DRIFT,
    WINDOW_JUDGED,
    WINDOW_UNJUDGED,
    LAST_JUDGED,
    WINDOW_ROWS,
    WINDOW_END,
    NEXT_WINDOW_DUE,
    WINDOWS_WITHOUT_VERDICT,
    EXCEEDED_TESTS,
    DRIFT_SCORE,
    DRIFT_THRESHOLD,
    DRIFT_P_VALUE,
    DRIFT_SCORE_RATIO,
    CONTRIBUTION,
    MOVED,
    QUALITY,
    QUALITY_STANDARD_ERROR,
    QUALITY_BASELINE,
    LABEL_COVERAGE,
    VERDICTS,
    EVENTS,
    LATE_EVENTS,
    FUTURE_EVENTS,
    DUPLICATE_EVENTS,
    MISPLACED_EVENTS,
    UNKNOWN_FEATURES,
    OTHER_VERSIONS,
    UNKNOWN_PREDICTIONS,
    UNKNOWN_LABELS,
    DEAD_LETTERS,
    LABELS_MATCHED,
    LABELS_REPLACED,
    LABELS_EXPIRED,
    LABELS_ORPHANED,
    LAST_EVENT,
    LAST_LABEL,
    WATERMARK,
    WATERMARK_BEHIND,
    RETRAIN_REQUESTS,
    RETRAIN_STATE,
    RETRAIN_REFUSALS,
    EPISODES,
    EPISODE_ROWS,
    EPISODE_NEEDED_ROWS,
    EPISODE_LOSS,
    EPISODE_TARGET_LOSS,
    TRAININGS,
    REJECTIONS,
    PROMOTIONS,
    ROLLBACKS,
    PUBLICATIONS,
    MODEL_INFO,
    CHAMPION_SINCE,
    REFERENCE_LEARNED,
    LAST_TRAINING,
    EPISODE_OPENED,
    BUILD_INFO,
    STAGE_UP,
    STAGE_RESTARTS,
    STAGE_ENDED,
    STAGE_REBALANCES,
    STAGE_LAG,
    STAGE_LAG_SECONDS,
    KAFKA_CONSUMER_LAG,
    KAFKA_CONSUMER_LAG_SECONDS,
    STAGE_EPOCHS,
    STAGE_EPOCH_DURATION,
    STAGE_TRANSACTION_DURATION,
    STAGE_ABORTED,
    INTAKE_ACCEPTED,
    INTAKE_REJECTED,
    HTTP_REQUESTS,
    HTTP_DURATION,
    HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CUT,
    HTTP_REFUSED,
    SERIES_CAPPED,
    SERIES,
    SERIES_LIMIT,
    MODELS,
    MODEL_WINDOW,
    MODEL_HOP,
    MODEL_LABELS_MATURE,
    DISK_USED,
    DISK_FREE,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FILES,
    PROCESS_MOST_FILES,
    PROCESS_STARTED,
    PROCESS_THREADS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn is_lower_snake(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    #[test]
    fn names_are_unique_and_follow_prometheus_habit() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), CATALOGUE.len(), "a name is used twice");
        for metric in CATALOGUE {
            // Those that people know under another name already have it.
            let prefixes = ["driftline_", "kafka_consumer_", "process_"];
            let is_own = prefixes.iter().any(|prefix| metric.name.starts_with(prefix));
            assert!(is_own && is_lower_snake(metric.name), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.labels.iter().all(|label| is_lower_snake(label) && *label != "le"), "{}", metric.name);
            assert!(metric.help.ends_with('.') && metric.help.len() > 3, "{}", metric.name);
        }
    }

    #[test]
    fn a_unit_stands_at_the_end_of_the_name() {
        for metric in CATALOGUE {
            let name = metric.name.trim_end_matches("_total");
            assert_eq!(metric.unit == Unit::Seconds, name.ends_with("_seconds"), "{}", metric.name);
            assert_eq!(metric.unit == Unit::Bytes, name.ends_with("_bytes"), "{}", metric.name);
            assert_eq!(metric.unit == Unit::Ratio, metric.name.ends_with("_ratio"), "{}", metric.name);
            assert_eq!(metric.unit == Unit::Info, metric.name.ends_with("_info"), "{}", metric.name);
        }
    }

    #[test]
    fn histogram_bounds_ascend() {
        for metric in CATALOGUE {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
