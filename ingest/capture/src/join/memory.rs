//! The ids that are held in memory: one record each, and when they are due.
//!
//! An id's record is found by a hash under a key of its own, so that no one can choose ids that fall together. What is due
//! at a time stands in a heap of (time, hash) for each kind. A place in a heap may outlast what it was made for, which does
//! no harm: whoever takes the id looks at what it holds by then.

use super::entry::{Entry, id_of};
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};

/// What becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A prediction expires, by its time.
    Prediction,
    /// A waiting label becomes an orphan, by its time.
    Label,
    /// A prediction's label is declared absent, by the prediction's time and the delay of that.
    Declaration,
}

/// What an id takes beside its record: its places in the table and the heaps with their slack, and the allocator's share.
const OVERHEAD: u64 = 64;

/// An id with all that is held of it, as bytes.
type Packed = Box<[u8]>;

/// Records in memory.
#[derive(Debug)]
pub(super) struct Memory {
    records: HashTable<Packed>,
    hasher: RandomState,
    predictions: Heap,
    labels: Heap,
    declarations: Heap,
    /// How long after a prediction its absent label is declared, where it is.
    declared_after_ms: Option<i64>,
    bytes: u64,
    /// Where records are put together.
    scratch: Vec<u8>,
}

type Heap = BinaryHeap<Reverse<(i64, u64)>>;

impl Memory {
    pub(super) fn new(declared_after_ms: Option<i64>) -> Self {
        Self {
            records: HashTable::new(),
            hasher: RandomState::new(),
            predictions: Heap::new(),
            labels: Heap::new(),
            declarations: Heap::new(),
            declared_after_ms,
            bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// How many ids are held.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// About how many bytes they take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn hash(&self, id: &str) -> u64 {
        self.hasher.hash_one(id.as_bytes())
    }

    /// The record of an id.
    pub(super) fn find(&self, hash: u64, id: &str) -> Option<&[u8]> {
        self.records.find(hash, |record| id_of(record) == id.as_bytes()).map(AsRef::as_ref)
    }

    /// Holds this of an id, in place of what was held; nothing where it is empty.
    pub(super) fn put(&mut self, hash: u64, id: &str, entry: &Entry) {
        let is_it = |record: &Packed| id_of(record) == id.as_bytes();
        if entry.is_empty() {
            if let Ok(found) = self.records.find_entry(hash, is_it) {
                self.bytes -= cost(&found.remove().0);
            }
            return;
        }
        entry.pack(id, &mut self.scratch);
        let record: Packed = self.scratch.as_slice().into();
        self.bytes += cost(&record);
        match self.records.entry(hash, is_it, |record| self.hasher.hash_one(id_of(record))) {
            hashbrown::hash_table::Entry::Occupied(mut held) => {
                self.bytes -= cost(held.get());
                *held.get_mut() = record;
            }
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(record);
            }
        }
    }

    /// Has a prediction of this time looked at when it is due.
    pub(super) fn await_prediction(&mut self, hash: u64, time_ms: i64) {
        self.predictions.push(Reverse((time_ms, hash)));
        if let Some(after_ms) = self.declared_after_ms {
            self.declarations.push(Reverse((time_ms.saturating_add(after_ms), hash)));
        }
    }

    /// Has a waiting label of this time looked at when it is due.
    pub(super) fn await_label(&mut self, hash: u64, time_ms: i64) {
        self.labels.push(Reverse((time_ms, hash)));
    }

    /// The hash of an id of which something was due before this time.
    pub(super) fn next_due(&mut self, due: Due, before_ms: i64) -> Option<u64> {
        let heap = match due {
            Due::Prediction => &mut self.predictions,
            Due::Label => &mut self.labels,
            Due::Declaration => &mut self.declarations,
        };
        let Reverse((time_ms, hash)) = *heap.peek()?;
        if time_ms >= before_ms {
            return None;
        }
        heap.pop();
        Some(hash)
    }

    /// Takes out the id of this hash whose entry is wanted.
    pub(super) fn take_if(&mut self, hash: u64, is_wanted: impl Fn(&Entry) -> bool) -> Option<(String, Entry)> {
        let mut wanted = None;
        // The table tells apart by a few bits of the hash only.
        let found = self.records.find_entry(hash, |record| {
            if self.hasher.hash_one(id_of(record)) != hash {
                return false;
            }
            wanted =
                Entry::unpack(record).filter(|(_, entry)| is_wanted(entry)).map(|(id, entry)| (id.to_owned(), entry));
            wanted.is_some()
        });
        if let Ok(found) = found {
            self.bytes -= cost(&found.remove().0);
        }
        wanted
    }

    /// Takes out a record of which something is due before all others; `None` where there are no more.
    pub(super) fn take_oldest(&mut self) -> Option<(u64, Packed)> {
        loop {
            let of = |heap: &Heap| heap.peek().map(|Reverse((time_ms, _))| *time_ms);
            let labels_first = match (of(&self.predictions), of(&self.labels)) {
                (None, None) => return None,
                (prediction, label) => prediction.is_none_or(|at| label.is_some_and(|label| label < at)),
            };
            let Reverse((_, hash)) = if labels_first { self.labels.pop()? } else { self.predictions.pop()? };
            let is_it = |record: &Packed| self.hasher.hash_one(id_of(record)) == hash;
            if let Ok(found) = self.records.find_entry(hash, is_it) {
                let record = found.remove().0;
                self.bytes -= cost(&record);
                return Some((hash, record));
            }
        }
    }

    /// Forgets the times of ids that are not held any more.
    pub(super) fn forget_times(&mut self) {
        let Self { records, hasher, predictions, labels, declarations, .. } = self;
        let is_held = |hash: u64| records.find(hash, |record| hasher.hash_one(id_of(record)) == hash).is_some();
        for heap in [predictions, labels, declarations] {
            heap.retain(|Reverse((_, hash))| is_held(*hash));
        }
    }
}

fn cost(record: &[u8]) -> u64 {
    OVERHEAD + record.len() as u64
}
