//! The nine scenarios: 50 runs of 10,000 errors each, whose share changes at the 5,000th or not at all.

use crate::random::SplitMix64;
use crate::shared::{shared, text};
use std::collections::BTreeMap;

/// Where the share of errors changes.
pub(crate) const CHANGE_AT: usize = 5_000;
const LENGTH: usize = 10_000;
const RUNS: u64 = 50;

/// A scenario's share of errors before and after, and how many outcomes the way from one to the other takes.
const SCENARIOS: [(&str, f64, f64, usize); 9] = [
    ("p0.05_stationary", 0.05, 0.05, 0),
    ("p0.20_stationary", 0.20, 0.20, 0),
    ("p0.05_to_0.10", 0.05, 0.10, 0),
    ("p0.10_to_0.20", 0.10, 0.20, 0),
    ("p0.20_to_0.25", 0.20, 0.25, 0),
    ("p0.20_to_0.30", 0.20, 0.30, 0),
    ("p0.20_to_0.40", 0.20, 0.40, 0),
    ("p0.30_to_0.10", 0.30, 0.10, 0),
    ("p0.10_to_0.40_gradual1000", 0.10, 0.40, 1_000),
];

/// One scenario with its runs of errors.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The share of errors before the change.
    pub(crate) before: f64,
    pub(crate) runs: Vec<Vec<f64>>,
}

/// The runs that river and MOA were given, or where those are absent others like them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut given = given_runs();
    if given.is_none() {
        println!("The streams of river and MOA are absent: these are drawn anew, and no figure can be theirs.");
    }
    let scenario = |(place, (name, before, after, way)): (usize, (&'static str, f64, f64, usize))| {
        let drawn = || (0..RUNS).map(|run| draw(SplitMix64::new(place as u64, run), (before, after, way))).collect();
        let runs = given.as_mut().map_or_else(drawn, |given| given.remove(name).expect("a scenario that was run"));
        Scenario { name, before, runs }
    };
    SCENARIOS.into_iter().enumerate().map(scenario).collect()
}

fn given_runs() -> Option<BTreeMap<String, Vec<Vec<f64>>>> {
    let text = text(&shared()?.join("oracle/river_oracle/montecarlo_streams.csv.gz"));
    let mut runs: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let [scenario, _, bits] = line.split(',').collect::<Vec<_>>()[..] else { panic!("no run: {line:.40}") };
        let errors = bits.bytes().map(|bit| f64::from(bit - b'0')).collect();
        runs.entry(scenario.to_owned()).or_default().push(errors);
    }
    Some(runs)
}

fn draw(mut random: SplitMix64, (before, after, way): (f64, f64, usize)) -> Vec<f64> {
    let share = |place: usize| match place.checked_sub(CHANGE_AT) {
        None => before,
        Some(gone) if gone < way => before + (after - before) * gone as f64 / way as f64,
        Some(_) => after,
    };
    (0..LENGTH).map(|place| random.error(share(place))).collect()
}
