//! Categorical columns with long tails: false alarms, of files and of windows, and the power to see mass move into the tail.

use crate::stream::Random;
use crate::{Options, no_effect, policies, reference_of};
use arrow::array::{ArrayRef, StringArray};
use detectors::alarm::Alarm;
use detectors::layout::ColumnLayout;
use detectors::panel::{Outcome, Panel, PanelPolicy};
use detectors::schema::{ColumnKind, ColumnSchema, Role};
use detectors::verdict::Severity;
use detectors::windows::{Window, WindowSpec};
use std::sync::Arc;
use std::time::Duration;

/// Values that are frequent; those beyond are the tail.
const HEAD: usize = 100;
/// The share of comparisons of two files that may find something.
const RATE: f64 = 0.005;
const REFERENCE_WINDOWS: usize = 20;
const HOUR_MS: i64 = 3_600_000;

/// A column of so many values, the `k`-th as likely as `k` to the minus `exponent`; 0 makes them equally likely.
struct Tail {
    names: Vec<String>,
    cumulative: Vec<f64>,
    random: Random,
}

impl Tail {
    fn new(exponent: f64, values: usize, random: Random) -> Self {
        let mut sum = 0.0;
        let weight = |k: usize| (k as f64).powf(-exponent);
        let cumulative = (1..=values).map(|k| {
            sum += weight(k);
            sum
        });
        let cumulative = cumulative.collect();
        Self { names: (0..2 * values).map(|k| format!("value {k}")).collect(), cumulative, random }
    }

    /// So many rows, of which a share has become rare values, half of them new.
    fn rows(&mut self, rows: usize, moved: f64) -> Vec<ArrayRef> {
        let all = self.cumulative.last().copied().unwrap_or_default();
        let name = |_| {
            let at = match self.random.uniform() < moved {
                true => HEAD + (self.random.uniform() * (self.names.len() - HEAD) as f64) as usize,
                false => {
                    let at = self.random.uniform() * all;
                    self.cumulative.partition_point(|sum| *sum <= at)
                }
            };
            self.names[at.min(self.names.len() - 1)].as_str()
        };
        vec![Arc::new(StringArray::from_iter_values((0..rows).map(name)))]
    }
}

fn layout(column: &ArrayRef) -> ColumnLayout {
    let names = column.as_any().downcast_ref::<StringArray>().unwrap();
    ColumnLayout::learn_categorical(names.iter().flatten())
}

/// The share of pairs of files of so many rows in which something is found.
fn found_in_pairs(tail: &mut Tail, rows: usize, pairs: u64) -> f64 {
    let policy = PanelPolicy { min_effect: no_effect(), min_rows: 1, ..PanelPolicy::default() };
    let columns = [ColumnSchema { name: "town".into(), role: Role::Feature, kind: ColumnKind::Categorical }];
    let mut found = 0;
    for _ in 0..pairs {
        let before = tail.rows(rows, 0.0);
        let layouts = [layout(&before[0])];
        let whole = crate::profile(&layouts, &before);
        let panel = Panel::of_batch(&policy, RATE, &columns, (&layouts, &whole)).unwrap();
        let now = crate::profile(&layouts, &tail.rows(rows, 0.0));
        found += u64::from(panel.judge_drift(&now).outcome == Outcome::Exceeded);
    }
    found as f64 / pairs as f64
}

/// Alarms a window, and the windows until the first.
fn alarms(tail: &mut Tail, rows: usize, moved: f64, windows: u32) -> (f64, Option<u32>) {
    let policy = PanelPolicy { min_effect: no_effect(), ..policies()[0].1.clone() };
    let spec = WindowSpec::tumbling(Duration::from_secs(3_600)).unwrap();
    let panes = (0..REFERENCE_WINDOWS).map(|_| tail.rows(rows, 0.0)).collect();
    let reference = reference_of(panes, vec![("town".to_owned(), ColumnKind::Categorical)], spec);
    let panel = Panel::learn(&policy, &reference, 0).unwrap();
    let mut alarm = Alarm::new(policy.hysteresis);
    let (mut alarms, mut first, mut stood) = (0, None, false);
    for place in 0..windows {
        let now = crate::profile(reference.layouts(), &tail.rows(rows, moved));
        let start_ms = i64::from(place) * HOUR_MS;
        let window = Window { start_ms, end_ms: start_ms + HOUR_MS };
        let stands = alarm.observe(window, &panel.judge_drift(&now).outcome) == Severity::Drift;
        alarms += u32::from(stands && !stood);
        first = first.or(stands.then_some(place + 1));
        stood = stands;
    }
    (f64::from(alarms) / f64::from(windows), first)
}

/// The mean, and the upper end of its 95 % interval, at least by the rule of three of so many trials.
fn upper(rates: &[f64], trials: f64) -> (f64, f64) {
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, (mean + 1.96 * (variance / count).sqrt()).max(3.0 / trials))
}

/// Prints the table; whether the budgets were kept.
pub(crate) fn tell(options: &Options, normals: &Arc<Vec<f32>>) -> bool {
    println!(
        "long tails: pairs of files, of which {RATE} may differ; windows after a reference of {REFERENCE_WINDOWS}, of which .001 may; windows until 5 % of the mass in the tail are found"
    );
    println!(
        "{:<8} {:>7} {:>6} {:>8} {:>9} {:>9} {:>6}",
        "exponent", "values", "rows", "pairs", "windows", "upper", "found"
    );
    let mut kept = true;
    for exponent in [1.1, 1.3, 2.0, 0.0] {
        for values in [200, 3_000, 100_000] {
            for rows in [200, 1_000, 5_000, 10_000] {
                if !format!("{exponent} {values} {rows}").contains(&options.only) {
                    continue;
                }
                let mut tail = Tail::new(exponent, values, Random::new(rows as u64 ^ values as u64, normals));
                let pairs = options.references * 10;
                let of_pairs = found_in_pairs(&mut tail, rows, pairs);
                let runs: Vec<f64> =
                    (0..options.references).map(|_| alarms(&mut tail, rows, 0.0, options.windows).0).collect();
                let (mean, upper) = upper(&runs, (options.references * u64::from(options.windows)) as f64);
                let until = alarms(&mut tail, rows, 0.05, 10).1.map_or("-".to_owned(), |first| first.to_string());
                // Three standard errors of the pairs.
                let most = RATE + 3.0 * (RATE / pairs as f64).sqrt();
                let holds = of_pairs <= most && upper <= 0.002;
                kept &= holds;
                let word = if holds { "kept" } else { "NOT KEPT" };
                println!(
                    "{exponent:<8} {values:>7} {rows:>6} {of_pairs:>8.4} {mean:>9.5} {upper:>9.5} {until:>6}  {word}"
                );
            }
        }
    }
    kept
}
