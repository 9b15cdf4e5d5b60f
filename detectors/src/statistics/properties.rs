//! One suite for the trait, run on every statistic and every setting, on profiles and on exact samples.

use super::*;
use crate::layout::{CategoryTable, ColumnLayout};
use crate::profile::{ColumnProfile, Profile};
use crate::schema::ColumnKind;
use arrow::array::{ArrayRef, Float64Array, StringArray, new_null_array};
use arrow::datatypes::DataType;
use proptest::prelude::*;
use std::sync::Arc;

/// Statistics with settings other than the defaults.
fn with_settings() -> Vec<Box<dyn Detector>> {
    let share = SmallShare::ONE_IN_TEN_THOUSAND;
    let (floor, added) = (EmptyCells::Floor(share), EmptyCells::Added(share));
    let mut all: Vec<Box<dyn Detector>> = vec![
        Box::new(GoodnessOfFit::default()),
        Box::new(GoodnessOfFit { sparse: SparseCells::Pool }),
        Box::new(ChiSquared { sparse: SparseCells::Keep, continuity: Continuity::Yates }),
        Box::new(GTest { sparse: SparseCells::Keep }),
        Box::new(CramersV { sparse: SparseCells::Keep }),
        Box::new(JensenShannon { base: LogBase::Natural, form: JensenShannonForm::Divergence }),
        Box::new(KullbackLeibler { filled: FilledShares::AsFilled, empty: floor, ..Default::default() }),
        Box::new(KullbackLeibler { direction: KlDirection::ReferenceFromCurrent, ..Default::default() }),
        Box::new(Psi { empty: floor }),
        Box::new(Psi { empty: added }),
        Box::new(Wasserstein { unit: WassersteinUnit::Own }),
        Box::new(Welch { variances: Variances::Equal }),
    ];
    all.extend(of_order_with_settings());
    all
}

fn of_order_with_settings() -> Vec<Box<dyn Detector>> {
    let mut all: Vec<Box<dyn Detector>> = Vec::new();
    for null in [KolmogorovNull::Paths, KolmogorovNull::OneSample, KolmogorovNull::Limit] {
        for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
            all.push(Box::new(KolmogorovSmirnov { alternative, null }));
        }
    }
    for null in [CramerVonMisesNull::Auto, CramerVonMisesNull::Exact, CramerVonMisesNull::Limit] {
        for ties in [CramerVonMisesTies::Grouped, CramerVonMisesTies::Midranks] {
            all.push(Box::new(CramerVonMises { ties, null }));
        }
    }
    for null in [MannWhitneyNull::Auto, MannWhitneyNull::NormalCorrected, MannWhitneyNull::Normal] {
        for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
            all.push(Box::new(MannWhitney { alternative, null }));
        }
    }
    all
}

/// Whether the score cannot exceed 1.
fn is_bounded(statistic: Statistic) -> bool {
    use Statistic::*;
    matches!(
        statistic,
        JensenShannon
            | Hellinger
            | TotalVariation
            | LInfinity
            | Ks
            | CramerVonMises
            | MannWhitney
            | Energy
            | CramersV
            | TwoProportionZ
    )
}

/// Whether the score is the same when the two samples change places.
fn is_symmetric(statistic: Statistic) -> bool {
    !matches!(statistic, Statistic::Kl | Statistic::Wasserstein)
}

fn profile_of(layout: &ColumnLayout, array: ArrayRef) -> ColumnProfile {
    let rows = array.len();
    let mut profile = Profile::empty(std::slice::from_ref(layout));
    profile.observe(std::slice::from_ref(layout), &[array], &new_null_array(&DataType::Null, rows)).unwrap();
    profile.columns()[0].clone()
}

/// One column's rows, and everything that a pair can be made of.
struct Numbers {
    layout: ColumnLayout,
    profiles: [ColumnProfile; 2],
    samples: [NumberSample; 2],
}

impl Numbers {
    fn of(reference: &[Option<f64>], current: &[Option<f64>]) -> Self {
        let mut present: Vec<f64> = reference.iter().flatten().copied().collect();
        let layout = ColumnLayout::learn_numeric(&mut present);
        let profile = |rows: &[Option<f64>]| profile_of(&layout, Arc::new(Float64Array::from(rows.to_vec())));
        let profiles = [profile(reference), profile(current)];
        let samples = [reference, current].map(|rows| NumberSample::new(rows.iter().copied()));
        Self { layout, profiles, samples }
    }

    fn binned(&self) -> Pair<'_> {
        Pair::of_profiles(&self.layout, &self.profiles[0], &self.profiles[1]).unwrap()
    }

    fn binned_turned(&self) -> Pair<'_> {
        Pair::of_profiles(&self.layout, &self.profiles[1], &self.profiles[0]).unwrap()
    }

    fn exact(&self) -> Pair<'_> {
        Pair::of_numbers(&self.samples[0], &self.samples[1])
    }

    fn exact_turned(&self) -> Pair<'_> {
        Pair::of_numbers(&self.samples[1], &self.samples[0])
    }
}

/// Any column: wild numbers, few values, constants, one row, a large offset, a small scale, odd values among them.
fn column() -> impl Strategy<Value = Vec<Option<f64>>> {
    let present = |values: Vec<f64>| values.into_iter().map(Some).collect::<Vec<_>>();
    let normal = || proptest::collection::vec(-3.0..3.0_f64, 0..70);
    prop_oneof![
        proptest::collection::vec(proptest::option::weighted(0.9, any::<f64>()), 0..60),
        proptest::collection::vec((0..5_i32).prop_map(f64::from), 0..60).prop_map(present),
        (any::<f64>(), 0..40_usize).prop_map(move |(value, rows)| vec![Some(value); rows]),
        any::<f64>().prop_map(|value| vec![Some(value)]),
        normal().prop_map(|values| values.into_iter().map(|value| Some(1e9 + value)).collect()),
        normal().prop_map(|values| values.into_iter().map(|value| Some(1e-9 * value)).collect()),
        normal().prop_map(|values| values.into_iter().map(|value| Some(1e308 * value / 3.0)).collect()),
        normal().prop_map(|values| values.into_iter().map(|value| Some(f64::MIN_POSITIVE * value)).collect()),
        normal().prop_map(present),
    ]
}

fn check(detector: &dyn Detector, pair: &Pair<'_>) -> Result<(), TestCaseError> {
    if let Ok(evidence) = detector.compare(pair) {
        prop_assert!(evidence.score.is_finite() && evidence.score >= 0.0, "{detector:?} {evidence:?}");
        prop_assert!(evidence.statistic.is_finite(), "{detector:?} {evidence:?}");
        prop_assert!(evidence.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{detector:?} {evidence:?}");
    }
    Ok(())
}

fn check_all(pair: &Pair<'_>) -> Result<(), TestCaseError> {
    for statistic in Statistic::ALL {
        check(statistic.detector(), pair)?;
        if let Ok(evidence) = statistic.detector().compare(pair) {
            prop_assert!(!is_bounded(statistic) || evidence.score <= 1.0 + 1e-12, "{statistic:?} {evidence:?}");
        }
    }
    for detector in with_settings() {
        check(detector.as_ref(), pair)?;
    }
    Ok(())
}

fn check_symmetry(pair: &Pair<'_>, turned: &Pair<'_>) -> Result<(), TestCaseError> {
    for statistic in Statistic::ALL.into_iter().filter(|statistic| is_symmetric(*statistic)) {
        let (one, other) = (statistic.detector().compare(pair), statistic.detector().compare(turned));
        match (one, other) {
            (Ok(one), Ok(other)) => {
                prop_assert!(
                    (one.score - other.score).abs() <= 1e-7 * (1.0 + one.score),
                    "{statistic:?} {one:?} {other:?}"
                );
            }
            (Err(_), Err(_)) => {}
            (one, other) => prop_assert!(false, "{statistic:?}: {one:?}, and turned {other:?}"),
        }
    }
    Ok(())
}

/// The largest share of one fine bin, or of what lies outside, on either side.
fn largest_bin_share(numbers: &Numbers) -> f64 {
    let binned = numbers.binned();
    let ordered = binned.ordered().unwrap();
    let (n, m) = ordered.totals();
    ordered.points().iter().map(|point| (point.reference / n).max(point.current / m)).fold(0.0, f64::max)
}

#[test]
fn a_statistic_is_called_the_same_everywhere() {
    for statistic in Statistic::ALL {
        assert_eq!(serde_json::to_value(statistic).unwrap(), statistic.name());
        assert!(statistic.applies_to(ColumnKind::Numeric) || statistic.applies_to(ColumnKind::Categorical));
    }
}

#[test]
fn counts_near_the_limit_of_whole_numbers_in_floats_are_compared() {
    let mut values: Vec<f64> = (0..2_000).map(f64::from).collect();
    let layout = ColumnLayout::learn_numeric(&mut values);
    let empty = ColumnProfile::empty(&layout);
    let huge = 1_i64 << 53;
    let even = empty.recounted(&layout, &[huge; 263]).unwrap();
    let odd: Vec<i64> = (0..263).map(|bin| huge - 1 - i64::from(bin % 7) * (huge / 9)).collect();
    let single: Vec<i64> = (0..263).map(|bin| i64::from(bin == 5)).collect();
    let profiles = [even, empty.recounted(&layout, &odd).unwrap(), empty.recounted(&layout, &single).unwrap(), empty];
    for reference in &profiles {
        for current in &profiles {
            check_all(&Pair::of_profiles(&layout, reference, current).unwrap()).unwrap();
        }
    }
    let cells = Cells::new(&[huge, 1, 0, huge], &[1, huge - 1, 1, 0]).unwrap();
    check_all(&Pair::of_cells(cells)).unwrap();
}

#[test]
fn a_column_of_the_wrong_kind_is_refused_with_its_name() {
    let sample = CategorySample::new([Some("a"), Some("b")]);
    let pair = Pair::of_categories(&sample, &sample);
    for statistic in Statistic::ALL.into_iter().filter(|statistic| !statistic.applies_to(ColumnKind::Categorical)) {
        let found = statistic.detector().compare(&pair);
        assert_eq!(found, Err(NotComparable::Kind { kind: "categorical" }), "{statistic:?}");
    }
    let three = CategorySample::new([Some("a"), Some("b"), Some("c")]);
    let found = TwoProportionZ.compare(&Pair::of_categories(&sample, &three));
    assert_eq!(found, Err(NotComparable::NotTwoCategories { found: 3 }));
}

#[test]
fn two_equal_constants_are_at_no_distance_and_in_scipys_form_they_are() {
    let (reference, current) = (NumberSample::of(&[3.0; 50]), NumberSample::of(&[3.0; 40]));
    let pair = Pair::of_numbers(&reference, &current);
    let grouped = CramerVonMises::default().compare(&pair).unwrap();
    assert_eq!((grouped.score, grouped.statistic), (0.0, 0.0));
    assert!(grouped.p_value.unwrap() > 0.99);
    let midranks = CramerVonMises { ties: CramerVonMisesTies::Midranks, ..Default::default() };
    assert!(midranks.compare(&pair).unwrap().p_value.unwrap() < 0.1, "why it is not the default");
}

#[test]
fn one_value_against_one_other_proves_nothing() {
    let numbers = Numbers::of(&[Some(0.0)], &[Some(-1e210)]);
    for pair in [numbers.binned(), numbers.exact()] {
        check_all(&pair).unwrap();
        assert_eq!(CramerVonMises::default().compare(&pair).unwrap().p_value, Some(1.0));
    }
}

#[test]
fn a_single_new_category_is_a_finite_amount_of_drift_that_shrinks_with_the_sample() {
    let psi = |rows: i64| {
        let cells = Cells::new(&[rows, rows, 0], &[rows, rows - 1, 1]).unwrap();
        Psi::default().compare(&Pair::of_cells(cells)).unwrap().score
    };
    assert!(psi(50) < 0.05 && psi(5_000) < 0.001);
}

proptest! {
    #[test]
    fn no_input_panics_or_gives_nan_and_ranges_hold(reference in column(), current in column()) {
        let numbers = Numbers::of(&reference, &current);
        check_all(&numbers.binned())?;
        check_all(&numbers.exact())?;
        check_symmetry(&numbers.binned(), &numbers.binned_turned())?;
    }

    #[test]
    fn symmetric_statistics_are_symmetric_on_exact_samples(reference in column(), current in column()) {
        let numbers = Numbers::of(&reference, &current);
        let exact = (numbers.exact(), numbers.exact_turned());
        // Cells of exact samples have the reference's edges, so they are turned with edges given.
        let edges = [-1.0, 0.0, 0.5, 2.0];
        let [first, second] = &numbers.samples;
        let cells = (
            Pair::of_binned_numbers(first, second, &edges).unwrap(),
            Pair::of_binned_numbers(second, first, &edges).unwrap(),
        );
        check_symmetry(&cells.0, &cells.1)?;
        for statistic in [Statistic::Ks, Statistic::AndersonDarling, Statistic::Energy, Statistic::Welch] {
            let (one, other) = (statistic.detector().compare(&exact.0), statistic.detector().compare(&exact.1));
            prop_assert_eq!(one.is_ok(), other.is_ok(), "{:?}", statistic);
        }
    }

    #[test]
    fn a_sample_is_at_no_distance_from_itself(rows in column()) {
        let numbers = Numbers::of(&rows, &rows);
        for pair in [numbers.binned(), numbers.exact()] {
            for statistic in Statistic::ALL {
                if let Ok(evidence) = statistic.detector().compare(&pair) {
                    prop_assert!(evidence.score < 1e-7, "{statistic:?} {evidence:?}");
                    prop_assert!(evidence.p_value.is_none_or(|p| p > 0.24), "{statistic:?} {evidence:?}");
                }
            }
        }
    }

    #[test]
    fn profiles_and_exact_samples_have_the_same_cells(reference in column(), current in column()) {
        let numbers = Numbers::of(&reference, &current);
        let sorted = |pair: &Pair<'_>| pair.cells().map(|cells| {
            let mut counts = cells.counts().to_vec();
            counts.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)));
            counts
        });
        prop_assert_eq!(sorted(&numbers.binned()), sorted(&numbers.exact()));
    }

    #[test]
    fn binned_scores_lie_within_their_bounds_of_exact_ones(
        reference in proptest::collection::vec(-3.0..3.0_f64, 300..1_200),
        current in proptest::collection::vec(-2.0..4.0_f64, 20..600),
    ) {
        let rows = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        let numbers = Numbers::of(&rows(&reference), &rows(&current));
        let (binned, exact) = (numbers.binned(), numbers.exact());
        let score = |statistic: Statistic, pair: &Pair<'_>| statistic.detector().compare(pair).unwrap().score;
        let bound = largest_bin_share(&numbers) + 1e-12;
        let (coarse, fine) = (score(Statistic::Ks, &binned), score(Statistic::Ks, &exact));
        prop_assert!(coarse <= fine + 1e-12 && fine <= coarse + bound, "ks {coarse} {fine} {bound}");
        for statistic in [Statistic::CramerVonMises, Statistic::MannWhitney] {
            let apart = (score(statistic, &binned) - score(statistic, &exact)).abs();
            prop_assert!(apart <= bound, "{statistic:?} {apart} {bound}");
        }
        let ColumnLayout::Numeric(bins) = &numbers.layout else { return Ok(()) };
        let widths = bins.edges().windows(2).map(|pair| pair[1] - pair[0]);
        let points = binned.ordered().unwrap().points().iter().skip_while(|point| point.at.is_infinite()).skip(1);
        let (n, m) = binned.ordered().unwrap().totals();
        let bound: f64 = points.zip(widths).map(|(point, width)| (point.reference / n + point.current / m) * width).sum();
        let distance = |pair: &Pair<'_>| Wasserstein::default().compare(pair).unwrap().statistic;
        let apart = (distance(&binned) - distance(&exact)).abs();
        prop_assert!(apart <= bound, "wasserstein {apart} {bound}");
        let apart = (score(Statistic::Welch, &binned) - score(Statistic::Welch, &exact)).abs();
        prop_assert!(apart < 1e-9, "profiles keep moments");
    }

    #[test]
    fn categories_are_compared_whatever_they_are(
        reference in proptest::collection::vec(proptest::option::of(0..12_u8), 0..200),
        current in proptest::collection::vec(proptest::option::of(0..15_u8), 0..200),
    ) {
        let names: Vec<String> = (0..15).map(|place| format!("c{place}")).collect();
        let text = |rows: &[Option<u8>]| -> Vec<Option<&str>> {
            rows.iter().map(|row| row.map(|place| names[usize::from(place)].as_str())).collect()
        };
        let (first, second) = (text(&reference), text(&current));
        let layout = ColumnLayout::Categorical(Arc::new(CategoryTable::learn(first.iter().flatten().copied())));
        let profiles = [&first, &second].map(|rows| profile_of(&layout, Arc::new(StringArray::from(rows.clone()))));
        let samples = [&first, &second].map(|rows| CategorySample::new(rows.iter().copied()));
        let binned = Pair::of_profiles(&layout, &profiles[0], &profiles[1]).unwrap();
        let turned = Pair::of_profiles(&layout, &profiles[1], &profiles[0]).unwrap();
        check_all(&binned)?;
        check_symmetry(&binned, &turned)?;
        let exact = Pair::of_categories(&samples[0], &samples[1]);
        check_all(&exact)?;
        check_symmetry(&exact, &Pair::of_categories(&samples[1], &samples[0]))?;
    }
}
