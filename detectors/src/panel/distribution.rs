//! The coarse counts of a column that took part in a drift, for people to see what moved.
//!
//! Bins are the reference's coarse ones, so that both sides are counted alike. A category is named if ten rows of the window
//! have it, or if it has gone while ten rows of the reference had it; rows of all others stand together. The outermost edges are
//! left out, because they are the extreme values of single rows.

use crate::layout::{BinEdges, CategoryTable, ColumnLayout};
use crate::profile::{CategoricalProfile, ColumnProfile, NumericProfile};
use crate::verdict::{Bins, Distribution, OutsideCount, OutsideKind, Quantiles};

/// Rows below which a value is not shown.
pub(super) const LEAST_SHOWN: i64 = 10;

/// The most categories that are shown by name.
const MOST_NAMED: usize = 12;

/// Decimal digits of shares.
const SHARE_DIGITS: f64 = 1e5;

/// Whether the values of a column may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Those that enough rows have.
    Frequent,
    /// None.
    Nothing,
}

/// The counts of both sides; `None` where they are not of one kind, or the reference has no rows.
pub(super) fn distribution(
    layout: &ColumnLayout,
    reference: &ColumnProfile,
    current: &ColumnProfile,
    naming: Naming,
) -> Option<Distribution> {
    if reference.rows() == 0 {
        return None;
    }
    match (layout, reference, current) {
        (ColumnLayout::Numeric(bins), ColumnProfile::Numeric(reference), ColumnProfile::Numeric(current)) => {
            Some(numeric(bins, reference, current))
        }
        (
            ColumnLayout::Categorical(table),
            ColumnProfile::Categorical(reference),
            ColumnProfile::Categorical(current),
        ) => Some(categorical(table, reference, current, naming)),
        _ => None,
    }
}

fn numeric(bins: &BinEdges, reference: &NumericProfile, current: &NumericProfile) -> Distribution {
    let inner = bins.coarse_starts().iter().skip(1);
    let edges = inner.filter_map(|start| bins.edges().get(usize::from(*start)).copied().map(readable)).collect();
    let of = reference.rows();
    let outside = |kind, before, rows| OutsideCount { kind, reference: share(before, of), rows };
    let infinite = |profile: &NumericProfile| profile.pos_inf() + profile.neg_inf();
    let odd = [
        outside(OutsideKind::Below, reference.below(), current.below()),
        outside(OutsideKind::Above, reference.above(), current.above()),
        outside(OutsideKind::Null, reference.null(), current.null()),
        outside(OutsideKind::Nan, reference.nan(), current.nan()),
        outside(OutsideKind::Infinite, infinite(reference), infinite(current)),
        outside(OutsideKind::WrongType, reference.wrong_type(), current.wrong_type()),
    ];
    Distribution {
        bins: Bins::Numeric { edges },
        reference: bins.coarsen(reference.fine()).into_iter().map(|count| share(count, of)).collect(),
        rows: bins.coarsen(current.fine()),
        outside: odd.into_iter().filter(is_there).collect(),
        reference_quantiles: quantiles(bins, reference),
        quantiles: quantiles(bins, current),
    }
}

/// What is counted of one category.
struct Category<'a> {
    name: &'a str,
    reference: i64,
    rows: i64,
}

fn categorical(
    table: &CategoryTable,
    reference: &CategoricalProfile,
    current: &CategoricalProfile,
    naming: Naming,
) -> Distribution {
    let (of, window) = (reference.rows(), current.rows());
    let counts = reference.known().iter().zip(current.known());
    let all = table.known().iter().zip(counts);
    let all = all.map(|(name, (before, rows))| Category { name, reference: *before, rows: *rows });
    let (mut shown, mut rest): (Vec<_>, Vec<_>) = all.partition(Category::may_be_shown);
    let weight = |found: &Category<'_>| share(found.reference, of).max(share(found.rows, window));
    shown.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    rest.extend(shown.split_off(shown.len().min(MOST_NAMED)));
    let before = rest.iter().map(|one| one.reference).sum::<i64>() + reference.other();
    let rows = rest.iter().map(|one| one.rows).sum::<i64>() + current.other();
    let outside = |kind, before, rows| OutsideCount { kind, reference: share(before, of), rows };
    let odd = [
        outside(OutsideKind::Other, before, rows),
        outside(OutsideKind::Unseen, reference.unseen(), current.unseen()),
        outside(OutsideKind::Null, reference.null(), current.null()),
        outside(OutsideKind::WrongType, reference.wrong_type(), current.wrong_type()),
    ];
    Distribution {
        bins: match naming {
            Naming::Frequent => Bins::Categories { names: shown.iter().map(|one| one.name.to_owned()).collect() },
            Naming::Nothing => Bins::Unnamed,
        },
        reference: shown.iter().map(|one| share(one.reference, of)).collect(),
        rows: shown.iter().map(|one| one.rows).collect(),
        outside: odd.into_iter().filter(is_there).collect(),
        reference_quantiles: None,
        quantiles: None,
    }
}

impl Category<'_> {
    fn may_be_shown(&self) -> bool {
        self.rows >= LEAST_SHOWN || (self.rows == 0 && self.reference >= LEAST_SHOWN)
    }
}

fn is_there(count: &OutsideCount) -> bool {
    count.rows > 0 || count.reference > 0.0
}

fn share(count: i64, of: i64) -> f64 {
    (SHARE_DIGITS * count as f64 / of.max(1) as f64).round() / SHARE_DIGITS
}

/// The fifth, fiftieth and ninety-fifth hundredth of the finite values; `None` of fewer than ten.
fn quantiles(bins: &BinEdges, profile: &NumericProfile) -> Option<Quantiles> {
    (profile.finite() >= LEAST_SHOWN).then(|| Quantiles {
        p5: quantile(bins, profile, 0.05),
        p50: quantile(bins, profile, 0.5),
        p95: quantile(bins, profile, 0.95),
    })
}

/// Where the share `at` of the finite values lies below, evenly spread within a bin; beyond the bins, the bins' end.
fn quantile(bins: &BinEdges, profile: &NumericProfile, at: f64) -> f64 {
    let mut left = at * profile.finite() as f64 - profile.below() as f64;
    if left <= 0.0 {
        return readable(bins.lowest());
    }
    for (count, pair) in profile.fine().iter().zip(bins.edges().windows(2)) {
        let ([low, high], count) = (pair, *count as f64) else { continue };
        if left <= count {
            return readable(low + (high - low) * left / count.max(1.0));
        }
        left -= count;
    }
    readable(bins.highest())
}

/// Four digits: enough to read a scale by, and no single row's value.
fn readable(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    let rounded = (value * unit).round() / unit;
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use arrow::array::{Array, ArrayRef, Float64Array, ListBuilder, StringArray, UInt16Builder, new_null_array};
    use std::sync::Arc;

    fn counted(layout: &ColumnLayout, column: ArrayRef) -> ColumnProfile {
        let layouts = [layout.clone()];
        let (mut profile, nothing) = (Profile::empty(&layouts), ListBuilder::new(UInt16Builder::new()).finish());
        let wrong_type = new_null_array(nothing.data_type(), column.len());
        profile.observe(&layouts, &[column], &wrong_type).unwrap();
        profile.columns()[0].clone()
    }

    fn numbers(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from_iter(values))
    }

    fn words(counts: &[(&str, usize)]) -> ArrayRef {
        let rows = counts.iter().flat_map(|(name, rows)| std::iter::repeat_n(*name, *rows));
        Arc::new(StringArray::from_iter_values(rows.collect::<Vec<_>>()))
    }

    #[test]
    fn every_row_of_the_window_is_in_one_place() {
        let mut reference: Vec<f64> = (0..1_000).map(f64::from).collect();
        let layout = ColumnLayout::learn_numeric(&mut reference);
        let before = counted(&layout, numbers(reference.iter().copied().map(Some)));
        let now =
            (0..500).map(|value| (value % 10 != 0).then_some(f64::from(value) * 3.0)).chain([Some(f64::INFINITY)]);
        let now = counted(&layout, numbers(now));
        let found = distribution(&layout, &before, &now, Naming::Frequent).unwrap();
        let outside: i64 = found.outside.iter().map(|count| count.rows).sum();
        assert_eq!(found.rows.iter().sum::<i64>() + outside, 501);
        assert_eq!((found.rows.len(), found.reference.len()), (10, 10));
        let kinds: Vec<_> = found.outside.iter().map(|count| count.kind).collect();
        assert_eq!(kinds, [OutsideKind::Above, OutsideKind::Null, OutsideKind::Infinite]);
        let Bins::Numeric { edges } = &found.bins else { panic!("{found:?}") };
        assert_eq!(edges.len(), 9, "the ends of the reference are two rows' own values");
        assert!((found.reference.iter().sum::<f64>() - 1.0).abs() < 1e-3);
        let (before, now) = (found.reference_quantiles.unwrap(), found.quantiles.unwrap());
        assert!((before.p50 - 500.0).abs() < 10.0 && now.p50 > before.p50, "{before:?} {now:?}");
    }

    #[test]
    fn no_category_of_fewer_than_ten_rows_is_named() {
        let learned: Vec<(&str, usize)> = vec![("walk", 500), ("car", 300), ("helicopter", 40), ("tram", 30)];
        let names: Vec<&str> = learned.iter().flat_map(|(name, rows)| std::iter::repeat_n(*name, *rows)).collect();
        let layout = ColumnLayout::learn_categorical(names);
        let before = counted(&layout, words(&learned));
        let now = counted(&layout, words(&[("walk", 90), ("helicopter", 9), ("tram", 30), ("rocket", 7)]));
        let found = distribution(&layout, &before, &now, Naming::Frequent).unwrap();
        let Bins::Categories { names } = &found.bins else { panic!("{found:?}") };
        assert_eq!(names, &["walk", "car", "tram"], "a car is in no row, and was in many");
        assert_eq!(found.outside[0], OutsideCount { kind: OutsideKind::Other, reference: 0.04598, rows: 9 });
        assert_eq!(found.outside[1].kind, OutsideKind::Unseen);
        let written = serde_json::to_string(&found).unwrap();
        assert!(!written.contains("helicopter") && !written.contains("rocket"), "{written}");
        let private = distribution(&layout, &before, &now, Naming::Nothing).unwrap();
        assert_eq!((private.bins, private.rows), (Bins::Unnamed, vec![90, 0, 30]));
    }

    #[test]
    fn a_dozen_columns_take_some_kilobytes() {
        let mut reference: Vec<f64> = (0..5_000).map(|value| (f64::from(value) * 0.7).sin() * 1e3).collect();
        let layout = ColumnLayout::learn_numeric(&mut reference);
        let profile = counted(&layout, numbers(reference.iter().copied().map(Some)));
        let found = distribution(&layout, &profile, &profile, Naming::Frequent).unwrap();
        let bytes = serde_json::to_string(&vec![found; 12]).unwrap().len();
        assert!(bytes < 6_000, "{bytes} bytes");
    }
}
