//! The table of a categorical column: categories that are counted by name, and those that are only known to exist.

use super::LayoutError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The most categories that are counted by name.
pub const MOST_KNOWN: usize = 100;
/// The most further categories of the reference that are remembered as `other`.
pub const MOST_OTHER: usize = 10_000;

/// Where a category is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CategoryPlace {
    /// Under its own name: its place among the known categories.
    Known(usize),
    /// The reference has it, but not among its most frequent.
    Other,
    /// The reference does not have it.
    Unseen,
}

/// The categories of a column that are counted by name, and those that are known to exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredCategories", into = "StoredCategories")]
pub struct CategoryTable {
    known: Vec<String>,
    other: BTreeSet<String>,
    places: HashMap<String, CategoryPlace, BuildHasherDefault<NameHasher>>,
}

impl CategoryTable {
    /// The most frequent of `values` by name ([`MOST_KNOWN`], ties in the order of names), the next [`MOST_OTHER`]
    /// remembered as `other`. What a reference has beyond that counts as unseen, in the reference too.
    pub fn learn<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
        ranked.sort_unstable_by(|(name, count), (name_b, count_b)| count_b.cmp(count).then(name.cmp(name_b)));
        let mut names = ranked.into_iter().map(|(name, _)| name.to_owned());
        let known: Vec<String> = names.by_ref().take(MOST_KNOWN).collect();
        let other: BTreeSet<String> = names.take(MOST_OTHER).collect();
        Self::assemble(known, other)
    }

    fn assemble(known: Vec<String>, other: BTreeSet<String>) -> Self {
        let others = other.iter().map(|name| (name.clone(), CategoryPlace::Other));
        let named = known.iter().enumerate().map(|(place, name)| (name.clone(), CategoryPlace::Known(place)));
        let places = others.chain(named).collect();
        Self { known, other, places }
    }

    /// The categories counted by name, most frequent first.
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// Where `category` is counted.
    #[inline]
    pub fn place(&self, category: &str) -> CategoryPlace {
        self.places.get(category).copied().unwrap_or(CategoryPlace::Unseen)
    }
}

/// A hash of names, a word of eight bytes at a time.
///
/// Whoever sends events can choose names whose hashes collide, but cannot add names to a table: a look-up stays short.
#[derive(Debug, Clone, Default)]
struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        // An odd number with its bits well spread (2⁶⁴ over the golden ratio); both halves of the product are mixed.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        // The length keeps apart what differs by zeros at its end, and zero from nothing.
        self.add(rest.iter().fold(bytes.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }

    #[inline]
    fn write_u8(&mut self, _end: u8) {
        // The mark that `str` puts behind its bytes tells neighbouring fields apart; here a name stands alone.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is stored of a table; the lookup is rebuilt.
#[derive(Serialize, Deserialize)]
struct StoredCategories {
    known: Vec<String>,
    other: BTreeSet<String>,
}

impl From<CategoryTable> for StoredCategories {
    fn from(table: CategoryTable) -> Self {
        Self { known: table.known, other: table.other }
    }
}

impl TryFrom<StoredCategories> for CategoryTable {
    type Error = LayoutError;

    fn try_from(stored: StoredCategories) -> Result<Self, LayoutError> {
        let mut seen = BTreeSet::new();
        for category in &stored.known {
            if !seen.insert(category) || stored.other.contains(category) || seen.len() > MOST_KNOWN {
                return Err(LayoutError::CategoryTable { category: category.clone() });
            }
        }
        Ok(Self::assemble(stored.known, stored.other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_categories_of_the_reference_are_other_and_new_ones_unseen() {
        let names: Vec<String> = (0..150).map(|i| format!("c{i:03}")).collect();
        let table = CategoryTable::learn(names.iter().map(String::as_str).chain(["c149", "c149", "c148"]));
        assert_eq!(table.place("c149"), CategoryPlace::Known(0));
        assert_eq!(table.place("c148"), CategoryPlace::Known(1));
        assert_eq!(table.place("c000"), CategoryPlace::Known(2));
        assert_eq!(table.place("c120"), CategoryPlace::Other);
        assert_eq!(table.place("new"), CategoryPlace::Unseen);
    }
}
