//! The promises of the comparison, from files that the tests write themselves.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write;

/// Rows of three inputs, of which one moves by so many standard deviations.
fn rows(path: &Path, seed: u64, count: usize, shift: f64) {
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
        reference: folder.join("reference.csv"),
        current: folder.join("current.csv"),
        columns: ColumnChoice::default(),
        policy: PanelPolicy::default(),
        budget: 0.005,
    }
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

#[test]
fn too_few_rows_are_no_judgement() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 5_000, 0.0);
    rows(&folder.path().join("current.csv"), 2, 50, 3.0);
    let found = compare(&spec(folder.path())).unwrap();
    assert!(!found.is_conclusive() && !found.found_something(), "{found:?}");
}

#[test]
fn what_is_said_of_a_column_goes_before_what_it_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    rows(&folder.path().join("reference.csv"), 1, 500, 0.0);
    rows(&folder.path().join("current.csv"), 2, 500, 0.0);
    let choice = |columns: ColumnChoice| compare(&CompareSpec { columns, ..spec(folder.path()) });
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
    assert!(error.ends_with("has no column `wage`; it has id, at, age, income, plan"), "{error}");
    let error = choice(ColumnChoice { only: names(&["id"]), ..ColumnChoice::default() }).unwrap_err().to_string();
    assert!(error.contains("`id` looks like an identifier"), "{error}");
    let error = choice(ColumnChoice { numeric: names(&["plan"]), ..ColumnChoice::default() }).unwrap_err();
    assert!(error.to_string().contains("declare the column categorical"), "{error}");
    let lacking = "age,plan\n1,basic\n";
    std::fs::write(folder.path().join("current.csv"), lacking).unwrap();
    let left_out = choice(ColumnChoice::default()).unwrap().left_out;
    assert!(
        left_out.iter().any(|column| column.column == "income" && column.why.starts_with("is not in")),
        "{left_out:?}"
    );
}
