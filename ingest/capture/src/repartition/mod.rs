//! Repartition: an input topic whose keys or number of partitions are the users' own becomes one that capture can join.
//!
//! A stage for each such input. It reads the users' topic and writes every row to the partition of its id, in a topic of
//! Driftline's own that everyone else reads as the input: `inferences-source` becomes `inferences`. [`Splitter`] says what
//! becomes of a record.
//!
//! - **Once each.** What a record becomes is written with the offset behind it, as every stage's outcome is. What cannot be
//!   read is forwarded too, so that it becomes capture's dead letter: of partition `n`'s records to partition `n` modulo the
//!   partitions. Its headers name the place in Driftline's own topic.
//! - **When it came stays.** A part bears the time at which the log took the record that it is a part of: an event's time
//!   counts up to that, and no further.
//! - **The order in which partitions are read makes no row late.** `peers` holds back what is more than half of the
//!   allowed disorder ahead of the slowest partition. The other half is for the disorder within partitions: who writes at
//!   the same time to several decides by that where a row stands, as who writes to one does. A replay so takes a round of
//!   telling for every half of the disorder.
//! - From the repartitioned topic on all follows from the log. Within it the rows of several sources stand as they were
//!   forwarded, which is another order with each start from the beginning.
//!
//! What is held back is read again after a restart, from the offset of the first such record. Deliberately absent: topics
//! that get more partitions while this runs, which a restart takes in.

mod peers;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use codec::decode::{Part, Splitter};
use peers::{PeerProgress, Peers};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use streams::control::Control;
use streams::log::{NewRecord, Offset, PartitionId, Record};
use streams::stage::{Delivery, Epoch, Input, ResumePoint, Seal, Share, Stage, StageError, StageSpec};
use streams::topics;

/// The most bytes of a key that is kept: nobody reads it, and what is larger need not fit beside a value.
const MOST_KEY_BYTES: usize = 64 << 10;

/// What a repartition needs to know.
pub struct RepartitionSpec {
    /// The input topic that is made, such as `inferences`.
    pub topic: &'static str,
    /// Partitions of the users' topic.
    pub sources: u32,
    /// Partitions of the topic that is made.
    pub partitions: u32,
    /// How far behind the latest event another may be without being late.
    pub disorder: Duration,
    /// A name that no other run of the stage has.
    pub incarnation: String,
    /// Tells the rows of the topic's records apart.
    pub splitter: Splitter,
}

/// The repartition of one input topic: of one partition of the users' topic.
pub struct Repartition {
    topic: &'static str,
    source: String,
    standings: String,
    partitions: u32,
    splitter: Splitter,
    peers: Peers,
    /// What is forwarded once the other partitions are as far.
    held: VecDeque<Held>,
    /// Everything before this offset has been forwarded.
    forwarded: Offset,
    /// The latest time of an event so far, none of them later than the log took it.
    latest_ms: Option<i64>,
    is_at_end: bool,
    records: Vec<NewRecord>,
    stored: Snapshot,
}

/// What becomes of a record.
struct Held {
    offset: Offset,
    /// The latest time up to it, which decides when it is forwarded.
    latest_ms: Option<i64>,
    what: Forwarded,
}

enum Forwarded {
    Rows(Vec<NewRecord>),
    Word(Control),
}

/// What a restart needs beside the records that it reads again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    /// The partition of the users' topic.
    own: Option<PartitionId>,
    forwarded: Offset,
    said: BTreeMap<PartitionId, Control>,
}

impl Repartition {
    /// The stage's name, input and broadcast, for the input topic that it makes.
    pub fn spec(topic: &str) -> StageSpec {
        StageSpec {
            name: format!("repartition-{topic}"),
            inputs: vec![topics::source_of(topic)],
            broadcasts: vec![topics::standings_of(topic)],
            share: Share::All,
        }
    }

    /// A stage that has read nothing. It is run with one partition of its input.
    pub fn new(spec: RepartitionSpec) -> Self {
        Self {
            topic: spec.topic,
            source: topics::source_of(spec.topic),
            standings: topics::standings_of(spec.topic),
            partitions: spec.partitions,
            splitter: spec.splitter,
            peers: Peers::new(spec.incarnation, spec.sources, spec.disorder / 2),
            held: VecDeque::new(),
            forwarded: 0,
            latest_ms: None,
            is_at_end: false,
            records: Vec::new(),
            stored: Snapshot::default(),
        }
    }

    fn take(&mut self, partition: PartitionId, record: &Record) -> Result<(), StageError> {
        if record.offset < self.forwarded {
            return Ok(());
        }
        let home = partition.checked_rem(self.partitions).unwrap_or(0);
        let what = match Control::read(record) {
            Some(Ok(control)) => Forwarded::Word(control),
            // It is capture's to say that it cannot be read.
            Some(Err(_)) => {
                let (value, headers) = (record.value.clone(), record.headers.to_vec());
                let part = Part { partition: home, value, headers };
                Forwarded::Rows(vec![self.forward(record, part)])
            }
            None => {
                let split = self.splitter.split(record, home);
                let split = split.map_err(|outage| {
                    let doing = format!("reading {}/{partition} offset {}", self.source, record.offset);
                    StageError::failed(doing, outage)
                })?;
                self.latest_ms = self.latest_ms.max(split.latest_ms.map(|ms| ms.min(record.append_time_ms)));
                Forwarded::Rows(split.parts.into_iter().map(|part| self.forward(record, part)).collect())
            }
        };
        self.held.push_back(Held { offset: record.offset, latest_ms: self.latest_ms, what });
        Ok(())
    }

    fn forward(&self, record: &Record, part: Part) -> NewRecord {
        NewRecord {
            topic: self.topic.to_owned(),
            partition: part.partition,
            key: record.key.clone().filter(|key| key.len() <= MOST_KEY_BYTES),
            value: part.value,
            headers: part.headers,
            appended_ms: Some(record.append_time_ms),
        }
    }

    /// Takes in what the runners of all partitions tell.
    fn hear(&mut self, records: &[Record], delivery: Delivery) -> Result<(), StageError> {
        for record in records {
            let standing: PeerProgress =
                serde_json::from_slice(record.value.as_deref().unwrap_or_default()).map_err(|error| {
                    let (topic, reason) = (self.standings.clone(), error.to_string());
                    StageError::Unreadable { topic, partition: 0, offset: record.offset, reason }
                })?;
            let said = self.peers.hear(standing);
            let Some((control, own)) = said.zip(self.peers.own()).filter(|_| delivery == Delivery::Live) else {
                continue;
            };
            let sources = self.peers.sources();
            let own = (0..self.partitions).filter(|partition| partition.checked_rem(sources) == Some(own));
            self.records.extend(own.map(|partition| control.to_record(self.topic, partition)));
        }
        Ok(())
    }

    /// Forwards what no other partition is waited for with.
    fn release(&mut self) {
        while let Some(held) = self.held.pop_front_if(|held| self.peers.allow(held.next_ms())) {
            self.forwarded = held.offset + 1;
            match held.what {
                Forwarded::Rows(records) => self.records.extend(records),
                Forwarded::Word(control) => self.peers.say(control),
            }
        }
    }

    /// The time of what is forwarded next; none at the end.
    fn next_ms(&self) -> Option<i64> {
        match self.held.front() {
            Some(held) => Some(held.next_ms()),
            None if self.is_at_end => None,
            None => Some(self.latest_ms.unwrap_or(i64::MIN)),
        }
    }

    /// What is to be stored beside the offsets, where it is not stored already.
    fn snapshot(&mut self) -> Result<Option<Bytes>, StageError> {
        // Without anything held back the offsets say it all.
        let forwarded = if self.held.is_empty() { self.stored.forwarded } else { self.forwarded };
        let snapshot = Snapshot { own: self.peers.own(), forwarded, said: self.peers.said().clone() };
        if snapshot == self.stored {
            return Ok(None);
        }
        let bytes = serde_json::to_vec(&snapshot).map_err(|error| StageError::failed("writing a snapshot", error))?;
        self.stored = snapshot;
        Ok(Some(bytes.into()))
    }

    /// The record that tells the other partitions' runners.
    fn told(&self, standing: &PeerProgress) -> Result<NewRecord, StageError> {
        let value =
            serde_json::to_vec(standing).map_err(|error| StageError::failed("telling where it stands", error))?;
        Ok(NewRecord {
            topic: self.standings.clone(),
            partition: 0,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            appended_ms: None,
        })
    }
}

impl Held {
    fn next_ms(&self) -> i64 {
        self.latest_ms.unwrap_or(i64::MIN)
    }
}

impl Stage for Repartition {
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), StageError> {
        let stored: Snapshot = serde_json::from_slice(snapshot)
            .map_err(|error| StageError::failed("reading the snapshot of a repartition", error))?;
        stored.own.into_iter().for_each(|own| self.peers.is_of(own));
        self.forwarded = stored.forwarded;
        self.peers.restore(stored.said.clone());
        self.stored = stored;
        Ok(())
    }

    fn absorb(&mut self, input: Input<'_>) -> Result<(), StageError> {
        match input {
            Input::Records { topic, records, delivery, .. } if topic == self.standings => {
                self.hear(records, delivery)?;
            }
            Input::Records { partition, records, .. } => {
                self.peers.is_of(partition);
                self.is_at_end = false;
                records.iter().try_for_each(|record| self.take(partition, record))?;
            }
            Input::Idle { .. } => {}
            Input::CaughtUp => self.is_at_end = true,
        }
        self.release();
        Ok(())
    }

    fn awaits_alignment(&self, topic: &str, partition: PartitionId) -> bool {
        if topic != self.source {
            return false;
        }
        // A partition without a record is known from here: the runner asks before it reads.
        self.peers.is_of(partition);
        let waits = self.held.front().is_some_and(|held| !self.peers.allow(held.next_ms()));
        waits && self.peers.has_asked()
    }

    fn seal(&mut self, _reason: Seal) -> Result<Option<Epoch>, StageError> {
        let mut records = std::mem::take(&mut self.records);
        if let Some(standing) = self.peers.tell(self.next_ms()) {
            records.push(self.told(&standing)?);
        }
        let snapshot = self.snapshot()?;
        let held = self.held.front().zip(self.peers.own()).map(|(held, partition)| ResumePoint {
            topic: self.source.clone(),
            partition,
            offset: held.offset,
        });
        Ok(Some(Epoch { files: Vec::new(), records, snapshot, resume_from: held.into_iter().collect() }))
    }
}
