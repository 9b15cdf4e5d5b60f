//! What the metrics of a service begin with: a registry, and what is known of the models before anything is heard of them.

use super::ServiceContext;
use anyhow::Result;
use dashboards::dashboard::Dashboard;
use dashboards::exporter::{Exporter, ExporterOptions};
use dashboards::read_model::SharedReadModel;
use dashboards::telemetry::CaptureTelemetry;
use std::sync::Arc;

/// The most series of a metric that names no model, and of one model in any other; more are capped, and the cap is counted.
const MOST_SERIES: usize = 5_000;
const MOST_SERIES_OF_MODEL: usize = 1_000;

/// A registry in which nothing has happened.
pub(super) fn exporter() -> Result<Arc<Exporter>> {
    Ok(Arc::new(Exporter::new(&ExporterOptions {
        most_series_per_metric: MOST_SERIES,
        most_series_per_model: MOST_SERIES_OF_MODEL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: option_env!("DRIFTLINE_REVISION").map(str::to_owned),
    })?))
}

/// What shows the models.
pub(super) fn dashboard(context: &ServiceContext, read_model: &SharedReadModel, exporter: &Arc<Exporter>) -> Dashboard {
    let config = context.config();
    let facts = context.models.iter().map(|model| model.facts(config.max_disorder)).collect();
    let tests = usize::try_from(config.metrics.tests_per_model.get()).unwrap_or(usize::MAX);
    Dashboard::new(read_model.clone(), Arc::clone(exporter)).watching(facts, tests)
}

/// What counts rows, none of which has become a dead letter.
pub(super) fn capture(exporter: &Arc<Exporter>) -> CaptureTelemetry {
    let capture = CaptureTelemetry::new(Arc::clone(exporter));
    capture.begins();
    capture
}
