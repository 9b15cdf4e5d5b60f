//! The panel's promises: it finds what is there, keeps its false-alarm budget, and says when it is blind.

use super::*;
use crate::layout::ColumnLayout;
use crate::profile::PackedProfile;
use crate::quality::Outcomes;
use crate::reference::{Origin, ReferencePane, ReferenceParts, Slice};
use crate::schema::{ColumnKind, ColumnSchema, ModelSchema, Role, Task};
use crate::windows::WindowSpec;
use arrow::array::{ArrayRef, AsArray, Float64Array, Int8Array, StringArray, new_null_array};
use arrow::datatypes::DataType;
use std::sync::Arc;
use std::time::Duration;

const FEATURES: usize = 20;
const HOUR: i64 = 3_600_000;

fn task() -> Task {
    Task::Binary { positive: "1".into(), negative: "0".into() }
}

fn schema() -> ModelSchema {
    ModelSchema::new((0..FEATURES).map(|i| (format!("x{i}"), ColumnKind::Numeric)), task())
}

/// A small generator, so that every run tests the same numbers.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Columns of `rows` rows: normal features, the first one shifted; answers that are "1" in three of ten rows.
fn columns(random: &mut Random, rows: usize, shift: f64) -> Vec<ArrayRef> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for feature in 0..FEATURES {
        let by = if feature == 0 { shift } else { 0.0 };
        columns.push(Arc::new(Float64Array::from_iter_values((0..rows).map(|_| random.normal() + by))));
    }
    let scores: Vec<f64> = (0..rows).map(|_| random.uniform()).collect();
    let answers = scores.iter().map(|score| if *score > 0.7 { "1" } else { "0" });
    columns.push(Arc::new(StringArray::from_iter_values(answers)));
    columns.push(Arc::new(Float64Array::from(scores)));
    columns
}

fn profile(layouts: &[ColumnLayout], columns: &[ArrayRef]) -> Profile {
    let mut profile = Profile::empty(layouts);
    let rows = columns.first().map_or(0, |column| column.len());
    profile.observe(layouts, columns, &new_null_array(&DataType::Null, rows)).unwrap();
    profile
}

fn layouts_of(columns: &[ArrayRef]) -> Vec<ColumnLayout> {
    columns
        .iter()
        .map(|column| match column.as_any().downcast_ref::<Float64Array>() {
            Some(numbers) => ColumnLayout::learn_numeric(&mut numbers.values().to_vec()),
            None => ColumnLayout::learn_categorical(["0", "0", "0", "1"]),
        })
        .collect()
}

/// Labelled rows of which `wrong` are wrong.
fn quality(rows: usize, wrong: usize) -> Quality {
    let mut quality = Quality::empty(&task());
    let answers: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "0")));
    let labels: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..rows).map(|i| if i < wrong { "1" } else { "0" })));
    let outcomes = Outcomes {
        task: &task(),
        prediction: &answers,
        scores: &[],
        label: &labels,
        sign: &Int8Array::from(vec![1; rows]),
    };
    quality.observe(&outcomes).unwrap();
    quality
}

/// A reference of `windows` hourly windows of `rows` rows each, of which 40 in 500 are answered wrongly, or a few more.
fn reference(windows: usize, rows: usize, random: &mut Random) -> Reference {
    let layouts = layouts_of(&columns(random, windows * rows, 0.0));
    let mut panes = Vec::new();
    let (mut whole, mut whole_quality) = (Profile::empty(&layouts), Quality::empty(&task()));
    for place in 0..windows {
        let profile = profile(&layouts, &columns(random, rows, 0.0));
        let quality = quality(rows, rows * (40 + place % 3) / 500);
        whole.merge(&profile).unwrap();
        whole_quality.merge(&quality).unwrap();
        let profile = PackedProfile::of(&profile).unwrap();
        panes.push(ReferencePane { start_ms: place as i64 * HOUR, profile, quality: Some(quality) });
    }
    Reference::new(ReferenceParts {
        model: "m".into(),
        version: "v1".into(),
        schema: schema(),
        origin: Origin::TrainingSet { digest: "d".into() },
        windows: WindowSpec::tumbling(Duration::from_secs(3_600)).unwrap(),
        layouts,
        slices: vec![Slice { segment: None, profile: whole, quality: Some(whole_quality), panes }],
        steps: None,
    })
    .unwrap()
}

fn exceeding(
    panel: &Panel,
    reference: &Reference,
    random: &mut Random,
    (windows, rows, shift): (usize, usize, f64),
) -> usize {
    let judge = |_: usize| panel.judge_drift(&profile(reference.layouts(), &columns(random, rows, shift))).outcome;
    (0..windows).map(judge).filter(|outcome| *outcome == Outcome::Exceeded).count()
}

#[test]
fn clean_windows_hardly_ever_exceed_and_a_shift_in_one_of_twenty_features_nearly_always_does() {
    let mut random = Random(42);
    let reference = reference(20, 500, &mut random);
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    let false_alarms = exceeding(&panel, &reference, &mut random, (300, 500, 0.0));
    assert!(false_alarms < 6, "{false_alarms} of 300 clean windows exceed");
    let found = exceeding(&panel, &reference, &mut random, (100, 500, 0.5));
    assert!(found >= 95, "{found} of 100 shifted windows exceed");
}

#[test]
fn windows_of_another_size_and_references_of_few_windows_keep_the_budget_too() {
    for (windows, rows, size) in [(3, 500, 500), (20, 500, 120), (20, 500, 3_000), (1, 2_000, 300)] {
        let mut random = Random(7);
        let reference = reference(windows, rows, &mut random);
        let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
        let false_alarms = exceeding(&panel, &reference, &mut random, (100, size, 0.0));
        assert!(
            false_alarms <= 3,
            "{false_alarms} of 100 clean windows of {size} exceed ({windows} windows of {rows})"
        );
    }
}

#[test]
fn the_summary_names_the_column_and_which_way_it_moved() {
    let mut random = Random(3);
    let reference = reference(10, 500, &mut random);
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    let judgement = panel.judge_drift(&profile(reference.layouts(), &columns(&mut random, 500, 1.0)));
    let summary = judgement.summary;
    assert!(
        summary.starts_with("`x0` moved: ") && summary.ends_with("towards higher values; 1 of 22 columns"),
        "{summary}"
    );
    assert_eq!(judgement.tests.len(), 44);
}

#[test]
fn a_window_with_too_few_rows_is_inconclusive_and_says_how_many_it_needs() {
    let mut random = Random(5);
    let reference = reference(10, 200, &mut random);
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    let few = profile(reference.layouts(), &columns(&mut random, 99, 0.0));
    let why = Why::TooFewRows { rows: 99, needed: 100 };
    assert_eq!(panel.judge_drift(&few).outcome, Outcome::Inconclusive(why.clone()));
    assert_eq!(panel.judge_data_quality(&few).outcome, Outcome::Inconclusive(why));
    let labels = panel.judge_quality(&quality(10, 0));
    assert_eq!(labels.outcome, Outcome::Inconclusive(Why::TooFewLabels { labelled: 10, needed: 100 }));
}

#[test]
fn nulls_are_a_fault_of_the_data_and_missing_rows_are_where_volume_is_watched() {
    let mut random = Random(11);
    let reference = reference(10, 200, &mut random);
    let mut policy = PanelPolicy::default();
    policy.data_quality.volume_factor = Some(3.0);
    let panel = Panel::learn(&policy, &reference, 0).unwrap();
    let mut odd = columns(&mut random, 200, 0.0);
    assert_eq!(panel.judge_data_quality(&profile(reference.layouts(), &odd)).outcome, Outcome::Within);
    odd[4] = Arc::new((0..200).map(|i| (i % 5 > 0).then_some(f64::from(i) / 100.0 - 1.0)).collect::<Float64Array>());
    let judgement = panel.judge_data_quality(&profile(reference.layouts(), &odd));
    assert_eq!(judgement.outcome, Outcome::Exceeded);
    assert_eq!(judgement.summary, "null_share of `x4` is 20.0 % (limit 5.0 %); 1 such findings");
    let gone = panel.judge_data_quality(&Profile::empty(reference.layouts()));
    assert_eq!(gone.outcome, Outcome::Exceeded);
}

#[test]
fn a_categorical_column_with_far_more_values_than_ever_is_a_fault_of_the_data() {
    let columns = [ColumnSchema { name: "city".to_owned(), role: Role::Feature, kind: ColumnKind::Categorical }];
    let of = |values: Vec<String>| vec![Arc::new(StringArray::from(values)) as ArrayRef];
    let cities = |rows: usize, cities: usize| of((0..rows).map(|row| format!("city {}", row % cities)).collect());
    let mut values = cities(1_000, 20);
    let layouts = vec![ColumnLayout::learn_categorical(values[0].as_string::<i32>().iter().flatten())];
    let reference = profile(&layouts, &values);
    let mut policy = PanelPolicy::default();
    policy.data_quality.unseen = 1.0;
    let panel = Panel::of_batch(&policy, 0.005, &columns, (&layouts, &reference)).unwrap();
    assert_eq!(panel.judge_data_quality(&profile(&layouts, &cities(1_000, 30))).outcome, Outcome::Within);
    values = cities(1_000, 500);
    let judgement = panel.judge_data_quality(&profile(&layouts, &values));
    assert_eq!(judgement.outcome, Outcome::Exceeded);
    assert!(judgement.summary.starts_with("`city` has about "), "{}", judgement.summary);
}

#[test]
fn a_column_that_comes_alive_has_drifted_and_is_no_fault_of_the_data() {
    let columns = [ColumnSchema { name: "x".to_owned(), role: Role::Feature, kind: ColumnKind::Numeric }];
    let of = |values: Vec<f64>| vec![Arc::new(Float64Array::from(values)) as ArrayRef];
    let layouts = vec![ColumnLayout::learn_numeric(&mut [0.5; 500])];
    let constant = profile(&layouts, &of(vec![0.5; 500]));
    let panel = Panel::of_batch(&PanelPolicy::default(), 0.005, &columns, (&layouts, &constant)).unwrap();
    let alive = profile(&layouts, &of((0..500).map(|n| f64::from(n) / 500.0).collect()));
    assert_eq!(panel.judge_drift(&alive).outcome, Outcome::Exceeded);
    assert_eq!(panel.judge_data_quality(&alive).outcome, Outcome::Within);
    assert_eq!(panel.judge_drift(&constant).outcome, Outcome::Within);
}

#[test]
fn a_column_that_stands_still_is_a_fault_of_the_data_unless_it_has_done_so_before() {
    let columns = ["sensor", "rare"].map(|name| ColumnSchema {
        name: name.to_owned(),
        role: Role::Feature,
        kind: ColumnKind::Numeric,
    });
    let of = |values: [Vec<f64>; 2]| values.map(|values| Arc::new(Float64Array::from(values)) as ArrayRef).to_vec();
    // One row in a hundred has the rare value: 200 rows without it are no wonder.
    let rows = |count: usize| {
        [0, 1].map(|column| (0..count).map(|row| [row as f64, f64::from(u8::from(row % 100 == 99))][column]).collect())
    };
    let layouts: Vec<ColumnLayout> =
        rows(1_000).map(|mut values: Vec<f64>| ColumnLayout::learn_numeric(&mut values)).to_vec();
    let whole = profile(&layouts, &of(rows(1_000)));
    let panel = Panel::of_batch(&PanelPolicy::default(), 0.005, &columns, (&layouts, &whole)).unwrap();
    let stuck = panel.judge_data_quality(&profile(&layouts, &of([vec![7.0; 200], vec![0.0; 200]])));
    assert_eq!(stuck.outcome, Outcome::Exceeded);
    assert_eq!(stuck.summary, "`sensor` has one value in all rows; 1 such findings");
}

#[test]
fn a_drop_of_accuracy_counts_when_it_is_neither_small_nor_chance() {
    let mut random = Random(13);
    let reference = reference(10, 500, &mut random);
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    assert_eq!(panel.judge_quality(&quality(500, 50)).outcome, Outcome::Within, "two points, but less than two errors");
    assert_eq!(panel.judge_quality(&quality(50_000, 4_800)).outcome, Outcome::Within, "certain, but small");
    assert_eq!(panel.judge_quality(&quality(500, 0)).outcome, Outcome::Within, "better is not worse");
    let dropped = panel.judge_quality(&quality(500, 90));
    assert_eq!(dropped.outcome, Outcome::Exceeded);
    assert_eq!(dropped.summary, "accuracy is 0.820, down from 0.918 in the reference");
    assert_eq!(dropped.tests[0].test, "accuracy_drop");
}

/// Labelled rows of which so many are right, so many wrong, and so many labels of no class.
fn quality_with_unknown([right, wrong, unknown]: [usize; 3]) -> Quality {
    let mut quality = quality(right + wrong, wrong);
    let answers: ArrayRef = Arc::new(StringArray::from(vec!["1"; unknown]));
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["YES"; unknown]));
    let sign = Int8Array::from(vec![1; unknown]);
    let outcomes = Outcomes { task: &task(), prediction: &answers, scores: &[], label: &labels, sign: &sign };
    quality.observe(&outcomes).unwrap();
    quality
}

#[test]
fn labels_of_no_class_leave_no_judgement_where_it_hangs_on_them() {
    let reference = reference(10, 500, &mut Random(13));
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    let outcome = |rows| panel.judge_quality(&quality_with_unknown(rows)).outcome;
    let unusable = |labels, of| Outcome::Inconclusive(Why::Unusable { labels, predictions: 0, missing: 0, of });
    assert_eq!(outcome([470, 30, 0]), Outcome::Within);
    assert_eq!(outcome([470, 30, 2]), Outcome::Within, "two of 502 change nothing");
    assert_eq!(outcome([240, 10, 250]), unusable(250, 500), "the half that is left is no worse than before");
    assert_eq!(outcome([50, 450, 100]), Outcome::Exceeded, "however good the rest is");
    assert_eq!(outcome([0, 0, 500]), unusable(500, 500));
    let summary = panel.judge_quality(&quality_with_unknown([240, 10, 250])).summary;
    assert!(summary.starts_with("250 of 500 labels are none of the model's classes"), "{summary}");
    let metrics = quality_with_unknown([240, 10, 250]).metrics();
    assert_eq!(metrics.get(Quality::INVALID_LABELS).map(|count| count.value), Some(250.0));
    assert_eq!(quality_with_unknown([240, 10, 0]).metrics().get(Quality::INVALID_LABELS), None);
}

/// Two weeks of a level that is 10 on weekdays and 18 on the other days.
fn weeks() -> Reference {
    let mut random = Random(29);
    let mut day = |place: usize| -> Vec<ArrayRef> {
        let level = if place % 7 < 5 { 10.0 } else { 18.0 };
        vec![Arc::new(Float64Array::from_iter_values((0..200).map(|_| level + random.normal() / 4.0)))]
    };
    let days: Vec<Vec<ArrayRef>> = (0..14).map(&mut day).collect();
    let mut values: Vec<f64> =
        days.iter().flat_map(|day| day[0].as_primitive::<arrow::datatypes::Float64Type>().values().to_vec()).collect();
    let layouts = vec![ColumnLayout::learn_numeric(&mut values)];
    let profiles: Vec<Profile> = days.iter().map(|day| profile(&layouts, day)).collect();
    let mut whole = Profile::empty(&layouts);
    profiles.iter().for_each(|day| whole.merge(day).unwrap());
    let pane = |(place, day): (usize, &Profile)| ReferencePane {
        start_ms: place as i64 * HOUR,
        profile: PackedProfile::of(day).unwrap(),
        quality: None,
    };
    let column = ColumnSchema { name: "level".to_owned(), role: Role::Feature, kind: ColumnKind::Numeric };
    Reference::new(ReferenceParts {
        model: "m".into(),
        version: "v1".into(),
        schema: ModelSchema { columns: vec![column], task: task() },
        origin: Origin::TrainingSet { digest: "d".into() },
        windows: WindowSpec::tumbling(Duration::from_secs(3_600)).unwrap(),
        layouts,
        slices: vec![Slice {
            segment: None,
            profile: whole,
            quality: None,
            panes: profiles.iter().enumerate().map(pane).collect(),
        }],
        steps: None,
    })
    .unwrap()
}

#[test]
fn a_column_whose_threshold_no_window_can_reach_is_not_called_stable() {
    let reference = weeks();
    let panel = Panel::learn(&PanelPolicy::default(), &reference, 0).unwrap();
    let unlike: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![14.0; 200]))];
    let judgement = panel.judge_drift(&profile(reference.layouts(), &unlike));
    let beyond = judgement.tests.iter().find(|test| test.test == "jensen_shannon").unwrap();
    assert!(beyond.threshold >= 1.0 && beyond.score < 1.0, "{beyond:?}");
    let why = Why::OutOfReach { subject: "level".to_owned(), test: "jensen_shannon".to_owned() };
    assert_eq!(judgement.outcome, Outcome::Inconclusive(why));
    let support = Support::of(&PanelPolicy::default(), &reference).unwrap();
    assert_eq!(support.out_of_reach.iter().map(|test| test.subject.as_str()).collect::<Vec<_>>(), ["level"]);
}

#[test]
fn fixed_thresholds_are_the_users_own() {
    let mut random = Random(17);
    let reference = reference(4, 500, &mut random);
    let policy: PanelPolicy = serde_json::from_str(
        r#"{"numeric": ["psi"], "categorical": ["psi"], "thresholds": {"fixed": {"psi": 0.0}}, "hysteresis": {"windows": 1, "of": 1}}"#,
    )
    .unwrap();
    let panel = Panel::learn(&policy, &reference, 0).unwrap();
    let judgement = panel.judge_drift(&profile(reference.layouts(), &columns(&mut random, 500, 0.0)));
    assert!(judgement.tests.iter().all(|test| test.threshold == 0.0 && test.exceeded));
}

#[test]
fn a_policy_that_cannot_be_is_refused_by_name() {
    let refusal = |json: &str| match serde_json::from_str::<PanelPolicy>(json) {
        Ok(policy) => policy.validate().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (json, part) in [
        (r#"{"categorical": ["ks"]}"#, "categorical: `ks` is not defined"),
        (r#"{"numeric": ["two_proportion_z"]}"#, "numeric: `two_proportion_z` is not defined"),
        (r#"{"thresholds": {"fixed": {"psi": 0.2}}}"#, "thresholds.fixed: `wasserstein` is used"),
        (r#"{"min_effect": {"psi": -1}}"#, "min_effect.psi: -1"),
        (r#"{"min_rows": 0}"#, "min_rows: 0"),
        (r#"{"hysteresis": {"windows": 4, "of": 3}}"#, "hysteresis: 4 of 3"),
        (r#"{"data_quality": {"volume_factor": 1}}"#, "data_quality.volume_factor: 1"),
        (r#"{"data_quality": {"cardinality_factor": 0.5}}"#, "data_quality.cardinality_factor: 0.5"),
        (r#"{"quality": {"min_drop": -0.1}}"#, "quality.min_drop: -0.1"),
        (r#"{"threshold": "learned"}"#, "unknown field `threshold`"),
    ] {
        let message = refusal(json);
        assert!(message.contains(part), "{json}: {message}");
    }
}

#[test]
fn a_reference_survives_storage_under_the_same_id_and_anything_else_is_refused() {
    use crate::reference::ReferenceError;
    let reference = reference(3, 100, &mut Random(19));
    let bytes = reference.to_bytes().unwrap();
    let again = Reference::from_bytes(&bytes).unwrap();
    assert_eq!(again, reference);
    assert_eq!(again.id().len(), 32);
    assert!(matches!(Reference::from_bytes(b"something"), Err(ReferenceError::Format)));
    assert!(matches!(Reference::from_bytes(&bytes[..bytes.len() / 2]), Err(ReferenceError::Undecodable { .. })));
    assert_eq!(reference.window_profiles(0).unwrap().len(), 3);
    assert_eq!(reference.window_profiles(9).unwrap().len(), 0);
}
