//! A log and a file store that fail where a test tells them to.

use crate::log::embedded::EmbeddedLog;
use crate::log::{
    Committed, Log, LogError, LogReader, NewRecord, Offset, OffsetRange, PartitionId, Read, ReadBudget, Record,
    Retention, TopicSpec, Transaction, Waker,
};
use crate::runner::{FileError, FileStore};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Fails the n-th call of a kind, before or after it did its work; or never says that a partition of inputs has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Never,
    BeforeRead(usize),
    BeforeFile(usize),
    AfterFile(usize),
    BeforeCommit(usize),
    AfterCommit(usize),
    NeverEnds(PartitionId),
}

/// A log and a file store that fail once where they are told to.
pub(super) struct Faulty {
    log: Arc<EmbeddedLog>,
    fault: Fault,
    reads: AtomicUsize,
    files: AtomicUsize,
    commits: AtomicUsize,
}

impl Faulty {
    pub(super) fn new(log: Arc<EmbeddedLog>, fault: Fault) -> Self {
        let [reads, files, commits] = [(); 3].map(|()| AtomicUsize::new(0));
        Self { log, fault, reads, files, commits }
    }

    fn check(&self, reached: Fault) -> Result<(), LogError> {
        if self.fault == reached {
            return Err(LogError::Storage { doing: format!("{reached:?}"), source: "injected".into() });
        }
        Ok(())
    }
}

impl FileStore for Faulty {
    fn put(&self, path: &str, _: Bytes) -> Result<(), FileError> {
        let number = self.files.fetch_add(1, Ordering::SeqCst);
        let outcome = self.check(Fault::BeforeFile(number)).and_then(|()| self.check(Fault::AfterFile(number)));
        outcome.map_err(|error| FileError { path: path.to_owned(), source: error.into() })
    }
}

impl Log for Faulty {
    fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), LogError> {
        self.log.ensure_topic(topic)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(topic)
    }

    fn retention(&self, topic: &str) -> Result<Retention, LogError> {
        self.log.retention(topic)
    }

    fn append(&self, records: &[NewRecord]) -> Result<(), LogError> {
        self.log.append(records)
    }

    fn read(&self, topic: &str, partition: u32, from: Offset, budget: ReadBudget) -> Result<Vec<Record>, LogError> {
        self.log.read(topic, partition, from, budget)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<OffsetRange, LogError> {
        self.log.bounds(topic, partition)
    }

    fn offset_at(&self, topic: &str, partition: u32, time_ms: i64) -> Result<Offset, LogError> {
        self.log.offset_at(topic, partition, time_ms)
    }

    fn committed(&self, group: &str, topic: &str, partition: u32) -> Result<Option<Committed>, LogError> {
        self.log.committed(group, topic, partition)
    }

    fn snapshot(&self, group: &str) -> Result<Option<Bytes>, LogError> {
        self.log.snapshot(group)
    }

    fn commit(&self, group: &str, transaction: &Transaction) -> Result<(), LogError> {
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        self.check(Fault::BeforeCommit(number))?;
        self.log.commit(group, transaction)?;
        self.check(Fault::AfterCommit(number))
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<(), LogError> {
        self.log.enforce_retention(now_ms)
    }

    fn reader(&self) -> Result<Box<dyn LogReader + '_>, LogError> {
        Ok(Box::new(FaultyReader { faulty: self, reader: self.log.reader()? }))
    }

    fn fence(&self, group: &str) -> Result<(), LogError> {
        self.log.fence(group)
    }

    fn version(&self) -> Result<u64, LogError> {
        self.log.version()
    }
}

/// A reader of such a log.
struct FaultyReader<'a> {
    faulty: &'a Faulty,
    reader: Box<dyn LogReader + 'a>,
}

impl LogReader for FaultyReader<'_> {
    fn read(&mut self, topic: &str, partition: u32, from: Offset, budget: ReadBudget) -> Result<Read, LogError> {
        if from < self.faulty.log.bounds(topic, partition)?.end {
            self.faulty.check(Fault::BeforeRead(self.faulty.reads.fetch_add(1, Ordering::SeqCst)))?;
        }
        // Small reads make more places for a fault.
        let read = self.reader.read(topic, partition, from, ReadBudget { records: budget.records.min(3), ..budget })?;
        let is_endless = topic == "in" && self.faulty.fault == Fault::NeverEnds(partition);
        Ok(if is_endless && read == Read::End { Read::Pending } else { read })
    }

    fn is_at_end(&mut self) -> Result<bool, LogError> {
        self.reader.is_at_end()
    }

    fn ends(&mut self, partitions: &[(String, PartitionId)]) -> Result<Vec<Option<Offset>>, LogError> {
        self.reader.ends(partitions)
    }

    fn wait(&mut self, timeout: Duration) {
        self.reader.wait(timeout);
    }

    fn waker(&self) -> Waker {
        self.reader.waker()
    }
}
