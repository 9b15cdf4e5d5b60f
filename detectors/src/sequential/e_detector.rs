//! An e-detector: bets against "the mean has not changed", whose mean run length to a false alarm is guaranteed, for any
//! bounded values.
//!
//! Source: Shin, Ramdas and Rinaldo (2022), *E-detectors: a nonparametric framework for sequential change detection*, for
//! the detector; Waudby-Smith and Ramdas (2024), *Estimating means of bounded random variables by betting*, JRSS B, for the
//! bets.
//!
//! # Formula
//! For a rise, values are read as `w = (x − low)/(μ⁺ − low)`, with `μ⁺` the greatest mean without change; then `w ≥ 0`, and
//! its mean is at most 1. For a fall it is `w = (high − x)/(high − μ⁻)`. A bet of the fraction `λ` of what one has
//! multiplies it by `1 + λ·(w − 1)` at a value. Of a step only `(n, Σw, Σw²)` is known; with `c = Σw²/Σw` and
//! `p = (Σw)²/(n·Σw²)` it multiplies by
//!
//! `L = exp(n·[(1 − p)·ln(1 − λ) + p·ln(1 + λ·(c − 1))])`,
//!
//! and the Shiryaev–Roberts sum of those who began to bet at any of the steps is `R ← (R + 1)·L`. The mean has changed when
//! the average of `R` over all bets (`λ = ½, ¼, … 1/1024`, on a rise and on a fall) reaches `1/α`. Everything is kept as
//! logarithms.
//!
//! # Why the run length is at least 1/α
//! - *L is at most what the bets on the single values have made.* Let `Q` be the parabola that meets `f(w) = ln(1 + λ(w − 1))`
//!   at 0 and touches it at `c`. Then `f(w) − Q(w) = f'''(v)/6 · w·(w − c)² ≥ 0` for `w ≥ 0`, because `f''' > 0`. So
//!   `Σf ≥ ΣQ`, and `ΣQ` depends on `n`, `Σw` and `Σw²` alone: it is `ln L`, for `L` is the same for the values that lie at 0
//!   and `c` and have these moments. It is the best such bound, and exact for 0/1 errors and for steps of one value.
//! - *It is a fair bet.* Without change each value has, given the past, a mean within the range, so `1 + λ(w − 1)` is not
//!   negative and at most 1 on average, and so is their product, and `L`. (How many values a step has must not depend on
//!   what they are.)
//! - *Then the run is long.* Given the past, the average of `R` over the bets is at most the one before plus 1, so `R − t`
//!   falls on average, and at the alarm after `T` steps `1/α ≤ E[R] ≤ E[T]` (optional stopping). Steps without values are no
//!   steps. What is said nothing of cannot break it: variance, shape, and the order in which bets are won are free.
//!
//! The sum spends what was promised: where the mean is known and just that, runs were 1.0 to 1.6 times as long as promised
//! (simulated, `1/α = 1000`); where a reference of 10,000 errors told it and was right, more than forty times.
//!
//! What can break it is a mean that wanders without that being a change: a season, or rows of one step that share a cause.
//! [`Reads::StepMeans`] takes each step's mean for one value, and so needs the claim of whole steps only; it sees less.
//!
//! # Units
//! Run lengths are in steps with values. Bounds and means are in the units of the data.
//!
//! # Edge cases
//! A step without usable values changes nothing. A mean beyond the bounds cannot be had without change and wins the bet on
//! its side. Against losses without an upper bound one can bet on a rise only. Moments that have lost their digits (an
//! offset of 10⁹ beside a range of 1) make a bound that has lost them too: subtract the offset before they are summed.

use super::bounded_mean::{BoundedMean, Heights};
use super::excursion::{Excursion, Side};
use super::segment::Segment;
use super::{Change, Direction, SequentialDetector, SequentialError, Signal, require, usable};
use crate::moments::Moments;
use serde::{Deserialize, Serialize};

/// The fractions that are bet. The best one for a small shift is the shift over the second moment, both in units of the
/// mean; half or twice the best still wins three quarters as fast.
const FRACTIONS: [f64; 10] =
    [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625, 0.001953125, 0.0009765625];

/// How the detector is set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EDetectorPolicy {
    /// 1/α: so many steps pass without change before an alarm, on average, or more.
    pub run_length: f64,
    /// What counts as one value.
    pub reads: Reads,
}

impl Default for EDetectorPolicy {
    /// A month of minutes.
    fn default() -> Self {
        Self { run_length: 43_200.0, reads: Reads::Values }
    }
}

/// What counts as one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// Every value of a step. It finds most, and needs values that keep their mean one by one.
    Values,
    /// The mean of a step. Rows of a step may depend on each other in any way.
    StepMeans,
}

/// The detector with its bets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EDetector {
    policy: EDetectorPolicy,
    unchanged: BoundedMean,
    bets: Vec<Bet>,
    ignored: u64,
}

/// One fraction on one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bet {
    direction: Direction,
    fraction: f64,
    /// `ln(1 + R)`: never below zero, and finite where nothing was won yet.
    log_stakes: f64,
    /// What the luckiest starting point has won, as a logarithm: it tells the change point.
    luckiest: Side,
}

impl EDetector {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When the run length is not above one step and finite.
    pub fn new(policy: EDetectorPolicy, unchanged: BoundedMean) -> Result<Self, SequentialError> {
        let (detector, value, allowed) = ("e_detector", policy.run_length, "finite and above 1 step");
        let wrong = SequentialError::Setting { detector, setting: "run_length", value, allowed };
        require(value.is_finite() && value > 1.0, wrong)?;
        let rises = FRACTIONS.iter().filter(|_| unchanged.can_rise()).map(|of| Bet::new(Direction::Rising, *of));
        let falls = FRACTIONS.iter().filter(|_| unchanged.can_fall()).map(|of| Bet::new(Direction::Falling, *of));
        Ok(Self { policy, unchanged, bets: rises.chain(falls).collect(), ignored: 0 })
    }

    /// Steps with content that could not be used.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// `ln` of the average of `R`, against `ln(1/α)`: how near an alarm is.
    pub fn log_evidence(&self) -> f64 {
        let logs = || self.bets.iter().map(Bet::log_sum);
        let greatest = logs().fold(f64::NEG_INFINITY, f64::max);
        if greatest == f64::NEG_INFINITY {
            return greatest;
        }
        let sum: f64 = logs().map(|log| (log - greatest).exp()).sum();
        greatest + (sum / self.bets.len() as f64).ln()
    }

    /// The change that the best bet tells of, if all together have won enough.
    fn change(&self) -> Option<Change> {
        if self.log_evidence() < self.policy.run_length.ln() {
            return None;
        }
        // Bets that never won anything add up to the run length too, if none ever lost: then nothing has changed.
        let best = self.bets.iter().max_by(|one, other| one.log_stakes.total_cmp(&other.log_stakes))?;
        let Excursion { since_ms, values } = best.luckiest.excursion?;
        let (before, after) = (self.unchanged.mean(), values.mean());
        Some(Change { change_point_ms: since_ms, direction: best.direction, before, after })
    }
}

impl Bet {
    fn new(direction: Direction, fraction: f64) -> Self {
        Self { direction, fraction, log_stakes: 0.0, luckiest: Side::default() }
    }

    /// `ln R`, from `ln(1 + R)`.
    fn log_sum(&self) -> f64 {
        // Of large R the two are the same, and their difference has no digits.
        if self.log_stakes > 40.0 { self.log_stakes } else { self.log_stakes.exp_m1().ln() }
    }

    /// `ln L` of a step.
    fn log_factor(&self, Heights { n, point, share }: Heights) -> f64 {
        let lost = (1.0 - share) * (-self.fraction).ln_1p();
        let won = share * (self.fraction * (point - 1.0)).ln_1p();
        n * (lost + won)
    }

    fn observe(&mut self, heights: Heights, step_start_ms: i64, step: &Segment) {
        let log_factor = self.log_factor(heights);
        self.luckiest.add(log_factor, step_start_ms, step);
        let log_sum = self.log_stakes + log_factor;
        // ln(1 + exp(x)), from whichever side does not overflow.
        self.log_stakes = log_sum.max(0.0) + (-log_sum.abs()).exp().ln_1p();
    }
}

impl SequentialDetector for EDetector {
    fn observe(&mut self, step_start_ms: i64, step: Moments) -> Signal {
        let Some(step) = usable(step, &mut self.ignored) else { return Signal::Quiet };
        let read = match self.policy.reads {
            Reads::Values => step,
            Reads::StepMeans => Segment { n: 1, sum: step.mean(), spread: 0.0 },
        };
        let (heights, depths) = (self.unchanged.heights(&read), self.unchanged.depths(&read));
        for bet in &mut self.bets {
            let seen = match bet.direction {
                Direction::Rising => heights,
                Direction::Falling => depths,
            };
            if let Some(seen) = seen {
                bet.observe(seen, step_start_ms, &step);
            }
        }
        match self.change() {
            Some(change) => {
                self.reset();
                Signal::Change(change)
            }
            None => Signal::Quiet,
        }
    }

    fn reset(&mut self) {
        self.bets.iter_mut().for_each(|bet| *bet = Bet::new(bet.direction, bet.fraction));
    }
}
