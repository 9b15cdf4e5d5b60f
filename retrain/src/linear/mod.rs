//! Linear models: what the builtin trainer makes, as numbers, as an ONNX graph ([`graph`]), and read from one ([`read`]).
//!
//! The artifact is the graph, which every server runs. A graph that this module would write from the numbers that stand in it
//! is one of its own, recalibrated or not, and answers without any engine: its numbers are evaluated in double precision, a row
//! at a time, so that a row's answer is the trainer's own and does not depend on its batch.

pub(crate) mod graph;
mod map;
pub(crate) mod read;

pub(crate) use map::{LinearMap, softmax};

use crate::recalibration::{Correction, LEAST_PROBABILITY};
use detectors::schema::Task;
use ndarray::{Array2, ArrayView1, ArrayViewMut1, Axis};
use std::collections::BTreeMap;

/// How a number is standardised: `(value - mean) * inverse_scale`, and 0 for null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standardised {
    /// Column of the input matrix.
    pub(crate) input: usize,
    /// Mean of the training rows.
    pub(crate) mean: f32,
    /// One over the standard deviation; 0 for a column that never varied.
    pub(crate) inverse_scale: f32,
}

/// One category's column: 1 where the input holds this index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slot {
    /// Column of the input matrix.
    pub(crate) input: usize,
    /// Index in the category table, or [`crate::encoding::UNSEEN`].
    pub(crate) index: f32,
}

/// The columns of the design matrix, numbers first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) numbers: Vec<Standardised>,
    pub(crate) slots: Vec<Slot>,
}

impl Columns {
    /// Columns of the design matrix.
    pub(crate) fn width(&self) -> usize {
        self.numbers.len() + self.slots.len()
    }
}

/// What the outputs of the map become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Probabilities of classes, by softmax.
    Probabilities,
    /// A number, as it is.
    Number,
}

impl Answer {
    /// What a task asks for.
    pub(crate) fn to(task: &Task) -> Self {
        match task {
            Task::Regression => Self::Number,
            Task::Binary { .. } | Task::Multiclass { .. } => Self::Probabilities,
        }
    }
}

/// A fitted model over the matrix of [`crate::encoding`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinearModel {
    pub(crate) columns: Columns,
    pub(crate) map: LinearMap,
    pub(crate) answer: Answer,
    /// One behind the other; biases in the order of the map's outputs.
    pub(crate) corrections: Vec<Correction>,
}

/// A model laid out for asking: the weights of a category are looked up by its index.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation {
    model: LinearModel,
    /// By column of the input matrix: the map's row for each index, the first one for -1.
    categories: BTreeMap<usize, Vec<Option<usize>>>,
}

impl Evaluation {
    pub(crate) fn of(model: LinearModel) -> Self {
        let mut categories: BTreeMap<usize, Vec<Option<usize>>> = BTreeMap::new();
        for (place, slot) in model.columns.slots.iter().enumerate() {
            let Some(index) = place_of(slot.index) else { continue };
            let rows = categories.entry(slot.input).or_default();
            rows.resize(rows.len().max(index + 1), None);
            if let Some(row) = rows.get_mut(index) {
                *row = Some(model.columns.numbers.len() + place);
            }
        }
        Self { model, categories }
    }

    /// The answers to these inputs, shape `[rows, outputs]`.
    pub(crate) fn answers(&self, inputs: &Array2<f32>) -> Array2<f64> {
        let outputs = self.model.map.bias.len();
        let mut answers = Array2::zeros((inputs.nrows(), outputs));
        for (input, answer) in inputs.axis_iter(Axis(0)).zip(answers.axis_iter_mut(Axis(0))) {
            self.apply(input, answer);
        }
        if self.model.answer == Answer::Probabilities {
            answers = softmax(answers);
        }
        self.model.corrections.iter().fold(answers, corrected)
    }

    fn apply(&self, input: ArrayView1<'_, f32>, mut answer: ArrayViewMut1<'_, f64>) {
        let LinearModel { columns, map, .. } = &self.model;
        answer.assign(&map.bias);
        for (number, weights) in columns.numbers.iter().zip(map.weights.axis_iter(Axis(0))) {
            let Some(value) = input.get(number.input).filter(|value| !value.is_nan()) else { continue };
            let standardised = (f64::from(*value) - f64::from(number.mean)) * f64::from(number.inverse_scale);
            answer.scaled_add(standardised, &weights);
        }
        for (column, rows) in &self.categories {
            let held = input.get(*column).and_then(|value| place_of(*value));
            if let Some(row) = held.and_then(|place| rows.get(place).copied().flatten()) {
                answer += &map.weights.row(row);
            }
        }
    }
}

/// The place of an index among those from -1 on.
fn place_of(index: f32) -> Option<usize> {
    let place = f64::from(index) + 1.0;
    (place >= 0.0 && place.fract() == 0.0 && place < f64::from(u32::MAX)).then_some(place as usize)
}

fn corrected(mut answers: Array2<f64>, correction: &Correction) -> Array2<f64> {
    match correction {
        Correction::Number { slope, offset } => answers.mapv(|answer| slope * answer + offset),
        Correction::Classes { temperature, biases } => {
            // The graph holds the least probability as a float32 too.
            let least = f64::from(LEAST_PROBABILITY as f32);
            for mut row in answers.axis_iter_mut(Axis(0)) {
                row.iter_mut()
                    .zip(biases)
                    .for_each(|(answer, bias)| *answer = temperature * (*answer + least).ln() + bias);
            }
            softmax(answers)
        }
    }
}
