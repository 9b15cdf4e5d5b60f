//! The writer: one thread owns the connection that writes, and puts all that waits into one transaction.
//!
//! Callers wait at a bounded queue, each for its own answer. Every piece of work has a savepoint, so one that fails is
//! undone alone. When the transaction itself fails (the disk is full at the commit), its pieces are tried again one by
//! one: a large one that does not fit must not take a small one with it.

use super::acknowledged::Note;
use super::catalogue::{Catalogue, Partition, Published, Topic};
use super::failure::Site;
use super::{Options, schema};
use crate::log::{LogError, NewRecord, Offset, PartitionId, Progress, TopicSpec, Transaction};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Callers that may wait at the queue; more wait for a place in it.
const QUEUE: usize = 256;
/// Pieces of work in one transaction.
const GROUP: usize = 256;
/// Bytes beyond which a transaction takes no further piece.
const GROUP_BYTES: usize = 32 << 20;

/// Something to be written, whole or not at all.
pub(super) enum Work {
    EnsureTopic(TopicSpec),
    Append(Vec<NewRecord>),
    Commit { group: String, transaction: Transaction },
    DeleteBefore { topic: String, partition: PartitionId, before: Offset },
}

impl Work {
    fn bytes(&self) -> usize {
        let records = match self {
            Self::Append(records) => records,
            Self::Commit { transaction, .. } => &transaction.records,
            Self::EnsureTopic(_) | Self::DeleteBefore { .. } => return 0,
        };
        records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

struct Job {
    work: Work,
    answer: SyncSender<Result<(), LogError>>,
}

/// The way to the writer thread.
pub(super) struct Writer {
    site: Site,
    queue: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<bool>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(mut pen: Pen) -> Result<Self, LogError> {
        let (queue, jobs) = sync_channel(QUEUE);
        let site = pen.site.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                pen.write_all(&jobs);
                pen.connection.close().is_ok()
            })
            .map_err(|error| site.storage("starting the writer thread", error))?;
        Ok(Self { site, queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Has one piece of work written; durable when it returns.
    pub(super) fn perform(&self, work: Work) -> Result<(), LogError> {
        let gone = || self.site.storage("writing", "the writer thread has stopped");
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)?;
        let (answer, answered) = sync_channel(1);
        queue.send(Job { work, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// Lets the thread finish what waits and close its connection; says whether that went in order.
    pub(super) fn stop(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

/// What the writer thread owns.
pub(super) struct Pen {
    pub(super) connection: Connection,
    pub(super) catalogue: Catalogue,
    pub(super) published: Arc<Published>,
    pub(super) note: Note,
    pub(super) site: Site,
    pub(super) options: Options,
}

impl Pen {
    fn write_all(&mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut bytes = first.work.bytes();
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(next) = jobs.try_recv() else { break };
                bytes += next.work.bytes();
                group.push(next);
            }
            self.write_group(group);
            self.bound_wal();
        }
    }

    fn write_group(&mut self, group: Vec<Job>) {
        let outcomes = match self.write_together(&group) {
            Ok(outcomes) => outcomes,
            Err(error) if group.len() == 1 => vec![Err(error)],
            Err(_) => group.iter().map(|job| self.write_alone(job)).collect(),
        };
        for (job, outcome) in group.into_iter().zip(outcomes) {
            // A caller that has gone away has no use for the answer.
            let _ = job.answer.send(outcome);
        }
    }

    fn write_alone(&mut self, job: &Job) -> Result<(), LogError> {
        self.write_together(std::slice::from_ref(job))?.into_iter().collect()
    }

    /// Writes a group in one transaction, and publishes it. `Err` says that nothing of it was written.
    fn write_together(&mut self, group: &[Job]) -> Result<Vec<Result<(), LogError>>, LogError> {
        let before = self.catalogue.clone();
        let outcome = self.transact(group);
        match &outcome {
            Ok(outcomes) if outcomes.iter().any(Result::is_ok) => {
                self.note.note(self.catalogue.records());
                self.published.publish(self.catalogue.clone());
            }
            _ => self.catalogue = before,
        }
        if !self.connection.is_autocommit() {
            // The transaction did not end by itself; a failure to roll back leaves it open, and the next BEGIN says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        outcome
    }

    fn transact(&mut self, group: &[Job]) -> Result<Vec<Result<(), LogError>>, LogError> {
        self.execute("beginning a transaction", "BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(group.len());
        for job in group {
            outcomes.push(self.attempt(&job.work)?);
        }
        self.execute("committing", "COMMIT")?;
        Ok(outcomes)
    }

    /// One piece of work under a savepoint. The outer error says that the whole transaction is lost.
    fn attempt(&mut self, work: &Work) -> Result<Result<(), LogError>, LogError> {
        let before = self.catalogue.clone();
        self.execute("setting a savepoint", "SAVEPOINT piece")?;
        let outcome = self.write(work);
        match outcome {
            Ok(()) => self.execute("releasing a savepoint", "RELEASE piece")?,
            // SQLite ends the transaction by itself on some failures, such as a full disk.
            Err(error) if self.connection.is_autocommit() => return Err(error),
            Err(_) => {
                self.catalogue = before;
                self.execute("undoing", "ROLLBACK TO piece")?;
                self.execute("undoing", "RELEASE piece")?;
            }
        }
        Ok(outcome)
    }

    fn write(&mut self, work: &Work) -> Result<(), LogError> {
        match work {
            Work::EnsureTopic(topic) => self.ensure_topic(topic),
            Work::Append(records) => self.append(records),
            Work::Commit { group, transaction } => {
                self.append(&transaction.records)?;
                transaction.progress.iter().try_for_each(|progress| self.store_progress(group, progress))?;
                transaction.snapshot.iter().try_for_each(|snapshot| self.store_snapshot(group, snapshot))
            }
            Work::DeleteBefore { topic, partition, before } => self.delete_before(topic, *partition, *before),
        }
    }

    fn append(&mut self, records: &[NewRecord]) -> Result<(), LogError> {
        let now_ms = (self.options.clock)();
        let mut insert = self
            .connection
            .prepare_cached(
                "INSERT INTO records (place, append_ms, position, key, headers, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(|error| self.site.sqlite("appending", error))?;
        for record in records {
            let partition = self.catalogue.partition_mut(&record.topic, record.partition)?;
            if partition.end >= 1 << schema::OFFSET_BITS {
                return Err(self.site.storage("appending", "the partition has used all of its offsets"));
            }
            let headers = schema::encode_headers(&record.headers);
            let place = schema::place(partition.id, partition.end);
            let append_ms = now_ms.max(partition.last_append_ms);
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            insert
                .execute(params![place, append_ms, partition.end_position, key, headers, value])
                .map_err(|error| self.site.sqlite("appending", error))?;
            let bytes =
                key.map_or(0, <[u8]>::len) + headers.map_or(0, |blob| blob.len()) + value.map_or(0, <[u8]>::len);
            partition.end += 1;
            partition.end_position += bytes as i64;
            partition.last_append_ms = append_ms;
        }
        Ok(())
    }

    fn store_progress(&self, group: &str, progress: &Progress) -> Result<(), LogError> {
        self.catalogue.partition(&progress.topic, progress.partition)?;
        self.connection
            .prepare_cached(
                "INSERT INTO progress (consumer, topic, partition, next_offset, metadata) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, metadata = excluded.metadata",
            )
            .and_then(|mut upsert| {
                let Progress { topic, partition, committed } = progress;
                upsert.execute(params![group, topic, partition, committed.offset, committed.metadata])
            })
            .map_err(|error| self.site.sqlite("storing progress", error))?;
        Ok(())
    }

    fn store_snapshot(&self, group: &str, snapshot: &[u8]) -> Result<(), LogError> {
        self.connection
            .prepare_cached(
                "INSERT INTO snapshots (consumer, state) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET state = excluded.state",
            )
            .and_then(|mut upsert| upsert.execute(params![group, snapshot]))
            .map_err(|error| self.site.sqlite("storing a snapshot", error))?;
        Ok(())
    }

    fn delete_before(&mut self, topic: &str, partition: PartitionId, before: Offset) -> Result<(), LogError> {
        let held = self.catalogue.partition_mut(topic, partition)?;
        // Two sweeps at once may ask for the same; the second finds it done.
        if before <= held.first {
            return Ok(());
        }
        let before = before.min(held.end);
        let position =
            position_of(&self.connection, held, before).map_err(|error| self.site.sqlite("deleting", error))?;
        held.first = before;
        let held = *held;
        let range = [schema::place(held.id, 0), schema::place(held.id, before)];
        self.connection
            .prepare_cached("DELETE FROM records WHERE place >= ?1 AND place < ?2")
            .and_then(|mut delete| delete.execute(range))
            .and_then(|_| {
                self.connection.execute(
                    "UPDATE partitions SET first_offset = ?2, first_position = ?3, last_append_ms = ?4 WHERE id = ?1",
                    params![held.id, before, position, held.last_append_ms],
                )
            })
            .map_err(|error| self.site.sqlite("deleting", error))?;
        Ok(())
    }

    fn ensure_topic(&mut self, wanted: &TopicSpec) -> Result<(), LogError> {
        let age_ms = wanted.retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let bytes = wanted.retention.bytes_per_partition.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let found = self.catalogue.topic(&wanted.name).map(Topic::count);
        if let Some(found) = found.filter(|found| *found != wanted.partitions) {
            return Err(LogError::PartitionsDiffer { topic: wanted.name.clone(), found, wanted: wanted.partitions });
        }
        self.connection
            .execute(
                "INSERT INTO topics (name, partitions, retention_age_ms, retention_bytes) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET
                 retention_age_ms = excluded.retention_age_ms, retention_bytes = excluded.retention_bytes",
                params![wanted.name, wanted.partitions, age_ms, bytes],
            )
            .map_err(|error| self.site.sqlite("creating a topic", error))?;
        if let Some(topic) = self.catalogue.topic_mut(&wanted.name) {
            topic.retention = wanted.retention;
            return Ok(());
        }
        let partitions = (0..wanted.partitions).map(|number| self.create_partition(&wanted.name, number));
        let partitions = partitions.collect::<Result<Vec<_>, _>>()?;
        self.catalogue.insert(Topic { name: wanted.name.as_str().into(), retention: wanted.retention, partitions });
        Ok(())
    }

    fn create_partition(&self, topic: &str, number: PartitionId) -> Result<Partition, LogError> {
        self.connection
            .execute("INSERT INTO partitions (topic, number) VALUES (?1, ?2)", params![topic, number])
            .map_err(|error| self.site.sqlite("creating a partition", error))?;
        let id = self.connection.last_insert_rowid();
        if id > schema::LAST_PARTITION_ID {
            return Err(self.site.storage("creating a partition", "the log has too many partitions"));
        }
        Ok(Partition::new(id))
    }

    fn execute(&self, doing: &str, sql: &str) -> Result<(), LogError> {
        let executed = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        executed.map(drop).map_err(|error| self.site.sqlite(doing, error))
    }

    /// Readers that overlap without a pause keep SQLite from starting the write-ahead file anew, and a checkpoint that waits
    /// for them can wait for ever: they share one lock. When the file has grown too large they are made to pause.
    fn bound_wal(&self) {
        let length = std::fs::metadata(self.site.wal()).map_or(0, |found| found.len());
        if length <= self.options.wal_bytes {
            return;
        }
        let _alone = self.published.folding.write().unwrap_or_else(PoisonError::into_inner);
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = folded {
            tracing::warn!(%error, bytes = length, "could not fold the write-ahead file in; it is tried again");
        }
    }
}

/// Bytes that the partition took before an offset.
fn position_of(connection: &Connection, held: &Partition, offset: Offset) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT position FROM records WHERE place = ?1")?
        .query_row([schema::place(held.id, offset)], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(held.end_position))
}
