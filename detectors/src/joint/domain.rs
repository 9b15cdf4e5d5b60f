//! Domain classifier: if a model can tell a window's rows from the reference's, they differ, and its weights say where.
//!
//! A logistic regression learns on four fifths of both sides to tell them apart and ranks the last fifth, in turn. An AUC
//! of a half is chance. Such AUCs are no test: each part helps to train the classifiers of the others, so by chance they
//! are high or low together. Taken for independent, they had p below .05 in 119 of 1,000 pairs of samples of one
//! distribution. The p-value comes from classifiers trained on the earlier parts only, each of which ranks the part that
//! follows: given what came before, that is an AUC of chance, and the parts' deviations add like independent ones (53 of
//! the same 1,000).
//!
//! It sees changes of location and of the mix of categories, alone or together; a change of spread or of correlation only
//! is left to the other detectors. It needs rows of both sides, so it is for batches and backtests.
//!
//! Numbers are standardised over both sides, with missing ones (null, NaN, ±∞, beyond 1e140) at the mean; each of the
//! 20 most frequent categories is a column of its own, and so are null and the rest.

use super::JointError;
use super::encoding::{Column, LARGEST, read};
use super::symmetric::Symmetric;
use crate::estimate::{ScoreCounts, count_scores};
use crate::normal::normal_survival;
use crate::quality::score_histogram::roc_auc;
use crate::random::Random;
use crate::verdict::Estimate;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parts of the rows that are ranked in turn.
const FOLDS: u64 = 5;
/// Rows that each side needs, so that every part has some of both.
const LEAST_ROWS: usize = 20;
/// The penalty on the sum of squared weights, halved.
const RIDGE: f64 = 1.0;
/// Newton's steps; the ridge makes the aim strictly convex, and six are usual.
const MOST_STEPS: usize = 30;
/// Categories that are told apart.
const MOST_CATEGORIES: usize = 20;
/// The log odds are kept this far from certainty, where the slope of the logistic function is lost.
const MOST_CERTAIN: f64 = 30.0;

/// How well the two sides can be told apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainEvidence {
    /// Cross-validated AUC: the probability that a row of the window ranks above one of the reference. Its error is
    /// DeLong's, of the parts together.
    pub auc: Estimate,
    /// The probability that rows of one distribution can be told apart so well, from progressive validation.
    pub p_value: f64,
    /// What each column adds to the odds, the most first.
    pub weights: Vec<ColumnWeight>,
}

/// How much one column tells the sides apart, the others given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColumnWeight {
    /// Place of the column.
    pub column: usize,
    /// The standard deviation, over the rows, of what the column adds to the log odds.
    pub spread: f64,
    /// Of a number: the change of the log odds of being of the window with one standard deviation more.
    pub slope: Option<f64>,
}

/// Trains and cross-validates a classifier of the two sides' rows; `seed` deals the rows out to the parts.
///
/// # Errors
/// When the sides do not have the same columns, or one has fewer than 20 rows.
pub fn classify_domain(reference: &[ArrayRef], current: &[ArrayRef], seed: u64) -> Result<DomainEvidence, JointError> {
    let (expected, found) = (reference.len(), current.len());
    if expected != found {
        return Err(JointError::ColumnCount { expected, found });
    }
    let ((_, before), (_, now)) = (read(reference)?, read(current)?);
    let least = before.min(now);
    if least < LEAST_ROWS {
        return Err(JointError::TooFewRows { rows: least as i64, needed: LEAST_ROWS as i64 });
    }
    let design = Design::of(reference, current, before)?;
    let mut random = Random::new(seed);
    let parts: Vec<u64> = (0..before + now).map(|_| random.bits() % FOLDS).collect();
    let auc = cross_validated(&design, &parts);
    Ok(DomainEvidence { auc, p_value: progressive_p_value(&design, &parts), weights: design.weights() })
}

/// The mean AUC of the parts, each ranked by a classifier trained on all others; their errors are taken as independent,
/// which they are nearly where the AUC is well above a half.
fn cross_validated(design: &Design, parts: &[u64]) -> Estimate {
    let (mut ranked, mut sum, mut variance) = (0.0, 0.0, 0.0);
    for part in 0..FOLDS {
        let weights = design.train(|row| parts.get(row) != Some(&part));
        let counts = ranked_part(design, &weights, |row| parts.get(row) == Some(&part));
        let Some(auc) = auc_of(&counts) else { continue };
        ranked += 1.0;
        sum += auc.value;
        variance += auc.standard_error.unwrap_or(0.0).powi(2);
    }
    if ranked == 0.0 {
        return Estimate { value: 0.5, standard_error: None };
    }
    Estimate { value: sum / ranked, standard_error: Some(f64::sqrt(variance) / ranked) }
}

/// # Formula
/// `z = Σ_k (AUC_k − ½)/σ_k / √K` with part `k` ranked by what parts before it taught, and `σ² = (n + m + 1)/(12·n·m)`
/// of Mann and Whitney (1947, *Annals of Mathematical Statistics* 18), which ties only lessen. Source: Blum, Kalai and
/// Langford (1999), *COLT*.
fn progressive_p_value(design: &Design, parts: &[u64]) -> f64 {
    let (mut ranked, mut sum) = (0.0, 0.0);
    for part in 1..FOLDS {
        let weights = design.train(|row| parts.get(row).is_some_and(|own| *own < part));
        let counts = ranked_part(design, &weights, |row| parts.get(row) == Some(&part));
        let Some(auc) = auc_of(&counts) else { continue };
        let n = counts.iter().map(|at| at.negatives as f64).sum::<f64>();
        let m = counts.iter().map(|at| at.positives as f64).sum::<f64>();
        ranked += 1.0;
        sum += (auc.value - 0.5) / ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    }
    if ranked == 0.0 {
        return 1.0;
    }
    normal_survival(sum / f64::sqrt(ranked)).clamp(0.0, 1.0)
}

/// The chosen rows by the classifier's probability; positives are rows of the window.
fn ranked_part(design: &Design, weights: &[f64], is_chosen: impl Fn(usize) -> bool) -> Vec<ScoreCounts> {
    let chosen = design.rows().enumerate().filter(|(row, _)| is_chosen(*row));
    count_scores(chosen.map(|(row, values)| (probability(weights, values), design.is_current(row))))
}

fn auc_of(counts: &[ScoreCounts]) -> Option<Estimate> {
    roc_auc(counts.iter().map(|at| (at.negatives as f64, at.positives as f64)))
}

fn probability(weights: &[f64], row: &[f64]) -> f64 {
    let log_odds: f64 = weights.iter().zip(row).map(|(weight, value)| weight * value).sum();
    1.0 / (1.0 + (-log_odds.clamp(-MOST_CERTAIN, MOST_CERTAIN)).exp())
}

/// Both sides' rows as numbers, the first of which is always 1.
struct Design {
    /// Rows of the reference, which come first.
    before: usize,
    width: usize,
    values: Vec<f64>,
    /// For each column of the data where its numbers stand in a row, and whether it is one number.
    places: Vec<(std::ops::Range<usize>, bool)>,
}

impl Design {
    fn of(reference: &[ArrayRef], current: &[ArrayRef], before: usize) -> Result<Self, JointError> {
        let mut both = Vec::with_capacity(reference.len());
        for (place, (reference, current)) in reference.iter().zip(current).enumerate() {
            let misfit = |_| JointError::ColumnType { place, found: current.data_type().to_string() };
            both.push(concat(&[reference.as_ref(), current.as_ref()]).map_err(misfit)?);
        }
        let (columns, rows) = read(&both)?;
        let mut numbers: Vec<Vec<f64>> = vec![vec![1.0; rows]];
        let mut places = Vec::with_capacity(columns.len());
        for column in &columns {
            let start = numbers.len();
            match column {
                Column::Numbers(values) => numbers.push(standardised(values.iter())),
                Column::Categories(values) => numbers.extend(indicators(&values.iter().collect::<Vec<_>>())),
            }
            places.push((start..numbers.len(), matches!(column, Column::Numbers(_))));
        }
        let width = numbers.len();
        let values = (0..rows).flat_map(|row| numbers.iter().filter_map(move |column| column.get(row).copied()));
        Ok(Self { before, width, values: values.collect(), places })
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    fn is_current(&self, row: usize) -> bool {
        row >= self.before
    }

    /// Weights learned on the chosen rows, by Newton's method on the log loss with a ridge (iteratively reweighted
    /// least squares; McCullagh and Nelder, 1989).
    fn train(&self, is_chosen: impl Fn(usize) -> bool) -> Vec<f64> {
        let mut weights = vec![0.0; self.width];
        for _ in 0..MOST_STEPS {
            let mut curvature = Symmetric::zero(self.width);
            let mut slope: Vec<f64> = weights.iter().map(|weight| -RIDGE * weight).collect();
            (0..self.width).for_each(|place| curvature.add_to_diagonal(place, RIDGE));
            for (row, values) in self.rows().enumerate().filter(|(row, _)| is_chosen(*row)) {
                let given = probability(&weights, values);
                let missed = if self.is_current(row) { 1.0 - given } else { -given };
                slope.iter_mut().zip(values).for_each(|(sum, value)| *sum += missed * value);
                curvature.add_outer(values, given * (1.0 - given));
            }
            let Some(step) = curvature.solve(&slope) else { break };
            weights.iter_mut().zip(&step).for_each(|(weight, step)| *weight += step);
            if step.iter().all(|step| step.abs() < 1e-8) {
                break;
            }
        }
        weights
    }

    fn weights(&self) -> Vec<ColumnWeight> {
        let weights = self.train(|_| true);
        let weight_of = |(column, (places, is_number)): (usize, &(std::ops::Range<usize>, bool))| {
            let own = weights.get(places.clone()).unwrap_or_default();
            let added = self.rows().map(|row| {
                let values = row.get(places.clone()).unwrap_or_default();
                own.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>()
            });
            let (n, sum, squares) = added.fold((0.0, 0.0, 0.0), |(n, s, q), x| (n + 1.0, s + x, q + x * x));
            let variance = squares / n - (sum / n) * (sum / n);
            let slope = own.first().copied().filter(|_| *is_number);
            ColumnWeight { column, spread: variance.max(0.0).sqrt(), slope }
        };
        let mut weighed: Vec<ColumnWeight> = self.places.iter().enumerate().map(weight_of).collect();
        weighed.sort_by(|a, b| b.spread.total_cmp(&a.spread));
        weighed
    }
}

/// Numbers by their mean and standard deviation; a constant column is all zeros.
fn standardised(values: impl Iterator<Item = Option<f64>>) -> Vec<f64> {
    let values: Vec<Option<f64>> = values.map(|value| value.filter(|value| value.abs() <= LARGEST)).collect();
    let origin = values.iter().flatten().next().copied().unwrap_or(0.0);
    let known = || values.iter().flatten().map(|value| value - origin);
    let n = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / n;
    let deviation = (known().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    let standard = |value: f64| if deviation > 0.0 { ((value - origin) - mean) / deviation } else { 0.0 };
    values.into_iter().map(|value| value.map_or(0.0, standard)).collect()
}

/// A column of zeros and ones for each of the most frequent categories, for null, and for the rest, where there are
/// any.
fn indicators(values: &[Option<&str>]) -> Vec<Vec<f64>> {
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(*value).or_default() += 1;
    }
    counts.remove(&None);
    let mut ranked: Vec<(Option<&str>, usize)> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kept: Vec<Option<&str>> = ranked.iter().take(MOST_CATEGORIES).map(|(name, _)| *name).chain([None]).collect();
    let indicator = |is_one: &dyn Fn(&Option<&str>) -> bool| -> Vec<f64> {
        values.iter().map(|value| if is_one(value) { 1.0 } else { 0.0 }).collect()
    };
    let mut columns: Vec<Vec<f64>> = kept.iter().map(|name| indicator(&|value| value == name)).collect();
    columns.push(indicator(&|value| !kept.contains(value)));
    columns.retain(|column| column.contains(&1.0));
    columns
}
