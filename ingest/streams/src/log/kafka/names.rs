//! What topics, groups and transactions are called on the broker.
//!
//! Stages know names without a prefix. Input topics are the users' and have theirs; everything else carries the prefix.
//!
//! An input that is repartitioned is two topics: the users', which only the repartition reads (`inferences-source` to the
//! stages, and called as ever on the broker), and one of Driftline's own, which everyone else reads as `inferences`.

use crate::partition::partition_of;
use crate::topics;
use std::collections::BTreeSet;

/// The topic of snapshots, as Driftline calls it.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// Its partitions: a group that is stuck in a transaction holds up those of its own partition only.
pub(super) const SNAPSHOT_PARTITIONS: u32 = 8;

/// What the name of an input topic ends with that a repartition makes.
const REPARTITIONED: &str = "-repartitioned";

/// The prefixes, and which inputs are not read as the users write them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    input_prefix: String,
    repartitioned: BTreeSet<String>,
}

impl Names {
    /// Names with these prefixes; `repartitioned` are the inputs that a repartition makes.
    pub(super) fn new(prefix: &str, input_prefix: &str, repartitioned: &BTreeSet<String>) -> Self {
        Self { prefix: prefix.to_owned(), input_prefix: input_prefix.to_owned(), repartitioned: repartitioned.clone() }
    }

    /// Whether an input topic is made by a repartition.
    pub(super) fn is_repartitioned(&self, topic: &str) -> bool {
        self.repartitioned.contains(topic)
    }

    /// What a topic is called on the broker.
    pub(super) fn topic(&self, topic: &str) -> String {
        if self.is_repartitioned(topic) {
            return format!("{}{topic}{REPARTITIONED}", self.prefix);
        }
        let topic = topics::repartitioned_from(topic).unwrap_or(topic);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_repartitioned_is_two_topics() {
        let names = Names::new("own-", "theirs-", &BTreeSet::from([topics::LABELS.to_owned()]));
        let topics = ["inferences", "inferences-dlt", "labels", "labels-source", "labels-dlt", "labels-standings"];
        let called = topics.map(|topic| names.topic(topic));
        let expected = [
            "theirs-inferences",
            "theirs-inferences-dlt",
            "own-labels-repartitioned",
            "theirs-labels",
            "theirs-labels-dlt",
            "own-labels-standings",
        ];
        assert_eq!(called, expected);
    }
}
