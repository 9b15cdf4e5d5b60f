//! Parity modes: what users of other tools see today, number for number, on exact samples.
//!
//! They exist so that one can move from those tools without losing sight of what one knows, and so that their numbers can
//! be compared with ours on the same rows. They reproduce edges, conventions, default tests, thresholds and quirks, and are
//! not recommended: each file says what is wrong with what it reproduces.
//!
//! Deliberately absent: the tools' permutation tests, whose p-values depend on numpy's generator, and everything about text.

pub mod evidently;
pub mod nannyml;
pub mod popmon;

mod histogram;

pub use histogram::{count_in, doane_edges, equal_edges, sturges_edges};

/// What a tool says of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// A distance, or the p-value of a test.
    pub score: f64,
    /// What it is held against.
    pub threshold: f64,
    /// Whether the tool calls it drift.
    pub drifted: bool,
}

impl Finding {
    /// A test finds drift where its p-value is below the threshold.
    fn of_p_value(p_value: f64, threshold: f64) -> Self {
        Self { score: p_value, threshold, drifted: p_value < threshold }
    }
}

#[cfg(test)]
mod tests;
