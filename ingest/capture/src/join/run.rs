//! A sealed run: ids that were the oldest in memory, as a file that never changes.
//!
//! ```text
//! record… (length, checksum, bytes)      in the order of their times
//! index        by the hash of the id
//! predictions  by their times
//! labels       by theirs
//! ```
//!
//! Of each id there stays in memory: a share of a Bloom filter, of which about one look-up in two hundred learns nothing,
//! a share of the index's first level, and one bit that says whether it is here no more. Less than two bytes.
//!
//! Every page of the sections and every record carries a checksum under the key of this run, so that a damaged file is an
//! error and never an id that is not found. The file is opened anew each time: there may be more runs than a process may
//! have files, and one that was deleted is noticed.

use super::entry::{Entry, id_of};
use super::memory::Due;
use super::section::{ChecksumKey, Item, ItemMarks, Section, Walk, time_key};
use super::space::SpaceError;
use parquet::bloom_filter::Sbbf;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bits of the filter for each id.
const FILTER_BITS: usize = 12;
const FILTER_BLOCK_BYTES: usize = 32;
/// Bytes before a record: its length and its checksum.
const HEAD: usize = 12;
/// What is read of a record at once; most are shorter.
const FIRST_READ: usize = 512;

/// A file of records.
#[derive(Debug)]
pub(super) struct Run {
    path: PathBuf,
    seal: ChecksumKey,
    filter: Sbbf,
    index: Section,
    /// The hash at the beginning of each page of the index.
    first_hashes: Vec<u64>,
    predictions: Walk,
    labels: Walk,
    declarations: Walk,
    /// One bit for each record: whether it is here no more.
    gone: Vec<u64>,
    live: usize,
    /// Absent labels have been declared of the predictions for which that was due before this.
    declared_to_ms: Option<i64>,
}

/// What is told of the records as they are written.
#[derive(Default)]
struct Contents {
    index: Vec<Item>,
    predictions: Vec<Item>,
    labels: Vec<Item>,
}

impl Run {
    /// Writes a run of these records and their hashes; leaves no file where that fails.
    pub(super) fn write(
        path: PathBuf,
        records: impl Iterator<Item = (u64, Box<[u8]>)>,
        declared_after_ms: Option<i64>,
    ) -> Result<Self, SpaceError> {
        let written = File::create_new(&path).and_then(|file| Self::write_to(file, records));
        match written {
            Ok(mut run) => {
                run.path = path;
                run.declarations = run.predictions.later_by(declared_after_ms);
                Ok(run)
            }
            Err(source) => {
                // What is left of it goes with the folder.
                let _ = std::fs::remove_file(&path);
                Err(SpaceError::Write { path, source })
            }
        }
    }

    pub(super) fn write_to(file: File, records: impl Iterator<Item = (u64, Box<[u8]>)>) -> io::Result<Self> {
        let seal = ChecksumKey::new();
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let (contents, mut at) = Contents::write(&mut file, records, &seal)?;
        let Contents { index, predictions, labels } = contents.sorted();
        let mut section = |items: &[Item]| {
            let section = Section::write(&mut file, at, items, &seal)?;
            at = section.end();
            io::Result::Ok(section)
        };
        let sections = (section(&index)?, section(&predictions)?, section(&labels)?);
        file.flush()?;
        let first = |items: &[Item]| items.first().map(|item| item.key);
        Ok(Self {
            path: PathBuf::new(),
            filter: filter(&index),
            first_hashes: index.chunks(Section::PAGE).filter_map(first).collect(),
            gone: vec![0; index.len().div_ceil(64)],
            live: index.len(),
            index: sections.0,
            predictions: Walk::new(sections.1, first(&predictions)),
            labels: Walk::new(sections.2, first(&labels)),
            declarations: Walk::default(),
            declared_to_ms: None,
            seal,
        })
    }

    /// How many of its ids are here still.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn declared_to_ms(&self) -> Option<i64> {
        self.declared_to_ms
    }

    /// Notes that what was due before this has been declared.
    pub(super) fn declare_to(&mut self, time_ms: i64) {
        self.declared_to_ms = self.declared_to_ms.max(Some(time_ms));
    }

    /// The ordinal and the record of an id, if it is here still.
    pub(super) fn find(&self, hash: u64, id: &str) -> Result<Option<(u32, Vec<u8>)>, SpaceError> {
        if !self.filter.check(hash.to_le_bytes().as_slice()) {
            return Ok(None);
        }
        self.look_up(hash, id).map_err(|source| self.unreadable(source))
    }

    fn look_up(&self, hash: u64, id: &str) -> io::Result<Option<(u32, Vec<u8>)>> {
        let from = self.first_hashes.partition_point(|first| *first < hash).saturating_sub(1);
        let pages = self.first_hashes.iter().enumerate().skip(from).take_while(|(_, first)| **first <= hash);
        let mut file = None;
        for (page, _) in pages {
            let file = match &mut file {
                Some(file) => file,
                none => none.insert(File::open(&self.path)?),
            };
            let items = self.index.page(file, page, &self.seal)?;
            let start = items.partition_point(|item| item.key < hash);
            for item in items.iter().skip(start).take_while(|item| item.key == hash) {
                if self.is_gone(item.ordinal) {
                    continue;
                }
                let record = self.record(file, item)?;
                if id_of(&record) == id.as_bytes() {
                    return Ok(Some((item.ordinal, record)));
                }
            }
        }
        Ok(None)
    }

    /// The next item of a kind that was due before this time, and whose record is here still.
    pub(super) fn next_due(&mut self, due: Due, before_ms: i64) -> Result<Option<Item>, SpaceError> {
        loop {
            let walk = match due {
                Due::Prediction => &mut self.predictions,
                Due::Label => &mut self.labels,
                Due::Declaration => &mut self.declarations,
            };
            let next = walk.next_before(before_ms, &self.path, &self.seal);
            match next.map_err(|source| self.unreadable(source))? {
                Some(item) if self.is_gone(item.ordinal) => {}
                next => return Ok(next),
            }
        }
    }

    /// The entry of an item, with its id.
    pub(super) fn entry(&self, item: &Item) -> Result<(String, Entry), SpaceError> {
        let record = File::open(&self.path).and_then(|file| self.record(&file, item));
        let record = record.map_err(|source| self.unreadable(source))?;
        self.unpack(&record)
    }

    /// What a record of this run holds.
    pub(super) fn unpack(&self, record: &[u8]) -> Result<(String, Entry), SpaceError> {
        let unpacked = Entry::unpack(record).map(|(id, entry)| (id.to_owned(), entry));
        unpacked.ok_or_else(|| self.unreadable(io::Error::new(io::ErrorKind::InvalidData, "a record is malformed")))
    }

    /// Lets go of a record.
    pub(super) fn remove(&mut self, ordinal: u32) {
        let bit = 1 << (ordinal % 64);
        if let Some(word) = self.gone.get_mut(ordinal as usize / 64).filter(|word| **word & bit == 0) {
            *word |= bit;
            self.live -= 1;
        }
    }

    fn is_gone(&self, ordinal: u32) -> bool {
        self.gone.get(ordinal as usize / 64).is_none_or(|word| word & (1 << (ordinal % 64)) != 0)
    }

    fn record(&self, file: &File, item: &Item) -> io::Result<Vec<u8>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the checksum of a record is wrong");
        let mut read = vec![0; FIRST_READ];
        let length = file.read_at(&mut read, item.offset)?;
        read.truncate(length);
        let (head, body) = read.split_at_checked(HEAD).ok_or_else(damaged)?;
        let (length, checksum) = head.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let record = match body.get(..length) {
            Some(record) => record.to_vec(),
            None if item.offset.saturating_add(length as u64) > self.index.start() => return Err(damaged()),
            None => {
                let mut record = vec![0; length];
                file.read_exact_at(&mut record, item.offset + HEAD as u64)?;
                record
            }
        };
        if checksum == self.seal.of(item.offset, &record).to_le_bytes() { Ok(record) } else { Err(damaged()) }
    }

    fn unreadable(&self, source: io::Error) -> SpaceError {
        SpaceError::Read { path: self.path.clone(), source }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What stays goes with the folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Contents {
    /// Writes the records; says what they are, and where the file ends.
    fn write(
        file: &mut impl Write,
        records: impl Iterator<Item = (u64, Box<[u8]>)>,
        seal: &ChecksumKey,
    ) -> io::Result<(Self, u64)> {
        let (mut contents, mut at) = (Self::default(), 0);
        for (hash, record) in records {
            contents.add(hash, at, &record)?;
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            file.write_all(&length.to_le_bytes())?;
            file.write_all(&seal.of(at, &record).to_le_bytes())?;
            file.write_all(&record)?;
            at += (HEAD + record.len()) as u64;
        }
        Ok((contents, at))
    }

    fn sorted(mut self) -> Self {
        for items in [&mut self.index, &mut self.predictions, &mut self.labels] {
            items.sort_unstable_by_key(|item| item.key);
        }
        self
    }

    fn add(&mut self, hash: u64, offset: u64, record: &[u8]) -> io::Result<()> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a record in memory is malformed");
        let (_, entry) = Entry::unpack(record).ok_or_else(malformed)?;
        let ordinal = u32::try_from(self.index.len()).map_err(io::Error::other)?;
        let alone = entry.items() == 1;
        let item = |key, counted| Item { key, offset, ordinal, marks: ItemMarks { alone, counted } };
        self.index.push(item(hash, false));
        for held in &entry.predictions {
            self.predictions.push(item(time_key(held.time_ms), held.counted.is_some()));
        }
        self.labels.extend(entry.labels.iter().map(|held| item(time_key(held.label.time_ms), held.has_met)));
        Ok(())
    }
}

fn filter(index: &[Item]) -> Sbbf {
    let blocks = (index.len() * FILTER_BITS).div_ceil(8 * FILTER_BLOCK_BYTES).max(1);
    let mut filter = Sbbf::new(&vec![0; blocks * FILTER_BLOCK_BYTES]);
    for item in index {
        filter.insert(item.key.to_le_bytes().as_slice());
    }
    filter
}
