//! Topics are made as they are needed, or checked when they are there already.
//!
//! What stages rest on is checked: the number of partitions, that nothing is compacted away, that records are kept as
//! long as is asked for, and that they bear the time at which the broker took them (the watermark must not follow a
//! producer's clock). Deliberately absent: changing a topic that exists. It is its owner's.

use super::link::{ASK_AGAIN, Link, UNTIL_HEARD, storage};
use super::options::{KafkaOptions, MOST_RECORD_BYTES};
use crate::log::{LogError, Retention, TopicSpec};
use crate::topics;
use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is deleted or compacted.
const CLEANUP: &str = "cleanup.policy";
/// Whose clock stamps a record.
const TIMESTAMP: &str = "message.timestamp.type";
/// Milliseconds that records are kept; -1 for good.
const RETENTION_MS: &str = "retention.ms";
/// Bytes that a partition keeps; -1 for all.
const RETENTION_BYTES: &str = "retention.bytes";

/// How a topic gives room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleanup {
    /// What is old is deleted.
    Delete,
    /// Of each key the last record is kept.
    Compact,
}

/// Makes the topic, or checks the one that is there.
pub(super) fn ensure(link: &Link, topic: &TopicSpec, cleanup: Cleanup) -> Result<(), LogError> {
    let mut wanted = settings(topic, cleanup);
    if link.names.is_repartitioned(&topic.name) {
        repartitioned(&mut wanted);
    }
    match link.partitions(&topic.name) {
        Ok(_) => {}
        Err(LogError::NoSuchPartition { .. }) => make(link, (topic, &wanted))?,
        Err(error) => return Err(error),
    }
    check(link, (topic, &wanted))
}

/// The settings that a topic needs.
fn settings(topic: &TopicSpec, cleanup: Cleanup) -> BTreeMap<&'static str, String> {
    let mut settings = BTreeMap::new();
    let cleanup = if cleanup == Cleanup::Compact { "compact" } else { "delete" };
    settings.insert(CLEANUP, cleanup.to_owned());
    settings.insert(TIMESTAMP, "LogAppendTime".to_owned());
    // How long users keep what they write is theirs to say, unless the configuration does.
    let unless_said = |said: Option<String>| match said {
        None if topics::is_input(&topic.name) => None,
        None => Some("-1".to_owned()),
        said => said,
    };
    let age = unless_said(topic.retention.age.map(|age| age.as_millis().to_string()));
    settings.extend(age.map(|age| (RETENTION_MS, age)));
    let bytes = unless_said(topic.retention.bytes_per_partition.map(|bytes| bytes.to_string()));
    settings.extend(bytes.map(|bytes| (RETENTION_BYTES, bytes)));
    settings
}

/// What is different for a topic that a repartition makes: nobody but the configuration says how long Driftline's own are
/// kept.
fn repartitioned(wanted: &mut BTreeMap<&'static str, String>) {
    for setting in [RETENTION_MS, RETENTION_BYTES] {
        wanted.entry(setting).or_insert_with(|| "-1".to_owned());
    }
}

/// Deletes every topic whose name begins so: what a measurement has made for itself.
///
/// # Errors
/// When the prefix is empty, the brokers cannot be reached, or Driftline may not delete one of the topics.
pub fn delete_topics(options: &KafkaOptions, prefix: &str) -> Result<(), LogError> {
    if prefix.is_empty() {
        let reason = "every topic begins with an empty one".to_owned();
        return Err(LogError::Option { option: "prefix".to_owned(), reason });
    }
    let link = Link::connect(options.clone())?;
    let doing = || format!("deleting the topics {prefix}…");
    let topics = link.topics().map_err(|error| storage(doing(), error))?;
    let topics: Vec<_> = topics.iter().filter(|name| name.starts_with(prefix)).map(String::as_str).collect();
    if topics.is_empty() {
        return Ok(());
    }
    let deleted = block_on(link.admin.delete_topics(&topics, &patience(&link)));
    for outcome in deleted.map_err(|error| storage(doing(), error))? {
        outcome.map_err(|(name, code)| storage(format!("deleting topic {name}"), KafkaError::AdminOp(code)))?;
    }
    Ok(())
}

fn make(link: &Link, (topic, wanted): (&TopicSpec, &BTreeMap<&'static str, String>)) -> Result<(), LogError> {
    let name = link.names.topic(&topic.name);
    let doing = || format!("making topic {name}");
    let replication = TopicReplication::Fixed(link.options.replication.map_or(-1, i32::from));
    let most = MOST_RECORD_BYTES.to_string();
    let mut new = NewTopic::new(&name, super::link::native(topic.partitions), replication);
    new = new.set("max.message.bytes", &most);
    for (setting, value) in wanted {
        new = new.set(setting, value);
    }
    let made = block_on(link.admin.create_topics([&new], &patience(link))).map_err(|error| storage(doing(), error))?;
    for outcome in made {
        match outcome {
            // Another process was quicker; what it made is checked.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(storage(doing(), KafkaError::AdminOp(code))),
        }
    }
    let deadline = Instant::now() + link.options.patience;
    while !link.is_led(&topic.name) {
        if Instant::now() > deadline {
            return Err(storage(doing(), KafkaError::AdminOp(RDKafkaErrorCode::LeaderNotAvailable)));
        }
    }
    Ok(())
}

fn check(link: &Link, (topic, wanted): (&TopicSpec, &BTreeMap<&'static str, String>)) -> Result<(), LogError> {
    let found = link.partitions(&topic.name)?;
    if found != topic.partitions {
        return Err(other_partitions(link, topic, found));
    }
    let name = link.names.topic(&topic.name);
    let described = described(link, &name);
    let described = described.map_err(|error| storage(format!("looking at the settings of topic {name}"), error))?;
    for (setting, wanted) in wanted {
        check_setting(&name, &described, (setting, wanted))?;
    }
    Ok(())
}

/// What is said of a topic with another number of partitions; an input can be taken in as it is.
fn other_partitions(link: &Link, topic: &TopicSpec, found: u32) -> LogError {
    let (name, wanted) = (&topic.name, topic.partitions);
    if !topics::REPARTITIONABLE.contains(&name.as_str()) {
        return LogError::PartitionsDiffer { topic: name.clone(), found, wanted };
    }
    let mend = if link.names.is_repartitioned(name) {
        format!("set `partitions` to {found}, or start with another prefix")
    } else {
        let fits = "if the key of each record is its events' id";
        format!("add `{name}` to log.kafka.repartition, or set `partitions` to {found} {fits}")
    };
    LogError::TopicDiffers {
        topic: link.names.topic(name),
        setting: "partitions",
        found: found.to_string(),
        wanted: wanted.to_string(),
        mend,
    }
}

/// The settings of a topic that is there, though the broker that is asked may not have heard of it yet.
fn described(link: &Link, name: &str) -> KafkaResult<ConfigResource> {
    let deadline = Instant::now() + UNTIL_HEARD;
    loop {
        let asked = block_on(link.admin.describe_configs([&ResourceSpecifier::Topic(name)], &patience(link)))?;
        match asked.into_iter().next() {
            Some(Ok(described)) => return Ok(described),
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) | None if Instant::now() < deadline => {
                std::thread::sleep(ASK_AGAIN);
            }
            Some(Err(code)) => return Err(KafkaError::AdminOp(code)),
            None => return Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    }
}

/// What may be deleted from a topic, whoever made it. What the broker does not tell it is taken to keep.
pub(super) fn retention(link: &Link, topic: &str) -> Result<Retention, LogError> {
    // Of a topic that is not there, a broker may tell its defaults.
    link.partitions(topic)?;
    let name = link.names.topic(topic);
    let described = described(link, &name);
    let described = described.map_err(|error| storage(format!("looking at the settings of topic {name}"), error))?;
    let bound = |setting| described.get(setting).and_then(|entry| entry.value.as_ref()?.parse::<u64>().ok());
    let age = bound(RETENTION_MS).map(Duration::from_millis);
    Ok(Retention { age, bytes_per_partition: bound(RETENTION_BYTES) })
}

fn check_setting(
    topic: &str,
    resource: &ConfigResource,
    (setting, wanted): (&'static str, &String),
) -> Result<(), LogError> {
    // A broker that does not tell a setting has it as it likes; there is nothing to hold it against.
    let Some(found) = resource.get(setting).and_then(|entry| entry.value.as_ref()) else { return Ok(()) };
    let is_enough = match setting {
        RETENTION_MS | RETENTION_BYTES => keeps(found) >= keeps(wanted),
        _ => found == wanted,
    };
    if is_enough {
        return Ok(());
    }
    Err(LogError::TopicDiffers {
        topic: topic.to_owned(),
        setting,
        found: found.clone(),
        wanted: if matches!(setting, RETENTION_MS | RETENTION_BYTES) && wanted != "-1" {
            format!("at least {wanted}")
        } else {
            wanted.clone()
        },
        mend: format!(
            "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}={wanted}"
        ),
    })
}

/// How much a retention keeps; a negative one keeps everything.
fn keeps(setting: &str) -> u64 {
    setting.parse().unwrap_or(u64::MAX)
}

fn patience(link: &Link) -> AdminOptions {
    let patience = Some(link.options.patience);
    AdminOptions::new().request_timeout(patience).operation_timeout(patience)
}
