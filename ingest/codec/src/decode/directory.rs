//! The sources of a decoder by name, and which of them rows have met.

use super::Held;
use super::cursor::Text;
use super::fault::{Fault, Read, Reason};
use super::source::{ActiveSource, Source};
use std::collections::HashMap;

/// Finds sources by name.
pub(super) struct Directory {
    by_name: HashMap<String, usize>,
    /// The source of the last row, which is most often that of the next.
    last: usize,
    /// The sources that may have built or counted something since they were asked for: few, where there are many.
    met: Vec<usize>,
    known: Vec<Known>,
    /// Good rows since then, their values, and the sources that have any.
    rows: usize,
    values: usize,
    filled: usize,
}

/// What has become of a source since the sources that were met were asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    is_met: bool,
    has_rows: bool,
}

impl Directory {
    pub(super) fn new(sources: &[Source]) -> Self {
        let by_name = sources.iter().enumerate().map(|(index, source)| (source.model.to_string(), index)).collect();
        Self {
            by_name,
            last: 0,
            met: Vec::new(),
            known: vec![Known::default(); sources.len()],
            rows: 0,
            values: 0,
            filled: 0,
        }
    }

    /// The place of a model's source.
    pub(super) fn find(&self, model: &str) -> Option<usize> {
        self.by_name.get(model).copied()
    }

    /// The source of a row's model, which is met with it.
    #[inline]
    pub(super) fn choose<'s>(
        &mut self,
        model: Text<'_>,
        sources: &'s mut [ActiveSource],
        at: usize,
    ) -> Read<(usize, &'s mut ActiveSource)> {
        let mut scratch = Vec::new();
        let name = model.resolve(&mut scratch);
        if sources.get(self.last).is_none_or(|last| last.source.model.as_bytes() != name) {
            let known = std::str::from_utf8(name).ok().and_then(|name| self.find(name));
            self.last = known.ok_or_else(|| unknown_model(at))?;
        }
        self.meet(self.last);
        let source = sources.get_mut(self.last).ok_or_else(|| unknown_model(at))?;
        Ok((self.last, source))
    }

    #[inline]
    pub(super) fn meet(&mut self, index: usize) {
        if let Some(Known { is_met: is_met @ false, .. }) = self.known.get_mut(index) {
            *is_met = true;
            self.met.push(index);
        }
    }

    /// Counts good rows of a source that was met, of so many values each.
    #[inline]
    pub(super) fn count(&mut self, index: usize, rows: usize, width: usize) {
        self.rows += rows;
        self.values += rows * width;
        if let Some(Known { has_rows: has_rows @ false, .. }) = self.known.get_mut(index) {
            *has_rows = true;
            self.filled += 1;
        }
    }

    /// How many values of good rows were counted since the sources were asked for, and how many rows of each on average.
    pub(super) fn held(&self) -> Held {
        Held { values: self.values, rows_of_a_batch: self.rows / self.filled.max(1), versions: 0 }
    }

    /// The sources that were met since the last call, in their order.
    pub(super) fn take_met(&mut self) -> Vec<usize> {
        self.known.fill(Known::default());
        (self.rows, self.values, self.filled) = (0, 0, 0);
        let mut met = std::mem::take(&mut self.met);
        met.sort_unstable();
        met
    }
}

#[cold]
pub(super) fn unknown_model(at: usize) -> Box<Fault> {
    Fault::new(Reason::UnknownModel, at, "the model is not configured")
}
