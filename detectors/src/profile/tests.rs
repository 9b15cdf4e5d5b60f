//! The promises of profiles: every row counted once, in any order, under its own name.

use super::*;
use crate::layout::{BinEdges, CategoryTable};
use arrow::array::{Float64Array, StringArray};
use arrow::array::{ListBuilder, UInt16Builder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use std::sync::Arc;

fn numbers(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn names(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn no_wrong_types(rows: usize) -> ArrayRef {
    arrow::array::new_null_array(&wrong_type_list(&[]).data_type().clone(), rows)
}

fn wrong_type_list(rows: &[&[u16]]) -> ArrayRef {
    let mut list = ListBuilder::new(UInt16Builder::new());
    for places in rows {
        list.append_value(places.iter().copied().map(Some));
    }
    Arc::new(list.finish())
}

fn layouts() -> Vec<ColumnLayout> {
    let mut values: Vec<f64> = (0..1_000).map(f64::from).collect();
    vec![ColumnLayout::learn_numeric(&mut values), ColumnLayout::learn_categorical(["a", "a", "b"])]
}

fn numeric(profile: &Profile) -> &NumericProfile {
    match &profile.columns()[0] {
        ColumnProfile::Numeric(numeric) => numeric,
        ColumnProfile::Categorical(_) => unreachable!("the first column is numeric"),
    }
}

fn profile_of(values: &[Option<f64>], categories: &[Option<&str>]) -> Profile {
    let mut profile = Profile::empty(&layouts());
    profile.observe(&layouts(), &[numbers(values), names(categories)], &no_wrong_types(values.len())).unwrap();
    profile
}

#[test]
fn each_odd_value_is_counted_under_its_own_name_and_costs_no_other_row() {
    let values =
        [Some(5.0), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(-3.0), Some(2e300), None, None];
    let categories = [Some("a"), Some("b"), Some("new"), None, None, Some("a"), Some("a"), Some("a")];
    let mut profile = Profile::empty(&layouts());
    let wrong = wrong_type_list(&[&[], &[], &[], &[1], &[], &[], &[0, 0], &[7, 1]]);
    profile.observe(&layouts(), &[numbers(&values), names(&categories)], &wrong).unwrap();
    let share = |place: usize, fault| profile.columns()[place].count_of(fault);
    assert_eq!(Fault::ALL.map(|fault| share(0, fault)), [Some(1), Some(1), Some(2), Some(1), Some(2), None]);
    assert_eq!(Fault::ALL.map(|fault| share(1, fault)), [Some(1), None, None, Some(1), None, Some(1)]);
    assert_eq!(profile.columns()[0].rows(), 8);
    assert_eq!(profile.columns()[1].rows(), 8);
    assert_eq!(numeric(&profile).distance_below(), 3.0);
    assert_eq!(numeric(&profile).distance_above(), 999.0, "one absurd value counts for the range at most");
}

#[test]
fn moments_are_those_of_pandas_also_far_from_zero() {
    // pandas.Series([29314.5, 30127.25, 31002.125, 28999.0]): mean() and std().
    let values = [29_314.5, 30_127.25, 31_002.125, 28_999.0];
    for offset in [0.0, 1e9] {
        let shifted: Vec<f64> = values.iter().map(|value| value + offset).collect();
        let layout = [ColumnLayout::learn_numeric(&mut shifted.clone())];
        let mut profile = Profile::empty(&layout);
        let array: ArrayRef = Arc::new(Float64Array::from(shifted));
        profile.observe(&layout, &[array], &no_wrong_types(4)).unwrap();
        let numeric = numeric(&profile);
        assert!((numeric.mean().unwrap() - offset - 29_860.718_75).abs() < 1e-9 * 29_860.0);
        assert!((numeric.standard_deviation().unwrap() / 897.173_573_269_362_8 - 1.0).abs() < 1e-9);
    }
}

#[test]
fn rows_of_several_groups_are_counted_in_their_own_profiles() {
    let values: Vec<Option<f64>> = (0..40).map(|i| Some(f64::from(i))).collect();
    let categories = vec![Some("b"); 40];
    let groups: Vec<usize> = (0..40).map(|row| if row < 20 { row % 2 } else { 2 }).collect();
    let mut profiles = vec![Profile::empty(&layouts()); 3];
    let columns = [numbers(&values), names(&categories)];
    let wrong_type = no_wrong_types(40);
    let observed = Observed { layouts: &layouts(), columns: &columns, wrong_type: &wrong_type };
    observe_groups(&mut profiles, &groups, &observed).unwrap();
    assert_eq!(profiles.iter().map(Profile::rows).collect::<Vec<_>>(), [10, 10, 20]);
    assert_eq!(numeric(&profiles[1]).mean(), Some(10.0));
    let missing = observe_groups(&mut profiles, &[9; 40], &observed);
    assert_eq!(missing, Err(ProfileError::NoSuchGroup { group: 9, profiles: 3 }));
}

#[test]
fn dictionaries_and_views_of_strings_are_counted_as_strings() {
    let plain = names(&[Some("a"), None, Some("b")]);
    let mut expected = Profile::empty(&layouts());
    let column = numbers(&[None, None, None]);
    expected.observe(&layouts(), &[column.clone(), plain.clone()], &no_wrong_types(3)).unwrap();
    let dictionary: arrow::array::DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    for array in [Arc::new(dictionary) as ArrayRef, cast(&plain, &DataType::Utf8View).unwrap()] {
        let mut profile = Profile::empty(&layouts());
        profile.observe(&layouts(), &[column.clone(), array], &no_wrong_types(3)).unwrap();
        assert_eq!(profile, expected);
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_and_counts_nothing() {
    let mut profile = Profile::empty(&layouts());
    let swapped = [names(&[None]), numbers(&[None])];
    let refused = profile.observe(&layouts(), &swapped, &no_wrong_types(1));
    assert!(matches!(refused, Err(ProfileError::ColumnType { place: 0, .. })), "{refused:?}");
    assert_eq!(profile, Profile::empty(&layouts()));
    let other = Profile::empty(&[ColumnLayout::learn_numeric(&mut [1.0, 2.0]), layouts()[1].clone()]);
    assert_eq!(profile.merge(&other), Err(ProfileError::LayoutMismatch { place: 0 }));
}

#[test]
fn a_partial_with_few_rows_is_stored_in_few_bytes() {
    let profile = profile_of(&[Some(3.0), Some(700.0)], &[Some("a"), Some("a")]);
    let bytes = rmp_serde::to_vec(&profile).unwrap();
    assert!(bytes.len() < 160, "{} bytes", bytes.len());
    assert_eq!(rmp_serde::from_slice::<Profile>(&bytes).unwrap(), profile);
}

type Row = (Option<f64>, Option<&'static str>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let number = prop_oneof![
        8 => (-200.0..1_200.0).prop_map(Some),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Some),
        1 => Just(None),
    ];
    let name = prop_oneof![Just(Some("a")), Just(Some("b")), Just(Some("new")), Just(None)];
    proptest::collection::vec((number, name), 0..60)
}

fn profile_of_rows(rows: &[Row]) -> Profile {
    let (values, categories): (Vec<_>, Vec<_>) = rows.iter().copied().unzip();
    profile_of(&values, &categories)
}

fn merged(parts: &[&Profile]) -> Profile {
    let mut sum = Profile::empty(&layouts());
    parts.iter().for_each(|part| sum.merge(part).unwrap());
    sum
}

/// Integers must be equal; sums of at most 180 values of size 1e3 differ by rounding only, a few 1e-16 of Σx² < 2e8.
fn assert_same(a: &Profile, b: &Profile) {
    assert_eq!(a.rows(), b.rows());
    for (a, b) in a.columns().iter().zip(b.columns()) {
        assert_eq!(a.counts(), b.counts());
    }
    let (a, b) = (numeric(a), numeric(b));
    assert_eq!((a.least(), a.greatest()), (b.least(), b.greatest()));
    let close = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => (x - y).abs() < 1e-6,
        (x, y) => x == y,
    };
    assert!(close(a.mean(), b.mean()) && close(a.standard_deviation(), b.standard_deviation()));
    assert!(close(Some(a.distance_below()), Some(b.distance_below())));
    assert!(close(Some(a.distance_above()), Some(b.distance_above())));
}

proptest! {
    #[test]
    fn merging_in_any_order_equals_observing_once(a in rows(), b in rows(), c in rows()) {
        let whole = profile_of_rows(&[a.clone(), b.clone(), c.clone()].concat());
        let (a, b, c) = (profile_of_rows(&a), profile_of_rows(&b), profile_of_rows(&c));
        assert_same(&merged(&[&a, &b, &c]), &whole);
        assert_same(&merged(&[&c, &a, &b]), &whole);
        assert_same(&merged(&[&a, &merged(&[&b, &c])]), &whole);
        assert_same(&whole.without(&a).unwrap().without(&c).map(|mut rest| { rest.merge(&merged(&[&a, &c])).unwrap(); rest }).unwrap(), &whole);
    }

    #[test]
    fn groups_in_any_order_are_counted_as_if_each_were_alone(all in rows(), places in proptest::collection::vec(0_usize..3, 60)) {
        let (values, categories): (Vec<_>, Vec<_>) = all.iter().copied().unzip();
        let groups = &places[..all.len()];
        // Every row says that its number is of the wrong type, which counts where it is null.
        let wrong_type = wrong_type_list(&vec![&[0_u16][..]; all.len()]);
        let columns = [numbers(&values), names(&categories)];
        let mut profiles = vec![Profile::empty(&layouts()); 3];
        observe_groups(&mut profiles, groups, &Observed { layouts: &layouts(), columns: &columns, wrong_type: &wrong_type }).unwrap();
        for (group, profile) in profiles.iter().enumerate() {
            let own: Vec<Row> = all.iter().zip(groups).filter(|(_, place)| **place == group).map(|(row, _)| *row).collect();
            let (values, categories): (Vec<_>, Vec<_>) = own.iter().copied().unzip();
            let mut alone = Profile::empty(&layouts());
            alone.observe(&layouts(), &[numbers(&values), names(&categories)], &wrong_type_list(&vec![&[0_u16][..]; own.len()])).unwrap();
            assert_same(profile, &alone);
        }
    }

    #[test]
    fn where_a_batch_ends_changes_nothing(all in rows(), cut in 0_usize..60) {
        let cut = cut.min(all.len());
        let (values, categories): (Vec<_>, Vec<_>) = all.iter().copied().unzip();
        let (values, categories) = (numbers(&values), names(&categories));
        let mut profile = Profile::empty(&layouts());
        for range in [0..cut, cut..all.len()] {
            let columns = [values.slice(range.start, range.len()), categories.slice(range.start, range.len())];
            profile.observe(&layouts(), &columns, &no_wrong_types(range.len())).unwrap();
        }
        assert_same(&profile, &profile_of_rows(&all));
    }

    #[test]
    fn no_values_at_all_make_a_layout_or_a_profile_panic_or_yield_nan(
        learned in proptest::collection::vec(any::<f64>(), 0..300),
        observed in proptest::collection::vec(any::<Option<f64>>(), 0..50),
    ) {
        let bins = BinEdges::learn(&mut learned.clone());
        let layout = [ColumnLayout::Numeric(Arc::new(BinEdges::from_edges(bins.edges().to_vec()).map(|_| bins).unwrap()))];
        let mut profile = Profile::empty(&layout);
        profile.observe(&layout, &[numbers(&observed)], &no_wrong_types(observed.len())).unwrap();
        let numeric = numeric(&profile);
        prop_assert_eq!(numeric.rows(), observed.len() as i64);
        prop_assert!(numeric.mean().is_none_or(f64::is_finite));
        prop_assert!(numeric.standard_deviation().is_none_or(f64::is_finite));
    }
}

/// So many categories, each as likely as any other of 3,000; the same at every run.
fn towns(rows: usize, seed: u64) -> Vec<String> {
    let mut random = crate::random::Random::new(seed);
    (0..rows).map(|_| format!("town {}", (random.uniform() * 3_000.0) as u64)).collect()
}

fn counted(table: &CategoryTable, names: &[String]) -> CategoricalProfile {
    let mut profile = CategoricalProfile::empty(table);
    profile.observe(table, &names.iter().map(Some).collect(), 0..names.len());
    profile
}

#[test]
fn fresh_counts_of_a_long_tail_foretell_those_of_rows_to_come() {
    let (reference, to_come) = (towns(10_000, 1), towns(50_000, 2));
    let table = CategoryTable::learn(reference.iter().map(String::as_str));
    let (whole, later) = (counted(&table, &reference), counted(&table, &to_come));
    let fresh = whole.fresh(&table, &whole).unwrap();
    let known = |profile: &CategoricalProfile| profile.known().iter().sum::<i64>() as f64 / profile.rows() as f64;
    let unseen = |profile: &CategoricalProfile| profile.unseen() as f64 / profile.rows() as f64;
    assert!(known(&whole) > 1.2 * known(&later), "those that are known were chosen for being frequent");
    // Four standard errors of the 7,500 rows that chose nothing, and of those that are alone among 10,000.
    assert!((known(&fresh) - known(&later)).abs() < 0.01, "{} {}", known(&fresh), known(&later));
    assert!((unseen(&fresh) - unseen(&later)).abs() < 0.02, "{} {}", unseen(&fresh), unseen(&later));
    let half = counted(&table, &reference[..5_000]).fresh(&table, &whole).unwrap();
    assert!((2 * half.rows() - fresh.rows()).abs() < fresh.rows() / 10, "a part is in proportion");
    assert!(later.fresh(&table, &counted(&table, &[])).is_none(), "of other rows nothing is known");
}
