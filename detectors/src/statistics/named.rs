//! The statistics by name, as a policy chooses them, each with its defaults.

use super::{
    Alternative, AndersonDarling, ChiSquared, Continuity, CramerVonMises, CramerVonMisesNull, CramerVonMisesTies,
    CramersV, Detector, EmptyCells, Energy, FilledShares, GTest, Hellinger, JensenShannon, JensenShannonForm,
    KlDirection, KolmogorovNull, KolmogorovSmirnov, KullbackLeibler, LInfinity, LogBase, MannWhitney, MannWhitneyNull,
    Psi, SparseCells, TotalVariation, TwoProportionZ, Variances, Wasserstein, WassersteinUnit, Welch,
};
use crate::schema::ColumnKind;
use serde::{Deserialize, Serialize};

/// A statistic with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// [`Psi`].
    Psi,
    /// [`JensenShannon`].
    JensenShannon,
    /// [`KolmogorovSmirnov`].
    Ks,
    /// [`ChiSquared`].
    ChiSquared,
    /// [`Wasserstein`].
    Wasserstein,
    /// [`KullbackLeibler`].
    Kl,
    /// [`Hellinger`].
    Hellinger,
    /// [`TotalVariation`].
    TotalVariation,
    /// [`LInfinity`].
    LInfinity,
    /// [`GTest`].
    GTest,
    /// [`CramersV`].
    CramersV,
    /// [`TwoProportionZ`].
    TwoProportionZ,
    /// [`CramerVonMises`].
    CramerVonMises,
    /// [`AndersonDarling`].
    AndersonDarling,
    /// [`Energy`].
    Energy,
    /// [`MannWhitney`].
    MannWhitney,
    /// [`Welch`].
    Welch,
}

impl Statistic {
    /// Every statistic.
    pub const ALL: [Self; 17] = [
        Self::Psi,
        Self::JensenShannon,
        Self::Ks,
        Self::ChiSquared,
        Self::Wasserstein,
        Self::Kl,
        Self::Hellinger,
        Self::TotalVariation,
        Self::LInfinity,
        Self::GTest,
        Self::CramersV,
        Self::TwoProportionZ,
        Self::CramerVonMises,
        Self::AndersonDarling,
        Self::Energy,
        Self::MannWhitney,
        Self::Welch,
    ];

    /// The statistic itself.
    pub fn detector(self) -> &'static dyn Detector {
        match self {
            Self::Psi => &Psi { empty: EmptyCells::HalfRow },
            Self::JensenShannon => &JensenShannon { base: LogBase::Two, form: JensenShannonForm::Distance },
            Self::Ks => &KolmogorovSmirnov { alternative: Alternative::TwoSided, null: KolmogorovNull::Auto },
            Self::ChiSquared => &ChiSquared { sparse: SparseCells::Pool, continuity: Continuity::Uncorrected },
            Self::Wasserstein => &Wasserstein { unit: WassersteinUnit::ReferenceDeviation },
            Self::Kl => &KullbackLeibler {
                empty: EmptyCells::HalfRow,
                filled: FilledShares::Renormalised,
                direction: KlDirection::CurrentFromReference,
            },
            Self::Hellinger => &Hellinger,
            Self::TotalVariation => &TotalVariation,
            Self::LInfinity => &LInfinity,
            Self::GTest => &GTest { sparse: SparseCells::Pool },
            Self::CramersV => &CramersV { sparse: SparseCells::Pool },
            Self::TwoProportionZ => &TwoProportionZ,
            Self::CramerVonMises => {
                &CramerVonMises { ties: CramerVonMisesTies::Grouped, null: CramerVonMisesNull::Auto }
            }
            Self::AndersonDarling => &AndersonDarling,
            Self::Energy => &Energy,
            Self::MannWhitney => &MannWhitney { alternative: Alternative::TwoSided, null: MannWhitneyNull::Auto },
            Self::Welch => &Welch { variances: Variances::Unequal },
        }
    }

    /// The name in verdicts, metrics and the configuration.
    pub fn name(self) -> &'static str {
        self.detector().name()
    }

    /// The score below which a change does not matter, however significant, unless the user says another: .1 wherever that is
    /// a small change that is worth a look.
    ///
    /// It is a tenth of a standard deviation (`wasserstein`, `welch`), a tenth of the rows (`ks`, `total_variation`,
    /// `l_infinity`, `two_proportion_z`), "small" by the customs of PSI (Siddiqi, *Credit Risk Scorecards*, 2006) and of
    /// Cohen (*Statistical Power Analysis*, 1988) for `V` and `r` (`chi_squared`, `g_test`, `cramers_v`, `mann_whitney`), and
    /// for normal values a shift by .14 deviations (`anderson_darling`), .2 (`energy`) and .24 (`jensen_shannon`).
    ///
    /// Three have scales of their own: `kl` is half of PSI for small changes, `hellinger` is `√(ln 2)` of Jensen–Shannon's
    /// distance, and `cramer_von_mises`, a root mean square of what `ks` is the largest of, is .76 of it where normal values
    /// shift.
    pub fn default_min_effect(self) -> f64 {
        match self {
            Self::Kl => 0.05,
            Self::Hellinger => 0.083,
            Self::CramerVonMises => 0.076,
            _ => 0.1,
        }
    }

    /// The largest score there can be of so many rows of the reference and of the window; `None` where there is no largest.
    pub fn most_score(self, reference_rows: i64, window_rows: i64) -> Option<f64> {
        let (n, m) = (reference_rows.max(1) as f64, window_rows.max(1) as f64);
        match self {
            Self::JensenShannon
            | Self::Ks
            | Self::Hellinger
            | Self::TotalVariation
            | Self::LInfinity
            | Self::CramersV
            | Self::TwoProportionZ
            | Self::CramerVonMises
            | Self::Energy
            | Self::MannWhitney => Some(1.0),
            Self::ChiSquared => Some((n + m) / (2.0 * (n * m).sqrt())),
            Self::GTest => {
                let entropy = n * ((n + m) / n).ln() + m * ((n + m) / m).ln();
                Some((entropy * (n + m) / (2.0 * n * m)).sqrt())
            }
            Self::Psi | Self::Wasserstein | Self::Kl | Self::AndersonDarling | Self::Welch => None,
        }
    }

    /// Whether a largest difference is looked for among all fine bins, so that fewer of them would show a smaller one. Sums
    /// over bins hardly change when neighbours are put together.
    pub(crate) fn is_largest_of_bins(self) -> bool {
        self == Self::Ks
    }

    /// Whether the statistic is defined for columns of this kind.
    pub fn applies_to(self, kind: ColumnKind) -> bool {
        let of_order = matches!(
            self,
            Self::Ks
                | Self::Wasserstein
                | Self::CramerVonMises
                | Self::AndersonDarling
                | Self::Energy
                | Self::MannWhitney
                | Self::Welch
        );
        match kind {
            ColumnKind::Numeric => self != Self::TwoProportionZ,
            ColumnKind::Categorical => !of_order,
        }
    }
}
