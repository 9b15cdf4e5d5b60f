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
    (monitors, events.iter().any(|event| matches!(event, MonitorEvent::RowsMatured(_))))
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
    assert_eq!(told.len(), 2, "both windows that hold the rows are judged");
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

/// Rows every 45 ms, each with its label beside it, and out of place by less than the disorder that is allowed where `back`
/// says so. Labels bear the newest time that was seen when they came, as they do where their source only appends.
fn labelled_rows(back: impl Fn(i64) -> i64) -> Vec<Act> {
    let act = |row: i64, kind, back_ms| Act {
        kind,
        id: row as u8,
        advance_ms: 45 * i64::from(kind == 0),
        back_ms,
        value: row * 7,
    };
    (0..120).flat_map(|row| [act(row, 0, back(row)), act(row, 7, 0)]).collect()
}

#[test]
fn a_window_has_all_labels_that_are_there_when_it_is_judged_whatever_the_order_of_its_rows() {
    let mut watched = fixtures::watched();
    if let Some(labels) = &mut watched.labels {
        // Less than the rows are out of place.
        (labels.ages_ms, labels.coverage) = (vec![100], None);
    }
    let watched = Arc::new(watched);
    for back in [|_| 0, |row: i64| row * 97 % 6 * 45] {
        let inputs = fixtures::inputs(&labelled_rows(back));
        let epochs = Run::new(&watched, &house().1, &inputs).all(&small_epochs()).epochs;
        let events = told_by([&watched, &watched], &epochs, |_| false);
        let quality = verdicts(&events).into_iter().filter(|verdict| {
            verdict.finality == Finality::Final && verdict.monitor == Monitor::Quality && verdict.segment.is_none()
        });
        let counted: Vec<_> = quality.map(|verdict| (verdict.rows, verdict.labelled)).collect();
        assert!(counted.len() > 5 && counted.iter().all(|(rows, labelled)| *labelled == Some(*rows)), "{counted:?}");
    }
}

#[test]
fn partials_of_the_first_format_have_ages_that_are_turned_into_what_labels_came_after() {
    let dues = house().0.dues();
    let told = |age| {
        let quality = detectors::quality::Quality::empty(&house().0.schema.task);
        match (PartialBody::Outcomes { pane_start_ms: START_MS, after: age, quality }).without_age(&dues) {
            PartialBody::Outcomes { after, .. } => after,
            other => panic!("{other:?}"),
        }
    };
    let first = house().0.windows.windows_of(START_MS).next().unwrap();
    for (age, age_ms) in (0..).zip(&dues.judged_at_ms) {
        let due = |at_ms| dues.of_pane(START_MS, at_ms);
        assert!(told(age) < due(first.end_ms + age_ms) && told(age) >= due(first.end_ms + age_ms - 1));
    }
    assert_eq!(told(2), u32::MAX);
}
