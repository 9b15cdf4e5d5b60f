//! Compaction and retention of the archive: small files of a day become one, and files that are too old go.
//!
//! A pass plans from the index, writes the merged files, commits one `archived` record, and deletes what it replaced after
//! the commit. Killed in between, it leaves files that no record names, and nothing is lost. Rows keep their log order.
//!
//! A file that holds what a stage may still have to absorb again stays however old it is: once its topic has forgotten the
//! rows too, nothing else has them.

use super::index::{ArchiveIndex, IndexError};
use super::parquet_file::{from_parquet, to_parquet};
use super::record::{Archived, ArchivedFile};
use super::{in_log_order, offset_spans, record_of};
use parquet::errors::ParquetError;
use std::collections::BTreeMap;
use std::time::Duration;
use streams::log::{Log, LogError, Offset, PartitionId};
use streams::stage::StageError;
use streams::store::{Store, StoreError, digest};
use thiserror::Error;

/// What is merged and what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionPolicy {
    /// Files of a topic, model and day are merged when there are at least this many small ones.
    pub least_files: usize,
    /// A file below this size is small.
    pub small_bytes: u64,
    /// Files whose rows are all older than this, by event time against the newest archived row, are deleted.
    pub keep: Option<Duration>,
}

/// Why a pass failed; the archive is as it was.
#[derive(Debug, Error)]
pub enum CompactionError {
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: ParquetError,
    },
    /// Rows could not be brought into order.
    #[error(transparent)]
    Rows(#[from] StageError),
    /// The log refused the record.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files written.
    pub written: usize,
    /// Files no longer part of the archive.
    pub removed: usize,
}

/// The first offset of an input partition that a stage may have to absorb again; `None` where none has read it.
pub type NeededFrom<'a> = &'a dyn Fn(&str, PartitionId) -> Result<Option<Offset>, LogError>;

/// Runs one pass; files with rows from `needed` on are not deleted.
///
/// # Errors
/// When the store or the log fails; nothing has changed then but for files that are no one's.
pub fn compact(
    log: &dyn Log,
    store: &Store,
    policy: &CompactionPolicy,
    needed: NeededFrom<'_>,
) -> Result<Compacted, CompactionError> {
    let mut index = ArchiveIndex::default();
    index.refresh(log)?;
    let expired = expired(&index, policy, needed)?;
    let mut change = Archived {
        ranges: Vec::new(),
        files: Vec::new(),
        replaced: expired.iter().map(|file| file.path.clone()).collect(),
        controls: None,
        expired: expired.iter().flat_map(|file| file.ranges()).collect(),
    };
    for group in small_groups(&index, policy, &change.replaced) {
        change.files.push(merge(store, &group)?);
        change.replaced.extend(group.iter().map(|file| file.path.clone()));
    }
    if change.replaced.is_empty() {
        return Ok(Compacted::default());
    }
    log.append(&[record_of(&change)?])?;
    for path in &change.replaced {
        store.delete(path)?;
    }
    Ok(Compacted { written: change.files.len(), removed: change.replaced.len() })
}

fn expired<'a>(
    index: &'a ArchiveIndex,
    policy: &CompactionPolicy,
    needed: NeededFrom<'_>,
) -> Result<Vec<&'a ArchivedFile>, LogError> {
    let (Some(keep), Some(newest_ms)) = (policy.keep, index.all().map(|file| file.max_time_ms).max()) else {
        return Ok(Vec::new());
    };
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    let oldest_ms = newest_ms.saturating_sub(keep_ms);
    let mut asked: BTreeMap<(&str, PartitionId), Option<Offset>> = BTreeMap::new();
    let mut expired = Vec::new();
    for file in index.all().filter(|file| file.max_time_ms < oldest_ms) {
        let mut is_needed = false;
        for span in &file.offsets {
            let place = (file.topic.as_str(), span.partition);
            let from = match asked.get(&place) {
                Some(from) => *from,
                None => *asked.entry(place).or_insert(needed(place.0, place.1)?),
            };
            is_needed |= from.is_some_and(|from| span.to > from);
        }
        if !is_needed {
            expired.push(file);
        }
    }
    Ok(expired)
}

fn small_groups<'a>(index: &'a ArchiveIndex, policy: &CompactionPolicy, gone: &[String]) -> Vec<Vec<&'a ArchivedFile>> {
    let mut groups: BTreeMap<(&str, &str, i64), Vec<&ArchivedFile>> = BTreeMap::new();
    for file in index.all().filter(|file| file.bytes < policy.small_bytes && !gone.contains(&file.path)) {
        groups.entry((&file.topic, &file.model, file.day)).or_default().push(file);
    }
    groups.into_values().filter(|group| group.len() >= policy.least_files.max(2)).collect()
}

fn merge(store: &Store, group: &[&ArchivedFile]) -> Result<ArchivedFile, CompactionError> {
    let Some(first) = group.first() else {
        return Err(StageError::failed("merging archive files", "there are none").into());
    };
    let mut rows = Vec::new();
    for file in group {
        let read = from_parquet(store.read(&file.path)?);
        rows.push(read.map_err(|source| CompactionError::File { path: file.path.clone(), source })?);
    }
    let rows = in_log_order(&rows)?;
    let of_first = |source| CompactionError::File { path: first.path.clone(), source };
    let bytes = to_parquet(&rows.schema(), std::slice::from_ref(&rows)).map_err(of_first)?;
    let digest = digest(&bytes);
    let folder = first.path.rsplit_once('/').map_or("archive", |(folder, _)| folder);
    let path = format!("{folder}/{}-compacted.parquet", digest.get(..16).unwrap_or(&digest));
    let merged = ArchivedFile {
        path: path.clone(),
        rows: rows.num_rows() as u64,
        bytes: bytes.len() as u64,
        digest,
        min_time_ms: group.iter().map(|file| file.min_time_ms).min().unwrap_or(first.min_time_ms),
        max_time_ms: group.iter().map(|file| file.max_time_ms).max().unwrap_or(first.max_time_ms),
        offsets: offset_spans(&rows)?,
        ..(*first).clone()
    };
    store.write(&path, bytes)?;
    Ok(merged)
}
