//! Scores of two classes in fine bins: what ranking and calibration metrics are computed from.
//!
//! Bins have equal width over [0, 1]; their number is a multiple of ten, so that the ten bins of the calibration error
//! are made of whole ones. Counts are integers and held sparsely, because a partial window fills few bins. Within a bin
//! the order of scores is forgotten: there every pair counts as a tie, which bounds the error of the AUC by what
//! [`ScoreHistogram::roc_auc_bound`] says. Scores with at most three decimals lose nothing.

use super::Sign;
use super::estimates::ratio;
use crate::verdict::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many bins divide [0, 1].
const BINS: u16 = 1000;
/// How many bins the calibration error has.
const DECILES: usize = 10;

/// What a scored row turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Negative,
    Positive,
}

/// Counts of negatives and positives by score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreHistogram {
    /// Bins in which there is anything, from low scores to high.
    bins: BTreeMap<u16, BinCounts>,
    /// Sum of the scores in each tenth of [0, 1].
    score_sums: [f64; DECILES],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct BinCounts {
    negatives: i64,
    positives: i64,
}

impl ScoreHistogram {
    /// Adds a score in [0, 1] `count` times; a negative count takes it back.
    pub(super) fn observe(&mut self, score: f64, truth: Truth, count: i64) {
        debug_assert!((0.0..=1.0).contains(&score), "decoding lets only probabilities through");
        // Truncation is the convention: a score on an edge belongs to the bin above it, and 1 to the last bin.
        let bin = ((score * f64::from(BINS)) as u16).min(BINS - 1);
        let counts = match truth {
            Truth::Negative => BinCounts { negatives: count, positives: 0 },
            Truth::Positive => BinCounts { negatives: 0, positives: count },
        };
        self.add(bin, counts);
        if let Some(sum) = self.score_sums.get_mut(decile_of(bin)) {
            *sum += count as f64 * score;
        }
    }

    pub(super) fn combine(&mut self, other: &Self, sign: Sign) {
        let factor = sign.factor();
        for (bin, counts) in &other.bins {
            let counts = BinCounts { negatives: factor * counts.negatives, positives: factor * counts.positives };
            self.add(*bin, counts);
        }
        for (sum, other) in self.score_sums.iter_mut().zip(&other.score_sums) {
            *sum += factor as f64 * other;
        }
    }

    /// The probability that a positive scores above a negative, ties counting half; `None` unless there are both.
    ///
    /// # Formula
    /// `Σ_b neg(b)·(pos above b + pos(b)/2) / (P·N)`. The standard error is DeLong's: with `V₁₀` the share of negatives
    /// below a positive and `V₀₁` the share of positives above a negative, `√(var V₁₀ / P + var V₀₁ / N)`. Source:
    /// DeLong, DeLong and Clarke-Pearson (1988), *Biometrics* 44; known only where `P, N > 1`.
    pub fn roc_auc(&self) -> Option<Estimate> {
        roc_auc(self.bins.values().map(|counts| (counts.negatives as f64, counts.positives as f64)))
    }

    /// How far [`ScoreHistogram::roc_auc`] can lie from the AUC of the scores themselves.
    ///
    /// # Formula
    /// `Σ_b pos(b)·neg(b) / (2·P·N)`: every pair within a bin may have been in either order, and counts as half.
    pub fn roc_auc_bound(&self) -> Option<f64> {
        let (negatives, positives) = self.both_classes()?;
        let pairs: f64 = self.bins.values().map(|counts| counts.negatives as f64 * counts.positives as f64).sum();
        Some(pairs / (2.0 * positives * negatives))
    }

    /// Precision averaged over recall, each bin one threshold; `None` without positives.
    ///
    /// # Formula
    /// `Σ (Rₙ − Rₙ₋₁)·Pₙ` from the highest threshold to the lowest, without interpolation, as scikit-learn's.
    pub fn average_precision(&self) -> Option<f64> {
        let (_, total) = self.totals();
        let (mut seen, mut hits, mut area) = (0.0, 0.0, 0.0);
        for counts in self.bins.values().rev() {
            seen += (counts.negatives + counts.positives) as f64;
            hits += counts.positives as f64;
            area += counts.positives as f64 * ratio(hits, seen).unwrap_or(0.0);
        }
        ratio(area, total as f64)
    }

    /// The expected calibration error in ten bins of equal width; `None` of nothing.
    ///
    /// # Formula
    /// `Σ_d |Σ score − positives| / n` over the tenths of [0, 1], each closed on the left and the last on both sides.
    /// Source: Naeini, Cooper and Hauskrecht (2015), *AAAI*. The standard error is that of the labels at the scores
    /// given: `√(Σ_d n_d·r̃_d(1 − r̃_d)) / n` with `r̃ = (positives + 2)/(n_d + 4)`. It counts the spread of the scores
    /// within a tenth as noise, so it is rather too large than too small. A perfectly calibrated model has an ECE of
    /// about that size, not 0.
    pub fn calibration_error(&self) -> Option<Estimate> {
        let mut gaps = self.score_sums;
        let mut tenths = [(0.0, 0.0); DECILES];
        for (bin, counts) in &self.bins {
            let decile = decile_of(*bin);
            if let (Some(gap), Some((rows, hits))) = (gaps.get_mut(decile), tenths.get_mut(decile)) {
                *gap -= counts.positives as f64;
                *rows += (counts.negatives + counts.positives) as f64;
                *hits += counts.positives as f64;
            }
        }
        let (negatives, positives) = self.totals();
        let rows = (negatives + positives) as f64;
        let value = ratio(gaps.iter().map(|gap| gap.abs()).sum(), rows)?;
        let variance_of = |(rows, hits): &(f64, f64)| {
            let rate = (hits + 2.0) / (rows + 4.0);
            (rows * rate * (1.0 - rate)).max(0.0)
        };
        let variance: f64 = tenths.iter().map(variance_of).sum();
        Some(Estimate { value, standard_error: Some(variance.sqrt() / rows) })
    }

    /// Negatives and positives.
    pub fn totals(&self) -> (i64, i64) {
        let add = |(n, p): (i64, i64), counts: &BinCounts| (n + counts.negatives, p + counts.positives);
        self.bins.values().fold((0, 0), add)
    }

    fn both_classes(&self) -> Option<(f64, f64)> {
        let (negatives, positives) = self.totals();
        (negatives > 0 && positives > 0).then_some((negatives as f64, positives as f64))
    }

    /// Bins that become empty are dropped, so that equal contents are equal values.
    fn add(&mut self, bin: u16, counts: BinCounts) {
        let held = self.bins.entry(bin).or_default();
        held.negatives += counts.negatives;
        held.positives += counts.positives;
        if *held == BinCounts::default() {
            self.bins.remove(&bin);
        }
    }
}

fn decile_of(bin: u16) -> usize {
    usize::from(bin) * DECILES / usize::from(BINS)
}

/// The AUC of tied groups of (negatives, positives), from low scores to high, with DeLong's error; see
/// [`ScoreHistogram::roc_auc`].
pub(crate) fn roc_auc(groups: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Estimate> {
    let (negatives, positives) =
        groups.clone().fold((0.0, 0.0), |(n, p), (negative, positive)| (n + negative, p + positive));
    if negatives <= 0.0 || positives <= 0.0 {
        return None;
    }
    let (mut below, mut above) = (0.0, positives);
    let (mut sum, mut sum_sq_positives, mut sum_sq_negatives) = (0.0, 0.0, 0.0);
    for (negative, positive) in groups {
        above -= positive;
        let share_below = (below + negative / 2.0) / negatives;
        let share_above = (above + positive / 2.0) / positives;
        sum += positive * share_below;
        sum_sq_positives += positive * share_below * share_below;
        sum_sq_negatives += negative * share_above * share_above;
        below += negative;
    }
    let value = sum / positives;
    let error_of = |sum_sq: f64, n: f64| ((sum_sq / n - value * value) / (n - 1.0)).max(0.0);
    let standard_error = (positives > 1.0 && negatives > 1.0)
        .then(|| (error_of(sum_sq_positives, positives) + error_of(sum_sq_negatives, negatives)).sqrt());
    Some(Estimate { value, standard_error })
}
