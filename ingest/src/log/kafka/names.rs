//! What topics, groups and transactions are called on the broker.
//!
//! Stages know names without a prefix. Input topics are the users' and have theirs; everything else carries the prefix.

use super::options::KafkaOptions;
use crate::partition::partition_of;
use crate::topics;

/// The topic of snapshots, as Driftline calls it.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// Its partitions: a group that is stuck in a transaction holds up those of its own partition only.
pub(super) const SNAPSHOT_PARTITIONS: u32 = 8;

/// The prefixes.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    input_prefix: String,
}

impl Names {
    pub(super) fn of(options: &KafkaOptions) -> Self {
        Self { prefix: options.prefix.clone(), input_prefix: options.input_prefix.clone() }
    }

    /// What a topic is called on the broker.
    pub(super) fn topic(&self, topic: &str) -> String {
        let prefix = if topics::is_input(topic) { &self.input_prefix } else { &self.prefix };
        format!("{prefix}{topic}")
    }

    /// What a group and its transactions are called on the broker.
    pub(super) fn group(&self, group: &str) -> String {
        format!("{}{group}", self.prefix)
    }
}

/// The partition that a group's snapshots are in.
pub(super) fn snapshot_partition(group: &str) -> u32 {
    partition_of(group, SNAPSHOT_PARTITIONS)
}
