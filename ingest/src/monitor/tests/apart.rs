//! What the monitor promises where the labels are far behind the inferences in event time, or the other way round.

use super::*;

/// Rows of a pane, read up to where the watermarks of inferences and labels are these.
fn rows_until(inferences_ms: i64, labels_ms: i64) -> bytes::Bytes {
    let of = |topic, at_ms| (0..PARTITIONS).map(move |partition| entry(topic, partition, (0, 5), at_ms));
    epoch_of(of(topics::INFERENCES, inferences_ms).chain(of(topics::LABELS, labels_ms)).collect(), 3).into()
}

/// The monitors whose verdicts on all of the traffic are final, and whether panes have matured.
fn judged(watched: &Arc<WatchedModel>, epochs: &[bytes::Bytes]) -> (BTreeSet<String>, bool) {
    let events = told_by([watched, watched], epochs, |_| true);
    let finals = verdicts(&events).into_iter().filter(|verdict| verdict.finality == Finality::Final);
    let monitors = finals.map(|verdict| verdict.monitor.name().to_owned()).collect();
    (monitors, events.iter().any(|event| matches!(event, MonitorEvent::PaneMatured(_))))
}

fn names(monitors: &[&str]) -> BTreeSet<String> {
    monitors.iter().map(|monitor| (*monitor).to_owned()).collect()
}

#[test]
fn drift_is_judged_when_the_inferences_have_passed_a_window_however_far_behind_its_labels_are() {
    let watched = &house().0;
    let long_ago = START_MS - 864_000_000;
    let epochs = [rows_until(START_MS + 60_000, long_ago)];
    assert_eq!(judged(watched, &epochs), (names(&["drift"]), false));
    let of = |partition| entry(topics::LABELS, partition, (5, 6), START_MS + 60_000);
    let caught_up = epoch_of((0..PARTITIONS).map(of).collect(), 0).into();
    let [first] = epochs;
    assert_eq!(judged(watched, &[first, caught_up]), (names(&["drift", "quality"]), true));
}

#[test]
fn a_model_without_labels_does_not_wait_for_those_of_others() {
    let unlabelled = Arc::new(WatchedModel { labels: None, ..(*house().0).clone() });
    let other = Arc::new(WatchedModel { name: "other".into(), ..(*house().0).clone() });
    let references = fixtures::book(&house().1);
    let models = vec![unlabelled, other];
    let mut stage = MonitorStage::new(MonitorSpec { models, ..spec(&house().0, references) });
    let one = record(0, rows_until(START_MS + 60_000, START_MS - 864_000_000).to_vec());
    feed(&mut stage, &[one], Delivery::Live).unwrap();
    let told = stage.seal(Seal::Due).unwrap().unwrap().records;
    assert_eq!(told.into_iter().map(decode).count(), 2, "both windows that hold the rows are judged");
    assert_eq!(stage.models[fixtures::MODEL].done_ms, START_MS + 60_000, "and nothing more is waited for");
}

#[test]
fn a_snapshot_of_the_first_format_is_read() {
    let (snapshot, events) = {
        let mut stage = monitor();
        feed(&mut stage, &[record(0, rows_until(START_MS + 60_000, START_MS + 60_000).to_vec())], Delivery::Live)
            .unwrap();
        let epoch = stage.seal(Seal::Due).unwrap().unwrap();
        let read = OwnedSnapshot::read(&epoch.snapshot.unwrap()).unwrap();
        let models: Vec<_> = read.models.iter().map(|model| (&model.name, model.done_ms, &model.judged)).collect();
        (rmp_serde::to_vec(&(&read.ledger, &read.discarded, models)).unwrap(), epoch.records.len())
    };
    assert!(events > 0);
    let mut stage = monitor();
    stage.restore(&snapshot).unwrap();
    assert_eq!(stage.models[fixtures::MODEL].closed_ms, START_MS + 60_000);
    assert_eq!(stage.models[fixtures::MODEL].done_ms, START_MS + 60_000);
}
