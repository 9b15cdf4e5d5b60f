//! Rows under construction of models that have the same columns.
//!
//! Each version of a model has a builder of its own, unless many of them take turns: the columns of a thousand builders are
//! in no cache, and a row would wait for each of those that it grows. Then one builder takes the rows of all as they come,
//! and they are told apart when they are handed over. Whether they take turns is seen from the rows of the last time; it
//! changes no row, nor their order within a batch.

use super::EventBatch;
use super::builders::append::GoodRows;
use super::builders::{BatchShape, EventBuilder, GoodRow};
use super::source::ActiveSource;
use arrow::error::ArrowError;
use std::sync::Arc;

/// The most rows that room is made for before there are any.
const MOST_EXPECTED_ROWS: usize = 4_096;
/// So many builders are in use at once without waiting for memory.
const FEW_OWNERS: usize = 32;
/// So many builders are begun at the most; the owners beyond them share the last. Each takes some kilobytes, and how many
/// versions there are is up to whoever sends them.
const MOST_APART: usize = 256;
/// So many rows in turn are worth the wait for a builder's columns.
const LONG_RUN: usize = 64;

/// A version of a model.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) model: Arc<str>,
    pub(crate) version: Arc<str>,
}

/// Who builds the rows of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Building {
    /// A builder of its own.
    Apart,
    /// One for all.
    SharedBuilders,
}

/// The builders of models that have the same columns.
#[derive(Debug)]
pub(crate) struct SharedBuilders {
    shape: BatchShape,
    owners: Vec<Owner>,
    building: Building,
    /// One for each owner, or one for all.
    builders: Vec<EventBuilder>,
    /// Builders that hold as much as they may.
    full: Vec<EventBuilder>,
    /// Rows of a builder the last time, on average: the next ones will hardly differ, and their columns need not grow.
    expected_rows: usize,
    /// Bytes of the longest version, which each row of a batch repeats.
    longest_version: usize,
    /// The owner of the last row, and how often that was another than before.
    last: Option<u32>,
    turns: usize,
}

impl SharedBuilders {
    pub(crate) fn new(shape: BatchShape) -> Self {
        Self {
            shape,
            owners: Vec::new(),
            building: Building::Apart,
            builders: Vec::new(),
            full: Vec::new(),
            expected_rows: 0,
            longest_version: 0,
            last: None,
            turns: 0,
        }
    }

    /// Whether rows of this shape can be built here.
    pub(crate) fn takes(&self, shape: &BatchShape) -> bool {
        self.shape.is_like(shape)
    }

    /// Rows may come of this version of a model; the number by which they are given.
    pub(crate) fn add_owner(&mut self, model: &Arc<str>, version: &Arc<str>) -> u32 {
        self.longest_version = self.longest_version.max(version.len());
        self.owners.push(Owner { model: Arc::clone(model), version: Arc::clone(version) });
        self.owners.len() as u32 - 1
    }

    /// Versions of models that rows have come of.
    pub(crate) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// Adds a row of an owner.
    #[inline]
    pub(crate) fn push(&mut self, owner: u32, row: &GoodRow<'_, '_>) {
        self.builder(owner).push(owner, row);
    }

    /// Adds rows of an owner.
    pub(crate) fn append(&mut self, owner: u32, rows: &GoodRows) {
        self.builder(owner).append(owner, rows);
    }

    #[inline]
    fn builder(&mut self, owner: u32) -> &mut EventBuilder {
        self.turns += usize::from(self.last.replace(owner) != Some(owner));
        let place = match self.building {
            Building::Apart => (owner as usize).min(MOST_APART),
            Building::SharedBuilders => 0,
        };
        if self.builders.len() <= place {
            // Room is made for those that there usually are.
            let room = if place < FEW_OWNERS { self.expected_rows } else { 0 };
            self.builders.resize_with(place + 1, || EventBuilder::new(&self.shape, room));
        }
        // There are more than `place` of them by now.
        let builder = &mut self.builders[place];
        if builder.is_full(self.longest_version) {
            self.full.push(std::mem::replace(builder, EventBuilder::new(&self.shape, self.expected_rows)));
        }
        builder
    }

    /// How many builders have been begun.
    #[cfg(test)]
    pub(crate) fn builders(&self) -> usize {
        self.builders.len()
    }

    /// Hands over all rows, each owner's in the order in which they came.
    ///
    /// # Errors
    /// When arrow refuses a batch.
    pub(crate) fn take(&mut self, batches: &mut Vec<EventBatch>) -> Result<(), ArrowError> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let owners = std::mem::take(&mut self.owners);
        let mut builders = std::mem::take(&mut self.full);
        builders.append(&mut self.builders);
        let rows: usize = builders.iter().map(EventBuilder::rows).sum();
        let takes_turns = owners.len() > FEW_OWNERS && rows < self.turns * LONG_RUN;
        let (building, next) =
            if takes_turns { (Building::SharedBuilders, 1) } else { (Building::Apart, owners.len()) };
        (self.building, self.expected_rows) = (building, (rows / next).min(MOST_EXPECTED_ROWS));
        (self.longest_version, self.last, self.turns) = (0, None, 0);
        builders.into_iter().try_for_each(|builder| builder.finish(&owners, batches))
    }
}

/// What builds the rows of these sources: those that have the same columns are built together, and read alike.
pub(super) fn built_together(sources: &mut [ActiveSource]) -> Vec<SharedBuilders> {
    let (mut all, mut firsts): (Vec<SharedBuilders>, Vec<usize>) = (Vec::new(), Vec::new());
    for index in 0..sources.len() {
        let (before, [source, ..]) = sources.split_at_mut(index) else { break };
        let shape = source.shape();
        source.built_by = all.iter().position(|shared_builders| shared_builders.takes(&shape)).unwrap_or(all.len());
        match firsts.get(source.built_by).and_then(|first| before.get(*first)) {
            Some(first) => source.share_plans(first),
            None => {
                all.push(SharedBuilders::new(shape));
                firsts.push(index);
            }
        }
    }
    all
}
