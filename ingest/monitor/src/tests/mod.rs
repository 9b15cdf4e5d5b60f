//! What the monitor promises: each thing once, in event-time order, whatever the epochs and wherever it was stopped.

mod apart;

use super::*;
use capture::fixtures::{self, Act, Announced, DISORDER_MS, PARTITIONS, Run, START_MS, announced, assert_alike, tree};
use capture::partial::{EventCounts, LedgerEntry};
use detectors::verdict::{Finality, Monitor, Position, Severity};
use proptest::prelude::*;
use std::sync::OnceLock;
use streams::log::Headers;

fn house() -> &'static (Arc<WatchedModel>, Announced) {
    static HOUSE: OnceLock<(Arc<WatchedModel>, Announced)> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let watched = Arc::new(fixtures::watched());
        let announced = announced(&watched);
        (watched, announced)
    })
}

fn monitor() -> MonitorStage {
    monitor_of(&house().0, &house().1)
}

fn monitor_of(watched: &Arc<WatchedModel>, announced: &Announced) -> MonitorStage {
    let references = fixtures::book(announced);
    let mut stage = MonitorStage::new(spec(watched, references));
    fixtures::announce(&mut stage, announced);
    stage
}

fn spec(watched: &Arc<WatchedModel>, references: ReferenceRegistry) -> MonitorSpec {
    let disorder = Duration::from_millis(DISORDER_MS as u64);
    MonitorSpec { models: vec![Arc::clone(watched)], partitions: PARTITIONS, disorder, references }
}

fn record(offset: usize, value: Vec<u8>) -> Record {
    Record {
        offset: offset as i64,
        append_time_ms: 0,
        key: None,
        value: Some(value.into()),
        headers: Headers::default(),
    }
}

fn feed(stage: &mut MonitorStage, records: &[Record], delivery: Delivery) -> Result<(), StageError> {
    stage.absorb(Input::Records { topic: topics::PARTIALS, partition: 0, records, delivery })
}

/// What a monitor told of these epochs, restarted after each at which `crashes` says so.
fn told(epochs: &[bytes::Bytes], crashes: impl Fn(usize) -> bool) -> Vec<MonitorEvent> {
    told_by([&house().0, &house().0], epochs, crashes)
}

/// The same of a model that is watched in one way until the first restart, and in another since.
fn told_by(
    [first, since]: [&Arc<WatchedModel>; 2],
    epochs: &[bytes::Bytes],
    crashes: impl Fn(usize) -> bool,
) -> Vec<MonitorEvent> {
    let records: Vec<_> = epochs.iter().enumerate().map(|(offset, epoch)| record(offset, epoch.to_vec())).collect();
    let mut stage = monitor_of(first, &house().1);
    let mut events = Vec::new();
    let (mut resume, mut snapshot) = (0, None);
    for (place, one) in records.iter().enumerate() {
        feed(&mut stage, std::slice::from_ref(one), Delivery::Live).unwrap();
        let epoch = stage.seal(Seal::Due).unwrap().unwrap();
        events.extend(epoch.records.into_iter().map(decode));
        let low_mark = epoch.resume_from.iter().find(|point| point.topic == topics::PARTIALS);
        resume = low_mark.map_or(resume, |point| point.offset as usize);
        snapshot = epoch.snapshot.or(snapshot);
        if crashes(place) {
            stage = monitor_of(since, &house().1);
            stage.restore(snapshot.as_deref().unwrap()).unwrap();
            feed(&mut stage, &records[resume..=place], Delivery::Replayed).unwrap();
        }
    }
    events
}

/// Where a restart after all of these epochs begins to read them again.
fn low_mark(epochs: &[bytes::Bytes]) -> usize {
    let mut stage = monitor();
    let records: Vec<_> = epochs.iter().enumerate().map(|(offset, epoch)| record(offset, epoch.to_vec())).collect();
    feed(&mut stage, &records, Delivery::Live).unwrap();
    let points = stage.seal(Seal::Due).unwrap().unwrap().resume_from;
    points.iter().find(|point| point.topic == topics::PARTIALS).map_or(0, |point| point.offset as usize)
}

fn decode(record: NewRecord) -> MonitorEvent {
    cloud_event::decode(&fixtures::as_stored(record, 0, 0)).unwrap()
}

/// Everything but what is provisional, which tells how far labels have been read. What needs no labels, of which there is
/// told when the inferences have come so far, and then the rest: each has an order of its own.
fn finals(events: &[MonitorEvent]) -> Vec<serde_json::Value> {
    let is_final = |event: &&MonitorEvent| match event {
        MonitorEvent::Verdict(verdict) => verdict.finality == Finality::Final,
        MonitorEvent::RowsMatured(_) => true,
    };
    let needs_labels = |event: &&MonitorEvent| match event {
        MonitorEvent::Verdict(verdict) => !matches!(verdict.monitor, Monitor::Drift | Monitor::DataQuality),
        MonitorEvent::RowsMatured(_) => true,
    };
    let (late, soon): (Vec<_>, Vec<_>) = events.iter().filter(is_final).partition(needs_labels);
    soon.into_iter().chain(late).map(tree).collect()
}

fn verdicts(events: &[MonitorEvent]) -> Vec<&Verdict> {
    let verdicts = events.iter().filter_map(|event| match event {
        MonitorEvent::Verdict(verdict) => Some(verdict.as_ref()),
        MonitorEvent::RowsMatured(_) => None,
    });
    verdicts.collect()
}

/// A quiet stream: a prediction and its label every 90 ms.
fn acts(count: i64) -> Vec<Act> {
    let act = |n: i64| Act {
        kind: if n % 2 == 0 { 0 } else { 7 },
        id: (n / 2 % 200) as u8,
        advance_ms: 45,
        back_ms: 0,
        value: n * 7,
    };
    (0..count).map(act).collect()
}

fn epochs(acts: &[Act], turns: &[fixtures::Turn]) -> Vec<bytes::Bytes> {
    let (watched, announced) = house();
    Run::new(watched, announced, &fixtures::inputs(acts)).all(turns).epochs
}

fn small_epochs() -> Vec<fixtures::Turn> {
    (0..300).map(|input| fixtures::Turn { input, records: 2, then: 1 }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_do_not_depend_on_epochs_or_restarts(
        acts in fixtures::acts(), turns in fixtures::turns(), crashes in prop::collection::vec(any::<bool>(), 100)
    ) {
        let whole = finals(&told(&epochs(&acts, &[]), |_| false));
        let parted = finals(&told(&epochs(&acts, &turns), |place| crashes[place % crashes.len()]));
        prop_assert_eq!(whole.len(), parted.len());
        for (one, other) in whole.iter().zip(&parted) {
            assert_alike(one, other, "verdicts");
        }
    }
}

/// The first pane that is heard of begins at 1,000; a step of 400 that holds its rows begins at 800.
#[test]
fn a_step_that_begins_before_the_first_pane_that_is_open_keeps_its_rows() {
    let act = |kind, id, advance_ms, value| Act { kind, id, advance_ms, back_ms: 0, value };
    let acts = [
        act(7, 0, 0, 0),
        act(13, 0, 296, 0),
        act(7, 0, 373, 0),
        act(0, 0, 263, 0),
        Act { back_ms: 8, ..act(0, 8, 275, 424) },
        act(7, 0, 0, 0),
        act(7, 8, 0, 581),
        act(7, 0, 0, 0),
    ];
    let turns = [1, 0, 3, 2].map(|input| fixtures::Turn { input, records: 1, then: 1 });
    assert_same(&finals(&told(&epochs(&acts, &[]), |_| false)), &finals(&told(&epochs(&acts, &turns), |_| false)));
}

fn assert_same(whole: &[serde_json::Value], parted: &[serde_json::Value]) {
    assert_eq!(whole.len(), parted.len());
    whole.iter().zip(parted).for_each(|(one, other)| assert_alike(one, other, "verdicts"));
}

#[test]
fn a_restart_after_every_record_changes_no_verdict() {
    let epochs = epochs(&acts(200), &small_epochs());
    assert!(epochs.len() > 50);
    assert_eq!(finals(&told(&epochs, |_| false)), finals(&told(&epochs, |_| true)));
}

#[test]
fn each_window_is_judged_once_and_the_end_of_input_closes_the_last() {
    let events = told(&epochs(&acts(200), &small_epochs()), |_| false);
    let mut once = BTreeSet::new();
    for verdict in verdicts(&events).into_iter().filter(|verdict| verdict.finality == Finality::Final) {
        assert!(once.insert(verdict.id.clone()), "{verdict:?} is final twice");
    }
    // The last prediction lies at 198 times 45 ms after the first.
    let last_end = START_MS + 198 * 45 / 1_000 * 1_000 + 2_000;
    for monitor in [Monitor::Drift, Monitor::Quality] {
        let of_monitor =
            verdicts(&events).into_iter().filter(|verdict| verdict.monitor == monitor && verdict.segment.is_none());
        let finals: Vec<_> = of_monitor.filter(|verdict| verdict.finality == Finality::Final).collect();
        assert_eq!(finals.iter().map(|verdict| verdict.window.end_ms).max(), Some(last_end), "{monitor:?}");
        assert_eq!(finals.len(), 10, "{monitor:?}");
    }
}

#[test]
fn a_provisional_verdict_is_replaced_under_its_id() {
    let events = told(&epochs(&acts(100), &small_epochs()), |_| false);
    let mut provisional = BTreeSet::new();
    for verdict in verdicts(&events).into_iter().filter(|verdict| verdict.monitor == Monitor::Quality) {
        match verdict.finality {
            Finality::Provisional => assert!(provisional.insert(verdict.id.clone())),
            Finality::Final => assert!(provisional.remove(&verdict.id), "{verdict:?} was never provisional"),
        }
    }
    assert!(provisional.is_empty(), "these never became final: {provisional:?}");
}

#[test]
fn the_quality_of_a_window_covers_the_records_of_its_drift_also_after_a_restart() {
    let epochs = epochs(&acts(200), &small_epochs());
    assert!(low_mark(&epochs) > epochs.len() / 2, "a restart reads no more again than it needs");
    let events = told(&epochs, |_| true);
    let mut covered = BTreeMap::new();
    for verdict in verdicts(&events).into_iter().filter(|verdict| verdict.finality == Finality::Final) {
        assert!(!verdict.inputs.is_empty(), "{verdict:?} covers nothing");
        let monitors = covered.entry((verdict.window.start_ms, verdict.window.end_ms)).or_insert_with(Vec::new);
        monitors.push((&verdict.monitor, &verdict.inputs));
    }
    let judged = covered.values().filter(|monitors| monitors.iter().any(|(monitor, _)| **monitor == Monitor::Quality));
    for monitors in judged.clone() {
        assert!(monitors.iter().all(|(_, inputs)| *inputs == monitors[0].1), "{monitors:?}");
    }
    assert_eq!(judged.count(), 10);
}

#[test]
fn rows_mature_with_the_labels_they_had_and_a_cut_that_covers_them() {
    let events = told(&epochs(&acts(100), &[]), |_| false);
    let spans: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            MonitorEvent::RowsMatured(matured) => Some(matured),
            MonitorEvent::Verdict(_) => None,
        })
        .collect();
    assert_eq!(spans.iter().map(|span| span.labelled).sum::<i64>(), 50);
    assert_eq!(spans[0].span, Window { start_ms: START_MS, end_ms: START_MS + 1_000 });
    assert_eq!(spans[0].cut.positions.len(), 4, "every input partition has its place");
}

#[test]
fn steps_that_do_not_divide_panes_mature_at_the_same_cut_in_any_epochs() {
    let (whole, parted) = (epochs(&acts(160), &[]), epochs(&acts(160), &small_epochs()));
    let cuts = |epochs: &[bytes::Bytes]| {
        let events = told(epochs, |_| false);
        events.into_iter().filter(|event| matches!(event, MonitorEvent::RowsMatured(_))).collect::<Vec<_>>()
    };
    assert_ne!(house().0.windows.pane_ms() % house().0.step_ms, 0);
    assert_eq!(cuts(&whole), cuts(&parted));
}

#[test]
fn a_sparse_partition_holds_no_window_while_its_source_sends_heartbeats() {
    let (watched, announced) = house();
    let mut inputs = fixtures::Inputs::new();
    let busy = fixtures::new_record(topics::INFERENCES, 0, &fixtures::event("a", START_MS, 1));
    inputs.insert((topics::INFERENCES, 0), vec![fixtures::as_stored(busy, 0, START_MS + 1_000_000)]);
    for (topic, partition) in
        [(topics::INFERENCES, 1), (topics::LABELS, 0), (topics::LABELS, 1), (topics::INFERENCES, 0)]
    {
        let heartbeat = streams::control::Control::Heartbeat(START_MS + 2_000 + DISORDER_MS);
        let records = inputs.entry((topic, partition)).or_default();
        let offset = records.len() as i64;
        records.push(fixtures::as_stored(heartbeat.to_record(topic, partition), offset, START_MS + 1_000_000));
    }
    let events = told(&Run::new(watched, announced, &inputs).all(&[]).epochs, |_| false);
    let closed =
        verdicts(&events).into_iter().filter(|verdict| verdict.monitor == Monitor::Drift && verdict.segment.is_none());
    let ends: Vec<_> = closed.map(|verdict| verdict.window.end_ms).collect();
    assert_eq!(ends, [START_MS + 1_000, START_MS + 2_000]);
}

#[test]
fn rows_without_a_reference_are_learning() {
    let watched = &house().0;
    let directory = tempfile::tempdir().unwrap();
    let nothing = Arc::new(streams::store::Store::in_directory(directory.path()).unwrap());
    let body = PartialBody::Rows { pane_start_ms: START_MS, rows: 5 };
    let partial =
        Partial { model: fixtures::MODEL.to_owned(), version: "9".to_owned(), reference: None, segment: None, body };
    let epoch = CaptureEpoch { ledger: everywhere(0, 1, START_MS + 10_000), partials: vec![partial], continues: false };
    let references = ReferenceRegistry::new(capture::references::ReferenceCache::new(nothing));
    let mut stage = MonitorStage::new(spec(watched, references));
    feed(&mut stage, &[record(0, rmp_serde::to_vec(&epoch).unwrap())], Delivery::Live).unwrap();
    let events: Vec<_> = stage.seal(Seal::Due).unwrap().unwrap().records.into_iter().map(decode).collect();
    let drift = verdicts(&events).into_iter().find(|verdict| verdict.monitor == Monitor::Drift).cloned().unwrap();
    assert_eq!((drift.severity, drift.rows, drift.labelled), (Severity::Learning, 5, None));
}

fn entry(topic: &str, partition: u32, (from, to): (i64, i64), watermark_ms: i64) -> LedgerEntry {
    LedgerEntry {
        from,
        to: Position { topic: topic.to_owned(), partition, offset: to },
        watermark_ms: Some(watermark_ms),
        idle: false,
        ticks: Vec::new(),
        counts: BTreeMap::from([(fixtures::MODEL.to_owned(), EventCounts::default())]),
        dead_letters: BTreeMap::new(),
        read_ms: None,
    }
}

fn everywhere(from: i64, to: i64, watermark_ms: i64) -> Vec<LedgerEntry> {
    let partitions = |topic| (0..PARTITIONS).map(move |partition| entry(topic, partition, (from, to), watermark_ms));
    partitions(topics::INFERENCES).chain(partitions(topics::LABELS)).collect()
}

fn epoch_of(ledger: Vec<LedgerEntry>, rows: i64) -> Vec<u8> {
    part_of(ledger, rows, false)
}

fn part_of(ledger: Vec<LedgerEntry>, rows: i64, continues: bool) -> Vec<u8> {
    let body = PartialBody::Rows { pane_start_ms: START_MS, rows };
    let partial =
        Partial { model: fixtures::MODEL.to_owned(), version: "9".to_owned(), reference: None, segment: None, body };
    rmp_serde::to_vec(&CaptureEpoch { ledger, partials: vec![partial], continues }).unwrap()
}

#[test]
fn a_gap_in_the_ledger_stops_the_monitor_and_names_its_place() {
    let mut stage = monitor();
    feed(&mut stage, &[record(0, epoch_of(everywhere(0, 5, START_MS), 1))], Delivery::Live).unwrap();
    let gap = epoch_of(vec![entry(topics::INFERENCES, 1, (7, 9), START_MS)], 1);
    let stopped = feed(&mut stage, &[record(1, gap)], Delivery::Live).unwrap_err();
    assert_eq!(stopped.to_string(), "ledger gap on inferences/1: expected input from offset 5, got 7");
}

#[test]
fn an_epoch_that_overlaps_the_ledger_counts_once_even_after_a_restart() {
    let first = || epoch_of(everywhere(0, 5, START_MS), 3);
    let last = epoch_of(everywhere(5, 6, START_MS + 60_000), 4);
    for restarts in [false, true] {
        let epochs = [first(), first(), last.clone()].map(bytes::Bytes::from);
        let events = told(&epochs, |place| restarts && place == 1);
        let rows: Vec<_> = verdicts(&events).iter().filter(|v| v.monitor == Monitor::Drift).map(|v| v.rows).collect();
        assert_eq!(rows, [7, 7], "two windows hold the pane; restarted: {restarts}");
    }
}

#[test]
fn an_epoch_in_several_records_counts_as_one_in_a_single_record() {
    let parts = || [2, 1].map(|rows| part_of(everywhere(0, 5, START_MS), rows, rows > 1));
    let last = || [epoch_of(everywhere(5, 6, START_MS + 60_000), 4)];
    for (twice, restarts) in [(false, false), (true, false), (true, true)] {
        let again = parts().into_iter().filter(|_| twice);
        let epochs: Vec<_> = parts().into_iter().chain(again).chain(last()).map(bytes::Bytes::from).collect();
        let events = told(&epochs, |place| restarts && place > 0);
        let rows: Vec<_> = verdicts(&events).iter().filter(|v| v.monitor == Monitor::Drift).map(|v| v.rows).collect();
        assert_eq!(rows, [7, 7], "two windows hold the pane; sent twice: {twice}, restarted: {restarts}");
    }
}

#[test]
fn an_epoch_that_was_counted_in_part_stops_the_monitor() {
    let mut stage = monitor();
    feed(&mut stage, &[record(0, epoch_of(everywhere(0, 5, START_MS), 1))], Delivery::Live).unwrap();
    let mixed = vec![entry(topics::INFERENCES, 0, (0, 5), START_MS), entry(topics::INFERENCES, 1, (5, 6), START_MS)];
    let stopped = feed(&mut stage, &[record(1, epoch_of(mixed, 1))], Delivery::Live).unwrap_err();
    assert!(stopped.to_string().contains("counted in part"), "{stopped}");
}

/// Answers and labels at the scores of the reference, one each 100 ms; labels are wrong where `wrong` says so.
fn labelled(rows: i64, wrong: impl Fn(i64) -> bool) -> Vec<Act> {
    let act = |row: i64, kind, value| Act { kind, id: row as u8, advance_ms: 50, back_ms: 0, value };
    let pair = |row: i64| [act(row, 0, row * 7), act(row, 7, row + i64::from(wrong(row)))];
    (0..rows).flat_map(pair).collect()
}

const PROMISED: [&str; 2] = ["e_detector(error)", "cusum(loss)"];

/// Changes that the detectors with a promised run length found.
fn rises<'a>(events: &'a [MonitorEvent], detector: &str) -> Vec<&'a Verdict> {
    let of_detector = |verdict: &&Verdict| verdict.monitor.name() == detector && verdict.severity == Severity::Drift;
    verdicts(events).into_iter().filter(of_detector).collect()
}

/// That a change point lies so long after the start; that of the loss, whose steps of four rows scatter, to within a step.
fn assert_near(change_point_ms: Option<i64>, after_ms: i64, detector: &str) {
    let allowed_ms = if detector == PROMISED[0] { 0 } else { house().0.step_ms };
    let off_ms = change_point_ms.unwrap() - START_MS - after_ms;
    assert!(off_ms.abs() <= allowed_ms, "{detector}: {off_ms} ms off");
}

#[test]
fn a_stream_as_in_the_reference_raises_no_promised_detector() {
    // The reference has no error in 2,500 rows, which does not say that there is none in two hundred.
    let events = told(&epochs(&labelled(200, |row| row == 150), &small_epochs()), |_| false);
    assert!(verdicts(&events).iter().any(|verdict| verdict.monitor == Monitor::Quality));
    for detector in PROMISED {
        assert!(rises(&events, detector).is_empty(), "{:?}", rises(&events, detector));
    }
}

#[test]
fn a_rise_of_the_error_is_found_with_its_change_point() {
    let events = told(&epochs(&labelled(200, |row| row >= 120), &small_epochs()), |_| false);
    for detector in PROMISED {
        let rises = rises(&events, detector);
        assert_eq!(rises.len(), 1, "{detector} tells of a rise that lasts once");
        let first = rises[0];
        // Row 120 lies 12 s and 50 ms after the first time, in the step that begins at 12 s.
        assert_near(first.change_point_ms, 12_000, detector);
        assert!(first.window.end_ms <= START_MS + 12_000 + 4 * house().0.step_ms, "{detector}: {:?}", first.window);
        assert!(first.metrics["after"].value > first.metrics["before"].value, "{detector}");
        assert_eq!((first.finality, first.labelled), (Finality::Final, Some(first.rows)), "{detector}");
    }
}

#[test]
fn a_rise_that_comes_again_is_found_again() {
    let twice = |row: i64| (60..80).contains(&row) || row >= 140;
    let events = told(&epochs(&labelled(200, twice), &small_epochs()), |_| false);
    for detector in PROMISED {
        let found = rises(&events, detector);
        assert_eq!(found.len(), 2, "{detector}");
        assert_near(found[0].change_point_ms, 6_000, detector);
        assert_near(found[1].change_point_ms, 14_000, detector);
    }
}

#[test]
fn promised_detectors_go_on_where_a_restart_left_them() {
    let epochs = epochs(&labelled(200, |row| row >= 120), &small_epochs());
    let (whole, parted) = (told(&epochs, |_| false), told(&epochs, |place| place % 3 == 0));
    for detector in PROMISED {
        assert!(!rises(&whole, detector).is_empty(), "{detector}");
        assert_eq!(rises(&whole, detector), rises(&parted, detector), "{detector}");
    }
}

#[test]
fn a_detector_that_is_turned_on_later_watches_from_the_restart() {
    let watched = |sequential| Arc::new(WatchedModel { sequential, ..(*house().0).clone() });
    let off = capture::watched::SequentialPolicy::default();
    let on = capture::watched::SequentialPolicy { e_detector: Some(1_000.0), ..off };
    let epochs = epochs(&labelled(200, |row| row >= 120), &small_epochs());
    let told = told_by([&watched(off), &watched(on)], &epochs, |place| place == 20);
    assert!(!rises(&told, "e_detector(error)").is_empty());
    let told = told_by([&watched(on), &watched(off)], &epochs, |place| place == 20);
    assert!(rises(&told, "e_detector(error)").is_empty());
}

#[test]
fn a_detector_that_the_reference_does_not_support_says_so_with_every_window() {
    let watched = &house().0;
    let cases = [
        ("e_detector(error)", 0, "no labelled row"),
        ("e_detector(error)", 2, "enough to bound the mean"),
        ("cusum(loss)", 0, "no labelled row"),
        ("cusum(loss)", 1_000, "holds 20 labelled rows"),
    ];
    for (detector, labelled_rows, why) in cases {
        let announced = fixtures::announced_with(watched, labelled_rows);
        let epochs = Run::new(watched, &announced, &fixtures::inputs(&acts(100))).all(&[]).epochs;
        let mut stage = monitor_of(watched, &announced);
        let records: Vec<_> = epochs.into_iter().enumerate().map(|(at, epoch)| record(at, epoch.to_vec())).collect();
        feed(&mut stage, &records, Delivery::Live).unwrap();
        let events: Vec<_> = stage.seal(Seal::Due).unwrap().unwrap().records.into_iter().map(decode).collect();
        let of = |monitor: &str| {
            let of_all = |verdict: &&Verdict| verdict.segment.is_none() && verdict.monitor.name() == monitor;
            verdicts(&events).into_iter().filter(of_all).collect::<Vec<_>>()
        };
        let blind = of(detector);
        assert_eq!(blind.len(), of("drift").len());
        for verdict in blind {
            assert_eq!(verdict.severity, Severity::Inconclusive(detectors::verdict::Why::NotInReference));
            assert!(verdict.summary.contains(why), "{}", verdict.summary);
        }
    }
}
