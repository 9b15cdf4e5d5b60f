//! The archive's table of contents: the fold of the `archived` topic.

use super::record::{Archived, ArchivedFile, ArchivedRange};
use super::spans::Spans;
use std::collections::BTreeMap;
use std::ops::Range;
use streams::control::Control;
use streams::log::{Log, LogError, Offset, PartitionId, ReadBudget};
use streams::topics;
use thiserror::Error;

/// Why the archive's contents cannot be told.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record that is not one of an archive.
    #[error("archived offset {offset}: {source}")]
    Unreadable {
        /// Its offset.
        offset: Offset,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Which files are in the archive, and up to which offsets.
#[derive(Debug, Clone, Default)]
pub struct ArchiveIndex {
    files: BTreeMap<String, ArchivedFile>,
    partitions: BTreeMap<(String, PartitionId), ArchivedPartition>,
    next: Offset,
}

/// What the archive has of one input partition.
#[derive(Debug, Clone, Default)]
struct ArchivedPartition {
    end: Offset,
    /// Offsets of which every good row and every control record is here.
    whole: Spans,
    controls: BTreeMap<Offset, Control>,
}

impl ArchiveIndex {
    /// Reads what has been committed since the last call.
    ///
    /// # Errors
    /// When the log fails or holds a record that cannot be read.
    pub fn refresh(&mut self, log: &dyn Log) -> Result<(), IndexError> {
        loop {
            let records = log.read(topics::ARCHIVED, 0, self.next, ReadBudget { records: 1_000, bytes: 8 << 20 })?;
            let Some(last) = records.last() else { return Ok(()) };
            self.next = last.offset + 1;
            for record in &records {
                let Some(value) = &record.value else { continue };
                let archived = serde_json::from_slice(value)
                    .map_err(|source| IndexError::Unreadable { offset: record.offset, source })?;
                self.apply(archived);
            }
        }
    }

    fn apply(&mut self, archived: Archived) {
        for path in &archived.replaced {
            self.files.remove(path);
        }
        for control in archived.controls.iter().flatten() {
            self.partition((&control.topic, control.partition)).controls.insert(control.offset, control.control);
        }
        for ArchivedRange { topic, partition, from, to } in archived.ranges {
            let partition = self.partition((&topic, partition));
            partition.end = to;
            if archived.controls.is_some() {
                partition.whole.insert(from..to);
            }
        }
        for ArchivedRange { topic, partition, from, to } in archived.expired {
            self.partition((&topic, partition)).whole.remove(from..to);
        }
        self.files.extend(archived.files.into_iter().map(|file| (file.path.clone(), file)));
    }

    fn partition(&mut self, (topic, partition): (&str, PartitionId)) -> &mut ArchivedPartition {
        self.partitions.entry((topic.to_owned(), partition)).or_default()
    }

    fn known(&self, (topic, partition): (&str, PartitionId)) -> Option<&ArchivedPartition> {
        self.partitions.get(&(topic.to_owned(), partition))
    }

    /// The files of a topic and model that may hold rows of `[from_ms, until_ms)`, by path.
    pub fn files(&self, topic: &str, model: &str, from_ms: i64, until_ms: i64) -> impl Iterator<Item = &ArchivedFile> {
        self.files.values().filter(move |file| {
            file.topic == topic && file.model == model && file.max_time_ms >= from_ms && file.min_time_ms < until_ms
        })
    }

    /// Every file, by path.
    pub fn all(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.files.values()
    }

    /// The files that may hold rows of these offsets of a partition, by the offset of their first.
    pub fn files_between(&self, place: (&str, PartitionId), offsets: &Range<Offset>) -> Vec<&ArchivedFile> {
        let (topic, partition) = place;
        let first = |file: &&ArchivedFile| file.span(partition).map_or(Offset::MAX, |span| span.from);
        let holds = |file: &&ArchivedFile| {
            let span = file.span(partition).filter(|_| file.topic == topic);
            span.is_some_and(|span| span.from < offsets.end && span.to > offsets.start)
        };
        let mut files: Vec<_> = self.files.values().filter(holds).collect();
        files.sort_by_key(first);
        files
    }

    /// The control records of these offsets of a partition.
    pub fn controls_between(&self, place: (&str, PartitionId), offsets: &Range<Offset>) -> Vec<(Offset, Control)> {
        let controls = self.known(place).map(|known| known.controls.range(offsets.clone()));
        controls.into_iter().flatten().map(|(offset, control)| (*offset, *control)).collect()
    }

    /// The first of these offsets that the archive does not have in full: it never read them, or has let rows of them go.
    pub fn missing(&self, place: (&str, PartitionId), offsets: &Range<Offset>) -> Option<Range<Offset>> {
        let nothing = Spans::default();
        self.known(place).map_or(&nothing, |known| &known.whole).first_gap(offsets.clone())
    }

    /// The offset up to which a partition is archived.
    pub fn end(&self, topic: &str, partition: PartitionId) -> Offset {
        self.known((topic, partition)).map_or(0, |known| known.end)
    }
}
