//! How many records were acknowledged, noted beside the log.
//!
//! SQLite takes the end of a write-ahead file that was cut, emptied or overwritten for the end of what was written, and an
//! older copy of the log for the log. So the writer notes in `driftline.lock` how many records the log has ever taken, after
//! a transaction and before those who wait hear of it. A log that has fewer is not used.
//!
//! The note is not forced to the disk: a process that is killed leaves it with the system, and after a power cut an older one
//! is no harm. Where durability is not [`Durability::Full`](super::Durability::Full) a power cut may take acknowledged
//! records, so the note counts only while the system has not been started anew.

use super::Durability;
use super::failure::Site;
use crate::log::LogError;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// Where the note stands in `driftline.lock`: behind the line that says how the last use ended.
const PLACE: u64 = 20;
/// What tells one run of the system from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acknowledged {
    /// Records that the log had ever taken.
    records: i64,
    /// The run of the system in which that was.
    boot: String,
}

/// The hand that notes.
pub(super) struct Note {
    file: File,
    site: Site,
    boot: String,
    noted: i64,
}

impl Acknowledged {
    /// Reads the words of a note; `None` where there is none, as in a lock file of before.
    pub(super) fn read<'w>(mut words: impl Iterator<Item = &'w str>) -> Option<Self> {
        Some(Self { records: words.next()?.parse().ok()?, boot: words.next()?.to_owned() })
    }

    /// Whether a log that has taken so many records lacks some.
    ///
    /// # Errors
    /// When it does.
    pub(super) fn check(&self, records: i64, durability: Durability, site: &Site) -> Result<(), LogError> {
        let is_bound = durability == Durability::Full || self.boot == boot();
        if records >= self.records || !is_bound {
            return Ok(());
        }
        Err(site.unusable(format!(
            "{} of {} records that were acknowledged are gone: driftline.db-wal was cut, emptied or overwritten, or \
             driftline.db is an older copy; to accept their loss delete driftline.lock",
            self.records - records,
            self.records
        )))
    }
}

impl Note {
    /// Begins to note.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(site: &Site) -> Result<Self, LogError> {
        let file = OpenOptions::new().write(true).open(site.directory.join("driftline.lock"));
        let file = file.map_err(|error| site.io("opening driftline.lock", error))?;
        Ok(Self { file, site: site.clone(), boot: boot(), noted: -1 })
    }

    /// Notes how many records the log has taken.
    pub(super) fn note(&mut self, records: i64) {
        if records == self.noted {
            return;
        }
        let line = format!("{records:>19} {}\n", self.boot);
        match self.file.write_all_at(line.as_bytes(), PLACE) {
            Ok(()) => self.noted = records,
            // The records themselves are safe; only a loss of them would go unnoticed.
            Err(error) => {
                tracing::warn!(%error, directory = %self.site.directory.display(), "could not note how many records the log has taken");
            }
        }
    }
}

/// The run of the system; a word that is always the same where it does not tell.
fn boot() -> String {
    let told = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    told.split_whitespace().next().unwrap_or("-").to_owned()
}
