//! Every metric that Driftline exports: its name, type, unit, labels and help, in one table.
//!
//! Names follow Prometheus' habit: `driftline_` before (and `kafka_consumer_` where every Kafka has the same), the unit in
//! the name, `_total` behind a counter. What is unknown has no series; it is never shown as −1 or 0. A `segment` label reads `dimension=value`, or `all` for all of the traffic.
//!
//! The exporter builds its registry from [`CATALOGUE`] alone, so a metric that is not listed here does not exist.

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
    /// A share between 0 and 1.
    Ratio,
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
}

/// Milliseconds to a minute: one epoch, one request.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A second to a month: how long labels take.
const LONG: &[f64] = &[1.0, 10.0, 60.0, 600.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];

const TEST_LABELS: &[&str] = &["model", "version", "segment", "column", "test"];
const WINDOW_LABELS: &[&str] = &["model", "version", "segment", "monitor"];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: Unit::Count, labels, help }
}

impl Metric {
    const fn of(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    const fn spread_over(self, bounds: &'static [f64]) -> Self {
        Self { kind: Kind::Histogram(bounds), unit: Unit::Seconds, ..self }
    }
}

// Verdicts.

/// Scores of the newest final verdict.
pub const DRIFT_SCORE: Metric = gauge(
    "driftline_drift_score",
    TEST_LABELS,
    "Statistic of a test in the newest final window; column names a column or a quality metric.",
)
.of(Unit::Statistic);
/// Thresholds of the newest final verdict.
pub const DRIFT_THRESHOLD: Metric = gauge(
    "driftline_drift_threshold",
    TEST_LABELS,
    "Value beyond which the test of the same labels counts as exceeded.",
)
.of(Unit::Statistic);
/// P-values of the newest final verdict.
pub const DRIFT_P_VALUE: Metric = gauge(
    "driftline_drift_p_value",
    TEST_LABELS,
    "Probability of so large a score without drift; absent where the test has none.",
)
.of(Unit::Statistic);
/// Severity of the newest final verdict.
pub const WINDOW_SEVERITY: Metric = gauge(
    "driftline_window_severity",
    WINDOW_LABELS,
    "Severity of the newest final window: 0 learning, 1 stable, 2 warning, 3 drift, 4 inconclusive.",
);
/// Rows of the newest final verdict.
pub const WINDOW_ROWS: Metric = gauge("driftline_window_rows", WINDOW_LABELS, "Rows in the newest final window.");
/// Window end of the newest final verdict.
pub const WINDOW_END: Metric =
    gauge("driftline_window_end_timestamp_seconds", WINDOW_LABELS, "End of the newest final window in event time.")
        .of(Unit::Seconds);
/// Quality by metric.
pub const QUALITY: Metric = gauge(
    "driftline_quality",
    &["model", "version", "segment", "metric", "finality"],
    "Quality on labelled rows of the newest window; provisional figures cause nothing.",
)
.of(Unit::Statistic);
/// Share of rows with a label.
pub const LABEL_COVERAGE: Metric = gauge(
    "driftline_label_coverage_ratio",
    &["model", "version", "segment", "finality"],
    "Share of the newest window's rows that have a label.",
)
.of(Unit::Ratio);
/// Final verdicts by severity.
pub const VERDICTS: Metric = counter(
    "driftline_verdicts_total",
    &["model", "monitor", "severity"],
    "Final verdicts read from the log, by severity.",
);

// Capture.

/// Rows captured.
pub const EVENTS: Metric =
    counter("driftline_events_total", &["model"], "Good rows captured, whatever became of them.");
/// Rows behind the watermark.
pub const LATE_EVENTS: Metric = counter(
    "driftline_late_events_total",
    &["model"],
    "Captured rows behind the watermark: archived, but in no window.",
);
/// Rows ahead of the log's clock.
pub const FUTURE_EVENTS: Metric = counter(
    "driftline_future_events_total",
    &["model"],
    "Captured rows ahead of the log's clock by more than the allowed disorder.",
);
/// Rows whose id had been seen.
pub const DUPLICATE_EVENTS: Metric = counter(
    "driftline_duplicate_events_total",
    &["model"],
    "Captured rows with an id that had been seen: counted once.",
);
/// Rows in the wrong partition.
pub const MISPLACED_EVENTS: Metric = counter(
    "driftline_misplaced_events_total",
    &["model"],
    "Captured rows in a partition that their id does not belong to.",
);
/// Values of features that no one watches.
pub const UNKNOWN_FEATURES: Metric = counter(
    "driftline_unknown_features_total",
    &["model"],
    "Values of features that the model does not have: ignored.",
);
/// Rows of versions that are not told apart.
pub const OTHER_VERSIONS: Metric = counter(
    "driftline_other_versions_total",
    &["model"],
    "Captured rows of more versions than are told apart at a time: counted under version other.",
);
/// Predictions of no class.
pub const UNKNOWN_PREDICTIONS: Metric = counter(
    "driftline_unknown_predictions_total",
    &["model"],
    "Predictions that are none of the model's classes: in no figure of quality.",
);
/// Labels of no class.
pub const UNKNOWN_LABELS: Metric = counter(
    "driftline_unknown_labels_total",
    &["model"],
    "Labels that are none of the model's classes: in no figure of quality.",
);
/// Dead letters.
pub const DEAD_LETTERS: Metric = counter(
    "driftline_dead_letters_total",
    &["topic", "reason"],
    "Records or rows sent to the topic's dead-letter topic.",
);
/// Predictions with a label.
pub const LABELS_MATCHED: Metric =
    counter("driftline_labels_matched_total", &["model"], "Predictions that got a label.");
/// Labels that replaced another.
pub const LABELS_REPLACED: Metric =
    counter("driftline_labels_replaced_total", &["model"], "Labels that replaced an earlier one of the same id.");
/// Predictions past the horizon.
pub const LABELS_EXPIRED: Metric =
    counter("driftline_labels_expired_total", &["model"], "Predictions that passed the label horizon without a label.");
/// Labels without a prediction.
pub const LABELS_ORPHANED: Metric =
    counter("driftline_labels_orphaned_total", &["model"], "Labels whose prediction never came.");
/// How long labels take.
pub const LABEL_DELAY: Metric =
    gauge("driftline_label_delay_seconds", &["model"], "Event time between a prediction and its label.")
        .spread_over(LONG);
/// How far event time has come.
pub const WATERMARK: Metric =
    gauge("driftline_watermark_timestamp_seconds", &["topic", "partition"], "Event time before which a row is late.")
        .of(Unit::Seconds);
/// How far a partition is behind the others.
pub const WATERMARK_BEHIND: Metric = gauge(
    "driftline_watermark_behind_seconds",
    &["topic", "partition"],
    "Event time from the partition's watermark to the furthest of those that are not idle; windows wait for the slowest.",
)
.of(Unit::Seconds);

// Retraining and the registry.

/// Retrain requests.
pub const RETRAIN_REQUESTS: Metric =
    counter("driftline_retrain_requests_total", &["model", "cause"], "Retrain requests, by what caused them.");
/// Where a model's retraining stands.
pub const RETRAIN_STATE: Metric = gauge(
    "driftline_retrain_state",
    &["model", "state"],
    "1 for the state that the model's retraining is in, 0 for the others: idle, requested, waiting, training, trial.",
);
/// Causes that led to no request.
pub const RETRAIN_REFUSALS: Metric =
    counter("driftline_retrain_refusals_total", &["model", "why"], "Causes that led to no retrain request, by why.");
/// Episodes by outcome.
pub const EPISODES: Metric = counter(
    "driftline_episodes_total",
    &["model", "outcome"],
    "Episodes that have ended, by outcome: recovered, no_better_model, given_up, abandoned.",
);
/// Rows since the change.
pub const EPISODE_ROWS: Metric = gauge(
    "driftline_episode_labelled_rows",
    &["model"],
    "Labelled rows since the change that the episode under way goes by.",
);
/// Rows that the next training needs.
pub const EPISODE_NEEDED_ROWS: Metric = gauge(
    "driftline_episode_needed_rows",
    &["model"],
    "Labelled rows since the change that the next training of the episode under way needs.",
);
/// The champion's loss within the episode.
pub const EPISODE_LOSS: Metric = gauge(
    "driftline_episode_loss",
    &["model"],
    "Mean loss of the champion on its rows in the episode under way: the share of wrong classes, or of the largest error.",
);
/// The loss that is aimed at.
pub const EPISODE_TARGET_LOSS: Metric =
    gauge("driftline_episode_target_loss", &["model"], "Mean loss that the episode under way aims at.");
/// Trainings by outcome.
pub const TRAININGS: Metric =
    counter("driftline_trainings_total", &["model", "outcome"], "Trainings by outcome: attempted, trained, failed.");
/// Challengers that lost.
pub const REJECTIONS: Metric =
    counter("driftline_rejections_total", &["model"], "Challengers that lost their trial or passed its deadline.");
/// Promotions by right.
pub const PROMOTIONS: Metric = counter(
    "driftline_promotions_total",
    &["model", "by"],
    "Promotions by their right: first_version, trial, override.",
);
/// Roll-backs.
pub const ROLLBACKS: Metric =
    counter("driftline_rollbacks_total", &["model"], "Times the champion went back to an earlier version.");
/// Publications of champions.
pub const PUBLICATIONS: Metric = counter(
    "driftline_publications_total",
    &["model", "outcome"],
    "Times the champion was put into the repository of a model server, or could not be: published, failed.",
);
/// Which version has which role.
pub const MODEL_INFO: Metric =
    gauge("driftline_model_info", &["model", "version", "role"], "1 for the version that is champion or challenger.")
        .of(Unit::Info);

// The service itself.

/// The build.
pub const BUILD_INFO: Metric =
    gauge("driftline_build_info", &["version", "revision"], "1, with the version and source revision that run.")
        .of(Unit::Info);
/// Whether a stage runs.
pub const STAGE_UP: Metric =
    gauge("driftline_stage_up", &["stage"], "1 while the stage runs, 0 while it is down or being rebuilt.");
/// Rebuilds of a stage.
pub const STAGE_RESTARTS: Metric = counter(
    "driftline_stage_restarts_total",
    &["stage", "cause"],
    "Times the stage was rebuilt from the log after an error of its own, of the log, or because another took it over.",
);
/// Stages that are not rebuilt any more.
pub const STAGE_ENDED: Metric = counter(
    "driftline_stage_ended_total",
    &["stage", "cause"],
    "Times the stage, or its runner of a partition, failed for good: it does nothing until driftline is started again.",
);
/// Changes of which partitions a process has.
pub const STAGE_REBALANCES: Metric =
    counter("driftline_stage_rebalances_total", &["stage"], "Times partitions of the stage came to this process.");
/// How far a stage is behind.
pub const STAGE_LAG: Metric = gauge(
    "driftline_stage_lag_records",
    &["stage", "topic", "partition"],
    "Offsets between what the stage has read and the end of its input.",
);
/// How long ago the log took what a stage read last.
pub const STAGE_LAG_SECONDS: Metric = gauge(
    "driftline_stage_lag_seconds",
    &["stage", "topic", "partition"],
    "Age of the record that the stage read last, by the log's clock; 0 where there is nothing to read.",
)
.of(Unit::Seconds);
/// As [`STAGE_LAG`], as those who watch a Kafka name it.
pub const KAFKA_CONSUMER_LAG: Metric = gauge(
    "kafka_consumer_lag",
    &["group", "topic", "partition"],
    "Offsets between what a group of this process has read and the end of the partition, on Kafka.",
);
/// As [`STAGE_LAG_SECONDS`], as those who watch a Kafka name it.
pub const KAFKA_CONSUMER_LAG_SECONDS: Metric = gauge(
    "kafka_consumer_lag_seconds",
    &["group", "topic", "partition"],
    "Age of the record that a group of this process read last, on Kafka; 0 where there is nothing to read.",
)
.of(Unit::Seconds);
/// Epochs committed.
pub const STAGE_EPOCHS: Metric = counter("driftline_stage_epochs_total", &["stage"], "Epochs committed by the stage.");
/// How long epochs take.
pub const STAGE_EPOCH_DURATION: Metric =
    gauge("driftline_stage_epoch_duration_seconds", &["stage"], "Time from an epoch's first record to its commit.")
        .spread_over(SHORT);
/// How long transactions take.
pub const STAGE_TRANSACTION_DURATION: Metric = gauge(
    "driftline_stage_transaction_duration_seconds",
    &["stage"],
    "Time from handing an epoch to the log until it is durable.",
)
.spread_over(SHORT);
/// Transactions that were called off.
pub const STAGE_ABORTED: Metric = counter(
    "driftline_stage_aborted_transactions_total",
    &["stage"],
    "Transactions of the stage that were called off or whose outcome the log did not tell.",
);
/// Rows that the HTTP intake took.
pub const INTAKE_ACCEPTED: Metric =
    counter("driftline_intake_accepted_total", &["kind"], "Rows that came over HTTP and are durable, by kind.");
/// Rows that the HTTP intake refused.
pub const INTAKE_REJECTED: Metric = counter(
    "driftline_intake_rejected_total",
    &["kind", "reason"],
    "Rows that came over HTTP and were refused, by reason.",
);
/// Requests answered.
pub const HTTP_REQUESTS: Metric =
    counter("driftline_http_requests_total", &["route", "method", "code"], "HTTP requests answered.");
/// How long requests take.
pub const HTTP_DURATION: Metric =
    gauge("driftline_http_request_duration_seconds", &["route"], "Time to answer an HTTP request.").spread_over(SHORT);
/// Connections of the HTTP API.
pub const HTTP_CONNECTIONS: Metric = gauge("driftline_http_connections", &[], "Open connections of the HTTP API.");
/// Connections that were closed from this side.
pub const HTTP_CONNECTIONS_CUT: Metric = counter(
    "driftline_http_connections_cut_total",
    &["reason"],
    "HTTP connections that were closed because they took too long, left an answer unread, or had to give way to others.",
);
/// Requests that were refused before any handler.
pub const HTTP_REFUSED: Metric = counter(
    "driftline_http_refused_total",
    &["reason"],
    "HTTP requests that were refused before any handler: of another site, without a token, or without the role.",
);
/// Updates for which a family had no room.
pub const SERIES_CAPPED: Metric = counter(
    "driftline_series_capped_total",
    &["metric"],
    "Updates that found the family at its most series: a gauge's was dropped, a counter's went to the series labelled other.",
);

/// Every metric there is.
pub const CATALOGUE: &[Metric] = &[
    DRIFT_SCORE,
    DRIFT_THRESHOLD,
    DRIFT_P_VALUE,
    WINDOW_SEVERITY,
    WINDOW_ROWS,
    WINDOW_END,
    QUALITY,
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
    LABEL_DELAY,
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
            let is_own = metric.name.starts_with("driftline_") || metric.name.starts_with("kafka_consumer_");
            assert!(is_own && is_lower_snake(metric.name), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.labels.iter().all(|label| is_lower_snake(label) && *label != "le"), "{}", metric.name);
            assert!(metric.help.ends_with('.') && metric.help.len() > 3, "{}", metric.name);
        }
    }

    #[test]
    fn a_unit_stands_at_the_end_of_the_name() {
        for metric in CATALOGUE {
            assert_eq!(metric.unit == Unit::Seconds, metric.name.ends_with("_seconds"), "{}", metric.name);
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
