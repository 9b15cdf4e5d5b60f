//! Which feature stands at which place of a map, as far as the rows so far tell.
//!
//! Features come by name, in the same order row after row. So the last row's order predicts the next, and a name is looked
//! up only where it differs. Names that the schema does not have are remembered too, up to a bound, and counted.

use super::cursor::Text;
use std::collections::HashMap;

/// Names that are remembered of features that the schema does not have; what is beyond them is counted together.
const MOST_UNKNOWN: usize = 100;
/// Places of which the order is remembered.
const MOST_PLACES: usize = 4096;

/// Where the value of a feature goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The column of this index.
    Column(usize),
    /// Nowhere; counted at this index.
    Unknown(usize),
}

/// A feature that the schema does not have.
#[derive(Debug)]
struct Unknown {
    name: Box<[u8]>,
    values: u64,
}

/// The features of one model by name and by place.
#[derive(Debug)]
pub(super) struct FeatureOrder {
    columns: Vec<Box<[u8]>>,
    slots: HashMap<Box<[u8]>, Slot>,
    order: Vec<Slot>,
    unknown: Vec<Unknown>,
    /// Values of unknown features beyond those remembered by name.
    unknown_beyond: u64,
}

impl FeatureOrder {
    /// The features of the schema, in the order of their columns.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let columns: Vec<Box<[u8]>> = names.map(|name| name.as_bytes().into()).collect();
        let slots = columns.iter().enumerate().map(|(index, name)| (name.clone(), Slot::Column(index))).collect();
        Self { columns, slots, order: Vec::new(), unknown: Vec::new(), unknown_beyond: 0 }
    }

    /// How many features the schema has.
    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The slot of the feature that stood at this place last.
    #[inline(always)]
    pub(super) fn at(&self, place: usize) -> Option<Slot> {
        self.order.get(place).copied()
    }

    /// The slot of the feature whose key was found at this place.
    pub(super) fn find(&mut self, place: usize, key: Text<'_>) -> Slot {
        match self.at(place).filter(|slot| self.name(*slot).is_some_and(|name| key.is(name))) {
            Some(expected) => expected,
            None => self.learn(place, key),
        }
    }

    /// Counts a value that goes nowhere.
    pub(super) fn count_unknown(&mut self, index: usize) {
        match self.unknown.get_mut(index) {
            Some(unknown) => unknown.values += 1,
            None => self.unknown_beyond += 1,
        }
    }

    /// Counts values of a feature by its name; nothing where the schema has it.
    pub(super) fn count_unknown_name(&mut self, name: &str, values: u64) {
        let slot = self.slots.get(name.as_bytes()).copied();
        let Slot::Unknown(index) = slot.unwrap_or_else(|| self.learn_unknown(name.as_bytes())) else { return };
        match self.unknown.get_mut(index) {
            Some(unknown) => unknown.values += values,
            None => self.unknown_beyond += values,
        }
    }

    /// Unknown features and how many values they had since the last call; `None` names all that were too many to remember.
    pub(super) fn take_unknown(&mut self) -> Vec<(Option<String>, u64)> {
        let named = self.unknown.iter_mut().map(|unknown| {
            (Some(String::from_utf8_lossy(&unknown.name).into_owned()), std::mem::take(&mut unknown.values))
        });
        let beyond = (None, std::mem::take(&mut self.unknown_beyond));
        named.chain([beyond]).filter(|(_, values)| *values > 0).collect()
    }

    fn name(&self, slot: Slot) -> Option<&[u8]> {
        match slot {
            Slot::Column(index) => self.columns.get(index).map(|name| &**name),
            // The counter that several names share has none.
            Slot::Unknown(index) => self.unknown.get(index).map(|unknown| &*unknown.name),
        }
    }

    #[cold]
    fn learn(&mut self, place: usize, key: Text<'_>) -> Slot {
        let mut scratch = Vec::new();
        let name = key.resolve(&mut scratch);
        let slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => self.learn_unknown(name),
        };
        if let Some(known) = self.order.get_mut(place) {
            *known = slot;
        } else if place == self.order.len() && place < MOST_PLACES {
            self.order.push(slot);
        }
        slot
    }

    fn learn_unknown(&mut self, name: &[u8]) -> Slot {
        let index = self.unknown.len();
        if index < MOST_UNKNOWN && name.len() <= 256 {
            self.unknown.push(Unknown { name: name.into(), values: 0 });
            self.slots.insert(name.into(), Slot::Unknown(index));
            return Slot::Unknown(index);
        }
        Slot::Unknown(MOST_UNKNOWN)
    }
}
