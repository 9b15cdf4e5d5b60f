//! The runner's word on its stages, as metrics.

use dashboards::exporter::Exporter;
use dashboards::telemetry::{PartitionName, StageTelemetry as Metrics};
use ingest::log::PartitionId;
use ingest::runner::{EpochFigures, StageTelemetry};
use ingest::stage::StageError;
use std::sync::Arc;

/// Metrics of one stage.
pub struct StageMetrics(Metrics);

impl StageMetrics {
    /// The metrics of the stage of that name, which has been started.
    pub fn started(exporter: Arc<Exporter>, stage: &str) -> Arc<Self> {
        let metrics = Metrics::new(exporter, stage);
        metrics.started();
        Arc::new(Self(metrics))
    }
}

impl StageTelemetry for StageMetrics {
    fn epoch_committed(&self, _stage: &str, epoch: EpochFigures) {
        self.0.started();
        self.0.committed(epoch.took);
    }

    fn restarted(&self, _stage: &str, error: &StageError) {
        self.0.failed(error);
    }

    fn rebalanced(&self, _stage: &str) {
        self.0.rebalanced();
    }

    fn lag(&self, _stage: &str, (topic, partition): (&str, PartitionId), offsets: u64) {
        self.0.lag(PartitionName { topic, partition }, offsets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dashboards::exporter::ExporterOptions;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

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
        let options = ExporterOptions { most_series_per_metric: 10, version: "0".to_owned(), revision: None };
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let metrics = StageMetrics::started(Arc::new(Exporter::new(&options).unwrap()), "capture");
        let error = StageError::failed("committing an epoch", std::io::Error::other("the disk is full"));
        tracing::subscriber::with_default(log, || metrics.restarted("capture", &error));
        let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!((said.matches("the disk is full").count(), said.lines().count()), (1, 1), "{said}");
    }
}
