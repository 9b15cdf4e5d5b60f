//! The Kullback–Leibler divergence.

use super::{Detector, EmptyCells, Evidence, NotComparable, Pair};

/// Which of the two samples is measured by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KlDirection {
    /// `KL(window ‖ reference)`: how much the window surprises someone who expects the reference.
    #[default]
    CurrentFromReference,
    /// `KL(reference ‖ window)`, which Evidently reports.
    ReferenceFromCurrent,
}

/// What becomes of shares that sum to more than 1 after empty cells were filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilledShares {
    /// They are divided by their sum, so that the divergence cannot be negative.
    #[default]
    Renormalised,
    /// They stand as they are; a sum below zero counts as zero.
    AsFilled,
}

/// The Kullback–Leibler divergence of the cells' shares (relative entropy).
///
/// # Formula
/// `KL = Σ q·ln(q / p)` over cells, natural logarithm, `p` the reference's share and `q` the window's (or the other way
/// round). A cell that is empty on one side counts as half a row there, unless set otherwise; shares are then renormalised.
///
/// Unit: nats. Range: `[0, ∞)`; 0 for identical samples. Not symmetric. Half of `PSI` for small changes. The statistic is
/// the score. No p-value.
///
/// Source: Kullback and Leibler, *On Information and Sufficiency*, 1951.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KullbackLeibler {
    /// What an empty cell counts as.
    pub empty: EmptyCells,
    /// Whether filled shares are renormalised.
    pub filled: FilledShares,
    /// Which is measured by the other.
    pub direction: KlDirection,
}

impl Detector for KullbackLeibler {
    fn name(&self) -> &'static str {
        "kl"
    }

    fn compare(&self, pair: &Pair<'_>) -> Result<Evidence, NotComparable> {
        let shares: Vec<(f64, f64)> = self.empty.fill(pair.cells()?).collect();
        let turned = shares.into_iter().map(|(p, q)| match self.direction {
            KlDirection::CurrentFromReference => (q, p),
            KlDirection::ReferenceFromCurrent => (p, q),
        });
        Ok(Evidence::of_distance(relative_entropy(turned.collect(), self.filled)))
    }
}

/// `Σ p·ln(p / q)` over pairs of shares none of which is zero; zero or more.
pub(crate) fn relative_entropy(shares: Vec<(f64, f64)>, filled: FilledShares) -> f64 {
    let sums = match filled {
        FilledShares::AsFilled => (1.0, 1.0),
        FilledShares::Renormalised => shares.iter().fold((0.0, 0.0), |sum, share| (sum.0 + share.0, sum.1 + share.1)),
    };
    let terms = shares.into_iter().map(|(p, q)| (p / sums.0, q / sums.1)).map(|(p, q)| p * (p / q).ln());
    terms.sum::<f64>().max(0.0)
}
