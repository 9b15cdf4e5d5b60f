//! The null model of a reference's own windows.
//!
//! # Formula
//! A probe's threshold is `m + κ·c·s`, `m` and `s` the mean and the standard deviation of its scores in the `K` windows of
//! the reference, each held against the rest, and `c` the critical value of the drawn samples, which know how the largest
//! of many scores behaves; of samples of as many rows as there are independent ones in a window, because the fewer those
//! are the more skewed are the scores. Because `m` and `s` are known from `K` windows only, `c` is stretched by `κ`, see
//! [`super::stretch`]; how heavy the tails of scores are, which it asks for, those samples tell too. Where the scores of
//! all probes in all windows together, each standardised by the others of its probe, show heavier tails than that, as rows
//! that depend on their neighbours bring them, `κ·c` is what those show. Where the windows themselves show a larger alarm than that, theirs is the critical value.
//!
//! A window smaller than the reference's has its location and scale in the proportion in which those of the drawn samples
//! grow. One that is larger has those of the reference's windows: what a season does, more rows do not take away.

use super::stretch::stretch;
use super::{AlarmRule, DrawnNulls, Limit, Norm, Scores, largest_excess, median};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// The fewest windows of which a spread can be told.
const LEAST_WINDOWS: usize = 2;

/// Fewer independent rows than this are not looked for in a window.
const LEAST_INDEPENDENT: f64 = 8.0;

/// No rule needs more windows.
const MOST_NEEDED: usize = 100;

/// How far a critical value may be stretched by a reference that supports its rate.
const SUPPORTED_STRETCH: f64 = 2.0;

/// The scores of one window of the reference against the rest of it.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowScores {
    /// Rows of the window.
    pub rows: i64,
    /// Its scores.
    pub scores: Scores,
}

/// Where each probe's scores lie in the windows of a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowNull {
    rows: i64,
    norms: Vec<Option<Norm>>,
    rule: AlarmRule,
    /// Asked of the drawn samples when it is first needed.
    likeness: OnceLock<Likeness>,
    /// The critical value by the scores of all probes in all windows together, each held against the others: they show how
    /// heavy the tails are.
    pooled: f64,
    /// The largest alarm that the windows themselves would have raised, or the one that the rate allows.
    shown: f64,
}

/// What drawn samples tell of the reference's windows.
#[derive(Debug, Clone, PartialEq)]
struct Likeness {
    /// How many rows count as one, because they depend on their neighbours or on the time of day.
    dependence: f64,
    /// `κ` by the number of windows that a norm was learned from.
    stretches: BTreeMap<usize, f64>,
}

impl WindowNull {
    /// Learned from windows in order of time; `None` where they are too few to tell a spread. `floors` holds for each probe
    /// the least scale.
    pub fn learn(windows: &[WindowScores], floors: &[f64], rule: AlarmRule) -> Option<Self> {
        if windows.len() < LEAST_WINDOWS {
            return None;
        }
        let norms = Norm::learn_all(windows.iter().map(|window| &window.scores), floors);
        let excesses: Vec<f64> = windows.iter().map(|window| largest_excess(&norms, &window.scores)).collect();
        let shown = rule.critical_shown(rule.alarms(&excesses)).unwrap_or_default();
        let rows = median(&mut windows.iter().map(|window| window.rows as f64).collect::<Vec<_>>())? as i64;
        let pooled = pooled(windows, floors, rule);
        Some(Self { rows, norms, rule, likeness: OnceLock::new(), pooled, shown })
    }

    /// Where a probe's scores lie in windows of `rows` rows, and the score beyond which one is unlike those of the
    /// reference; `None` where the probe was undefined in all of them.
    pub fn limit(&self, probe: usize, rows: i64, drawn: &DrawnNulls) -> Option<Limit> {
        let norm = self.norms.get(probe)?.as_ref()?;
        let likeness = self.likeness.get_or_init(|| self.likeness(drawn));
        let at_size = drawn.at(likeness.independent(rows))?;
        let growth = if rows < self.rows { self.growth(probe, rows, drawn) } else { 1.0 };
        let stretched = at_size.critical() * likeness.stretches.get(&norm.count)?;
        let critical = stretched.max(self.pooled).max(self.shown);
        let (location, reach) = (growth * norm.location, growth * critical * norm.scale);
        Some(Limit { location, threshold: location + reach })
    }

    fn likeness(&self, drawn: &DrawnNulls) -> Likeness {
        let mut likeness = Likeness { dependence: self.dependence(drawn), stretches: BTreeMap::new() };
        let at_size = drawn.at(likeness.independent(self.rows));
        let kurtosis = |probe: usize| Some(at_size?.norm(probe)?.excess_kurtosis);
        let mut tails: Vec<f64> = (0..self.norms.len()).filter_map(kurtosis).collect();
        let excess_kurtosis = median(&mut tails).unwrap_or_default();
        let counts: BTreeSet<usize> = self.norms.iter().flatten().map(|norm| norm.count).collect();
        let probes = self.norms.iter().flatten().count();
        let of_count = |count| (count, stretch(self.rule, probes, count, excess_kurtosis));
        likeness.stretches = counts.into_iter().map(of_count).collect();
        likeness
    }

    /// The square of how much larger the scores of the reference's windows are than those of samples, in the median over
    /// probes.
    fn dependence(&self, drawn: &DrawnNulls) -> f64 {
        let of_probe = |(probe, norm): (usize, &Option<Norm>)| {
            let sampled = drawn.at(self.rows)?.norm(probe)?.location;
            let ratio = norm.as_ref()?.location / sampled;
            ratio.is_finite().then_some(ratio * ratio)
        };
        let mut ratios: Vec<f64> = self.norms.iter().enumerate().filter_map(of_probe).collect();
        median(&mut ratios).unwrap_or(1.0).max(1.0)
    }

    /// How much larger the scores of samples of `rows` rows are than those of the reference's windows.
    fn growth(&self, probe: usize, rows: i64, drawn: &DrawnNulls) -> f64 {
        let location = |rows| Some(drawn.at(rows)?.norm(probe)?.location);
        match (location(rows), location(self.rows)) {
            (Some(here), Some(there)) if there > 0.0 => (here / there).max(1.0),
            _ => 1.0,
        }
    }
}

impl Likeness {
    /// How many of a window's rows count as independent.
    fn independent(&self, rows: i64) -> i64 {
        ((rows as f64 / self.dependence).max(LEAST_INDEPENDENT) as i64).min(rows)
    }
}

/// What the scores of all probes in all windows, each standardised by the other windows of its probe, exceed as often as one
/// of them may. That the others are few is in it: a new window, too, is held against what others have shown.
fn pooled(windows: &[WindowScores], floors: &[f64], rule: AlarmRule) -> f64 {
    let unbounded = vec![0.0; floors.len()];
    let norms = Norm::learn_all(windows.iter().map(|window| &window.scores), &unbounded);
    let of_window = |window: &WindowScores| -> Vec<f64> {
        let probes = norms.iter().zip(floors).zip(&window.scores);
        probes.filter_map(|((norm, floor), score)| norm.as_ref()?.excess_over_others((*score)?, *floor)).collect()
    };
    let excesses: Vec<f64> = windows.iter().flat_map(of_window).collect();
    let probes = norms.iter().flatten().count().max(1) as f64;
    let one_of_them = AlarmRule { rate: rule.rate_of_windows() / probes, agreeing: 1, of: 1 };
    let count = excesses.len();
    one_of_them.critical(excesses, count).unwrap_or_default()
}

/// Whether so many windows of a reference support a rule: its thresholds are then at most twice as far out as they would be
/// if the reference were long.
pub(crate) fn supports(windows: usize, rule: AlarmRule, probes: usize) -> bool {
    windows >= LEAST_WINDOWS && stretch(rule, probes, windows, 0.0) <= SUPPORTED_STRETCH
}

/// The fewest windows of a reference that support a rule.
pub(crate) fn windows_needed(rule: AlarmRule, probes: usize) -> usize {
    (LEAST_WINDOWS..MOST_NEEDED).find(|windows| supports(*windows, rule, probes)).unwrap_or(MOST_NEEDED)
}
