//! The log's directory: who has it open, whether the last use ended in order, and whether the file may be used.
//!
//! `driftline.lock` is locked for as long as the log is open; the system lets go of it when the process ends, however it
//! ends. In it stand the process id and one word:
//!
//! | word | written | what the next open expects |
//! |---|---|---|
//! | none | never opened, or killed while it was being created | any complete log, or nothing |
//! | `open` | after the log was opened | an unclean end: a log **and** its write-ahead file, both checked |
//! | `closing` | before it is closed | an unclean end: a log, checked |
//! | `closed` | after it was closed | a log whose length agrees with its header |
//!
//! A second line holds what was acknowledged (see `acknowledged`).
//!
//! A new log is laid out under another name and moved into place, so that a half-made one is never taken for a log.

use super::acknowledged::Acknowledged;
use super::failure::Site;
use super::{Durability, Options, schema};
use crate::log::LogError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Files up to this size are checked whole after an unclean end; of larger ones the ends of every partition are read, so
/// that a start takes seconds and not an hour.
const CHECKED_WHOLE_BYTES: u64 = 1 << 30;

/// How the last use ended, in the words of the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastUse {
    Never,
    Open,
    Closing,
    Closed,
}

/// A locked directory.
pub(super) struct Directory {
    site: Site,
    lock: File,
    last_use: LastUse,
    acknowledged: Option<Acknowledged>,
}

impl Directory {
    /// Locks it, creating it if need be.
    pub(super) fn lock(path: &Path) -> Result<Self, LogError> {
        let site = Site::new(path);
        std::fs::create_dir_all(path).map_err(|error| site.io("creating the directory", error))?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join("driftline.lock"))
            .map_err(|error| site.io("opening driftline.lock", error))?;
        let locked = lock.try_lock();
        let mut content = String::new();
        if let Err(error) = lock.read_to_string(&mut content) {
            return Err(site.io("reading driftline.lock", error));
        }
        let mut words = content.split_whitespace();
        let holder = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        match locked {
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse { directory: site.directory, holder }),
            Err(TryLockError::Error(error)) => return Err(site.io("locking driftline.lock", error)),
            Ok(()) => {}
        }
        let last_use = match words.next() {
            Some("open") => LastUse::Open,
            Some("closing") => LastUse::Closing,
            Some("closed") => LastUse::Closed,
            _ => LastUse::Never,
        };
        let mut locked = Self { site, lock, last_use, acknowledged: Acknowledged::read(words) };
        // The next one to be turned away is told of this process, not of the last.
        locked.write_mark(match last_use {
            LastUse::Never => "",
            LastUse::Open => "open",
            LastUse::Closing => "closing",
            LastUse::Closed => "closed",
        })?;
        Ok(locked)
    }

    /// Where the log lies.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Opens the log for writing after checking it, or creates it.
    pub(super) fn open_log(&self, options: &Options) -> Result<Connection, LogError> {
        let length = self.length_of(&self.site.file)?;
        let wal = self.length_of(&self.site.wal())?;
        let Some(length) = length.filter(|length| *length > 0) else {
            self.must_be_new(length, wal)?;
            self.create()?;
            return self.connect(options);
        };
        if self.last_use == LastUse::Open && wal.is_none() {
            return Err(self.site.unusable(
                "its last use did not end in order, and driftline.db-wal with its latest records is gone; \
                 to accept their loss delete driftline.lock",
            ));
        }
        let wal_is_empty = wal.unwrap_or(0) == 0;
        // Pages that are still in the write-ahead file may be missing or half-written here; without it nothing may be.
        if !self.header_fits(length)? && wal_is_empty {
            return Err(self.site.unusable(format!("its length of {length} bytes is not what its header says")));
        }
        let connection = self.connect(options)?;
        let in_order = self.last_use == LastUse::Closed && wal_is_empty;
        if !in_order {
            self.check(&connection, length)?;
        }
        Ok(connection)
    }

    /// The connection to a log that has taken so many records, if that are all that were acknowledged.
    pub(super) fn with_all_acknowledged(
        &self,
        connection: Connection,
        records: i64,
        durability: Durability,
    ) -> Result<Connection, LogError> {
        let noted = self.acknowledged.as_ref();
        let checked = noted.map_or(Ok(()), |noted| noted.check(records, durability, &self.site));
        if checked.is_err() {
            // What is left is left as it is, for whoever can mend it.
            let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            kept.map_err(|error| self.site.sqlite("leaving the log as it is", error))?;
        }
        checked.map(|()| connection)
    }

    /// Says that the log is open: from now on an end that is not announced is an unclean one.
    pub(super) fn mark_open(&mut self) -> Result<(), LogError> {
        self.write_mark("open")
    }

    /// Says that the log is about to be closed.
    pub(super) fn mark_closing(&mut self) {
        self.mark_or_warn("closing");
    }

    /// Says that the log was closed in order.
    pub(super) fn mark_closed(&mut self) {
        self.mark_or_warn("closed");
    }

    fn mark_or_warn(&mut self, word: &str) {
        if let Err(error) = self.write_mark(word) {
            // The log itself is safe; without the mark the next start checks it.
            tracing::warn!(%error, directory = %self.site.directory.display(), "could not mark the log as {word}");
        }
    }

    fn write_mark(&mut self, word: &str) -> Result<(), LogError> {
        // Always the same length, written over what is there: a crash leaves the old line or the new one.
        let line = format!("{:>10} {word:<8}\n", std::process::id());
        self.lock
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.lock.write_all(line.as_bytes()))
            .and_then(|()| self.lock.sync_data())
            .map_err(|error| self.site.io("writing driftline.lock", error))
    }

    fn length_of(&self, path: &Path) -> Result<Option<u64>, LogError> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.site.io("looking for the log", error)),
        }
    }

    /// There is no log; is there a sign that there was one?
    fn must_be_new(&self, length: Option<u64>, wal: Option<u64>) -> Result<(), LogError> {
        let what = if length.is_some() { "it is empty" } else { "it is missing" };
        if self.last_use != LastUse::Never {
            return Err(self.site.unusable(format!("{what}, but driftline.lock says that a log was here")));
        }
        if wal.is_some() {
            return Err(self.site.unusable(format!("{what}, but driftline.db-wal holds records of it")));
        }
        if length.is_some() {
            return Err(self.site.unusable(format!("{what}, and a log never is")));
        }
        Ok(())
    }

    fn create(&self) -> Result<(), LogError> {
        let draft = self.site.directory.join("driftline.db.new");
        for leftover in ["driftline.db.new", "driftline.db.new-wal", "driftline.db.new-shm"] {
            match std::fs::remove_file(self.site.directory.join(leftover)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.site.io("removing a half-made log", error));
                }
                _ => {}
            }
        }
        let connection = Connection::open(&draft).map_err(|error| self.site.sqlite("creating the log", error))?;
        schema::create(&connection).map_err(|error| self.site.sqlite("creating the log", error))?;
        connection.close().map_err(|(_, error)| self.site.sqlite("creating the log", error))?;
        std::fs::rename(&draft, &self.site.file)
            .and_then(|()| File::open(&self.site.directory)?.sync_all())
            .map_err(|error| self.site.io("moving the new log into place", error))
    }

    fn connect(&self, options: &Options) -> Result<Connection, LogError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let doing = "opening the log";
        let connection =
            Connection::open_with_flags(&self.site.file, flags).map_err(|error| self.site.sqlite(doing, error))?;
        schema::prepare_writer(&connection, options).map_err(|error| self.site.sqlite(doing, error))?;
        Ok(connection)
    }

    /// Reads the header: whose file it is, which format it has, and whether its length is as it says.
    fn header_fits(&self, length: u64) -> Result<bool, LogError> {
        let mut header = [0_u8; 100];
        let read = File::open(&self.site.file).and_then(|mut file| file.read_exact(&mut header));
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.site.unusable("it is shorter than a header"));
            }
            Err(error) => return Err(self.site.io("reading the header", error)),
            Ok(()) => {}
        }
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(self.site.unusable("it is not an SQLite file"));
        }
        if number_at(&header, 68) != schema::APPLICATION_ID {
            return Err(self.site.unusable("it belongs to another program"));
        }
        let format = number_at(&header, 60);
        if format > schema::FORMAT {
            return Err(self.site.unusable(format!(
                "it has format {format} and this program reads up to {}: use the newer program",
                schema::FORMAT
            )));
        }
        // Two bytes hold the page size, 1 meaning 64 KiB.
        let page_bytes = match number_at(&header, 14) & 0xffff {
            1 => 64 << 10,
            bytes => u64::from(bytes),
        };
        Ok(u64::from(number_at(&header, 28)) * page_bytes == length)
    }

    /// Looks for damage after an unclean end.
    fn check(&self, connection: &Connection, length: u64) -> Result<(), LogError> {
        let doing = "checking the log after an unclean end";
        let tables: &[&str] = if length <= CHECKED_WHOLE_BYTES {
            &["PRAGMA quick_check(1)"]
        } else {
            &["PRAGMA quick_check(topics)", "PRAGMA quick_check(partitions)", "PRAGMA quick_check(progress)"]
        };
        for check in tables {
            let finding: String =
                connection.query_row(check, [], |row| row.get(0)).map_err(|error| self.site.sqlite(doing, error))?;
            if finding != "ok" {
                return Err(self.site.unusable(format!("damaged: {}", finding.replace('\n', " "))));
            }
        }
        Ok(())
    }
}

/// The big-endian number at a place of the header.
fn number_at(header: &[u8; 100], place: usize) -> u32 {
    let bytes = header.get(place..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
