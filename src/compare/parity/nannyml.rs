//! NannyML's distance of a column, against a threshold from the reference's chunks.

use super::values::Values;
use detectors::parity::Finding;
use detectors::parity::nannyml::{
    CategoryMethod, DEFAULT_THRESHOLD, FittedCategories, FittedNumbers, NumberMethod, threshold_of_chunks,
};
use detectors::statistics::{NotComparable, NumberSample};

/// The distance that is used of numbers and of categories alike.
const TEST: &str = "jensen_shannon";
/// The largest that the distance can be; NannyML cuts thresholds there.
const MOST: f64 = 1.0;

pub(super) fn test(before: Values, now: Values) -> Result<(&'static str, Finding), NotComparable> {
    let found = match (before, now) {
        (Values::Numbers(before), Values::Numbers(now)) => {
            let fitted = FittedNumbers::fit(&NumberSample::of(&before))?;
            let method = NumberMethod::JensenShannon;
            let chunks = before.chunks(now.len().max(1)).map(NumberSample::of);
            let threshold = threshold(chunks.map(|chunk| fitted.distance(method, &chunk)));
            fitted.judge(method, threshold, &NumberSample::of(&now))
        }
        (Values::Categories(before), Values::Categories(now)) => {
            let fitted = FittedCategories::fit(&before.sample())?;
            let method = CategoryMethod::JensenShannon;
            let threshold = threshold(before.chunks(now.len()).map(|chunk| fitted.distance(method, &chunk)));
            fitted.judge(method, threshold, &now.sample())
        }
        _ => Err(NotComparable::Layout),
    };
    Ok((TEST, found?))
}

/// From the distances of the chunks that have one; a chunk of missing values has none.
fn threshold(distances: impl Iterator<Item = Result<f64, NotComparable>>) -> f64 {
    let distances: Vec<f64> = distances.flatten().collect();
    let learned = if distances.len() < 2 { None } else { threshold_of_chunks(&distances) };
    learned.unwrap_or(DEFAULT_THRESHOLD).min(MOST)
}
