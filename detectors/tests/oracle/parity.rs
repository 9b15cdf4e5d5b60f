//! The parity modes, and the settings of statistics that stand for other tools' conventions, on the same small inputs.

use crate::shared::{shared, text};
use crate::tally::{Bound, STATISTIC, Tally};
use detectors::parity::evidently::{EvidentlyTest, energy_distance};
use detectors::parity::nannyml::{FittedNumbers, NumberMethod};
use detectors::parity::{count_in, doane_edges, popmon, sturges_edges};
use detectors::statistics::{
    AndersonDarling, Cells, ChiSquared, Continuity, CramerVonMises, CramerVonMisesTies, Detector, EmptyCells, Evidence,
    GoodnessOfFit, Hellinger, JensenShannon, JensenShannonForm, KolmogorovNull, KolmogorovSmirnov, LInfinity, LogBase,
    MannWhitney, NotComparable, NumberSample, Pair, Psi, SmallShare, SparseCells, TotalVariation, Wasserstein,
    WassersteinUnit, Welch,
};
use serde_json::Value;

/// A p-value to 1e-6 of itself.
const P_VALUE: Bound = Bound { relative: 1e-6, floor: 0.0 };

/// One that scipy gets by subtracting a series from one, which leaves up to 3e-9 where nothing should be left.
const SUBTRACTED: Bound = Bound { relative: 1e-6, floor: 3e-9 };

/// Expected numbers beside ours.
type Row = (Vec<f64>, Result<Vec<f64>, NotComparable>);

fn floats(value: &Value) -> Vec<f64> {
    let one = |value: &Value| value.as_f64().or_else(|| (value == "inf").then_some(f64::INFINITY));
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        bare => one(bare).into_iter().collect(),
    }
}

fn hold(tally: &mut Tally, what: &str, (expected, found): Row) {
    let found = match found {
        Ok(found) => found,
        Err(reason) => return tally.wrong(format!("{what}: {reason} instead of {expected:?}")),
    };
    if found.len() != expected.len() {
        return tally.wrong(format!("{what}: {found:?} instead of {expected:?}"));
    }
    for (place, numbers) in found.into_iter().zip(expected).enumerate() {
        // The second of two is a test's p-value.
        let (kind, bound) = match place {
            1 if what.ends_with("cvm") => ("p-value", SUBTRACTED),
            1 => ("p-value", P_VALUE),
            _ => ("distance", STATISTIC),
        };
        tally.number(&format!("{what} {place}"), kind, numbers, bound);
    }
}

fn of_counts(tally: &mut Tally, name: &str, cells: &Cells) -> Option<Result<Vec<f64>, NotComparable>> {
    let pair = Pair::of_cells(cells.clone());
    let evidently = |test: EvidentlyTest| {
        let (first, second): (Vec<i64>, Vec<i64>) = cells.counts().iter().map(|(a, b)| (*a as i64, *b as i64)).unzip();
        test.of_counts(&first, &second).map(|found| vec![found.score])
    };
    let score = |found: Result<Evidence, NotComparable>| found.map(|found| vec![found.score]);
    let least = EmptyCells::Floor(SmallShare::new(0.01).expect("a share"));
    Some(match name {
        "ev_psi" => evidently(EvidentlyTest::Psi),
        "ev_js(nat,sqrt)" => evidently(EvidentlyTest::JensenShannon),
        "nm_js(base2,sqrt)" => score(JensenShannon::default().compare(&pair)),
        "tfdv_jsd(base2,no sqrt)" => {
            score(JensenShannon { base: LogBase::Two, form: JensenShannonForm::Divergence }.compare(&pair))
        }
        "ev_kl(ref||cur)" => evidently(EvidentlyTest::KlDivergence),
        "hellinger" => score(Hellinger.compare(&pair)),
        "tvd" => score(TotalVariation.compare(&pair)),
        "linf" => score(LInfinity.compare(&pair)),
        "ev_chi2_gof" => goodness_of_fit(tally, &pair, evidently(EvidentlyTest::ChiSquare)),
        "nm_chi2_contingency" => {
            let test = ChiSquared { sparse: SparseCells::Keep, continuity: Continuity::Yates };
            test.of_cells(cells).map(|found| vec![found.statistic, found.p_value, found.degrees_of_freedom as f64])
        }
        "dc_psi(min .01)" => score(Psi { empty: least }.compare(&pair)),
        "popmon_psi(+1e-5 on proportions)" => score(popmon::stability_of_proportions(cells.clone())),
        "popmon_psi(as called: raw counts)" => Ok(vec![popmon::stability_of_raw_counts(cells)]),
        _ => return None,
    })
}

/// χ² and its p-value; infinite there, a reason here, and zero as the p-value of the parity mode.
fn goodness_of_fit(
    tally: &mut Tally,
    pair: &Pair<'_>,
    mode: Result<Vec<f64>, NotComparable>,
) -> Result<Vec<f64>, NotComparable> {
    match GoodnessOfFit::default().compare(pair) {
        Err(reason @ NotComparable::NewCategory) => {
            tally.refusal::<Evidence, _>("ev_chi2_gof", Err(reason));
            Ok(vec![f64::INFINITY, mode?[0]])
        }
        found => found.map(|found| vec![found.statistic, found.p_value.unwrap_or(f64::NAN)]),
    }
}

fn pooled((reference, current): (&NumberSample, &NumberSample)) -> Vec<f64> {
    reference.sorted().iter().chain(current.sorted()).copied().collect()
}

fn least_of(samples: (&NumberSample, &NumberSample)) -> f64 {
    pooled(samples).into_iter().fold(f64::INFINITY, f64::min)
}

fn greatest_of(samples: (&NumberSample, &NumberSample)) -> f64 {
    pooled(samples).into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// Evidently's score of numbers in its bins.
///
/// The answers put numbers into bins always, Evidently only where the reference has more than 20 distinct values, which that of
/// NUM-A does not have: of Evidently's bins, not of its choice between bins and values, the answers speak.
fn in_bins(test: EvidentlyTest, samples: (&NumberSample, &NumberSample)) -> Result<Vec<f64>, NotComparable> {
    let (reference, current) = samples;
    let edges = sturges_edges((least_of(samples), greatest_of(samples)), pooled(samples).len());
    let counts = (count_in(&edges, reference.sorted()), count_in(&edges, current.sorted()));
    let found = test.of_counts(&counts.0, &counts.1)?.score;
    match test.of_numbers(reference, current)?.score {
        own if own == found || reference.sorted().len() < 20 => Ok(vec![found]),
        own => panic!("{test:?} of numbers is {own}, of their bins {found}"),
    }
}

fn of_evidently(name: &str, samples: (&NumberSample, &NumberSample)) -> Option<Result<Vec<f64>, NotComparable>> {
    let (reference, current) = samples;
    let score = |test: EvidentlyTest| test.of_numbers(reference, current).map(|found| vec![found.score]);
    let in_bins = |test: EvidentlyTest| in_bins(test, samples);
    let both = pooled(samples);
    let (least, greatest) = (least_of(samples), greatest_of(samples));
    let mut values = both.clone();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let bins = |n: usize| sturges_edges((least, greatest), n).len() as f64 - 1.0;
    Some(match name {
        "ev_sturges_bins" => Ok(vec![bins(both.len())]),
        "ev_edges" => {
            let edges = sturges_edges((least, greatest), both.len());
            Ok(vec![edges[0], edges[edges.len() - 1]])
        }
        "ev_psi" => in_bins(EvidentlyTest::Psi),
        "ev_js" => in_bins(EvidentlyTest::JensenShannon),
        "ev_kl" => in_bins(EvidentlyTest::KlDivergence),
        "ev_hellinger,bins" => score(EvidentlyTest::Hellinger).map(|found| vec![found[0], bins(values.len())]),
        "ev_wasserstein_norm(pop std ref)" => score(EvidentlyTest::Wasserstein),
        "ev_mannw_less_p" => score(EvidentlyTest::MannWhitney),
        "ttest_p" => score(EvidentlyTest::TTest),
        "energy" => energy_distance(reference, current).map(|distance| vec![distance]),
        _ => return None,
    })
}

fn of_numbers(name: &str, samples: (&NumberSample, &NumberSample)) -> Option<Result<Vec<f64>, NotComparable>> {
    let (reference, current) = samples;
    let pair = Pair::of_numbers(reference, current);
    let of_test = |found: Result<Evidence, NotComparable>| {
        found.map(|found| vec![found.statistic, found.p_value.expect("a p-value")])
    };
    let nannyml = |method| FittedNumbers::fit(reference)?.distance(method, current).map(|distance| vec![distance]);
    let midranks = CramerVonMises { ties: CramerVonMisesTies::Midranks, ..CramerVonMises::default() };
    let asymptotic = KolmogorovSmirnov { null: KolmogorovNull::OneSample, ..KolmogorovSmirnov::default() };
    Some(match name {
        "n_ref" => Ok(vec![reference.finite() as f64]),
        "n_cur" => Ok(vec![current.finite() as f64]),
        "nm_doane_bins" => Ok(vec![doane_edges(reference.sorted()).len() as f64 - 1.0]),
        "nm_js" => nannyml(NumberMethod::JensenShannon),
        "nm_hellinger" => nannyml(NumberMethod::Hellinger),
        "wasserstein" => Wasserstein { unit: WassersteinUnit::Own }.compare(&pair).map(|found| vec![found.score]),
        "ks" => of_test(KolmogorovSmirnov::default().compare(&pair)),
        "ks_asymp" => of_test(asymptotic.compare(&pair)),
        "anderson" => of_test(AndersonDarling.compare(&pair)),
        "cvm" => of_test(midranks.compare(&pair)),
        "mannw_two_sided" => of_test(MannWhitney::default().compare(&pair)),
        "welch" => of_test(Welch::default().compare(&pair)),
        _ => return of_evidently(name, samples),
    })
}

/// The inputs of a case: written out, or by the formula that its text states.
fn numbers_of(case: &str, input: &Value) -> (NumberSample, NumberSample) {
    let modular = |count: i32, of: &dyn Fn(i32) -> f64| NumberSample::of(&(0..count).map(of).collect::<Vec<_>>());
    match case {
        "NUM-B" => {
            let tenth = |i: i32, factor: i32| f64::from(i * factor % 101) / 10.0;
            (modular(1_000, &|i| tenth(i, 37)), modular(600, &|i| tenth(i, 53) + 1.5))
        }
        "NUM-C" => {
            let residue = |i: i32| f64::from(i * i % 997) / 100.0;
            (modular(5_000, &residue), modular(2_000, &|i| residue(i) * 1.2))
        }
        _ => (NumberSample::of(&floats(&input["ref"])), NumberSample::of(&floats(&input["cur"]))),
    }
}

#[test]
fn other_tools_conventions_are_theirs() {
    let Some(shared) = shared() else { return };
    // Python writes an infinity that JSON does not have.
    let answers = text(&shared.join("oracle/parity/parity.json")).replace("Infinity", "\"inf\"");
    let cases = serde_json::from_str::<Value>(&answers).expect("JSON")["cases"].take();
    let mut tally = Tally::default();
    for (case, entry) in cases.as_object().expect("cases") {
        let input = &entry["input"];
        for (name, expected) in entry["expected"].as_object().expect("answers") {
            let found = if input.get("ref_counts").is_some() {
                let counts =
                    |side: &str| floats(&input[side]).into_iter().map(|count| count as i64).collect::<Vec<_>>();
                let cells = Cells::new(&counts("ref_counts"), &counts("cur_counts")).expect("cells");
                of_counts(&mut tally, name, &cells)
            } else {
                let (reference, current) = numbers_of(case, input);
                of_numbers(name, (&reference, &current))
            };
            let what = format!("{case} {name}");
            match found {
                Some(found) => hold(&mut tally, &what, (floats(expected), found)),
                None => tally.left_out(&format!("{name}: not offered")),
            }
        }
    }
    tally.conclude("parity");
}
