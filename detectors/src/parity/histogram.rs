//! Histograms as numpy makes them: edges by Sturges's and by Doane's rule, and counts between them.
//!
//! The arithmetic is done in numpy's order, because a width that is off by one bit can be one bin more.

/// Equal bins between the least and the greatest value, as many as Sturges's rule says: `log₂ n + 1`, rounded up.
///
/// `least` and `greatest` are those of all `n` values. Source: Sturges, *The Choice of a Class Interval*, 1926.
pub fn sturges_edges((least, greatest): (f64, f64), n: usize) -> Vec<f64> {
    let width = (greatest - least) / ((n as f64).log2() + 1.0);
    equal_edges((least, greatest), bins_of_width((least, greatest), width))
}

/// Equal bins between the least and the greatest of the sorted values, as many as Doane's rule says: Sturges's, and more
/// for skewed data.
///
/// Source: Doane, *Aesthetic Frequency Classifications*, 1976.
pub fn doane_edges(sorted: &[f64]) -> Vec<f64> {
    let range = (sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default());
    let n = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let deviation = (sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Values too large to be squared have a deviation that is no number.
    if sorted.len() < 3 || deviation.is_nan() || deviation <= 0.0 {
        return equal_edges(range, 1);
    }
    let skewness = sorted.iter().map(|value| ((value - mean) / deviation).powi(3)).sum::<f64>() / n;
    let error = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
    let width = (range.1 - range.0) / (1.0 + n.log2() + (1.0 + skewness.abs() / error).log2());
    equal_edges(range, bins_of_width(range, width))
}

/// So many equal bins between two values; a constant gets half a unit to either side.
pub fn equal_edges((least, greatest): (f64, f64), bins: usize) -> Vec<f64> {
    let (first, last) = if least == greatest { (least - 0.5, greatest + 0.5) } else { (least, greatest) };
    let step = (last - first) / bins as f64;
    let inner = (0..bins).map(|place| place as f64 * step + first);
    inner.chain([last]).collect()
}

/// How many sorted values lie in each bin; the last bin is closed, and what is outside the edges is in none.
pub fn count_in(edges: &[f64], sorted: &[f64]) -> Vec<i64> {
    let places = edges.iter().enumerate().map(|(place, edge)| {
        let last = place + 1 == edges.len();
        sorted.partition_point(|value| value < edge || (last && value == edge))
    });
    let places: Vec<usize> = places.collect();
    places.windows(2).map(|pair| pair[1].saturating_sub(pair[0]) as i64).collect()
}

/// The most bins that are made, whatever a rule says.
const MOST_BINS: f64 = 1e6;

fn bins_of_width((least, greatest): (f64, f64), width: f64) -> usize {
    let bins = ((greatest - least) / width).ceil();
    if bins.is_finite() { bins.clamp(1.0, MOST_BINS) as usize } else { 1 }
}
