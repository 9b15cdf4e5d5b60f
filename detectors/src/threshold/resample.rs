//! Drawing samples of a profile's counts, the same ones at every run.
//!
//! The seed is the caller's: nothing here depends on the machine, the clock or the order of calls elsewhere, so a replay
//! draws the same thresholds.

use crate::layout::ColumnLayout;
use crate::profile::ColumnProfile;
use crate::random::Random;
use std::hint::select_unpredictable;

/// Up to so many rows for each count, drawing row by row is faster than count by count.
const ROWS_PER_COUNT: i64 = 10;

/// What rows of one column are drawn from.
#[derive(Debug, Clone)]
pub(super) struct Population<'a> {
    layout: &'a ColumnLayout,
    column: &'a ColumnProfile,
    /// How often each of the column's counts comes, up to a factor.
    weights: Vec<f64>,
    /// For drawing row by row.
    alias: AliasTable,
}

impl<'a> Population<'a> {
    fn new(layout: &'a ColumnLayout, column: &'a ColumnProfile, weights: Vec<f64>) -> Self {
        Self { layout, column, alias: AliasTable::new(&weights), weights }
    }

    /// The rows that the column has counted.
    pub(super) fn known(layout: &'a ColumnLayout, column: &'a ColumnProfile) -> Self {
        Self::new(layout, column, weights_of(column))
    }

    /// The rows that come after those: now and then one is like none before. Beyond the least or the greatest of `n`
    /// continuous values lies the next one with probability `1 / (n + 1)` each; a category that was never seen comes as
    /// often as those that were seen once (Good, 1953). Where categories were chosen out of more, the counts are fresh ones,
    /// which hold the unseen already, and one more for their error.
    pub(super) fn with_unknown(layout: &'a ColumnLayout, column: &'a ColumnProfile) -> Self {
        let mut weights = weights_of(column);
        let add = |weights: &mut Vec<f64>, place: usize, rows: f64| {
            if let Some(weight) = weights.get_mut(place) {
                *weight += rows;
            }
        };
        match (layout, column) {
            (ColumnLayout::Numeric(bins), ColumnProfile::Numeric(numbers)) => {
                // An end that was met twice, and has a bin of its own, is an end.
                let open = |count: Option<&i64>, centre: Option<&f64>, edge| {
                    f64::from(u8::from(count == Some(&1) || centre.is_some_and(|centre| *centre != edge)))
                };
                let (fine, centres) = (numbers.fine(), bins.centres());
                add(&mut weights, fine.len(), open(fine.first(), centres.first(), bins.lowest()));
                add(&mut weights, fine.len() + 1, open(fine.last(), centres.last(), bins.highest()));
            }
            (ColumnLayout::Categorical(table), ColumnProfile::Categorical(categories)) => {
                let once = if table.choice().is_some() { 1 } else { categories.once() };
                // After the known ones stand `other` and `unseen`.
                add(&mut weights, categories.known().len() + 1, once as f64);
            }
            _ => debug_assert!(false, "a profile is counted against a layout of its kind"),
        }
        Self::new(layout, column, weights)
    }

    /// So many rows, with replacement; `None` where layout and column are of different kinds.
    pub(super) fn sample(&self, rows: i64, random: &mut Random) -> Option<ColumnProfile> {
        let few = rows < ROWS_PER_COUNT * self.weights.len() as i64;
        let drawn = if few { self.alias.sample(rows, random) } else { self.multinomial(rows, random) };
        self.column.recounted(self.layout, &drawn)
    }
}

impl Population<'_> {
    /// A chain of binomials, each of what the earlier counts have left.
    fn multinomial(&self, rows: i64, random: &mut Random) -> Vec<i64> {
        let mut weight_left: f64 = self.weights.iter().sum();
        let mut rows_left = if weight_left > 0.0 { rows } else { 0 };
        let mut drawn = Vec::with_capacity(self.weights.len());
        for weight in &self.weights {
            let share = if weight_left > 0.0 { weight / weight_left } else { 0.0 };
            let here = random.successes(rows_left, share);
            drawn.push(here);
            rows_left -= here;
            weight_left -= weight;
        }
        drawn
    }
}

/// Each count of a column as a weight.
fn weights_of(column: &ColumnProfile) -> Vec<f64> {
    column.counts().into_iter().map(|count| count as f64).collect()
}

/// Walker's alias method (1974; the table is built as Vose has it, 1991): each row costs one look, however many counts
/// there are.
#[derive(Debug, Clone)]
struct AliasTable {
    /// For each count the probability of staying, and where one goes else. Empty where nothing has any weight.
    columns: Vec<(f64, usize)>,
}

impl AliasTable {
    fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return Self { columns: Vec::new() };
        }
        let mut shares: Vec<f64> = weights.iter().map(|weight| weight * weights.len() as f64 / total).collect();
        let mut columns: Vec<(f64, usize)> = (0..weights.len()).map(|place| (1.0, place)).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|place| shares.get(*place).is_some_and(|share| *share < 1.0));
        while let (Some(low), Some(high)) = (poor.pop(), rich.pop()) {
            let share = shares.get(low).copied().unwrap_or_default();
            if let Some(column) = columns.get_mut(low) {
                *column = (share, high);
            }
            let left = shares.get_mut(high).map_or(0.0, |rest| {
                *rest -= 1.0 - share;
                *rest
            });
            if left < 1.0 { poor.push(high) } else { rich.push(high) }
        }
        Self { columns }
    }

    fn sample(&self, rows: i64, random: &mut Random) -> Vec<i64> {
        let mut drawn = vec![0; self.columns.len()];
        if self.columns.is_empty() {
            return drawn;
        }
        for _ in 0..rows {
            // The whole part says which column, the rest whether one stays.
            let at = (1.0 - random.uniform()) * self.columns.len() as f64;
            let place = at as usize;
            let Some((stays, otherwise)) = self.columns.get(place) else { continue };
            // Which of the two it is cannot be foretold: a predicted branch would cost more than all else.
            let place = select_unpredictable(at - (place as f64) < *stays, place, *otherwise);
            if let Some(count) = drawn.get_mut(place) {
                *count += 1;
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_as_often_as_they_weigh_however_they_are_drawn() {
        let weights = [3.0, 0.0, 1.0, 6.0, 0.5];
        let mut random = Random::new(3);
        let drawn = AliasTable::new(&weights).sample(100_000, &mut random);
        for (count, weight) in drawn.iter().zip(weights) {
            let share = weight / 10.5;
            // Five standard errors.
            let error = 5.0 * (share * (1.0 - share) * 100_000.0_f64).sqrt();
            assert!((*count as f64 - 100_000.0 * share).abs() <= error, "{drawn:?}");
        }
        assert_eq!(drawn.iter().sum::<i64>(), 100_000);
        assert!(AliasTable::new(&[0.0]).sample(5, &mut random).is_empty());
    }
}
