//! What the parts of the service report of themselves: one function for each thing that happens, which counts it and, where
//! a person would want to read of it, logs it.
//!
//! The runner, capture and the HTTP server know nothing of Prometheus; whoever wires them hands their figures to these.

use crate::catalogue::{
    DEAD_LETTERS, DISK_FREE, DISK_USED, DUPLICATE_EVENTS, EVENTS, FUTURE_EVENTS, HTTP_CONNECTIONS,
    HTTP_CONNECTIONS_CUT, HTTP_DURATION, HTTP_REFUSED, HTTP_REQUESTS, INTAKE_ACCEPTED, INTAKE_REJECTED,
    KAFKA_CONSUMER_LAG, KAFKA_CONSUMER_LAG_SECONDS, LABELS_EXPIRED, LABELS_MATCHED, LABELS_ORPHANED, LABELS_REPLACED,
    LATE_EVENTS, MISPLACED_EVENTS, Metric, OTHER_VERSIONS, PUBLICATIONS, STAGE_ABORTED, STAGE_ENDED,
    STAGE_EPOCH_DURATION, STAGE_EPOCHS, STAGE_LAG, STAGE_LAG_SECONDS, STAGE_REBALANCES, STAGE_RESTARTS,
    STAGE_TRANSACTION_DURATION, STAGE_UP, UNKNOWN_FEATURES, UNKNOWN_LABELS, UNKNOWN_PREDICTIONS, WATERMARK,
    WATERMARK_BEHIND,
};
use crate::exporter::Exporter;
use capture::watermark_alignment::Behind;
use codec::decode::Reason;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use streams::error_chain::sentence;
use streams::runner::RestartCause;
use streams::topics;

/// What the HTTP intake takes, as its paths name it.
const INTAKE_KINDS: [&str; 3] = ["events", "labels", "feedback"];

/// One partition of one topic, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionName<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Number of the partition.
    pub partition: u32,
}

/// A group's share in a partition, under the names that a Kafka has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerName<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// Number of the partition.
    pub partition: u32,
}

/// What one stage reports.
#[derive(Clone)]
pub struct StageTelemetry {
    exporter: Arc<Exporter>,
    stage: String,
    /// Whether it has failed for good: what others of its runners commit does not bring it back.
    has_ended: Arc<AtomicBool>,
}

impl StageTelemetry {
    /// Reports under the stage's name.
    pub fn new(exporter: Arc<Exporter>, stage: impl Into<String>) -> Self {
        Self { exporter, stage: stage.into(), has_ended: Arc::default() }
    }

    /// The stage runs.
    pub fn started(&self) {
        tracing::info!(stage = self.stage, "stage runs");
        self.exporter.set(&STAGE_UP, &[&self.stage], 1.0);
        // So that `rate` sees the first of each.
        for cause in [RestartCause::Stage, RestartCause::Log, RestartCause::Displaced] {
            self.exporter.add(&STAGE_RESTARTS, &[&self.stage, cause.name()], 0);
            self.exporter.add(&STAGE_ENDED, &[&self.stage, cause.name()], 0);
        }
        for metric in [&STAGE_EPOCHS, &STAGE_ABORTED, &STAGE_REBALANCES] {
            self.exporter.add(metric, &[&self.stage], 0);
        }
    }

    /// Partitions of the stage have come to this process.
    pub fn rebalanced(&self) {
        self.exporter.add(&STAGE_REBALANCES, &[&self.stage], 1);
    }

    /// The stage ended as it was told to.
    pub fn stopped(&self) {
        tracing::info!(stage = self.stage, "stage stopped");
        self.exporter.set(&STAGE_UP, &[&self.stage], 0.0);
    }

    /// The stage failed and will be rebuilt from the log.
    pub fn failed(&self, cause: &str, error: &(dyn std::error::Error + 'static)) {
        // As text: given as an error, its causes would be listed beside it, and most messages tell them already.
        tracing::error!(
            stage = self.stage,
            cause,
            error = sentence(error),
            "stage failed; its state is rebuilt from the log"
        );
        self.exporter.set(&STAGE_UP, &[&self.stage], 0.0);
        self.exporter.add(&STAGE_RESTARTS, &[&self.stage, cause], 1);
    }

    /// The stage, or its runner of some partitions, failed for good.
    pub fn failed_for_good(&self, cause: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(
            stage = self.stage,
            cause,
            error = sentence(error),
            "stage failed for good: it does nothing more until this is mended and driftline started again"
        );
        self.has_ended.store(true, Ordering::Release);
        self.exporter.set(&STAGE_UP, &[&self.stage], 0.0);
        self.exporter.add(&STAGE_ENDED, &[&self.stage, cause], 1);
    }

    /// An epoch is durable, so long after its first record; its transaction took so long.
    pub fn committed(&self, took: Duration, transaction: Duration) {
        tracing::debug!(stage = self.stage, ?took, "epoch committed");
        if !self.has_ended.load(Ordering::Acquire) {
            // One that failed has come back.
            self.exporter.set(&STAGE_UP, &[&self.stage], 1.0);
        }
        self.exporter.add(&STAGE_EPOCHS, &[&self.stage], 1);
        self.exporter.observe(&STAGE_EPOCH_DURATION, &[&self.stage], took.as_secs_f64());
        self.exporter.observe(&STAGE_TRANSACTION_DURATION, &[&self.stage], transaction.as_secs_f64());
    }

    /// An epoch's transaction was called off.
    pub fn aborted(&self) {
        self.exporter.add(&STAGE_ABORTED, &[&self.stage], 1);
    }

    /// How many offsets lie between what is read and the end of an input, and how old the last that was read is.
    pub fn lag(&self, input: PartitionName<'_>, records: u64, age: Duration) {
        let labels = [self.stage.as_str(), input.topic, &input.partition.to_string()];
        self.exporter.set(&STAGE_LAG, &labels, records as f64);
        self.exporter.set(&STAGE_LAG_SECONDS, &labels, age.as_secs_f64());
    }

    /// The input is not this process' own any more.
    pub fn let_go(&self, input: PartitionName<'_>) {
        let labels = [self.stage.as_str(), input.topic, &input.partition.to_string()];
        self.exporter.remove(&STAGE_LAG, &labels);
        self.exporter.remove(&STAGE_LAG_SECONDS, &labels);
    }

    /// The same of a partition of a Kafka, under the names that it has there.
    pub fn consumer_lag(&self, consumer: ConsumerName<'_>, records: u64, age: Duration) {
        let labels = [consumer.group, consumer.topic, &consumer.partition.to_string()];
        self.exporter.set(&KAFKA_CONSUMER_LAG, &labels, records as f64);
        self.exporter.set(&KAFKA_CONSUMER_LAG_SECONDS, &labels, age.as_secs_f64());
    }

    /// The partition of a Kafka is not this process' own any more.
    pub fn consumer_let_go(&self, consumer: ConsumerName<'_>) {
        let labels = [consumer.group, consumer.topic, &consumer.partition.to_string()];
        self.exporter.remove(&KAFKA_CONSUMER_LAG, &labels);
        self.exporter.remove(&KAFKA_CONSUMER_LAG_SECONDS, &labels);
    }
}

/// How the rows of one model were taken, as capture counts them in its ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// Rows that were good, whatever became of them.
    pub events: u64,
    /// Of those, behind the watermark.
    pub late: u64,
    /// Of those, ahead of the log's clock by more than the allowed disorder.
    pub future: u64,
    /// Of those, with an id that had been seen.
    pub duplicates: u64,
    /// Of those, in a partition that their id does not belong to.
    pub misplaced: u64,
    /// Values of features that the model does not have.
    pub unknown_features: u64,
    /// Rows of versions beyond those that are told apart.
    pub other_versions: u64,
    /// Predictions that are none of the model's classes.
    pub unknown_predictions: u64,
    /// Labels that are none of the model's classes.
    pub unknown_labels: u64,
    /// Predictions that got a label.
    pub matched: u64,
    /// Labels that replaced another.
    pub replaced: u64,
    /// Predictions that passed the label horizon without a label.
    pub expired: u64,
    /// Labels whose prediction never came.
    pub orphaned: u64,
}

/// What capture reports.
#[derive(Clone)]
pub struct CaptureTelemetry {
    exporter: Arc<Exporter>,
}

impl CaptureTelemetry {
    /// Reports to this exporter.
    pub fn new(exporter: Arc<Exporter>) -> Self {
        Self { exporter }
    }

    /// Nothing has become a dead letter yet: so that `rate` sees the first, whatever is wrong with it.
    pub fn begins(&self) {
        for topic in [topics::INFERENCES, topics::LABELS] {
            Reason::ALL.iter().for_each(|reason| self.earlier_dead_letters(topic, reason.name(), 0));
        }
    }

    /// Rows of a model were captured in a committed epoch.
    pub fn captured(&self, model: &str, counts: CaptureCounts) {
        let by_metric: [(&Metric, u64); 13] = [
            (&EVENTS, counts.events),
            (&LATE_EVENTS, counts.late),
            (&FUTURE_EVENTS, counts.future),
            (&DUPLICATE_EVENTS, counts.duplicates),
            (&MISPLACED_EVENTS, counts.misplaced),
            (&UNKNOWN_FEATURES, counts.unknown_features),
            (&OTHER_VERSIONS, counts.other_versions),
            (&UNKNOWN_PREDICTIONS, counts.unknown_predictions),
            (&UNKNOWN_LABELS, counts.unknown_labels),
            (&LABELS_MATCHED, counts.matched),
            (&LABELS_REPLACED, counts.replaced),
            (&LABELS_EXPIRED, counts.expired),
            (&LABELS_ORPHANED, counts.orphaned),
        ];
        for (metric, count) in by_metric.into_iter().filter(|(_, count)| *count > 0) {
            self.exporter.add(metric, &[model], count);
        }
    }

    /// Records or rows of a topic became dead letters.
    pub fn dead_letters(&self, topic: &str, reason: &str, count: u64) {
        tracing::warn!(topic, reason, count, "bad rows sent to the dead-letter topic");
        self.earlier_dead_letters(topic, reason, count);
    }

    /// Dead letters of before this process, which were told of then.
    pub fn earlier_dead_letters(&self, topic: &str, reason: &str, count: u64) {
        self.exporter.add(&DEAD_LETTERS, &[topic, reason], count);
    }

    /// A partition's watermark stands at this event time; `None` before its first event, which shows nothing.
    pub fn watermark(&self, input: PartitionName<'_>, at_ms: Option<i64>) {
        if let Some(at_ms) = at_ms {
            let labels = [input.topic, &input.partition.to_string()];
            self.exporter.set(&WATERMARK, &labels, at_ms as f64 / 1e3);
        }
    }

    /// How far the partitions that are not idle, which are these, are behind the furthest of them.
    pub fn behind(&self, all: &[Behind]) {
        self.exporter.remove_where(&WATERMARK_BEHIND, |labels| {
            !all.iter().any(|one| labels == [one.topic.as_str(), &one.partition.to_string()])
        });
        for Behind { topic, partition, by, .. } in all {
            self.exporter.set(&WATERMARK_BEHIND, &[topic, &partition.to_string()], by.as_secs_f64());
        }
    }

    /// A partition has come to be far behind others.
    pub fn fell_behind(&self, behind: &Behind) {
        let Behind { topic, partition, by, .. } = behind;
        let why = if behind.holds_windows() {
            "windows close later for it: events are old, or a producer's clock is slow"
        } else {
            "the quality of windows is judged later for it: its labels bear the time of something long past"
        };
        tracing::warn!(topic, partition, ?by, "a partition is far behind others in event time: {why}");
    }
}

/// What the publisher of champions reports.
#[derive(Clone)]
pub struct PublisherTelemetry {
    exporter: Arc<Exporter>,
}

impl PublisherTelemetry {
    /// Reports to this exporter.
    pub fn new(exporter: Arc<Exporter>) -> Self {
        Self { exporter }
    }

    /// A version stands where a model server reads it.
    pub fn published(&self, model: &str, version: &str) {
        tracing::info!(model, version, "champion published");
        self.exporter.add(&PUBLICATIONS, &[model, "published"], 1);
        // So that `rate` sees the first failure.
        self.exporter.add(&PUBLICATIONS, &[model, "failed"], 0);
    }

    /// A version could not be published, and is tried again; `error` is `None` where the same was told before.
    pub fn failed(&self, model: &str, version: &str, error: Option<&str>) {
        if let Some(error) = error {
            tracing::error!(
                model,
                version,
                error,
                "the champion cannot be published and is tried again; what was served before is served still"
            );
        }
        self.exporter.add(&PUBLICATIONS, &[model, "failed"], 1);
    }
}

/// What is measured of the disk.
#[derive(Clone)]
pub struct DiskTelemetry {
    exporter: Arc<Exporter>,
}

impl DiskTelemetry {
    /// Reports to this exporter.
    pub fn new(exporter: Arc<Exporter>) -> Self {
        Self { exporter }
    }

    /// A part of what Driftline keeps has so many bytes on disk.
    pub fn used(&self, part: &str, bytes: u64) {
        self.exporter.set(&DISK_USED, &[part], bytes as f64);
    }

    /// So many bytes are free where a part is kept.
    pub fn free(&self, part: &str, bytes: u64) {
        self.exporter.set(&DISK_FREE, &[part], bytes as f64);
    }
}

/// How one HTTP request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// Its number within the process, or the one that the client gave it.
    pub(crate) request: &'a str,
    /// The route's pattern.
    pub(crate) route: &'static str,
    /// The method.
    pub(crate) method: &'static str,
    /// The status code.
    pub(crate) code: u16,
    /// How long it took.
    pub(crate) took: Duration,
}

/// What the HTTP server reports.
#[derive(Clone)]
pub(crate) struct HttpTelemetry {
    exporter: Arc<Exporter>,
}

impl HttpTelemetry {
    /// Reports to this exporter, where nothing was taken or refused yet: so that `rate` sees the first.
    pub(crate) fn new(exporter: Arc<Exporter>) -> Self {
        for kind in INTAKE_KINDS {
            exporter.add(&INTAKE_ACCEPTED, &[kind], 0);
            Reason::ALL.iter().for_each(|reason| exporter.add(&INTAKE_REJECTED, &[kind, reason.name()], 0));
        }
        Self { exporter }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, answer: Answer<'_>) {
        let Answer { request, route, method, code, took } = answer;
        tracing::debug!(request, route, method, code, ?took, "request answered");
        self.exporter.add(&HTTP_REQUESTS, &[route, method, &code.to_string()], 1);
        self.exporter.observe(&HTTP_DURATION, &[route], took.as_secs_f64());
    }

    /// A request was refused before any handler.
    pub(crate) fn refused(&self, why: &str, from: Option<IpAddr>) {
        tracing::debug!(why, ?from, "request refused");
        self.exporter.add(&HTTP_REFUSED, &[why], 1);
    }

    /// So many connections are open.
    pub(crate) fn connections(&self, open: usize) {
        self.exporter.set(&HTTP_CONNECTIONS, &[], open as f64);
    }

    /// A connection was closed from this side.
    pub(crate) fn connection_cut(&self, reason: &str) {
        self.exporter.add(&HTTP_CONNECTIONS_CUT, &[reason], 1);
    }

    /// Rows are durable.
    pub(crate) fn accepted(&self, kind: &str, rows: u64) {
        self.exporter.add(&INTAKE_ACCEPTED, &[kind], rows);
    }

    /// Rows were refused for a reason.
    pub(crate) fn rejected(&self, kind: &str, reason: &str, rows: u64) {
        tracing::debug!(kind, reason, rows, "rows refused");
        self.exporter.add(&INTAKE_REJECTED, &[kind, reason], rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{exporter, values};
    use expect_test::expect;

    #[test]
    fn a_failed_stage_is_down_and_counted() {
        let exporter = exporter();
        let stage = StageTelemetry::new(exporter.clone(), "monitor");
        stage.started();
        stage.committed(Duration::from_millis(250), Duration::from_millis(50));
        let second = Duration::from_secs(1);
        for partition in [0, 1] {
            stage.lag(PartitionName { topic: "partials", partition }, 12, second);
            let consumer = ConsumerName { group: "driftline-monitor", topic: "driftline-partials", partition };
            stage.consumer_lag(consumer, 12, second);
        }
        stage.let_go(PartitionName { topic: "partials", partition: 0 });
        stage.consumer_let_go(ConsumerName { group: "driftline-monitor", topic: "driftline-partials", partition: 0 });
        stage.aborted();
        stage.failed("log", &std::io::Error::other("broken"));
        expect![[r#"
            driftline_build_info{revision="abc",version="0.1.0"} 1
            driftline_stage_aborted_transactions_total{stage="monitor"} 1
            driftline_stage_ended_total{cause="displaced",stage="monitor"} 0
            driftline_stage_ended_total{cause="log",stage="monitor"} 0
            driftline_stage_ended_total{cause="stage",stage="monitor"} 0
            driftline_stage_epoch_duration_seconds_sum{stage="monitor"} 0.25
            driftline_stage_epoch_duration_seconds_count{stage="monitor"} 1
            driftline_stage_epochs_total{stage="monitor"} 1
            driftline_stage_lag_records{partition="1",stage="monitor",topic="partials"} 12
            driftline_stage_lag_seconds{partition="1",stage="monitor",topic="partials"} 1
            driftline_stage_rebalances_total{stage="monitor"} 0
            driftline_stage_restarts_total{cause="displaced",stage="monitor"} 0
            driftline_stage_restarts_total{cause="log",stage="monitor"} 1
            driftline_stage_restarts_total{cause="stage",stage="monitor"} 0
            driftline_stage_transaction_duration_seconds_sum{stage="monitor"} 0.05
            driftline_stage_transaction_duration_seconds_count{stage="monitor"} 1
            driftline_stage_up{stage="monitor"} 0
            kafka_consumer_lag{group="driftline-monitor",partition="1",topic="driftline-partials"} 12
            kafka_consumer_lag_seconds{group="driftline-monitor",partition="1",topic="driftline-partials"} 1
        "#]]
        .assert_eq(&values(&exporter));
    }

    #[test]
    fn a_stage_that_failed_for_good_stays_down_whatever_is_committed_by_others_of_its_runners() {
        let exporter = exporter();
        let stage = StageTelemetry::new(exporter.clone(), "capture");
        stage.started();
        stage.failed_for_good("log", &std::io::Error::other("records are gone"));
        stage.committed(Duration::ZERO, Duration::ZERO);
        let page = values(&exporter);
        assert!(page.contains(r#"driftline_stage_up{stage="capture"} 0"#), "{page}");
        assert!(page.contains(r#"driftline_stage_ended_total{cause="log",stage="capture"} 1"#), "{page}");
    }

    #[test]
    fn capture_counts_rows_labels_and_dead_letters() {
        let exporter = exporter();
        let capture = CaptureTelemetry::new(exporter.clone());
        capture.captured("bed", CaptureCounts { events: 10, late: 2, matched: 7, ..CaptureCounts::default() });
        capture.dead_letters("inferences", "missing_id", 3);
        capture.watermark(PartitionName { topic: "inferences", partition: 0 }, Some(1_500));
        capture.watermark(PartitionName { topic: "inferences", partition: 1 }, None);
        let behind = |partition, seconds| Behind {
            topic: "inferences".to_owned(),
            partition,
            by: Duration::from_secs(seconds),
            is_far: false,
        };
        capture.behind(&[behind(0, 7), behind(1, 0)]);
        capture.behind(&[behind(0, 8)]);
        expect![[r#"
            driftline_build_info{revision="abc",version="0.1.0"} 1
            driftline_dead_letters_total{reason="missing_id",topic="inferences"} 3
            driftline_events_total{model="bed"} 10
            driftline_labels_matched_total{model="bed"} 7
            driftline_late_events_total{model="bed"} 2
            driftline_watermark_behind_seconds{partition="0",topic="inferences"} 8
            driftline_watermark_timestamp_seconds{partition="0",topic="inferences"} 1.5
        "#]]
        .assert_eq(&values(&exporter));
    }
}
