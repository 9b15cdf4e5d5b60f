//! The two-sample Kolmogorov–Smirnov test.

use super::distribution::kolmogorov::{kolmogorov_survival, one_sample_survival, path_survival};
use super::{Alternative, Detector, Evidence, NotComparable, Ordered, Pair};

/// Up to so many lattice points paths are counted.
const MOST_LATTICE_POINTS: f64 = 1e7;

/// Which null distribution the p-value is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KolmogorovNull {
    /// Of exact samples [`Self::Paths`] where `n·m ≤ 10⁷`, else [`Self::OneSample`]; of profiles [`Self::Limit`].
    #[default]
    Auto,
    /// Counted lattice paths: exact where no values are tied, else too large (conservative). Refused where `n·m` is beyond
    /// 10⁷ or a sample is binned.
    Paths,
    /// The exact distribution of one sample of `n·m / (n + m)` values, rounded: scipy's `asymp`.
    OneSample,
    /// Kolmogorov's limit.
    Limit,
}

/// The largest distance between the two distribution functions.
///
/// # Formula
/// `D = max |F(x) − G(x)|`; −∞ and +∞ keep their order among the values. NaN, null and wrongly typed values are left out. The
/// p-value is two-sided: of exact samples by counting lattice paths where that is affordable, of profiles the limit
/// `2 Σ (−1)^{k−1} exp(−2 k² λ²)` with `λ = D·√(n·m / (n + m))`. One-sided, `D` is `max (F − G)` or `max (G − F)`.
///
/// Unit: none. Range: `[0, 1]`; 0 for identical samples. Symmetric if two-sided. The statistic is the score.
///
/// Of profiles the distribution functions are looked at where the fine bins meet. Within a bin nothing is seen, so the score
/// is at most the exact `D`, and short of it by no more than the largest share of one bin on either side: about 1/256 for a
/// continuous reference, and nothing where each distinct value has its own bin. With ties, as in whole numbers, every
/// p-value is too large.
///
/// Source: Kolmogorov, 1933; Smirnov, 1939; Hodges, 1958.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KolmogorovSmirnov {
    /// Which difference counts.
    pub alternative: Alternative,
    /// Where the p-value comes from.
    pub null: KolmogorovNull,
}

impl Detector for KolmogorovSmirnov {
    fn name(&self) -> &'static str {
        "ks"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let ordered = pair.ordered()?;
        let (n, m) = ordered.totals();
        let score = self.distance(ordered);
        let countable = pair.is_exact() && n * m <= MOST_LATTICE_POINTS;
        let p_value = match self.null {
            KolmogorovNull::Paths | KolmogorovNull::Auto if countable => self.by_paths(ordered),
            KolmogorovNull::Paths => return Err(NotComparable::TooManyValues),
            KolmogorovNull::Auto if pair.is_exact() => self.of_one_sample(score, (n, m)),
            KolmogorovNull::OneSample => self.of_one_sample(score, (n, m)),
            KolmogorovNull::Auto | KolmogorovNull::Limit => self.of_limit(score, (n, m)),
        };
        Ok(Evidence { score, statistic: score, p_value: Some(p_value) })
    }
}

impl KolmogorovSmirnov {
    fn distance(self, ordered: &Ordered) -> f64 {
        let (n, m) = ordered.totals();
        let (mut below_first, mut below_second, mut most) = (0.0, 0.0, 0.0_f64);
        for point in ordered.points() {
            below_first += point.reference;
            below_second += point.current;
            most = most.max(self.alternative.of(below_first / n - below_second / m));
        }
        most
    }

    fn by_paths(self, ordered: &Ordered) -> f64 {
        let (n, m) = ordered.totals();
        let (mut below_first, mut below_second, mut apart) = (0.0, 0.0, 0.0_f64);
        for point in ordered.points() {
            below_first += point.reference;
            below_second += point.current;
            // Whole numbers, so nothing is rounded.
            apart = apart.max(self.alternative.of(below_first * m - below_second * n));
        }
        path_survival((n as u32, m as u32), apart, self.alternative)
    }

    fn of_one_sample(self, distance: f64, (n, m): (f64, f64)) -> f64 {
        let effective = n * m / (n + m);
        if self.alternative == Alternative::TwoSided {
            return one_sample_survival(distance, effective.round().max(1.0));
        }
        // Hodges's correction for the sizes of the samples, the larger one first.
        let (more, fewer) = (n.max(m), n.min(m));
        let z = effective.sqrt() * distance;
        let correction = 2.0 * z * (more + 2.0 * fewer) / (more * fewer * (more + fewer)).sqrt() / 3.0;
        (-2.0 * z * z - correction).exp().clamp(0.0, 1.0)
    }

    fn of_limit(self, distance: f64, (n, m): (f64, f64)) -> f64 {
        let lambda = distance * (n * m / (n + m)).sqrt();
        match self.alternative {
            Alternative::TwoSided => kolmogorov_survival(lambda),
            Alternative::Greater | Alternative::Less => (-2.0 * lambda * lambda).exp(),
        }
    }
}
