//! What the service says of itself: stages, requests, series, disk, and what it was told to watch.

use super::{Metric, SHORT, Unit, counter, gauge};

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
/// How many series a metric has.
pub const SERIES: Metric = gauge("driftline_series", &["metric"], "Series that the metric has now.");
/// How many series a metric may have.
pub const SERIES_LIMIT: Metric = gauge(
    "driftline_series_limit",
    &["metric", "of"],
    "Series that the metric may have: of each model, or of the process where it names no model.",
);
/// How many models are configured.
pub const MODELS: Metric = gauge("driftline_models", &[], "Models that are configured.");
/// How long windows are.
pub const MODEL_WINDOW: Metric = gauge(
    "driftline_model_window_seconds",
    &["model"],
    "Length of the model's windows; every model that is configured has it.",
)
.of(Unit::Seconds);
/// How far windows are apart.
pub const MODEL_HOP: Metric =
    gauge("driftline_model_hop_seconds", &["model"], "Time from the end of one of the model's windows to the next.")
        .of(Unit::Seconds);
/// How long labels are waited for.
pub const MODEL_LABELS_MATURE: Metric = gauge(
    "driftline_model_labels_mature_seconds",
    &["model"],
    "Time after a window's end at which its quality is judged for good; absent where the model has no labels.",
)
.of(Unit::Seconds);
/// Bytes on disk.
pub const DISK_USED: Metric = gauge(
    "driftline_disk_used_bytes",
    &["part"],
    "Bytes that a part has on disk: log, labels, trainings, and artifacts with the archive where they are in a folder.",
)
.of(Unit::Bytes);
/// Bytes that are free.
pub const DISK_FREE: Metric =
    gauge("driftline_disk_free_bytes", &["part"], "Bytes that are free on the disk that a part is on.").of(Unit::Bytes);
