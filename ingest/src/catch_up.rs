//! Catch-up: a partition that is far ahead of the slowest in event time waits for it.
//!
//! A window closes when the slowest partition has passed it, and until then the monitor holds what the others brought. Where
//! a year is replayed, partitions of different pace would drift months apart and fill the memory with open windows.
//!
//! Where partitions stand comes from capture's ledger in `partials`, so it holds whichever processes have them. It decides
//! when a record is read and nothing else: what is counted follows from each partition's own records. One that is idle, or
//! has brought nothing yet, is waited for by no one.

use crate::log::PartitionId;
use crate::partial::LedgerEntry;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where the input partitions stand.
#[derive(Debug)]
pub struct CatchUp {
    allowance_ms: i64,
    /// The watermarks of those that are not idle.
    watermarks_ms: Mutex<BTreeMap<(String, PartitionId), i64>>,
}

impl CatchUp {
    /// Partitions may be this much event time apart.
    pub fn new(allowance: Duration) -> Self {
        let allowance_ms = i64::try_from(allowance.as_millis()).unwrap_or(i64::MAX);
        Self { allowance_ms, watermarks_ms: Mutex::default() }
    }

    /// Takes in where a partition stood at the end of an epoch.
    pub fn stands(&self, entry: &LedgerEntry) {
        let place = (entry.to.topic.clone(), entry.to.partition);
        let mut watermarks_ms = self.watermarks_ms.lock().unwrap_or_else(PoisonError::into_inner);
        match entry.watermark_ms.filter(|_| !entry.idle) {
            Some(watermark_ms) => watermarks_ms.insert(place, watermark_ms),
            None => watermarks_ms.remove(&place),
        };
    }

    /// Whether a partition with this watermark is to wait for others.
    pub fn is_ahead(&self, (topic, partition): (&str, PartitionId), watermark_ms: i64) -> bool {
        let watermarks_ms = self.watermarks_ms.lock().unwrap_or_else(PoisonError::into_inner);
        let others =
            watermarks_ms.iter().filter(|((other, number), _)| (other.as_str(), *number) != (topic, partition));
        let slowest_ms = others.map(|(_, watermark_ms)| *watermark_ms).min();
        slowest_ms.is_some_and(|slowest_ms| watermark_ms > slowest_ms.saturating_add(self.allowance_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detectors::verdict::Position;

    fn entry(partition: PartitionId, watermark_ms: Option<i64>, idle: bool) -> LedgerEntry {
        let to = Position { topic: "inferences".to_owned(), partition, offset: 7 };
        LedgerEntry {
            from: 0,
            to,
            watermark_ms,
            idle,
            ticks: Vec::new(),
            counts: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
        }
    }

    #[test]
    fn a_partition_waits_for_the_slowest_and_for_no_one_that_is_idle() {
        let catch_up = CatchUp::new(Duration::from_secs(10));
        assert!(!catch_up.is_ahead(("inferences", 0), 1_000_000), "nothing is known of others");
        catch_up.stands(&entry(0, Some(1_000_000), false));
        assert!(!catch_up.is_ahead(("inferences", 0), 1_000_000), "no one waits for itself");
        catch_up.stands(&entry(1, Some(5_000), false));
        assert!(catch_up.is_ahead(("inferences", 0), 15_001));
        assert!(!catch_up.is_ahead(("inferences", 0), 15_000), "it is within what is allowed");
        assert!(!catch_up.is_ahead(("inferences", 1), 5_000), "the slowest goes on");
        catch_up.stands(&entry(1, Some(5_000), true));
        assert!(!catch_up.is_ahead(("inferences", 0), 1_000_000), "one that is idle holds no one up");
    }
}
