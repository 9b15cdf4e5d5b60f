//! `driftline compare`: two files, a table of tests, and an exit code that a pipeline can act on.

use super::WrongUsage;
use crate::cli::{CompareArgs, Exit};
use crate::compare::parity::{self, ParityComparison};
use crate::compare::{self, ColumnChoice, CompareSpec, ComparedFile, Comparison, DomainFinding, FilePair, LeftOut};
use anyhow::{Result, bail};
use detectors::panel::{PanelError, PanelPolicy};
use detectors::statistics::Statistic;
use detectors::verdict::{Attribution, TestResult};

pub(super) fn compare(args: CompareArgs, json: bool) -> Result<Exit> {
    if let Some(tool) = args.parity {
        let comparison = parity::compare(&files(args), tool)?;
        if json {
            println!("{}", serde_json::to_string(&comparison)?);
        } else {
            print_parity(&comparison);
        }
        return parity_exit(&comparison);
    }
    let spec = spec(args)?;
    let comparison = compare::compare(&spec)?;
    if json {
        println!("{}", serde_json::to_string(&comparison)?);
    } else {
        print(&comparison);
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
    Ok(CompareSpec { tests: args.tests.clone(), policy, budget, domain_classifier, files: files(args) })
}

fn files(args: CompareArgs) -> FilePair {
    let columns = ColumnChoice {
        only: args.columns,
        left_out: args.exclude,
        numeric: args.numeric,
        categorical: args.categorical,
        prediction: args.prediction,
        scores: args.scores,
    };
    FilePair { reference: args.reference, current: args.current, columns }
}

fn print(comparison: &Comparison) {
    let Comparison { reference, current, drift, data_quality, left_out, .. } = comparison;
    print_files(reference, current, left_out);
    print_tests(&comparison.tests_by_excess());
    print_tests(&data_quality.tests.iter().filter(|test| test.exceeded).collect::<Vec<_>>());
    print_attribution(&drift.attribution);
    if let Some(found) = &comparison.domain_classifier {
        print_told_apart(found);
    }
    println!("\ndistributions: {}", drift.summary);
    println!("odd values: {}", data_quality.summary);
}

fn print_files(reference: &ComparedFile, current: &ComparedFile, left_out: &[LeftOut]) {
    println!("reference  {} ({} rows)", reference.file.display(), reference.rows);
    println!("current    {} ({} rows)", current.file.display(), current.rows);
    for column in left_out {
        println!("left out   {}: {}", column.column, column.why);
    }
}

fn print_attribution(attribution: &[Attribution]) {
    let Some(width) = attribution.iter().map(|part| part.column.chars().count()).max() else { return };
    let width = width.max("column".len());
    println!("\n{:<width$}  {:>12} {:>10}  towards", "column", "contribution", "moved");
    for part in attribution {
        let (contribution, moved) = (100.0 * part.contribution, 100.0 * part.moved_share);
        let towards = part.towards.as_deref().unwrap_or_default();
        let line = format!("{:<width$}  {contribution:>10.1} % {moved:>8.1} %  {towards}", part.column);
        println!("{}", line.trim_end());
    }
}

fn print_told_apart(found: &DomainFinding) {
    let word = if found.exceeded { "can" } else { "cannot" };
    println!(
        "\ndomain classifier: rows of the files {word} be told apart (AUC {:.3}, p-value {:.1e}; {} and {} rows)",
        found.auc, found.p_value, found.reference_rows, found.current_rows
    );
    let Some(width) = found.weights.iter().map(|weight| weight.column.chars().count()).max() else { return };
    let width = width.max("column".len());
    println!("{:<width$}  {:>10} {:>10}", "column", "weight", "slope");
    for weight in &found.weights {
        let slope = weight.slope.map_or_else(String::new, |slope| format!("{slope:.4}"));
        println!("{}", format!("{:<width$}  {:>10.4} {slope:>10}", weight.column, weight.spread).trim_end());
    }
}

fn print_parity(comparison: &ParityComparison) {
    let ParityComparison { reference, current, left_out, columns, .. } = comparison;
    print_files(reference, current, left_out);
    let width = columns.iter().map(|found| found.column.chars().count()).max().unwrap_or_default().max("column".len());
    println!("\n{:<width$}  {:<16} {:>10} {:>10}", "column", "test", "score", "threshold");
    for found in columns {
        let word = if found.drifted { "  drift" } else { "" };
        println!("{:<width$}  {:<16} {:>10.4} {:>10.4}{word}", found.column, found.test, found.score, found.threshold);
    }
    let word = if comparison.drifted { "drift" } else { "no drift" };
    let (drifted, all, tool) = (comparison.drifted_columns, columns.len(), comparison.tool.name());
    println!("\n{tool}: {word}: {drifted} of {all} columns ({})", comparison.rule);
}

fn print_tests(tests: &[&TestResult]) {
    let Some(width) = tests.iter().map(|test| test.subject.chars().count()).max() else { return };
    let width = width.max("column".len());
    println!("\n{:<width$}  {:<18} {:>10} {:>10} {:>10}", "column", "test", "score", "threshold", "p-value");
    for test in tests {
        let p_value = test.p_value.map_or_else(String::new, |p| format!("{p:.3e}"));
        let found = if test.exceeded { "  beyond its threshold" } else { "" };
        let line = format!(
            "{:<width$}  {:<18} {:>10.4} {:>10.4} {p_value:>10}{found}",
            test.subject, test.test, test.score, test.threshold
        );
        println!("{}", line.trim_end());
    }
}
