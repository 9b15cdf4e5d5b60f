//! `driftline compare`: two files, a table of tests, and an exit code that a pipeline can act on.

mod report;

use super::WrongUsage;
use crate::cli::{CompareArgs, Exit};
use crate::compare::parity::{self, ParityComparison};
use crate::compare::{
    self, Change, ChangedColumn, ColumnChoice, CompareSpec, ComparedFile, Comparison, DomainFinding, FilePair, LeftOut,
};
use crate::files::Files;
use crate::output::say;
use anyhow::{Result, bail};
use detectors::panel::{PanelError, PanelPolicy};
use detectors::profile::Fault;
use detectors::schema::ColumnKind;
use detectors::statistics::Statistic;
use detectors::verdict::{Attribution, TestResult};
use std::path::PathBuf;

pub(super) fn compare(args: CompareArgs, json: bool) -> Result<Exit> {
    if let Some(tool) = args.parity {
        let comparison = parity::compare(&files(args)?, tool)?;
        if json {
            say(format_args!("{}", serde_json::to_string(&comparison)?))?;
        } else {
            print_parity(&comparison)?;
        }
        return parity_exit(&comparison);
    }
    let html = args.html.clone();
    let spec = spec(args)?;
    let comparison = compare::compare(&spec)?;
    if let Some(file) = &html {
        report::write(&comparison, file)?;
    }
    if json {
        say(format_args!("{}", serde_json::to_string(&comparison)?))?;
    } else {
        print(&comparison)?;
    }
    if comparison.found_something() {
        return Ok(Exit::Drift);
    }
    match comparison.inconclusive(spec.policy.min_rows) {
        Some(why) => bail!("no judgement: {why}"),
        None => Ok(Exit::Done),
    }
}

fn parity_exit(comparison: &ParityComparison) -> Result<Exit> {
    if comparison.columns.is_empty() {
        bail!("no judgement: {} tests none of the columns", comparison.tool.name());
    }
    Ok(if comparison.drifted { Exit::Drift } else { Exit::Done })
}

fn spec(args: CompareArgs) -> Result<CompareSpec> {
    let mut policy = PanelPolicy::default();
    if let Some(least) = args.min_effect {
        policy.min_effect = Statistic::ALL.iter().map(|statistic| (*statistic, least)).collect();
    }
    policy.validate().map_err(|error| WrongUsage(PanelError::from(error).to_string()))?;
    let (budget, domain_classifier) = (args.budget, args.domain_classifier);
    let least = 2.0 * PanelPolicy::LEAST_RATE;
    if domain_classifier && budget < least {
        bail!(WrongUsage(format!(
            "--budget {budget} is shared with the domain classifier: it must be {least} or more"
        )));
    }
    Ok(CompareSpec { tests: args.tests.clone(), policy, budget, domain_classifier, files: files(args)? })
}

fn files(args: CompareArgs) -> Result<FilePair> {
    let reading = args.reading.reading();
    let of_kind = |kind| args.kinds.iter().filter(move |(_, said)| *said == kind).map(|(column, _)| column.clone());
    let columns = ColumnChoice {
        numeric: args.numeric.into_iter().chain(of_kind(ColumnKind::Numeric)).collect(),
        categorical: args.categorical.into_iter().chain(of_kind(ColumnKind::Categorical)).collect(),
        only: args.columns,
        left_out: args.exclude,
        prediction: args.prediction,
        scores: args.scores,
    };
    if [&args.reference, &args.current].iter().all(|file| file.as_os_str() == "-") {
        bail!(WrongUsage("standard input can be read once: name a file for the other side".to_owned()));
    }
    let of = |path: PathBuf| Files::new(&[path], reading.clone());
    Ok(FilePair { reference: of(args.reference)?, current: of(args.current)?, columns })
}

fn print(comparison: &Comparison) -> Result<()> {
    let Comparison { reference, current, drift, data_quality, left_out, .. } = comparison;
    print_files(reference, current, (left_out, &comparison.notes))?;
    print_tests(&comparison.tests_by_excess())?;
    // A value of the wrong type is told of though it is within its limit: nothing else shows that it was left out.
    let is_told = |test: &&TestResult| test.exceeded || (test.test == Fault::WrongType.test_name() && test.score > 0.0);
    print_tests(&data_quality.tests.iter().filter(is_told).collect::<Vec<_>>())?;
    print_attribution(&drift.attribution)?;
    if let Some(found) = &comparison.domain_classifier {
        print_told_apart(found)?;
    }
    say(format_args!(""))?;
    print_changed(&comparison.changed)?;
    say(format_args!("distributions: {}", drift.summary))?;
    say(format_args!("odd values: {}", data_quality.summary))
}

/// What has become of columns whose values cannot be compared.
fn print_changed(changed: &[ChangedColumn]) -> Result<()> {
    for ChangedColumn { column, change } in changed {
        let became = match change {
            Change::Gone => "is gone",
            Change::CameAlive => "was empty in the reference, and has values now",
        };
        say(format_args!("columns: `{column}` {became}"))?;
    }
    Ok(())
}

fn print_files(
    reference: &ComparedFile,
    current: &ComparedFile,
    (left_out, notes): (&[LeftOut], &[String]),
) -> Result<()> {
    say(format_args!("reference  {} ({} rows)", reference.file.display(), reference.rows))?;
    say(format_args!("current    {} ({} rows)", current.file.display(), current.rows))?;
    for told in notes {
        say(format_args!("read as    {told}"))?;
    }
    for column in left_out {
        say(format_args!("left out   {}: {}", column.column, column.why))?;
    }
    Ok(())
}

fn print_attribution(attribution: &[Attribution]) -> Result<()> {
    let Some(width) = attribution.iter().map(|part| part.column.chars().count()).max() else { return Ok(()) };
    let width = width.max("column".len());
    say(format_args!("\n{:<width$}  {:>12} {:>10}  towards", "column", "contribution", "moved"))?;
    for part in attribution {
        let (contribution, moved) = (100.0 * part.contribution, 100.0 * part.moved_share);
        let towards = part.towards.as_deref().unwrap_or_default();
        let line = format!("{:<width$}  {contribution:>10.1} % {moved:>8.1} %  {towards}", part.column);
        say(format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}

fn print_told_apart(found: &DomainFinding) -> Result<()> {
    let word = if found.exceeded { "can" } else { "cannot" };
    say(format_args!(
        "\ndomain classifier: rows of the files {word} be told apart (AUC {:.3}, p-value {:.1e}; {} and {} rows)",
        found.auc, found.p_value, found.reference_rows, found.current_rows
    ))?;
    let Some(width) = found.weights.iter().map(|weight| weight.column.chars().count()).max() else { return Ok(()) };
    let width = width.max("column".len());
    say(format_args!("{:<width$}  {:>10} {:>10}", "column", "weight", "slope"))?;
    for weight in &found.weights {
        let slope = weight.slope.map_or_else(String::new, |slope| format!("{slope:.4}"));
        say(format_args!("{}", format!("{:<width$}  {:>10.4} {slope:>10}", weight.column, weight.spread).trim_end()))?;
    }
    Ok(())
}

fn print_parity(comparison: &ParityComparison) -> Result<()> {
    let ParityComparison { reference, current, left_out, columns, .. } = comparison;
    print_files(reference, current, (left_out, &comparison.notes))?;
    let width = columns.iter().map(|found| found.column.chars().count()).max().unwrap_or_default().max("column".len());
    say(format_args!("\n{:<width$}  {:<16} {:>10} {:>10}", "column", "test", "score", "threshold"))?;
    for found in columns {
        let word = if found.drifted { "  drift" } else { "" };
        say(format_args!(
            "{:<width$}  {:<16} {:>10.4} {:>10.4}{word}",
            found.column, found.test, found.score, found.threshold
        ))?;
    }
    let word = if comparison.drifted { "drift" } else { "no drift" };
    let (drifted, all, tool) = (comparison.drifted_columns, columns.len(), comparison.tool.name());
    print_changed(&comparison.changed)?;
    say(format_args!("\n{tool}: {word}: {drifted} of {all} columns ({})", comparison.rule))
}

fn print_tests(tests: &[&TestResult]) -> Result<()> {
    let Some(width) = tests.iter().map(|test| test.subject.chars().count()).max() else { return Ok(()) };
    let width = width.max("column".len());
    say(format_args!("\n{:<width$}  {:<18} {:>10} {:>10} {:>10}", "column", "test", "score", "threshold", "p-value"))?;
    for test in tests {
        let p_value = test.p_value.map_or_else(String::new, |p| format!("{p:.3e}"));
        let found = if test.exceeded { "  beyond its threshold" } else { "" };
        let line = format!(
            "{:<width$}  {:<18} {:>10.4} {:>10.4} {p_value:>10}{found}",
            test.subject, test.test, test.score, test.threshold
        );
        say(format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}
