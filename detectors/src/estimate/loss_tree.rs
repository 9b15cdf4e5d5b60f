//! Direct loss estimation from all columns: a regression tree of the expected losses, whose leaves are counted.
//!
//! The tree parts the reference's rows into leaves within which the losses are alike. A window holds how many of its
//! rows fall into each leaf: integers that add up. So it sees what [`super::LossModel`] cannot, which knows the
//! prediction only: inputs that change the error and leave the prediction where it was.
//!
//! Invariants. One half of the reference grows the tree and the other half gives the leaves their losses (an honest
//! tree; Athey and Imbens, 2016, *PNAS* 113), so that a leaf chosen for its low losses is not taken at its word, and
//! each leaf's mean has the error that its number of rows says. Every row falls into one leaf, whatever its values: a
//! missing one lies below all numbers, and has a category's place of its own.
//!
//! Deliberately absent: ensembles. A single tree is coarser than NannyML's boosted ones, and is small enough to be a
//! parameter of the reference.

use super::dle::{LARGEST_ERROR, Losses, expected_losses};
use super::{LossEstimate, NotEstimable};
use crate::layout::{CategoryPlace, ColumnLayout};
use crate::random::Random;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};

/// The most leaves of a tree.
const MOST_LEAVES: usize = 128;
/// Rows that a leaf has at least, in the half that grows the tree.
const LEAST_ROWS: usize = 50;
/// A split must lessen the squared deviations by so many variances: what four standard errors do.
const LEAST_GAIN: f64 = 16.0;

/// Labelled rows of a reference, to learn losses from.
#[derive(Debug, Clone, Copy)]
pub struct LossyRows<'a> {
    /// How each column is counted.
    pub layouts: &'a [ColumnLayout],
    /// The columns: Float64 for numeric ones; strings or a dictionary of them for categorical ones.
    pub columns: &'a [ArrayRef],
    /// For each row its prediction and its label. Rows in which one is not finite are left out.
    pub outcomes: &'a [(f64, f64)],
}

/// Expected losses by leaf of a tree over all columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossTree {
    /// For each column the places of its codes in the order in which it is split; none for numbers.
    orders: Vec<Vec<u16>>,
    /// The root first; children stand after their parent.
    nodes: Vec<Node>,
    leaves: Vec<Losses>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf {
        place: usize,
    },
    /// Rows whose code in the column is at most `highest` go to node `below`, the others to the node after it.
    Split {
        column: usize,
        highest: u16,
        below: usize,
    },
}

/// How many rows of a window fall into each leaf of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafCounts {
    rows: Vec<i64>,
}

impl LeafCounts {
    /// Adds the other's rows to these.
    ///
    /// # Errors
    /// When the other is of a tree with another number of leaves.
    pub fn merge(&mut self, other: &Self) -> Result<(), NotEstimable> {
        other.check(self.rows.len())?;
        self.rows.iter_mut().zip(&other.rows).for_each(|(rows, more)| *rows = rows.saturating_add(*more));
        Ok(())
    }

    fn check(&self, expected: usize) -> Result<(), NotEstimable> {
        let found = self.rows.len();
        if expected == found { Ok(()) } else { Err(NotEstimable::Leaves { expected, found }) }
    }
}

impl LossTree {
    /// Learns from labelled rows; `seed` deals them out to the half that grows the tree and the half that fills it.
    ///
    /// # Formula
    /// A tree that is split at the leaf, column and value that lessen `Σ(|e| − mean)²` most (Breiman et al., 1984), up
    /// to 128 leaves of at least 50 rows, as long as the split is worth four standard errors. Values are the layouts'
    /// bins; categories are ordered by their mean error.
    ///
    /// # Errors
    /// When a half has no usable row, or a column does not fit its layout.
    pub fn learn(rows: &LossyRows<'_>, seed: u64) -> Result<Self, NotEstimable> {
        let mut codes = codes_of(rows.layouts, rows.columns, rows.outcomes.len())?;
        let mut random = Random::new(seed);
        let (mut growing, mut filling) = (Vec::new(), Vec::new());
        for (row, (prediction, label)) in rows.outcomes.iter().enumerate() {
            let error = (prediction - label).abs();
            if error <= LARGEST_ERROR {
                let half = if random.bits().is_multiple_of(2) { &mut growing } else { &mut filling };
                half.push(Sample { row, error });
            }
        }
        if growing.is_empty() || filling.is_empty() {
            return Err(NotEstimable::EmptyReference);
        }
        let order = |(layout, codes): (&ColumnLayout, &Vec<u16>)| order_of(layout, codes, &growing);
        let orders: Vec<Vec<u16>> = rows.layouts.iter().zip(&codes).map(order).collect();
        reorder(&mut codes, &orders);
        let nodes = Grower { codes: &codes, nodes: Vec::new() }.grow(growing);
        let mut tree = Self { orders, leaves: Vec::new(), nodes };
        tree.fill(&codes, &filling);
        Ok(tree)
    }

    /// Counts of no rows.
    pub fn empty(&self) -> LeafCounts {
        LeafCounts { rows: vec![0; self.leaves.len()] }
    }

    /// Counts each row of a batch in its leaf. The layouts are those that the tree was learned with.
    ///
    /// # Errors
    /// When a column does not fit its layout, or the counts are of another tree; then nothing was counted.
    pub fn observe(
        &self,
        counts: &mut LeafCounts,
        layouts: &[ColumnLayout],
        columns: &[ArrayRef],
    ) -> Result<(), NotEstimable> {
        counts.check(self.leaves.len())?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut codes = codes_of(layouts, columns, rows)?;
        if codes.len() != self.orders.len() {
            return Err(NotEstimable::Column { place: codes.len().min(self.orders.len()) });
        }
        reorder(&mut codes, &self.orders);
        for row in 0..rows {
            if let Some(count) = counts.rows.get_mut(self.leaf_of(&codes, row)) {
                *count = count.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Estimates the losses of a window; the formula is that of [`super::LossModel::estimate`], with leaves for steps.
    ///
    /// # Errors
    /// When the counts are of another tree, or of no rows.
    pub fn estimate(&self, window: &LeafCounts) -> Result<LossEstimate, NotEstimable> {
        window.check(self.leaves.len())?;
        if window.rows.iter().all(|rows| *rows <= 0) {
            return Err(NotEstimable::EmptyWindow);
        }
        let counts = window.rows.iter().map(|rows| (*rows).max(0) as f64);
        Ok(expected_losses(self.leaves.iter().zip(counts)))
    }

    /// How many leaves the tree has; at least one.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    fn leaf_of(&self, codes: &[Vec<u16>], row: usize) -> usize {
        let mut node = 0;
        // Children stand after their parent, so the way down is no longer than there are nodes.
        for _ in 0..self.nodes.len() {
            match self.nodes.get(node) {
                Some(Node::Split { column, highest, below }) => {
                    node = below + usize::from(code_at(codes, *column, row) > *highest);
                }
                Some(Node::Leaf { place }) => return *place,
                None => break,
            }
        }
        0
    }

    /// Gives the leaves their losses. A leaf that none of the filling half reaches has those of all rows.
    fn fill(&mut self, codes: &[Vec<u16>], filling: &[Sample]) {
        let leaves = self.nodes.iter().filter(|node| matches!(node, Node::Leaf { .. })).count();
        let (mut losses, mut all) = (vec![Losses::default(); leaves], Losses::default());
        for sample in filling {
            all.observe(sample.error);
            if let Some(leaf) = losses.get_mut(self.leaf_of(codes, sample.row)) {
                leaf.observe(sample.error);
            }
        }
        losses.iter_mut().filter(|leaf| leaf.rows() == 0).for_each(|leaf| *leaf = all);
        self.leaves = losses;
    }
}

/// A row of the reference and its absolute error.
#[derive(Debug, Clone, Copy)]
struct Sample {
    row: usize,
    error: f64,
}

/// A place to split, and how much it is worth.
#[derive(Debug, Clone, Copy)]
struct Cut {
    gain: f64,
    column: usize,
    highest: u16,
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    samples: Vec<Sample>,
    cut: Option<Cut>,
}

struct Grower<'a> {
    codes: &'a [Vec<u16>],
    nodes: Vec<Node>,
}

impl Grower<'_> {
    /// Splits the leaf that gains most, until none gains enough.
    fn grow(mut self, samples: Vec<Sample>) -> Vec<Node> {
        let mut open = vec![self.open(samples)];
        while open.len() < MOST_LEAVES {
            let gain = |leaf: &Open| leaf.cut.map_or(0.0, |cut| cut.gain);
            let best = open.iter().enumerate().max_by(|a, b| gain(a.1).total_cmp(&gain(b.1)));
            let Some((best, cut)) = best.and_then(|(place, leaf)| Some((place, leaf.cut?))) else { break };
            let leaf = open.swap_remove(best);
            open.extend(self.split(leaf, cut));
        }
        let leaves = self.nodes.iter_mut().filter_map(|node| match node {
            Node::Leaf { place } => Some(place),
            Node::Split { .. } => None,
        });
        leaves.enumerate().for_each(|(number, place)| *place = number);
        self.nodes
    }

    fn split(&mut self, leaf: Open, cut: Cut) -> [Open; 2] {
        let Cut { column, highest, .. } = cut;
        let is_below = |sample: &Sample| code_at(self.codes, column, sample.row) <= highest;
        let (below, above): (Vec<Sample>, Vec<Sample>) = leaf.samples.into_iter().partition(is_below);
        let children = [self.open(below), self.open(above)];
        if let (Some(node), [below, _]) = (self.nodes.get_mut(leaf.node), &children) {
            *node = Node::Split { column, highest, below: below.node };
        }
        children
    }

    /// A new leaf at the end of the nodes.
    fn open(&mut self, samples: Vec<Sample>) -> Open {
        self.nodes.push(Node::Leaf { place: 0 });
        Open { node: self.nodes.len() - 1, cut: self.best_cut(&samples), samples }
    }

    fn best_cut(&self, samples: &[Sample]) -> Option<Cut> {
        let n = samples.len() as f64;
        let mean = samples.iter().map(|sample| sample.error).sum::<f64>() / n.max(1.0);
        let variance = samples.iter().map(|sample| (sample.error - mean).powi(2)).sum::<f64>() / n.max(1.0);
        let cuts = (0..self.codes.len()).filter_map(|column| self.cut_of(column, samples, mean));
        cuts.filter(|cut| cut.gain > LEAST_GAIN * variance).max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    fn cut_of(&self, column: usize, samples: &[Sample], mean: f64) -> Option<Cut> {
        let mut bins: Vec<(usize, f64)> = Vec::new();
        for sample in samples {
            let code = usize::from(code_at(self.codes, column, sample.row));
            if bins.len() <= code {
                bins.resize(code + 1, (0, 0.0));
            }
            if let Some((rows, deviations)) = bins.get_mut(code) {
                *rows += 1;
                *deviations += sample.error - mean;
            }
        }
        let (mut best, mut below, mut sum): (Option<Cut>, usize, f64) = (None, 0, 0.0);
        for (code, (rows, deviations)) in bins.iter().enumerate() {
            below += rows;
            sum += deviations;
            let above = samples.len() - below;
            // Deviations sum to zero: what the one side has too much of, the other has too little.
            let gain = sum * sum * samples.len() as f64 / (below as f64 * above as f64);
            if below >= LEAST_ROWS && above >= LEAST_ROWS && best.is_none_or(|best| gain > best.gain) {
                best = Some(Cut { gain, column, highest: code as u16 });
            }
        }
        best
    }
}

fn code_at(codes: &[Vec<u16>], column: usize, row: usize) -> u16 {
    codes.get(column).and_then(|codes| codes.get(row)).copied().unwrap_or(0)
}

/// Brings codes into the order in which columns are split; one without an order is in order already.
fn reorder(codes: &mut [Vec<u16>], orders: &[Vec<u16>]) {
    for (codes, order) in codes.iter_mut().zip(orders) {
        codes.iter_mut().for_each(|code| *code = order.get(usize::from(*code)).copied().unwrap_or(*code));
    }
}

/// The codes' places in the order in which the column is split: categories by their mean error, those that the growing
/// half lacks first; none for numbers, which stand as they are.
fn order_of(layout: &ColumnLayout, codes: &[u16], growing: &[Sample]) -> Vec<u16> {
    let ColumnLayout::Categorical(table) = layout else { return Vec::new() };
    let mut means = vec![(0.0, 0.0); table.known().len() + 2];
    for sample in growing {
        let code = codes.get(sample.row).copied().unwrap_or(0);
        if let Some((rows, sum)) = means.get_mut(usize::from(code)) {
            *rows += 1.0;
            *sum += sample.error;
        }
    }
    let mean = |code: &usize| means.get(*code).map_or(0.0, |(rows, sum)| if *rows > 0.0 { sum / rows } else { 0.0 });
    let mut ranked: Vec<usize> = (0..means.len()).collect();
    ranked.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    let mut order = vec![0; ranked.len()];
    for (place, code) in ranked.into_iter().enumerate() {
        if let Some(slot) = order.get_mut(code) {
            *slot = place as u16;
        }
    }
    order
}

/// Each column's values as codes: 0 is missing, then come fine bins, or known categories and last all others.
fn codes_of(layouts: &[ColumnLayout], columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u16>>, NotEstimable> {
    let mut codes = Vec::with_capacity(layouts.len());
    for (place, layout) in layouts.iter().enumerate() {
        let column = columns.get(place).filter(|column| column.len() == rows);
        codes.push(column.and_then(|column| column_codes(layout, column)).ok_or(NotEstimable::Column { place })?);
    }
    Ok(codes)
}

fn column_codes(layout: &ColumnLayout, column: &ArrayRef) -> Option<Vec<u16>> {
    match layout {
        ColumnLayout::Numeric(bins) => {
            let inner = bins.edges().get(1..bins.bins()).unwrap_or_default();
            let code = |value: f64| 1 + inner.partition_point(|edge| *edge <= value) as u16;
            let finite = |value: Option<f64>| value.filter(|value| value.is_finite()).map_or(0, code);
            Some(column.as_primitive_opt::<Float64Type>()?.iter().map(finite).collect())
        }
        ColumnLayout::Categorical(table) => {
            let code = |name: &str| match table.place(name) {
                CategoryPlace::Known(place) => 1 + place as u16,
                CategoryPlace::Other | CategoryPlace::Unseen => 1 + table.known().len() as u16,
            };
            Some(strings(column)?.iter().map(|name| name.map_or(0, code)).collect())
        }
    }
}

fn strings(column: &ArrayRef) -> Option<StringArray> {
    match column.data_type() {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => {
            cast(column, &DataType::Utf8).ok()?.as_string_opt::<i32>().cloned()
        }
        _ => None,
    }
}
