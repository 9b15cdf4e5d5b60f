//! What the join promises of one id.

use super::*;
use crate::fixtures::roomy;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema};
use detectors::windows::WindowSpec;
use std::sync::LazyLock;
use std::time::Duration;

const HORIZON_MS: i64 = 100;

fn policy() -> LabelPolicy {
    LabelPolicy { ages_ms: vec![10, 50], coverage: None, horizon_ms: HORIZON_MS, absent: None, max_pending: 3 }
}

fn join() -> LabelJoin {
    join_of(policy())
}

fn join_of(policy: LabelPolicy) -> LabelJoin {
    let schema = Schema::new(vec![Field::new("score", DataType::Float64, true)]);
    LabelJoin::new(policy, dues(), Arc::new(KeptColumns::new(Arc::new(schema)).unwrap()), &roomy())
}

/// The window of 1,000 to 1,100 is judged at 1,110 and at 1,150, when its pane is over too.
fn dues() -> Dues {
    let windows = WindowSpec::tumbling(Duration::from_millis(100)).unwrap();
    Dues { windows, step_ms: 10, judged_at_ms: vec![10, 50] }
}

fn prediction(time_ms: i64, watermark_ms: Option<i64>) -> Prediction<'static> {
    static VERSION: LazyLock<Arc<str>> = LazyLock::new(|| "1".into());
    // The row of a score that is null.
    Prediction { version: &VERSION, row: &[0; 9], time_ms, watermark_ms, offset: 0, late: false }
}

fn label(class: &str, time_ms: i64) -> Label {
    Label { value: LabelValue::Class(class.into()), time_ms, watermark_ms: None, offset: 0 }
}

/// Label, what it came after, and sign of what has been found since the last call.
fn outcomes(join: &mut LabelJoin) -> Vec<(String, i64, i8)> {
    let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
    let Some((_, batch)) = join.take_outcomes(&task).unwrap().pop() else { return Vec::new() };
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let labels = column(OUTCOME_LABEL).as_string::<i32>();
    let afters = column(OUTCOME_AFTER).as_primitive::<Int64Type>();
    let signs = column(OUTCOME_SIGN).as_primitive::<Int8Type>();
    (0..batch.num_rows()).map(|row| (labels.value(row).to_owned(), afters.value(row), signs.value(row))).collect()
}

fn label_at_watermark(class: &str, watermark_ms: i64) -> Label {
    Label { watermark_ms: Some(watermark_ms), ..label(class, 1_005) }
}

/// Its own time, which may lie anywhere within the disorder that is allowed, does not matter.
#[test]
fn a_label_counts_in_the_judgements_that_its_partitions_watermark_had_not_reached_when_it_came() {
    for own_ms in [997, 1_000, 1_000 + HORIZON_MS] {
        for (watermark_ms, after) in [(900, 0), (1_109, 0), (1_110, 1), (1_149, 1), (1_150, 3), (9_000, 3)] {
            let mut join = join();
            join.predict("a", prediction(1_000, None), None).unwrap();
            let label = Label { time_ms: own_ms, ..label_at_watermark("1", watermark_ms) };
            assert_eq!(join.label("a", label).unwrap(), [Matched::First]);
            assert_eq!(outcomes(&mut join), [("1".to_owned(), after, 1)], "at {watermark_ms} ms");
        }
    }
}

#[test]
fn a_second_label_takes_the_first_one_back_as_if_both_had_come_when_it_did() {
    let mut join = join();
    join.predict("a", prediction(1_000, None), None).unwrap();
    join.label("a", label("1", 1_005)).unwrap();
    assert_eq!(join.label("a", label_at_watermark("0", 1_120)).unwrap(), [Matched::Replaced]);
    let found = outcomes(&mut join);
    assert_eq!(found, [("1".to_owned(), 0, 1), ("1".to_owned(), 1, -1), ("0".to_owned(), 1, 1)]);
}

#[test]
fn labels_that_come_first_wait_and_count_in_their_order() {
    let mut join = join();
    assert_eq!(join.label("a", label("1", 1_005)).unwrap(), []);
    assert_eq!(join.label("a", label("0", 1_006)).unwrap(), []);
    let (taken, matched) = join.predict("a", prediction(1_000, None), None).unwrap();
    assert_eq!((taken, matched), (Taken::First, vec![Matched::First, Matched::Replaced]));
    assert_eq!(outcomes(&mut join).last(), Some(&("0".to_owned(), 0, 1)));
}

#[test]
fn a_label_beyond_the_horizon_waits_for_another_prediction_and_is_an_orphan_then() {
    let mut join = join();
    join.predict("a", prediction(1_000, None), None).unwrap();
    assert_eq!(join.label("a", label("1", 1_000 + HORIZON_MS + 1)).unwrap(), []);
    let passed = join.pass(Some(5_000), Some(5_000)).unwrap();
    assert_eq!(passed, Passed { expired: 1, orphaned: 1, declared: 0 });
    assert_eq!(join.held(), 0);
}

#[test]
fn an_id_may_come_again_after_its_horizon_and_keeps_its_labels_apart() {
    let mut join = join();
    join.predict("a", prediction(1_000, None), None).unwrap();
    let (taken, _) = join.predict("a", prediction(1_050, Some(1_000)), None).unwrap();
    assert_eq!(taken, Taken::LaterDuplicate);
    let (taken, _) = join.predict("a", prediction(1_201, Some(1_200)), None).unwrap();
    assert_eq!(taken, Taken::First);
    join.label("a", label("1", 1_100)).unwrap();
    join.label("a", label("0", 1_203)).unwrap();
    assert_eq!(outcomes(&mut join), [("1".to_owned(), 0, 1), ("0".to_owned(), 0, 1)]);
}

#[test]
fn an_absent_label_is_declared_before_any_label_read_after_its_time() {
    let absent = Some(AbsentMeans { label: "0".to_owned(), after_ms: 120 });
    let late = label_at_watermark("1", 1_155);
    let passes: [fn(&mut LabelJoin); 2] = [
        |_| {},
        |join| {
            join.pass(Some(1_020), Some(1_155)).unwrap();
        },
    ];
    for pass_between in passes {
        let mut join = join_of(LabelPolicy { absent: absent.clone(), ..policy() });
        join.predict("a", prediction(1_000, None), None).unwrap();
        pass_between(&mut join);
        join.label("a", late.clone()).unwrap();
        let found = outcomes(&mut join);
        assert_eq!(found, [("0".to_owned(), 1, 1), ("0".to_owned(), 3, -1), ("1".to_owned(), 3, 1)]);
    }
}

#[test]
fn late_predictions_are_joined_and_count_in_no_window() {
    let mut join = join();
    join.predict("a", Prediction { late: true, ..prediction(1_000, None) }, None).unwrap();
    assert_eq!(join.label("a", label("1", 1_005)).unwrap(), [Matched::First]);
    assert!(!join.has_outcomes());
}

#[test]
fn the_bound_refuses_new_ids_and_drops_nothing() {
    let mut join = join();
    for id in ["a", "b", "c"] {
        join.predict(id, prediction(1_000, None), None).unwrap();
    }
    assert!(matches!(
        join.predict("d", prediction(1_000, None), None),
        Err(JoinError::TooManyPending { held: 3, bound: 3 })
    ));
    assert!(join.label("e", label("1", 1_000)).is_err());
    assert_eq!(join.label("a", label("1", 1_000)).unwrap(), [Matched::First]);
    assert_eq!(join.held(), 3);
}

/// Whatever comes first: a shadow version logs the same request's id as the champion, and so does the label.
#[test]
fn a_label_belongs_to_the_prediction_of_each_version_and_is_no_orphan_once_it_has_met_one() {
    let shadow: Arc<str> = "shadow".into();
    let predictions = [prediction(1_000, None), Prediction { version: &shadow, ..prediction(1_000, None) }];
    for label_after in 0..=2 {
        let (mut join, mut matched) = (join(), 0);
        for place in 0..=2 {
            if place == label_after {
                matched += join.label("a", label("1", 1_005)).unwrap().len();
            }
            if let Some(prediction) = predictions.get(place) {
                let (taken, met) = join.predict("a", *prediction, None).unwrap();
                assert_eq!(taken, Taken::First);
                assert_eq!(join.predict("a", *prediction, None).unwrap().0, Taken::Duplicate);
                matched += met.len();
            }
        }
        assert_eq!(matched, 2, "the label comes after {label_after}");
        let versions = join.take_outcomes(&Task::Regression).unwrap();
        assert_eq!(versions.iter().map(|(_, rows)| rows.num_rows()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(join.pass(Some(5_000), Some(5_000)).unwrap(), Passed::default());
        assert_eq!(join.held(), 0);
    }
}

#[test]
fn a_label_that_no_prediction_can_come_for_any_more_is_not_kept_once_it_has_met_one() {
    let mut join = join();
    join.predict("a", prediction(1_000, None), None).unwrap();
    join.pass(Some(1_020), Some(1_020)).unwrap();
    join.label("a", label("1", 1_005)).unwrap();
    let found = join.find("a").unwrap();
    assert_eq!((found.entry.predictions.len(), found.entry.labels.len()), (1, 0));
}
