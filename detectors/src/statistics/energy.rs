//! The energy distance.

use super::{Detector, Evidence, NotComparable, Pair};

/// The energy distance, as a share of the most that it could be.
///
/// # Formula
/// `D² = 2·E|X − Y| − E|X − X'| − E|Y − Y'| = 2 ∫ (F − G)² dx`; the statistic is `D`, as in scipy's `energy_distance`. The score is
/// `√(D² / (2·E|X − Y|))`, the root of Székely's coefficient of inhomogeneity, with
/// `E|X − Y| = ∫ F·(1 − G) + G·(1 − F) dx`.
///
/// Unit: of the score none, of the statistic the root of the column's. Range of the score: `[0, 1]`; 0 for identical samples, 1 for
/// two different constants. Symmetric. NaN, infinities, nulls and wrong types are left out. No p-value: that takes
/// permutations. Of profiles the mass of a bin lies at the mean of the reference's values in it, and what lies outside the
/// edges at its own mean distance from them, each value's at most the reference's range.
///
/// Source: Székely and Rizzo, *Energy Statistics*, 2013.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Energy;

impl Detector for Energy {
    fn name(&self) -> &'static str {
        "energy"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let segments = pair.ordered()?.segments()?;
        // In units of the whole width, so that squares of a narrow or a wide column neither vanish nor overflow.
        let width: f64 = segments.iter().map(|segment| segment.width).sum();
        if width <= 0.0 {
            return Ok(Evidence::of_distance(0.0));
        }
        let (mut apart, mut across) = (0.0, 0.0);
        for segment in &segments {
            let (f, g, share) = (segment.reference, segment.current, segment.width / width);
            apart += share * (f - g) * (f - g);
            across += share * (f * (1.0 - g) + g * (1.0 - f)).max(0.0);
        }
        let statistic = (2.0 * apart).sqrt() * width.sqrt();
        let score = if apart > 0.0 { (apart / across).sqrt().min(1.0) } else { 0.0 };
        let finite = statistic.is_finite() && score.is_finite();
        if finite { Ok(Evidence { score, statistic, p_value: None }) } else { Err(NotComparable::TooLarge) }
    }
}
