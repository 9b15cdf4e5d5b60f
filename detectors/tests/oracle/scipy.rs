//! The two-sample statistics on exact samples, as scipy 1.17.1 has them.

use crate::shared::{json, shared, table};
use crate::tally::{Bound, STATISTIC, Tally};
use detectors::parity::evidently::EvidentlyTest;
use detectors::statistics::{
    Alternative, AndersonDarling, CategorySample, ChiSquared, Continuity, CramerVonMises, CramerVonMisesNull,
    CramerVonMisesTies, CramersV, Detector, EmptyCells, Energy, Evidence, FilledShares, GTest, Hellinger,
    JensenShannon, JensenShannonForm, KolmogorovNull, KolmogorovSmirnov, KullbackLeibler, LInfinity, LogBase,
    MannWhitney, MannWhitneyNull, NotComparable, NumberSample, Pair, Psi, SampleMoments, SmallShare, SparseCells,
    TotalVariation, TwoProportionZ, Wasserstein, WassersteinUnit, Welch,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A p-value to 1e-6 of itself.
const P_VALUE: Bound = Bound { relative: 1e-6, floor: 0.0 };

/// One that scipy gets by subtracting a series from one, which leaves up to 3e-9 where nothing should be left.
const SUBTRACTED: Bound = Bound { relative: 1e-6, floor: 3e-9 };

type Found = Result<Evidence, NotComparable>;

fn ks(alternative: Alternative, null: KolmogorovNull, pair: &Pair<'_>) -> Found {
    KolmogorovSmirnov { alternative, null }.compare(pair)
}

/// The statistics of numbers under scipy's names; `None` for one that is not among ours.
fn of_numbers(name: &str, pair: &Pair<'_>) -> Option<Found> {
    use Alternative::{Greater, Less, TwoSided};
    let scipy_cvm = |null| CramerVonMises { ties: CramerVonMisesTies::Midranks, null }.compare(pair);
    let mann_whitney = |null| MannWhitney { null, ..Default::default() }.compare(pair);
    Some(match name {
        "ks_2samp_auto" => ks(TwoSided, KolmogorovNull::Auto, pair),
        "ks_2samp_exact" => ks(TwoSided, KolmogorovNull::Paths, pair),
        "ks_2samp_asymp" => ks(TwoSided, KolmogorovNull::OneSample, pair),
        "ks_2samp_greater" => ks(Greater, KolmogorovNull::OneSample, pair),
        "ks_2samp_less" => ks(Less, KolmogorovNull::OneSample, pair),
        "wasserstein_distance" => Wasserstein { unit: WassersteinUnit::Own }.compare(pair),
        "energy_distance" => Energy.compare(pair),
        "cramervonmises_2samp_asymptotic" => scipy_cvm(CramerVonMisesNull::Limit),
        "cramervonmises_2samp_exact" => scipy_cvm(CramerVonMisesNull::Exact),
        "anderson_ksamp_midrank" => AndersonDarling.compare(pair),
        "mannwhitneyu_asymptotic_cc" => mann_whitney(MannWhitneyNull::NormalCorrected),
        "mannwhitneyu_asymptotic_nocc" => mann_whitney(MannWhitneyNull::Normal),
        "ttest_welch" => Welch::default().compare(pair),
        _ => return None,
    })
}

/// The distances and tests of cells under the names of the answers.
fn of_cells(name: &str, pair: &Pair<'_>) -> Option<Found> {
    let floor = EmptyCells::Floor(SmallShare::ONE_IN_TEN_THOUSAND);
    let jensen_shannon = |base, form| JensenShannon { base, form }.compare(pair);
    let chi_squared = |continuity| ChiSquared { sparse: SparseCells::Keep, continuity }.compare(pair);
    Some(match name {
        "psi_eps1e-4_unrenormalised" | "psi_eps_1e4" => Psi { empty: floor }.compare(pair),
        "js_distance_ln" => jensen_shannon(LogBase::Natural, JensenShannonForm::Distance),
        "js_distance_base2" => jensen_shannon(LogBase::Two, JensenShannonForm::Distance),
        "js_divergence_base2" => jensen_shannon(LogBase::Two, JensenShannonForm::Divergence),
        "hellinger" => Hellinger.compare(pair),
        "total_variation" => TotalVariation.compare(pair),
        "linf" => LInfinity.compare(pair),
        "kl_cur_ref_eps1e-4" => {
            KullbackLeibler { empty: floor, filled: FilledShares::AsFilled, ..Default::default() }.compare(pair)
        }
        "chi2_contingency_nocorr" => chi_squared(Continuity::Uncorrected),
        "chi2_contingency_yates_if_2x2" => chi_squared(Continuity::Yates),
        "g_test" => GTest { sparse: SparseCells::Keep }.compare(pair),
        "cramers_v" => CramersV { sparse: SparseCells::Keep }.compare(pair),
        "two_proportion_z_pooled" => TwoProportionZ.compare(pair),
        _ => return None,
    })
}

/// Holds one answer of scipy against ours.
fn hold(tally: &mut Tally, what: &str, expected: &Value, found: Found) {
    let (statistic, p_value) = match expected {
        Value::Object(fields) => {
            (fields.get("statistic"), fields.get("pvalue").or_else(|| fields.get("pvalue_capped_0.001_0.25")))
        }
        bare => (Some(bare), None),
    };
    let Some(statistic) = statistic.and_then(Value::as_f64) else { return tally.refusal(what, found) };
    if p_value.is_some_and(Value::is_null) {
        return tally.refusal(what, found);
    }
    let found = match found {
        Ok(found) => found,
        Err(reason) => return tally.wrong(format!("{what}: {reason}, but there it is {statistic}")),
    };
    tally.number(what, "statistic", (found.statistic, statistic), STATISTIC);
    if let Some(expected) = p_value.and_then(Value::as_f64) {
        let p_value = found.p_value.unwrap_or(f64::NAN);
        let bound = if what.contains("cramervonmises") { SUBTRACTED } else { P_VALUE };
        tally.number(&format!("{what} p"), "p-value", (p_value, expected), bound);
    }
}

fn numbers_of(folder: &Path) -> BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>> {
    let mut cases: BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>> = BTreeMap::new();
    for row in table(&folder.join("continuous_input.csv.gz")) {
        let value = row["value"].parse::<f64>().ok().filter(|value| !value.is_nan());
        cases.entry(row["case"].clone()).or_default().entry(row["sample"].clone()).or_default().push(value);
    }
    cases
}

fn floats(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// What becomes of the values alone: scipy drops those that are missing before every test.
fn present(values: &[Option<f64>]) -> NumberSample {
    NumberSample::new(values.iter().copied().filter(Option::is_some))
}

fn hold_moments(tally: &mut Tally, what: &str, expected: &Value, pair: &Pair<'_>) {
    for name in expected.as_object().expect("moments").keys() {
        let of = |moments: SampleMoments| match name.as_str() {
            "mean" => Some(moments.mean),
            "std_ddof1" => Some(moments.deviation),
            _ => None,
        };
        match pair.moments().map(|(reference, _)| of(reference)) {
            Ok(Some(found)) => {
                let expected = expected[name].as_f64().expect("a number");
                tally.number(&format!("{what} {name}"), "moment", (found, expected), STATISTIC);
            }
            _ => tally.left_out("moments and quantiles of the reference other than mean and deviation"),
        }
    }
}

fn hold_binned(tally: &mut Tally, what: &str, expected: &Value, samples: (&NumberSample, &NumberSample)) {
    let edges = floats(&expected["inner_edges"]);
    let pair = Pair::of_binned_numbers(samples.0, samples.1, &edges).expect("edges that rise");
    let counts = floats(&expected["ref_counts"]).into_iter().zip(floats(&expected["cur_counts"]));
    let filled: Vec<(f64, f64)> = counts.filter(|(a, b)| a + b > 0.0).collect();
    if pair.cells().expect("cells").counts() != filled {
        tally.wrong(format!("{what}: counts are {:?} instead of {filled:?}", pair.cells()));
    }
    for (name, expected) in expected.as_object().expect("answers") {
        if let Some(found) = of_cells(name, &pair) {
            hold(tally, &format!("{what} {name}"), expected, found);
        }
    }
}

/// One case of numbers: its samples with and without missing values.
struct NumberCase {
    rows: [Vec<Option<f64>>; 2],
    samples: [NumberSample; 2],
}

impl NumberCase {
    /// The answers that are no statistic of a pair: counts, moments, histograms, Evidently's distance.
    fn hold_other(&self, tally: &mut Tally, (what, name): (&str, &str), expected: &Value) {
        let [reference, current] = &self.samples;
        let missing = |side: usize| self.rows[side].iter().filter(|row| row.is_none()).count() as f64;
        let count = match name {
            "n_ref" => reference.finite() as f64,
            "n_cur" => current.finite() as f64,
            "n_ref_total" => self.rows[0].len() as f64,
            "n_cur_total" => self.rows[1].len() as f64,
            "n_ref_nan" => missing(0),
            "n_cur_nan" => missing(1),
            "moments_ref" => return hold_moments(tally, what, expected, &Pair::of_numbers(reference, current)),
            "binned_quantile10" => return hold_binned(tally, what, expected, (reference, current)),
            // By the population's deviation, at least .001: Evidently's.
            "wasserstein_norm_ref_std_ddof0" => {
                let found = EvidentlyTest::Wasserstein.of_numbers(reference, current).expect("a distance");
                let expected = expected.as_f64().expect("a number");
                return tally.number(what, "statistic", (found.score, expected), STATISTIC);
            }
            _ => return tally.left_out(&format!("{name}: not offered")),
        };
        tally.number(what, "count", (count, expected.as_f64().expect("a count")), STATISTIC);
    }
}

fn hold_numbers(tally: &mut Tally, folder: &Path, expected: &Value) {
    let mut inputs = numbers_of(folder);
    for (case, answers) in expected.as_object().expect("cases") {
        let rows = ["ref", "cur"].map(|side| inputs.get_mut(case).and_then(|rows| rows.remove(side)).expect("rows"));
        let samples = [present(&rows[0]), present(&rows[1])];
        let number_case = NumberCase { rows, samples };
        let pair = Pair::of_numbers(&number_case.samples[0], &number_case.samples[1]);
        for (name, expected) in answers.as_object().expect("answers") {
            let what = format!("{case} {name}");
            match (name.as_str(), of_numbers(name, &pair)) {
                // Scipy counts no paths where a sample has more than 10,000 values, ours does up to 10⁷ lattice points.
                ("ks_2samp_auto", _) if answers.get("ks_2samp_exact").is_none() => {
                    let asymptotic = ks(Alternative::TwoSided, KolmogorovNull::OneSample, &pair);
                    hold(tally, &what, expected, asymptotic);
                }
                ("cramervonmises_2samp_exact", Some(Err(NotComparable::TooManyValues))) => {
                    tally.left_out("an exact p of Cramér and von Mises for tied values, which is none: refused here");
                }
                (_, Some(found)) => hold(tally, &what, expected, found),
                (name, None) => number_case.hold_other(tally, (&what, name), expected),
            }
        }
    }
}

/// The categories that are present, by case and sample.
fn categories_of(folder: &Path) -> BTreeMap<(String, String), Vec<String>> {
    let mut inputs: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in table(&folder.join("categorical_input.csv")) {
        let values = inputs.entry((row["case"].clone(), row["sample"].clone())).or_default();
        if row["is_missing"] == "0" {
            values.push(row["value"].clone());
        }
    }
    inputs
}

fn hold_categories(tally: &mut Tally, folder: &Path, expected: &Value) {
    let inputs = categories_of(folder);
    for (case, answers) in expected.as_object().expect("cases") {
        let sample = |side: &str| {
            let values = &inputs[&(case.clone(), side.to_owned())];
            CategorySample::new(values.iter().map(|value| Some(value.as_str())))
        };
        let (reference, current) = (sample("ref"), sample("cur"));
        let pair = Pair::of_categories(&reference, &current);
        let cells = pair.cells().expect("cells");
        for (name, expected) in answers.as_object().expect("answers") {
            let what = format!("{case} {name}");
            let own = match name.as_str() {
                "ref_counts" => cells.counts().iter().map(|(count, _)| *count).collect::<Vec<_>>(),
                "cur_counts" => cells.counts().iter().map(|(_, count)| *count).collect(),
                _ => Vec::new(),
            };
            match of_cells(name, &pair) {
                Some(found) => hold(tally, &what, expected, found),
                None if !own.is_empty() => {
                    assert_eq!(own, floats(expected), "{what}");
                    tally.number(&what, "count", (own.iter().sum(), floats(expected).iter().sum()), STATISTIC);
                }
                None if name == "fisher_exact" => tally.left_out("fisher_exact: not offered"),
                None => tally.left_out("names of the categories, and how many rows have none"),
            }
        }
    }
}

#[test]
fn the_statistics_of_exact_samples_are_scipys() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("oracle/scipy_oracle");
    let expected = json(&folder.join("expected.json"));
    let mut tally = Tally::default();
    hold_numbers(&mut tally, &folder, &expected["continuous"]);
    hold_categories(&mut tally, &folder, &expected["categorical"]);
    tally.conclude("scipy_oracle");
}
