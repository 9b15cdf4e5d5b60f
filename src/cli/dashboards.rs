//! What `driftline dashboards` can be asked.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `driftline dashboards`.
#[derive(Debug, Args)]
pub struct DashboardsArgs {
    /// What about them.
    #[command(subcommand)]
    pub action: DashboardsAction,
}

/// What `driftline dashboards` can do.
#[derive(Debug, Subcommand)]
pub enum DashboardsAction {
    /// Write rules for Prometheus and dashboards for Grafana into a folder, in place of those that are there
    Export {
        /// The folder; `rules` and `grafana` are made in it
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Where the runbook is to be read: alerts point to its headings
        #[arg(long, value_name = "URL", default_value = ::dashboards::exports::DEFAULT_RUNBOOK)]
        runbook: String,
    },
}
