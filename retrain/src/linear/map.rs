//! What the three builtin models have in common once they are fitted: weights and a bias for each output.

use ndarray::{Array1, Array2, Axis};

/// `z·W + b`: one column for each class in canonical order, or the one column of a regression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinearMap {
    /// Shape `[design columns, outputs]`.
    pub(crate) weights: Array2<f64>,
    /// Shape `[outputs]`.
    pub(crate) bias: Array1<f64>,
}

impl LinearMap {
    /// The map that gives 0 everywhere.
    pub(crate) fn zeros(width: usize, outputs: usize) -> Self {
        Self { weights: Array2::zeros((width, outputs)), bias: Array1::zeros(outputs) }
    }

    /// The same map with its numbers rounded to float32, as the exported graph holds them.
    pub(crate) fn rounded(mut self) -> Self {
        self.weights.mapv_inplace(|weight| f64::from(weight as f32));
        self.bias.mapv_inplace(|bias| f64::from(bias as f32));
        self
    }

    /// The outputs for a design matrix, shape `[rows, outputs]`.
    pub(crate) fn apply(&self, design: &Array2<f64>) -> Array2<f64> {
        design.dot(&self.weights) + &self.bias
    }

    /// Whether every number is finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.weights.iter().chain(&self.bias).all(|number| number.is_finite())
    }
}

/// Probabilities from logits, row by row.
pub(crate) fn softmax(mut logits: Array2<f64>) -> Array2<f64> {
    for mut row in logits.axis_iter_mut(Axis(0)) {
        let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.mapv_inplace(|logit| (logit - highest).exp());
        let sum = row.sum();
        row.mapv_inplace(|share| share / sum);
    }
    logits
}
