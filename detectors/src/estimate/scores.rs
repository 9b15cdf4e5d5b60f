//! Scores and a yes-or-no beside each: whether the label is positive, or whether the model answered so.
//!
//! The counts come from the rows themselves ([`count_scores`]) or from a tally that adds up ([`ScoreTally`]), and what
//! is made of them does not know which. A tally has a thousand bins of equal width and remembers the mean score in
//! each, to within a millionth: what is lost is only the order of scores within a bin.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many bins divide [0, 1]: those of the labelled score histogram.
const BINS: u16 = 1000;
/// A bin's width is divided into so many parts, in which the place within it is summed. The sum of 2⁵³ rows still fits.
const PARTS: f64 = 512.0;

/// Rows of one score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreCounts {
    /// The score, in [0, 1].
    pub score: f64,
    /// Rows for which the answer is no.
    pub negatives: i64,
    /// Rows for which the answer is yes.
    pub positives: i64,
}

impl ScoreCounts {
    /// Both.
    pub fn rows(&self) -> i64 {
        self.negatives.saturating_add(self.positives)
    }
}

/// Counts rows by their exact score, from low to high. Rows whose score is not in [0, 1] are left out.
pub fn count_scores(rows: impl IntoIterator<Item = (f64, bool)>) -> Vec<ScoreCounts> {
    let usable = rows.into_iter().filter(|(score, _)| (0.0..=1.0).contains(score));
    let mut rows: Vec<(f64, bool)> = usable.collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut counts: Vec<ScoreCounts> = Vec::new();
    for (score, positive) in rows {
        let (negatives, positives) = if positive { (0, 1) } else { (1, 0) };
        match counts.last_mut() {
            Some(last) if last.score == score => {
                last.negatives += negatives;
                last.positives += positives;
            }
            _ => counts.push(ScoreCounts { score, negatives, positives }),
        }
    }
    counts
}

/// Scores in bins, with how many rows were answered yes and no: what a pane holds of a model whose labels are to come.
///
/// Merging adds integers, so its order changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreTally {
    bins: BTreeMap<u16, TallyBin>,
    unusable: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TallyBin {
    negatives: i64,
    positives: i64,
    /// Where in the bin its rows lie, in parts of its width, summed.
    offsets: i64,
}

impl ScoreTally {
    /// Counts one row.
    pub fn observe(&mut self, score: f64, positive: bool) {
        if !(0.0..=1.0).contains(&score) {
            self.unusable += 1;
            return;
        }
        let scaled = score * f64::from(BINS);
        let bin = (scaled as u16).min(BINS - 1);
        let offset = ((scaled - f64::from(bin)) * PARTS).round() as i64;
        let (negatives, positives) = if positive { (0, 1) } else { (1, 0) };
        self.add(bin, TallyBin { negatives, positives, offsets: offset });
    }

    /// Adds the other's rows to these.
    pub fn merge(&mut self, other: &Self) {
        for (bin, counts) in &other.bins {
            self.add(*bin, *counts);
        }
        self.unusable = self.unusable.saturating_add(other.unusable);
    }

    /// Rows with a score in [0, 1].
    pub fn rows(&self) -> i64 {
        self.bins.values().fold(0, |sum, bin| sum.saturating_add(bin.negatives).saturating_add(bin.positives))
    }

    /// Rows without a score in [0, 1], which are counted nowhere else.
    pub fn unusable(&self) -> i64 {
        self.unusable
    }

    /// The rows by the mean score of their bin, from low to high.
    pub fn counts(&self) -> Vec<ScoreCounts> {
        let counts_of = |(bin, held): (&u16, &TallyBin)| {
            let rows = held.negatives.saturating_add(held.positives).max(1) as f64;
            let score = (f64::from(*bin) + held.offsets as f64 / PARTS / rows) / f64::from(BINS);
            ScoreCounts { score: score.clamp(0.0, 1.0), negatives: held.negatives, positives: held.positives }
        };
        self.bins.iter().map(counts_of).collect()
    }

    fn add(&mut self, bin: u16, more: TallyBin) {
        let held = self.bins.entry(bin).or_default();
        held.negatives = held.negatives.saturating_add(more.negatives);
        held.positives = held.positives.saturating_add(more.positives);
        held.offsets = held.offsets.saturating_add(more.offsets);
    }
}
