//! Numbers that look random and are the same at every run.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014). Its seed is stated by whoever uses it, so that a replay
//! draws the same features and folds. Nothing here is fit for secrets.

/// Above this mean a binomial is drawn as a rounded normal; its skewness is then below a fifth.
const NORMAL_ABOVE: f64 = 30.0;

/// A small deterministic generator.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
    /// The second of two normal numbers that come together.
    spare: Option<f64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, spare: None }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
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
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (2.0 * std::f64::consts::PI * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    /// How many of `trials` of probability `p` succeed.
    pub(crate) fn successes(&mut self, trials: i64, p: f64) -> i64 {
        if trials <= 0 || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return trials;
        }
        if p > 0.5 {
            return trials - self.successes(trials, 1.0 - p);
        }
        let mean = trials as f64 * p;
        if mean > NORMAL_ABOVE {
            let drawn = mean + (mean * (1.0 - p)).sqrt() * self.normal();
            return (drawn.round() as i64).clamp(0, trials);
        }
        // Inversion: walk up the distribution function until it passes a uniform number.
        let odds = p / (1.0 - p);
        let mut probability = (trials as f64 * (1.0 - p).ln()).exp();
        let mut left = self.uniform();
        let mut successes = 0;
        while left > probability && successes < trials {
            left -= probability;
            successes += 1;
            probability *= odds * (trials - successes + 1) as f64 / successes as f64;
        }
        successes
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
        for (trials, p) in [(10, 0.3), (100, 0.1), (500, 0.004), (500, 0.9), (100_000, 0.2)] {
            let draws: Vec<f64> = (0..20_000).map(|_| random.successes(trials, p) as f64).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let expected = trials as f64 * p * (1.0 - p);
            // Five standard errors of the mean of 20,000 draws; the variance's own error is about 1 %.
            assert!((mean - trials as f64 * p).abs() < 5.0 * (expected / 20_000.0).sqrt(), "{trials} {p}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{trials} {p}: {variance}");
        }
        assert_eq!((random.successes(0, 0.1), random.successes(-3, 0.1)), (0, 0));
    }
}
