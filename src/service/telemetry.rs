//! The runner's word on its stages, as metrics.

use dashboards::exporter::Exporter;
use dashboards::telemetry::{ConsumerName, PartitionName, StageTelemetry as Metrics};
use std::sync::Arc;
use streams::log::{Log, PartitionId};
use streams::runner::{EpochFigures, Lag, RestartCause, StageTelemetry};
use streams::stage::{StageError, StageSpec};

/// Metrics of one stage.
pub(crate) struct StageMetrics {
    metrics: Metrics,
    log: Arc<dyn Log>,
}

impl StageMetrics {
    /// The metrics of the stage of that name, which has been started.
    pub(crate) fn started(exporter: Arc<Exporter>, stage: &str, log: Arc<dyn Log>) -> Arc<Self> {
        let metrics = Metrics::new(exporter, stage);
        metrics.started();
        Arc::new(Self { metrics, log })
    }
}

impl StageTelemetry for StageMetrics {
    fn epoch_committed(&self, _stage: &str, epoch: EpochFigures) {
        self.metrics.committed(epoch.took, epoch.transaction);
    }

    fn aborted(&self, _stage: &str) {
        self.metrics.aborted();
    }

    fn restarted(&self, _stage: &str, cause: RestartCause, error: &StageError) {
        self.metrics.failed(cause.name(), error);
    }

    fn failed_for_good(&self, _stage: &str, cause: RestartCause, error: &StageError) {
        self.metrics.failed_for_good(cause.name(), error);
    }

    fn rebalanced(&self, _stage: &str) {
        self.metrics.rebalanced();
    }

    fn lag(&self, stage: &StageSpec, (topic, partition): (&str, PartitionId), lag: Lag) {
        self.metrics.lag(PartitionName { topic, partition }, lag.offsets, lag.age);
        if let Some((group, topic)) = self.log.known_as(&stage.group(), topic) {
            self.metrics.consumer_lag(ConsumerName { group: &group, topic: &topic, partition }, lag.offsets, lag.age);
        }
    }

    fn let_go(&self, stage: &StageSpec, (topic, partition): (&str, PartitionId)) {
        self.metrics.let_go(PartitionName { topic, partition });
        if let Some((group, topic)) = self.log.known_as(&stage.group(), topic) {
            self.metrics.consumer_let_go(ConsumerName { group: &group, topic: &topic, partition });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dashboards::exporter::ExporterOptions;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};
    use streams::log::embedded::{EmbeddedLog, Options};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failed_stage_is_logged_with_each_cause_once() {
        let options = ExporterOptions {
            most_series_per_metric: 10,
            most_series_per_model: 10,
            version: "0".to_owned(),
            revision: None,
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let directory = tempfile::tempdir().unwrap();
        let embedded = EmbeddedLog::open(directory.path(), Options::default()).unwrap();
        let metrics = StageMetrics::started(Arc::new(Exporter::new(&options).unwrap()), "capture", embedded);
        let error = StageError::failed("committing an epoch", std::io::Error::other("the disk is full"));
        tracing::subscriber::with_default(log, || metrics.restarted("capture", RestartCause::Log, &error));
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!((said.matches("the disk is full").count(), said.lines().count()), (1, 1), "{said}");
    }
}
