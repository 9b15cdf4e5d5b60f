//! What a drift is made of: which columns, how much each, which way, and in which segment.
//!
//! The alarm is raised by the largest excess alone; who takes part is asked only then, with another test. Each statistic of
//! a column has a p-value by the null that its threshold came from, and columns are named by Benjamini and Hochberg's
//! procedure, which bounds the share of those named wrongly.
//!
//! # Formula
//! With `z` the normal quantile that one of `J` tests may exceed, the p-value of a score is `Φ(−z·e)`, `e` its *strain*:
//! `(score − location) / (threshold − location)`, 1 at the learned threshold. Where the threshold was not learned, only what
//! exceeds it is named. A column's contribution is its largest `e²`
//! over the sum of those of all columns named.
//!
//! Source: Benjamini and Hochberg, *Controlling the False Discovery Rate*, 1995.

use super::distribution::{LEAST_SHOWN, Naming};
use crate::layout::ColumnLayout;
use crate::normal::normal_survival;
use crate::profile::{CategoricalProfile, ColumnProfile, Fault, NumericProfile};
use crate::statistics::{Cells, Pair, mean_shift};
use crate::verdict::{Attribution, Segment};

/// The share of columns named that may be named wrongly.
const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// So many standard errors apart, two means are apart.
const STANDARD_ERRORS: f64 = 2.0;

/// The part of a column's movement that makes a segment, or a kind of odd value, the place of it.
const MOST_OF_MOVEMENT: f64 = 0.5;

/// How many times its share of the rows that part must be.
const BEYOND_ITS_SHARE: f64 = 1.5;

/// How far one column's scores lie beyond where they should.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strain {
    /// Place of the column in the schema.
    pub(super) column: usize,
    /// 1 at the learned threshold.
    pub(super) strain: f64,
    /// Whether the score passed its threshold and the minimum effect.
    pub(super) exceeded: bool,
}

/// The columns that take part, with their contributions, the largest first. `quantile` is what one test may exceed.
pub(super) fn take_part(strains: &[Strain], quantile: f64) -> Vec<(usize, f64)> {
    let mut ranked: Vec<Strain> = strains.to_vec();
    ranked.sort_by(|a, b| b.strain.total_cmp(&a.strain));
    let p_value = |strain: f64| normal_survival(quantile * strain);
    let tests = ranked.len() as f64;
    let discovered = (1..=ranked.len()).rev().find(|rank| {
        let strain = ranked.get(rank - 1).map_or(0.0, |found| found.strain);
        p_value(strain) <= FALSE_DISCOVERY_RATE * *rank as f64 / tests
    });
    let discovered = discovered.unwrap_or_default();
    let named = ranked.iter().enumerate().filter(|(rank, strain)| *rank < discovered || strain.exceeded);
    let mut columns: Vec<(usize, f64)> = Vec::new();
    for (_, strain) in named {
        // The first of a column is its largest.
        if !columns.iter().any(|(column, _)| *column == strain.column) {
            columns.push((strain.column, strain.strain.max(f64::MIN_POSITIVE).powi(2)));
        }
    }
    let total: f64 = columns.iter().map(|(_, part)| part).sum();
    columns.iter_mut().for_each(|(_, part)| *part /= total);
    columns
}

/// How a column moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Movement {
    /// The share of rows that would have to change cells to make it what it was.
    pub share: f64,
    /// What that share is, on average, between two samples of these sizes of one distribution.
    pub by_chance: f64,
    /// Which way: `higher values`, the name of the category that gained most, or `missing values` and their like where those
    /// are most of what moved.
    pub towards: Option<String>,
}

impl Movement {
    /// Of a column; `None` where the two cannot be compared.
    pub(super) fn of(
        layout: &ColumnLayout,
        reference: &ColumnProfile,
        current: &ColumnProfile,
        naming: Naming,
    ) -> Option<Self> {
        let pair = Pair::of_profiles(layout, reference, current).ok()?;
        let cells = pair.cells().ok()?;
        let share = cells.moved_share();
        let of_values = || match (layout, reference, current) {
            (_, ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current)) => {
                direction(reference, current).map(str::to_owned)
            }
            (
                ColumnLayout::Categorical(table),
                ColumnProfile::Categorical(reference),
                ColumnProfile::Categorical(current),
            ) => most_grown(table.known(), reference, current).map(|grown| grown.told(naming)),
            _ => None,
        };
        let towards = most_odd(reference, current, share).map(str::to_owned).or_else(of_values);
        Some(Self { share, by_chance: moved_by_chance(cells), towards })
    }
}

/// The kind of odd value that gained most of what moved.
fn most_odd(before: &ColumnProfile, now: &ColumnProfile, moved: f64) -> Option<&'static str> {
    let kinds = [
        (Fault::Null, "missing values"),
        (Fault::Nan, "NaN"),
        (Fault::Infinite, "infinite values"),
        (Fault::WrongType, "values of the wrong type"),
    ];
    let gain = |(fault, name)| Some((now.share_of(fault)? - before.share_of(fault)?, name));
    let most = kinds.into_iter().filter_map(gain).max_by(|a, b| a.0.total_cmp(&b.0));
    most.filter(|(gain, _)| *gain > MOST_OF_MOVEMENT * moved).map(|(_, name)| name)
}

/// Which way the values moved, where their means differ by more than chance.
fn direction(reference: &NumericProfile, current: &NumericProfile) -> Option<&'static str> {
    let variance =
        |profile: &NumericProfile| profile.standard_deviation().unwrap_or_default().powi(2) / profile.finite() as f64;
    let (shift, error) = (mean_shift(reference, current)?, (variance(reference) + variance(current)).sqrt());
    match shift {
        shift if shift > STANDARD_ERRORS * error => Some("higher values"),
        shift if shift < -STANDARD_ERRORS * error => Some("lower values"),
        _ => None,
    }
}

/// Half of the mean of `|p̂ − q̂|` over cells, where both are estimates of one share.
fn moved_by_chance(cells: &Cells) -> f64 {
    let (n, m) = (cells.reference_total(), cells.current_total());
    let of_cell = |(a, b): &(f64, f64)| {
        let share = (a + b) / (n + m);
        (2.0 / std::f64::consts::PI * share * (1.0 - share) * (1.0 / n + 1.0 / m)).sqrt()
    };
    cells.counts().iter().map(of_cell).sum::<f64>() / 2.0
}

/// What gained rows.
#[derive(Debug, Clone, Copy)]
enum Grown<'a> {
    Category(&'a str),
    Several(&'static str),
}

impl Grown<'_> {
    fn told(self, naming: Naming) -> String {
        match (self, naming) {
            (Self::Category(name), Naming::Frequent) => format!("`{name}`"),
            (Self::Category(_), Naming::Nothing) => "one category, which may not be named".to_owned(),
            (Self::Several(name), _) => format!("`{name}`"),
        }
    }
}

/// The category that gained most, if enough rows have it for its name to be shown.
fn most_grown<'a>(known: &'a [String], before: &CategoricalProfile, now: &CategoricalProfile) -> Option<Grown<'a>> {
    let (n, m) = (before.rows() as f64, now.rows() as f64);
    let counts = before.known().iter().zip(now.known());
    let known = known.iter().zip(counts).map(|(name, (a, b))| (Grown::Category(name.as_str()), *a, *b));
    let tail = [
        (Grown::Several("unseen categories"), before.unseen(), now.unseen()),
        (Grown::Several("rarer categories"), before.other(), now.other()),
    ];
    let shown = known.chain(tail).filter(|(_, _, rows)| *rows >= LEAST_SHOWN);
    let gains = shown.map(|(grown, a, b)| (grown, b as f64 / m - a as f64 / n));
    gains.filter(|(_, gain)| *gain > 0.0).max_by(|(_, x), (_, y)| x.total_cmp(y)).map(|(grown, _)| grown)
}

/// How much of a column's movement one segment holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentMovement {
    segment: Segment,
    rows: f64,
    /// Rows that moved beyond what chance moves.
    moved: f64,
}

impl SegmentMovement {
    /// Of a segment with so many rows in the window.
    pub fn new(segment: &Segment, rows: i64, movement: &Movement) -> Self {
        let (segment, rows) = (segment.clone(), rows as f64);
        Self { segment, rows, moved: rows * (movement.share - movement.by_chance).max(0.0) }
    }
}

/// The segment that holds most of a column's movement: more than half of what moved in all values of its dimension, and
/// half as much again as its share of the rows.
pub fn concentrated(moved: &[SegmentMovement]) -> Option<Segment> {
    let is_most = |found: &&SegmentMovement| {
        let same = moved.iter().filter(|other| other.segment.dimension == found.segment.dimension);
        let (rows, all) = same.fold((0.0, 0.0), |(rows, all), other| (rows + other.rows, all + other.moved));
        let (share, of_rows) = (found.moved / all, found.rows / rows);
        all > 0.0 && share > MOST_OF_MOVEMENT && share > BEYOND_ITS_SHARE * of_rows
    };
    let most = moved.iter().filter(is_most).max_by(|a, b| a.moved.total_cmp(&b.moved));
    most.map(|found| found.segment.clone())
}

/// The sentence that says it, of columns in the order of their contributions.
pub(super) fn sentence(attribution: &[Attribution], columns: usize) -> String {
    let Some(lead) = attribution.first() else {
        return "no column moved beyond what the reference does on its own".to_owned();
    };
    let towards = lead.towards.as_ref().map(|towards| format!(", towards {towards}")).unwrap_or_default();
    let share = 100.0 * lead.moved_share;
    let count = attribution.len();
    format!("`{}` moved: {share:.0} % of the mass{towards}; {count} of {columns} columns", lead.column)
}

/// What is added where most of it lies in one segment.
pub(super) fn in_segment(segment: &Segment) -> String {
    format!("; concentrated in `{} = {}`", segment.dimension, segment.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strain(column: usize, strain: f64) -> Strain {
        Strain { column, strain, exceeded: strain > 1.0 }
    }

    #[test]
    fn columns_are_named_by_their_false_discovery_rate_and_share_the_blame_by_their_excess() {
        // Twenty columns, of which one passed its threshold and one nearly did.
        let mut strains: Vec<Strain> = (2..20).map(|column| strain(column, 0.1)).collect();
        strains.extend([strain(0, 2.0), strain(1, 0.95), strain(0, 1.5)]);
        let named = take_part(&strains, 3.3);
        assert_eq!(named.iter().map(|(column, _)| *column).collect::<Vec<_>>(), [0, 1]);
        assert!((named[0].1 - 4.0 / (4.0 + 0.95 * 0.95)).abs() < 1e-12);
        assert!(take_part(&[strain(0, 0.2), strain(1, 0.0)], 3.3).is_empty());
    }

    #[test]
    fn a_segment_holds_a_drift_that_is_larger_there_than_its_share_of_the_rows() {
        let region = |value: &str| Segment { dimension: "region".into(), value: value.into() };
        let moved = |value: &str, rows, share| {
            SegmentMovement::new(&region(value), rows, &Movement { share, by_chance: 0.02, towards: None })
        };
        let everywhere = [moved("north", 300, 0.3), moved("south", 700, 0.3)];
        assert_eq!(concentrated(&everywhere), None);
        let north = [moved("north", 300, 0.3), moved("south", 700, 0.03)];
        assert_eq!(concentrated(&north), Some(region("north")));
        assert_eq!(concentrated(&[moved("north", 300, 0.02), moved("south", 700, 0.01)]), None, "chance moves as much");
    }
}
