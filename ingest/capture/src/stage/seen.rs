//! The ids of events of models that have no labels: what is sent again counts once there too.
//!
//! Where a model has labels, the join knows ids for as long as labels may come. Here nothing is waited for, and a million
//! events a second may pass; so an id is known while its event would count again, which is until the watermark has passed
//! its time, and at most as long as it is among the last [`MOST_IDS`] of its partition. Both follow from the partition's own
//! records. What is sent again after that is late, or, where that many ids lie between, counts again.
//!
//! An id with its model and version stands as a hash under a key of this run: of so few no two are the same.

use crate::join::Taken;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use streams::log::Offset;

/// The most ids of a partition that are known, of all models together: some 20 MB.
const MOST_IDS: usize = 1 << 19;

/// The ids of a partition.
#[derive(Debug, Default)]
pub(super) struct SeenIds {
    hasher: RandomState,
    known: HashTable<Known>,
    /// Of those that are known, and of some that have come anew since: hash and offset, in the order of the log.
    order: VecDeque<(u64, Offset)>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    hash: u64,
    time_ms: i64,
    offset: Offset,
}

/// An event by what it is known by, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) model: &'a str,
    pub(super) version: &'a str,
    pub(super) id: &'a str,
    pub(super) time_ms: i64,
    pub(super) offset: Offset,
}

impl SeenIds {
    /// Takes an event, before which the watermark stood there.
    pub(super) fn take(&mut self, event: Event<'_>, watermark_ms: Option<i64>) -> Taken {
        let Event { model, version, id, time_ms, offset } = event;
        let hash = self.hasher.hash_one((model, version, id));
        let event = Known { hash, time_ms, offset };
        match self.known.entry(hash, |known| known.hash == hash, |known| known.hash) {
            Entry::Occupied(mut known) => {
                let first = known.get_mut();
                if watermark_ms.is_none_or(|at| at <= first.time_ms) {
                    return if time_ms > first.time_ms { Taken::LaterDuplicate } else { Taken::Duplicate };
                }
                *first = event;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(event);
            }
        }
        self.order.push_back((hash, offset));
        if self.order.len() > MOST_IDS {
            self.forget_oldest();
        }
        Taken::First
    }

    /// Lets go of what is behind the watermark, up to the first that is not.
    pub(super) fn pass(&mut self, watermark_ms: Option<i64>) {
        let Some(watermark_ms) = watermark_ms else { return };
        while let Some((hash, offset)) = self.order.front() {
            let known = self.known.find(*hash, |known| known.hash == *hash && known.offset == *offset);
            if known.is_some_and(|known| known.time_ms >= watermark_ms) {
                return;
            }
            self.forget_oldest();
        }
    }

    /// The offset of the oldest event that a restart has to read again to know these ids; `None` where there is none.
    pub(super) fn needed_from(&self) -> Option<Offset> {
        self.order.front().map(|(_, offset)| *offset)
    }

    fn forget_oldest(&mut self) {
        let Some((hash, offset)) = self.order.pop_front() else { return };
        if let Ok(known) = self.known.find_entry(hash, |known| known.hash == hash && known.offset == offset) {
            known.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, time_ms: i64, offset: Offset) -> Event<'_> {
        Event { model: "fare", version: "v1", id, time_ms, offset }
    }

    #[test]
    fn an_id_is_known_until_the_watermark_has_passed_its_time_and_by_model_and_version() {
        let mut seen = SeenIds::default();
        assert_eq!(seen.take(event("a", 100, 0), None), Taken::First);
        assert_eq!(seen.take(event("a", 100, 1), Some(100)), Taken::Duplicate);
        assert_eq!(seen.take(event("a", 120, 2), Some(100)), Taken::LaterDuplicate);
        assert_eq!(seen.take(Event { version: "v2", ..event("a", 100, 3) }, Some(100)), Taken::First);
        assert_eq!(seen.take(Event { model: "loan", ..event("a", 100, 4) }, Some(100)), Taken::First);
        assert_eq!(seen.take(event("a", 150, 5), Some(101)), Taken::First, "its first would not count any more");
        assert_eq!(seen.take(event("a", 150, 6), Some(101)), Taken::Duplicate);
    }

    #[test]
    fn what_is_behind_the_watermark_is_let_go_and_a_restart_need_not_read_it() {
        let mut seen = SeenIds::default();
        for (offset, time_ms) in (0..).zip([100, 300, 200]) {
            seen.take(event(&offset.to_string(), time_ms, offset), None);
        }
        seen.pass(Some(101));
        assert_eq!((seen.needed_from(), seen.known.len()), (Some(1), 2));
        seen.pass(Some(301));
        assert_eq!((seen.needed_from(), seen.known.len()), (None, 0));
    }

    #[test]
    fn so_many_ids_are_known_and_no_more() {
        let mut seen = SeenIds::default();
        for offset in 0..=MOST_IDS as Offset {
            seen.take(event(&offset.to_string(), 100, offset), None);
        }
        assert_eq!((seen.needed_from(), seen.known.len()), (Some(1), MOST_IDS));
    }
}
