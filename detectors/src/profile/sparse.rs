//! Counts as they are stored: a run of zeros becomes its length, negated.
//!
//! A partial profile of a second's events fills few of its bins; so it stays small, and a full one never grows. The
//! length is kept, because the last run is written too.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most counts that one column may claim to have, so that a few bytes cannot ask for all memory.
const MOST_COUNTS: usize = 1 << 16;

/// Writes counts, none of which may be negative.
pub(super) fn serialize<S: Serializer>(counts: &[i64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut runs: Vec<i64> = Vec::with_capacity(counts.len());
    for run in counts.chunk_by(|a, b| *a == 0 && *b == 0) {
        match run.first() {
            Some(0) => runs.push(-(run.len() as i64)),
            Some(count) => runs.push(*count),
            None => {}
        }
    }
    runs.serialize(serializer)
}

/// Reads what [`serialize`] has written.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let runs = Vec::<i64>::deserialize(deserializer)?;
    let mut counts: Vec<i64> = Vec::new();
    for run in runs {
        let zeros = if run < 0 { usize::try_from(run.unsigned_abs()).unwrap_or(usize::MAX) } else { 0 };
        if counts.len().saturating_add(zeros) >= MOST_COUNTS {
            return Err(D::Error::custom(format!("a column claims more than {MOST_COUNTS} counts")));
        }
        match zeros {
            0 => counts.push(run),
            zeros => counts.resize(counts.len() + zeros, 0),
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Counts(#[serde(with = "super")] Vec<i64>);

    fn stored(counts: Vec<i64>) -> usize {
        let counts = Counts(counts);
        let bytes = rmp_serde::to_vec(&counts).unwrap();
        assert_eq!(rmp_serde::from_slice::<Counts>(&bytes).unwrap(), counts);
        bytes.len()
    }

    #[test]
    fn counts_survive_and_few_of_them_are_small() {
        let mut few = vec![0; 256];
        few[17] = 3;
        assert!(stored(few) < 10);
        stored(vec![]);
        stored(vec![0]);
        stored(vec![1, 0, 0, 2, 0]);
        stored((0..256).collect());
    }

    #[test]
    fn a_few_bytes_cannot_ask_for_all_memory() {
        let bytes = rmp_serde::to_vec(&vec![i64::MIN]).unwrap();
        assert!(rmp_serde::from_slice::<Counts>(&bytes).is_err());
    }
}
