//! How many different values a column has, about: a HyperLogLog sketch.
//!
//! It holds hashes, never a value, and takes no room until something is counted. Merging is associative and commutative in
//! what it estimates; in what order the sketch stores what it holds is its own affair, so two counts are equal where they
//! estimate the same.

use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{Debug, Formatter};

/// The binary logarithm of the sketch's registers: 1,024 of them, whose estimate has a standard error of 3.3 %.
const LG_REGISTERS: u8 = 10;

/// An estimate of the number of different values.
#[derive(Clone, Default)]
pub struct DistinctCount {
    sketch: Option<Box<HllSketch>>,
}

impl DistinctCount {
    /// Takes in a value; one that was met before changes nothing.
    pub fn observe(&mut self, value: &str) {
        let empty = || HllSketch::new(LG_REGISTERS, HllType::Hll4).ok().map(Box::new);
        if self.sketch.is_none() {
            self.sketch = empty();
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.update(value);
        }
    }

    /// Takes in what another has met.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.sketch else { return };
        let Some(ours) = &self.sketch else {
            self.sketch = Some(theirs.clone());
            return;
        };
        let Ok(mut union) = HllUnion::new(LG_REGISTERS) else { return };
        union.update(ours);
        union.update(theirs);
        self.sketch = Some(Box::new(union.to_sketch(HllType::Hll4)));
    }

    /// The estimate; exact to rounding for a few dozen values, within 10 % (three standard errors) for many.
    ///
    /// It is a function of the values alone, whatever the order in which they came and were merged.
    pub fn estimate(&self) -> f64 {
        self.sketch.as_ref().map_or(0.0, |sketch| sketch.composite_estimate())
    }
}

impl PartialEq for DistinctCount {
    fn eq(&self, other: &Self) -> bool {
        self.estimate() == other.estimate()
    }
}

impl Debug for DistinctCount {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "DistinctCount({:.1})", self.estimate())
    }
}

impl Serialize for DistinctCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.sketch.as_ref().map(|sketch| sketch.serialize()).unwrap_or_default();
        bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DistinctCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let sketch = HllSketch::deserialize(&bytes);
        let sketch = sketch.map_err(|error| D::Error::custom(format!("a count of distinct values: {error}")))?;
        if sketch.lg_config_k() != LG_REGISTERS {
            let found = sketch.lg_config_k();
            return Err(D::Error::custom(format!(
                "a count of distinct values has 2^{found} registers, not 2^{LG_REGISTERS}"
            )));
        }
        Ok(Self { sketch: Some(Box::new(sketch)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: impl IntoIterator<Item = u32>) -> DistinctCount {
        let mut count = DistinctCount::default();
        for value in values {
            count.observe(&format!("value {value}"));
        }
        count
    }

    #[test]
    fn few_values_are_counted_exactly_and_many_within_a_tenth() {
        assert_eq!(DistinctCount::default().estimate(), 0.0);
        for n in [1_u32, 10, 100, 1_000, 10_000, 100_000] {
            let estimate = of((0..n).chain(0..n)).estimate();
            let error = (estimate / f64::from(n) - 1.0).abs();
            assert!(error < if n <= 100 { 0.01 } else { 0.1 }, "{n} values: {estimate}");
        }
    }

    #[test]
    fn it_comes_back_from_storage() {
        for n in [0, 1, 30, 5_000] {
            let count = of(0..n);
            let bytes = rmp_serde::to_vec(&count).unwrap();
            assert_eq!(rmp_serde::from_slice::<DistinctCount>(&bytes).unwrap(), count);
        }
        assert!(rmp_serde::from_slice::<DistinctCount>(&rmp_serde::to_vec(&vec![1_u8, 2, 3]).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn merging_equals_counting_once_in_any_order(
            parts in prop::collection::vec((0_u32..3_000, 0_u32..2_000), 1..6),
        ) {
            let ranges = || parts.iter().map(|(from, n)| *from..from + n);
            let once = of(ranges().flatten());
            let merged = |parts: &mut dyn Iterator<Item = DistinctCount>| {
                parts.fold(DistinctCount::default(), |mut all, part| { all.merge(&part); all })
            };
            let forward = merged(&mut ranges().map(of));
            let backward = merged(&mut ranges().rev().map(of));
            prop_assert_eq!(&forward, &once);
            prop_assert_eq!(&backward, &once);
        }
    }
}
