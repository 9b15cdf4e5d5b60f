//! `driftline dashboards`: rules and dashboards as files.

use crate::cli::{DashboardsAction, DashboardsArgs, Exit};
use crate::output::say;
use ::dashboards::exports::{self, ExportedFile};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;

pub(super) fn dashboards(args: &DashboardsArgs, json: bool) -> Result<Exit> {
    let DashboardsAction::Export { folder, runbook } = &args.action;
    let files = exports::all(runbook)?;
    for file in &files {
        write(folder, file)?;
    }
    let paths: Vec<_> = files.iter().map(|file| folder.join(&file.path)).collect();
    if json {
        say(format_args!("{}", json!({ "written": paths })))?;
    } else {
        paths.iter().try_for_each(|path| say(format_args!("wrote {}", path.display())))?;
    }
    Ok(Exit::Done)
}

fn write(folder: &Path, file: &ExportedFile) -> Result<()> {
    let path = folder.join(&file.path);
    let within = path.parent().unwrap_or(folder);
    std::fs::create_dir_all(within).with_context(|| format!("making the folder {}", within.display()))?;
    std::fs::write(&path, &file.contents).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_writes_rules_that_point_to_the_given_runbook() {
        let folder = tempfile::tempdir().unwrap();
        let runbook = "https://wiki.example/driftline".to_owned();
        let action = DashboardsAction::Export { folder: folder.path().join("new"), runbook };
        dashboards(&DashboardsArgs { action }, true).unwrap();
        let rules = std::fs::read_to_string(folder.path().join("new/rules/driftline.rules.yaml")).unwrap();
        assert!(rules.contains("https://wiki.example/driftline#driftlinequalityfell"), "{rules}");
        assert!(folder.path().join("new/grafana/driftline-fleet.json").is_file());
    }
}
