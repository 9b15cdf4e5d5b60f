//! The files that are made from the tables of rules and dashboards, as they are checked in and as `driftline dashboards export`
//! writes them.

use crate::grafana::{BOARDS, DashboardFile};
use crate::rules::{RUNBOOK, RuleFile};
use thiserror::Error;

/// Where the runbook is to be read, unless told otherwise: below the root of the sources.
pub const DEFAULT_RUNBOOK: &str = RUNBOOK;

/// A file, and where it goes below the folder that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedFile {
    /// Its path, with `/` between folders.
    pub path: String,
    /// What is in it.
    pub contents: String,
}

/// Why a file cannot be made.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The rules cannot be written as YAML.
    #[error("the rules cannot be written as YAML: {source}")]
    Rules {
        /// What the library said.
        #[source]
        source: serde_saphyr::SerializeError,
    },
    /// A dashboard cannot be written as JSON.
    #[error("dashboard {uid} cannot be written as JSON: {source}")]
    Dashboard {
        /// The dashboard.
        uid: &'static str,
        /// What the library said.
        #[source]
        source: serde_json::Error,
    },
}

/// Every file; alerts point to `runbook`.
///
/// # Errors
/// When one cannot be written in its format.
pub fn all(runbook: &str) -> Result<Vec<ExportedFile>, ExportError> {
    let rules = serde_saphyr::to_string(&RuleFile::new(runbook)).map_err(|source| ExportError::Rules { source })?;
    let note = "# Made by `driftline dashboards export`. What is changed here is lost with the next export.\n";
    let mut files =
        vec![ExportedFile { path: "rules/driftline.rules.yaml".to_owned(), contents: format!("{note}{rules}") }];
    for read_model in BOARDS {
        let json = serde_json::to_string_pretty(&DashboardFile::new(read_model))
            .map_err(|source| ExportError::Dashboard { uid: read_model.uid, source })?;
        files.push(ExportedFile { path: format!("grafana/{}.json", read_model.uid), contents: format!("{json}\n") });
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
