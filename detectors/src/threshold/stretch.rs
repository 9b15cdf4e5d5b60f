//! How far a critical value is stretched when location and scale are known from few windows only.
//!
//! # Formula
//! Were scores normal, with `m̂` and `ŝ` estimated from `K` windows, a new score would exceed `m̂ + c·ŝ` with probability
//! `q = Φ(−(c·ŝ + m̂))` in units of the true scale. The same `m̂` and `ŝ` serve all windows to come: where they are
//! unlucky, window after window exceeds, and asking for `M` of `N` helps little. An alarm by `J` tests therefore has
//! about the probability `C(N − 1, M − 1)·(J·E[q^M] + (J·E[q])^M)`, one test exceeding again and again or different ones
//! in turn, with `m̂ ~ N(0, 1/K)` and `(K − 1)·ŝ² ~ χ²(K − 1)`. The critical value `c_K` makes that the rate of the
//! rule; the stretch is `c_K / c_∞`.
//!
//! Scores with heavier tails than normal ones tell their spread less well: with the excess kurtosis `γ` the variance of `ŝ²`
//! is `1 + γ/2` times as large, which is what so many times fewer degrees of freedom would make it.
//!
//! For `M = N = J = 1` it is the prediction interval of the textbooks, `t⁻¹_{K−1}(1 − p)·√(1 + 1/K) / z⁻¹(1 − p)`.

use super::AlarmRule;
use crate::normal::normal_survival;

/// Points at which the distribution of `ln ŝ` is summed up.
const SCALES: usize = 96;

/// Points at which that of `m̂` is summed up.
const LOCATIONS: usize = 33;

/// No critical value is looked for beyond.
const FARTHEST: f64 = 1e6;

/// How many of its own standard errors a window may differ from the reference, where `common` times as large an error is
/// the reference's, and so in all windows alike.
pub(super) fn standard_errors(rule: AlarmRule, common: f64) -> f64 {
    let error = |error: f64| Moment { location: common * error, scale: 1.0, weight: (-error * error / 2.0).exp() };
    critical(rule, 1, &weighed(spaced(LOCATIONS, -5.0, 5.0).map(error).collect()))
}

/// The stretch for windows that `probes` tests look at, with moments known from `windows` windows, two at least.
///
/// `excess_kurtosis` is that of a score where nothing has changed, 0 for normal ones.
pub(super) fn stretch(rule: AlarmRule, probes: usize, windows: usize, excess_kurtosis: f64) -> f64 {
    let known = [Moment { location: 0.0, scale: 1.0, weight: 1.0 }];
    let estimated = moments(windows.max(2), excess_kurtosis.max(0.0));
    critical(rule, probes, &estimated) / critical(rule, probes, &known)
}

/// Estimates of location and scale, and how likely they are.
struct Moment {
    location: f64,
    scale: f64,
    weight: f64,
}

/// The distribution of the estimates from `windows` windows.
fn moments(windows: usize, excess_kurtosis: f64) -> Vec<Moment> {
    let count = windows as f64;
    let freedom = (count - 1.0) / (1.0 + excess_kurtosis / 2.0);
    // The standard error of ln ŝ; its lower tail is the longer one.
    let of_log_scale = 1.0 / (2.0 * freedom).sqrt();
    let mut moments = Vec::new();
    for log_scale in spaced(SCALES, -12.0 * of_log_scale, 6.0 * of_log_scale) {
        let scale = log_scale.exp();
        // The density of ŝ times ŝ, because its logarithm is what is spaced evenly.
        let of_scale = (freedom * (log_scale - scale * scale / 2.0 + 0.5)).exp();
        for error in spaced(LOCATIONS, -5.0, 5.0) {
            let weight = of_scale * (-error * error / 2.0).exp();
            moments.push(Moment { location: error / count.sqrt(), scale, weight });
        }
    }
    weighed(moments)
}

/// So many points in the midst of equal parts of a range.
fn spaced(points: usize, from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..points).map(move |point| from + (to - from) * (point as f64 + 0.5) / points as f64)
}

/// The same with weights that add up to 1.
fn weighed(mut moments: Vec<Moment>) -> Vec<Moment> {
    let total: f64 = moments.iter().map(|moment| moment.weight).sum();
    moments.iter_mut().for_each(|moment| moment.weight /= total);
    moments
}

/// The critical value with which alarms come at the rate of the rule.
fn critical(rule: AlarmRule, probes: usize, moments: &[Moment]) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while rate(rule, probes, moments, high) > rule.rate && high < FARTHEST {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if rate(rule, probes, moments, middle) > rule.rate {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How often an alarm is raised with a critical value.
fn rate(rule: AlarmRule, probes: usize, moments: &[Moment], critical: f64) -> f64 {
    let (tests, agreeing) = (probes.max(1) as f64, rule.agreeing.max(1) as i32);
    let (mut again, mut once) = (0.0, 0.0);
    for moment in moments {
        let exceeds = normal_survival(critical * moment.scale + moment.location);
        again += moment.weight * exceeds.powi(agreeing);
        once += moment.weight * exceeds;
    }
    rule.runs() * (tests * again + (tests * once).powi(agreeing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

    #[test]
    fn one_test_of_one_window_has_the_prediction_interval_of_the_textbooks() {
        for (rate, windows) in [(0.02, 5), (0.002, 5), (0.002, 20), (0.000_2, 50)] {
            let student = StudentsT::new(0.0, 1.0, windows as f64 - 1.0).unwrap().inverse_cdf(rate / 2.0);
            let textbook = student * (1.0 + 1.0 / windows as f64).sqrt() / Normal::standard().inverse_cdf(rate / 2.0);
            // With M = 1 the formula counts a test twice: as itself, and as one of all.
            let found = stretch(AlarmRule { rate, agreeing: 1, of: 1 }, 1, windows, 0.0);
            assert!((found / textbook - 1.0).abs() < 0.01, "{rate} {windows}: {found}, textbook {textbook}");
        }
    }

    #[test]
    fn many_windows_need_no_stretch_and_few_a_long_one() {
        let rule = AlarmRule { rate: 0.001, agreeing: 2, of: 3 };
        assert!(stretch(rule, 40, 10_000, 0.0) < 1.01);
        let stretches = [2, 5, 20, 50].map(|windows| stretch(rule, 40, windows, 0.0));
        assert!(stretches.is_sorted_by(|a, b| a > b) && stretches[0] > 10.0, "{stretches:?}");
        assert!(stretch(rule, 40, 50, 2.0) > stretches[3], "heavy tails tell the spread less well");
    }
}
