//! `driftline compare`: two files, a table of tests, and an exit code that a pipeline can act on.

use super::WrongUsage;
use crate::cli::{CompareArgs, Exit};
use crate::compare::{self, ColumnChoice, CompareSpec, Comparison};
use anyhow::{Result, bail};
use detectors::panel::{PanelError, PanelPolicy};
use detectors::schema::ColumnKind;
use detectors::statistics::Statistic;
use detectors::verdict::TestResult;

pub(super) fn compare(args: CompareArgs, json: bool) -> Result<Exit> {
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
    if !comparison.is_conclusive() {
        bail!("no judgement: {}", comparison.drift.summary);
    }
    Ok(Exit::Done)
}

fn spec(args: CompareArgs) -> Result<CompareSpec> {
    let (policy, budget) = (policy(&args), args.budget);
    policy.validate().map_err(|error| WrongUsage(PanelError::from(error).to_string()))?;
    let columns = ColumnChoice {
        only: args.columns,
        left_out: args.exclude,
        numeric: args.numeric,
        categorical: args.categorical,
        prediction: args.prediction,
        scores: args.scores,
    };
    Ok(CompareSpec { reference: args.reference, current: args.current, columns, policy, budget })
}

fn policy(args: &CompareArgs) -> PanelPolicy {
    let mut policy = PanelPolicy::default();
    if let Some(least) = args.min_effect {
        policy.min_effect = Statistic::ALL.iter().map(|statistic| (*statistic, least)).collect();
    }
    if !args.tests.is_empty() {
        let of = |kind| args.tests.iter().copied().filter(|test| test.applies_to(kind)).collect();
        (policy.numeric, policy.categorical) = (of(ColumnKind::Numeric), of(ColumnKind::Categorical));
    }
    policy
}

fn print(comparison: &Comparison) {
    let Comparison { reference, current, drift, data_quality, left_out, .. } = comparison;
    println!("reference  {} ({} rows)", reference.file.display(), reference.rows);
    println!("current    {} ({} rows)", current.file.display(), current.rows);
    for column in left_out {
        println!("left out   {}: {}", column.column, column.why);
    }
    print_tests(&comparison.tests_by_excess());
    print_tests(&data_quality.tests.iter().filter(|test| test.exceeded).collect::<Vec<_>>());
    println!("\ndistributions: {}", drift.summary);
    println!("odd values: {}", data_quality.summary);
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
