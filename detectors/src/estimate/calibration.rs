//! From scores to probabilities: isotonic regression on the reference, where it helps.
//!
//! Invariants. The map rises or stays, from [0, 1] into [0, 1]. It depends on the reference's counts and the seed only,
//! not on the order of rows.
//!
//! The rule by which it is applied: ten times a tenth of the labelled rows is held out, drawn with the seed; the map is
//! learned on the rest, and the expected calibration error of the held-out rows is taken with it and without, over ten
//! bins of equal numbers of rows. The map is applied if its error is the smaller on average over the ten. NannyML
//! compares the errors of the ten held-out parts pooled into one. There what one part has too many of, the map of the
//! next has learned, the differences cancel, and the map wins over scores that are perfect already; so the parts are
//! kept apart here.

use super::{NotEstimable, ScoreCounts};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// How often rows are held out.
const SPLITS: usize = 10;
/// The share that is held out each time.
const HELD_OUT: f64 = 0.1;
/// Bins of the calibration error.
const ECE_BINS: f64 = 10.0;
/// Below this many labelled rows there are too few in a bin of held-out rows to tell which of two maps is better.
const LEAST_ROWS: i64 = 100;

/// A map from a model's scores to probabilities of the positive class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    choice: CalibrationChoice,
    /// Blocks of equal probability, from low scores to high.
    blocks: Vec<Block>,
}

/// Whether the scores are mapped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationChoice {
    /// Held-out rows were better calibrated with the map than without.
    Applied {
        /// Expected calibration error of the held-out scores.
        before: f64,
        /// The same of their probabilities.
        after: f64,
    },
    /// They were not: scores are taken for probabilities.
    NoGain {
        /// Expected calibration error of the held-out scores.
        before: f64,
        /// The same of their probabilities.
        after: f64,
    },
    /// The reference's labels are all of one class: scores are taken for probabilities.
    OneClass,
    /// Fewer than 100 labelled rows: scores are taken for probabilities.
    TooFewRows,
}

/// Neighbouring scores that share a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Block {
    lowest: f64,
    highest: f64,
    positives: f64,
    rows: f64,
}

impl Block {
    fn probability(&self) -> f64 {
        self.positives / self.rows
    }
}

/// A score as a probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibrated {
    pub(super) probability: f64,
    /// The block it was learned from; `None` where scores are not mapped.
    pub(super) block: Option<usize>,
}

impl Calibration {
    /// Learns from labelled rows, in any order; `positives` are those with the positive label.
    ///
    /// # Formula
    /// Isotonic regression by pooling adjacent violators (Ayer et al., 1955, *Annals of Mathematical Statistics* 26):
    /// the rising step function nearest to the labels. Between two blocks the probability is interpolated linearly,
    /// beyond the outermost it stays, as scikit-learn's does.
    ///
    /// # Errors
    /// When there is no usable row.
    pub fn learn(labelled: &[ScoreCounts], seed: u64) -> Result<Self, NotEstimable> {
        let counts = sorted(labelled);
        let rows = counts.iter().fold(0, |sum: i64, counts| sum.saturating_add(counts.rows()));
        if rows == 0 {
            return Err(NotEstimable::EmptyReference);
        }
        let one_class = counts.iter().all(|at| at.positives == 0) || counts.iter().all(|at| at.negatives == 0);
        let choice = match rows {
            _ if one_class => CalibrationChoice::OneClass,
            ..LEAST_ROWS => CalibrationChoice::TooFewRows,
            _ => choose(&counts, seed),
        };
        let applied = matches!(choice, CalibrationChoice::Applied { .. });
        Ok(Self { choice, blocks: if applied { pool(&counts) } else { Vec::new() } })
    }

    /// Whether the scores are mapped, and why.
    pub fn choice(&self) -> CalibrationChoice {
        self.choice
    }

    /// The probability of the positive class at this score; a score outside [0, 1] counts as the nearest one inside,
    /// and NaN as 0.5.
    pub fn probability(&self, score: f64) -> f64 {
        self.calibrated(score).probability
    }

    pub(super) fn calibrated(&self, score: f64) -> Calibrated {
        let score = if score.is_nan() { 0.5 } else { score.clamp(0.0, 1.0) };
        if self.blocks.is_empty() {
            return Calibrated { probability: score, block: None };
        }
        map(&self.blocks, score)
    }

    /// The variance of each block's probability, from the number of rows that it was learned from.
    ///
    /// # Formula
    /// `p̃(1 − p̃)/(n + 4)` with `p̃ = (k + 2)/(n + 4)` (Agresti and Coull, 1998), so that a block of positives only is
    /// not taken for certain.
    pub(super) fn variances(&self) -> Vec<f64> {
        let variance = |block: &Block| {
            let rate = (block.positives + 2.0) / (block.rows + 4.0);
            rate * (1.0 - rate) / (block.rows + 4.0)
        };
        self.blocks.iter().map(variance).collect()
    }
}

/// By score, and only what can be used.
fn sorted(counts: &[ScoreCounts]) -> Vec<ScoreCounts> {
    let usable =
        |at: &&ScoreCounts| (0.0..=1.0).contains(&at.score) && at.negatives >= 0 && at.positives >= 0 && at.rows() > 0;
    let mut counts: Vec<ScoreCounts> = counts.iter().filter(usable).copied().collect();
    counts.sort_by(|a, b| a.score.total_cmp(&b.score));
    counts
}

/// Pools neighbours until their rates rise.
fn pool(counts: &[ScoreCounts]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for at in counts {
        let (positives, rows) = (at.positives as f64, at.rows() as f64);
        let mut block = Block { lowest: at.score, highest: at.score, positives, rows };
        while let Some(before) =
            blocks.pop_if(|before| before.probability() >= block.probability() || before.highest == block.lowest)
        {
            block.lowest = before.lowest;
            block.positives += before.positives;
            block.rows += before.rows;
        }
        blocks.push(block);
    }
    blocks
}

/// A score's place among blocks, of which there is at least one.
fn map(blocks: &[Block], score: f64) -> Calibrated {
    let next = blocks.partition_point(|block| block.lowest <= score);
    let place = next.saturating_sub(1);
    let Some(here) = blocks.get(place) else { return Calibrated { probability: score, block: None } };
    let mut probability = here.probability();
    if let Some(above) = blocks.get(next).filter(|_| score > here.highest && next > 0) {
        let way = (score - here.highest) / (above.lowest - here.highest);
        probability += way * (above.probability() - probability);
    }
    Calibrated { probability: probability.clamp(0.0, 1.0), block: Some(place) }
}

/// Held-out rows at one probability.
#[derive(Debug, Clone, Copy)]
struct HeldOut {
    probability: f64,
    positives: f64,
    rows: f64,
}

fn choose(counts: &[ScoreCounts], seed: u64) -> CalibrationChoice {
    let mut random = Random::new(seed);
    let (mut before, mut after) = (0.0, 0.0);
    for _ in 0..SPLITS {
        let (kept, held_out) = split(counts, &mut random);
        let blocks = pool(&kept);
        let held_out_at = |at: &ScoreCounts, probability: f64| HeldOut {
            probability,
            positives: at.positives as f64,
            rows: at.rows() as f64,
        };
        let scores = held_out.iter().map(|at| held_out_at(at, at.score));
        let mapped = held_out.iter().map(|at| held_out_at(at, map(&blocks, at.score).probability));
        before += calibration_error(scores.collect()) / SPLITS as f64;
        after += calibration_error(mapped.collect()) / SPLITS as f64;
    }
    if after < before {
        CalibrationChoice::Applied { before, after }
    } else {
        CalibrationChoice::NoGain { before, after }
    }
}

/// What is kept to learn from, and what is held out.
fn split(counts: &[ScoreCounts], random: &mut Random) -> (Vec<ScoreCounts>, Vec<ScoreCounts>) {
    let (mut kept, mut held_out) = (Vec::with_capacity(counts.len()), Vec::with_capacity(counts.len()));
    for at in counts {
        let negatives = random.successes(at.negatives, HELD_OUT);
        let positives = random.successes(at.positives, HELD_OUT);
        held_out.push(ScoreCounts { score: at.score, negatives, positives });
        let (negatives, positives) = (at.negatives - negatives, at.positives - positives);
        kept.push(ScoreCounts { score: at.score, negatives, positives });
    }
    (sorted(&kept), sorted(&held_out))
}

/// `Σ_b |Σ probability − positives| / n` over ten bins of equal numbers of rows; rows of one probability that lie
/// across an edge are divided in proportion.
fn calibration_error(mut held_out: Vec<HeldOut>) -> f64 {
    held_out.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let total: f64 = held_out.iter().map(|at| at.rows).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let capacity = total / ECE_BINS;
    let (mut error, mut gap, mut filled) = (0.0, 0.0_f64, 0.0);
    for at in held_out {
        let mut left = at.rows;
        let gap_of_row = at.probability - at.positives / at.rows;
        while left > 0.0 {
            let taken = left.min(capacity - filled);
            gap += taken * gap_of_row;
            filled += taken;
            left -= taken;
            if left > 0.0 || filled >= capacity {
                error += gap.abs();
                (gap, filled) = (0.0, 0.0);
            }
        }
    }
    (error + gap.abs()) / total
}
