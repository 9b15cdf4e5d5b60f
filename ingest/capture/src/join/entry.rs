//! What is held of an id, and its record: the same bytes in memory and in a run.
//!
//! A record is as short as its values allow: lengths, offsets and the distance of a watermark from its event are variable
//! integers. Records never leave the run of the stage that wrote them, so that the format has no version.
//!
//! ```text
//! id, predictions, labels, prediction…, label…
//! prediction: time, flags, watermark, offset, version, row, label that counts and when it came
//! label:      time, flags, watermark, offset, value
//! ```

use super::{Label, LabelValue};
use streams::log::Offset;

/// What is held of an id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entry {
    /// Its predictions within the horizon, in log order: one of each version that answered, and almost always of one.
    pub(super) predictions: Vec<Held>,
    /// Labels whose predictions may still come, in log order.
    pub(super) labels: Vec<HeldLabel>,
}

/// A label that is held.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeldLabel {
    pub(super) label: Label,
    /// Whether it has found a prediction, of whichever version.
    pub(super) has_met: bool,
}

/// A prediction that is held.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    /// The number of its version in this join.
    pub(super) version: u32,
    /// The columns that its outcome needs.
    pub(super) row: Box<[u8]>,
    pub(super) time_ms: i64,
    /// Its partition's watermark just before it.
    pub(super) watermark_ms: Option<i64>,
    pub(super) offset: Offset,
    pub(super) late: bool,
    /// The label that counts, and where the watermark of its partition stood before it; [`i64::MIN`] where it came with the
    /// prediction, or first of all.
    pub(super) counted: Option<(LabelValue, i64)>,
}

const LATE: u8 = 1;
const HAS_WATERMARK: u8 = 2;
const HAS_LABEL: u8 = 4;
const HAS_MET: u8 = 8;
const NUMBER: u8 = 0;
const CLASS: u8 = 1;

impl Entry {
    pub(super) fn is_empty(&self) -> bool {
        self.predictions.is_empty() && self.labels.is_empty()
    }

    /// How many predictions and labels it holds.
    pub(super) fn items(&self) -> usize {
        self.predictions.len() + self.labels.len()
    }

    /// Writes the record of this id in place of what `record` holds.
    pub(super) fn pack(&self, id: &str, record: &mut Vec<u8>) {
        record.clear();
        put_bytes(record, id.as_bytes());
        put_number(record, self.predictions.len() as u64);
        put_number(record, self.labels.len() as u64);
        for held in &self.predictions {
            held.pack(record);
        }
        for HeldLabel { label, has_met } in &self.labels {
            let met = if *has_met { HAS_MET } else { 0 };
            put_times(record, met, (label.time_ms, label.watermark_ms, label.offset));
            put_value(record, &label.value);
        }
    }

    /// The id and the entry of a record; `None` where it is none.
    pub(super) fn unpack(record: &[u8]) -> Option<(&str, Self)> {
        let mut rest = Reader(record);
        let id = std::str::from_utf8(rest.bytes()?).ok()?;
        let (predictions, labels) = (rest.number()?, rest.number()?);
        let predictions = (0..predictions).map(|_| Held::unpack(&mut rest)).collect::<Option<Vec<_>>>()?;
        let labels = (0..labels).map(|_| label(&mut rest)).collect::<Option<Vec<_>>>()?;
        Some((id, Self { predictions, labels }))
    }
}

impl Held {
    fn pack(&self, record: &mut Vec<u8>) {
        let late = if self.late { LATE } else { 0 };
        let label = if self.counted.is_some() { HAS_LABEL } else { 0 };
        put_times(record, late | label, (self.time_ms, self.watermark_ms, self.offset));
        put_number(record, u64::from(self.version));
        put_bytes(record, &self.row);
        if let Some((value, came_ms)) = &self.counted {
            put_value(record, value);
            put_signed(record, self.time_ms.wrapping_sub(*came_ms));
        }
    }

    fn unpack(rest: &mut Reader<'_>) -> Option<Self> {
        let (flags, (time_ms, watermark_ms, offset)) = rest.times()?;
        let version = u32::try_from(rest.number()?).ok()?;
        let row = rest.bytes()?.into();
        let counted = match flags & HAS_LABEL {
            0 => None,
            _ => Some((rest.value()?, time_ms.wrapping_sub(rest.signed()?))),
        };
        Some(Self { version, row, time_ms, watermark_ms, offset, late: flags & LATE != 0, counted })
    }
}

fn label(rest: &mut Reader<'_>) -> Option<HeldLabel> {
    let (flags, (time_ms, watermark_ms, offset)) = rest.times()?;
    let label = Label { value: rest.value()?, time_ms, watermark_ms, offset };
    Some(HeldLabel { label, has_met: flags & HAS_MET != 0 })
}

/// The id of a record; empty where it is none.
pub(super) fn id_of(record: &[u8]) -> &[u8] {
    Reader(record).bytes().unwrap_or_default()
}

/// The time, the watermark before, and the offset of a prediction or a label.
type Times = (i64, Option<i64>, Offset);

fn put_number(record: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        record.push(number as u8 | 0x80);
        number >>= 7;
    }
    record.push(number as u8);
}

/// Small numbers of either sign take few bytes.
fn put_signed(record: &mut Vec<u8>, number: i64) {
    put_number(record, (number.wrapping_shl(1) ^ (number >> 63)) as u64);
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    put_number(record, bytes.len() as u64);
    record.extend_from_slice(bytes);
}

fn put_times(record: &mut Vec<u8>, flags: u8, (time_ms, watermark_ms, offset): Times) {
    record.extend_from_slice(&time_ms.to_le_bytes());
    record.push(flags | if watermark_ms.is_some() { HAS_WATERMARK } else { 0 });
    if let Some(watermark_ms) = watermark_ms {
        put_signed(record, time_ms.wrapping_sub(watermark_ms));
    }
    put_signed(record, offset);
}

fn put_value(record: &mut Vec<u8>, value: &LabelValue) {
    match value {
        LabelValue::Number(number) => {
            record.push(NUMBER);
            record.extend_from_slice(&number.to_le_bytes());
        }
        LabelValue::Class(class) => {
            record.push(CLASS);
            put_bytes(record, class.as_bytes());
        }
    }
}

/// Takes a record apart from its beginning; every answer is `None` where the record is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn times(&mut self) -> Option<(u8, Times)> {
        let time_ms = i64::from_le_bytes(*self.take(8)?.as_array()?);
        let flags = self.byte()?;
        let watermark_ms = match flags & HAS_WATERMARK {
            0 => None,
            _ => Some(time_ms.wrapping_sub(self.signed()?)),
        };
        Some((flags, (time_ms, watermark_ms, self.signed()?)))
    }

    fn value(&mut self) -> Option<LabelValue> {
        match self.byte()? {
            NUMBER => Some(LabelValue::Number(f64::from_le_bytes(*self.take(8)?.as_array()?))),
            _ => Some(LabelValue::Class(std::str::from_utf8(self.bytes()?).ok()?.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = LabelValue> {
        prop_oneof![
            ".{0,9}".prop_map(|class| LabelValue::Class(class.into())),
            any::<i32>().prop_map(|number| LabelValue::Number(f64::from(number) / 8.0)),
        ]
    }

    fn held() -> impl Strategy<Value = Held> {
        let row = prop::collection::vec(any::<u8>(), 0..200);
        let times = (any::<i64>(), any::<Option<i64>>(), any::<i64>());
        (any::<u32>(), row, times, any::<bool>(), prop::option::of((value(), any::<i64>()))).prop_map(
            |(version, row, (time_ms, watermark_ms, offset), late, counted)| Held {
                version,
                row: row.into(),
                time_ms,
                watermark_ms,
                offset,
                late,
                counted,
            },
        )
    }

    fn label() -> impl Strategy<Value = HeldLabel> {
        (value(), any::<i64>(), any::<Option<i64>>(), any::<i64>(), any::<bool>()).prop_map(
            |(value, time_ms, watermark_ms, offset, has_met)| HeldLabel {
                label: Label { value, time_ms, watermark_ms, offset },
                has_met,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_gives_back_what_it_was_made_of_and_a_part_of_it_nothing(
            id in ".{0,200}", predictions in prop::collection::vec(held(), 0..3), labels in prop::collection::vec(label(), 0..3)
        ) {
            let entry = Entry { predictions, labels };
            let mut record = vec![7];
            entry.pack(&id, &mut record);
            prop_assert_eq!(Entry::unpack(&record), Some((id.as_str(), entry)));
            prop_assert_eq!(id_of(&record), id.as_bytes());
            record.pop();
            prop_assert_eq!(Entry::unpack(&record), None);
        }
    }
}
