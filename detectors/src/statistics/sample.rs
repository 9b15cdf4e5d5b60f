//! Exact samples: every value of a column, sorted, with the odd ones counted apart.
//!
//! For batches that fit into memory. Nothing is lost, so statistics of order are exact; a profile holds the same in 256
//! bins and needs no memory for rows.
//!
//! Invariants: the values of a [`NumberSample`] are finite and rise; minus zero is zero, as it is to every comparison.

use std::collections::BTreeMap;

/// The numbers of one column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NumberSample {
    sorted: Vec<f64>,
    null: i64,
    nan: i64,
    pos_inf: i64,
    neg_inf: i64,
}

impl NumberSample {
    /// The sample of these values; `None` is a row without one.
    pub fn new(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut sample = Self::default();
        for value in values {
            match value {
                None => sample.null += 1,
                Some(number) if number.is_nan() => sample.nan += 1,
                Some(f64::INFINITY) => sample.pos_inf += 1,
                Some(f64::NEG_INFINITY) => sample.neg_inf += 1,
                Some(number) => sample.sorted.push(number + 0.0),
            }
        }
        sample.sorted.sort_unstable_by(f64::total_cmp);
        sample
    }

    /// The sample of these numbers, none of which is missing.
    pub fn of(values: &[f64]) -> Self {
        Self::new(values.iter().copied().map(Some))
    }

    /// The finite values, least first.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// Rows without a value.
    pub fn null(&self) -> i64 {
        self.null
    }

    /// Rows whose value is not a number.
    pub fn nan(&self) -> i64 {
        self.nan
    }

    /// Rows whose value is +∞.
    pub fn pos_inf(&self) -> i64 {
        self.pos_inf
    }

    /// Rows whose value is −∞.
    pub fn neg_inf(&self) -> i64 {
        self.neg_inf
    }

    /// Rows with a finite value.
    pub fn finite(&self) -> i64 {
        self.sorted.len() as i64
    }

    /// Mean of the finite values; `None` where there are none, or they are too large to be summed.
    pub fn mean(&self) -> Option<f64> {
        // About a value in their midst, so that an offset common to all costs no digits.
        let origin = self.sorted.get(self.sorted.len() / 2)?;
        let about: f64 = self.sorted.iter().map(|value| value - origin).sum();
        let mean = origin + about / self.sorted.len() as f64;
        mean.is_finite().then_some(mean)
    }

    /// Standard deviation of the finite values with `n − 1` in the denominator; `None` below two values, or where they
    /// are too large to be squared.
    pub fn standard_deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        if self.sorted.len() < 2 {
            return None;
        }
        let squares: f64 = self.sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (self.sorted.len() - 1) as f64).sqrt();
        deviation.is_finite().then_some(deviation)
    }
}

/// The categories of one column, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CategorySample {
    counts: BTreeMap<String, i64>,
    null: i64,
}

impl CategorySample {
    /// The sample of these values; `None` is a row without one.
    pub fn new<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut sample = Self::default();
        for value in values {
            let Some(name) = value else {
                sample.null += 1;
                continue;
            };
            match sample.counts.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    sample.counts.insert(name.to_owned(), 1);
                }
            }
        }
        sample
    }

    /// Rows of each category, in the order of names.
    pub fn counts(&self) -> &BTreeMap<String, i64> {
        &self.counts
    }

    /// Rows without a value.
    pub fn null(&self) -> i64 {
        self.null
    }
}
