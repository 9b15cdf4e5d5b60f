//! Whether the panel keeps its budget of false alarms where nothing drifts, and what it finds where something does.
//!
//! A study, not a timing: references are drawn again and again, each judges windows in which nothing has changed, and the
//! windows in which an alarm stands anew are counted. The panel's budget is 1 alarm in 1,000 windows, for a model of 20
//! features: 3 are stated, because quality and sequential detectors have a third each.
//! The bound is the upper end of a 95 % interval for the mean over references (alarms of one reference depend on each
//! other), and must not exceed twice the budget. Where the reference is too short the panel refuses, which is said.
//!
//! `cargo bench -p detectors --bench false_alarms -- [--references 200] [--windows 500] [--only TEXT] [--power] [--tails]`
//!
//! What bounds the figures: the number of references. The generators: `independent`, rows drawn one by one; `ar(1)`, each
//! row .9 of the one before; `season`, a daily wave of one standard deviation in half of the numeric features and 24 windows
//! a day; `elec2`, rows of the electricity market shuffled, six of its columns, where `$DRIFTLINE_SHARED` has them. Power is
//! measured on drifts that are generated, and on two streams whose drift has a date.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a study that cannot go on says so and ends")]

mod real;
mod stream;
mod tails;

use arrow::array::ArrayRef;
use detectors::alarm::Alarm;
use detectors::layout::ColumnLayout;
use detectors::panel::{FalseAlarmBudget, Panel, PanelPolicy, Thresholds};
use detectors::profile::{PackedProfile, Profile};
use detectors::reference::{Origin, Reference, ReferencePane, ReferenceParts, Slice};
use detectors::schema::{ColumnKind, ColumnSchema, ModelSchema, Role, Task};
use detectors::verdict::Severity;
use detectors::windows::{Window, WindowSpec};
use std::sync::Arc;
use std::time::Duration;
use stream::{Drift, Kind, Random, Stream, elec2, layout, normal_table, profile};

const BUDGET: u32 = 1_000;
const STATED: &str = "3 per 1000 windows";

#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    reference_windows: i64,
    rows: usize,
    /// Hops in a window: 1 for tumbling ones.
    hops: i64,
    drift: Drift,
}

fn spec(case: &Case) -> WindowSpec {
    let hour = Duration::from_secs(3_600);
    WindowSpec::new(hour * case.hops as u32, hour).unwrap()
}

/// A reference of so many windows.
fn reference(case: &Case, stream: &mut Stream<'_>) -> Reference {
    let pane_rows = case.rows / case.hops as usize;
    let panes = (0..case.reference_windows * case.hops).map(|place| stream.window(place, pane_rows, 0)).collect();
    reference_of(panes, stream.features(), spec(case))
}

/// The reference that these panes are.
fn reference_of(panes: Vec<Vec<ArrayRef>>, features: Vec<(String, ColumnKind)>, windows: WindowSpec) -> Reference {
    let layouts: Vec<ColumnLayout> = (0..features.len()).map(|column| layout(&panes, column)).collect();
    let mut whole = Profile::empty(&layouts);
    let pane = |(place, columns): (usize, &Vec<ArrayRef>)| {
        let profile = profile(&layouts, columns);
        whole.merge(&profile).unwrap();
        let profile = PackedProfile::of(&profile).unwrap();
        ReferencePane { start_ms: place as i64 * windows.pane_ms(), profile, quality: None }
    };
    let panes: Vec<ReferencePane> = panes.iter().enumerate().map(pane).collect();
    let columns = features.into_iter().map(|(name, kind)| ColumnSchema { name, role: Role::Feature, kind });
    let task = Task::Binary { positive: "1".into(), negative: "0".into() };
    Reference::new(ReferenceParts {
        model: "m".into(),
        version: "v1".into(),
        schema: ModelSchema { columns: columns.collect(), task },
        origin: Origin::TrainingSet { digest: "d".into() },
        windows,
        layouts,
        slices: vec![Slice { segment: None, profile: whole, quality: None, panes }],
        steps: None,
    })
    .unwrap()
}

/// What one reference brought.
#[derive(Debug, Default)]
struct Run {
    judged: u32,
    alarms: u32,
    /// Windows until the first alarm.
    until: Option<u32>,
    refused: bool,
}

fn run(case: &Case, policy: &PanelPolicy, windows: u32, stream: &mut Stream<'_>) -> Run {
    let reference = reference(case, stream);
    let panel = Panel::learn(policy, &reference, 0).unwrap();
    let mut alarm = Alarm::new(policy.hysteresis);
    let (mut run, mut stood, mut panes) = (Run::default(), false, Vec::new());
    let first = case.reference_windows * case.hops;
    for place in first..first + i64::from(windows) + case.hops - 1 {
        let drifted = (place - first + 1) as u32;
        let columns = stream.window(place, case.rows / case.hops as usize, drifted);
        panes.push(profile(reference.layouts(), &columns));
        if (panes.len() as i64) < case.hops {
            continue;
        }
        let mut current = Profile::empty(reference.layouts());
        panes.iter().for_each(|pane| current.merge(pane).unwrap());
        panes.remove(0);
        let judgement = panel.judge_drift(&current);
        let (start_ms, hour) = ((place + 1 - case.hops) * 3_600_000, 3_600_000);
        let window = Window { start_ms, end_ms: start_ms + case.hops * hour };
        let severity = alarm.observe(window, &judgement.outcome);
        if matches!(severity, Severity::Inconclusive(_)) {
            run.refused = true;
            return run;
        }
        let stands = severity == Severity::Drift;
        run.judged += 1;
        run.alarms += u32::from(stands && !stood);
        if stands && run.until.is_none() {
            run.until = Some(run.judged);
            if case.drift != Drift::None {
                return run;
            }
        }
        stood = stands;
    }
    run
}

/// Alarms a window, and the upper end of its 95 % interval over references.
fn rate(runs: &[Run]) -> (f64, f64) {
    let rates: Vec<f64> = runs.iter().map(|run| f64::from(run.alarms) / f64::from(run.judged.max(1))).collect();
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    // With no alarm at all, the rule of three: 3 / n windows.
    let windows: u32 = runs.iter().map(|run| run.judged).sum();
    let upper = mean + 1.96 * (variance / count).sqrt();
    (mean, upper.max(3.0 / f64::from(windows.max(1))))
}

struct Options {
    references: u64,
    windows: u32,
    only: String,
    power: bool,
    tails: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { references: 200, windows: 500, only: String::new(), power: false, tails: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value after the option");
            match argument.as_str() {
                "--references" => options.references = value().parse().expect("a number"),
                "--windows" => options.windows = value().parse().expect("a number"),
                "--only" => options.only = value(),
                "--power" => options.power = true,
                "--tails" => options.tails = true,
                _ => {}
            }
        }
        options
    }
}

fn runs(case: &Case, policy: &PanelPolicy, options: &Options, world: &World) -> Vec<Run> {
    let one = |seed: u64| {
        let random = Random::new(seed.wrapping_mul(0xA076_1D64_78BD_642F), &world.normals);
        let mut stream = Stream::new(case.kind, case.drift, random, &world.market);
        run(case, policy, options.windows, &mut stream)
    };
    let mut runs = Vec::new();
    for seed in 1..=options.references {
        runs.push(one(seed));
        // A refusal depends on the length of the reference, which is the same for all.
        if runs.last().is_some_and(|run| run.refused) {
            break;
        }
    }
    runs
}

struct World {
    normals: Arc<Vec<f32>>,
    market: Vec<Vec<f64>>,
}

/// The columns that a comparison of policies differs in.
fn policies() -> [(&'static str, PanelPolicy); 2] {
    let budget = PanelPolicy { false_alarms: Some(STATED.parse::<FalseAlarmBudget>().unwrap()), ..Default::default() };
    [("learned", budget.clone()), ("sampled", PanelPolicy { thresholds: Thresholds::Sampled, ..budget })]
}

fn false_alarms(options: &Options, world: &World) -> bool {
    println!(
        "false alarms a window without drift, budget {:.4}; {} references x {} windows",
        1.0 / f64::from(BUDGET),
        options.references,
        options.windows
    );
    println!(
        "{:<12} {:<8} {:>9} {:>6} {:>9} {:>9} {:>9}  ",
        "rows", "null", "reference", "rows", "windows", "rate", "upper"
    );
    let mut kept = true;
    for kind in [Kind::Independent, Kind::Autoregressive, Kind::Season, Kind::Elec2] {
        if kind == Kind::Elec2 && world.market.is_empty() {
            println!("elec2: left out, DRIFTLINE_SHARED has no data");
            continue;
        }
        for (null, policy) in policies() {
            // Sampling alone is for rows that are independent.
            if null == "sampled" && !matches!(kind, Kind::Independent | Kind::Elec2) {
                continue;
            }
            for reference_windows in [1, 5, 50] {
                for (rows, hops) in [(50, 1), (200, 1), (1_000, 1), (5_000, 1), (1_000, 5)] {
                    let case = Case { kind, reference_windows, rows, hops, drift: Drift::None };
                    let name = format!("{kind:?} {null} {reference_windows} {rows} {hops}");
                    if !name.contains(&options.only) {
                        continue;
                    }
                    let policy = PanelPolicy { min_effect: no_effect(), ..policy.clone() };
                    kept &= tell(&case, null, &runs(&case, &policy, options, world));
                }
            }
        }
    }
    kept
}

/// No minimum effect, so that chance alone is what thresholds keep out.
fn no_effect() -> std::collections::BTreeMap<detectors::statistics::Statistic, f64> {
    detectors::statistics::Statistic::ALL.iter().map(|statistic| (*statistic, 1e-6)).collect()
}

fn tell(case: &Case, null: &str, runs: &[Run]) -> bool {
    let windows = if case.hops == 1 { "tumbling" } else { "hopping" };
    let kind = format!("{:?}", case.kind);
    print!("{kind:<14} {null:<8} {:>7} {:>6} {windows:>9} ", case.reference_windows, case.rows);
    if runs.iter().any(|run| run.refused) {
        println!("{:>9} {:>9}  refused", "", "");
        return true;
    }
    let (mean, upper) = rate(runs);
    let kept = upper <= 2.0 / f64::from(BUDGET);
    println!("{mean:>9.5} {upper:>9.5}  {}", if kept { "kept" } else { "NOT KEPT" });
    kept
}

fn power(options: &Options, world: &World) {
    println!("windows to detection, 1,000 rows a window, reference of 50 windows, budget 1 in {BUDGET}");
    println!("{:<12} {:<22} {:>8} {:>7} {:>7}", "rows", "drift", "found", "median", "90 %");
    let drifts =
        [Drift::Shift(0.1), Drift::Shift(0.25), Drift::NewCategory(0.05), Drift::DoubledVariance, Drift::Ramp(0.01)];
    for kind in [Kind::Independent, Kind::Autoregressive] {
        for drift in drifts {
            for (null, policy) in policies() {
                if null == "sampled" && kind != Kind::Independent {
                    continue;
                }
                let case = Case { kind, reference_windows: 50, rows: 1_000, hops: 1, drift };
                let policy = PanelPolicy { min_effect: no_effect(), ..policy };
                let runs = runs(&case, &policy, options, world);
                let mut until: Vec<u32> = runs.iter().filter_map(|run| run.until).collect();
                until.sort_unstable();
                let at =
                    |share: f64| until.get((share * runs.len() as f64) as usize).map_or("-".to_owned(), u32::to_string);
                println!(
                    "{:<14} {null:<8} {:<20} {:>4}/{:<4} {:>6} {:>6}",
                    format!("{kind:?}"),
                    format!("{drift:?}"),
                    until.len(),
                    runs.len(),
                    at(0.5),
                    at(0.9)
                );
            }
        }
    }
}

fn main() {
    let options = Options::read();
    let world = World { normals: normal_table(), market: elec2() };
    if options.tails {
        if !tails::tell(&options, &world.normals) {
            println!("the budget was not kept");
            std::process::exit(1);
        }
        return;
    }
    if options.power {
        power(&options, &world);
        real::tell(&policies()[0].1);
        return;
    }
    if !false_alarms(&options, &world) {
        println!("the budget was not kept");
        std::process::exit(1);
    }
}
