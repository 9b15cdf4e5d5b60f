//! A set of offsets of one partition, as spans that do not touch each other.

use std::collections::BTreeMap;
use std::ops::Range;
use streams::log::Offset;

/// Offsets, as spans by their beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans(BTreeMap<Offset, Offset>);

impl Spans {
    /// Adds the offsets of `[from, to)`.
    pub(super) fn insert(&mut self, span: Range<Offset>) {
        if span.is_empty() {
            return;
        }
        let (mut from, mut to) = (span.start, span.end);
        let touched: Vec<_> =
            self.0.range(..=to).rev().take_while(|(_, end)| **end >= from).map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touched {
            self.0.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.0.insert(from, to);
    }

    /// Takes the offsets of `[from, to)` out.
    pub(super) fn remove(&mut self, span: Range<Offset>) {
        let touched: Vec<_> = self
            .0
            .range(..span.end)
            .rev()
            .take_while(|(_, end)| **end > span.start)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touched {
            self.0.remove(&start);
            self.insert(start..span.start.min(end));
            self.insert(span.end.max(start)..end);
        }
    }

    /// The first offsets of `[from, to)` that are not in the set.
    pub(super) fn first_gap(&self, within: Range<Offset>) -> Option<Range<Offset>> {
        let before = self.0.range(..=within.start).next_back();
        let from = before.map_or(within.start, |(_, end)| within.start.max(*end));
        if from >= within.end {
            return None;
        }
        let next = self.0.range(from..within.end).next();
        Some(from..next.map_or(within.end, |(start, _)| *start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn change() -> impl Strategy<Value = (bool, Range<Offset>)> {
        (any::<bool>(), 0i64..30, 0i64..10).prop_map(|(adds, from, length)| (adds, from..from + length))
    }

    proptest! {
        #[test]
        fn spans_are_the_set_of_their_offsets(
            changes in prop::collection::vec(change(), 0..12), from in 0i64..40, length in 0i64..20
        ) {
            let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
            for (adds, span) in changes {
                if adds {
                    set.extend(span.clone());
                    spans.insert(span);
                } else {
                    set.retain(|offset| !span.contains(offset));
                    spans.remove(span);
                }
            }
            let within = from..from + length;
            let first = within.clone().find(|offset| !set.contains(offset));
            let gap = first.map(|first| first..(first..within.end).find(|at| set.contains(at)).unwrap_or(within.end));
            prop_assert_eq!(spans.first_gap(within), gap);
            let ends: Vec<_> = spans.0.into_iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ends:?}");
        }
    }
}
