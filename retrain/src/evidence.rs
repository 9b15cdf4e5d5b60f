//! Evidence that a mean is above zero, which may be looked at after every row.
//!
//! # Formula
//! For observations `x` in [−1, 1] and the hypothesis that their conditional mean is at most 0, the wealth
//! `K = (1/J) Σ_j Π_i (1 + λ_j x_i)` of a gambler who splits a unit over fixed bets `λ_j` in (0, 1) is a non-negative
//! supermartingale that starts at 1. By Ville's inequality `P(K ever ≥ 1/α) ≤ α`, so one may look at any time and stop at
//! will. Mixing a few fixed bets replaces the tuning of one; it costs at most `ln J` of log wealth. As every bet is fixed,
//! the wealth does not depend on the order of the rows, but for rounding.
//!
//! # Dependence
//! [`dependence`] compares the variance of the mean losses of runs of rows with what independent rows would show: the design
//! effect of cluster sampling (Kish, *Survey Sampling*, 1965), with a run for a cluster.
//!
//! Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024 (section 4 and
//! the mixtures of its appendix); Chugg et al., "Auditing fairness by betting", NeurIPS 2023, bet so on differences of two
//! means.

/// Doubling bets: the middle ones are close to the best where classifiers differ by .05 to .2 in accuracy, and the ends
/// serve small steady gains and plain ones.
const BETS: [f64; 4] = [0.1, 0.2, 0.4, 0.8];

/// The wealth of the bet that a mean is above zero.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wealth {
    log: [f64; BETS.len()],
}

impl Wealth {
    /// Bets on one observation. What lies outside [−1, 1] is cut to it; NaN is no observation.
    pub fn observe(&mut self, x: f64) {
        if x.is_nan() {
            return;
        }
        let x = x.clamp(-1.0, 1.0);
        for (log, bet) in self.log.iter_mut().zip(BETS) {
            *log += (bet * x).ln_1p();
        }
    }

    /// The wealth, 1 before the first observation; at most `f64::MAX`, so that it can always be written.
    pub fn value(&self) -> f64 {
        let largest = self.log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log.iter().map(|log| (log - largest).exp()).sum();
        (largest + (sum / BETS.len() as f64).ln()).exp().min(f64::MAX)
    }

    /// Whether the hypothesis is refuted at `level`.
    pub fn refutes_at(&self, level: f64) -> bool {
        self.value() >= 1.0 / level
    }
}

/// Rows of a run whose losses are averaged to see whether they move together.
const RUN_ROWS: usize = 50;
/// Runs without which nothing is said.
const LEAST_RUNS: usize = 10;
/// What independent rows stay below: of twenty runs the ratio exceeds it once in two hundred times.
const INDEPENDENT: f64 = 2.0;

/// How many neighbouring rows say as much as one that is independent: `n · Var(mean of n losses) / Var(loss)`, over runs of 50
/// rows in the order of time. 1 where it is below 2, and where there are fewer than ten runs.
pub fn dependence(losses: &[f64]) -> f64 {
    let runs: Vec<f64> = losses.chunks_exact(RUN_ROWS).map(|run| run.iter().sum::<f64>() / RUN_ROWS as f64).collect();
    if runs.len() < LEAST_RUNS {
        return 1.0;
    }
    let (of_rows, of_runs) = (variance(losses), variance(&runs));
    let ratio = if of_rows > 0.0 { RUN_ROWS as f64 * of_runs / of_rows } else { 1.0 };
    if ratio >= INDEPENDENT { ratio } else { 1.0 }
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_game_is_worth_one_on_average() {
        // Every path of eight fair coin flips, each with the same probability.
        let mean: f64 = (0..256u32)
            .map(|path| {
                let mut wealth = Wealth::default();
                (0..8).for_each(|flip| wealth.observe(if path >> flip & 1 == 1 { 1.0 } else { -1.0 }));
                wealth.value() / 256.0
            })
            .sum();
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn wealth_can_always_be_written() {
        let (mut winning, mut losing) = (Wealth::default(), Wealth::default());
        (0..100_000).for_each(|_| winning.observe(1.0));
        (0..100_000).for_each(|_| losing.observe(-1.0));
        assert_eq!(winning.value(), f64::MAX);
        assert_eq!(losing.value(), 0.0);
        winning.observe(f64::NAN);
        assert!(winning.refutes_at(0.01));
    }

    #[test]
    fn losses_that_come_in_runs_depend_on_each_other_and_others_do_not() {
        let alternating: Vec<f64> = (0..1_000).map(|row| f64::from(u8::from(row % 3 == 0))).collect();
        let in_runs: Vec<f64> = (0..1_000).map(|row| f64::from(u8::from(row / 100 % 3 == 0))).collect();
        assert_eq!(dependence(&alternating), 1.0);
        assert!(dependence(&in_runs) > 20.0);
        assert_eq!(dependence(&in_runs[..400]), 1.0, "too few runs to tell");
    }
}
