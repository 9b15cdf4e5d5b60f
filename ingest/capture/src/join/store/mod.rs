//! Where the entries of a join are: the newest in memory, the older ones in sealed runs on local disk.
//!
//! - An id is in one place: in memory, or in one run. What changes is in memory; an entry of a run that changes leaves it.
//! - When the join takes more memory than it may, the ids that are due first are written as a run, until it takes half.
//! - Runs hold times that lie together, so that all ids of a run leave it at about the same time: it is then deleted.
//! - Whether an absent label was declared is not written into a run: it follows from how far declarations have come.
//!
//! It knows of no rule of the join but one: how long after a prediction its absent label is declared.
//!
//! After an error the store is of no more use: what it was about to write is gone. The stage's run ends, and the next one
//! reads the log again.

use super::entry::Entry;
use super::memory::{Due, Memory};
use super::run::Run;
use super::section::{Item, ItemMarks};
use super::space::{LabelSpace, SpaceError, SpaceShare};
use std::sync::Arc;

/// The entries of a join, by id.
#[derive(Debug)]
pub(super) struct Store {
    memory: Memory,
    runs: Vec<Run>,
    share: SpaceShare,
    declared_after_ms: Option<i64>,
}

/// What is held of an id, and where.
#[derive(Debug)]
pub(super) struct Found {
    hash: u64,
    place: EntryLocation,
    /// What is held; empty where nothing is.
    pub(super) entry: Entry,
    /// Absent labels that were due before this count as declared, whether the entry says so or not.
    pub(super) declared_to_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryLocation {
    Nowhere,
    Memory,
    Run { run: usize, ordinal: u32 },
}

/// What was added to an entry since it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Nothing,
    /// A prediction of this time.
    Prediction(i64),
    /// A waiting label of this time.
    Label(i64),
}

/// Something that is due.
#[derive(Debug)]
pub(super) enum Passing {
    /// All that a run holds of an id, which is not held any more.
    Alone {
        time_ms: i64,
        /// Whether it is a prediction that has a label, or a label that has found a prediction.
        counted: bool,
        /// As in [`Found`].
        declared_to_ms: Option<i64>,
    },
    /// An entry that was taken out, to be put back with what is not due.
    Entry(Taken),
}

/// Something whose absent label is to be declared.
#[derive(Debug)]
pub(super) enum Undeclared {
    /// An entry that stays where it is, which knows by itself that it has been declared.
    Seen(Entry),
    /// An entry that was taken out, to be put back.
    Taken(Taken),
}

/// An entry without its place.
#[derive(Debug)]
pub(super) struct Taken {
    id: String,
    hash: u64,
    /// Whether the times of what it holds are waited for already.
    is_awaited: bool,
    pub(super) entry: Entry,
    /// As in [`Found`].
    pub(super) declared_to_ms: Option<i64>,
}

impl Found {
    /// Whether nothing is held of the id.
    pub(super) fn is_new(&self) -> bool {
        self.place == EntryLocation::Nowhere
    }
}

impl Store {
    pub(super) fn new(space: &Arc<LabelSpace>, declared_after_ms: Option<i64>) -> Self {
        Self {
            memory: Memory::new(declared_after_ms),
            runs: Vec::new(),
            share: SpaceShare::new(space),
            declared_after_ms,
        }
    }

    /// How many ids are held.
    pub(super) fn held(&self) -> usize {
        self.memory.len() + self.runs.iter().map(Run::live).sum::<usize>()
    }

    /// What is held of an id.
    pub(super) fn find(&self, id: &str) -> Result<Found, SpaceError> {
        let hash = self.memory.hash(id);
        if let Some((_, entry)) = self.memory.find(hash, id).and_then(Entry::unpack) {
            return Ok(Found { hash, place: EntryLocation::Memory, entry, declared_to_ms: None });
        }
        for (number, run) in self.runs.iter().enumerate() {
            if let Some((ordinal, record)) = run.find(hash, id)? {
                let (_, entry) = run.unpack(&record)?;
                let place = EntryLocation::Run { run: number, ordinal };
                return Ok(Found { hash, place, entry, declared_to_ms: run.declared_to_ms() });
            }
        }
        Ok(Found { hash, place: EntryLocation::Nowhere, entry: Entry::default(), declared_to_ms: None })
    }

    /// Holds an entry as it has become since it was found, with every declared label in it.
    pub(super) fn put(&mut self, id: &str, found: &Found, added: Added) -> Result<(), SpaceError> {
        self.memory.put(found.hash, id, &found.entry);
        match (found.place, added) {
            (EntryLocation::Run { run, ordinal }, _) => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.remove(ordinal);
                }
                self.await_all(found.hash, &found.entry);
            }
            (_, Added::Prediction(time_ms)) => self.memory.await_prediction(found.hash, time_ms),
            (_, Added::Label(time_ms)) => self.memory.await_label(found.hash, time_ms),
            (_, Added::Nothing) => {}
        }
        self.make_room()
    }

    /// Puts back what is left of an entry.
    pub(super) fn put_back(&mut self, taken: &Taken) -> Result<(), SpaceError> {
        if taken.entry.is_empty() {
            return Ok(());
        }
        self.memory.put(taken.hash, &taken.id, &taken.entry);
        if !taken.is_awaited {
            self.await_all(taken.hash, &taken.entry);
        }
        self.make_room()
    }

    /// The next prediction, or label, of a time before this one.
    pub(super) fn take_passing(&mut self, due: Due, before_ms: i64) -> Result<Option<Passing>, SpaceError> {
        let is_over = |entry: &Entry| match due {
            Due::Label => entry.labels.iter().any(|held| held.label.time_ms < before_ms),
            Due::Prediction | Due::Declaration => entry.predictions.iter().any(|held| held.time_ms < before_ms),
        };
        if let Some(taken) = self.take_from_memory(due, before_ms, is_over) {
            return Ok(Some(Passing::Entry(taken)));
        }
        for run in &mut self.runs {
            let Some(item) = run.next_due(due, before_ms)? else { continue };
            let declared_to_ms = run.declared_to_ms();
            if item.marks.alone {
                run.remove(item.ordinal);
                let (time_ms, counted) = (item.time_ms(), item.marks.counted);
                return Ok(Some(Passing::Alone { time_ms, counted, declared_to_ms }));
            }
            return Ok(Some(Passing::Entry(take_out(&self.memory, run, &item)?)));
        }
        Ok(None)
    }

    /// An entry with predictions whose absent labels are to be declared, since that was due before this time.
    pub(super) fn take_undeclared(&mut self, before_ms: i64) -> Result<Option<Undeclared>, SpaceError> {
        let Some(after_ms) = self.declared_after_ms else { return Ok(None) };
        let is_due = |entry: &Entry| {
            let mut open = entry.predictions.iter().filter(|held| held.counted.is_none());
            open.any(|held| held.time_ms.saturating_add(after_ms) < before_ms)
        };
        if let Some(taken) = self.take_from_memory(Due::Declaration, before_ms, is_due) {
            return Ok(Some(Undeclared::Taken(taken)));
        }
        for run in &mut self.runs {
            while let Some(item) = run.next_due(Due::Declaration, before_ms)? {
                match item.marks {
                    // What was declared and written since is met again here.
                    ItemMarks { counted: true, .. } => {}
                    ItemMarks { alone: true, .. } => return Ok(Some(Undeclared::Seen(run.entry(&item)?.1))),
                    _ => return Ok(Some(Undeclared::Taken(take_out(&self.memory, run, &item)?))),
                }
            }
            run.declare_to(before_ms);
        }
        Ok(None)
    }

    /// Deletes the runs that hold nothing any more.
    pub(super) fn delete_empty_runs(&mut self) {
        self.runs.retain(|run| run.live() > 0);
    }

    fn take_from_memory(&mut self, due: Due, before_ms: i64, is_wanted: impl Fn(&Entry) -> bool) -> Option<Taken> {
        while let Some(hash) = self.memory.next_due(due, before_ms) {
            if let Some((id, entry)) = self.memory.take_if(hash, &is_wanted) {
                return Some(Taken { id, hash, is_awaited: true, entry, declared_to_ms: None });
            }
        }
        None
    }

    fn await_all(&mut self, hash: u64, entry: &Entry) {
        entry.predictions.iter().for_each(|held| self.memory.await_prediction(hash, held.time_ms));
        entry.labels.iter().for_each(|held| self.memory.await_label(hash, held.label.time_ms));
    }

    /// Writes the ids that are due first, if the join takes more memory than it may.
    fn make_room(&mut self) -> Result<(), SpaceError> {
        let Some(to_bytes) = self.share.take(self.memory.bytes()) else { return Ok(()) };
        let path = self.share.new_file()?;
        let memory = &mut self.memory;
        let oldest = std::iter::from_fn(|| if memory.bytes() > to_bytes { memory.take_oldest() } else { None });
        self.runs.push(Run::write(path, oldest, self.declared_after_ms)?);
        self.memory.forget_times();
        self.share.give_back(self.memory.bytes());
        Ok(())
    }
}

/// Takes an entry out of a run.
fn take_out(memory: &Memory, run: &mut Run, item: &Item) -> Result<Taken, SpaceError> {
    let (id, entry) = run.entry(item)?;
    run.remove(item.ordinal);
    Ok(Taken { hash: memory.hash(&id), id, is_awaited: false, entry, declared_to_ms: run.declared_to_ms() })
}

#[cfg(test)]
mod tests;
