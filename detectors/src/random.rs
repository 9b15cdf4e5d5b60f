//! Numbers that look random and are the same at every run.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014). Its seed is stated by whoever uses it, so that a replay
//! draws the same features and folds. Nothing here is fit for secrets.

/// Up to this many trials a binomial is drawn trial by trial; above, as a rounded normal.
const TRIAL_BY_TRIAL: i64 = 256;

/// A small deterministic generator.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `(0, 1]`.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// How many of `trials` of probability `p` succeed; of many, as if the number were normal.
    pub(crate) fn successes(&mut self, trials: i64, p: f64) -> i64 {
        if trials <= TRIAL_BY_TRIAL {
            return (0..trials.max(0)).filter(|_| self.uniform() <= p).count() as i64;
        }
        let mean = trials as f64 * p;
        let drawn = mean + (mean * (1.0 - p)).sqrt() * self.normal();
        (drawn.round() as i64).clamp(0, trials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for seed 1234567 of the authors' reference implementation.
        let mut random = Random::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn successes_have_their_mean_and_variance() {
        let mut random = Random::new(1);
        for trials in [100, 5_000] {
            let draws: Vec<f64> = (0..20_000).map(|_| random.successes(trials, 0.1) as f64).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let expected = trials as f64 * 0.09;
            // Five standard errors of the mean of 20,000 draws; the variance's own error is about 1 %.
            assert!((mean - trials as f64 * 0.1).abs() < 5.0 * (expected / 20_000.0).sqrt(), "{trials}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{trials}: {variance}");
        }
        assert_eq!((random.successes(0, 0.1), random.successes(-3, 0.1)), (0, 0));
    }
}
