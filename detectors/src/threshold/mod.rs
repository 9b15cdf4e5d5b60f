//! Thresholds that keep to a rate of false alarms.
//!
//! Many tests are looked at in every window; each with a threshold of its own would raise a false alarm somewhere nearly
//! always. So the tests share one. Every test's score is standardised by where it lies and how far it spreads when nothing
//! has changed, and the largest of a window, its *excess*, is what has a threshold (the max-T method of Westfall and Young,
//! 1993). Turned back into a test's own unit, the threshold is `location + critical · scale`.
//!
//! An alarm takes several windows: `M` of `N`. What is kept to the rate is therefore the alarm, not the window: the
//! `M`-th largest excess of `N` consecutive windows exceeds the critical value in the stated share of them. Those `N` are
//! held against one reference, so the error that they have in common is in it.
//!
//! What is known of windows without change comes from two sources, and a score must pass the thresholds of both:
//! - [`DrawnNulls`]: samples drawn from the reference's counts at the size of the window that is judged, held against a
//!   redrawn reference. They know every size and any rate, but of sampling alone: rows that depend on their
//!   neighbours, seasons and bursts are not in them.
//! - [`WindowNull`]: the reference's own windows, each held against the rest. They know of all that, but they are
//!   few.

mod drawn;
mod resample;
mod stretch;
mod window;

pub use drawn::{DrawnNull, DrawnNulls};
pub use window::{WindowNull, WindowScores};
pub(crate) use window::{supports, windows_needed};

use crate::normal::normal_quantile;
use crate::statistics::Statistic;
use serde::{Deserialize, Serialize};

/// One statistic of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Place of the column in the schema.
    pub column: usize,
    /// The statistic.
    pub statistic: Statistic,
}

/// The scores of one window, in the order of the probes; `None` where a statistic is undefined.
pub type Scores = Vec<Option<f64>>;

/// The share of alarms from whose excess rarer ones are continued.
const TAIL: f64 = 0.02;

/// When an alarm is raised, and how often that may happen where nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmRule {
    /// The share of windows without change in which an alarm may stand.
    pub rate: f64,
    /// Windows that must exceed.
    pub agreeing: usize,
    /// Windows that are looked at.
    pub of: usize,
}

impl AlarmRule {
    /// The `agreeing`-th largest of the excesses of consecutive windows, for each window that has enough before it.
    fn alarms(&self, excesses: &[f64]) -> Vec<f64> {
        let of_run = |run: &[f64]| {
            let mut run = run.to_vec();
            run.sort_unstable_by(|a, b| b.total_cmp(a));
            run.get(self.agreeing.saturating_sub(1)).copied()
        };
        excesses.windows(self.of.max(1)).filter_map(of_run).collect()
    }

    /// The value that as many of the alarms exceed as the rate allows one more to: by exchangeability one more exceeds the
    /// `k`-th largest of `K` with probability at most `k / (K + 1)`. Of too few the largest.
    fn critical_shown(&self, mut alarms: Vec<f64>) -> Option<f64> {
        alarms.sort_unstable_by(|a, b| b.total_cmp(a));
        let may_exceed = (self.rate * (alarms.len() + 1) as f64 + 1e-9) as usize;
        alarms.get(may_exceed.saturating_sub(1)).copied()
    }

    /// The same, and for a rate that is too rare for so many the tail continued: beyond the value that a share [`TAIL`]
    /// exceeds, excesses are taken for exponential, and their mean for what it is, an estimate from `n` of them. One more
    /// exceeds `from + n·mean·((TAIL / rate)^(1/n) − 1)` with probability `rate`. Heavier tails than exponential ones are
    /// not in it. `runs` is how many alarms are independent of each other.
    fn critical(&self, mut alarms: Vec<f64>, runs: usize) -> Option<f64> {
        let among = (alarms.len() + 1) as f64;
        if self.rate * among + 1e-9 >= 1.0 {
            return self.critical_shown(alarms);
        }
        alarms.sort_unstable_by(|a, b| b.total_cmp(a));
        let beyond = ((TAIL * among) as usize).clamp(1, alarms.len().max(1));
        let from = alarms.get(beyond).or(alarms.last()).copied().filter(|from| from.is_finite())?;
        let tail = alarms.get(..beyond)?;
        let mean = tail.iter().map(|alarm| alarm - from).sum::<f64>() / beyond as f64;
        let independent = (TAIL * runs as f64).clamp(1.0, beyond as f64);
        Some(from + independent * mean * ((TAIL / self.rate).powf(1.0 / independent) - 1.0).max(0.0))
    }

    /// The share of single windows that may exceed, were windows independent: `C(N − 1, M − 1)` runs of `M` end with a
    /// given window.
    fn rate_of_windows(&self) -> f64 {
        (self.rate / self.runs()).powf(1.0 / self.agreeing.max(1) as f64)
    }

    /// `C(N − 1, M − 1)`.
    fn runs(&self) -> f64 {
        let (agreeing, of) = (self.agreeing.max(1), self.of.max(1));
        (1..agreeing).fold(1.0, |runs, k| runs * of.saturating_sub(k) as f64 / k as f64)
    }

    /// What a standard normal exceeds as often as each of so many tests may.
    pub(crate) fn quantile_of_tests(&self, tests: usize) -> f64 {
        normal_quantile(self.rate_of_windows() / tests.max(1) as f64)
    }

    /// How many of its own standard errors a window may differ from the reference, where `common` times as large an error
    /// is the reference's.
    pub(crate) fn standard_errors(&self, common: f64) -> f64 {
        stretch::standard_errors(*self, common)
    }

    /// The value that one more of these exceeds in as many windows as may; `None` of fewer than three.
    pub(crate) fn prediction_limit(&self, values: &[f64]) -> Option<f64> {
        let norm = Norm::learn(values.iter().copied(), 0.0).filter(|norm| norm.count > 2)?;
        let quantile = normal_quantile(self.rate_of_windows()) * stretch::stretch(*self, 1, norm.count, 0.0);
        Some(norm.location + quantile * norm.scale)
    }
}

/// What a threshold was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdSource {
    /// The user, or a setting.
    Fixed,
    /// The least effect that matters; chance alone stays below it.
    MinimumEffect,
    /// How samples of the reference's size and the window's vary, rows being independent.
    Sampling,
    /// How windows of the reference vary in time.
    ReferenceWindows,
}

impl ThresholdSource {
    /// The largest of these thresholds, and where it came from.
    pub(crate) fn largest(thresholds: [(f64, Self); 3]) -> (f64, Self) {
        let [first, others @ ..] = thresholds;
        others.into_iter().fold(first, |most, found| if found.0 > most.0 { found } else { most })
    }
}

/// Where the scores of one probe lie when nothing has changed, and how far out they may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Where they lie.
    pub location: f64,
    /// Beyond this they count.
    pub threshold: f64,
}

/// Where a probe's scores lie when nothing has changed: their mean and standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Norm {
    location: f64,
    scale: f64,
    /// Scores that it was learned from.
    count: usize,
    /// How much heavier their tails are than normal ones, which have 0.
    excess_kurtosis: f64,
}

impl Norm {
    /// Of these scores, the scale no smaller than `floor`, so that a probe which hardly varies does not turn dust into
    /// alarms; `None` of none.
    fn learn(scores: impl Iterator<Item = f64> + Clone, floor: f64) -> Option<Self> {
        let count = scores.clone().count();
        if count == 0 {
            return None;
        }
        let location = scores.clone().sum::<f64>() / count as f64;
        let squares: f64 = scores.clone().map(|score| (score - location).powi(2)).sum();
        let fourths: f64 = scores.map(|score| (score - location).powi(4)).sum();
        let scale = (squares / count.saturating_sub(1).max(1) as f64).sqrt().max(floor);
        let excess_kurtosis = if squares > 0.0 { count as f64 * fourths / (squares * squares) - 3.0 } else { 0.0 };
        Some(Self { location, scale, count, excess_kurtosis })
    }

    /// One for each probe, of the scores of all windows.
    fn learn_all<'a>(windows: impl Iterator<Item = &'a Scores> + Clone, floors: &[f64]) -> Vec<Option<Self>> {
        let of_probe = |(probe, floor): (usize, &f64)| {
            Self::learn(windows.clone().filter_map(|scores| scores.get(probe).copied().flatten()), *floor)
        };
        floors.iter().enumerate().map(of_probe).collect()
    }

    fn excess(&self, score: f64) -> f64 {
        (score - self.location) / self.scale
    }

    /// The excess of one of the scores over where the others lie, whose scale is `floor` at least; `None` where fewer than
    /// two others are there.
    fn excess_over_others(&self, score: f64, floor: f64) -> Option<f64> {
        let others = self.count.checked_sub(1).filter(|others| *others >= 2)? as f64;
        let deviation = score - self.location;
        let squares = others * self.scale * self.scale - deviation * deviation * (others + 1.0) / others;
        let scale = (squares.max(0.0) / (others - 1.0)).sqrt().max(floor);
        Some((deviation + deviation / others) / scale)
    }
}

/// The largest standardised score of a window.
fn largest_excess(norms: &[Option<Norm>], scores: &Scores) -> f64 {
    let pairs = norms.iter().zip(scores);
    pairs.filter_map(|(norm, score)| Some(norm.as_ref()?.excess((*score)?))).fold(f64::NEG_INFINITY, f64::max)
}

/// The median of the values, which are reordered; of an even number the mean of the middle two.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests;
