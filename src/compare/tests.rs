//! The promises of the comparison, from files that the tests write themselves.

use super::*;
use detectors::schema::Role;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// Rows of three inputs, of which one moves by so many standard deviations.
pub(super) fn rows(path: &Path, seed: u64, count: usize, shift: f64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut file = std::fs::File::create(path).unwrap();
    writeln!(file, "id,at,age,income,plan").unwrap();
    for row in 0..count {
        // The sum of twelve uniform numbers is nearly normal, with a standard deviation of 1.
        let age = 40.0 + shift + (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let income = 1_000.0 * (1.0 + random.random::<f64>()).powi(3);
        let plan = ["basic", "plus", "gold"][random.random_range(0..3)];
        writeln!(file, "c{row},2026-01-01T00:00:{:02}Z,{age},{income},{plan}", row % 60).unwrap();
    }
}

fn spec(folder: &Path) -> CompareSpec {
    CompareSpec {
        files: files(folder),
        tests: Vec::new(),
        policy: PanelPolicy::default(),
        budget: 0.005,
        domain_classifier: false,
    }
}

pub(super) fn files(folder: &Path) -> FilePair {
    FilePair {
        reference: folder.join("reference.csv").into(),
        current: folder.join("current.csv").into(),
        columns: ColumnChoice::default(),
    }
}

/// A folder with these two files.
pub(super) fn written(reference: &str, current: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reference.csv"), reference).unwrap();
    std::fs::write(folder.path().join("current.csv"), current).unwrap();
    folder
}

/// Rows of a number and a category, by their numbers.
pub(super) fn table(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).fold("x,plan\n".to_owned(), |text, at| text + &row(at) + "\n")
}

#[test]
fn a_shift_is_found_in_its_column_and_nothing_is_found_where_nothing_moved() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 5_000, 0.0);
    for (seed, shift) in [(2, 0.0), (3, 0.3)] {
        rows(&folder.path().join("current.csv"), seed, 2_000, shift);
        let found = compare(&spec(folder.path())).unwrap();
        assert_eq!((found.reference.rows, found.current.rows), (5_000, 2_000));
        assert_eq!(found.found_something(), shift > 0.0, "{:?}", found.drift);
        let moved: BTreeSet<_> =
            found.drift.tests.iter().filter(|test| test.exceeded).map(|test| &test.subject).collect();
        assert!(moved.iter().all(|column| *column == "age"), "{moved:?}");
        let left_out: Vec<_> = found.left_out.iter().map(|column| column.column.as_str()).collect();
        assert_eq!(left_out, ["id", "at"]);
    }
}

/// Columns of the rows that a test judged to have moved, with the sentence on them.
fn compared(reference: &str, current: &str) -> (bool, String) {
    let folder = written(reference, current);
    let choice = ColumnChoice { categorical: vec!["plan".to_owned()], ..ColumnChoice::default() };
    let found =
        compare(&CompareSpec { files: FilePair { columns: choice, ..files(folder.path()) }, ..spec(folder.path()) });
    let found = found.unwrap();
    (found.found_something(), found.drift.summary)
}

#[test]
fn one_value_in_two_spellings_is_no_drift() {
    for (before, now) in
        [(["1", "2", "3"], ["1.0", "2.0", "3.0"]), (["true", "false", "true"], ["True", "FALSE", "True"])]
    {
        let rows = |values: [&'static str; 3]| table(600, |row| format!("{row},{}", values[row % 3]));
        let (drifted, summary) = compared(&rows(before), &rows(now));
        assert!(!drifted, "{before:?} {now:?}: {summary}");
    }
    let rows = |codes: [&'static str; 2]| table(600, |row| format!("{row},{}", codes[row % 2]));
    let (drifted, summary) = compared(&rows(["007", "3.1"]), &rows(["7", "3.10"]));
    assert!(drifted && summary.contains("unseen categories"), "{summary}");
}

#[test]
fn a_drift_of_missing_values_is_towards_them() {
    let some = |row: usize| format!("{}.5,basic", (row * 7_919) % 1_000);
    let (drifted, summary) =
        compared(&table(900, some), &table(900, |row| if row % 3 == 0 { ",basic".to_owned() } else { some(row) }));
    assert!(drifted && summary.contains("33 % of the mass, towards missing values"), "{summary}");
    let plans = |row: usize| format!("{row},{}", ["basic", "plus"][row % 2]);
    let (drifted, summary) =
        compared(&table(900, plans), &table(900, |row| if row % 5 == 0 { format!("{row},") } else { plans(row) }));
    assert!(drifted && summary.contains("towards missing values"), "{summary}");
}

#[test]
fn numbers_in_single_precision_are_not_out_of_range() {
    let rates = |row: usize| format!("{},basic", [0.1, 0.2, 0.3, 0.4][row % 4]);
    let singles = |row: usize| format!("{},basic", f64::from([0.1_f32, 0.2, 0.3, 0.4][row % 4]));
    let (drifted, summary) = compared(&table(400, rates), &table(400, singles));
    assert!(!drifted, "{summary}");
}

/// Towns of which a few are frequent and hundreds come once: Zipf's law with an exponent of 1.3.
fn towns(seed: u64) -> String {
    let weights: Vec<f64> = (1..=3_000).map(|rank| f64::from(rank).powf(-1.3)).collect();
    let all: f64 = weights.iter().sum();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut town = || {
        let mut at = random.random::<f64>() * all;
        weights.iter().position(|weight| {
            at -= weight;
            at < 0.0
        })
    };
    let towns: Vec<usize> = (0..1_000).map(|_| town().unwrap_or_default()).collect();
    table(1_000, |row| format!("{row},{}", towns[row]))
}

#[test]
fn a_long_tail_of_categories_is_no_drift_of_itself() {
    for seed in 0..10 {
        let (drifted, summary) = compared(&towns(2 * seed), &towns(2 * seed + 1));
        assert!(!drifted, "{seed}: {summary}");
    }
}

#[test]
fn too_few_rows_are_no_judgement() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 5_000, 0.0);
    rows(&folder.path().join("current.csv"), 2, 50, 3.0);
    let found = compare(&spec(folder.path())).unwrap();
    assert!(!found.found_something(), "{found:?}");
    let why = found.inconclusive(PanelPolicy::default().min_rows).unwrap();
    assert!(why.ends_with("current.csv has 50 of the 100 rows that a judgement needs"), "{why}");
}

#[test]
fn what_is_said_of_a_column_goes_before_what_it_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 500, 0.0);
    rows(&folder.path().join("current.csv"), 2, 500, 0.0);
    let choice = |columns: ColumnChoice| {
        let files = FilePair { columns, ..files(folder.path()) };
        compare(&CompareSpec { files, ..spec(folder.path()) })
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let chosen = ColumnChoice {
        only: names(&["age", "id", "plan"]),
        categorical: names(&["id"]),
        prediction: Some("plan".to_owned()),
        ..ColumnChoice::default()
    };
    let columns = choice(chosen).unwrap().columns;
    let found: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.kind, column.role)).collect();
    let (numeric, categorical) = (ColumnKind::Numeric, ColumnKind::Categorical);
    let (feature, prediction) = (Role::Feature, Role::Prediction);
    assert_eq!(found, [("id", categorical, feature), ("age", numeric, feature), ("plan", categorical, prediction)]);
    let error = choice(ColumnChoice { only: names(&["wage"]), ..ColumnChoice::default() }).unwrap_err().to_string();
    assert!(error.ends_with("has no column `wage`; it has `id`, `at`, `age`, `income`, `plan`"), "{error}");
    let named = choice(ColumnChoice { only: names(&["id,plan"]), ..ColumnChoice::default() }).unwrap();
    let named: Vec<_> = named.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
    assert_eq!(named, [("id", categorical), ("plan", categorical)], "a column that was named is compared");
    let error = choice(ColumnChoice { only: names(&["at"]), ..ColumnChoice::default() }).unwrap_err().to_string();
    assert!(error.contains("`at` looks like a time; --kind compares it"), "{error}");
    let error = choice(ColumnChoice { numeric: names(&["plan"]), ..ColumnChoice::default() }).unwrap_err();
    assert!(error.to_string().contains("declare the column categorical"), "{error}");
    let lacking = "age,plan\n1,basic\n";
    std::fs::write(folder.path().join("current.csv"), lacking).unwrap();
    let found = choice(ColumnChoice::default()).unwrap();
    let left_out = &found.left_out;
    assert!(
        left_out.iter().any(|column| column.column == "income" && column.why.starts_with("is not in")),
        "{left_out:?}"
    );
    let gone: Vec<_> = found.changed.iter().map(|column| (column.column.as_str(), column.change)).collect();
    assert_eq!(gone, [("income", Change::Gone)], "identifiers and times that are gone are none");
    assert!(found.found_something());
    let without = ColumnChoice { left_out: names(&["income"]), ..ColumnChoice::default() };
    assert_eq!(choice(without).unwrap().changed, [], "what is not asked for may go");
}

#[test]
fn a_word_for_a_missing_number_takes_no_column_out_of_the_comparison() {
    let numbers = |moved: f64, odd: &str| {
        table(
            300,
            |row| if row == 42 { format!("{odd},p") } else { format!("{},p{}", (row % 97) as f64 + moved, row % 3) },
        )
    };
    for word in ["NA", "null", "None", "N/A", "?", "-", ".", "#N/A", "\\N"] {
        let folder = written(&numbers(0.25, word), &numbers(300.25, "1"));
        let found = compare(&spec(folder.path())).unwrap();
        let moved = found.drift.tests.iter().any(|test| test.subject == "x" && test.exceeded);
        assert!(moved && found.found_something(), "{word}: {:?}", found.left_out);
        assert!(found.notes.iter().any(|told| told.contains(&format!("`{word}`"))), "{:?}", found.notes);
    }
}

#[test]
fn whole_numbers_that_are_all_different_are_compared() {
    let salaries = |times: usize| table(300, |row| format!("{},p{}", times * (20_000 + row * 7_919 % 70_000), row % 3));
    let folder = written(&salaries(1), &salaries(2));
    let found = compare(&spec(folder.path())).unwrap();
    assert!(found.drift.tests.iter().any(|test| test.subject == "x" && test.exceeded), "{:?}", found.left_out);
}

#[test]
fn an_odd_value_of_the_current_file_is_one_finding_among_the_others() {
    let rows = |amount: &str, moved: bool| {
        let plan = |row: usize| if moved { "moved".to_owned() } else { format!("p{}", row % 3) };
        table(
            150,
            |row| if row == 100 { format!("{amount},{}", plan(row)) } else { format!("{}.5,{}", row % 13, plan(row)) },
        )
    };
    let folder = written(&rows("7", false), &rows("\"12,5\"", true));
    let found = compare(&spec(folder.path())).unwrap();
    assert!(found.drift.tests.iter().any(|test| test.subject == "plan" && test.exceeded), "{:?}", found.drift);
    let folder = written(&rows("7", false), &table(150, |row| format!("n{row},p{}", row % 3)));
    let found = compare(&spec(folder.path())).unwrap();
    let wrong =
        found.data_quality.tests.iter().find(|test| test.test == "wrong_type_share" && test.subject == "x").unwrap();
    assert!(wrong.exceeded && wrong.score == 1.0, "{wrong:?}");
}

#[test]
fn a_drift_names_its_column_with_its_part_of_it_and_every_test_has_its_textbook_number() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 5_000, 0.0);
    rows(&folder.path().join("current.csv"), 2, 2_000, 0.5);
    let found = compare(&spec(folder.path())).unwrap();
    let told = serde_json::to_value(&found).unwrap();
    let part = &told["drift"]["attribution"][0];
    assert_eq!(part["column"], "age");
    assert_eq!(part["towards"], "higher values");
    assert!(part["contribution"].as_f64().unwrap() > 0.9 && part["moved_share"].as_f64().unwrap() > 0.1, "{part}");
    assert!(told["drift"]["summary"].as_str().unwrap().starts_with("`age` moved: "), "{told}");
    for test in &found.drift.tests {
        assert!(told["statistics"][&test.subject][&test.test].is_f64(), "{test:?}");
    }
    let chi_squared = told["statistics"]["plan"]["chi_squared"].as_f64().unwrap();
    let score = found.drift.tests.iter().find(|test| test.test == "chi_squared").unwrap().score;
    assert!(chi_squared > score, "the statistic grows with the sample, the score does not: {chi_squared}, {score}");
}

#[test]
fn every_test_can_be_asked_for_and_one_that_no_column_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, seed) in [("reference.csv", 1), ("current.csv", 2)] {
        rows(&folder.path().join(name), seed, 1_000, 0.0);
    }
    let asked = |test: Statistic, column: &str| {
        let columns = ColumnChoice { only: vec![column.to_owned()], ..ColumnChoice::default() };
        let files = FilePair { columns, ..files(folder.path()) };
        compare(&CompareSpec { tests: vec![test], files, ..spec(folder.path()) })
    };
    for test in Statistic::ALL {
        for (column, kind) in [("age", ColumnKind::Numeric), ("plan", ColumnKind::Categorical)] {
            let found = asked(test, column);
            if !test.applies_to(kind) {
                let error = found.unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(CompareError::NoColumnForTest { .. })), "{error}");
                assert!(error.to_string().contains(test.name()), "{error}");
                continue;
            }
            let found = found.unwrap();
            assert!(!found.found_something(), "{found:?}");
            // Three plans are no two proportions.
            assert_eq!(found.drift.tests.is_empty(), test == Statistic::TwoProportionZ, "{test:?}: {found:?}");
            assert_eq!(found.inconclusive(100).is_some(), test == Statistic::TwoProportionZ);
        }
    }
}

#[test]
fn a_classifier_tells_apart_what_moved_only_together_and_nothing_where_nothing_moved() {
    let twins = |seed: u64, apart: f64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut text = "a,b\n".to_owned();
        for _ in 0..4_000 {
            let (common, own): (f64, f64) = (random.random(), random.random());
            text += &format!("{},{}\n", common, common + 0.05 * own + apart);
        }
        text
    };
    for (apart, moved) in [(0.0, false), (0.02, true)] {
        let folder = written(&twins(1, 0.0), &twins(2, apart));
        let found = compare(&CompareSpec { domain_classifier: true, ..spec(folder.path()) }).unwrap();
        assert!(found.drift.outcome == Outcome::Within, "each alone moved too little: {:?}", found.drift);
        let told_apart = found.domain_classifier.as_ref().unwrap();
        assert_eq!((told_apart.exceeded, found.found_something()), (moved, moved), "{told_apart:?}");
        assert_eq!(told_apart.p_value_below, 0.0025, "one half of the budget");
        let columns: BTreeSet<_> = told_apart.weights.iter().map(|weight| weight.column.as_str()).collect();
        assert_eq!(columns, BTreeSet::from(["a", "b"]));
    }
}

#[test]
fn a_file_against_itself_does_not_differ() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reference.csv");
    rows(&file, 1, 1_000, 0.0);
    let files = FilePair { current: file.into(), ..files(folder.path()) };
    let found = compare(&CompareSpec { files, domain_classifier: true, ..spec(folder.path()) }).unwrap();
    assert!(!found.found_something() && found.inconclusive(100).is_none(), "{found:?}");
}

#[test]
fn files_with_nothing_to_compare_are_refused_with_the_reason() {
    let full = table(200, |row| format!("{row}.5,p{}", row % 3));
    let cases = [
        ("", full.as_str(), "reference.csv: the file is empty"),
        (full.as_str(), "", "current.csv: the file is empty"),
        ("x,plan\n", full.as_str(), "reference.csv has no rows"),
        (full.as_str(), "y,z\n1,2\n", "`x` is not in"),
        ("x\n\n\n", full.as_str(), "no rows"),
        ("id\n,\n", full.as_str(), "reference.csv"),
    ];
    for (reference, current, expected) in cases {
        let folder = written(reference, current);
        let error = format!("{:#}", compare(&spec(folder.path())).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
    }
    for name in ["current.parquet", "current.parquet.gz"] {
        let folder = written(&full, "");
        let current = folder.path().join(name);
        std::fs::write(&current, "").unwrap();
        let files = FilePair { current: current.into(), ..files(folder.path()) };
        let error = compare(&CompareSpec { files, ..spec(folder.path()) }).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not a complete Parquet file"), "{error}");
    }
}

#[test]
fn a_file_of_few_rows_is_named_where_there_is_no_judgement() {
    let full = table(200, |row| format!("{row}.5,p{}", row % 3));
    let one = table(1, |_| "1.5,p0".to_owned());
    let none = table(0, |_| String::new());
    for (reference, current, expected) in [
        (&one, &full, "reference.csv has 1 of the 100 rows"),
        (&full, &one, "current.csv has 1 of the 100 rows"),
        (&full, &none, "current.csv has 0 of the 100 rows"),
    ] {
        let folder = written(reference, current);
        let found = compare(&spec(folder.path())).unwrap();
        assert!(!found.found_something(), "{found:?}");
        let why = found.inconclusive(100).unwrap();
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn constant_and_missing_columns_and_other_types_have_answers() {
    let constant = table(200, |_| "7.5,p".to_owned());
    let moved = table(200, |_| "8.5,q".to_owned());
    let gone = table(200, |_| ",p".to_owned());
    let found = |reference: &str, current: &str| compare(&spec(written(reference, current).path()));
    assert!(!found(&constant, &constant).unwrap().found_something());
    let other = found(&constant, &moved).unwrap();
    assert!(other.drift.tests.iter().any(|test| test.subject == "x" && test.exceeded), "{:?}", other.drift);
    assert!(other.drift.tests.iter().any(|test| test.subject == "plan" && test.exceeded), "{:?}", other.drift);
    assert_eq!(found(&constant, &gone).unwrap().data_quality.outcome, Outcome::Exceeded);
    let alive = found(&gone, &constant).unwrap();
    assert_eq!(alive.changed, [ChangedColumn { column: "x".to_owned(), change: Change::CameAlive }]);
    assert!(alive.found_something());
    let empty = found(&gone, &gone).unwrap();
    assert_eq!(empty.left_out, [LeftOut { column: "x".to_owned(), why: "is empty in both files".to_owned() }]);
    assert!(!empty.found_something());
    let texts = table(200, |_| "seven,p".to_owned());
    assert_eq!(found(&constant, &texts).unwrap().data_quality.outcome, Outcome::Exceeded);
    let added = constant.replace("plan\n", "plan,new\n").replace(",p\n", ",p,1\n");
    let left_out = found(&constant, &added).unwrap().left_out;
    assert!(
        left_out.len() == 1 && left_out[0].column == "new" && left_out[0].why.contains("reference.csv"),
        "{left_out:?}"
    );
}

#[test]
fn packed_files_and_files_of_other_kinds_are_compared_alike() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 2_000, 0.0);
    rows(&folder.path().join("current.csv"), 2, 2_000, 0.5);
    let plain = compare(&spec(folder.path())).unwrap();
    let packed = folder.path().join("packed.csv.gz");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), Default::default());
    encoder.write_all(&std::fs::read(folder.path().join("current.csv")).unwrap()).unwrap();
    encoder.finish().unwrap();
    let files = FilePair { current: packed.into(), ..files(folder.path()) };
    let found = compare(&CompareSpec { files, ..spec(folder.path()) }).unwrap();
    assert_eq!(found.drift, plain.drift);
}
