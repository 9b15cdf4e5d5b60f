//! Welch's test of two means.

use super::{Detector, Evidence, NotComparable, Pair, SampleMoments};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// What is taken for granted of the two variances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variances {
    /// Nothing: Welch's test.
    #[default]
    Unequal,
    /// That they are equal: Student's test, which scipy's `ttest_ind` and Evidently do by default.
    Equal,
}

/// Welch's `t` test of two means, as an effect: the standardised mean difference.
///
/// # Formula
/// `t = (x̄ − ȳ) / √(s²/n + r²/m)` with `s` and `r` the standard deviations of the reference and of the window; the p-value is
/// two-sided, from Student's `t` with Welch's and Satterthwaite's degrees of freedom. The score is `|x̄ − ȳ| / √((s² + r²) / 2)`.
///
/// Unit: standard deviations, the two sides' averaged. Range: `[0, ∞)`; 0 for identical samples. The score is symmetric; the
/// statistic `t` changes its sign with the samples. Cohen (1988) calls .2 small and .5 medium. It sees means only. NaN,
/// infinities, nulls and wrong types are left out. Of profiles it is exact, because they keep moments. Undefined where both sides
/// are constant.
///
/// Source: Welch, *The Generalization of "Student's" Problem*, 1947.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Welch {
    /// What is taken for granted of the variances.
    pub variances: Variances,
}

impl Detector for Welch {
    fn name(&self) -> &'static str {
        "welch"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let (reference, current) = pair.moments()?;
        let unit = (reference.deviation / 2.0).hypot(current.deviation / 2.0) * std::f64::consts::SQRT_2;
        if unit <= 0.0 {
            return Err(NotComparable::BothConstant);
        }
        let apart = (reference.mean - current.mean) / unit;
        let (error, freedom) = self.error_and_freedom(scaled(reference, unit), scaled(current, unit));
        let statistic = apart / error;
        if !apart.is_finite() || !statistic.is_finite() || !freedom.is_finite() {
            return Err(NotComparable::TooLarge);
        }
        let student = StudentsT::new(0.0, 1.0, freedom).map_err(|_| NotComparable::TooFewValues { needed: 2 })?;
        let p_value = (2.0 * student.sf(statistic.abs())).clamp(0.0, 1.0);
        Ok(Evidence { score: apart.abs(), statistic, p_value: Some(p_value) })
    }
}

impl Welch {
    /// The standard error of the difference of the means, and the degrees of freedom.
    fn error_and_freedom(self, (n, first): (f64, f64), (m, second): (f64, f64)) -> (f64, f64) {
        match self.variances {
            Variances::Unequal => {
                let (a, b) = (first / n, second / m);
                let shares = (a / (a + b), b / (a + b));
                let freedom = 1.0 / (shares.0 * shares.0 / (n - 1.0) + shares.1 * shares.1 / (m - 1.0));
                ((a + b).sqrt(), freedom)
            }
            Variances::Equal => {
                let freedom = n + m - 2.0;
                let pooled = ((n - 1.0) * first + (m - 1.0) * second) / freedom;
                ((pooled * (1.0 / n + 1.0 / m)).sqrt(), freedom)
            }
        }
    }
}

/// Count and variance in a unit in which squares neither vanish nor overflow.
fn scaled(moments: SampleMoments, unit: f64) -> (f64, f64) {
    (moments.n, (moments.deviation / unit).powi(2))
}
