//! The standard normal distribution, with the digits of its tails.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::erfc;

/// The probability of a value above `z`.
pub(crate) fn normal_survival(z: f64) -> f64 {
    erfc(z / std::f64::consts::SQRT_2) / 2.0
}

/// The value that is exceeded with probability `p`, from 1e-300 to one half.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    // Asked of the lower tail, where small probabilities keep their digits.
    -Normal::standard().inverse_cdf(p.clamp(1e-300, 0.5))
}
