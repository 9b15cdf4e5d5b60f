//! The report of a comparison as one HTML document.

use crate::compare::{Change, Comparison};
use crate::output::note;
use anyhow::{Context, Result};
use dashboards::page::{ComparedSide, ComparisonReport, comparison_report};
use std::path::Path;

/// Writes it; an earlier report is replaced.
pub(super) fn write(comparison: &Comparison, file: &Path) -> Result<()> {
    let side = |compared: &crate::compare::ComparedFile| ComparedSide {
        name: compared.file.display().to_string(),
        rows: compared.rows,
    };
    let report = ComparisonReport {
        reference: side(&comparison.reference),
        current: side(&comparison.current),
        drift: &comparison.drift,
        data_quality: &comparison.data_quality,
        columns: comparison.columns.len(),
        notes: notes(comparison),
    };
    let told = || format!("--html: writing {}", file.display());
    std::fs::write(file, comparison_report(&report)).with_context(told)?;
    note(format_args!("report     {}", file.display()));
    Ok(())
}

/// What the tests do not say, findings first.
fn notes(comparison: &Comparison) -> Vec<String> {
    let changed = comparison.changed.iter().map(|changed| match changed.change {
        Change::Gone => format!("Column `{}` is gone.", changed.column),
        Change::CameAlive => format!("Column `{}` was empty in the reference, and has values now.", changed.column),
    });
    let told_apart = comparison.domain_classifier.iter().map(|found| {
        let word = if found.exceeded { "can" } else { "cannot" };
        format!(
            "A classifier {word} tell rows of the files apart (AUC {:.3}, p-value {:.1e}).",
            found.auc, found.p_value
        )
    });
    let read = comparison.notes.iter().map(|told| format!("Read as: {told}"));
    let left_out = comparison.left_out.iter().map(|column| format!("Left out: `{}`: {}", column.column, column.why));
    changed.chain(told_apart).chain(read).chain(left_out).collect()
}
