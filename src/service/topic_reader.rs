//! Following a topic of one partition from its start.

use std::sync::Arc;
use streams::log::{Log, LogError, Offset, ReadBudget, Record};

/// Where a follower stands in a topic.
pub struct TopicReader {
    log: Arc<dyn Log>,
    topic: &'static str,
    next: Offset,
}

impl TopicReader {
    /// A reader before the oldest record that is still there.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub fn new(log: Arc<dyn Log>, topic: &'static str) -> Result<Self, LogError> {
        let next = log.bounds(topic, 0)?.first;
        Ok(Self { log, topic, next })
    }

    /// A reader before this offset, or the oldest record that is still there.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub fn starting_at(log: Arc<dyn Log>, topic: &'static str, offset: Offset) -> Result<Self, LogError> {
        let next = log.bounds(topic, 0)?.first.max(offset);
        Ok(Self { log, topic, next })
    }

    /// The records that have been committed since the last call, at most a few thousand of them.
    ///
    /// # Errors
    /// When the log fails.
    pub fn read(&mut self) -> Result<Vec<Record>, LogError> {
        let records = self.log.read(self.topic, 0, self.next, ReadBudget { records: 4_096, bytes: 16 << 20 })?;
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        Ok(records)
    }

    /// The topic.
    pub fn topic(&self) -> &'static str {
        self.topic
    }
}
