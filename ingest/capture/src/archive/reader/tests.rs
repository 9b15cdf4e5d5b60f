//! What the reader promises: what the log had, in its order, each once, however the archive came about.

use super::*;
use crate::archive::compaction::{CompactionPolicy, compact};
use crate::fixtures::{Inputs, Past, START_MS, as_stored, event, new_record};
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;
use streams::log::Record;
use streams::topics;

const DAY_MS: i64 = 86_400_000;

/// Offset and index of a row, and the greatest time that a heartbeat before it told; `None` ends the offsets.
type ReadRow = (Option<(Offset, i32)>, i64);

/// What the log would tell.
fn on_the_log(records: &[Record], offsets: &Range<Offset>) -> Vec<ReadRow> {
    let (mut told, mut greatest_ms) = (Vec::new(), i64::MIN);
    for record in records.iter().filter(|record| offsets.contains(&record.offset)) {
        if let Some(control) = Control::read(record) {
            let (Control::Heartbeat(time_ms) | Control::EndOfInput(time_ms)) = control.unwrap();
            greatest_ms = greatest_ms.max(time_ms);
            continue;
        }
        let rows: Vec<Value> = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let good = (0..).zip(&rows).filter(|(_, row)| row["time"].is_i64());
        told.extend(good.map(|(index, _)| (Some((record.offset, index)), greatest_ms)));
    }
    told.push((None, greatest_ms));
    told
}

/// What the archive tells.
fn in_the_archive(reader: &mut ArchiveReader, partition: PartitionId, mut offsets: Range<Offset>) -> Vec<ReadRow> {
    let (mut told, mut greatest_ms) = (Vec::new(), i64::MIN);
    while !offsets.is_empty() {
        let gone = Gone { topic: topics::INFERENCES, partition, offsets: offsets.clone() };
        let part = reader.read(&gone).unwrap();
        let mut places = Vec::new();
        for (_, batch) in &part.rows {
            let indices = batch.column_by_name(columns::INDEX).unwrap().as_primitive::<Int32Type>().values();
            places.extend(offsets_of(batch).unwrap().iter().copied().zip(indices.iter().copied()));
        }
        places.sort_unstable();
        assert!(places.iter().all(|(offset, _)| (offsets.start..part.until).contains(offset)), "{part:?}");
        told.extend(places.into_iter().map(|place| (Some(place), greatest_ms)));
        if let Some((offset, Control::Heartbeat(time_ms) | Control::EndOfInput(time_ms))) = part.control {
            assert_eq!(offset, part.until - 1);
            greatest_ms = greatest_ms.max(time_ms);
        }
        assert!(part.until > offsets.start);
        offsets.start = part.until;
    }
    told.push((None, greatest_ms));
    told
}

/// Records of rows of three days, bad rows among them, heartbeats, and holes between.
fn partition_records() -> impl Strategy<Value = Vec<Record>> {
    let rows = prop::collection::vec((0i64..3, any::<bool>()), 1..5);
    let what = prop_oneof![3 => rows.prop_map(Some), 1 => Just(None)];
    let records = prop::collection::vec((what, 0i64..3, 0i64..1_000), 0..40);
    records.prop_map(|records| {
        let mut offset = -1;
        let record = |(rows, hole, time_ms): (Option<Vec<(i64, bool)>>, i64, i64)| {
            offset += 1 + hole;
            let new = match rows {
                None => Control::Heartbeat(time_ms).to_record(topics::INFERENCES, 0),
                Some(rows) => {
                    let rows = rows.into_iter().map(|(day, good)| {
                        let mut row = event("id", START_MS + day * DAY_MS, time_ms);
                        if !good && time_ms % 4 == 0 {
                            row["time"] = Value::Null;
                        }
                        row
                    });
                    new_record(topics::INFERENCES, 0, &rows.collect())
                }
            };
            as_stored(new, offset, START_MS + 3 * DAY_MS)
        };
        records.into_iter().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_archive_tells_what_the_log_told_in_its_order_and_once(
        records in [partition_records(), partition_records()], epoch in 1usize..30, batch_rows in 1usize..9,
        compacted in any::<bool>(), cut in (0.0f64..1.0, 0.0f64..1.0)
    ) {
        let [zero, one] = records;
        let ends = [&zero, &one].map(|records| records.last().map_or(0, |last| last.offset + 1));
        let inputs = Inputs::from([((topics::INFERENCES, 0), zero), ((topics::INFERENCES, 1), one)]);
        let past = Past::of(&inputs, epoch);
        if compacted {
            past.compact();
        }
        let mut reader = past.reader().with_batches_of(batch_rows);
        for (partition, end) in (0u32..).zip(ends) {
            let records = &inputs[&(topics::INFERENCES, partition)];
            let first = records.first().map_or(0, |first| first.offset);
            let at = |part: f64| first + ((end - first) as f64 * part) as Offset;
            let offsets = at(cut.0.min(cut.1))..at(cut.0.max(cut.1));
            // Of heartbeats at the edges, the archive may leave out those that move nothing.
            let places = |told: Vec<ReadRow>| told.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
            let found = places(in_the_archive(&mut reader, partition, offsets.clone()));
            prop_assert_eq!(found, places(on_the_log(records, &offsets)));
            prop_assert_eq!(in_the_archive(&mut reader, partition, first..end), on_the_log(records, &(first..end)));
        }
    }
}

/// Five records of a row each.
fn five() -> Inputs {
    let record =
        |n: i64| as_stored(new_record(topics::INFERENCES, 0, &vec![event("id", START_MS + n, n)].into()), n, START_MS);
    Inputs::from([((topics::INFERENCES, 0), (0..5).map(record).collect())])
}

#[test]
fn rows_that_were_archived_twice_are_told_once() {
    let inputs = five();
    let mut past = Past::of(&inputs, 3);
    past.snapshot = None;
    past.archive(&inputs, (1, 4));
    let expected = on_the_log(&inputs[&(topics::INFERENCES, 0)], &(0..5));
    assert_eq!(in_the_archive(&mut past.reader(), 0, 0..5), expected);
    past.compact();
    assert_eq!(in_the_archive(&mut past.reader(), 0, 0..5), expected, "compacted");
}

#[test]
fn offsets_that_were_never_archived_are_an_error_that_names_them_before_any_row() {
    let inputs = five();
    let mut past = Past::empty();
    let told = |past: &Past, offsets| {
        let gone = Gone { topic: topics::INFERENCES, partition: 0, offsets };
        past.reader().read(&gone).unwrap_err().to_string()
    };
    assert!(told(&past, 0..5).contains("offsets 0 to 4, whose rows"), "{}", told(&past, 0..5));
    past.archive(&inputs, (1, 3));
    let message = told(&past, 0..3);
    assert!(
        message.starts_with("inferences/0 has passed its retention up to offset 3, and offsets 0 to 0,"),
        "{message}"
    );
    let message = told(&past, 1..5);
    assert!(message.contains("offsets 3 to 4, whose rows may wait for labels, are not in the archive"), "{message}");
    assert!(message.contains("let the stage `archive` run until it has passed them"), "{message}");
    assert_eq!(in_the_archive(&mut past.reader(), 0, 1..3).len(), 3);
}

#[test]
fn offsets_whose_files_have_expired_are_missing_unless_a_stage_needed_them() {
    let mut inputs = five();
    let records = inputs.get_mut(&(topics::INFERENCES, 0)).unwrap();
    // The last two are much younger than the rest.
    for record in &mut records[3..] {
        let young = vec![event("id", START_MS + 9 * DAY_MS, 1)];
        *record = as_stored(new_record(topics::INFERENCES, 0, &young.into()), record.offset, START_MS + 9 * DAY_MS);
    }
    let past = Past::of(&inputs, 1);
    let keep = Some(Duration::from_secs(86_400));
    let policy = CompactionPolicy { least_files: usize::MAX, small_bytes: 0, keep };
    let (log, store) = (past.log.as_ref(), &past.store);
    assert_eq!(compact(log, store, &policy, &|_, _| Ok(Some(0))).unwrap().removed, 0, "all are needed");
    assert_eq!(compact(log, store, &policy, &|_, _| Ok(Some(2))).unwrap().removed, 2, "from offset 2 on");
    assert_eq!(in_the_archive(&mut past.reader(), 0, 2..5).len(), 4);
    let gone = Gone { topic: topics::INFERENCES, partition: 0, offsets: 1..5 };
    let message = past.reader().read(&gone).unwrap_err().to_string();
    assert!(message.contains("offsets 1 to 1, whose rows"), "{message}");
}

#[test]
fn a_record_of_before_control_records_were_archived_tells_no_whole_story() {
    let past = Past::of(&five(), 5);
    let mut old = serde_json::to_value(&past.records()[0]).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.remove("controls");
    fields.remove("expired");
    fields["files"][0].as_object_mut().unwrap().remove("offsets");
    let anew = Past::empty();
    anew.log.append(&[new_record(topics::ARCHIVED, 0, &old)]).unwrap();
    let gone = Gone { topic: topics::INFERENCES, partition: 0, offsets: 0..5 };
    let message = anew.reader().read(&gone).unwrap_err().to_string();
    assert!(message.contains("offsets 0 to 4, whose rows"), "{message}");
}
