//! The test that Evidently chooses for a column, and what it finds.

use super::values::Values;
use detectors::parity::Finding;
use detectors::parity::evidently::EvidentlyTest;
use detectors::statistics::{NotComparable, NumberSample};

pub(super) fn test(before: Values, now: Values) -> Result<(&'static str, Finding), NotComparable> {
    match (before, now) {
        (Values::Numbers(before), Values::Numbers(now)) => {
            let (before, now) = (sorted(before), sorted(now));
            let test = EvidentlyTest::default_for_numbers(&before, &now);
            Ok((test.name(), test.of_numbers(&before, &now)?))
        }
        (Values::Categories(before), Values::Categories(now)) => {
            let (before, now) = (before.sample(), now.sample());
            let test = EvidentlyTest::default_for_categories(&before, &now);
            Ok((test.name(), test.of_categories(&before, &now)?))
        }
        _ => Err(NotComparable::Layout),
    }
}

/// The sample alone, so that the values in their order need no memory beside it.
fn sorted(numbers: Vec<f64>) -> NumberSample {
    NumberSample::of(&numbers)
}
