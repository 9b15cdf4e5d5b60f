//! Events that are not in the partition of their id, whose labels therefore do not meet them: counted by the ledger, and told
//! once of each topic, with what to set in which client.
//!
//! Kafka's Java clients, kafka-python and aiokafka place keys by murmur2. Clients on librdkafka (confluent-kafka for Python, Go
//! and .NET, node-rdkafka) place them by CRC-32 unless they are told otherwise, which is recognised here.

use super::input::Source;
use std::collections::BTreeMap;
use streams::log::PartitionId;
use streams::partition::partition_of;

/// Events of a topic before anything is said.
const LEAST_EVENTS: u64 = 100;
/// Said where more than one in so many is misplaced: single ones may be of a producer that is gone.
const ONE_IN: u64 = 20;

/// What was seen of the topics since the process started.
#[derive(Debug)]
pub(super) struct Misplaced {
    partitions: u32,
    topics: BTreeMap<Source, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    events: u64,
    misplaced: u64,
    /// Misplaced ones that are where librdkafka's default puts them.
    by_crc32: u64,
    is_told: bool,
}

impl Misplaced {
    /// Nothing was seen of topics with so many partitions.
    pub(super) fn new(partitions: u32) -> Self {
        Self { partitions, topics: BTreeMap::new() }
    }

    /// How many events one more in this partition adds to those that are misplaced: one, or none.
    pub(super) fn count(&mut self, source: Source, id: &str, partition: PartitionId) -> i64 {
        let is_elsewhere = partition_of(id, self.partitions) != partition;
        let seen = self.topics.entry(source).or_default();
        seen.events += 1;
        if is_elsewhere {
            seen.misplaced += 1;
            seen.by_crc32 += u64::from(crc32(id.as_bytes()).checked_rem(self.partitions) == Some(partition));
        }
        i64::from(is_elsewhere)
    }

    /// Says once of a topic that many of its events are misplaced, and how to mend it.
    pub(super) fn tell(&mut self, source: Source) {
        let Some(seen) = self.topics.get_mut(&source).filter(|seen| seen.is_worth_telling()) else { return };
        seen.is_told = true;
        let (topic, Seen { events, misplaced, .. }) = (source.topic(), &*seen);
        let mend = seen.mend();
        tracing::error!(
            topic,
            misplaced,
            events,
            "{misplaced} of {events} events are not in the partition of their id, so that labels do not meet their predictions: {mend}, or have the topic repartitioned (`log: {{kafka: {{repartition: [{topic}]}}}}`)"
        );
    }
}

impl Seen {
    fn is_worth_telling(&self) -> bool {
        !self.is_told && self.events >= LEAST_EVENTS && self.misplaced * ONE_IN > self.events
    }

    fn mend(&self) -> &'static str {
        // Of ids placed by chance one in as many as there are partitions would be there too.
        if self.by_crc32 * 10 >= self.misplaced * 9 {
            "they are where clients on librdkafka put them by default; set `partitioner=murmur2_random` in each (confluent-kafka for Python, Go and .NET, node-rdkafka)"
        } else {
            "use the event's id as the record's key, and in clients on librdkafka set `partitioner=murmur2_random`"
        }
    }
}

/// The hash by which librdkafka's partitioners `consistent` and `consistent_random` place keys.
fn crc32(key: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(key);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: u32 = 4;

    fn seen(place: impl Fn(&str) -> PartitionId) -> Misplaced {
        let mut misplaced = Misplaced::new(PARTITIONS);
        for id in 0..400 {
            let id = format!("u{id}");
            misplaced.count(Source::Inferences, &id, place(&id));
        }
        misplaced
    }

    #[test]
    fn crc_32_is_the_one_of_librdkafka() {
        // The check value of the polynomial that librdkafka uses.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_librdkafka_places_by_default_is_recognised_and_told_once() {
        let mut misplaced = seen(|id| crc32(id.as_bytes()) % PARTITIONS);
        let topic = &misplaced.topics[&Source::Inferences];
        assert!(topic.is_worth_telling() && topic.misplaced > 250, "{topic:?}");
        assert!(topic.mend().contains("they are where clients on librdkafka put them by default"));
        misplaced.tell(Source::Inferences);
        assert!(!misplaced.topics[&Source::Inferences].is_worth_telling());
    }

    #[test]
    fn ids_that_are_no_keys_are_told_of_otherwise_and_those_in_their_places_not_at_all() {
        let topics = [seen(|_| 1), seen(|id| partition_of(id, PARTITIONS))];
        let [elsewhere, home] = topics.map(|mut misplaced| misplaced.topics.remove(&Source::Inferences).unwrap());
        assert!(elsewhere.is_worth_telling() && elsewhere.mend().starts_with("use the event's id"));
        assert!(!home.is_worth_telling() && home.misplaced == 0);
    }
}
