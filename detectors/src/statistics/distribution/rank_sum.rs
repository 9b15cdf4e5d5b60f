//! The distribution of Mann's and Whitney's `U` for two small samples without ties.

/// The probability that `U ≥ u` between two samples of `n` and `m` values of one continuous distribution.
///
/// Counts orders as the coefficients of Gauss's binomial `[n + m over n]`, one factor at a time. Costs `n·m` numbers and
/// `2·min(n, m)` passes over them; the counts are exact while there are fewer than 2⁵³ orders.
///
/// Source: Mann and Whitney, 1947.
pub(in crate::statistics) fn survival((n, m): (u32, u32), u: f64) -> f64 {
    let (fewer, more) = (n.min(m) as usize, n.max(m) as usize);
    let mut orders = vec![0.0_f64; fewer * more + 1];
    if let Some(first) = orders.first_mut() {
        *first = 1.0;
    }
    for factor in 1..=fewer {
        // Times 1 − q^(more + factor), from the top down, then divided by 1 − q^factor, from the bottom up.
        for place in (more + factor..orders.len()).rev() {
            let lower = orders.get(place - more - factor).copied().unwrap_or_default();
            if let Some(slot) = orders.get_mut(place) {
                *slot -= lower;
            }
        }
        for place in factor..orders.len() {
            let lower = orders.get(place - factor).copied().unwrap_or_default();
            if let Some(slot) = orders.get_mut(place) {
                *slot += lower;
            }
        }
    }
    let all: f64 = orders.iter().sum();
    let at_least = (u.ceil().max(0.0) as usize).min(orders.len());
    let tail: f64 = orders.get(at_least..).unwrap_or_default().iter().sum();
    (tail / all).clamp(0.0, 1.0)
}
