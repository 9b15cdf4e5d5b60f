//! A group: its offsets with the group coordinator, its snapshot, and the transactions that change them.
//!
//! A snapshot is a run of records of the topic of snapshots, in chunks that a record may hold, keyed so that compaction
//! keeps the last one. Where it begins is committed as the group's offset of that topic, so that it is found without a
//! search, and never half: the chunks and the offset are of one transaction.
//!
//! Every commit names all offsets that are known of the group, not only those that have changed: the broker forgets an
//! offset that was not committed for a week (`offsets.retention.minutes`), and a quiet partition's must stay. It also
//! forgets a topic's offsets with the topic, so that one made anew would look like one never read; what has been read is
//! told once more in the metadata of the snapshot's offset ([`Kept`]), which outlasts the inputs.

use super::link::{Link, PartitionName, Telling, locked, native, storage};
use super::names::{SNAPSHOTS, snapshot_partition};
use super::options::client_error;
use super::reader::KafkaReader;
use super::writer::Writer;
use crate::crash::Step;
use crate::log::{Committed, LogError, NewRecord, Offset, PartitionId, Progress, ReadBudget, Transaction};
use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Bytes of a snapshot in one record: below what brokers take by default.
const CHUNK_BYTES: usize = 900_000;

/// A group of this log.
pub(super) struct Group {
    name: String,
    link: Arc<Link>,
    /// Speaks to the group's coordinator; it never joins the group.
    coordinator: BaseConsumer<Telling>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` until it is taken over, and after an error.
    writer: Option<Writer>,
    known: Known,
}

/// What is known to be committed.
#[derive(Clone, Default)]
struct Known {
    offsets: BTreeMap<PartitionName, Committed>,
    /// Where the snapshot begins.
    snapshot: Offset,
    kept: Kept,
}

/// What is kept beside the offset of the snapshot.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Parts of the snapshot; none where there is no snapshot.
    parts: usize,
    /// How far each topic's partitions were read.
    read: BTreeMap<String, BTreeMap<PartitionId, Offset>>,
}

impl Known {
    fn read(&mut self, progress: &Progress) {
        let Progress { topic, partition, committed } = progress.clone();
        self.kept.read.entry(topic.clone()).or_default().insert(partition, committed.offset);
        self.offsets.insert((topic, partition), committed);
    }
}

impl Group {
    pub(super) fn of(link: Arc<Link>, name: &str) -> Result<Self, LogError> {
        let config = link.options.consumer(&link.names.group(name));
        let coordinator = BaseConsumer::from_config_and_context(&config, Telling);
        let coordinator = coordinator.map_err(|error| client_error(&error))?;
        Ok(Self { name: name.to_owned(), link, coordinator, state: Mutex::default() })
    }

    /// Makes this process the only one that commits for the group.
    pub(super) fn fence(&self) -> Result<(), LogError> {
        let mut state = locked(&self.state);
        *state = State::default();
        let (writer, known) = self.own()?;
        *state = State { writer: Some(writer), known };
        Ok(())
    }

    /// A writer that no other stands beside, and what the group had committed before.
    fn own(&self) -> Result<(Writer, Known), LogError> {
        let writer = Writer::fence(Arc::clone(&self.link), &self.name)?;
        let (snapshot, kept) = self.kept()?.unwrap_or_default();
        Ok((writer, Known { snapshot, kept, ..Known::default() }))
    }

    /// What is committed for a partition. Waits for a transaction that is about to change it.
    pub(super) fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Committed>, LogError> {
        let place = (topic.to_owned(), partition);
        // Both in one request: what is kept may not be younger than what it is held against.
        let asked = [place.clone(), self.snapshot_place()];
        // Held while the broker is asked: what it answers is not younger than what is committed meanwhile.
        let mut state = locked(&self.state);
        let [committed, kept] = self.ask(&asked)?;
        let Some(committed) = committed else {
            let kept = kept.map(|kept| self.kept_of(&kept)).transpose()?.unwrap_or_default();
            return match kept.read.get(topic).and_then(|partitions| partitions.get(&partition)) {
                Some(read) => Err(LogError::MadeAnew { topic: place.0, partition, read: *read }),
                None => Ok(None),
            };
        };
        state.known.offsets.insert(place, committed.clone());
        Ok(Some(committed))
    }

    /// What the group's coordinator has for partitions.
    fn ask<const N: usize>(&self, places: &[PartitionName; N]) -> Result<[Option<Committed>; N], LogError> {
        let names = places.each_ref().map(|(topic, partition)| (self.link.names.topic(topic), native(*partition)));
        let doing = || format!("looking for what {} committed", self.name);
        let mut asked = TopicPartitionList::with_capacity(N);
        for (name, partition) in &names {
            asked.add_partition(name, *partition);
        }
        let answer = self.coordinator.committed_offsets(asked, self.link.options.patience);
        let answer = answer.map_err(|error| storage(doing(), error))?;
        for found in answer.elements() {
            found.error().map_err(|error| storage(doing(), error))?;
        }
        Ok(names.map(|(name, partition)| {
            let found = answer.find_partition(&name, partition)?;
            let KafkaOffset::Offset(offset) = found.offset() else { return None };
            Some(Committed { offset, metadata: found.metadata().to_owned() })
        }))
    }

    /// What is kept beside the snapshot's offset.
    fn kept_of(&self, snapshot: &Committed) -> Result<Kept, LogError> {
        serde_json::from_str(&snapshot.metadata).map_err(|error| LogError::Storage {
            doing: format!("reading what {} committed beside its snapshot at offset {}", self.name, snapshot.offset),
            source: Box::new(error),
        })
    }

    /// Where the snapshot begins, and what is kept beside that.
    fn kept(&self) -> Result<Option<(Offset, Kept)>, LogError> {
        let [snapshot] = self.ask(&[self.snapshot_place()])?;
        snapshot.map(|snapshot| Ok((snapshot.offset, self.kept_of(&snapshot)?))).transpose()
    }

    fn snapshot_place(&self) -> PartitionName {
        (SNAPSHOTS.to_owned(), snapshot_partition(&self.name))
    }

    /// Commits a transaction. After an error nothing of it is there, or, if the broker did not answer, all of it may be.
    pub(super) fn commit(&self, transaction: &Transaction) -> Result<(), LogError> {
        let snapshot = transaction.snapshot.as_ref().map(|snapshot| self.chunks(snapshot));
        self.link.check_all(&transaction.records)?;
        let mut state = locked(&self.state);
        let (writer, mut known) = match std::mem::take(&mut *state) {
            State { writer: Some(writer), known } => (writer, known),
            State { writer: None, .. } => self.own()?,
        };
        transaction.progress.iter().for_each(|progress| known.read(progress));
        match self.write(&writer, (transaction, snapshot.as_deref()), &mut known) {
            Ok(()) => {
                *state = State { writer: Some(writer), known };
                Ok(())
            }
            Err(error) => {
                // Another process may have taken the group over and gone on: what was known is not known any more.
                writer.call_off();
                Err(error)
            }
        }
    }

    fn write(
        &self,
        writer: &Writer,
        (transaction, snapshot): (&Transaction, Option<&[NewRecord]>),
        known: &mut Known,
    ) -> Result<(), LogError> {
        let crash = |step| self.link.options.crash.after(step, &self.name);
        writer.begin()?;
        crash(Step::Begun);
        writer.hand_over(&transaction.records)?;
        writer.hand_over(snapshot.unwrap_or_default())?;
        crash(Step::HandedOver);
        writer.settle()?;
        crash(Step::Settled);
        let first = writer.first_offset(SNAPSHOTS, snapshot_partition(&self.name));
        if let (Some(first), Some(snapshot)) = (first, snapshot) {
            known.snapshot = first;
            known.kept.parts = snapshot.len();
        }
        if snapshot.is_some() || !known.offsets.is_empty() {
            self.write_offsets(writer, known)?;
        }
        crash(Step::OffsetsSent);
        writer.commit(transaction.records.iter().chain(snapshot.unwrap_or_default()))
    }

    fn write_offsets(&self, writer: &Writer, known: &Known) -> Result<(), LogError> {
        let doing = || format!("naming the offsets of {}", self.name);
        let kept = serde_json::to_string(&known.kept);
        let metadata = kept.map_err(|error| LogError::Storage { doing: doing(), source: Box::new(error) })?;
        let snapshot = Committed { offset: known.snapshot, metadata };
        let snapshot_place = self.snapshot_place();
        let mut offsets = TopicPartitionList::with_capacity(known.offsets.len() + 1);
        for ((topic, partition), committed) in known.offsets.iter().chain([(&snapshot_place, &snapshot)]) {
            let mut added = offsets.add_partition(&self.link.names.topic(topic), native(*partition));
            added.set_offset(KafkaOffset::Offset(committed.offset)).map_err(|error| storage(doing(), error))?;
            added.set_metadata(&committed.metadata);
        }
        let group = self.coordinator.group_metadata();
        let group = group.ok_or_else(|| storage(doing(), KafkaError::ClientCreation("no group".to_owned())))?;
        writer.offsets(offsets, group)
    }

    /// The last snapshot that was committed.
    pub(super) fn snapshot(&self) -> Result<Option<Bytes>, LogError> {
        let Some((offset, Kept { parts, .. })) = self.kept()? else { return Ok(None) };
        if parts == 0 {
            return Ok(None);
        }
        let partition = snapshot_partition(&self.name);
        let mut reader = KafkaReader::open(Arc::clone(&self.link));
        let (mut next, mut chunks) = (offset, Vec::with_capacity(parts));
        while chunks.len() < parts {
            let budget = ReadBudget { records: parts, bytes: usize::MAX };
            let records = reader.look((SNAPSHOTS, partition), next, budget)?;
            let Some(last) = records.last() else {
                let doing = format!("reading the snapshot of {} at offset {offset}", self.name);
                let reason = format!("{} of its {parts} parts are there", chunks.len());
                return Err(LogError::Storage { doing, source: reason.into() });
            };
            next = last.offset + 1;
            // Those of other groups stand between.
            let own = |number: usize| self.chunk_key(number);
            for record in records {
                if record.key.as_deref() == Some(own(chunks.len()).as_bytes()) && chunks.len() < parts {
                    chunks.push(record.value.unwrap_or_default());
                }
            }
        }
        Ok(Some(chunks.concat().into()))
    }

    fn chunks(&self, snapshot: &Bytes) -> Vec<NewRecord> {
        let starts = (0..snapshot.len().max(1)).step_by(CHUNK_BYTES);
        let chunk = |(number, start): (usize, usize)| NewRecord {
            topic: SNAPSHOTS.to_owned(),
            partition: snapshot_partition(&self.name),
            key: Some(self.chunk_key(number).into()),
            value: Some(snapshot.slice(start..snapshot.len().min(start + CHUNK_BYTES))),
            headers: Vec::new(),
            appended_ms: None,
        };
        starts.enumerate().map(chunk).collect()
    }

    fn chunk_key(&self, number: usize) -> String {
        format!("{}/{number}", self.name)
    }
}
