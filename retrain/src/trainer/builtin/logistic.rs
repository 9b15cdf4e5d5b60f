//! Logistic regression for two classes and softmax regression for several, fitted by L-BFGS.
//!
//! # Formula
//! `P(class k | z) = exp(z·W_k + b_k) / Σ_j exp(z·W_j + b_j)`, minimising `Σ -log P + alpha/2 ‖W‖²` with `b` free. For two
//! classes the first class's column is zero, which makes this the logistic function. It is what scikit-learn's
//! `LogisticRegression(C = 1/alpha)` minimises.
//!
//! Three things about the solver are dealt with here. It calls the *more frequent* class positive, so the sign is taken from
//! the labels it reports. It takes several classes only as far as they occur, so classes that do not occur are given the
//! probability zero. And it does not say whether it converged, so the gradient is computed again where it stopped.

use super::options::Options;
use crate::linear::{LinearMap, softmax};
use crate::trainer::TrainingError;
use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2, Axis};

/// Largest norm of the gradient, divided by the rows, at which a fit counts as converged. Columns have unit deviation, so
/// that what is left to gain in log loss is of the order of its square.
const CONVERGED: f64 = 1e-3;

/// At which norm of the gradient (of the sum over rows) the solver may stop.
const GRADIENT_TOLERANCE: f64 = 1e-4;

/// The logit of a class that never occurred: its probability is zero in float32 whatever the others are.
const NEVER: f64 = -1e9;

/// The rows of a classification.
pub(super) struct Classified {
    /// Design matrix.
    pub(super) design: Array2<f64>,
    /// Class of each row, as its place in canonical order.
    pub(super) labels: Array1<usize>,
    /// How many classes the schema has.
    pub(super) classes: usize,
}

impl Classified {
    /// Fits the model; at least two classes must occur.
    pub(super) fn fit(self, options: &Options) -> Result<LinearMap, TrainingError> {
        let Self { design, labels, classes } = self;
        let dataset = DatasetBase::new(design, labels);
        let (map, fitted) = match classes {
            2 => (fit_two(&dataset, options)?, vec![1]),
            _ => fit_several(&dataset, classes, options)?,
        };
        let gradient = gradient_per_row(&dataset, &map, &Fitted { classes: &fitted, alpha: options.alpha });
        if gradient > CONVERGED || gradient.is_nan() {
            return Err(TrainingError::NotConverged { iterations: options.max_iterations, gradient });
        }
        Ok(map)
    }
}

type Dataset = DatasetBase<Array2<f64>, Array1<usize>>;

fn fit_two(dataset: &Dataset, options: &Options) -> Result<LinearMap, TrainingError> {
    let model = LogisticRegression::default()
        .alpha(options.alpha)
        .max_iterations(options.max_iterations)
        .gradient_tolerance(GRADIENT_TOLERANCE)
        .fit(dataset)
        .map_err(|error| TrainingError::Solver { reason: error.to_string() })?;
    let sign = if model.labels().pos.class == 1 { 1.0 } else { -1.0 };
    let mut map = LinearMap::zeros(dataset.records.ncols(), 2);
    map.weights.column_mut(1).assign(&(model.params() * sign));
    map.bias[1] = model.intercept() * sign;
    Ok(map)
}

fn fit_several(dataset: &Dataset, classes: usize, options: &Options) -> Result<(LinearMap, Vec<usize>), TrainingError> {
    let model = MultiLogisticRegression::default()
        .alpha(options.alpha)
        .max_iterations(options.max_iterations)
        .gradient_tolerance(GRADIENT_TOLERANCE)
        .fit(dataset)
        .map_err(|error| TrainingError::Solver { reason: error.to_string() })?;
    let mut map = LinearMap::zeros(dataset.records.ncols(), classes);
    map.bias.fill(NEVER);
    for ((class, weights), bias) in model.classes().iter().zip(model.params().columns()).zip(model.intercept()) {
        map.weights.column_mut(*class).assign(&weights);
        map.bias[*class] = *bias;
    }
    Ok((map, model.classes().to_vec()))
}

/// Which columns of the map the solver was free to move, and its penalty.
struct Fitted<'a> {
    classes: &'a [usize],
    alpha: f64,
}

fn gradient_per_row(dataset: &Dataset, map: &LinearMap, fitted: &Fitted<'_>) -> f64 {
    let mut residuals = softmax(map.apply(&dataset.records));
    for (mut row, label) in residuals.rows_mut().into_iter().zip(&dataset.targets) {
        row[*label] -= 1.0;
    }
    let squares = fitted.classes.iter().map(|class| {
        let residual = residuals.index_axis(Axis(1), *class);
        let slopes = dataset.records.t().dot(&residual) + &map.weights.column(*class) * fitted.alpha;
        slopes.dot(&slopes) + residual.sum().powi(2)
    });
    squares.sum::<f64>().sqrt() / dataset.records.nrows() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn classified(positives: usize, negatives: usize) -> Classified {
        // One feature; class 1 lies above class 0, with an overlap so that the fit is finite.
        let values: Vec<f64> = (0..positives)
            .map(|row| 1.0 + (row % 5) as f64 * 0.5 - 1.5)
            .chain((0..negatives).map(|row| (row % 5) as f64 * 0.5 - 1.5))
            .collect();
        let labels = std::iter::repeat_n(1, positives).chain(std::iter::repeat_n(0, negatives)).collect();
        let rows = positives + negatives;
        Classified { design: Array2::from_shape_vec((rows, 1), values).unwrap(), labels, classes: 2 }
    }

    #[test]
    fn the_sign_does_not_depend_on_which_class_is_more_frequent() {
        for (positives, negatives) in [(80, 20), (20, 80), (50, 50)] {
            let map = classified(positives, negatives).fit(&Options::default()).unwrap();
            assert!(map.weights[[0, 1]] > 0.5, "{positives} positives: {map:?}");
        }
    }

    #[test]
    fn the_fit_is_where_scikit_learn_finds_it() {
        // LogisticRegression(C=1, tol=1e-10).fit([[0],[1],[2],[3],[4],[5]], [0,0,1,0,1,1]) of scikit-learn.
        let design = array![[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]];
        let labels = array![0, 0, 1, 0, 1, 1];
        let map = Classified { design, labels, classes: 2 }.fit(&Options::default()).unwrap();
        assert!((map.weights[[0, 1]] - 0.767_053_7).abs() < 1e-4, "{map:?}");
        assert!((map.bias[1] + 1.917_634_3).abs() < 1e-4, "{map:?}");
    }

    #[test]
    fn a_class_that_never_occurs_has_no_probability() {
        let design = array![[-2.0], [-1.0], [-1.5], [1.0], [2.0], [1.5]];
        let labels = array![0, 0, 0, 2, 2, 2];
        let map = Classified { design: design.clone(), labels, classes: 3 }.fit(&Options::default()).unwrap();
        let probabilities = softmax(map.apply(&design));
        assert!(probabilities.column(1).iter().all(|probability| *probability == 0.0));
        assert!(probabilities[[0, 0]] > 0.5 && probabilities[[5, 2]] > 0.5);
    }

    #[test]
    fn a_fit_that_was_cut_short_is_refused() {
        let options = Options { max_iterations: 1, alpha: 0.0, ..Options::default() };
        let error = classified(80, 20).fit(&options).unwrap_err();
        assert!(error.to_string().starts_with("the fit did not converge within 1 iterations"), "{error}");
    }
}
