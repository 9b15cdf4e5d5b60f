//! A group: its offsets with the group coordinator, its snapshot, and the transactions that change them.
//!
//! A snapshot is a run of records of the topic of snapshots, in chunks that a record may hold, keyed so that compaction
//! keeps the last one. Where it begins is committed as the group's offset of that topic, so that it is found without a
//! search, and never half: the chunks and the offset are of one transaction.
//!
//! Every commit names all offsets that are known of the group, not only those that have changed: the broker forgets an
//! offset that was not committed for a week (`offsets.retention.minutes`), and a quiet partition's must stay.

use super::link::{Link, Telling, locked, native, storage};
use super::names::{SNAPSHOTS, snapshot_partition};
use super::options::client_error;
use super::reader::KafkaReader;
use super::writer::Writer;
use crate::crash::Step;
use crate::log::{Committed, LogError, NewRecord, PartitionId, ReadBudget, Transaction};
use bytes::Bytes;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as Place, TopicPartitionList};
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
    /// The offsets that are known to be committed.
    committed: BTreeMap<(String, PartitionId), Committed>,
}

impl Group {
    pub(super) fn of(link: Arc<Link>, name: &str) -> Result<Self, LogError> {
        let config = link.options.consumer(&link.names.group(name));
        let coordinator = BaseConsumer::from_config_and_context(&config, Telling);
        let coordinator = coordinator.map_err(|error| client_error(&error))?;
        Ok(Self { name: name.to_owned(), link, coordinator, state: Mutex::default() })
    }

    /// Makes this process the only one that commits for the group.
    pub(super) fn take_over(&self) -> Result<(), LogError> {
        let mut state = locked(&self.state);
        *state = State::default();
        state.writer = Some(Writer::take_over(Arc::clone(&self.link), &self.name)?);
        Ok(())
    }

    /// What is committed for a partition. Waits for a transaction that is about to change it.
    pub(super) fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Committed>, LogError> {
        let name = self.link.names.topic(topic);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&name, native(partition));
        let answer = self.coordinator.committed_offsets(asked, self.link.options.patience);
        let doing = || format!("looking for what {} committed of {name}/{partition}", self.name);
        let answer = answer.map_err(|error| storage(doing(), error))?;
        let Some(found) = answer.find_partition(&name, native(partition)) else { return Ok(None) };
        found.error().map_err(|error| storage(doing(), error))?;
        let Place::Offset(offset) = found.offset() else { return Ok(None) };
        let committed = Committed { offset, metadata: found.metadata().to_owned() };
        locked(&self.state).committed.insert((topic.to_owned(), partition), committed.clone());
        Ok(Some(committed))
    }

    /// Commits a transaction. After an error nothing of it is there, or, if the broker did not answer, all of it may be.
    pub(super) fn commit(&self, transaction: &Transaction) -> Result<(), LogError> {
        let snapshot = transaction.snapshot.as_ref().map(|snapshot| self.chunks(snapshot));
        self.link.check_all(&transaction.records)?;
        let mut state = locked(&self.state);
        let writer = match state.writer.take() {
            Some(writer) => writer,
            None => Writer::take_over(Arc::clone(&self.link), &self.name)?,
        };
        let mut committed = state.committed.clone();
        for progress in &transaction.progress {
            let place = (progress.topic.clone(), progress.partition);
            committed.insert(place, progress.committed.clone());
        }
        match self.write(&writer, (transaction, snapshot.as_deref()), &mut committed) {
            Ok(()) => {
                *state = State { writer: Some(writer), committed };
                Ok(())
            }
            Err(error) => {
                // Another process may have taken the group over and gone on: what was known is not known any more.
                *state = State::default();
                writer.call_off();
                Err(error)
            }
        }
    }

    fn write(
        &self,
        writer: &Writer,
        (transaction, snapshot): (&Transaction, Option<&[NewRecord]>),
        committed: &mut BTreeMap<(String, PartitionId), Committed>,
    ) -> Result<(), LogError> {
        let crash = |step| self.link.options.crash.after(step, &self.name);
        writer.begin()?;
        crash(Step::Begun);
        writer.hand_over(&transaction.records)?;
        writer.hand_over(snapshot.unwrap_or_default())?;
        crash(Step::HandedOver);
        writer.settle()?;
        crash(Step::Settled);
        let partition = snapshot_partition(&self.name);
        if let (Some(first), Some(snapshot)) = (writer.first_offset(SNAPSHOTS, partition), snapshot) {
            let metadata = snapshot.len().to_string();
            committed.insert((SNAPSHOTS.to_owned(), partition), Committed { offset: first, metadata });
        }
        if !committed.is_empty() {
            self.write_offsets(writer, committed)?;
        }
        crash(Step::OffsetsSent);
        writer.commit(transaction.records.iter().chain(snapshot.unwrap_or_default()))
    }

    fn write_offsets(
        &self,
        writer: &Writer,
        committed: &BTreeMap<(String, PartitionId), Committed>,
    ) -> Result<(), LogError> {
        let doing = || format!("naming the offsets of {}", self.name);
        let mut offsets = TopicPartitionList::with_capacity(committed.len());
        for ((topic, partition), committed) in committed {
            let mut added = offsets.add_partition(&self.link.names.topic(topic), native(*partition));
            added.set_offset(Place::Offset(committed.offset)).map_err(|error| storage(doing(), error))?;
            added.set_metadata(&committed.metadata);
        }
        let group = self.coordinator.group_metadata();
        let group = group.ok_or_else(|| storage(doing(), KafkaError::ClientCreation("no group".to_owned())))?;
        writer.offsets(offsets, group)
    }

    /// The last snapshot that was committed.
    pub(super) fn snapshot(&self) -> Result<Option<Bytes>, LogError> {
        let partition = snapshot_partition(&self.name);
        let Some(Committed { offset, metadata }) = self.committed(SNAPSHOTS, partition)? else { return Ok(None) };
        let damaged = |reason: String| LogError::Storage {
            doing: format!("reading the snapshot of {} at offset {offset}", self.name),
            source: reason.into(),
        };
        let wanted: usize = metadata.parse().map_err(|_| damaged(format!("its size is not a number: {metadata:?}")))?;
        let mut reader = KafkaReader::open(Arc::clone(&self.link))?;
        let (mut next, mut chunks) = (offset, Vec::with_capacity(wanted));
        while chunks.len() < wanted {
            let budget = ReadBudget { records: wanted, bytes: usize::MAX };
            let records = reader.look((SNAPSHOTS, partition), next, budget)?;
            let Some(last) = records.last() else {
                return Err(damaged(format!("{} of its {wanted} parts are there", chunks.len())));
            };
            next = last.offset + 1;
            // Those of other groups stand between.
            let own = |number: usize| self.chunk_key(number);
            for record in records {
                if record.key.as_deref() == Some(own(chunks.len()).as_bytes()) && chunks.len() < wanted {
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
        };
        starts.enumerate().map(chunk).collect()
    }

    fn chunk_key(&self, number: usize) -> String {
        format!("{}/{number}", self.name)
    }
}
