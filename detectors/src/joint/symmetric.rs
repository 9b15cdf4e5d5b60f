//! Symmetric matrices: their axes, and the equations they solve.
//!
//! The matrices here are as wide as a model has columns, so the plainest stable methods do: Jacobi's rotations and
//! Cholesky's factors. A library of linear algebra would be a dependency for two pages.
//!
//! Deliberately absent: matrices that are not symmetric, and blocking for large ones.

/// A symmetric matrix, held whole.
#[derive(Debug, Clone)]
pub(super) struct Symmetric {
    width: usize,
    values: Vec<f64>,
}

/// Rotations stop when the largest entry off the diagonal is this small beside the diagonal.
const NEGLIGIBLE: f64 = 1e-15;
/// Jacobi converges quadratically; ten sweeps are usual for a hundred columns.
const MOST_SWEEPS: usize = 60;

impl Symmetric {
    pub(super) fn zero(width: usize) -> Self {
        Self { width, values: vec![0.0; width * width] }
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.values.get(row * self.width + column).copied().unwrap_or(0.0)
    }

    pub(super) fn add_to_diagonal(&mut self, place: usize, value: f64) {
        let at = place * self.width + place;
        if let Some(entry) = self.values.get_mut(at) {
            *entry += value;
        }
    }

    /// Adds `weight · vᵀv`.
    pub(super) fn add_outer(&mut self, vector: &[f64], weight: f64) {
        for (row, left) in self.values.chunks_exact_mut(self.width.max(1)).zip(vector) {
            let scaled = weight * left;
            for (entry, right) in row.iter_mut().zip(vector) {
                *entry += scaled * right;
            }
        }
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }

    /// `Σ (A·B)` over the diagonal, which for symmetric matrices is the sum of the products of their entries.
    pub(super) fn trace_of_product(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum()
    }

    /// `A·A`.
    pub(super) fn squared(&self) -> Self {
        let mut square = Self::zero(self.width);
        for row in self.values.chunks_exact(self.width.max(1)) {
            // A² is the sum of the outer products of A's rows.
            square.add_outer(row, 1.0);
        }
        square
    }

    pub(super) fn trace(&self) -> f64 {
        (0..self.width).map(|place| self.at(place, place)).sum()
    }

    /// Eigenvalues from the largest to the smallest, each with its unit vector.
    ///
    /// # Formula
    /// Jacobi's cyclic rotations, as in Golub and Van Loan, *Matrix Computations*, section 8.5.
    pub(super) fn axes(&self) -> Vec<(f64, Vec<f64>)> {
        let mut matrix = self.clone();
        let mut vectors = Self::zero(self.width);
        (0..self.width).for_each(|place| vectors.add_to_diagonal(place, 1.0));
        for _ in 0..MOST_SWEEPS {
            if !matrix.sweep(&mut vectors) {
                break;
            }
        }
        // The rotations were applied to the rows of `vectors`, so each row is an axis.
        let rows = vectors.values.chunks_exact(self.width.max(1));
        let mut axes: Vec<_> = rows.enumerate().map(|(place, axis)| (matrix.at(place, place), axis.to_vec())).collect();
        axes.sort_by(|a, b| b.0.total_cmp(&a.0));
        axes
    }

    /// Rotates every pair of columns once; whether anything was left to do.
    fn sweep(&mut self, vectors: &mut Self) -> bool {
        let mut rotated = false;
        for p in 0..self.width {
            for q in p + 1..self.width {
                let (off, first, second) = (self.at(p, q), self.at(p, p), self.at(q, q));
                if off.abs() <= NEGLIGIBLE * (first.abs() * second.abs()).sqrt() || off == 0.0 {
                    continue;
                }
                rotated = true;
                let ratio = (second - first) / (2.0 * off);
                let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                self.rotate_rows(p, q, (cosine, tangent * cosine));
                self.rotate_columns(p, q, (cosine, tangent * cosine));
                vectors.rotate_rows(p, q, (cosine, tangent * cosine));
            }
        }
        rotated
    }

    fn rotate_rows(&mut self, p: usize, q: usize, rotation: (f64, f64)) {
        (0..self.width).for_each(|k| self.rotate_pair(p * self.width + k, q * self.width + k, rotation));
    }

    fn rotate_columns(&mut self, p: usize, q: usize, rotation: (f64, f64)) {
        (0..self.width).for_each(|k| self.rotate_pair(k * self.width + p, k * self.width + q, rotation));
    }

    fn rotate_pair(&mut self, first: usize, second: usize, (cosine, sine): (f64, f64)) {
        let pair = (self.values.get(first).copied(), self.values.get(second).copied());
        let (Some(a), Some(b)) = pair else { return };
        if let Some(value) = self.values.get_mut(first) {
            *value = cosine * a - sine * b;
        }
        if let Some(value) = self.values.get_mut(second) {
            *value = sine * a + cosine * b;
        }
    }

    /// The `x` of `A·x = right`, by Cholesky's factors; `None` where the matrix is not positive definite.
    pub(super) fn solve(&self, right: &[f64]) -> Option<Vec<f64>> {
        let mut factor = Self::zero(self.width);
        let mut solution: Vec<f64> = right.to_vec();
        for row in 0..self.width {
            for column in 0..=row {
                let known: f64 = (0..column).map(|k| factor.at(row, k) * factor.at(column, k)).sum();
                let left = self.at(row, column) - known;
                let value = if row == column { left.sqrt() } else { left / factor.at(column, column) };
                if !value.is_finite() || (row == column && value <= 0.0) {
                    return None;
                }
                *factor.values.get_mut(row * self.width + column)? = value;
            }
            let known: f64 = solution.iter().take(row).enumerate().map(|(k, x)| factor.at(row, k) * x).sum();
            let entry = solution.get_mut(row)?;
            *entry = (*entry - known) / factor.at(row, row);
        }
        for row in (0..self.width).rev() {
            let known: f64 = solution.iter().enumerate().skip(row + 1).map(|(k, x)| factor.at(k, row) * x).sum();
            let entry = solution.get_mut(row)?;
            *entry = (*entry - known) / factor.at(row, row);
        }
        Some(solution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[f64]]) -> Symmetric {
        Symmetric { width: rows.len(), values: rows.concat() }
    }

    #[test]
    fn axes_are_unit_vectors_that_the_matrix_only_stretches() {
        let matrix = matrix(&[&[4.0, 1.0, 0.5], &[1.0, 3.0, -1.0], &[0.5, -1.0, 1.0]]);
        let axes = matrix.axes();
        assert!(axes.is_sorted_by(|a, b| a.0 >= b.0));
        assert!((axes.iter().map(|axis| axis.0).sum::<f64>() - matrix.trace()).abs() < 1e-12);
        for (value, axis) in &axes {
            assert!((axis.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-12);
            for row in 0..3 {
                let stretched: f64 = (0..3).map(|column| matrix.at(row, column) * axis[column]).sum();
                assert!((stretched - value * axis[row]).abs() < 1e-12, "{axis:?}");
            }
        }
    }

    #[test]
    fn equations_are_solved_and_impossible_ones_refused() {
        let positive = matrix(&[&[4.0, 1.0], &[1.0, 3.0]]);
        let solution = positive.solve(&[1.0, 2.0]).unwrap();
        assert!((solution[0] - 1.0 / 11.0).abs() < 1e-12 && (solution[1] - 7.0 / 11.0).abs() < 1e-12);
        assert!(matrix(&[&[1.0, 2.0], &[2.0, 1.0]]).solve(&[1.0, 1.0]).is_none());
        assert!((positive.squared().trace() - positive.trace_of_product(&positive)).abs() < 1e-12);
    }
}
