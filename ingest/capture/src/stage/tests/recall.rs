//! What the topics have forgotten and the archive has leaves the state that they would have left.

use super::*;
use crate::fixtures::Past;
use crate::stage::recall::fitted;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use codec::columns;
use codec::decode::{Limits, Policy, Privacy, Source as DecodedSource};

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_from_the_archive_changes_no_sum_and_no_count(
        acts in fixtures::acts(), turns in fixtures::turns(), absent in any::<bool>(), quarters in 1usize..5,
        epoch in 1usize..40, compacted in any::<bool>()
    ) {
        let (watched, announced) = house(absent);
        let inputs = fixtures::inputs(&acts);
        let past = Past::of(&inputs, epoch);
        if compacted {
            past.compact();
        }
        let whole = Run::new(watched, announced, &inputs).all(&turns);
        let parted = Run::new(watched, announced, &inputs).forgetting(quarters, &past).all(&turns);
        whole.totals().assert_same(&parted.totals());
        prop_assert_eq!(whole.dead_letters, parted.dead_letters);
        Run::new(watched, announced, &inputs).all(&[]).totals().assert_same(&parted.totals());
    }
}

/// The archive keeps the last of heartbeats that follow each other, wherever the last epoch ended between them.
#[test]
fn a_restart_between_heartbeats_of_which_the_archive_kept_the_last_tells_no_time_twice() {
    let (watched, announced) = house(false);
    let act = |kind, advance_ms, back_ms| Act { kind, id: 6, advance_ms, back_ms, value: 0 };
    let inputs = fixtures::inputs(&[act(0, 0, 0), act(0, 3, 0), act(0, 19, 0), act(13, 178, 97), act(13, 292, 193)]);
    let past = Past::of(&inputs, 3);
    let turn = |input, records, then| fixtures::Turn { input, records, then };
    let parted = Run::new(watched, announced, &inputs).forgetting(4, &past).all(&[turn(1, 4, 1), turn(0, 1, 0)]);
    parted.totals().assert_same(&Run::new(watched, announced, &inputs).all(&[]).totals());
}

#[test]
fn a_crash_after_every_record_with_nothing_left_on_the_log_changes_nothing() {
    let (watched, announced) = house(true);
    let kind =
        |n: i64| Act { kind: (n * 5 % 14) as u8, id: (n % 7) as u8, advance_ms: 130, back_ms: n * 37 % 350, value: n };
    let inputs = fixtures::inputs(&(0..60).map(kind).collect::<Vec<_>>());
    let past = Past::of(&inputs, 4);
    let turn = |n, then| fixtures::Turn { input: n, records: 1, then };
    let turns: Vec<_> = (0..120).flat_map(|n| [turn(n, 1), turn(n, 0)]).collect();
    let whole = Run::new(watched, announced, &inputs).all(&[]);
    assert!(counts(&whole, topics::LABELS).labelled > 5, "labels meet their predictions");
    Run::new(watched, announced, &inputs).forgetting(4, &past).all(&turns).totals().assert_same(&whole.totals());
}

#[test]
fn a_restart_looks_no_further_back_than_where_the_topic_began_when_it_was_read_first() {
    let (watched, announced) = house(false);
    let mut inputs = stream(&[inference(event("a", START_MS, 1)), inference(event("b", START_MS + 1, 2))]);
    for record in inputs.values_mut().flatten() {
        record.offset += 500;
    }
    let mut run = Run::new(watched, announced, &inputs);
    run.read((topics::INFERENCES, 0), 2);
    let epoch = run.capture.seal(Seal::Due).unwrap().unwrap();
    let resume: Vec<_> = epoch.resume_from.iter().map(|point| (point.topic.as_str(), point.offset)).collect();
    assert_eq!(resume, [(topics::INFERENCES, 500), (topics::MODELS, 0)], "labels were not read at all");
}

/// A segment of the model is over `age`, of which nothing may be stored.
#[test]
fn a_segment_over_a_column_that_is_not_stored_cannot_be_had_from_the_archive() {
    let (watched, announced) = house(false);
    let privacy = |policy| Privacy::new([("age".to_owned(), policy)].into(), None, &watched.schema, &[]).unwrap();
    assert_eq!(unarchived_column(watched, &privacy(Policy::Keep)).unwrap(), None);
    assert_eq!(unarchived_column(watched, &privacy(Policy::Drop)).unwrap(), None, "it is null on the log's way too");
    assert_eq!(unarchived_column(watched, &privacy(Policy::ProfileOnly)).unwrap().as_deref(), Some("age"));
    let source = DecodedSource {
        model: Arc::clone(&watched.name),
        schema: watched.schema.clone(),
        segments: watched.segments_from_events(),
        privacy: privacy(Policy::ProfileOnly),
        mapping: None,
    };
    let inputs = stream(&[inference(event("a", START_MS, 1))]);
    let past = Past::of(&inputs, 1);
    let mut capture = fixtures::capture_with(watched, announced, (&fixtures::roomy(), Some(past.reader())));
    let gone = Gone { topic: topics::INFERENCES, partition: 0, offsets: 0..1 };
    assert_eq!(capture.recall(&gone).unwrap(), Some(1));
    capture.decoder = Decoder::new(vec![source], Limits::default());
    let message = streams::error_chain::sentence(&capture.recall(&gone).unwrap_err());
    assert!(message.contains("labels of bed from the archive: a segment follows from `age`"), "{message}");
}

#[test]
fn without_an_archive_nothing_is_recalled() {
    let (watched, announced) = house(false);
    let mut capture = fixtures::capture(watched, announced);
    let gone = Gone { topic: topics::INFERENCES, partition: 0, offsets: 0..1 };
    assert_eq!(capture.recall(&gone).unwrap(), None);
}

#[test]
fn a_column_that_archived_rows_lack_is_null_and_one_of_another_type_is_refused() {
    let (watched, _) = house(false);
    let schema = columns::event_schema(&watched.schema, &[]);
    let rows = fixtures::decoded(watched, &[event("a", START_MS, 1)]);
    let lacking =
        rows.project(&(0..rows.num_columns()).filter(|at| schema.field(*at).name() != "age").collect::<Vec<_>>());
    let fit = fitted("bed", &lacking.unwrap(), &schema).unwrap();
    assert!(fit.column_by_name("age").unwrap().is_null(0));
    assert_eq!(fit.column_by_name("town").unwrap().as_string::<i32>().value(0), "t1");
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("age", number)]).unwrap();
    // The first column that does not fit is told.
    let schema = Arc::new(schema.project(&[schema.index_of("age").unwrap()]).unwrap());
    let message = streams::error_chain::sentence(&fitted("bed", &other, &schema).unwrap_err());
    assert!(
        message.contains("`age` is Float64 in the configuration and was Int64 when they were archived"),
        "{message}"
    );
}
