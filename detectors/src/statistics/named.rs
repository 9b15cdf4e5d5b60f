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
