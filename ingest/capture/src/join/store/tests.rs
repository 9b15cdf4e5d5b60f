//! What the store promises: where an id is held changes nothing, what is over leaves no file, and nothing that fails is lost
//! silently.

use super::super::{
    AbsentMeans, Dues, JoinError, KeptColumns, Label, LabelJoin, LabelPolicy, LabelValue, Matched, Need, OUTCOME_AFTER,
    OUTCOME_LABEL, OUTCOME_SIGN, Passed, Prediction, Taken,
};
use super::*;
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema, SchemaRef};
use arrow::row::Rows;
use detectors::schema::Task;
use detectors::windows::WindowSpec;
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const HORIZON_MS: i64 = 400;

fn policy(absent: bool) -> LabelPolicy {
    let absent = absent.then(|| AbsentMeans { label: "0".to_owned(), after_ms: 150 });
    LabelPolicy { ages_ms: vec![20, 100], coverage: None, horizon_ms: HORIZON_MS, absent, max_pending: 40 }
}

fn dues() -> Dues {
    let windows = WindowSpec::tumbling(Duration::from_millis(100)).unwrap();
    Dues { windows, step_ms: 10, judged_at_ms: vec![20, 100] }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
}

/// One row for each number up to some.
fn rows(kept: &KeptColumns) -> Rows {
    let numbers = Arc::new(Int64Array::from_iter_values(0..1_000));
    kept.rows(&RecordBatch::try_new(schema(), vec![numbers]).unwrap()).unwrap()
}

/// A join with what it is given.
struct Bench {
    join: LabelJoin,
    rows: Rows,
    versions: [Arc<str>; 2],
}

impl Bench {
    fn new(policy: LabelPolicy, space: &Arc<LabelSpace>) -> Self {
        let kept = Arc::new(KeptColumns::new(schema()).unwrap());
        let rows = rows(&kept);
        Self { join: LabelJoin::new(policy, dues(), kept, space), rows, versions: ["1".into(), "2".into()] }
    }

    fn predict(&mut self, number: usize, act: &Act, own: Option<LabelValue>) -> Answer {
        let prediction = Prediction {
            version: &self.versions[number % 2],
            row: self.rows.row(number).data(),
            time_ms: act.time_ms,
            watermark_ms: act.watermark_ms,
            offset: number as i64,
            late: act.time_ms % 7 == 0,
        };
        Answer::Predicted(self.join.predict(&act.id, prediction, own).map_err(|error| error.to_string()))
    }

    fn label(&mut self, number: usize, act: &Act, value: LabelValue) -> Answer {
        let time_ms = act.watermark_ms.map_or(act.time_ms, |at| at.max(act.time_ms));
        let label = Label { value, time_ms, watermark_ms: act.watermark_ms, offset: number as i64 };
        Answer::Labelled(self.join.label(&act.id, label).map_err(|error| error.to_string()))
    }

    fn outcomes(&mut self) -> Vec<(String, i64, String, i64, i8)> {
        let task = Task::Binary { positive: "1".to_owned(), negative: "0".to_owned() };
        let mut outcomes = Vec::new();
        for (version, batch) in self.join.take_outcomes(&task).unwrap() {
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let numbers = column("number").as_primitive::<Int64Type>();
            let labels = column(OUTCOME_LABEL).as_string::<i32>();
            let afters = column(OUTCOME_AFTER).as_primitive::<Int64Type>();
            let signs = column(OUTCOME_SIGN).as_primitive::<Int8Type>();
            outcomes.extend((0..batch.num_rows()).map(|row| {
                let label = labels.value(row).to_owned();
                (version.to_string(), numbers.value(row), label, afters.value(row), signs.value(row))
            }));
        }
        outcomes.sort();
        outcomes
    }
}

/// Something that the join is given, at the watermark before it.
#[derive(Debug, Clone)]
struct Act {
    id: String,
    time_ms: i64,
    watermark_ms: Option<i64>,
}

/// What the join says to it.
#[derive(Debug, PartialEq)]
enum Answer {
    Predicted(Result<(Taken, Vec<Matched>), String>),
    Labelled(Result<Vec<Matched>, String>),
    Passed(Passed),
}

/// A step of a stream: what is done, to which id, how far time moves on, how far behind the event is, and its value.
type Step = (u8, u8, i64, i64, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u8..20, 0u8..50, 0i64..30, -20i64..700, 0u8..3), 1..300)
}

/// What a join said, how many ids it then held, what it needed, and the outcomes it gave.
type Played = (Answer, usize, Vec<Need>, Vec<(String, i64, String, i64, i8)>);

/// All that a join says to a stream, step by step.
fn play(join: &mut Bench, steps: &[Step]) -> Vec<Played> {
    let (mut now_ms, mut watermarks) = (0, [None, None]);
    let mut heard = Vec::new();
    for (number, (kind, id, advance_ms, back_ms, value)) in steps.iter().enumerate() {
        now_ms += advance_ms;
        let side = usize::from(matches!(kind, 10..=17));
        let back_ms = if kind % 3 == 0 { *back_ms } else { back_ms % 20 };
        let act = Act { id: format!("id-{id}"), time_ms: now_ms - back_ms, watermark_ms: watermarks[side] };
        let label = LabelValue::Class(value.to_string().into());
        let told = match kind {
            0..=8 => join.predict(number, &act, None),
            9 => join.predict(number, &act, Some(label)),
            10..=17 => join.label(number, &act, label),
            _ => Answer::Passed(join.join.pass(watermarks[0], watermarks[1]).unwrap()),
        };
        watermarks[side] = watermarks[side].max(Some(act.time_ms - 30));
        heard.push((told, join.join.held(), join.join.take_needs(), join.outcomes()));
    }
    let end = Some(now_ms + 10 * HORIZON_MS);
    heard.push((Answer::Passed(join.join.pass(end, end).unwrap()), join.join.held(), Vec::new(), join.outcomes()));
    heard
}

fn space(directory: &Path, memory: u64) -> Arc<LabelSpace> {
    Arc::new(LabelSpace::new(directory, memory))
}

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn runs(directory: &Path) -> Vec<PathBuf> {
    let files = files(directory).into_iter();
    let mut runs: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "run")).collect();
    runs.sort();
    runs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_join_that_writes_its_ids_says_the_same_as_one_that_holds_them(
        steps in steps(), absent in any::<bool>(), memory in 0u64..4_000
    ) {
        let directory = TempDir::new().unwrap();
        let little = space(directory.path(), memory);
        let told = play(&mut Bench::new(policy(absent), &little), &steps);
        let expected = play(&mut Bench::new(policy(absent), &crate::fixtures::roomy()), &steps);
        for (step, (told, expected)) in told.iter().zip(&expected).enumerate() {
            prop_assert_eq!(told, expected, "at step {}", step);
        }
        prop_assert_eq!(runs(directory.path()), Vec::<PathBuf>::new(), "all is over, and the join is gone");
    }
}

/// Memory for about a hundred ids.
const SOME_IDS: u64 = 10_000;

/// A join with so many predictions, a millisecond apart, of which nearly all are in files.
fn filled(space: &Arc<LabelSpace>, ids: i64) -> Bench {
    let mut bench = Bench::new(LabelPolicy { max_pending: usize::MAX, ..policy(false) }, space);
    for number in 0..ids {
        let act = Act { id: format!("id-{number}"), time_ms: number, watermark_ms: None };
        assert_eq!(bench.predict(number as usize % 1_000, &act, None), Answer::Predicted(Ok((Taken::First, vec![]))));
    }
    bench
}

fn label_of(bench: &mut Bench, number: i64) -> Result<Vec<Matched>, JoinError> {
    let label = Label { value: LabelValue::Class("1".into()), time_ms: number + 1, watermark_ms: None, offset: 0 };
    bench.join.label(&format!("id-{number}"), label)
}

#[test]
fn files_go_as_their_ids_expire_and_the_last_with_the_join() {
    let directory = TempDir::new().unwrap();
    let space = space(directory.path(), 100_000);
    let mut bench = filled(&space, 10_000);
    let written = runs(directory.path()).len();
    assert!(written > 3, "{written}");
    let half = Some(5_000 + HORIZON_MS);
    assert_eq!(bench.join.pass(half, half).unwrap().expired, 5_000);
    assert_eq!(bench.join.held(), 5_000);
    let left = runs(directory.path()).len();
    assert!(left > 0 && left < written, "{left} of {written}");
    drop(bench);
    assert_eq!(runs(directory.path()), Vec::<PathBuf>::new());
    drop(space);
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_bound_on_ids_counts_those_in_files() {
    let directory = TempDir::new().unwrap();
    let mut bench = Bench::new(policy(false), &space(directory.path(), 0));
    for number in 0..40 {
        let act = Act { id: format!("id-{number}"), time_ms: number, watermark_ms: None };
        bench.predict(0, &act, None);
    }
    let refused = label_of(&mut bench, 40).unwrap_err();
    assert!(matches!(refused, JoinError::TooManyPending { held: 40, bound: 40 }), "{refused}");
    assert_eq!(label_of(&mut bench, 0).unwrap(), [Matched::First]);
}

#[test]
fn a_damaged_file_is_an_error_wherever_the_damage_is() {
    let directory = TempDir::new().unwrap();
    let length = {
        let _bench = filled(&space(directory.path(), SOME_IDS), 300);
        std::fs::metadata(&runs(directory.path())[0]).unwrap().len()
    };
    for place in (0..length).step_by(11) {
        let mut bench = filled(&space(directory.path(), SOME_IDS), 300);
        let file = OpenOptions::new().read(true).write(true).open(&runs(directory.path())[0]).unwrap();
        flip(&file, place);
        // Whatever is found until then is what was written; times are read only when they are over.
        let found: Result<Vec<_>, _> = (0..300).map(|number| label_of(&mut bench, number)).collect();
        let said = found.and_then(|found| {
            assert_eq!(found, vec![vec![Matched::First]; 300]);
            bench.join.pass(Some(9_000), Some(9_000))
        });
        let said = said.unwrap_err().to_string();
        assert!(said.contains(".run with ids that wait for labels cannot be read"), "{place}: {said}");
    }
}

fn flip(file: &std::fs::File, place: u64) {
    use std::os::unix::fs::FileExt;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
}

#[test]
fn a_file_that_is_gone_is_an_error() {
    let directory = TempDir::new().unwrap();
    let mut bench = filled(&space(directory.path(), SOME_IDS), 300);
    runs(directory.path()).iter().for_each(|run| std::fs::remove_file(run).unwrap());
    let said = label_of(&mut bench, 0).unwrap_err().to_string();
    assert!(said.contains("they are read from the log again"), "{said}");
}

#[test]
fn a_full_disk_is_an_error_that_says_where_and_how_to_go_on() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut record = Vec::new();
    Entry::default().pack("a", &mut record);
    let records = std::iter::repeat_n((1, record.into_boxed_slice()), 100_000);
    let source = Run::write_to(full, records).unwrap_err();
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    let said = SpaceError::Write { path: "labels/1.run".into(), source }.to_string();
    assert_eq!(
        said,
        "ids that wait for labels take more than label_memory, and labels/1.run cannot be written: No space left on \
         device (os error 28): nothing was dropped; free space on that disk, or raise label_memory"
    );
}

#[test]
fn folders_of_processes_that_ended_are_deleted_and_those_of_others_are_not() {
    let directory = TempDir::new().unwrap();
    let dead = directory.path().join("00");
    std::fs::create_dir_all(dead.join("0")).unwrap();
    std::fs::write(dead.join("0/1.run"), "left").unwrap();
    std::fs::write(directory.path().join("00.lock"), "").unwrap();
    let living = space(directory.path(), SOME_IDS);
    assert!(!dead.exists());
    let mut bench = filled(&living, 300);
    let another = space(directory.path(), SOME_IDS);
    assert_eq!(label_of(&mut bench, 0).unwrap(), [Matched::First]);
    drop(another);
}

#[test]
fn joins_share_the_memory_and_one_that_takes_little_writes_nothing() {
    let directory = TempDir::new().unwrap();
    let space = space(directory.path(), 100_000);
    let large = filled(&space, 2_000);
    let before = runs(directory.path()).len();
    let small = filled(&space, 100);
    assert_eq!(runs(directory.path()).len(), before);
    assert_eq!((large.join.held(), small.join.held()), (2_000, 100));
}
