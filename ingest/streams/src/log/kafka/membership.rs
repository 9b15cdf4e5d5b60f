//! Membership: which partitions of a stage this process has, as the group's coordinator decides.
//!
//! A consumer that subscribes and consumes nothing: what it is assigned is paused at once and read by others, by hand. So
//! rebalancing is Kafka's own, cooperative and, with `group.instance.id`, static; and however long a stage works on a
//! record, its membership is attended to. What it is not asked for is safety: that no two processes commit for a partition
//! is seen to by the transactional id of each.

use super::link::{Link, storage, tell, tell_error};
use super::options::client_error;
use crate::log::{Change, LogError, Membership, PartitionId, RebalanceListener};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;

/// Passes on what the coordinator decides.
struct Attending {
    told: RebalanceListener,
}

impl ClientContext for Attending {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tell(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell_error(&error, reason);
    }
}

impl ConsumerContext for Attending {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(partitions) if consumer.assignment_lost() => {
                (self.told)(Change::Lost(&numbers(partitions)))
            }
            Rebalance::Revoke(partitions) => (self.told)(Change::Revoked(&numbers(partitions))),
            Rebalance::Error(error) => tracing::warn!(%error, "kafka: rebalancing failed"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(partitions) = rebalance else { return };
        // Who reads them does so by hand.
        if let Err(error) = consumer.pause(partitions) {
            tracing::warn!(%error, "kafka: partitions could not be paused; what comes is thrown away");
        }
        (self.told)(Change::Assigned(&numbers(partitions)));
    }
}

/// Joins those that run a stage.
pub(super) fn join(link: &Link, (stage, topic): (&str, &str), told: RebalanceListener) -> Result<Membership, LogError> {
    let config = link.options.member(&link.names.group(stage));
    let consumer = BaseConsumer::from_config_and_context(&config, Attending { told });
    let consumer = consumer.map_err(|error| client_error(&error))?;
    let subscribed = consumer.subscribe(&[&link.names.topic(topic)]);
    subscribed.map_err(|error| storage(format!("joining those that run {stage}"), error))?;
    let stage = stage.to_owned();
    Ok(Membership::new(move |timeout| {
        // Records that came before the pause are read by others; what librdkafka tells of here it mends by itself.
        if let Some(Err(error)) = consumer.poll(timeout) {
            tracing::debug!(%error, stage, "kafka: a member");
        }
    }))
}

fn numbers(partitions: &TopicPartitionList) -> Vec<PartitionId> {
    partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}
