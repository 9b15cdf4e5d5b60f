//! A stage: a deterministic function from the log's records to new records.
//!
//! The runner feeds a stage and makes it exactly-once; a stage never writes anything itself. What it must not depend on:
//! the clock, where an epoch ends, and which partition was read first.
//!
//! Recovery: a stage's state is its snapshot plus a replay without output. [`Epoch::resume_from`] names for each input the
//! offset from which a restart reads again; records between that and the committed offset are absorbed with
//! [`Delivery::Replayed`], so that they rebuild state and are written nowhere twice. What of them the topic's retention has
//! deleted, a stage may have from elsewhere ([`Stage::recall`]); what was not read before it was deleted, never.

use crate::log::{NewRecord, Offset, PartitionId, Record};
use bytes::Bytes;
use std::ops::Range;
use thiserror::Error;

/// What failed in a stage. The runner drops the stage's state and rebuilds it from the log.
#[derive(Debug, Error)]
pub enum StageError {
    /// A record of an internal topic, or a snapshot, that this version cannot read.
    #[error("{topic}/{partition} offset {offset}: {reason}")]
    Unreadable {
        /// Topic of the record.
        topic: String,
        /// Partition of the record.
        partition: PartitionId,
        /// Offset of the record.
        offset: Offset,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of the ledger is missing: events would not be counted.
    #[error("ledger gap on {topic}/{partition}: expected input from offset {expected}, got {found}")]
    LedgerGap {
        /// Input topic.
        topic: String,
        /// Input partition.
        partition: PartitionId,
        /// Where the last range ended.
        expected: Offset,
        /// Where this one starts.
        found: Offset,
    },
    /// What the state is rebuilt from is neither in its topic nor in the archive.
    #[error(
        "{topic}/{partition} has passed its retention up to offset {first}, and offsets {from} to {last}, whose rows may wait for labels, are not in the archive: let the stage `archive` run until it has passed them, or restore its files; where they are lost, start anew in another directory or with another prefix, and keep the topic's records longer", last = .to - 1
    )]
    NotArchived {
        /// Input topic.
        topic: String,
        /// Input partition.
        partition: PartitionId,
        /// The first offset that is missing.
        from: Offset,
        /// One past the last of these.
        to: Offset,
        /// Up to where the records that are wanted have been deleted.
        first: Offset,
    },
    /// Anything a library reported while the stage worked.
    #[error("{doing}: {source}")]
    Failed {
        /// What the stage was doing.
        doing: String,
        /// What the library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StageError {
    /// Wraps a library's error with what was being done.
    pub fn failed(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { doing: doing.into(), source: source.into() }
    }
}

/// Whether what a stage makes of an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Read for the first time: its outcome is written with the epoch.
    Live,
    /// Read again after a restart, before the committed offset: it rebuilds state only.
    Replayed,
}

/// One thing a stage takes in, in log order within its partition.
#[derive(Debug)]
pub enum Input<'a> {
    /// Consecutive records of one partition of a topic the stage consumes.
    Records {
        /// One of the stage's inputs or broadcasts.
        topic: &'a str,
        /// Partition they come from.
        partition: PartitionId,
        /// The records in offset order.
        records: &'a [Record],
        /// Whether their outcome is written.
        delivery: Delivery,
    },
    /// The partition has been read to its end for as long as the configured idle time.
    Idle {
        /// Topic of the idle partition.
        topic: &'a str,
        /// The idle partition.
        partition: PartitionId,
    },
    /// Every input has been read to its end. Stages that do long work do it here, when they know all that is known.
    CaughtUp,
}

/// Offsets of an input that were absorbed before the last commit, that state is to be rebuilt from, and whose records the
/// topic's retention has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone<'a> {
    /// One of the stage's inputs.
    pub topic: &'a str,
    /// Its partition.
    pub partition: PartitionId,
    /// From where the stage is to go on, to the first offset that the topic still holds, or to the end of what
    /// were records before that.
    pub offsets: Range<Offset>,
}

/// A file that must be durable before the epoch's records.
#[derive(Debug, Clone)]
pub struct EpochFile {
    /// Path in the object store.
    pub path: String,
    /// Contents.
    pub bytes: Bytes,
}

/// Where one input stood when an epoch was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// Input topic.
    pub topic: String,
    /// Input partition.
    pub partition: PartitionId,
    /// The first offset a restart must absorb again; at most the committed offset.
    pub offset: Offset,
}

/// What one epoch makes durable, all or nothing, together with the offsets of what was absorbed.
#[derive(Debug, Default)]
pub struct Epoch {
    /// Files, written first under names that no other writer uses.
    pub files: Vec<EpochFile>,
    /// Records for other topics.
    pub records: Vec<NewRecord>,
    /// Small state to be handed to [`Stage::restore`]; `None` keeps the last one.
    pub snapshot: Option<Bytes>,
    /// Where a restart begins to absorb again, in every epoch anew. An input that is not named resumes at its committed
    /// offset. Only an epoch that says nothing at all leaves those as they are of which nothing was read.
    pub resume_from: Vec<ResumePoint>,
}

impl Epoch {
    /// Whether it writes nothing. Where a restart begins to absorb again counts only together with the offsets.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.records.is_empty() && self.snapshot.is_none()
    }
}

/// Which partitions of its inputs a stage reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Every one.
    All,
    /// This one.
    One(PartitionId),
}

/// What a stage is called and what it reads.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// The name in metrics and messages.
    pub name: String,
    /// Topics it consumes; the same partitions of each.
    pub inputs: Vec<String>,
    /// Topics it reads whole, whichever partitions it has.
    pub broadcasts: Vec<String>,
    /// Which partitions those are.
    pub share: Share,
}

impl StageSpec {
    /// The group that its progress, its snapshot and its transactions belong to: each share has one of its own, so that it
    /// can be taken over by itself.
    pub fn group(&self) -> String {
        match self.share {
            Share::All => self.name.clone(),
            Share::One(partition) => format!("{}-{partition}", self.name),
        }
    }

    /// The partitions that it reads of an input that has so many.
    pub fn partitions_of(&self, count: u32) -> std::ops::Range<PartitionId> {
        match self.share {
            Share::All => 0..count,
            Share::One(partition) => partition..count.min(partition.saturating_add(1)),
        }
    }
}

/// Why an epoch is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Its time or its bytes are up, or its inputs are read to their end.
    Due,
    /// The stage is about to stop: what is open is to be closed.
    Stopping,
}

/// A deterministic function of the log's prefix.
pub trait Stage: Send {
    /// Takes back the snapshot of the last committed epoch. Called once, before anything is absorbed, if there is one.
    ///
    /// # Errors
    /// When the snapshot cannot be read.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError>;

    /// Takes in records, or the word that a partition is idle or that all is read.
    ///
    /// # Errors
    /// When the stage cannot go on; the runner rebuilds it from the log.
    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError>;

    /// Replays some of what is gone from wherever the stage has it from, in log order from the first offset on; says
    /// up to where. It is called until all is absorbed. `None` says that there is nowhere to have it from.
    ///
    /// # Errors
    /// When it is not to be had in full, or the stage cannot go on.
    fn recall(&mut self, gone: &Gone<'_>) -> Result<Option<Offset>, StageError> {
        let _ = gone;
        Ok(None)
    }

    /// Whether an input partition is so far ahead of others that it is better not read for now.
    fn awaits_alignment(&self, topic: &str, partition: PartitionId) -> bool {
        let _ = (topic, partition);
        false
    }

    /// Whether others wait for what it would hand over now: the epoch ends sooner then.
    fn is_awaited(&self) -> bool {
        false
    }

    /// Hands over everything to be made durable with the offsets of what was absorbed since the last epoch. `None` says
    /// that the epoch goes on (a file is not full yet): nothing is committed, and a crash reads its records again.
    ///
    /// # Errors
    /// When the stage cannot go on; the runner rebuilds it from the log.
    fn seal(&mut self, reason: Seal) -> Result<Option<Epoch>, StageError>;
}
