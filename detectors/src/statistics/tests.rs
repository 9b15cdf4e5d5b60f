//! The statistics against scipy 1.17.1 on explicit counts, and their promises on every input.

use super::*;
use crate::layout::ColumnLayout;
use crate::profile::{ColumnProfile, Profile};
use arrow::array::{ArrayRef, Float64Array, new_null_array};
use arrow::datatypes::DataType;
use proptest::prelude::*;
use std::sync::Arc;

/// Counts of scipy's cases (`same_4`, `shift_4`, `binary_2x2`, `unicode_and_empty`; then `norm_same` and
/// `norm_shift_0.2` in ten quantile bins), with PSI, Jensen–Shannon distance base 2, and χ² with its p-value.
struct Case {
    reference: &'static [i64],
    current: &'static [i64],
    psi: f64,
    jensen_shannon: f64,
    chi_squared: Option<(f64, f64)>,
}

const CASES: [Case; 6] = [
    Case {
        reference: &[387, 297, 223, 93],
        current: &[348, 225, 233, 94],
        psi: 0.014_780_827_146_662_895,
        jensen_shannon: 0.051_601_316_857_009_19,
        chi_squared: Some((6.981_248_821_716_075_5, 0.072_497_843_875_427_99)),
    },
    Case {
        reference: &[421, 286, 183, 110],
        current: &[265, 291, 165, 179],
        psi: 0.102_475_958_344_658_3,
        jensen_shannon: 0.135_277_916_898_727_76,
        chi_squared: Some((47.792_861_444_052_29, 2.356_954_396_635_393e-10)),
    },
    Case {
        reference: &[238, 62],
        current: &[178, 72],
        psi: 0.035_788_200_397_828_74,
        jensen_shannon: 0.080_193_185_509_081_61,
        chi_squared: Some((4.895_115_767_317_262, 0.026_932_767_642_691_133)),
    },
    Case {
        reference: &[96, 96, 104, 104],
        current: &[157, 75, 78, 90],
        psi: 0.111_734_217_925_931_6,
        jensen_shannon: 0.141_409_875_328_322_1,
        chi_squared: Some((22.011_052_242_480_208, 6.488_662_334_650_614e-05)),
    },
    Case {
        reference: &[100; 10],
        current: &[74, 66, 85, 91, 70, 98, 91, 60, 72, 93],
        psi: 0.024_800_804_860_282_362,
        jensen_shannon: 0.066_816_875_331_439_86,
        chi_squared: None,
    },
    Case {
        reference: &[100; 10],
        current: &[41, 68, 99, 85, 102, 109, 129, 104, 129, 134],
        psi: 0.093_085_425_615_825_38,
        jensen_shannon: 0.128_283_778_992_187_32,
        chi_squared: None,
    },
];

fn assert_close(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{found} instead of {expected}");
}

#[test]
fn psi_jensen_shannon_and_chi_squared_are_those_of_scipy() {
    for case in CASES {
        let cells = Cells::new(case.reference, case.current).unwrap();
        assert_close(population_stability_index(&cells), case.psi, 1e-9);
        assert_close(jensen_shannon_distance(&cells), case.jensen_shannon, 1e-9);
        if let Some((statistic, p_value)) = case.chi_squared {
            let found = contingency(&cells).unwrap();
            assert_close(found.statistic, statistic, 1e-9);
            assert_close(found.p_value, p_value, 1e-6);
        }
    }
}

#[test]
fn a_new_category_and_a_gone_one_are_seen_and_stay_finite() {
    // scipy's cases `new_category` and `gone_category`.
    for (reference, current, statistic, distance) in [
        ([227, 165, 108, 0], [260, 145, 73, 22], 32.294_418_012_140_28, 0.171_635_152_885_073_17),
        ([234, 162, 104, 0], [292, 208, 0, 0], 116.114_356_181_276_34, 0.335_795_694_816_581_9),
    ] {
        let cells = Cells::new(&reference, &current).unwrap();
        assert_close(contingency(&cells).unwrap().statistic, statistic, 1e-9);
        assert_close(jensen_shannon_distance(&cells), distance, 1e-9);
        assert!(population_stability_index(&cells).is_finite());
    }
}

#[test]
fn sparse_cells_are_pooled_and_a_table_of_nothing_else_is_refused() {
    let cells = Cells::new(&[50, 50, 1, 1, 2], &[50, 50, 2, 1, 1]).unwrap();
    assert_eq!(contingency(&cells).unwrap().degrees_of_freedom, 1);
    let cells = Cells::new(&[1, 1], &[1, 1]).unwrap();
    assert_eq!(contingency(&cells), Err(NotComparable::TooSparse));
    assert_eq!(contingency(&Cells::new(&[50], &[60]).unwrap()).unwrap().p_value, 1.0);
}

#[test]
fn kolmogorovs_distribution_has_its_tabulated_values() {
    // Smirnov's table (1948), six digits.
    for (lambda, survival) in
        [(0.5, 0.963_945), (0.8, 0.544_142), (1.0, 0.270_000), (1.36, 0.049_486), (2.0, 0.000_671)]
    {
        assert!((kolmogorov_survival(lambda) - survival).abs() < 1e-6, "{lambda}");
    }
    assert!((kolmogorov_survival(1.0 - 1e-12) - kolmogorov_survival(1.0)).abs() < 1e-9, "the two series meet");
}

#[test]
fn exact_samples_of_eight_and_eight_have_scipys_statistics_and_exact_p_values() {
    // scipy 1.17.1 on the vectors of Evidently's own tests; the last two have p-values of limits.
    let reference = NumberSample::of(&[38.7, 41.5, 43.8, 44.5, 45.5, 46.0, 47.7, 58.0]);
    let current = NumberSample::of(&[39.2, 39.3, 39.7, 41.4, 41.8, 42.9, 43.3, 45.8]);
    let pair = Pair::of_numbers(&reference, &current);
    for (statistic, value, p_value) in [
        (Statistic::Ks, 0.625, 0.087_024_087_024_087_01),
        (Statistic::CramerVonMises, 0.4375, 0.064_335_664_335_664_33),
        (Statistic::MannWhitney, 49.0, 0.082_983_682_983_682_97),
        (Statistic::Welch, 1.859_452_339_622_691_9, 0.095_120_564_723_438_4),
        (Statistic::AndersonDarling, 1.718_309_674_436_089_3, 0.063_514_677_287_608_44),
    ] {
        let found = statistic.detector().compare(&pair).unwrap();
        assert_close(found.statistic, value, 1e-9);
        assert_close(found.p_value.unwrap(), p_value, 1e-6);
    }
    for (statistic, value) in
        [(Statistic::Wasserstein, 4.162_500_000_000_001), (Statistic::Energy, 1.570_230_874_744_221)]
    {
        assert_close(statistic.detector().compare(&pair).unwrap().statistic, value, 1e-9);
    }
}

#[test]
fn two_categories_have_scipys_z_and_g() {
    // scipy's case `binary_tiny`, whose cells are sparse, and `binary_2x2`.
    let tiny = Pair::of_cells(Cells::new(&[8, 2], &[3, 7]).unwrap());
    let g_test = GTest { sparse: SparseCells::Keep }.compare(&tiny).unwrap();
    assert_close(g_test.statistic, 5.300_218_036_681_912, 1e-9);
    assert_close(g_test.p_value.unwrap(), 0.021_322_755_081_858_41, 1e-6);
    let pair = Pair::of_cells(Cells::new(&[238, 62], &[178, 72]).unwrap());
    let z = TwoProportionZ.compare(&pair).unwrap();
    assert_close(z.statistic, -2.212_490_851_352_216_6, 1e-9);
    assert_close(z.p_value.unwrap(), 0.026_932_767_642_691_19, 1e-6);
    assert_close(CramersV::default().compare(&pair).unwrap().score, 0.094_340_926_887_705_46, 1e-9);
}

/// Profiles of a reference and a window against bins learned from the reference.
fn profiles(reference: &[f64], current: &[f64]) -> (ColumnLayout, ColumnProfile, ColumnProfile) {
    let layout = ColumnLayout::learn_numeric(&mut reference.to_vec());
    let profile = |values: &[f64]| {
        let mut profile = Profile::empty(std::slice::from_ref(&layout));
        let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        profile
            .observe(std::slice::from_ref(&layout), &[array], &new_null_array(&DataType::Null, values.len()))
            .unwrap();
        profile.columns()[0].clone()
    };
    let (reference, current) = (profile(reference), profile(current));
    (layout, reference, current)
}

fn score(statistic: Statistic, reference: &[f64], current: &[f64]) -> Result<Evidence, NotComparable> {
    let (layout, reference, current) = profiles(reference, current);
    statistic.detector().compare(&Pair::of_profiles(&layout, &reference, &current)?)
}

#[test]
fn a_shift_scores_its_size_in_standard_deviations_also_beyond_the_range() {
    let reference: Vec<f64> = (0..5_000).map(|i| f64::from((i * 7919) % 5_003)).collect();
    let spread = 5_003.0 / 12.0_f64.sqrt();
    for shift in [100.0, 700.0, 3_000.0, 5_000.0] {
        let moved: Vec<f64> = reference.iter().map(|value| value + shift).collect();
        let found = score(Statistic::Wasserstein, &reference, &moved).unwrap().score;
        // The bins are 1/256 of the range wide; the last edge is less than one bin from the true one.
        assert!((found - shift / spread).abs() < 5_003.0 / 256.0 / spread, "{shift}: {found}");
    }
}

#[test]
fn order_statistics_are_exact_where_every_value_has_its_own_bin() {
    let (reference, current) = ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]);
    assert_close(score(Statistic::Ks, &reference, &current).unwrap().score, 0.5, 1e-12);
    // |F − G| is 1/2 between 0 and 1; the reference's standard deviation is 1/2.
    assert_close(score(Statistic::Wasserstein, &reference, &current).unwrap().score, 1.0, 1e-12);
}

#[test]
fn a_constant_reference_says_that_it_has_no_scale() {
    assert_eq!(score(Statistic::Wasserstein, &[5.0; 9], &[6.0; 9]), Err(NotComparable::NoSpread));
    assert_eq!(score(Statistic::Wasserstein, &[5.0; 9], &[5.0; 9]).unwrap().score, 0.0);
    assert_eq!(score(Statistic::JensenShannon, &[5.0; 9], &[6.0; 9]).unwrap().score, 1.0);
    assert_eq!(score(Statistic::Ks, &[5.0; 9], &[f64::INFINITY; 9]).unwrap().score, 1.0);
}

proptest! {
    #[test]
    fn every_statistic_is_finite_or_says_why_it_is_not(
        reference in proptest::collection::vec(any::<f64>(), 0..80),
        current in proptest::collection::vec(any::<f64>(), 0..80),
    ) {
        let (layout, reference, current) = profiles(&reference, &current);
        let pair = Pair::of_profiles(&layout, &reference, &current).unwrap();
        for statistic in Statistic::ALL {
            if let Ok(evidence) = statistic.detector().compare(&pair) {
                prop_assert!(evidence.score.is_finite() && evidence.score >= 0.0, "{statistic:?} {evidence:?}");
                prop_assert!(evidence.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{statistic:?} {evidence:?}");
            }
        }
    }

    #[test]
    fn a_sample_is_at_no_distance_from_itself(values in proptest::collection::vec(-1e6..1e6, 2..80)) {
        let (layout, profile, _) = profiles(&values, &[]);
        let pair = Pair::of_profiles(&layout, &profile, &profile).unwrap();
        for statistic in Statistic::ALL {
            if let Ok(evidence) = statistic.detector().compare(&pair) {
                prop_assert!(evidence.score < 1e-7, "{statistic:?} {evidence:?}");
            }
        }
    }
}
