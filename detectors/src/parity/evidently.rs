//! Evidently's tests of one column, as its version 0.7 computes them.
//!
//! What they do that ours do not. Bin edges are Sturges's over reference *and* window, so they move with every window, and one far
//! value empties all bins but two. An empty bin has a share of 1e-4 (or a millionth of the least share, if that is smaller). χ² and
//! G are goodness of fit: they take the reference's shares for known, and one new category makes p zero. The Mann–Whitney test is
//! one-sided. Thresholds do not know the size of the window. Numbers of up to 20 distinct values (5 for the choice of a test) are
//! taken for categories.
//!
//! Infinite, missing and NaN values are dropped before every test, as Evidently does.

use super::Finding;
use super::histogram::{count_in, sturges_edges};
use crate::statistics::{
    Alternative, AndersonDarling, CategorySample, Cells, CramerVonMises, CramerVonMisesNull, CramerVonMisesTies,
    Detector, Energy, Evidence, FilledShares, GoodnessOfFit, Hellinger, JensenShannon, JensenShannonForm,
    KolmogorovSmirnov, LogBase, MannWhitney, NotComparable, NumberSample, Pair, TwoProportionZ, Variances, Wasserstein,
    WassersteinUnit, Welch, relative_entropy, stability_of_shares,
};

/// Rows of the reference above which distances are used instead of tests.
const LARGE_REFERENCE: i64 = 1_000;
/// Distinct values up to which the choice of a test takes numbers for categories.
const FEW_VALUES: usize = 5;
/// Distinct values of the reference up to which numbers are counted one by one.
const COUNTED_ONE_BY_ONE: usize = 20;
/// The least standard deviation that a distance is divided by.
const LEAST_DEVIATION: f64 = 0.001;
/// What an empty bin's share becomes, and the least share for which it does.
const EMPTY_SHARE: f64 = 0.0001;

/// A test by Evidently's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidentlyTest {
    /// `ks`.
    Ks,
    /// `chisquare`: goodness of fit.
    ChiSquare,
    /// `z`.
    Z,
    /// `wasserstein`, by the reference's population deviation.
    Wasserstein,
    /// `jensenshannon`, with the natural logarithm.
    JensenShannon,
    /// `psi`.
    Psi,
    /// `kl_div`: of the reference from the window.
    KlDivergence,
    /// `hellinger`.
    Hellinger,
    /// `mannw`: whether the reference's values are the smaller ones.
    MannWhitney,
    /// `t_test`, with equal variances.
    TTest,
    /// `anderson`.
    Anderson,
    /// `cramer_von_mises`.
    CramerVonMises,
}

impl EvidentlyTest {
    /// Evidently's own name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::ChiSquare => "chisquare",
            Self::Z => "z",
            Self::Wasserstein => "wasserstein",
            Self::JensenShannon => "jensenshannon",
            Self::Psi => "psi",
            Self::KlDivergence => "kl_div",
            Self::Hellinger => "hellinger",
            Self::MannWhitney => "mannw",
            Self::TTest => "t_test",
            Self::Anderson => "anderson",
            Self::CramerVonMises => "cramer_von_mises",
        }
    }

    /// The test that Evidently chooses for numbers.
    pub fn default_for_numbers(reference: &NumberSample, current: &NumberSample) -> Self {
        let few = distinct(reference, current) <= FEW_VALUES;
        match (reference.finite() > LARGE_REFERENCE, few) {
            (true, true) => Self::JensenShannon,
            (true, false) => Self::Wasserstein,
            (false, true) if distinct(reference, current) > 2 => Self::ChiSquare,
            (false, true) => Self::Z,
            (false, false) => Self::Ks,
        }
    }

    /// The test that Evidently chooses for categories.
    pub fn default_for_categories(reference: &CategorySample, current: &CategorySample) -> Self {
        let new = current.counts().keys().filter(|name| !reference.counts().contains_key(*name)).count();
        if reference.counts().values().sum::<i64>() > LARGE_REFERENCE {
            Self::JensenShannon
        } else if reference.counts().len() + new > 2 {
            Self::ChiSquare
        } else {
            Self::Z
        }
    }

    /// The threshold that Evidently uses.
    pub fn threshold(self) -> f64 {
        if self.is_test() && self != Self::Anderson && self != Self::CramerVonMises { 0.05 } else { 0.1 }
    }

    /// What Evidently says of numbers.
    ///
    /// # Errors
    /// When a side has no finite values, or the test is not one for them.
    pub fn of_numbers(self, reference: &NumberSample, current: &NumberSample) -> Result<Finding, NotComparable> {
        let (reference, current) = (&NumberSample::of(reference.sorted()), &NumberSample::of(current.sorted()));
        let pair = Pair::of_numbers(reference, current);
        // Names an empty side before any test does.
        let by_value = by_value(&pair)?;
        let score = match self {
            Self::Wasserstein => normed_wasserstein(&pair, reference)?,
            Self::Ks | Self::MannWhitney | Self::TTest | Self::Anderson | Self::CramerVonMises => {
                self.p_value(&pair)?
            }
            Self::Hellinger => of_counts(self, binned_distinct(reference, current))?,
            Self::ChiSquare | Self::Z => of_counts(self, by_value)?,
            _ if values_of(reference) > COUNTED_ONE_BY_ONE => of_counts(self, binned(reference, current))?,
            _ => of_counts(self, by_value)?,
        };
        Ok(self.judge(score))
    }

    /// What Evidently says of categories; nulls are dropped.
    ///
    /// # Errors
    /// When a side has no values, or the test is not one for categories.
    pub fn of_categories(self, reference: &CategorySample, current: &CategorySample) -> Result<Finding, NotComparable> {
        let cells = Pair::of_categories(reference, current).cells()?.without_odd()?;
        let counts = cells.counts().iter().map(|(a, b)| (*a as i64, *b as i64)).unzip();
        of_counts(self, counts).map(|score| self.judge(score))
    }

    /// What Evidently says of counts, of categories or in bins. Bins that are empty on both sides count: their shares are
    /// filled too.
    ///
    /// # Errors
    /// When a side is empty, the sides differ in length, or the test is not one for counts.
    pub fn of_counts(self, reference: &[i64], current: &[i64]) -> Result<Finding, NotComparable> {
        of_counts(self, (reference.to_vec(), current.to_vec())).map(|score| self.judge(score))
    }

    fn is_test(self) -> bool {
        matches!(
            self,
            Self::Ks
                | Self::ChiSquare
                | Self::Z
                | Self::MannWhitney
                | Self::TTest
                | Self::Anderson
                | Self::CramerVonMises
        )
    }

    fn judge(self, score: f64) -> Finding {
        if self.is_test() {
            let found = Finding::of_p_value(score, self.threshold());
            // Of all tests this one counts a p-value that equals the threshold.
            let drifted = found.drifted || (self == Self::CramerVonMises && score == self.threshold());
            return Finding { drifted, ..found };
        }
        // A distance that reaches the threshold is drift.
        Finding { score, threshold: self.threshold(), drifted: score >= self.threshold() }
    }

    fn p_value(self, pair: &Pair<'_>) -> Result<f64, NotComparable> {
        let scipys = CramerVonMises { ties: CramerVonMisesTies::Midranks, null: CramerVonMisesNull::Auto };
        let found = match self {
            Self::Ks => KolmogorovSmirnov::default().compare(pair)?,
            Self::MannWhitney => {
                MannWhitney { alternative: Alternative::Less, ..MannWhitney::default() }.compare(pair)?
            }
            Self::TTest => Welch { variances: Variances::Equal }.compare(pair)?,
            Self::Anderson => AndersonDarling.compare(pair)?,
            Self::CramerVonMises => scipys.compare(pair)?,
            _ => return Err(NotComparable::Kind { kind: "numeric" }),
        };
        p_value_of(found)
    }
}

/// The energy distance, whose value Evidently subjects to a permutation test: the value alone.
///
/// # Errors
/// When a side has no finite values.
pub fn energy_distance(reference: &NumberSample, current: &NumberSample) -> Result<f64, NotComparable> {
    Ok(Energy.compare(&Pair::of_numbers(reference, current))?.statistic)
}

fn p_value_of(found: Evidence) -> Result<f64, NotComparable> {
    found.p_value.ok_or(NotComparable::TooManyValues)
}

/// Counts of the reference and of the window.
type Counts = (Vec<i64>, Vec<i64>);

/// Evidently's score of counts.
fn of_counts(test: EvidentlyTest, counts: Counts) -> Result<f64, NotComparable> {
    let cells = Cells::new(&counts.0, &counts.1)?;
    match test {
        EvidentlyTest::Psi => Ok(stability_of_shares(filled(&counts).into_iter())),
        EvidentlyTest::KlDivergence => Ok(relative_entropy(filled(&counts), FilledShares::Renormalised)),
        EvidentlyTest::JensenShannon => {
            let convention = JensenShannon { base: LogBase::Natural, form: JensenShannonForm::Distance };
            Ok(convention.compare(&Pair::of_cells(cells))?.score)
        }
        EvidentlyTest::Hellinger => Ok(Hellinger.compare(&Pair::of_cells(cells))?.score),
        EvidentlyTest::ChiSquare => match GoodnessOfFit::default().compare(&Pair::of_cells(cells)) {
            Err(NotComparable::NewCategory) => Ok(0.0),
            found => p_value_of(found?),
        },
        // One category on both sides is no difference.
        EvidentlyTest::Z if cells.counts().len() == 1 => Ok(1.0),
        EvidentlyTest::Z => p_value_of(TwoProportionZ.compare(&Pair::of_cells(cells))?),
        _ => Err(NotComparable::Kind { kind: "categorical" }),
    }
}

/// Shares in which each empty cell has got Evidently's small share.
fn filled((reference, current): &Counts) -> Vec<(f64, f64)> {
    filled_side(reference).into_iter().zip(filled_side(current)).collect()
}

fn filled_side(counts: &[i64]) -> Vec<f64> {
    let total = counts.iter().sum::<i64>() as f64;
    let shares = || counts.iter().map(|count| *count as f64 / total);
    let least = shares().filter(|share| *share > 0.0).fold(f64::INFINITY, f64::min);
    let small = if least <= EMPTY_SHARE { least / 1e6 } else { EMPTY_SHARE };
    shares().map(|share| if share > 0.0 { share } else { small }).collect()
}

/// The distance over the reference's population deviation.
fn normed_wasserstein(pair: &Pair<'_>, reference: &NumberSample) -> Result<f64, NotComparable> {
    let distance = Wasserstein { unit: WassersteinUnit::Own }.compare(pair)?.score;
    let n = reference.finite() as f64;
    let deviation = reference.standard_deviation().unwrap_or_default() * ((n - 1.0) / n).sqrt();
    let score = distance / deviation.max(LEAST_DEVIATION);
    if score.is_finite() { Ok(score) } else { Err(NotComparable::TooLarge) }
}

/// Sturges's bins over both samples.
fn binned(reference: &NumberSample, current: &NumberSample) -> Counts {
    let edges = sturges_edges(range_of(reference, current), reference.sorted().len() + current.sorted().len());
    (count_in(&edges, reference.sorted()), count_in(&edges, current.sorted()))
}

/// Sturges's bins over the distinct values of both samples, as Evidently's Hellinger distance has them.
fn binned_distinct(reference: &NumberSample, current: &NumberSample) -> Counts {
    let edges = sturges_edges(range_of(reference, current), distinct(reference, current));
    (count_in(&edges, reference.sorted()), count_in(&edges, current.sorted()))
}

/// Each distinct value as a cell of its own.
fn by_value(pair: &Pair<'_>) -> Result<Counts, NotComparable> {
    let points = pair.ordered()?.points().iter();
    Ok(points.map(|point| (point.reference as i64, point.current as i64)).unzip())
}

fn range_of(reference: &NumberSample, current: &NumberSample) -> (f64, f64) {
    let least = reference.sorted().first().into_iter().chain(current.sorted().first());
    let greatest = reference.sorted().last().into_iter().chain(current.sorted().last());
    (least.copied().fold(f64::INFINITY, f64::min), greatest.copied().fold(f64::NEG_INFINITY, f64::max))
}

fn values_of(sample: &NumberSample) -> usize {
    sample.sorted().chunk_by(|a, b| a == b).count()
}

fn distinct(reference: &NumberSample, current: &NumberSample) -> usize {
    match Pair::of_numbers(reference, current).ordered() {
        Ok(ordered) => ordered.finite_points().count(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_test_goes_by_the_size_of_the_reference_and_the_number_of_values() {
        let numbers = |rows: i32, values: i32| {
            NumberSample::of(&(0..rows).map(|row| f64::from(row % values)).collect::<Vec<_>>())
        };
        let chosen = |reference: NumberSample| EvidentlyTest::default_for_numbers(&reference, &numbers(50, 2));
        assert_eq!(chosen(numbers(1_000, 6)), EvidentlyTest::Ks);
        assert_eq!(chosen(numbers(1_000, 5)), EvidentlyTest::ChiSquare);
        assert_eq!(chosen(numbers(1_000, 2)), EvidentlyTest::Z);
        assert_eq!(chosen(numbers(1_001, 6)), EvidentlyTest::Wasserstein);
        assert_eq!(chosen(numbers(1_001, 5)), EvidentlyTest::JensenShannon);
        let categories = |rows: usize| CategorySample::new((0..rows).map(|row| Some(["a", "b"][row % 2])));
        let other = CategorySample::new([Some("a"), Some("new")]);
        let chosen = |rows, current: &CategorySample| EvidentlyTest::default_for_categories(&categories(rows), current);
        assert_eq!(chosen(1_000, &categories(4)), EvidentlyTest::Z);
        assert_eq!(chosen(1_000, &other), EvidentlyTest::ChiSquare);
        assert_eq!(chosen(1_001, &other), EvidentlyTest::JensenShannon);
    }

    #[test]
    fn one_new_category_is_certain_drift_to_evidently() {
        let reference = CategorySample::new((0..900).map(|row| Some(["a", "b"][row % 2])));
        let current = CategorySample::new((0..900).map(|row| Some(if row == 0 { "c" } else { ["a", "b"][row % 2] })));
        let found = EvidentlyTest::ChiSquare.of_categories(&reference, &current).unwrap();
        assert_eq!(found, Finding { score: 0.0, threshold: 0.05, drifted: true });
    }
}
