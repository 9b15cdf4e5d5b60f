//! What a trial reports, held against a plain computation: over every kind of answer and of none, for each task, each side
//! and each label.

use super::*;
use crate::gate::{AnchorStanding, Share, Trial, TrialTerms};
use crate::lifecycle::CandidateKind;
use crate::policy::GatePolicy;
use crate::request::Fallback;
use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};
use detectors::schema::Task;
use proptest::prelude::*;
use proptest::sample::select;

const LARGEST_ERROR: f64 = 4.0;

/// What one side gives for a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Given {
    Right,
    RightWithScores,
    /// No prediction: the scores say it.
    RightByScores,
    Wrong,
    WrongWithScores,
    WrongByScores,
    Nothing,
    Unknown,
    /// The right prediction beside this score; of a regression the number itself.
    Score(f64),
}

impl Given {
    fn any() -> impl Strategy<Value = Self> {
        use Given::*;
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5, -0.5, 1e300].map(Score);
        let plain = [Right, RightWithScores, RightByScores, Wrong, WrongWithScores, WrongByScores, Nothing, Unknown];
        prop_oneof![3 => select(plain.to_vec()), 1 => select(odd.to_vec())]
    }

    /// The loss that it is to have; `None` where it is no answer.
    fn loss(self, task: &Task) -> Option<f64> {
        let is_number = *task == Task::Regression;
        match self {
            Self::Right | Self::RightWithScores => Some(0.0),
            Self::Wrong | Self::WrongWithScores => Some(if is_number { 1.0 / LARGEST_ERROR } else { 1.0 }),
            // A number has no scores that could say it.
            Self::RightByScores => (!is_number).then_some(0.0),
            Self::WrongByScores => (!is_number).then_some(1.0),
            Self::Nothing | Self::Unknown => None,
            Self::Score(number) => match is_number && number.is_finite() {
                true => Some(((number - LABEL_NUMBER).abs() / LARGEST_ERROR).min(1.0)),
                false => None,
            },
        }
    }
}

/// The label of every row of a regression that has one.
const LABEL_NUMBER: f64 = 10.0;

#[derive(Debug, Clone)]
struct Row {
    /// The class that is right.
    class: usize,
    is_labelled: Option<bool>,
    is_champions: bool,
    is_north: bool,
    champion: Given,
    challenger: Given,
}

impl Row {
    fn any() -> impl Strategy<Value = Self> {
        let label = select(vec![Some(true), Some(true), Some(true), Some(false), None]);
        let place = (0..2_usize, label, prop::bool::weighted(0.8), any::<bool>());
        (place, Given::any(), Given::any()).prop_map(
            |((class, is_labelled, is_champions, is_north), champion, challenger)| Row {
                class,
                is_labelled,
                is_champions,
                is_north,
                champion,
                challenger,
            },
        )
    }

    /// Whether it counts at all; `Some(false)` is a label that is none of the task's.
    fn counts(&self) -> bool {
        self.is_champions && self.is_labelled == Some(true)
    }
}

fn tasks() -> impl Strategy<Value = Task> {
    let binary = Task::Binary { positive: "yes".into(), negative: "no".into() };
    let multiclass = Task::Multiclass { classes: ["red", "green", "blue"].map(str::to_owned).to_vec() };
    select(vec![binary, multiclass, Task::Regression])
}

/// The output columns of one side.
fn outputs(task: &Task, rows: &[Row], side: impl Fn(&Row) -> Given) -> Vec<(String, ArrayRef)> {
    if let Task::Regression = task {
        let number = |row: &Row| match side(row) {
            Given::Right | Given::RightWithScores => Some(LABEL_NUMBER),
            Given::Wrong | Given::WrongWithScores => Some(LABEL_NUMBER + 1.0),
            Given::Score(number) => Some(number),
            Given::Unknown => Some(f64::NAN),
            Given::RightByScores | Given::WrongByScores | Given::Nothing => None,
        };
        return vec![(PREDICTION.to_owned(), Arc::new(rows.iter().map(number).collect::<Float64Array>()) as ArrayRef)];
    }
    let classes = task.classes();
    let said = |row: &Row| match side(row) {
        Given::Wrong | Given::WrongWithScores | Given::WrongByScores => 1 - row.class,
        _ => row.class,
    };
    let prediction = |row: &Row| match side(row) {
        Given::Unknown => Some("none of them"),
        Given::Nothing | Given::RightByScores | Given::WrongByScores => None,
        _ => Some(classes[said(row)]),
    };
    let predictions: StringArray = rows.iter().map(prediction).collect();
    let mut columns = vec![(PREDICTION.to_owned(), Arc::new(predictions) as ArrayRef)];
    let first = classes.len() - task.score_columns().len();
    for (place, name) in task.score_columns().into_iter().enumerate() {
        let score = |row: &Row| match side(row) {
            Given::Right | Given::Wrong | Given::Nothing => None,
            // The others' are probabilities: one odd score is enough.
            Given::Score(score) => Some(if place == 0 { score } else { 0.5 }),
            _ => Some(if place + first == said(row) { 0.9 } else { 0.1 }),
        };
        columns.push((name, Arc::new(rows.iter().map(score).collect::<Float64Array>()) as ArrayRef));
    }
    columns
}

fn logged(task: &Task, rows: &[Row]) -> RecordBatch {
    let label: ArrayRef = match task {
        Task::Regression => {
            let label = |row: &Row| row.is_labelled.map(|usable| if usable { LABEL_NUMBER } else { f64::INFINITY });
            Arc::new(rows.iter().map(label).collect::<Float64Array>())
        }
        _ => {
            let label =
                |row: &Row| row.is_labelled.map(|usable| if usable { task.classes()[row.class] } else { "odd" });
            Arc::new(rows.iter().map(label).collect::<StringArray>())
        }
    };
    let strings =
        |of: fn(&Row) -> Option<&'static str>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let numbers = || Arc::new((0..rows.len() as i64).collect::<Int64Array>()) as ArrayRef;
    let mut columns = vec![
        (PARTITION.to_owned(), Arc::new(Int32Array::from(vec![0; rows.len()])) as ArrayRef),
        (OFFSET.to_owned(), numbers()),
        (INDEX.to_owned(), Arc::new(Int32Array::from(vec![0; rows.len()]))),
        (EVENT_TIME.to_owned(), numbers()),
        (VERSION.to_owned(), strings(|row| Some(if row.is_champions { "v1" } else { "v2" }))),
        (format!("{SEGMENT_PREFIX}ward"), strings(|row| row.is_north.then_some("north"))),
        (LABEL.to_owned(), label),
    ];
    columns.extend(outputs(task, rows, |row| row.champion));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
}

fn trial() -> Trial {
    let terms = TrialTerms {
        model: "m".into(),
        request: "r".into(),
        candidate: 1,
        champion: Some("v1".into()),
        challenger: "v3".into(),
        deadline_ms: 0,
        most_rows: u64::MAX,
        fallback: Fallback::KeepChampion,
        share: Share { episode: 1, kind: CandidateKind::Refit, number: 1, promotions: 0 },
        dependence: 1.0,
    };
    Trial::new(terms, &GatePolicy::default())
}

/// The mean of the losses, and how many of the rows had no answer.
fn plain(losses: impl Iterator<Item = Option<f64>>) -> (f64, u64) {
    let (mut sum, mut rows, mut unanswered) = (0.0, 0.0, 0);
    for loss in losses {
        rows += 1.0;
        match loss {
            Some(loss) => sum += loss,
            None => {
                sum += 1.0;
                unanswered += 1;
            }
        }
    }
    (if rows > 0.0 { sum / rows } else { 0.0 }, unanswered)
}

fn check(task: &Task, rows: &[Row]) -> Result<(), TestCaseError> {
    let champions: Vec<Row> = rows.iter().filter(|row| row.is_champions).cloned().collect();
    let batch = rows_of_version(&logged(task, rows), Some("v1")).unwrap();
    let answers =
        outputs(task, &champions, |row| row.challenger).into_iter().map(|(name, values)| (name, values, true));
    let answers = RecordBatch::try_from_iter_with_nullable(answers).unwrap();
    let pairs = pair(&batch, &answers, &Loss::of(task, LARGEST_ERROR)).unwrap();
    let mut trial = trial();
    pairs.iter().for_each(|pair| trial.observe(pair));
    let report = trial.report(&GatePolicy::default());
    let counted: Vec<&Row> = rows.iter().filter(|row| row.counts()).collect();
    let (champion, champion_unanswered) = plain(counted.iter().map(|row| row.champion.loss(task)));
    let (challenger, challenger_unanswered) = plain(counted.iter().map(|row| row.challenger.loss(task)));
    prop_assert_eq!(report.rows, counted.len() as u64);
    prop_assert_eq!(report.champion_unanswered, champion_unanswered);
    prop_assert_eq!(report.challenger_unanswered, challenger_unanswered);
    prop_assert!((report.champion_loss - champion).abs() < 1e-12, "{} is not {champion}", report.champion_loss);
    prop_assert!((report.challenger_loss - challenger).abs() < 1e-12, "{} is not {challenger}", report.challenger_loss);
    let north = pairs.iter().filter(|pair| !pair.segments.is_empty()).count();
    prop_assert_eq!(north, counted.iter().filter(|row| row.is_north).count(), "the same rows in a segment");
    let anchor = AnchorStanding::of(&pairs);
    prop_assert_eq!((anchor.rows, anchor.champion_loss), (report.rows, report.champion_loss));
    prop_assert_eq!(anchor.challenger_loss, report.challenger_loss);
    Ok(())
}

proptest! {
    #[test]
    fn both_sides_are_held_against_the_same_rows_whatever_either_leaves_unanswered(
        task in tasks(),
        rows in prop::collection::vec(Row::any(), 0..60),
    ) {
        check(&task, &rows)?;
    }
}
