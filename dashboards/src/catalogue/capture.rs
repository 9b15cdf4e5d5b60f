//! What capture counts: rows, labels and dead letters, and how far event time has come.

use super::{Metric, Unit, counter, gauge};

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
/// When rows came last.
pub const LAST_EVENT: Metric = gauge(
    "driftline_last_event_timestamp_seconds",
    &["model"],
    "When capture last took rows of the model, by the log's clock.",
)
.of(Unit::Seconds);
/// When labels came last.
pub const LAST_LABEL: Metric = gauge(
    "driftline_last_label_timestamp_seconds",
    &["model"],
    "When a prediction of the model last got its label, by the log's clock.",
)
.of(Unit::Seconds);
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
