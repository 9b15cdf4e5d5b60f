//! What a consumer's messages hold, copied out of its buffers at little cost for each record.
//!
//! - Values that follow one another share an allocation, which lasts as long as one of them does.
//! - Headers that say what those of the record before said are not copied again.
//!
//! Deliberately absent: what the bytes mean, but for the one header that a repartition writes.

use crate::log::{Headers, Record};
use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::message::{self, BorrowedMessage};
use std::sync::Arc;

/// The header of a repartition's records that tells when the log took what they were made from. It is the last of its name:
/// one that a user wrote stands before it, and tells nothing.
pub(super) const APPENDED: &str = "driftline-appended-ms";

/// Bytes of an allocation that values share. It is small, because one value that is kept keeps all of it.
const SHARED_BYTES: usize = 64 << 10;
/// Values of more bytes have an allocation of their own.
const MOST_SHARING_BYTES: usize = SHARED_BYTES / 8;

/// Who wrote the records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Whoever produces to it.
    Producers,
    /// A repartition, whose records tell when the log took their originals.
    Repartition,
}

/// Copies a partition's records.
#[derive(Default)]
pub(super) struct Copies {
    /// The rest of the allocation that values share.
    room: BytesMut,
    /// Those of the last record.
    headers: Headers,
}

impl Copies {
    /// The record that a message holds.
    pub(super) fn record(&mut self, message: &BorrowedMessage<'_>, origin: Origin) -> Record {
        let appended_ms = message.timestamp().to_millis().unwrap_or(0);
        Record {
            offset: message.offset(),
            append_time_ms: self.read_headers(message.headers(), (origin, appended_ms)),
            key: message.key().map(|key| self.bytes(key)),
            value: message.payload().map(|value| self.bytes(value)),
            headers: Arc::clone(&self.headers),
        }
    }

    /// Holds the headers that were found; says when a log took what the record was made from, or else the record.
    fn read_headers(&mut self, found: Option<&impl message::Headers>, (origin, appended_ms): (Origin, i64)) -> i64 {
        let Some(found) = found else {
            self.headers = Headers::default();
            return appended_ms;
        };
        let count = found.count();
        let last = || found.try_get(count.checked_sub(1)?).filter(|last| last.key == APPENDED);
        let told = if origin == Origin::Repartition { last() } else { None };
        let count = count - usize::from(told.is_some());
        let written = || found.iter().take(count).map(|header| (header.key, header.value.unwrap_or_default()));
        if !written().eq(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()))) {
            let copied = written().map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value)));
            self.headers = copied.collect();
        }
        let first_ms = told.and_then(|told| std::str::from_utf8(told.value?).ok()?.parse::<i64>().ok());
        // No record is younger than its copy.
        first_ms.map_or(appended_ms, |first_ms| first_ms.min(appended_ms))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > MOST_SHARING_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        if self.room.capacity() < bytes.len() {
            self.room = BytesMut::with_capacity(SHARED_BYTES);
        }
        self.room.extend_from_slice(bytes);
        self.room.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders};

    fn headers(written: &[(&str, &str)]) -> OwnedHeaders {
        let insert =
            |headers: OwnedHeaders, (key, value): &(&str, &str)| headers.insert(Header { key, value: Some(*value) });
        written.iter().fold(OwnedHeaders::new(), insert)
    }

    /// How many headers are left of a record that the log took at 1,000, and the time that it bears.
    fn read(written: &[(&str, &str)], origin: Origin) -> (usize, i64) {
        let mut copies = Copies::default();
        let append_time_ms = copies.read_headers(Some(&headers(written)), (origin, 1_000));
        (copies.headers.len(), append_time_ms)
    }

    #[test]
    fn a_copy_tells_the_time_of_its_original_and_what_a_user_wrote_tells_nothing() {
        let twice = [(APPENDED, "7"), (APPENDED, "900")];
        assert_eq!(read(&twice, Origin::Repartition), (1, 900), "the repartition's own is the last");
        assert_eq!(read(&twice, Origin::Producers), (2, 1_000));
        assert_eq!(read(&[(APPENDED, "2000")], Origin::Repartition), (0, 1_000), "no record is younger than its copy");
        assert_eq!(read(&[("trace", "7")], Origin::Repartition), (1, 1_000));
        assert_eq!(read(&[], Origin::Repartition), (0, 1_000));
    }

    #[test]
    fn headers_are_shared_only_while_they_say_the_same() {
        let mut copies = Copies::default();
        let mut held = Vec::new();
        for written in [&[("a", "1")][..], &[("a", "1")], &[("a", "2")], &[("a", "2"), ("b", "")], &[]] {
            copies.read_headers(Some(&headers(written)), (Origin::Producers, 1_000));
            let expected: Vec<_> = written.iter().map(|(k, v)| ((*k).to_owned(), Bytes::from(*v))).collect();
            assert_eq!(copies.headers.to_vec(), expected);
            held.push(Arc::clone(&copies.headers));
        }
        assert!(Arc::ptr_eq(&held[0], &held[1]) && !Arc::ptr_eq(&held[1], &held[2]));
    }

    #[test]
    fn values_stay_what_they_were_when_others_follow() {
        let mut copies = Copies::default();
        let values: Vec<Vec<u8>> = (0..2_000_usize).map(|n| vec![n as u8; n * 7 % 20_000]).collect();
        let copied: Vec<_> = values.iter().map(|value| copies.bytes(value)).collect();
        assert!(copied.iter().zip(&values).all(|(copied, value)| copied == value));
    }
}
