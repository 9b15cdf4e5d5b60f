//! What windows came to. Series by worth: of all of a version's traffic always, of a slice while it is not as it was, and of
//! single tests those that are past their thresholds and the nearest to them.

use super::{Metric, Unit, counter, gauge};

const TEST_LABELS: &[&str] = &["model", "version", "segment", "monitor", "kind", "column", "test"];
const WINDOW_LABELS: &[&str] = &["model", "version", "segment", "monitor"];
const METRIC_LABELS: &[&str] = &["model", "version", "segment", "metric"];

/// The state that drift monitors hold.
pub const DRIFT_STATE: Metric = gauge(
    "driftline_drift_state",
    &["model", "version", "segment", "monitor", "state"],
    "1 for what the last window that could be judged came to, 0 for the others: stable, warning, drift. A window that cannot be judged changes nothing. Segments have it while they are not stable.",
);
/// Since when it drifts.
pub const DRIFT_SINCE: Metric = gauge(
    "driftline_drift_since_timestamp_seconds",
    WINDOW_LABELS,
    "When the drift under way was first judged, by the log's clock; absent while there is none.",
)
.of(Unit::Seconds);
/// When it drifted last.
pub const LAST_DRIFT: Metric = gauge(
    "driftline_last_drift_timestamp_seconds",
    WINDOW_LABELS,
    "When a window was last judged to be drift, by the log's clock; it stays when the drift is over.",
)
.of(Unit::Seconds);
/// Whether the newest window could be judged.
pub const WINDOW_JUDGED: Metric = gauge(
    "driftline_window_judged",
    WINDOW_LABELS,
    "1 where the newest final window could be judged, 0 where it could not. Segments have it while they are not stable.",
);
/// Why it could not.
pub const WINDOW_UNJUDGED: Metric = gauge(
    "driftline_window_unjudged",
    &["model", "version", "segment", "monitor", "why"],
    "1 for why the newest final window of all traffic could not be judged; absent where it could.",
);
/// When a window could be judged last.
pub const LAST_JUDGED: Metric = gauge(
    "driftline_last_judged_timestamp_seconds",
    &["model", "monitor"],
    "When drift or quality of all traffic could last be judged, by the log's clock.",
)
.of(Unit::Seconds);
/// Rows of the newest final verdict.
pub const WINDOW_ROWS: Metric =
    gauge("driftline_window_rows", WINDOW_LABELS, "Rows in the newest final window that the monitor drift looked at.");
/// Window end of the newest final verdict.
pub const WINDOW_END: Metric = gauge(
    "driftline_window_end_timestamp_seconds",
    WINDOW_LABELS,
    "End of the newest final window of all traffic that drift or quality was judged of, in event time.",
)
.of(Unit::Seconds);
/// When the next window can be judged.
pub const NEXT_WINDOW_DUE: Metric = gauge(
    "driftline_next_window_due_timestamp_seconds",
    &["model", "monitor"],
    "Event time at which the window after the newest that was judged is to be judged.",
)
.of(Unit::Seconds);
/// Windows that nothing was said of.
pub const WINDOWS_WITHOUT_VERDICT: Metric = gauge(
    "driftline_windows_without_verdict",
    &["model"],
    "Windows that event time has passed since the last that has a verdict on drift: they had no rows, or are not judged yet.",
);
/// Tests past their thresholds.
pub const EXCEEDED_TESTS: Metric = gauge(
    "driftline_exceeded_tests",
    WINDOW_LABELS,
    "Tests of columns past their thresholds in the newest final window. Segments have it while they are not stable.",
);
/// Scores of the newest final verdict.
pub const DRIFT_SCORE: Metric = gauge(
    "driftline_drift_score",
    TEST_LABELS,
    "Statistic of a test past its threshold in the newest final window; column names a column or a quality metric.",
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
.of(Unit::Statistic)
.unshown("a score is read against its threshold, which keeps the budget of false alarms; a p-value does not");
/// Scores on one scale.
pub const DRIFT_SCORE_RATIO: Metric = gauge(
    "driftline_drift_score_ratio",
    TEST_LABELS,
    "Score over threshold of the tests past it and the nearest to it in the newest final window: above 1 it is past it.",
)
.of(Unit::Ratio);
/// What columns have to do with a drift.
pub const CONTRIBUTION: Metric = gauge(
    "driftline_drift_contribution_ratio",
    &["model", "version", "segment", "column"],
    "Part of all that is unusual in the newest window that the column has; of the first columns, while it drifts.",
)
.of(Unit::Ratio);
/// How far columns have moved.
pub const MOVED: Metric = gauge(
    "driftline_drift_moved_ratio",
    &["model", "version", "segment", "column"],
    "Share of rows that would have to change to make the column what it was; of the first columns, while it drifts.",
)
.of(Unit::Ratio);
/// Quality by metric.
pub const QUALITY: Metric = gauge(
    "driftline_quality",
    &["model", "version", "segment", "metric", "finality"],
    "Quality on labelled rows of the newest window; provisional figures cause nothing. The API has the other metrics.",
)
.of(Unit::Statistic);
/// The standard error of quality.
pub const QUALITY_STANDARD_ERROR: Metric = gauge(
    "driftline_quality_standard_error",
    METRIC_LABELS,
    "Standard error of the final figure of the same labels. Segments have it while they are not stable.",
)
.of(Unit::Statistic);
/// What quality is held against.
pub const QUALITY_BASELINE: Metric = gauge(
    "driftline_quality_baseline",
    METRIC_LABELS,
    "The reference's value of the metric that quality is judged by. Segments have it while they are not stable.",
)
.of(Unit::Statistic);
/// Share of rows with a label.
pub const LABEL_COVERAGE: Metric = gauge(
    "driftline_label_coverage_ratio",
    &["model", "version", "segment", "finality"],
    "Share of the newest window's rows that have a label. Segments have it while they are not stable.",
)
.of(Unit::Ratio);
/// Final verdicts by severity.
pub const VERDICTS: Metric = counter(
    "driftline_verdicts_total",
    &["model", "monitor", "severity"],
    "Final verdicts read from the log, by severity.",
);
