//! Many rows at once: columns that are Arrow's already are copied whole.

use super::{
    Column, EventBuilder, LabelBuilder, LogColumns, NumberColumn, RecordPosition, Stored, TextColumn, WrongTypes,
};
use crate::decode::privacy::HashKey;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Float64Type;
use std::ops::Range;

/// Rows of one model and version that are known to be good.
pub(crate) struct GoodRows {
    /// In the order of the log.
    pub(crate) places: Vec<RecordPosition>,
    pub(crate) ids: StringArray,
    pub(crate) times: Int64Array,
    /// The schema's columns, then the segments; none for labels.
    pub(crate) columns: Vec<Fitted>,
    pub(crate) label: ArrayRef,
    pub(crate) sampling_rate: Float64Array,
    pub(crate) weight: Float64Array,
    pub(crate) hashes: Hashes,
}

impl GoodRows {
    /// As [`crate::decode::Decoder::take_latest_ms`] tells it.
    pub(crate) fn latest_ms(&self) -> Option<i64> {
        let times = self.places.iter().zip(self.times.values());
        times.map(|(place, time_ms)| place.append_time_ms.min(*time_ms)).max()
    }
}

/// A column of the type that its model gives it.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) values: ArrayRef,
    /// The rows whose value was of another type; they are null.
    pub(crate) wrong: Option<BooleanBuffer>,
}

/// Whether hashed columns are still to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashes {
    Due,
    Made,
}

impl EventBuilder {
    /// Appends rows.
    pub(crate) fn append(&mut self, owner: u32, rows: &GoodRows) {
        debug_assert_eq!(self.columns.len(), rows.columns.len(), "both follow the schema and the segments");
        let first = self.rows();
        let mut fullest = self.log.append(rows);
        for (column, fitted) in self.columns.iter_mut().zip(&rows.columns) {
            fullest = fullest.max(column.append(&fitted.values, rows.hashes));
        }
        self.fullest = fullest.max(self.label.append(&rows.label, rows.hashes));
        self.wrong_types.append(&rows.columns, first..first + rows.places.len());
        self.sampling_rate.append(&rows.sampling_rate);
        self.weight.append(&rows.weight);
        self.count(owner, rows.places.len());
    }
}

impl LabelBuilder {
    /// Appends rows.
    pub(crate) fn append(&mut self, rows: &GoodRows) {
        let ids = self.log.append(rows);
        self.fullest = ids.max(self.label.append(&rows.label, rows.hashes));
    }
}

impl LogColumns {
    /// Appends rows; returns how many bytes of text the ids then hold.
    fn append(&mut self, rows: &GoodRows) -> usize {
        self.partition.extend(rows.places.iter().map(|place| place.partition));
        self.offset.extend(rows.places.iter().map(|place| place.offset));
        self.index.extend(rows.places.iter().map(|place| place.index));
        self.append_time_ms.extend(rows.places.iter().map(|place| place.append_time_ms));
        self.time_ms.extend_from_slice(rows.times.values());
        self.id.append(&rows.ids)
    }
}

impl Column {
    /// Appends values; returns how many bytes of text the column then holds.
    fn append(&mut self, values: &ArrayRef, hashes: Hashes) -> usize {
        match (self, values.as_primitive_opt::<Float64Type>(), values.as_string_opt::<i32>()) {
            (Self::Number(column), Some(numbers), _) => {
                column.append(numbers);
                0
            }
            (Self::Text(column), _, Some(texts)) => column.append(texts),
            (Self::Hash(column, hashing), _, Some(texts)) => match (hashes, hashing.stored) {
                (Hashes::Made, Stored::Hashed) => column.append(texts),
                (Hashes::Due, _) | (_, Stored::AsItCame) => column.append_hashed(texts, &hashing.key),
            },
            _ => {
                debug_assert!(false, "a fitted column is of the type of its kind, and so is its builder");
                0
            }
        }
    }
}

impl NumberColumn {
    fn append(&mut self, numbers: &Float64Array) {
        self.settle();
        self.values.extend_from_slice(numbers.values());
        append_nulls(&mut self.nulls, numbers.nulls(), numbers.len());
    }
}

impl TextColumn {
    fn append(&mut self, texts: &StringArray) -> usize {
        self.settle();
        let offsets = texts.value_offsets();
        let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else {
            return self.bytes.len();
        };
        let own = usize::try_from(first).unwrap_or(0)..usize::try_from(last).unwrap_or(0);
        debug_assert!(self.bytes.len() + own.len() <= i32::MAX as usize, "see `is_full`, and the budget of a record");
        let shift = self.bytes.len() as i32 - first;
        self.bytes.extend_from_slice(texts.value_data().get(own).unwrap_or_default());
        self.ends.extend(offsets.iter().skip(1).map(|end| end + shift));
        append_nulls(&mut self.nulls, texts.nulls(), texts.len());
        self.bytes.len()
    }

    fn append_hashed(&mut self, texts: &StringArray, key: &HashKey) -> usize {
        for text in texts {
            match text {
                Some(text) => {
                    self.push_bytes(&key.hash(text.as_bytes()));
                }
                None => self.absent += 1,
            }
        }
        self.bytes.len()
    }
}

impl WrongTypes {
    fn append(&mut self, columns: &[Fitted], rows: Range<usize>) {
        let wrong: Vec<_> = columns
            .iter()
            .enumerate()
            .filter_map(|(place, column)| Some((place as u16, column.wrong.as_ref()?)))
            .filter(|(_, wrong)| wrong.count_set_bits() > 0)
            .collect();
        for (place, row) in rows.enumerate() {
            for (column, _) in wrong.iter().filter(|(_, wrong)| place < wrong.len() && wrong.value(place)) {
                self.columns.push(*column);
                self.rows.push(row);
            }
        }
    }
}

fn append_nulls(builder: &mut arrow::array::NullBufferBuilder, nulls: Option<&NullBuffer>, rows: usize) {
    match nulls {
        Some(nulls) => builder.append_buffer(nulls),
        None => builder.append_n_non_nulls(rows),
    }
}
