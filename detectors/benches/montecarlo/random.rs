//! Seeded random numbers: SplitMix64.
//!
//! Source: Steele, Lea and Flood (2014), *Fast splittable pseudorandom number generators*, OOPSLA.

use detectors::moments::Moments;

/// The generator.
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    /// A sequence of its own for each pair.
    pub(crate) fn new(stream: u64, run: u64) -> Self {
        let mut seeder = Self(stream.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ run);
        Self(seeder.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, never 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens, as 0 or 1.
    pub(crate) fn error(&mut self, probability: f64) -> f64 {
        f64::from(u8::from(self.uniform() < probability))
    }

    /// A standard normal value, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A step of `n` values, each drawn anew.
    pub(crate) fn step(&mut self, n: u32, draw: impl Fn(&mut Self) -> f64) -> Moments {
        let mut step = Moments::default();
        (0..n).for_each(|_| step.observe(draw(self), 1));
        step
    }
}
