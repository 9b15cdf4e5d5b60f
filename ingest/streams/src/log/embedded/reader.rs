//! Reading: connections of their own, so that a reader waits neither for a transaction nor for another
//! reader; only for the folding in of a write-ahead file that has grown too large.

use super::catalogue::{Partition, Published};
use super::failure::Site;
use super::schema;
use crate::log::{Committed, Headers, LogError, Offset, PartitionId, ReadBudget, Record};
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections that are kept when nobody uses them; more are opened while more threads read.
const KEPT: usize = 8;

/// Read-only connections, lent to one thread at a time.
pub(super) struct Readers {
    site: Site,
    published: Arc<Published>,
    resting: Mutex<Vec<Connection>>,
}

/// What a read can fail with: the storage, or what it found there.
pub(super) enum ReadFailure {
    Sqlite(rusqlite::Error),
    Log(LogError),
}

impl From<rusqlite::Error> for ReadFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A connection and the place it leads to.
pub(super) struct Reader<'a> {
    connection: &'a Connection,
    site: &'a Site,
}

impl Readers {
    pub(super) fn new(site: Site, published: Arc<Published>) -> Self {
        Self { site, published, resting: Mutex::new(Vec::new()) }
    }

    /// Lends a connection for one read.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, ReadFailure>) -> Result<T, LogError> {
        let rested = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match rested {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let reading = self.published.folding.read().unwrap_or_else(PoisonError::into_inner);
        let outcome = read(&Reader { connection: &connection, site: &self.site });
        drop(reading);
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < KEPT {
            resting.push(connection);
        }
        drop(resting);
        outcome.map_err(|failure| match failure {
            ReadFailure::Sqlite(error) => self.site.sqlite("reading", error),
            ReadFailure::Log(error) => error,
        })
    }

    /// Closes every connection; called when no read can be under way.
    pub(super) fn close(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn connect(&self) -> Result<Connection, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.site.file, flags)
            .map_err(|error| self.site.sqlite("opening the log for reading", error))?;
        schema::prepare_reader(&connection).map_err(|error| self.site.sqlite("opening the log for reading", error))?;
        Ok(connection)
    }
}

/// Records of a partition from an offset on, as many as the budget allows and at least one.
pub(super) fn records(
    reader: &Reader<'_>,
    partition: &Partition,
    from: Offset,
    budget: ReadBudget,
) -> Result<Vec<Record>, ReadFailure> {
    let mut statement = reader.connection.prepare_cached(
        "SELECT place, append_ms, key, headers, value FROM records
         WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
    )?;
    let limit = i64::try_from(budget.records.max(1)).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![
        schema::place(partition.id, from),
        schema::place(partition.id, partition.end),
        limit
    ])?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = record_of_row(row, reader.site)?;
        bytes += record.value.as_ref().map_or(0, Bytes::len);
        if bytes > budget.bytes && !records.is_empty() {
            break;
        }
        records.push(record);
        if bytes >= budget.bytes {
            break;
        }
    }
    Ok(records)
}

fn record_of_row(row: &Row<'_>, site: &Site) -> Result<Record, ReadFailure> {
    let blob = |column| -> Result<Option<Bytes>, rusqlite::Error> {
        Ok(row.get_ref(column)?.as_blob_or_null()?.map(Bytes::copy_from_slice))
    };
    let headers = match row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
        Some(headers) => schema::decode_headers(headers, site).map_err(ReadFailure::Log)?,
        None => Headers::default(),
    };
    Ok(Record {
        offset: schema::offset_of(row.get(0)?),
        append_time_ms: row.get(1)?,
        key: blob(2)?,
        value: blob(4)?,
        headers,
    })
}

/// The first offset whose record was appended at or after a time; the end where there is none.
pub(super) fn first_appended_at(
    reader: &Reader<'_>,
    partition: &Partition,
    time_ms: i64,
) -> Result<Offset, ReadFailure> {
    first_reaching(reader, partition, ("SELECT append_ms FROM records WHERE place = ?1", time_ms))
}

/// The first offset before which the partition had taken at least so many bytes; the end where there is none.
pub(super) fn first_positioned_at(
    reader: &Reader<'_>,
    partition: &Partition,
    position: i64,
) -> Result<Offset, ReadFailure> {
    first_reaching(reader, partition, ("SELECT position FROM records WHERE place = ?1", position))
}

/// Binary search: append times and positions never fall, and offsets have no holes.
fn first_reaching(
    reader: &Reader<'_>,
    partition: &Partition,
    (sql, threshold): (&str, i64),
) -> Result<Offset, ReadFailure> {
    let mut statement = reader.connection.prepare_cached(sql)?;
    let (mut low, mut high) = (partition.first, partition.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<i64> =
            statement.query_row([schema::place(partition.id, middle)], |row| row.get(0)).optional()?;
        // A record that is gone has passed its retention since: it lies before what is sought.
        if found.is_some_and(|found| found >= threshold) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// What a group committed for a partition.
pub(super) fn committed(
    reader: &Reader<'_>,
    group: &str,
    (topic, partition): (&str, PartitionId),
) -> Result<Option<Committed>, ReadFailure> {
    let mut statement = reader.connection.prepare_cached(
        "SELECT next_offset, metadata FROM progress WHERE consumer = ?1 AND topic = ?2 AND partition = ?3",
    )?;
    let found = statement.query_row(params![group, topic, partition], |row| {
        Ok(Committed { offset: row.get(0)?, metadata: row.get(1)? })
    });
    Ok(found.optional()?)
}

/// The last snapshot that a group committed.
pub(super) fn snapshot(reader: &Reader<'_>, group: &str) -> Result<Option<Bytes>, ReadFailure> {
    let mut statement = reader.connection.prepare_cached("SELECT state FROM snapshots WHERE consumer = ?1")?;
    let found: Option<Vec<u8>> = statement.query_row([group], |row| row.get(0)).optional()?;
    Ok(found.map(Bytes::from))
}
