//! Thresholds learned from how a reference varies on its own.
//!
//! Many tests are looked at in every window; each with a threshold of its own would raise a false alarm somewhere nearly
//! always. So the tests share one budget. Every test's score is standardised by where it lies and how far it spreads when
//! nothing has changed, and the largest standardised score of a window is what has a threshold (the max-T method of
//! Westfall and Young, 1993): the `k`-th largest that was seen among `K` windows in which nothing had changed. By
//! exchangeability one more such window exceeds it with probability at most `k / (K + 1)`, however the tests depend on each
//! other; `k` is the largest that keeps to the rate asked for, and 1 where `K` windows cannot support it. Turned back into a test's own unit, the threshold is `location + critical · scale`.
//!
//! Windows without change come from two sources, and a score must pass the thresholds of both:
//! - *The reference's own windows*, each held against the rest of the reference. They know of seasons and of bursts, but
//!   they are few, and of one size.
//! - *Samples drawn from the reference's counts* (as many as the rate asks for, 199 at least) at the size of the window that is judged, each held
//!   against a redrawn reference, so that its sampling error counts too. They know every size, but of sampling alone.
//!
//! The drawn sizes are half octaves (64, 90, 128, …), rounded down, so that a threshold is never too low for its window.

mod resample;

use crate::layout::ColumnLayout;
use crate::profile::ColumnProfile;
use crate::statistics::{Pair, Statistic};
use resample::{SplitMix64, resample};
use std::sync::OnceLock;

/// The fewest samples drawn for one size; a rarer false alarm than one in 200 takes more.
const LEAST_SAMPLES: usize = 199;

/// The seed of the drawn samples; with the size and the column it decides every draw.
const SEED: u64 = 0x0D21_F711_4E00_0001;

/// Half octaves from 1 row to 2³² rows.
const SIZES: usize = 65;

/// How much of the standard deviation the median absolute deviation of normal values is: 1 / 1.4826.
const NORMAL_MAD: f64 = 0.674_489_750_196_081_7;

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

/// Where each probe's scores lie when nothing has changed, and how far out the largest of them may be.
#[derive(Debug, Clone, PartialEq)]
pub struct NullModel {
    norms: Vec<Option<Norm>>,
    critical: f64,
}

/// Median, and a robust standard deviation that is never below a floor.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Norm {
    location: f64,
    scale: f64,
}

impl NullModel {
    /// Learned from windows in which nothing had changed; `None` where there are none.
    ///
    /// `floors` holds for each probe the least scale, so that a probe which hardly varies does not turn dust into alarms.
    /// `rate` is the share of such windows that may exceed a threshold of any probe.
    pub fn learn(windows: &[Scores], floors: &[f64], rate: f64) -> Option<Self> {
        if windows.is_empty() {
            return None;
        }
        let norms: Vec<Option<Norm>> = floors
            .iter()
            .enumerate()
            .map(|(probe, floor)| {
                let scores = windows.iter().filter_map(|scores| scores.get(probe).copied().flatten()).collect();
                Norm::learn(scores, *floor)
            })
            .collect();
        let largest = |scores: &Scores| {
            let pairs = norms.iter().zip(scores);
            pairs.filter_map(|(norm, score)| Some(norm.as_ref()?.excess((*score)?))).fold(0.0, f64::max)
        };
        let mut largest: Vec<f64> = windows.iter().map(largest).collect();
        largest.sort_unstable_by(|a, b| b.total_cmp(a));
        let may_exceed = (rate * (windows.len() + 1) as f64) as usize;
        let critical = largest.get(may_exceed.saturating_sub(1)).copied()?;
        Some(Self { norms, critical })
    }

    /// The score beyond which a probe's window is unlike those that were learned from; `None` where the probe was undefined
    /// in all of them.
    pub fn threshold(&self, probe: usize) -> Option<f64> {
        let norm = self.norms.get(probe).copied().flatten()?;
        Some(norm.location + self.critical * norm.scale)
    }

    /// How many scales a score lies above where it should.
    pub fn excess(&self, probe: usize, score: f64) -> Option<f64> {
        self.norms.get(probe)?.as_ref().map(|norm| norm.excess(score))
    }
}

impl Norm {
    fn learn(mut scores: Vec<f64>, floor: f64) -> Option<Self> {
        let location = median(&mut scores)?;
        let mut deviations: Vec<f64> = scores.iter().map(|score| (score - location).abs()).collect();
        let scale = median(&mut deviations)? / NORMAL_MAD;
        Some(Self { location, scale: scale.max(floor) })
    }

    fn excess(&self, score: f64) -> f64 {
        (score - self.location) / self.scale
    }
}

/// Null models drawn from a reference's counts, one for each size of window, when it is first asked for.
#[derive(Debug, Clone)]
pub struct DrawnNulls {
    layouts: Vec<ColumnLayout>,
    columns: Vec<ColumnProfile>,
    probes: Vec<Probe>,
    floors: Vec<f64>,
    rate: f64,
    by_size: Vec<OnceLock<Option<NullModel>>>,
}

impl DrawnNulls {
    /// For these probes of a reference's columns, and their layouts; `rate` as for [`NullModel::learn`].
    pub fn new(
        (layouts, columns): (&[ColumnLayout], &[ColumnProfile]),
        probes: Vec<Probe>,
        floors: Vec<f64>,
        rate: f64,
    ) -> Self {
        let (layouts, columns) = (layouts.to_vec(), columns.to_vec());
        Self { layouts, columns, probes, floors, rate, by_size: vec![OnceLock::new(); SIZES] }
    }

    /// The null model for windows of `rows` rows; `None` for a window without rows.
    pub fn at(&self, rows: i64) -> Option<&NullModel> {
        let class = size_class(rows)?;
        self.by_size.get(class)?.get_or_init(|| self.draw(class)).as_ref()
    }

    fn draw(&self, class: usize) -> Option<NullModel> {
        let rows = class_rows(class);
        let mut windows: Vec<Scores> = vec![vec![None; self.probes.len()]; samples_for(self.rate)];
        for (column, (layout, profile)) in self.layouts.iter().zip(&self.columns).enumerate() {
            let probes: Vec<(usize, Statistic)> = self
                .probes
                .iter()
                .enumerate()
                .filter(|(_, probe)| probe.column == column)
                .map(|(place, probe)| (place, probe.statistic))
                .collect();
            if probes.is_empty() {
                continue;
            }
            let mut random = SplitMix64::new(SEED ^ ((column as u64) << 32) ^ ((class as u64) << 16));
            for window in &mut windows {
                let reference = resample(profile, profile.rows(), &mut random);
                let current = resample(profile, rows, &mut random);
                let Ok(pair) = Pair::of_profiles(layout, &reference, &current) else { continue };
                for (place, statistic) in &probes {
                    let evidence = statistic.detector().compare(&pair);
                    if let Some(score) = window.get_mut(*place) {
                        *score = evidence.ok().map(|evidence| evidence.score);
                    }
                }
            }
        }
        NullModel::learn(&windows, &self.floors, self.rate)
    }
}

/// How many windows without change support a rate: with `K` of them one more exceeds the largest in one of `K + 1`.
fn samples_for(rate: f64) -> usize {
    // What lies a rounding error above a whole number is that number.
    let needed = (1.0 / rate - 1e-9).ceil() as usize;
    needed.saturating_sub(1).max(LEAST_SAMPLES)
}

/// The half octave that a number of rows lies in; `None` for no rows.
fn size_class(rows: i64) -> Option<usize> {
    let class = (0..SIZES).take_while(|class| class_rows(*class) <= rows).last()?;
    Some(class)
}

/// The least number of rows of a half octave.
fn class_rows(class: usize) -> i64 {
    2.0_f64.powf(class as f64 / 2.0).ceil() as i64
}

/// The median of the values, which are reordered; of an even number the mean of the middle two.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_to_half_octaves() {
        let class = |rows| class_rows(size_class(rows).unwrap());
        assert_eq!([1, 2, 100, 127, 128, 500].map(class), [1, 2, 91, 91, 128, 363]);
        assert_eq!(size_class(0), None);
        assert!(class(i64::MAX) <= 1 << 32);
    }

    #[test]
    fn the_largest_window_learned_from_lies_at_the_threshold_and_the_others_within() {
        let windows: Vec<Scores> = (0..20).map(|i| vec![Some(f64::from(i) / 100.0), Some(1.0), None]).collect();
        let null = NullModel::learn(&windows, &[0.001, 0.1, 0.1], 0.005).unwrap();
        assert!((null.threshold(0).unwrap() - 0.19).abs() < 1e-12);
        assert!(null.threshold(1).unwrap() > 1.0, "a constant score has the floor as its scale");
        assert_eq!(null.threshold(2), None);
        assert_eq!(NullModel::learn(&[], &[0.1], 0.005), None);
    }

    #[test]
    fn a_rate_is_kept_by_as_many_samples_as_it_takes() {
        assert_eq!([0.5, 0.005, 0.001, 0.000_1].map(samples_for), [199, 199, 999, 9_999]);
        let windows: Vec<Scores> = (1..=999).map(|i| vec![Some(f64::from(i))]).collect();
        let exceeding = |rate| {
            let threshold = NullModel::learn(&windows, &[0.1], rate).unwrap().threshold(0).unwrap();
            windows.iter().filter(|scores| scores[0].unwrap() > threshold + 1e-9).count()
        };
        // Of 1,000 windows, the one to come among them, so many may exceed.
        assert_eq!([0.000_1, 0.001, 0.01, 0.1].map(exceeding), [0, 0, 9, 99]);
    }

    #[test]
    fn smaller_windows_have_higher_thresholds_and_the_same_at_every_run() {
        let mut values: Vec<f64> = (0..2_000).map(f64::from).collect();
        let layout = ColumnLayout::learn_numeric(&mut values);
        let counts = vec![8; 256];
        let profile = ColumnProfile::empty(&layout).recounted(&counts);
        let probes = vec![Probe { column: 0, statistic: Statistic::JensenShannon }];
        let nulls = || {
            let columns = (&[layout.clone()][..], &[profile.clone()][..]);
            DrawnNulls::new(columns, probes.clone(), vec![0.001], 0.005)
        };
        let (once, again) = (nulls(), nulls());
        let threshold = |nulls: &DrawnNulls, rows| nulls.at(rows).unwrap().threshold(0).unwrap();
        assert!(threshold(&once, 128) > 1.5 * threshold(&once, 1_000));
        assert_eq!(threshold(&once, 600), threshold(&again, 600));
        assert!(once.at(0).is_none());
    }
}
