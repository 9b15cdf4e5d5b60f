//! Catch-up: a partition that is far ahead of the slowest in event time waits while that one catches up.
//!
//! A window closes when the slowest partition has passed it, and until then the monitor holds what the others brought. Where
//! a year is replayed, partitions of different pace would drift months apart and fill the memory with open windows.
//!
//! Waiting has an end, because it helps only where reading on brings the slowest further. Three are waited for by no one: a
//! partition that is idle, one whose records are read as soon as the log has taken them (it goes as fast as its producers,
//! however old their events are), and one that nobody has read anything of for `PATIENCE`.
//!
//! Where partitions stand comes from capture's ledger in `partials`, so it holds whichever processes have them. It decides
//! when a record is read and nothing else: what is counted follows from each partition's own records. So it may look at a
//! clock, which its callers give it.

use crate::partial::LedgerEntry;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use streams::log::PartitionId;
use streams::topics;

/// How long a partition of which nothing is read is waited for: long enough for another process to take it over.
const PATIENCE: Duration = Duration::from_secs(120);

/// A partition whose last record was read so soon after the log took it has nothing to catch up with.
const SOON: Duration = Duration::from_secs(60);

/// An input partition.
pub type TopicPartition = (String, PartitionId);

/// Where the input partitions stand.
#[derive(Debug)]
pub struct WatermarkAlignment {
    allowance_ms: i64,
    soon_ms: i64,
    /// Of those that have been heard of.
    standings: Mutex<BTreeMap<TopicPartition, PartitionProgress>>,
}

/// Where one of them stands.
#[derive(Debug, Clone, Copy)]
struct PartitionProgress {
    /// `None` before its first event.
    watermark_ms: Option<i64>,
    is_idle: bool,
    read_to: i64,
    /// When it was heard of last that more of it had been read.
    moved: Instant,
    /// Whether it is read as soon as the log has taken its records.
    is_current: bool,
    /// Where the watermark stood after the epoch that brought the last events, and when the log had taken the last record then.
    newest: Option<(i64, i64)>,
}

/// Where partitions stand that are all idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// The watermarks of those that have brought something.
    pub watermarks: Vec<(TopicPartition, i64)>,
    /// The greatest at which events have left one; what has moved it on since were heartbeats.
    pub newest_ms: i64,
    /// When the log took the last record by then.
    pub taken_ms: i64,
}

/// How far a partition is behind the furthest in event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: PartitionId,
    /// How far.
    pub by: Duration,
    /// Whether that is more than partitions are let be apart.
    pub is_far: bool,
}

impl Behind {
    /// Whether windows close later for it; where it is one of labels, only their quality is judged later.
    pub fn holds_windows(&self) -> bool {
        self.is_far && self.topic != topics::LABELS
    }
}

impl WatermarkAlignment {
    /// Partitions may be this much event time apart. Capture hands over what it has read at least every `epoch`.
    pub fn new(allowance: Duration, epoch: Duration) -> Self {
        let soon_ms = millis(SOON.max(epoch.saturating_mul(2)));
        Self { allowance_ms: millis(allowance), soon_ms, standings: Mutex::default() }
    }

    /// Takes in where a partition stood at the end of an epoch, of which the log was told at `told_ms` of its clock.
    pub fn stands(&self, entry: &LedgerEntry, told_ms: i64, now: Instant) {
        let place = (entry.to.topic.clone(), entry.to.partition);
        let mut standings = self.standings();
        let before = standings.get(&place);
        let is_current = entry.read_ms.is_some_and(|read_ms| told_ms.saturating_sub(read_ms) <= self.soon_ms);
        let has_events =
            entry.to.topic == topics::INFERENCES && entry.counts.values().any(|counts| counts.produced > 0);
        let newest = entry.watermark_ms.zip(entry.read_ms).filter(|_| has_events);
        let standing = PartitionProgress {
            watermark_ms: entry.watermark_ms,
            is_idle: entry.idle,
            read_to: entry.to.offset,
            moved: before.filter(|before| before.read_to == entry.to.offset).map_or(now, |before| before.moved),
            is_current,
            newest: newest.or(before.and_then(|before| before.newest)),
        };
        standings.insert(place, standing);
    }

    /// Whether a partition with this watermark is to wait for others.
    pub fn awaits_alignment(&self, (topic, partition): (&str, PartitionId), watermark_ms: i64, now: Instant) -> bool {
        let catches_up = |standing: &PartitionProgress| {
            let is_read = now.saturating_duration_since(standing.moved) < PATIENCE;
            is_read && !standing.is_current && !standing.is_idle
        };
        let standings = self.standings();
        let others = standings.iter().filter(|((other, number), _)| (other.as_str(), *number) != (topic, partition));
        let slow =
            others.filter(|(_, standing)| catches_up(standing)).filter_map(|(_, standing)| standing.watermark_ms);
        slow.min().is_some_and(|slowest_ms| watermark_ms > slowest_ms.saturating_add(self.allowance_ms))
    }

    /// How far each partition that is not idle is behind the furthest of them.
    pub fn behind(&self) -> Vec<Behind> {
        let standings = self.standings();
        let busy = standings.iter().filter(|(_, standing)| !standing.is_idle);
        let busy: Vec<_> = busy.filter_map(|(place, standing)| Some((place, standing.watermark_ms?))).collect();
        let furthest_ms = busy.iter().map(|(_, watermark_ms)| *watermark_ms).max().unwrap_or(0);
        let behind = busy.into_iter().map(|((topic, partition), watermark_ms)| {
            let by_ms = furthest_ms.saturating_sub(watermark_ms);
            let by = Duration::from_millis(by_ms.unsigned_abs());
            Behind { topic: topic.clone(), partition: *partition, by, is_far: by_ms > self.allowance_ms }
        });
        behind.collect()
    }

    /// Where all partitions stand, of which there are so many; `None` unless all of them are idle, and some have brought events.
    pub fn quiet(&self, partitions: usize) -> Option<Quiet> {
        let standings = self.standings();
        if standings.len() < partitions || standings.values().any(|standing| !standing.is_idle) {
            return None;
        }
        let (newest_ms, taken_ms) = standings.values().filter_map(|standing| standing.newest).max()?;
        let watermarks = standings.iter().filter_map(|(place, standing)| Some((place.clone(), standing.watermark_ms?)));
        Some(Quiet { watermarks: watermarks.collect(), newest_ms, taken_ms })
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, PartitionProgress>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partial::EventCounts;
    use detectors::verdict::Position;

    /// The log's clock when an epoch is told.
    const TOLD_MS: i64 = 9_000_000;
    /// A record that the log had taken long before.
    const OLD_MS: i64 = TOLD_MS - 3_600_000;

    fn entry(partition: PartitionId, watermark_ms: Option<i64>, read_ms: i64) -> LedgerEntry {
        LedgerEntry {
            from: 0,
            to: Position { topic: "inferences".to_owned(), partition, offset: 7 },
            watermark_ms,
            idle: false,
            ticks: Vec::new(),
            counts: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            read_ms: Some(read_ms),
        }
    }

    fn apart() -> (WatermarkAlignment, Instant) {
        let (watermark_alignment, now) =
            (WatermarkAlignment::new(Duration::from_secs(10), Duration::from_secs(1)), Instant::now());
        assert!(!watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, now), "nothing is known of others");
        watermark_alignment.stands(&entry(0, Some(1_000_000), OLD_MS), TOLD_MS, now);
        assert!(!watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, now), "no one waits for itself");
        watermark_alignment.stands(&entry(1, Some(5_000), OLD_MS), TOLD_MS, now);
        assert!(watermark_alignment.awaits_alignment(("inferences", 0), 15_001, now));
        (watermark_alignment, now)
    }

    #[test]
    fn a_partition_waits_for_the_slowest_and_for_no_one_that_is_idle() {
        let (watermark_alignment, now) = apart();
        assert!(!watermark_alignment.awaits_alignment(("inferences", 0), 15_000, now), "it is within what is allowed");
        assert!(!watermark_alignment.awaits_alignment(("inferences", 1), 5_000, now), "the slowest goes on");
        watermark_alignment.stands(&LedgerEntry { idle: true, ..entry(1, Some(5_000), OLD_MS) }, TOLD_MS, now);
        assert!(
            !watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, now),
            "one that is idle holds no one up"
        );
    }

    #[test]
    fn no_one_waits_for_a_partition_whose_old_events_are_read_as_they_come() {
        let (watermark_alignment, now) = apart();
        watermark_alignment.stands(&entry(1, Some(5_000), TOLD_MS - 1_000), TOLD_MS, now);
        assert!(!watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, now));
        let behind = watermark_alignment.behind();
        let far = behind.iter().find(|behind| behind.partition == 1).unwrap();
        assert!(
            far.is_far && far.holds_windows() && far.by == Duration::from_secs(995),
            "and that is told: {behind:?}"
        );
    }

    #[test]
    fn quiet_is_known_once_all_are_idle_and_heartbeats_are_no_events() {
        let (watermark_alignment, now) = apart();
        let idle = |partition, watermark_ms: Option<i64>, events| LedgerEntry {
            idle: true,
            counts: BTreeMap::from([("bed".to_owned(), EventCounts { produced: events, ..EventCounts::default() })]),
            ..entry(partition, watermark_ms, OLD_MS)
        };
        watermark_alignment.stands(&idle(0, Some(7_000), 1), TOLD_MS, now);
        assert_eq!(watermark_alignment.quiet(2), None, "one is not idle");
        watermark_alignment.stands(&idle(1, None, 0), TOLD_MS, now);
        assert_eq!(watermark_alignment.quiet(3), None, "one has not been heard of");
        watermark_alignment.stands(&idle(0, Some(9_000), 0), TOLD_MS, now);
        let watermarks = vec![(("inferences".to_owned(), 0), 9_000)];
        assert_eq!(watermark_alignment.quiet(2), Some(Quiet { watermarks, newest_ms: 7_000, taken_ms: OLD_MS }));
    }

    #[test]
    fn no_one_waits_for_good_for_a_partition_that_nobody_reads() {
        let (watermark_alignment, now) = apart();
        let later = now + PATIENCE;
        watermark_alignment.stands(&entry(1, Some(5_000), OLD_MS), TOLD_MS, later);
        assert!(!watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, later), "it has come no further");
        let mut further = entry(1, Some(5_001), OLD_MS);
        further.to.offset += 1;
        watermark_alignment.stands(&further, TOLD_MS, later);
        assert!(watermark_alignment.awaits_alignment(("inferences", 0), 1_000_000, later), "someone reads it again");
    }
}
