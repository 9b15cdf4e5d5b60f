//! What capture promises: sums and ledger are a function of each partition's records, whatever the runner does with them.

mod recall;

use super::*;
use crate::fixtures::{
    self, Act, DISORDER_MS, Inputs, MODEL, Run, START_MS, announced, as_stored, event, label, new_record,
};
use crate::join::{AbsentMeans, LabelSpace};
use crate::partial::PartialBody;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::OnceLock;

fn with_absent() -> WatchedModel {
    let mut watched = fixtures::watched();
    if let Some(labels) = &mut watched.labels {
        labels.absent = Some(AbsentMeans { label: "0".to_owned(), after_ms: 1_000 });
    }
    watched
}

/// What is known of a model's labels.
#[derive(Debug, Clone, Copy)]
enum Labels {
    Come,
    AbsentMeans,
    None,
}

/// Models are made once: a reference takes longer to learn than a stream to read.
fn house_of(labels: Labels) -> &'static (Arc<WatchedModel>, fixtures::Announced) {
    static HOUSES: [OnceLock<(Arc<WatchedModel>, fixtures::Announced)>; 3] = [const { OnceLock::new() }; 3];
    HOUSES[labels as usize].get_or_init(|| {
        let watched = Arc::new(match labels {
            Labels::Come => fixtures::watched(),
            Labels::AbsentMeans => with_absent(),
            Labels::None => WatchedModel { labels: None, ..fixtures::watched() },
        });
        let announced = announced(&watched);
        (watched, announced)
    })
}

fn house(absent: bool) -> &'static (Arc<WatchedModel>, fixtures::Announced) {
    house_of(if absent { Labels::AbsentMeans } else { Labels::Come })
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop_oneof![Just(Labels::Come), Just(Labels::AbsentMeans), Just(Labels::None)]
}

fn stream(records: &[(&'static str, NewRecord)]) -> Inputs {
    let mut inputs = Inputs::new();
    for (topic, record) in records {
        let records = inputs.entry((*topic, record.partition)).or_default();
        let offset = records.len() as i64;
        records.push(as_stored(record.clone(), offset, START_MS + 1_000_000));
    }
    inputs
}

fn inference(value: serde_json::Value) -> (&'static str, NewRecord) {
    (topics::INFERENCES, new_record(topics::INFERENCES, 0, &value))
}

fn labelling(value: serde_json::Value) -> (&'static str, NewRecord) {
    (topics::LABELS, new_record(topics::LABELS, 0, &value))
}

fn counts(run: &Run<'_>, topic: &str) -> EventCounts {
    run.totals().counts.get(&(topic.to_owned(), 0, MODEL.to_owned())).copied().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn order_epochs_crashes_and_memory_change_no_sum_and_no_count(
        acts in fixtures::acts(), turns in fixtures::turns(), labels in any_labels(), label_memory in 0u64..2_000
    ) {
        let (watched, announced) = house_of(labels);
        let inputs = fixtures::inputs(&acts);
        let whole = Run::new(watched, announced, &inputs).all(&[]);
        let directory = tempfile::tempdir().unwrap();
        let little = Arc::new(LabelSpace::new(directory.path(), label_memory));
        let parted = Run::new(watched, announced, &inputs).within(&little).all(&turns);
        whole.totals().assert_same(&parted.totals());
        prop_assert_eq!(whole.dead_letters, parted.dead_letters);
    }
}

#[test]
fn a_crash_after_every_record_changes_nothing() {
    let (watched, announced) = house(false);
    let acts: Vec<_> = (0..60)
        .map(|n: i64| Act {
            kind: (n * 5 % 14) as u8,
            id: (n % 7) as u8,
            advance_ms: 130,
            back_ms: n * 37 % 350,
            value: n,
        })
        .collect();
    let inputs = fixtures::inputs(&acts);
    let turns: Vec<_> = (0..120)
        .flat_map(|n| {
            [fixtures::Turn { input: n, records: 1, then: 1 }, fixtures::Turn { input: n, records: 1, then: 0 }]
        })
        .collect();
    let whole = Run::new(watched, announced, &inputs).all(&[]);
    Run::new(watched, announced, &inputs).all(&turns).totals().assert_same(&whole.totals());
}

#[test]
fn labels_that_were_read_first_survive_a_crash() {
    let (watched, announced) = house(false);
    let inputs = stream(&[labelling(label("a", START_MS + 10, 1)), inference(event("a", START_MS, 1))]);
    let mut run = Run::new(watched, announced, &inputs);
    run.read((topics::LABELS, 0), 1);
    run.seal();
    run.crash();
    assert_eq!(counts(&run.all(&[]), topics::LABELS).labelled, 1);
}

#[test]
fn a_feature_that_the_model_does_not_have_is_counted_once_though_capture_crashes() {
    let (watched, announced) = house(false);
    let mut misspelt = event("a", START_MS, 1);
    misspelt["features"]["aeg"] = serde_json::json!(3);
    let inputs = stream(&[inference(misspelt), inference(event("b", START_MS + 10, 2))]);
    let mut run = Run::new(watched, announced, &inputs);
    run.read((topics::INFERENCES, 0), 1);
    run.seal();
    run.crash();
    let counts = counts(&run.all(&[]), topics::INFERENCES);
    assert_eq!((counts.unknown_features, counts.produced), (1, 2));
}

#[test]
fn what_is_none_of_the_classes_is_counted_once_though_capture_crashes() {
    let (watched, announced) = house(false);
    let mut undecided = event("a", START_MS, 1);
    undecided["prediction"] = serde_json::json!("maybe");
    let inputs = stream(&[
        inference(undecided),
        inference(event("b", START_MS + 10, 2)),
        labelling(label("a", START_MS + 20, 1)),
        labelling(label("b", START_MS + 20, 7)),
    ]);
    let mut run = Run::new(watched, announced, &inputs);
    run.read((topics::INFERENCES, 0), 1);
    run.seal();
    run.crash();
    let run = run.all(&[]);
    let (predictions, labels) = (counts(&run, topics::INFERENCES), counts(&run, topics::LABELS));
    assert_eq!((predictions.unknown_predictions, predictions.unknown_labels), (1, 0));
    assert_eq!((labels.unknown_predictions, labels.unknown_labels), (0, 1));
}

#[test]
fn a_duplicate_stays_one_after_its_first_has_expired_and_capture_crashed() {
    let (watched, announced) = house(false);
    // The duplicate's own time lies within the horizon when that of its first no longer does.
    let later = START_MS + fixtures::HORIZON_MS + DISORDER_MS;
    let inputs = stream(&[
        inference(event("a", START_MS, 1)),
        inference(event("a", START_MS + 250, 2)),
        inference(event("b", later + 100, 3)),
        labelling(label("b", later + 100, 1)),
        inference(event("a", later + 150, 4)),
    ]);
    let mut run = Run::new(watched, announced, &inputs);
    for records in [1, 1, 1] {
        run.read((topics::INFERENCES, 0), records);
        run.seal();
    }
    run.read((topics::LABELS, 0), 1);
    run.seal();
    run.crash();
    assert_eq!(counts(&run.all(&[]), topics::INFERENCES).duplicates, 1);
}

#[test]
fn the_last_label_on_the_log_wins_over_the_one_an_event_carries() {
    let (watched, announced) = house(false);
    let mut carrying = event("a", START_MS, 1);
    carrying["label"] = serde_json::json!("0");
    let inputs = stream(&[inference(carrying), labelling(label("a", START_MS + 5, 1))]);
    let labels_first = fixtures::Turn { input: 1, records: 1, then: 9 };
    for turns in [vec![], vec![labels_first]] {
        let run = Run::new(watched, announced, &inputs).all(&turns);
        let counts = counts(&run, topics::LABELS);
        assert_eq!((counts.labelled, counts.relabelled), (1, 1));
        let quality = run.totals().partials.into_iter().find_map(|((_, segment, ..), body)| match body {
            PartialBody::Outcomes { quality, .. } if segment.is_none() => Some(quality),
            _ => None,
        });
        assert_eq!(quality.unwrap().metrics()["accuracy"].value, 1.0, "the prediction is 1, and so is the last label");
    }
}

#[test]
fn what_is_sent_again_counts_once_whether_or_not_the_model_has_labels() {
    for labels in [Labels::Come, Labels::None] {
        let (watched, announced) = house_of(labels);
        let body = || (0..5).map(|n| inference(event(&format!("i{n}"), START_MS + n * 10, n)));
        let inputs = stream(&body().chain(body()).collect::<Vec<_>>());
        let mut run = Run::new(watched, announced, &inputs);
        run.read((topics::INFERENCES, 0), 5);
        run.seal();
        run.crash();
        let run = run.all(&[]);
        let counts = counts(&run, topics::INFERENCES);
        assert_eq!((counts.produced, counts.duplicates), (10, 5), "{labels:?}");
        let rows = run.totals().partials.into_values().map(|body| match body {
            PartialBody::Inputs { profile, .. } => profile.rows(),
            _ => 0,
        });
        // All of them, and again in their segment.
        assert_eq!(rows.sum::<i64>(), 10, "{labels:?}");
    }
}

#[test]
fn two_versions_that_answer_the_same_request_count_each_and_the_label_goes_to_both() {
    let (watched, announced) = house(false);
    let shadow = |id: &str, value: i64| {
        let mut event = event(id, START_MS, value);
        event["version"] = serde_json::json!("shadow");
        event
    };
    let inputs = stream(&[
        inference(event("a", START_MS, 1)),
        inference(shadow("a", 0)),
        inference(shadow("b", 0)),
        inference(event("b", START_MS, 1)),
        labelling(label("a", START_MS + 10, 1)),
        labelling(label("b", START_MS + 10, 1)),
    ]);
    let labels_first = fixtures::Turn { input: 1, records: 2, then: 9 };
    for turns in [vec![], vec![labels_first]] {
        let run = Run::new(watched, announced, &inputs).all(&turns);
        assert_eq!(counts(&run, topics::INFERENCES).duplicates, 0);
        let of_labels = counts(&run, topics::LABELS);
        assert_eq!((of_labels.labelled, of_labels.relabelled, of_labels.orphaned), (4, 0, 0));
    }
}

#[test]
fn late_rows_are_profiled_apart() {
    let (watched, announced) = house(false);
    let inputs = stream(&[inference(event("a", START_MS + 900, 1)), inference(event("b", START_MS, 2))]);
    let run = Run::new(watched, announced, &inputs).all(&[]);
    assert_eq!(counts(&run, topics::INFERENCES).late, 1);
    let late: Vec<_> =
        run.totals().partials.into_keys().filter(|place| place.2 == "inputs" && place.1.is_none()).collect();
    assert_eq!(late.iter().map(|place| place.4).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_bad_row_costs_itself_and_is_counted() {
    let (watched, announced) = house(false);
    let inputs = stream(&[
        inference(event("a", START_MS, 1)),
        inference(serde_json::json!({"id": "bad", "model": MODEL})),
        inference(event("b", START_MS + 1, 2)),
    ]);
    let run = Run::new(watched, announced, &inputs).all(&[]);
    assert_eq!((counts(&run, topics::INFERENCES).produced, run.dead_letters), (2, 1));
    assert_eq!(run.totals().dead_letters.values().sum::<i64>(), 1);
}

#[test]
fn a_heartbeat_moves_a_partition_that_has_nothing_to_say() {
    let (watched, announced) = house(false);
    let heartbeat = Control::Heartbeat(START_MS + 5_000).to_record(topics::INFERENCES, 0);
    let inputs = stream(&[inference(event("a", START_MS, 1)), (topics::INFERENCES, heartbeat)]);
    let totals = Run::new(watched, announced, &inputs).all(&[]).totals();
    assert_eq!(totals.ends[&(topics::INFERENCES.to_owned(), 0)].1, Some(START_MS + 5_000 - DISORDER_MS));
}

#[test]
fn an_unreadable_control_record_is_counted_and_moves_nothing() {
    let (watched, announced) = house(false);
    let mut record = Control::Heartbeat(START_MS + 5_000).to_record(topics::INFERENCES, 0);
    record.value = Some(Bytes::from_static(b"soon"));
    let inputs = stream(&[inference(event("a", START_MS, 1)), (topics::INFERENCES, record)]);
    let totals = Run::new(watched, announced, &inputs).all(&[]).totals();
    assert_eq!(totals.ends[&(topics::INFERENCES.to_owned(), 0)], (2, Some(START_MS - DISORDER_MS)));
    assert_eq!(totals.dead_letters[&(topics::INFERENCES.to_owned(), 0, "control_record".to_owned())], 1);
}

/// Rows that are not judged yet move no watermark, and yet a window may end with them.
#[test]
fn windows_wait_for_capture_once_a_watermark_has_passed_the_end_of_some_or_a_partition_is_idle() {
    let (watched, announced) = house(false);
    let mut capture = fixtures::capture(watched, announced);
    let begin_ms = START_MS + DISORDER_MS;
    let steps = [(0, true), (900, false), (-150, false), (1_000, true), (1_001, false), (5_000, true)];
    for (offset, (after_ms, awaited)) in (0..).zip(steps) {
        let event = event(&format!("i{offset}"), begin_ms + after_ms, 1);
        let records = [as_stored(new_record(topics::INFERENCES, 0, &event), offset, START_MS + 1_000_000)];
        let delivery = Delivery::Live;
        capture
            .absorb(Input::Records { topic: topics::INFERENCES, partition: 0, records: &records, delivery })
            .unwrap();
        assert_eq!(capture.is_awaited(), awaited, "at {after_ms} ms");
        capture.seal(Seal::Due).unwrap();
        assert!(!capture.is_awaited(), "it was told at {after_ms} ms");
    }
    capture.absorb(Input::Idle { topic: topics::LABELS, partition: 0 }).unwrap();
    assert!(capture.is_awaited());
    capture.seal(Seal::Due).unwrap();
    assert!(!capture.is_awaited());
}

/// Why capture does not come to the end of an epoch with these records.
fn stopped(capture: &mut Capture, records: &[Record]) -> StageError {
    let input = Input::Records { topic: topics::INFERENCES, partition: 0, records, delivery: Delivery::Live };
    capture.absorb(input).and_then(|()| capture.seal(Seal::Due)).unwrap_err()
}

#[test]
fn the_bound_on_pending_ids_stops_capture_and_says_how_to_go_on() {
    let mut watched = fixtures::watched();
    if let Some(labels) = &mut watched.labels {
        labels.max_pending = 2;
    }
    let watched = Arc::new(watched);
    let announced = announced(&watched);
    let mut capture = fixtures::capture(&watched, &announced);
    let records: Vec<_> = (0..3)
        .map(|n| as_stored(new_record(topics::INFERENCES, 0, &event(&format!("i{n}"), START_MS, n)), n, START_MS))
        .collect();
    let message = stopped(&mut capture, &records).to_string();
    assert!(message.contains("2 ids wait for labels, the bound is 2: nothing was dropped"), "{message}");
    assert!(message.contains("raise labels.max_pending"), "{message}");
}

#[test]
fn a_directory_that_cannot_be_written_stops_capture_and_the_next_life_loses_nothing() {
    let (watched, announced) = house(false);
    let inputs = stream(&[
        inference(event("a", START_MS, 1)),
        inference(event("b", START_MS + 1, 2)),
        labelling(label("a", START_MS + 5, 1)),
        labelling(label("b", START_MS + 6, 1)),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let labels = directory.path().join("labels");
    // A file stands where the directory is to be.
    std::fs::write(&labels, "").unwrap();
    let space = Arc::new(LabelSpace::new(&labels, 0));
    let mut capture = fixtures::capture_in(watched, announced, &space);
    let records = &inputs[&(topics::INFERENCES, 0)];
    let message = streams::error_chain::sentence(&stopped(&mut capture, records));
    assert!(message.contains(&format!("{} cannot be written", labels.display())), "{message}");
    assert!(message.contains("nothing was dropped; free space on that disk, or raise label_memory"), "{message}");
    drop(capture);
    std::fs::remove_file(&labels).unwrap();
    let run = Run::new(watched, announced, &inputs).within(&space).all(&[]);
    assert_eq!(counts(&run, topics::LABELS).labelled, 2);
}
