//! Whether the panel keeps its budget of false alarms where nothing drifts, and what it finds where something does.
//!
//! A study, not a timing: references are drawn again and again, each judges windows in which nothing has changed, and the
//! windows in which an alarm stands anew are counted. The panel's budget is 1 alarm in 1,000 windows, for a model of 20
//! features: 3 are stated, because quality and sequential detectors have a third each.
//! The bound is the upper end of a 95 % interval for the mean over references (alarms of one reference depend on each
//! other), and must not exceed twice the budget. Where the reference is too short the panel refuses, which is said.
//!
//! `cargo bench -p detectors --bench false_alarms -- [--references 200] [--windows 500] [--only TEXT] [--power]`
//!
//! What bounds the figures: the number of references. The generators: `independent`, rows drawn one by one; `ar(1)`, each
//! row .9 of the one before; `season`, a daily wave of one standard deviation in half of the numeric features and 24 windows
//! a day; `elec2`, rows of the electricity market shuffled, six of its columns, where `$DRIFTLINE_SHARED` has them.

use arrow::array::{ArrayRef, Float64Array, StringArray, new_null_array};
use arrow::datatypes::DataType;
use detectors::alarm::Alarm;
use detectors::layout::ColumnLayout;
use detectors::panel::{FalseAlarmBudget, Panel, PanelPolicy, Thresholds};
use detectors::profile::Profile;
use detectors::reference::{Origin, Reference, ReferencePane, ReferenceParts, Slice};
use detectors::schema::{ColumnKind, ColumnSchema, ModelSchema, Role, Task};
use detectors::verdict::Severity;
use detectors::windows::{Window, WindowSpec};
use flate2::read::GzDecoder;
use std::f64::consts::PI;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NUMERIC: usize = 16;
const CATEGORICAL: usize = 4;
const WINDOWS_A_DAY: i64 = 24;
const BUDGET: u32 = 1_000;
const STATED: &str = "3 per 1000 windows";

/// SplitMix64, with normal numbers looked up in a table of 65,536 quantiles, four from one draw.
struct Random {
    state: u64,
    normals: Arc<Vec<f32>>,
}

impl Random {
    fn new(seed: u64, normals: &Arc<Vec<f32>>) -> Self {
        Self { state: seed, normals: Arc::clone(normals) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A normal number, with what the table leaves out made up by a little noise.
    fn normal(&mut self) -> f64 {
        let bits = self.next();
        let noise = (bits >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        f64::from(self.normals[(bits & 0xFFFF) as usize]) + 1e-3 * noise
    }
}

fn normal_table() -> Arc<Vec<f32>> {
    use statrs::distribution::{ContinuousCDF, Normal};
    let normal = Normal::new(0.0, 1.0).unwrap();
    Arc::new((0..65_536).map(|i| normal.inverse_cdf((f64::from(i) + 0.5) / 65_536.0) as f32).collect())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Independent,
    Autoregressive,
    Season,
    Elec2,
}

/// What changes, from the first window after the reference on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Drift {
    None,
    Shift(f64),
    NewCategory(f64),
    DoubledVariance,
    /// So many standard deviations more in each window.
    Ramp(f64),
}

/// A stream of windows.
struct Stream<'a> {
    kind: Kind,
    drift: Drift,
    random: Random,
    /// The autoregressive state of each feature.
    latent: Vec<f64>,
    market: &'a [Vec<f64>],
}

impl<'a> Stream<'a> {
    fn new(kind: Kind, drift: Drift, mut random: Random, market: &'a [Vec<f64>]) -> Self {
        let latent = (0..NUMERIC + CATEGORICAL).map(|_| random.normal()).collect();
        Self { kind, drift, random, latent, market }
    }

    fn features(&self) -> Vec<(String, ColumnKind)> {
        match self.kind {
            Kind::Elec2 => (0..self.market.len()).map(|i| (format!("x{i}"), ColumnKind::Numeric)).collect(),
            _ => (0..NUMERIC + CATEGORICAL)
                .map(|i| (format!("x{i}"), if i < NUMERIC { ColumnKind::Numeric } else { ColumnKind::Categorical }))
                .collect(),
        }
    }

    /// The columns of one window; `drifted` is how many windows the drift has lasted, this one included.
    fn window(&mut self, place: i64, rows: usize, drifted: u32) -> Vec<ArrayRef> {
        if self.kind == Kind::Elec2 {
            return self.market_rows(rows);
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for feature in 0..NUMERIC + CATEGORICAL {
            let values = self.latent_values(feature, place, rows);
            columns.push(if feature < NUMERIC {
                Arc::new(Float64Array::from_iter_values(
                    values.into_iter().map(|value| self.numeric(feature, value, drifted)),
                ))
            } else {
                let names: Vec<String> =
                    values.into_iter().map(|value| self.category(feature, value, drifted)).collect();
                Arc::new(StringArray::from(names))
            });
        }
        columns
    }

    fn latent_values(&mut self, feature: usize, place: i64, rows: usize) -> Vec<f64> {
        let (keep, fresh) = if self.kind == Kind::Autoregressive { (0.9, 0.19_f64.sqrt()) } else { (0.0, 1.0) };
        let wave = |row: usize| {
            let day = (place as f64 + row as f64 / rows as f64) / WINDOWS_A_DAY as f64;
            if self.kind == Kind::Season && feature % 2 == 0 { (2.0 * PI * day).sin() } else { 0.0 }
        };
        let waves: Vec<f64> = (0..rows).map(wave).collect();
        let mut state = self.latent[feature];
        let values = waves.into_iter().map(|wave| {
            state = keep * state + fresh * self.random.normal();
            state + wave
        });
        let values = values.collect();
        self.latent[feature] = state;
        values
    }

    /// Normal, log-normal, counted or rounded, by turns.
    fn numeric(&self, feature: usize, value: f64, drifted: u32) -> f64 {
        let value = match self.drift {
            Drift::Shift(by) if feature == 0 && drifted > 0 => value + by,
            Drift::Ramp(by) if feature == 0 => value + by * f64::from(drifted),
            Drift::DoubledVariance if feature == 0 && drifted > 0 => value * 2.0_f64.sqrt(),
            _ => value,
        };
        match feature % 4 {
            0 => value,
            1 => value.exp(),
            2 => (3.0 + 1.5 * value).max(0.0).floor(),
            _ => (100.0 * value).round(),
        }
    }

    /// Four to seven categories of falling frequency.
    fn category(&self, feature: usize, value: f64, drifted: u32) -> String {
        let share = match self.drift {
            Drift::NewCategory(share) if feature == NUMERIC && drifted > 0 => share,
            _ => 0.0,
        };
        if share > 0.0 && (value * 1e4).rem_euclid(1.0) < share {
            return "new".to_owned();
        }
        let levels = 4 + (feature - NUMERIC) as i64;
        format!("c{}", (value.abs() * 2.0).floor().min((levels - 1) as f64))
    }

    fn market_rows(&mut self, rows: usize) -> Vec<ArrayRef> {
        let all = self.market.first().map_or(0, Vec::len) as u64;
        let places: Vec<usize> = (0..rows).map(|_| (self.random.next() % all) as usize).collect();
        let column = |values: &Vec<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(places.iter().map(|place| values[*place])))
        };
        self.market.iter().map(column).collect()
    }
}

fn elec2() -> Vec<Vec<f64>> {
    let Some(shared) = std::env::var_os("DRIFTLINE_SHARED") else { return Vec::new() };
    let Ok(file) = File::open(Path::new(&shared).join("data/elec2/elec2.csv.gz")) else { return Vec::new() };
    let mut lines = BufReader::new(GzDecoder::new(file)).lines();
    let names: Vec<String> = lines.next().unwrap().unwrap().split(',').map(str::to_owned).collect();
    let wanted = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"];
    let places: Vec<usize> = wanted.iter().filter_map(|name| names.iter().position(|n| n == name)).collect();
    let mut columns = vec![Vec::new(); places.len()];
    for line in lines {
        let line = line.unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        for (column, place) in columns.iter_mut().zip(&places) {
            column.push(cells[*place].parse().unwrap());
        }
    }
    columns
}

fn profile(layouts: &[ColumnLayout], columns: &[ArrayRef]) -> Profile {
    let mut profile = Profile::empty(layouts);
    profile.observe(layouts, columns, &new_null_array(&DataType::Null, columns[0].len())).unwrap();
    profile
}

fn layout(parts: &[Vec<ArrayRef>], column: usize) -> ColumnLayout {
    let arrays = parts.iter().map(|columns| &columns[column]);
    if arrays.clone().any(|array| array.data_type() == &DataType::Utf8) {
        let names: Vec<String> = arrays
            .flat_map(|array| {
                let names = array.as_any().downcast_ref::<StringArray>().unwrap();
                names.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        return ColumnLayout::learn_categorical(names.iter().map(String::as_str));
    }
    let mut values: Vec<f64> =
        arrays.flat_map(|array| array.as_any().downcast_ref::<Float64Array>().unwrap().values().to_vec()).collect();
    ColumnLayout::learn_numeric(&mut values)
}

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

/// A reference of so many windows, pane by pane.
fn reference(case: &Case, stream: &mut Stream<'_>) -> Reference {
    let pane_rows = case.rows / case.hops as usize;
    let panes: Vec<Vec<ArrayRef>> =
        (0..case.reference_windows * case.hops).map(|place| stream.window(place, pane_rows, 0)).collect();
    let features = stream.features();
    let layouts: Vec<ColumnLayout> = (0..features.len()).map(|column| layout(&panes, column)).collect();
    let mut whole = Profile::empty(&layouts);
    let pane = |(place, columns): (usize, &Vec<ArrayRef>)| {
        let profile = profile(&layouts, columns);
        whole.merge(&profile).unwrap();
        ReferencePane { start_ms: place as i64 * spec(case).pane_ms(), profile, quality: None }
    };
    let panes: Vec<ReferencePane> = panes.iter().enumerate().map(pane).collect();
    let columns = features.into_iter().map(|(name, kind)| ColumnSchema { name, role: Role::Feature, kind });
    let task = Task::Binary { positive: "1".into(), negative: "0".into() };
    Reference::new(ReferenceParts {
        model: "m".into(),
        version: "v1".into(),
        schema: ModelSchema { columns: columns.collect(), task },
        origin: Origin::TrainingSet { digest: "d".into() },
        windows: spec(case),
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
}

impl Options {
    fn read() -> Self {
        let mut options = Self { references: 200, windows: 500, only: String::new(), power: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value after the option");
            match argument.as_str() {
                "--references" => options.references = value().parse().expect("a number"),
                "--windows" => options.windows = value().parse().expect("a number"),
                "--only" => options.only = value(),
                "--power" => options.power = true,
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
    if options.power {
        power(&options, &world);
        return;
    }
    if !false_alarms(&options, &world) {
        println!("the budget was not kept");
        std::process::exit(1);
    }
}
