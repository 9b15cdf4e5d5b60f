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

    fn lag(&self, _stage: &str, (topic, partition): (&str, PartitionId), offsets: u64) {
        self.0.lag(PartitionName { topic, partition }, offsets);
    }
}
