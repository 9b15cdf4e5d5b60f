//! Linear regression with an L2 penalty.
//!
//! # Formula
//! Minimises `Σ (y - z·w - b)² + alpha ‖w‖²` with `b` free, as scikit-learn's `Ridge(alpha)` does.
//!
//! The solver knows ordinary least squares only. The penalty is therefore given to it as rows: `√alpha` times the identity
//! with the target 0 adds exactly `alpha ‖w‖²`. Columns and target are centred first, which takes the intercept out of the
//! penalty. Columns that depend on each other (one-hot columns always do) have no unique solution without a penalty, so that
//! a trace of one stays even with `alpha: 0`: it makes them share their weight and changes nothing else that can be measured.

use super::options::Options;
use crate::linear::LinearMap;
use crate::trainer::TrainingError;
use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2, Axis, concatenate};

/// The least penalty for each row, small against the unit deviation of a column and large against rounding.
const TRACE: f64 = 1e-9;

/// Fits the numbers to the design matrix.
pub(super) fn fit(design: &Array2<f64>, numbers: &Array1<f64>, options: &Options) -> Result<LinearMap, TrainingError> {
    let failed = |reason: String| TrainingError::Solver { reason };
    let width = design.ncols();
    let centre = design.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(width));
    let level = numbers.mean().unwrap_or(0.0);
    let penalty = Array2::from_diag_elem(width, options.alpha.max(TRACE * design.nrows() as f64).sqrt());
    let records = concatenate(Axis(0), &[(design - &centre).view(), penalty.view()])
        .map_err(|error| failed(error.to_string()))?;
    let targets = concatenate(Axis(0), &[(numbers - level).view(), Array1::zeros(width).view()])
        .map_err(|error| failed(error.to_string()))?;
    let model = LinearRegression::new()
        .with_intercept(false)
        .fit(&DatasetBase::new(records, targets))
        .map_err(|error| failed(error.to_string()))?;
    let mut map = LinearMap::zeros(width, 1);
    map.weights.column_mut(0).assign(model.params());
    map.bias[0] = level - centre.dot(model.params());
    if !map.is_finite() {
        return Err(failed("the solution is not finite".to_owned()));
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_fit_is_where_scikit_learn_finds_it() {
        // Ridge(alpha=2).fit([[0,1],[1,0],[2,1],[3,0],[5,1]], [1,2,2,5,6]) of scikit-learn.
        let design = array![[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [5.0, 1.0]];
        let numbers = array![1.0, 2.0, 2.0, 5.0, 6.0];
        let map = fit(&design, &numbers, &Options { alpha: 2.0, ..Options::default() }).unwrap();
        let found = [map.weights[[0, 0]], map.weights[[1, 0]], map.bias[0]];
        for (found, expected) in found.into_iter().zip([0.947_761_194, -0.305_970_149, 1.298_507_463]) {
            assert!((found - expected).abs() < 1e-8, "{map:?}");
        }
    }

    #[test]
    fn dependent_columns_share_their_weight_even_without_a_penalty() {
        let design = array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let numbers = array![1.0, 3.0, 1.0, 3.0];
        let map = fit(&design, &numbers, &Options { alpha: 0.0, ..Options::default() }).unwrap();
        for (found, expected) in
            [map.weights[[0, 0]], map.weights[[1, 0]], map.bias[0]].into_iter().zip([-1.0, 1.0, 2.0])
        {
            assert!((found - expected).abs() < 1e-6, "{map:?}");
        }
    }
}
