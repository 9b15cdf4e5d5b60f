//! Delay and false alarms on the nine scenarios, beside river's and MOA's figures of the same streams.

use crate::contestants::{Contestant, contestants};
use crate::shared::{shared, table};
use crate::streams::{CHANGE_AT, Scenario, scenarios};
use std::collections::BTreeMap;

/// An alarm later than this is no detection of which the delay is told.
const SOON: usize = 2_000;
/// Figures in the order of the columns that they are read from.
const COLUMNS: [&str; 7] = [
    "fa_per_run_5000",
    "detected_within_2000",
    "detected_within_5000",
    "delay_mean",
    "delay_median",
    "delay_p90",
    "post_detections_mean",
];
/// The delays' mean was written with one digit; everything else in full.
const ROUNDING: f64 = 0.0501;

/// One detector's figures on one scenario; `None` where nothing was detected in time.
type Figures = [Option<f64>; 7];

/// Figures of others by scenario and detector; river's and MOA's names differ.
type Others = BTreeMap<(String, String), Figures>;

/// Runs every detector on every scenario.
pub(crate) fn print() {
    println!("# Delay and false alarms: 50 runs of 10,000 outcomes, a change at 5,000");
    let others = others();
    let (mut compared, mut differing) = (0, Vec::new());
    for scenario in scenarios() {
        println!("\n{}", header(scenario.name));
        for contestant in contestants() {
            let found = figures(&contestant, &scenario);
            let theirs = theirs(&contestant, scenario.name, &others);
            println!("{}", row(contestant.name, &found, theirs));
            for (library, figures) in ["river", "MOA"].into_iter().zip(theirs) {
                let Some(figures) = figures else { continue };
                compared += COLUMNS.len();
                let at = format!("{} / {} / {library}", scenario.name, contestant.name);
                differing.extend(differences(&found, figures).map(|told| format!("  {at}: {told}")));
            }
        }
    }
    println!("\n{compared} figures of the same detector on the same streams compared, {} differ", differing.len());
    println!("(of MOA's HDDM_W, which starts with another sum of squared weights and may alarm an outcome later):");
    differing.iter().for_each(|line| println!("{line}"));
}

fn header(scenario: &str) -> String {
    let ours = format!("{scenario:<25}{:>10}{:>9}{:>9}{:>9}", "false/run", "in 2000", "delay", "median");
    format!("{ours}{:>9}{:>9}   river: false/run, in 2000, delay | MOA: the same", "90 %", "after")
}

/// River's and MOA's figures of a detector.
fn theirs<'a>(contestant: &Contestant, scenario: &str, others: &'a Others) -> [Option<&'a Figures>; 2] {
    let figures = |library, name| others.get(&(scenario.to_owned(), name_in(library, name)));
    [contestant.river.and_then(|name| figures("river", name)), contestant.moa.and_then(|name| figures("MOA", name))]
}

fn name_in(library: &str, name: &str) -> String {
    format!("{library} {name}")
}

/// The figures of river and MOA, if the folder is there.
fn others() -> Others {
    let Some(shared) = shared() else { return Others::new() };
    let rows = table(&shared.join("oracle/river_oracle/montecarlo_delay_false_alarms.csv"));
    let figures = |row: &BTreeMap<String, String>| COLUMNS.map(|column| row[column].parse().ok());
    let library = |row: &BTreeMap<String, String>| if row["impl"].starts_with("river") { "river" } else { "MOA" };
    let key = |row: &BTreeMap<String, String>| (row["scenario"].clone(), name_in(library(row), &row["detector"]));
    rows.iter().map(|row| (key(row), figures(row))).collect()
}

/// Runs a detector on all runs of a scenario.
fn figures(contestant: &Contestant, scenario: &Scenario) -> Figures {
    let runs = scenario.runs.len() as f64;
    let (mut false_alarms, mut later, mut first) = (0, 0, Vec::new());
    for errors in &scenario.runs {
        let alarms = contestant.alarms(scenario.before, errors);
        let before = alarms.partition_point(|index| *index < CHANGE_AT);
        false_alarms += before;
        later += alarms.len() - before;
        first.extend(alarms.get(before).map(|index| index - CHANGE_AT));
    }
    let mut soon: Vec<f64> = first.iter().filter(|delay| **delay < SOON).map(|delay| *delay as f64).collect();
    soon.sort_by(f64::total_cmp);
    let mean = (!soon.is_empty()).then(|| soon.iter().sum::<f64>() / soon.len() as f64);
    [
        Some(false_alarms as f64 / runs),
        Some(soon.len() as f64 / runs),
        Some(first.len() as f64 / runs),
        mean,
        quantile(&soon, 0.5),
        quantile(&soon, 0.9),
        Some(later as f64 / runs),
    ]
}

/// Between the two nearest of sorted values, as numpy has it.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

fn differences(found: &Figures, theirs: &Figures) -> impl Iterator<Item = String> {
    let differs = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() > ROUNDING * f64::from(u8::from(one > 2.0)) + 1e-9,
        (one, other) => one.is_some() != other.is_some(),
    };
    let pairs = COLUMNS.into_iter().zip(found.iter().copied().zip(theirs.iter().copied()));
    pairs
        .filter(move |(_, (one, other))| differs(*one, *other))
        .map(|(column, (one, other))| format!("{column} {one:?}, theirs {other:?}"))
}

fn row(name: &str, found: &Figures, theirs: [Option<&Figures>; 2]) -> String {
    let number = |figure: &Option<f64>, digits| figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"));
    let [false_alarms, soon, _, mean, median, most, after] = found;
    let ours = format!(
        "{name:<25}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}",
        number(false_alarms, 2),
        number(soon, 2),
        number(mean, 1),
        number(median, 1),
        number(most, 1),
        number(after, 2)
    );
    let others = theirs.map(|figures| match figures {
        Some([false_alarms, soon, _, mean, ..]) => {
            format!("{:>6}{:>6}{:>8}", number(false_alarms, 2), number(soon, 2), number(mean, 1))
        }
        None => " ".repeat(20),
    });
    format!("{ours}   {}", others.join(" |")).trim_end().trim_end_matches('|').trim_end().to_owned()
}
