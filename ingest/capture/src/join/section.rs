//! A sorted list of items in a run's file: looked into page by page, or walked through from its beginning.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The key of the checksums of one file, which no other file and no other run has.
#[derive(Debug)]
pub(super) struct ChecksumKey(RandomState);

impl ChecksumKey {
    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    /// The checksum of bytes at their place in the file.
    pub(super) fn of(&self, at: u64, bytes: &[u8]) -> u64 {
        self.0.hash_one((at, bytes))
    }
}

/// Where a record stands, under a key by which it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// A hash, or a time by [`time_key`].
    pub(super) key: u64,
    /// Of its record in the file.
    pub(super) offset: u64,
    /// Of its record among all.
    pub(super) ordinal: u32,
    pub(super) marks: ItemMarks,
}

/// What need not be read in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ItemMarks {
    /// It is all that its record holds.
    pub(super) alone: bool,
    /// It is a prediction whose label had come, or had been declared absent, when the run was written, or a label that had
    /// found a prediction.
    pub(super) counted: bool,
}

/// Times in the order of their keys.
pub(super) fn time_key(time_ms: i64) -> u64 {
    time_ms as u64 ^ (1 << 63)
}

impl Item {
    const BYTES: usize = 21;

    /// The time that its key stands for.
    pub(super) fn time_ms(&self) -> i64 {
        (self.key ^ (1 << 63)) as i64
    }

    fn put(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.key.to_le_bytes());
        page.extend_from_slice(&self.offset.to_le_bytes());
        page.extend_from_slice(&self.ordinal.to_le_bytes());
        page.push(u8::from(self.marks.alone) | u8::from(self.marks.counted) << 1);
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (ordinal, rest) = rest.split_first_chunk()?;
        let marks = rest.first()?;
        Some(Self {
            key: u64::from_le_bytes(*key),
            offset: u64::from_le_bytes(*offset),
            ordinal: u32::from_le_bytes(*ordinal),
            marks: ItemMarks { alone: marks & 1 != 0, counted: marks & 2 != 0 },
        })
    }
}

/// A list of items: pages of equal length, each with its checksum.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section {
    start: u64,
    items: usize,
}

impl Section {
    /// Items of a page.
    pub(super) const PAGE: usize = 128;
    const PAGE_BYTES: usize = Self::PAGE * Item::BYTES + 8;

    /// Writes the items, which are sorted, at this place of the file.
    pub(super) fn write(file: &mut impl Write, start: u64, items: &[Item], seal: &ChecksumKey) -> io::Result<Self> {
        let mut page = Vec::with_capacity(Self::PAGE_BYTES);
        let section = Self { start, items: items.len() };
        for (number, items) in items.chunks(Self::PAGE).enumerate() {
            page.clear();
            items.iter().for_each(|item| item.put(&mut page));
            let checksum = seal.of(section.place(number), &page);
            page.extend_from_slice(&checksum.to_le_bytes());
            file.write_all(&page)?;
        }
        Ok(section)
    }

    /// Where it begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.start + (self.items * Item::BYTES + self.items.div_ceil(Self::PAGE) * 8) as u64
    }

    /// The items of a page; none beyond the last.
    pub(super) fn page(&self, file: &File, number: usize, seal: &ChecksumKey) -> io::Result<Vec<Item>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the checksum of a page is wrong");
        let items = self.items.saturating_sub(number * Self::PAGE).min(Self::PAGE);
        if items == 0 {
            return Ok(Vec::new());
        }
        let mut page = vec![0; items * Item::BYTES + 8];
        let at = self.place(number);
        file.read_exact_at(&mut page, at)?;
        let (page, checksum) = page.split_last_chunk::<8>().ok_or_else(damaged)?;
        if seal.of(at, page) != u64::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        page.chunks_exact(Item::BYTES).map(|item| Item::of(item).ok_or_else(damaged)).collect()
    }

    fn place(&self, page: usize) -> u64 {
        self.start + (page * Self::PAGE_BYTES) as u64
    }
}

/// A section by times, as far as it has been walked through.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    section: Section,
    /// The number of the next item.
    next: usize,
    /// Its key; `None` at the end.
    next_key: Option<u64>,
    /// Items are due so long after the times that they stand under.
    delay_ms: i64,
    /// The page of the next item, while it is walked through.
    page: Option<Vec<Item>>,
}

impl Walk {
    /// A walk that begins with the item of this key.
    pub(super) fn new(section: Section, first_key: Option<u64>) -> Self {
        Self { section, next_key: first_key, ..Self::default() }
    }

    /// The same walk, for what is due after a delay; one that is at its end where there is none.
    pub(super) fn later_by(&self, delay_ms: Option<i64>) -> Self {
        match delay_ms {
            Some(delay_ms) => Self { delay_ms, ..self.clone() },
            None => Self::default(),
        }
    }

    /// The next item that was due before this time.
    pub(super) fn next_before(&mut self, before_ms: i64, path: &Path, seal: &ChecksumKey) -> io::Result<Option<Item>> {
        let Some(key) = self.next_key.filter(|key| self.is_due(*key, before_ms)) else {
            self.page = None;
            return Ok(None);
        };
        let page = match self.page.take() {
            Some(page) => page,
            None => self.section.page(&File::open(path)?, self.next / Section::PAGE, seal)?,
        };
        let lacking = || io::Error::new(io::ErrorKind::InvalidData, "an item is missing");
        let item = page.get(self.next % Section::PAGE).copied().filter(|item| item.key == key).ok_or_else(lacking)?;
        self.next += 1;
        self.page = match self.next % Section::PAGE {
            0 => Some(self.section.page(&File::open(path)?, self.next / Section::PAGE, seal)?),
            _ => Some(page),
        };
        self.next_key = self.page.as_ref().and_then(|page| page.get(self.next % Section::PAGE)).map(|item| item.key);
        Ok(Some(item))
    }

    fn is_due(&self, key: u64, before_ms: i64) -> bool {
        ((key ^ (1 << 63)) as i64).saturating_add(self.delay_ms) < before_ms
    }
}
