//! The tables of the embedded log, and how rows are laid out.
//!
//! `records.place` is the row id, and so the order in the tree: partition id in the high bits, offset in the low 40.
//! `records.position` is the number of bytes that the partition took before this record, ever; the difference of two
//! positions is a size, so retention by bytes needs no counting. Both, and `append_ms`, stand before the value: SQLite
//! reads them without touching the pages that the value spills to.
//!
//! `partitions.first_*` and `last_append_ms` are written by retention only; what came after is found at the last record.

use super::failure::Site;
use super::{Durability, Options};
use crate::log::{Headers, LogError, Offset};
use bytes::Bytes;
use rusqlite::Connection;
use std::time::Duration;

/// "DrLg", in the header of every log.
pub(super) const APPLICATION_ID: u32 = 0x4472_4c67;
/// The layout below; a file with a higher number was written by a newer program.
pub(super) const FORMAT: u32 = 1;
/// Large enough that a record of 80 KB spills to few pages, small enough that a commit of a few bytes writes little.
pub(super) const PAGE_BYTES: u32 = 32 << 10;

/// Offsets below this fit beside a partition id; a partition would fill it in 35 years at a thousand records a second.
pub(super) const OFFSET_BITS: u32 = 40;
/// Partition ids up to this leave every row id positive.
pub(super) const LAST_PARTITION_ID: i64 = (1 << (62 - OFFSET_BITS)) - 1;

const TABLES: &str = "
CREATE TABLE topics (
    name TEXT PRIMARY KEY,
    partitions INTEGER NOT NULL,
    retention_age_ms INTEGER,
    retention_bytes INTEGER
) WITHOUT ROWID;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL REFERENCES topics (name),
    number INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0,
    first_position INTEGER NOT NULL DEFAULT 0,
    last_append_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);
CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    append_ms INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key BLOB,
    headers BLOB,
    value BLOB
);
CREATE TABLE progress (
    consumer TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
) WITHOUT ROWID;
CREATE TABLE snapshots (
    consumer TEXT PRIMARY KEY,
    state BLOB NOT NULL
);
";

/// Lays out an empty log in a new file.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(&format!(
        "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))
}

/// Settings of the one connection that writes.
pub(super) fn prepare_writer(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match options.synchronous {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
        Durability::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -(16 << 10))?;
    // Fold the write-ahead file in every 32 MiB, and give its space back after a large transaction.
    connection.pragma_update(None, "wal_autocheckpoint", (32 << 20) / PAGE_BYTES)?;
    connection.pragma_update(None, "journal_size_limit", i64::try_from(options.wal_bytes).unwrap_or(i64::MAX))?;
    if let Some(bytes) = options.max_bytes {
        let pages = (bytes / u64::from(PAGE_BYTES)).max(1);
        connection.pragma_update(None, "max_page_count", i64::try_from(pages).unwrap_or(i64::MAX))?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Settings of a connection that reads.
pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -(4 << 10))?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(())
}

/// The row id of an offset.
pub(super) fn place(partition_id: i64, offset: Offset) -> i64 {
    debug_assert!((0..=1 << OFFSET_BITS).contains(&offset), "offsets are checked when they are given out");
    (partition_id << OFFSET_BITS) + offset
}

/// The offset of a row id.
pub(super) fn offset_of(place: i64) -> Offset {
    place & ((1 << OFFSET_BITS) - 1)
}

/// Headers as one blob, each name and value behind its length; `None` where there are none.
pub(super) fn encode_headers(headers: &[(String, Bytes)]) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let mut blob = Vec::new();
    for (name, value) in headers {
        for part in [name.as_bytes(), value.as_ref()] {
            blob.extend_from_slice(&(part.len() as u64).to_le_bytes());
            blob.extend_from_slice(part);
        }
    }
    Some(blob)
}

/// The inverse of [`encode_headers`].
pub(super) fn decode_headers(blob: &[u8], site: &Site) -> Result<Headers, LogError> {
    let damaged = || site.unusable("the headers of a record are damaged");
    let mut rest = blob;
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let (name, after_name) = split_part(rest).ok_or_else(damaged)?;
        let (value, after_value) = split_part(after_name).ok_or_else(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        headers.push((name.to_owned(), Bytes::copy_from_slice(value)));
        rest = after_value;
    }
    Ok(headers.into())
}

fn split_part(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blob.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}
