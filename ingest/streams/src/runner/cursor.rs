//! A cursor: how far a stage has read one partition, and how far that is committed.

use super::failure::Failure;
use crate::log::{Committed, Log, LogError, LogReader, Offset, PartitionId, Progress, Read, ReadBudget, Record};
use crate::stage::{Delivery, Share, Stage, StageError, StageSpec};
use std::ops::Range;
use std::time::Instant;

/// Records in one delivery: what it takes stays in the caches of a processor.
const DELIVERY_RECORDS: usize = 1_024;
/// Bytes of values in one delivery.
const DELIVERY_BYTES: usize = 1 << 20;

/// The first offset that a stage would absorb again of an input partition; `None` where it has read nothing of it.
///
/// # Errors
/// When the log fails.
pub fn absorbed_again_from(
    log: &dyn Log,
    stage: StageSpec,
    (topic, partition): (&str, PartitionId),
) -> Result<Option<Offset>, LogError> {
    let share = if log.is_shared() { Share::One(partition) } else { Share::All };
    let committed = log.committed(&StageSpec { share, ..stage }.group(), topic, partition)?;
    // What cannot be read may be any.
    Ok(committed.map(|committed| Stored::read(&committed).map_or(0, |stored| stored.resume)))
}

/// What a partition is to a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Consumed.
    Input,
    /// Read whole, ahead of the inputs.
    Broadcast,
}

/// Whether an epoch writes anything, or names what a restart needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Something,
}

/// What a cursor's read brought.
pub(super) enum Taken {
    /// Records; they are replayed or live as a whole.
    Records(Vec<Record>, Delivery),
    /// None, where there are none up to where it goes on: before the end of the replayed records, or what is gone.
    Passed,
    /// The end of the partition.
    End,
    /// Nothing yet.
    Pending,
    /// These were absorbed, are to be absorbed again, and have passed their retention.
    Gone(Range<Offset>),
}

/// How far one partition is read.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) topic: String,
    pub(super) partition: PartitionId,
    pub(super) role: Role,
    /// The next offset to read.
    pub(super) position: Offset,
    /// The offset after the last record before the position: what lies between the two are marks of transactions.
    absorbed: Offset,
    /// What the log holds for it; `None` before the first commit.
    committed: Option<Stored>,
    /// When the log took the record that was read last.
    pub(super) read_to_ms: Option<i64>,
    /// Since when it has been read to its end; `None` while there may be more.
    pub(super) at_end_since: Option<Instant>,
    /// Whether the stage has been told that it is idle.
    pub(super) told_idle: bool,
    /// Whether the marks behind the last record have been passed.
    has_passed_marks: bool,
    /// The first offset that the topic still held when less was read.
    first: Offset,
    /// Whether it is not read because it is far ahead of others.
    waits: bool,
}

/// How far one partition is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// The next offset to be absorbed for the first time.
    offset: Offset,
    /// From where a restart absorbs again.
    resume: Offset,
    /// The offset after the last record: what lies between it and `offset` are marks of transactions.
    absorbed: Offset,
}

impl Stored {
    /// What is committed; `None` where its metadata is not what [`Stored::written`] makes.
    fn read(committed: &Committed) -> Option<Self> {
        let Committed { offset, metadata } = committed;
        let (resume, absorbed) = match metadata.split_once(' ') {
            Some((resume, absorbed)) => (resume.parse::<Offset>().ok()?, absorbed.parse::<Offset>().ok()?),
            None => (metadata.parse::<Offset>().ok()?, *offset),
        };
        Some(Self { offset: *offset, resume: resume.min(*offset), absorbed: absorbed.min(*offset) })
    }

    /// The resume offset as metadata, and behind it where the records end, where that is not where they are committed.
    fn written(self) -> Committed {
        let Self { offset, resume, absorbed } = self;
        let metadata = if absorbed == offset { resume.to_string() } else { format!("{resume} {absorbed}") };
        Committed { offset, metadata }
    }
}

impl Cursor {
    /// Takes up a partition where the last commit says to.
    pub(super) fn take_up(
        log: &dyn Log,
        group: &str,
        (topic, partition, role): (&str, PartitionId, Role),
    ) -> Result<Self, Failure> {
        let place = || format!("taking up {topic}/{partition}");
        let stored = log.committed(group, topic, partition).map_err(|error| Failure::of_log(place(), error))?;
        let committed = match stored {
            Some(committed) => Some(Stored::read(&committed).ok_or_else(|| {
                let Committed { offset, metadata } = committed;
                let reason = format!(
                    "{metadata:?}, stored with offset {offset}, is no resume offset with the end of the records: another version of Driftline wrote it, start that one, or with another prefix or directory"
                );
                Failure::Permanent(StageError::failed(place(), reason))
            })?),
            None => None,
        };
        let position = match committed {
            Some(stored) => stored.resume,
            // Nothing was ever read: what retention deleted before the stage existed was never its to read.
            None => log.bounds(topic, partition).map_err(|error| Failure::of_log(place(), error))?.first,
        };
        let topic = topic.to_owned();
        Ok(Self {
            topic,
            partition,
            role,
            position,
            absorbed: committed.map_or(position, |stored| stored.absorbed.min(position)),
            committed,
            read_to_ms: None,
            at_end_since: None,
            told_idle: false,
            has_passed_marks: false,
            first: 0,
            waits: false,
        })
    }

    /// Whether what comes next was absorbed before the last commit.
    pub(super) fn is_muted(&self) -> bool {
        self.committed.is_some_and(|stored| self.position < stored.offset)
    }

    /// Whether nothing was read since the last commit.
    pub(super) fn is_where_committed(&self) -> bool {
        self.position == self.committed.map_or(0, |stored| stored.offset)
    }

    /// Whether it is to be read up to this offset yet: it does not wait for others, there may be more, and less is committed.
    pub(super) fn lacks(&self, offset: Offset) -> bool {
        let committed = self.committed.map_or(0, |stored| stored.offset);
        !self.waits && self.at_end_since.is_none() && self.position.max(committed) < offset
    }

    /// Whether it is not to be read for now. What was absorbed before is absorbed again, however far ahead it is. One that is
    /// idle does not wait: what comes next of it is read, so that it is idle no more.
    pub(super) fn waits_for_others(&mut self, stage: &dyn Stage) -> bool {
        let may_wait = self.role == Role::Input && !self.is_muted() && !self.told_idle;
        let waits = may_wait && stage.awaits_alignment(&self.topic, self.partition);
        if waits {
            // Records may come meanwhile: where it ended is not known any more.
            self.at_end_since = None;
        }
        if waits != self.waits {
            let (topic, partition) = (&self.topic, self.partition);
            tracing::info!(topic, partition, waits, "a partition waits while it is far ahead of the slowest");
        }
        self.waits = waits;
        waits
    }

    /// Reads on, at most so many bytes.
    pub(super) fn read(&mut self, reader: &mut dyn LogReader, bytes: usize) -> Result<Taken, Failure> {
        let Some(read) = self.look(reader, bytes)? else { return Ok(self.pass_gone()) };
        let Some(committed) = self.committed.map(|stored| stored.offset).filter(|_| self.is_muted()) else {
            return Ok(match read {
                Read::Records(records) => self.take(records, Delivery::Live),
                Read::End => {
                    self.at_end_since.get_or_insert_with(Instant::now);
                    Taken::End
                }
                Read::Pending => Taken::Pending,
            });
        };
        let mut records = match read {
            Read::Records(records) => records,
            Read::End => Vec::new(),
            Read::Pending => return Ok(Taken::Pending),
        };
        records.truncate(records.partition_point(|record| record.offset < committed));
        if records.is_empty() {
            // Offsets may have holes: there is nothing more before the committed one.
            self.position = committed;
            return Ok(Taken::Passed);
        }
        Ok(self.take(records, Delivery::Replayed))
    }

    /// What the log has from here; `None` where it is gone after it was absorbed.
    fn look(&mut self, reader: &mut dyn LogReader, bytes: usize) -> Result<Option<Read>, Failure> {
        if self.position < self.first {
            return Ok(None);
        }
        let budget = ReadBudget { records: DELIVERY_RECORDS, bytes: bytes.clamp(1, DELIVERY_BYTES) };
        match reader.read(&self.topic, self.partition, self.position, budget) {
            Err(LogError::Expired { first, .. }) if self.was_absorbed_to(first) => {
                self.first = first;
                Ok(None)
            }
            read => read.map(Some).map_err(|error| self.failure(error)),
        }
    }

    /// Whether everything from here to this offset was absorbed before the last commit.
    fn was_absorbed_to(&self, first: Offset) -> bool {
        let is_before = |stored: Stored| self.position < first && first <= stored.offset;
        self.role == Role::Input && self.committed.is_some_and(is_before)
    }

    /// What is gone from here to the first offset that is still there; passed where nothing but marks were.
    fn pass_gone(&mut self) -> Taken {
        let absorbed = self.committed.map_or(self.first, |stored| stored.absorbed).min(self.first);
        if self.position < absorbed {
            return Taken::Gone(self.position..absorbed);
        }
        self.position = self.first;
        Taken::Passed
    }

    /// Goes on from where the stage has recalled what is gone to; it has come further than it was.
    pub(super) fn recalled_to(&mut self, offset: Offset) {
        debug_assert!(offset > self.position, "a stage that recalls comes further");
        (self.position, self.absorbed) = (offset, offset);
    }

    /// Whether it is idle, and marks behind its last record have not been passed.
    pub(super) fn lacks_marks(&self) -> bool {
        self.told_idle && !self.has_passed_marks
    }

    /// Goes on to the end of an idle partition, before which there is nothing more; says whether that is further.
    pub(super) fn pass_marks(&mut self, end: Offset) -> bool {
        let is_further = self.told_idle && end > self.position;
        if is_further {
            self.position = end;
        }
        self.has_passed_marks = self.told_idle;
        is_further
    }

    /// What is wrong where a stage cannot recall what is gone.
    pub(super) fn expired(&self) -> Failure {
        let (topic, first) = (self.topic.clone(), self.first);
        self.failure(LogError::Expired { topic, partition: self.partition, wanted: self.position, first })
    }

    fn take(&mut self, records: Vec<Record>, delivery: Delivery) -> Taken {
        if let Some(last) = records.last() {
            (self.position, self.absorbed) = (last.offset + 1, last.offset + 1);
            self.read_to_ms = Some(last.append_time_ms);
        }
        self.at_end_since = None;
        self.told_idle = false;
        self.has_passed_marks = false;
        Taken::Records(records, delivery)
    }

    /// What is to be stored if the epoch ends here, and from where a restart then absorbs; `None` if that is stored already.
    ///
    /// A stage that says nothing of a partition needs none of it again; where it says nothing at all and nothing was absorbed,
    /// it needs what it needed before. What it needs behind the last record it needs behind the marks there.
    pub(super) fn progress(&self, resume: Option<Offset>, said: Said) -> Result<Option<Stored>, StageError> {
        if let Some(resume) = resume.filter(|resume| *resume > self.position) {
            let (topic, partition, position) = (&self.topic, self.partition, self.position);
            let reason = format!("{resume} lies behind offset {position}, up to which the stage has read");
            return Err(StageError::failed(format!("resume offset of {topic}/{partition}"), reason));
        }
        let needed_before =
            self.committed.filter(|stored| stored.resume < stored.offset && self.absorbed <= stored.offset);
        let resume = match said {
            Said::Nothing => needed_before.map(|stored| stored.resume),
            Said::Something => resume.filter(|resume| *resume < self.absorbed),
        };
        let resume = resume.unwrap_or(self.position);
        let untouched = self.committed.is_none() && self.is_where_committed();
        let stored = Stored { offset: self.position, resume, absorbed: self.absorbed };
        Ok((!untouched && self.committed != Some(stored)).then_some(stored))
    }

    /// What is to be written for this.
    pub(super) fn written(&self, stored: Stored) -> Progress {
        Progress { topic: self.topic.clone(), partition: self.partition, committed: stored.written() }
    }

    /// Remembers what was written.
    pub(super) fn stored(&mut self, stored: Stored) {
        self.committed = Some(stored);
    }

    fn failure(&self, error: LogError) -> Failure {
        Failure::of_log(format!("reading {}/{}", self.topic, self.partition), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again_and_what_was_stored_without_marks_too() {
        for stored in [(12, 3, 8), (12, 12, 8), (12, 3, 12), (0, 0, 0)] {
            let (offset, resume, absorbed) = stored;
            let stored = Stored { offset, resume, absorbed };
            assert_eq!(Stored::read(&stored.written()), Some(stored));
        }
        let read = |metadata: &str| Stored::read(&Committed { offset: 12, metadata: metadata.to_owned() });
        assert_eq!(read("3"), Some(Stored { offset: 12, resume: 3, absorbed: 12 }));
        assert!(["", "x", "3 x", "3 8 1"].map(read).iter().all(Option::is_none));
    }
}
