//! Confidence-based performance estimation: what a classifier's scores say of its answers.
//!
//! If a row's probability is right, its label is a coin with that probability: the expected confusion cells are sums of
//! probabilities, and what labels would scatter about them is known too. Two things make an estimate err, and the
//! standard errors hold both: the scatter of the labels, and the reference's limited rows behind each calibrated
//! probability. The second is unknown, and left out, where scores are not mapped.
//!
//! Metrics have the names and definitions of the labelled ones in [`crate::quality`], and are absent where they are not
//! defined. Source of the method: NannyML, CBPE. That classes' probabilities are divided by their sum there is left out
//! here: each class's is calibrated by itself, and so the expected counts need no row to be seen whole.

use super::{Calibration, ScoreCounts};
use crate::quality::estimates::{Metrics, Together, plain, ratio};
use crate::verdict::Estimate;
use std::collections::BTreeMap;

/// Estimates a binary classifier's metrics; `positives` are rows that it answered positively, in any order.
///
/// Estimated are `tn`, `fp`, `fn`, `tp` (expected rows), `accuracy`, `precision`, `recall`, `specificity`, `f1` and
/// `roc_auc`.
///
/// # Formula
/// With `p` a row's probability: `tp = Σ p` over rows answered positively, `fn = Σ p` over the others, and every metric
/// `M` of these. The expected AUC is `Σᵢⱼ pᵢ(1 − pⱼ)·[sᵢ > sⱼ] / (Σp·Σ(1 − p))`, ties counting half. The variance is `Σ
/// p(1 − p)·(∂M/∂y)²` over rows plus `Σ_b var(p_b)·(Σ ∂M/∂y)²` over the calibration's blocks, by the delta method.
pub fn estimate_binary(answered: &[ScoreCounts], calibration: &Calibration) -> BTreeMap<String, Estimate> {
    let expected = Expected::of(answered, calibration);
    let mut metrics = Metrics::default();
    if expected.rows() > 0.0 {
        for (name, metric) in CELLS.iter().chain(&SHARES) {
            metrics.put(name, expected.estimate(*metric));
        }
        metrics.put("roc_auc", expected.roc_auc());
    }
    metrics.into_map()
}

/// One class of several against the rest.
#[derive(Debug, Clone, Copy)]
pub struct ClassScores<'a> {
    /// Rows by the class's score; `positives` are rows that were answered with this class.
    pub answered: &'a [ScoreCounts],
    /// The class's own calibration.
    pub calibration: &'a Calibration,
}

/// Estimates the metrics of a classifier of several classes: `accuracy`, `macro_precision`, `macro_recall`, `macro_f1`
/// and `roc_auc`.
///
/// # Formula
/// Each class by itself as in [`estimate_binary`]. `accuracy = Σ_c tp_c / Σ_c answered_c`. The others are means over
/// the classes that are answered or expected at all; a class never answered has precision 0, of which no error is
/// known. A row counts in several classes, so their errors are taken to go together, which errs to the safe side.
pub fn estimate_multiclass(classes: &[ClassScores<'_>]) -> BTreeMap<String, Estimate> {
    let expected: Vec<Expected> = classes.iter().map(|class| Expected::of(class.answered, class.calibration)).collect();
    let mut metrics = Metrics::default();
    metrics.put("accuracy", accuracy_of(&expected));
    let present: Vec<&Expected> = expected.iter().filter(|class| class.occurs()).collect();
    for (name, metric) in [("macro_precision", precision as Metric), ("macro_recall", recall), ("macro_f1", f1)] {
        let of_class = |class: &&Expected| class.estimate(metric).unwrap_or(plain(0.0));
        metrics.put(name, mean(present.iter().map(of_class).collect()));
    }
    metrics.put("roc_auc", mean(expected.iter().filter_map(Expected::roc_auc).collect()));
    metrics.into_map()
}

fn mean(estimates: Vec<Estimate>) -> Option<Estimate> {
    let weight = 1.0 / estimates.len() as f64;
    Together::Same.mean(estimates.into_iter().map(|estimate| (weight, estimate)))
}

/// Every row is answered with one class, so the classes' true positives are of different rows and their variances add.
fn accuracy_of(classes: &[Expected]) -> Option<Estimate> {
    let answered: f64 = classes.iter().map(|class| class.cells.answered_yes).sum();
    let value = ratio(classes.iter().map(|class| class.cells.yes).sum(), answered)?;
    let variance: f64 = classes.iter().map(|class| class.standard_error(|_| [0.0, 1.0]).powi(2)).sum();
    Some(Estimate { value, standard_error: Some(variance.sqrt() / answered) })
}

/// Expected positives among the rows answered yes and no, and how many rows there are of each.
#[derive(Debug, Clone, Copy, Default)]
struct ExpectedCells {
    yes: f64,
    no: f64,
    answered_yes: f64,
    answered_no: f64,
}

/// A metric's value and its slopes in `(no, yes)`: how it changes with one positive more among rows answered so.
type Metric = fn(&ExpectedCells) -> Option<(f64, [f64; 2])>;

const CELLS: [(&str, Metric); 4] = [
    ("tn", |cells| Some((cells.answered_no - cells.no, [-1.0, 0.0]))),
    ("fp", |cells| Some((cells.answered_yes - cells.yes, [0.0, -1.0]))),
    ("fn", |cells| Some((cells.no, [1.0, 0.0]))),
    ("tp", |cells| Some((cells.yes, [0.0, 1.0]))),
];

const SHARES: [(&str, Metric); 5] =
    [("accuracy", accuracy), ("precision", precision), ("recall", recall), ("specificity", specificity), ("f1", f1)];

fn accuracy(cells: &ExpectedCells) -> Option<(f64, [f64; 2])> {
    let rows = cells.answered_yes + cells.answered_no;
    let value = ratio(cells.yes + cells.answered_no - cells.no, rows)?;
    Some((value, [-1.0 / rows, 1.0 / rows]))
}

fn precision(cells: &ExpectedCells) -> Option<(f64, [f64; 2])> {
    Some((ratio(cells.yes, cells.answered_yes)?, [0.0, 1.0 / cells.answered_yes]))
}

fn recall(cells: &ExpectedCells) -> Option<(f64, [f64; 2])> {
    let positives = cells.yes + cells.no;
    let value = ratio(cells.yes, positives)?;
    Some((value, [-value / positives, (1.0 - value) / positives]))
}

fn specificity(cells: &ExpectedCells) -> Option<(f64, [f64; 2])> {
    let right = cells.answered_no - cells.no;
    let negatives = right + cells.answered_yes - cells.yes;
    let value = ratio(right, negatives)?;
    Some((value, [-(1.0 - value) / negatives, value / negatives]))
}

fn f1(cells: &ExpectedCells) -> Option<(f64, [f64; 2])> {
    let both = cells.answered_yes + cells.yes + cells.no;
    let value = ratio(2.0 * cells.yes, both)?;
    Some((value, [-value / both, (2.0 - value) / both]))
}

/// Rows of one score, with their probability.
#[derive(Debug, Clone, Copy)]
struct ExpectedRows {
    score: f64,
    probability: f64,
    block: Option<usize>,
    answered_no: f64,
    answered_yes: f64,
}

impl ExpectedRows {
    fn rows(&self) -> f64 {
        self.answered_no + self.answered_yes
    }

    fn positives(&self) -> f64 {
        self.rows() * self.probability
    }

    fn negatives(&self) -> f64 {
        self.rows() * (1.0 - self.probability)
    }
}

/// A window's rows as the calibration sees them, by score.
#[derive(Debug)]
struct Expected {
    rows: Vec<ExpectedRows>,
    cells: ExpectedCells,
    block_variances: Vec<f64>,
}

impl Expected {
    fn of(answered: &[ScoreCounts], calibration: &Calibration) -> Self {
        let usable = answered.iter().filter(|at| (0.0..=1.0).contains(&at.score));
        let expected_of = |at: &ScoreCounts| {
            let calibrated = calibration.calibrated(at.score);
            ExpectedRows {
                score: at.score,
                probability: calibrated.probability,
                block: calibrated.block,
                answered_no: at.negatives.max(0) as f64,
                answered_yes: at.positives.max(0) as f64,
            }
        };
        let mut rows: Vec<ExpectedRows> = usable.map(expected_of).collect();
        rows.sort_by(|a, b| a.score.total_cmp(&b.score));
        let mut cells = ExpectedCells::default();
        for at in &rows {
            cells.yes += at.answered_yes * at.probability;
            cells.no += at.answered_no * at.probability;
            cells.answered_yes += at.answered_yes;
            cells.answered_no += at.answered_no;
        }
        Self { rows, cells, block_variances: calibration.variances() }
    }

    fn rows(&self) -> f64 {
        self.cells.answered_yes + self.cells.answered_no
    }

    fn occurs(&self) -> bool {
        self.cells.answered_yes > 0.0 || self.cells.yes + self.cells.no > 0.0
    }

    fn estimate(&self, metric: Metric) -> Option<Estimate> {
        let (value, slopes) = metric(&self.cells)?;
        Some(Estimate { value, standard_error: Some(self.standard_error(|_| slopes)) })
    }

    /// The delta method's error; `slopes` of the rows at a place are those of a positive more among the rows answered
    /// no, and yes.
    fn standard_error(&self, slopes: impl Fn(usize) -> [f64; 2]) -> f64 {
        let mut of_labels = 0.0;
        let mut blocks = vec![0.0; self.block_variances.len()];
        for (place, at) in self.rows.iter().enumerate() {
            let [no, yes] = slopes(place);
            of_labels +=
                at.probability * (1.0 - at.probability) * (at.answered_no * no * no + at.answered_yes * yes * yes);
            if let Some(block) = at.block.and_then(|block| blocks.get_mut(block)) {
                *block += at.answered_no * no + at.answered_yes * yes;
            }
        }
        let of_blocks: f64 =
            blocks.iter().zip(&self.block_variances).map(|(slope, variance)| slope * slope * variance).sum();
        (of_labels + of_blocks).max(0.0).sqrt()
    }

    fn roc_auc(&self) -> Option<Estimate> {
        let positives: f64 = self.rows.iter().map(ExpectedRows::positives).sum();
        let negatives: f64 = self.rows.iter().map(ExpectedRows::negatives).sum();
        let mut won = 0.0;
        let mut ranks = Vec::with_capacity(self.rows.len());
        let (mut negatives_below, mut positives_below) = (0.0, 0.0);
        for tied in self.rows.chunk_by(|a, b| a.score == b.score) {
            let own_positives: f64 = tied.iter().map(ExpectedRows::positives).sum();
            let own_negatives: f64 = tied.iter().map(ExpectedRows::negatives).sum();
            let below = negatives_below + own_negatives / 2.0;
            let above = positives - positives_below - own_positives / 2.0;
            won += own_positives * below;
            ranks.extend(tied.iter().map(|_| (below, above)));
            negatives_below += own_negatives;
            positives_below += own_positives;
        }
        let value = ratio(won / positives, negatives).filter(|value| value.is_finite())?;
        let slope_at = |place: usize| {
            let (below, above) = ranks.get(place).copied().unwrap_or_default();
            let slope = (below - above) / positives / negatives - value / positives + value / negatives;
            [slope, slope]
        };
        let standard_error = self.standard_error(slope_at);
        Some(Estimate { value: value.clamp(0.0, 1.0), standard_error: Some(standard_error) })
    }
}
