//! Null models drawn from a reference's counts.
//!
//! The cost is paid once for each size of window that comes, when it first comes. The sizes are half octaves (64, 91, 128,
//! …), rounded down, so that a threshold is never too low for its window. Where no statistic looks for the largest of many
//! bins, numbers are drawn into fewer: a sum over [`PARTS`] parts of a coarse bin varies as one over all of its fine
//! bins does.

use super::resample::Population;
use super::{AlarmRule, Limit, Norm, Probe, Scores, largest_excess};
use crate::layout::ColumnLayout;
use crate::profile::ColumnProfile;
use crate::random::Random;
use crate::statistics::{Pair, Statistic};
use std::sync::OnceLock;

/// The fewest alarms drawn for one size; a rarer one than one in 200 takes more.
const LEAST_ALARMS: usize = 199;

/// The most; the tail of rarer alarms is continued from those.
const MOST_ALARMS: usize = 2_999;

/// Windows in a reference whose error hardly matters.
const LONG_REFERENCE: i64 = 10;

/// The most times that a redrawn reference is looked at by all the windows of an alarm.
const MOST_ALARMS_OF_RUN: i64 = 5;

/// The seed of the drawn samples; with the size and the column it decides every draw.
const SEED: u64 = 0x0D21_F711_4E00_0001;

/// Into how many parts of a coarse bin numbers are drawn.
const PARTS: usize = 4;

/// Half octaves from 1 row to 2³² rows.
const SIZES: usize = 65;

/// Where each probe's scores lie in samples of one size, and how far out the largest of them may be.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnNull {
    norms: Vec<Option<Norm>>,
    critical: f64,
}

impl DrawnNull {
    /// Where a probe's scores lie, and the score beyond which a window is unlike samples of the reference; `None` where the
    /// probe was undefined in all of them.
    pub fn limit(&self, probe: usize) -> Option<Limit> {
        let norm = self.norm(probe)?;
        Some(Limit { location: norm.location, threshold: norm.location + self.critical * norm.scale })
    }

    /// How many scales the largest score of a window may lie above where it should.
    pub(super) fn critical(&self) -> f64 {
        self.critical
    }

    pub(super) fn norm(&self, probe: usize) -> Option<&Norm> {
        self.norms.get(probe)?.as_ref()
    }
}

/// Null models drawn from a reference's counts, one for each size of window, when it is first asked for.
#[derive(Debug, Clone)]
pub struct DrawnNulls {
    layouts: Vec<ColumnLayout>,
    columns: Vec<ColumnProfile>,
    probes: Vec<Probe>,
    floors: Vec<f64>,
    rule: AlarmRule,
    by_size: Vec<OnceLock<Option<DrawnNull>>>,
}

impl DrawnNulls {
    /// For these probes of a reference's columns and their layouts. `floors` holds for each probe the least scale.
    pub fn new(
        (layouts, columns): (&[ColumnLayout], &[ColumnProfile]),
        probes: Vec<Probe>,
        floors: Vec<f64>,
        rule: AlarmRule,
    ) -> Self {
        let (layouts, columns) = (layouts.to_vec(), columns.to_vec());
        Self { layouts, columns, probes, floors, rule, by_size: vec![OnceLock::new(); SIZES] }
    }

    /// The null model for windows of `rows` rows; `None` for a window without rows.
    pub fn at(&self, rows: i64) -> Option<&DrawnNull> {
        let class = size_class(rows)?;
        self.by_size.get(class)?.get_or_init(|| self.draw(class)).as_ref()
    }

    /// Columns are drawn one after the other, each on its own: that they depend on each other makes large excesses come
    /// together, and so more rarely.
    fn draw(&self, class: usize) -> Option<DrawnNull> {
        let windows = self.windows_of_run(class_rows(class));
        let alarms_of_run = windows + 1 - self.rule.of.max(1);
        let runs = alarms_for(self.rule.rate).div_ceil(alarms_of_run);
        let mut norms = vec![None; self.probes.len()];
        let mut largest = vec![f64::NEG_INFINITY; runs * windows];
        for column in 0..self.columns.len() {
            self.draw_column((column, class), windows, &mut largest, &mut norms);
        }
        let alarms = largest.chunks(windows).flat_map(|run| self.rule.alarms(run)).collect();
        Some(DrawnNull { critical: self.rule.critical(alarms, runs)?, norms })
    }

    /// How many windows are held against one redrawn reference: as many as an alarm looks at, and more of them where the
    /// reference is so long that its error is a small part of what they have in common.
    fn windows_of_run(&self, rows: i64) -> usize {
        let reference = self.columns.first().map_or(0, ColumnProfile::rows);
        let times = (reference / rows.saturating_mul(LONG_REFERENCE).max(1)).clamp(1, MOST_ALARMS_OF_RUN);
        self.rule.of.max(1) * times as usize
    }

    /// Learns the norms of one column's probes, and raises the largest excess of each window to theirs.
    fn draw_column(
        &self,
        (column, class): (usize, usize),
        windows: usize,
        largest: &mut [f64],
        norms: &mut [Option<Norm>],
    ) {
        let of_column = |(place, probe): (usize, &Probe)| (probe.column == column).then_some((place, probe.statistic));
        let probes: Vec<(usize, Statistic)> = self.probes.iter().enumerate().filter_map(of_column).collect();
        let Some((layout, profile)) = self.column(column, &probes).filter(|_| !probes.is_empty()) else { return };
        let (known, beyond) = (Population::known(&layout, &profile), Population::with_unknown(&layout, &profile));
        let mut random = Random::new(SEED ^ ((column as u64) << 32) ^ ((class as u64) << 16));
        let mut scores: Vec<Scores> = Vec::with_capacity(largest.len());
        for _ in 0..largest.len() / windows {
            let Some(reference) = known.sample(profile.rows(), &mut random) else { return };
            for _ in 0..windows {
                let Some(current) = beyond.sample(class_rows(class), &mut random) else { return };
                let Ok(pair) = Pair::of_profiles(&layout, &reference, &current) else { return };
                let score = |(_, statistic): &(usize, Statistic)| Some(statistic.detector().compare(&pair).ok()?.score);
                scores.push(probes.iter().map(score).collect());
            }
        }
        let floors: Vec<f64> = probes.iter().filter_map(|(place, _)| self.floors.get(*place).copied()).collect();
        let of_column = Norm::learn_all(scores.iter(), &floors);
        for (most, scores) in largest.iter_mut().zip(&scores) {
            *most = most.max(largest_excess(&of_column, scores));
        }
        for ((place, _), norm) in probes.iter().zip(of_column) {
            if let Some(slot) = norms.get_mut(*place) {
                *slot = norm;
            }
        }
    }

    /// What a column is drawn from.
    fn column(&self, column: usize, probes: &[(usize, Statistic)]) -> Option<(ColumnLayout, ColumnProfile)> {
        let (layout, profile) = (self.layouts.get(column)?, self.columns.get(column)?);
        if probes.iter().any(|(_, statistic)| statistic.is_largest_of_bins()) {
            return Some((layout.clone(), profile.clone()));
        }
        profile.thinned(layout, PARTS)
    }
}

/// How many alarms support a rate: with `K` of them one more exceeds the largest in one of `K + 1`.
fn alarms_for(rate: f64) -> usize {
    // What lies a rounding error above a whole number is that number.
    let needed = (1.0 / rate - 1e-9).ceil() as usize;
    needed.saturating_sub(1).clamp(LEAST_ALARMS, MOST_ALARMS)
}

/// The half octave that a number of rows lies in; `None` for no rows.
fn size_class(rows: i64) -> Option<usize> {
    (0..SIZES).take_while(|class| class_rows(*class) <= rows).last()
}

/// The least number of rows of a half octave.
fn class_rows(class: usize) -> i64 {
    2.0_f64.powf(class as f64 / 2.0).ceil() as i64
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
    fn a_rate_is_kept_by_as_many_alarms_as_it_takes() {
        assert_eq!([0.5, 0.005, 0.001, 0.000_1].map(alarms_for), [199, 199, 999, 2_999]);
    }
}
