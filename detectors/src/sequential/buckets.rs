//! The exponential histogram of ADWIN: a window of steps in buckets whose sizes double with age.
//!
//! Row `i` holds buckets of `2^i` steps, at most [`MOST_PER_ROW`] of them, oldest first; when one more arrives the two
//! oldest become one of the next row. So a window of `m` steps takes `O(log m)` buckets, and its far past is coarse. A
//! bucket remembers when its first step began.

use super::segment::Segment;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many buckets of one size there may be: `M` of the paper, and 5 as in its authors' implementation.
const MOST_PER_ROW: usize = 5;

/// Some neighbouring steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub start_ms: i64,
    pub values: Segment,
}

/// A window of steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Buckets {
    /// Newest and smallest row first; within a row the oldest bucket first.
    rows: Vec<VecDeque<Bucket>>,
    total: Segment,
}

impl Buckets {
    /// All values of the window.
    pub(super) fn total(&self) -> &Segment {
        &self.total
    }

    /// The buckets, oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Bucket> {
        self.rows.iter().rev().flatten()
    }

    /// Adds the newest step.
    pub(super) fn push(&mut self, step: Bucket) {
        self.total = self.total.with(&step.values);
        let mut carried = Some(step);
        for row in &mut self.rows {
            let Some(bucket) = carried.take() else { return };
            row.push_back(bucket);
            if row.len() > MOST_PER_ROW {
                carried = merge_oldest(row);
            }
        }
        self.rows.extend(carried.map(|bucket| VecDeque::from([bucket])));
    }

    /// Drops the oldest bucket and returns it.
    pub(super) fn pop_oldest(&mut self) -> Option<Bucket> {
        let row = self.rows.last_mut()?;
        let dropped = row.pop_front()?;
        // An empty last row would hide the older end of the window; rows before it are never empty.
        while self.rows.last().is_some_and(VecDeque::is_empty) {
            self.rows.pop();
        }
        self.total = self.total.without(&dropped.values);
        Some(dropped)
    }

    /// Start of the oldest step of the window.
    pub(super) fn start_ms(&self) -> Option<i64> {
        self.oldest_first().next().map(|bucket| bucket.start_ms)
    }
}

/// Takes the two oldest buckets of a row out as one.
fn merge_oldest(row: &mut VecDeque<Bucket>) -> Option<Bucket> {
    let first = row.pop_front()?;
    let second = row.pop_front()?;
    Some(Bucket { start_ms: first.start_ms, values: first.values.with(&second.values) })
}
