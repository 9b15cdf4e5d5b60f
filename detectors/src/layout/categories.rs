//! The table of a categorical column: categories that are counted by name, and those that are only known to exist.
//!
//! Where a column has more categories than are counted by name, or many that come once, those that are counted were chosen
//! for being frequent, and so are less frequent in all other rows; and some will come that the reference does not have. Both
//! would look like drift. So the choice is made by a quarter of the rows, and the others, which had no part in it, are what windows
//! are held against ([`crate::profile::ColumnProfile::fresh`]). How often an unseen category comes is told by those that one part of the
//! reference alone has (Good, 1953, for parts of one row). The quarter is made of parts that lie scattered: rows that come
//! in bursts are in one part together.

use super::LayoutError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The most categories that are counted by name.
pub const MOST_KNOWN: usize = 100;
/// The most further categories of the reference that are remembered as `other`.
pub const MOST_OTHER: usize = 10_000;

/// Into how many parts the values of a reference are cut, in their order.
const PARTS: usize = 64;
/// The share of the parts by which categories are chosen.
const CHOOSING: f64 = 0.25;
/// The fewest rows there by which a category is chosen: of rarer ones nothing is known but that they are rare.
const LEAST_CHOOSING: i64 = 5;
/// So many categories that come once make a long tail, if there is one in so many rows.
const LEAST_ONCE: usize = 5;
const ROWS_TO_ONE_ONCE: usize = 200;

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
    choice: Option<Choice>,
    places: HashMap<String, CategoryPlace, BuildHasherDefault<NameHasher>>,
}

/// The rows by which categories were chosen out of more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// How many of them each known category has.
    pub(crate) known: Vec<i64>,
    /// How many of them have another category.
    pub(crate) tail: i64,
    /// Rows, of all, whose category has a place and would have none without them: it is in their part of the reference alone,
    /// or too rare to be remembered.
    pub(crate) alone: i64,
    /// Rows whose category would come to that with one row less.
    pub(crate) nearly: i64,
}

/// What is counted of one category before it has a place.
#[derive(Default)]
struct Tally {
    rows: i64,
    choosing: i64,
    part: usize,
    is_alone: bool,
}

impl CategoryTable {
    /// All of `values` by name, the most frequent first, where they are [`MOST_KNOWN`] at the most and few come once. Else the
    /// most frequent by name, as a part of the rows tells, and the next [`MOST_OTHER`] remembered as `other`. What a reference has
    /// beyond that counts as unseen, in the reference too. Ties are in the order of names.
    pub fn learn<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ranked: Vec<(&str, Tally)> = tallies(values).into_iter().collect();
        ranked.sort_unstable_by(|(name, a), (name_b, b)| b.rows.cmp(&a.rows).then(name.cmp(name_b)));
        if !is_long_tailed(&ranked) {
            let known = ranked.into_iter().map(|(name, _)| name.to_owned()).collect();
            return Self::assemble(known, BTreeSet::new(), None);
        }
        let mut chosen: Vec<&(&str, Tally)> =
            ranked.iter().filter(|(_, tally)| tally.choosing >= LEAST_CHOOSING).collect();
        chosen.sort_unstable_by(|(name, a), (name_b, b)| b.choosing.cmp(&a.choosing).then(name.cmp(name_b)));
        chosen.truncate(MOST_KNOWN);
        let known: Vec<String> = chosen.iter().map(|(name, _)| (*name).to_owned()).collect();
        let by_known: Vec<i64> = chosen.iter().map(|(_, tally)| tally.choosing).collect();
        let names: BTreeSet<&str> = chosen.iter().map(|(name, _)| *name).collect();
        let mut others: Vec<&(&str, Tally)> = ranked.iter().filter(|(name, _)| !names.contains(name)).collect();
        let beyond = Beyond::of(&others);
        others.truncate(MOST_OTHER);
        let other: BTreeSet<String> = others.iter().map(|(name, _)| (*name).to_owned()).collect();
        let choice = Choice {
            tail: ranked.iter().map(|(_, tally)| tally.choosing).sum::<i64>() - by_known.iter().sum::<i64>(),
            alone: chosen.into_iter().chain(others).map(|(_, tally)| beyond.rows_alone(tally)).sum::<f64>() as i64,
            nearly: ranked.iter().map(|(_, tally)| beyond.rows_nearly_alone(tally)).sum(),
            known: by_known,
        };
        Self::assemble(known, other, Some(choice))
    }

    fn assemble(known: Vec<String>, other: BTreeSet<String>, choice: Option<Choice>) -> Self {
        let others = other.iter().map(|name| (name.clone(), CategoryPlace::Other));
        let named = known.iter().enumerate().map(|(place, name)| (name.clone(), CategoryPlace::Known(place)));
        let places = others.chain(named).collect();
        Self { known, other, choice, places }
    }

    /// By which rows the known categories were chosen; `None` where all are known.
    pub(crate) fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }

    /// The categories counted by name, most frequent first, by the rows that chose them.
    pub fn known(&self) -> &[String] {
        &self.known
    }

    /// Where `category` is counted.
    #[inline]
    pub fn place(&self, category: &str) -> CategoryPlace {
        self.places.get(category).copied().unwrap_or(CategoryPlace::Unseen)
    }
}

/// What is too rare to be remembered: how many rows the first such category has, and the share of those of as many rows that
/// are.
struct Beyond {
    rows: i64,
    remembered: f64,
}

impl Beyond {
    /// Of categories that are not counted by name, the most frequent first.
    fn of(others: &[&(&str, Tally)]) -> Self {
        let rows = others.get(MOST_OTHER).map_or(0, |(_, tally)| tally.rows);
        let as_many = |others: &[&(&str, Tally)]| others.iter().filter(|(_, tally)| tally.rows == rows).count();
        let remembered = others.get(..MOST_OTHER).map_or(0, as_many);
        Self { rows, remembered: remembered as f64 / as_many(others).max(1) as f64 }
    }

    /// Rows of a category that one row less would bring among those that are alone.
    fn rows_nearly_alone(&self, tally: &Tally) -> i64 {
        if tally.rows == self.rows.max(1) + 1 { tally.rows } else { 0 }
    }

    /// Rows of a category with a place that would have none if it had one row less, or they were not there.
    fn rows_alone(&self, tally: &Tally) -> f64 {
        match tally.rows {
            rows if tally.is_alone || rows <= self.rows => rows as f64,
            rows if rows == self.rows + 1 && self.rows > 0 => rows as f64 * (1.0 - self.remembered),
            _ => 0.0,
        }
    }
}

/// Whether there are more categories than are counted by name, or many that come once.
fn is_long_tailed(ranked: &[(&str, Tally)]) -> bool {
    let rows: i64 = ranked.iter().map(|(_, tally)| tally.rows).sum();
    let once = ranked.iter().filter(|(_, tally)| tally.rows == 1).count();
    let many_once = once >= LEAST_ONCE && once * ROWS_TO_ONE_ONCE > rows as usize;
    ranked.len() > MOST_KNOWN || many_once
}

/// The rows of each category, and which part of the reference they are in.
fn tallies<'a>(values: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, Tally> {
    let values: Vec<&str> = values.into_iter().collect();
    let mut tallies: HashMap<&str, Tally> = HashMap::new();
    for (row, value) in values.iter().enumerate() {
        let part = row * PARTS / values.len();
        let tally = tallies.entry(value).or_insert(Tally { part, is_alone: true, ..Tally::default() });
        tally.rows += 1;
        tally.choosing += i64::from(is_choosing(part));
        tally.is_alone &= tally.part == part;
    }
    tallies
}

/// Whether a part is one of those by which categories are chosen. They lie scattered as multiples of the golden ratio do, so
/// that no season falls into step with them.
fn is_choosing(part: usize) -> bool {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    (part as f64 * GOLDEN_RATIO).fract() < CHOOSING
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
    #[serde(default)]
    choice: Option<Choice>,
}

impl From<CategoryTable> for StoredCategories {
    fn from(table: CategoryTable) -> Self {
        Self { known: table.known, other: table.other, choice: table.choice }
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
        Ok(Self::assemble(stored.known, stored.other, stored.choice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_categories_of_the_reference_are_other_and_new_ones_unseen() {
        let names: Vec<String> = (0..150).map(|i| format!("c{i:03}")).collect();
        let frequent = std::iter::repeat_n("c149", 300).chain(std::iter::repeat_n("c148", 200));
        let table = CategoryTable::learn(names.iter().map(String::as_str).chain(frequent));
        assert_eq!(table.place("c149"), CategoryPlace::Known(0));
        assert_eq!(table.place("c148"), CategoryPlace::Known(1));
        let others = names.iter().filter(|name| table.place(name) == CategoryPlace::Other).count();
        assert_eq!(others, names.len() - table.known().len());
        assert_eq!(table.place("new"), CategoryPlace::Unseen);
    }

    #[test]
    fn up_to_a_hundred_categories_are_counted_by_name() {
        let names: Vec<String> = (0..100).map(|i| format!("c{i:03}")).collect();
        let twice = names.iter().chain(&names).map(String::as_str);
        let table = CategoryTable::learn(twice.clone().chain(["c099"]));
        assert_eq!(table.place("c099"), CategoryPlace::Known(0));
        assert_eq!(table.place("c000"), CategoryPlace::Known(1));
        assert_eq!(table.place("c098"), CategoryPlace::Known(99));
        assert!(table.choice().is_none());
        let rare: Vec<String> = (0..9).map(|i| format!("rare {i}")).collect();
        let table = CategoryTable::learn(twice.chain(rare.iter().map(String::as_str)));
        assert!(table.choice().is_some(), "unless many of them come once");
    }
}
