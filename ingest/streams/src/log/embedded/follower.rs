//! Following partitions of the embedded log: a read is a look, and a wait ends with the next transaction.

use super::catalogue::Published;
use crate::log::{Log, LogError, LogReader, Offset, PartitionId, Read, ReadBudget, Waker};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A reader of the embedded log.
pub(super) struct Follower<'a> {
    log: &'a dyn Log,
    published: Arc<Published>,
    /// The version at which the last wait ended: what is newer may not have been read.
    seen: u64,
    /// Whether a waker was called since.
    woken: Arc<AtomicBool>,
    /// The offset after the last read of each partition.
    next: BTreeMap<(String, PartitionId), Offset>,
}

impl<'a> Follower<'a> {
    pub(super) fn of(log: &'a dyn Log, published: Arc<Published>) -> Self {
        Self { log, published, seen: 0, woken: Arc::default(), next: BTreeMap::new() }
    }

    fn read_up_to(&mut self, topic: &str, partition: PartitionId, next: Offset) {
        match self.next.iter_mut().find(|((known, number), _)| known == topic && *number == partition) {
            Some((_, known)) => *known = next,
            None => {
                self.next.insert((topic.to_owned(), partition), next);
            }
        }
    }
}

impl LogReader for Follower<'_> {
    fn read(
        &mut self,
        topic: &str,
        partition: PartitionId,
        from: Offset,
        budget: ReadBudget,
    ) -> Result<Read, LogError> {
        let records = self.log.read(topic, partition, from, budget)?;
        self.read_up_to(topic, partition, records.last().map_or(from, |last| last.offset + 1));
        Ok(if records.is_empty() { Read::End } else { Read::Records(records) })
    }

    fn is_at_end(&mut self) -> Result<bool, LogError> {
        for ((topic, partition), next) in &self.next {
            if self.log.bounds(topic, *partition)?.end > *next {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ends(&mut self, partitions: &[(String, PartitionId)]) -> Result<Vec<Option<Offset>>, LogError> {
        let end = |place: &(String, PartitionId)| {
            let end = self.log.bounds(&place.0, place.1)?.end;
            Ok(self.next.get(place).copied().filter(|next| *next >= end))
        };
        partitions.iter().map(end).collect()
    }

    fn wait(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut version = self.published.version.lock().unwrap_or_else(PoisonError::into_inner);
        while *version == self.seen && !self.woken.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let grown = self.published.grown.wait_timeout(version, left);
            version = grown.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.woken.store(false, Ordering::Release);
        self.seen = *version;
    }

    fn waker(&self) -> Waker {
        let (published, woken) = (Arc::clone(&self.published), Arc::clone(&self.woken));
        Arc::new(move || {
            // Under the lock, so that it falls before the wait looks or after it sleeps.
            let version = published.version.lock().unwrap_or_else(PoisonError::into_inner);
            woken.store(true, Ordering::Release);
            drop(version);
            published.grown.notify_all();
        })
    }
}
