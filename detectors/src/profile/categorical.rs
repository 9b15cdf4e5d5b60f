//! The counts of a categorical column.

use super::{DistinctCount, Fault, sparse};
use crate::layout::{CategoryPlace, CategoryTable};
use arrow::array::{Array, StringArray};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Counts of a categorical column's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoricalProfile {
    #[serde(with = "sparse")]
    known: Vec<i64>,
    other: i64,
    unseen: i64,
    null: i64,
    wrong_type: i64,
    /// The different values among those that are not known by name.
    rare: DistinctCount,
}

impl CategoricalProfile {
    /// A profile without rows.
    pub fn empty(table: &CategoryTable) -> Self {
        Self {
            known: vec![0; table.known().len()],
            other: 0,
            unseen: 0,
            null: 0,
            wrong_type: 0,
            rare: DistinctCount::default(),
        }
    }

    /// Rows of each category that is counted by name, in the table's order.
    pub fn known(&self) -> &[i64] {
        &self.known
    }

    /// Rows of the reference's rarer categories.
    pub fn other(&self) -> i64 {
        self.other
    }

    /// Rows of categories that the reference does not have.
    pub fn unseen(&self) -> i64 {
        self.unseen
    }

    /// Rows without a value.
    pub fn null(&self) -> i64 {
        self.null
    }

    /// Rows whose value had a type that does not fit.
    pub fn wrong_type(&self) -> i64 {
        self.wrong_type
    }

    /// Rows with a value.
    pub fn values(&self) -> i64 {
        self.known.iter().sum::<i64>() + self.other + self.unseen
    }

    /// Every row.
    pub fn rows(&self) -> i64 {
        self.values() + self.null + self.wrong_type
    }

    /// Rows of known categories that have one row each: so many of as many further rows will be of none of them (Good, 1953).
    pub(crate) fn once(&self) -> i64 {
        self.known.iter().filter(|count| **count == 1).count() as i64
    }

    /// How many different values there are, about: those known by name are counted, the rest estimated.
    pub fn distinct(&self) -> f64 {
        self.known.iter().filter(|count| **count > 0).count() as f64 + self.rare.estimate()
    }

    pub(super) fn count_of(&self, fault: Fault) -> Option<i64> {
        match fault {
            Fault::Null => Some(self.null),
            Fault::WrongType => Some(self.wrong_type),
            Fault::Unseen => Some(self.unseen),
            Fault::Nan | Fault::Infinite | Fault::OutOfRange => None,
        }
    }

    pub(super) fn fits(&self, table: &CategoryTable) -> bool {
        self.known.len() == table.known().len()
    }

    /// Counts the rows of a range, which lies within the array.
    pub(super) fn observe(&mut self, table: &CategoryTable, array: &StringArray, rows: Range<usize>) {
        for row in rows {
            if array.is_null(row) {
                self.null += 1;
                continue;
            }
            match table.place(array.value(row)) {
                CategoryPlace::Known(place) => {
                    if let Some(count) = self.known.get_mut(place) {
                        *count += 1;
                    }
                    continue;
                }
                CategoryPlace::Other => self.other += 1,
                CategoryPlace::Unseen => self.unseen += 1,
            }
            self.rare.observe(array.value(row));
        }
    }

    /// What the rows that chose no category would have counted, with as many unseen ones as come: what rows to come are
    /// distributed as. `whole` are the counts of all rows that the table was learned from, of which these are a part or all:
    /// of a part the answer is in proportion. `None` where nothing was chosen, or by other rows.
    ///
    /// # Formula
    /// Of `n` rows `f₁` are alone and `f₂` nearly so; an unseen category comes with probability `u = f₁ / n` (Good, 1953),
    /// whose variance is about `(n·u·(1 − u) + f₂) / n²`. Counts are as small as makes `u` as uncertain as it is.
    pub(super) fn fresh(&self, table: &CategoryTable, whole: &Self) -> Option<Self> {
        let choice = table.choice()?;
        let known: Vec<i64> = whole.known.iter().zip(&choice.known).map(|(all, chosen)| all - chosen).collect();
        let (tail_of_all, tail) = (whole.other + whole.unseen, whole.other + whole.unseen - choice.tail);
        let fresh = known.iter().sum::<i64>() + tail;
        if tail < 0 || fresh <= 0 || known.iter().any(|count| *count < 0) {
            return None;
        }
        let share = |count: i64, of: i64| count as f64 / of.max(1) as f64;
        let (n, alone) = (whole.values() as f64, (whole.unseen + choice.alone).max(1) as f64);
        let unseen_share = (alone / n).min(1.0 - 1.0 / n);
        let variance = n * unseen_share * (1.0 - unseen_share);
        let certain = n * variance / (variance + choice.nearly as f64);
        let scale = (certain / fresh as f64).min(1.0);
        let part_of = |count: i64, fresh: i64, all: i64| (count as f64 * share(fresh, all) * scale).round() as i64;
        let unseen_of_tail = unseen_share * fresh as f64 / tail.max(1) as f64;
        let tail = part_of(self.other + self.unseen, tail, tail_of_all);
        // However few there were, one more may be seen or unseen.
        let unseen = ((tail as f64 * unseen_of_tail).round() as i64).clamp(tail.min(1), (tail - 1).max(tail.min(1)));
        let pairs = self.known.iter().zip(known.iter().zip(&whole.known));
        Some(Self {
            known: pairs.map(|(count, (fresh, all))| part_of(*count, *fresh, *all)).collect(),
            other: tail - unseen,
            unseen,
            null: part_of(self.null, fresh, whole.values()),
            wrong_type: part_of(self.wrong_type, fresh, whole.values()),
            rare: self.rare.clone(),
        })
    }

    pub(super) fn null_was_wrong_type(&mut self) {
        self.null -= 1;
        self.wrong_type += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        self.combine(other, |a, b| a + b)?;
        self.rare.merge(&other.rare);
        Some(())
    }

    pub(super) fn subtract(&mut self, part: &Self) -> Option<()> {
        self.combine(part, |a, b| a - b)?;
        self.counts().iter().all(|count| *count >= 0).then_some(())
    }

    fn combine(&mut self, other: &Self, count: fn(i64, i64) -> i64) -> Option<()> {
        if self.known.len() != other.known.len() {
            return None;
        }
        let sums: Vec<i64> = self.counts().into_iter().zip(other.counts()).map(|(a, b)| count(a, b)).collect();
        *self = self.recounted(&sums);
        Some(())
    }

    /// Whether all rows that have a value have the same one, of those that are known by name.
    pub(super) fn is_constant(&self) -> bool {
        let met = self.known.iter().filter(|count| **count > 0).count();
        met == 1 && self.other == 0 && self.unseen == 0
    }

    pub(super) fn counts(&self) -> Vec<i64> {
        self.known.iter().copied().chain([self.other, self.unseen, self.null, self.wrong_type]).collect()
    }

    pub(super) fn recounted(&self, counts: &[i64]) -> Self {
        let (known, odd) = counts.split_at_checked(self.known.len()).unwrap_or_default();
        let mut odd = odd.iter().copied();
        let mut next = || odd.next().unwrap_or_default();
        Self {
            known: known.to_vec(),
            other: next(),
            unseen: next(),
            null: next(),
            wrong_type: next(),
            rare: self.rare.clone(),
        }
    }
}
