//! Rows that are decoded and not judged yet.
//!
//! What a batch costs hardly depends on its rows. Where each of a thousand models has a row in every delivery, the batches
//! of a delivery would cost more than the rows: so records are decoded as they come, and their rows stay in the decoder until
//! there are enough for every model that has any, or the epoch ends. What they amount to does not change by that: rows are
//! judged in the order of the log, and the two inputs of a partition in any.
//!
//! Invariants:
//! - What is not judged is of one partition, and follows one another in each of its inputs. Replayed records are judged at once.
//! - Records that cannot be taken are told of with their delivery.
//! - Whoever looks at an input's state has it judged first, but for who merely asks how far ahead it is or whether windows
//!   wait for it.

use super::Capture;
use super::input::Source;
use bytes::Bytes;
use codec::decode::{BadRow, Held, UnknownFeature};
use std::collections::BTreeMap;
use std::sync::Arc;
use streams::log::{Offset, PartitionId, Record};
use streams::stage::{Delivery, StageError};

/// Rows of a batch beside which what the batch itself costs is little.
const BATCH_ROWS: usize = 256;
/// The most values of rows that are not judged, and bytes of the records that they came in: ids that are due to go stay with
/// them, and so does what says how far ahead a partition is.
const MOST_VALUES: usize = 6 << 20;
const MOST_BYTES: usize = 64 << 20;
/// The most versions of models whose rows are not judged: each has batches of its own.
const MOST_VERSIONS: usize = 1_024;
/// Bad rows of a topic and a reason that a line of the log tells of, each.
const MOST_TOLD: u64 = 5;

/// Records whose rows are not judged yet.
pub(super) struct PendingRows {
    partition: PartitionId,
    delivery: Delivery,
    /// What was read of each input.
    read: BTreeMap<Source, ReadPart>,
    /// Of the records' values.
    bytes: usize,
}

/// Records of an input that follow one another.
struct ReadPart {
    first: Offset,
    last: Offset,
    /// As [`codec::decode::Decoder::take_latest_ms`] tells it.
    latest_ms: Option<i64>,
}

impl Capture {
    /// Decodes records of an input, up to one with which there is enough to be judged; how many that were.
    pub(super) fn absorb_events(
        &mut self,
        (source, partition): (Source, PartitionId),
        records: &[Record],
        delivery: Delivery,
    ) -> Result<usize, StageError> {
        if self.pending_rows.as_ref().is_some_and(|pending_rows| pending_rows.partition != partition) {
            self.judge()?;
        }
        let records = self.decode_some((source, partition), records)?;
        let Some((first, last)) = records.first().zip(records.last()) else { return Ok(0) };
        for bad in self.decoder.take_bad() {
            let Ok(place) = records.binary_search_by_key(&bad.offset, |record| record.offset) else { continue };
            self.bad_row(source, partition, (&records[place], delivery), &bad);
        }
        // The partition is known from now on, although nothing of it is judged.
        self.input(source, partition).taken_at(last.append_time_ms);
        let none = || PendingRows { partition, delivery, read: BTreeMap::new(), bytes: 0 };
        let pending_rows = self.pending_rows.get_or_insert_with(none);
        let part = ReadPart { first: first.offset, last: last.offset, latest_ms: None };
        let part = pending_rows.read.entry(source).or_insert(part);
        (part.last, part.latest_ms) = (last.offset, part.latest_ms.max(self.decoder.take_latest_ms()));
        pending_rows.bytes += records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
        let Held { values, rows_of_a_batch, versions } = self.decoder.held();
        let is_much = values >= MOST_VALUES || versions >= MOST_VERSIONS || pending_rows.bytes >= MOST_BYTES;
        if rows_of_a_batch >= BATCH_ROWS || is_much || delivery == Delivery::Replayed {
            self.judge()?;
        }
        Ok(records.len())
    }

    /// Decodes records until there are as many values or versions as may be held; those that were.
    fn decode_some<'r>(
        &mut self,
        (source, partition): (Source, PartitionId),
        records: &'r [Record],
    ) -> Result<&'r [Record], StageError> {
        for (place, record) in records.iter().enumerate() {
            match source {
                Source::Inferences => self.decoder.decode_events(partition, record),
                Source::Labels => self.decoder.decode_labels(partition, record),
            }
            .map_err(|outage| StageError::failed("decoding", outage))?;
            let Held { values, versions, .. } = self.decoder.held();
            if values >= MOST_VALUES || versions >= MOST_VERSIONS {
                return Ok(records.get(..=place).unwrap_or(records));
            }
        }
        Ok(records)
    }

    /// The latest time that was read of an input and is not judged yet.
    pub(super) fn unjudged_ms(&self, source: Source, partition: PartitionId) -> Option<i64> {
        let pending_rows = self.pending_rows.as_ref().filter(|pending_rows| pending_rows.partition == partition)?;
        pending_rows.read.get(&source)?.latest_ms
    }

    /// Judges what is not judged yet.
    pub(super) fn judge(&mut self) -> Result<(), StageError> {
        let Some(PendingRows { partition, delivery, read, .. }) = self.pending_rows.take() else { return Ok(()) };
        let decoded = self.decoder.take().map_err(|error| StageError::failed("decoding", error))?;
        debug_assert!(decoded.bad.is_empty(), "what is bad was taken with its delivery");
        self.unknown_features(partition, &decoded.unknown_features);
        self.unknown_classes(partition, &decoded);
        self.predictions(partition, &decoded.events, delivery)?;
        self.labels(partition, &decoded.labels)?;
        for (source, part) in read {
            self.input(source, partition).read_through(part.first, part.last);
        }
        self.pass(partition)
    }

    /// Counts values of features that the model does not have, and says of each feature once that it is ignored.
    fn unknown_features(&mut self, partition: PartitionId, unknown: &[UnknownFeature]) {
        for UnknownFeature { model, name, values } in unknown {
            let values = i64::try_from(*values).unwrap_or(i64::MAX);
            self.input(Source::Inferences, partition).counts(model).unknown_features += values;
            if self.told_unknown.insert((Arc::clone(model), name.clone())) {
                let feature = name.as_deref().unwrap_or("(more than can be told apart)");
                tracing::warn!(%model, feature, "a feature that the model does not have is ignored: add it to its features, or correct the name");
            }
        }
    }

    fn bad_row(
        &mut self,
        source: Source,
        partition: PartitionId,
        (record, delivery): (&Record, Delivery),
        bad: &BadRow,
    ) {
        let topic = source.topic();
        if delivery == Delivery::Live {
            self.tell_bad_row((topic, partition, record.offset), bad);
        }
        self.input(source, partition).dead_letters(bad.reason.name(), bad.rows);
        self.dead_letters.push(bad.to_dead_letter(topic, partition, record));
    }

    /// Says of the first few of a kind what is wrong with them. Of the rest the ledger tells how many there were, and their
    /// dead letters the same as here: one sender's mistake must not fill the log.
    fn tell_bad_row(&mut self, (topic, partition, offset): (&'static str, PartitionId, Offset), bad: &BadRow) {
        let reason = bad.reason.name();
        let told = self.told_bad.entry((topic, reason)).or_default();
        *told += 1;
        if *told > MOST_TOLD {
            return;
        }
        tracing::warn!(topic, partition, offset, reason, "{}", bad.message);
        if *told == MOST_TOLD {
            tracing::warn!(
                topic,
                reason,
                "further rows of this kind are only counted; their dead letters say what is wrong"
            );
        }
    }
}
